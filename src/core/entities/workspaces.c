/* Workspaces: the scopes of names. Only "default" exists unless an edition manages more. */
#include "core/entities/entities_int.h"

static const struct sb_field fields[] = {
    SB_FIELD_ID,
    {.name = "name",
     SB_TYPEDEF_UTF8_NAME,
     .required = 1,
     .description = "The name; not that of a collection.",
     .not_one_of =
         SB_LIST("workspaces", "consumers", "certificates", "services", "routes", "snis", "upstreams", "targets", "plugins", "tags",
                 "ca_certificates", "clustering_data_planes", "parameters", "vaults", "key_sets", "keys", "filter_chains")},
    {.name = "comment", .type = SB_T_STRING, .description = "What it is for."},
    SB_FIELD_CREATED_AT,
    SB_FIELD_UPDATED_AT,
    {.name = "meta", .type = SB_T_RECORD, .fields = (const struct sb_field[]){SB_FIELD_END}, .description = "Reserved."},
    {.name = "config", .type = SB_T_RECORD, .fields = (const struct sb_field[]){SB_FIELD_END}, .description = "Reserved."},
    SB_FIELD_END,
};

const struct sb_schema_def sb_entity_workspaces = {
    .name = "workspaces",
    .endpoint_key = "name",
    .cache_key = SB_LIST("name"),
    .no_admin = true,
    .fields = fields,
};
