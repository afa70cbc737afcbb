/*
 * The worker's names: a bounded hash table of entries, each with its addresses or the reason why there are none, until when
 * that is fresh and until when it may still be served while it is refreshed. Questions that no entry answers go to rounds
 * (resolver_round.c).
 *
 * An entry is in the table from its first question; it is in `lru` unless it comes from the hosts file, and never evicted while a round
 * is pinned to it. Names of the hosts file are put in front of others of the same name, so they hide them, and are thrown away when
 * the file has changed. Addresses are reference-counted: an entry may change while a request still uses the old ones.
 *
 * Start reading at sb_resolver_lookup().
 */
#include "proxy/resolver_int.h"

#include <ngx_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_MAX_LEN   254
#define HOSTS_MAX      (4u << 20)
#define HOSTS_EVERY_MS 1000 /* how often lookups see whether the file has changed */
#define MAX_TTL        (7u * 86400)
#define MAX_STALE      (3650u * 86400)
#define MAX_CACHE_SIZE (1 << 22)

static struct {
    sb_dns_entry_t **buckets;
    uint32_t mask, count, limit;
    ngx_queue_t lru;
    char *hosts_path;
    struct stat hosts;    /* as it was when it was read; all 0: it was not there */
    uint64_t hosts_check; /* when to look again */
    bool open;
} rs;

sb_dns_conf_t sb_dns_conf;

/* ---------- addresses ---------- */

sb_addrs_t *
sb_addrs_new(uint32_t n, size_t names_len)
{
    sb_addrs_t *a = sb_calloc(sizeof(*a) + n * sizeof(a->addr[0]));

    a->refs = 1;
    a->n = n;
    if (names_len != 0)
        a->names = sb_calloc(names_len);
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
    if (a == NULL || --a->refs != 0)
        return;
    free(a->credits);
    free(a->names);
    free(a);
}

/* Smooth turns: everyone earns his weight, the richest goes and pays what all earned. */
static const sb_addr_t *
next_by_weight(sb_addrs_t *a)
{
    uint32_t best = 0;
    int64_t total = 0;

    for (uint32_t i = 0; i < a->n; i++) {
        a->credits[i] += a->addr[i].weight;
        total += a->addr[i].weight;
        if (a->credits[i] > a->credits[best])
            best = i;
    }
    a->credits[best] -= total;
    return &a->addr[best];
}

const sb_addr_t *
sb_addrs_next(sb_addrs_t *a)
{
    if (a->weighted)
        return next_by_weight(a);
    return &a->addr[a->n == 1 ? 0 : a->turn++ % a->n];
}

const sb_addr_t *
sb_addrs_untried(sb_addrs_t *a, bool (*was_tried)(const sb_addr_t *addr, const void *arg), const void *arg)
{
    const sb_addr_t *next = sb_addrs_next(a);
    uint32_t at = (uint32_t)(next - a->addr);

    for (uint32_t i = 0; i < a->n; i++) {
        const sb_addr_t *addr = &a->addr[(at + i) % a->n];

        if (!was_tried(addr, arg))
            return addr;
    }
    return next;
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
same_name(const sb_dns_entry_t *e, const char *name, size_t len)
{
    if (e->len != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)e->name[i] != lower((unsigned char)name[i]))
            return false;
    return true;
}

static sb_dns_entry_t *
find(const char *name, size_t len, uint32_t hash)
{
    sb_dns_entry_t *e = rs.buckets[hash & rs.mask];

    while (e != NULL && (e->hash != hash || !same_name(e, name, len)))
        e = e->next;
    return e;
}

static void
entry_free(sb_dns_entry_t *e)
{
    sb_dns_entry_t **p = &rs.buckets[e->hash & rs.mask];

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
        sb_dns_entry_t *e = ngx_queue_data(q, sb_dns_entry_t, lru);

        before = ngx_queue_prev(q);
        if (e->pins == 0)
            entry_free(e);
        q = before;
    }
}

static sb_dns_entry_t *
add(const char *name, size_t len, uint32_t hash, bool fixed)
{
    sb_dns_entry_t *e;

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

/* ---------- outcomes ---------- */

const char *
sb_dns_reason(int status)
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
    case SB_DNS_ELOOP:
        return "recursion detected";
    case SB_DNS_EBADNAME:
        return "invalid name";
    default:
        return ares_strerror(status);
    }
}

