/*
 * Rows of the core entities beyond the published examples: PATCH and PUT, shorthands, router flavours, normal forms, certificates
 * made on the spot, what the Admin API shows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/entities/entities.h"

#define UUID "a3ad71a8-6685-4b03-a101-980a953544f6"

static double clock_value = 1700000000;

static double
test_now(void *arg)
{
    (void)arg;
    return clock_value;
}

static sb_schema_hooks_t hooks = {.now = test_now};

static json_t *
parse(const char *text)
{
    json_t *v = sb_json_parse(text, strlen(text), NULL);

    if (v == NULL)
        fail_msg("bad JSON in the test: %s", text);
    return v;
}

/* Processes and returns the row; the input is taken over. */
static json_t *
process(const char *entity, enum sb_op op, json_t *input, const json_t *current)
{
    json_t *out = NULL;
    sb_err_t err = {0};

    if (sb_schema_process(sb_entity_find(entity)->schema, op, input, current, &hooks, &out, &err) != SB_OK)
        fail_msg("%s %s: %s", entity, json_dumps(input, 0), err.message);
    json_decref(input);
    return out;
}

static json_t *
insert(const char *entity, const char *input)
{
    return process(entity, SB_OP_INSERT, parse(input), NULL);
}

static void
assert_refused(const char *entity, enum sb_op op, json_t *input, const json_t *current, const char *message)
{
    json_t *out = NULL;
    sb_err_t err = {0};

    if (sb_schema_process(sb_entity_find(entity)->schema, op, input, current, &hooks, &out, &err) != SB_DECLINED)
        fail_msg("%s %s: accepted", entity, json_dumps(input, 0));
    assert_int_equal(err.code, SB_E_SCHEMA_VIOLATION);
    assert_string_equal(err.message, message);
    sb_err_clear(&err);
    json_decref(input);
}

static void
assert_member(const json_t *row, const char *name, const char *want)
{
    json_t *v = json_object_get(row, name), *w = parse(want);

    if (!json_equal(v, w))
        fail_msg("%s is %s", name, json_dumps(v, JSON_ENCODE_ANY));
    json_decref(w);
}

static void
test_url(void **state)
{
    static const struct {
        const char *url, *protocol, *host, *port, *path;
    } rows[] = {
        {"http://a.test", "\"http\"", "\"a.test\"", "80", "null"},
        {"https://a.test/", "\"https\"", "\"a.test\"", "443", "\"/\""},
        {"https://u:p@a.test:8443/x/y?q#f", "\"https\"", "\"a.test\"", "8443", "\"/x/y\""},
        {"http://[::1]:81/x", "\"http\"", "\"[::1]\"", "81", "\"/x\""},
        {"http://[::1]/x", "\"http\"", "\"[::1]\"", "80", "\"/x\""},
        {"grpc://a.test", "\"grpc\"", "\"a.test\"", "80", "null"},
    };
    json_t *row;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        row = process("services", SB_OP_INSERT, json_pack("{s:s, s:s, s:i}", "url", rows[i].url, "host", "other", "port", 1), NULL);
        assert_member(row, "protocol", rows[i].protocol);
        assert_member(row, "host", rows[i].host);
        assert_member(row, "port", rows[i].port);
        assert_member(row, "path", rows[i].path);
        assert_null(json_object_get(row, "url"));
        json_decref(row);
    }
    assert_refused("services", SB_OP_INSERT, json_pack("{s:s}", "url", "a.test"), NULL,
                   "2 schema violations (host: required field missing; path: should start with: /)");
    assert_refused("services", SB_OP_INSERT, json_pack("{s:i}", "url", 1), NULL, "schema violation (url: expected a string)");
    assert_refused("services", SB_OP_INSERT, json_pack("{s:s}", "url", "http://a:99999/"), NULL,
                   "schema violation (port: value should be between 0 and 65535)");
}

