/*
 * Upstream entities: a name that stands for weighted targets. One object per entity in a worker, so that every service that uses the
 * name takes turns on the same balancer; it is replaced when the entity or one of its targets changed. The table holds no
 * reference.
 */
#include "proxy/keepalive.h"

#include <arpa/inet.h>
#include <stdlib.h>

static sb_table_t upstreams;

/* ---- endpoints ---- */

static bool
parse_literal(sb_endpoint_t *e)
{
    char text[INET6_ADDRSTRLEN];

    if (e->host.len >= sizeof(text))
        return false;
    memcpy(text, e->host.data, e->host.len);
    text[e->host.len] = '\0';
    if (strlen(text) != e->host.len)
        return false;
    if (inet_pton(AF_INET, text, &e->addr.sa.v4.sin_addr) == 1) {
        e->addr.sa.v4.sin_family = AF_INET;
        e->addr.sa.v4.sin_port = htons(e->port);
        e->addr.len = sizeof(e->addr.sa.v4);
    } else if (inet_pton(AF_INET6, text, &e->addr.sa.v6.sin6_addr) == 1) {
        e->addr.sa.v6.sin6_family = AF_INET6;
        e->addr.sa.v6.sin6_port = htons(e->port);
        e->addr.len = sizeof(e->addr.sa.v6);
    } else
        return false;
    memcpy(e->addr.text, text, e->host.len + 1);
    e->addr.text_len = (uint8_t)e->host.len;
    return true;
}

