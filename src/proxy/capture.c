/*
 * The response phase: the answer of the service is gathered whole before plugins see it, and before anything is sent. The exchange runs in
 * a subrequest, so that the main request can go on being Lua's; what the subrequest would send is taken by the filters (filters.c)
 * and kept here. Its end wakes the main request.
 */
#include "proxy/exchange.h"

/* More than this in memory is refused with 502: a plugin that wants to see whole answers cannot be given unlimited ones. */
#define BODY_MAX (256u * 1024 * 1024)

static void
free_bytes(void *data)
{
    sb_buf_free(data);
}

/* ---- what the subrequest sends ---- */

ngx_int_t
sb_capture_header(ngx_http_request_t *r)
{
    sb_ctx_t *ctx = sb_ctx(r);

    r->header_sent = 1;
    ctx->header_start = ngx_current_msec;
    ctx->capture->status = (int)r->headers_out.status;
    ctx->capture->length = r->headers_out.content_length_n;
    return NGX_OK;
}

static ngx_int_t
read_file(ngx_buf_t *b, sb_buf_t *out)
{
    u_char block[16384];

    while (b->file_pos < b->file_last) {
        size_t want = (size_t)ngx_min((off_t)sizeof(block), b->file_last - b->file_pos);
        ssize_t n = ngx_read_file(b->file, block, want, b->file_pos);
        if (n <= 0)
            return NGX_ERROR;
        sb_buf_add(out, block, (size_t)n);
        b->file_pos += n;
    }
    return NGX_OK;
}

ngx_int_t
sb_capture_body(ngx_http_request_t *r, ngx_chain_t *in)
{
    sb_capture_t *c = sb_ctx(r)->capture;

    for (; in != NULL; in = in->next) {
        ngx_buf_t *b = in->buf;
        if ((off_t)c->bytes.len + ngx_buf_size(b) > (off_t)BODY_MAX) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "answer is too large for plugins that buffer it");
            return NGX_ERROR;
        }
        if (ngx_buf_in_memory(b)) {
            sb_buf_add(&c->bytes, b->pos, (size_t)(b->last - b->pos));
            b->pos = b->last;
        } else if (b->in_file && read_file(b, &c->bytes) != NGX_OK)
            return NGX_ERROR;
        b->file_pos = b->file_last;
    }
    return NGX_OK;
}

/* ---- its end ---- */

/* The service's headers join those that plugins set before. */
static ngx_int_t
move_headers(ngx_http_request_t *from, ngx_http_request_t *to)
{
    for (ngx_list_part_t *part = &from->headers_out.headers.part; part != NULL; part = part->next) {
        ngx_table_elt_t *h = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            sb_str_t name = {(char *)h[i].key.data, h[i].key.len}, value = {(char *)h[i].value.data, h[i].value.len};
            if (h[i].hash == 0 || sb_str_ieq(name, SB_STR("content-length")))
                continue;
            if (sb_headers_out_add(to, name, value) != NGX_OK)
                return NGX_ERROR;
        }
    }
    if (from->headers_out.content_type.len != 0) {
        to->headers_out.content_type = from->headers_out.content_type;
        to->headers_out.content_type_len = from->headers_out.content_type_len;
        to->headers_out.content_type_lowcase = from->headers_out.content_type_lowcase;
        to->headers_out.charset = from->headers_out.charset;
    }
    to->headers_out.last_modified_time = from->headers_out.last_modified_time;
    to->headers_out.status = from->headers_out.status;
    to->headers_out.status_line = from->headers_out.status_line;
    return NGX_OK;
}

/* No answer came: the gateway's error takes its place. */
static void
fail(sb_ctx_t *ctx, ngx_int_t rc)
{
    sb_capture_t *c = ctx->capture;
    sb_str_t content_type;

    c->failed = true;
    c->status = rc >= NGX_HTTP_BAD_REQUEST && rc < 600 ? (int)rc : NGX_HTTP_BAD_GATEWAY;
    c->length = -1;
    sb_error_body(ctx, sb_error_choose(ctx, true), c->status, (sb_str_t){NULL, 0}, &content_type, &c->body);
    sb_headers_out_set(ctx->r, SB_STR("content-type"), content_type);
    ctx->r->headers_out.status = (ngx_uint_t)c->status;
}

static ngx_int_t
on_end(ngx_http_request_t *sr, void *data, ngx_int_t rc)
{
    sb_ctx_t *ctx = data;
    sb_capture_t *c = ctx->capture;

    if (c->finished)
        return rc;
    c->finished = true;
    ctx->capturing = 0;
    if (rc == NGX_OK && ctx->exchange != NULL)
        rc = ctx->exchange->end;
    if (rc == NGX_ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE || !sr->header_sent || move_headers(sr, ctx->r) != NGX_OK) {
        if (!ctx->exited)
            fail(ctx, rc);
    } else
        c->body = (sb_str_t){c->bytes.data != NULL ? c->bytes.data : "", c->bytes.len};
    c->done(ctx);
    return NGX_OK; /* the subrequest's errors are told by the main request */
}

/* ---- its start ---- */

static void
start_subrequest(ngx_http_request_t *r)
{
    sb_ctx_t *ctx = sb_ctx(r);
    ngx_http_post_subrequest_t *end = ngx_palloc(r->pool, sizeof(*end));
    ngx_str_t uri = ngx_string("/");
    ngx_http_request_t *sr;

    r->main->count--; /* reading the body had taken one */
    if (end != NULL) {
        *end = (ngx_http_post_subrequest_t){on_end, ctx};
        ctx->capturing = 1;
        if (ngx_http_subrequest(r, &uri, &r->args, &sr, end, 0) == NGX_OK) {
            sr->method = r->method;
            sr->method_name = r->method_name;
            sr->headers_in = r->headers_in;
            sr->unparsed_uri = r->unparsed_uri;
            ngx_http_set_ctx(sr, ctx, ngx_http_silverback_module);
            return;
        }
        ctx->capturing = 0;
    }
    fail(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR);
    ctx->capture->done(ctx);
}

ngx_int_t
sb_capture_start(sb_ctx_t *ctx, void (*done)(sb_ctx_t *ctx))
{
    ngx_http_request_t *r = ctx->r;
    sb_capture_t *c = ngx_pcalloc(r->pool, sizeof(*c));
    ngx_pool_cleanup_t *cln = c != NULL ? ngx_pool_cleanup_add(r->pool, 0) : NULL;
    ngx_int_t rc;

    if (cln == NULL)
        return NGX_ERROR;
    cln->handler = free_bytes;
    cln->data = &c->bytes;
    c->done = done;
    c->length = -1;
    ctx->capture = c;
    rc = ngx_http_read_client_request_body(r, start_subrequest);
    if (rc >= NGX_HTTP_SPECIAL_RESPONSE)
        r->main->count--;
    return rc == NGX_OK || rc == NGX_AGAIN ? NGX_OK : NGX_ERROR;
}

void
sb_capture_commit(sb_ctx_t *ctx)
{
    ngx_http_request_t *r = ctx->r;
    sb_capture_t *c = ctx->capture;

    if (c == NULL || ctx->exited)
        return;
    if (!c->failed && ctx->exchange != NULL && sb_trailers_move(ctx->exchange->r, r) != NGX_OK)
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "trailers are dropped: no memory");
    ctx->exit = (sb_exit_t){(int)r->headers_out.status, {NULL, 0}, c->body};
    ctx->exited = 1;
    ctx->source = c->failed ? SB_SOURCE_ERROR : SB_SOURCE_SERVICE;
}
