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
    ngx_str_t *name = ngx_palloc(s->connection->pool, sizeof(*name) + NGX_SOCKADDR_STRLEN);

    if (name == NULL)
        return false;
    s->addr = *addr;
    ngx_inet_set_port(&s->addr.sa.any, addr->port != 0 ? addr->port : port);
    name->data = (u_char *)(name + 1);
    name->len = ngx_sock_ntop(&s->addr.sa.any, s->addr.len, name->data, NGX_SOCKADDR_STRLEN, 1);
    s->name = name;
    return true;
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
        return set_address(s, sb_addrs_next(addrs), e->port) ? RESOLVED : FAILED;
    case SB_AGAIN:
        return PENDING;
    default:
        return FAILED;
    }
}

/* Another address of the upstream's. false: there is none. */
static bool
pick(sb_stream_t *s)
{
    const sb_peer_t *p;

    if (s->picked >= 0)
        sb_balancer_done(s->peers->balancer, s->picked, (uint64_t)ngx_current_msec, -1);
    s->picked = -1;
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

ngx_str_t
sb_stream_server_name(const sb_stream_t *s)
{
    sb_str_t name = s->endpoint->host;

    if (s->route.preserve_host && s->sni.len != 0)
        name = s->sni;
    else if (s->ups != NULL && s->ups->host_header.len != 0)
        name = s->ups->host_header;
    return (ngx_str_t){name.len, (u_char *)name.data};
}

void
sb_stream_destination_release(sb_stream_t *s)
{
    sb_resolver_cancel(&s->query);
    if (s->picked >= 0 && s->peers != NULL)
        sb_balancer_done(s->peers->balancer, s->picked, (uint64_t)ngx_current_msec, -1);
    s->picked = -1;
    sb_peers_unref(s->peers);
    s->peers = NULL;
    sb_ups_unref(s->ups);
    s->ups = NULL;
}
