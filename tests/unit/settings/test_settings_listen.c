/* The listen syntax. */
#include "core/settings/settings_listen.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
good_ones(void **state)
{
    sb_listen_t *l;
    size_t n;

    assert_true(sb_listen_parse("0.0.0.0:8000 reuseport backlog=16384, [::1]:8443 http2 ssl proxy_protocol", &l, &n));
    assert_int_equal(n, 2);
    assert_string_equal(l[0].address, "0.0.0.0");
    assert_int_equal(l[0].port, 8000);
    assert_string_equal(l[0].flags, "reuseport backlog=16384");
    assert_false(l[0].ssl || l[0].http2 || l[0].proxy_protocol);
    assert_string_equal(l[1].address, "[::1]");
    assert_true(l[1].ssl && l[1].http2 && l[1].proxy_protocol);
    assert_string_equal(l[1].flags, "");
    sb_listen_free(l, n);
    assert_true(sb_listen_parse("localhost:80 so_keepalive=30m::10 ipv6only=off deferred bind", &l, &n));
    assert_string_equal(l[0].flags, "so_keepalive=30m::10 ipv6only=off deferred bind");
    assert_false(l[0].quic);
    sb_listen_free(l, n);
    assert_true(sb_listen_parse("[::]:443 ssl quic ipv6only=off", &l, &n));
    assert_true(l[0].ssl && l[0].quic);
    assert_string_equal(l[0].flags, "ipv6only=off");
    sb_listen_free(l, n);
}

static void
off(void **state)
{
    static const char *const texts[] = {"off", " off ", "127.0.0.1:8000, off"};
    sb_listen_t *l;
    size_t n;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_true(sb_listen_parse(texts[i], &l, &n));
        assert_int_equal(n, 0);
        assert_null(l);
    }
}

static void
bad_ones(void **state)
{
    static const char *const texts[] = {
        "",
        "8000",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "300.1.1.1:80",
        "127.0.0.1:80 sls",
        "127.0.0.1:80;",
        "127.0.0.1:80 backlog=",
        "127.0.0.1:80 backlog=1;",
        "[::g]:80",
        "::1:80",
        "127.0.0.1:80,",
        "a b:80",
        "127.0.0.1:80 so_keepalive=1",
        "127.0.0.1:-1",
        "ho/st:80",
        "127.0.0.1:080000",
        "off x",
    };
    sb_listen_t *l;
    size_t n;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (sb_listen_parse(texts[i], &l, &n))
            fail_msg("accepted: '%s'", texts[i]);
        assert_null(l);
        assert_int_equal(n, 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones),
        cmocka_unit_test(off),
        cmocka_unit_test(bad_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
