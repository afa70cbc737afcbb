/*
 * Algorithms that take the address with the lowest rank: least-connections and latency. A heap holds the addresses that are up and
 * have weight; where[] says at which place each is, so that one whose rank moved is put right in O(log n).
 *
 * least-connections: (connections + 1) / weight, counted by this worker.
 *
 * latency: a moving average of the time until an answer, over the weight; between answers it decays with time. All decay by the same
 * factor, so their order does not depend on when one looks: average · exp(-(now - last) / DECAY) / weight is ordered like
 * ln(average) + last / DECAY - ln(weight), which only moves with an answer.
 *
 * Equal ranks: the one picked longest ago, in the beginning at random.
 *
 * What is learnt of an address (struct load) is shared, by reference, between the balancers that have had it one after the other: picks of
 * an older one, whose exchanges go on, count in the newest too, which is its owner.
 */
#include "core/balancer/balancer_int.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#define DECAY_MS  10000.0
#define LEAST_MS  0.001  /* logarithms need a little */
#define FAILED_MS 1000.0 /* what a failed try is taken for */
#define NOWHERE   SIZE_MAX

struct load {
    uint32_t refs; /* entries */
    uint32_t connections;
    double average; /* ms; 0: no answer yet */
    uint64_t last_ms;
    struct ranks *owner; /* NULL: it has ended */
    int index;           /* the owner's */
};

struct entry {
    double rank;
    uint64_t turn; /* when it was picked last */
    uint32_t weight;
    size_t place; /* in the heap, or NOWHERE */
    struct load *load;
};

struct ranks {
    struct entry *entries; /* by address */
    size_t n;
    int *heap; /* addresses, the lowest rank at 0 */
    size_t heap_n;
    int *aside; /* room for those put aside in a pick */
    uint64_t turn;
    double (*rank)(const struct entry *e);
};

/* ---- the heap ---- */

static bool
before(const struct ranks *r, int a, int b)
{
    const struct entry *x = &r->entries[a], *y = &r->entries[b];

    return x->rank != y->rank ? x->rank < y->rank : x->turn < y->turn;
}

static void
put(struct ranks *r, size_t place, int index)
{
    r->heap[place] = index;
    r->entries[index].place = place;
}

static void
sift_up(struct ranks *r, size_t i)
{
    int index = r->heap[i];

    for (; i > 0 && before(r, index, r->heap[(i - 1) / 2]); i = (i - 1) / 2)
        put(r, i, r->heap[(i - 1) / 2]);
    put(r, i, index);
}

static void
sift_down(struct ranks *r, size_t i)
{
    int index = r->heap[i];

    for (size_t child; (child = 2 * i + 1) < r->heap_n; i = child) {
        if (child + 1 < r->heap_n && before(r, r->heap[child + 1], r->heap[child]))
            child++;
        if (!before(r, r->heap[child], index))
            break;
        put(r, i, r->heap[child]);
    }
    put(r, i, index);
}

static void
push(struct ranks *r, int index)
{
    put(r, r->heap_n++, index);
    sift_up(r, r->heap_n - 1);
}

static int
pop(struct ranks *r)
{
    int index = r->heap[0], last = r->heap[--r->heap_n];

    if (r->heap_n > 0) {
        put(r, 0, last);
        sift_down(r, 0);
    }
    r->entries[index].place = NOWHERE;
    return index;
}

static void
put_right(struct ranks *r, int index)
{
    struct entry *e = &r->entries[index];

    e->rank = r->rank(e);
    if (e->place == NOWHERE)
        return;
    sift_up(r, e->place);
    sift_down(r, e->place);
}

/* The entry's rank may have moved, here and in the balancer that has the address now. */
static void
settle(struct ranks *r, int index)
{
    const struct load *load = r->entries[index].load;

    put_right(r, index);
    if (load->owner != r && load->owner != NULL)
        put_right(load->owner, load->index);
}

/* ---- ranks ---- */

static double
by_connections(const struct entry *e)
{
    return ((double)e->load->connections + 1) / (double)e->weight;
}

static double
by_latency(const struct entry *e)
{
    const struct load *l = e->load;

    /* Nothing known yet: one request finds out, and is not followed by others meanwhile while there is a choice. */
    if (l->average == 0)
        return l->connections == 0 ? -DBL_MAX : DBL_MAX;
    return log(l->average) + (double)l->last_ms / DECAY_MS - log((double)e->weight);
}