static void
store_addrs(sb_dns_entry_t *e, sb_addrs_t *addrs, uint32_t ttl)
{
    sb_addrs_unref(e->addrs);
    e->addrs = addrs;
    if (sb_dns_conf.valid_ttl >= 0)
        ttl = (uint32_t)sb_dns_conf.valid_ttl;
    if (ttl > MAX_TTL)
        ttl = MAX_TTL;
    e->fresh_until = ngx_current_msec + (uint64_t)ttl * 1000;
    /* A record that must not be cached must not be served stale either. */
    e->stale_until = ttl == 0 ? 0 : e->fresh_until + (uint64_t)sb_dns_conf.stale_ttl * 1000;
}

static void
store_failure(sb_dns_entry_t *e)
{
    bool gone = sb_dns_is_gone(e->status);

    e->fresh_until = ngx_current_msec + (uint64_t)(gone ? sb_dns_conf.not_found_ttl : sb_dns_conf.error_ttl) * 1000;
    if (!gone && e->addrs != NULL && e->stale_until > ngx_current_msec)
        return; /* the servers are in trouble, the name is not: the old answer serves on */
    sb_addrs_unref(e->addrs);
    e->addrs = NULL;
}

void
sb_dns_store(sb_dns_entry_t *e, int status, sb_addrs_t *addrs, uint32_t ttl, uint8_t type)
{
    e->status = status;
    if (addrs == NULL) {
        e->failed++;
        store_failure(e);
        return;
    }
    e->succeeded++;
    e->last = type;
    store_addrs(e, addrs, ttl);
}

/* ---------- asking ---------- */

sb_dns_entry_t *
sb_dns_entry(const char *name, size_t len)
{
    uint32_t hash = hash_of(name, len);
    sb_dns_entry_t *e = find(name, len, hash);
    sb_addr_t addr;

    if (e != NULL)
        return e;
    if (!name_is_sane(name, len))
        return NULL;
    e = add(name, len, hash, false);
    if (sb_addr_parse(name, len, &addr)) {
        e->addrs = sb_addrs_new(1, 0);
        e->addrs->addr[0] = addr;
        e->fresh_until = SB_DNS_NEVER;
    }
    return e;
}

static void see_hosts(void);

static void
touch(sb_dns_entry_t *e)
{
    if (e->fixed || ngx_queue_head(&rs.lru) == &e->lru)
        return;
    ngx_queue_remove(&e->lru);
    ngx_queue_insert_head(&rs.lru, &e->lru);
}

int
sb_resolver_lookup(const char *name, size_t len, sb_addrs_t **addrs, const char **why)
{
    sb_dns_entry_t *e;

    *why = "invalid name";
    if (!rs.open)
        return SB_DECLINED;
    if (ngx_current_msec >= rs.hosts_check)
        see_hosts();
    if ((e = sb_dns_entry(name, len)) == NULL)
        return SB_DECLINED;
    touch(e);
    e->runs++;
    if (e->fresh_until > ngx_current_msec) {
        e->hits++;
        *addrs = e->addrs;
        if (e->addrs == NULL)
            *why = sb_dns_reason(e->status);
        return e->addrs != NULL ? SB_OK : SB_DECLINED;
    }
    if (e->addrs == NULL || e->stale_until <= ngx_current_msec) {
        e->misses++;
        return SB_AGAIN;
    }
    e->stale_hits++;
    if (e->round == NULL)
        sb_dns_round_start(e, NULL, 0); /* a resolver without servers may have failed already: the old answer stays for a moment */
    *addrs = e->addrs;
    if (e->addrs == NULL)
        *why = sb_dns_reason(e->status);
    return e->addrs != NULL ? SB_OK : SB_DECLINED;
}

void
sb_resolver_start(const char *name, size_t len, sb_query_t *q)
{
    sb_dns_entry_t *e = sb_dns_entry(name, len);
    sb_dns_round_t *r;

    SB_ASSERT(e != NULL && !q->active); /* lookup said SB_AGAIN before */
    if (e->fresh_until > ngx_current_msec)
        r = sb_dns_round_over(e);
    else if (e->round != NULL && !sb_dns_conf.no_sync)
        r = e->round;
    else
        r = sb_dns_round_start(e, NULL, 0);
    q->active = true;
    ngx_queue_insert_tail(&r->waiters, &q->link);
}

