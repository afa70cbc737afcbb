/* Consumers: who uses the APIs. Their credentials are entities of plugins. */
#include "core/entities/entities_int.h"

static const struct sb_field fields[] = {
    SB_FIELD_ID,
    SB_FIELD_CREATED_AT,
    SB_FIELD_UPDATED_AT,
    {.name = "username", .type = SB_T_STRING, .unique = 1, .description = "The name. One of username and custom_id must be given."},
    {.name = "custom_id", .type = SB_T_STRING, .unique = 1, .description = "Id of the consumer elsewhere."},
    SB_FIELD_TAGS,
    SB_FIELD_END,
};

static const struct sb_entity_check checks[] = {
    {.kind = SB_CHECK_AT_LEAST_ONE_OF, .fields = SB_LIST("custom_id", "username")},
    {.kind = SB_CHECK_END},
};

const struct sb_schema_def sb_entity_consumers = {
    .name = "consumers",
    .endpoint_key = "username",
    .workspaceable = true,
    .fields = fields,
    .checks = checks,
};
