/*
 * The schemas of Lua plugins in control, and the way back into Lua for the functions they hold.
 *
 * At start (and at each reload, in the master, before workers are forked) lua/kong/silverback/control.lua runs in init_by_lua: it
 * begins a set, adds every Lua plugin's schema as JSON, and commits. Only the commit touches the process-wide set (sb_plugin_schemas_*),
 * so a reload that fails leaves the old one whole. Native plugins' schemas are added in the worker (node.c).
 *
 * A schema's function is known by a number. sb_lua_bridge_call() is called by the schema engine, mostly on the store thread: it hops to
 * the event loop, where the FFI callback that Lua registered runs the function and answers with sb_ctl_answer(). `hop` is the call
 * under way; there is never more than one, because functions of schemas cannot yield and everything here is on one thread.
 */
#include "control/lua_bridge.h"

#include "control/control.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/settings/settings.h"
#include "silverback/plugin.h"
#include "silverback/sb_ffi_control.h"

#include <stdlib.h>
#include <string.h>

struct staged {
    char *name, *version;
    sb_schema_t *schema;
    int priority;
};

static struct {
    struct staged *items;
    size_t n;
    char **lua_names;
    size_t n_lua_names;
    char *text; /* the last message given to Lua */
} stage;

static sb_ctl_call_pt lua_call;

/* ---------- the set ---------- */

static bool
is_native(const char *name)
{
    for (const struct sb_plugin *const *p = sb_bundled_plugins; *p != NULL; p++)
        if (strcmp((*p)->name, name) == 0)
            return true;
    return false;
}

static bool
staged(const char *name)
{
    for (size_t i = 0; i < stage.n; i++)
        if (strcmp(stage.items[i].name, name) == 0)
            return true;
    return false;
}

static void
stage_add(const char *name, sb_schema_t *schema, int priority, const char *version)
{
    stage.items = sb_realloc(stage.items, (stage.n + 1) * sizeof(*stage.items));
    stage.items[stage.n++] = (struct staged){
        .name = sb_strdup_len(name, strlen(name)),
        .version = version != NULL ? sb_strdup_len(version, strlen(version)) : NULL,
        .schema = schema,
        .priority = priority,
    };
}

static void
stage_clear(bool free_schemas)
{
    for (size_t i = 0; i < stage.n; i++) {
        if (free_schemas)
            sb_schema_free(stage.items[i].schema);
        free(stage.items[i].name);
        free(stage.items[i].version);
    }
    free(stage.items);
    stage.items = NULL;
    stage.n = 0;
    for (size_t i = 0; i < stage.n_lua_names; i++)
        free(stage.lua_names[i]);
    free(stage.lua_names);
    stage.lua_names = NULL;
    stage.n_lua_names = 0;
}

static bool
lua_name_known(const char *name)
{
    for (size_t i = 0; i < stage.n_lua_names; i++)
        if (strcmp(stage.lua_names[i], name) == 0)
            return true;
    return false;
}

/* The names of the setting that Lua has to bring. */
static void
read_names(const sb_settings_t *s)
{
    size_t n;
    const char *const *names = sb_settings_list(s, "plugins", &n);

    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], "bundled") == 0 || strcmp(names[i], "off") == 0 || is_native(names[i]) || lua_name_known(names[i]))
            continue;
        stage.lua_names = sb_realloc(stage.lua_names, (stage.n_lua_names + 1) * sizeof(*stage.lua_names));
        stage.lua_names[stage.n_lua_names++] = sb_strdup_len(names[i], strlen(names[i]));
    }
}

static const char *
say(char *text)
{
    free(stage.text);
    stage.text = text;
    return text;
}

/* A preflight tries settings that are not the prefix's yet (src/cli/preflight.c). */
const char *
sb_ctl_begin(const char *prefix, const char *lua_version)
{
    const char *trial = getenv("SILVERBACK_PREFLIGHT") != NULL ? getenv("SILVERBACK_PREFLIGHT_ENV") : NULL;
    char *path = trial != NULL ? sb_asprintf("%s", trial) : sb_asprintf("%s/.kong_env", prefix);
    sb_settings_t *s = NULL;
    sb_err_t err = {0};
    int rc = sb_settings_load_env_file(path, &s, &err);
    const char *why = NULL;

    free(path);
    stage_clear(true);
    sb_control_set_lua_version(lua_version);
    if (rc == SB_OK)
        read_names(s);
    else
        why = say(sb_strdup_len(err.message, strlen(err.message)));
    sb_err_clear(&err);
    sb_settings_free(s);
    return why;
}

