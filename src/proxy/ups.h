/*
 * Upstream entities as a worker holds them (ups.c), the addresses that their targets stand for at the moment (peers.c), and what a request
 * is hashed by (hash_input.c).
 *
 * Lifetimes: an entity is replaced when its row, a target or its certificate changes, its set of addresses also when a name's addresses
 * do. Exchanges hold references on both. What is known of addresses that stay goes from set to set.
 */
#ifndef SB_PROXY_UPS_H
#define SB_PROXY_UPS_H

#include "core/balancer/health.h"
#include "proxy/keepalive.h"
#include "proxy/tls.h"

/* One address of a target. */
typedef struct sb_peer {
    const sb_endpoint_t *target;
    const sb_addr_t *addr; /* without port, unless the target is a literal */
    uint64_t health_key;
    uint32_t weight; /* as its balancer knows it */
} sb_peer_t;

/* The addresses that a balancer picks among; never changes, but for who is healthy. */
typedef struct sb_peers {
    uint32_t refs;
    size_t n;
    sb_peer_t *items;
    sb_balancer_t *balancer;
    uint64_t *down;      /* bits of those that are unhealthy, as balancer knows it */
    uint64_t health_gen; /* down and serves are right while this is the shared state's */
    bool serves;         /* enough of the weight is healthy for the upstream to get traffic at all */
    sb_addrs_t **held;   /* what addr points into */
    size_t n_held;
} sb_peers_t;

enum sb_hash_on {
    SB_HASH_NONE,
    SB_HASH_CONSUMER,
    SB_HASH_IP,
    SB_HASH_HEADER,
    SB_HASH_COOKIE,
    SB_HASH_PATH,
    SB_HASH_QUERY_ARG,
    SB_HASH_URI_CAPTURE
};

typedef struct sb_hash_input {
    enum sb_hash_on on;
    sb_str_t name; /* of the header, cookie, argument, capture */
} sb_hash_input_t;

/* How the traffic of an upstream is judged. */
typedef struct sb_passive {
    bool on; /* some failure counts */
    sb_health_limits_t limits;
    uint64_t healthy[16], unhealthy[16]; /* bits of statuses */
} sb_passive_t;

/* The name of a target, as far as it is known. */
typedef struct sb_ups_name {
    sb_addrs_t *known; /* referenced; NULL: no address */
    sb_query_t query;  /* the lookup under way */
    const char *why;   /* what the last one failed with, at failed_at; NULL: it did not */
    ngx_msec_t failed_at;
} sb_ups_name_t;

/* A host name that stands for targets. */
struct sb_ups {
    sb_node_t node; /* in the table of upstreams, until stale */
    uint32_t refs;
    bool stale;
    bool all_changed; /* stale by more than the targets in `changed` */
    bool use_srv_name;
    bool has_cert; /* shown to targets whose service has no certificate of its own: */
    sb_uuid_t cert;
    sb_uuid_t changed[16]; /* stale only by these targets: what takes its place has the others from here */
    size_t n_changed;
    sb_str_t host_header; /* len 0: none */
    sb_str_t algorithm;
    size_t slots;
    sb_hash_input_t hash[2]; /* the second when the first gives nothing */
    sb_str_t cookie_path;    /* of a cookie that is set for hashing */
    double threshold;        /* serves while more than this share (%) of the weight is healthy */
    sb_passive_t passive;
    size_t n;
    sb_endpoint_t *targets;
    size_t n_names;       /* names among them */
    sb_ups_name_t *names; /* by target; n_names 0: NULL */
    const char *why;      /* what kept a name from having an address; NULL: nothing */
    ngx_msec_t look_at;
    bool learnt;        /* a name has other addresses than `peers` is of */
    sb_peers_t *peers;  /* current; NULL: not made yet */
    sb_peers_t *before; /* until then: those of the object that this one took the place of; NULL: none */
    sb_pool_t *pool;
};

/* peers.c. What there is to pick from now; names are looked at again when it is time. Borrowed; n is 0 when there is nothing. *pending: a
 * target whose name is being looked up for the first time, or NULL. */
sb_peers_t *sb_ups_peers(sb_ups_t *u, const sb_endpoint_t **pending);
/* How a try with an address ended: counted where the upstream judges its traffic, and logged when the address became healthy or
 * unhealthy by it. name: the address, for the log. */
void sb_ups_report(const sb_ups_t *u, const sb_peer_t *p, enum sb_health_kind kind, const ngx_str_t *name, ngx_log_t *log);
/* Tells the balancer who is healthy now. */
void sb_peers_follow_health(const sb_ups_t *u, sb_peers_t *p);
sb_peers_t *sb_peers_ref(sb_peers_t *p);
void sb_peers_unref(sb_peers_t *p); /* NULL is fine */
/* Room for what names are known to be; after u->targets. The end of it. */
void sb_ups_names_start(sb_ups_t *u);
void sb_ups_names_end(sb_ups_t *u);

/* ups.c. The certificate that an upstream (may be NULL) shows to its targets, unless the service (may be NULL) has one of its own; a
 * reference for the caller. NULL: none. */
sb_tls_cert_t *sb_ups_cert(const sb_ups_t *u, const sb_service_t *s);

/* hash_input.c. The hash by which a target is picked; sets the upstream's cookie when it is missing. */
uint32_t sb_hash_request(const sb_ups_t *u, sb_ctx_t *ctx, ngx_http_request_t *r);

#endif
