/*
 * Steps: plugin rows, decoded. One per row and version in a worker, found by id in a table, referenced by the chains that use it;
 * the table itself holds no reference, so a step lives as long as a chain wants it. When the row changes, the next chain that
 * is built gets a new step, which takes the old one's place in the table.
 */
#include "proxy/proxy_int.h"

#include <stdlib.h>

static sb_table_t steps;
static uint64_t last_serial;

/* ---- which plugins there are ---- */

struct lua_plugin {
    struct lua_plugin *next;
    char *name;
    int priority;
    uint32_t phases;
};
static struct lua_plugin *lua_plugins;

static struct lua_plugin *
lua_plugin_find(const char *name)
{
    struct lua_plugin *p = lua_plugins;

    while (p != NULL && strcmp(p->name, name) != 0)
        p = p->next;
    return p;
}

void
sb_lua_plugin_register(const char *name, int priority, uint32_t phases)
{
    struct lua_plugin *p = lua_plugin_find(name);

    if (p == NULL) {
        p = sb_calloc(sizeof(*p));
        p->name = sb_strdup_len(name, strlen(name));
        p->next = lua_plugins;
        lua_plugins = p;
    }
    p->priority = priority;
    p->phases = phases;
}

static const struct sb_plugin *
native_find(const char *name)
{
    for (const struct sb_plugin *const *p = sb_bundled_plugins; *p != NULL; p++)
        if (strcmp((*p)->name, name) == 0)
            return *p;
    return NULL;
}

static uint32_t
native_phases(const struct sb_plugin *p)
{
    return (p->rewrite != NULL ? SB_PHASE_BIT(SB_PHASE_REWRITE) : 0) | (p->access != NULL ? SB_PHASE_BIT(SB_PHASE_ACCESS) : 0) |
           (p->header_filter != NULL ? SB_PHASE_BIT(SB_PHASE_HEADER_FILTER) : 0) |
           (p->body_filter != NULL ? SB_PHASE_BIT(SB_PHASE_BODY_FILTER) : 0) | (p->log != NULL ? SB_PHASE_BIT(SB_PHASE_LOG) : 0);
}

/* ---- serials of the dead, for Lua to forget ---- */

static uint64_t *released;
static size_t n_released, cap_released;

static void
remember_release(uint64_t serial)
{
    if (n_released == cap_released) {
        cap_released = cap_released != 0 ? 2 * cap_released : 64;
        released = sb_realloc(released, cap_released * sizeof(*released));
    }
    released[n_released++] = serial;
}

size_t
sb_steps_released(uint64_t *serials, size_t max)
{
    size_t n = n_released < max ? n_released : max;

    n_released -= n;
    if (n != 0)
        memcpy(serials, released + n_released, n * sizeof(*serials));
    return n;
}

/* ---- making and freeing ---- */

void
sb_step_unref(sb_step_t *s)
{
    if (s == NULL || --s->refs != 0)
        return;
    sb_table_remove(&steps, &s->node);
    if (s->native == NULL)
        remember_release(s->serial);
    sb_cache_bytes -= sb_pool_bytes(s->pool);
    sb_pool_free(s->pool);
}

static void
copy_scope(const json_t *row, const char *field, char *text, sb_uuid_t *id)
{
    const char *value = sb_json_foreign_id(row, field);

    if (value != NULL && sb_uuid_parse(value, strlen(value), id))
        sb_uuid_format(id, text);
}

/* Protocols that the instance runs for, as bits. A row without them is one for HTTP. */
static uint16_t
protocols_of(const json_t *row)
{
    json_t *protocols = sb_json_get(row, "protocols"), *item;
    uint16_t bits = 0;
    size_t i;

    if (protocols == NULL)
        return SB_PROTO_WEB;
    json_array_foreach(protocols, i, item) bits |= sb_route_protocol_bit(json_string_value(item));
    return bits;
}

static bool
decode_native(sb_step_t *s, const json_t *config)
{
    const struct sb_plugin *p = s->native;
    const char *why = NULL;
    sb_err_t err = {0};

    s->conf = sb_pool_alloc(s->pool, p->config_size);
    if (p->config_size != 0 && sb_schema_decode_struct(p->config, config, s->pool, s->conf, &err) != SB_OK)
        why = err.message;
    else if (p->compile != NULL)
        why = p->compile(s->conf, s->pool);
    if (why != NULL)
        sb_log(SB_LOG_ERR, "plugin %s (%s) cannot be used: %s", s->name, s->id_text, why);
    sb_err_clear(&err);
    return why == NULL;
}

static void
fill_step(sb_step_t *s, const sb_row_t *row, const json_t *json)
{
    const char *instance = sb_json_string(json, "instance_name");
    char *config = sb_json_dump(sb_json_get(json, "config"));

    s->name = sb_pool_strdup(s->pool, sb_json_string(json, "name"));
    s->instance_name = sb_pool_strdup(s->pool, instance != NULL ? instance : "");
    s->config = sb_pool_str(s->pool, config, strlen(config));
    free(config);
    s->protocols = protocols_of(json);
    s->version = row->version;
    s->serial = ++last_serial;
    s->node.id = row->id;
    s->id = row->id;
    sb_uuid_format(&row->id, s->id_text);
    sb_uuid_format(&row->ws, s->ws_id);
    copy_scope(json, "route", s->route_id, &s->scope_route);
    copy_scope(json, "service", s->service_id, &s->scope_service);
    copy_scope(json, "consumer", s->consumer_id, &s->scope_consumer);
    copy_scope(json, "consumer_group", s->group_id, &s->scope_group);
}

/* Which code it runs; false when there is none. */
static bool
bind_plugin(sb_step_t *s)
{
    const struct lua_plugin *lua;

    s->native = native_find(s->name);
    if (s->native != NULL) {
        s->priority = s->native->priority;
        s->phases = native_phases(s->native);
        return true;
    }
    lua = lua_plugin_find(s->name);
    if (lua == NULL) {
        sb_log(SB_LOG_ERR, "plugin %s (%s) is configured but not enabled on this node", s->name, s->id_text);
        return false;
    }
    s->priority = lua->priority;
    s->phases = lua->phases;
    return true;
}

static sb_step_t *
make_step(const sb_row_t *row, const json_t *json)
{
    sb_pool_t *pool = sb_pool_new(512);
    sb_step_t *s = sb_pool_alloc(pool, sizeof(*s)), *before;

    s->pool = pool;
    s->refs = 1;
    fill_step(s, row, json);
    if (!bind_plugin(s) || (s->native != NULL && !decode_native(s, sb_json_get(json, "config")))) {
        sb_pool_free(pool);
        return NULL;
    }
    before = (sb_step_t *)sb_table_find(&steps, &row->id);
    if (before != NULL)
        sb_table_remove(&steps, &before->node);
    sb_table_add(&steps, &s->node);
    sb_cache_bytes += sb_pool_bytes(pool);
    return s;
}

sb_step_t *
sb_step_get(const sb_row_t *row)
{
    sb_step_t *s = (sb_step_t *)sb_table_find(&steps, &row->id);
    json_t *json;

    if (s != NULL && s->version == row->version) {
        s->refs++;
        return s;
    }
    json = sb_json_parse(row->json.data, row->json.len, NULL);
    s = NULL;
    if (json != NULL && sb_json_bool(json, "enabled", true) && sb_json_string(json, "name") != NULL)
        s = make_step(row, json);
    json_decref(json);
    return s;
}
