/* The server name of a ClientHello: whole, cut anywhere, in several records, and broken. Hellos are built here, field by field. */
#include "core/base/client_hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct bytes {
    unsigned char b[4096];
    size_t n;
};

static void
add(struct bytes *o, const void *data, size_t n)
{
    assert_true(o->n + n <= sizeof(o->b));
    memcpy(o->b + o->n, data, n);
    o->n += n;
}

static void
add_number(struct bytes *o, size_t value, unsigned bytes)
{
    while (bytes-- > 0) {
        unsigned char c = (unsigned char)(value >> (8 * bytes));
        add(o, &c, 1);
    }
}

/* Extensions: another one, then server_name unless NULL. */
static void
add_extensions(struct bytes *o, const char *name)
{
    struct bytes e = {.n = 0};

    add_number(&e, 43, 2); /* supported_versions */
    add_number(&e, 3, 2);
    add(&e, "\x02\x03\x04", 3);
    if (name != NULL) {
        add_number(&e, 0, 2);
        add_number(&e, strlen(name) + 5, 2);
        add_number(&e, strlen(name) + 3, 2);
        add_number(&e, 0, 1);
        add_number(&e, strlen(name), 2);
        add(&e, name, strlen(name));
    }
    add_number(&e, 21, 2); /* padding */
    add_number(&e, 4, 2);
    add(&e, "\0\0\0\0", 4);
    add_number(o, e.n, 2);
    add(o, e.b, e.n);
}

static struct bytes
hello(const char *name)
{
    struct bytes body = {.n = 0}, out = {.n = 0};
    unsigned char random[32] = {7};

    add_number(&body, 0x0303, 2);
    add(&body, random, sizeof(random));
    add_number(&body, 32, 1); /* session id */
    add(&body, random, 32);
    add_number(&body, 4, 2); /* cipher suites */
    add(&body, "\x13\x01\x13\x02", 4);
    add_number(&body, 1, 1); /* compression methods */
    add(&body, "\0", 1);
    add_extensions(&body, name);
    add_number(&out, 1, 1);
    add_number(&out, body.n, 3);
    add(&out, body.b, body.n);
    return out;
}

/* A message in records of at most `size` bytes. */
static struct bytes
in_records(const struct bytes *message, size_t size)
{
    struct bytes out = {.n = 0};

    for (size_t at = 0; at < message->n; at += size) {
        size_t n = message->n - at < size ? message->n - at : size;
        add(&out, "\x16\x03\x01", 3);
        add_number(&out, n, 2);
        add(&out, message->b + at, n);
    }
    return out;
}

static void
names(void **state)
{
    static const char *const cases[][2] = {{"example.com", "example.com"},
                                           {"Example.COM", "example.com"},
                                           {NULL, ""},
                                           {"a_b-c.9", "a_b-c.9"},
                                           {"bad name", ""},
                                           {"bad/name", ""}};
    char name[SB_SERVER_NAME_MAX + 1];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bytes m = hello(cases[i][0]), r = in_records(&m, 16384);
        assert_int_equal(sb_client_hello_name(r.b, r.n, name), SB_OK);
        assert_string_equal(name, cases[i][1]);
    }
}

static void
long_names(void **state)
{
    char text[400], name[SB_SERVER_NAME_MAX + 1];
    struct bytes m, r;

    memset(text, 'a', sizeof(text));
    text[SB_SERVER_NAME_MAX] = '\0';
    m = hello(text);
    r = in_records(&m, 16384);
    assert_int_equal(sb_client_hello_name(r.b, r.n, name), SB_OK);
    assert_string_equal(name, text);
    text[SB_SERVER_NAME_MAX] = 'a';
    text[SB_SERVER_NAME_MAX + 1] = '\0';
    m = hello(text);
    r = in_records(&m, 16384);
    assert_int_equal(sb_client_hello_name(r.b, r.n, name), SB_OK);
    assert_string_equal(name, "");
}

static void
every_beginning_asks_for_more(void **state)
{
    char name[SB_SERVER_NAME_MAX + 1];
    struct bytes m = hello("example.com");

    for (size_t size = 1; size <= m.n; size = size * 3 + 1) {
        struct bytes r = in_records(&m, size);
        for (size_t n = 0; n < r.n; n++) {
            assert_int_equal(sb_client_hello_name(r.b, n, name), SB_HELLO_MORE);
            assert_string_equal(name, "");
        }
        assert_int_equal(sb_client_hello_name(r.b, r.n, name), SB_OK);
        assert_string_equal(name, "example.com");
        add(&r, "more", 4); /* what comes behind it does not count */
        assert_int_equal(sb_client_hello_name(r.b, r.n, name), SB_OK);
    }
}

static void
something_else(void **state)
{
    static const char *const cases[] = {"GET / HTTP/1.1\r\n", "\x16\x02\x01\x00\x05hello", "\x17\x03\x01\x00\x05hello",
                                        "\x16\x03\x01\x00\x04\x02"};
    char name[SB_SERVER_NAME_MAX + 1];
    struct bytes m, r;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(sb_client_hello_name((const unsigned char *)cases[i],
                                              i == 3                 ? 6
                                              : strlen(cases[i]) > 5 ? 10
                                                                     : 5,
                                              name),
                         SB_DECLINED);
    assert_int_equal(sb_client_hello_name((const unsigned char *)"\x16\x03\x01\x00\x00", 5, name), SB_DECLINED); /* an empty record */
    /* Lengths that do not fit into each other. */
    m = hello("example.com");
    for (size_t i = 4; i < m.n; i++) {
        struct bytes broken = m;
        broken.b[i] = 0xff;
        r = in_records(&broken, 16384);
        assert_int_not_equal(sb_client_hello_name(r.b, r.n, name), SB_HELLO_MORE); /* never waits for what cannot come */
    }
}

static void
lower_case(void **state)
{
    static const char *const wrong[] = {"a b", "a\nb.test", "a\"b", "\x7f", "caf\xc3\xa9.test", "*.test"};
    char out[16];

    assert_true(sb_server_name_lower("A.b-1_Z:test", 12, out));
    assert_memory_equal(out, "a.b-1_z:test", 12);
    assert_true(sb_server_name_lower("", 0, out));
    assert_false(sb_server_name_lower("a\0b", 3, out));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(sb_server_name_lower(wrong[i], strlen(wrong[i]), out));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(long_names),
                                       cmocka_unit_test(every_beginning_asks_for_more), cmocka_unit_test(something_else),
                                       cmocka_unit_test(lower_case)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
