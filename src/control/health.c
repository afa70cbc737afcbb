/*
 * Active health checks: which upstreams have them, when whose addresses are checked, and what becomes of the results. One place per node
 * does this, the control worker; the results go into the state that all processes share (core/balancer/health.h), which the proxy's
 * workers look at with each exchange.
 *
 * Structures: `checks` with a list of struct checked, one per upstream that has checks, with its addresses. Twice over, for those that are
 * healthy and those that are not, there is a round: a timer starts it, it walks over the addresses in that state, at most `concurrency` at
 * once, and it is not started again before its end.
 *
 * How it follows the configuration: a tick looks whether the event sequence has moved; then a job on the store thread reads the upstreams
 * and targets (read_rows()), the proxy is asked what the names stand for (ask_names()), and the list is made anew (rebuild()): upstreams of
 * which nothing has changed stay as they are, of the others rounds keep their time and place, and probes under way still count for
 * addresses that remain. Names are asked for again every now and then.
 *
 * All on the event loop, but for read_rows(). Nothing here keeps a worker from exiting. Start at on_tick().
 */
#include "control/health_int.h"

#include "core/balancer/balancer.h"
#include "core/base/buf.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/schema/pem.h"

#include <arpa/inet.h>
#include <math.h>

#define TICK_MS       200
#define NAMES_MS      1000 /* how often names are asked for */
#define MANY_NAMES    100  /* so many are asked for less often */
#define MANY_NAMES_MS 10000
#define MAX_RUNNING   64 /* probes of one upstream, whatever its concurrency says */

struct address {
    sb_uuid_t target;
    uint64_t key;
    const struct probe_how *how;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } sa;
    socklen_t len;
    bool busy;
};

/* One of the two rounds. */
struct round {
    struct checked *of;
    bool down; /* over the unhealthy */
    ngx_msec_t interval;
    size_t next, n_running; /* next: the address to look at; beyond the last: none is under way */
    ngx_event_t timer;
    ngx_connection_t dummy; /* what the timer logs through */
};

/* An upstream that has checks. Lives until nothing of it runs any more. */
struct checked {
    ngx_queue_t link;
    sb_uuid_t id;
    json_t *item, *names; /* what it was made of: of rows, and of what names stand for (null: not known), by host */
    bool gone;            /* not in the list any more */
    size_t running, concurrency;
    struct round rounds[2];
    sb_health_limits_t limits;
    uint64_t good[16], bad[16]; /* bits of statuses */
    struct address *addresses;
    size_t n;
    struct probe_how *hows; /* by target */
    size_t n_hows;
    SSL_CTX *tls;
};

/* A probe under way. */
struct flight {
    struct round *round;
    size_t index;
};

static struct {
    sb_runtime_t *rt;
    const sb_settings_t *settings;
    ngx_queue_t list;
    uint64_t seen;   /* event sequence that rows is of */
    uint64_t seq;    /* the record's, for the job */
    bool any, ready; /* rows has been read once; its job or a question is not under way */
    bool stopped;
    json_t *rows;  /* [{"upstream":row,"targets":[row …],"certificate":row}] */
    json_t *names; /* what they stand for, as the proxy answered */
    ngx_msec_t names_at;
    ngx_event_t tick;
    ngx_connection_t dummy;
} checks;

/* The job; one at a time. */
static struct {
    sb_job_t job;
    sb_loop_task_t task;
    json_t *rows; /* NULL: nothing of it has changed, or it could not be read */
    uint64_t seq;
    bool read; /* it ran */
} reading;

/* ---------- rounds ---------- */

static void
free_how(struct probe_how *how)
{
    free((char *)how->request);
    free((char *)how->authority);
    json_decref(how->headers);
    free((char *)how->name);
}

static void
free_checked(struct checked *c)
{
    for (size_t i = 0; i < c->n_hows; i++)
        free_how(&c->hows[i]);
    free(c->hows);
    free(c->addresses);
    SSL_CTX_free(c->tls);
    json_decref(c->item);
    json_decref(c->names);
    free(c);
}