const char *
sb_ctl_plugin_name(int n)
{
    return n >= 0 && (size_t)n < stage.n_lua_names ? stage.lua_names[n] : NULL;
}

const char *
sb_ctl_plugin_schema_add(const char *name, const char *json, size_t len, int priority, const char *version)
{
    sb_err_t err = {0};
    sb_schema_t *schema = NULL;
    json_t *def = sb_json_parse(json, len, &err);
    const char *why = NULL;

    if (def == NULL)
        why = say(sb_asprintf("%s", err.message));
    else if (staged(name))
        why = say(sb_asprintf("the plugin is there already"));
    else if (sb_schema_from_json(name, def, &schema, &err) != SB_OK)
        why = say(sb_asprintf("%s", err.message));
    else
        stage_add(name, schema, priority, version);
    json_decref(def);
    sb_err_clear(&err);
    return why;
}

void
sb_ctl_commit(sb_ctl_call_pt call)
{
    /* The schemas before are left alone: a worker forked from here may not use them, but pointers to them may still be held. */
    sb_plugin_schemas_clear();
    for (size_t i = 0; i < stage.n; i++) {
        const struct staged *item = &stage.items[i];
        sb_plugin_schema_t ps = {item->name, item->schema, NULL, item->priority, item->version};

        sb_plugin_schemas_add(&ps);
    }
    stage_clear(false);
    lua_call = call;
}

/* ---------- calls ---------- */

struct hop {
    int ref;
    char *json; /* the value */
    size_t len;
    int outcome; /* negative: Lua did not answer */
    char *data;
    size_t data_len;
};

static struct hop *current;

void
sb_ctl_answer(int outcome, const char *data, size_t len)
{
    if (current == NULL)
        return;
    free(current->data);
    current->outcome = outcome;
    current->data = sb_strdup_len(data, len);
    current->data_len = len;
}

static void
on_loop(void *arg)
{
    struct hop *hop = arg, *outer = current;

    current = hop;
    lua_call(hop->ref, hop->json, hop->len);
    current = outer;
}

static int
failed(const char *plugin, const char *what, sb_err_t *err)
{
    sb_log(SB_LOG_ERR, "plugin %s: a function of its schema failed: %s", plugin, what);
    sb_err_set(err, SB_E_DATABASE, "plugin %s: a function of its schema failed", plugin);
    return SB_ERROR;
}

/* The rest of the validation is given up, so that a value of many parts cannot take that long many times. */
static int
too_long(const char *plugin, const char *what, sb_err_t *err)
{
    sb_log(SB_LOG_ERR, "plugin %s: a function of its schema, %s", plugin, what);
    sb_schema_violation(err, json_pack("{s:[o]}", "@entity", json_sprintf("plugin %s: %s", plugin, what)));
    return SB_ERROR;
}

static int
outcome_of(const struct hop *hop, const char *plugin, json_t **out, sb_err_t *err)
{
    json_t *value;

    if (hop->outcome == SB_CTL_RAISED || hop->outcome < 0)
        return failed(plugin, hop->data != NULL ? hop->data : "no answer", err);
    if (hop->outcome == SB_CTL_STOPPED)
        return too_long(plugin, hop->data, err);
    if (hop->outcome == SB_CTL_REFUSED)
        return sb_err_set(err, SB_E_SCHEMA_VIOLATION, "%s", hop->data);
    value = hop->data_len != 0 ? sb_json_parse(hop->data, hop->data_len, err) : NULL;
    if (value == NULL && hop->data_len != 0)
        return failed(plugin, "its result is not JSON", err);
    if (hop->outcome == SB_CTL_FIELDS)
        return sb_err_set_fields(err, SB_E_SCHEMA_VIOLATION, value, "%s", "");
    if (out != NULL)
        *out = value;
    else
        json_decref(value);
    return SB_OK;
}

int
sb_lua_bridge_call(void *arg, const char *plugin, int ref, json_t *value, json_t **out, sb_err_t *err)
{
    struct hop hop = {.ref = ref, .outcome = -1};
    int rc;

    if (out != NULL)
        *out = NULL;
    if (lua_call == NULL)
        return failed(plugin, "Lua is not running here", err);
    hop.json = sb_json_dump_len(value, &hop.len);
    if (sb_loop_call(on_loop, &hop) != SB_OK)
        rc = failed(plugin, "the event loop is not running", err);
    else
        rc = outcome_of(&hop, plugin, out, err);
    free(hop.json);
    free(hop.data);
    return rc;
}
