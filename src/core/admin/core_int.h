/* The handlers of core.c's routes, by the file they are in. */
#ifndef SB_ADMIN_CORE_INT_H
#define SB_ADMIN_CORE_INT_H

#include "core/admin/admin_int.h"

/* info.c */
int sb_admin_root(sb_admin_call_t *c);
int sb_admin_status(sb_admin_call_t *c);
int sb_admin_timers(sb_admin_call_t *c);
int sb_admin_endpoints(sb_admin_call_t *c);
int sb_admin_config(sb_admin_call_t *c);
int sb_admin_clustering(sb_admin_call_t *c);
int sb_admin_status_dns(sb_admin_call_t *c);
int sb_admin_needs_wasm(sb_admin_call_t *c);
int sb_admin_log_level(sb_admin_call_t *c);
int sb_admin_log_level_set(sb_admin_call_t *c);

/* route_match.c */
int sb_admin_route_match(sb_admin_call_t *c);

/* status_api.c */
int sb_admin_ready(sb_admin_call_t *c);
int sb_admin_ready_set(sb_admin_call_t *c);

/* health.c */
int sb_admin_health(sb_admin_call_t *c);
int sb_admin_health_up(sb_admin_call_t *c);
int sb_admin_health_down(sb_admin_call_t *c);

/* cache.c */
int sb_admin_cache_purge(sb_admin_call_t *c);
int sb_admin_cache_get(sb_admin_call_t *c);
int sb_admin_cache_delete(sb_admin_call_t *c);

/* schemas.c */
int sb_admin_schema(sb_admin_call_t *c);
int sb_admin_schema_validate(sb_admin_call_t *c);
int sb_admin_plugin_schema(sb_admin_call_t *c);
int sb_admin_plugin_config_schema(sb_admin_call_t *c);
int sb_admin_vault_schema(sb_admin_call_t *c);
int sb_admin_filter_schema(sb_admin_call_t *c);
int sb_admin_plugins_enabled(sb_admin_call_t *c);

/* openapi.c */
int sb_admin_openapi(sb_admin_call_t *c);

/* tags.c */
int sb_admin_tags(sb_admin_call_t *c);
int sb_admin_tags_refuse(sb_admin_call_t *c);

/* workspaces.c */
int sb_admin_workspaces_create(sb_admin_call_t *c);
int sb_admin_workspaces_put(sb_admin_call_t *c);
int sb_admin_workspaces_delete(sb_admin_call_t *c);

/* targets.c */
int sb_admin_targets_list(sb_admin_call_t *c);
int sb_admin_targets_all(sb_admin_call_t *c);
int sb_admin_targets_create(sb_admin_call_t *c);
int sb_admin_targets_get(sb_admin_call_t *c);
int sb_admin_targets_patch(sb_admin_call_t *c);
int sb_admin_targets_delete(sb_admin_call_t *c);

#endif
