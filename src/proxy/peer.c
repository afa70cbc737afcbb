/*
 * Which address an exchange goes to. Before the exchange starts the first one is chosen, because the Host header may depend on it and a
 * name may have to be resolved first; nginx then asks for it through peer.get, and for others when a try failed. An address that was
 * tried is not tried again while there are others.
 *
 * With an upstream entity its balancer picks (x->picked is an index in x->peers), and is told how each try ended; so is the health of the
 * address, where the upstream judges its traffic.
 */
#include "proxy/exchange.h"
#include "proxy/tls.h"

#include <math.h>

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

/* A name and the port of its SRV record, which is not the endpoint's. port 0: none, and the name alone. A copy. */
static sb_str_t
host_with_port(const sb_exchange_t *x, sb_str_t name, uint16_t port)
{
    size_t size = name.len + sizeof(":65535");
    u_char *text = ngx_pnalloc(x->r->pool, size), *end;

    if (text == NULL)
        return name;
    end = ngx_cpymem(text, name.data, name.len);
    if (port != 0)
        end = ngx_snprintf(end, size - name.len, ":%ui", (ngx_uint_t)port);
    return (sb_str_t){(char *)text, (size_t)(end - text)};
}

/* The name that the SRV record of this try's address has, where the upstream wants it. len 0: none. */
static sb_str_t
srv_name(const sb_exchange_t *x)
{
    const char *name = x->ups != NULL && x->ups->use_srv_name ? x->addr.srv_name : NULL;

    return name != NULL ? (sb_str_t){name, strlen(name)} : SB_STR("");
}

/* The Host header by the rules: plugin, preserve_host, the upstream's host_header, the SRV record's name, the target. */
static sb_str_t
host_header(const sb_exchange_t *x)
{
    const sb_ctx_t *ctx = x->ctx;
    const sb_endpoint_t *e = x->endpoint;
    uint16_t port;
    sb_str_t name;
    bool usual;

    if (ctx->upstream_host.len != 0)
        return ctx->upstream_host;
    if (ctx->route.preserve_host && ctx->host.len != 0)
        return ctx->host;
    if (x->ups != NULL && x->ups->host_header.len != 0)
        return x->ups->host_header;
    port = x->addr.port != 0 ? x->addr.port : e->port;
    usual = port == (x->tls ? 443 : 80);
    name = srv_name(x);
    if (name.len != 0)
        return host_with_port(x, name, usual ? 0 : port);
    name = (sb_str_t){e->host_port.data, e->host_only};
    if (usual)
        return name;
    return port == e->port ? e->host_port : host_with_port(x, name, port);
}

static void
drop_kpool(sb_exchange_t *x)
{
    if (x->kpool_own)
        sb_kpool_unref(x->kpool);
    x->kpool = NULL;
    x->kpool_own = false;
}

/* Connections with TLS are shared by those who would verify, name the server and show a certificate alike; those that
 * speak HTTP/2 speak nothing else. The host may be the client's word, so that it stands behind what must not be taken for it, and
 * what follows it has no "|". data NULL: no memory. */
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
    end = ngx_slprintf(text, text + len, "%s%*s|%*s|%s", x->is_grpc ? "2|" : "1|", x->host.len, x->host.data, trust.len, trust.data, cert);
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
        x->cert = sb_ups_cert(x->ups, x->ctx->service);
        key = kpool_key(x, buf, sizeof(buf));
        if (key.data == NULL || is_private(x))
            return;
    }
    x->kpool = sb_kpool_get(&x->addr.sa.any, x->addr.len, key);
    x->kpool_own = true;
}

static void
use_endpoint(sb_exchange_t *x, const sb_endpoint_t *e)
{
    x->endpoint = e;
    x->host = host_header(x);
    find_kpool(x);
    x->prepared = true;
}

static void
use_literal(sb_exchange_t *x, const sb_endpoint_t *e)
{
    x->addr = e->addr;
    x->name = e->text;
}

static ngx_int_t
fail(sb_exchange_t *x, int status, const char *message)
{
    sb_exit_error(x->ctx, status, (sb_str_t){message, strlen(message)});
    return NGX_DECLINED;
}

static ngx_int_t
fail_name(sb_exchange_t *x, sb_str_t name, const char *why)
{
    ngx_log_error(NGX_LOG_ERR, x->r->connection->log, 0, "name resolution failed for %*s: %s", name.len, name.data, why);
    if (strstr(why, "name error") != NULL || strstr(why, "empty record") != NULL)
        return fail(x, 503, "name resolution failed");
    return fail(x, 500, why);
}

/* ---- an upstream's targets ---- */

/* Tells the balancer how the try ended; see sb_balancer_done(). */
static void
end_pick(sb_exchange_t *x, double latency_ms)
{
    if (x->picked >= 0)
        sb_balancer_done(x->peers->balancer, x->picked, (uint64_t)ngx_current_msec, latency_ms);
    x->picked = -1;
}

