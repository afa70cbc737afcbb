/* The validators that tables name: accepted values and the exact texts of refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/schema/schema_int.h"

static const struct {
    const char *validator, *value, *error; /* error NULL: accepted */
} cases[] = {
    {"host", "example.com", NULL},
    {"host", "a_b.example-1.com.", NULL},
    {"host", "10.0.0.1", NULL},
    {"host", "::1", NULL},
    {"host", "[::1]", NULL},
    {"host", "example.com:80", "must not have a port"},
    {"host", "[::1]:80", "must not have a port"},
    {"host", "300.1.1.1", "invalid value: 300.1.1.1"},
    {"host", "-a.com", "invalid value: -a.com"},
    {"host", "a..com", "invalid value: a..com"},
    {"host", "a b", "invalid value: a b"},
    {"host", "::g", "invalid value: ::g"},
    {"host_with_optional_port", "a.com:8080", NULL},
    {"host_with_optional_port", "[::1]:65535", NULL},
    {"host_with_optional_port", "a.com:65536", "invalid port number"},
    {"host_with_optional_port", "a.com:", "invalid port number"},
    {"host_with_optional_port", "a.com:x", "invalid port number"},
    {"host_with_optional_port", "a@b", "invalid hostname: a@b"},
    {"host_with_optional_port", "1.2.3", "invalid ipv4 address: 1.2.3"},
    {"host_with_optional_port", "[::1", "invalid ipv6 address: [::1"},
    {"host_with_wildcards", "*.example.com", NULL},
    {"host_with_wildcards", "*.example.com:80", NULL},
    {"host_with_wildcards", "*.exa mple.com", "invalid hostname: *.exa mple.com"},
    {"wildcard_host", "*.a.test", NULL},
    {"wildcard_host", "a.*", NULL},
    {"wildcard_host", "a.test", NULL},
    {"wildcard_host", "a.*.test", "wildcard must be leftmost or rightmost character"},
    {"wildcard_host", "*.a.*", "only one wildcard must be specified"},
    {"wildcard_host", "1.2.3.4", "must not be an IP"},
    {"wildcard_host", "*.a.test:80", "must not have a port"},
    {"wildcard_host", "*.a b", "invalid value: *.a b"},
    {"sni", "a.test", NULL},
    {"sni", "::1", "must not be an IP"},
    {"sni", "a.test:443", "must not have a port"},
    {"sni", "*.a.test", "invalid value: *.a.test"},
    {"upstream_name", "u.test", NULL},
    {"upstream_name", "1.2.3.4", "Invalid name ('1.2.3.4'); no ip addresses allowed"},
    {"upstream_name", "u:80", "Invalid name ('u:80'); no port allowed"},
    {"upstream_name", "u v", "Invalid name ('u v'); must be a valid hostname"},
    {"target_address", "1.2.3.4", NULL},
    {"target_address", "[::1]:80", NULL},
    {"target_address", "a b", "Invalid target ('a b'); not a valid hostname or ip address"},
    {"ip", "1.2.3.4", NULL},
    {"ip", "::", NULL},
    {"ip", "1.2.3.4/8", "not an ip address: 1.2.3.4/8"},
    {"ip_or_cidr", "10.0.0.0/8", NULL},
    {"ip_or_cidr", "::/0", NULL},
    {"ip_or_cidr", "::1/128", NULL},
    {"ip_or_cidr", "10.0.0.0/33", "invalid ip or cidr range: '10.0.0.0/33'"},
    {"ip_or_cidr", "10.0.0.0/", "invalid ip or cidr range: '10.0.0.0/'"},
    {"ip_or_cidr", "10.0.0.0/-1", "invalid ip or cidr range: '10.0.0.0/-1'"},
    {"ip_or_cidr", "::1/129", "invalid ip or cidr range: '::1/129'"},
    {"ip_or_cidr_v4", "10.0.0.0/8", NULL},
    {"ip_or_cidr_v4", "::1", "invalid ipv4 cidr range: '::1'"},
    {"path", "/a/b%20c;x=1", NULL},
    {"path", "/a b", "invalid path: '/a b' (characters outside of the reserved list of RFC 3986 found)"},
    {"path", "/a%2", "invalid url-encoded value: '%2'"},
    {"path", "/a%zzb", "invalid url-encoded value: '%zz'"},
    {"router_path", "/a/b", NULL},
    {"router_path", "/a%20b", NULL},
    {"router_path", "/a/./b", "non-normalized path, consider use '/a/b' instead"},
    {"router_path", "/%61", "non-normalized path, consider use '/a' instead"},
    {"router_path", "/%e4", "non-normalized path, consider use '/%E4' instead"},
    {"router_path", "/a%", "invalid url-encoded value: '%'"},
    {"router_path", "~/a/(?<id>\\d+)$", NULL},
    {"url", "http://a", NULL},
    {"url", "https://u:p@a.test:443/x?y", NULL},
    {"url", "a.test/x", "missing scheme in url"},
    {"url", "http:///x", "missing host in url"},
    {"url", "http://:80/", "missing host in url"},
    {"name", "a.b-c_d~1", NULL},
    {"name", "a b", "invalid value 'a b': it must only contain alphanumeric and '., -, _, ~' characters"},
    {"utf8_name", "\xc3\xa4.\xf0\x9f\x98\x80", NULL},
    {"utf8_name", "a/b", "invalid value 'a/b': the only accepted ascii characters are alphanumerics or ., -, _, and ~"},
    {"tag", "a tag: \xc3\xa4", NULL},
    {"tag", "a,b", "invalid tag 'a,b': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"},
    {"tag", "a/b", "invalid tag 'a/b': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"},
    {"tag", "a\tb", "invalid tag 'a\tb': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"},
    {"header_name", "X-A_1", NULL},
    {"header_name", "", "no header name provided"},
    {"header_name", "x:y", "bad header name 'x:y', allowed characters are A-Z, a-z, 0-9, '_', and '-'"},
    {"http_token", "sid", NULL},
    {"http_token", "", "no token provided"},
    {"asterisk_or_regex", "*", NULL},
    {"asterisk_or_regex", "^a+$", NULL},
    {"asterisk_or_regex", "[", "'[' is not a valid regex"},
    {"certificate_pem", "no", "invalid certificate: no start line"},
};

