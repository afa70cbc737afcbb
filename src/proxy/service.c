/*
 * Services: their rows decoded into what an exchange needs, the upstream module's configuration with their timeouts included. Found by id
 * in a table that holds a reference, and so does each request that uses one. When its row changes it becomes stale and leaves the
 * table; when too much is cached, the oldest leave (cache.h).
 */
#include "proxy/ups.h"

static sb_table_t services;
static uint64_t last_epoch;

void
sb_service_unref(sb_service_t *s)
{
    if (s == NULL || --s->refs != 0)
        return;
    sb_chain_unref(s->chain);
    sb_ups_unref(s->ups);
    sb_endpoint_clear(&s->endpoint);
    sb_service_tls_clear(&s->tls_own);
    sb_cache_bytes -= sb_pool_bytes(s->pool);
    sb_pool_free(s->pool);
}

static void
forget(sb_service_t *s)
{
    s->stale = true;
    sb_table_remove(&services, &s->node);
    sb_cache_remove(&s->aged);
    sb_service_unref(s);
}

static void
forget_node(sb_node_t *node, void *arg)
{
    forget((sb_service_t *)node);
}

static void
forget_aged(sb_aged_t *a)
{
    forget(ngx_queue_data(a, sb_service_t, aged));
}

void
sb_services_forget(const sb_uuid_t *id)
{
    sb_node_t *node;

    if (id == NULL) {
        sb_table_each(&services, forget_node, NULL);
        return;
    }
    node = sb_table_find(&services, id);
    if (node != NULL)
        forget_node(node, NULL);
}

void
sb_services_plugins_changed(const sb_uuid_t *id)
{
    sb_service_t *s = (sb_service_t *)sb_table_find(&services, id);

    if (s != NULL)
        s->plugins_epoch = ++last_epoch;
}

/* ---- decoding ---- */

static sb_str_t
pool_text(sb_pool_t *pool, const char *text)
{
    return text != NULL ? sb_pool_str(pool, text, strlen(text)) : SB_STR("");
}

static void
fill_service(sb_service_t *s, const sb_row_t *row, const json_t *json)
{
    sb_str_t host = pool_text(s->pool, sb_json_string(json, "host"));

    s->node.id = row->id;
    s->ws = row->ws;
    s->version = row->version;
    s->protocol = sb_route_protocol_bit(sb_json_string(json, "protocol"));
    s->tls = s->protocol == SB_PROTO_HTTPS || s->protocol == SB_PROTO_GRPCS;
    s->retries = (int)sb_json_int(json, "retries", 5);
    s->path = pool_text(s->pool, sb_json_string(json, "path"));
    sb_endpoint_init(&s->endpoint, s->pool, host, (uint16_t)sb_json_int(json, "port", 80));
    s->conf = sb_pool_alloc(s->pool, sizeof(*s->conf));
    *s->conf = *sb_conf->proxy;
    s->conf->connect_timeout = (ngx_msec_t)sb_json_int(json, "connect_timeout", 60000);
    s->conf->send_timeout = (ngx_msec_t)sb_json_int(json, "write_timeout", 60000);
    s->conf->read_timeout = (ngx_msec_t)sb_json_int(json, "read_timeout", 60000);
    sb_service_tls_read(s, json);
}

static sb_service_t *
make_service(const sb_row_t *row, const json_t *json)
{
    sb_pool_t *pool = sb_pool_new(1024);
    sb_service_t *s = sb_pool_alloc(pool, sizeof(*s));

    s->pool = pool;
    s->refs = 2; /* the table's and the caller's */
    s->plugins_epoch = ++last_epoch;
    fill_service(s, row, json);
    sb_cache_bytes += sb_pool_bytes(pool);
    sb_table_add(&services, &s->node);
    s->ups_epoch = sb_worker.ups_epoch;
    s->ups = sb_ups_find(&s->ws, s->endpoint.host);
    sb_cache_add(&s->aged, forget_aged);
    return s;
}

sb_service_t *
sb_service_get(const sb_uuid_t *id)
{
    sb_service_t *s = (sb_service_t *)sb_table_find(&services, id);
    sb_row_t row;
    json_t *json;

    if (s != NULL) {
        s->refs++;
        s->aged.used = true;
        return s;
    }
    if (!sb_model_get(sb_worker.reader, sb_worker.services, id, &row))
        return NULL;
    json = sb_json_parse(row.json.data, row.json.len, NULL);
    if (json == NULL)
        return NULL;
    s = make_service(&row, json);
    json_decref(json);
    return s;
}

sb_ups_t *
sb_service_ups(sb_service_t *s)
{
    sb_ups_t *ups;

    if (s->ups_epoch == sb_worker.ups_epoch && (s->ups == NULL || !s->ups->stale))
        return s->ups;
    if (sb_model_begin(sb_worker.reader, NULL) != SB_OK)
        return s->ups;
    ups = sb_ups_find(&s->ws, s->endpoint.host);
    sb_model_end(sb_worker.reader);
    sb_ups_unref(s->ups);
    s->ups = ups;
    s->ups_epoch = sb_worker.ups_epoch;
    return ups;
}
