/*
 * Certificates that we make: a fresh node's, self-signed, so that the TLS listeners work before anyone brought real ones, and the one that
 * a cluster's nodes share. Keys are written 0600
 * under a temporary name and renamed, so that a half-written one is never used.
 */
#include "cli/prefix.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VALID_DAYS (20L * 365)

/* What a self-signed certificate says; NULL: leaves it out. */
typedef struct sb_subject {
    const char *organization, *name, *alt_names;
    long days;
} sb_subject_t;

static int
fail(sb_err_t *err, const char *what)
{
    char text[256];

    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    sb_err_set(err, 0, "%s: %s", what, text);
    return SB_ERROR;
}

/* Calls writer on a new private file and puts it in place at once. */
static int
write_pem(const char *path, mode_t mode, int (*writer)(FILE *, void *), void *object, sb_err_t *err)
{
    char *tmp = sb_asprintf("%s.tmp", path);
    int rc = SB_ERROR, fd;
    FILE *f = NULL;

    unlink(tmp);
    fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd >= 0)
        f = fdopen(fd, "w");
    if (f == NULL)
        sb_err_set(err, 0, "could not write %s: %s", path, strerror(errno));
    else if (writer(f, object) != 1 || fflush(f) != 0 || fchmod(fd, mode) != 0 || rename(tmp, path) != 0)
        fail(err, path);
    else
        rc = SB_OK;
    if (f != NULL)
        fclose(f);
    if (rc != SB_OK)
        unlink(tmp);
    free(tmp);
    return rc;
}

static int
write_key(FILE *f, void *key)
{
    return PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
}

static int
write_cert(FILE *f, void *cert)
{
    return PEM_write_X509(f, cert);
}

static int
write_params(FILE *f, void *key)
{
    BIO *b = BIO_new_fp(f, BIO_NOCLOSE);
    int rc = b != NULL ? PEM_write_bio_Parameters(b, key) : 0;

    BIO_free(b);
    return rc;
}

static void
add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    if (ext != NULL)
        X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
}

static X509 *
self_signed(EVP_PKEY *key, const sb_subject_t *subject)
{
    X509 *cert = X509_new();
    unsigned char serial[8];
    X509_NAME *name;
    BIGNUM *n = NULL;

    if (cert == NULL || RAND_bytes(serial, sizeof(serial)) != 1)
        goto fail;
    serial[0] &= 0x7f;
    n = BN_bin2bn(serial, sizeof(serial), NULL);
    X509_set_version(cert, X509_VERSION_3);
    if (n == NULL || BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) == NULL)
        goto fail;
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_time_adj_ex(X509_getm_notAfter(cert), (int)subject->days, 0, NULL);
    name = X509_get_subject_name(cert);
    if (subject->organization != NULL)
        X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)subject->organization, -1, -1, 0);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)subject->name, -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_set_pubkey(cert, key);
    add_extension(cert, NID_basic_constraints, "critical,CA:FALSE");
    if (subject->alt_names != NULL)
        add_extension(cert, NID_subject_alt_name, subject->alt_names);
    if (X509_sign(cert, key, EVP_sha256()) == 0)
        goto fail;
    BN_free(n);
    return cert;
fail:
    BN_free(n);
    X509_free(cert);
    return NULL;
}

static int
make_pair(const char *base, const char *suffix, bool ec, sb_err_t *err)
{
    static const sb_subject_t subject = {"Silverback", "localhost", "DNS:localhost,IP:127.0.0.1,IP:::1", VALID_DAYS};
    char *crt = sb_asprintf("%s%s.crt", base, suffix), *key_file = sb_asprintf("%s%s.key", base, suffix);
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    int rc = SB_OK;

    if (access(crt, F_OK) == 0 && access(key_file, F_OK) == 0)
        goto out;
    key = ec ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);
    cert = key != NULL ? self_signed(key, &subject) : NULL;
    if (cert == NULL)
        rc = fail(err, "could not make a default certificate");
    else
        rc = write_pem(key_file, 0600, write_key, key, err);
    if (rc == SB_OK)
        rc = write_pem(crt, 0644, write_cert, cert, err);
out:
    X509_free(cert);
    EVP_PKEY_free(key);
    free(crt);
    free(key_file);
    return rc;
}

int
sb_certs_make_default(const char *base, sb_err_t *err)
{
    int rc = make_pair(base, "", false, err);

    return rc == SB_OK ? make_pair(base, "-ecdsa", true, err) : rc;
}

int
sb_certs_make_cluster(const char *crt, const char *key_file, long days, sb_err_t *err)
{
    const sb_subject_t subject = {.name = "kong_clustering", .days = days};
    EVP_PKEY *key = EVP_EC_gen("P-384");
    X509 *cert = key != NULL ? self_signed(key, &subject) : NULL;
    int rc;

    if (cert == NULL)
        rc = fail(err, "could not make the certificate");
    else
        rc = write_pem(key_file, 0600, write_key, key, err);
    if (rc == SB_OK && (rc = write_pem(crt, 0644, write_cert, cert, err)) != SB_OK)
        unlink(key_file);
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

int
sb_certs_make_dhparam(const char *group, const char *path, sb_err_t *err)
{
    EVP_PKEY_CTX *ctx = NULL;
    EVP_PKEY *params = NULL;
    OSSL_PARAM p[2] = {OSSL_PARAM_END, OSSL_PARAM_END};
    char name[32];
    int rc;

    if (access(path, F_OK) == 0)
        return SB_OK;
    snprintf(name, sizeof(name), "%s", group);
    p[0] = OSSL_PARAM_construct_utf8_string("group", name, 0);
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
    if (ctx == NULL || EVP_PKEY_paramgen_init(ctx) != 1 || EVP_PKEY_CTX_set_params(ctx, p) != 1 || EVP_PKEY_generate(ctx, &params) != 1)
        rc = sb_err_set(err, 0, "ssl_dhparam: unknown group '%s'", group);
    else
        rc = write_pem(path, 0644, write_params, params, err);
    EVP_PKEY_free(params);
    EVP_PKEY_CTX_free(ctx);
    return rc;
}
