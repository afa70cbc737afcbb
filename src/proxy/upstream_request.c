/*
 * The request that goes to the service: one buffer with request line and headers, written in two passes over the client's headers (measure,
 * write), then the body's buffers as they are. No script engine, no variables.
 *
 * Headers of the client are passed on but for those that end at a gateway (hop by hop), those that it writes itself, and
 * those that the client's Connection header names. Which these are is noted before plugins change anything: what a plugin sets is not the
 * client's to drop.
 */
#include "proxy/exchange.h"
#include "proxy/names.h"

/* ---- which client headers are not passed on ---- */

enum action { PASS, DROP, FORWARDED_FOR, VIA, REQUEST_ID };

static const struct {
    const char *name;
    enum action action;
} handled[] = {
    {"host", DROP},
    {"connection", DROP},
    {"keep-alive", DROP},
    {"proxy-connection", DROP},
    {"proxy", DROP},
    {"transfer-encoding", DROP},
    {"content-length", DROP},
    {"upgrade", DROP},
    {"te", DROP},
    {"expect", DROP},
    {"x-real-ip", DROP},
    {"x-forwarded-proto", DROP},
    {"x-forwarded-host", DROP},
    {"x-forwarded-port", DROP},
    {"x-forwarded-path", DROP},
    {"x-forwarded-prefix", DROP},
    {"x-kong-request-debug", DROP},
    {"x-kong-request-debug-token", DROP},
    {"x-kong-request-debug-log", DROP},
    {"x-forwarded-for", FORWARDED_FOR},
    {"via", VIA},
    {"x-kong-request-id", REQUEST_ID},
};

static sb_names_t names;

void
sb_upstream_request_init(void)
{
    for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]); i++)
        sb_names_add(&names, handled[i].name, (uint8_t)handled[i].action);
}

static enum action
action_of(const ngx_table_elt_t *h)
{
    return (enum action)sb_names_find(&names, h);
}

/* ---- what the writer needs to know ---- */

struct head {
    ngx_http_request_t *r;
    sb_ctx_t *ctx;
    sb_exchange_t *x;
    bool upgrade, trailers, lone_question, chunked;
    off_t length;                             /* -1: no body is announced */
    ngx_uint_t n_for, n_via;                  /* lines of X-Forwarded-For and Via */
    size_t len_for, len_via;                  /* with ", " after each */
    sb_str_t proto, host, port, path, prefix; /* X-Forwarded-* */
    char port_text[8];
    const char *via; /* ours */
    sb_str_t peer;
    sb_str_t path_up; /* path sent, when it is known; else computed while writing */
    sb_str_t service_path;
    sb_str_t args;
};

static sb_str_t
from_client(const struct head *h, const char *name, sb_str_t otherwise)
{
    sb_cstr value = sb_request_header(h->ctx, name, 0);

    return value.len != 0 ? (sb_str_t){value.data, value.len} : otherwise;
}

static sb_str_t
str(ngx_str_t s)
{
    return (sb_str_t){(const char *)s.data, s.len};
}

/* Decimal digits, written towards the front of what ends at `end`. */
static sb_str_t
number(unsigned n, char *end)
{
    char *p = end;

    do
        *--p = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    return (sb_str_t){p, (size_t)(end - p)};
}

static void
forwarded(struct head *h)
{
    sb_cstr scheme = sb_request_scheme(h->ctx), host = sb_request_host(h->ctx);

    h->proto = (sb_str_t){scheme.data, scheme.len};
    h->host = (sb_str_t){host.data, host.len};
    h->port = number(sb_forwarded_port(h->ctx), h->port_text + sizeof(h->port_text));
    h->path = h->ctx->raw_path;
    if (h->ctx->route.strip_path && h->ctx->prefix_len > 1)
        h->prefix = (sb_str_t){h->ctx->path.data, h->ctx->prefix_len};
    if (sb_conf->trusted == NULL || !sb_ctx_trusted(h->ctx))
        return;
    h->proto = from_client(h, "x-forwarded-proto", h->proto);
    h->host = from_client(h, "x-forwarded-host", h->host);
    h->port = from_client(h, "x-forwarded-port", h->port);
    h->path = from_client(h, "x-forwarded-path", h->path);
    h->prefix = from_client(h, "x-forwarded-prefix", h->prefix);
}

