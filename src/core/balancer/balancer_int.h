/* Inside the balancer: the seam between it and its algorithms. */
#ifndef SB_BALANCER_INT_H
#define SB_BALANCER_INT_H

#include "core/balancer/balancer.h"

#define BALANCER_MAGIC 0x53424c42u

struct algorithm {
    const char *name;
    /* MUST. The algorithm's state for b's targets, which stay as they are; never NULL. */
    void *(*start)(const sb_balancer_t *b);
    /* MUST. Frees it. */
    void (*end)(void *state);
    /* MUST. As sb_balancer_pick. */
    int (*pick)(void *state, const uint64_t *tried);
};

extern const struct algorithm round_robin;

struct sb_balancer {
    uint32_t magic;
    const struct algorithm *algorithm;
    void *state;
    sb_target_t *targets;
    size_t n;
};

#endif
