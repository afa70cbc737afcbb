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

        total += p->items[i].weight;
        available += down ? 0 : p->items[i].weight;
        if (down != ((p->down[i / 64] & bit) != 0)) {
            p->down[i / 64] ^= bit;
            moved = true;
        }
    }
    p->serves = total != 0 && (double)available / (double)total * 100 > u->threshold;
    if (moved)
        sb_balancer_set_down(p->balancer, p->down);
}

void
sb_ups_report(const sb_ups_t *u, const sb_peer_t *p, enum sb_health_kind kind, const ngx_str_t *name, ngx_log_t *log)
{
    if (!u->passive.on || !sb_health_report(&sb_worker.rt->health, &p->target->target, p->health_key, kind, &u->passive.limits))
        return;
    ngx_log_error(NGX_LOG_WARN, log, 0, "target %*s (%V) is %s by its traffic", p->target->host_port.len, p->target->host_port.data, name,
                  kind == SB_HEALTH_SUCCESS ? "healthy" : "unhealthy");
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

/* An SRV record's weight takes the place of its target's; `unit` is what one is when there are such records. */
static void
add_peer(sb_peers_t *p, sb_target_t *addresses, const sb_endpoint_t *e, const sb_addr_t *addr, uint32_t unit)
{
    uint32_t weight = addr->port != 0 && e->weight != 0 ? addr->weight : e->weight * unit;

    addresses[p->n] = (sb_target_t){.host = e->host, .ip = {addr->text, addr->text_len}, .port = port_of(e, addr), .weight = weight};
    p->items[p->n++] = (sb_peer_t){e, addr, health_key(e, addr), weight};
}

static size_t
count_addresses(const sb_ups_t *u)
{
    size_t n = 0;

    for (size_t i = 0; i < u->n; i++)
        n += u->targets[i].literal ? 1 : u->names[i].known != NULL ? u->names[i].known->n : 0;
    return n;
}

static bool
has_srv_records(const sb_addrs_t *a)
{
    return a != NULL && a->addr[0].port != 0;
}

static uint32_t
weight_unit(const sb_ups_t *u)
{
    for (size_t i = 0; i < u->n && u->n_names != 0; i++)
        if (has_srv_records(u->names[i].known))
            return SB_ADDR_WEIGHT_UNIT;
    return 1;
}

static void
fill(sb_peers_t *p, const sb_ups_t *u, sb_target_t *addresses)
{
    uint32_t unit = weight_unit(u);

    for (size_t i = 0; i < u->n; i++) {
        const sb_endpoint_t *e = &u->targets[i];
        sb_addrs_t *known;

        if (e->literal) {
            add_peer(p, addresses, e, &e->addr, unit);
        } else if ((known = u->names[i].known) != NULL) {
            p->held[p->n_held++] = sb_addrs_ref(known);
            for (uint32_t k = 0; k < known->n; k++)
                add_peer(p, addresses, e, &known->addr[k], unit);
        }
    }
}

/* ---- what stays ---- */

struct place {
    uint64_t key;
    size_t index;
};

static int
by_key(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    return x->key != y->key ? (x->key > y->key) - (x->key < y->key) : (x->index > y->index) - (x->index < y->index);
}

static struct place *
places_of(const sb_peers_t *p)
{
    struct place *places = sb_malloc((p->n + 1) * sizeof(*places));

    for (size_t i = 0; i < p->n; i++)
        places[i] = (struct place){p->items[i].health_key, i};
    qsort(places, p->n, sizeof(*places), by_key);
    return places;
}

/* Which address of `before` each of p's is, -1: a new one; malloc'ed. One that is there twice is two. */
static int *
where_before(const sb_peers_t *p, const sb_peers_t *before)
{
    struct place *now = places_of(p), *then = places_of(before);
    int *was = sb_malloc((p->n + 1) * sizeof(*was));
    size_t k = 0;

    for (size_t i = 0; i < p->n; i++) {
        while (k < before->n && then[k].key < now[i].key)
            k++;
        was[now[i].index] = k < before->n && then[k].key == now[i].key ? (int)then[k++].index : -1;
    }
    free(now);
    free(then);
    return was;
}

static sb_balancer_t *
make_balancer(const sb_ups_t *u, const sb_target_t *addresses, size_t n, const sb_balancer_t *before, const int *was)
{
    sb_balancer_conf_t conf = {
        .algorithm = u->algorithm.data, .slots = u->slots, .n_targets = u->n, .addresses = addresses, .n = n, .before = before, .was = was};
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

/* before: the set that this one takes the place of; NULL: none. */
static sb_peers_t *
make_peers(const sb_ups_t *u, const sb_peers_t *before)
{
    sb_peers_t *p = sb_calloc(sizeof(*p));
    size_t n = count_addresses(u);
    bool hand_on = before != NULL && sb_balancer_learns(before->balancer);
    int *was;
    sb_target_t *addresses = sb_malloc((n + 1) * sizeof(*addresses));

    p->refs = 1;
    p->health_gen = UINT64_MAX;
    p->items = sb_malloc((n + 1) * sizeof(*p->items));
    p->down = sb_calloc((n / 64 + 1) * sizeof(*p->down));
    p->held = u->n_names != 0 ? sb_malloc(u->n_names * sizeof(sb_addrs_t *)) : NULL;
    fill(p, u, addresses);
    was = hand_on ? where_before(p, before) : NULL;
    p->balancer = make_balancer(u, addresses, n, hand_on ? before->balancer : NULL, was);
    free(was);
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
learn(sb_ups_name_t *name, sb_addrs_t *addrs)
{
    if (same_addresses(name->known, addrs))
        return false;
    sb_addrs_unref(name->known);
    name->known = addrs != NULL ? sb_addrs_ref(addrs) : NULL;
    return true;
}

/* What is found is learnt here, and not with the next look: an answer may be of use only now (TTL 0). */
static void
on_resolved(sb_query_t *q, sb_addrs_t *addrs, const char *why)
{
    sb_ups_t *u = q->data;
    sb_ups_name_t *name = ngx_queue_data(q, sb_ups_name_t, query);

    name->why = addrs != NULL ? NULL : why;
    name->failed_at = ngx_current_msec;
    if (learn(name, addrs))
        u->learnt = true;
}

/* A name that has to be asked for. True: who needs an address of it may wait. A failure holds for a moment, even when it must not be
 * cached: those who have waited for it look here next, and are not to wait again. */
static bool
ask(const sb_endpoint_t *e, sb_ups_name_t *name, const char **why)
{
    if (name->why != NULL && ngx_current_msec - name->failed_at < LOOK_MS) {
        *why = name->why;
        return false;
    }
    if (!name->query.active)
        sb_resolver_start(e->host.data, e->host.len, &name->query);
    return name->known == NULL;
}

/* What the resolver knows of all names now. */
static void
look(sb_ups_t *u, const sb_endpoint_t **pending)
{
    sb_addrs_t *addrs;

    u->why = NULL;
    u->look_at = ngx_current_msec + LOOK_MS;
    for (size_t i = 0; i < u->n; i++) {
        const sb_endpoint_t *e = &u->targets[i];
        const char *why = NULL;

        if (e->literal)
            continue;
        switch (sb_resolver_lookup(e->host.data, e->host.len, &addrs, &why)) {
        case SB_OK:
            u->learnt |= learn(&u->names[i], addrs);
            break;
        case SB_AGAIN:
            why = NULL;
            if (ask(e, &u->names[i], &why))
                *pending = e;
            u->why = why != NULL ? why : u->why;
            break;
        default:
            u->why = why;
            u->learnt |= learn(&u->names[i], NULL);
        }
    }
}

void
sb_ups_names_start(sb_ups_t *u)
{
    for (size_t i = 0; i < u->n; i++)
        u->n_names += !u->targets[i].literal;
    if (u->n_names == 0)
        return;
    u->look_at = ngx_current_msec;
    u->names = sb_pool_alloc(u->pool, u->n * sizeof(*u->names));
    for (size_t i = 0; i < u->n; i++) {
        u->names[i].query.done = on_resolved;
        u->names[i].query.data = u;
    }
}

void
sb_ups_names_end(sb_ups_t *u)
{
    for (size_t i = 0; i < u->n && u->n_names != 0; i++) {
        sb_resolver_cancel(&u->names[i].query);
        sb_addrs_unref(u->names[i].known);
    }
}

static void
renew_peers(sb_ups_t *u)
{
    sb_peers_t *before = u->peers != NULL ? u->peers : u->before;

    u->peers = make_peers(u, before);
    u->before = NULL;
    u->learnt = false;
    sb_peers_unref(before);
}

sb_peers_t *
sb_ups_peers(sb_ups_t *u, const sb_endpoint_t **pending)
{
    bool due = u->n_names != 0 && (u->peers == NULL || u->peers->n == 0 || (ngx_msec_int_t)(ngx_current_msec - u->look_at) >= 0);

    *pending = NULL;
    if (due)
        look(u, pending);
    if (u->learnt || u->peers == NULL)
        renew_peers(u);
    sb_peers_follow_health(u, u->peers);
    return u->peers;
}
