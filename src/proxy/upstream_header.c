/*
 * The header of a service's answer. Each line goes straight to where it is sent from, r->headers_out, instead of through the
 * upstream module's list and two of its hash tables; what that module must know (lengths, chunks, Connection) is noted in
 * u->headers_in, whose own list stays empty.
 *
 * Where the list of headers_out stood before is kept, so that an answer that turns out not to be the one (1xx, another try, an error)
 * is taken back. Lines that end here stay in the list with hash 0, unsent, because plugins may ask what the service said.
 */
#include "proxy/exchange.h"
#include "proxy/header_line.h"
#include "proxy/names.h"

enum kind {
    OTHER,
    ENDS_HERE,
    CONTENT_TYPE,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    CONNECTION,
    LOCATION,
    BUFFERING,
    UPGRADE,
    TRAILER,
    SERVER,
    DATE,
    LAST_MODIFIED,
    ETAG,
    ACCEPT_RANGES,
    CONTENT_ENCODING,
    EXPIRES,
    WWW_AUTHENTICATE
};

static const struct {
    const char *name;
    enum kind kind;
} known[] = {
    {"content-type", CONTENT_TYPE},
    {"content-length", CONTENT_LENGTH},
    {"transfer-encoding", TRANSFER_ENCODING},
    {"connection", CONNECTION},
    {"keep-alive", ENDS_HERE},
    {"x-pad", ENDS_HERE},
    {"x-accel-redirect", ENDS_HERE},
    {"x-accel-expires", ENDS_HERE},
    {"x-accel-limit-rate", ENDS_HERE},
    {"x-accel-charset", ENDS_HERE},
    {"x-accel-buffering", BUFFERING},
    {"location", LOCATION},
    {"upgrade", UPGRADE},
    {"trailer", TRAILER},
    {"server", SERVER},
    {"date", DATE},
    {"last-modified", LAST_MODIFIED},
    {"etag", ETAG},
    {"accept-ranges", ACCEPT_RANGES},
    {"content-encoding", CONTENT_ENCODING},
    {"expires", EXPIRES},
    {"www-authenticate", WWW_AUTHENTICATE},
};

static sb_names_t names;

void
sb_upstream_header_init(void)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        sb_names_add(&names, known[i].name, (uint8_t)known[i].kind);
}

static enum kind
kind_of(const ngx_table_elt_t *h)
{
    return (enum kind)sb_names_find(&names, h);
}

/* ---- the mark in the list ---- */

void
sb_upstream_header_mark(sb_exchange_t *x)
{
    x->mark_part = x->r->headers_out.headers.last;
    x->mark_n = x->mark_part->nelts;
}

void
sb_upstream_header_undo(sb_exchange_t *x)
{
    ngx_http_headers_out_t *out = &x->r->headers_out;

    if (x->mark_part == NULL)
        return;
    x->mark_part->nelts = x->mark_n;
    x->mark_part->next = NULL;
    out->headers.last = x->mark_part;
    if (!x->noted)
        return;
    x->noted = false;
    out->server = out->date = out->last_modified = out->etag = out->accept_ranges = out->content_encoding = out->location = out->expires =
        out->www_authenticate = NULL;
    out->content_type.len = out->content_type_len = out->charset.len = 0;
}

/* Calls fn for the headers behind the mark; false stops. */
static void
each_new(sb_exchange_t *x, void (*fn)(sb_exchange_t *x, ngx_table_elt_t *h, void *arg), void *arg)
{
    ngx_list_part_t *part = x->mark_part;
    ngx_uint_t i = x->mark_n;

    for (; part != NULL; part = part->next, i = 0)
        for (; i < part->nelts; i++)
            fn(x, &((ngx_table_elt_t *)part->elts)[i], arg);
}

/* ---- single headers ---- */

static ngx_int_t
content_length(ngx_http_upstream_t *u, ngx_table_elt_t *h)
{
    off_t n = ngx_atoof(h->value.data, h->value.len);

    if (n == NGX_ERROR || (u->headers_in.content_length != NULL && u->headers_in.content_length_n != n))
        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    u->headers_in.content_length = h;
    u->headers_in.content_length_n = n;
    h->hash = 0;
    return NGX_OK;
}

/* The charset is noted apart, as the charset filter wants it. */
static void
content_type(ngx_http_request_t *r, ngx_table_elt_t *h)
{
    u_char *p = memchr(h->value.data, ';', h->value.len), *end = h->value.data + h->value.len, *semicolon = p;

    r->headers_out.content_type = h->value;
    r->headers_out.content_type_len = h->value.len;
    r->headers_out.content_type_lowcase = NULL;
    h->hash = 0;
    while (p != NULL && ++p < end) {
        while (p < end && *p == ' ')
            p++;
        if (end - p > 8 && ngx_strncasecmp(p, (u_char *)"charset=", 8) == 0) {
            p += 8;
            if (*p == '"' && end[-1] == '"' && end - p > 1) {
                p++;
                end--;
            }
            r->headers_out.content_type_len = (size_t)(semicolon - h->value.data);
            r->headers_out.charset = (ngx_str_t){(size_t)(end - p), p};
            return;
        }
        p = memchr(p, ';', (size_t)(end - p));
    }
}

