/*
 * The resolver's cache and waiters, with a clock and name servers that the test plays: questions are recorded by
 * sb_resolver_io_ask() below and answered when the test says so.
 */
#include "proxy/resolver.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MAX_ASKED 64

/* ---- what nginx and resolver_io.c would be ---- */

ngx_queue_t ngx_posted_events;
volatile ngx_msec_t ngx_current_msec;
static ngx_time_t now;
volatile ngx_time_t *ngx_cached_time = &now;
static ngx_log_t silent;

void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err, const char *fmt, ...)
{
}

static struct {
    char name[256];
    int type;
    sb_resolver_io_done_pt done;
    void *arg;
} asked[MAX_ASKED];
static int n_asked, at_once = -1; /* at_once: the status that questions are answered with immediately */

int
sb_resolver_io_open(const char *servers, ngx_log_t *log, sb_err_t *err)
{
    return SB_OK;
}

void
sb_resolver_io_close(void)
{
}

void
sb_resolver_io_ask(const char *name, int type, sb_resolver_io_done_pt done, void *arg)
{
    assert_true(n_asked < MAX_ASKED);
    snprintf(asked[n_asked].name, sizeof(asked[0].name), "%s", name);
    asked[n_asked].type = type;
    asked[n_asked].done = done;
    asked[n_asked++].arg = arg;
    if (at_once >= 0)
        done(arg, at_once, NULL);
}

static void
turn(void)
{
    while (!ngx_queue_empty(&ngx_posted_events)) {
        ngx_event_t *ev = ngx_queue_data(ngx_queue_head(&ngx_posted_events), ngx_event_t, queue);

        ngx_delete_posted_event(ev);
        ev->handler(ev);
    }
}

static void
answer(int i, const char *ip, uint32_t ttl)
{
    sb_addr_t addr;
    sb_dns_answer_t a = {.ttl = ttl, .n = 1, .addrs = &addr};

    assert_true(sb_addr_parse(ip, strlen(ip), &addr));
    asked[i].done(asked[i].arg, ARES_SUCCESS, &a);
    turn();
}

static void
answer_names(int i, sb_dns_srv_t *srvs, uint32_t n, uint32_t ttl)
{
    sb_dns_answer_t a = {.ttl = ttl, .n = n, .srvs = srvs};

    asked[i].done(asked[i].arg, ARES_SUCCESS, &a);
    turn();
}

static void
refuse(int i, int status)
{
    asked[i].done(asked[i].arg, status, NULL);
    turn();
}

/* The number of the question of this type for this name that was asked last; fails when there is none. */
static int
question(const char *name, int type)
{
    for (int i = n_asked - 1; i >= 0; i--)
        if (strcmp(asked[i].name, name) == 0 && asked[i].type == type)
            return i;
    fail_msg("nobody asked for %s, type %d", name, type);
    return -1;
}

/* ---- what asks ---- */

typedef struct waiter {
    sb_query_t q;
    int calls;
    char ip[INET6_ADDRSTRLEN];
    sb_addrs_t *addrs; /* while kept is set: referenced, to be freed by the test */
    bool kept;
    const char *why;
    struct waiter *cancels; /* another one that this one's callback cancels */
} waiter_t;

static void
on_done(sb_query_t *q, sb_addrs_t *addrs, const char *why)
{
    waiter_t *w = q->data;

    w->calls++;
    w->why = why;
    snprintf(w->ip, sizeof(w->ip), "%s", addrs != NULL ? sb_addrs_next(addrs)->text : "");
    if (w->kept)
        w->addrs = sb_addrs_ref(addrs);
    if (w->cancels != NULL)
        sb_resolver_cancel(&w->cancels->q);
}

static void
wait_for(waiter_t *w, const char *name)
{
    *w = (waiter_t){.q = {.done = on_done}};
    w->q.data = w;
    sb_resolver_start(name, strlen(name), &w->q);
    assert_int_equal(w->calls, 0);
}