static void
test_patch(void **state)
{
    json_t *old = insert("services", "{\"host\":\"a\",\"name\":\"n\",\"tags\":[\"x\",\"y\",\"x\"],\"path\":\"/p\"}"), *row;

    (void)state;
    assert_member(old, "tags", "[\"x\",\"y\"]");
    clock_value += 10;
    row = process("services", SB_OP_UPDATE, parse("{\"name\":null,\"tags\":[\"z\"],\"updated_at\":5,\"url\":\"https://b\"}"), old);
    assert_member(row, "name", "null");
    assert_member(row, "tags", "[\"z\"]");
    assert_member(row, "host", "\"b\"");
    assert_member(row, "path", "null");
    assert_member(row, "port", "443");
    assert_member(row, "created_at", "1700000000");
    assert_member(row, "updated_at", "1700000010");
    assert_string_equal(sb_json_string(row, "id"), sb_json_string(old, "id"));
    json_decref(row);
    /* What is not in the patch is judged too. */
    assert_refused("services", SB_OP_UPDATE, parse("{\"protocol\":\"grpc\"}"), old,
                   "2 schema violations (failed conditional validation given value of field 'protocol'; path: value must be null)");
    assert_refused("services", SB_OP_UPDATE, parse("{\"host\":null}"), old, "schema violation (host: required field missing)");
    clock_value -= 10;
    json_decref(old);
}

static void
test_patch_merges_records(void **state)
{
    json_t *old = insert("upstreams", "{\"name\":\"u\",\"healthchecks\":{\"active\":{\"healthy\":{\"interval\":5}},\"threshold\":50}}"),
           *row;

    (void)state;
    row = process("upstreams", SB_OP_UPDATE,
                  parse("{\"healthchecks\":{\"active\":{\"healthy\":{\"successes\":3,\"http_statuses\":[201]}},\"passive\":null}}"), old);
    json_t *healthy = json_object_get(json_object_get(json_object_get(row, "healthchecks"), "active"), "healthy");
    assert_member(healthy, "interval", "5");
    assert_member(healthy, "successes", "3");
    assert_member(healthy, "http_statuses", "[201]");
    assert_member(json_object_get(row, "healthchecks"), "threshold", "50");
    assert_member(json_object_get(json_object_get(row, "healthchecks"), "passive"), "type", "\"http\"");
    json_decref(row);
    row = process("upstreams", SB_OP_UPDATE, parse("{\"hash_on\":\"ip\"}"), old);
    assert_member(row, "algorithm", "\"consistent-hashing\"");
    json_decref(old);
    old = row;
    row = process("upstreams", SB_OP_UPDATE, parse("{\"algorithm\":\"least-connections\"}"), old);
    assert_member(row, "hash_on", "\"none\"");
    assert_member(row, "algorithm", "\"least-connections\"");
    json_decref(row);
    json_decref(old);
    old = insert("consumers", "{\"username\":\"bob\"}");
    assert_refused("consumers", SB_OP_UPDATE, parse("{\"username\":null}"), old,
                   "schema violation (when updating, at least one of these fields must be non-empty: 'custom_id', 'username')");
    json_decref(old);
}

static void
test_put_resets(void **state)
{
    json_t *old = insert("services", "{\"host\":\"a\",\"name\":\"n\",\"retries\":1}"), *row;

    (void)state;
    clock_value += 5;
    row = process("services", SB_OP_UPSERT, parse("{\"host\":\"b\"}"), old);
    assert_string_equal(sb_json_string(row, "id"), sb_json_string(old, "id"));
    assert_member(row, "name", "null");
    assert_member(row, "retries", "5");
    assert_member(row, "created_at", "1700000005");
    json_decref(row);
    row = process("services", SB_OP_UPSERT, parse("{\"host\":\"b\",\"id\":\"" UUID "\",\"created_at\":7}"), NULL);
    assert_member(row, "id", "\"" UUID "\"");
    assert_member(row, "created_at", "7");
    clock_value -= 5;
    json_decref(row);
    json_decref(old);
}

