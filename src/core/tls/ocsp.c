/*
 * OCSP requests and answers; see ocsp.h. An answer is foreign bytes from beginning to end: the HTTP part is read by hand, within
 * SB_OCSP_ANSWER_MAX, the rest by OpenSSL, and it counts only with a signature that the certificate's own issuer answers for.
 */
#include "core/tls/ocsp.h"

#include "core/base/buf.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CLOCK_SKEW     300 /* seconds */
#define WITHOUT_UPDATE 3600

X509 *
sb_ocsp_issuer(X509 *cert, STACK_OF(X509) * chain)
{
    for (int i = 0; chain != NULL && i < sk_X509_num(chain); i++)
        if (X509_check_issued(sk_X509_value(chain, i), cert) == X509_V_OK)
            return sk_X509_value(chain, i);
    return NULL;
}

char *
sb_ocsp_responder(X509 *cert)
{
    STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(cert);
    char *found = NULL;

    for (int i = 0; urls != NULL && found == NULL && i < sk_OPENSSL_STRING_num(urls); i++) {
        const char *url = sk_OPENSSL_STRING_value(urls, i);
        if (strncasecmp(url, "http://", 7) == 0)
            found = sb_strdup_len(url, strlen(url));
    }
    X509_email_free(urls);
    return found;
}

/* "[::1]:80", "host:80", "host". */
static bool
split_host(sb_ocsp_url_t *u)
{
    sb_str_t in = u->host_port;
    const char *end = in.len != 0 && in.data[0] == '[' ? memchr(in.data, ']', in.len) : NULL;
    const char *colon = end != NULL ? end + 1 : memchr(in.data, ':', in.len), *stop = in.data + in.len;
    unsigned long port = 0;

    u->port = 80;
    if (in.len != 0 && in.data[0] == '[' && end == NULL)
        return false;
    u->host = end != NULL ? (sb_str_t){in.data + 1, (size_t)(end - in.data) - 1}
                          : (sb_str_t){in.data, colon != NULL ? (size_t)(colon - in.data) : in.len};
    if (u->host.len == 0)
        return false;
    if (colon == NULL || colon == stop)
        return true;
    if (*colon != ':' || colon + 1 == stop || stop - colon > 6)
        return false;
    while (++colon != stop) {
        if (*colon < '0' || *colon > '9')
            return false;
        port = port * 10 + (unsigned long)(*colon - '0');
    }
    u->port = (uint16_t)port;
    return port > 0 && port < 65536;
}

bool
sb_ocsp_url_parse(sb_str_t url, sb_ocsp_url_t *out)
{
    const char *slash;

    if (url.len < 8 || strncasecmp(url.data, "http://", 7) != 0)
        return false;
    for (size_t i = 0; i < url.len; i++)
        if ((unsigned char)url.data[i] <= ' ' || url.data[i] == 0x7f || url.data[i] == '@')
            return false;
    url = (sb_str_t){url.data + 7, url.len - 7};
    slash = memchr(url.data, '/', url.len);
    out->host_port = (sb_str_t){url.data, slash != NULL ? (size_t)(slash - url.data) : url.len};
    out->path = slash != NULL ? (sb_str_t){slash, url.len - out->host_port.len} : SB_STR("/");
    return split_host(out);
}

sb_str_t
sb_ocsp_request(const sb_ocsp_url_t *url, X509 *cert, X509 *issuer)
{
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, cert, issuer);
    unsigned char *der = NULL;
    sb_buf_t out = {0};
    int len = -1;

    if (request != NULL && id != NULL && OCSP_request_add0_id(request, id) != NULL) {
        id = NULL;
        len = i2d_OCSP_REQUEST(request, &der);
    }
    if (len > 0) {
        sb_buf_adds(&out, "POST ");
        sb_buf_add(&out, url->path.data, url->path.len);
        sb_buf_adds(&out, " HTTP/1.0\r\nHost: ");
        sb_buf_add(&out, url->host_port.data, url->host_port.len);
        sb_buf_addf(&out, "\r\nContent-Type: application/ocsp-request\r\nContent-Length: %d\r\n\r\n", len);
        sb_buf_add(&out, der, (size_t)len);
    }
    OCSP_CERTID_free(id);
    OCSP_REQUEST_free(request);
    OPENSSL_free(der);
    ERR_clear_error();
    return (sb_str_t){out.data, out.len};
}

/* ---- the answer's HTTP ---- */

/* The value of a header line of that name; data NULL: another line. */
static sb_str_t
header_value(sb_str_t line, const char *name)
{
    size_t n = strlen(name);

    if (line.len <= n || strncasecmp(line.data, name, n) != 0 || line.data[n] != ':')
        return (sb_str_t){NULL, 0};
    line = (sb_str_t){line.data + n + 1, line.len - n - 1};
    while (line.len != 0 && (line.data[0] == ' ' || line.data[0] == '\t'))
        line = (sb_str_t){line.data + 1, line.len - 1};
    while (line.len != 0 && (line.data[line.len - 1] == ' ' || line.data[line.len - 1] == '\t'))
        line.len--;
    return line;
}

