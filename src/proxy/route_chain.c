/*
 * Chains of routes. Most routes have no plugins of their own and use their service's chain; which ones those are is remembered in a
 * set of fingerprints, eight bytes a route, so that 100,000 routes cost a request one look into a small array. The few others have their
 * chain in a table, found by route id.
 */
#include "proxy/cache.h"
#include "proxy/id_set.h"
#include "proxy/proxy_int.h"

#include <stdlib.h>

static sb_id_set_t plain; /* routes without plugins of their own */

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

    if (route == NULL) {
        sb_id_set_clear(&plain);
        sb_table_each(&chains, forget_node, NULL);
        return;
    }
    sb_id_set_remove(&plain, route);
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

    if (sb_id_set_has(&plain, &route->route))
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
        sb_id_set_add(&plain, &route->route);
    return chain != NULL ? chain : shared_chain(route, s);
}
