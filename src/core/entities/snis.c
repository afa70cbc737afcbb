/* SNIs: host names, with at most one wildcard, and the certificate shown for them. */
#include "core/entities/entities_int.h"

static const struct sb_field fields[] = {
    SB_FIELD_ID,
    {.name = "name", SB_TYPEDEF_WILDCARD_HOST, .required = 1, .unique = 1, .unique_across_ws = 1, .description = "The host name."},
    SB_FIELD_CREATED_AT,
    SB_FIELD_UPDATED_AT,
    SB_FIELD_TAGS,
    {.name = "certificate", .type = SB_T_FOREIGN, .reference = "certificates", .required = 1, .description = "The certificate shown."},
    SB_FIELD_END,
};

const struct sb_schema_def sb_entity_snis = {
    .name = "snis",
    .endpoint_key = "name",
    .workspaceable = true,
    .routing = true,
    .fields = fields,
};
