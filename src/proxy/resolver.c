/*
 * The worker's names: a bounded hash table of entries, each with its addresses or the reason why there are none, until when
 * that is fresh and until when it may still be served while it is refreshed. Questions that no entry answers go to
 * resolver_io.c; all who ask for the same name meanwhile wait on one entry.
 *
 * An entry is in the table from its first question; it is in `lru` unless it comes from the hosts file, and never evicted
 * while it is busy. Outcomes are told from a posted event (on_finished), so that a waiter's callback never runs inside
 * sb_resolver_start(), even when c-ares answers at once. Addresses are reference-counted: an entry may change while
 * a request still uses the old ones.
 *
 * Start reading at sb_resolver_lookup().
 */
#include "proxy/resolver_int.h"

#include <ngx_event.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN   254
#define HOSTS_MAX      (4u << 20)
#define NEVER          UINT64_MAX
#define MAX_TTL        (7u * 86400)
#define MAX_STALE      (3650u * 86400)
#define MAX_CACHE_SIZE (1 << 22)

struct entry {
    struct entry *next;  /* in its bucket */
    ngx_queue_t lru;     /* unlinked for fixed entries */
    ngx_queue_t link;    /* in finished */
    ngx_queue_t waiters; /* sb_query_t */
    sb_addrs_t *addrs;   /* NULL: none, and why says so once asked */
    const char *why;
    uint64_t fresh_until, stale_until; /* milliseconds of nginx's clock; 0: never asked */
    uint32_t hash;
    uint8_t family, tries; /* index of the family that answered last, and how many were tried in this round */
    bool fixed, busy, finished;
    uint16_t len;
    char name[]; /* lower case, NUL-terminated */
};

static struct {
    struct entry **buckets;
    uint32_t mask, count, limit;
    ngx_queue_t lru, finished;
    ngx_event_t finished_event;
    int families[2];
    uint8_t n_families;
    uint32_t stale_ttl, error_ttl, not_found_ttl; /* seconds */
    int64_t valid_ttl;                            /* -1: the records' own */
    bool open;
} rs;

/* ---------- addresses ---------- */

sb_addrs_t *
sb_addrs_new(uint32_t n)
{
    sb_addrs_t *a = sb_malloc(sizeof(*a) + n * sizeof(a->addr[0]));

    a->refs = 1;
    a->turn = 0;
    a->n = n;
    return a;
}

sb_addrs_t *
sb_addrs_ref(sb_addrs_t *a)
{
    a->refs++;
    return a;
}

void
sb_addrs_unref(sb_addrs_t *a)
{
    if (a != NULL && --a->refs == 0)
        free(a);
}

const sb_addr_t *
sb_addrs_next(sb_addrs_t *a)
{
    return &a->addr[a->n == 1 ? 0 : a->turn++ % a->n];
}

/* ---------- the table ---------- */

static inline unsigned char
lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

static uint32_t
hash_of(const char *name, size_t len)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < len; i++)
        h = (h ^ lower((unsigned char)name[i])) * 16777619u;
    return h ^ h >> 15;
}

static bool
same_name(const struct entry *e, const char *name, size_t len)
{
    if (e->len != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)e->name[i] != lower((unsigned char)name[i]))
            return false;
    return true;
}

static struct entry *
find(const char *name, size_t len, uint32_t hash)
{
    struct entry *e = rs.buckets[hash & rs.mask];

    while (e != NULL && (e->hash != hash || !same_name(e, name, len)))
        e = e->next;
    return e;
}

static void
entry_free(struct entry *e)
{
    struct entry **p = &rs.buckets[e->hash & rs.mask];

    while (*p != e)
        p = &(*p)->next;
    *p = e->next;
    if (!e->fixed) {
        ngx_queue_remove(&e->lru);
        rs.count--;
    }
    sb_addrs_unref(e->addrs);
    free(e);
}

/* Makes room for one more; entries someone waits for stay, so a burst may exceed the limit for a while. */
static void
evict(void)
{
    ngx_queue_t *q = ngx_queue_last(&rs.lru), *before;

    while (rs.count >= rs.limit && q != ngx_queue_sentinel(&rs.lru)) {
        struct entry *e = ngx_queue_data(q, struct entry, lru);

        before = ngx_queue_prev(q);
        if (!e->busy && !e->finished)
            entry_free(e);
        q = before;
    }
}

