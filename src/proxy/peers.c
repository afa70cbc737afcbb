/*
 * The addresses of an upstream's targets, and their health as its balancer knows it. Targets that are IP addresses are one address each;
 * a name has as many as the resolver says, each with the target's weight. Names are looked at again after LOOK_MS (in the resolver's
 * memory, which renews them in time), and only when the addresses of one have changed is the set, with its balancer, made anew.
 *
 * Start at sb_ups_peers().
 */
#include "proxy/ups.h"

#include <stdlib.h>

#define LOOK_MS 1000

/* ---- health ---- */

/* SRV records have ports of their own. */
static uint16_t
port_of(const sb_endpoint_t *e, const sb_addr_t *addr)
{
    return addr->port != 0 ? addr->port : e->port;
}

static uint64_t
health_key(const sb_endpoint_t *e, const sb_addr_t *addr)
{
    if (addr->sa.any.sa_family == AF_INET6)
        return sb_health_key(&e->target, &addr->sa.v6.sin6_addr, 16, port_of(e, addr));
    return sb_health_key(&e->target, &addr->sa.v4.sin_addr, 4, port_of(e, addr));
}

void
sb_peers_follow_health(const sb_ups_t *u, sb_peers_t *p)
{
    const sb_health_t *h = &sb_worker.rt->health;
    uint64_t gen = __atomic_load_n(&h->gen, __ATOMIC_ACQUIRE), total = 0, available = 0;
    bool moved = false;

    if (p->health_gen == gen)
        return;
    p->health_gen = gen;
    for (size_t i = 0; i < p->n; i++) {
        uint64_t bit = 1ull << (i % 64);
        bool down = sb_health_is_down(h, p->items[i].health_key);

        total += p->items[i].target->weight;
        available += down ? 0 : p->items[i].target->weight;
        if (down != ((p->down[i / 64] & bit) != 0)) {
            p->down[i / 64] ^= bit;
            moved = true;
        }
    }
    p->serves = total != 0 && (double)available / (double)total * 100 > u->threshold;
    if (moved)
        sb_balancer_set_down(p->balancer, p->down);
}

/* ---- a set ---- */

sb_peers_t *
sb_peers_ref(sb_peers_t *p)
{
    p->refs++;
    return p;
}

void
sb_peers_unref(sb_peers_t *p)
{
    if (p == NULL || --p->refs != 0)
        return;
    for (size_t i = 0; i < p->n_held; i++)
        sb_addrs_unref(p->held[i]);
    sb_balancer_free(p->balancer);
    free(p->held);
    free(p->items);
    free(p->down);
    free(p);
}

static void
add_peer(sb_peers_t *p, sb_target_t *addresses, const sb_endpoint_t *e, const sb_addr_t *addr)
{
    addresses[p->n] = (sb_target_t){.host = e->host, .ip = {addr->text, addr->text_len}, .port = port_of(e, addr), .weight = e->weight};
    if (addr->srv_name != NULL && e->weight != 0)
        addresses[p->n].weight = addr->weight != 0 ? addr->weight : 1;
    p->items[p->n++] = (sb_peer_t){e, addr, health_key(e, addr)};
}

static size_t
count_addresses(const sb_ups_t *u)
{
    size_t n = 0;

    for (size_t i = 0; i < u->n; i++)
        n += u->targets[i].literal ? 1 : u->known[i] != NULL ? u->known[i]->n : 0;
    return n;
}

static void
fill(sb_peers_t *p, const sb_ups_t *u, sb_target_t *addresses)
{
    for (size_t i = 0; i < u->n; i++) {
        const sb_endpoint_t *e = &u->targets[i];

        if (e->literal) {
            add_peer(p, addresses, e, &e->addr);
        } else if (u->known[i] != NULL) {
            p->held[p->n_held++] = sb_addrs_ref(u->known[i]);
            for (uint32_t k = 0; k < u->known[i]->n; k++)
                add_peer(p, addresses, e, &u->known[i]->addr[k]);
        }
    }
}

static sb_balancer_t *
make_balancer(const sb_ups_t *u, const sb_target_t *addresses, size_t n)
{
    sb_balancer_conf_t conf = {.algorithm = u->algorithm.data, .slots = u->slots, .n_targets = u->n, .addresses = addresses, .n = n};
    sb_err_t err = {0};
    sb_balancer_t *b;

    if (sb_balancer_new(&conf, &b, &err) == SB_OK)
        return b;
    sb_log(SB_LOG_ERR, "%s: taking turns by weight instead", err.message);
    sb_err_clear(&err);
    conf.algorithm = "round-robin";
    SB_ASSERT(sb_balancer_new(&conf, &b, &err) == SB_OK);
    return b;
}

