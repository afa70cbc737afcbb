/* Lua plugin schemas in control; see lua_bridge.c. */
#ifndef SB_CONTROL_LUA_BRIDGE_H
#define SB_CONTROL_LUA_BRIDGE_H

#include "core/schema/schema.h"

/*
 * sb_schema_hooks_t.lua_call: runs a function of a Lua plugin's schema on the event loop and waits for it; any thread. The functions
 * belong to the schemas that sb_ctl_commit() installed.
 */
int sb_lua_bridge_call(void *arg, const char *plugin, int ref, json_t *value, json_t **out, sb_err_t *err);

#endif
