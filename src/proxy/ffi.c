/*
 * The FFI's node-wide half: declarations for LuaJIT, settings, registration of Lua plugins, and the walk of plugin chains on behalf of
 * lua/kong/silverback/runtime.lua.
 *
 * Everything here runs on the worker's thread, most of it inside a request's Lua handler. ctx->lua (sb_lua_request_t) is made
 * when a request first needs it and lives in the request's pool.
 */
#include "proxy/exchange.h"
#include "proxy/ffi_int.h"

#include <dlfcn.h>

#include "ffi_cdef.inc"

const char *
sb_ffi_cdef(void)
{
    return cdef_text;
}

/* In init_by_lua the new configuration is not the worker's yet: ngx_cycle is the one being made. */
static sb_conf_t *
conf_now(void)
{
    return sb_conf_of((ngx_cycle_t *)ngx_cycle);
}

/* ---- settings ---- */

/* kong.configuration holds what plugins need to connect to things, so secrets are put back. */
static char *
settings_text(const sb_settings_t *s, size_t *len)
{
    json_t *all = sb_settings_json(s), *value;
    const char *name;
    char *text;

    json_object_foreach(all, name, value)
    {
        if (json_is_string(value) && strcmp(json_string_value(value), "******") == 0)
            json_string_set(value, sb_settings_str(s, name));
    }
    text = sb_json_dump_len(all, len);
    json_decref(all);
    return text;
}

int
sb_ffi_settings(sb_ffi_str *out)
{
    static char *text;
    size_t len;

    free(text);
    text = settings_text(conf_now()->settings, &len);
    return sb_ffi_out(out, (sb_str_t){text, len});
}

int
sb_ffi_error_template(const char *mime, sb_ffi_str *out)
{
    enum sb_error_type type = strcmp(mime, "application/grpc") == 0 ? SB_ERROR_GRPC : sb_error_type_of(mime);

    return sb_ffi_out(out, sb_error_template(conf_now(), type));
}

static bool
is_native(const char *name)
{
    for (size_t i = 0; sb_bundled_plugins[i] != NULL; i++)
        if (strcmp(sb_bundled_plugins[i]->name, name) == 0)
            return true;
    return false;
}

static bool
is_repeated(const char *const *names, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(names[i], names[at]) == 0)
            return true;
    return false;
}

int
sb_ffi_lua_plugin_name(int n, sb_ffi_str *out)
{
    size_t count;
    const char *const *names = sb_settings_list(conf_now()->settings, "plugins", &count);

    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], "bundled") == 0 || strcmp(names[i], "off") == 0 || is_native(names[i]) || is_repeated(names, i))
            continue;
        if (n-- == 0)
            return sb_ffi_out(out, (sb_str_t){names[i], strlen(names[i])});
    }
    return 0;
}

/* ---- the worker ---- */

static void
resume(sb_ctx_t *ctx)
{
    sb_lua_request_t *lua = ctx->lua;

    if (lua != NULL && lua->sema != NULL)
        sb_lua_sema_post(lua->sema);
}

void
sb_ffi_plugin_register(const char *name, int priority, unsigned phases)
{
    sb_lua_plugin_register(name, priority, phases);
    sb_lua_hooks = (sb_lua_hooks_t){.in_use = true, .defer_ready = true, .event = sb_lua_event, .flush = sb_lua_flush, .resume = resume};
}

void
sb_ffi_worker_ready(void)
{
    if (sb_lua_hooks.defer_ready)
        sb_worker_lua_ready();
}

void
sb_ffi_report_gc(double kilobytes)
{
    if (sb_worker.rt == NULL || sb_worker.slot >= SB_RT_WORKERS)
        return;
    sb_worker.rt->lua_gc_kb[sb_worker.slot] = (uint64_t)kilobytes;
    sb_worker.rt->lua_pid[sb_worker.slot] = (uint64_t)ngx_pid;
}

