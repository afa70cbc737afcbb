/*
 * What Lua in the control instance calls in C (lua/kong/silverback/control.lua). Plain types only: the same declarations stand in its
 * cdef. Everything happens on the main thread: before the fork, or on the event loop.
 */
#ifndef SILVERBACK_SB_FFI_CONTROL_H
#define SILVERBACK_SB_FFI_CONTROL_H

#include <stddef.h>

#define SB_CTL_EXPORT __attribute__((visibility("default")))

/* Runs a Lua function of a plugin's schema on a JSON value; the outcome is told with sb_ctl_answer() meanwhile. */
typedef void (*sb_ctl_call_pt)(int ref, const char *json, size_t len);

enum {
    SB_CTL_FINE = 0,    /* json: what the function returned, or nothing */
    SB_CTL_REFUSED = 1, /* text: why the value is not acceptable; may be empty */
    SB_CTL_FIELDS = 2,  /* json: why, by field */
    SB_CTL_RAISED = 3,  /* text: the function raised an error */
    SB_CTL_STOPPED = 4  /* text: which function took too long, and how long it was allowed */
};

/* Begins a new set of plugin schemas from the settings in <prefix>/.kong_env (in a preflight: SILVERBACK_PREFLIGHT_ENV). NULL, or what
 * failed. */
SB_CTL_EXPORT const char *sb_ctl_begin(const char *prefix, const char *lua_version);
/* The n-th name of the setting `plugins` that has no native plugin; NULL when there are no more. */
SB_CTL_EXPORT const char *sb_ctl_plugin_name(int n);
/* Adds a Lua plugin's schema to the set. NULL, or "field 'a.b': reason" (until the next call). */
SB_CTL_EXPORT const char *sb_ctl_plugin_schema_add(const char *name, const char *json, size_t len, int priority, const char *version);
/* The set is complete and takes the place of the one before; `call` runs its functions. */
SB_CTL_EXPORT void sb_ctl_commit(sb_ctl_call_pt call);
SB_CTL_EXPORT void sb_ctl_answer(int outcome, const char *data, size_t len);

#endif
