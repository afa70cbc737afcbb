/*
 * Tags: which entities carry which tags. A view: the record keeps it beside the rows that carry them (core/store), no row is
 * written through it, and its endpoints are the Admin API's own.
 */
#include "core/entities/entities_int.h"

static const struct sb_field fields[] = {
    {.name = "tag", .type = SB_T_STRING, SB_VALIDATOR(tag), .required = 1, .description = "The tag."},
    {.name = "entity_name", .type = SB_T_STRING, .required = 1, .description = "The kind of what carries it."},
    {.name = "entity_id", .type = SB_T_STRING, .uuid = 1, .automatic = 1, .required = 1, .description = "The id of what carries it."},
    SB_FIELD_END,
};

const struct sb_schema_def sb_entity_tags = {
    .name = "tags",
    .primary_key = SB_LIST("tag"),
    .endpoint_key = "tag",
    .no_admin = true,
    .fields = fields,
};
