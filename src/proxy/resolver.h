/*
 * Names to addresses, asynchronously, in a proxy worker's event loop: hosts file, search domains and ndots of resolv.conf,
 * the dns_* settings (resolver_* with new_dns_client), A, AAAA, SRV and CNAME records, a bounded cache with negative and stale answers.
 * Upstream hosts and Lua's cosockets both ask here, because nginx's own resolver knows neither hosts file nor search domains.
 *
 * One resolver per worker; everything runs on the worker's only thread. IP literals and "localhost" never wait.
 *
 *     switch (sb_resolver_lookup(name, len, &addrs, &why)) {
 *     case SB_OK:       addrs may be used until the next turn of the event loop, or longer with sb_addrs_ref()
 *     case SB_DECLINED: known to fail; why says how
 *     case SB_AGAIN:    sb_resolver_start(&query, …) and wait for query.done
 *     }
 */
#ifndef SB_RESOLVER_H
#define SB_RESOLVER_H

#include <ngx_config.h>
#include <ngx_core.h>

#include "core/settings/settings.h"
#include "proxy/resolver_addr.h"

#ifndef SB_AGAIN
#define SB_AGAIN 2
#endif

/* The addresses of one name; immutable but for the counters, shared by everyone who asked. At least one. Those of SRV records (the
 * group of the lowest priority) have ports, weights and names of their own; of other names `port` is 0 and the weights are equal. */
typedef struct sb_addrs {
    uint32_t refs;
    uint32_t turn; /* sb_addrs_next() */
    uint32_t n;
    uint8_t type;     /* SB_DNS_* of the record that the name has; 0: literal */
    bool weighted;    /* not all weights are equal */
    int64_t *credits; /* n, with weighted: sb_addrs_next() */
    char *names;
    sb_addr_t addr[];
} sb_addrs_t;

sb_addrs_t *sb_addrs_ref(sb_addrs_t *a);
void sb_addrs_unref(sb_addrs_t *a); /* NULL is fine */
/* The next address in turn, so that callers spread over all of them, by weight. Any n calls in a row of equal weights give all n. */
const sb_addr_t *sb_addrs_next(sb_addrs_t *a);
/* The same for another try: one that was not tried yet, while there is any. */
const sb_addr_t *sb_addrs_untried(sb_addrs_t *a, bool (*was_tried)(const sb_addr_t *addr, const void *arg), const void *arg);

/* A lookup under way. Embed it in what waits; the resolver keeps only a link to it. */
typedef struct sb_query sb_query_t;
struct sb_query {
    /* Called once, from the event loop, never inside sb_resolver_start(). Either addrs (borrowed: sb_addrs_ref() to keep) or,
     * with addrs NULL, why: a static text such as "dns server error: 3 name error". The query may be reused from here on. */
    void (*done)(sb_query_t *q, sb_addrs_t *addrs, const char *why);
    void *data;
    ngx_queue_t link; /* the resolver's */
    bool active;      /* the resolver's: set between start and done or cancel. Zero before the first start */
};

/* In the worker, after fork. SB_DECLINED when a setting is wrong (a server's address …). */
int sb_resolver_init(const sb_settings_t *s, ngx_log_t *log, sb_err_t *err);
/* At the worker's end. Queries under way are dropped without a call of done. */
void sb_resolver_done(void);
/* The answer from the cache, without allocating when there is one. A stale answer is given while it is refreshed. */
int sb_resolver_lookup(const char *name, size_t len, sb_addrs_t **addrs, const char **why);
/* After SB_AGAIN: joins the lookup of this name if there is one, else begins it. name is copied. */
void sb_resolver_start(const char *name, size_t len, sb_query_t *q);
/* What the resolver has done since this worker started, by name: {"name": {"runs": n, …}}; new reference. Names that were evicted are
 * not told of. NULL with the classic client, which counts nothing that it shows. */
json_t *sb_resolver_stats(void);
/* The waiter goes away: done will not be called. Harmless when the query is not active. */
void sb_resolver_cancel(sb_query_t *q);

#endif
