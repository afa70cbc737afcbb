/* CA certificates: what upstreams' and clients' certificates are verified against. Unique by digest. */
#include "core/entities/entities_int.h"
#include "core/schema/pem.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static const struct sb_field fields[] = {
    SB_FIELD_ID,
    SB_FIELD_CREATED_AT,
    SB_FIELD_UPDATED_AT,
    {.name = "cert", SB_TYPEDEF_CERTIFICATE, .required = 1, .description = "The certificate in PEM."},
    {.name = "cert_digest", .type = SB_T_STRING, .unique = 1, .description = "SHA-256 of the certificate; always computed."},
    SB_FIELD_TAGS,
    SB_FIELD_END,
};

static size_t
count_blocks(const char *pem)
{
    size_t n = 0;

    while ((pem = strstr(pem, "-----BEGIN CERTIFICATE-----")) != NULL) {
        n++;
        pem++;
    }
    return n;
}

static const char *
single_valid_ca_cert(const void *entity, const char **field, char *buf, size_t buflen)
{
    const char *pem = sb_json_string(entity, "cert"), *error = NULL;
    X509 *x;

    (void)field, (void)buf, (void)buflen;
    if (count_blocks(pem) != 1)
        return "please submit only one certificate at a time";
    if ((x = sb_pem_certificate(pem, strlen(pem))) == NULL)
        return NULL;
    if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0)
        error = "certificate expired, \"Not After\" time is in the past";
    else if ((X509_get_extension_flags(x) & EXFLAG_CA) == 0)
        error = "certificate does not appear to be a CA because it is missing the \"CA\" basic constraint";
    X509_free(x);
    ERR_clear_error();
    return error;
}

static const struct sb_entity_check checks[] = {
    {.kind = SB_CHECK_CUSTOM, .fields = SB_LIST("cert"), .custom = single_valid_ca_cert},
    {.kind = SB_CHECK_END},
};

static const char *
cert_digest(void *entity, char *buf, size_t buflen)
{
    const char *pem = sb_json_string(entity, "cert");
    unsigned char digest[EVP_MAX_MD_SIZE];
    char text[2 * EVP_MAX_MD_SIZE + 1];
    unsigned len = 0, i;
    X509 *x = sb_pem_certificate(pem, strlen(pem));

    (void)buf, (void)buflen;
    if (x == NULL || X509_digest(x, EVP_sha256(), digest, &len) != 1) {
        X509_free(x);
        return "certificate cannot be digested";
    }
    X509_free(x);
    for (i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    json_object_set_new(entity, "cert_digest", json_string(text));
    return NULL;
}

static const struct sb_transformation transformations[] = {
    {.input = SB_LIST("cert"), .on_write = cert_digest},
    {.input = NULL},
};

const struct sb_schema_def sb_entity_ca_certificates = {
    .name = "ca_certificates",
    .routing = true,
    .fields = fields,
    .checks = checks,
    .transformations = transformations,
};
