/* Parameters: values that the cluster keeps for itself, by name. Internal: no endpoint shows them. */
#include "core/entities/entities_int.h"

static const struct sb_field fields[] = {
    SB_FIELD_CREATED_AT,
    {.name = "key", .type = SB_T_STRING, .required = 1, .unique = 1, .description = "The name."},
    {.name = "value", .type = SB_T_STRING, .required = 1, .description = "The value."},
    SB_FIELD_END,
};

const struct sb_schema_def sb_entity_parameters = {
    .name = "parameters",
    .primary_key = SB_LIST("key"),
    .cache_key = SB_LIST("key"),
    .no_admin = true,
    .fields = fields,
};
