/*
 * Which address an exchange goes to. Before the exchange starts the first one is chosen, because the Host header may depend on it and a
 * name may have to be resolved first; nginx then asks for it through peer.get, and for others when a try failed. A target that was
 * tried is not tried again while there are others.
 */
#include "proxy/exchange.h"
#include "proxy/tls.h"

/* ---- choosing ---- */

static void
set_address(sb_exchange_t *x, const sb_addr_t *addr, uint16_t port)
{
    u_char *text;

    x->addr = *addr;
    if (addr->sa.any.sa_family == AF_INET6)
        x->addr.sa.v6.sin6_port = htons(port);
    else
        x->addr.sa.v4.sin_port = htons(port);
    text = ngx_pnalloc(x->r->pool, NGX_SOCKADDR_STRLEN);
    if (text == NULL)
        return;
    x->name.data = text;
    x->name.len = ngx_sock_ntop(&x->addr.sa.any, x->addr.len, text, NGX_SOCKADDR_STRLEN, 1);
}

/* A name and the port of its SRV record, which is not the endpoint's. */
static sb_str_t
host_with_port(const sb_exchange_t *x, const sb_endpoint_t *e, uint16_t port)
{
    size_t len = e->host_only + sizeof(":65535");
    char *text = ngx_pnalloc(x->r->pool, len);

    if (text == NULL)
        return (sb_str_t){e->host_port.data, e->host_only};
    len = (size_t)(ngx_snprintf((u_char *)text, len, "%*s:%ui", e->host_only, e->host_port.data, (ngx_uint_t)port) - (u_char *)text);
    return (sb_str_t){text, len};
}

/* The Host header by the rules: plugin, preserve_host, the upstream's host_header, the target. */
static sb_str_t
host_header(const sb_exchange_t *x)
{
    const sb_ctx_t *ctx = x->ctx;
    const sb_endpoint_t *e = x->endpoint;
    uint16_t port;

    if (ctx->upstream_host.len != 0)
        return ctx->upstream_host;
    if (ctx->route.preserve_host && ctx->host.len != 0)
        return ctx->host;
    if (x->ups != NULL && x->ups->host_header.len != 0)
        return x->ups->host_header;
    port = x->addr.port != 0 ? x->addr.port : e->port;
    if (port == (x->tls ? 443 : 80))
        return (sb_str_t){e->host_port.data, e->host_only};
    return port == e->port ? e->host_port : host_with_port(x, e, port);
}

static void
drop_kpool(sb_exchange_t *x)
{
    if (x->kpool_own)
        sb_kpool_unref(x->kpool);
    x->kpool = NULL;
    x->kpool_own = false;
}

/* The upstream entity's certificate, unless the service has its own. */
static sb_tls_cert_t *
find_cert(const sb_exchange_t *x)
{
    const sb_service_t *s = x->ctx->service;
    sb_tls_cert_t *c;

    if (x->ups == NULL || !x->ups->has_cert || (s != NULL && s->tls_own.cert != NULL) || sb_model_begin(sb_worker.reader, NULL) != SB_OK)
        return NULL;
    c = sb_tls_cert_get(&x->ups->cert);
    sb_model_end(sb_worker.reader);
    return c;
}

/* Connections with TLS are shared by those who would verify, name the server and show a certificate alike; those that
 * speak HTTP/2 speak nothing else. data NULL: no memory. */
static sb_str_t
kpool_key(const sb_exchange_t *x, char *buf, size_t size)
{
    sb_str_t trust = x->ctx->service != NULL ? x->ctx->service->tls_own.pool_key : SB_STR("");
    const sb_tls_choice_t *choice = x->ctx->tls;
    const char *cert = x->cert != NULL ? x->cert->name : "";
    size_t len = x->host.len + trust.len + strlen(cert) + 2 + 2 * NGX_INT_T_LEN + 3;
    u_char *text = len > size ? ngx_pnalloc(x->r->pool, len) : (u_char *)buf, *end;

    if (text == NULL)
        return (sb_str_t){NULL, 0};
    end = ngx_slprintf(text, text + len, "%s%*s|%*s|%s", x->is_grpc ? "h2|" : "", x->host.len, x->host.data, trust.len, trust.data, cert);
    if (choice != NULL)
        end = ngx_slprintf(end, text + len, "%d,%d", choice->verify, choice->depth);
    return (sb_str_t){(char *)text, (size_t)(end - text)};
}

