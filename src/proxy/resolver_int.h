/* The resolver's insides: resolver.c (cache and waiters), resolver_round.c (one resolution), resolver_hosts.c (the hosts file),
 * resolver_io.c (c-ares in nginx's event loop), resolver_msg.c (what answers say). Each but the last two has a part below. */
#ifndef SB_RESOLVER_INT_H
#define SB_RESOLVER_INT_H

#include "proxy/resolver.h"
#include "proxy/resolver_msg.h"

#ifndef CARES_NO_DEPRECATED
#define CARES_NO_DEPRECATED /* Debian 12's c-ares has only what Debian 13's calls deprecated */
#endif
#include <ares.h>

#define SB_DNS_MAX_TYPES 5
#define SB_DNS_NEVER     UINT64_MAX

/* Reasons that are not c-ares's: a name that leads to itself, and a name that cannot be one. */
enum { SB_DNS_ELOOP = 1000, SB_DNS_EBADNAME };

/* --- resolver.c --- */

/* A name that somebody asked for. */
typedef struct sb_dns_entry {
    struct sb_dns_entry *next;         /* in its bucket */
    ngx_queue_t lru;                   /* unlinked for fixed entries */
    sb_addrs_t *addrs;                 /* NULL: none, and status says why once asked */
    int status;                        /* ARES_* or SB_DNS_E*, of the last round */
    uint64_t fresh_until, stale_until; /* milliseconds of nginx's clock; 0: never asked */
    struct sb_dns_round *round;        /* the one that askers join; NULL: none */
    uint32_t hash, pins;               /* pins: rounds under way and untold; not evicted while there are any */
    uint32_t runs, hits, stale_hits, misses, queries, succeeded, failed; /* /status/dns; runs = hits + stale_hits + misses */
    time_t asked_at;                                                     /* of the last question to a server; 0: never */
    uint8_t last;                                                        /* the record type that worked last (SB_DNS_*); 0: none yet */
    bool fixed;                                                          /* from the hosts file */
    uint16_t len;
    char name[]; /* lower case, NUL-terminated */
} sb_dns_entry_t;

/* What the settings say. */
typedef struct sb_dns_conf {
    uint8_t order[SB_DNS_MAX_TYPES], n_order;     /* SB_DNS_*, in the order they are asked for */
    bool last;                                    /* the type that worked last comes first */
    bool no_sync;                                 /* equal questions are not merged */
    bool modern;                                  /* SRV for _service._protocol.name, and only for those */
    uint32_t stale_ttl, error_ttl, not_found_ttl; /* seconds */
    int64_t valid_ttl;                            /* -1: the records' own */
} sb_dns_conf_t;

extern sb_dns_conf_t sb_dns_conf;

/* The entry of a name that may be asked for; made when it is new, and a literal gets its only address at once. NULL: not a name. */
sb_dns_entry_t *sb_dns_entry(const char *name, size_t len);
/* The outcome of a round; addrs is taken over. */
void sb_dns_store(sb_dns_entry_t *e, int status, sb_addrs_t *addrs, uint32_t ttl, uint8_t type);
/* The reason in words. Static text. */
const char *sb_dns_reason(int status);
/* Whether an answer says that there is no such name or record, rather than that servers are in trouble. */
static inline bool
sb_dns_is_gone(int status)
{
    return status == ARES_ENOTFOUND || status == ARES_ENODATA;
}

/* --- resolver_round.c: one resolution of one name --- */

typedef struct sb_dns_round {
    ngx_queue_t all, finished;   /* links */
    ngx_queue_t waiters;         /* sb_query_t */
    sb_dns_entry_t *e;           /* pinned */
    struct sb_dns_round *parent; /* the round that waits for this one's addresses, as part number `part`; NULL: none */
    uint32_t part;
    uint8_t types[SB_DNS_MAX_TYPES], n_types, at;
    int trouble, status;       /* the first failure that is not sb_dns_is_gone(), and the last of any kind */
    sb_addrs_t *addrs;         /* the outcome, referenced; NULL: status says why */
    uint32_t ttl;              /* seconds that the records of `parts` live */
    struct sb_dns_part *parts; /* targets of SRV or CNAME records that are being looked up */
    uint32_t n_parts, pending;
} sb_dns_round_t;

/* A round for e, begun. With a parent: for one of its parts. The outcome is told from a posted event. */
sb_dns_round_t *sb_dns_round_start(sb_dns_entry_t *e, sb_dns_round_t *parent, uint32_t part);
/* A round that is over before it began: the entry's present outcome is told. */
sb_dns_round_t *sb_dns_round_over(sb_dns_entry_t *e);
void sb_dns_rounds_init(ngx_log_t *log);
/* Frees all rounds; their waiters are cancelled. After sb_resolver_io_close(). */
void sb_dns_rounds_done(void);

/* --- resolver_io.c: one c-ares channel per worker --- */

/* servers: "a,b:port" or NULL for resolv.conf's. */
int sb_resolver_io_open(const char *servers, ngx_log_t *log, sb_err_t *err);
void sb_resolver_io_close(void);
/* Asks for one type (SB_DNS_*), with resolv.conf's search domains. done(arg, …) may be called before this returns, and is not called
 * after sb_resolver_io_close(). answer is done's to read, not to keep; NULL with another *ares_status than ARES_SUCCESS. */
typedef void (*sb_resolver_io_done_pt)(void *arg, int ares_status, const sb_dns_answer_t *answer);
void sb_resolver_io_ask(const char *name, int type, sb_resolver_io_done_pt done, void *arg);

/* --- addresses --- */

/* n addresses, zeroed, one reference; names_len bytes at `names` for what srv_name points to. */
sb_addrs_t *sb_addrs_new(uint32_t n, size_t names_len);

#endif
