/* Key sets: named groups of keys. */
#include "core/entities/entities_int.h"

static const struct sb_field fields[] = {
    SB_FIELD_ID,         {.name = "name", .type = SB_T_STRING, .unique = 1, .description = "The name."},
    SB_FIELD_TAGS,       SB_FIELD_CREATED_AT,
    SB_FIELD_UPDATED_AT, SB_FIELD_END,
};

const struct sb_schema_def sb_entity_key_sets = {
    .name = "key_sets",
    .endpoint_key = "name",
    .admin_path = "/key-sets",
    .workspaceable = true,
    .fields = fields,
};
