/* OCSP: URLs, the HTTP around an answer, and which answers count. */
#include "core/tls/ocsp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

typedef struct identity {
    EVP_PKEY *key;
    X509 *cert;
} identity_t;

static identity_t ca, other_ca, leaf, signer, wrong_signer;

static void
extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(ext);
    assert_int_equal(X509_add_ext(cert, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

static identity_t
make(const char *name, const identity_t *issuer, int nid, const char *value)
{
    static long serial = 1;
    identity_t i = {EVP_EC_gen("P-256"), X509_new()};
    const identity_t *by = issuer != NULL ? issuer : &i;

    X509_set_version(i.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(i.cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(i.cert), -86400);
    X509_gmtime_adj(X509_getm_notAfter(i.cert), 86400);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(i.cert), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(i.cert, X509_get_subject_name(by->cert));
    X509_set_pubkey(i.cert, i.key);
    extend(i.cert, by->cert, nid, value);
    assert_int_not_equal(X509_sign(i.cert, by->key, EVP_sha256()), 0);
    return i;
}

static int
set_up(void **state)
{
    (void)state;
    ca = make("ca", NULL, NID_basic_constraints, "critical,CA:TRUE");
    other_ca = make("ca", NULL, NID_basic_constraints, "critical,CA:TRUE"); /* of the same name */
    leaf = make("leaf", &ca, NID_info_access, "OCSP;URI:ldap://no,OCSP;URI:http://ocsp.test/q");
    signer = make("signer", &ca, NID_ext_key_usage, "OCSPSigning");
    wrong_signer = make("wrong", &ca, NID_ext_key_usage, "serverAuth");
    return 0;
}

static int
tear_down(void **state)
{
    identity_t *all[] = {&ca, &other_ca, &leaf, &signer, &wrong_signer};

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        EVP_PKEY_free(all[i]->key);
        X509_free(all[i]->cert);
    }
    return 0;
}

/* An answer about `about`, signed by `by`; from and to are seconds from now, to 0: not said. malloc'ed by OpenSSL. */
static sb_str_t
answer(X509 *about, const identity_t *by, int status, long from, long to)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    ASN1_TIME *this_update = X509_gmtime_adj(NULL, from), *next_update = to != 0 ? X509_gmtime_adj(NULL, to) : NULL;
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, about, ca.cert);
    OCSP_RESPONSE *response;
    unsigned char *der = NULL;
    int len;

    assert_non_null(
        OCSP_basic_add1_status(basic, id, status, 0, status == V_OCSP_CERTSTATUS_REVOKED ? this_update : NULL, this_update, next_update));
    assert_int_equal(OCSP_basic_sign(basic, by->cert, by->key, EVP_sha256(), NULL, 0), 1);
    response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    len = i2d_OCSP_RESPONSE(response, &der);
    assert_true(len > 0);
    OCSP_RESPONSE_free(response);
    OCSP_CERTID_free(id);
    OCSP_BASICRESP_free(basic);
    ASN1_TIME_free(this_update);
    ASN1_TIME_free(next_update);
    return (sb_str_t){(char *)der, (size_t)len};
}

static const char *
verdict(X509 *about, const identity_t *by, int status, long from, long to, time_t *until)
{
    sb_str_t der = answer(about, by, status, from, to);
    const char *why = NULL;
    int rc = sb_ocsp_check(der, leaf.cert, ca.cert, time(NULL), until, &why);

    OPENSSL_free((char *)der.data);
    assert_int_equal(rc, why == NULL ? SB_OK : SB_DECLINED);
    return why;
}

static void
test_answers_that_count(void **state)
{
    time_t now = time(NULL), until = 0;

    (void)state;
    assert_null(verdict(leaf.cert, &ca, V_OCSP_CERTSTATUS_GOOD, -60, 7200, &until));
    assert_in_range(until, now + 7190, now + 7210);
    assert_null(verdict(leaf.cert, &signer, V_OCSP_CERTSTATUS_GOOD, -60, 0, &until));
    assert_in_range(until, now + 3590, now + 3610);
}

