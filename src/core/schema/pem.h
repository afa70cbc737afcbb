/* Certificates and keys in PEM, by OpenSSL. Encrypted keys are refused: nothing ever asks for a passphrase. */
#ifndef SB_PEM_H
#define SB_PEM_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "core/base/base.h"

/* New objects, NULL when the text does not hold one; then the reason is on OpenSSL's error queue (sb_pem_reason). */
X509 *sb_pem_certificate(const char *pem, size_t len);
EVP_PKEY *sb_pem_private_key(const char *pem, size_t len);
EVP_PKEY *sb_pem_public_key(const char *pem, size_t len);
/* Text of the last OpenSSL error, in buf; empties the queue. Says nothing about the content of keys. */
const char *sb_pem_reason(char *buf, size_t buflen);

#endif
