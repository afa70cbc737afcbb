/* Validators of certificates and keys; see pem.h. */
#include "core/schema/pem.h"
#include "core/schema/schema_int.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

static int
no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf, (void)size, (void)rwflag, (void)arg;
    return -1;
}

static BIO *
memory(const char *pem, size_t len)
{
    ERR_clear_error();
    return len <= INT_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
}

X509 *
sb_pem_certificate(const char *pem, size_t len)
{
    BIO *bio = memory(pem, len);
    X509 *x = bio != NULL ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;

    BIO_free(bio);
    return x;
}

EVP_PKEY *
sb_pem_private_key(const char *pem, size_t len)
{
    BIO *bio = memory(pem, len);
    EVP_PKEY *k = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

    BIO_free(bio);
    return k;
}

EVP_PKEY *
sb_pem_public_key(const char *pem, size_t len)
{
    BIO *bio = memory(pem, len);
    EVP_PKEY *k = bio != NULL ? PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL) : NULL;

    BIO_free(bio);
    return k;
}

const char *
sb_pem_reason(char *buf, size_t buflen)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    snprintf(buf, buflen, "%s", reason != NULL ? reason : "not in PEM format");
    ERR_clear_error();
    return buf;
}

const char *
sb_valid_certificate_pem(const void *value, char *buf, size_t buflen)
{
    char reason[256];
    X509 *x;

    if (!json_is_string((const json_t *)value))
        return NULL;
    x = sb_pem_certificate(json_string_value(value), json_string_length(value));
    if (x == NULL) {
        snprintf(buf, buflen, "invalid certificate: %s", sb_pem_reason(reason, sizeof(reason)));
        return buf;
    }
    X509_free(x);
    return NULL;
}

const char *
sb_valid_private_key_pem(const void *value, char *buf, size_t buflen)
{
    char reason[256];
    EVP_PKEY *k;

    if (!json_is_string((const json_t *)value))
        return NULL;
    k = sb_pem_private_key(json_string_value(value), json_string_length(value));
    if (k == NULL) {
        snprintf(buf, buflen, "invalid key: %s", sb_pem_reason(reason, sizeof(reason)));
        return buf;
    }
    EVP_PKEY_free(k);
    return NULL;
}

static bool
is_reference(const char *s)
{
    return s != NULL && strncmp(s, "{vault://", 9) == 0 && s[strlen(s) - 1] == '}';
}

const char *
sb_valid_pem_pair(const void *value, char *buf, size_t buflen)
{
    const char *private_text = sb_json_string(value, "private_key"), *public_text = sb_json_string(value, "public_key");
    EVP_PKEY *private_key = NULL, *public_key = NULL;
    const char *error = NULL;

    (void)buf, (void)buflen;
    if (is_reference(private_text) || is_reference(public_text))
        return NULL;
    if (public_text != NULL && (public_key = sb_pem_public_key(public_text, strlen(public_text))) == NULL)
        error = "could not load public key";
    else if (private_text != NULL && (private_key = sb_pem_private_key(private_text, strlen(private_text))) == NULL)
        error = "could not load private key";
    else if (public_key != NULL && private_key != NULL && EVP_PKEY_eq(public_key, private_key) != 1)
        error = "public key does not match private key";
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(private_key);
    ERR_clear_error();
    return error;
}
