/*
 * One resolution of one name: record types are asked for one after the other until one has records. Addresses end the round. The
 * targets of SRV records, and what a CNAME stands for, are names again: each is a part, taken from the cache or looked up by a round
 * of its own, all at the same time, and the round ends when the last part has. Rounds for parts are never joined by others, nor do they
 * join, so two names that stand for each other cannot wait for each other.
 *
 * Who asks for a name that is being resolved joins its entry's round (unless dns_no_sync says otherwise). Outcomes are told from a posted
 * event, so that a waiter's callback never runs inside sb_resolver_start(), even when c-ares answers at once.
 *
 * Start reading at sb_dns_round_start().
 */
#include "proxy/resolver_int.h"

#include <ngx_event.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 8   /* of names that lead to names */
#define MAX_PARTS 256 /* of one SRV answer; more are not used */

struct sb_dns_part {
    sb_dns_srv_t srv;
    sb_addrs_t *addrs; /* referenced; NULL: not yet, or status says why not */
    int status;
    uint32_t ttl;     /* seconds that addrs are good for; UINT32_MAX: always */
    uint32_t same_as; /* an earlier part with the same target; else its own number */
};

static struct {
    ngx_queue_t all, finished;
    ngx_event_t event;
} rounds;

/* ---------- ends ---------- */

static void
drop_parts(sb_dns_round_t *r)
{
    for (uint32_t i = 0; i < r->n_parts; i++)
        sb_addrs_unref(r->parts[i].addrs);
    free(r->parts);
    r->parts = NULL;
    r->n_parts = 0;
}

static void
round_free(sb_dns_round_t *r)
{
    ngx_queue_remove(&r->all);
    drop_parts(r);
    sb_addrs_unref(r->addrs);
    r->e->pins--;
    free(r);
}

static void
finish(sb_dns_round_t *r)
{
    if (r->e->round == r)
        r->e->round = NULL;
    r->addrs = r->e->addrs != NULL ? sb_addrs_ref(r->e->addrs) : NULL;
    r->status = r->e->status;
    ngx_queue_insert_tail(&rounds.finished, &r->finished);
    if (!rounds.event.posted) {
        ngx_post_event(&rounds.event, &ngx_posted_events);
    }
}

static void ask(sb_dns_round_t *r);

static void
fail(sb_dns_round_t *r)
{
    sb_dns_store(r->e, r->trouble != 0 ? r->trouble : r->status, NULL, 0, 0);
    finish(r);
}

/* This type gave nothing: the next one, if there is any use in it. */
static void
next_type(sb_dns_round_t *r, int status)
{
    r->status = status;
    if (!sb_dns_is_gone(status) && r->trouble == 0)
        r->trouble = status;
    if (++r->at < r->n_types && status != ARES_ETIMEOUT)
        ask(r);
    else
        fail(r);
}

/* ---------- parts ---------- */

static uint32_t
total_addrs(const sb_dns_round_t *r, size_t *names_len)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < r->n_parts; i++)
        if (r->parts[i].addrs != NULL) {
            n += r->parts[i].addrs->n;
            *names_len += strlen(r->parts[i].srv.target) + 1;
        }
    return n;
}

/* The addresses of one part, with what its record says of them. names: where its name is to be written. */
static char *
add_part(sb_addrs_t *to, uint32_t at, const struct sb_dns_part *p, bool srv, char *names)
{
    uint32_t weight = p->srv.weight != 0 ? p->srv.weight : 1;
    size_t len = strlen(p->srv.target) + 1;

    memcpy(names, p->srv.target, len);
    for (uint32_t i = 0; i < p->addrs->n; i++) {
        sb_addr_t *a = &to->addr[at + i];

        *a = p->addrs->addr[i];
        if (!srv) { /* an alias: ports and weights as its name has them, which may be an SRV record's; whose name lives shorter */
            a->srv_name = NULL;
            continue;
        }
        a->port = p->srv.port;
        a->srv_name = names;
        a->weight = weight * SB_ADDR_WEIGHT_UNIT / p->addrs->n;
        a->weight += a->weight == 0;
    }
    return names + len;
}

static void
set_weighted(sb_addrs_t *a)
{
    for (uint32_t i = 1; i < a->n; i++)
        a->weighted |= a->addr[i].weight != a->addr[0].weight;
    if (a->weighted)
        a->credits = sb_calloc(a->n * sizeof(*a->credits));
}

static uint32_t
parts_ttl(const sb_dns_round_t *r)
{
    uint32_t ttl = r->ttl, again = sb_dns_conf.error_ttl != 0 ? sb_dns_conf.error_ttl : 1;

    for (uint32_t i = 0; i < r->n_parts; i++) {
        uint32_t part = r->parts[i].addrs != NULL ? r->parts[i].ttl : again;
        ttl = part < ttl ? part : ttl;
    }
    return ttl;
}