static void
stop_rounds(struct checked *c)
{
    for (size_t i = 0; i < 2; i++)
        if (c->rounds[i].timer.timer_set)
            ngx_del_timer(&c->rounds[i].timer);
}

static void
let_go(struct checked *c)
{
    stop_rounds(c);
    ngx_queue_remove(&c->link);
    c->gone = true;
    if (c->running == 0)
        free_checked(c);
}

static bool
has_status(const uint64_t bits[16], int status)
{
    return status > 0 && status < 1024 && (bits[status / 64] >> (status % 64) & 1) != 0;
}

/* What a result counts as. false: as nothing. */
static bool
kind_of(const struct checked *c, struct probe_result result, enum sb_health_kind *kind)
{
    switch (result.end) {
    case PROBE_CONNECTED:
        *kind = SB_HEALTH_SUCCESS;
        return true;
    case PROBE_STATUS:
        *kind = has_status(c->good, result.status) ? SB_HEALTH_SUCCESS : SB_HEALTH_HTTP_FAILURE;
        if (result.status == 0)
            *kind = SB_HEALTH_TCP_FAILURE;
        return *kind != SB_HEALTH_HTTP_FAILURE || has_status(c->bad, result.status);
    case PROBE_UNWELL:
        *kind = SB_HEALTH_HTTP_FAILURE;
        return true;
    case PROBE_FAILED:
        *kind = SB_HEALTH_TCP_FAILURE;
        return true;
    case PROBE_TIMEOUT:
        *kind = SB_HEALTH_TIMEOUT;
        return true;
    default:
        return false;
    }
}

static struct checked *find_checked(const sb_uuid_t *id);

/* The upstream as it is now, whose check of the address may have begun before a change; NULL: the address is not checked any more. */
static const struct checked *
as_it_is(const struct checked *c, const struct address *a)
{
    const struct checked *now = c->gone ? find_checked(&c->id) : c;

    if (now == NULL || now == c)
        return now;
    for (size_t i = 0; i < now->n; i++)
        if (now->addresses[i].key == a->key)
            return now;
    return NULL;
}

static void
note(const struct checked *checked, const struct address *a, struct probe_result result)
{
    const struct checked *c = as_it_is(checked, a);
    enum sb_health_kind kind;
    u_char text[NGX_SOCKADDR_STRLEN];
    ngx_str_t name = {0, text};

    if (c == NULL || !kind_of(c, result, &kind) || !sb_health_report(&checks.rt->health, &a->target, a->key, kind, &c->limits))
        return;
    name.len = ngx_sock_ntop((struct sockaddr *)&a->sa.any, a->len, text, sizeof(text), 1);
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0, "target %V is %s by its checks", &name,
                  kind == SB_HEALTH_SUCCESS ? "healthy" : "unhealthy");
}

static void go_on(struct round *round);

static void
on_probe(void *arg, struct probe_result result)
{
    struct flight *flight = arg;
    struct round *round = flight->round;
    struct checked *c = round->of;
    struct address *a = &c->addresses[flight->index];

    free(flight);
    a->busy = false;
    round->n_running--;
    c->running--;
    note(c, a, result);
    if (!c->gone)
        go_on(round);
    else if (c->running == 0)
        free_checked(c);
}

static void
check(struct round *round, size_t index)
{
    struct checked *c = round->of;
    struct address *a = &c->addresses[index];
    struct flight *flight = sb_malloc(sizeof(*flight));
    enum probe_end end;

    *flight = (struct flight){round, index};
    end = probe_start(a->how, &a->sa.any, a->len, on_probe, flight);
    if (end == PROBE_STARTED) {
        a->busy = true;
        round->n_running++;
        c->running++;
        return;
    }
    free(flight);
    note(c, a, (struct probe_result){end, 0});
}

static void
go_on(struct round *round)
{
    struct checked *c = round->of;

    for (; !checks.stopped && round->next < c->n && c->running < c->concurrency; round->next++) {
        const struct address *a = &c->addresses[round->next];

        if (!a->busy && sb_health_is_down(&checks.rt->health, a->key) == round->down)
            check(round, round->next);
    }
}