static void
test_conditional_hashing(void **state)
{
    (void)state;
    assert_refused(
        "upstreams", SB_OP_INSERT, parse("{\"name\":\"u\",\"hash_on\":\"header\"}"), NULL,
        "2 schema violations (failed conditional validation given value of field 'hash_on'; hash_on_header: required field missing)");
    assert_refused(
        "upstreams", SB_OP_INSERT, parse("{\"name\":\"u\",\"hash_on\":\"cookie\",\"hash_on_cookie\":\"c\",\"hash_fallback\":\"ip\"}"), NULL,
        "2 schema violations (failed conditional validation given value of field 'hash_on'; hash_fallback: expected one of: none)");
    assert_refused(
        "upstreams", SB_OP_INSERT,
        parse(
            "{\"name\":\"u\",\"hash_on\":\"header\",\"hash_on_header\":\"A\",\"hash_fallback\":\"header\",\"hash_fallback_header\":\"A\"}"),
        NULL, "schema violation (values of these fields must be distinct: 'hash_on_header', 'hash_fallback_header')");
    assert_refused(
        "upstreams", SB_OP_INSERT, parse("{\"name\":\"u\",\"slots\":9,\"healthchecks\":{\"active\":{\"type\":\"udp\"}}}"), NULL,
        "2 schema violations (healthchecks.active: {\n  type = \"expected one of: tcp, http, https, grpc, grpcs\"\n}; slots: value "
        "should be between 10 and 65536)");
}

static void
test_foreign(void **state)
{
    json_t *row = insert("routes", "{\"paths\":[\"/\"],\"service\":{\"id\":\"" UUID "\"}}");

    (void)state;
    assert_member(row, "service", "{\"id\":\"" UUID "\"}");
    json_decref(row);
    assert_refused("routes", SB_OP_INSERT, parse("{\"paths\":[\"/\"],\"service\":\"x\"}"), NULL,
                   "schema violation (service: expected a record)");
    assert_refused("routes", SB_OP_INSERT, parse("{\"paths\":[\"/\"],\"service\":{\"id\":\"x\"}}"), NULL,
                   "schema violation (service.id: expected a valid UUID)");
    assert_refused("routes", SB_OP_INSERT, parse("{\"paths\":[\"/\"],\"service\":{}}"), NULL,
                   "schema violation (service.id: missing primary key)");
    assert_refused("snis", SB_OP_INSERT, parse("{\"name\":\"a\",\"certificate\":null}"), NULL,
                   "schema violation (certificate: required field missing)");
}

static void
test_routes(void **state)
{
    json_t *row = insert("routes", "{\"paths\":[\"/\"],\"protocols\":[\"grpc\"]}");

    (void)state;
    assert_member(row, "strip_path", "false");
    json_decref(row);
    assert_refused("routes", SB_OP_INSERT, parse("{\"paths\":[\"/\"],\"protocols\":[\"grpcs\"],\"strip_path\":true}"), NULL,
                   "schema violation (strip_path: cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs')");
    assert_refused("routes", SB_OP_INSERT, parse("{\"paths\":[\"/\"],\"protocols\":[\"foo\"]}"), NULL,
                   "schema violation (protocols: unknown type: foo)");
    assert_refused("routes", SB_OP_INSERT, parse("{\"paths\":[\"/\"],\"protocols\":[\"http\",\"foo\"]}"), NULL,
                   "schema violation (protocols.2: expected one of: grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp)");
    assert_refused("routes", SB_OP_INSERT, parse("{\"paths\":[\"/\"],\"sources\":[{\"ip\":\"1.1.1.1\"}]}"), NULL,
                   "schema violation (sources: cannot set 'sources' when 'protocols' is 'http' or 'https')");
    assert_refused("routes", SB_OP_INSERT, parse("{\"paths\":[\"/\"],\"methods\":[\"get\"]}"), NULL,
                   "schema violation (methods.1: invalid value: get)");
    assert_refused(
        "routes", SB_OP_INSERT, parse("{\"paths\":[\"//a\",\"x\"]}"), NULL,
        "2 schema violations (paths.1: must not have empty segments; paths.2: should start with: / (fixed path) or ~/ (regex path))");
    assert_refused(
        "routes", SB_OP_INSERT, parse("{\"expression\":\"x\"}"), NULL,
        "2 schema violations (must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'; expression: "
        "unknown field)");
    assert_refused("routes", SB_OP_INSERT, parse("{\"protocols\":[\"tls_passthrough\"]}"), NULL,
                   "schema violation (must set snis when 'protocols' is 'tls_passthrough')");
}

