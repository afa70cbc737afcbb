/* Answers of name servers, byte by byte. */
#include "proxy/resolver_msg.c"
#include "proxy/resolver_hosts.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* ---- writing messages ---- */

static struct {
    uint8_t data[4096];
    size_t len;
} m;

static void
put(const void *data, size_t len)
{
    assert_true(m.len + len <= sizeof(m.data));
    memcpy(m.data + m.len, data, len);
    m.len += len;
}

static void
put16(unsigned v)
{
    uint8_t b[] = {(uint8_t)(v >> 8), (uint8_t)v};
    put(b, 2);
}

static void
put_name(const char *name)
{
    while (*name != '\0') {
        uint8_t len = (uint8_t)strcspn(name, ".");

        put(&len, 1);
        put(name, len);
        name += len + (name[len] == '.');
    }
    put("", 1);
}

static void
message(const char *name, int answers)
{
    m.len = 0;
    put("\x12\x34\x81\x80\0\1", 6);
    put16((unsigned)answers);
    put("\0\0\0\0", 4);
    put_name(name);
    put("\0\1\0\1", 4);
}

static void
record(const char *owner, unsigned type, uint32_t ttl, const void *data, size_t len)
{
    if (owner == NULL)
        put("\xc0\x0c", 2); /* the name that was asked */
    else
        put_name(owner);
    put16(type);
    put16(1);
    put16(ttl >> 16);
    put16(ttl & 0xffff);
    put16((unsigned)len);
    put(data, len);
}

static int
parse(int type, sb_dns_answer_t *a)
{
    uint8_t *exact = malloc(m.len + 1); /* so that a sanitizer sees one byte too many */
    int rc;

    memcpy(exact + 1, m.data, m.len);
    rc = sb_dns_parse(exact + 1, m.len, type, a);
    free(exact);
    return rc;
}

/* ---- tests ---- */