static void
on_round(ngx_event_t *ev)
{
    struct round *round = ((ngx_connection_t *)ev->data)->data;

    if (round->next >= round->of->n && round->n_running == 0)
        round->next = 0;
    go_on(round);
    ngx_add_timer(ev, round->interval);
}

/* ---------- an upstream's row ---------- */

static void
read_statuses(uint64_t bits[16], const json_t *list)
{
    json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        json_int_t status = json_integer_value(one);

        if (status > 0 && status < 1024)
            bits[status / 64] |= 1ull << (status % 64);
    }
}

static ngx_msec_t
interval_of(const json_t *side)
{
    return (ngx_msec_t)ceil(json_number_value(json_object_get(side, "interval")) * 1000);
}

static bool
is_type(const json_t *active, const char *type)
{
    const char *have = sb_json_string(active, "type");

    return have != NULL && strcmp(have, type) == 0;
}

static bool
is_grpc(const json_t *active)
{
    return is_type(active, "grpc") || is_type(active, "grpcs");
}

static void
show_certificate(SSL_CTX *ctx, const json_t *row)
{
    const char *cert = sb_json_string(row, "cert"), *key = sb_json_string(row, "key");
    X509 *x = cert != NULL ? sb_pem_certificate(cert, strlen(cert)) : NULL;
    EVP_PKEY *k = key != NULL ? sb_pem_private_key(key, strlen(key)) : NULL;

    if (x != NULL && k != NULL && (SSL_CTX_use_certificate(ctx, x) != 1 || SSL_CTX_use_PrivateKey(ctx, k) != 1))
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "the client certificate of an upstream cannot be used for its checks");
    X509_free(x);
    EVP_PKEY_free(k);
}

/* The authorities of lua_ssl_trusted_certificate, as for Lua's connections. Read once: it takes its time, and the loop waits. */
static X509_STORE *
trusted(void)
{
    static X509_STORE *store;
    char *file = store == NULL ? sb_settings_trusted_file(checks.settings) : NULL;

    if (store == NULL) {
        store = X509_STORE_new();
        SB_ASSERT(store != NULL);
        if ((file != NULL ? X509_STORE_load_locations(store, file, NULL) : X509_STORE_set_default_paths(store)) != 1)
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "health checks: cannot read trusted certificates");
    }
    free(file);
    return store;
}

static SSL_CTX *
make_tls(const json_t *active, const json_t *certificate)
{
    static const unsigned char h2[] = {2, 'h', '2'};
    bool grpc = is_type(active, "grpcs");
    SSL_CTX *ctx;

    if (!grpc && !is_type(active, "https"))
        return NULL;
    ctx = SSL_CTX_new(TLS_client_method());
    SB_ASSERT(ctx != NULL);
    if (sb_json_bool(active, "https_verify_certificate", true)) {
        SSL_CTX_set1_cert_store(ctx, trusted());
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    }
    if (grpc)
        SSL_CTX_set_alpn_protos(ctx, h2, sizeof(h2));
    show_certificate(ctx, certificate);
    return ctx;
}

static bool
is_one_line(const char *text)
{
    return text[strcspn(text, "\r\n")] == '\0';
}

/* Header values may hold anything that JSON may; what would end its line is left out. */
static char *
make_request(const json_t *active, const char *host, size_t *len)
{
    const char *path = sb_json_string(active, "http_path"), *name;
    json_t *values, *value;
    sb_buf_t b = {0};
    size_t i;

    sb_buf_addf(&b, "GET %s HTTP/1.0\r\n", path != NULL && is_one_line(path) ? path : "/");
    json_object_foreach(json_object_get(active, "headers"), name, values)
    {
        json_array_foreach(values, i, value)
        {
            if (json_is_string(value) && is_one_line(json_string_value(value)))
                sb_buf_addf(&b, "%s: %s\r\n", name, json_string_value(value));
        }
    }
    sb_buf_addf(&b, "Host: %s\r\n\r\n", host);
    *len = b.len;
    return sb_buf_take(&b);
}

