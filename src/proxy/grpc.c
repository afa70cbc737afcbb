/*
 * The exchange with a service that speaks HTTP/2: grpc and grpcs. The frames are nginx's grpc module's work, whose content handler the
 * location's grpc_pass has installed and sb_conf keeps; what is sent, where to and with which timeouts is ours. Start at sb_grpc_start().
 *
 * That module builds its request from r->headers_in and r->unparsed_uri, and has no seam for another source. So while it builds, and only
 * then, both are what ours would send: the head that an HTTP/1.1 service would get, cut into a list. The request is built once in the
 * handler, before our peer is asked for (then the client's own is put back), and again when another target needs another authority. All of
 * that happens within one call: nothing else ever sees the exchanged list.
 *
 * Bodies are never buffered, in either direction, whatever the route says: streams of messages could not work.
 */
#include "proxy/exchange.h"
#include "proxy/header_line.h"
#include "proxy/tls.h"

/* What the module reads instead of the client's request. */
struct sb_grpc {
    ngx_list_t headers;
    ngx_str_t uri;
    /* the client's own, while exchanged */
    ngx_list_t client_headers;
    ngx_str_t client_uri;
    unsigned client_uri_valid : 1, exchanged : 1;
};

bool
sb_grpc_is(const sb_ctx_t *ctx)
{
    if (ctx->upstream_scheme.len != 0)
        return sb_str_eqc(ctx->upstream_scheme, "grpc") || sb_str_eqc(ctx->upstream_scheme, "grpcs");
    return ctx->service != NULL && (ctx->service->protocol & (SB_PROTO_GRPC | SB_PROTO_GRPCS)) != 0;
}

/* ---- the request ---- */

static ngx_int_t
add_line(ngx_http_request_t *r, ngx_list_t *list, u_char *line, size_t len)
{
    sb_header_line_t at;
    ngx_table_elt_t *h;

    if (!sb_header_line_parse(line, len, &at)) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "a request header cannot be sent by HTTP/2");
        return NGX_ERROR;
    }
    h = ngx_list_push(list);
    if (h == NULL)
        return NGX_ERROR;
    ngx_memzero(h, sizeof(*h));
    h->hash = at.hash;
    h->key = (ngx_str_t){at.name_len, line};
    h->value = (ngx_str_t){at.value_len, line + at.value};
    h->lowcase_key = ngx_pnalloc(r->pool, at.name_len);
    if (h->lowcase_key == NULL)
        return NGX_ERROR;
    ngx_strlow(h->lowcase_key, line, at.name_len);
    return NGX_OK;
}

/* "METHOD uri HTTP/1.1\r\nName: value\r\n…\r\n" into uri and list. What HTTP/2 does not know (Host, Connection …) the module leaves out. */
static ngx_int_t
read_head(ngx_http_request_t *r, ngx_buf_t *head, struct sb_grpc *g)
{
    u_char *line = head->pos + r->method_name.len + 1, *end = memchr(line, ' ', (size_t)(head->last - line));

    g->uri = (ngx_str_t){(size_t)(end - line), line};
    if (ngx_list_init(&g->headers, r->pool, 24, sizeof(ngx_table_elt_t)) != NGX_OK)
        return NGX_ERROR;
    for (line = (u_char *)memchr(end, LF, (size_t)(head->last - end)) + 1; *line != CR; line = end + 1) {
        end = memchr(line, LF, (size_t)(head->last - line));
        if (add_line(r, &g->headers, line, (size_t)(end - 1 - line)) != NGX_OK)
            return NGX_ERROR;
    }
    return NGX_OK;
}

static void
exchange_request(ngx_http_request_t *r, struct sb_grpc *g)
{
    g->client_headers = r->headers_in.headers;
    g->client_uri = r->unparsed_uri;
    g->client_uri_valid = r->valid_unparsed_uri;
    g->exchanged = 1;
    r->headers_in.headers = g->headers;
    r->unparsed_uri = g->uri;
    r->valid_unparsed_uri = 1;
}

static void
restore_request(ngx_http_request_t *r, struct sb_grpc *g)
{
    if (!g->exchanged)
        return;
    g->exchanged = 0;
    r->headers_in.headers = g->client_headers;
    r->unparsed_uri = g->client_uri;
    r->valid_unparsed_uri = g->client_uri_valid;
}

static ngx_int_t
make_head(sb_exchange_t *x)
{
    ngx_buf_t *head = sb_upstream_make_head(x->r);

    return head != NULL ? read_head(x->r, head, x->grpc) : NGX_ERROR;
}

ngx_int_t
sb_grpc_rebuild(sb_exchange_t *x)
{
    ngx_http_request_t *r = x->r;
    ngx_http_upstream_t *u = r->upstream;
    ngx_int_t rc;

    if (make_head(x) != NGX_OK)
        return NGX_ERROR;
    u->request_bufs = u->request_bufs->next; /* the body, which is there only when it had been read before */
    exchange_request(r, x->grpc);
    rc = u->create_request(r);
    restore_request(r, x->grpc);
    return rc;
}

/* ---- the exchange ---- */

/* The location's grpc_* configuration, with what the service's own says. */
static ngx_http_upstream_conf_t *
conf_of(sb_exchange_t *x)
{
    const ngx_http_upstream_conf_t *service = sb_upstream_conf(x->ctx);
    ngx_http_upstream_conf_t *own = ngx_palloc(x->r->pool, sizeof(*own));
    bool chosen = x->ctx->tls != NULL && x->ctx->tls->verify >= 0; /* by a plugin */

    if (own == NULL)
        return NULL;
    *own = *x->r->upstream->conf;
    own->connect_timeout = service->connect_timeout;
    own->send_timeout = service->send_timeout;
    own->read_timeout = service->read_timeout;
    own->next_upstream = service->next_upstream;
    own->next_upstream_tries = service->next_upstream_tries;
    own->next_upstream_timeout = service->next_upstream_timeout;
    own->local = service->local;
    own->socket_keepalive = service->socket_keepalive;
    own->hide_headers_hash = service->hide_headers_hash;
    own->ssl_verify = chosen ? service->ssl_verify : own->ssl_verify || service->ssl_verify;
    own->ssl_server_name = 1;
    own->ssl_session_reuse = 1; /* see sb_service_tls_read() */
    return own;
}

ngx_int_t
sb_grpc_peer_init(sb_exchange_t *x)
{
    ngx_http_upstream_t *u = x->r->upstream;

    restore_request(x->r, x->grpc);
    u->conf = conf_of(x);
    u->uri = x->grpc->uri;
    return u->conf != NULL ? NGX_OK : NGX_ERROR;
}

ngx_int_t
sb_grpc_start(sb_exchange_t *x)
{
    ngx_http_request_t *r = x->r;
    ngx_int_t rc;

    x->grpc = ngx_pcalloc(r->pool, sizeof(*x->grpc));
    if (x->grpc == NULL || make_head(x) != NGX_OK)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    sb_upstream_header_mark(x);
    x->ctx->proxied = 1;
    exchange_request(r, x->grpc);
    rc = sb_conf->grpc(r);
    restore_request(r, x->grpc);
    return rc;
}

/* ---- what the location's directives ask for ---- */

sb_str_t
sb_grpc_pass(const sb_ctx_t *ctx)
{
    return ctx->exchange != NULL && ctx->exchange->tls ? SB_STR("grpcs://silverback_upstream") : SB_STR("grpc://silverback_upstream");
}

sb_str_t
sb_grpc_authority(const sb_ctx_t *ctx)
{
    return ctx->exchange != NULL ? ctx->exchange->host : (sb_str_t){NULL, 0};
}
