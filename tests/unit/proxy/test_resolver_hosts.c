/* IP literals, the hosts file and the options of resolv.conf. */
#include "proxy/resolver_hosts.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static bool
is_literal(const char *text)
{
    sb_addr_t a;
    return sb_addr_parse(text, strlen(text), &a);
}

static void
literals(void **state)
{
    sb_addr_t a;

    assert_true(sb_addr_parse("192.0.2.1", 9, &a));
    assert_int_equal(a.sa.any.sa_family, AF_INET);
    assert_int_equal(a.len, sizeof(struct sockaddr_in));
    assert_string_equal(a.text, "192.0.2.1");
    assert_true(sb_addr_parse("[2001:DB8:0::1]", 15, &a));
    assert_int_equal(a.sa.any.sa_family, AF_INET6);
    assert_string_equal(a.text, "2001:db8::1");
    assert_int_equal(a.text_len, 11);
    assert_true(sb_addr_parse("::1", 3, &a));
}

static void
not_literals(void **state)
{
    static const char *const bad[] = {"",
                                      "localhost",
                                      "1.2.3",
                                      "1.2.3.256",
                                      "1.2.3.4.5",
                                      "0x1.2.3.4",
                                      "[1.2.3.4",
                                      "[::1",
                                      "::1]",
                                      "[]",
                                      "1::2::3",
                                      "01.2.3.4x",
                                      "fe80::1%eth0",
                                      "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc"};
    sb_addr_t a;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(is_literal(bad[i]));
    assert_false(sb_addr_parse("1.2.3.4\0x", 9, &a));
}

static void
collect(sb_str_t name, const sb_addr_t *addr, void *arg)
{
    char *out = arg;

    sprintf(out + strlen(out), "%.*s=%s ", (int)name.len, name.data, addr->text);
}

static void
hosts_file(void **state)
{
    static const char text[] =
        "# comment\n127.0.0.1\tlocalhost alias # 1.2.3.4 not\n\n   ::1 six\r\nnonsense here\n10.0.0.1\n#10.0.0.2 off\n"
        "10.0.0.3 last";
    char out[512] = "";

    sb_hosts_parse(text, sizeof(text) - 1, collect, out);
    assert_string_equal(out, "localhost=127.0.0.1 alias=127.0.0.1 six=::1 last=10.0.0.3 ");
    out[0] = '\0';
    sb_hosts_parse("", 0, collect, out);
    sb_hosts_parse("\n\n#", 3, collect, out);
    assert_string_equal(out, "");
}

static void
options(void **state)
{
    static const struct {
        const char *text;
        sb_dns_times_t conf, env; /* what the text says as a file, and as RES_OPTIONS */
    } rows[] = {
        {"", {0, 0}, {0, 0}},
        {"options timeout:1 attempts:2", {1, 2}, {1, 2}},
        {"nameserver ::1\noptions\tattempts:3\toptions\r\noptions  ndots:5 timeout:07\n", {7, 3}, {0, 3}},
        {"timeout:4 attempts:4", {0, 0}, {4, 4}},
        {"options timeout:1 timeout:2", {2, 0}, {2, 0}},
        {"options timeout:31 attempts:99999999999999999999999", {30, 5}, {30, 5}},
        {"options timeout:0 attempts:", {0, 0}, {0, 0}},
        {"options timeout:-1 attempts:2x timeouts:3", {0, 0}, {0, 0}},
        {" options timeout:1\n#options timeout:1\noptionstimeout:1\noptions", {0, 0}, {0, 0}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        sb_dns_times_t conf = {0}, env = {0};

        sb_resolv_conf_parse(rows[i].text, strlen(rows[i].text), &conf);
        sb_dns_options_parse(rows[i].text, strlen(rows[i].text), &env);
        assert_memory_equal(&conf, &rows[i].conf, sizeof(conf));
        assert_memory_equal(&env, &rows[i].env, sizeof(env));
    }
}

static void
reading_is_bounded(void **state)
{
    char path[] = "/tmp/sb-hosts-XXXXXX";
    int fd = mkstemp(path);
    size_t len = 0;
    char *text;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "127.0.0.1 name\n", 15), 15);
    close(fd);
    text = sb_hosts_read(path, 9, &len);
    assert_int_equal(len, 9);
    assert_memory_equal(text, "127.0.0.1", 9);
    free(text);
    unlink(path);
    assert_null(sb_hosts_read(path, 100, &len));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals), cmocka_unit_test(not_literals),       cmocka_unit_test(hosts_file),
        cmocka_unit_test(options),  cmocka_unit_test(reading_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