/* host: the target's. */
static void
make_how(struct checked *c, const json_t *upstream, const json_t *active, const char *host)
{
    struct probe_how *how = &c->hows[c->n_hows++];
    const char *header = sb_json_string(upstream, "host_header"), *sni = sb_json_string(active, "https_sni");
    double timeout = json_number_value(json_object_get(active, "timeout"));
    char *own = strchr(host, ':') != NULL ? sb_asprintf("[%s]", host) : sb_asprintf("%s", host);

    header = header != NULL ? header : own;
    sni = sni != NULL ? sni : host;
    if (is_type(active, "http") || is_type(active, "https"))
        how->request = make_request(active, header, &how->request_len);
    else if (is_grpc(active)) {
        how->authority = sb_asprintf("%s", header);
        how->headers = json_incref(json_object_get(active, "headers"));
    }
    free(own);
    how->name = sb_strdup_len(sni, strlen(sni));
    how->tls = c->tls;
    how->timeout = timeout > 0 ? (ngx_msec_t)ceil(timeout * 1000) : 60000;
}

static void
add_address(struct checked *c, size_t *cap, const sb_uuid_t *target, const char *ip, uint16_t port)
{
    struct address a = {.target = *target, .how = &c->hows[c->n_hows - 1], .key = sb_health_key_of(target, ip, port)};

    if (inet_pton(AF_INET, ip, &a.sa.v4.sin_addr) == 1) {
        a.sa.v4.sin_family = AF_INET;
        a.sa.v4.sin_port = htons(port);
        a.len = sizeof(a.sa.v4);
    } else if (inet_pton(AF_INET6, ip, &a.sa.v6.sin6_addr) == 1) {
        a.sa.v6.sin6_family = AF_INET6;
        a.sa.v6.sin6_port = htons(port);
        a.len = sizeof(a.sa.v6);
    } else
        return;
    if (c->n == *cap) {
        *cap = *cap != 0 ? 2 * *cap : 8;
        c->addresses = sb_realloc(c->addresses, *cap * sizeof(*c->addresses));
    }
    c->addresses[c->n++] = a;
}

/* The host of a target's row, malloc'ed; NULL: it has no weight, and is not checked. */
static char *
host_of(const json_t *row, uint16_t *port)
{
    return sb_json_int(row, "weight", 100) != 0 ? sb_target_of_row(row, port) : NULL;
}

/* What a host name stands for, as far as it is known. Borrowed. */
static json_t *
addresses_of(const char *host)
{
    json_t *known = json_object_get(checks.names, host);

    return known != NULL ? known : json_null();
}

static void
add_addresses_of(struct checked *c, size_t *cap, const sb_uuid_t *target, const char *host, uint16_t port)
{
    json_t *addresses = addresses_of(host), *one;
    size_t i;

    json_object_set(c->names, host, addresses);
    json_array_foreach(addresses, i, one)
    {
        const char *ip = sb_json_string(one, "ip");

        if (ip != NULL)
            add_address(c, cap, target, ip, (uint16_t)sb_json_int(one, "port", port));
    }
}

static void
add_target(struct checked *c, size_t *cap, const json_t *upstream, const json_t *active, const json_t *row)
{
    uint16_t port = 0;
    char *host = host_of(row, &port);
    const char *id_text = sb_json_string(row, "id");
    sb_uuid_t id;

    if (host != NULL && id_text != NULL && sb_uuid_parse(id_text, strlen(id_text), &id)) {
        make_how(c, upstream, active, host);
        if (sb_target_is_ip(host))
            add_address(c, cap, &id, host, port);
        else
            add_addresses_of(c, cap, &id, host, port);
    }
    free(host);
}

static void
init_round(struct checked *c, size_t which, const json_t *side)
{
    struct round *round = &c->rounds[which];

    *round = (struct round){.of = c, .down = which == 1, .interval = interval_of(side), .next = SIZE_MAX};
    round->dummy.fd = (ngx_socket_t)-1;
    round->dummy.data = round;
    round->timer = (ngx_event_t){.handler = on_round, .data = &round->dummy, .log = ngx_cycle->log};
    round->timer.cancelable = 1;
}

