/*
 * kong.cache seen from C: what lua/kong/silverback/cache.lua keeps in Lua's shared dictionaries, so that the Admin API can look at it and
 * have it forgotten without running Lua. A value is text "<ttl>:<kind>:<value>" in the dictionary kong_db_cache, as that file
 * writes it; workers empty what they hold themselves when the counter in the dictionary "kong" has moved.
 *
 * The Lua module's functions are found when they are first needed; without Lua there is no cache.
 */
#include "proxy/proxy_int.h"

#include <dlfcn.h>

#define GENERATION "kong:cache:generation"
#define LUA_STRING 4 /* LUA_TSTRING */
#define SET        0 /* the store function's operation */

static struct {
    bool tried;
    ngx_shm_zone_t *(*find_zone)(u_char *name, size_t len);
    int (*get)(void *zone, const u_char *key, size_t key_len, int *type, u_char **text, size_t *len, double *number, int *flags, int stale,
               int *is_stale, char **err);
    int (*store)(void *zone, int op, const u_char *key, size_t key_len, int type, const u_char *text, size_t len, double number,
                 long seconds, int flags, char **err, int *forcible);
    int (*incr)(void *zone, const u_char *key, size_t key_len, double *value, char **err, int has_init, double init, long init_ttl,
                int *forcible);
    int (*flush_all)(void *zone);
} lua;

static void
find(void *fn, const char *name)
{
    *(void **)fn = dlsym(RTLD_DEFAULT, name);
}

/* NULL: no such dictionary, or no Lua. */
static ngx_shm_zone_t *
zone_of(const char *name)
{
    if (!lua.tried) {
        lua.tried = true;
        find(&lua.find_zone, "ngx_http_lua_find_zone");
        find(&lua.get, "ngx_http_lua_ffi_shdict_get");
        find(&lua.store, "ngx_http_lua_ffi_shdict_store");
        find(&lua.incr, "ngx_http_lua_ffi_shdict_incr");
        find(&lua.flush_all, "ngx_http_lua_ffi_shdict_flush_all");
    }
    if (lua.find_zone == NULL || lua.get == NULL || lua.store == NULL || lua.incr == NULL || lua.flush_all == NULL)
        return NULL;
    return lua.find_zone((u_char *)name, strlen(name));
}

/* ---- reading ---- */

static json_t *
parse(sb_str_t text)
{
    const char *colon = memchr(text.data, ':', text.len);
    sb_str_t value;
    json_t *wrapped, *found;
    char *json;

    if (colon == NULL || colon + 1 == text.data + text.len)
        return NULL;
    value = (sb_str_t){colon + 2, (size_t)(text.data + text.len - colon) - 2};
    switch (colon[1]) {
    case 's':
        return json_stringn(value.data, value.len);
    case 'b':
        return json_boolean(sb_str_eqc(value, "true"));
    case 'n':
    case 't':
        /* In a list, because a text may be a bare number. */
        json = sb_asprintf("[%.*s]", (int)value.len, value.data);
        wrapped = sb_json_parse(json, value.len + 2, NULL);
        found = json_incref(json_array_get(wrapped, 0));
        json_decref(wrapped);
        free(json);
        return found;
    default:
        return json_null(); /* remembered to be nothing */
    }
}

json_t *
sb_lua_cache_get(sb_str_t key)
{
    ngx_shm_zone_t *zone = zone_of("kong_db_cache");
    u_char buf[4096], *text = buf;
    size_t len = sizeof(buf);
    double number;
    int type = 0, flags, stale;
    char *err = NULL;
    json_t *value = NULL;

    if (zone == NULL || lua.get(zone, (const u_char *)key.data, key.len, &type, &text, &len, &number, &flags, 0, &stale, &err) != NGX_OK)
        return NULL;
    if (type == LUA_STRING)
        value = parse((sb_str_t){(const char *)text, len});
    if (text != buf) /* malloc'ed by the module when it did not fit */
        free(text);
    return value;
}

/* ---- forgetting ---- */

static void
workers_forget(void)
{
    ngx_shm_zone_t *zone = zone_of("kong");
    double value = 1;
    char *err = NULL;
    int forcible;

    if (zone != NULL)
        lua.incr(zone, (const u_char *)GENERATION, sizeof(GENERATION) - 1, &value, &err, 1, 0, 0, &forcible);
}

void
sb_lua_cache_delete(sb_str_t key)
{
    ngx_shm_zone_t *zone = zone_of("kong_db_cache");
    char *err = NULL;
    int forcible;

    if (zone == NULL)
        return;
    lua.store(zone, SET, (const u_char *)key.data, key.len, 0 /* LUA_TNIL: delete */, NULL, 0, 0, 0, 0, &err, &forcible);
    workers_forget();
}

void
sb_lua_cache_purge(void)
{
    ngx_shm_zone_t *zone = zone_of("kong_db_cache");

    if (zone == NULL)
        return;
    lua.flush_all(zone);
    workers_forget();
}