void
sb_resolver_cancel(sb_query_t *q)
{
    if (!q->active)
        return;
    q->active = false;
    ngx_queue_remove(&q->link);
}

static json_t *
stats_of(const sb_dns_entry_t *e)
{
    json_t *o = json_object();
    const struct {
        const char *name;
        uint32_t n;
    } counters[] = {{"runs", e->runs},     {"hit_lru", e->hits},         {"hit_stale", e->stale_hits}, {"miss", e->misses},
                    {"query", e->queries}, {"query_succ", e->succeeded}, {"query_fail", e->failed}};

    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
        if (counters[i].n != 0)
            json_object_set_new(o, counters[i].name, json_integer(counters[i].n));
    if (e->asked_at != 0)
        json_object_set_new(o, "query_last_time", json_integer(e->asked_at));
    return o;
}

json_t *
sb_resolver_stats(void)
{
    json_t *all;

    if (!rs.open || !sb_dns_conf.modern)
        return NULL;
    all = json_object();
    for (uint32_t b = 0; b <= rs.mask; b++)
        for (const sb_dns_entry_t *e = rs.buckets[b]; e != NULL; e = e->next)
            if (e->runs != 0 || e->queries != 0)
                json_object_set_new(all, e->name, stats_of(e));
    return all;
}

/* ---------- the hosts file ---------- */

static void
fix(sb_str_t name, const sb_addr_t *addr)
{
    uint32_t hash = hash_of(name.data, name.len);
    sb_dns_entry_t *e = find(name.data, name.len, hash);
    sb_addrs_t *a;

    if (!name_is_sane(name.data, name.len))
        return;
    if (e == NULL || !e->fixed)
        e = add(name.data, name.len, hash, true);
    a = sb_addrs_new(e->addrs != NULL ? e->addrs->n + 1 : 1, 0);
    if (e->addrs != NULL)
        memcpy(a->addr, e->addrs->addr, e->addrs->n * sizeof(a->addr[0]));
    a->addr[a->n - 1] = *addr;
    sb_addrs_unref(e->addrs);
    e->addrs = a;
    e->fresh_until = SB_DNS_NEVER;
}

static void
on_hosts_line(sb_str_t name, const sb_addr_t *addr, void *arg)
{
    fix(name, addr);
}

/* Of a name with addresses of both kinds only those of the family that is asked for first stay. */
static void
prefer_family(sb_dns_entry_t *e)
{
    for (uint8_t f = 0; f < sb_dns_conf.n_order; f++) {
        int family = sb_dns_conf.order[f] == SB_DNS_A ? AF_INET : sb_dns_conf.order[f] == SB_DNS_AAAA ? AF_INET6 : AF_UNSPEC;
        uint32_t n = 0;

        for (uint32_t i = 0; i < e->addrs->n; i++)
            if (e->addrs->addr[i].sa.any.sa_family == family)
                e->addrs->addr[n++] = e->addrs->addr[i];
        if (n != 0) {
            e->addrs->n = n;
            e->addrs->type = sb_dns_conf.order[f];
            return;
        }
    }
    e->addrs->type = e->addrs->addr[0].sa.any.sa_family == AF_INET ? SB_DNS_A : SB_DNS_AAAA;
}

static void
load_hosts(void)
{
    size_t len = 0;
    char *text = rs.hosts_path != NULL ? sb_hosts_read(rs.hosts_path, HOSTS_MAX, &len) : NULL;
    sb_dns_entry_t *localhost;
    sb_addr_t addr;

    if (text != NULL)
        sb_hosts_parse(text, len, on_hosts_line, NULL);
    free(text);
    localhost = find("localhost", 9, hash_of("localhost", 9));
    if (localhost == NULL || !localhost->fixed) {
        sb_addr_parse("127.0.0.1", 9, &addr);
        fix(SB_STR("localhost"), &addr);
        sb_addr_parse("::1", 3, &addr);
        fix(SB_STR("localhost"), &addr);
    }
    for (uint32_t b = 0; b <= rs.mask; b++)
        for (sb_dns_entry_t *e = rs.buckets[b]; e != NULL; e = e->next)
            if (e->fixed && e->addrs != NULL)
                prefer_family(e);
}

