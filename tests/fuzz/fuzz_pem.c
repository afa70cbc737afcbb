/*
 * Certificates and keys: the two texts, separated by a NUL byte, through the validators and as a certificate of the Admin API.
 *
 * No key is kept in the corpus: in the texts, %KEY%, %PUBLIC% and %CERT% stand for a private key that is made at the start, its public half
 * and a certificate of it. Behind a second NUL byte, three bytes each (offset, bits to turn) change the second text, so that the key itself
 * is damaged too.
 */
#include "core/admin/admin.h"
#include "core/base/buf.h"
#include "core/schema/pem.h"
#include "core/schema/schema_int.h"
#include "fuzz.h"

#include <openssl/ec.h>
#include <openssl/pem.h>

static char *key_text, *public_text, *cert_text;

static sb_store_t *store;
static sb_admin_t *admin;

static void
open_once(void)
{
    sb_store_config_t cfg = {.in_memory = true};
    sb_admin_host_t host = {0};
    sb_err_t err = {0};

    if (admin != NULL)
        return;
    sb_entities_init();
    SB_ASSERT(sb_store_open(&sb_store_sqlite, &cfg, &store, &err) == SB_OK);
    admin = sb_admin_new(&host);
}

/* The text that a memory BIO has gathered; malloc'ed. */
static char *
text_of(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    char *text = sb_strdup_len(data, (size_t)len);

    BIO_free(bio);
    return text;
}

static void
make_texts(void)
{
    EVP_PKEY *key;
    BIO *bio[3];
    X509 *x;

    if (key_text != NULL)
        return;
    key = EVP_EC_gen("P-256");
    x = X509_new();
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"fuzz", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    SB_ASSERT(X509_sign(x, key, EVP_sha256()) != 0);
    for (size_t i = 0; i < 3; i++)
        bio[i] = BIO_new(BIO_s_mem());
    SB_ASSERT(PEM_write_bio_PrivateKey(bio[0], key, NULL, NULL, 0, NULL, NULL) == 1);
    SB_ASSERT(PEM_write_bio_PUBKEY(bio[1], key) == 1 && PEM_write_bio_X509(bio[2], x) == 1);
    key_text = text_of(bio[0]);
    public_text = text_of(bio[1]);
    cert_text = text_of(bio[2]);
    X509_free(x);
    EVP_PKEY_free(key);
}

/* The text with what the names stand for; malloc'ed. */
static sb_str_t
expand(sb_str_t in)
{
    const struct {
        sb_str_t name;
        const char *text;
    } rows[] = {{SB_STR("%KEY%"), key_text}, {SB_STR("%PUBLIC%"), public_text}, {SB_STR("%CERT%"), cert_text}};
    sb_buf_t out = {0};
    size_t row;

    while (in.len != 0) {
        for (row = 0; row < 3 && !sb_str_starts(in, rows[row].name); row++)
            continue;
        if (row < 3)
            sb_buf_adds(&out, rows[row].text);
        else
            sb_buf_addc(&out, in.data[0]);
        in.data += row < 3 ? rows[row].name.len : 1;
        in.len -= row < 3 ? rows[row].name.len : 1;
    }
    in.len = out.len;
    in.data = sb_buf_take(&out);
    return in;
}

static void
damage(sb_str_t text, sb_str_t turns)
{
    for (; turns.len >= 3 && text.len != 0; turns.data += 3, turns.len -= 3) {
        size_t at = (size_t)(unsigned char)turns.data[0] << 8 | (unsigned char)turns.data[1];

        ((char *)text.data)[at % text.len] ^= turns.data[2];
    }
}

/* Up to the next NUL byte. */
static sb_str_t
part(sb_str_t *in)
{
    const char *end = in->len != 0 ? memchr(in->data, '\0', in->len) : NULL;
    sb_str_t out = {in->data, end != NULL ? (size_t)(end - in->data) : in->len};
    size_t used = out.len + (end != NULL);

    in->data += used;
    in->len -= used;
    return out;
}

static void
post(json_t *body)
{
    sb_admin_request_t req = {.method = SB_STR("POST"), .path = SB_STR("/certificates"), .content_type = SB_STR("application/json")};
    char *text = json_dumps(body, 0);
    sb_admin_response_t res;
    sb_err_t err = {0};

    req.body = (sb_str_t){text, strlen(text)};
    SB_ASSERT(sb_store_begin(store, &err) == SB_OK);
    sb_admin_handle(admin, store, &req, &res);
    SB_ASSERT(res.status == 201 || res.status == 400);
    sb_store_rollback(store);
    sb_admin_response_free(&res);
    free(text);
}

static void
validate(const char *data, size_t len)
{
    json_t *value = json_stringn(data, len);
    char buf[512];

    EVP_PKEY_free(sb_pem_public_key(data, len));
    if (value != NULL) {
        sb_valid_certificate_pem(value, buf, sizeof(buf));
        sb_valid_private_key_pem(value, buf, sizeof(buf));
    }
    json_decref(value);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sb_str_t in = {(const char *)data, size}, first, second;
    json_t *cert, *key, *body;

    open_once();
    make_texts();
    first = expand(part(&in));
    second = expand(part(&in));
    damage(second, in);
    cert = json_stringn(first.data, first.len);
    key = json_stringn(second.data, second.len);
    validate(first.data, first.len);
    if (cert != NULL && key != NULL) {
        body = json_pack("{s:O,s:O}", "cert", cert, "key", key);
        post(body);
        json_decref(body);
        body = json_pack("{s:O,s:O}", "private_key", key, "public_key", cert);
        sb_valid_pem_pair(body, (char[256]){0}, 256);
        json_decref(body);
    }
    json_decref(cert);
    json_decref(key);
    free((char *)first.data);
    free((char *)second.data);
    return 0;
}
