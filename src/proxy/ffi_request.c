/*
 * What the PDK reads of a request: one table row per string or number, so that each PDK getter is one call. Strings are borrowed
 * from nginx or made in request memory.
 */
#include "proxy/exchange.h"
#include "proxy/ffi_int.h"

#include <strings.h>

/* ---- helpers ---- */

sb_str_t
sb_request_copy(ngx_http_request_t *r, const char *data, size_t len)
{
    char *copy = ngx_pnalloc(r->pool, len + 1);

    if (copy == NULL)
        return (sb_str_t){NULL, 0};
    if (len != 0)
        memcpy(copy, data, len);
    copy[len] = '\0';
    return (sb_str_t){copy, len};
}

sb_str_t
sb_request_variable(ngx_http_request_t *r, const char *name)
{
    ngx_str_t n = {strlen(name), (u_char *)name};
    ngx_http_variable_value_t *v = ngx_http_get_variable(r, &n, ngx_hash_key(n.data, n.len));

    if (v == NULL || v->not_found)
        return (sb_str_t){NULL, 0};
    return (sb_str_t){(const char *)v->data, v->len};
}

static bool
same_header(ngx_str_t key, sb_str_t name)
{
    if (key.len != name.len)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        u_char a = ngx_tolower(key.data[i]), b = ngx_tolower((u_char)name.data[i]);
        if ((a == '_' ? '-' : a) != (b == '_' ? '-' : b))
            return false;
    }
    return true;
}

bool
sb_request_header_find(ngx_http_request_t *r, sb_str_t name, int n, sb_str_t *value)
{
    ngx_list_part_t *part = &r->headers_in.headers.part;

    for (; part != NULL; part = part->next) {
        ngx_table_elt_t *h = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (h[i].hash == 0 || !same_header(h[i].key, name) || n-- > 0)
                continue;
            *value = sb_ngx_str(h[i].value);
            return true;
        }
    }
    return false;
}

/* A forwarded header, when the peer may be believed. */
static sb_str_t
forwarded(sb_ctx_t *ctx, const char *name)
{
    sb_str_t value = {NULL, 0};

    if (sb_ctx_trusted(ctx))
        sb_request_header_find(ctx->r, (sb_str_t){name, strlen(name)}, 0, &value);
    return value;
}

static sb_str_t
lower(ngx_http_request_t *r, sb_str_t s)
{
    sb_str_t copy = sb_request_copy(r, s.data, s.len);

    for (size_t i = 0; i < copy.len; i++)
        ((char *)copy.data)[i] = (char)ngx_tolower(copy.data[i]);
    return copy;
}

/* ---- strings ---- */

static sb_str_t
get_method(sb_ctx_t *ctx)
{
    return sb_ngx_str(ctx->r->method_name);
}

static sb_str_t
get_scheme(sb_ctx_t *ctx)
{
#if (NGX_HTTP_SSL)
    if (ctx->r->connection->ssl != NULL)
        return SB_STR("https");
#endif
    return SB_STR("http");
}

static sb_str_t
get_host(sb_ctx_t *ctx)
{
    return sb_request_variable(ctx->r, "host");
}

static sb_str_t
get_raw_path(sb_ctx_t *ctx)
{
    sb_str_t uri = sb_ngx_str(ctx->r->unparsed_uri);
    const char *query = uri.len != 0 ? memchr(uri.data, '?', uri.len) : NULL;

    if (query != NULL)
        uri.len = (size_t)(query - uri.data);
    return uri;
}

static sb_str_t
get_path(sb_ctx_t *ctx)
{
    sb_str_t raw, copy;

    if (ctx->path.data != NULL)
        return ctx->path;
    raw = get_raw_path(ctx);
    copy = sb_request_copy(ctx->r, raw.data, raw.len);
    if (copy.data != NULL)
        copy.len = sb_router_normalise_path(raw.data, raw.len, (char *)copy.data);
    return copy;
}

static sb_str_t
get_uri(sb_ctx_t *ctx)
{
    return sb_ngx_str(ctx->r->unparsed_uri);
}