static struct entry *
add(const char *name, size_t len, uint32_t hash, bool fixed)
{
    struct entry *e;

    if (!fixed)
        evict();
    e = sb_calloc(sizeof(*e) + len + 1);
    for (size_t i = 0; i < len; i++)
        e->name[i] = (char)lower((unsigned char)name[i]);
    e->len = (uint16_t)len;
    e->hash = hash;
    e->fixed = fixed;
    e->next = rs.buckets[hash & rs.mask];
    rs.buckets[hash & rs.mask] = e;
    ngx_queue_init(&e->waiters);
    if (!fixed) {
        ngx_queue_insert_head(&rs.lru, &e->lru);
        rs.count++;
    }
    return e;
}

static bool
name_is_sane(const char *name, size_t len)
{
    if (len == 0 || len > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] <= 0x20 || (unsigned char)name[i] >= 0x7f)
            return false;
    return true;
}

/* ---------- asking ---------- */

static const char *
reason_of(int status)
{
    switch (status) {
    case ARES_ENOTFOUND:
        return "dns server error: 3 name error";
    case ARES_ENODATA:
        return "dns client error: 101 empty record received";
    case ARES_EFORMERR:
        return "dns server error: 1 format error";
    case ARES_ESERVFAIL:
        return "dns server error: 2 server failure";
    case ARES_ENOTIMP:
        return "dns server error: 4 not implemented";
    case ARES_EREFUSED:
        return "dns server error: 5 refused";
    case ARES_ETIMEOUT:
        return "dns lookup timed out";
    case ARES_ECONNREFUSED:
        return "dns lookup failed: no name server gave an answer";
    default:
        return ares_strerror(status);
    }
}

static void
finish(struct entry *e)
{
    e->busy = false;
    if (e->finished)
        return;
    e->finished = true;
    ngx_queue_insert_tail(&rs.finished, &e->link);
    if (!rs.finished_event.posted) {
        ngx_post_event(&rs.finished_event, &ngx_posted_events);
    }
}

static void
store_addrs(struct entry *e, sb_addrs_t *addrs, uint32_t ttl)
{
    sb_addrs_unref(e->addrs);
    e->addrs = addrs;
    e->why = NULL;
    if (rs.valid_ttl >= 0)
        ttl = (uint32_t)rs.valid_ttl;
    if (ttl > MAX_TTL)
        ttl = MAX_TTL;
    e->fresh_until = ngx_current_msec + (uint64_t)ttl * 1000;
    /* A record that must not be cached must not be served stale either. */
    e->stale_until = ttl == 0 ? 0 : e->fresh_until + (uint64_t)rs.stale_ttl * 1000;
}

static void
store_failure(struct entry *e, int status)
{
    bool gone = status == ARES_ENOTFOUND || status == ARES_ENODATA;

    e->fresh_until = ngx_current_msec + (uint64_t)(gone ? rs.not_found_ttl : rs.error_ttl) * 1000;
    e->why = reason_of(status);
    if (!gone && e->addrs != NULL && e->stale_until > ngx_current_msec)
        return; /* the servers are in trouble, the name is not: the old answer serves on */
    sb_addrs_unref(e->addrs);
    e->addrs = NULL;
}

static void on_answer(void *arg, int status, sb_addrs_t *addrs, uint32_t ttl);

static void
ask(struct entry *e)
{
    sb_resolver_io_ask(e->name, rs.families[e->family], on_answer, e);
}

static void
on_answer(void *arg, int status, sb_addrs_t *addrs, uint32_t ttl)
{
    struct entry *e = arg;

    if (addrs == NULL && (status == ARES_ENODATA || status == ARES_ENOTFOUND) && ++e->tries < rs.n_families) {
        e->family = (uint8_t)((e->family + 1) % rs.n_families);
        ask(e);
        return;
    }
    if (addrs != NULL)
        store_addrs(e, addrs, ttl);
    else
        store_failure(e, status);
    finish(e);
}

static void
begin(struct entry *e)
{
    e->busy = true;
    e->tries = 0;
    ask(e);
}

static void
tell(struct entry *e)
{
    sb_addrs_t *addrs = e->addrs != NULL ? sb_addrs_ref(e->addrs) : NULL;
    const char *why = e->why;
    ngx_queue_t waiters;

    /* A waiter's callback may ask for this name again, or evict it: from here on the entry is not touched. */
    ngx_queue_init(&waiters);
    if (!ngx_queue_empty(&e->waiters)) {
        ngx_queue_add(&waiters, &e->waiters);
        ngx_queue_init(&e->waiters);
    }
    while (!ngx_queue_empty(&waiters)) {
        sb_query_t *q = ngx_queue_data(ngx_queue_head(&waiters), sb_query_t, link);

        ngx_queue_remove(&q->link);
        q->active = false;
        q->done(q, addrs, addrs != NULL ? NULL : why);
    }
    sb_addrs_unref(addrs);
}

