/* Vaults: where references {vault://prefix/...} are looked up. The schema of `config` depends on the kind of vault, `name`. */
#include "core/entities/entities_int.h"

static const struct sb_field fields[] = {
    SB_FIELD_ID,
    {.name = "prefix",
     .type = SB_T_STRING,
     .required = 1,
     .unique = 1,
     .unique_across_ws = 1,
     .match = SB_PATTERNS({"^[a-z][a-z%d-]-[a-z%d]+$", 0}),
     .not_one_of = SB_LIST("env"),
     .description = "By which references name it."},
    {.name = "name", .type = SB_T_STRING, .required = 1, .description = "The kind of vault."},
    {.name = "description", .type = SB_T_STRING, .description = "What it is for."},
    {.name = "config", .type = SB_T_RECORD, .abstract = 1, .description = "The configuration; its fields depend on the kind."},
    SB_FIELD_CREATED_AT,
    SB_FIELD_UPDATED_AT,
    SB_FIELD_TAGS,
    SB_FIELD_END,
};

static const struct sb_field env_fields[] = {
    {.name = "config",
     .type = SB_T_RECORD,
     .fields = SB_ROWS({.name = "prefix",
                        .type = SB_T_STRING,
                        .match = SB_PATTERNS({"^[%a_-][%a%d_-]*$", 0}),
                        .description = "Prefix of the environment variables."}),
     .description = "Where the values are."},
    SB_FIELD_END,
};

static const struct sb_subschema subschemas[] = {
    {"env", env_fields, NULL},
    {NULL, NULL, NULL},
};

const struct sb_schema_def sb_entity_vaults = {
    .name = "vaults",
    .endpoint_key = "prefix",
    .cache_key = SB_LIST("prefix"),
    .workspaceable = true,
    .fields = fields,
    .subschema_key = "name",
    .subschemas = subschemas,
    .subschema_error = "vault '%s' is not installed",
};