static sb_str_t
get_query(sb_ctx_t *ctx)
{
    return sb_ngx_str(ctx->r->args);
}

static sb_str_t
get_id(sb_ctx_t *ctx)
{
    return (sb_str_t){(const char *)ctx->request_id, sizeof(ctx->request_id)};
}

static sb_str_t
get_forwarded_scheme(sb_ctx_t *ctx)
{
    sb_str_t value = forwarded(ctx, "x-forwarded-proto");

    return value.data != NULL ? lower(ctx->r, value) : get_scheme(ctx);
}

/* After any "user@", without a port; brackets of IPv6 stay. */
static sb_str_t
host_only(sb_str_t host, sb_str_t *port)
{
    const char *at = host.data != NULL ? memrchr(host.data, '@', host.len) : NULL;
    const char *colon;

    *port = (sb_str_t){NULL, 0};
    if (at != NULL)
        host = (sb_str_t){at + 1, host.len - (size_t)(at + 1 - host.data)};
    colon = host.data != NULL ? memrchr(host.data, ':', host.len) : NULL;
    if (colon != NULL && memchr(colon, ']', host.len - (size_t)(colon - host.data)) == NULL) {
        *port = (sb_str_t){colon + 1, host.len - (size_t)(colon + 1 - host.data)};
        host.len = (size_t)(colon - host.data);
    }
    return host;
}

static sb_str_t
get_forwarded_host(sb_ctx_t *ctx)
{
    sb_str_t value = forwarded(ctx, "x-forwarded-host"), port;

    return value.data != NULL ? lower(ctx->r, host_only(value, &port)) : get_host(ctx);
}

static sb_str_t
get_forwarded_path(sb_ctx_t *ctx)
{
    sb_str_t value = forwarded(ctx, "x-forwarded-path");

    return value.data != NULL ? value : get_path(ctx);
}

static sb_str_t
get_forwarded_prefix(sb_ctx_t *ctx)
{
    sb_str_t value = forwarded(ctx, "x-forwarded-prefix");

    if (value.data != NULL || !ctx->matched || !ctx->route.strip_path || ctx->prefix_len == 0 ||
        (ctx->prefix_len == 1 && ctx->path.data[0] == '/'))
        return value;
    return (sb_str_t){ctx->path.data, ctx->prefix_len};
}

static sb_str_t
get_forwarded_ip(sb_ctx_t *ctx)
{
    return sb_ngx_str(ctx->r->connection->addr_text);
}

static sb_str_t
get_client_ip(sb_ctx_t *ctx)
{
    sb_str_t value = sb_request_variable(ctx->r, "realip_remote_addr");

    return value.data != NULL ? value : get_forwarded_ip(ctx);
}

static void
free_text(void *text)
{
    free(text);
}

/* A row's JSON, kept until the request ends. */
static sb_str_t
entity_text(sb_ctx_t *ctx, const sb_entity_t *e, const sb_uuid_t *id)
{
    ngx_pool_cleanup_t *cln = ngx_pool_cleanup_add(ctx->r->pool, 0);
    size_t len = 0;
    char *json = cln != NULL ? sb_row_json(e, id, &len, NULL) : NULL;

    if (json != NULL) {
        cln->handler = free_text;
        cln->data = json;
    }
    return (sb_str_t){json, len};
}

static sb_str_t
get_route(sb_ctx_t *ctx)
{
    if (!ctx->matched)
        return (sb_str_t){NULL, 0};
    return entity_text(ctx, sb_worker.routes, &ctx->route.route);
}

static sb_str_t
get_service(sb_ctx_t *ctx)
{
    if (!ctx->matched || !ctx->route.has_service)
        return (sb_str_t){NULL, 0};
    return entity_text(ctx, sb_worker.services, &ctx->route.service);
}

static sb_str_t
get_consumer(sb_ctx_t *ctx)
{
    if (!ctx->has_consumer)
        return (sb_str_t){NULL, 0};
    return entity_text(ctx, sb_worker.consumers, &ctx->consumer);
}

