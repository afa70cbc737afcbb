/*
 * From a request to its route, service and chain. The route is looked for with the request as it is after the global rewrite plugins; the
 * match brings the route's flags along. Protocols do not take part in matching: a route that is only for https answers plain http with a
 * redirect or 426 afterwards.
 */
#include "proxy/proxy_int.h"

/* ---- the request as the router wants it ---- */

static bool
next_header(void *arg, sb_str_t name, unsigned n, sb_str_t *value)
{
    ngx_http_request_t *r = arg;

    for (ngx_list_part_t *part = &r->headers_in.headers.part; part != NULL; part = part->next) {
        ngx_table_elt_t *h = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (h[i].hash == 0 || h[i].key.len != name.len || ngx_strncmp(h[i].lowcase_key, name.data, name.len) != 0 || n-- != 0)
                continue;
            *value = (sb_str_t){(char *)h[i].value.data, h[i].value.len};
            return true;
        }
    }
    return false;
}

in_port_t
sb_listener_port(ngx_http_request_t *r)
{
    return ngx_inet_get_port(r->connection->local_sockaddr);
}

/* Where the client connected to, as text; empty when there is no memory. */
static sb_str_t
local_address(ngx_http_request_t *r)
{
    u_char *text = ngx_pnalloc(r->pool, NGX_SOCKADDR_STRLEN);
    ngx_str_t s = {NGX_SOCKADDR_STRLEN, text};

    if (text == NULL || ngx_connection_local_sockaddr(r->connection, &s, 0) != NGX_OK)
        return SB_STR("");
    return (sb_str_t){(char *)s.data, s.len};
}

in_port_t
sb_public_port(const sb_conf_t *conf, in_port_t port)
{
    const sb_port_map_t *map;

    if (conf->port_maps == NULL)
        return port;
    map = conf->port_maps->elts;
    for (ngx_uint_t i = 0; i < conf->port_maps->nelts; i++)
        if (map[i].from == port)
            return map[i].to;
    return port;
}

in_port_t
sb_forwarded_port(sb_ctx_t *ctx)
{
    return sb_public_port(sb_conf, sb_listener_port(ctx->r));
}

/* The path as sent. unparsed_uri is what stood in the request line behind the authority. */
static sb_str_t
raw_path(ngx_http_request_t *r)
{
    u_char *end = memchr(r->unparsed_uri.data, '?', r->unparsed_uri.len);
    size_t len = end != NULL ? (size_t)(end - r->unparsed_uri.data) : r->unparsed_uri.len;

    return len != 0 ? (sb_str_t){(char *)r->unparsed_uri.data, len} : SB_STR("/");
}

/* Most paths are normal already: nginx's parser has seen no "%", "//" or "/." in them. */
static sb_str_t
normal_path(sb_ctx_t *ctx)
{
    ngx_http_request_t *r = ctx->r;
    char *out;

    if (!r->complex_uri && !r->quoted_uri)
        return ctx->raw_path;
    out = ngx_pnalloc(r->pool, ctx->raw_path.len);
    if (out == NULL)
        return ctx->raw_path;
    return (sb_str_t){out, sb_router_normalise_path(ctx->raw_path.data, ctx->raw_path.len, out)};
}

/* Where the port after the host of a target in absolute form ends: newer releases of nginx no longer remember it. */
static const u_char *
authority_end(const ngx_http_request_t *r)
{
    const u_char *p = r->host_end;

    if (r->request_end == NULL || p >= r->request_end || *p != ':')
        return p;
    do
        p++;
    while (p < r->request_end && *p >= '0' && *p <= '9');
    return p;
}

/* The host that is asked for, with its port. That of a target in absolute form beats the header (RFC 9112, 3.2.2). */
static sb_str_t
asked_host(ngx_http_request_t *r)
{
    const ngx_table_elt_t *host = r->headers_in.host;

    if (r->host_start != NULL && r->host_end != NULL)
        return (sb_str_t){(char *)r->host_start, (size_t)(authority_end(r) - r->host_start)};
    if (host != NULL)
        return (sb_str_t){(char *)host->value.data, host->value.len};
    return (sb_str_t){r->headers_in.server.data != NULL ? (char *)r->headers_in.server.data : "", r->headers_in.server.len};
}

