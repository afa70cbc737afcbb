/*
 * Where nginx calls us in a request's course. Start here.
 *
 *     rewrite   the context is made (request id, global chain), committed changes are caught up with, global rewrite plugins run
 *     access    the route is matched (match.c), then the chain runs (chain.c)
 *     content   content.c: a plugin's answer, or the exchange with the service
 *     log       the log steps, counters
 *
 * Each phase walks native steps here. At the first Lua step of a phase the request changes to the location that has Lua's hooks
 * and this handler declines: nginx goes on to Lua's handler of the same phase, whose driver walks the rest of the chain. A chain without
 * Lua never gets there.
 */
#include "proxy/exchange.h"
#include "proxy/tls.h"

/* ---- the context ---- */

static void
release(void *data)
{
    sb_ctx_t *ctx = data;

    sb_exchange_release(ctx->exchange);
    sb_tls_choice_clear(ctx->tls);
    sb_chain_release(ctx);
    sb_service_unref(ctx->service);
}

static void
use_global_chain(sb_ctx_t *ctx)
{
    sb_chain_t *chain = sb_chain_global();

    if (chain != NULL)
        sb_chain_use(ctx, chain);
}

/* What nginx says of a request behind each line that it logs, and whose work it was. */
static ngx_http_log_handler_pt nginx_description;

static u_char *
describe(ngx_http_request_t *r, ngx_http_request_t *sr, u_char *buf, size_t len)
{
    const sb_ctx_t *ctx = sb_ctx(r);
    u_char *end = nginx_description(r, sr, buf, len);

    if (ctx == NULL)
        return end;
    return ngx_snprintf(end, len - (size_t)(end - buf), ", request_id: \"%*s\"", sizeof(ctx->request_id), ctx->request_id);
}

static void
name_in_log(ngx_http_request_t *r)
{
    if (r->log_handler == describe)
        return;
    nginx_description = r->log_handler;
    r->log_handler = describe;
}

sb_ctx_t *
sb_ctx_make(ngx_http_request_t *r)
{
    sb_ctx_t *ctx = sb_ctx(r);
    ngx_pool_cleanup_t *cln;

    if (ctx != NULL)
        return ctx;
    ctx = ngx_pcalloc(r->pool, sizeof(*ctx));
    cln = ctx != NULL ? ngx_pool_cleanup_add(r->pool, 0) : NULL;
    if (cln == NULL)
        return NULL;
    cln->handler = release;
    cln->data = ctx;
    ctx->r = r;
    ctx->retries = -1;
    sb_request_id_make(ctx->request_id);
    name_in_log(r);
    sb_worker_catch_up();
    use_global_chain(ctx);
    ngx_http_set_ctx(r, ctx, ngx_http_silverback_module);
    return ctx;
}

void
sb_enter_lua(sb_ctx_t *ctx)
{
    ngx_http_request_t *r = ctx->r;

    ctx->lua_drives = 1;
    if (ctx->in_lua || sb_conf->location[1] == NULL)
        return;
    ctx->in_lua = 1;
    r->loc_conf = sb_conf->location[1];
    ngx_http_update_location_config(r);
    __atomic_fetch_add(&sb_worker.rt->lua_entries, 1, __ATOMIC_RELAXED);
}

/* ---- rewrite and access ---- */

/* Only requests in our own locations; others (status, errors) have their own handlers. */
static bool
is_ours(ngx_http_request_t *r)
{
    ngx_http_core_loc_conf_t *clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    return r == r->main && clcf->handler == sb_content_handler && sb_worker.reader != NULL;
}

/* Runs the chain up to Lua or its end. */
static ngx_int_t
run_chain(sb_ctx_t *ctx)
{
    if (sb_upstream_note_named(ctx) != NGX_OK)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    switch (sb_chain_run(ctx)) {
    case SB_CHAIN_WAIT:
        return NGX_AGAIN;
    case SB_CHAIN_LUA:
        sb_enter_lua(ctx);
        return NGX_DECLINED;
    default:
        return NGX_DECLINED;
    }
}

ngx_int_t
sb_rewrite_handler(ngx_http_request_t *r)
{
    sb_ctx_t *ctx;
    ngx_int_t rc;

    if (!is_ours(r))
        return NGX_DECLINED;
    ctx = sb_ctx_make(r);
    if (ctx == NULL)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    if (ctx->steps == NULL) /* nobody knows which global plugins there are: none of them may be passed by */
        sb_exit_error(ctx, 500, (sb_str_t){NULL, 0});
    if ((ctx->phases & SB_PHASE_BIT(SB_PHASE_REWRITE)) == 0)
        return NGX_DECLINED;
    if (ctx->phase != SB_PHASE_REWRITE)
        sb_chain_rewind(ctx, SB_PHASE_REWRITE);
    rc = run_chain(ctx);
    /* The rewrite phase knows no "later": what is not declined ends it, except this. */
    return rc == NGX_AGAIN ? NGX_DONE : rc;
}