static bool
read_length(sb_str_t value, size_t *length)
{
    size_t n = 0;

    if (value.len == 0 || value.len > 6)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return false;
        n = n * 10 + (size_t)(value.data[i] - '0');
    }
    *length = n;
    return true;
}

/* Header lines between the status line and the empty one. length keeps SIZE_MAX when no line says it. */
static bool
read_headers(sb_str_t head, size_t *length)
{
    while (head.len != 0) {
        const char *end = memmem(head.data, head.len, "\r\n", 2);
        sb_str_t line = {head.data, end != NULL ? (size_t)(end - head.data) : head.len}, value;
        size_t used = end != NULL ? line.len + 2 : line.len;
        if (header_value(line, "transfer-encoding").data != NULL) /* not in HTTP/1.0 */
            return false;
        value = header_value(line, "content-length");
        if (value.data != NULL && !read_length(value, length))
            return false;
        head = (sb_str_t){head.data + used, head.len - used};
    }
    return true;
}

enum sb_ocsp_http
sb_ocsp_http_body(sb_str_t in, bool ended, sb_str_t *body)
{
    const char *end = in.len != 0 ? memmem(in.data, in.len, "\r\n\r\n", 4) : NULL, *first;
    size_t length = SIZE_MAX;

    if (in.len > SB_OCSP_ANSWER_MAX)
        return SB_OCSP_BAD;
    if (end == NULL)
        return ended ? SB_OCSP_BAD : SB_OCSP_MORE;
    first = memmem(in.data, in.len, "\r\n", 2);
    if (first - in.data < 12 || memcmp(in.data, "HTTP/1.", 7) != 0 || memcmp(in.data + 8, " 200", 4) != 0)
        return SB_OCSP_BAD;
    if (first != end && !read_headers((sb_str_t){first + 2, (size_t)(end - first) - 2}, &length))
        return SB_OCSP_BAD;
    *body = (sb_str_t){end + 4, in.len - (size_t)(end - in.data) - 4};
    if (length == SIZE_MAX)
        return ended ? SB_OCSP_DONE : SB_OCSP_MORE;
    if (body->len < length)
        return ended ? SB_OCSP_BAD : SB_OCSP_MORE;
    body->len = length;
    return SB_OCSP_DONE;
}

/* ---- the response ---- */

/* Only the issuer is trusted, and it need not be a root. */
static bool
signed_by_issuer(OCSP_BASICRESP *basic, X509 *issuer)
{
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *certs = sk_X509_new_null();
    bool good = false;

    if (store != NULL && certs != NULL && sk_X509_push(certs, issuer) > 0 && X509_STORE_add_cert(store, issuer) == 1) {
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
        good = OCSP_basic_verify(basic, certs, store, 0) == 1;
    }
    sk_X509_free(certs);
    X509_STORE_free(store);
    return good;
}

static bool
to_time(const ASN1_GENERALIZEDTIME *t, time_t now, time_t *out)
{
    ASN1_TIME *base = ASN1_TIME_set(NULL, now);
    int days, seconds;
    bool known = base != NULL && ASN1_TIME_diff(&days, &seconds, base, t) == 1;

    ASN1_TIME_free(base);
    if (known)
        *out = now + (time_t)days * 86400 + seconds;
    return known;
}

static int
check_basic(OCSP_BASICRESP *basic, X509 *cert, X509 *issuer, time_t now, time_t *until, const char **why)
{
    ASN1_GENERALIZEDTIME *this_update = NULL, *next_update = NULL;
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, cert, issuer);
    int status = V_OCSP_CERTSTATUS_UNKNOWN, reason;
    bool found;

    if (!signed_by_issuer(basic, issuer)) {
        *why = "its signature is not the issuer's";
        OCSP_CERTID_free(id);
        return SB_DECLINED;
    }
    found = id != NULL && OCSP_resp_find_status(basic, id, &status, &reason, NULL, &this_update, &next_update) == 1;
    OCSP_CERTID_free(id);
    if (!found)
        *why = "it is about another certificate";
    else if (status != V_OCSP_CERTSTATUS_GOOD)
        *why = status == V_OCSP_CERTSTATUS_REVOKED ? "the certificate is revoked" : "the certificate's status is unknown";
    else if (OCSP_check_validity(this_update, next_update, CLOCK_SKEW, -1) != 1)
        *why = "it is not of today";
    else {
        *until = now + WITHOUT_UPDATE;
        if (next_update == NULL || to_time(next_update, now, until))
            return SB_OK;
        *why = "its time cannot be read";
    }
    return SB_DECLINED;
}

int
sb_ocsp_check(sb_str_t der, X509 *cert, X509 *issuer, time_t now, time_t *until, const char **why)
{
    const unsigned char *p = (const unsigned char *)der.data;
    OCSP_RESPONSE *response = der.len != 0 ? d2i_OCSP_RESPONSE(NULL, &p, (long)der.len) : NULL;
    OCSP_BASICRESP *basic = NULL;
    int rc = SB_DECLINED;

    if (response == NULL)
        *why = "it is no OCSP response";
    else if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        *why = OCSP_response_status_str(OCSP_response_status(response));
    else if ((basic = OCSP_response_get1_basic(response)) == NULL)
        *why = "it is of an unknown kind";
    else
        rc = check_basic(basic, cert, issuer, now, until, why);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return rc;
}