static void
test_answers_that_do_not(void **state)
{
    time_t until;

    (void)state;
    assert_string_equal(verdict(leaf.cert, &ca, V_OCSP_CERTSTATUS_REVOKED, -60, 7200, &until), "the certificate is revoked");
    assert_string_equal(verdict(leaf.cert, &ca, V_OCSP_CERTSTATUS_UNKNOWN, -60, 7200, &until), "the certificate's status is unknown");
    assert_string_equal(verdict(leaf.cert, &ca, V_OCSP_CERTSTATUS_GOOD, -7200, -3600, &until), "it is not of today");
    assert_string_equal(verdict(leaf.cert, &ca, V_OCSP_CERTSTATUS_GOOD, 3600, 7200, &until), "it is not of today");
    assert_string_equal(verdict(signer.cert, &ca, V_OCSP_CERTSTATUS_GOOD, -60, 7200, &until), "it is about another certificate");
    assert_string_equal(verdict(leaf.cert, &other_ca, V_OCSP_CERTSTATUS_GOOD, -60, 7200, &until), "its signature is not the issuer's");
    assert_string_equal(verdict(leaf.cert, &wrong_signer, V_OCSP_CERTSTATUS_GOOD, -60, 7200, &until), "its signature is not the issuer's");
}

static void
test_answers_that_are_none(void **state)
{
    sb_str_t der = answer(leaf.cert, &ca, V_OCSP_CERTSTATUS_GOOD, -60, 7200);
    const char *why;
    time_t until;

    (void)state;
    assert_int_equal(sb_ocsp_check(SB_STR(""), leaf.cert, ca.cert, time(NULL), &until, &why), SB_DECLINED);
    for (size_t len = 0; len < der.len; len++)
        assert_int_equal(sb_ocsp_check((sb_str_t){der.data, len}, leaf.cert, ca.cert, time(NULL), &until, &why), SB_DECLINED);
    assert_int_equal(sb_ocsp_check(SB_STR("\x30\x03\x0a\x01\x03"), leaf.cert, ca.cert, time(NULL), &until, &why), SB_DECLINED);
    assert_string_equal(why, "trylater");
    OPENSSL_free((char *)der.data);
}

static void
test_responder_and_issuer(void **state)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    char *url = sb_ocsp_responder(leaf.cert);

    (void)state;
    assert_string_equal(url, "http://ocsp.test/q");
    assert_null(sb_ocsp_responder(ca.cert));
    assert_null(sb_ocsp_issuer(leaf.cert, NULL));
    sk_X509_push(chain, signer.cert);
    assert_null(sb_ocsp_issuer(leaf.cert, chain));
    sk_X509_push(chain, ca.cert);
    assert_ptr_equal(sb_ocsp_issuer(leaf.cert, chain), ca.cert);
    sk_X509_free(chain);
    free(url);
}

