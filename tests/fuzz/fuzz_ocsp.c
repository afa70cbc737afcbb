/*
 * What an OCSP responder says: the first line is a responder's URL, the rest its HTTP answer, read as if more came and as if it were all.
 * %GOOD% in the answer stands for a response that a certificate made at the start has signed; three bytes each (offset, bits) behind a NUL
 * byte change it.
 */
#include "core/base/buf.h"
#include "core/tls/ocsp.h"
#include "fuzz.h"

#include <openssl/ec.h>
#include <openssl/ocsp.h>

static X509 *cert;
static sb_str_t good;

/* A certificate that is its own issuer is enough: what matters is that parsing goes all the way. */
static void
make_once(void)
{
    EVP_PKEY *key;
    OCSP_BASICRESP *basic;
    OCSP_RESPONSE *response;
    OCSP_CERTID *id;
    ASN1_TIME *from, *to;
    unsigned char *der = NULL;

    if (cert != NULL)
        return;
    key = EVP_EC_gen("P-256");
    cert = X509_new();
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)"fuzz", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_set_pubkey(cert, key);
    SB_ASSERT(X509_sign(cert, key, EVP_sha256()) != 0);
    basic = OCSP_BASICRESP_new();
    id = OCSP_cert_to_id(NULL, cert, cert);
    from = X509_gmtime_adj(NULL, 0);
    to = X509_gmtime_adj(NULL, 86400);
    OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, NULL, from, to);
    SB_ASSERT(OCSP_basic_sign(basic, cert, key, EVP_sha256(), NULL, 0) == 1);
    response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    good.len = (size_t)i2d_OCSP_RESPONSE(response, &der);
    good.data = (char *)der;
    OCSP_RESPONSE_free(response);
    OCSP_CERTID_free(id);
    OCSP_BASICRESP_free(basic);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    EVP_PKEY_free(key);
}

/* The answer with what %GOOD% stands for. */
static void
expand(sb_str_t in, sb_buf_t *out)
{
    while (in.len != 0) {
        bool name = sb_str_starts(in, SB_STR("%GOOD%"));
        if (name)
            sb_buf_add(out, good.data, good.len);
        else
            sb_buf_addc(out, in.data[0]);
        in.data += name ? 6 : 1;
        in.len -= name ? 6 : 1;
    }
}

static void
damage(sb_buf_t *b, sb_str_t turns)
{
    for (; turns.len >= 3 && b->len != 0; turns.data += 3, turns.len -= 3)
        b->data[((size_t)(unsigned char)turns.data[0] << 8 | (unsigned char)turns.data[1]) % b->len] ^= turns.data[2];
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sb_str_t in = {(const char *)data, size}, line = fuzz_line(&in), body = {NULL, 0};
    const char *nul = in.len != 0 ? memchr(in.data, '\0', in.len) : NULL, *why;
    sb_ocsp_url_t url;
    sb_buf_t text = {0};
    time_t until;

    make_once();
    if (sb_ocsp_url_parse(line, &url))
        free((char *)sb_ocsp_request(&url, cert, cert).data);
    expand((sb_str_t){in.data, nul != NULL ? (size_t)(nul - in.data) : in.len}, &text);
    if (nul != NULL)
        damage(&text, (sb_str_t){nul + 1, in.len - (size_t)(nul - in.data) - 1});
    sb_ocsp_http_body((sb_str_t){text.data, text.len}, false, &body);
    if (sb_ocsp_http_body((sb_str_t){text.data, text.len}, true, &body) == SB_OCSP_DONE)
        sb_ocsp_check(body, cert, cert, time(NULL), &until, &why);
    sb_buf_free(&text);
    return 0;
}
