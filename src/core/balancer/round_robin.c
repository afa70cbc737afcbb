/*
 * Weighted round-robin, spread evenly: in each round a target of weight w has its turns at the times (k + 1/2) / w, k = 0 … w - 1,
 * and the earliest turn of all is next. So a round gives every target exactly its weight, never bunched, and a pick costs
 * O(log n) with a heap, where the usual way of smoothing weights costs O(n).
 *
 * Times are compared as fractions, exactly: nothing drifts. Equal times are ordered by a random permutation, so that workers (and a
 * balancer that is rebuilt at each change) do not all begin with the same target.
 */
#include "core/balancer/balancer_int.h"

#include <stdlib.h>

struct turn {
    uint64_t round; /* whole rounds behind */
    uint32_t k;     /* turns taken in this round */
    uint32_t weight;
    uint32_t order; /* among equal times */
    int index;
    bool up; /* of turns[]: it has its first turn to come, or was in the heap until now */
};

struct wheel {
    struct turn *turns; /* by address, as they were when the heap was made */
    size_t all;
    struct turn *heap; /* earliest at 0; addresses that are down or without weight are not in it */
    size_t n;
    struct turn *aside; /* room for turns put aside in a pick */
};

static bool
earlier(const struct turn *a, const struct turn *b)
{
    unsigned __int128 x, y;

    if (a->round != b->round)
        return a->round < b->round;
    x = (unsigned __int128)(2 * (uint64_t)a->k + 1) * b->weight;
    y = (unsigned __int128)(2 * (uint64_t)b->k + 1) * a->weight;
    return x != y ? x < y : a->order < b->order;
}

static void
swap(struct turn *a, struct turn *b)
{
    struct turn t = *a;

    *a = *b;
    *b = t;
}

static void
sift_down(struct wheel *w, size_t i)
{
    for (;;) {
        size_t least = i, l = 2 * i + 1, r = l + 1;
        if (l < w->n && earlier(&w->heap[l], &w->heap[least]))
            least = l;
        if (r < w->n && earlier(&w->heap[r], &w->heap[least]))
            least = r;
        if (least == i)
            return;
        swap(&w->heap[i], &w->heap[least]);
        i = least;
    }
}

static void
push(struct wheel *w, const struct turn *t)
{
    size_t i = w->n++;

    w->heap[i] = *t;
    for (; i > 0 && earlier(&w->heap[i], &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&w->heap[i], &w->heap[(i - 1) / 2]);
}

static struct turn
pop(struct wheel *w)
{
    struct turn t = w->heap[0];

    w->heap[0] = w->heap[--w->n];
    sift_down(w, 0);
    return t;
}

static void
advance(struct turn *t)
{
    if (++t->k == t->weight) {
        t->k = 0;
        t->round++;
    }
}

/* The first turn of t that is not before the time of `now`: who comes back takes up no turns of the past. */
static void
join(struct turn *t, const struct turn *now)
{
    unsigned __int128 due = (unsigned __int128)(2 * (uint64_t)now->k + 1) * t->weight;

    t->round = now->round;
    t->k = (uint32_t)((due / now->weight + 1) / 2);
    if (t->k >= t->weight) {
        t->k = 0;
        t->round++;
    }
}

static void
set_down(void *state, const uint64_t *down)
{
    struct wheel *w = state;
    struct turn now = w->n > 0 ? w->heap[0] : (struct turn){.weight = 1};

    for (size_t i = 0; i < w->n; i++) {
        struct turn *t = &w->turns[w->heap[i].index];
        *t = w->heap[i];
        t->up = true;
    }
    w->n = 0;
    for (size_t i = 0; i < w->all; i++) {
        struct turn *t = &w->turns[i];
        bool was_up = t->up;
        t->up = false;
        if (t->weight == 0 || has_bit(down, t->index))
            continue;
        if (!was_up)
            join(t, &now);
        push(w, t);
    }
}

static void *
start(const sb_balancer_conf_t *conf)
{
    struct wheel *w = sb_calloc(sizeof(*w));
    uint32_t *order = random_order(conf->n);

    w->all = conf->n;
    w->turns = sb_calloc((conf->n + 1) * sizeof(*w->turns));
    w->heap = sb_calloc((conf->n + 1) * sizeof(*w->heap));
    w->aside = sb_calloc((conf->n + 1) * sizeof(*w->aside));
    for (size_t i = 0; i < conf->n; i++) {
        struct turn *t = &w->turns[i];
        *t = (struct turn){.weight = conf->addresses[i].weight, .order = order[i], .index = (int)i, .up = true};
    }
    free(order);
    set_down(w, NULL);
    return w;
}

static void
end(void *state)
{
    struct wheel *w = state;

    free(w->turns);
    free(w->heap);
    free(w->aside);
    free(w);
}

static int
pick_top(struct wheel *w)
{
    int index = w->heap[0].index;

    advance(&w->heap[0]);
    sift_down(w, 0);
    return index;
}

/* Tried targets keep their turns: others than this request have not tried them. */
static int
pick(void *state, uint32_t hash, const uint64_t *tried)
{
    struct wheel *w = state;
    size_t n = 0;
    int index = -1;

    if (w->n == 0)
        return -1;
    while (w->n > 0 && has_bit(tried, w->heap[0].index))
        w->aside[n++] = pop(w);
    if (w->n > 0)
        index = pick_top(w);
    while (n > 0)
        push(w, &w->aside[--n]);
    return index >= 0 ? index : pick_top(w);
}

const struct algorithm round_robin = {"round-robin", start, end, pick, set_down, NULL, false};
