/* Target texts: parsing and the stored form. */
#include "core/balancer/balancer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
parsing_and_normalising(void **state)
{
    static const char *const cases[][2] = {
        {"a.com", "a.com:8000"},
        {"a.com:1", "a.com:1"},
        {"a_b-c", "a_b-c:8000"},
        {"a.com.", "a.com.:8000"},
        {"1.2.3.4", "1.2.3.4:8000"},
        {"1.2.3.4:65535", "1.2.3.4:65535"},
        {"3com.com:80", "3com.com:80"},
        {"::1", "[0000:0000:0000:0000:0000:0000:0000:0001]:8000"},
        {"[::1]", "[0000:0000:0000:0000:0000:0000:0000:0001]:8000"},
        {"[FE80::a]:80", "[fe80:0000:0000:0000:0000:0000:0000:000a]:80"},
        {"", NULL},
        {":80", NULL},
        {"a.com:", NULL},
        {"a.com:65536", NULL},
        {"a.com:-1", NULL},
        {"a.com:1:2", NULL},
        {"a..com", NULL},
        {".a", NULL},
        {"a b", NULL},
        {"http://a", NULL},
        {"1.2.3.400", NULL},
        {"1.2.3", NULL},
        {"[::1", NULL},
        {"[::1]80", NULL},
        {"[::1]:x", NULL},
        {"[1.2.3.4]:80", NULL},
        {"[]:80", NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *out = sb_target_normalise((sb_str_t){cases[i][0], strlen(cases[i][0])});
        if (cases[i][1] == NULL)
            assert_null(out);
        else
            assert_string_equal(out, cases[i][1]);
        free(out);
    }
}

static void
of_a_row(void **state)
{
    uint16_t port;
    json_t *row = json_pack("{s:s}", "target", "[::1]:99"), *bad = json_pack("{s:s}", "target", "[::1");
    char *host = sb_target_of_row(row, &port);

    assert_string_equal(host, "::1");
    assert_int_equal(port, 99);
    assert_true(sb_target_is_ip(host));
    assert_true(sb_target_is_ip("127.0.0.1"));
    assert_false(sb_target_is_ip("a.test"));
    assert_false(sb_target_is_ip(""));
    assert_null(sb_target_of_row(bad, &port));
    assert_null(sb_target_of_row(NULL, &port));
    free(host);
    json_decref(row);
    json_decref(bad);
}

static void
the_host_has_no_brackets(void **state)
{
    sb_str_t host;
    uint16_t port;

    assert_int_equal(sb_target_parse(SB_STR("[::1]:99"), &host, &port), SB_OK);
    assert_true(sb_str_eqc(host, "::1"));
    assert_int_equal(port, 99);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parsing_and_normalising),
        cmocka_unit_test(of_a_row),
        cmocka_unit_test(the_host_has_no_brackets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
