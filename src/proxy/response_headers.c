/*
 * The gateway's own headers of an answer, added after all plugins have had their say: Via, Server, request id, latencies, and with
 * allow_debug_header what matched. The `headers` setting says which. Called through the out module.
 */
#include "proxy/exchange.h"

#define SERVER "kong/" SB_KONG_VERSION
#define VIA    "1.1 " SERVER
#define VIA_2  "2 " SERVER

/* A static name and a value in request memory, without copying either. */
static ngx_table_elt_t *
add(ngx_http_request_t *r, const char *name, size_t name_len, const char *lower, u_char *value, size_t len)
{
    ngx_table_elt_t *h = ngx_list_push(&r->headers_out.headers);

    if (h == NULL)
        return NULL;
    ngx_memzero(h, sizeof(*h));
    h->hash = 1;
    h->key = (ngx_str_t){name_len, (u_char *)name};
    h->value = (ngx_str_t){len, value};
    h->lowcase_key = (u_char *)lower;
    return h;
}

#define ADD(r, name, lower, value, len) add((r), (name), sizeof(name) - 1, (lower), (value), (len))

static ngx_table_elt_t *
find_header(ngx_http_request_t *r, const char *lower, size_t len)
{
    for (ngx_list_part_t *part = &r->headers_out.headers.part; part != NULL; part = part->next) {
        ngx_table_elt_t *h = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++)
            if (h[i].hash != 0 && h[i].key.len == len && ngx_strncasecmp(h[i].key.data, (u_char *)lower, len) == 0)
                return &h[i];
    }
    return NULL;
}

/* The version is that of the exchange with the service. */
static void
add_via(ngx_http_request_t *r, const sb_ctx_t *ctx)
{
    const char *via = ctx->exchange != NULL && ctx->exchange->is_grpc ? VIA_2 : VIA;
    ngx_table_elt_t *old = find_header(r, "via", 3);
    u_char *text;

    if (old == NULL) {
        ADD(r, "Via", "via", (u_char *)via, strlen(via));
        return;
    }
    text = ngx_pnalloc(r->pool, old->value.len + 2 + strlen(via));
    if (text == NULL)
        return;
    old->value.len = (size_t)(ngx_sprintf(text, "%V, %s", &old->value, via) - text);
    old->value.data = text;
}

/* nginx writes "Server: nginx" itself unless it finds one noted; one without a hash is noted and not written. */
static void
set_server(ngx_http_request_t *r, bool ours)
{
    static ngx_table_elt_t hidden;

    if (!ours) {
        r->headers_out.server = &hidden;
        return;
    }
    r->headers_out.server = ADD(r, "Server", "server", (u_char *)SERVER, sizeof(SERVER) - 1);
}

static void
hide_upstream_server(ngx_http_request_t *r)
{
    if (r->headers_out.server != NULL)
        r->headers_out.server->hash = 0;
    r->headers_out.server = NULL;
}

static ngx_uint_t
elapsed_ms(ngx_http_request_t *r)
{
    ngx_time_t *now = ngx_timeofday();
    ngx_msec_int_t ms = (ngx_msec_int_t)((now->sec - r->start_sec) * 1000) + ((ngx_msec_int_t)now->msec - (ngx_msec_int_t)r->start_msec);

    return ms > 0 ? (ngx_uint_t)ms : 0;
}

static void
add_number(ngx_http_request_t *r, const char *name, size_t len, const char *lower, ngx_uint_t n)
{
    u_char *text = ngx_pnalloc(r->pool, NGX_INT_T_LEN);

    if (text != NULL)
        add(r, name, len, lower, text, (size_t)(ngx_sprintf(text, "%ui", n) - text));
}

#define ADD_NUMBER(r, name, lower, n) add_number((r), (name), sizeof(name) - 1, (lower), (n))