void
sb_endpoint_init(sb_endpoint_t *e, sb_pool_t *pool, sb_str_t host, uint16_t port)
{
    bool v6;
    char *text;

    if (host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        host = (sb_str_t){host.data + 1, host.len - 2};
    v6 = memchr(host.data, ':', host.len) != NULL;
    e->host = sb_pool_str(pool, host.data, host.len);
    e->port = port;
    text = sb_asprintf(v6 ? "[%s]:%u" : "%s:%u", e->host.data, port);
    e->host_port = sb_pool_str(pool, text, strlen(text));
    e->host_only = (size_t)(strrchr(text, ':') - text);
    free(text);
    e->literal = parse_literal(e);
    if (e->literal) {
        e->text = (ngx_str_t){e->host_port.len, (u_char *)e->host_port.data};
        e->pool = sb_kpool_get(&e->addr.sa.any, e->addr.len, SB_STR(""));
    }
}

void
sb_endpoint_clear(sb_endpoint_t *e)
{
    if (e->pool != NULL)
        sb_kpool_unref(e->pool);
    e->pool = NULL;
}

/* ---- health ---- */

static uint64_t
address_key(const sb_endpoint_t *e, const sb_addr_t *addr)
{
    if (addr->sa.any.sa_family == AF_INET6)
        return sb_health_key(&e->target, &addr->sa.v6.sin6_addr, 16, e->port);
    return sb_health_key(&e->target, &addr->sa.v4.sin_addr, 4, e->port);
}

bool
sb_endpoint_is_up(const sb_endpoint_t *e, const sb_addr_t *addr)
{
    const sb_health_t *h = &sb_worker.rt->health;

    return !sb_health_any(h) || !sb_health_is_down(h, addr == NULL ? e->health_key : address_key(e, addr));
}

/* Adds the weight of the target's addresses, as far as they are known; a name that has not been looked up yet counts as healthy. */
static void
weigh(const sb_endpoint_t *e, uint64_t *total, uint64_t *available)
{
    sb_addrs_t *addrs = NULL;
    const char *why;

    if (e->literal || sb_resolver_lookup(e->host.data, e->host.len, &addrs, &why) != SB_OK) {
        *total += e->weight;
        *available += e->literal && !sb_endpoint_is_up(e, NULL) ? 0 : e->weight;
        return;
    }
    for (uint32_t i = 0; i < addrs->n; i++) {
        *total += e->weight;
        *available += sb_endpoint_is_up(e, &addrs->addr[i]) ? e->weight : 0;
    }
}

bool
sb_ups_serves(sb_ups_t *u)
{
    uint64_t gen = __atomic_load_n(&sb_worker.rt->health.gen, __ATOMIC_ACQUIRE), total = 0, available = 0;

    if (!sb_health_any(&sb_worker.rt->health))
        return true;
    if (u->health_gen != gen) {
        u->health_gen = gen;
        for (size_t i = 0; i < u->n; i++)
            weigh(&u->targets[i], &total, &available);
        u->serves = total != 0 && (double)available / (double)total * 100 > u->threshold;
    }
    return u->serves;
}

/* ---- upstreams ---- */

sb_ups_t *
sb_ups_ref(sb_ups_t *u)
{
    if (u != NULL)
        u->refs++;
    return u;
}

void
sb_ups_unref(sb_ups_t *u)
{
    if (u == NULL || --u->refs != 0)
        return;
    sb_table_remove(&upstreams, &u->node);
    for (size_t i = 0; i < u->n; i++)
        sb_endpoint_clear(&u->targets[i]);
    sb_balancer_free(u->balancer);
    sb_cache_bytes -= sb_pool_bytes(u->pool);
    sb_pool_free(u->pool);
}

static void
forget_node(sb_node_t *node, void *arg)
{
    ((sb_ups_t *)node)->stale = true;
    sb_table_remove(&upstreams, node);
}

void
sb_ups_forget(const sb_uuid_t *id)
{
    sb_node_t *node;

    if (id == NULL) {
        sb_table_each(&upstreams, forget_node, NULL);
        return;
    }
    node = sb_table_find(&upstreams, id);
    if (node != NULL)
        forget_node(node, NULL);
}

struct targets {
    sb_target_t *items;
    size_t n, cap;
    sb_pool_t *pool;
};

static bool
add_target(const sb_row_t *row, void *arg)
{
    struct targets *t = arg;
    json_t *json = sb_json_parse(row->json.data, row->json.len, NULL);
    const char *text = sb_json_string(json, "target");
    sb_target_t target = {.id = row->id};

    if (text != NULL && sb_target_parse((sb_str_t){text, strlen(text)}, &target.host, &target.port) == SB_OK) {
        if (t->n == t->cap) {
            t->cap = t->cap != 0 ? 2 * t->cap : 8;
            t->items = sb_realloc(t->items, t->cap * sizeof(*t->items));
        }
        target.host = sb_pool_str(t->pool, target.host.data, target.host.len);
        target.weight = (uint32_t)sb_json_int(json, "weight", 100);
        t->items[t->n++] = target;
    }
    json_decref(json);
    return true;
}

static void
make_balancer(sb_ups_t *u, const char *algorithm, const struct targets *t)
{
    sb_err_t err = {0};

    if (t->n == 0)
        return;
    if (sb_balancer_new(algorithm, t->items, t->n, &u->balancer, &err) == SB_OK)
        return;
    sb_log(SB_LOG_WARN, "%s: taking turns by weight instead", err.message);
    sb_err_clear(&err);
    u->balancer = NULL;
    if (sb_balancer_new("round-robin", t->items, t->n, &u->balancer, &err) != SB_OK)
        sb_err_clear(&err);
}

static void
init_target(sb_endpoint_t *e, sb_pool_t *pool, const sb_target_t *t)
{
    sb_endpoint_init(e, pool, t->host, t->port);
    e->target = t->id;
    e->weight = t->weight;
    if (e->literal)
        e->health_key = address_key(e, &e->addr);
}

static sb_ups_t *
make_ups(const sb_row_t *row, const json_t *json)
{
    sb_pool_t *pool = sb_pool_new(512);
    sb_ups_t *u = sb_pool_alloc(pool, sizeof(*u));
    struct targets t = {.pool = pool};
    const char *host = sb_json_string(json, "host_header"), *algorithm = sb_json_string(json, "algorithm"), *cert;

    u->pool = pool;
    u->refs = 1;
    u->node.id = row->id;
    if (host != NULL)
        u->host_header = sb_pool_str(pool, host, strlen(host));
    cert = sb_json_foreign_id(json, "client_certificate");
    u->has_cert = cert != NULL && sb_uuid_parse(cert, strlen(cert), &u->cert);
    sb_model_children(sb_worker.reader, sb_worker.targets, "upstream", &row->id, add_target, &t);
    u->n = t.n;
    u->targets = sb_pool_alloc(pool, t.n * sizeof(*u->targets));
    for (size_t i = 0; i < t.n; i++)
        init_target(&u->targets[i], pool, &t.items[i]);
    u->threshold = json_number_value(json_object_get(json_object_get(json, "healthchecks"), "threshold"));
    u->health_gen = UINT64_MAX;
    make_balancer(u, algorithm != NULL ? algorithm : "round-robin", &t);
    free(t.items);
    sb_cache_bytes += sb_pool_bytes(pool);
    sb_table_add(&upstreams, &u->node);
    return u;
}

sb_ups_t *
sb_ups_find(const sb_uuid_t *ws, sb_str_t name)
{
    char ws_text[SB_UUID_TEXT + 1];
    sb_row_t row;
    json_t *json;
    sb_ups_t *u;

    sb_uuid_format(ws, ws_text);
    if (sb_worker.upstreams == NULL || !sb_model_find(sb_worker.reader, sb_worker.upstreams, "name", ws_text, name, &row))
        return NULL;
    u = (sb_ups_t *)sb_table_find(&upstreams, &row.id);
    if (u != NULL)
        return sb_ups_ref(u);
    json = sb_json_parse(row.json.data, row.json.len, NULL);
    if (json == NULL)
        return NULL;
    u = make_ups(&row, json);
    json_decref(json);
    return u;
}
