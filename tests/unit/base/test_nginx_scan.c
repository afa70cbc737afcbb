/* The text of an nginx configuration taken apart. */
#include "core/base/nginx_scan.h"

#include "core/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "block>name|argument|argument@line" and "{" for a block, one line each. */
static int
note(const sb_nginx_directive_t *d, void *arg, sb_err_t *err)
{
    sb_buf_t *out = arg;

    (void)err;
    sb_buf_addf(out, "%s>", d->block);
    for (size_t i = 0; i < d->n_words; i++)
        sb_buf_addf(out, "%s%s", i > 0 ? "|" : "", d->words[i]);
    sb_buf_addf(out, "@%zu%s\n", d->line, d->opens ? "{" : "");
    return SB_OK;
}

static void
scans_as(const char *text, const char *wanted)
{
    sb_buf_t out = {0};
    sb_err_t err = {0};

    assert_int_equal(sb_nginx_scan(text, strlen(text), note, &out, NULL, &err), SB_OK);
    assert_string_equal(out.data != NULL ? out.data : "", wanted);
    sb_buf_free(&out);
}

static void
directives_and_blocks(void **state)
{
    (void)state;
    scans_as("", "");
    scans_as("# only; a { comment\n", "");
    scans_as("daemon off;pid x ;\n", ">daemon|off@1\n>pid|x@1\n");
    scans_as("http {\n  server { listen 80; }\n}\nuser a\n  b;", ">http@1{\nhttp>server@2{\nserver>listen|80@2\n>user|a|b@4\n");
    scans_as("a b#c;", ">a|b#c@1\n");
}

static void
words(void **state)
{
    (void)state;
    scans_as("include 'a b.conf';", ">include|a b.conf@1\n");
    scans_as("a \"it's; { }\" 'x\\'y';", ">a|it's; { }|x'y@1\n");
    scans_as("a b\\ c ${d}e \\{;", ">a|b\\ c|${d}e|\\{@1\n");
    scans_as("a '';", ">a|@1\n");
}

static void
lua_blocks(void **state)
{
    (void)state;
    scans_as("content_by_lua_block {\n local t = { '}', \"\\\"}\" } -- }\n --[[ } ]] s = [==[ ]] } ]==]\n}\na b;",
             ">content_by_lua_block@1\n>a|b@5\n");
    scans_as("set_by_lua_block $x { return \"{\" } b;", ">set_by_lua_block|$x@1\n>b@1\n");
}

static void
mistakes(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"a b", "line 1: a directive is not ended by ';'"},
        {"\na {\n b;\n", "line 4: a block is not closed by '}'"},
        {"a { b }", "line 1: a directive is not ended by ';'"},
        {"\n}", "line 2: unexpected '}'"},
        {"a;\n;", "line 2: unexpected ';'"},
        {"{", "line 1: unexpected '{'"},
        {"a 'b\n;", "line 1: a quote is not closed"},
        {"x;\na_by_lua_block { '", "line 2: a Lua block is not closed"},
        {"a_by_lua_block { [[ }", "line 1: a Lua block is not closed"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        sb_buf_t out = {0};
        sb_err_t err = {0};
        size_t line = 0;
        assert_int_equal(sb_nginx_scan(cases[i].text, strlen(cases[i].text), note, &out, &line, &err), SB_DECLINED);
        assert_string_equal(err.message, cases[i].why);
        assert_int_equal(line, strtoul(cases[i].why + 5, NULL, 10));
        sb_err_clear(&err);
        sb_buf_free(&out);
    }
}

static void
depth(void **state)
{
    sb_buf_t text = {0}, out = {0};
    sb_err_t err = {0};

    (void)state;
    for (size_t i = 0; i < SB_NGINX_SCAN_DEPTH; i++)
        sb_buf_adds(&text, "a{");
    sb_buf_adds(&text, "b;");
    for (size_t i = 0; i < SB_NGINX_SCAN_DEPTH; i++)
        sb_buf_adds(&text, "}");
    assert_int_equal(sb_nginx_scan(text.data, text.len, note, &out, NULL, &err), SB_OK);
    assert_int_equal(sb_nginx_scan("", 0, note, &out, NULL, &err), SB_OK);
    sb_buf_reset(&text);
    for (size_t i = 0; i <= SB_NGINX_SCAN_DEPTH; i++)
        sb_buf_adds(&text, "a{");
    assert_int_equal(sb_nginx_scan(text.data, text.len, note, &out, NULL, &err), SB_DECLINED);
    assert_string_equal(err.message, "line 1: too many blocks in one another");
    sb_err_clear(&err);
    sb_buf_free(&text);
    sb_buf_free(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directives_and_blocks),
        cmocka_unit_test(words),
        cmocka_unit_test(lua_blocks),
        cmocka_unit_test(mistakes),
        cmocka_unit_test(depth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