static void
fill_request(sb_ctx_t *ctx, sb_route_request_t *req)
{
    ngx_http_request_t *r = ctx->r;
    const char *sni;

    ctx->raw_path = raw_path(r);
    ctx->path = normal_path(ctx);
    ctx->host = asked_host(r);
    memset(req, 0, sizeof(*req));
    req->method = (sb_str_t){(char *)r->method_name.data, r->method_name.len};
    req->port = sb_forwarded_port(ctx);
    req->path = ctx->path;
    req->query = (sb_str_t){(char *)r->args.data, r->args.len};
    req->header = next_header;
    req->arg = r;
    req->src_ip = (sb_str_t){(char *)r->connection->addr_text.data, r->connection->addr_text.len};
    req->src_port = ngx_inet_get_port(r->connection->sockaddr);
    req->dst_port = req->port;
    if (sb_worker.expressions)
        req->dst_ip = local_address(r);
    req->host = sb_router_split_port(ctx->host, &req->port);
    req->scheme = SB_STR("http");
    if (r->connection->ssl != NULL) {
        req->scheme = SB_STR("https");
        sni = SSL_get_servername(r->connection->ssl->connection, TLSEXT_NAMETYPE_host_name);
        if (sni != NULL)
            req->sni = (sb_str_t){sni, strlen(sni)};
    }
}

/* ---- what has more than one reading ---- */

/* A host that ends early for whoever reads it as part of a URL, or whose port is none. nginx has refused "/", spaces and controls. */
static bool
host_is_ambiguous(sb_str_t host)
{
    static const bool stops[256] = {['@'] = true, ['#'] = true, ['?'] = true, ['\\'] = true};
    bool literal = host.len != 0 && host.data[0] == '[', port = false;

    for (size_t i = 0; i < host.len; i++) {
        unsigned char c = (unsigned char)host.data[i];

        if (stops[c] || (port && (c < '0' || c > '9')))
            return true;
        port |= c == ':' && !literal;
    }
    return false;
}

/* A target has no fragment; nginx's parser marks targets that have a "#", among others. */
static bool
target_is_ambiguous(const ngx_http_request_t *r)
{
    return r->complex_uri && memchr(r->unparsed_uri.data, '#', r->unparsed_uri.len) != NULL;
}

/* Bodies in HTTP/2 are framed by HTTP/2 alone: whoever announces another framing means it for the next reader (RFC 9113, 8.2.2). */
static bool
framing_is_ambiguous(const ngx_http_request_t *r)
{
    return r->headers_in.transfer_encoding != NULL && r->http_version >= NGX_HTTP_VERSION_20;
}

/* ---- whom to believe ---- */

sb_str_t
sb_peer_text(sb_ctx_t *ctx)
{
    ngx_http_variable_value_t *v = NULL;

    if (sb_conf->trusted != NULL)
        v = ngx_http_get_indexed_variable(ctx->r, (ngx_uint_t)sb_conf->realip_index);
    if (v != NULL && !v->not_found)
        return (sb_str_t){(char *)v->data, v->len};
    return (sb_str_t){(char *)ctx->r->connection->addr_text.data, ctx->r->connection->addr_text.len};
}

static bool
trusts_unix(void)
{
    ngx_cidr_t *cidr = sb_conf->trusted->elts;

    for (ngx_uint_t i = 0; i < sb_conf->trusted->nelts; i++)
        if (cidr[i].family == AF_UNIX)
            return true;
    return false;
}

bool
sb_ctx_trusted(sb_ctx_t *ctx)
{
    ngx_addr_t addr;
    sb_str_t peer;

    if (ctx->trusted_known || sb_conf->trusted == NULL)
        return ctx->trusted;
    ctx->trusted_known = 1;
    peer = sb_peer_text(ctx);
    if (sb_str_eqc(peer, "unix:"))
        ctx->trusted = trusts_unix();
    else if (ngx_parse_addr(ctx->r->pool, &addr, (u_char *)peer.data, peer.len) == NGX_OK)
        ctx->trusted = ngx_cidr_match(addr.sockaddr, sb_conf->trusted) == NGX_OK;
    return ctx->trusted;
}

sb_str_t
sb_forwarded_proto(sb_ctx_t *ctx)
{
    sb_cstr told = sb_ctx_trusted(ctx) ? sb_request_header(ctx, "x-forwarded-proto", 0) : (sb_cstr){NULL, 0};
    sb_cstr seen = sb_request_scheme(ctx);

    return told.data != NULL ? (sb_str_t){told.data, told.len} : (sb_str_t){seen.data, seen.len};
}

/* ---- after the match ---- */

static void
redirect_to_https(sb_ctx_t *ctx)
{
    ngx_http_request_t *r = ctx->r;
    sb_cstr told = sb_ctx_trusted(ctx) ? sb_request_header(ctx, "x-forwarded-host", 0) : (sb_cstr){NULL, 0};
    sb_cstr host = told.len != 0 ? told : sb_request_host(ctx);
    size_t len = sizeof("https://") - 1 + host.len + r->unparsed_uri.len;
    u_char *text = ngx_pnalloc(r->pool, len);

    if (text == NULL) {
        sb_exit_error(ctx, 500, (sb_str_t){NULL, 0});
        return;
    }
    ngx_snprintf(text, len, "https://%*s%V", host.len, host.data, &r->unparsed_uri);
    sb_headers_out_set(r, SB_STR("Location"), (sb_str_t){(char *)text, len});
    sb_exit_set(ctx, ctx->route.https_redirect_status_code, (sb_str_t){NULL, 0}, SB_STR(""));
}