static sb_str_t
get_upstream_uri(sb_ctx_t *ctx)
{
    sb_str_t path, query = sb_ngx_str(ctx->r->args);
    char *out;

    if (ctx->service == NULL)
        return (sb_str_t){NULL, 0};
    path = sb_upstream_path(ctx);
    if (query.len == 0)
        return path;
    out = ngx_pnalloc(ctx->r->pool, path.len + query.len + 1);
    if (out == NULL)
        return (sb_str_t){NULL, 0};
    memcpy(out, path.data, path.len);
    out[path.len] = '?';
    memcpy(out + path.len + 1, query.data, query.len);
    return (sb_str_t){out, path.len + query.len + 1};
}

static sb_str_t
get_upstream_scheme(sb_ctx_t *ctx)
{
    if (ctx->upstream_scheme.len != 0 || ctx->service == NULL)
        return ctx->upstream_scheme;
    return ctx->service->tls ? SB_STR("https") : SB_STR("http");
}

static sb_str_t
get_upstream_host(sb_ctx_t *ctx)
{
    if (ctx->target_host.len != 0)
        return ctx->target_host;
    return ctx->service != NULL ? ctx->service->endpoint.host : (sb_str_t){NULL, 0};
}

static sb_str_t
get_balancer_ip(sb_ctx_t *ctx)
{
    const sb_exchange_t *x = ctx->exchange;

    return x != NULL && x->last != NULL ? sb_ngx_str(x->last->ip) : (sb_str_t){NULL, 0};
}

typedef sb_str_t (*str_getter_pt)(sb_ctx_t *ctx);

static const str_getter_pt str_getters[] = {
    [SB_FFI_METHOD] = get_method,
    [SB_FFI_SCHEME] = get_scheme,
    [SB_FFI_HOST] = get_host,
    [SB_FFI_PATH] = get_path,
    [SB_FFI_RAW_PATH] = get_raw_path,
    [SB_FFI_URI] = get_uri,
    [SB_FFI_QUERY] = get_query,
    [SB_FFI_ID] = get_id,
    [SB_FFI_FORWARDED_SCHEME] = get_forwarded_scheme,
    [SB_FFI_FORWARDED_HOST] = get_forwarded_host,
    [SB_FFI_FORWARDED_PATH] = get_forwarded_path,
    [SB_FFI_FORWARDED_PREFIX] = get_forwarded_prefix,
    [SB_FFI_CLIENT_IP] = get_client_ip,
    [SB_FFI_FORWARDED_IP] = get_forwarded_ip,
    [SB_FFI_ROUTE] = get_route,
    [SB_FFI_SERVICE] = get_service,
    [SB_FFI_CONSUMER] = get_consumer,
    [SB_FFI_UPSTREAM_URI] = get_upstream_uri,
    [SB_FFI_UPSTREAM_SCHEME] = get_upstream_scheme,
    [SB_FFI_UPSTREAM_HOST] = get_upstream_host,
    [SB_FFI_BALANCER_IP] = get_balancer_ip,
};

int
sb_ffi_get_str(void *r, int what, sb_ffi_str *out)
{
    sb_ctx_t *ctx = r != NULL ? sb_ctx(r) : NULL;

    if (ctx == NULL || what <= 0 || (size_t)what >= sizeof(str_getters) / sizeof(str_getters[0]) || str_getters[what] == NULL)
        return 0;
    return sb_ffi_out(out, str_getters[what](ctx));
}

/* ---- numbers; -1: none ---- */

static double
port_of(sb_str_t text)
{
    ngx_int_t port = text.data != NULL ? ngx_atoi((u_char *)text.data, text.len) : NGX_ERROR;

    return port >= 1 && port <= 65535 ? (double)port : -1;
}

static double
num_port(sb_ctx_t *ctx)
{
    return sb_request_port(ctx);
}

