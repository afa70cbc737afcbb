/*
 * OCSP: asking an authority whether a certificate still counts, as bytes; whoever fetches (src/proxy/tls_ocsp.c) only carries them.
 * Strings in results are borrowed from what was given.
 */
#ifndef SB_OCSP_H
#define SB_OCSP_H

#include "core/base/base.h"

#include <openssl/x509.h>
#include <time.h>

/* Longest answer that is read, header included. */
#define SB_OCSP_ANSWER_MAX 65536

typedef struct sb_ocsp_url {
    sb_str_t host;      /* without brackets */
    sb_str_t host_port; /* as a Host header has it */
    sb_str_t path;      /* "/" when there is none */
    uint16_t port;
} sb_ocsp_url_t;

/* The certificate among those of a chain (NULL: none) that issued this one; NULL: it is not there. Borrowed. */
X509 *sb_ocsp_issuer(X509 *cert, STACK_OF(X509) * chain);
/* The first http: responder that a certificate names; malloc'ed, NULL: none. */
char *sb_ocsp_responder(X509 *cert);
/* Only http:, no user, nothing that could end a header line. false: not such a URL. */
bool sb_ocsp_url_parse(sb_str_t url, sb_ocsp_url_t *out);
/* An HTTP request (POST, HTTP/1.0) that asks about a certificate; malloc'ed bytes. data NULL: OpenSSL refused. */
sb_str_t sb_ocsp_request(const sb_ocsp_url_t *url, X509 *cert, X509 *issuer);

enum sb_ocsp_http { SB_OCSP_DONE, SB_OCSP_MORE, SB_OCSP_BAD };
/* The body of an HTTP answer. ended: nothing comes behind in. */
enum sb_ocsp_http sb_ocsp_http_body(sb_str_t in, bool ended, sb_str_t *body);

/* Whether an OCSP response says that the certificate is good: signed by the issuer or whom it named for that, and of today. SB_OK: until
 * when it counts (an hour from now if it does not say). SB_DECLINED: why, a static text. */
int sb_ocsp_check(sb_str_t der, X509 *cert, X509 *issuer, time_t now, time_t *until, const char **why);

#endif
