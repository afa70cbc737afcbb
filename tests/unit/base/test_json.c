/* Compact JSON text: what comes out reads back as the same value, and is the text that jansson would write. */
#include "core/base/json.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void
same_as_jansson(void **state)
{
    static const char *const texts[] = {
        "null",
        "true",
        "false",
        "0",
        "-9223372036854775808",
        "9223372036854775807",
        "1.5",
        "1700000000.123",
        "100.0",
        "1e300",
        "-2.5e-7",
        "\"\"",
        "\"a\\\"b\\\\c/d\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\"",
        "\"\\u00e9\\u4e2d\\ud83d\\ude00\"",
        "[]",
        "{}",
        "[[],{},[1,[2]],\"x\"]",
        "{\"b\":1,\"a\":{\"c\":[null,true,false]},\"k\\\"\\n\":\"v\"}",
    };
    size_t i, len;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *v = json_loads(texts[i], JSON_DECODE_ANY, NULL), *back;
        char *wanted = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(16)), *got = sb_json_dump_len(v, &len);

        assert_string_equal(got, wanted);
        assert_int_equal(len, strlen(wanted));
        back = sb_json_parse(got, len, NULL);
        assert_true(json_equal(v, back));
        json_decref(back);
        json_decref(v);
        free(wanted);
        free(got);
    }
}

static void
nul_bytes_are_kept(void **state)
{
    json_t *v = json_stringn("a\0b", 3), *back;
    size_t len;
    char *got = sb_json_dump_len(v, &len);

    assert_string_equal(got, "\"a\\u0000b\"");
    back = sb_json_parse(got, len, NULL);
    assert_true(json_equal(v, back));
    json_decref(back);
    json_decref(v);
    free(got);
}

static void
whole_numbers_beyond_64_bits_are_reals(void **state)
{
    static const struct {
        const char *text, *wanted; /* NULL: refused */
    } cases[] = {
        {"9223372036854775807", "9223372036854775807"},
        {"9223372036854775808", "9.223372036854776e18"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"-9223372036854775809", "-9.223372036854776e18"},
        {"18446744073709551616", "1.844674407370955e19"},
        {"100000000000000000000", "1e20"},
        {"[1,100000000000000000000,2.5,1e3,-1]", "[1,1e20,2.5,1000.0,-1]"},
        {"{\"100000000000000000000\":100000000000000000000}", "{\"100000000000000000000\":1e20}"},
        {"[100000000000000000000,\"\\\\\",\"\\\"100000000000000000000\"]", "[1e20,\"\\\\\",\"\\\"100000000000000000000\"]"},
        {"[100000000000000000000,100000000000000000000.5,100000000000000000000e2]", "[1e20,1e20,1e22]"},
        {"[100000000000000000000", NULL},
        {"[100000000000000000000,\"a", NULL},
        {"[100000000000000000000,\"a\\", NULL},
        {"[100000000000000000000,-]", NULL},
        {"[100000000000000000000,1.]", NULL},
        {"[100000000000000000000,1e999]", NULL},
        {"00100000000000000000000", NULL},
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = strlen(cases[i].text);
        char *exact = malloc(len), *got; /* nothing readable behind it */
        json_t *v;

        memcpy(exact, cases[i].text, len);
        v = sb_json_parse(exact, len, NULL);
        free(exact);
        if (cases[i].wanted == NULL) {
            assert_null(v);
            continue;
        }
        assert_non_null(v);
        got = sb_json_dump(v);
        assert_string_equal(got, cases[i].wanted);
        json_decref(v);
        free(got);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_as_jansson), cmocka_unit_test(nul_bytes_are_kept),
                                       cmocka_unit_test(whole_numbers_beyond_64_bits_are_reals)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
