/*
 * The routes that no entity table gives: the node's own endpoints, and the exceptions to generated ones. They come before the generated
 * rows, so a row here replaces the generated row of the same pattern.
 */
#include "core/admin/core_int.h"

#define WASM_ONLY(path)                                                                                                                    \
    {                                                                                                                                      \
        .pattern = path, .text = "Filters of WebAssembly, which this version has not.", .on = {                                            \
            [SB_M_GET] = sb_admin_needs_wasm,                                                                                              \
            [SB_M_POST] = sb_admin_needs_wasm,                                                                                             \
            [SB_M_PUT] = sb_admin_needs_wasm,                                                                                              \
            [SB_M_PATCH] = sb_admin_needs_wasm,                                                                                            \
            [SB_M_DELETE] = sb_admin_needs_wasm                                                                                            \
        }                                                                                                                                  \
    }

const sb_admin_route_t sb_admin_core_routes[] = {
    {.pattern = "/", .text = "The node: versions, plugins, settings, processes.", .on = {[SB_M_GET] = sb_admin_root}},
    {.pattern = "/status", .text = "Memory, connections, whether the database is reachable.", .on = {[SB_M_GET] = sb_admin_status}},
    {.pattern = "/timers", .text = "Lua timers of control; it runs none.", .on = {[SB_M_GET] = sb_admin_timers}},
    {.pattern = "/endpoints", .text = "The paths of this API.", .on = {[SB_M_GET] = sb_admin_endpoints}},
    {.pattern = "/openapi", .text = "This API as an OpenAPI 3 document.", .on = {[SB_M_GET] = sb_admin_openapi}},
    {.pattern = "/config",
     .text = "Declarative configuration; only without a database, so always refused.",
     .on = {[SB_M_GET] = sb_admin_config, [SB_M_POST] = sb_admin_config}},
    {.pattern = "/debug/node/log-level", .text = "The level that the node logs at.", .on = {[SB_M_GET] = sb_admin_log_level}},
    {.pattern = "/debug/node/log-level/{log_level}",
     .text = "Logs at another level, for `timeout` seconds (60), or for good with 0.",
     .on = {[SB_M_PUT] = sb_admin_log_level_set}},
    {.pattern = "/debug/cluster/log-level/{log_level}",
     .text = "The same for all nodes, which is this one.",
     .on = {[SB_M_PUT] = sb_admin_log_level_set}}, /* one node is the cluster */
    {.pattern = "/status/dns",
     .text = "Counters of the newer DNS client, of which there are none: 501.",
     .on = {[SB_M_GET] = sb_admin_status_dns}},
    /* Schemas. */
    {.pattern = "/schemas/plugins/validate",
     .text = "Whether a plugin would be accepted; nothing is stored.",
     .on = {[SB_M_POST] = sb_admin_schema_validate},
     .param0 = "plugins"},
    {.pattern = "/schemas/plugins/{name}", .text = "A plugin's fields.", .on = {[SB_M_GET] = sb_admin_plugin_schema}},
    {.pattern = "/schemas/vaults/validate",
     .text = "Whether a vault would be accepted; nothing is stored.",
     .on = {[SB_M_POST] = sb_admin_schema_validate},
     .param0 = "vaults"},
    {.pattern = "/schemas/vaults/{name}", .text = "A vault's fields.", .on = {[SB_M_GET] = sb_admin_vault_schema}},
    {.pattern = "/schemas/filters/{name}", .text = "A Wasm filter's fields; there are none.", .on = {[SB_M_GET] = sb_admin_filter_schema}},
    {.pattern = "/schemas/{db_entity_name}/validate",
     .text = "Whether an entity would be accepted; nothing is stored.",
     .on = {[SB_M_POST] = sb_admin_schema_validate}},
    {.pattern = "/schemas/{name}", .text = "An entity's fields.", .on = {[SB_M_GET] = sb_admin_schema}},
    {.pattern = "/plugins/enabled", .text = "Names of the plugins that may be configured.", .on = {[SB_M_GET] = sb_admin_plugins_enabled}},
    {.pattern = "/plugins/schema/{name}", .text = "The fields of a plugin's `config`.", .on = {[SB_M_GET] = sb_admin_plugin_config_schema}},
    /* Tags are no rows of their own. */
    {.pattern = "/tags",
     .text = "All tags, with what carries them.",
     .on = {[SB_M_GET] = sb_admin_tags, [SB_M_POST] = sb_admin_tags_refuse}},
    {.pattern = "/tags/{tags}",
     .text = "What carries a tag.",
     .on = {[SB_M_GET] = sb_admin_tags,
            [SB_M_PUT] = sb_admin_tags_refuse,
            [SB_M_PATCH] = sb_admin_tags_refuse,
            [SB_M_DELETE] = sb_admin_tags_refuse}},
    /* Targets live under their upstream only. */
    {.pattern = "/targets", .hidden = true},
    {.pattern = "/targets/{targets}", .hidden = true},
    {.pattern = "/targets/{targets}/upstream", .hidden = true},
    {.pattern = "/upstreams/{upstreams}/targets",
     .of = "targets",
     .text = "The upstream's targets; a new one.",
     .on = {[SB_M_GET] = sb_admin_targets_list, [SB_M_POST] = sb_admin_targets_create}},
    {.pattern = "/upstreams/{upstreams}/targets/all",
     .of = "targets",
     .text = "The same without paging.",
     .on = {[SB_M_GET] = sb_admin_targets_all}},
    {.pattern = "/upstreams/{upstreams}/targets/{targets}",
     .of = "targets",
     .text = "A target, by id or by `host:port`.",
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
