/*
 * Configuration changes on their way to Lua, and rows of the read model for it.
 *
 * The worker's event catch-up calls sb_lua_event() for each event; changes of plugin rows are queued here, oldest first, until
 * lua/kong/silverback/configure.lua takes them: at the next request that enters Lua, or when the semaphore wakes its thread. A
 * long queue (an import) is replaced by one "everything may have changed".
 *
 * That thread sleeps on a semaphore without end, which would keep a worker from its graceful exit. nginx closes idle
 * connections then, so a connection object that has no socket (the watcher) hears of it and wakes the thread.
 */
#include "proxy/ffi_int.h"

#define QUEUE_MAX 1024

static struct {
    char (*ids)[SB_UUID_TEXT + 1];
    int first, n;
    bool everything;
    void *sema;
    ngx_connection_t *watcher;
} changes;

static void
wake(void)
{
    if (changes.sema != NULL)
        sb_lua_sema_post(changes.sema);
}

void
sb_lua_flush(void)
{
    changes.n = 0;
    changes.everything = true;
    wake();
}

void
sb_lua_event(uint64_t seq, const json_t *event)
{
    const char *entity = sb_json_string(event, "entity"), *id = sb_json_string(event, "id");

    if (entity == NULL || id == NULL || strcmp(entity, "plugins") != 0 || strlen(id) != SB_UUID_TEXT || changes.everything)
        return;
    if (changes.n == QUEUE_MAX) {
        sb_lua_flush();
        return;
    }
    if (changes.ids == NULL)
        changes.ids = sb_malloc(QUEUE_MAX * sizeof(*changes.ids));
    memcpy(changes.ids[(changes.first + changes.n) % QUEUE_MAX], id, SB_UUID_TEXT + 1);
    if (changes.n++ == 0)
        wake();
}

int
sb_ffi_changes_pending(void)
{
    return changes.n + changes.everything;
}

int
sb_ffi_change_take(char id[37])
{
    if (changes.everything) {
        changes.everything = false;
        return 2;
    }
    if (changes.n == 0)
        return 0;
    memcpy(id, changes.ids[changes.first], SB_UUID_TEXT + 1);
    changes.first = (changes.first + 1) % QUEUE_MAX;
    changes.n--;
    return 1;
}

/* ---- the thread that follows changes ---- */

static void
wake_later(ngx_event_t *ev)
{
    wake();
}

/* Called between two turns of the event loop, where a posted event would wait for the next timer: so make that one soon. */
static void
watcher_closed(ngx_event_t *ev)
{
    static ngx_event_t soon;
    ngx_connection_t *c = ev->data;

    if (!c->close)
        return;
    changes.watcher = NULL;
    c->fd = (ngx_socket_t)-1;
    ngx_free_connection(c);
    soon.handler = wake_later;
    soon.log = ngx_cycle->log;
    ngx_add_timer(&soon, 1);
}

static void
watch_exit(void)
{
    ngx_connection_t *c;

    if (changes.watcher != NULL)
        return;
    /* any number but -1: ngx_get_connection() only keeps it */
    c = ngx_get_connection(0, ngx_cycle->log);
    if (c == NULL)
        return;
    c->fd = (ngx_socket_t)-2;
    c->idle = 1;
    c->read->handler = watcher_closed;
    c->read->data = c;
    c->read->log = c->write->log = c->log = ngx_cycle->log;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    changes.watcher = c;
}

void
sb_ffi_changes_sema(void *sema)
{
    changes.sema = sema;
    if (sema != NULL)
        watch_exit();
}

/* ---- rows ---- */

/* {"ws_id":"…",…}: rows are stored without their workspace. */
static char *
with_workspace(const sb_entity_t *e, const sb_row_t *row, size_t *len)
{
    sb_buf_t b = {0};
    char ws[SB_UUID_TEXT + 1];

    if (!e->workspaceable || row->json.len < 2 || memmem(row->json.data, row->json.len, "\"ws_id\":", 8) != NULL) {
        sb_buf_add(&b, row->json.data, row->json.len);
    } else {
        sb_uuid_format(&row->ws, ws);
        sb_buf_addf(&b, "{\"ws_id\":\"%s\"%s", ws, row->json.len > 2 ? "," : "");
        sb_buf_add(&b, row->json.data + 1, row->json.len - 1);
    }
    *len = b.len;
    return sb_buf_take(&b);
}