static void
on_finished(ngx_event_t *ev)
{
    while (!ngx_queue_empty(&rs.finished)) {
        struct entry *e = ngx_queue_data(ngx_queue_head(&rs.finished), struct entry, link);

        ngx_queue_remove(&e->link);
        e->finished = false;
        tell(e);
    }
}

/* The entry of a name that may be asked for; literals get their only address at once. NULL: not a name. */
static struct entry *
entry_of(const char *name, size_t len)
{
    uint32_t hash = hash_of(name, len);
    struct entry *e = find(name, len, hash);
    sb_addr_t addr;

    if (e != NULL)
        return e;
    if (!name_is_sane(name, len))
        return NULL;
    e = add(name, len, hash, false);
    if (sb_addr_parse(name, len, &addr)) {
        e->addrs = sb_addrs_new(1);
        e->addrs->addr[0] = addr;
        e->fresh_until = NEVER;
    }
    return e;
}

int
sb_resolver_lookup(const char *name, size_t len, sb_addrs_t **addrs, const char **why)
{
    struct entry *e;

    *why = "invalid name";
    if (!rs.open || (e = entry_of(name, len)) == NULL)
        return SB_DECLINED;
    if (!e->fixed && ngx_queue_head(&rs.lru) != &e->lru) {
        ngx_queue_remove(&e->lru);
        ngx_queue_insert_head(&rs.lru, &e->lru);
    }
    if (e->fresh_until > ngx_current_msec) {
        *addrs = e->addrs;
        *why = e->why;
        return e->addrs != NULL ? SB_OK : SB_DECLINED;
    }
    if (e->addrs == NULL || e->stale_until <= ngx_current_msec)
        return SB_AGAIN;
    *addrs = e->addrs;
    if (!e->busy)
        begin(e); /* keeps e->addrs until on_answer, which a resolver without servers may have called already */
    *addrs = e->addrs;
    *why = e->why;
    return e->addrs != NULL ? SB_OK : SB_DECLINED;
}

void
sb_resolver_start(const char *name, size_t len, sb_query_t *q)
{
    struct entry *e = rs.open ? entry_of(name, len) : NULL;

    SB_ASSERT(e != NULL && !q->active); /* lookup said SB_AGAIN before */
    q->active = true;
    ngx_queue_insert_tail(&e->waiters, &q->link);
    if (e->busy)
        return;
    if (e->fresh_until > ngx_current_msec)
        finish(e);
    else
        begin(e);
}

void
sb_resolver_cancel(sb_query_t *q)
{
    if (!q->active)
        return;
    q->active = false;
    ngx_queue_remove(&q->link);
}

/* ---------- start and end ---------- */

static void
fix(sb_str_t name, const sb_addr_t *addr)
{
    uint32_t hash = hash_of(name.data, name.len);
    struct entry *e = find(name.data, name.len, hash);
    sb_addrs_t *a;

    if (!name_is_sane(name.data, name.len))
        return;
    if (e == NULL)
        e = add(name.data, name.len, hash, true);
    a = sb_addrs_new(e->addrs != NULL ? e->addrs->n + 1 : 1);
    if (e->addrs != NULL)
        memcpy(a->addr, e->addrs->addr, e->addrs->n * sizeof(a->addr[0]));
    a->addr[a->n - 1] = *addr;
    sb_addrs_unref(e->addrs);
    e->addrs = a;
    e->fresh_until = NEVER;
}

static void
on_hosts_line(sb_str_t name, const sb_addr_t *addr, void *arg)
{
    fix(name, addr);
}

/* Of a name with addresses of both kinds only those of the family that is asked for first stay. */
static void
prefer_family(struct entry *e)
{
    for (uint8_t f = 0; f < rs.n_families; f++) {
        uint32_t n = 0;

        for (uint32_t i = 0; i < e->addrs->n; i++)
            if (e->addrs->addr[i].sa.any.sa_family == rs.families[f])
                e->addrs->addr[n++] = e->addrs->addr[i];
        if (n != 0) {
            e->addrs->n = n;
            return;
        }
    }
}

static void
load_hosts(const char *path)
{
    size_t len = 0;
    char *text = path != NULL ? sb_hosts_read(path, HOSTS_MAX, &len) : NULL;
    sb_addr_t addr;

    if (text != NULL)
        sb_hosts_parse(text, len, on_hosts_line, NULL);
    free(text);
    if (find("localhost", 9, hash_of("localhost", 9)) == NULL) {
        sb_addr_parse("127.0.0.1", 9, &addr);
        fix(SB_STR("localhost"), &addr);
        sb_addr_parse("::1", 3, &addr);
        fix(SB_STR("localhost"), &addr);
    }
    for (uint32_t b = 0; b <= rs.mask; b++)
        for (struct entry *e = rs.buckets[b]; e != NULL; e = e->next)
            prefer_family(e);
}