static struct checked *
make_checked(json_t *item)
{
    const json_t *upstream = json_object_get(item, "upstream"), *targets = json_object_get(item, "targets");
    const json_t *active = json_object_get(json_object_get(upstream, "healthchecks"), "active");
    const json_t *good = json_object_get(active, "healthy"), *bad = json_object_get(active, "unhealthy");
    struct checked *c = sb_calloc(sizeof(*c));
    json_t *row;
    size_t i, cap = 0;

    sb_uuid_parse(sb_json_string(upstream, "id"), SB_UUID_TEXT, &c->id);
    c->item = json_incref(item);
    c->names = json_object();
    c->concurrency = (size_t)sb_json_int(active, "concurrency", 10);
    c->concurrency = c->concurrency > MAX_RUNNING ? MAX_RUNNING : c->concurrency;
    c->limits = (sb_health_limits_t){{[SB_HEALTH_SUCCESS] = (uint8_t)sb_json_int(good, "successes", 0),
                                      [SB_HEALTH_HTTP_FAILURE] = (uint8_t)sb_json_int(bad, "http_failures", 0),
                                      [SB_HEALTH_TCP_FAILURE] = (uint8_t)sb_json_int(bad, "tcp_failures", 0),
                                      [SB_HEALTH_TIMEOUT] = (uint8_t)sb_json_int(bad, "timeouts", 0)}};
    read_statuses(c->good, json_object_get(good, "http_statuses"));
    read_statuses(c->bad, json_object_get(bad, "http_statuses"));
    init_round(c, 0, good);
    init_round(c, 1, bad);
    c->tls = make_tls(active, json_object_get(item, "certificate"));
    c->hows = sb_calloc((json_array_size(targets) + 1) * sizeof(*c->hows));
    json_array_foreach(targets, i, row) add_target(c, &cap, upstream, active, row);
    return c;
}

/* ---------- the list ---------- */

static struct checked *
find_checked(const sb_uuid_t *id)
{
    for (ngx_queue_t *q = ngx_queue_head(&checks.list); q != ngx_queue_sentinel(&checks.list); q = ngx_queue_next(q)) {
        struct checked *c = ngx_queue_data(q, struct checked, link);
        if (memcmp(&c->id, id, sizeof(*id)) == 0)
            return c;
    }
    return NULL;
}

/* When the old one would have begun its next round; at once when there is none, or it went by another clock. */
static ngx_msec_t
delay_of(const struct checked *old, const struct round *round)
{
    const struct round *before = old != NULL ? &old->rounds[round->down] : NULL;
    ngx_msec_int_t left = before != NULL && before->timer.timer_set ? (ngx_msec_int_t)(before->timer.timer.key - ngx_current_msec) : 1;

    return before == NULL || before->interval != round->interval || left < 1 ? 1 : (ngx_msec_t)left;
}

/* Whether an upstream is what it was made of still. */
static bool
is_same(const struct checked *c, const json_t *item)
{
    const char *host;
    json_t *addresses;

    if (!json_equal(c->item, item))
        return false;
    json_object_foreach(c->names, host, addresses) if (!json_equal(addresses, addresses_of(host))) return false;
    return true;
}

/* A round that was under way goes on with the address of the same number, when its time comes. */
static void
take_over(struct checked *c, const struct checked *old)
{
    for (size_t k = 0; k < 2; k++) {
        struct round *round = &c->rounds[k];

        if (round->interval == 0)
            continue;
        if (old != NULL && old->rounds[k].interval == round->interval && old->rounds[k].next < old->n)
            round->next = old->rounds[k].next;
        ngx_add_timer(&round->timer, delay_of(old, round));
    }
}

/* The entry of the new list for an item. */
static struct checked *
renew(json_t *item)
{
    struct checked *old, *c;
    sb_uuid_t id;

    sb_uuid_parse(sb_json_string(json_object_get(item, "upstream"), "id"), SB_UUID_TEXT, &id);
    old = find_checked(&id);
    if (old != NULL && is_same(old, item)) {
        ngx_queue_remove(&old->link);
        json_decref(old->item);
        old->item = json_incref(item); /* not two of the same */
        return old;
    }
    c = make_checked(item);
    take_over(c, old);
    return c;
}