static void
test_flavours(void **state)
{
    json_t *row;

    (void)state;
    row = insert("routes", "{\"snis\":[\"*.a.test\"]}");
    json_decref(row);
    hooks.traditional = true;
    assert_refused("routes", SB_OP_INSERT, parse("{\"snis\":[\"*.a.test\"]}"), NULL, "schema violation (snis.1: invalid value: *.a.test)");
    hooks.traditional = false;
    hooks.expressions = true;
    row = insert("routes", "{\"expression\":\"http.path == \\\"/\\\"\",\"priority\":7}");
    assert_member(row, "priority", "7");
    json_decref(row);
    row = insert("routes", "{\"paths\":[\"/\"],\"sources\":[{\"port\":1}]}");
    assert_member(row, "priority", "0");
    assert_member(row, "expression", "null");
    json_decref(row);
    hooks.expressions = false;
}

static void
test_targets(void **state)
{
    static const char *const forms[][2] = {
        {"1.2.3.4", "1.2.3.4:8000"},
        {"1.2.3.4:80", "1.2.3.4:80"},
        {"a.test", "a.test:8000"},
        {"::1", "[0000:0000:0000:0000:0000:0000:0000:0001]:8000"},
        {"[2001:db8::1]:81", "[2001:0db8:0000:0000:0000:0000:0000:0001]:81"},
    };
    json_t *row;
    size_t i;

    (void)state;
    clock_value = 1700000000.1239;
    for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        row = process("targets", SB_OP_INSERT, json_pack("{s:s, s:{s:s}}", "target", forms[i][0], "upstream", "id", UUID), NULL);
        assert_string_equal(sb_json_string(row, "target"), forms[i][1]);
        assert_true(json_real_value(json_object_get(row, "created_at")) == 1700000000.123);
        assert_member(row, "weight", "100");
        json_decref(row);
    }
    clock_value = 1700000000;
}

static void
test_nulls_and_unknowns(void **state)
{
    json_t *row = insert("services", "{\"host\":\"a\",\"retries\":null,\"id\":null,\"created_at\":null}");

    (void)state;
    assert_member(row, "retries", "null");
    assert_member(row, "created_at", "1700000000");
    assert_int_equal(strlen(sb_json_string(row, "id")), 36);
    json_decref(row);
    assert_refused("services", SB_OP_INSERT, parse("{\"host\":\"a\",\"port\":null}"), NULL,
                   "schema violation (port: required field missing)");
    assert_refused("services", SB_OP_INSERT, parse("{\"host\":\"a\",\"ttl\":1}"), NULL, "schema violation (ttl: unknown field)");
    assert_refused("services", SB_OP_INSERT, parse("{\"host\":\"a\",\"tags\":[\"a\",null]}"), NULL,
                   "schema violation (tags.2: required field missing)");
    row = insert("workspaces", "{\"name\":\"w\",\"updated_at\":1}");
    assert_member(row, "meta", "{}");
    json_decref(row);
    assert_refused("workspaces", SB_OP_INSERT, parse("[]"), NULL, "schema violation (expected a record)");
}

/* --- certificates --- */

static EVP_PKEY *
new_key(int rsa)
{
    return rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
}

static char *
take_text(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    char *text = sb_strdup_len(data, (size_t)len);

    BIO_free(bio);
    return text;
}