static const char *
via_text(const ngx_http_request_t *r)
{
    if (r->http_version > NGX_HTTP_VERSION_20) /* nginx before 1.25 has no name for 3 */
        return "3 kong/" SB_KONG_VERSION;
    if (r->http_version == NGX_HTTP_VERSION_20)
        return "2 kong/" SB_KONG_VERSION;
    return r->http_version == NGX_HTTP_VERSION_10 ? "1.0 kong/" SB_KONG_VERSION : "1.1 kong/" SB_KONG_VERSION;
}

bool
sb_upstream_is_websocket(ngx_http_request_t *r)
{
    ngx_table_elt_t *u = r->headers_in.upgrade;

    return r == r->main && r->http_version == NGX_HTTP_VERSION_11 && u != NULL && u->hash != 0 && u->value.len == 9 &&
           ngx_strncasecmp(u->value.data, (u_char *)"websocket", 9) == 0;
}

/* ---- what the client's Connection header names ---- */

/* A header as the client sent it: a plugin that sets it gives it another value, or another place. */
struct named {
    const ngx_table_elt_t *header;
    const u_char *value;
};

/* What nearly every client sends, which names no headers. */
static bool
is_plain_connection(const ngx_str_t *v)
{
    return (v->len == 10 && ngx_strncasecmp(v->data, (u_char *)"keep-alive", 10) == 0) ||
           (v->len == 5 && ngx_strncasecmp(v->data, (u_char *)"close", 5) == 0);
}

static ngx_int_t
note(sb_ctx_t *ctx, const ngx_table_elt_t *e)
{
    struct named *n;

    if (ctx->named == NULL)
        ctx->named = ngx_array_create(ctx->r->pool, 4, sizeof(*n));
    n = ctx->named != NULL ? ngx_array_push(ctx->named) : NULL;
    if (n == NULL)
        return NGX_ERROR;
    *n = (struct named){e, e->value.data};
    return NGX_OK;
}

/* The headers that one line names, but for those that are never passed on anyway. */
static ngx_int_t
note_list(sb_ctx_t *ctx, const ngx_str_t *list)
{
    for (ngx_list_part_t *part = &ctx->r->headers_in.headers.part; part != NULL; part = part->next) {
        const ngx_table_elt_t *e = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++)
            if (e[i].hash != 0 && action_of(&e[i]) != DROP && sb_header_list_has(list, &e[i].key) && note(ctx, &e[i]) != NGX_OK)
                return NGX_ERROR;
    }
    return NGX_OK;
}

/* nginx only notes whether it says close or keep-alive. */
ngx_int_t
sb_upstream_note_named(sb_ctx_t *ctx)
{
    if (ctx->named_known)
        return NGX_OK;
    for (ngx_list_part_t *part = &ctx->r->headers_in.headers.part; part != NULL; part = part->next) {
        const ngx_table_elt_t *e = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (e[i].key.len != 10 || e[i].hash == 0 || !sb_names_same(e[i].key.data, "connection", 10))
                continue;
            if (!is_plain_connection(&e[i].value) && note_list(ctx, &e[i].value) != NGX_OK)
                return NGX_ERROR;
        }
    }
    ctx->named_known = 1;
    return NGX_OK;
}

static bool
is_named(const sb_ctx_t *ctx, const ngx_table_elt_t *e)
{
    const struct named *n = ctx->named->elts;

    for (ngx_uint_t i = 0; i < ctx->named->nelts; i++)
        if (n[i].header == e && n[i].value == e->value.data)
            return true;
    return false;
}

/* ---- planning ---- */

static void
body_framing(struct head *h)
{
    ngx_http_request_t *r = h->r;

    h->length = -1;
    if (r->headers_in.chunked && r->request_body_no_buffering)
        h->chunked = true;
    else if (r->headers_in.content_length_n > 0 || r->headers_in.content_length != NULL || r->headers_in.chunked)
        h->length = ngx_max(r->headers_in.content_length_n, 0);
    h->x->chunked_request = h->chunked;
}