static double
num_forwarded_port(sb_ctx_t *ctx)
{
    sb_str_t host = forwarded(ctx, "x-forwarded-host"), in_host = {NULL, 0};
    double port = port_of(forwarded(ctx, "x-forwarded-port"));

    if (port > 0)
        return port;
    if (host.data != NULL)
        host_only(host, &in_host);
    port = port_of(in_host);
    return port > 0 ? port : sb_forwarded_port(ctx);
}

static double
num_http_version(sb_ctx_t *ctx)
{
    switch (ctx->r->http_version) {
    case NGX_HTTP_VERSION_9:
        return 9;
    case NGX_HTTP_VERSION_10:
        return 10;
    case NGX_HTTP_VERSION_11:
        return 11;
    case NGX_HTTP_VERSION_20:
        return 20;
    default:
        return ctx->r->http_version == 3000 ? 30 : -1;
    }
}

static double
num_start_ms(sb_ctx_t *ctx)
{
    return (double)ctx->r->start_sec * 1000 + (double)ctx->r->start_msec;
}

/* None over a unix socket, and where the header that named the client told no port. */
static double
num_forwarded_client_port(sb_ctx_t *ctx)
{
    in_port_t port = ngx_inet_get_port(ctx->r->connection->sockaddr);

    return port != 0 ? port : -1;
}

static double
num_client_port(sb_ctx_t *ctx)
{
    return port_of(sb_request_variable(ctx->r, "realip_remote_port"));
}

static double
num_is_grpc(sb_ctx_t *ctx)
{
    ngx_table_elt_t *type = ctx->r->headers_in.content_type;

    return ctx->r->http_version >= NGX_HTTP_VERSION_20 && type != NULL && type->value.len >= 16 &&
           strncasecmp((char *)type->value.data, "application/grpc", 16) == 0;
}

static double
num_trusted(sb_ctx_t *ctx)
{
    return sb_ctx_trusted(ctx);
}

static double
num_source(sb_ctx_t *ctx)
{
    switch (ctx->source) {
    case SB_SOURCE_EXIT:
        return 1;
    case SB_SOURCE_ERROR:
        return 2;
    case SB_SOURCE_SERVICE:
        return 3;
    default:
        return -1;
    }
}

ngx_http_upstream_t *
sb_service_upstream(const sb_ctx_t *ctx)
{
    ngx_http_upstream_t *u = ctx->exchange != NULL ? ctx->exchange->r->upstream : NULL;

    if (u == NULL || u->headers_in.status_n == 0 || (ctx->capture != NULL && ctx->capture->failed))
        return NULL;
    return u;
}

static double
num_upstream_status(sb_ctx_t *ctx)
{
    const ngx_http_upstream_t *u = sb_service_upstream(ctx);

    return u != NULL ? (double)u->headers_in.status_n : -1;
}

static double
num_proxied(sb_ctx_t *ctx)
{
    return ctx->proxied;
}

static double
num_tries(sb_ctx_t *ctx)
{
    double n = 0;

    if (ctx->exchange == NULL || ctx->exchange->last == NULL)
        return -1;
    for (const sb_try_t *t = &ctx->exchange->first; t != NULL; t = t->next)
        n++;
    return n;
}

static double
num_balancer_port(sb_ctx_t *ctx)
{
    const sb_exchange_t *x = ctx->exchange;

    return x != NULL && x->last != NULL ? x->last->port : -1;
}

/* Milliseconds since the request began. */
static double
elapsed(sb_ctx_t *ctx)
{
    const ngx_time_t *now = ngx_timeofday();

    return ngx_max((double)now->sec * 1000 + (double)now->msec - num_start_ms(ctx), 0);
}

static double
num_upstream_latency(sb_ctx_t *ctx)
{
    if (sb_service_upstream(ctx) == NULL || ctx->header_start == 0)
        return -1;
    return ngx_max((double)(ngx_msec_int_t)(ctx->header_start - ctx->balancer_end), 0);
}

/* What went by before the service was asked: known once it was. */
static double
num_proxy_latency(sb_ctx_t *ctx)
{
    if (ctx->balancer_end == 0)
        return -1;
    return ngx_max(elapsed(ctx) - (double)(ngx_msec_int_t)(ngx_current_msec - ctx->balancer_end), 0);
}

