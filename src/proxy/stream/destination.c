/*
 * Which address a connection goes to: the targets of the upstream entity that the service's host names, else the host itself. The rules
 * are those of requests (../peer.c): the first address may wait for a name, further ones are taken from memory, and an address that was
 * tried is not tried again while there are others. Whatever an upstream hashes by, connections are hashed by the client's address.
 */
#include "core/balancer/xxh32.h"
#include "proxy/stream/stream.h"

static bool
set_address(sb_stream_t *s, const sb_addr_t *addr, uint16_t port) /* an SRV record's own port counts */
{
    struct sb_stream_try *t = ngx_palloc(s->connection->pool, sizeof(*t));

    if (t == NULL)
        return false;
    s->addr = *addr;
    ngx_inet_set_port(&s->addr.sa.any, addr->port != 0 ? addr->port : port);
    t->name.data = t->text;
    t->name.len = ngx_sock_ntop(&s->addr.sa.any, s->addr.len, t->text, sizeof(t->text), 1);
    t->before = s->tries;
    s->tries = t;
    s->name = &t->name;
    return true;
}

static bool
was_tried(const sb_addr_t *addr, const void *arg)
{
    const sb_stream_t *s = arg;
    sb_addr_t with_port = *addr;
    u_char text[NGX_SOCKADDR_STRLEN];
    size_t len;

    ngx_inet_set_port(&with_port.sa.any, addr->port != 0 ? addr->port : s->endpoint->port);
    len = ngx_sock_ntop(&with_port.sa.any, with_port.len, text, sizeof(text), 1);
    for (const struct sb_stream_try *t = s->tries; t != NULL; t = t->before)
        if (t->name.len == len && ngx_memcmp(t->name.data, text, len) == 0)
            return true;
    return false;
}

enum resolved { RESOLVED, FAILED, PENDING };

static enum resolved
resolve(sb_stream_t *s, const sb_endpoint_t *e)
{
    sb_addrs_t *addrs;

    if (e->literal)
        return set_address(s, &e->addr, e->port) ? RESOLVED : FAILED;
    switch (sb_resolver_lookup(e->host.data, e->host.len, &addrs, &s->why)) {
    case SB_OK:
        return set_address(s, sb_addrs_untried(addrs, was_tried, s), e->port) ? RESOLVED : FAILED;
    case SB_AGAIN:
        return PENDING;
    default:
        return FAILED;
    }
}

/* Tells the balancer how the try ended; see sb_balancer_done(). */
static void
end_pick(sb_stream_t *s, double latency_ms)
{
    if (s->picked >= 0)
        sb_balancer_done(s->peers->balancer, s->picked, (uint64_t)ngx_current_msec, latency_ms);
    s->picked = -1;
}

/* Another address of the upstream's. false: there is none. */
static bool
pick(sb_stream_t *s)
{
    const sb_peer_t *p;

    end_pick(s, -1);
    sb_peers_follow_health(s->ups, s->peers);
    if (s->peers->serves)
        s->picked = sb_balancer_pick(s->peers->balancer, s->hash, s->tried);
    if (s->picked < 0)
        return false;
    s->tried[s->picked / 64] |= 1ull << (s->picked % 64);
    p = &s->peers->items[s->picked];
    s->endpoint = p->target;
    return set_address(s, p->addr, p->target->port);
}

static ngx_int_t
refuse(sb_stream_t *s)
{
    if (s->why != NULL) {
        ngx_log_error(NGX_LOG_ERR, s->connection->log, 0, "name resolution failed for %*s: %s", s->service->endpoint.host.len,
                      s->service->endpoint.host.data, s->why);
    } else {
        ngx_log_error(NGX_LOG_ERR, s->connection->log, 0, "failure to get a peer from the ring-balancer");
    }
    return NGX_DECLINED;
}

static ngx_int_t
wait_for(sb_stream_t *s, const sb_endpoint_t *e)
{
    sb_resolver_start(e->host.data, e->host.len, &s->query);
    return NGX_AGAIN;
}

static ngx_int_t
choose_target(sb_stream_t *s)
{
    const sb_endpoint_t *pending;
    sb_peers_t *peers = sb_ups_peers(s->ups, &pending);

    if (peers->n == 0 && pending != NULL)
        return wait_for(s, pending);
    s->why = peers->n == 0 ? s->ups->why : NULL;
    s->peers = sb_peers_ref(peers);
    s->tried = ngx_pcalloc(s->connection->pool, (peers->n / 64 + 1) * sizeof(*s->tried));
    s->hash = sb_xxh32(s->connection->addr_text.data, s->connection->addr_text.len);
    s->prepared = s->tried != NULL && pick(s);
    return s->prepared ? NGX_OK : refuse(s);
}

static ngx_int_t
choose(sb_stream_t *s)
{
    if (s->ups != NULL)
        return choose_target(s);
    switch (resolve(s, s->endpoint)) {
    case RESOLVED:
        s->prepared = true;
        return NGX_OK;
    case PENDING:
        return wait_for(s, s->endpoint);
    default:
        return refuse(s);
    }
}

static void
on_resolved(sb_query_t *q, sb_addrs_t *addrs, const char *why)
{
    sb_stream_t *s = q->data;
    ngx_int_t rc = NGX_OK;

    s->why = why;
    if (s->ups != NULL)
        rc = choose_target(s);
    else if (addrs != NULL && set_address(s, sb_addrs_next(addrs), s->endpoint->port))
        s->prepared = true;
    else
        rc = refuse(s);
    if (rc != NGX_AGAIN)
        s->ready(s, rc);
}

ngx_int_t
sb_stream_prepare(sb_stream_t *s)
{
    s->query.done = on_resolved;
    s->query.data = s;
    s->picked = -1;
    s->ups = sb_ups_ref(sb_service_ups(s->service));
    if (s->ups == NULL)
        s->endpoint = &s->service->endpoint;
    return choose(s);
}

bool
sb_stream_next(sb_stream_t *s)
{
    if (s->ups != NULL)
        return pick(s);
    resolve(s, s->endpoint); /* the next of its addresses; else the one it had */
    return true;
}

void
sb_stream_report(sb_stream_t *s, enum sb_health_kind kind)
{
    if (s->picked >= 0)
        sb_ups_report(s->ups, &s->peers->items[s->picked], kind, s->name, s->connection->log);
}

void
sb_stream_ended(sb_stream_t *s, double connect_ms)
{
    end_pick(s, connect_ms);
}

ngx_str_t
sb_stream_server_name(const sb_stream_t *s)
{
    sb_str_t name = s->endpoint->host;

    if (s->route.preserve_host && s->sni.len != 0)
        name = s->sni;
    else if (s->ups != NULL && s->ups->host_header.len != 0)
        name = s->ups->host_header;
    else if (s->ups != NULL && s->ups->use_srv_name && s->addr.srv_name != NULL)
        name = (sb_str_t){s->addr.srv_name, strlen(s->addr.srv_name)};
    return (ngx_str_t){name.len, (u_char *)name.data};
}

void
sb_stream_destination_release(sb_stream_t *s)
{
    sb_resolver_cancel(&s->query);
    if (s->peers != NULL)
        end_pick(s, -1);
    sb_peers_unref(s->peers);
    s->peers = NULL;
    sb_ups_unref(s->ups);
    s->ups = NULL;
}