static ngx_int_t
plan_head(struct head *h)
{
    ngx_http_request_t *r = h->r;
    sb_service_t *s = h->ctx->service;

    forwarded(h);
    h->peer = sb_peer_text(h->ctx);
    h->via = via_text(r);
    h->upgrade = sb_upstream_is_websocket(r);
    h->trailers = sb_upstream_te_trailers(r);
    h->lone_question = r->args.len == 0 && r->unparsed_uri.len == h->ctx->raw_path.len + 1;
    h->path_up = h->ctx->upstream_path;
    h->service_path = s != NULL ? s->path : (sb_str_t){"", 0};
    body_framing(h);
    return sb_upstream_note_named(h->ctx);
}

/* ---- the client's headers ---- */

static enum action
decide(const struct head *h, const ngx_table_elt_t *e)
{
    enum action a = e->hash != 0 ? action_of(e) : DROP;

    if (a == REQUEST_ID)
        a = sb_conf->upstream_request_id ? DROP : PASS;
    else if (a == VIA && (sb_conf->headers & SB_H_VIA) == 0)
        a = PASS;
    return a == PASS && h->ctx->named != NULL && is_named(h->ctx, e) ? DROP : a;
}

static size_t
measure(struct head *h)
{
    size_t len = 0;

    for (ngx_list_part_t *part = &h->r->headers_in.headers.part; part != NULL; part = part->next) {
        ngx_table_elt_t *e = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            switch (decide(h, &e[i])) {
            case PASS:
                len += e[i].key.len + e[i].value.len + 4;
                break;
            case FORWARDED_FOR:
                h->n_for++;
                h->len_for += e[i].value.len + 2;
                break;
            case VIA:
                h->n_via++;
                h->len_via += e[i].value.len + 2;
                break;
            default:
                break;
            }
        }
    }
    return len;
}

static u_char *
put(u_char *p, const void *data, size_t len)
{
    return len != 0 ? ngx_cpymem(p, data, len) : p; /* what is empty may have no address */
}

static u_char *
put_str(u_char *p, sb_str_t s)
{
    return put(p, s.data, s.len);
}

#define PUT(p, literal) put((p), (literal), sizeof(literal) - 1)

static u_char *
write_passed(const struct head *h, u_char *p)
{
    for (ngx_list_part_t *part = &h->r->headers_in.headers.part; part != NULL; part = part->next) {
        ngx_table_elt_t *e = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (decide(h, &e[i]) != PASS)
                continue;
            p = put(p, e[i].key.data, e[i].key.len);
            *p++ = ':';
            *p++ = ' ';
            p = put(p, e[i].value.data, e[i].value.len);
            *p++ = '\r';
            *p++ = '\n';
        }
    }
    return p;
}

/* The client's lines of one kind, each followed by ", ". */
static u_char *
write_joined(const struct head *h, u_char *p, enum action which)
{
    for (ngx_list_part_t *part = &h->r->headers_in.headers.part; part != NULL; part = part->next) {
        ngx_table_elt_t *e = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (decide(h, &e[i]) != which || e[i].value.len == 0)
                continue;
            p = put(p, e[i].value.data, e[i].value.len);
            *p++ = ',';
            *p++ = ' ';
        }
    }
    return p;
}

/* ---- the path ---- */

/* Bits of the bytes that may not stand in a request line as they are: controls, space, "<>\\^`{|} and all beyond ASCII. */
static const uint32_t unsafe[8] = {0xffffffff, 0x50000005, 0x50000000, 0xb8000001, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff};

static bool
needs_escape(u_char c)
{
    return (unsafe[c >> 5] >> (c & 31) & 1) != 0;
}

static size_t
count_escapes(sb_str_t s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++)
        n += needs_escape((u_char)s.data[i]);
    return n;
}

static u_char *
write_escaped(u_char *p, sb_str_t s)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.len; i++) {
        u_char c = (u_char)s.data[i];
        if (needs_escape(c)) {
            *p++ = '%';
            *p++ = (u_char)digits[c >> 4];
            *p++ = (u_char)digits[c & 15];
        } else
            *p++ = c;
    }
    return p;
}

/* As if every byte had to be escaped. */
static size_t
path_room(const struct head *h)
{
    return 3 * (h->path_up.len != 0 ? h->path_up.len : h->service_path.len + h->ctx->path.len + 2);
}

