/*
 * The exchange with the service on nginx's upstream machinery: set up, answer header, end. What nginx calls is set in start();
 * timeouts and TLS come with the service's copy of the location's configuration.
 */
#include "proxy/exchange.h"

static ngx_int_t process_status(ngx_http_request_t *r);
static ngx_int_t process_header(ngx_http_request_t *r);

/* ---- the answer's header ---- */

static ngx_int_t
reinit(ngx_http_request_t *r)
{
    ngx_http_upstream_t *u = r->upstream;
    sb_exchange_t *x = sb_ctx(r)->exchange;

    ngx_memzero(&x->status, sizeof(x->status));
    ngx_memzero(&x->chunked, sizeof(x->chunked));
    x->head_sent = false;
    u->process_header = process_status;
    u->pipe->input_filter = sb_upstream_copy;
    u->input_filter = sb_upstream_plain;
    r->state = 0;
    return NGX_OK;
}

static ngx_int_t
process_status(ngx_http_request_t *r)
{
    ngx_http_upstream_t *u = r->upstream;
    ngx_http_status_t *st = &sb_ctx(r)->exchange->status;
    ngx_int_t rc = ngx_http_parse_status_line(r, &u->buffer, st);
    size_t len;

    if (rc == NGX_AGAIN)
        return rc;
    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "upstream sent no valid HTTP/1.0 header");
        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }
    if (u->state != NULL && u->state->status == 0)
        u->state->status = st->code;
    u->headers_in.status_n = st->code;
    len = (size_t)(st->end - st->start);
    u->headers_in.status_line.len = len;
    u->headers_in.status_line.data = ngx_pnalloc(r->pool, len);
    if (u->headers_in.status_line.data == NULL)
        return NGX_ERROR;
    memcpy(u->headers_in.status_line.data, st->start, len);
    if (st->http_version < NGX_HTTP_VERSION_11)
        u->headers_in.connection_close = 1;
    u->process_header = process_header;
    return process_header(r);
}

/* A header line that the parser found, copied: the buffer is used again for the body. */
static ngx_int_t
take_header(ngx_http_request_t *r, ngx_http_upstream_main_conf_t *umcf)
{
    ngx_http_upstream_t *u = r->upstream;
    size_t name = (size_t)(r->header_name_end - r->header_name_start), value = (size_t)(r->header_end - r->header_start);
    ngx_table_elt_t *h = ngx_list_push(&u->headers_in.headers);
    u_char *p = h != NULL ? ngx_pnalloc(r->pool, 2 * name + value + 3) : NULL;
    ngx_http_upstream_header_t *known;

    if (p == NULL)
        return NGX_ERROR;
    ngx_memzero(h, sizeof(*h));
    h->hash = r->header_hash;
    h->key = (ngx_str_t){name, p};
    p = ngx_cpymem(p, r->header_name_start, name);
    *p++ = '\0';
    h->value = (ngx_str_t){value, p};
    p = ngx_cpymem(p, r->header_start, value);
    *p++ = '\0';
    h->lowcase_key = p;
    if (name == r->lowcase_index)
        memcpy(p, r->lowcase_header, name);
    else
        ngx_strlow(p, h->key.data, name);
    p[name] = '\0';
    known = ngx_hash_find(&umcf->headers_in_hash, h->hash, h->lowcase_key, name);
    return known != NULL ? known->handler(r, h, known->offset) : NGX_OK;
}

static bool
is_token(const u_char *p, size_t len, const char *token)
{
    return len == strlen(token) && ngx_strncasecmp((u_char *)p, (u_char *)token, len) == 0;
}

static void
drop_named(ngx_list_t *headers, const u_char *name, size_t len)
{
    for (ngx_list_part_t *part = &headers->part; part != NULL; part = part->next) {
        ngx_table_elt_t *h = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++)
            if (h[i].key.len == len && ngx_strncasecmp(h[i].key.data, (u_char *)name, len) == 0)
                h[i].hash = 0;
    }
}

/* Headers that the service's Connection header names are for us alone. */
static void
drop_hop_by_hop(ngx_http_upstream_t *u)
{
    const u_char *p = u->headers_in.connection->value.data, *end = p + u->headers_in.connection->value.len, *start, *stop;

    while (p < end) {
        while (p < end && (*p == ' ' || *p == '\t' || *p == ','))
            p++;
        for (start = p; p < end && *p != ','; p++)
            ;
        for (stop = p; stop > start && (stop[-1] == ' ' || stop[-1] == '\t'); stop--)
            ;
        if (stop > start && !is_token(start, (size_t)(stop - start), "close") && !is_token(start, (size_t)(stop - start), "upgrade") &&
            !is_token(start, (size_t)(stop - start), "keep-alive"))
            drop_named(&u->headers_in.headers, start, (size_t)(stop - start));
    }
}

static bool
asked_for_trailers(ngx_http_request_t *r)
{
    ngx_table_elt_t *te = r->headers_in.te;

    return te != NULL && ngx_strcasestrn(te->value.data, "trailers", 8 - 1) != NULL;
}