int
sb_ffi_worker_gc(int n, double *pid, double *kilobytes)
{
    for (size_t i = 0; sb_worker.rt != NULL && i < SB_RT_WORKERS; i++) {
        if (sb_worker.rt->lua_pid[i] == 0 || n-- > 0)
            continue;
        *pid = (double)sb_worker.rt->lua_pid[i];
        *kilobytes = (double)sb_worker.rt->lua_gc_kb[i];
        return 1;
    }
    return 0;
}

void
sb_ffi_statistics(double out[7])
{
    ngx_memzero(out, 7 * sizeof(double));
#if (NGX_STAT_STUB)
    ngx_atomic_t *const from[7] = {ngx_stat_active,   ngx_stat_reading, ngx_stat_writing, ngx_stat_waiting,
                                   ngx_stat_accepted, ngx_stat_handled, ngx_stat_requests};
    for (int i = 0; i < 7; i++)
        out[i] = (double)*from[i];
#endif
}

/* The node's id: the setting, or one that lasts as long as this process' master. */
static const char *
node_id(void)
{
    static char made[SB_UUID_TEXT + 1];
    const char *set = sb_settings_str(conf_now()->settings, "node_id");

    if (set != NULL && set[0] != '\0')
        return set;
    if (made[0] == '\0')
        sb_uuid_v4(made);
    return made;
}

static const char *
hostname(void)
{
    static char name[254];

    if (name[0] == '\0' && gethostname(name, sizeof(name) - 1) != 0)
        return NULL;
    return name;
}

int
sb_ffi_node_str(int what, sb_ffi_str *out)
{
    const char *text = NULL;

    switch (what) {
    case SB_FFI_NODE_ID:
        text = node_id();
        break;
    case SB_FFI_DEFAULT_WS:
        text = sb_worker.reader != NULL ? sb_model_default_ws(sb_worker.reader) : NULL;
        break;
    case SB_FFI_HOSTNAME:
        text = hostname();
        break;
    case SB_FFI_PREFIX:
        return sb_ffi_out(out, sb_ngx_str(conf_now()->prefix));
    }
    return text != NULL && text[0] != '\0' && sb_ffi_out(out, (sb_str_t){text, strlen(text)});
}

/* ---- semaphores ---- */

void
sb_lua_sema_post(void *sema)
{
    static int (*post)(void *sema, int n);

    if (post == NULL)
        *(void **)&post = dlsym(RTLD_DEFAULT, "ngx_http_lua_ffi_sema_post");
    if (post != NULL)
        post(sema, 1);
}

sb_lua_request_t *
sb_lua_request(sb_ctx_t *ctx)
{
    sb_lua_request_t *lua = ctx->lua;

    if (lua == NULL) {
        lua = ngx_pcalloc(ctx->r->pool, sizeof(*lua));
        if (lua != NULL)
            lua->values_last = &lua->values;
        ctx->lua = lua;
    }
    return lua;
}

void
sb_ffi_wait_on(void *r, void *sema)
{
    sb_ctx_t *ctx = sb_ctx(r);
    sb_lua_request_t *lua = ctx != NULL ? sb_lua_request(ctx) : NULL;

    if (lua != NULL)
        lua->sema = sema;
}

/* ---- chains ---- */

int
sb_ffi_enter(void *r, int phase)
{
    sb_ctx_t *ctx = sb_ctx(r);

    if (ctx == NULL)
        return 0;
    sb_chain_begin(ctx, (enum sb_phase)phase);
    /* Before the service is asked the walk may end in a capture; afterwards only Lua steps are a reason to be here. */
    return phase == SB_PHASE_REWRITE || phase == SB_PHASE_ACCESS || (ctx->lua_phases & SB_PHASE_BIT(phase)) != 0;
}

int
sb_ffi_begin_response(void *r)
{
    sb_ctx_t *ctx = sb_ctx(r);

    if (ctx->exited)
        return 0;
    sb_chain_begin(ctx, SB_PHASE_RESPONSE);
    return 1;
}