/* The cache's answer: an address, "!reason", or "?" when it must be asked for. */
static const char *
look(const char *name)
{
    static char text[300];
    sb_addrs_t *addrs = NULL;
    const char *why = NULL;
    int rc = sb_resolver_lookup(name, strlen(name), &addrs, &why);

    if (rc == SB_AGAIN)
        return "?";
    if (rc == SB_OK)
        return sb_addrs_next(addrs)->text;
    snprintf(text, sizeof(text), "!%s", why);
    return text;
}

static char hosts_path[] = "/tmp/sb-resolver-XXXXXX";

static void
start(char *const *more)
{
    char hosts[64], *env[16] = {"KONG_PREFIX=/nonexistent", hosts, "KONG_DNS_ORDER=LAST,A"};
    sb_settings_source_t src = {.environ = env};
    sb_settings_t *s = NULL;
    sb_err_t err = {0};
    int n = 3;

    snprintf(hosts, sizeof(hosts), "KONG_DNS_HOSTSFILE=%s", hosts_path);
    for (; more != NULL && *more != NULL && n < 15; more++)
        env[strncmp(*more, "KONG_DNS_ORDER", 14) == 0 ? 2 : n++] = *more;
    n_asked = 0;
    at_once = -1;
    ngx_current_msec = 1000000;
    ngx_queue_init(&ngx_posted_events);
    assert_int_equal(sb_settings_load(&src, &s, &err), SB_OK);
    assert_int_equal(sb_resolver_init(s, &silent, &err), SB_OK);
    sb_settings_free(s);
}

static int
stop(void **state)
{
    sb_resolver_done();
    return 0;
}

static void
seconds_pass(double s)
{
    ngx_current_msec += (ngx_msec_t)(s * 1000);
}

/* ---- tests ---- */

static void
known_without_asking(void **state)
{
    start(NULL);
    assert_string_equal(look("192.0.2.7"), "192.0.2.7");
    assert_string_equal(look("[::1]"), "::1");
    assert_string_equal(look("localhost"), "127.0.0.1");
    assert_string_equal(look("LocalHost"), "127.0.0.1");
    assert_string_equal(look("hosty"), "10.0.0.1");
    assert_string_equal(look("hosty"), "10.0.0.2"); /* two lines of the file: in turn */
    assert_string_equal(look("hosty"), "10.0.0.1");
    assert_string_equal(look("six"), "2001:db8::1");
    assert_string_equal(look("both"), "10.0.0.3"); /* the default order asks for A only */
    assert_string_equal(look("both"), "10.0.0.3");
    assert_string_equal(look(""), "!invalid name");
    assert_string_equal(look("a b"), "!invalid name");
    assert_string_equal(look("caf\xc3\xa9"), "!invalid name");
    assert_int_equal(n_asked, 0);
}

static void
one_question_for_all_who_wait(void **state)
{
    waiter_t a, b, c;

    start(NULL);
    assert_string_equal(look("web.test"), "?");
    wait_for(&a, "web.test");
    wait_for(&b, "WEB.test");
    wait_for(&c, "web.test");
    sb_resolver_cancel(&c.q);
    sb_resolver_cancel(&c.q);
    assert_int_equal(n_asked, 1);
    assert_string_equal(asked[0].name, "web.test");
    answer(0, "192.0.2.1", 60);
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 1);
    assert_int_equal(c.calls, 0);
    assert_string_equal(a.ip, "192.0.2.1");
    assert_string_equal(look("web.test"), "192.0.2.1");
}

static void
a_waiter_may_cancel_the_next(void **state)
{
    waiter_t a, b;

    start(NULL);
    wait_for(&a, "web.test");
    wait_for(&b, "web.test");
    a.cancels = &b;
    answer(0, "192.0.2.1", 60);
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 0);
}

static void
never_inside_start(void **state)
{
    waiter_t a, b;

    start(NULL);
    at_once = ARES_ENOTFOUND;
    wait_for(&a, "no.test"); /* asserts that nothing was called yet */
    turn();
    assert_int_equal(a.calls, 1);
    assert_string_equal(a.why, "dns server error: 3 name error");
    wait_for(&b, "no.test"); /* known by now */
    turn();
    assert_int_equal(b.calls, 1);
    assert_int_equal(n_asked, 1);
}