static void
drop_upgrade(ngx_http_request_t *r, ngx_table_elt_t *h)
{
    ngx_table_elt_t *asked = r->headers_in.upgrade;

    if (asked == NULL || asked->value.len != h->value.len || ngx_strncasecmp(asked->value.data, h->value.data, h->value.len) != 0)
        h->hash = 0;
}

/* Upgrade that was not asked for, Trailer that the client did not allow. Both are rare: one look per header finds them by length. */
static void
drop_unwanted(ngx_http_request_t *r)
{
    for (ngx_list_part_t *part = &r->upstream->headers_in.headers.part; part != NULL; part = part->next) {
        ngx_table_elt_t *h = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (h[i].key.len != 7)
                continue;
            if (memcmp(h[i].lowcase_key, "upgrade", 7) == 0)
                drop_upgrade(r, &h[i]);
            else if (memcmp(h[i].lowcase_key, "trailer", 7) == 0 && !asked_for_trailers(r))
                h[i].hash = 0;
        }
    }
}

/* 100 Continue and the like announce the real answer, which follows in the same bytes. */
static ngx_int_t
skip_interim(ngx_http_request_t *r)
{
    ngx_http_upstream_t *u = r->upstream;

    ngx_memzero(&u->headers_in, sizeof(u->headers_in));
    u->headers_in.content_length_n = -1;
    u->headers_in.last_modified_time = -1;
    if (ngx_list_init(&u->headers_in.headers, r->pool, 8, sizeof(ngx_table_elt_t)) != NGX_OK ||
        ngx_list_init(&u->headers_in.trailers, r->pool, 2, sizeof(ngx_table_elt_t)) != NGX_OK)
        return NGX_ERROR;
    if (u->state != NULL)
        u->state->status = 0;
    reinit(r);
    return process_status(r);
}

static ngx_int_t
header_done(ngx_http_request_t *r)
{
    ngx_http_upstream_t *u = r->upstream;
    ngx_uint_t status = u->headers_in.status_n;

    if (status >= 100 && status < 200 && status != NGX_HTTP_SWITCHING_PROTOCOLS)
        return skip_interim(r);
    if (u->headers_in.chunked)
        u->headers_in.content_length_n = -1;
    if (u->headers_in.connection != NULL)
        drop_hop_by_hop(u);
    drop_unwanted(r);
    u->keepalive = 0; /* until the body is complete */
    if (status == NGX_HTTP_SWITCHING_PROTOCOLS && r->headers_in.upgrade != NULL)
        u->upgrade = 1;
    return NGX_OK;
}

static ngx_int_t
process_header(ngx_http_request_t *r)
{
    ngx_http_upstream_main_conf_t *umcf = ngx_http_get_module_main_conf(r, ngx_http_upstream_module);
    ngx_int_t rc;

    for (;;) {
        rc = ngx_http_parse_header_line(r, &r->upstream->buffer, 1);
        if (rc == NGX_OK) {
            rc = take_header(r, umcf);
            if (rc != NGX_OK)
                return rc;
            continue;
        }
        if (rc == NGX_HTTP_PARSE_HEADER_DONE)
            return header_done(r);
        if (rc == NGX_AGAIN)
            return rc;
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "upstream sent invalid header");
        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }
}

ngx_list_t *
sb_service_headers(const sb_ctx_t *ctx)
{
    ngx_http_upstream_t *u = ctx->exchange != NULL ? ctx->exchange->r->upstream : NULL;

    return u != NULL && u->headers_in.status_n != 0 ? &u->headers_in.headers : NULL;
}

/* ---- start and end ---- */

static void
finalize(ngx_http_request_t *r, ngx_int_t rc)
{
}

static void
abort_request(ngx_http_request_t *r)
{
}

/* The service's configuration, with what a plugin changed for this request. */
static ngx_http_upstream_conf_t *
conf_of(sb_ctx_t *ctx)
{
    ngx_http_upstream_conf_t *base = ctx->service != NULL ? ctx->service->conf : sb_conf->proxy, *own;

    if (ctx->timeouts[0] == 0 && ctx->timeouts[1] == 0 && ctx->timeouts[2] == 0)
        return base;
    own = ngx_palloc(ctx->r->pool, sizeof(*own));
    if (own == NULL)
        return base;
    *own = *base;
    own->connect_timeout = ctx->timeouts[0] != 0 ? ctx->timeouts[0] : base->connect_timeout;
    own->send_timeout = ctx->timeouts[1] != 0 ? ctx->timeouts[1] : base->send_timeout;
    own->read_timeout = ctx->timeouts[2] != 0 ? ctx->timeouts[2] : base->read_timeout;
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
    u = r->upstream;
    u->conf = conf_of(ctx);
    u->ssl = x->tls;
    u->schema = x->tls ? (ngx_str_t)ngx_string("https://") : (ngx_str_t)ngx_string("http://");
    u->output.tag = (ngx_buf_tag_t)&ngx_http_silverback_module;
    u->create_request = sb_upstream_create_request;
    u->reinit_request = reinit;
    u->process_header = process_status;
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
