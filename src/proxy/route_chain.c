/*
 * Chains of routes. Most routes have no plugins of their own and use their service's chain; which ones those are is remembered in a
 * set of fingerprints, eight bytes a route, so that 100,000 routes cost a request one look into a small array. The few others have their
 * chain in a table, found by route id.
 *
 * A fingerprint is a keyed hash of the route's id: nobody can choose an id that passes for another's.
 */
#include "proxy/cache.h"
#include "proxy/proxy_int.h"

#include <stdlib.h>

/* ---- routes without plugins of their own ---- */

#define PLAIN_MIN 1024u
#define PLAIN_MAX (1u << 20) /* beyond that, routes push each other out */

static struct {
    uint64_t *prints; /* 0: empty */
    size_t mask, n;
    uint64_t key[2];
} plain;

static uint64_t
print_of(const sb_uuid_t *id)
{
    uint64_t a, b;
    unsigned __int128 m;

    memcpy(&a, id->b, sizeof(a));
    memcpy(&b, id->b + 8, sizeof(b));
    m = (unsigned __int128)(a ^ plain.key[0]) * (b ^ plain.key[1]);
    a = (uint64_t)m ^ (uint64_t)(m >> 64);
    m = (unsigned __int128)(a ^ plain.key[1]) * (plain.key[0] | 1);
    a = (uint64_t)m ^ (uint64_t)(m >> 64);
    return a != 0 ? a : 1;
}

/* Each print has two places, side by side in one cache line. */
static uint64_t *
places(uint64_t print)
{
    return &plain.prints[print & plain.mask & ~(size_t)1];
}

static bool
plain_has(const sb_uuid_t *route)
{
    uint64_t print, *at;

    if (plain.prints == NULL)
        return false;
    print = print_of(route);
    at = places(print);
    return at[0] == print || at[1] == print;
}

static void
plain_put(uint64_t print)
{
    uint64_t *at = places(print);

    if (at[0] != 0)
        at[1] = at[0];
    else
        plain.n++;
    at[0] = print;
}

static void
plain_grow(void)
{
    uint64_t *old = plain.prints;
    size_t size = old != NULL ? plain.mask + 1 : 0, larger = size != 0 ? 2 * size : PLAIN_MIN;

    if (old == NULL)
        sb_random_bytes(plain.key, sizeof(plain.key));
    plain.prints = sb_calloc(larger * sizeof(*plain.prints));
    plain.mask = larger - 1;
    plain.n = 0;
    for (size_t i = 0; i < size; i++)
        if (old[i] != 0)
            plain_put(old[i]);
    free(old);
}

static void
plain_add(const sb_uuid_t *route)
{
    if (plain.prints == NULL || (plain.n > plain.mask / 2 && plain.mask < PLAIN_MAX - 1))
        plain_grow();
    plain_put(print_of(route));
}

static void
plain_remove(const sb_uuid_t *route)
{
    uint64_t print, *at;

    if (plain.prints == NULL)
        return;
    if (route == NULL) {
        memset(plain.prints, 0, (plain.mask + 1) * sizeof(*plain.prints));
        plain.n = 0;
        return;
    }
    print = print_of(route);
    at = places(print);
    for (size_t i = 0; i < 2; i++)
        if (at[i] == print)
            at[i] = 0;
}

/* ---- the others ---- */

struct route_chain {
    sb_node_t node;
    sb_aged_t aged;
    uint64_t version;  /* of the route: it may have another service now */
    uint64_t stamp[2]; /* right while these are (global_epoch, the service's plugins_epoch) */
    sb_chain_t *chain;
};

static sb_table_t chains;

static void
forget(struct route_chain *c)
{
    sb_table_remove(&chains, &c->node);
    sb_cache_remove(&c->aged);
    sb_chain_unref(c->chain);
    sb_cache_bytes -= sizeof(*c);
    free(c);
}

static void
forget_aged(sb_aged_t *a)
{
    forget(ngx_queue_data(a, struct route_chain, aged));
}

static void
forget_node(sb_node_t *node, void *arg)
{
    forget((struct route_chain *)node);
}

void
sb_route_chains_forget(const sb_uuid_t *route)
{
    sb_node_t *node;

    plain_remove(route);
    if (route == NULL) {
        sb_table_each(&chains, forget_node, NULL);
        return;
    }
    node = sb_table_find(&chains, route);
    if (node != NULL)
        forget_node(node, NULL);
}

static void
keep(const sb_route_brief_t *route, const uint64_t stamp[2], sb_chain_t *chain)
{
    struct route_chain *c = sb_calloc(sizeof(*c));

    c->node.id = route->route;
    c->version = route->version;
    c->stamp[0] = stamp[0];
    c->stamp[1] = stamp[1];
    c->chain = sb_chain_ref(chain);
    sb_cache_bytes += sizeof(*c);
    sb_table_add(&chains, &c->node);
    sb_cache_add(&c->aged, forget_aged);
}

static sb_chain_t *
shared_chain(const sb_route_brief_t *route, sb_service_t *s)
{
    return s != NULL ? sb_chain_of_service(s) : sb_chain_of_workspace(&route->ws);
}

sb_chain_t *
sb_chain_of_route(const sb_route_brief_t *route, sb_service_t *s)
{
    uint64_t stamp[2] = {sb_worker.global_epoch, s != NULL ? s->plugins_epoch : 0};
    struct route_chain *c;
    sb_chain_t *chain;

    if (plain_has(&route->route))
        return shared_chain(route, s);
    c = (struct route_chain *)sb_table_find(&chains, &route->route);
    if (c != NULL && c->version == route->version && memcmp(c->stamp, stamp, sizeof(stamp)) == 0) {
        c->aged.used = true;
        return sb_chain_ref(c->chain);
    }
    if (c != NULL)
        forget(c);
    chain = sb_chain_build_route(route, s);
    if (chain != NULL)
        keep(route, stamp, chain);
    else
        plain_add(&route->route);
    return chain != NULL ? chain : shared_chain(route, s);
}