static void
test_urls(void **state)
{
    static const struct {
        const char *url, *host, *host_port, *path;
        unsigned port; /* 0: refused */
    } rows[] = {
        {"http://a.test", "a.test", "a.test", "/", 80},
        {"HTTP://a.test:8080/x?y", "a.test", "a.test:8080", "/x?y", 8080},
        {"http://[::1]:81/", "::1", "[::1]:81", "/", 81},
        {"http://[::1]/", "::1", "[::1]", "/", 80},
        {"https://a.test/", .port = 0},
        {"http://", .port = 0},
        {"http:///x", .port = 0},
        {"http://a.test:/", .port = 0},
        {"http://a.test:0/", .port = 0},
        {"http://a.test:65536/", .port = 0},
        {"http://a.test:8x/", .port = 0},
        {"http://[::1", .port = 0},
        {"http://[::1]x/", .port = 0},
        {"http://user@a.test/", .port = 0},
        {"http://a.test/\r\nX: y", .port = 0},
        {"http://a.test/ x", .port = 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        sb_ocsp_url_t u;
        bool good = sb_ocsp_url_parse((sb_str_t){rows[i].url, strlen(rows[i].url)}, &u);

        assert_int_equal(good, rows[i].port != 0);
        if (!good)
            continue;
        assert_true(sb_str_eqc(u.host, rows[i].host));
        assert_true(sb_str_eqc(u.host_port, rows[i].host_port));
        assert_true(sb_str_eqc(u.path, rows[i].path));
        assert_int_equal(u.port, rows[i].port);
    }
}

static void
test_request(void **state)
{
    sb_ocsp_url_t url;
    sb_str_t request;
    const char *body;
    const unsigned char *p;
    OCSP_REQUEST *parsed;

    (void)state;
    assert_true(sb_ocsp_url_parse(SB_STR("http://ocsp.test:99/q"), &url));
    request = sb_ocsp_request(&url, leaf.cert, ca.cert);
    assert_true(sb_str_starts(request, SB_STR("POST /q HTTP/1.0\r\nHost: ocsp.test:99\r\n")));
    body = memmem(request.data, request.len, "\r\n\r\n", 4);
    assert_non_null(body);
    p = (const unsigned char *)body + 4;
    parsed = d2i_OCSP_REQUEST(NULL, &p, (long)(request.data + request.len - body - 4));
    assert_non_null(parsed);
    assert_int_equal(OCSP_request_onereq_count(parsed), 1);
    OCSP_REQUEST_free(parsed);
    free((char *)request.data);
}

static void
test_http(void **state)
{
    static const struct {
        const char *in;
        bool ended;
        enum sb_ocsp_http rc;
        const char *body;
    } rows[] = {
        {"", false, SB_OCSP_MORE, NULL},
        {"", true, SB_OCSP_BAD, NULL},
        {"HTTP/1.1 200 OK\r\n\r\nabc", false, SB_OCSP_MORE, NULL},
        {"HTTP/1.1 200 OK\r\n\r\nabc", true, SB_OCSP_DONE, "abc"},
        {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nabc", false, SB_OCSP_DONE, "ab"},
        {"HTTP/1.0 200 OK\r\nX: y\r\ncontent-length:\t3 \r\n\r\nabc", false, SB_OCSP_DONE, "abc"},
        {"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nabc", false, SB_OCSP_MORE, NULL},
        {"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nabc", true, SB_OCSP_BAD, NULL},
        {"HTTP/1.0 200 OK\r\nContent-Length: -1\r\n\r\nabc", true, SB_OCSP_BAD, NULL},
        {"HTTP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\nabc", false, SB_OCSP_BAD, NULL},
        {"HTTP/1.0 200 OK\r\nContent-Length:\r\n\r\n", true, SB_OCSP_BAD, NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true, SB_OCSP_BAD, NULL},
        {"HTTP/1.1 404 No\r\n\r\n", true, SB_OCSP_BAD, NULL},
        {"HTTP/1.1\r\n\r\n", true, SB_OCSP_BAD, NULL},
        {"\r\n\r\n", true, SB_OCSP_BAD, NULL},
        {"HTTP/1.1 200 OK\r\n", true, SB_OCSP_BAD, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        sb_str_t body = {NULL, 0};

        assert_int_equal(sb_ocsp_http_body((sb_str_t){rows[i].in, strlen(rows[i].in)}, rows[i].ended, &body), rows[i].rc);
        if (rows[i].body != NULL)
            assert_true(sb_str_eqc(body, rows[i].body));
    }
}

static void
test_a_long_answer_is_refused(void **state)
{
    char *text = malloc(SB_OCSP_ANSWER_MAX + 1);
    sb_str_t body;

    (void)state;
    memset(text, 'x', SB_OCSP_ANSWER_MAX + 1);
    assert_int_equal(sb_ocsp_http_body((sb_str_t){text, SB_OCSP_ANSWER_MAX + 1}, false, &body), SB_OCSP_BAD);
    assert_int_equal(sb_ocsp_http_body((sb_str_t){text, SB_OCSP_ANSWER_MAX}, false, &body), SB_OCSP_MORE);
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_that_count),
        cmocka_unit_test(test_answers_that_do_not),
        cmocka_unit_test(test_answers_that_are_none),
        cmocka_unit_test(test_responder_and_issuer),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_http),
        cmocka_unit_test(test_a_long_answer_is_refused),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
