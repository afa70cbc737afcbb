/* Query strings and urlencoded bodies. */
#include "core/admin/args.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void
check(const char *in, const char *json)
{
    json_t *out = json_object(), *want = json_loads(json, 0, NULL);
    bool utf8;

    assert_int_equal(sb_admin_args_parse((sb_str_t){in, strlen(in)}, out, &utf8), SB_OK);
    assert_true(utf8);
    assert_true(json_equal(out, want));
    json_decref(out);
    json_decref(want);
}

static void
test_pairs(void **state)
{
    (void)state;
    check("", "{}");
    check("a=1&b=2", "{\"a\":\"1\",\"b\":\"2\"}");
    check("a=1&a=2&a=3", "{\"a\":[\"1\",\"2\",\"3\"]}");
    check("a", "{\"a\":\"\"}");
    check("a=&=b&&c=d", "{\"a\":\"\",\"c\":\"d\"}");
    check("a=x=y", "{\"a\":\"x=y\"}");
    check("paths%5B%5D=%2Fmock+a%20b", "{\"paths[]\":\"/mock a b\"}");
    check("a=%zz%4&b=%", "{\"a\":\"%zz%4\",\"b\":\"%\"}");
    check("k=%C3%A4", "{\"k\":\"\xc3\xa4\"}");
}

static void
test_refused(void **state)
{
    json_t *out = json_object();
    sb_buf_t many = {0};
    bool utf8;

    (void)state;
    assert_int_equal(sb_admin_args_parse(SB_STR("a=%ff"), out, &utf8), SB_DECLINED);
    assert_false(utf8);
    assert_int_equal(sb_admin_args_parse(SB_STR("%ff=a"), out, &utf8), SB_DECLINED);
    assert_false(utf8);
    for (int i = 0; i < SB_ADMIN_MAX_ARGS; i++)
        sb_buf_adds(&many, "a=1&");
    assert_int_equal(sb_admin_args_parse((sb_str_t){many.data, many.len}, out, &utf8), SB_OK);
    sb_buf_adds(&many, "a=1");
    assert_int_equal(sb_admin_args_parse((sb_str_t){many.data, many.len}, out, &utf8), SB_DECLINED);
    assert_true(utf8);
    sb_buf_free(&many);
    json_decref(out);
}

static void
test_escape(void **state)
{
    char *text = sb_admin_escape("a b/\xc3\xa4~-._9");
    size_t n;
    char *back = sb_admin_unescape((sb_str_t){text, strlen(text)}, &n);

    (void)state;
    assert_string_equal(text, "a%20b%2F%C3%A4~-._9");
    assert_string_equal(back, "a b/\xc3\xa4~-._9");
    free(text);
    free(back);
    back = sb_admin_unescape(SB_STR("a+b%00c"), &n);
    assert_int_equal(n, 5);
    assert_memory_equal(back, "a+b\0c", 6);
    free(back);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pairs), cmocka_unit_test(test_refused), cmocka_unit_test(test_escape)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