/* What only one request trusts or shows is of no use to others. */
static bool
is_private(const sb_exchange_t *x)
{
    const sb_tls_choice_t *choice = x->ctx->tls;

    return choice != NULL && (choice->store != NULL || choice->pair.cert != NULL);
}

static void
find_kpool(sb_exchange_t *x)
{
    sb_str_t key = x->is_grpc ? SB_STR("h2") : SB_STR("");
    char buf[512];

    drop_kpool(x);
    if (!x->tls && !x->is_grpc && x->endpoint->literal) {
        x->kpool = x->endpoint->pool;
        return;
    }
    if (x->tls) {
        sb_tls_cert_unref(x->cert);
        x->cert = find_cert(x);
        key = kpool_key(x, buf, sizeof(buf));
        if (key.data == NULL || is_private(x))
            return;
    }
    x->kpool = sb_kpool_get(&x->addr.sa.any, x->addr.len, key);
    x->kpool_own = true;
}

enum resolved { RESOLVED, FAILED, PENDING, UNHEALTHY };

/* The next address of a name that is healthy; NULL: none. Only targets of an upstream have a health. */
static const sb_addr_t *
healthy_address(const sb_exchange_t *x, const sb_endpoint_t *e, sb_addrs_t *addrs)
{
    for (uint32_t i = 0; i < addrs->n; i++) {
        const sb_addr_t *addr = sb_addrs_next(addrs);

        if (x->ups == NULL || sb_endpoint_is_up(e, addr))
            return addr;
    }
    return NULL;
}

static enum resolved
use_addresses(sb_exchange_t *x, const sb_endpoint_t *e, sb_addrs_t *addrs)
{
    const sb_addr_t *addr = healthy_address(x, e, addrs);

    if (addr == NULL)
        return UNHEALTHY;
    set_address(x, addr, addr->port != 0 ? addr->port : e->port);
    return RESOLVED;
}

/* An address of the endpoint, from memory. */
static enum resolved
resolve(sb_exchange_t *x, const sb_endpoint_t *e, const char **why)
{
    sb_addrs_t *addrs;

    if (e->literal) {
        if (x->ups != NULL && !sb_endpoint_is_up(e, NULL))
            return UNHEALTHY;
        x->addr = e->addr;
        x->name = e->text;
        return RESOLVED;
    }
    switch (sb_resolver_lookup(e->host.data, e->host.len, &addrs, why)) {
    case SB_OK:
        return use_addresses(x, e, addrs);
    case SB_AGAIN:
        return PENDING;
    default:
        return FAILED;
    }
}

/* Whether the Host header is another one than before. */
static bool
use_endpoint(sb_exchange_t *x, const sb_endpoint_t *e)
{
    sb_str_t before = x->host;

    x->endpoint = e;
    x->host = host_header(x);
    find_kpool(x);
    x->prepared = true;
    return !sb_str_eq(before, x->host);
}

static const sb_endpoint_t *
pick_target(sb_exchange_t *x)
{
    int i = x->ups->balancer != NULL ? sb_balancer_pick(x->ups->balancer, x->tried) : -1;

    if (i < 0)
        return NULL;
    x->tried[i / 64] |= 1ull << (i % 64);
    return &x->ups->targets[i];
}

static ngx_int_t
fail(sb_exchange_t *x, int status, const char *message)
{
    sb_exit_error(x->ctx, status, (sb_str_t){message, strlen(message)});
    return NGX_DECLINED;
}

static ngx_int_t
fail_name(sb_exchange_t *x, const char *why)
{
    ngx_log_error(NGX_LOG_ERR, x->r->connection->log, 0, "name resolution failed for %*s: %s", x->endpoint->host.len,
                  x->endpoint->host.data, why);
    if (strstr(why, "name error") != NULL || strstr(why, "empty record") != NULL)
        return fail(x, 503, "name resolution failed");
    return fail(x, 500, why);
}

static ngx_int_t prepare_target(sb_exchange_t *x);

static void
on_resolved(sb_query_t *q, sb_addrs_t *addrs, const char *why)
{
    sb_exchange_t *x = q->data;
    ngx_int_t rc = NGX_OK;

    if (addrs != NULL && use_addresses(x, x->endpoint, addrs) == RESOLVED) {
        use_endpoint(x, x->endpoint);
    } else if (x->ups != NULL) {
        x->why = addrs == NULL ? why : x->why;
        rc = prepare_target(x);
        if (rc == NGX_AGAIN)
            return;
    } else
        rc = fail_name(x, why);
    x->ready(x, rc);
}