/* ---- the seam ---- */

static void
set_down(void *state, const uint64_t *down)
{
    struct ranks *r = state;

    r->heap_n = 0;
    for (size_t i = 0; i < r->n; i++) {
        r->entries[i].place = NOWHERE;
        if (r->entries[i].weight != 0 && !has_bit(down, (int)i))
            push(r, (int)i);
    }
}

/* The load of an address, which becomes r's: that which the balancer before has, or a new one. */
static struct load *
take_load(struct ranks *r, const sb_balancer_conf_t *conf, size_t i)
{
    int was = conf->before != NULL && conf->was != NULL ? conf->was[i] : -1;
    struct load *load = was >= 0 ? ((struct ranks *)conf->before->state)->entries[was].load : sb_calloc(sizeof(*load));

    load->refs++;
    load->owner = r;
    load->index = (int)i;
    return load;
}

static void
drop_load(struct load *load, const struct ranks *r)
{
    if (load->owner == r)
        load->owner = NULL;
    if (--load->refs == 0)
        free(load);
}

static void *
start(const sb_balancer_conf_t *conf, double (*rank)(const struct entry *e))
{
    struct ranks *r = sb_calloc(sizeof(*r));
    uint32_t *order = random_order(conf->n);

    r->n = conf->n;
    r->rank = rank;
    r->turn = UINT32_MAX; /* above the random ones */
    r->entries = sb_calloc((r->n + 1) * sizeof(*r->entries));
    r->heap = sb_malloc((r->n + 1) * sizeof(*r->heap));
    r->aside = sb_malloc((r->n + 1) * sizeof(*r->aside));
    for (size_t i = 0; i < r->n; i++) {
        struct entry *e = &r->entries[i];

        e->turn = order[i];
        e->load = take_load(r, conf, i);
        e->weight = conf->addresses[i].weight;
        e->rank = e->weight != 0 ? rank(e) : 0;
    }
    free(order);
    set_down(r, NULL);
    return r;
}

static void
end(void *state)
{
    struct ranks *r = state;

    for (size_t i = 0; i < r->n; i++)
        drop_load(r->entries[i].load, r);
    free(r->entries);
    free(r->heap);
    free(r->aside);
    free(r);
}

static int
pick(void *state, uint32_t hash, const uint64_t *tried)
{
    struct ranks *r = state;
    size_t n = 0;
    int index;

    if (r->heap_n == 0)
        return -1;
    while (r->heap_n > 0 && has_bit(tried, r->heap[0]))
        r->aside[n++] = pop(r);
    index = r->heap_n > 0 ? r->heap[0] : r->aside[0];
    while (n > 0)
        push(r, r->aside[--n]);
    r->entries[index].turn = ++r->turn;
    r->entries[index].load->connections++;
    settle(r, index);
    return index;
}

static void
end_connection(struct ranks *r, int index)
{
    if (r->entries[index].load->connections > 0)
        r->entries[index].load->connections--;
}

static void
done_connection(void *state, int index, uint64_t now_ms, double latency_ms)
{
    end_connection(state, index);
    settle(state, index);
}

/* The first answer is the average; later ones count the more the longer ago the last one was. */
static void
learn(struct load *l, uint64_t now_ms, double latency_ms)
{
    double kept = l->average != 0 ? exp(-((double)now_ms - (double)l->last_ms) / DECAY_MS) : 0, average;

    if (isinf(latency_ms))
        latency_ms = FAILED_MS;
    average = l->average * kept + latency_ms * (1 - kept);
    l->average = average > LEAST_MS ? average : LEAST_MS;
    l->last_ms = now_ms;
}

static void
done_answer(void *state, int index, uint64_t now_ms, double latency_ms)
{
    struct ranks *r = state;

    end_connection(r, index);
    if (latency_ms >= 0)
        learn(r->entries[index].load, now_ms, latency_ms);
    settle(r, index);
}

static void *
start_connections(const sb_balancer_conf_t *conf)
{
    return start(conf, by_connections);
}

static void *
start_latency(const sb_balancer_conf_t *conf)
{
    return start(conf, by_latency);
}

const struct algorithm least_connections = {"least-connections", start_connections, end, pick, set_down, done_connection, false};
const struct algorithm latency = {"latency", start_latency, end, pick, set_down, done_answer, false};
