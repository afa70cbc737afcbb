/* What single entities have beyond their tables: certificates and SNIs, targets, consumers by custom_id, tags. */
#include "support.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

static char *
bio_text(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    char *out = sb_strdup_len(data, (size_t)len);

    BIO_free(bio);
    return out;
}

/* {"cert":…,"key":…} of a fresh self-signed pair. */
static json_t *
make_pair(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    BIO *cert = BIO_new(BIO_s_mem()), *priv = BIO_new(BIO_s_mem());
    char *cert_text, *key_text;
    json_t *out;

    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400);
    X509_set_pubkey(x, key);
    X509_sign(x, key, EVP_sha256());
    PEM_write_bio_X509(cert, x);
    PEM_write_bio_PrivateKey(priv, key, NULL, NULL, 0, NULL, NULL);
    X509_free(x);
    EVP_PKEY_free(key);
    cert_text = bio_text(cert);
    key_text = bio_text(priv);
    out = json_pack("{s:s,s:s}", "cert", cert_text, "key", key_text);
    free(cert_text);
    free(key_text);
    return out;
}

static int
send_pair(node_t *n, const char *method, const char *url, const char *snis)
{
    json_t *pair = make_pair();
    char *body;
    int status;

    if (snis != NULL)
        json_object_set_new(pair, "snis", json_loads(snis, JSON_DECODE_ANY, NULL));
    body = sb_json_dump(pair);
    status = call(n, method, url, body);
    free(body);
    json_decref(pair);
    return status;
}

static void
expect_snis(node_t *n, const char *json)
{
    json_t *want = json_loads(json, 0, NULL);

    assert_true(json_equal(json_object_get(n->body, "snis"), want));
    json_decref(want);
}

static void
test_snis(void **state)
{
    node_t *n = *state;
    char url[96], want[256];

    assert_int_equal(send_pair(n, "POST", "/certificates", "[\"b.test\",\"a.test\"]"), 201);
    expect_snis(n, "[\"a.test\",\"b.test\"]");
    snprintf(url, sizeof(url), "/certificates/%s", text(n, "id"));
    assert_int_equal(call(n, "GET", "/certificates/a.test", NULL), 200);
    expect_snis(n, "[\"a.test\",\"b.test\"]");
    assert_int_equal(count_rows(n, "/snis"), 2);
    assert_int_equal(call(n, "PATCH", url, "{\"snis\":[\"c.test\",\"a.test\"]}"), 200);
    expect_snis(n, "[\"a.test\",\"c.test\"]");
    assert_int_equal(call(n, "PATCH", url, "{\"tags\":[\"x\"]}"), 200);
    expect_snis(n, "[\"a.test\",\"c.test\"]");
    assert_int_equal(call(n, "PATCH", url, "{\"snis\":[\"d.test\",\"d.test\"]}"), 400);
    expect_body(n, "{\"code\":2,\"name\":\"schema violation\",\"message\":\"schema violation (snis: d.test is "
                   "duplicated)\",\"fields\":{\"snis\":\"d.test is duplicated\"}}");
    assert_int_equal(send_pair(n, "POST", "/certificates", "[\"a.test\"]"), 400);
    snprintf(want, sizeof(want), "a.test already associated with existing certificate '%s'", strrchr(url, '/') + 1);
    assert_string_equal(sb_json_string(json_object_get(n->body, "fields"), "snis"), want);
    assert_int_equal(call(n, "PATCH", url, "{\"snis\":null}"), 200);
    expect_snis(n, "[]");
    assert_int_equal(count_rows(n, "/certificates"), 1);
    assert_int_equal(count_rows(n, "/snis"), 0);
}

static void
test_certificate_by_name(void **state)
{
    node_t *n = *state;

    assert_int_equal(call(n, "GET", "/certificates/x.test", NULL), 404);
    expect_body(n, "{\"message\":\"SNI not found\"}");
    assert_int_equal(call(n, "PATCH", "/certificates/x.test", "{}"), 404);
    assert_int_equal(call(n, "DELETE", "/certificates/x.test", NULL), 404);
    assert_int_equal(send_pair(n, "PUT", "/certificates/x.test", "[\"y.test\"]"), 200);
    expect_snis(n, "[\"x.test\",\"y.test\"]");
    assert_int_equal(send_pair(n, "PUT", "/certificates/x.test", NULL), 200);
    assert_int_equal(count_rows(n, "/certificates"), 1);
    assert_int_equal(count_rows(n, "/certificates/x.test/snis"), 2);
    assert_int_equal(call(n, "POST", "/certificates/x.test/snis", "{\"name\":\"z.test\"}"), 201);
    assert_int_equal(call(n, "DELETE", "/certificates/x.test", NULL), 204);
    assert_int_equal(count_rows(n, "/snis"), 0);
    assert_int_equal(send_pair(n, "POST", "/certificates", "[\"not a name\"]"), 400);
    assert_int_equal(count_rows(n, "/certificates"), 0);
}

