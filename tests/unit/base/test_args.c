/* Query strings and cookies taken apart. */
#include "core/base/args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
assert_str(sb_str_t s, const char *wanted)
{
    assert_non_null(s.data);
    assert_int_equal(s.len, strlen(wanted));
    assert_memory_equal(s.data, wanted, s.len);
}

static void
test_query(void **state)
{
    sb_str_t query = SB_STR("a=1&b&=x&&c=d=e&f="), name, value;
    static const char *const wanted[][2] = {{"a", "1"}, {"b", NULL}, {"", "x"}, {"", NULL}, {"c", "d=e"}, {"f", ""}};

    (void)state;
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        assert_true(sb_args_next(&query, &name, &value));
        assert_str(name, wanted[i][0]);
        if (wanted[i][1] != NULL)
            assert_str(value, wanted[i][1]);
        else
            assert_null(value.data);
    }
    assert_false(sb_args_next(&query, &name, &value));
}

static void
test_decode(void **state)
{
    static const char *const cases[][2] = {{"a+b", "a b"},       {"%41%6a%2B", "Aj+"}, {"%", "%"},       {"%4", "%4"},
                                           {"%zz%4g", "%zz%4g"}, {"%%41", "%A"},       {"%2541", "%41"}, {"", ""}};
    char out[16];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_str((sb_str_t){out, sb_args_decode((sb_str_t){cases[i][0], strlen(cases[i][0])}, out)}, cases[i][1]);
}

static void
test_cookie(void **state)
{
    sb_str_t header = SB_STR("ab=0; b ; a = x=y ;\tb=2;a=3; c=");

    (void)state;
    assert_str(sb_args_cookie(header, SB_STR("a")), "x=y");
    assert_str(sb_args_cookie(header, SB_STR("b")), "2");
    assert_str(sb_args_cookie(header, SB_STR("c")), "");
    assert_null(sb_args_cookie(header, SB_STR("d")).data);
    assert_null(sb_args_cookie((sb_str_t){NULL, 0}, SB_STR("a")).data);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_query), cmocka_unit_test(test_decode), cmocka_unit_test(test_cookie)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