static void
service_headers(ngx_http_request_t *r, sb_ctx_t *ctx, uint32_t bits)
{
    ngx_http_upstream_t *u = ctx->exchange != NULL ? ctx->exchange->r->upstream : NULL;
    ngx_msec_int_t waited = (ngx_msec_int_t)(ctx->header_start - ctx->balancer_end);

    if ((bits & SB_H_VIA) != 0)
        add_via(r, ctx);
    if ((bits & SB_H_UPSTREAM_LATENCY) != 0)
        ADD_NUMBER(r, "X-Kong-Upstream-Latency", "x-kong-upstream-latency", (ngx_uint_t)ngx_max(waited, 0));
    if ((bits & SB_H_PROXY_LATENCY) != 0)
        ADD_NUMBER(r, "X-Kong-Proxy-Latency", "x-kong-proxy-latency", elapsed_ms(r));
    if ((bits & SB_H_UPSTREAM_STATUS) != 0 && u != NULL && u->state != NULL && u->state->status != 0)
        ADD_NUMBER(r, "X-Kong-Upstream-Status", "x-kong-upstream-status", u->state->status);
    if (r->headers_out.server == NULL)
        set_server(r, (bits & SB_H_SERVER) != 0);
}

static void
own_headers(ngx_http_request_t *r, uint32_t bits)
{
    if ((bits & SB_H_RESPONSE_LATENCY) != 0)
        ADD_NUMBER(r, "X-Kong-Response-Latency", "x-kong-response-latency", elapsed_ms(r));
    hide_upstream_server(r);
    set_server(r, (bits & SB_H_SERVER) != 0);
}

/* Who came by TLS over TCP is told that HTTP/3 is there, unless a plugin or the service says where else to go. */
static void
offer_http3(ngx_http_request_t *r)
{
    const sb_alt_svc_t *alt = sb_conf->alt_svcs->elts;
    in_port_t port;

    if (r->connection->ssl == NULL || r->http_version > NGX_HTTP_VERSION_20 || find_header(r, "alt-svc", 7) != NULL)
        return;
    port = sb_listener_port(r);
    for (ngx_uint_t i = 0; i < sb_conf->alt_svcs->nelts; i++)
        if (alt[i].port == port) {
            ADD(r, "Alt-Svc", "alt-svc", alt[i].value.data, alt[i].value.len);
            return;
        }
}

/* ---- debugging ---- */

static void
describe(ngx_http_request_t *r, const sb_entity_t *e, const sb_uuid_t *id, sb_str_t id_header, sb_str_t name_header)
{
    char text[SB_UUID_TEXT + 1];
    sb_row_t row;
    json_t *json = NULL;
    const char *name;

    sb_uuid_format(id, text);
    sb_headers_out_set(r, id_header, (sb_str_t){text, SB_UUID_TEXT});
    if (sb_model_begin(sb_worker.reader, NULL) != SB_OK)
        return;
    if (sb_model_get(sb_worker.reader, e, id, &row))
        json = sb_json_parse(row.json.data, row.json.len, NULL);
    sb_model_end(sb_worker.reader);
    name = sb_json_string(json, "name");
    if (name != NULL)
        sb_headers_out_set(r, name_header, (sb_str_t){name, strlen(name)});
    json_decref(json);
}

static void
debug_headers(ngx_http_request_t *r, sb_ctx_t *ctx)
{
    if (!ctx->matched || sb_request_header(ctx, "kong-debug", 0).data == NULL)
        return;
    describe(r, sb_worker.routes, &ctx->route.route, SB_STR("Kong-Route-Id"), SB_STR("Kong-Route-Name"));
    if (ctx->service != NULL)
        describe(r, sb_worker.services, &ctx->service->node.id, SB_STR("Kong-Service-Id"), SB_STR("Kong-Service-Name"));
}

ngx_int_t
sb_out_header_filter(ngx_http_request_t *r)
{
    sb_loc_conf_t *lcf = ngx_http_get_module_loc_conf(r, ngx_http_silverback_module);
    sb_ctx_t *ctx = sb_ctx(r);
    uint32_t bits;

    if (!lcf->proxy || r != r->main || ctx == NULL)
        return NGX_OK;
    bits = sb_conf->headers;
    if (ctx->source == SB_SOURCE_SERVICE)
        service_headers(r, ctx, bits);
    else
        own_headers(r, bits);
    if ((bits & SB_H_REQUEST_ID) != 0)
        ADD(r, "X-Kong-Request-Id", "x-kong-request-id", ctx->request_id, sizeof(ctx->request_id));
    if (sb_conf->alt_svcs != NULL)
        offer_http3(r);
    if (sb_conf->debug_header)
        debug_headers(r, ctx);
    return NGX_OK;
}
