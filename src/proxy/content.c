/*
 * The content phase: an answer that a plugin (or the match) made, or the exchange with the service.
 */
#include "proxy/exchange.h"

/* ---- answers of our own ---- */

void
sb_exit_set(sb_ctx_t *ctx, int status, sb_str_t content_type, sb_str_t body)
{
    ngx_pool_t *pool = ctx->r->pool;
    char *text = ngx_pnalloc(pool, content_type.len + body.len + 1);

    ctx->exited = 1;
    ctx->source = SB_SOURCE_EXIT;
    ctx->exit = (sb_exit_t){.status = status};
    if (text == NULL)
        return;
    if (content_type.data != NULL) {
        memcpy(text, content_type.data, content_type.len);
        ctx->exit.content_type = (sb_str_t){text, content_type.len};
        text += content_type.len;
    }
    if (body.len != 0)
        memcpy(text, body.data, body.len);
    ctx->exit.body = (sb_str_t){text, body.len};
}

static ngx_int_t
send_body(ngx_http_request_t *r, sb_str_t body)
{
    ngx_buf_t *b;
    ngx_chain_t out;

    if (body.len == 0)
        return ngx_http_send_special(r, NGX_HTTP_LAST);
    b = ngx_calloc_buf(r->pool);
    if (b == NULL)
        return NGX_ERROR;
    b->pos = (u_char *)body.data;
    b->last = b->pos + body.len;
    b->memory = 1;
    b->last_buf = 1;
    b->last_in_chain = 1;
    out = (ngx_chain_t){b, NULL};
    return ngx_http_output_filter(r, &out);
}

/* What a gathered answer says about a body that it does not have, it goes on saying. */
static off_t
exit_length(const sb_ctx_t *ctx)
{
    const sb_capture_t *c = ctx->capture;

    if (c != NULL && !c->failed && ctx->source == SB_SOURCE_SERVICE &&
        (ctx->r->method == NGX_HTTP_HEAD || ctx->exit.status == NGX_HTTP_NOT_MODIFIED))
        return c->length;
    return (off_t)ctx->exit.body.len;
}

static ngx_int_t
send_exit(sb_ctx_t *ctx)
{
    ngx_http_request_t *r = ctx->r;
    const sb_exit_t *e = &ctx->exit;
    ngx_int_t rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK)
        return rc;
    r->headers_out.status = (ngx_uint_t)e->status;
    r->headers_out.status_line.len = 0;
    r->headers_out.content_length_n = exit_length(ctx);
    if (e->content_type.data != NULL)
        sb_headers_out_set(r, SB_STR("content-type"), e->content_type);
    rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only)
        return rc;
    return send_body(r, e->body);
}

/* ---- the service ---- */

static ngx_int_t
go_on(sb_exchange_t *x, ngx_int_t rc)
{
    if (rc == NGX_OK)
        return x->is_grpc ? sb_grpc_start(x) : sb_upstream_start(x);
    return x->r == x->r->main ? send_exit(x->ctx) : x->ctx->exit.status;
}

/* The name that prepare() waited for is known. */
static void
on_ready(sb_exchange_t *x, ngx_int_t rc)
{
    ngx_http_request_t *r = x->r;
    ngx_connection_t *c = r->connection;

    ngx_http_finalize_request(r, go_on(x, rc));
    ngx_http_run_posted_requests(c);
}

static ngx_int_t
start_exchange(sb_ctx_t *ctx, ngx_http_request_t *r)
{
    sb_exchange_t *x = ngx_pcalloc(r->pool, sizeof(*x));
    ngx_int_t rc;

    if (x == NULL)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    x->ctx = ctx;
    x->r = r;
    x->ready = on_ready;
    ctx->exchange = x;
    rc = sb_exchange_prepare(x);
    if (rc != NGX_AGAIN)
        return go_on(x, rc);
    r->main->count++;
    return NGX_DONE;
}

ngx_int_t
sb_content_handler(ngx_http_request_t *r)
{
    sb_ctx_t *ctx = sb_ctx(r);

    if (ctx == NULL)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    ctx->access_ended = 1;
    if (r == r->main && ctx->exited)
        return send_exit(ctx);
    if (ctx->service == NULL && ctx->target_host.len == 0) {
        sb_exit_error(ctx, 503, SB_STR("no Service found with those values"));
        return r == r->main ? send_exit(ctx) : NGX_HTTP_SERVICE_UNAVAILABLE;
    }
    return start_exchange(ctx, r);
}

/* Where error_page leads for an error that its status does not tell: 494 goes out as 400. */
ngx_int_t
sb_error_handler(ngx_http_request_t *r)
{
    sb_loc_conf_t *lcf = ngx_http_get_module_loc_conf(r, ngx_http_silverback_module);
    sb_ctx_t *ctx = sb_ctx_make(r);
    sb_str_t content_type, body;

    if (ctx == NULL)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    sb_error_body(ctx, sb_error_choose(ctx, true), (int)lcf->error, (sb_str_t){NULL, 0}, &content_type, &body);
    sb_exit_set(ctx, NGX_HTTP_BAD_REQUEST, content_type, body);
    ctx->source = SB_SOURCE_ERROR;
    ctx->error_made = 1;
    r->keepalive = 0;
    return send_exit(ctx);
}