/* Targets one after the other until one has an address that is healthy, each at most once. */
static ngx_int_t
prepare_target(sb_exchange_t *x)
{
    const char *why = "";

    while (sb_ups_serves(x->ups) && x->picks++ < x->ups->n) {
        const sb_endpoint_t *e = pick_target(x);
        if (e == NULL)
            break;
        x->endpoint = e;
        switch (resolve(x, e, &why)) {
        case RESOLVED:
            use_endpoint(x, e);
            return NGX_OK;
        case PENDING:
            sb_resolver_start(e->host.data, e->host.len, &x->query);
            return NGX_AGAIN;
        case FAILED:
            x->why = why;
            break;
        case UNHEALTHY:
            break;
        }
    }
    if (x->why != NULL)
        return fail_name(x, x->why);
    return fail(x, 503, "failure to get a peer from the ring-balancer");
}

static ngx_int_t
prepare_host(sb_exchange_t *x)
{
    const char *why = "";

    switch (resolve(x, x->endpoint, &why)) {
    case RESOLVED:
        use_endpoint(x, x->endpoint);
        return NGX_OK;
    case PENDING:
        sb_resolver_start(x->endpoint->host.data, x->endpoint->host.len, &x->query);
        return NGX_AGAIN;
    default:
        return fail_name(x, why);
    }
}

/* A plugin's target: a name may again be that of an upstream entity. */
static void
use_plugin_target(sb_exchange_t *x)
{
    sb_ctx_t *ctx = x->ctx;

    if (ctx->target_port == 0) {
        if (sb_model_begin(sb_worker.reader, NULL) != SB_OK)
            return;
        x->ups = sb_ups_find(&ctx->route.ws, ctx->target_host);
        sb_model_end(sb_worker.reader);
        return;
    }
    x->own_pool = sb_pool_new(256);
    x->own = sb_pool_alloc(x->own_pool, sizeof(*x->own));
    sb_endpoint_init(x->own, x->own_pool, ctx->target_host, ctx->target_port);
    x->endpoint = x->own;
}

static void
choose_destination(sb_exchange_t *x)
{
    sb_ctx_t *ctx = x->ctx;
    sb_service_t *s = ctx->service;

    x->tls = s != NULL && s->tls;
    if (ctx->upstream_scheme.len != 0)
        x->tls = sb_str_eqc(ctx->upstream_scheme, "https") || sb_str_eqc(ctx->upstream_scheme, "grpcs");
    x->is_grpc = sb_grpc_is(ctx);
    x->retries = ctx->retries >= 0 ? ctx->retries : s != NULL ? s->retries : 5;
    if (ctx->target_host.len != 0)
        use_plugin_target(x);
    else
        x->ups = sb_ups_ref(sb_service_ups(s));
    if (x->ups != NULL)
        x->tried = ngx_pcalloc(x->r->pool, (x->ups->n / 64 + 1) * sizeof(*x->tried));
    else if (x->endpoint == NULL && s != NULL && ctx->target_host.len == 0)
        x->endpoint = &s->endpoint;
}

ngx_int_t
sb_exchange_prepare(sb_exchange_t *x)
{
    if (x->query.done == NULL) {
        x->query.done = on_resolved;
        x->query.data = x;
        choose_destination(x);
    }
    if (x->ups != NULL)
        return x->tried != NULL ? prepare_target(x) : fail(x, 500, "An unexpected error occurred");
    if (x->endpoint == NULL)
        return fail(x, 503, "failure to get a peer from the ring-balancer");
    return prepare_host(x);
}

void
sb_exchange_release(sb_exchange_t *x)
{
    if (x == NULL)
        return;
    sb_resolver_cancel(&x->query);
    drop_kpool(x);
    sb_tls_cert_unref(x->cert);
    if (x->own != NULL) {
        sb_endpoint_clear(x->own);
        sb_pool_free(x->own_pool);
    }
    sb_ups_unref(x->ups);
}

/* ---- nginx's side ---- */

static void
begin_try(sb_exchange_t *x)
{
    sb_try_t *t = &x->first;
    const ngx_time_t *now = ngx_timeofday();

    if (x->last != NULL) {
        t = ngx_pcalloc(x->r->pool, sizeof(*t));
        if (t == NULL)
            return;
        x->last->next = t;
    }
    t->start_ns = ((int64_t)now->sec * 1000 + (int64_t)now->msec) * 1000000;
    t->start = ngx_current_msec;
    x->last = t;
}

