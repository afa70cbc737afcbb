/*
 * Consumer groups, and which consumers are in them. A plugin that names a group runs for requests of its consumers. Deleting either side
 * ends the membership.
 */
#include "core/entities/entities_int.h"

static const struct sb_field group_fields[] = {
    SB_FIELD_ID,         SB_FIELD_CREATED_AT,
    SB_FIELD_UPDATED_AT, {.name = "name", SB_TYPEDEF_UTF8_NAME, .required = 1, .description = "The name."},
    SB_FIELD_TAGS,       SB_FIELD_END,
};

const struct sb_schema_def sb_entity_consumer_groups = {
    .name = "consumer_groups",
    .endpoint_key = "name",
    .workspaceable = true,
    .fields = group_fields,
};

static const struct sb_field member_fields[] = {
    SB_FIELD_CREATED_AT,
    SB_FIELD_UPDATED_AT,
    {.name = "consumer_group",
     .type = SB_T_FOREIGN,
     .reference = "consumer_groups",
     .on_delete = SB_CASCADE,
     .required = 1,
     .description = "The group."},
    {.name = "consumer",
     .type = SB_T_FOREIGN,
     .reference = "consumers",
     .on_delete = SB_CASCADE,
     .required = 1,
     .description = "Who is in it."},
    SB_FIELD_END,
};

const struct sb_schema_def sb_entity_consumer_group_consumers = {
    .name = "consumer_group_consumers",
    .primary_key = SB_LIST("consumer_group", "consumer"),
    .cache_key = SB_LIST("consumer_group", "consumer"),
    .workspaceable = true,
    .no_admin = true,
    .fields = member_fields,
};