static void
adopt(sb_dns_round_t *r)
{
    bool srv = r->types[r->at] == SB_DNS_SRV;
    size_t names_len = 0;
    uint32_t n = total_addrs(r, &names_len), at = 0;
    sb_addrs_t *a;
    char *names;

    if (n == 0) {
        int status = r->parts[0].status;
        drop_parts(r);
        next_type(r, status);
        return;
    }
    a = sb_addrs_new(n, names_len);
    names = a->names;
    for (uint32_t i = 0; i < r->n_parts; i++)
        if (r->parts[i].addrs != NULL) {
            names = add_part(a, at, &r->parts[i], srv, names);
            at += r->parts[i].addrs->n;
        }
    set_weighted(a);
    a->type = srv ? SB_DNS_SRV : r->parts[0].addrs->type;
    sb_dns_store(r->e, ARES_SUCCESS, a, parts_ttl(r), r->types[r->at]);
    drop_parts(r);
    finish(r);
}

static bool
leads_back(const sb_dns_round_t *r, const sb_dns_entry_t *e)
{
    int depth = 0;

    for (; r != NULL; r = r->parent)
        if (r->e == e || ++depth > MAX_DEPTH)
            return true;
    return false;
}

static uint32_t
seconds_left(const sb_dns_entry_t *e)
{
    if (e->fresh_until == SB_DNS_NEVER)
        return UINT32_MAX;
    return e->fresh_until > ngx_current_msec ? (uint32_t)((e->fresh_until - ngx_current_msec + 999) / 1000) : 0;
}

static void
take_entry(struct sb_dns_part *p, const sb_dns_entry_t *e)
{
    p->addrs = e->addrs != NULL ? sb_addrs_ref(e->addrs) : NULL;
    p->status = e->status;
    p->ttl = seconds_left(e);
}

/* True: a round for it has been started. */
static bool
start_part(sb_dns_round_t *r, uint32_t i)
{
    struct sb_dns_part *p = &r->parts[i];
    sb_dns_entry_t *e = sb_dns_entry(p->srv.target, strlen(p->srv.target));

    if (e == NULL) {
        p->status = SB_DNS_EBADNAME;
        return false;
    }
    if (e->fresh_until > ngx_current_msec) {
        take_entry(p, e);
        return false;
    }
    if (leads_back(r, e)) {
        p->status = SB_DNS_ELOOP;
        return false;
    }
    sb_dns_round_start(e, r, i);
    return true;
}

static void
share_parts(sb_dns_round_t *r)
{
    for (uint32_t i = 0; i < r->n_parts; i++)
        if (r->parts[i].same_as != i) {
            const struct sb_dns_part *other = &r->parts[r->parts[i].same_as];

            r->parts[i].addrs = other->addrs != NULL ? sb_addrs_ref(other->addrs) : NULL;
            r->parts[i].status = other->status;
            r->parts[i].ttl = other->ttl;
        }
}

static void
part_is_over(sb_dns_round_t *r)
{
    if (--r->pending != 0)
        return;
    share_parts(r);
    adopt(r);
}

static uint32_t
first_with_target(const sb_dns_round_t *r, uint32_t n)
{
    uint32_t i = 0;

    while (i < n && strcmp(r->parts[i].srv.target, r->parts[n].srv.target) != 0)
        i++;
    return i;
}

/* Only the records of the lowest priority are used. */
static void
take_records(sb_dns_round_t *r, const sb_dns_answer_t *answer)
{
    uint16_t lowest = UINT16_MAX;

    for (uint32_t i = 0; i < answer->n; i++)
        lowest = answer->srvs[i].priority < lowest ? answer->srvs[i].priority : lowest;
    r->parts = sb_calloc((answer->n < MAX_PARTS ? answer->n : MAX_PARTS) * sizeof(*r->parts));
    for (uint32_t i = 0; i < answer->n && r->n_parts < MAX_PARTS; i++)
        if (answer->srvs[i].priority == lowest) {
            r->parts[r->n_parts].srv = answer->srvs[i];
            r->parts[r->n_parts].same_as = first_with_target(r, r->n_parts);
            r->n_parts++;
        }
}

static void
start_parts(sb_dns_round_t *r, const sb_dns_answer_t *answer)
{
    take_records(r, answer);
    r->ttl = answer->ttl;
    r->pending = 1; /* this function, so that the round does not end while parts are being started */
    for (uint32_t i = 0; i < r->n_parts; i++)
        if (r->parts[i].same_as == i && start_part(r, i))
            r->pending++;
    part_is_over(r);
}

/* ---------- types ---------- */

