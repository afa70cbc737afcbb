/* What the node tells about itself: /, /status, /timers, /endpoints, /config, the log level. */
#include "core/admin/core_int.h"

#include "core/base/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---------- / ---------- */

static void
add_name(const char *name, void *arg)
{
    json_array_append_new(arg, json_string(name));
}

/* Names of the plugins that are configured anywhere. NULL with c->err. */
static json_t *
enabled_in_cluster(sb_admin_call_t *c)
{
    json_t *names = json_array();

    if (sb_dao_leading(c->store, sb_entity_find("plugins"), add_name, names, &c->err) == SB_OK)
        return names;
    json_decref(names);
    return NULL;
}

static json_t *
available(void)
{
    size_t n;
    const sb_plugin_schema_t *const *all = sb_plugin_schemas_all(&n);
    json_t *out = json_object();

    for (size_t i = 0; i < n; i++)
        json_object_set_new(out, all[i]->name, json_pack("{s:s?,s:i}", "version", all[i]->version, "priority", all[i]->priority));
    return out;
}

static json_t *
host_value(json_t *(*get)(void *), const sb_admin_host_t *h, const char *fallback)
{
    return get != NULL ? get(h->arg) : json_loads(fallback, 0, NULL);
}

int
sb_admin_root(sb_admin_call_t *c)
{
    const sb_admin_host_t *h = &c->admin->host;
    json_t *enabled = enabled_in_cluster(c);

    if (enabled == NULL)
        return sb_admin_answer_error(c);
    return sb_admin_answer(c, 200,
                           json_pack("{s:s,s:{s:s},s:s,s:s,s:s,s:s,s:s,s:{s:o,s:o},s:o,s:{s:i,s:i},s:o}", "version", SB_KONG_VERSION,
                                     "silverback", "version", SB_VERSION, "edition", "community", "tagline", "Welcome to silverback",
                                     "hostname", h->hostname != NULL ? h->hostname : "", "node_id", h->node_id != NULL ? h->node_id : "",
                                     "lua_version", h->lua_version != NULL ? h->lua_version : "", "plugins", "available_on_server",
                                     available(), "enabled_in_cluster", enabled, "configuration",
                                     h->settings != NULL ? sb_settings_json(h->settings) : json_object(), "timers", "running", 0, "pending",
                                     0, "pids", host_value(h->pids, h, "{}")));
}

/* ---------- /status ---------- */

struct unit {
    char letter; /* lower case */
    double bytes;
    const char *suffix;
};

static const struct unit units[] = {{'b', 1, ""}, {'k', 1024, "KiB"}, {'m', 1048576, "MiB"}, {'g', 1073741824, "GiB"}};

static const struct unit *
find_unit(const char *text)
{
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if ((text[0] | 0x20) == units[i].letter && text[1] == '\0')
            return &units[i];
    }
    return NULL;
}

/* Numbers of bytes everywhere below `value` become text in the unit; with "b" they stay. Process ids are no sizes. */
static void
convert(json_t *value, const struct unit *u, int scale)
{
    const char *name;
    json_t *v;
    size_t i;
    void *tmp;
    char *text;

    json_array_foreach(value, i, v) convert(v, u, scale);
    json_object_foreach_safe(value, tmp, name, v)
    {
        if (!json_is_integer(v)) {
            convert(v, u, scale);
        } else if (strcmp(name, "pid") != 0 && u->letter != 'b') {
            text = sb_asprintf("%.*f %s", scale, (double)json_integer_value(v) / u->bytes, u->suffix);
            json_object_set_new(value, name, json_string(text));
            free(text);
        }
    }
}

int
sb_admin_status(sb_admin_call_t *c)
{
    const sb_admin_host_t *h = &c->admin->host;
    const char *unit = sb_admin_query(c, "unit"), *scale = sb_admin_query(c, "scale");
    const struct unit *u = find_unit(unit != NULL ? unit : "m");
    char *end = NULL;
    double digits = scale != NULL ? strtod(scale, &end) : 2;
    json_t *memory;

    if (scale != NULL && (end == scale || *end != '\0' || !(digits >= 0)))
        return sb_admin_answer_message(c, 400, "scale must be equal or greater than 0");
    if (u == NULL)
        return sb_admin_answer_message(c, 400, "invalid unit '%s' (expected 'k/K', 'm/M', or 'g/G')", unit);
    memory = host_value(h->memory, h, "{\"lua_shared_dicts\":{},\"workers_lua_vms\":[]}");
    convert(memory, u, (int)fmin(digits, 20));
    return sb_admin_answer(c, 200,
                           json_pack("{s:o,s:o,s:{s:b}}", "memory", memory, "server", host_value(h->counters, h, "{}"), "database",
                                     "reachable", h->reachable == NULL || h->reachable(h->arg)));
}

/* ---------- /timers, /endpoints, /config ---------- */