static void
failures_are_remembered(void **state)
{
    waiter_t w;

    start(NULL);
    wait_for(&w, "no.test");
    refuse(0, ARES_ENOTFOUND);
    seconds_pass(29);
    assert_string_equal(look("no.test"), "!dns server error: 3 name error");
    seconds_pass(2);
    assert_string_equal(look("no.test"), "?");
    wait_for(&w, "slow.test");
    refuse(1, ARES_ETIMEOUT);
    assert_string_equal(w.why, "dns lookup timed out");
    seconds_pass(0.9);
    assert_string_equal(look("slow.test"), "!dns lookup timed out");
    seconds_pass(0.2);
    assert_string_equal(look("slow.test"), "?");
}

static void
stale_answers_serve_while_they_are_refreshed(void **state)
{
    waiter_t w;

    start((char *[]){"KONG_DNS_STALE_TTL=100", NULL});
    wait_for(&w, "web.test");
    answer(0, "192.0.2.1", 10);
    seconds_pass(11);
    assert_string_equal(look("web.test"), "192.0.2.1");
    assert_string_equal(look("web.test"), "192.0.2.1");
    assert_int_equal(n_asked, 2); /* one refresh, however many look */
    refuse(1, ARES_ESERVFAIL);
    assert_string_equal(look("web.test"), "192.0.2.1"); /* servers in trouble: it stays */
    assert_int_equal(n_asked, 2);
    seconds_pass(2);
    assert_string_equal(look("web.test"), "192.0.2.1");
    assert_int_equal(n_asked, 3);
    answer(2, "192.0.2.2", 10);
    assert_string_equal(look("web.test"), "192.0.2.2");
    seconds_pass(11);
    look("web.test");
    refuse(3, ARES_ENOTFOUND); /* the name is gone */
    assert_string_equal(look("web.test"), "!dns server error: 3 name error");
}

static void
stale_answers_end(void **state)
{
    waiter_t w;

    start((char *[]){"KONG_DNS_STALE_TTL=5", NULL});
    wait_for(&w, "web.test");
    answer(0, "192.0.2.1", 10);
    seconds_pass(14);
    assert_string_equal(look("web.test"), "192.0.2.1");
    refuse(1, ARES_ETIMEOUT);
    seconds_pass(2);
    assert_string_equal(look("web.test"), "?");
    wait_for(&w, "web.test");
    refuse(2, ARES_ETIMEOUT);
    assert_string_equal(w.why, "dns lookup timed out");
}

static void
ttl_zero_is_asked_each_time(void **state)
{
    waiter_t w;

    start(NULL);
    wait_for(&w, "web.test");
    answer(0, "192.0.2.1", 0);
    assert_string_equal(w.ip, "192.0.2.1");
    assert_string_equal(look("web.test"), "?");
}

static void
valid_ttl_overrides(void **state)
{
    waiter_t w;

    start((char *[]){"KONG_DNS_VALID_TTL=50", "KONG_DNS_STALE_TTL=0", NULL});
    wait_for(&w, "web.test");
    answer(0, "192.0.2.1", 1);
    seconds_pass(49);
    assert_string_equal(look("web.test"), "192.0.2.1");
    seconds_pass(2);
    assert_string_equal(look("web.test"), "?");
}

static void
the_other_family_is_asked_when_there_is_nothing(void **state)
{
    waiter_t w;

    start((char *[]){"KONG_DNS_ORDER=LAST,A,AAAA", "KONG_DNS_STALE_TTL=0", NULL});
    wait_for(&w, "six.test");
    assert_int_equal(asked[0].type, SB_DNS_A);
    refuse(0, ARES_ENODATA);
    assert_int_equal(w.calls, 0);
    assert_int_equal(asked[1].type, SB_DNS_AAAA);
    answer(1, "2001:db8::2", 10);
    assert_string_equal(w.ip, "2001:db8::2");
    seconds_pass(11);
    wait_for(&w, "six.test");
    assert_int_equal(asked[2].type, SB_DNS_AAAA); /* what worked last comes first */
    refuse(2, ARES_ENODATA);
    refuse(3, ARES_ENODATA);
    assert_int_equal(n_asked, 4);
    assert_string_equal(w.why, "dns client error: 101 empty record received");
    wait_for(&w, "dead.test");
    refuse(4, ARES_ETIMEOUT); /* no use in asking dead servers again */
    assert_int_equal(n_asked, 5);
    assert_int_equal(w.calls, 1);
}

