/*
 * The routes that no entity table gives: the node's own endpoints, and the exceptions to generated ones. They come before the generated
 * rows, so a row here replaces the generated row of the same pattern.
 */
#include "core/admin/core_int.h"

#define WASM_ONLY(path)                                                                                                                    \
    {                                                                                                                                      \
        .pattern = path, .on = {                                                                                                           \
            [SB_M_GET] = sb_admin_needs_wasm,                                                                                              \
            [SB_M_POST] = sb_admin_needs_wasm,                                                                                             \
            [SB_M_PUT] = sb_admin_needs_wasm,                                                                                              \
            [SB_M_PATCH] = sb_admin_needs_wasm,                                                                                            \
            [SB_M_DELETE] = sb_admin_needs_wasm                                                                                            \
        }                                                                                                                                  \
    }

const sb_admin_route_t sb_admin_core_routes[] = {
    {.pattern = "/", .on = {[SB_M_GET] = sb_admin_root}},
    {.pattern = "/status", .on = {[SB_M_GET] = sb_admin_status}},
    {.pattern = "/timers", .on = {[SB_M_GET] = sb_admin_timers}},
    {.pattern = "/endpoints", .on = {[SB_M_GET] = sb_admin_endpoints}},
    {.pattern = "/config", .on = {[SB_M_GET] = sb_admin_config, [SB_M_POST] = sb_admin_config}},
    {.pattern = "/debug/node/log-level", .on = {[SB_M_GET] = sb_admin_log_level}},
    {.pattern = "/debug/node/log-level/{log_level}", .on = {[SB_M_PUT] = sb_admin_log_level_set}},
    {.pattern = "/debug/cluster/log-level/{log_level}", .on = {[SB_M_PUT] = sb_admin_log_level_set}}, /* one node is the cluster */
    {.pattern = "/status/dns", .on = {[SB_M_GET] = sb_admin_status_dns}},
    /* Schemas. */
    {.pattern = "/schemas/plugins/validate", .on = {[SB_M_POST] = sb_admin_schema_validate}, .param0 = "plugins"},
    {.pattern = "/schemas/plugins/{name}", .on = {[SB_M_GET] = sb_admin_plugin_schema}},
    {.pattern = "/schemas/vaults/validate", .on = {[SB_M_POST] = sb_admin_schema_validate}, .param0 = "vaults"},
    {.pattern = "/schemas/vaults/{name}", .on = {[SB_M_GET] = sb_admin_vault_schema}},
    {.pattern = "/schemas/filters/{name}", .on = {[SB_M_GET] = sb_admin_filter_schema}},
    {.pattern = "/schemas/{db_entity_name}/validate", .on = {[SB_M_POST] = sb_admin_schema_validate}},
    {.pattern = "/schemas/{name}", .on = {[SB_M_GET] = sb_admin_schema}},
    {.pattern = "/plugins/enabled", .on = {[SB_M_GET] = sb_admin_plugins_enabled}},
    {.pattern = "/plugins/schema/{name}", .on = {[SB_M_GET] = sb_admin_plugin_config_schema}},
    /* Tags are no rows of their own. */
    {.pattern = "/tags", .on = {[SB_M_GET] = sb_admin_tags, [SB_M_POST] = sb_admin_tags_refuse}},
    {.pattern = "/tags/{tags}",
     .on = {[SB_M_GET] = sb_admin_tags,
            [SB_M_PUT] = sb_admin_tags_refuse,
            [SB_M_PATCH] = sb_admin_tags_refuse,
            [SB_M_DELETE] = sb_admin_tags_refuse}},
    /* Targets live under their upstream only. */
    {.pattern = "/targets", .hidden = true},
    {.pattern = "/targets/{targets}", .hidden = true},
    {.pattern = "/targets/{targets}/upstream", .hidden = true},
    {.pattern = "/upstreams/{upstreams}/targets", .on = {[SB_M_GET] = sb_admin_targets_list, [SB_M_POST] = sb_admin_targets_create}},
    {.pattern = "/upstreams/{upstreams}/targets/all", .on = {[SB_M_GET] = sb_admin_targets_all}},
    {.pattern = "/upstreams/{upstreams}/targets/{targets}",
     .on = {[SB_M_GET] = sb_admin_targets_get,
            [SB_M_PUT] = sb_admin_targets_patch,
            [SB_M_PATCH] = sb_admin_targets_patch,
            [SB_M_DELETE] = sb_admin_targets_delete}},
    {.pattern = "/snis/{snis}/certificate", .hidden = true},
    /* There are no filter chains before there is Wasm. */
    WASM_ONLY("/filter-chains"),
    WASM_ONLY("/filter-chains/{filter_chains}"),
    WASM_ONLY("/filter-chains/{filter_chains}/route"),
    WASM_ONLY("/filter-chains/{filter_chains}/service"),
    WASM_ONLY("/routes/{routes}/filter-chains"),
    WASM_ONLY("/routes/{routes}/filter-chains/{filter_chains}"),
    WASM_ONLY("/routes/{routes}/filters/all"),
    WASM_ONLY("/routes/{routes}/filters/disabled"),
    WASM_ONLY("/routes/{routes}/filters/enabled"),
    WASM_ONLY("/services/{services}/filter-chains"),
    WASM_ONLY("/services/{services}/filter-chains/{filter_chains}"),
    {.pattern = NULL},
};