static char *
certificate_of(EVP_PKEY *key, bool ca, long seconds)
{
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);
    X509_EXTENSION *ext;
    BIO *bio = BIO_new(BIO_s_mem());

    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -1000);
    X509_gmtime_adj(X509_getm_notAfter(x), seconds);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"t", -1, -1, 0);
    X509_set_issuer_name(x, name);
    X509_set_pubkey(x, key);
    ext = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, ca ? "critical,CA:TRUE" : "CA:FALSE");
    X509_add_ext(x, ext, -1);
    X509_EXTENSION_free(ext);
    assert_true(X509_sign(x, key, EVP_sha256()) != 0);
    PEM_write_bio_X509(bio, x);
    X509_free(x);
    return take_text(bio);
}

static char *
pem_of(EVP_PKEY *key, bool private)
{
    BIO *bio = BIO_new(BIO_s_mem());

    if (private)
        PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    else
        PEM_write_bio_PUBKEY(bio, key);
    return take_text(bio);
}

static void
test_certificates(void **state)
{
    EVP_PKEY *rsa = new_key(1), *ec = new_key(0), *other = new_key(0);
    char *rsa_cert = certificate_of(rsa, false, 1000), *ec_cert = certificate_of(ec, false, 1000), *rsa_key = pem_of(rsa, true),
         *ec_key = pem_of(ec, true), *other_key = pem_of(other, true), *other_cert = certificate_of(other, false, 1000);
    json_t *row;

    (void)state;
    row = process("certificates", SB_OP_INSERT,
                  json_pack("{s:s, s:s, s:s, s:s, s:[s]}", "cert", rsa_cert, "key", rsa_key, "cert_alt", ec_cert, "key_alt", ec_key, "snis",
                            "a.test"),
                  NULL);
    assert_member(row, "snis", "[\"a.test\"]");
    json_decref(row);
    row = process("certificates", SB_OP_INSERT, json_pack("{s:s, s:s}", "cert", "{vault://env/c}", "key", "{vault://env/k}"), NULL);
    assert_null(json_object_get(row, "snis"));
    json_decref(row);
    assert_refused("certificates", SB_OP_INSERT, json_pack("{s:s, s:s}", "cert", ec_cert, "key", other_key), NULL,
                   "schema violation (certificate does not match key)");
    assert_refused("certificates", SB_OP_INSERT, json_pack("{s:s, s:s, s:s}", "cert", ec_cert, "key", ec_key, "key_alt", rsa_key), NULL,
                   "schema violation (all or none of these fields must be set: 'cert_alt', 'key_alt')");
    assert_refused("certificates", SB_OP_INSERT,
                   json_pack("{s:s, s:s, s:s, s:s}", "cert", rsa_cert, "key", rsa_key, "cert_alt", ec_cert, "key_alt", other_key), NULL,
                   "schema violation (alternative certificate does not match key)");
    assert_refused(
        "certificates", SB_OP_INSERT,
        json_pack("{s:s, s:s, s:s, s:s}", "cert", other_cert, "key", other_key, "cert_alt", ec_cert, "key_alt", ec_key), NULL,
        "schema violation (certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), the provided "
        "certificates were both of the same type)");
    assert_refused("certificates", SB_OP_INSERT, json_pack("{s:s, s:s}", "cert", "x", "key", ec_key), NULL,
                   "schema violation (cert: invalid certificate: no start line)");
    free(rsa_cert), free(ec_cert), free(rsa_key), free(ec_key), free(other_key), free(other_cert);
    EVP_PKEY_free(rsa), EVP_PKEY_free(ec), EVP_PKEY_free(other);
}