static void
the_cache_is_bounded(void **state)
{
    waiter_t w, pending;
    char name[32];

    start((char *[]){"KONG_DNS_CACHE_SIZE=4", NULL});
    wait_for(&pending, "pending.test");
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "n%d.test", i);
        wait_for(&w, name);
        answer(i + 1, "192.0.2.1", 600);
        if (i >= 2)
            assert_string_equal(look("n1.test"), "192.0.2.1"); /* in use: stays */
        assert_true(rs.count <= 5);
    }
    assert_string_equal(look("n7.test"), "192.0.2.1");
    assert_string_equal(look("n2.test"), "?");
    assert_string_equal(look("hosty"), "10.0.0.1"); /* not counted, not evicted */
    answer(0, "192.0.2.9", 600);
    assert_int_equal(pending.calls, 1);
}

static void
addresses_outlive_their_entry(void **state)
{
    sb_addrs_t *kept = NULL;
    const char *why;
    waiter_t w;

    start((char *[]){"KONG_DNS_CACHE_SIZE=1", NULL});
    wait_for(&w, "a.test");
    answer(0, "192.0.2.1", 600);
    assert_int_equal(sb_resolver_lookup("a.test", 6, &kept, &why), SB_OK);
    sb_addrs_ref(kept);
    wait_for(&w, "b.test");
    answer(1, "192.0.2.2", 600);
    assert_string_equal(look("a.test"), "?");
    assert_string_equal(kept->addr[0].text, "192.0.2.1");
    sb_addrs_unref(kept);
}

static void
ending_drops_the_waiters(void **state)
{
    waiter_t w;

    start(NULL);
    wait_for(&w, "web.test");
    sb_resolver_done();
    assert_int_equal(w.calls, 0);
    sb_resolver_cancel(&w.q); /* late finalisers of Lua do this */
    assert_string_equal(look("web.test"), "!invalid name");
}

static void
services(void **state)
{
    sb_dns_srv_t records[] = {
        {10, 1, 8001, "one.test"}, {10, 3, 8003, "two.test"}, {20, 100, 9999, "spare.test"}, {10, 0, 8004, "one.test"}};
    uint32_t turns[3] = {0};
    waiter_t w = {.kept = true};

    start((char *[]){"KONG_DNS_ORDER=LAST,SRV,A", NULL});
    wait_for(&w, "web.test");
    w.kept = true;
    assert_int_equal(asked[0].type, SB_DNS_SRV);
    answer_names(0, records, 4, 60);
    assert_int_equal(n_asked, 3); /* each target once, the spare one not at all, and not whether they are services */
    answer(question("two.test", SB_DNS_A), "192.0.2.2", 60);
    assert_int_equal(w.calls, 0);
    answer(question("one.test", SB_DNS_A), "192.0.2.1", 20);
    assert_int_equal(w.calls, 1);
    assert_int_equal(w.addrs->n, 3);
    for (int i = 0; i < 50; i++) {
        const sb_addr_t *a = sb_addrs_next(w.addrs);

        assert_string_equal(a->srv_name, a->port == 8003 ? "two.test" : "one.test");
        assert_string_equal(a->text, a->port == 8003 ? "192.0.2.2" : "192.0.2.1");
        turns[a->port == 8001 ? 0 : a->port == 8003 ? 1 : 2]++;
    }
    assert_int_equal(turns[0], 10);
    assert_int_equal(turns[1], 30);
    assert_int_equal(turns[2], 10); /* weight 0 counts as 1 */
    sb_addrs_unref(w.addrs);
    assert_string_equal(look("one.test"), "192.0.2.1"); /* and the targets are known now */
    seconds_pass(21);
    look("web.test"); /* the shortest TTL counts; what worked last comes first */
    assert_int_equal(asked[n_asked - 1].type, SB_DNS_SRV);
    assert_string_equal(asked[n_asked - 1].name, "web.test");
}