static void
take_addrs(sb_dns_round_t *r, const sb_dns_answer_t *answer)
{
    sb_addrs_t *a = sb_addrs_new(answer->n, 0);

    memcpy(a->addr, answer->addrs, answer->n * sizeof(a->addr[0]));
    a->type = r->types[r->at];
    sb_dns_store(r->e, ARES_SUCCESS, a, answer->ttl, r->types[r->at]);
    finish(r);
}

static void
on_answer(void *arg, int status, const sb_dns_answer_t *answer)
{
    sb_dns_round_t *r = arg;

    if (answer == NULL)
        next_type(r, status);
    else if (answer->addrs != NULL)
        take_addrs(r, answer);
    else
        start_parts(r, answer);
}

static void
ask(sb_dns_round_t *r)
{
    r->e->queries++;
    r->e->asked_at = ngx_time();
    sb_resolver_io_ask(r->e->name, r->types[r->at], on_answer, r);
}

/* ---------- rounds ---------- */

static bool
is_service_name(const char *name)
{
    const char *dot = strchr(name, '.');

    return name[0] == '_' && dot != NULL && dot[1] == '_' && strchr(dot + 1, '.') != NULL;
}

static void
add_type(sb_dns_round_t *r, uint8_t type)
{
    for (uint8_t i = 0; i < r->n_types; i++)
        if (r->types[i] == type)
            return;
    r->types[r->n_types++] = type;
}

/* Targets of SRV records have addresses; asking whether they are services as well would double the questions. */
static bool
may_ask(const sb_dns_round_t *r, uint8_t type)
{
    if (sb_dns_conf.modern)
        return is_service_name(r->e->name) == (type == SB_DNS_SRV);
    return type != SB_DNS_SRV || r->parent == NULL || r->parent->types[r->parent->at] != SB_DNS_SRV;
}

static void
set_types(sb_dns_round_t *r)
{
    if (sb_dns_conf.last && r->e->last != 0 && may_ask(r, r->e->last))
        add_type(r, r->e->last);
    for (uint8_t i = 0; i < sb_dns_conf.n_order; i++)
        if (may_ask(r, sb_dns_conf.order[i]))
            add_type(r, sb_dns_conf.order[i]);
    if (r->n_types == 0)
        add_type(r, SB_DNS_A);
}

static sb_dns_round_t *
round_new(sb_dns_entry_t *e)
{
    sb_dns_round_t *r = sb_calloc(sizeof(*r));

    r->e = e;
    e->pins++;
    ngx_queue_init(&r->waiters);
    ngx_queue_insert_tail(&rounds.all, &r->all);
    return r;
}

sb_dns_round_t *
sb_dns_round_start(sb_dns_entry_t *e, sb_dns_round_t *parent, uint32_t part)
{
    sb_dns_round_t *r = round_new(e);

    r->parent = parent;
    r->part = part;
    set_types(r);
    if (parent == NULL && e->round == NULL)
        e->round = r;
    ask(r);
    return r;
}

sb_dns_round_t *
sb_dns_round_over(sb_dns_entry_t *e)
{
    sb_dns_round_t *r = round_new(e);

    finish(r);
    return r;
}

static void
tell(sb_dns_round_t *r)
{
    const char *why = r->addrs != NULL ? NULL : sb_dns_reason(r->status);

    while (!ngx_queue_empty(&r->waiters)) {
        sb_query_t *q = ngx_queue_data(ngx_queue_head(&r->waiters), sb_query_t, link);

        ngx_queue_remove(&q->link);
        q->active = false;
        q->done(q, r->addrs, why);
    }
    if (r->parent != NULL) {
        take_entry(&r->parent->parts[r->part], r->e);
        part_is_over(r->parent);
    }
    round_free(r);
}

static void
on_finished(ngx_event_t *ev)
{
    while (!ngx_queue_empty(&rounds.finished)) {
        sb_dns_round_t *r = ngx_queue_data(ngx_queue_head(&rounds.finished), sb_dns_round_t, finished);

        ngx_queue_remove(&r->finished);
        tell(r);
    }
}

void
sb_dns_rounds_init(ngx_log_t *log)
{
    memset(&rounds, 0, sizeof(rounds));
    ngx_queue_init(&rounds.all);
    ngx_queue_init(&rounds.finished);
    rounds.event.handler = on_finished;
    rounds.event.log = log;
}

void
sb_dns_rounds_done(void)
{
    if (rounds.event.posted) {
        ngx_delete_posted_event(&rounds.event);
    }
    while (!ngx_queue_empty(&rounds.all)) {
        sb_dns_round_t *r = ngx_queue_data(ngx_queue_head(&rounds.all), sb_dns_round_t, all);

        while (!ngx_queue_empty(&r->waiters))
            sb_resolver_cancel(ngx_queue_data(ngx_queue_head(&r->waiters), sb_query_t, link));
        round_free(r);
    }
}
