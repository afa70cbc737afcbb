/*
 * Upstream entities: a name that stands for weighted targets. One object per entity in a worker, so that every service that uses the
 * name takes turns on the same balancer; it is replaced when the entity or one of its targets changed. The table holds no
 * reference. What its targets stand for at the moment is in peers.c.
 */
#include "proxy/ups.h"

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

/* The same endpoint, in another pool. */
static void
copy_endpoint(sb_endpoint_t *e, sb_pool_t *pool, const sb_endpoint_t *from)
{
    *e = *from;
    e->host = sb_pool_str(pool, from->host.data, from->host.len);
    e->host_port = sb_pool_str(pool, from->host_port.data, from->host_port.len);
    if (e->literal) {
        e->text = (ngx_str_t){e->host_port.len, (u_char *)e->host_port.data};
        sb_kpool_ref(e->pool);
    }
}

void
sb_endpoint_clear(sb_endpoint_t *e)
{
    if (e->pool != NULL)
        sb_kpool_unref(e->pool);
    e->pool = NULL;
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
    sb_peers_unref(u->peers);
    sb_peers_unref(u->before);
    sb_ups_names_end(u);
    for (size_t i = 0; i < u->n; i++)
        sb_endpoint_clear(&u->targets[i]);
    sb_cache_bytes -= sb_pool_bytes(u->pool);
    sb_pool_free(u->pool);
}

