/* Lua patterns: what matches, what does not, what is malformed, and that bad ones end soon. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/schema/schema.h"

static const struct {
    const char *pattern, *text;
    bool found;
} cases[] = {
    {"", "", true},
    {"", "x", true},
    {"b", "abc", true},
    {"d", "abc", false},
    {"^a", "abc", true},
    {"^b", "abc", false},
    {"c$", "abc", true},
    {"b$", "abc", false},
    {"a$b", "a$b", true},
    {"^$", "", true},
    {"^$", "x", false},
    {"^%u+$", "GET", true},
    {"^%u+$", "GeT", false},
    {"^%d%d%d$", "503", true},
    {"^%D+$", "abc", true},
    {"^%D+$", "a1", false},
    {"^%w+$", "a1B2", true},
    {"^%w+$", "a_b", false},
    {"^[%w_]+$", "a_b", true},
    {"^[^*]*%*?[^*]*$", "*.a.b", true},
    {"^[^*]*%*?[^*]*$", "*.a.*", false},
    {"^%*%.", "*.a", true},
    {"%.%*$", "a.*", true},
    {"^[a-z]+$", "abc", true},
    {"^[a-z]+$", "aBc", false},
    {"^[a-z-]+$", "a-c", true},
    {"^[]]$", "]", true},
    {"^[^]]$", "]", false},
    {"^[%]]$", "]", true},
    {"^[%a-z]$", "-", true},
    {"^a-b$", "aaab", true},
    {"^a-$", "aaa", true},
    {"^a?b$", "ab", true},
    {"^a?b$", "b", true},
    {"^a?b$", "aab", false},
    {"^a+b$", "b", false},
    {"^a*b$", "b", true},
    {"^.-:%d+$", "host:80", true},
    {"a.c", "abc", true},
    {"a%.c", "abc", false},
    {"%%", "100%", true},
    {"^%b()$", "(a(b)c)", true},
    {"^%b()$", "(a(b)c", false},
    {"%f[%w]the%f[%W]", "in the end", true},
    {"%f[%w]the%f[%W]", "other", false},
    {"^(a+)(b+)$", "aabb", true},
    {"^(%w)%1$", "xx", true},
    {"^(%w)%1$", "xy", false},
    {"^((a)b)%1%2$", "ababa", true},
    {"()", "", true},
    {"^%s*$", " \t\n", true},
    {"^%x+$", "dEadBeef09", true},
    {"^%p+$", "!?.,", true},
    {"^%c$", "\x01", true},
    {"^%g+$", "abc!", true},
    {"^%g+$", "a b", false},
    {"^[%d.]+$", "1.2.3", true},
    {"^[a-z][a-z%d-]-[a-z%d]+$", "my-env", true},
    {"^[a-z][a-z%d-]-[a-z%d]+$", "-env", false},
    {"%w*%p*@+%w*%.?%w*", "me.you@example.com", true},
    {"^%d+[%.%d]*%-?.*$", "1.2.3-rc", true},
    {"^\xc3\xa4$", "\xc3\xa4", true},
};

static void
test_matching(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (sb_lua_pattern_match(cases[i].text, strlen(cases[i].text), cases[i].pattern) != cases[i].found)
            fail_msg("'%s' in '%s': expected %s", cases[i].pattern, cases[i].text, cases[i].found ? "found" : "not found");
        assert_null(sb_lua_pattern_error(cases[i].pattern));
    }
    assert_true(sb_lua_pattern_match("a\0b", 3, "^a%zb$"));
    assert_false(sb_lua_pattern_match("a\0b", 3, "^a%Zb$"));
}

static void
test_malformed(void **state)
{
    static const char *const bad[] = {"%", "a%", "[",  "[a",  "[^", "[%",  "[]", "(",    "(a",
                                      ")", "a)", "%b", "%bx", "%f", "%fa", "%1", "(a)%2"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (sb_lua_pattern_error(bad[i]) == NULL)
            fail_msg("'%s' passed", bad[i]);
        assert_false(sb_lua_pattern_match("a", 1, bad[i]));
    }
}

static void
test_limits(void **state)
{
    char *text = malloc(100001), pattern[600];
    size_t i;

    (void)state;
    memset(text, 'a', 100000);
    text[100000] = '\0';
    /* Each would take longer than anyone waits; both are no match in the end. */
    assert_false(sb_lua_pattern_match(text, 100000, "a*a*a*a*a*a*a*b"));
    assert_false(sb_lua_pattern_match(text, 100000, ".-.-.-.-.-b"));
    assert_true(sb_lua_pattern_match(text, 100000, "^a+$"));
    for (i = 0; i < sizeof(pattern) - 1; i++)
        pattern[i] = 'a';
    pattern[i] = '\0';
    assert_string_equal(sb_lua_pattern_error(pattern), "pattern too long");
    for (i = 0; i < 40; i++)
        memcpy(pattern + 2 * i, "()", 2);
    pattern[80] = '\0';
    assert_string_equal(sb_lua_pattern_error(pattern), "too many captures");
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matching),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