static double
num_response_latency(sb_ctx_t *ctx)
{
    return ctx->source == SB_SOURCE_EXIT || ctx->source == SB_SOURCE_ERROR ? elapsed(ctx) : -1;
}

static double
num_receive(sb_ctx_t *ctx)
{
    const ngx_http_upstream_t *u = sb_service_upstream(ctx);
    const ngx_http_upstream_state_t *state = u != NULL ? u->state : NULL;

    if (state == NULL || state->response_time == (ngx_msec_t)-1 || state->header_time == (ngx_msec_t)-1)
        return -1;
    return ngx_max((double)(ngx_msec_int_t)(state->response_time - state->header_time), 0);
}

typedef double (*num_getter_pt)(sb_ctx_t *ctx);

static const num_getter_pt num_getters[] = {
    [SB_FFI_PORT] = num_port,
    [SB_FFI_FORWARDED_PORT] = num_forwarded_port,
    [SB_FFI_HTTP_VERSION] = num_http_version,
    [SB_FFI_START_MS] = num_start_ms,
    [SB_FFI_CLIENT_PORT] = num_client_port,
    [SB_FFI_FORWARDED_CLIENT_PORT] = num_forwarded_client_port,
    [SB_FFI_IS_GRPC] = num_is_grpc,
    [SB_FFI_TRUSTED] = num_trusted,
    [SB_FFI_SOURCE] = num_source,
    [SB_FFI_UPSTREAM_STATUS] = num_upstream_status,
    [SB_FFI_PROXIED] = num_proxied,
    [SB_FFI_TRIES] = num_tries,
    [SB_FFI_BALANCER_PORT] = num_balancer_port,
    [SB_FFI_PROXY_LATENCY_MS] = num_proxy_latency,
    [SB_FFI_UPSTREAM_LATENCY_MS] = num_upstream_latency,
    [SB_FFI_RESPONSE_LATENCY_MS] = num_response_latency,
    [SB_FFI_RECEIVE_MS] = num_receive,
};

double
sb_ffi_get_num(void *r, int what)
{
    sb_ctx_t *ctx = r != NULL ? sb_ctx(r) : NULL;

    if (ctx == NULL || what <= 0 || (size_t)what >= sizeof(num_getters) / sizeof(num_getters[0]) || num_getters[what] == NULL)
        return -1;
    return num_getters[what](ctx);
}

/* ---- others ---- */

int
sb_ffi_request_header(void *r, const char *name, size_t len, int n, sb_ffi_str *out)
{
    sb_str_t value;

    return sb_request_header_find(r, (sb_str_t){name, len}, n, &value) && sb_ffi_out(out, value);
}

int
sb_ffi_capture(void *r, int n, sb_ffi_str *name, sb_ffi_str *value)
{
    const sb_ctx_t *ctx = sb_ctx(r);
    const sb_route_match_t *m = ctx->match;

    if (m == NULL || n < 0 || (unsigned)n >= m->n_captures)
        return 0;
    sb_ffi_out(name, (sb_str_t){m->capture_names[n], m->capture_names[n] != NULL ? strlen(m->capture_names[n]) : 0});
    if (!sb_ffi_out(value, m->captures[n]))
        sb_ffi_out(value, SB_STR(""));
    return 1;
}

int
sb_ffi_ip_trusted(const char *ip, size_t len)
{
    ngx_addr_t addr;
    ngx_pool_t *pool;
    int found = 0;

    if (sb_conf->trusted == NULL)
        return 0;
    pool = ngx_create_pool(256, ngx_cycle->log);
    if (pool == NULL)
        return 0;
    if (ngx_parse_addr(pool, &addr, (u_char *)ip, len) == NGX_OK)
        found = ngx_cidr_match(addr.sockaddr, sb_conf->trusted) == NGX_OK;
    ngx_destroy_pool(pool);
    return found;
}
