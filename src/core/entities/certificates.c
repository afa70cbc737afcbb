/* Certificates and their private keys, optionally a second pair of another key type. `snis` is no column: names to assign. */
#include "core/entities/entities_int.h"
#include "core/schema/pem.h"

#include <openssl/err.h>
#include <string.h>

static const struct sb_field fields[] = {
    SB_FIELD_ID,
    SB_FIELD_CREATED_AT,
    SB_FIELD_UPDATED_AT,
    {.name = "cert", SB_TYPEDEF_CERTIFICATE, .required = 1, .referenceable = 1, .description = "The certificate, or a chain, in PEM."},
    {.name = "key", SB_TYPEDEF_KEY, .required = 1, .referenceable = 1, .encrypted = 1, .description = "Its private key in PEM."},
    {.name = "cert_alt", SB_TYPEDEF_CERTIFICATE, .referenceable = 1, .description = "A certificate of another key type."},
    {.name = "key_alt", SB_TYPEDEF_KEY, .referenceable = 1, .encrypted = 1, .description = "The private key of cert_alt."},
    SB_FIELD_TAGS,
    {.name = "snis",
     .type = SB_T_ARRAY,
     .elements = SB_ROW(SB_TYPEDEF_WILDCARD_HOST),
     .transient = 1,
     .description = "SNI names to assign."},
    SB_FIELD_END,
};

/* A member that is PEM text: unset ones and references to vaults are not. */
static const char *
pem_of(const json_t *entity, const char *name)
{
    const char *s = sb_json_string(entity, name);

    return s != NULL && strncmp(s, "{vault://", 9) != 0 ? s : NULL;
}

/* Whether both members are PEM and do not belong together. */
static bool
mismatch(const json_t *entity, const char *cert_name, const char *key_name)
{
    const char *cert = pem_of(entity, cert_name), *key = pem_of(entity, key_name);
    X509 *x = NULL;
    EVP_PKEY *k = NULL;
    bool bad = false;

    if (cert == NULL || key == NULL)
        return false;
    x = sb_pem_certificate(cert, strlen(cert));
    k = sb_pem_private_key(key, strlen(key));
    if (x != NULL && k != NULL)
        bad = X509_check_private_key(x, k) != 1;
    X509_free(x);
    EVP_PKEY_free(k);
    ERR_clear_error();
    return bad;
}

static const char *
cert_matches_key(const void *entity, const char **field, char *buf, size_t buflen)
{
    (void)field, (void)buf, (void)buflen;
    return mismatch(entity, "cert", "key") ? "certificate does not match key" : NULL;
}

static const char *
cert_alt_matches_key_alt(const void *entity, const char **field, char *buf, size_t buflen)
{
    (void)field, (void)buf, (void)buflen;
    return mismatch(entity, "cert_alt", "key_alt") ? "alternative certificate does not match key" : NULL;
}

/* Key type of a certificate's public key, 0 when there is none to be had. */
static int
key_type(const json_t *entity, const char *name)
{
    const char *cert = pem_of(entity, name);
    X509 *x = cert != NULL ? sb_pem_certificate(cert, strlen(cert)) : NULL;
    const EVP_PKEY *k = x != NULL ? X509_get0_pubkey(x) : NULL; /* none for kinds of keys that OpenSSL cannot decode */
    int type = k != NULL ? EVP_PKEY_get_base_id(k) : 0;

    X509_free(x);
    return type;
}

static const char *
cert_types_differ(const void *entity, const char **field, char *buf, size_t buflen)
{
    int type = key_type(entity, "cert");

    (void)field, (void)buf, (void)buflen;
    if (type == 0 || type != key_type(entity, "cert_alt"))
        return NULL;
    return "certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), the provided certificates were both "
           "of "
           "the same type";
}

static const struct sb_entity_check checks[] = {
    {.kind = SB_CHECK_MUTUALLY_REQUIRED, .fields = SB_LIST("cert_alt", "key_alt")},
    {.kind = SB_CHECK_CUSTOM, .fields = SB_LIST("cert", "key"), .custom = cert_matches_key},
    {.kind = SB_CHECK_CUSTOM, .fields = SB_LIST("cert_alt", "key_alt"), .custom = cert_alt_matches_key_alt},
    {.kind = SB_CHECK_CUSTOM, .fields = SB_LIST("cert", "cert_alt"), .custom = cert_types_differ},
    {.kind = SB_CHECK_END},
};

const struct sb_schema_def sb_entity_certificates = {
    .name = "certificates",
    .workspaceable = true,
    .routing = true,
    .fields = fields,
    .checks = checks,
};