static void
a_target_with_two_addresses_does_not_weigh_double(void **state)
{
    sb_dns_srv_t records[] = {{1, 5, 1, "two.test"}, {1, 5, 2, "one.test"}};
    sb_addr_t pair[2];
    sb_dns_answer_t both = {.ttl = 60, .n = 2, .addrs = pair};
    waiter_t w;
    int ones = 0;

    start((char *[]){"KONG_DNS_ORDER=SRV,A", NULL});
    wait_for(&w, "web.test");
    w.kept = true;
    answer_names(0, records, 2, 60);
    answer(question("one.test", SB_DNS_A), "192.0.2.1", 60);
    assert_true(sb_addr_parse("192.0.2.2", 9, &pair[0]) && sb_addr_parse("192.0.2.3", 9, &pair[1]));
    asked[question("two.test", SB_DNS_A)].done(asked[question("two.test", SB_DNS_A)].arg, ARES_SUCCESS, &both);
    turn();
    assert_int_equal(w.addrs->n, 3);
    for (int i = 0; i < 20; i++)
        ones += sb_addrs_next(w.addrs)->port == 2;
    assert_int_equal(ones, 10);
    sb_addrs_unref(w.addrs);
}

static void
some_targets_may_be_missing(void **state)
{
    sb_dns_srv_t records[] = {{1, 1, 1, "gone.test"}, {1, 1, 2, "one.test"}, {1, 1, 3, "192.0.2.9"}, {1, 1, 4, "no name"}};
    waiter_t w;

    start((char *[]){"KONG_DNS_ORDER=SRV,A", NULL});
    wait_for(&w, "web.test");
    w.kept = true;
    answer_names(0, records, 4, 60);
    refuse(question("gone.test", SB_DNS_A), ARES_ENOTFOUND);
    answer(question("one.test", SB_DNS_A), "192.0.2.1", 60);
    assert_int_equal(w.addrs->n, 2);
    assert_int_equal(w.addrs->addr[0].port + w.addrs->addr[1].port, 2 + 3);
    sb_addrs_unref(w.addrs);
}

static void
without_any_target_the_next_type_is_asked_for(void **state)
{
    sb_dns_srv_t record = {1, 1, 1, "gone.test"};
    waiter_t w;

    start((char *[]){"KONG_DNS_ORDER=SRV,A", NULL});
    wait_for(&w, "web.test");
    answer_names(0, &record, 1, 60);
    refuse(question("gone.test", SB_DNS_A), ARES_ENOTFOUND);
    answer(question("web.test", SB_DNS_A), "192.0.2.5", 60);
    assert_string_equal(w.ip, "192.0.2.5");
}

static void
aliases(void **state)
{
    sb_dns_srv_t to_b = {.target = "b.test"}, to_a = {.target = "a.test"}, to_host = {.target = "hosty"};
    waiter_t a, b, h;

    start((char *[]){"KONG_DNS_ORDER=LAST,A,CNAME", NULL});
    wait_for(&a, "a.test");
    refuse(question("a.test", SB_DNS_A), ARES_ENODATA);
    answer_names(question("a.test", SB_DNS_CNAME), &to_b, 1, 60);
    answer(question("b.test", SB_DNS_A), "192.0.2.1", 60);
    assert_string_equal(a.ip, "192.0.2.1");
    wait_for(&h, "h.test");
    refuse(question("h.test", SB_DNS_A), ARES_ENODATA);
    answer_names(question("h.test", SB_DNS_CNAME), &to_host, 1, 60);
    assert_string_equal(h.ip, "10.0.0.1");
    sb_resolver_done();

    /* Two that stand for each other, both asked for at once, end all the same. */
    start((char *[]){"KONG_DNS_ORDER=CNAME", NULL});
    wait_for(&a, "a.test");
    wait_for(&b, "b.test");
    for (int i = 0; i < n_asked; i++)
        answer_names(i, asked[i].name[0] == 'a' ? &to_b : &to_a, 1, 60);
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 1);
    assert_string_equal(a.why, "recursion detected");
    assert_string_equal(b.why, "recursion detected");
}

