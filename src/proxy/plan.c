/*
 * Plans: what a worker keeps of a route between requests, a few pointers, found by route id. The match itself brings the route's
 * version and flags, so a plan is right as long as the version is the same, its service is not stale and its chain's stamp holds.
 *
 * The table holds one reference to each plan, requests hold theirs. A list by age, with a second chance, and the bytes of everything cached
 * (plans and what they alone keep alive: services, chains, steps) bound it.
 */
#include "proxy/proxy_int.h"

#include <stdlib.h>

static sb_table_t plans;
static ngx_queue_t lru = {&lru, &lru}; /* latest first; see shrink() */

size_t sb_cache_bytes;

void
sb_plan_unref(sb_plan_t *p)
{
    if (p == NULL || --p->refs != 0)
        return;
    sb_chain_unref(p->chain);
    sb_service_unref(p->service);
    sb_cache_bytes -= sizeof(*p);
    free(p);
}

static void
forget(sb_plan_t *p)
{
    p->stale = true;
    sb_table_remove(&plans, &p->node);
    ngx_queue_remove(&p->lru);
    sb_plan_unref(p);
}

static void
forget_node(sb_node_t *node, void *arg)
{
    forget((sb_plan_t *)node);
}

void
sb_plans_forget(const sb_uuid_t *route)
{
    sb_node_t *node;

    if (route == NULL) {
        sb_table_each(&plans, forget_node, NULL);
        return;
    }
    node = sb_table_find(&plans, route);
    if (node != NULL)
        forget((sb_plan_t *)node);
}

/* A plan that was used since it came to the end goes round once more: so a hit costs no change of the list. The last plan stays: it
 * is the one being made. */
static void
shrink(void)
{
    while (sb_cache_bytes > sb_conf->plan_bytes && plans.n > 1) {
        sb_plan_t *oldest = ngx_queue_data(ngx_queue_last(&lru), sb_plan_t, lru);
        if (!oldest->used) {
            forget(oldest);
            continue;
        }
        oldest->used = false;
        ngx_queue_remove(&oldest->lru);
        ngx_queue_insert_head(&lru, &oldest->lru);
    }
}

static uint64_t
service_stamp(const sb_plan_t *p)
{
    return p->service != NULL ? p->service->plugins_epoch : 0;
}

static void
refresh_chain(sb_plan_t *p)
{
    sb_chain_t *chain = sb_chain_of_route(&p->node.id, p->service);

    sb_chain_unref(p->chain);
    p->chain = chain;
    p->stamp[0] = sb_worker.global_epoch;
    p->stamp[1] = service_stamp(p);
}

static sb_plan_t *
make_plan(const sb_route_brief_t *route)
{
    static uint64_t last_serial;
    sb_plan_t *p = sb_calloc(sizeof(*p));

    p->serial = ++last_serial;
    p->node.id = route->route;
    p->refs = 1;
    p->used = true;
    p->version = route->version;
    p->service = route->has_service ? sb_service_get(&route->service) : NULL;
    refresh_chain(p);
    sb_cache_bytes += sizeof(*p);
    sb_table_add(&plans, &p->node);
    ngx_queue_insert_head(&lru, &p->lru);
    shrink();
    return p;
}

sb_plan_t *
sb_plan_get(const sb_route_brief_t *route)
{
    sb_plan_t *p = (sb_plan_t *)sb_table_find(&plans, &route->route);

    if (p != NULL && (p->version != route->version || (p->service != NULL ? p->service->stale : route->has_service))) {
        forget(p);
        p = NULL;
    }
    if (p == NULL)
        p = make_plan(route);
    else {
        if (p->stamp[0] != sb_worker.global_epoch || p->stamp[1] != service_stamp(p))
            refresh_chain(p);
        p->used = true;
    }
    p->refs++;
    return p;
}