/* Picks another address. false: there is none. */
static bool
pick(sb_exchange_t *x)
{
    const sb_peer_t *p;

    sb_peers_follow_health(x->ups, x->peers);
    if (x->peers->serves)
        x->picked = sb_balancer_pick(x->peers->balancer, x->hash, x->tried);
    if (x->picked < 0)
        return false;
    p = &x->peers->items[x->picked];
    if (p->target->literal)
        use_literal(x, p->target);
    else
        set_address(x, p->addr, p->addr->port != 0 ? p->addr->port : p->target->port);
    use_endpoint(x, p->target);
    return true;
}

/* A try with the address has failed: others first from now on. */
static void
note_tried(sb_exchange_t *x, int index)
{
    if (x->tried == NULL)
        x->tried = ngx_pcalloc(x->r->pool, (x->peers->n / 64 + 1) * sizeof(*x->tried));
    if (x->tried != NULL)
        x->tried[index / 64] |= 1ull << (index % 64);
}

static ngx_int_t
prepare_target(sb_exchange_t *x)
{
    const sb_endpoint_t *pending;
    sb_peers_t *peers = sb_ups_peers(x->ups, &pending);

    if (peers->n == 0 && pending != NULL) {
        sb_resolver_start(pending->host.data, pending->host.len, &x->query);
        return NGX_AGAIN;
    }
    if (peers->n == 0 && x->ups->why != NULL)
        return fail_name(x, x->ctx->service != NULL ? x->ctx->service->endpoint.host : x->ctx->target_host, x->ups->why);
    x->peers = sb_peers_ref(peers);
    if (sb_balancer_hashes(peers->balancer))
        x->hash = sb_hash_request(x->ups, x->ctx, x->r);
    return pick(x) ? NGX_OK : fail(x, 503, "failure to get a peer from the ring-balancer");
}

/* ---- one host ---- */

static void
use_address(sb_exchange_t *x, const sb_addr_t *addr)
{
    set_address(x, addr, addr->port != 0 ? addr->port : x->endpoint->port);
    use_endpoint(x, x->endpoint);
}

static ngx_int_t
prepare_host(sb_exchange_t *x)
{
    const sb_endpoint_t *e = x->endpoint;
    const char *why = "";
    sb_addrs_t *addrs;

    if (e->literal) {
        use_literal(x, e);
        use_endpoint(x, e);
        return NGX_OK;
    }
    switch (sb_resolver_lookup(e->host.data, e->host.len, &addrs, &why)) {
    case SB_OK:
        use_address(x, sb_addrs_next(addrs));
        return NGX_OK;
    case SB_AGAIN:
        sb_resolver_start(e->host.data, e->host.len, &x->query);
        return NGX_AGAIN;
    default:
        return fail_name(x, e->host, why);
    }
}

static void
on_resolved(sb_query_t *q, sb_addrs_t *addrs, const char *why)
{
    sb_exchange_t *x = q->data;
    ngx_int_t rc = NGX_OK;

    if (x->ups != NULL) {
        rc = prepare_target(x);
        if (rc == NGX_AGAIN)
            return;
    } else if (addrs != NULL)
        use_address(x, sb_addrs_next(addrs));
    else
        rc = fail_name(x, x->endpoint->host, why);
    x->ready(x, rc);
}