static void
test_ca_certificates(void **state)
{
    EVP_PKEY *key = new_key(0);
    char *ca = certificate_of(key, true, 1000), *leaf = certificate_of(key, false, 1000), *old = certificate_of(key, true, -10), *two;
    json_t *row = process("ca_certificates", SB_OP_INSERT, json_pack("{s:s, s:s}", "cert", ca, "cert_digest", "mine"), NULL);

    (void)state;
    assert_int_equal(strspn(sb_json_string(row, "cert_digest"), "0123456789abcdef"), 64);
    json_decref(row);
    assert_refused("ca_certificates", SB_OP_INSERT, json_pack("{s:s}", "cert", leaf), NULL,
                   "schema violation (certificate does not appear to be a CA because it is missing the \"CA\" basic constraint)");
    assert_refused("ca_certificates", SB_OP_INSERT, json_pack("{s:s}", "cert", old), NULL,
                   "schema violation (certificate expired, \"Not After\" time is in the past)");
    two = sb_asprintf("%s%s", ca, ca);
    assert_refused("ca_certificates", SB_OP_INSERT, json_pack("{s:s}", "cert", two), NULL,
                   "schema violation (please submit only one certificate at a time)");
    free(two), free(ca), free(leaf), free(old);
    EVP_PKEY_free(key);
}

static void
test_keys(void **state)
{
    static const char good[] = "{\"kty\":\"EC\",\"kid\":\"1\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                               "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}";
    static const char off_curve[] = "{\"kty\":\"EC\",\"kid\":\"1\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                                    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWIxx0\"}";
    EVP_PKEY *key = new_key(0), *other = new_key(1);
    char *private = pem_of(key, true), *public = pem_of(key, false), *wrong = pem_of(other, false);

    (void)state;
    json_decref(process("keys", SB_OP_INSERT, json_pack("{s:s, s:s}", "kid", "1", "jwk", good), NULL));
    json_decref(process("keys", SB_OP_INSERT,
                        json_pack("{s:s, s:{s:s, s:s}}", "kid", "1", "pem", "private_key", private, "public_key", public), NULL));
    json_decref(process("keys", SB_OP_INSERT, json_pack("{s:s, s:s}", "kid", "1", "jwk", "{vault://env/k}"), NULL));
    assert_refused("keys", SB_OP_INSERT, json_pack("{s:s, s:s}", "kid", "2", "jwk", good), NULL,
                   "schema violation (kid in jwk.kid must be equal to keys.kid)");
    assert_refused("keys", SB_OP_INSERT, json_pack("{s:s, s:s}", "kid", "1", "jwk", off_curve), NULL,
                   "schema violation (could not load JWK, likely not a valid key)");
    assert_refused("keys", SB_OP_INSERT, json_pack("{s:s, s:s}", "kid", "1", "jwk", "{"), NULL,
                   "schema violation (could not json decode jwk string)");
    assert_refused("keys", SB_OP_INSERT, json_pack("{s:s, s:{s:s, s:s}}", "kid", "1", "pem", "private_key", private, "public_key", wrong),
                   NULL, "schema violation (pem: public key does not match private key)");
    assert_refused("keys", SB_OP_INSERT, json_pack("{s:s, s:{s:s}}", "kid", "1", "pem", "public_key", "x"), NULL,
                   "schema violation (pem: could not load public key)");
    free(private), free(public), free(wrong);
    EVP_PKEY_free(key), EVP_PKEY_free(other);
}

/* --- what is shown --- */

