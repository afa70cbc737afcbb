/* How the schema engine in control reaches the clock, the router flavor and Lua; see control.h. Filled once, before threads start. */
#include "control/control.h"

#include <string.h>

static sb_lua_call_pt lua_call;
static void *lua_arg;

void
sb_control_set_lua(sb_lua_call_pt call, void *arg)
{
    lua_call = call;
    lua_arg = arg;
}

sb_schema_hooks_t
sb_control_hooks(const sb_settings_t *settings)
{
    const char *flavor = sb_settings_str(settings, "router_flavor");

    return (sb_schema_hooks_t){
        .lua_call = lua_call,
        .arg = lua_arg,
        .expressions = flavor != NULL && strcmp(flavor, "expressions") == 0,
        .traditional = flavor != NULL && strcmp(flavor, "traditional") == 0,
    };
}
