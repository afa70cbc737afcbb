/*
 * Picks an address among an upstream's targets. Pure: no sockets, no DNS; the proxy resolves names and hands addresses in.
 * Now: weighted round-robin (smooth, spread evenly, weight 0 never picked). struct algorithm (balancer_int.h) is the seam for the
 * other algorithms.
 */
#ifndef SB_BALANCER_H
#define SB_BALANCER_H

#include "core/base/base.h"
#include "core/base/uuid.h"

typedef struct sb_balancer sb_balancer_t;

typedef struct sb_target {
    sb_str_t host; /* name or IP text, without brackets */
    uint16_t port;
    uint32_t weight;
    sb_uuid_t id;
} sb_target_t;

/* "host:port" of a target entity; default port 8000; IPv6 in brackets. SB_DECLINED when malformed. */
int sb_target_parse(sb_str_t text, sb_str_t *host, uint16_t *port);
/* The stored form: port always there, IPv6 written out in brackets. malloc'ed; NULL when malformed. */
char *sb_target_normalise(sb_str_t text);

/* Copies the targets. algorithm: "round-robin" (others: SB_DECLINED until their issue). */
int sb_balancer_new(const char *algorithm, const sb_target_t *targets, size_t n, sb_balancer_t **out, sb_err_t *err);
void sb_balancer_free(sb_balancer_t *b);
size_t sb_balancer_count(const sb_balancer_t *b);
/* Next target index; `tried` is a bitmap of n bits of targets this request has tried (may be NULL), which are avoided while
 * an untried one is left. -1: none has weight. */
int sb_balancer_pick(sb_balancer_t *b, const uint64_t *tried);
const sb_target_t *sb_balancer_target(const sb_balancer_t *b, int index);

#endif