static void
forget_hosts(void)
{
    for (uint32_t b = 0; b <= rs.mask; b++)
        for (sb_dns_entry_t *e = rs.buckets[b], *next; e != NULL; e = next) {
            next = e->next;
            if (e->fixed && e->pins == 0) {
                entry_free(e);
            } else if (e->fixed) { /* somebody is about to be told of it: asked for like any other name from now on */
                sb_addrs_unref(e->addrs);
                e->addrs = NULL;
                e->fresh_until = 0;
            }
        }
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Reads the file anew when it has changed. A file that is away is an empty one. */
static void
see_hosts(void)
{
    struct stat st;

    rs.hosts_check = ngx_current_msec + HOSTS_EVERY_MS;
    if (rs.hosts_path == NULL || stat(rs.hosts_path, &st) != 0)
        memset(&st, 0, sizeof(st));
    if (same_file(&st, &rs.hosts))
        return;
    rs.hosts = st;
    forget_hosts();
    load_hosts();
}

/* ---------- start and end ---------- */

static void
add_type(uint8_t type)
{
    for (uint8_t i = 0; i < sb_dns_conf.n_order; i++)
        if (sb_dns_conf.order[i] == type)
            return;
    sb_dns_conf.order[sb_dns_conf.n_order++] = type;
}

static void
read_order(const sb_settings_t *s, const char *setting)
{
    static const struct {
        const char *name;
        uint8_t type;
    } types[] = {{"A", SB_DNS_A}, {"AAAA", SB_DNS_AAAA}, {"SRV", SB_DNS_SRV}, {"CNAME", SB_DNS_CNAME}};
    size_t n = 0;
    const char *const *list = sb_settings_list(s, setting, &n);

    for (size_t i = 0; i < n; i++) {
        sb_dns_conf.last |= strcasecmp(list[i], "LAST") == 0;
        for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++)
            if (strcasecmp(list[i], types[t].name) == 0)
                add_type(types[t].type);
    }
    if (sb_dns_conf.n_order == 0)
        add_type(SB_DNS_A);
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
    sb_dns_conf.stale_ttl = seconds(s, modern ? "resolver_stale_ttl" : "dns_stale_ttl");
    sb_dns_conf.error_ttl = seconds(s, modern ? "resolver_error_ttl" : "dns_error_ttl");
    sb_dns_conf.not_found_ttl = seconds(s, modern ? "resolver_error_ttl" : "dns_not_found_ttl");
    sb_dns_conf.valid_ttl = optional_seconds(s, modern ? "resolver_valid_ttl" : "dns_valid_ttl");
    sb_dns_conf.modern = modern;
    sb_dns_conf.no_sync = !modern && sb_settings_bool(s, "dns_no_sync");
    read_order(s, modern ? "resolver_family" : "dns_order");
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
    const char *hosts;
    char *servers = server_list(s, modern ? "resolver_address" : "dns_resolver");
    int rc = sb_resolver_io_open(servers, log, err);

    free(servers);
    if (rc != SB_OK)
        return rc;
    memset(&rs, 0, sizeof(rs));
    memset(&sb_dns_conf, 0, sizeof(sb_dns_conf));
    ngx_queue_init(&rs.lru);
    sb_dns_rounds_init(log);
    read_settings(s, modern);
    rs.open = true;
    hosts = sb_settings_str(s, modern ? "resolver_hosts_file" : "dns_hostsfile");
    rs.hosts_path = hosts != NULL ? sb_asprintf("%s", hosts) : NULL;
    if (rs.hosts_path == NULL || stat(rs.hosts_path, &rs.hosts) != 0)
        memset(&rs.hosts, 0, sizeof(rs.hosts));
    load_hosts();
    return SB_OK;
}

void
sb_resolver_done(void)
{
    if (!rs.open)
        return;
    rs.open = false;
    sb_resolver_io_close();
    sb_dns_rounds_done();
    for (uint32_t b = 0; b <= rs.mask; b++)
        while (rs.buckets[b] != NULL)
            entry_free(rs.buckets[b]);
    free(rs.buckets);
    free(rs.hosts_path);
    rs.buckets = NULL;
    rs.hosts_path = NULL;
}
