/*
 * Which route a request takes and why the others do not, found by trying every route: for people who ask (GET /debug/route-match), not for
 * requests. test_router_random.c holds it against the router.
 */
#ifndef SB_ROUTER_EXPLAIN_H
#define SB_ROUTER_EXPLAIN_H

#include "core/router/router.h"

#define SB_ROUTE_REASON_MAX 256

/* Of one route. */
typedef struct sb_route_verdict {
    json_t *row; /* a reference */
    bool fits;
    sb_route_match_t match;           /* when it fits: as sb_router_match would fill it were there no other */
    json_t *failed;                   /* names of the attributes that do not fit, in the order they are looked at */
    char reason[SB_ROUTE_REASON_MAX]; /* of the first of them */
} sb_route_verdict_t;

typedef struct sb_route_explain sb_route_explain_t;

/* req stays the caller's and must live as long. keep: how many verdicts are kept, at least 1. */
sb_route_explain_t *sb_route_explain_new(enum sb_router_flavor flavor, const sb_route_request_t *req, size_t keep);
void sb_route_explain_free(sb_route_explain_t *x);
/* A route, whose service is disabled or not. Rows that cannot be read are passed over. */
void sb_route_explain_add(sb_route_explain_t *x, json_t *row, const sb_uuid_t *ws, uint64_t version, bool disabled);
/* How many were added. */
size_t sb_route_explain_total(const sb_route_explain_t *x);
/* The kept verdicts: those that fit, the winner first, then those with the fewest attributes that do not. NULL behind the last. */
const sb_route_verdict_t *sb_route_explain_at(const sb_route_explain_t *x, size_t i);

#endif