static void
a_chain_of_aliases_is_bounded(void **state)
{
    sb_dns_srv_t next = {0};
    waiter_t w;

    start((char *[]){"KONG_DNS_ORDER=CNAME", NULL});
    wait_for(&w, "n0.test");
    for (int i = 0; w.calls == 0; i++) {
        assert_true(i < 40);
        snprintf(next.target, sizeof(next.target), "n%d.test", i + 1);
        answer_names(i, &next, 1, 60);
    }
    assert_string_equal(w.why, "recursion detected");
}

static void
the_order_without_last(void **state)
{
    waiter_t w;

    start((char *[]){"KONG_DNS_ORDER=A,AAAA", "KONG_DNS_STALE_TTL=0", NULL});
    wait_for(&w, "six.test");
    refuse(0, ARES_ENODATA);
    answer(1, "2001:db8::2", 10);
    seconds_pass(11);
    wait_for(&w, "six.test");
    assert_int_equal(asked[2].type, SB_DNS_A);
    answer(2, "192.0.2.1", 10);
    assert_string_equal(w.ip, "192.0.2.1");
}

static void
trouble_with_one_type_does_not_hide_another(void **state)
{
    waiter_t w;

    start((char *[]){"KONG_DNS_ORDER=SRV,A", NULL});
    wait_for(&w, "web.test");
    refuse(0, ARES_ESERVFAIL);
    answer(1, "192.0.2.1", 60);
    assert_string_equal(w.ip, "192.0.2.1");
    wait_for(&w, "bad.test");
    refuse(2, ARES_ESERVFAIL);
    refuse(3, ARES_ENOTFOUND);
    assert_string_equal(w.why, "dns server error: 2 server failure"); /* not sure that it does not exist */
}

static void
equal_questions_may_be_kept_apart(void **state)
{
    waiter_t a, b;

    start((char *[]){"KONG_DNS_NO_SYNC=on", NULL});
    wait_for(&a, "web.test");
    wait_for(&b, "web.test");
    assert_int_equal(n_asked, 2);
    answer(1, "192.0.2.2", 60);
    assert_int_equal(a.calls, 0);
    assert_string_equal(b.ip, "192.0.2.2");
    answer(0, "192.0.2.1", 60);
    assert_string_equal(a.ip, "192.0.2.1");
}

static void
the_newer_client(void **state)
{
    sb_dns_srv_t record = {1, 1, 8001, "one.test"};
    json_t *stats;
    waiter_t w;

    start(NULL);
    assert_null(sb_resolver_stats());
    sb_resolver_done();
    start((char *[]){"KONG_NEW_DNS_CLIENT=on", "KONG_RESOLVER_FAMILY=A,SRV", "KONG_RESOLVER_ERROR_TTL=7", NULL});
    wait_for(&w, "web.test");
    assert_int_equal(asked[0].type, SB_DNS_A);
    refuse(0, ARES_ENOTFOUND);
    assert_int_equal(n_asked, 1);
    seconds_pass(6.9);
    assert_string_equal(look("web.test"), "!dns server error: 3 name error");
    seconds_pass(0.2);
    assert_string_equal(look("web.test"), "?");
    wait_for(&w, "_http._tcp.web.test");
    assert_int_equal(asked[1].type, SB_DNS_SRV);
    answer_names(1, &record, 1, 60);
    assert_int_equal(asked[2].type, SB_DNS_A);
    answer(2, "192.0.2.1", 60);
    assert_string_equal(w.ip, "192.0.2.1");
    stats = sb_resolver_stats();
    assert_int_equal(json_integer_value(json_object_get(json_object_get(stats, "web.test"), "runs")), 2);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(stats, "web.test"), "hit_lru")), 1);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(stats, "web.test"), "query_fail")), 1);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(stats, "_http._tcp.web.test"), "query_succ")), 1);
    json_decref(stats);
}