static sb_str_t
compute_path(const sb_ctx_t *ctx, sb_str_t service_path, char *out)
{
    bool v1 = ctx->route.path_handling_v1 && strcmp(sb_settings_str(sb_conf->settings, "router_flavor"), "traditional") == 0;

    return (sb_str_t){out, sb_router_upstream_path(service_path, ctx->path, ctx->prefix_len, ctx->route.strip_path, v1, out)};
}

/* A query as the client sent it is one; plugins may have set anything. */
static sb_str_t
query_of(const ngx_http_request_t *r)
{
    sb_str_t args = str(r->args);
    const u_char *start = r->unparsed_uri.data;
    char *text;
    size_t bad = 0;

    if (args.len == 0 || (r->args.data >= start && r->args.data + args.len <= start + r->unparsed_uri.len))
        return args;
    for (size_t i = 0; i < args.len; i++)
        bad += (u_char)args.data[i] <= ' ' || args.data[i] == 0x7f;
    if (bad == 0)
        return args;
    text = ngx_pnalloc(r->pool, 3 * args.len);
    if (text == NULL)
        return (sb_str_t){NULL, 0};
    return (sb_str_t){text, (size_t)(write_escaped((u_char *)text, args) - (u_char *)text)};
}

/* NULL without memory. */
static u_char *
write_path(const struct head *h, u_char *p)
{
    sb_str_t path = h->path_up;

    if (path.len == 0) {
        path = compute_path(h->ctx, h->service_path, (char *)p);
        if (count_escapes(path) == 0)
            return p + path.len;
        /* It stands where it has to grow: written again from a copy. */
        char *copy = ngx_pnalloc(h->r->pool, path.len);
        if (copy == NULL)
            return NULL;
        memcpy(copy, path.data, path.len);
        path.data = copy;
    }
    return write_escaped(p, path);
}

sb_str_t
sb_upstream_path(sb_ctx_t *ctx)
{
    sb_str_t service_path = ctx->service != NULL ? ctx->service->path : (sb_str_t){"", 0}, path;
    u_char *text, *end;
    char *plain;

    if (ctx->upstream_path.len != 0)
        return ctx->upstream_path;
    plain = ngx_pnalloc(ctx->r->pool, service_path.len + ctx->path.len + 2);
    if (plain == NULL)
        return (sb_str_t){"", 0};
    path = compute_path(ctx, service_path, plain);
    text = ngx_pnalloc(ctx->r->pool, path.len + 2 * count_escapes(path));
    if (text == NULL)
        return path;
    end = write_escaped(text, path);
    ctx->upstream_path = (sb_str_t){(char *)text, (size_t)(end - text)};
    return ctx->upstream_path;
}

/* ---- request line, own headers ---- */

static u_char *
write_line(const struct head *h, u_char *p)
{
    ngx_http_request_t *r = h->r;

    p = put(p, r->method_name.data, r->method_name.len);
    *p++ = ' ';
    p = write_path(h, p);
    if (p == NULL)
        return NULL;
    if (h->args.len != 0 || h->lone_question)
        *p++ = '?';
    p = put_str(p, h->args);
    p = PUT(p, " HTTP/1.1\r\nHost: ");
    p = put_str(p, h->x->host);
    return h->upgrade ? PUT(p, "\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket") : PUT(p, "\r\nConnection: keep-alive");
}

static u_char *
write_forwarded(const struct head *h, u_char *p)
{
    p = PUT(p, "\r\nX-Forwarded-For: ");
    if (h->n_for != 0)
        p = write_joined(h, p, FORWARDED_FOR);
    p = put_str(p, h->peer);
    p = PUT(p, "\r\nX-Forwarded-Proto: ");
    p = put_str(p, h->proto);
    p = PUT(p, "\r\nX-Forwarded-Host: ");
    p = put_str(p, h->host);
    p = PUT(p, "\r\nX-Forwarded-Port: ");
    p = put_str(p, h->port);
    p = PUT(p, "\r\nX-Forwarded-Path: ");
    p = put_str(p, h->path);
    if (h->prefix.len != 0) {
        p = PUT(p, "\r\nX-Forwarded-Prefix: ");
        p = put_str(p, h->prefix);
    }
    p = PUT(p, "\r\nX-Real-IP: ");
    return put_str(p, str(h->r->connection->addr_text));
}