static void
test_present(void **state)
{
    json_t *def =
        parse("{\"fields\":[{\"config\":{\"type\":\"record\",\"fields\":[{\"redis\":{\"type\":\"record\",\"fields\":[{\"host\":"
              "{\"type\":\"string\"}}]}}],\"shorthand_fields\":[{\"redis_host\":{\"type\":\"string\",\"deprecation\":{\"replaced_with\":"
              "[{\"path\":[\"redis\",\"host\"]}]}}}]}}]}");
    const sb_schema_t *plugins = sb_entity_find("plugins")->schema;
    sb_plugin_schema_t ps = {.name = "mine", .priority = 1};
    json_t *row, *shown, *patched;
    sb_schema_t *s = NULL;
    sb_err_t err = {0};

    (void)state;
    assert_int_equal(sb_schema_from_json("mine", def, &s, &err), SB_OK);
    ps.schema = s;
    sb_plugin_schemas_add(&ps);
    row = insert("plugins", "{\"name\":\"mine\",\"config\":{\"redis_host\":\"h\"}}");
    assert_member(row, "config", "{\"redis\":{\"host\":\"h\"}}");
    shown = sb_schema_present(plugins, row);
    assert_member(shown, "config", "{\"redis\":{\"host\":\"h\"},\"redis_host\":\"h\"}");
    json_decref(shown);
    /* In a PATCH the deprecated name counts alone, and what was shown may be sent back. */
    patched = process("plugins", SB_OP_UPDATE, parse("{\"config\":{\"redis_host\":\"i\"}}"), row);
    assert_member(patched, "config", "{\"redis\":{\"host\":\"i\"}}");
    json_decref(patched);
    patched = process("plugins", SB_OP_UPDATE, sb_schema_present(plugins, row), row);
    json_decref(patched);
    assert_refused("plugins", SB_OP_INSERT, parse("{\"name\":\"nope\",\"enabled\":1}"), NULL,
                   "schema violation (name: plugin 'nope' not enabled; add it to the 'plugins' configuration property)");
    json_decref(row);
    json_decref(def);
    sb_plugin_schemas_clear();
    sb_schema_free(s);
}

/* --- transformations of a plugin's schema --- */

/* on_write (1) seals the secret with the consumer-independent "salt", on_read (2) opens it; 3 returns what cannot be merged. */
static int
seal(void *arg, const char *plugin, int ref, json_t *value, json_t **out, sb_err_t *err)
{
    const char *secret = json_string_value(json_array_get(value, 0)), *salt = json_string_value(json_array_get(value, 1));

    (*(int *)arg)++;
    assert_string_equal(plugin, "sealed");
    if (ref == 3) {
        *out = json_pack("{s:s}", "id", secret);
        return SB_OK;
    }
    assert_int_equal(json_array_size(value), 2);
    if (strcmp(secret, "refuse") == 0)
        return sb_err_set(err, SB_E_SCHEMA_VIOLATION, "no key");
    if (ref == 1)
        *out = json_pack("{s:{s:o,s:{}}}", "config", "secret", json_sprintf("%s(%s)", salt, secret), "list");
    else
        *out = json_pack("{s:{s:o}}", "config", "secret", json_stringn(secret + strlen(salt) + 1, strlen(secret) - strlen(salt) - 2));
    return SB_OK;
}

static json_t *
sealed(enum sb_op op, const char *input, const json_t *current, const sb_schema_hooks_t *lua)
{
    json_t *in = parse(input), *out = NULL;
    sb_err_t err = {0};

    if (sb_schema_process(sb_entity_find("plugins")->schema, op, in, current, lua, &out, &err) != SB_OK)
        fail_msg("%s", err.message);
    json_decref(in);
    return out;
}

