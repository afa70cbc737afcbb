/*
 * The filters that nginx runs before Lua's: error bodies in place of nginx's own pages, native header and body filter steps, and
 * the capture of the response phase. When a phase has Lua steps, all its steps are left to Lua's driver and the request is moved to
 * the location with Lua's hooks.
 */
#include "proxy/exchange.h"

static ngx_http_output_header_filter_pt next_header_filter;
static ngx_http_output_body_filter_pt next_body_filter;

static bool
is_proxy(ngx_http_request_t *r)
{
    sb_loc_conf_t *lcf = ngx_http_get_module_loc_conf(r, ngx_http_silverback_module);

    return lcf->proxy && sb_worker.reader != NULL;
}

/* ---- errors ---- */

/* nginx answers 501 to a body whose framing it does not know. Where such a body ends is anybody's guess: that is malformed. */
static void
refuse_framing(ngx_http_request_t *r)
{
    if (r->err_status == NGX_HTTP_NOT_IMPLEMENTED && r->headers_in.transfer_encoding != NULL && !r->headers_in.chunked)
        r->err_status = r->headers_out.status = NGX_HTTP_BAD_REQUEST;
}

/* nginx is about to send a page of its own for an error: the header is changed here, the body when it comes. */
static void
replace_error_page(sb_ctx_t *ctx)
{
    ngx_http_request_t *r = ctx->r;
    sb_str_t content_type, body;

    refuse_framing(r);
    if (ctx->exchange != NULL)
        sb_upstream_header_undo(ctx->exchange);
    sb_error_body(ctx, sb_error_choose(ctx, true), (int)r->err_status, (sb_str_t){NULL, 0}, &content_type, &body);
    sb_headers_out_set(r, SB_STR("content-type"), content_type);
    r->headers_out.content_length_n = (off_t)body.len;
    ctx->exit.body = body;
    ctx->replace_body = 1;
    ctx->error_made = 1;
    ctx->source = SB_SOURCE_ERROR;
}

static ngx_int_t
send_replacement(ngx_http_request_t *r, sb_ctx_t *ctx)
{
    ngx_buf_t *b = ngx_calloc_buf(r->pool);
    ngx_chain_t out;

    if (b == NULL)
        return NGX_ERROR;
    b->pos = (u_char *)ctx->exit.body.data;
    b->last = b->pos + ctx->exit.body.len;
    b->memory = ctx->exit.body.len != 0;
    b->last_buf = 1;
    b->last_in_chain = 1;
    out = (ngx_chain_t){b, NULL};
    return next_body_filter(r, &out);
}

static void
consume(ngx_chain_t *in)
{
    for (; in != NULL; in = in->next) {
        in->buf->pos = in->buf->last;
        in->buf->file_pos = in->buf->file_last;
    }
}

/* ---- header ---- */

/* The answer is the service's. Its headers went past the upstream module's list: variables that look there ($upstream_http_…) find
 * what headers_out holds now. */
static void
from_service(ngx_http_request_t *r, sb_ctx_t *ctx)
{
    ctx->source = SB_SOURCE_SERVICE;
    if (ctx->exchange != NULL && ctx->exchange->is_grpc) {
        if (ctx->lua_phases != 0)
            ctx->exchange->headers = r->upstream->headers_in.headers;
        return;
    }
    if (r->upstream != NULL)
        r->upstream->headers_in.headers.part = r->headers_out.headers.part;
}

/* nginx closes idle connections when its worker leaves at a reload; a client that has been told before does not send on one just then. The
 * time is the supervisor's, which may have died since: one that is far away means nothing. */
static void
say_goodbye(ngx_http_request_t *r)
{
    ngx_msec_t until = (ngx_msec_t)__atomic_load_n(&sb_worker.rt->closing_until, __ATOMIC_RELAXED);

    if (ngx_exiting || (until != 0 && until - ngx_current_msec <= SB_CLOSING_MAX_MS))
        r->keepalive = 0;
}

