/*
 * Filter chains: WebAssembly filters of a route or a service. There is no WebAssembly here, so there are no filters to name and no chain is
 * accepted; the table is what chains are checked against and stored in.
 */
#include "core/entities/entities_int.h"

static const struct sb_field filter_fields[] = {
    {.name = "name",
     .type = SB_T_STRING,
     .required = 1,
     .one_of = SB_LIST(NULL), /* no filter is installed */
     .err = "no such filter",
     .description = "Which filter."},
    {.name = "enabled", .type = SB_T_BOOLEAN, .required = 1, .default_json = "true", .description = "Whether it runs."},
    {.name = "config", .type = SB_T_JSON, .description = "Its configuration."},
    SB_FIELD_END,
};

static const struct sb_field fields[] = {
    SB_FIELD_ID,
    {.name = "name", SB_TYPEDEF_UTF8_NAME, .description = "The name."},
    {.name = "enabled", .type = SB_T_BOOLEAN, .required = 1, .default_json = "true", .description = "Whether the chain runs."},
    {.name = "route",
     .type = SB_T_FOREIGN,
     .reference = "routes",
     .on_delete = SB_CASCADE,
     .unique = 1,
     .default_json = "null",
     .description = "Runs for requests of this route."},
    {.name = "service",
     .type = SB_T_FOREIGN,
     .reference = "services",
     .on_delete = SB_CASCADE,
     .unique = 1,
     .default_json = "null",
     .description = "Runs for requests to this service."},
    {.name = "filters",
     .type = SB_T_ARRAY,
     .required = 1,
     .len_min = 1,
     .len_min_set = 1,
     .elements = SB_ROW(.type = SB_T_RECORD, .fields = filter_fields),
     .description = "The filters, in order of running."},
    SB_FIELD_CREATED_AT,
    SB_FIELD_UPDATED_AT,
    SB_FIELD_TAGS,
    SB_FIELD_END,
};

static const char *
wasm_enabled(const void *entity, const char **field, char *buf, size_t buflen)
{
    (void)entity, (void)field, (void)buf, (void)buflen;
    return "wasm support is not enabled";
}

static const struct sb_entity_check checks[] = {
    {.kind = SB_CHECK_MUTUALLY_EXCLUSIVE, .fields = SB_LIST("service", "route")},
    {.kind = SB_CHECK_AT_LEAST_ONE_OF, .fields = SB_LIST("service", "route")},
    {.kind = SB_CHECK_CUSTOM, .fields = SB_LIST("filters"), .custom = wasm_enabled, .run_with_missing_fields = true},
    {.kind = SB_CHECK_END},
};

const struct sb_schema_def sb_entity_filter_chains = {
    .name = "filter_chains",
    .endpoint_key = "name",
    .cache_key = SB_LIST("route", "service"),
    .admin_path = "/filter-chains",
    .workspaceable = true,
    .routing = true,
    .fields = fields,
    .checks = checks,
};
