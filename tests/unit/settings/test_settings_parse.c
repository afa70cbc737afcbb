/* The text of kong.conf and KONG_* variables, before any name means something. */
#include "core/settings/settings_parse.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *
parsed(pairs_t *p, const char *text, const char *name)
{
    sb_pairs_free(p);
    assert_int_equal(sb_settings_parse_text(text, strlen(text), PARSE_USER, p, NULL), SB_OK);
    return sb_pairs_get(p, name);
}

static void
values(void **state)
{
    pairs_t p = {0};

    assert_string_equal(parsed(&p, "a = b", "a"), "b");
    assert_string_equal(parsed(&p, "  a=b  \n", "a"), "b");
    assert_string_equal(parsed(&p, "a = b # note", "a"), "b");
    assert_string_equal(parsed(&p, "a = b \\# c", "a"), "b # c");
    assert_string_equal(parsed(&p, "a = b\\#c # note", "a"), "b#c");
    assert_string_equal(parsed(&p, "a = 'q' \"r\"", "a"), "'q' \"r\"");
    assert_string_equal(parsed(&p, "a = x=y", "a"), "x=y");
    assert_string_equal(parsed(&p, "a =", "a"), "");
    assert_string_equal(parsed(&p, "a = # all comment", "a"), "");
    assert_string_equal(parsed(&p, "a = 1\r\nb = 2\r\n", "b"), "2");
    assert_string_equal(parsed(&p, "a = one, \\\n  two\nb = 3", "a"), "one,   two");
    assert_string_equal(parsed(&p, "a = 1\na = 2", "a"), "2");
    assert_string_equal(parsed(&p,
                               "\xef\xbb\xbf"
                               "a = 1",
                               "a"),
                        "1");
    assert_null(parsed(&p, "# a = 1\n\n   # b\n", "a"));
    sb_pairs_free(&p);
}

static void
mistakes_name_the_line(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"a = 1\nnonsense\n", "line 2: expected '<name> = <value>', got 'nonsense'"},
        {"\n\n= 3", "line 3: expected '<name> = <value>', got '= 3'"},
        {"[section]\na = 1", "line 1: expected '<name> = <value>', got '[section]'"},
        {"a = 1 \\\n 2\nb c = 1", "line 3: expected '<name> = <value>', got 'b c = 1'"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        pairs_t p = {0};
        sb_err_t err = {0};
        assert_int_equal(sb_settings_parse_text(cases[i].text, strlen(cases[i].text), PARSE_USER, &p, &err), SB_DECLINED);
        assert_string_equal(err.message, cases[i].message);
        sb_err_clear(&err);
        sb_pairs_free(&p);
    }
}

static void
foreign_bytes(void **state)
{
    static const char nul[] = "a = 1\0b = 2";
    pairs_t p = {0};
    unsigned seed = 7;
    char text[64];

    assert_int_equal(sb_settings_parse_text(nul, sizeof(nul) - 1, PARSE_USER, &p, NULL), SB_DECLINED);
    /* Whatever the bytes, it ends and keeps within them (the sanitizers watch). */
    for (int round = 0; round < 20000; round++) {
        for (size_t i = 0; i < sizeof(text); i++) {
            seed = seed * 1103515245u + 12345u;
            text[i] = "a=\\#\n\r\t b\"'\xff[,;"[(seed >> 16) % 15];
        }
        sb_settings_parse_text(text, sizeof(text), round % 2 ? PARSE_USER : PARSE_ENV_FILE, &p, NULL);
        sb_pairs_free(&p);
    }
}

static void
environment(void **state)
{
    char *env[] = {
        "PATH=/bin", "KONG_LOG_LEVEL=debug # why", "KONG_NGINX_HTTP_LOG_FORMAT=x \\#1", "KONG_=x", "KONG_NOTHING", "kong_prefix=/x", NULL};
    pairs_t p = {0};

    sb_settings_parse_environ(env, &p);
    assert_int_equal(p.n, 2);
    assert_string_equal(sb_pairs_get(&p, "log_level"), "debug");
    assert_string_equal(sb_pairs_get(&p, "nginx_http_log_format"), "x #1");
    sb_pairs_free(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(mistakes_name_the_line),
        cmocka_unit_test(foreign_bytes),
        cmocka_unit_test(environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
