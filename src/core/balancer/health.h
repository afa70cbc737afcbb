/*
 * The health of targets' addresses, in the state that all processes of a node share. An address that is healthy and has no failures has no
 * entry, so that a node without trouble costs its workers one load per exchange (sb_health_t.count, .entries).
 *
 * Workers report what their exchanges came to, control what its probes did, the Admin API sets by hand: they take a lock to write, which
 * is held for a search and a few stores, and is taken away from whoever died with it. Any number read without it. A key stands for
 * (target, address, port); the target's id is kept beside it, so that entries of targets that are gone can be found.
 */
#ifndef SB_HEALTH_H
#define SB_HEALTH_H

#include "core/base/base.h"
#include "core/base/uuid.h"

#define SB_HEALTH_SLOTS 32768

/* What is counted; the order is that of the counters in an entry. */
enum sb_health_kind { SB_HEALTH_SUCCESS, SB_HEALTH_HTTP_FAILURE, SB_HEALTH_TCP_FAILURE, SB_HEALTH_TIMEOUT, SB_HEALTH_KINDS };

typedef struct sb_health {
    _Alignas(64) uint64_t gen; /* moves with every change of who is unhealthy */
    uint64_t count;            /* unhealthy addresses */
    uint64_t entries;          /* these, and those that have counted failures */
    uint64_t lock;             /* the thread that writes; 0: none */
    struct sb_health_slot {
        uint64_t key; /* 0: free, 1: was in use; written last */
        uint64_t word;
        sb_uuid_t target;
    } slots[SB_HEALTH_SLOTS];
} sb_health_t;

/* When an address becomes healthy (successes) or unhealthy (the failures): so many in a row of its own side. 0: never. */
typedef struct sb_health_limits {
    uint8_t of[SB_HEALTH_KINDS];
} sb_health_limits_t;

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
/* Counts what happened with an address. A success ends the failures counted, a failure the successes. True: the address became healthy or
 * unhealthy by it. A success of an address without an entry costs a search at most. */
bool sb_health_report(sb_health_t *h, const sb_uuid_t *target, uint64_t key, enum sb_health_kind kind, const sb_health_limits_t *limits);
/* The status in the beginning of an answer to a check, 0: it is no HTTP/1. */
#define SB_HEALTH_STATUS_LINE 12 /* "HTTP/1.1 200" */
int sb_health_http_status(const char line[SB_HEALTH_STATUS_LINE]);
/* Whether the body of an answer of gRPC's health service, a message with its five bytes before it, says that the server serves. */
bool sb_health_grpc_serving(const uint8_t *body, size_t len);
/* By hand; ends what was counted. SB_DECLINED: no room for another address; sb_health_prune() may make some. */
int sb_health_set(sb_health_t *h, const sb_uuid_t *target, uint64_t key, bool down);
/* Drops the entries of targets for which there() is false. NULL: all entries. */
void sb_health_prune(sb_health_t *h, bool (*there)(const sb_uuid_t *target, void *arg), void *arg);

#endif