/* Stale objects stay in the table, so that what takes their place finds them. */
static void
forget_node(sb_node_t *node, void *arg)
{
    sb_ups_t *u = (sb_ups_t *)node;

    u->stale = u->all_changed = true;
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

static bool
is_changed(const sb_ups_t *u, const sb_uuid_t *target)
{
    for (size_t i = 0; i < u->n_changed; i++) {
        if (memcmp(&u->changed[i], target, sizeof(*target)) == 0)
            return true;
    }
    return false;
}

void
sb_ups_target_changed(const sb_uuid_t *id, const sb_uuid_t *target)
{
    sb_ups_t *u = (sb_ups_t *)sb_table_find(&upstreams, id);

    if (u == NULL)
        return;
    u->stale = true;
    if (is_changed(u, target))
        return;
    if (u->n_changed == sizeof(u->changed) / sizeof(u->changed[0]))
        forget_node(&u->node, NULL);
    else
        u->changed[u->n_changed++] = *target;
}

/* ---- decoding ---- */

struct target {
    sb_str_t host;
    uint16_t port;
    uint32_t weight;
    sb_uuid_t id;
};

struct targets {
    struct target *items;
    size_t n, cap;
    sb_pool_t *pool;
    const sb_uuid_t *upstream; /* only targets of it */
};

static bool
is_of(const json_t *target, const sb_uuid_t *upstream)
{
    const char *text = sb_json_foreign_id(target, "upstream");
    sb_uuid_t id;

    return text != NULL && sb_uuid_parse(text, strlen(text), &id) && memcmp(&id, upstream, sizeof(id)) == 0;
}

static bool
add_target(const sb_row_t *row, void *arg)
{
    struct targets *t = arg;
    json_t *json = sb_json_parse(row->json.data, row->json.len, NULL);
    const char *text = sb_json_string(json, "target");
    struct target target = {.id = row->id};

    if (text != NULL && is_of(json, t->upstream) && sb_target_parse((sb_str_t){text, strlen(text)}, &target.host, &target.port) == SB_OK) {
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
init_target(sb_endpoint_t *e, sb_pool_t *pool, const struct target *t)
{
    sb_endpoint_init(e, pool, t->host, t->port);
    e->target = t->id;
    e->weight = t->weight;
}

/* The targets that have changed since `old` was made, as far as they are still there. */
static void
list_changed(const sb_ups_t *old, struct targets *t)
{
    for (size_t i = 0; i < old->n_changed; i++) {
        sb_row_t row;

        if (sb_model_get(sb_worker.reader, sb_worker.targets, &old->changed[i], &row))
            add_target(&row, t);
    }
}

/* From the rows, or from those of `old` (may be NULL) that have not changed: an edit of one among many reads one. */
static void
read_targets(sb_ups_t *u, const sb_ups_t *old)
{
    struct targets t = {.pool = u->pool, .upstream = &u->node.id};

    if (old != NULL && old->all_changed)
        old = NULL;
    if (old == NULL)
        sb_model_children(sb_worker.reader, sb_worker.targets, "upstream", &u->node.id, add_target, &t);
    else
        list_changed(old, &t);
    u->targets = sb_pool_alloc(u->pool, ((old != NULL ? old->n : 0) + t.n) * sizeof(*u->targets));
    for (size_t i = 0; old != NULL && i < old->n; i++) {
        if (!is_changed(old, &old->targets[i].target))
            copy_endpoint(&u->targets[u->n++], u->pool, &old->targets[i]);
    }
    for (size_t i = 0; i < t.n; i++)
        init_target(&u->targets[u->n++], u->pool, &t.items[i]);
    free(t.items);
    sb_ups_names_start(u);
}

static sb_str_t
pool_text(sb_pool_t *pool, const char *text)
{
    return text != NULL ? sb_pool_str(pool, text, strlen(text)) : SB_STR("");
}

/* "hash_on" or "hash_fallback" with the name that goes with it: "hash_on_header", … */
static void
read_hash(sb_ups_t *u, sb_hash_input_t *input, const json_t *json, const char *field)
{
    static const struct {
        const char *value;
        enum sb_hash_on on;
    } values[] = {{"consumer", SB_HASH_CONSUMER},      {"ip", SB_HASH_IP},     {"header", SB_HASH_HEADER},
                  {"cookie", SB_HASH_COOKIE},          {"path", SB_HASH_PATH}, {"query_arg", SB_HASH_QUERY_ARG},
                  {"uri_capture", SB_HASH_URI_CAPTURE}};
    const char *value = sb_json_string(json, field);
    char name[48];

    for (size_t i = 0; value != NULL && i < sizeof(values) / sizeof(values[0]); i++) {
        if (strcmp(values[i].value, value) != 0)
            continue;
        input->on = values[i].on;
        snprintf(name, sizeof(name), "%s_%s", input->on == SB_HASH_COOKIE ? "hash_on" : field, value); /* one cookie for both */
        input->name = pool_text(u->pool, sb_json_string(json, name));
    }
}

static void
read_statuses(uint64_t bits[16], const json_t *list)
{
    json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        json_int_t status = json_integer_value(one);

        if (status >= 0 && status < 1024)
            bits[status / 64] |= 1ull << (status % 64);
    }
}

static void
read_passive(sb_passive_t *p, const json_t *checks)
{
    const json_t *passive = json_object_get(checks, "passive"), *good = json_object_get(passive, "healthy"),
                 *bad = json_object_get(passive, "unhealthy");

    p->limits = (sb_health_limits_t){{[SB_HEALTH_SUCCESS] = (uint8_t)sb_json_int(good, "successes", 0),
                                      [SB_HEALTH_HTTP_FAILURE] = (uint8_t)sb_json_int(bad, "http_failures", 0),
                                      [SB_HEALTH_TCP_FAILURE] = (uint8_t)sb_json_int(bad, "tcp_failures", 0),
                                      [SB_HEALTH_TIMEOUT] = (uint8_t)sb_json_int(bad, "timeouts", 0)}};
    p->on = p->limits.of[SB_HEALTH_HTTP_FAILURE] != 0 || p->limits.of[SB_HEALTH_TCP_FAILURE] != 0 || p->limits.of[SB_HEALTH_TIMEOUT] != 0;
    read_statuses(p->healthy, json_object_get(good, "http_statuses"));
    read_statuses(p->unhealthy, json_object_get(bad, "http_statuses"));
}

/* The set of addresses of what is replaced, if it had one; a reference. */
static sb_peers_t *
take_peers(const sb_ups_t *old)
{
    sb_peers_t *peers = old == NULL ? NULL : old->peers != NULL ? old->peers : old->before;

    return peers != NULL ? sb_peers_ref(peers) : NULL;
}

static sb_ups_t *
make_ups(const sb_row_t *row, const json_t *json, const sb_ups_t *old)
{
    sb_pool_t *pool = sb_pool_new(512);
    sb_ups_t *u = sb_pool_alloc(pool, sizeof(*u));
    const json_t *checks = json_object_get(json, "healthchecks");
    const char *algorithm = sb_json_string(json, "algorithm"), *cookie_path = sb_json_string(json, "hash_on_cookie_path"),
               *cert = sb_json_foreign_id(json, "client_certificate");

    u->pool = pool;
    u->refs = 1;
    u->node.id = row->id;
    u->host_header = pool_text(pool, sb_json_string(json, "host_header"));
    u->algorithm = pool_text(pool, algorithm != NULL ? algorithm : "round-robin");
    u->slots = (size_t)sb_json_int(json, "slots", 10000);
    read_hash(u, &u->hash[0], json, "hash_on");
    read_hash(u, &u->hash[1], json, "hash_fallback");
    u->cookie_path = pool_text(pool, cookie_path != NULL ? cookie_path : "/");
    u->threshold = json_number_value(json_object_get(checks, "threshold"));
    read_passive(&u->passive, checks);
    u->has_cert = cert != NULL && sb_uuid_parse(cert, strlen(cert), &u->cert);
    u->use_srv_name = sb_json_bool(json, "use_srv_name", false);
    u->before = take_peers(old);
    read_targets(u, old);
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
    sb_ups_t *u, *old;

    sb_uuid_format(ws, ws_text);
    if (sb_worker.upstreams == NULL || !sb_model_find(sb_worker.reader, sb_worker.upstreams, "name", ws_text, name, &row))
        return NULL;
    old = (sb_ups_t *)sb_table_find(&upstreams, &row.id);
    if (old != NULL && !old->stale)
        return sb_ups_ref(old);
    json = sb_json_parse(row.json.data, row.json.len, NULL);
    if (json == NULL)
        return NULL;
    if (old != NULL)
        sb_table_remove(&upstreams, &old->node);
    u = make_ups(&row, json, old);
    json_decref(json);
    return u;
}

sb_ups_t *
sb_ups_find_kept(const sb_uuid_t *ws, sb_str_t name)
{
    enum { KEPT = 64 };
    static sb_ups_t *kept[KEPT];
    sb_ups_t *u = sb_ups_find(ws, name), **at;

    if (u == NULL)
        return NULL;
    at = &kept[u->node.id.b[15] % KEPT];
    if (*at != u) {
        sb_ups_unref(*at);
        *at = sb_ups_ref(u);
    }
    return u;
}

sb_tls_cert_t *
sb_ups_cert(const sb_ups_t *u, const sb_service_t *s)
{
    sb_tls_cert_t *c;

    if (u == NULL || !u->has_cert || (s != NULL && s->tls_own.cert != NULL) || sb_model_begin(sb_worker.reader, NULL) != SB_OK)
        return NULL;
    c = sb_tls_cert_get(&u->cert);
    sb_model_end(sb_worker.reader);
    return c;
}
