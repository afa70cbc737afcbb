/*
 * Picks an address among those of an upstream's targets. Pure: no sockets, no DNS, no clock; the proxy resolves names and hands addresses
 * in. Algorithms: round-robin, consistent-hashing, least-connections, latency; struct algorithm (balancer_int.h) is the seam between.
 */
#ifndef SB_BALANCER_H
#define SB_BALANCER_H

#include "core/base/json.h"
#include "core/base/uuid.h"

typedef struct sb_balancer sb_balancer_t;

/* One address of a target. */
typedef struct sb_target {
    sb_str_t host; /* name or IP text of the target, without brackets */
    sb_str_t ip;   /* the address as text; data NULL: it is host */
    uint16_t port;
    uint32_t weight; /* 0: never picked */
} sb_target_t;

typedef struct sb_balancer_conf {
    const char *algorithm; /* SB_DECLINED when there is none of that name */
    size_t slots;          /* consistent-hashing: the upstream's "slots" */
    size_t n_targets;      /* how many targets the addresses are of; 0: one per address */
    const sb_target_t *addresses;
    size_t n;
    /* The balancer that this one takes the place of (NULL: none): what it has learnt of addresses goes on here, if it has the same
     * algorithm, and so do picks of it that end later. It may be used further, and freed at any time. */
    const sb_balancer_t *before;
    const int *was; /* with before: n places, by address which one of before's it is, no one twice; -1: none of them */
} sb_balancer_conf_t;

/* "host:port" of a target entity; default port 8000; IPv6 in brackets. SB_DECLINED when malformed. */
int sb_target_parse(sb_str_t text, sb_str_t *host, uint16_t *port);
/* The stored form: port always there, IPv6 written out in brackets. malloc'ed; NULL when malformed. */
char *sb_target_normalise(sb_str_t text);

/* The host (IPv6 without brackets) and port of a target's row. malloc'ed; NULL when malformed. */
char *sb_target_of_row(const json_t *row, uint16_t *port);
/* Whether a host is an address by itself, and no name that stands for some. */
bool sb_target_is_ip(const char *host);

/* Keeps nothing of conf. */
int sb_balancer_new(const sb_balancer_conf_t *conf, sb_balancer_t **out, sb_err_t *err);
void sb_balancer_free(sb_balancer_t *b);
size_t sb_balancer_count(const sb_balancer_t *b);
/* Whether picks depend on `hash`, which then has to be worked out. */
bool sb_balancer_hashes(const sb_balancer_t *b);
/* Whether picks depend on how earlier ones ended, so that a balancer in its place should be told of it (`before`). */
bool sb_balancer_learns(const sb_balancer_t *b);
/* Which addresses are not to be picked: a bitmap of n bits, read now and in full. Costs O(n). */
void sb_balancer_set_down(sb_balancer_t *b, const uint64_t *down);
/* The index of an address; `tried` is a bitmap of n bits of addresses that this request has tried (may be NULL), which are avoided while an
 * untried one is left. -1: none is up and has weight. Each pick is ended by sb_balancer_done(). At most O(log n) but for tried ones. */
int sb_balancer_pick(sb_balancer_t *b, uint32_t hash, const uint64_t *tried);
/* The exchange with the address is over. latency_ms: until the answer's header came; INFINITY: it failed; negative: nothing was learnt.
 * now_ms: any steady clock, the same for all calls. */
void sb_balancer_done(sb_balancer_t *b, int index, uint64_t now_ms, double latency_ms);

#endif