static int
to_lua(enum sb_chain_verdict verdict, const sb_step_t *step, sb_ffi_step *out)
{
    switch (verdict) {
    case SB_CHAIN_LUA:
        out->serial = step->serial;
        out->step = step;
        return SB_FFI_STEP;
    case SB_CHAIN_EXIT:
        return SB_FFI_EXIT;
    case SB_CHAIN_WAIT:
        return SB_FFI_WAIT;
    default:
        return SB_FFI_DONE;
    }
}

/* When a plugin's own output has run the header filters meanwhile, the walk of access is over. */
int
sb_ffi_chain_next(void *r, int phase, sb_ffi_step *step)
{
    sb_ctx_t *ctx = sb_ctx(r);
    const sb_step_t *next = NULL;
    enum sb_chain_verdict verdict;

    if (ctx == NULL || ctx->phase != phase)
        return SB_FFI_EXIT;
    verdict = sb_chain_next(ctx, &next);
    return to_lua(verdict, next, step);
}

int
sb_ffi_chain_next_body(void *r, sb_ffi_step *step, sb_ffi_str *chunk, int eof, int *changed)
{
    sb_ctx_t *ctx = sb_ctx(r);
    const sb_step_t *next = NULL;
    const char *data = chunk->data;
    size_t len = chunk->len;
    enum sb_chain_verdict verdict;

    if (ctx == NULL || ctx->phase != SB_PHASE_BODY_FILTER)
        return SB_FFI_EXIT;
    verdict = sb_chain_next_body(ctx, &data, &len, eof != 0, &next);
    *changed = data != chunk->data || len != chunk->len;
    chunk->data = data;
    chunk->len = len;
    return to_lua(verdict, next, step);
}

void
sb_ffi_step_facts_get(const void *step, sb_ffi_step_facts *out)
{
    const sb_step_t *s = step;

    *out = (sb_ffi_step_facts){.version = s->version,
                               .name = s->name,
                               .id = s->id_text,
                               .route_id = s->route_id,
                               .service_id = s->service_id,
                               .consumer_id = s->consumer_id,
                               .group_id = s->group_id,
                               .ws_id = s->ws_id,
                               .instance_name = s->instance_name,
                               .config = {s->config.data, s->config.len}};
}

size_t
sb_ffi_steps_released(uint64_t *serials, size_t max)
{
    return sb_steps_released(serials, max);
}

int
sb_ffi_phase(void *r)
{
    sb_ctx_t *ctx = sb_ctx(r);

    return ctx != NULL ? ctx->phase : -1;
}

void
sb_ffi_fail(void *r)
{
    sb_exit_error(sb_ctx(r), 500, (sb_str_t){NULL, 0});
}

/* ---- buffered proxying ---- */

/* Two streams have no end to gather them until: a WebSocket goes past the response handlers. */
int
sb_ffi_wants_capture(void *r)
{
    const sb_ctx_t *ctx = sb_ctx(r);
    const sb_lua_request_t *lua = ctx->lua;

    if (ctx->exited || ctx->service == NULL || sb_upstream_is_websocket(r) || sb_grpc_is(ctx))
        return 0;
    return (lua != NULL && lua->buffered) || (ctx->lua_phases & SB_PHASE_BIT(SB_PHASE_RESPONSE)) != 0;
}

void
sb_ffi_enable_buffering(void *r)
{
    sb_lua_request_t *lua = sb_lua_request(sb_ctx(r));

    if (lua != NULL)
        lua->buffered = true;
}

int
sb_ffi_capture_start(void *r)
{
    return sb_capture_start(sb_ctx(r), resume) == NGX_OK ? SB_FFI_OK : SB_FFI_E_INVALID;
}

void
sb_ffi_capture_commit(void *r)
{
    sb_capture_commit(sb_ctx(r));
}

int
sb_ffi_captured_body(void *r, sb_ffi_str *out)
{
    const sb_ctx_t *ctx = sb_ctx(r);

    if (ctx->capture == NULL)
        return 0;
    if (ctx->capture->body.data == NULL)
        return sb_ffi_out(out, SB_STR(""));
    return sb_ffi_out(out, ctx->capture->body);
}