static void
test_cases(void **state)
{
    char buf[1024];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        sb_validator_pt fn = sb_validator_find(cases[i].validator);
        json_t *v = json_string(cases[i].value);
        const char *got;

        assert_non_null(fn);
        got = fn(v, buf, sizeof(buf));
        if ((got == NULL) != (cases[i].error == NULL) || (got != NULL && strcmp(got, cases[i].error) != 0))
            fail_msg("%s '%s': %s", cases[i].validator, cases[i].value, got != NULL ? got : "accepted");
        json_decref(v);
    }
}

static void
test_texts_that_are_long_or_odd(void **state)
{
    char small[16], name[300];
    json_t *v;

    (void)state;
    /* A text that does not fit is cut, never overrun. */
    v = json_string("a b");
    assert_string_equal(sb_valid_host(v, small, sizeof(small)), "invalid value: ");
    json_decref(v);
    memset(name, 'a', sizeof(name));
    v = json_stringn(name, 64);
    assert_non_null(sb_valid_host(v, small, sizeof(small)));
    json_decref(v);
    v = json_stringn(name, 63);
    assert_null(sb_valid_host(v, small, sizeof(small)));
    json_decref(v);
    /* A NUL inside hides nothing. */
    v = json_stringn("a.com\0\n", 7);
    assert_non_null(sb_valid_host(v, small, sizeof(small)));
    assert_non_null(sb_valid_utf8_name(v, small, sizeof(small)));
    assert_non_null(sb_valid_path(v, small, sizeof(small)));
    assert_non_null(sb_valid_ip(v, small, sizeof(small)));
    json_decref(v);
    /* What is no string is left to the type check. */
    v = json_integer(1);
    assert_null(sb_valid_host(v, small, sizeof(small)));
    assert_null(sb_valid_certificate_pem(v, small, sizeof(small)));
    json_decref(v);
}

static void
test_utf8(void **state)
{
    static const struct {
        const char *bytes;
        int position;
    } bad[] = {{"a\xff", 2}, {"\xc3", 1},        {"ab\xc0\x80", 3}, {"\xed\xa0\x80", 1}, {"\xe0\x80\x80", 1}, {"\xf4\x90\x80\x80", 1},
               {"a\x80", 2}, {"\xf0\x9f\x98", 1}};
    char buf[256], want[256];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *v = json_string_nocheck(bad[i].bytes);

        snprintf(want, sizeof(want), "invalid utf-8 character sequence detected at position %d", bad[i].position);
        assert_string_equal(sb_valid_utf8_name(v, buf, sizeof(buf)), want);
        assert_string_equal(sb_valid_tag(v, buf, sizeof(buf)), want);
        json_decref(v);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_texts_that_are_long_or_odd),
        cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