static void
rebuild(void)
{
    ngx_queue_t fresh;
    json_t *item;
    size_t i;

    ngx_queue_init(&fresh);
    json_array_foreach(checks.rows, i, item)
    {
        struct checked *c = renew(item);

        ngx_queue_insert_tail(&fresh, &c->link);
    }
    while (!ngx_queue_empty(&checks.list))
        let_go(ngx_queue_data(ngx_queue_head(&checks.list), struct checked, link));
    ngx_queue_add(&checks.list, &fresh);
}

/* ---------- names ---------- */

static json_t *
names_of_targets(void)
{
    json_t *names = json_object(), *list = json_array(), *item, *row, *value;
    const char *name;
    size_t i, k;
    uint16_t port;

    json_array_foreach(checks.rows, i, item)
    {
        json_array_foreach(json_object_get(item, "targets"), k, row)
        {
            char *host = host_of(row, &port);

            if (host != NULL && !sb_target_is_ip(host))
                json_object_set_new(names, host, json_true());
            free(host);
        }
    }
    json_object_foreach(names, name, value) json_array_append_new(list, json_string(name));
    json_decref(names);
    return list;
}

/* answer NULL: there is no worker yet, or it has gone; what was known still holds. */
static void
on_names(void *arg, const json_t *answer)
{
    json_t *names = json_object_get(answer, "resolve");
    bool rows_are_new = arg != NULL;

    checks.ready = true;
    if (checks.stopped)
        return;
    if (json_is_object(names) && (rows_are_new || !json_equal(names, checks.names))) {
        json_decref(checks.names);
        checks.names = json_incref(names);
        rows_are_new = true;
    }
    if (rows_are_new)
        rebuild();
}

static void
ask_names(bool rows_are_new)
{
    json_t *list = names_of_targets();
    size_t n = json_array_size(list);

    checks.names_at = ngx_current_msec + (n < MANY_NAMES ? NAMES_MS : MANY_NAMES_MS);
    if (n == 0) {
        json_decref(list);
        on_names(rows_are_new ? &checks : NULL, NULL);
        return;
    }
    checks.ready = false;
    sb_hub_ask(json_pack("{s:o}", "resolve", list), on_names, rows_are_new ? &checks : NULL);
}

/* ---------- reading rows, on the store thread ---------- */

static bool
rows_changed(sb_store_t *s, uint64_t since)
{
    static const char *const entities[] = {"upstreams", "targets", "certificates"};

    for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++)
        if (sb_store_changed(s, sb_entity_find(entities[i])) > since)
            return true;
    return false;
}

static int
collect_upstream(json_t *row, const char *ws, uint64_t version, void *arg)
{
    const json_t *active = json_object_get(json_object_get(row, "healthchecks"), "active");
    const char *id = sb_json_string(row, "id");

    if (id != NULL && (interval_of(json_object_get(active, "healthy")) != 0 || interval_of(json_object_get(active, "unhealthy")) != 0))
        json_object_set_new(arg, id, json_pack("{s:O,s:[]}", "upstream", row, "targets"));
    return SB_OK;
}

static int
collect_target(json_t *row, const char *ws, uint64_t version, void *arg)
{
    const char *upstream = sb_json_foreign_id(row, "upstream");

    if (upstream != NULL)
        json_array_append(json_object_get(json_object_get(arg, upstream), "targets"), row);
    return SB_OK;
}

static void
add_certificates(sb_store_t *s, json_t *by_id)
{
    sb_dao_opts_t opts = {0};
    json_t *item, *row;
    const char *id;
    sb_err_t err = {0};

    json_object_foreach(by_id, id, item)
    {
        const char *cert = sb_json_foreign_id(json_object_get(item, "upstream"), "client_certificate");

        if (cert != NULL && sb_dao_select(s, sb_entity_find("certificates"), cert, &opts, &row, &err) == SB_OK)
            json_object_set_new(item, "certificate", row);
        sb_err_clear(&err);
    }
}