static void
read_families(const sb_settings_t *s, const char *setting)
{
    size_t n = 0;
    const char *const *types = sb_settings_list(s, setting, &n);

    rs.n_families = 0;
    for (size_t i = 0; i < n && rs.n_families < 2; i++) {
        int family = strcasecmp(types[i], "A") == 0 ? AF_INET : strcasecmp(types[i], "AAAA") == 0 ? AF_INET6 : 0;

        if (family != 0 && (rs.n_families == 0 || rs.families[0] != family))
            rs.families[rs.n_families++] = family;
    }
    if (rs.n_families == 0)
        rs.families[rs.n_families++] = AF_INET;
}

static uint32_t
seconds(const sb_settings_t *s, const char *setting)
{
    double v = sb_settings_num(s, setting);
    return v > 0 && v < MAX_STALE ? (uint32_t)v : v > 0 ? MAX_STALE : 0;
}

static int64_t
optional_seconds(const sb_settings_t *s, const char *setting)
{
    return sb_settings_str(s, setting) != NULL ? (int64_t)seconds(s, setting) : -1;
}

static void
read_settings(const sb_settings_t *s, bool modern)
{
    int64_t size = sb_settings_int(s, modern ? "resolver_lru_cache_size" : "dns_cache_size");
    uint32_t buckets = 64;

    rs.limit = size < 1 ? 1 : size > MAX_CACHE_SIZE ? MAX_CACHE_SIZE : (uint32_t)size;
    while (buckets < rs.limit && buckets < 1 << 16)
        buckets *= 2;
    rs.mask = buckets - 1;
    rs.buckets = sb_calloc(buckets * sizeof(*rs.buckets));
    rs.stale_ttl = seconds(s, modern ? "resolver_stale_ttl" : "dns_stale_ttl");
    rs.error_ttl = seconds(s, modern ? "resolver_error_ttl" : "dns_error_ttl");
    rs.not_found_ttl = seconds(s, modern ? "resolver_error_ttl" : "dns_not_found_ttl");
    rs.valid_ttl = optional_seconds(s, modern ? "resolver_valid_ttl" : "dns_valid_ttl");
    read_families(s, modern ? "resolver_family" : "dns_order");
}

static char *
server_list(const sb_settings_t *s, const char *setting)
{
    size_t n = 0;
    const char *const *list = sb_settings_list(s, setting, &n);
    char *csv = NULL;

    for (size_t i = 0; i < n; i++) {
        char *longer = csv != NULL ? sb_asprintf("%s,%s", csv, list[i]) : sb_asprintf("%s", list[i]);

        free(csv);
        csv = longer;
    }
    return csv;
}

int
sb_resolver_init(const sb_settings_t *s, ngx_log_t *log, sb_err_t *err)
{
    bool modern = sb_settings_bool(s, "new_dns_client");
    char *servers = server_list(s, modern ? "resolver_address" : "dns_resolver");
    int rc = sb_resolver_io_open(servers, log, err);

    free(servers);
    if (rc != SB_OK)
        return rc;
    memset(&rs, 0, sizeof(rs));
    ngx_queue_init(&rs.lru);
    ngx_queue_init(&rs.finished);
    rs.finished_event.handler = on_finished;
    rs.finished_event.log = log;
    read_settings(s, modern);
    rs.open = true;
    load_hosts(sb_settings_str(s, modern ? "resolver_hosts_file" : "dns_hostsfile"));
    return SB_OK;
}

static void
drop_waiters(struct entry *e)
{
    while (!ngx_queue_empty(&e->waiters)) {
        sb_query_t *q = ngx_queue_data(ngx_queue_head(&e->waiters), sb_query_t, link);

        sb_resolver_cancel(q);
    }
}

void
sb_resolver_done(void)
{
    if (!rs.open)
        return;
    rs.open = false;
    if (rs.finished_event.posted) {
        ngx_delete_posted_event(&rs.finished_event);
    }
    sb_resolver_io_close();
    for (uint32_t b = 0; b <= rs.mask; b++)
        while (rs.buckets[b] != NULL) {
            drop_waiters(rs.buckets[b]);
            entry_free(rs.buckets[b]);
        }
    free(rs.buckets);
    rs.buckets = NULL;
}