char *
sb_row_json(const sb_entity_t *e, const sb_uuid_t *id, size_t *len, uint64_t *version)
{
    sb_row_t row;
    char *json = NULL;

    if (sb_model_begin(sb_worker.reader, NULL) != SB_OK)
        return NULL;
    if (sb_model_get(sb_worker.reader, e, id, &row)) {
        json = with_workspace(e, &row, len);
        if (version != NULL)
            *version = row.version;
    }
    sb_model_end(sb_worker.reader);
    return json;
}

static char *
row_by_field(const sb_entity_t *e, const char *field, const char *ws, sb_str_t value, size_t *len, uint64_t *version)
{
    sb_row_t row;
    char *json = NULL;

    if (sb_model_begin(sb_worker.reader, NULL) != SB_OK)
        return NULL;
    if (sb_model_find(sb_worker.reader, e, field, ws, value, &row)) {
        json = with_workspace(e, &row, len);
        if (version != NULL)
            *version = row.version;
    }
    sb_model_end(sb_worker.reader);
    return json;
}

int
sb_ffi_row(void *r, const char *entity, const char *field, const char *value, size_t len, sb_ffi_str *json, uint64_t *version)
{
    const sb_ctx_t *ctx = r != NULL ? sb_ctx(r) : NULL;
    const sb_entity_t *e = sb_entity_find(entity);
    sb_uuid_t id;
    char *text, ws[SB_UUID_TEXT + 1];
    size_t text_len = 0;
    bool matched = ctx != NULL && ctx->matched;

    if (matched)
        sb_uuid_format(&ctx->route.ws, ws);
    if (e == NULL || sb_worker.reader == NULL)
        return SB_FFI_E_INVALID;
    if (field != NULL)
        text = row_by_field(e, field, matched ? ws : NULL, (sb_str_t){value, len}, &text_len, version);
    else
        text = sb_uuid_parse(value, len, &id) ? sb_row_json(e, &id, &text_len, version) : NULL;
    sb_ffi_out(json, (sb_str_t){text, text_len});
    return text != NULL ? SB_FFI_OK : SB_FFI_E_NOT_FOUND;
}

struct gather {
    const char *name;
    const sb_entity_t *entity;
    sb_buf_t out;
};

static bool
has_name(const sb_row_t *row, const char *name)
{
    json_t *parsed;
    bool same;

    if (memmem(row->json.data, row->json.len, name, strlen(name)) == NULL)
        return false;
    parsed = sb_json_parse(row->json.data, row->json.len, NULL);
    same = parsed != NULL && sb_json_string(parsed, "name") != NULL && strcmp(sb_json_string(parsed, "name"), name) == 0;
    json_decref(parsed);
    return same;
}

static bool
gather_row(const sb_row_t *row, void *arg)
{
    struct gather *g = arg;
    size_t len;
    char *json;

    if (!has_name(row, g->name))
        return true;
    json = with_workspace(g->entity, row, &len);
    sb_buf_addf(&g->out, "%s{\"version\":%llu,\"row\":", g->out.len > 1 ? "," : "", (unsigned long long)row->version);
    sb_buf_add(&g->out, json, len);
    sb_buf_addc(&g->out, '}');
    free(json);
    return true;
}

int
sb_ffi_plugin_rows(const char *name, sb_ffi_str *json)
{
    struct gather g = {.name = name, .entity = sb_entity_find("plugins")};
    size_t len;

    if (sb_worker.reader == NULL || sb_model_begin(sb_worker.reader, NULL) != SB_OK)
        return SB_FFI_E_NOT_FOUND;
    sb_buf_addc(&g.out, '[');
    sb_model_each(sb_worker.reader, g.entity, gather_row, &g);
    sb_model_end(sb_worker.reader);
    sb_buf_addc(&g.out, ']');
    len = g.out.len;
    sb_ffi_out(json, (sb_str_t){sb_buf_take(&g.out), len});
    return SB_FFI_OK;
}

void
sb_ffi_free(sb_ffi_str *str)
{
    free((char *)str->data);
    str->data = NULL;
    str->len = 0;
}