static void
addresses(void **state)
{
    sb_dns_answer_t a;

    message("Web.Test", 3);
    record(NULL, 1, 60, "\xc0\0\2\1", 4);
    record("other.test", 1, 1, "\xc0\0\2\x63", 4);
    record("wEB.test", 1, 30, "\xc0\0\2\2", 4);
    assert_int_equal(parse(SB_DNS_A, &a), SB_OK);
    assert_int_equal(a.n, 2);
    assert_int_equal(a.ttl, 30);
    assert_string_equal(a.addrs[0].text, "192.0.2.1");
    assert_string_equal(a.addrs[1].text, "192.0.2.2");
    sb_dns_answer_free(&a);
    assert_int_equal(parse(SB_DNS_AAAA, &a), SB_DECLINED);
    assert_int_equal(parse(SB_DNS_SRV, &a), SB_DECLINED);
    message("six.test", 1);
    record(NULL, 28, 5, "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    assert_int_equal(parse(SB_DNS_AAAA, &a), SB_OK);
    assert_string_equal(a.addrs[0].text, "2001:db8::1");
    sb_dns_answer_free(&a);
}

static void
aliases(void **state)
{
    sb_dns_answer_t a;

    message("a.test", 3); /* in any order */
    record("c.test", 1, 60, "\xc0\0\2\1", 4);
    record("b.test", 5, 7, "\1c\4test", 8);
    record(NULL, 5, 40, "\1b\4test", 8);
    assert_int_equal(parse(SB_DNS_A, &a), SB_OK);
    assert_string_equal(a.addrs[0].text, "192.0.2.1");
    assert_int_equal(a.ttl, 7);
    sb_dns_answer_free(&a);
    assert_int_equal(parse(SB_DNS_CNAME, &a), SB_OK);
    assert_int_equal(a.n, 1);
    assert_string_equal(a.srvs[0].target, "b.test");
    assert_int_equal(a.ttl, 40);
    sb_dns_answer_free(&a);
    message("a.test", 2);
    record(NULL, 5, 40, "\1b\4test", 8);
    record("b.test", 5, 40, "\1a\4test", 8);
    assert_int_equal(parse(SB_DNS_A, &a), SB_ERROR); /* round and round */
}

static void
services(void **state)
{
    sb_dns_answer_t a;

    message("_http._tcp.web.test", 2);
    record(NULL, 33, 60, "\0\1\0\5\x1f\x90\3One\4test", 16);
    record(NULL, 33, 50, "\0\2\0\0\0\x50\3two\xc0\x17", 12); /* test, out of the question */
    assert_int_equal(parse(SB_DNS_SRV, &a), SB_OK);
    assert_int_equal(a.n, 2);
    assert_int_equal(a.ttl, 50);
    assert_int_equal(a.srvs[0].priority, 1);
    assert_int_equal(a.srvs[0].weight, 5);
    assert_int_equal(a.srvs[0].port, 8080);
    assert_string_equal(a.srvs[0].target, "one.test");
    assert_int_equal(a.srvs[1].port, 80);
    assert_string_equal(a.srvs[1].target, "two.web.test");
    sb_dns_answer_free(&a);
}

static void
ttl_beyond_the_sign_bit(void **state)
{
    sb_dns_answer_t a;

    message("web.test", 1);
    record(NULL, 1, 0x80000000u, "\xc0\0\2\1", 4);
    assert_int_equal(parse(SB_DNS_A, &a), SB_OK);
    assert_int_equal(a.ttl, 0);
    sb_dns_answer_free(&a);
}

static void
malformed(void **state)
{
    static const struct {
        const char *what;
        unsigned type;
        const char *data;
        size_t len;
    } bad[] = {
        {"a short address", 1, "\xc0\0\2", 3},
        {"a long address", 1, "\xc0\0\2\1\0", 5},
        {"a short AAAA", 28, "\xc0\0\2\1", 4},
        {"a service without target", 33, "\0\1\0\1\0\1", 6},
        {"a service cut off", 33, "\0\1\0", 3},
        {"a target that ends before the record", 33, "\0\1\0\1\0\1\1a\0xx", 11},
        {"a target beyond the record", 33, "\0\1\0\1\0\1\5ab", 9},
        {"a pointer to itself", 5, "\xc0\x26", 2},
        {"a pointer forward", 5, "\xc0\xff", 2},
        {"half a pointer", 5, "\xc0", 1},
        {"a reserved label type", 5, "\x81xx\0", 4},
        {"a dot in a label", 5, "\3a.b\0", 5},
        {"a control character", 5, "\3a\1b\0", 5},
        {"an empty alias", 5, "", 0},
    };
    sb_dns_answer_t a;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        message("web.test", 1);
        record(NULL, bad[i].type, 60, bad[i].data, bad[i].len);
        if (parse((int)bad[i].type, &a) != SB_ERROR)
            fail_msg("%s was accepted", bad[i].what);
    }
    /* Every message that was cut anywhere, and every one that promises more records than it has. */
    message("web.test", 2);
    record(NULL, 1, 60, "\xc0\0\2\1", 4);
    assert_int_equal(parse(SB_DNS_A, &a), SB_ERROR);
    m.data[7] = 1;
    for (size_t full = m.len; m.len > 0;) {
        m.len--;
        assert_int_equal(parse(SB_DNS_A, &a), SB_ERROR);
        assert_true(m.len < full);
    }
    message("web.test", 1);
    record(NULL, 1, 60, "\xc0\0\2\1", 4);
    m.data[2] &= 0x7f; /* a question */
    assert_int_equal(parse(SB_DNS_A, &a), SB_ERROR);
}

static void
names_are_bounded(void **state)
{
    char name[300];
    sb_dns_answer_t a;

    memset(name, 'a', sizeof(name));
    for (size_t i = 63; i < sizeof(name); i += 64)
        name[i] = '.';
    name[255] = '\0';
    message(name, 0);
    assert_int_equal(parse(SB_DNS_A, &a), SB_DECLINED);
    name[255] = '.';
    name[258] = '\0';
    message(name, 0);
    assert_int_equal(parse(SB_DNS_A, &a), SB_ERROR);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses), cmocka_unit_test(aliases),
        cmocka_unit_test(services),  cmocka_unit_test(ttl_beyond_the_sign_bit),
        cmocka_unit_test(malformed), cmocka_unit_test(names_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