static sb_peers_t *
make_peers(const sb_ups_t *u)
{
    sb_peers_t *p = sb_calloc(sizeof(*p));
    size_t n = count_addresses(u);
    sb_target_t *addresses = sb_malloc((n + 1) * sizeof(*addresses));

    p->refs = 1;
    p->health_gen = UINT64_MAX;
    p->items = sb_malloc((n + 1) * sizeof(*p->items));
    p->down = sb_calloc((n / 64 + 1) * sizeof(*p->down));
    p->held = u->names != 0 ? sb_malloc(u->names * sizeof(sb_addrs_t *)) : NULL;
    fill(p, u, addresses);
    p->balancer = make_balancer(u, addresses, n);
    free(addresses);
    return p;
}

/* ---- names ---- */

static bool
has_address(const sb_addrs_t *a, const sb_addr_t *addr)
{
    for (uint32_t i = 0; i < a->n; i++) {
        if (a->addr[i].port == addr->port && a->addr[i].weight == addr->weight && a->addr[i].text_len == addr->text_len &&
            memcmp(a->addr[i].text, addr->text, addr->text_len) == 0)
            return true;
    }
    return false;
}

/* The same addresses in any order: servers turn them round with each answer. */
static bool
same_addresses(const sb_addrs_t *a, const sb_addrs_t *b)
{
    if (a == b)
        return true;
    if (a == NULL || b == NULL || a->n != b->n)
        return false;
    for (uint32_t i = 0; i < a->n; i++) {
        if (!has_address(b, &a->addr[i]))
            return false;
    }
    return true;
}

static bool
learn(sb_ups_t *u, size_t i, sb_addrs_t *addrs)
{
    if (same_addresses(u->known[i], addrs))
        return false;
    sb_addrs_unref(u->known[i]);
    u->known[i] = addrs != NULL ? sb_addrs_ref(addrs) : NULL;
    return true;
}

static void
on_resolved(sb_query_t *q, sb_addrs_t *addrs, const char *why)
{
    ((sb_ups_t *)q->data)->look_at = ngx_current_msec;
}

/* What the resolver knows of all names now. True: something has changed. */
static bool
look(sb_ups_t *u, const sb_endpoint_t **pending)
{
    sb_addrs_t *addrs;
    bool changed = false;

    u->why = NULL;
    u->look_at = ngx_current_msec + LOOK_MS;
    for (size_t i = 0; i < u->n; i++) {
        const sb_endpoint_t *e = &u->targets[i];

        if (e->literal)
            continue;
        switch (sb_resolver_lookup(e->host.data, e->host.len, &addrs, &u->why)) {
        case SB_OK:
            changed |= learn(u, i, addrs);
            break;
        case SB_AGAIN:
            if (!u->queries[i].active)
                sb_resolver_start(e->host.data, e->host.len, &u->queries[i]);
            *pending = u->known[i] == NULL ? e : *pending;
            break;
        default:
            changed |= learn(u, i, NULL);
        }
    }
    return changed;
}

void
sb_ups_names_start(sb_ups_t *u)
{
    for (size_t i = 0; i < u->n; i++)
        u->names += !u->targets[i].literal;
    if (u->names == 0)
        return;
    u->look_at = ngx_current_msec;
    u->known = sb_pool_alloc(u->pool, u->n * sizeof(sb_addrs_t *));
    u->queries = sb_pool_alloc(u->pool, u->n * sizeof(*u->queries));
    for (size_t i = 0; i < u->n; i++) {
        u->queries[i].done = on_resolved;
        u->queries[i].data = u;
    }
}

void
sb_ups_names_end(sb_ups_t *u)
{
    for (size_t i = 0; i < u->n && u->names != 0; i++) {
        sb_resolver_cancel(&u->queries[i]);
        sb_addrs_unref(u->known[i]);
    }
}

sb_peers_t *
sb_ups_peers(sb_ups_t *u, const sb_endpoint_t **pending)
{
    bool due = u->names != 0 && (u->peers == NULL || u->peers->n == 0 || (ngx_msec_int_t)(ngx_current_msec - u->look_at) >= 0);

    *pending = NULL;
    if ((due && look(u, pending)) || u->peers == NULL) {
        sb_peers_unref(u->peers);
        u->peers = make_peers(u);
    }
    sb_peers_follow_health(u, u->peers);
    return u->peers;
}