static void
connection(ngx_http_upstream_t *u, ngx_table_elt_t *h)
{
    u->headers_in.connection = h;
    if (ngx_strlcasestrn(h->value.data, h->value.data + h->value.len, (u_char *)"close", 5 - 1) != NULL)
        u->headers_in.connection_close = 1;
    h->hash = 0;
}

/* A service may say for itself whether its answer is to be streamed. */
static void
buffering(ngx_http_upstream_t *u, ngx_table_elt_t *h)
{
    if (u->conf->change_buffering && (u->conf->ignore_headers & NGX_HTTP_UPSTREAM_IGN_XA_BUFFERING) == 0) {
        if (h->value.len == 2 && ngx_strncasecmp(h->value.data, (u_char *)"no", 2) == 0)
            u->buffering = 0;
        else if (h->value.len == 3 && ngx_strncasecmp(h->value.data, (u_char *)"yes", 3) == 0)
            u->buffering = 1;
    }
    h->hash = 0;
}

static bool
asked_for_upgrade(ngx_http_request_t *r, const ngx_table_elt_t *h)
{
    ngx_table_elt_t *asked = r->headers_in.upgrade;

    return asked != NULL && asked->value.len == h->value.len && ngx_strncasecmp(asked->value.data, h->value.data, h->value.len) == 0;
}

static ngx_int_t
note(ngx_http_request_t *r, ngx_table_elt_t *h, enum kind kind)
{
    ngx_http_upstream_t *u = r->upstream;
    ngx_http_headers_out_t *out = &r->headers_out;

    switch (kind) {
    case CONTENT_LENGTH:
        return content_length(u, h);
    case CONTENT_TYPE:
        content_type(r, h);
        break;
    case TRANSFER_ENCODING:
        if (ngx_strlcasestrn(h->value.data, h->value.data + h->value.len, (u_char *)"chunked", 7 - 1) != NULL)
            u->headers_in.chunked = 1;
        h->hash = 0;
        break;
    case CONNECTION:
        connection(u, h);
        break;
    case BUFFERING:
        buffering(u, h);
        break;
    case LOCATION:
        /* nginx makes a relative one absolute when it is noted: the service's own words are kept. */
        out->location = h->value.len != 0 && h->value.data[0] != '/' ? h : NULL;
        break;
    case UPGRADE:
        h->hash = asked_for_upgrade(r, h) ? h->hash : 0;
        break;
    case TRAILER:
        h->hash = sb_upstream_te_trailers(r) ? h->hash : 0;
        break;
    case ENDS_HERE:
        h->hash = 0;
        break;
    case SERVER:
        out->server = h;
        break;
    case DATE:
        out->date = h;
        break;
    case LAST_MODIFIED:
        out->last_modified = h;
        break;
    case ETAG:
        out->etag = h;
        break;
    case ACCEPT_RANGES:
        out->accept_ranges = h;
        break;
    case CONTENT_ENCODING:
        out->content_encoding = h;
        break;
    case EXPIRES:
        out->expires = h;
        break;
    case WWW_AUTHENTICATE:
        out->www_authenticate = h;
        break;
    case OTHER:
        break;
    }
    return NGX_OK;
}

/* proxy_hide_header, when someone injected it. */
static bool
is_hidden(const ngx_http_upstream_conf_t *conf, ngx_table_elt_t *h)
{
    u_char lower[128];

    if (h->key.len > sizeof(lower))
        return false;
    ngx_strlow(lower, h->key.data, h->key.len);
    return ngx_hash_find((ngx_hash_t *)&conf->hide_headers_hash, h->hash, lower, h->key.len) != NULL;
}

/* A line, copied: the buffer is used again for the body. The copy is cut into name and value where they end. */
static ngx_int_t
take_header(sb_exchange_t *x, const u_char *line, size_t len)
{
    ngx_http_request_t *r = x->r;
    sb_header_line_t at;
    ngx_table_elt_t *h;
    enum kind kind;
    u_char *p;

    if (!sb_header_line_parse(line, len, &at))
        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    h = ngx_list_push(&r->headers_out.headers);
    p = h != NULL ? ngx_pnalloc(r->pool, len + 1) : NULL;
    if (p == NULL)
        return NGX_ERROR;
    ngx_memzero(h, sizeof(*h));
    memcpy(p, line, len);
    p[at.name_len] = '\0';
    p[at.value + at.value_len] = '\0';
    h->hash = at.hash;
    h->key = (ngx_str_t){at.name_len, p};
    h->value = (ngx_str_t){at.value_len, p + at.value};
    kind = kind_of(h);
    if (sb_conf->hides && is_hidden(r->upstream->conf, h))
        h->hash = 0;
    x->noted = true;
    return note(r, h, kind);
}

