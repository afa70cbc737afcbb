/*
 * A proxy worker: what it opens after fork, and how it follows the configuration.
 *
 * Control appends events to the model's log with every commit and then moves rt->event_seq. Each request begins with
 * sb_worker_catch_up(): one atomic load when nothing has changed, else the new events are applied in order before a route is
 * looked for. Idle workers are woken over the events socket (events.c) and come here too. Applying an event only marks what
 * was cached as stale; it is made again by the request that needs it.
 */
#include "proxy/exchange.h"
#include "proxy/tls.h"

#include "http/log_level.h"

#include <sys/socket.h>
#include <sys/un.h>

sb_worker_t sb_worker;
sb_lua_hooks_t sb_lua_hooks;

static void
log_sink(int level, const char *line)
{
    /* Both number their levels alike, nginx's beginning at STDERR 0, EMERG 1. */
    ngx_log_error((ngx_uint_t)level + NGX_LOG_EMERG, ngx_cycle->log, 0, "%s", line);
}

/* ---- events ---- */

static bool
event_uuid(const json_t *obj, const char *field, sb_uuid_t *out)
{
    const char *text = sb_json_foreign_id(obj, field);

    return text != NULL && sb_uuid_parse(text, strlen(text), out);
}

/* A plugin row came, went or changed: everything that may have it in a chain is built anew. */
static void
plugin_scope_changed(const json_t *row)
{
    sb_uuid_t id;
    bool scoped = false;

    if (event_uuid(row, "consumer", &id) || event_uuid(row, "consumer_group", &id)) {
        sb_worker.consumer_epoch++;
        scoped = true;
    }
    if (event_uuid(row, "route", &id)) {
        sb_route_chains_forget(&id);
        sb_worker.route_epoch++;
        scoped = true;
    } else if (event_uuid(row, "service", &id)) {
        sb_services_plugins_changed(&id);
        scoped = true;
    }
    if (!scoped)
        sb_worker.global_epoch++;
}

static void
target_changed(const json_t *row)
{
    const char *text = sb_json_string(row, "id");
    sb_uuid_t id, target;

    if (event_uuid(row, "upstream", &id) && text != NULL && sb_uuid_parse(text, strlen(text), &target))
        sb_ups_target_changed(&id, &target);
}

/* What the row was before and what it is now both tell who is concerned. */
static void
both_sides(const sb_entity_t *e, const sb_uuid_t *id, const json_t *old, void (*fn)(const json_t *row))
{
    sb_row_t row;
    json_t *now = NULL;

    if (old != NULL)
        fn(old);
    if (sb_model_begin(sb_worker.reader, NULL) == SB_OK) {
        if (sb_model_get(sb_worker.reader, e, id, &row))
            now = sb_json_parse(row.json.data, row.json.len, NULL);
        sb_model_end(sb_worker.reader);
    }
    if (now != NULL)
        fn(now);
    json_decref(now);
}

/* Events that are of no row. */
static void
apply_plain_event(const json_t *event)
{
    const char *op = sb_json_string(event, "op"), *key = sb_json_string(event, "key");

    if (op != NULL && strcmp(op, "cache_purge") == 0)
        sb_lua_cache_purge();
    else if (op != NULL && strcmp(op, "cache_delete") == 0 && key != NULL)
        sb_lua_cache_delete((sb_str_t){key, strlen(key)});
}

static void
apply_event(const json_t *event)
{
    const char *entity = sb_json_string(event, "entity"), *text = sb_json_string(event, "id");
    sb_uuid_t id;

    if (entity == NULL)
        apply_plain_event(event);
    if (entity == NULL || text == NULL || !sb_uuid_parse(text, strlen(text), &id))
        return;
    if (strcmp(entity, "routes") == 0)
        sb_route_chains_forget(&id);
    else if (strcmp(entity, "services") == 0)
        sb_services_forget(&id);
    else if (strcmp(entity, "plugins") == 0)
        both_sides(sb_worker.plugins, &id, sb_json_get(event, "old"), plugin_scope_changed);
    else if (strcmp(entity, "targets") == 0)
        both_sides(sb_worker.targets, &id, sb_json_get(event, "old"), target_changed);
    else if (strcmp(entity, "upstreams") == 0) {
        sb_ups_forget(&id);
        sb_worker.ups_epoch++;
    } else if (strcmp(entity, "certificates") == 0 || strcmp(entity, "ca_certificates") == 0) {
        sb_tls_certs_forget(&id);
        if (strcmp(entity, "ca_certificates") == 0)
            sb_tls_trusts_forget();
        sb_services_forget(NULL);
    } else if (strcmp(entity, "consumers") == 0 || strcmp(entity, "consumer_groups") == 0 ||
               strcmp(entity, "consumer_group_consumers") == 0)
        sb_worker.consumer_epoch++;
}