static ngx_int_t
header_filter(ngx_http_request_t *r)
{
    sb_ctx_t *ctx;

    if (!is_proxy(r))
        return next_header_filter(r);
    if (r != r->main)
        return sb_ctx(r) != NULL && sb_ctx(r)->capturing ? sb_capture_header(r) : next_header_filter(r);
    say_goodbye(r);
    ctx = sb_ctx_make(r);
    if (ctx == NULL)
        return next_header_filter(r);
    if (r->err_status >= NGX_HTTP_BAD_REQUEST && !ctx->error_made)
        replace_error_page(ctx);
    else if (ctx->source == SB_SOURCE_NONE && ctx->proxied)
        from_service(r, ctx);
    if (ctx->header_start == 0)
        ctx->header_start = ngx_current_msec;
    if ((ctx->phases & SB_PHASE_BIT(SB_PHASE_BODY_FILTER)) != 0)
        r->filter_need_in_memory = 1;
    if ((ctx->phases & SB_PHASE_BIT(SB_PHASE_HEADER_FILTER)) != 0) {
        if ((ctx->lua_phases & SB_PHASE_BIT(SB_PHASE_HEADER_FILTER)) != 0)
            sb_enter_lua(ctx);
        else {
            sb_chain_rewind(ctx, SB_PHASE_HEADER_FILTER);
            sb_chain_run(ctx);
        }
    }
    return next_header_filter(r);
}

/* ---- body ---- */

static ngx_chain_t *
link_bytes(ngx_pool_t *pool, const char *data, size_t len, const ngx_buf_t *like)
{
    ngx_buf_t *b = ngx_calloc_buf(pool);
    ngx_chain_t *link = b != NULL ? ngx_alloc_chain_link(pool) : NULL;

    if (link == NULL || data == NULL)
        return NULL;
    b->pos = (u_char *)data;
    b->last = b->pos + len;
    b->memory = len != 0;
    b->last_buf = like->last_buf;
    b->last_in_chain = like->last_in_chain;
    b->flush = like->flush || len == 0;
    link->buf = b;
    link->next = NULL;
    return link;
}

/* A part of the chunk is copied: the chunk's own memory is read into again once it counts as sent. NULL without memory. */
static const char *
own_bytes(ngx_pool_t *pool, const char *data, size_t len, const char *chunk, size_t size)
{
    char *copy;

    if (len == 0 || data < chunk || data >= chunk + size)
        return data;
    copy = ngx_pnalloc(pool, len);
    return copy != NULL ? memcpy(copy, data, len) : NULL;
}

/* Native body filters see each buffer's bytes; what they leave unchanged goes on in the buffer it came in. */
static ngx_int_t
run_body_filters(ngx_http_request_t *r, sb_ctx_t *ctx, ngx_chain_t *in)
{
    ngx_chain_t *out = NULL, **tail = &out;

    for (; in != NULL; in = in->next) {
        ngx_buf_t *b = in->buf;
        bool in_memory = ngx_buf_in_memory(b);
        const char *before = in_memory ? (char *)b->pos : "", *data = before;
        size_t size = in_memory ? (size_t)(b->last - b->pos) : 0, len = size;
        const sb_step_t *step;
        ngx_chain_t *link;

        sb_chain_rewind(ctx, SB_PHASE_BODY_FILTER);
        sb_chain_next_body(ctx, &data, &len, b->last_buf, &step);
        if (data == before && len == size) {
            link = ngx_alloc_chain_link(r->pool);
            if (link == NULL)
                return NGX_ERROR;
            link->buf = b;
            link->next = NULL;
        } else {
            link = link_bytes(r->pool, own_bytes(r->pool, data, len, before, size), len, b);
            if (link == NULL)
                return NGX_ERROR;
            b->pos = b->last;
        }
        *tail = link;
        tail = &link->next;
    }
    return next_body_filter(r, out);
}

static ngx_int_t
body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    sb_ctx_t *ctx = sb_ctx(r);

    if (ctx == NULL || in == NULL)
        return next_body_filter(r, in);
    if (r != r->main)
        return ctx->capturing ? sb_capture_body(r, in) : next_body_filter(r, in);
    if (ctx->replace_body) {
        consume(in);
        if (ctx->body_sent)
            return next_body_filter(r, NULL);
        ctx->body_sent = 1;
        /* Steps see the replaced body; they run below on the bytes that are really sent. */
    }
    if ((ctx->phases & SB_PHASE_BIT(SB_PHASE_BODY_FILTER)) == 0)
        return ctx->replace_body ? send_replacement(r, ctx) : next_body_filter(r, in);
    if ((ctx->lua_phases & SB_PHASE_BIT(SB_PHASE_BODY_FILTER)) != 0) {
        sb_enter_lua(ctx);
        return ctx->replace_body ? send_replacement(r, ctx) : next_body_filter(r, in);
    }
    if (ctx->replace_body) {
        ngx_buf_t b = {.last_buf = 1, .last_in_chain = 1};
        in = link_bytes(r->pool, ctx->exit.body.data, ctx->exit.body.len, &b);
        if (in == NULL)
            return NGX_ERROR;
    }
    return run_body_filters(r, ctx, in);
}

void
sb_filters_install(void)
{
    next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = header_filter;
    next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = body_filter;
}