/* A plugin's target: a name may again be that of an upstream entity. */
static void
use_plugin_target(sb_exchange_t *x)
{
    sb_ctx_t *ctx = x->ctx;

    if (ctx->target_port == 0) {
        if (sb_model_begin(sb_worker.reader, NULL) != SB_OK)
            return;
        x->ups = sb_ups_find_kept(&ctx->route.ws, ctx->target_host);
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
    if (x->ups == NULL && x->endpoint == NULL && s != NULL && ctx->target_host.len == 0)
        x->endpoint = &s->endpoint;
}

ngx_int_t
sb_exchange_prepare(sb_exchange_t *x)
{
    if (x->query.done == NULL) {
        x->query.done = on_resolved;
        x->query.data = x;
        x->picked = -1;
        choose_destination(x);
    }
    if (x->ups != NULL)
        return prepare_target(x);
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
    end_pick(x, -1);
    sb_peers_unref(x->peers);
    sb_ups_unref(x->ups);
}

/* ---- nginx's side ---- */

/* The last try's address lies in x->addr, where the next one's will be. */
static void
keep_ip(sb_exchange_t *x)
{
    ngx_str_t *ip = &x->last->ip;
    u_char *copy = ngx_pstrdup(x->r->pool, ip);

    *ip = copy != NULL ? (ngx_str_t){ip->len, copy} : (ngx_str_t)ngx_null_string;
}

static void
begin_try(sb_exchange_t *x)
{
    sb_try_t *t = &x->first;
    const ngx_time_t *now = ngx_timeofday();

    if (x->last != NULL) {
        t = ngx_pcalloc(x->r->pool, sizeof(*t));
        if (t == NULL)
            return;
        keep_ip(x);
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
    t->name = x->name;
    x->ctx->balancer_end = ngx_current_msec;
}

static bool
was_tried(const sb_addr_t *addr, const void *arg)
{
    const sb_exchange_t *x = arg;
    in_port_t port = addr->port != 0 ? addr->port : x->endpoint->port;

    for (const sb_try_t *t = &x->first; t != NULL; t = t->next)
        if (t->port == port && t->ip.len == addr->text_len && ngx_memcmp(t->ip.data, addr->text, addr->text_len) == 0)
            return true;
    return false;
}

/* Another address of the host; the one that it had when the resolver has forgotten the name. */
static void
next_of_host(sb_exchange_t *x)
{
    const sb_endpoint_t *e = x->endpoint;
    const char *why;
    sb_addrs_t *addrs;

    if (!e->literal && sb_resolver_lookup(e->host.data, e->host.len, &addrs, &why) == SB_OK)
        use_address(x, sb_addrs_untried(addrs, was_tried, x));
}

/* Another address for another try. Names are taken from memory only: this cannot wait. */
static bool
next_address(sb_exchange_t *x)
{
    sb_str_t before = x->host;

    if (x->ups == NULL)
        next_of_host(x);
    else if (!pick(x))
        return false;
    x->r->upstream->ssl_name = (ngx_str_t){x->host.len, (u_char *)x->host.data};
    return sb_str_eq(before, x->host) || (x->is_grpc ? sb_grpc_rebuild(x) : sb_upstream_rebuild_head(x->r)) == NGX_OK;
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
    pc->name = &x->last->name;
    pc->cached = 0;
    pc->connection = NULL;
    return x->kpool != NULL && sb_kpool_take(x->kpool, pc) ? NGX_DONE : NGX_OK;
}

/* ---- how a try ended ---- */

static bool
timed_out(const ngx_peer_connection_t *pc)
{
    return pc->connection != NULL && (pc->connection->read->timedout || pc->connection->write->timedout);
}

static bool
has_status(const uint64_t bits[16], ngx_uint_t status)
{
    return status < 1024 && (bits[status / 64] >> (status % 64) & 1) != 0;
}

/* What the end of a try says about the address. false: nothing. */
static bool
judge(const sb_passive_t *p, const ngx_peer_connection_t *pc, ngx_uint_t state, ngx_uint_t status, enum sb_health_kind *kind)
{
    if ((state & NGX_PEER_FAILED) != 0)
        *kind = timed_out(pc) ? SB_HEALTH_TIMEOUT : SB_HEALTH_TCP_FAILURE;
    else if (status == NGX_HTTP_GATEWAY_TIME_OUT)
        *kind = SB_HEALTH_TIMEOUT;
    else if (has_status(p->unhealthy, status))
        *kind = SB_HEALTH_HTTP_FAILURE;
    else if (has_status(p->healthy, status))
        *kind = SB_HEALTH_SUCCESS;
    else
        return false;
    return true;
}

static void
report_health(const sb_exchange_t *x, const ngx_peer_connection_t *pc, ngx_uint_t state)
{
    enum sb_health_kind kind;

    if (judge(&x->ups->passive, pc, state, x->r->upstream->headers_in.status_n, &kind))
        sb_ups_report(x->ups, &x->peers->items[x->picked], kind, &x->name, x->r->connection->log);
}

/* Until the connection stood, and from its beginning until the answer's end. */
static double
latency_of(const ngx_http_upstream_t *u, ngx_uint_t state)
{
    const ngx_http_upstream_state_t *s = u->state;

    if ((state & NGX_PEER_FAILED) != 0)
        return INFINITY;
    if (u->headers_in.status_n == 0 || s == NULL || s->response_time == (ngx_msec_t)-1)
        return -1;
    return (double)s->response_time + (s->connect_time != (ngx_msec_t)-1 ? (double)s->connect_time : 0);
}

/* Of a try with an upstream's address. That a kept connection has died meanwhile says nothing about the address: it is not avoided. */
static void
end_try_of_target(sb_exchange_t *x, const ngx_peer_connection_t *pc, ngx_uint_t state)
{
    bool just_old = (state & NGX_PEER_FAILED) != 0 && pc->cached && !timed_out(pc);
    int index = x->picked;

    if (index < 0)
        return;
    if (x->ups->passive.on && !just_old)
        report_health(x, pc, state);
    end_pick(x, just_old ? -1 : latency_of(x->r->upstream, state));
    if (state != 0 && !just_old)
        note_tried(x, index);
}

static void
free_peer(ngx_peer_connection_t *pc, void *data, ngx_uint_t state)
{
    sb_exchange_t *x = data;
    ngx_http_upstream_t *u = x->r->upstream;

    end_try_of_target(x, pc, state);
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