static void
test_plugin_transformations(void **state)
{
    json_t *def =
        parse("{\"fields\":[{\"config\":{\"type\":\"record\",\"fields\":[{\"secret\":{\"type\":\"string\",\"default\":\"d\"}},"
              "{\"salt\":{\"type\":\"string\"}},{\"list\":{\"type\":\"array\",\"elements\":{\"type\":\"string\"}}},"
              "{\"odd\":{\"type\":\"string\"}}]}}],\"transformations\":["
              "{\"input\":[\"config.secret\"],\"needs\":[\"config.salt\"],\"on_write\":{\"lua_ref\":1},\"on_read\":{\"lua_ref\":2}},"
              "{\"input\":[\"config.odd\"],\"on_write\":{\"lua_ref\":3}}]}");
    const sb_schema_t *plugins = sb_entity_find("plugins")->schema;
    sb_plugin_schema_t ps = {.name = "sealed", .priority = 1};
    int calls = 0;
    sb_schema_hooks_t lua = {.lua_call = seal, .arg = &calls};
    json_t *row, *patched, *in;
    sb_schema_t *s = NULL;
    sb_err_t err = {0};

    (void)state;
    assert_int_equal(sb_schema_from_json("sealed", def, &s, &err), SB_OK);
    ps.schema = s;
    sb_plugin_schemas_add(&ps);
    /* What the function returns is merged, and brought into the table's form. */
    row = sealed(SB_OP_INSERT, "{\"name\":\"sealed\",\"config\":{\"secret\":\"x\",\"salt\":\"s\"}}", NULL, &lua);
    assert_member(row, "config", "{\"secret\":\"s(x)\",\"salt\":\"s\",\"list\":[],\"odd\":null}");
    /* What was not given is not transformed again; without what is needed nothing is. */
    patched = sealed(SB_OP_UPDATE, "{\"config\":{\"list\":[\"a\"]}}", row, &lua);
    assert_member(patched, "config", "{\"secret\":\"s(x)\",\"salt\":\"s\",\"list\":[\"a\"],\"odd\":null}");
    json_decref(patched);
    patched = sealed(SB_OP_UPDATE, "{\"config\":{\"secret\":\"y\"}}", row, &lua);
    assert_member(patched, "config", "{\"secret\":\"s(y)\",\"salt\":\"s\",\"list\":[],\"odd\":null}");
    json_decref(patched);
    patched = sealed(SB_OP_UPDATE, "{\"config\":{\"secret\":\"y\",\"salt\":null}}", row, &lua);
    assert_member(patched, "config", "{\"secret\":\"y\",\"salt\":null,\"list\":[],\"odd\":null}");
    json_decref(patched);
    patched = sealed(SB_OP_INSERT, "{\"name\":\"sealed\",\"config\":{\"salt\":\"s\"}}", NULL, &lua); /* the default */
    assert_member(patched, "config", "{\"secret\":\"d\",\"salt\":\"s\",\"list\":null,\"odd\":null}");
    json_decref(patched);
    assert_int_equal(calls, 2);

    assert_int_equal(sb_schema_read(plugins, row, &lua, &err), SB_OK);
    assert_member(row, "config", "{\"secret\":\"x\",\"salt\":\"s\",\"list\":[],\"odd\":null}");
    json_decref(row);

    in = parse("{\"name\":\"sealed\",\"config\":{\"secret\":\"refuse\",\"salt\":\"s\"}}");
    assert_int_equal(sb_schema_process(plugins, SB_OP_INSERT, in, NULL, &lua, &row, &err), SB_ERROR);
    assert_int_equal(err.code, SB_E_TRANSFORMATION);
    assert_string_equal(err.message, "transformation failed: no key");
    sb_err_clear(&err);
    assert_int_equal(sb_schema_read(plugins, in, &lua, &err), SB_ERROR);
    assert_string_equal(err.message, "transformation failed: no key");
    sb_err_clear(&err);
    json_decref(in);
    /* The rest of the row is not a plugin's to change. */
    in = parse("{\"name\":\"sealed\",\"config\":{\"odd\":\"x\"}}");
    assert_int_equal(sb_schema_process(plugins, SB_OP_INSERT, in, NULL, &lua, &row, &err), SB_ERROR);
    assert_string_equal(err.message, "transformation failed: the function of a plugin must return a table { config = { ... } }");
    sb_err_clear(&err);
    json_decref(in);
    json_decref(def);
    sb_plugin_schemas_clear();
    sb_schema_free(s);
}

static int
setup(void **state)
{
    (void)state;
    sb_entities_init();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url),
        cmocka_unit_test(test_patch),
        cmocka_unit_test(test_patch_merges_records),
        cmocka_unit_test(test_put_resets),
        cmocka_unit_test(test_conditional_hashing),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_flavours),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_nulls_and_unknowns),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_ca_certificates),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_present),
        cmocka_unit_test(test_plugin_transformations),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