static void
flush_all(void)
{
    sb_route_chains_forget(NULL);
    sb_services_forget(NULL);
    sb_ups_forget(NULL);
    sb_tls_certs_forget(NULL);
    sb_tls_trusts_forget();
    sb_worker.global_epoch++;
    sb_worker.route_epoch++;
    sb_worker.consumer_epoch++;
    sb_worker.ups_epoch++;
    if (sb_lua_hooks.flush != NULL)
        sb_lua_hooks.flush();
}

struct batch {
    json_t *events; /* [seq, event, seq, event …]: kept, because handlers must run without a read transaction */
    uint64_t last;
};

static void
collect_event(uint64_t seq, const json_t *event, void *arg)
{
    struct batch *batch = arg;

    batch->last = seq;
    json_array_append_new(batch->events, json_integer((json_int_t)seq));
    json_array_append(batch->events, (json_t *)event);
}

static void
apply_batch(const struct batch *batch)
{
    for (size_t i = 0; i + 1 < json_array_size(batch->events); i += 2) {
        const json_t *event = json_array_get(batch->events, i + 1);
        apply_event(event);
        if (sb_lua_hooks.event != NULL)
            sb_lua_hooks.event((uint64_t)json_integer_value(json_array_get(batch->events, i)), event);
    }
}

static void
follow_log(uint64_t seq)
{
    struct batch batch = {json_array(), sb_worker.event_seq};
    int rc = SB_ERROR;
    sb_err_t err = {0};

    if (sb_model_begin(sb_worker.reader, &err) == SB_OK) {
        uint64_t there = sb_model_event_seq(sb_worker.reader);
        rc = sb_model_events(sb_worker.reader, sb_worker.event_seq, collect_event, &batch);
        seq = there > seq ? there : seq;
        sb_model_end(sb_worker.reader);
    } else {
        sb_log(SB_LOG_ERR, "cannot follow the configuration: %s", err.message);
        sb_err_clear(&err);
    }
    /* Before the handlers run: they may start requests of their own, which look here again. */
    sb_worker.event_seq = seq;
    if (rc == SB_OK)
        apply_batch(&batch);
    else
        flush_all();
    json_decref(batch.events);
}

void
sb_worker_follow_log_level(void)
{
    uint64_t level = __atomic_load_n(&sb_worker.rt->log_level, __ATOMIC_RELAXED);

    if (level != sb_worker.log_level) {
        sb_worker.log_level = level;
        sb_log_level_set((int)level - 1);
    }
}

void
sb_worker_catch_up(void)
{
    uint64_t seq = __atomic_load_n(&sb_worker.rt->event_seq, __ATOMIC_ACQUIRE);
    uint64_t epoch = __atomic_load_n(&sb_worker.rt->model_epoch, __ATOMIC_ACQUIRE);

    if (seq == sb_worker.event_seq && epoch == sb_worker.model_epoch)
        return;
    if (epoch != sb_worker.model_epoch) {
        sb_worker.model_epoch = epoch;
        sb_worker.event_seq = seq;
        flush_all();
    } else
        follow_log(seq);
    sb_worker_follow_log_level();
}

/* ---- start and end ---- */

static enum sb_router_flavor
router_flavor(const sb_settings_t *s)
{
    const char *text = sb_settings_str(s, "router_flavor");

    if (strcmp(text, "traditional") == 0)
        return SB_ROUTER_TRADITIONAL;
    return strcmp(text, "expressions") == 0 ? SB_ROUTER_EXPRESSIONS : SB_ROUTER_TRADITIONAL_COMPATIBLE;
}

static void
find_entities(void)
{
    sb_worker.routes = sb_entity_find("routes");
    sb_worker.services = sb_entity_find("services");
    sb_worker.plugins = sb_entity_find("plugins");
    sb_worker.upstreams = sb_entity_find("upstreams");
    sb_worker.targets = sb_entity_find("targets");
    sb_worker.consumers = sb_entity_find("consumers");
    sb_worker.consumer_groups = sb_entity_find("consumer_groups");
    sb_worker.group_members = sb_entity_find("consumer_group_consumers");
    sb_worker.certificates = sb_entity_find("certificates");
    sb_worker.snis = sb_entity_find("snis");
    sb_worker.ca_certificates = sb_entity_find("ca_certificates");
}