static void
require_https(sb_ctx_t *ctx)
{
    if (ctx->route.https_redirect_status_code != 426) {
        redirect_to_https(ctx);
        return;
    }
    sb_exit_error(ctx, 426, SB_STR("Please use HTTPS protocol"));
    sb_headers_out_set(ctx->r, SB_STR("Connection"), SB_STR("Upgrade"));
    sb_headers_out_set(ctx->r, SB_STR("Upgrade"), SB_STR("TLS/1.2, HTTP/1.1"));
}

static bool
grpc_content(ngx_http_request_t *r)
{
    ngx_table_elt_t *h = r->headers_in.content_type;

    return h != NULL && h->value.len >= 16 && ngx_strncasecmp(h->value.data, (u_char *)"application/grpc", 16) == 0;
}

static void
check_grpc(sb_ctx_t *ctx, bool https)
{
    bool grpc = grpc_content(ctx->r);

    if (grpc && ctx->r->http_version < NGX_HTTP_VERSION_20) {
        sb_exit_error(ctx, 426, SB_STR("Please use HTTP2 protocol"));
        sb_headers_out_set(ctx->r, SB_STR("connection"), SB_STR("Upgrade"));
        sb_headers_out_set(ctx->r, SB_STR("upgrade"), SB_STR("HTTP/2"));
    } else if (!grpc)
        sb_exit_error(ctx, 415, SB_STR("Non-gRPC request matched gRPC route"));
    else if (!https && (ctx->route.protocols & SB_PROTO_GRPC) == 0) {
        sb_headers_out_set(ctx->r, SB_STR("grpc-status"), SB_STR("1"));
        sb_headers_out_set(ctx->r, SB_STR("grpc-message"), SB_STR("gRPC request matched gRPCs route"));
        sb_exit_set(ctx, 200, SB_STR("application/grpc"), SB_STR(""));
    }
}

/* The route's protocols against what the client speaks. */
static void
check_protocol(sb_ctx_t *ctx)
{
    uint16_t protocols = ctx->route.protocols;
    bool https = ctx->r->connection->ssl != NULL;

    if ((protocols & (SB_PROTO_HTTP | SB_PROTO_HTTPS)) == (SB_PROTO_HTTP | SB_PROTO_HTTPS))
        return;
    if (!https && sb_conf->trusted != NULL)
        https = sb_str_ieq(sb_forwarded_proto(ctx), SB_STR("https"));
    if ((protocols & (SB_PROTO_GRPC | SB_PROTO_GRPCS)) != 0)
        check_grpc(ctx, https);
    else if (!https && (protocols & SB_PROTO_HTTP) == 0)
        require_https(ctx);
}

static void
keep_match(sb_ctx_t *ctx, const sb_route_match_t *m)
{
    ctx->route = m->brief;
    ctx->prefix_len = m->has_path ? (uint32_t)m->prefix_len : 0;
    ctx->matched = 1;
    if (!m->is_regex || m->n_captures <= 1)
        return;
    ctx->match = ngx_palloc(ctx->r->pool, sizeof(*m));
    if (ctx->match != NULL)
        *ctx->match = *m;
}

void
sb_match(sb_ctx_t *ctx)
{
    sb_route_request_t req;
    sb_route_match_t match;
    int rc;

    fill_request(ctx, &req);
    if (host_is_ambiguous(ctx->host) || target_is_ambiguous(ctx->r) || framing_is_ambiguous(ctx->r)) {
        sb_exit_error(ctx, 400, (sb_str_t){NULL, 0});
        ctx->r->keepalive = 0;
        return;
    }
    if (sb_model_begin(sb_worker.reader, NULL) != SB_OK) {
        sb_exit_error(ctx, 500, (sb_str_t){NULL, 0});
        return;
    }
    rc = sb_router_match(sb_worker.router, &req, &match);
    if (rc == SB_OK) {
        keep_match(ctx, &match);
        if (ctx->route.has_service)
            ctx->service = sb_service_get(&ctx->route.service);
        ctx->base = sb_chain_of_route(&ctx->route, ctx->service);
    }
    sb_model_end(sb_worker.reader);
    if (rc != SB_OK) {
        sb_exit_error(ctx, 404, SB_STR("no Route matched with those values"));
        return;
    }
    check_protocol(ctx);
    if (!ctx->exited)
        sb_chain_use(ctx, ctx->base);
    else {
        sb_chain_unref(ctx->base);
        ctx->base = NULL;
    }
}