static void
write_hosts(const char *text)
{
    char next[80];
    FILE *f;

    snprintf(next, sizeof(next), "%s.next", hosts_path);
    f = fopen(next, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(rename(next, hosts_path), 0);
}

static const char hosts_text[] = "10.0.0.1 hosty\n10.0.0.2 hosty\n2001:db8::1 six both\n10.0.0.3 both\n";

static void
the_hosts_file_is_read_again(void **state)
{
    waiter_t w;

    start(NULL);
    assert_string_equal(look("hosty"), "10.0.0.1");
    wait_for(&w, "new.test");
    write_hosts("10.0.0.7 hosty new.test\n");
    assert_string_equal(look("hosty"), "10.0.0.2"); /* not looked at on every lookup */
    seconds_pass(1.1);
    assert_string_equal(look("hosty"), "10.0.0.7");
    assert_string_equal(look("new.test"), "10.0.0.7"); /* hides what is being asked for */
    assert_string_equal(look("six"), "?");
    assert_string_equal(look("localhost"), "127.0.0.1");
    answer(0, "192.0.2.1", 60);
    assert_string_equal(w.ip, "192.0.2.1");
    assert_string_equal(look("new.test"), "10.0.0.7");
    unlink(hosts_path);
    seconds_pass(1.1);
    assert_string_equal(look("hosty"), "?");
    assert_string_equal(look("new.test"), "192.0.2.1"); /* and shows it again */
    assert_string_equal(look("localhost"), "127.0.0.1");
    write_hosts(hosts_text);
    seconds_pass(1.1);
    assert_string_equal(look("hosty"), "10.0.0.1");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(known_without_asking, stop),
        cmocka_unit_test_teardown(one_question_for_all_who_wait, stop),
        cmocka_unit_test_teardown(a_waiter_may_cancel_the_next, stop),
        cmocka_unit_test_teardown(never_inside_start, stop),
        cmocka_unit_test_teardown(failures_are_remembered, stop),
        cmocka_unit_test_teardown(stale_answers_serve_while_they_are_refreshed, stop),
        cmocka_unit_test_teardown(stale_answers_end, stop),
        cmocka_unit_test_teardown(ttl_zero_is_asked_each_time, stop),
        cmocka_unit_test_teardown(valid_ttl_overrides, stop),
        cmocka_unit_test_teardown(the_other_family_is_asked_when_there_is_nothing, stop),
        cmocka_unit_test_teardown(the_cache_is_bounded, stop),
        cmocka_unit_test_teardown(addresses_outlive_their_entry, stop),
        cmocka_unit_test_teardown(ending_drops_the_waiters, stop),
        cmocka_unit_test_teardown(services, stop),
        cmocka_unit_test_teardown(a_target_with_two_addresses_does_not_weigh_double, stop),
        cmocka_unit_test_teardown(some_targets_may_be_missing, stop),
        cmocka_unit_test_teardown(without_any_target_the_next_type_is_asked_for, stop),
        cmocka_unit_test_teardown(aliases, stop),
        cmocka_unit_test_teardown(a_chain_of_aliases_is_bounded, stop),
        cmocka_unit_test_teardown(the_order_without_last, stop),
        cmocka_unit_test_teardown(trouble_with_one_type_does_not_hide_another, stop),
        cmocka_unit_test_teardown(equal_questions_may_be_kept_apart, stop),
        cmocka_unit_test_teardown(the_newer_client, stop),
        cmocka_unit_test_teardown(the_hosts_file_is_read_again, stop),
    };
    int fd = mkstemp(hosts_path), failed;

    if (fd < 0 || write(fd, hosts_text, sizeof(hosts_text) - 1) < 0 || fchmod(fd, 0600) != 0)
        return 1;
    close(fd);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(hosts_path);
    return failed;
}
