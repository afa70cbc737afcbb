/* Header lines of answers: what is taken, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../../src/proxy/header_line.c"

static void
check(const char *line, const char *name, const char *value)
{
    sb_header_line_t at;

    assert_true(sb_header_line_parse((const unsigned char *)line, strlen(line), &at));
    assert_int_equal(at.name_len, strlen(name));
    assert_memory_equal(line, name, at.name_len);
    assert_int_equal(at.value_len, strlen(value));
    assert_memory_equal(line + at.value, value, at.value_len);
}

static void
lines_are_split(void **state)
{
    check("Server: nginx", "Server", "nginx");
    check("Server:nginx", "Server", "nginx");
    check("X: \t a b:c \t", "X", "a b:c");
    check("X:", "X", "");
    check("X: \t ", "X", "");
    check("no-colon", "no-colon", "");
    check("X: \xc3\xa9", "X", "\xc3\xa9");
}

static void
refuse(const char *line, size_t len)
{
    sb_header_line_t at;

    assert_false(sb_header_line_parse((const unsigned char *)line, len, &at));
}

#define REFUSE(text) refuse((text), sizeof(text) - 1)

static void
what_may_mislead_is_refused(void **state)
{
    REFUSE(": value");
    REFUSE(" folded");
    REFUSE("\tfolded: x");
    REFUSE("A : b");
    REFUSE("A b: c");
    REFUSE("A: b\rC: d");
    REFUSE("A: b\0c");
    REFUSE("A\0: b");
    REFUSE("A\x7f: b");
    REFUSE("A\r: b");
}

static void
hashes_ignore_case(void **state)
{
    sb_header_line_t at;
    uintptr_t expected = 0;

    assert_true(sb_header_line_parse((const unsigned char *)"Content-TYPE_z9: x", 18, &at));
    assert_int_equal(at.name_len, 15);
    for (const char *p = "content-type_z9"; *p != '\0'; p++)
        expected = expected * 31 + (unsigned char)*p;
    assert_true(at.hash == expected);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_split),
        cmocka_unit_test(what_may_mislead_is_refused),
        cmocka_unit_test(hashes_ignore_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
