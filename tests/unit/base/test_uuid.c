/* UUID parsing, formatting and name-based ids. The v5 vector is RFC 4122's DNS namespace with "www.example.com". */
#include "core/base/uuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
parse_and_format(void **state)
{
    sb_uuid_t u;
    char text[37];

    assert_true(sb_uuid_parse("6BA7B810-9dad-11d1-80b4-00c04fd430c8", 36, &u));
    sb_uuid_format(&u, text);
    assert_string_equal(text, "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    assert_false(sb_uuid_parse("6ba7b810-9dad-11d1-80b4-00c04fd430c", 35, &u));
    assert_false(sb_uuid_parse("6ba7b810x9dad-11d1-80b4-00c04fd430c8", 36, &u));
    assert_false(sb_uuid_parse("6ba7b81-09dad-11d1-80b4-00c04fd430c8", 36, &u));
}

static void
name_based(void **state)
{
    sb_uuid_t ns, u;
    char text[37];

    assert_true(sb_uuid_parse("6ba7b810-9dad-11d1-80b4-00c04fd430c8", 36, &ns));
    sb_uuid_v5(&ns, "www.example.com", 15, &u);
    sb_uuid_format(&u, text);
    assert_string_equal(text, "2ed6657d-e927-568b-95e1-2665a8aea6a2");
}

static void
random_ones_differ_and_are_version_4(void **state)
{
    char a[37], b[37];

    sb_uuid_v4(a);
    sb_uuid_v4(b);
    assert_string_not_equal(a, b);
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_and_format),
        cmocka_unit_test(name_based),
        cmocka_unit_test(random_ones_differ_and_are_version_4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
