/* Inside the balancer: the seam between it and its algorithms. */
#ifndef SB_BALANCER_INT_H
#define SB_BALANCER_INT_H

#include "core/balancer/balancer.h"

#define BALANCER_MAGIC 0x53424c42u

struct algorithm {
    const char *name;
    /* MUST. The algorithm's state for conf's addresses, all of them up; never NULL. Keeps nothing of conf. conf->before is NULL or of this
     * algorithm. */
    void *(*start)(const sb_balancer_conf_t *conf);
    /* MUST. Frees it. */
    void (*end)(void *state);
    /* MUST. As sb_balancer_pick. */
    int (*pick)(void *state, uint32_t hash, const uint64_t *tried);
    /* MUST. As sb_balancer_set_down. */
    void (*set_down)(void *state, const uint64_t *down);
    /* MAY. As sb_balancer_done. */
    void (*done)(void *state, int index, uint64_t now_ms, double latency_ms);
    bool hashes;
};

extern const struct algorithm round_robin, consistent_hashing, least_connections, latency;

struct sb_balancer {
    uint32_t magic;
    const struct algorithm *algorithm;
    void *state;
    size_t n;
};

/* n random numbers, by which those are ordered who are equal otherwise: workers, and balancers made anew at each change, are not all to
 * begin with the same address. malloc'ed. */
uint32_t *random_order(size_t n);

/* Whether a bitmap has a bit; NULL: it has none. */
static inline bool
has_bit(const uint64_t *map, int index)
{
    return map != NULL && (map[index / 64] >> (index % 64) & 1) != 0;
}

#endif