static void
test_targets(void **state)
{
    node_t *n = *state;

    assert_int_equal(form(n, "POST", "/upstreams", "name=u"), 201);
    assert_int_equal(form(n, "POST", "/upstreams", "name=v"), 201);
    assert_int_equal(form(n, "POST", "/upstreams/u/targets", "target=10.0.0.1"), 201);
    assert_string_equal(text(n, "target"), "10.0.0.1:8000");
    assert_int_equal(form(n, "POST", "/upstreams/u/targets", "target=10.0.0.1:8000"), 409);
    assert_int_equal(form(n, "POST", "/upstreams/u/targets", "target=[::1]:80&weight=7"), 201);
    assert_int_equal(call(n, "GET", "/upstreams/u/targets/%5B0:0::1%5D:80", NULL), 200);
    assert_int_equal(json_integer_value(json_object_get(n->body, "weight")), 7);
    assert_int_equal(call(n, "GET", "/upstreams/v/targets/10.0.0.1", NULL), 404);
    assert_int_equal(call(n, "PUT", "/upstreams/u/targets/10.0.0.9", "{\"weight\":1}"), 404);
    assert_int_equal(call(n, "PUT", "/upstreams/u/targets/10.0.0.1", "{\"weight\":0}"), 200);
    assert_int_equal(json_integer_value(json_object_get(n->body, "weight")), 0);
    assert_int_equal(count_rows(n, "/upstreams/u/targets"), 2);
    assert_int_equal(count_rows(n, "/upstreams/u/targets/all"), 2);
    assert_int_equal(count_rows(n, "/upstreams/u/targets?size=5000"), 2);
    assert_int_equal(call(n, "GET", "/upstreams/u/targets?size=1", NULL), 200);
    assert_string_equal(text(n, "next"), "/upstreams/u/targets?offset=1");
    assert_string_equal(text(n, "offset"), "1");
    assert_int_equal(count_rows(n, "/upstreams/u/targets?offset=1"), 1);
    assert_int_equal(call(n, "GET", "/upstreams/u/targets?offset=x", NULL), 400);
    assert_int_equal(call(n, "DELETE", "/upstreams/u/targets/10.0.0.9", NULL), 404);
    assert_int_equal(call(n, "DELETE", "/upstreams/u/targets/10.0.0.1", NULL), 204);
    assert_int_equal(call(n, "DELETE", "/upstreams/u", NULL), 204);
}

static void
test_newest_first(void **state)
{
    static const char *const order[] = {"t3:80", "t2:80", "t1:80"};
    node_t *n = *state;
    json_t *data;

    form(n, "POST", "/upstreams", "name=u");
    for (int i = 1; i <= 3; i++) {
        char body[96];
        snprintf(body, sizeof(body), "{\"target\":\"t%d:80\",\"created_at\":170000000%d.5}", i, i);
        assert_int_equal(call(n, "POST", "/upstreams/u/targets", body), 201);
    }
    assert_int_equal(call(n, "GET", "/upstreams/u/targets", NULL), 200);
    data = json_object_get(n->body, "data");
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(sb_json_string(json_array_get(data, i), "target"), order[i]);
}

static void
test_custom_id(void **state)
{
    node_t *n = *state;

    assert_int_equal(call(n, "POST", "/consumers", "{\"custom_id\":\"c 1\"}"), 201);
    assert_int_equal(count_rows(n, "/consumers?custom_id=c+1"), 1);
    assert_true(json_is_null(json_object_get(n->body, "next")));
    assert_int_equal(count_rows(n, "/consumers?custom_id=other"), 0);
    assert_int_equal(call(n, "GET", "/consumers?custom_id=", NULL), 400);
    expect_body(n, "{\"message\":\"custom_id must be an unempty string\"}");
    assert_int_equal(call(n, "GET", "/consumers?custom_id=a&custom_id=b", NULL), 400);
}

static void
test_tags(void **state)
{
    node_t *n = *state;

    call(n, "POST", "/consumers", "{\"username\":\"u\",\"tags\":[\"one\",\"two\"]}");
    assert_int_equal(count_rows(n, "/tags"), 2);
    assert_int_equal(count_rows(n, "/tags/two"), 1);
    assert_string_equal(sb_json_string(json_array_get(json_object_get(n->body, "data"), 0), "entity_name"), "consumers");
    assert_int_equal(call(n, "GET", "/tags?size=1", NULL), 200);
    assert_non_null(strstr(text(n, "next"), "/tags?offset="));
    assert_int_equal(call(n, "GET", "/tags/a%2Cb", NULL), 400);
    assert_int_equal(json_integer_value(json_object_get(n->body, "code")), 2);
    assert_int_equal(call(n, "POST", "/tags", "{}"), 400);
    expect_body(n, "{\"code\":2,\"name\":\"schema violation\",\"message\":\"schema violation (tags: does not support "
                   "insert/upsert/update/delete operations)\",\"fields\":{\"tags\":\"does not support insert/upsert/update/delete "
                   "operations\"}}");
    assert_int_equal(call(n, "DELETE", "/tags/one", NULL), 400);
}

#define T(f) cmocka_unit_test_setup_teardown(f, node_setup, node_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {T(test_snis),         T(test_certificate_by_name), T(test_targets),
                                       T(test_newest_first), T(test_custom_id),           T(test_tags)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