static int
open_model(sb_err_t *err)
{
    char path[NGX_MAX_PATH];

    snprintf(path, sizeof(path), "%s/run/state", sb_worker.prefix);
    if (sb_runtime_map(path, false, &sb_worker.rt, err) != SB_OK)
        return SB_ERROR;
    /* Before the model is opened: what comes in between is then followed once more, which is harmless. */
    sb_worker.event_seq = __atomic_load_n(&sb_worker.rt->event_seq, __ATOMIC_ACQUIRE);
    sb_worker.model_epoch = __atomic_load_n(&sb_worker.rt->model_epoch, __ATOMIC_ACQUIRE);
    snprintf(path, sizeof(path), "%s/run/model", sb_worker.prefix);
    if (sb_model_reader_open(path, sb_worker.rt, &sb_worker.reader, err) != SB_OK)
        return SB_ERROR;
    sb_worker.router = sb_router_new(sb_worker.reader, router_flavor(sb_worker.settings));
    sb_worker.expressions = router_flavor(sb_worker.settings) == SB_ROUTER_EXPRESSIONS;
    sb_worker.stream_router = sb_stream_router_new(sb_worker.reader, router_flavor(sb_worker.settings));
    return SB_OK;
}

/* Tells the supervisor that this instance serves. One worker's word is enough; all of them say it. */
static void
announce_ready(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char text[64];
    int n = snprintf(text, sizeof(text), "proxy %d", (int)ngx_pid);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (sb_worker.ready || fd < 0) {
        if (fd >= 0)
            close(fd);
        return;
    }
    sb_worker.ready = true;
    if ((size_t)snprintf(to.sun_path, sizeof(to.sun_path), "%s/sockets/ready.sock", sb_worker.prefix) < sizeof(to.sun_path) &&
        sendto(fd, text, (size_t)n, 0, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != ENOENT && errno != ECONNREFUSED)
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, errno, "cannot tell the supervisor that this worker is ready");
    close(fd);
}

void
sb_worker_lua_ready(void)
{
    sb_lua_hooks.defer_ready = false;
    announce_ready();
}

/* Runs on the first turn of the event loop, when Lua's init_worker, which is called after us, has run as well. */
static void
first_turn(ngx_event_t *ev)
{
    sb_worker_catch_up();
    sb_worker_follow_log_level();
    sb_status_publish_dicts();
    if (!sb_lua_hooks.defer_ready)
        announce_ready();
}

static ngx_int_t
start_worker(ngx_cycle_t *cycle)
{
    static ngx_event_t first;
    sb_err_t err = {0};

    sb_worker.settings = sb_conf->settings;
    sb_worker.prefix = (const char *)sb_conf->prefix.data;
    sb_worker.slot = (unsigned)(ngx_worker % SB_RT_WORKERS);
    sb_log_level_init(cycle);
    find_entities();
    sb_upstream_request_init();
    sb_upstream_header_init();
    if (open_model(&err) != SB_OK || sb_resolver_init(sb_worker.settings, cycle->log, &err) != SB_OK) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "%s", err.message);
        sb_err_clear(&err);
        return NGX_ERROR;
    }
    __atomic_store_n(&sb_worker.rt->worker_pid[sb_worker.slot], (uint64_t)ngx_pid, __ATOMIC_RELAXED);
    sb_events_start(cycle);
    first.handler = first_turn;
    first.log = cycle->log;
    ngx_post_event(&first, &ngx_posted_events);
    return NGX_OK;
}

ngx_int_t
sb_worker_init(ngx_cycle_t *cycle)
{
    sb_conf = sb_conf_of(cycle);
    if (sb_conf == NULL || sb_conf->settings == NULL || sb_conf->location[0] == NULL)
        return NGX_OK;
    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
        return NGX_OK;
    sb_log_set_sink(log_sink);
    return start_worker(cycle);
}

/* Leaves the slot, unless the worker of a newer configuration has taken it over. */
static void
clear_slot(uint64_t *slot)
{
    uint64_t own = (uint64_t)ngx_pid;

    __atomic_compare_exchange_n(slot, &own, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

void
sb_worker_exit(ngx_cycle_t *cycle)
{
    if (sb_worker.reader == NULL)
        return;
    clear_slot(&sb_worker.rt->worker_pid[sb_worker.slot]);
    clear_slot(&sb_worker.rt->lua_pid[sb_worker.slot]);
    sb_events_stop();
    sb_asked_done();
    sb_tls_ocsp_done();
    sb_resolver_done();
    sb_status_done();
    sb_router_free(sb_worker.router);
    sb_stream_router_free(sb_worker.stream_router);
    sb_model_reader_close(sb_worker.reader);
    sb_worker.reader = NULL;
}