/* The answers of a service are only seen by response handlers after the chain's end, which Lua's driver reaches. A
 * stream of messages is not gathered. */
static bool
wants_response_phase(const sb_ctx_t *ctx)
{
    return !ctx->exited && !sb_grpc_is(ctx) && (ctx->lua_phases & SB_PHASE_BIT(SB_PHASE_RESPONSE)) != 0;
}

ngx_int_t
sb_access_handler(ngx_http_request_t *r)
{
    sb_ctx_t *ctx;
    ngx_int_t rc;

    if (!is_ours(r) || (ctx = sb_ctx(r)) == NULL)
        return NGX_DECLINED;
    if (!ctx->matched && !ctx->exited)
        sb_match(ctx);
    if (ctx->exited && ctx->phase != SB_PHASE_ACCESS)
        return NGX_DECLINED;
    if (ctx->phase != SB_PHASE_ACCESS) {
        sb_chain_rewind(ctx, SB_PHASE_ACCESS);
        ctx->lua_drives = 0; /* Lua may have in the rewrite phase; here the walk starts in C again */
    }
    if ((ctx->phases & SB_PHASE_BIT(SB_PHASE_ACCESS)) != 0) {
        rc = run_chain(ctx);
        if (rc != NGX_DECLINED)
            return rc;
    }
    if (wants_response_phase(ctx))
        sb_enter_lua(ctx);
    return NGX_DECLINED;
}

/* A native step that had answered SB_WAIT has its result. */
void
sb_phases_resume(sb_ctx_t *ctx)
{
    ngx_connection_t *c = ctx->r->connection;

    if (ctx->lua_drives && sb_lua_hooks.resume != NULL) {
        sb_lua_hooks.resume(ctx);
        return;
    }
    ctx->r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(ctx->r);
    ngx_http_run_posted_requests(c);
}

void
sb_request_resume(sb_request_t *r, int verdict)
{
    if (!r->waiting)
        return;
    r->waiting = 0;
    sb_phases_resume(r);
}

/* ---- log ---- */

void
sb_worker_publish(void)
{
#if (NGX_STAT_STUB)
    sb_runtime_t *rt = sb_worker.rt;

    __atomic_store_n(&rt->connections[0], *ngx_stat_accepted, __ATOMIC_RELAXED);
    __atomic_store_n(&rt->connections[1], *ngx_stat_active, __ATOMIC_RELAXED);
    __atomic_store_n(&rt->connections[2], *ngx_stat_handled, __ATOMIC_RELAXED);
    __atomic_store_n(&rt->connections[3], *ngx_stat_reading, __ATOMIC_RELAXED);
    __atomic_store_n(&rt->connections[4], *ngx_stat_waiting, __ATOMIC_RELAXED);
    __atomic_store_n(&rt->connections[5], *ngx_stat_writing, __ATOMIC_RELAXED);
#endif
}

/* Figures are published a few times a second at most; the count of requests is exact. */
static void
count_request(void)
{
    static ngx_msec_t copied;

    __atomic_fetch_add(&sb_worker.rt->total_requests, 1, __ATOMIC_RELAXED);
    if (ngx_current_msec - copied < 100)
        return;
    copied = ngx_current_msec;
    sb_worker_publish();
    sb_status_publish_dicts();
}

ngx_int_t
sb_log_handler(ngx_http_request_t *r)
{
    sb_loc_conf_t *lcf = ngx_http_get_module_loc_conf(r, ngx_http_silverback_module);
    sb_ctx_t *ctx = sb_ctx(r);

    if (!lcf->proxy || r != r->main || sb_worker.reader == NULL)
        return NGX_OK;
    count_request();
    if (ctx == NULL || (ctx->phases & SB_PHASE_BIT(SB_PHASE_LOG)) == 0)
        return NGX_OK;
    if ((ctx->lua_phases & SB_PHASE_BIT(SB_PHASE_LOG)) != 0) {
        sb_enter_lua(ctx);
        return NGX_OK;
    }
    sb_chain_rewind(ctx, SB_PHASE_LOG);
    sb_chain_run(ctx);
    return NGX_OK;
}
