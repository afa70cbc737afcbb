/* Keys: a public or private key as JWK text or as PEM, found by kid within a set. */
#include "core/entities/entities_int.h"
#include "core/schema/jwk.h"

#include <string.h>

static const struct sb_entity_check pem_checks[] = {
    {.kind = SB_CHECK_AT_LEAST_ONE_OF, .fields = SB_LIST("private_key", "public_key")},
    {.kind = SB_CHECK_END},
};

static const struct sb_field pem_fields[] = {
    {.name = "private_key", .type = SB_T_STRING, .referenceable = 1, .encrypted = 1, .description = "The private key in PEM."},
    {.name = "public_key", .type = SB_T_STRING, .referenceable = 1, .description = "The public key in PEM."},
    SB_FIELD_END,
};

static const struct sb_field fields[] = {
    SB_FIELD_ID,
    {.name = "set", .type = SB_T_FOREIGN, .reference = "key_sets", .on_delete = SB_CASCADE, .description = "The set it belongs to."},
    {.name = "name", .type = SB_T_STRING, .unique = 1, .description = "The name."},
    {.name = "kid", .type = SB_T_STRING, .required = 1, .description = "The key id, unique in its set."},
    {.name = "jwk", .type = SB_T_STRING, .referenceable = 1, .encrypted = 1, .description = "The key as text of a JSON Web Key."},
    {.name = "pem",
     .type = SB_T_RECORD,
     .not_required = 1,
     .fields = pem_fields,
     .checks = pem_checks,
     SB_VALIDATOR(pem_pair),
     .description = "The key as PEM."},
    SB_FIELD_TAGS,
    SB_FIELD_CREATED_AT,
    SB_FIELD_UPDATED_AT,
    SB_FIELD_END,
};

static const char *
check_jwk(const char *text, const char *kid)
{
    json_t *jwk = sb_json_parse(text, strlen(text), NULL);
    const char *own, *error = NULL;

    if (!json_is_object(jwk)) {
        json_decref(jwk);
        return "could not json decode jwk string";
    }
    own = sb_json_string(jwk, "kid");
    if (own == NULL || kid == NULL || strcmp(own, kid) != 0)
        error = "kid in jwk.kid must be equal to keys.kid";
    else if (!sb_jwk_loads(jwk))
        error = "could not load JWK, likely not a valid key";
    json_decref(jwk);
    return error;
}

static const char *
key_jwk_pem_check(const void *entity, const char **field, char *buf, size_t buflen)
{
    const char *jwk = sb_json_string(entity, "jwk");
    const json_t *pem = sb_json_get(entity, "pem");

    (void)field, (void)buf, (void)buflen;
    if (jwk != NULL && strncmp(jwk, "{vault://", 9) != 0)
        return check_jwk(jwk, sb_json_string(entity, "kid"));
    if (pem != NULL && sb_json_get(pem, "private_key") == NULL && sb_json_get(pem, "public_key") == NULL)
        return "need to supply a PEM formatted public and/or private key.";
    return NULL;
}

static const struct sb_entity_check checks[] = {
    {.kind = SB_CHECK_MUTUALLY_EXCLUSIVE, .fields = SB_LIST("pem", "jwk")},
    {.kind = SB_CHECK_AT_LEAST_ONE_OF, .fields = SB_LIST("jwk", "pem")},
    {.kind = SB_CHECK_CUSTOM, .fields = SB_LIST("jwk", "pem", "kid"), .custom = key_jwk_pem_check},
    {.kind = SB_CHECK_END},
};

const struct sb_schema_def sb_entity_keys = {
    .name = "keys",
    .endpoint_key = "name",
    .cache_key = SB_LIST("kid", "set"),
    .workspaceable = true,
    .fields = fields,
    .checks = checks,
};
