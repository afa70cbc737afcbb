/* Lua plugin schemas in control; see lua_bridge.c. */
#ifndef SB_CONTROL_LUA_BRIDGE_H
#define SB_CONTROL_LUA_BRIDGE_H

#include "core/schema/schema.h"

/*
 * sb_schema_hooks_t.lua_call: runs a function of a Lua plugin's schema on the event loop and waits for it; any thread. The functions
 * belong to the schemas that sb_ctl_commit() installed.
 */
int sb_lua_bridge_call(void *arg, const char *plugin, int ref, json_t *value, json_t **out, sb_err_t *err);

/*
 * Why a Lua plugin's schema definition is wrong, as "path: reason" with the path in the schema ("fields.config.fields.color.type").
 * err as sb_schema_from_json() left it. malloc'ed.
 */
char *sb_lua_bridge_schema_fault(const sb_err_t *err);

#endif
