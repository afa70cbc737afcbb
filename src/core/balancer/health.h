/*
 * Which addresses of targets are unhealthy: a set in the state that all processes of a node share. What is not in it is healthy, so that
 * a node without trouble costs its workers one load per exchange (sb_health_t.count).
 *
 * One process writes at a time (control's store thread); any number read without locks. A key stands for (target, address, port); the
 * target's id is kept beside it, so that entries of targets that are gone can be found.
 */
#ifndef SB_HEALTH_H
#define SB_HEALTH_H

#include "core/base/base.h"
#include "core/base/uuid.h"

#define SB_HEALTH_SLOTS 4096

typedef struct sb_health {
    _Alignas(64) uint64_t gen; /* moves with every change */
    uint64_t count;            /* unhealthy addresses */
    struct sb_health_slot {
        uint64_t key; /* 0: free, 1: was in use; written last */
        sb_uuid_t target;
    } slots[SB_HEALTH_SLOTS];
} sb_health_t;

/* ip: 4 or 16 bytes in network order. Never 0 or 1. */
uint64_t sb_health_key(const sb_uuid_t *target, const void *ip, size_t ip_len, uint16_t port);
/* The same from the text of an IP address; 0 when it is none. */
uint64_t sb_health_key_of(const sb_uuid_t *target, const char *ip, uint16_t port);
/* Whether any address is unhealthy: the check that comes first. */
static inline bool
sb_health_any(const sb_health_t *h)
{
    return __atomic_load_n(&h->count, __ATOMIC_RELAXED) != 0;
}
bool sb_health_is_down(const sb_health_t *h, uint64_t key);
/* The writer's. SB_DECLINED: no room for another unhealthy address; sb_health_prune() may make some. */
int sb_health_set(sb_health_t *h, const sb_uuid_t *target, uint64_t key, bool down);
/* The writer's: drops the entries of targets for which there() is false. NULL: all entries. */
void sb_health_prune(sb_health_t *h, bool (*there)(const sb_uuid_t *target, void *arg), void *arg);

#endif