static u_char *
write_others(const struct head *h, u_char *p)
{
    if (sb_conf->upstream_request_id) {
        p = PUT(p, "\r\nX-Kong-Request-Id: ");
        p = put(p, h->ctx->request_id, sizeof(h->ctx->request_id));
    }
    if ((sb_conf->headers & SB_H_VIA) != 0) {
        p = PUT(p, "\r\nVia: ");
        if (h->n_via != 0)
            p = write_joined(h, p, VIA);
        p = put(p, h->via, strlen(h->via));
    }
    if (h->trailers)
        p = PUT(p, "\r\nTE: trailers");
    if (h->chunked)
        p = PUT(p, "\r\nTransfer-Encoding: chunked");
    else if (h->length >= 0)
        p = ngx_sprintf(p, "\r\nContent-Length: %O", h->length);
    return PUT(p, "\r\n");
}

static size_t
head_room(struct head *h)
{
    /* 512 covers every literal and number above. */
    return 512 + h->r->method_name.len + path_room(h) + h->args.len + h->x->host.len + measure(h) + h->len_for + h->peer.len +
           h->proto.len + h->host.len + h->port.len + h->path.len + h->prefix.len + h->r->connection->addr_text.len + h->len_via;
}

ngx_buf_t *
sb_upstream_make_head(ngx_http_request_t *r)
{
    struct head h = {.r = r, .ctx = sb_ctx(r)};
    ngx_buf_t *b;
    u_char *path;

    h.x = h.ctx->exchange;
    if (plan_head(&h) != NGX_OK)
        return NULL;
    h.args = query_of(r);
    b = ngx_create_temp_buf(r->pool, head_room(&h));
    if (b == NULL || (r->args.len != 0 && h.args.len == 0) || (b->last = write_line(&h, b->last)) == NULL)
        return NULL;
    b->last = write_forwarded(&h, b->last);
    b->last = write_others(&h, b->last);
    b->last = write_passed(&h, b->last);
    b->last = PUT(b->last, "\r\n");
    path = b->pos + r->method_name.len + 1;
    if (r->upstream != NULL)
        r->upstream->uri = (ngx_str_t){(size_t)((u_char *)memchr(path, ' ', (size_t)(b->last - path)) - path), path};
    return b;
}

/* The body's buffers again, as copies: sending moves their positions, and another try needs them whole. */
static ngx_int_t
append_body(ngx_http_request_t *r, ngx_chain_t *tail, ngx_chain_t *body)
{
    for (; body != NULL; body = body->next) {
        ngx_buf_t *b = ngx_alloc_buf(r->pool);
        ngx_chain_t *link = b != NULL ? ngx_alloc_chain_link(r->pool) : NULL;
        if (link == NULL)
            return NGX_ERROR;
        *b = *body->buf;
        link->buf = b;
        link->next = NULL;
        tail->next = link;
        tail = link;
    }
    tail->buf->flush = 1;
    return NGX_OK;
}

ngx_int_t
sb_upstream_create_request(ngx_http_request_t *r)
{
    ngx_http_upstream_t *u = r->upstream;
    ngx_buf_t *b = sb_upstream_make_head(r);
    ngx_chain_t *head = b != NULL ? ngx_alloc_chain_link(r->pool) : NULL, *body = u->request_bufs;

    if (head == NULL)
        return NGX_ERROR;
    head->buf = b;
    head->next = NULL;
    u->request_bufs = head;
    if (!r->request_body_no_buffering)
        return append_body(r, head, body);
    b->flush = 1;
    if (sb_ctx(r)->exchange->chunked_request) {
        u->output.output_filter = sb_upstream_chunked_output;
        u->output.filter_ctx = r;
    }
    return NGX_OK;
}

ngx_int_t
sb_upstream_rebuild_head(ngx_http_request_t *r)
{
    ngx_buf_t *b = sb_upstream_make_head(r);

    if (b == NULL)
        return NGX_ERROR;
    b->flush = r->upstream->request_bufs->buf->flush;
    r->upstream->request_bufs->buf = b;
    return NGX_OK;
}