static void
end_try(sb_exchange_t *x)
{
    sb_try_t *t = x->last;

    t->end = ngx_current_msec;
    t->ip = (ngx_str_t){x->addr.text_len, (u_char *)x->addr.text};
    t->port = ngx_inet_get_port(&x->addr.sa.any);
    x->ctx->balancer_end = ngx_current_msec;
}

/* Another address for another try. Names are taken from memory only: this cannot wait. */
static bool
next_address(sb_exchange_t *x)
{
    const sb_endpoint_t *e = x->endpoint;
    const char *why;
    bool host_changes;

    /* Twice around: an untried target may turn out to be unhealthy, and then a tried one comes again. */
    for (size_t i = 0; i < (x->ups != NULL ? 2 * x->ups->n : 1); i++) {
        if (x->ups != NULL && (e = pick_target(x)) == NULL)
            return false;
        if (resolve(x, e, &why) != RESOLVED) {
            if (x->ups == NULL)
                return true; /* the address that it had */
            continue;
        }
        host_changes = use_endpoint(x, e);
        x->r->upstream->ssl_name = (ngx_str_t){x->host.len, (u_char *)x->host.data};
        return !host_changes || (x->is_grpc ? sb_grpc_rebuild(x) : sb_upstream_rebuild_head(x->r)) == NGX_OK;
    }
    return false;
}

static ngx_int_t
get_peer(ngx_peer_connection_t *pc, void *data)
{
    sb_exchange_t *x = data;
    bool first = x->last == NULL;

    begin_try(x);
    if (!first && !next_address(x))
        return NGX_BUSY;
    end_try(x);
    pc->sockaddr = &x->addr.sa.any;
    pc->socklen = x->addr.len;
    pc->name = &x->name;
    pc->cached = 0;
    pc->connection = NULL;
    return x->kpool != NULL && sb_kpool_take(x->kpool, pc) ? NGX_DONE : NGX_OK;
}

static void
free_peer(ngx_peer_connection_t *pc, void *data, ngx_uint_t state)
{
    sb_exchange_t *x = data;
    ngx_http_upstream_t *u = x->r->upstream;

    if (x->kpool != NULL && pc->connection != NULL)
        sb_kpool_put(x->kpool, pc, u, state);
    if ((state & (NGX_PEER_FAILED | NGX_PEER_NEXT)) != 0 && x->last != NULL) {
        x->last->state = (uint8_t)state;
        x->last->code = u->state != NULL ? (uint16_t)u->state->status : 0;
    }
    if (pc->tries != 0)
        pc->tries--;
}

/* Before a TLS handshake: trust and certificate as service and upstream entity want them, and the session of an earlier connection. */
static ngx_int_t
set_session(ngx_peer_connection_t *pc, void *data)
{
    sb_exchange_t *x = data;
    sb_service_t *s = x->ctx->service;
    SSL *ssl = pc->connection->ssl->connection;
    SSL_SESSION *session = x->kpool != NULL ? sb_kpool_session(x->kpool) : NULL;

    if ((s != NULL && !sb_service_tls_apply(s, ssl)) || (x->cert != NULL && !sb_tls_cert_use(x->cert, ssl)) ||
        (x->ctx->tls != NULL && !sb_tls_choice_apply(x->ctx->tls, ssl)))
        return NGX_ERROR;
    return session != NULL ? ngx_ssl_set_session(pc->connection, session) : NGX_OK;
}

static void
save_session(ngx_peer_connection_t *pc, void *data)
{
    sb_exchange_t *x = data;
    SSL_SESSION *session = x->kpool != NULL ? ngx_ssl_get_session(pc->connection) : NULL;

    if (session != NULL)
        sb_kpool_session_set(x->kpool, session);
}

ngx_int_t
sb_peer_init(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_upstream_t *u = r->upstream;
    sb_ctx_t *ctx = sb_ctx(r);
    sb_exchange_t *x = ctx != NULL ? ctx->exchange : NULL;

    if (x == NULL || !x->prepared)
        return NGX_ERROR;
    u->peer.data = x;
    u->peer.get = get_peer;
    u->peer.free = free_peer;
    u->peer.set_session = set_session;
    u->peer.save_session = save_session;
    u->peer.tries = (ngx_uint_t)x->retries + 1;
    u->ssl_name = (ngx_str_t){x->host.len, (u_char *)x->host.data};
    return x->is_grpc ? sb_grpc_peer_init(x) : NGX_OK;
}