/* The control instance runs no Lua timers; proxy workers have their own. */
int
sb_admin_timers(sb_admin_call_t *c)
{
    return sb_admin_answer(c, 200,
                           json_pack("{s:{s:i,s:i},s:{s:{s:s,s:s,s:s},s:{s:i,s:i,s:i,s:i,s:i},s:{}}}", "worker", "id", 0, "count", 1,
                                     "stats", "flamegraph", "running", "", "pending", "", "elapsed_time", "", "sys", "total", 0, "runs", 0,
                                     "running", 0, "pending", 0, "waiting", 0, "timers"));
}

/* Bytewise, but "/" is the lowest. */
static int
by_path(const void *a, const void *b)
{
    const unsigned char *x = (const unsigned char *)*(const char *const *)a, *y = (const unsigned char *)*(const char *const *)b;

    while (*x != '\0' && *x == *y) {
        x++;
        y++;
    }
    return (*x == '/' ? 1 : *x == '\0' ? 0 : *x + 1) - (*y == '/' ? 1 : *y == '\0' ? 0 : *y + 1);
}

int
sb_admin_endpoints(sb_admin_call_t *c)
{
    const sb_admin_t *a = c->admin;
    const char **paths = sb_calloc(a->n * sizeof(*paths));
    json_t *data = json_array();
    size_t n = 0;

    for (size_t i = 0; i < a->n; i++) {
        if (sb_admin_routes_shown(a, i))
            paths[n++] = a->routes[i].pattern;
    }
    qsort(paths, n, sizeof(*paths), by_path);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(data, json_string(paths[i]));
    free(paths);
    return sb_admin_answer(c, 200, json_pack("{s:o}", "data", data));
}

int
sb_admin_config(sb_admin_call_t *c)
{
    return sb_admin_answer_message(c, 400, "this endpoint is only available when Kong is configured to not use a database");
}

int
sb_admin_clustering(sb_admin_call_t *c)
{
    return sb_admin_answer_message(c, 400,
                                   "this endpoint is only available when Kong is configured to run as Control Plane for the cluster");
}

/* What the resolver of one worker has done; only the newer client is counted. */
int
sb_admin_status_dns(sb_admin_call_t *c)
{
    const sb_admin_host_t *host = &c->admin->host;
    json_t *told;

    if (host->settings == NULL || !sb_settings_bool(host->settings, "new_dns_client"))
        return sb_admin_answer_message(c, 501, "not implemented with the legacy DNS client");
    if (host->dns != NULL)
        return sb_admin_answer(c, 200, host->dns(host->arg));
    if (c->req->told == NULL)
        return sb_admin_ask(c, json_pack("{s:b}", "dns", 1));
    told = json_object_get(c->req->told, "dns");
    if (told == NULL)
        return sb_admin_answer_message(c, 503, "no worker of the proxy answers");
    return sb_admin_answer(c, 200, json_incref(told));
}

int
sb_admin_needs_wasm(sb_admin_call_t *c)
{
    return sb_admin_answer_message(c, 400, "this endpoint is only available when wasm is enabled");
}

/* ---------- log level ---------- */

static const char *const level_names[] = {"emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"};

static const char *
current_level(const sb_admin_host_t *h)
{
    int level = h->log_level != NULL ? h->log_level(h->arg) : SB_LOG_NOTICE;

    return level >= 0 && level <= SB_LOG_DEBUG ? level_names[level] : "notice";
}

int
sb_admin_log_level(sb_admin_call_t *c)
{
    return sb_admin_answer_message(c, 200, "log level: %s", current_level(&c->admin->host));
}

static int
announce_level(sb_admin_call_t *c)
{
    json_t *event = json_pack("{s:s}", "op", "log_level");
    int rc = sb_store_event(c->store, event, &c->err);

    json_decref(event);
    return rc;
}

int
sb_admin_log_level_set(sb_admin_call_t *c)
{
    const sb_admin_host_t *h = &c->admin->host;
    const char *wanted = c->param[0], *text = sb_admin_query(c, "timeout");
    double timeout = text != NULL ? strtod(text, NULL) : 60;
    int level = 0;

    while (level <= SB_LOG_DEBUG && strcmp(level_names[level], wanted) != 0)
        level++;
    if (level > SB_LOG_DEBUG)
        return sb_admin_answer_message(c, 400, "unknown log level: %s", wanted);
    if (!(timeout >= 0))
        return sb_admin_answer_message(c, 400, "timeout must be greater than or equal to 0");
    if (strcmp(current_level(h), wanted) == 0)
        return sb_admin_answer_message(c, 200, "log level is already %s", wanted);
    if (h->set_log_level != NULL)
        h->set_log_level(level, (int)fmin(timeout, 1e9), h->arg);
    /* Makes workers look, all of them before the next request that they take. */
    if (announce_level(c) != SB_OK)
        return sb_admin_answer_error(c);
    return sb_admin_answer_message(c, 200, "log level changed");
}
