/*
 * The exchange with the service on nginx's upstream machinery: set up and end. What nginx calls is set in start();
 * timeouts and TLS come with the service's copy of the location's configuration.
 */
#include "proxy/exchange.h"
#include "proxy/tls.h"

void
sb_upstream_expect_header(sb_exchange_t *x)
{
    ngx_http_upstream_t *u = x->r->upstream;

    ngx_memzero(&x->status, sizeof(x->status));
    ngx_memzero(&x->chunked, sizeof(x->chunked));
    sb_upstream_header_undo(x);
    u->process_header = sb_upstream_process_status;
    u->pipe->input_filter = sb_upstream_copy;
    u->input_filter = sb_upstream_plain;
    x->r->state = 0;
}

/* Before the request is sent, and before it is sent again. */
static ngx_int_t
reinit(ngx_http_request_t *r)
{
    sb_exchange_t *x = sb_ctx(r)->exchange;

    x->head_sent = false;
    sb_upstream_expect_header(x);
    return NGX_OK;
}

/* nginx forgets how the exchange ended once a header was sent: an answer that was cut must not look whole to the capture. */
static void
finalize(ngx_http_request_t *r, ngx_int_t rc)
{
    sb_ctx_t *ctx = sb_ctx(r);

    if (ctx != NULL && ctx->exchange != NULL)
        ctx->exchange->end = rc;
}

static void
abort_request(ngx_http_request_t *r)
{
}

ngx_http_upstream_conf_t *
sb_upstream_conf(sb_ctx_t *ctx)
{
    ngx_http_upstream_conf_t *base = ctx->service != NULL ? ctx->service->conf : sb_conf->proxy, *own;

    bool verify = ctx->tls != NULL && ctx->tls->verify >= 0;

    if (ctx->timeouts[0] == 0 && ctx->timeouts[1] == 0 && ctx->timeouts[2] == 0 && !verify)
        return base;
    own = ngx_palloc(ctx->r->pool, sizeof(*own));
    if (own == NULL)
        return base;
    *own = *base;
    own->connect_timeout = ctx->timeouts[0] != 0 ? ctx->timeouts[0] : base->connect_timeout;
    own->send_timeout = ctx->timeouts[1] != 0 ? ctx->timeouts[1] : base->send_timeout;
    own->read_timeout = ctx->timeouts[2] != 0 ? ctx->timeouts[2] : base->read_timeout;
    if (verify)
        own->ssl_verify = ctx->tls->verify;
    return own;
}

static ngx_int_t
set_up(sb_exchange_t *x)
{
    ngx_http_request_t *r = x->r;
    sb_ctx_t *ctx = x->ctx;
    ngx_http_upstream_t *u;

    if (ngx_http_upstream_create(r) != NGX_OK)
        return NGX_ERROR;
    sb_upstream_header_mark(x);
    u = r->upstream;
    u->conf = sb_upstream_conf(ctx);
    u->ssl = x->tls;
    u->schema = x->tls ? (ngx_str_t)ngx_string("https://") : (ngx_str_t)ngx_string("http://");
    u->output.tag = (ngx_buf_tag_t)&ngx_http_silverback_module;
    u->create_request = sb_upstream_create_request;
    u->reinit_request = reinit;
    u->process_header = sb_upstream_process_status;
    u->abort_request = abort_request;
    u->finalize_request = finalize;
    u->buffering = u->conf->buffering && ctx->route.response_buffering;
    u->pipe = ngx_pcalloc(r->pool, sizeof(ngx_event_pipe_t));
    if (u->pipe == NULL)
        return NGX_ERROR;
    u->pipe->input_filter = sb_upstream_copy;
    u->pipe->input_ctx = r;
    u->input_filter_init = sb_upstream_filter_init;
    u->input_filter = sb_upstream_plain;
    u->input_filter_ctx = r;
    u->accel = 1;
    return NGX_OK;
}

ngx_int_t
sb_upstream_start(sb_exchange_t *x)
{
    ngx_http_request_t *r = x->r;
    ngx_int_t rc;

    if (set_up(x) != NGX_OK)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    x->ctx->proxied = 1;
    if (!x->ctx->route.request_buffering && r == r->main)
        r->request_body_no_buffering = 1;
    rc = ngx_http_read_client_request_body(r, ngx_http_upstream_init);
    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}