/* ---- the end of the header ---- */

static void
drop_if_named(sb_exchange_t *x, ngx_table_elt_t *h, void *arg)
{
    const ngx_str_t *name = arg;

    if (h->key.len == name->len && ngx_strncasecmp(h->key.data, name->data, name->len) == 0)
        h->hash = 0;
}

static bool
is_token(const ngx_str_t *s, const char *token)
{
    return s->len == strlen(token) && ngx_strncasecmp(s->data, (u_char *)token, s->len) == 0;
}

/* Headers that the service's Connection header names are for us alone. */
static void
drop_hop_by_hop(sb_exchange_t *x, const ngx_str_t *list)
{
    u_char *p = list->data, *end = p + list->len;

    while (p < end) {
        ngx_str_t name;
        while (p < end && (*p == ' ' || *p == '\t' || *p == ','))
            p++;
        for (name.data = p; p < end && *p != ','; p++)
            ;
        for (name.len = (size_t)(p - name.data); name.len > 0 && (name.data[name.len - 1] == ' ' || name.data[name.len - 1] == '\t');)
            name.len--;
        if (name.len != 0 && !is_token(&name, "close") && !is_token(&name, "keep-alive") && !is_token(&name, "upgrade"))
            each_new(x, drop_if_named, &name);
    }
}

static void
obey_connection(sb_exchange_t *x, ngx_table_elt_t *h, void *arg)
{
    if (h->key.len == 10 && ngx_strncasecmp(h->key.data, (u_char *)"connection", 10) == 0)
        drop_hop_by_hop(x, &h->value);
}

static void
copy_header(sb_exchange_t *x, ngx_table_elt_t *h, void *arg)
{
    ngx_table_elt_t *copy = ngx_list_push(&x->headers);

    if (copy != NULL)
        *copy = *h;
}

/* Lua plugins may ask for what the service said after they, or others, have changed it. */
static void
keep_headers(sb_exchange_t *x)
{
    if (x->ctx->lua_phases != 0 && ngx_list_init(&x->headers, x->r->pool, 8, sizeof(ngx_table_elt_t)) == NGX_OK)
        each_new(x, copy_header, NULL);
}

ngx_list_t *
sb_service_headers(const sb_ctx_t *ctx)
{
    return ctx->exchange != NULL && ctx->exchange->headers.part.elts != NULL ? &ctx->exchange->headers : NULL;
}

/* 100 Continue and the like announce the real answer, which follows in the same bytes. */
static ngx_int_t
skip_interim(ngx_http_request_t *r)
{
    ngx_http_upstream_t *u = r->upstream;

    u->headers_in.status_n = 0;
    u->headers_in.content_length_n = -1;
    u->headers_in.content_length = u->headers_in.connection = NULL;
    u->headers_in.connection_close = u->headers_in.chunked = 0;
    if (u->state != NULL)
        u->state->status = 0;
    sb_upstream_expect_header(sb_ctx(r)->exchange);
    return sb_upstream_process_status(r);
}

static ngx_int_t
unasked_upgrade(ngx_http_request_t *r)
{
    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "upstream switched protocols without being asked");
    return NGX_HTTP_UPSTREAM_INVALID_HEADER;
}

static ngx_int_t
header_done(sb_exchange_t *x)
{
    ngx_http_request_t *r = x->r;
    ngx_http_upstream_t *u = r->upstream;
    ngx_uint_t status = u->headers_in.status_n;

    if (status >= 100 && status < 200 && status != NGX_HTTP_SWITCHING_PROTOCOLS)
        return skip_interim(r);
    if (u->headers_in.chunked)
        u->headers_in.content_length_n = -1;
    keep_headers(x);
    if (u->headers_in.connection != NULL)
        each_new(x, obey_connection, NULL);
    /* Else when the body is complete. Bytes that follow belong to no answer. */
    u->keepalive = sb_upstream_no_body(r) && !u->headers_in.connection_close && u->buffer.pos == u->buffer.last;
    if (status == NGX_HTTP_SWITCHING_PROTOCOLS) {
        if (!sb_upstream_is_websocket(r))
            return unasked_upgrade(r);
        u->upgrade = 1;
    }
    return NGX_OK;
}

static ngx_int_t
process_header(ngx_http_request_t *r)
{
    sb_exchange_t *x = sb_ctx(r)->exchange;
    ngx_buf_t *b = &r->upstream->buffer;
    ngx_int_t rc;

    for (;;) {
        u_char *line = b->pos, *end = memchr(line, LF, (size_t)(b->last - line));
        if (end == NULL)
            return NGX_AGAIN;
        b->pos = end + 1;
        if (end > line && end[-1] == CR)
            end--;
        if (end == line)
            return header_done(x);
        rc = take_header(x, line, (size_t)(end - line));
        if (rc == NGX_OK)
            continue;
        if (rc != NGX_ERROR)
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "upstream sent invalid header");
        return rc;
    }
}

ngx_int_t
sb_upstream_process_status(ngx_http_request_t *r)
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