/* The rows of what is checked, as a new array of items; NULL: the record cannot be read. */
static json_t *
read_rows(sb_store_t *s)
{
    json_t *by_id = json_object(), *rows = json_array(), *item;
    const char *id;
    sb_err_t err = {0};
    int rc = sb_dao_each(s, sb_entity_find("upstreams"), collect_upstream, by_id, &err);

    if (rc == SB_OK && json_object_size(by_id) != 0)
        rc = sb_dao_each(s, sb_entity_find("targets"), collect_target, by_id, &err);
    if (rc == SB_OK) {
        add_certificates(s, by_id);
        json_object_foreach(by_id, id, item) json_array_append(rows, item);
    } else {
        sb_log(SB_LOG_ERR, "health checks: %s", err.message);
        json_decref(rows);
        rows = NULL;
    }
    sb_err_clear(&err);
    json_decref(by_id);
    return rows;
}

static int
run_job(sb_store_t *s, sb_job_t *job)
{
    uint64_t now = sb_store_seq(s);
    bool changed = !checks.any || now < reading.seq || rows_changed(s, reading.seq);

    if (changed && __atomic_load_n(&checks.rt->health.entries, __ATOMIC_RELAXED) > SB_HEALTH_SLOTS / 4)
        sb_admin_health_prune(s, &checks.rt->health);
    json_decref(reading.rows); /* of a run that did not count */
    reading.rows = changed ? read_rows(s) : NULL;
    reading.read = !changed || reading.rows != NULL;
    reading.seq = now;
    return SB_OK;
}

static void
on_job_done(sb_job_t *job, bool committed)
{
    sb_loop_post(&reading.task);
}

static void
on_read(sb_loop_task_t *task)
{
    json_t *rows = reading.rows;

    reading.rows = NULL;
    checks.ready = true;
    if (!reading.read)
        checks.seen = UINT64_MAX; /* once more */
    checks.any = checks.any || reading.read;
    if (checks.stopped || rows == NULL) {
        json_decref(rows);
        return;
    }
    json_decref(checks.rows);
    checks.rows = rows;
    ask_names(true);
}

/* ---------- start and end ---------- */

static void
start_reading(uint64_t seq)
{
    checks.seen = seq;
    checks.ready = false;
    reading.read = false;
    reading.job = (sb_job_t){.run = run_job, .done = on_job_done};
    reading.task.run = on_read;
    sb_node_submit(&reading.job);
}

static void
on_tick(ngx_event_t *ev)
{
    uint64_t seq = __atomic_load_n(&checks.rt->event_seq, __ATOMIC_ACQUIRE);

    if (checks.ready && sb_node_state() == SB_NODE_READY) {
        if (seq != checks.seen || !checks.any)
            start_reading(seq);
        else if (json_array_size(checks.rows) != 0 && (ngx_msec_int_t)(ngx_current_msec - checks.names_at) >= 0)
            ask_names(false);
    }
    ngx_add_timer(ev, TICK_MS);
}

void
sb_health_checks_start(const sb_settings_t *settings, sb_runtime_t *rt)
{
    checks.settings = settings;
    checks.rt = rt;
    checks.ready = true;
    checks.seen = UINT64_MAX;
    ngx_queue_init(&checks.list);
    checks.dummy.fd = (ngx_socket_t)-1;
    checks.tick = (ngx_event_t){.handler = on_tick, .data = &checks.dummy, .log = ngx_cycle->log};
    checks.tick.cancelable = 1;
    ngx_add_timer(&checks.tick, 1);
}

void
sb_health_checks_stop(void)
{
    if (checks.rt == NULL || checks.stopped)
        return;
    checks.stopped = true;
    if (checks.tick.timer_set)
        ngx_del_timer(&checks.tick);
    probes_drop();
    while (!ngx_queue_empty(&checks.list))
        let_go(ngx_queue_data(ngx_queue_head(&checks.list), struct checked, link));
    json_decref(checks.rows);
    json_decref(checks.names);
    checks.rows = checks.names = NULL;
}
