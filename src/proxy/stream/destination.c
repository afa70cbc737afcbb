/*
 * Which address a connection goes to: the targets of the upstream entity that the service's host names, else the host itself. The rules
 * are those of requests (../peer.c): the first address may wait for a name, further ones are taken from memory, and a target that was
 * tried is not tried again while there are others.
 */
#include "proxy/stream/stream.h"

static bool
set_address(sb_stream_t *s, const sb_addr_t *addr, uint16_t port) /* an SRV record's own port counts */
{
    u_char *text = ngx_pnalloc(s->connection->pool, NGX_SOCKADDR_STRLEN);

    if (text == NULL)
        return false;
    s->addr = *addr;
    ngx_inet_set_port(&s->addr.sa.any, addr->port != 0 ? addr->port : port);
    s->name.data = text;
    s->name.len = ngx_sock_ntop(&s->addr.sa.any, s->addr.len, text, NGX_SOCKADDR_STRLEN, 1);
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

static const sb_endpoint_t *
pick_target(sb_stream_t *s)
{
    int i = s->ups->balancer != NULL ? sb_balancer_pick(s->ups->balancer, s->tried) : -1;

    if (i < 0)
        return NULL;
    s->tried[i / 64] |= 1ull << (i % 64);
    return &s->ups->targets[i];
}

/* One host, or targets one after the other until one has an address, each at most once. */
static ngx_int_t
choose(sb_stream_t *s)
{
    size_t n = s->ups != NULL ? s->ups->n : 1;

    while (s->picks++ < n) {
        if (s->ups != NULL)
            s->endpoint = pick_target(s);
        if (s->endpoint == NULL)
            break;
        switch (resolve(s, s->endpoint)) {
        case RESOLVED:
            s->prepared = true;
            return NGX_OK;
        case PENDING:
            sb_resolver_start(s->endpoint->host.data, s->endpoint->host.len, &s->query);
            return NGX_AGAIN;
        case FAILED:
            break;
        }
    }
    if (s->why != NULL) {
        ngx_log_error(NGX_LOG_ERR, s->connection->log, 0, "name resolution failed for %*s: %s", s->service->endpoint.host.len,
                      s->service->endpoint.host.data, s->why);
    } else {
        ngx_log_error(NGX_LOG_ERR, s->connection->log, 0, "failure to get a peer from the ring-balancer");
    }
    return NGX_DECLINED;
}

static void
on_resolved(sb_query_t *q, sb_addrs_t *addrs, const char *why)
{
    sb_stream_t *s = q->data;
    ngx_int_t rc = NGX_DECLINED;

    s->why = why;
    if (addrs != NULL && set_address(s, sb_addrs_next(addrs), s->endpoint->port)) {
        s->prepared = true;
        rc = NGX_OK;
    } else
        rc = choose(s);
    if (rc != NGX_AGAIN)
        s->ready(s, rc);
}

ngx_int_t
sb_stream_prepare(sb_stream_t *s)
{
    s->query.done = on_resolved;
    s->query.data = s;
    s->ups = sb_ups_ref(sb_service_ups(s->service));
    if (s->ups == NULL)
        s->endpoint = &s->service->endpoint;
    else if ((s->tried = ngx_pcalloc(s->connection->pool, (s->ups->n / 64 + 1) * sizeof(*s->tried))) == NULL)
        return NGX_DECLINED;
    return choose(s);
}

bool
sb_stream_next(sb_stream_t *s)
{
    const sb_endpoint_t *e = s->endpoint;

    if (s->ups == NULL) {
        resolve(s, e); /* the next of its addresses; else the one it had */
        return true;
    }
    for (size_t i = 0; i < s->ups->n; i++) {
        if ((e = pick_target(s)) == NULL)
            return false;
        if (resolve(s, e) == RESOLVED) {
            s->endpoint = e;
            return true;
        }
    }
    return false;
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
    sb_ups_unref(s->ups);
    s->ups = NULL;
}
