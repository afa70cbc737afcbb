/*
 * The object that log plugins write: what is known of a request when it is over (facts log_fields). Members whose value is missing are
 * left out. Values that plugins set (kong.log.set_serialize_value) are applied last, in their order.
 */
#include "proxy/exchange.h"
#include "proxy/ffi_int.h"

enum { VALUE_SET = 1, VALUE_ADD, VALUE_REPLACE };

/* Text that is not UTF-8 is shown with each odd byte as U+FFFD: a log line must stay JSON. */
static json_t *
text(sb_str_t s)
{
    json_t *value = json_stringn(s.data, s.len);
    sb_buf_t b = {0};

    if (value != NULL)
        return value;
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.data[i] < 0x80)
            sb_buf_addc(&b, s.data[i]);
        else
            sb_buf_adds(&b, "\xef\xbf\xbd");
    }
    value = json_stringn(b.data, b.len);
    sb_buf_free(&b);
    return value;
}

static void
put_text(json_t *object, const char *name, sb_str_t s)
{
    if (s.data != NULL)
        json_object_set_new(object, name, text(s));
}

static void
put_int(json_t *object, const char *name, double n)
{
    json_object_set_new(object, name, json_integer((json_int_t)n));
}

static sb_str_t
get_str(sb_ctx_t *ctx, int what)
{
    sb_ffi_str s = {NULL, 0};

    if (!sb_ffi_get_str(ctx->r, what, &s))
        return (sb_str_t){NULL, 0};
    return (sb_str_t){s.data, s.len};
}

/* A value for a name that may come again: the second makes an array. */
static void
append(json_t *object, const char *name, size_t len, json_t *value)
{
    char *key = sb_strdup_len(name, len);
    json_t *before = json_object_get(object, key);

    if (before == NULL)
        json_object_set_new(object, key, value);
    else if (json_is_array(before))
        json_array_append_new(before, value);
    else {
        json_t *list = json_array();
        json_array_append(list, before);
        json_array_append_new(list, value);
        json_object_set_new(object, key, list);
    }
    free(key);
}

/* ---- request ---- */

static size_t
unescape(const char *from, size_t len, u_char *to)
{
    u_char *dst = to, *src = (u_char *)from;

    ngx_unescape_uri(&dst, &src, len, 0);
    len = (size_t)(dst - to);
    for (size_t i = 0; i < len; i++)
        if (to[i] == '+')
            to[i] = ' ';
    return len;
}

static void
add_argument(ngx_http_request_t *r, json_t *object, const char *arg, size_t len)
{
    const char *equals = memchr(arg, '=', len);
    size_t name_len = equals != NULL ? (size_t)(equals - arg) : len;
    u_char *buf = ngx_pnalloc(r->pool, len + 1);
    size_t n;
    json_t *name;

    if (buf == NULL || name_len == 0)
        return;
    n = unescape(arg, name_len, buf);
    name = text((sb_str_t){(char *)buf, n});
    if (equals == NULL)
        append(object, json_string_value(name), json_string_length(name), json_true());
    else {
        size_t value_len = unescape(equals + 1, len - name_len - 1, buf + n);
        append(object, json_string_value(name), json_string_length(name), text((sb_str_t){(char *)buf + n, value_len}));
    }
    json_decref(name);
}

static json_t *
query_object(ngx_http_request_t *r)
{
    json_t *object = json_object();
    const char *p = (const char *)r->args.data, *end = p + r->args.len;

    while (p != NULL && p < end) {
        const char *amp = memchr(p, '&', (size_t)(end - p));
        const char *stop = amp != NULL ? amp : end;
        add_argument(r, object, p, (size_t)(stop - p));
        p = stop + 1;
    }
    return object;
}

static bool
is_secret(const char *name)
{
    return strcmp(name, "authorization") == 0 || strcmp(name, "proxy-authorization") == 0;
}

static void
add_header(json_t *object, const ngx_table_elt_t *h, bool redact)
{
    char name[256];
    size_t len = ngx_min(h->key.len, sizeof(name) - 1);

    ngx_strlow((u_char *)name, h->key.data, len);
    name[len] = '\0';
    if (redact && is_secret(name))
        json_object_set_new(object, name, json_string("REDACTED"));
    else
        append(object, name, len, text(sb_ngx_str(h->value)));
}

static json_t *
headers_object(ngx_list_part_t *part, bool redact)
{
    json_t *object = json_object();

    for (; part != NULL; part = part->next) {
        const ngx_table_elt_t *h = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++)
            if (h[i].hash != 0)
                add_header(object, &h[i], redact);
    }
    return object;
}

static void
put_url(sb_ctx_t *ctx, json_t *request)
{
    sb_buf_t b = {0};
    sb_str_t scheme = get_str(ctx, SB_FFI_SCHEME), host = get_str(ctx, SB_FFI_HOST), uri = get_str(ctx, SB_FFI_URI);

    sb_buf_addf(&b, "%.*s://%.*s:%d", (int)scheme.len, scheme.data, (int)host.len, host.data != NULL ? host.data : "",
                (int)sb_ffi_get_num(ctx->r, SB_FFI_PORT));
    sb_buf_add(&b, uri.data, uri.len);
    json_object_set_new(request, "url", text((sb_str_t){b.data, b.len}));
    sb_buf_free(&b);
}

static void
put_tls(sb_ctx_t *ctx, json_t *request)
{
    sb_str_t version = sb_request_variable(ctx->r, "ssl_protocol");
    const sb_lua_request_t *lua = ctx->lua;
    json_t *tls;

    if (version.data == NULL || version.len == 0)
        return;
    tls = json_object();
    put_text(tls, "version", version);
    put_text(tls, "cipher", sb_request_variable(ctx->r, "ssl_cipher"));
    put_text(tls, "client_verify",
             lua != NULL && lua->client_verify.data != NULL ? lua->client_verify : sb_request_variable(ctx->r, "ssl_client_verify"));
    json_object_set_new(request, "tls", tls);
}

static json_t *
request_object(sb_ctx_t *ctx)
{
    json_t *request = json_object();

    put_text(request, "id", get_str(ctx, SB_FFI_ID));
    put_text(request, "uri", get_str(ctx, SB_FFI_URI));
    put_url(ctx, request);
    json_object_set_new(request, "querystring", query_object(ctx->r));
    put_text(request, "method", get_str(ctx, SB_FFI_METHOD));
    json_object_set_new(request, "headers", headers_object(&ctx->r->headers_in.headers.part, true));
    put_int(request, "size", (double)ctx->r->request_length);
    put_tls(ctx, request);
    return request;
}

/* ---- response ---- */

static void
put_special_headers(ngx_http_request_t *r, json_t *headers)
{
    if (r->headers_out.content_type.len != 0 && json_object_get(headers, "content-type") == NULL)
        put_text(headers, "content-type", sb_request_variable(r, "sent_http_content_type"));
    if (r->headers_out.content_length_n >= 0 && json_object_get(headers, "content-length") == NULL)
        put_text(headers, "content-length", sb_request_variable(r, "sent_http_content_length"));
    if (r->headers_out.content_length_n < 0 && json_object_get(headers, "transfer-encoding") == NULL)
        put_text(headers, "transfer-encoding", sb_request_variable(r, "sent_http_transfer_encoding"));
    if (json_object_get(headers, "connection") == NULL)
        put_text(headers, "connection", sb_request_variable(r, "sent_http_connection"));
}

static json_t *
response_object(sb_ctx_t *ctx)
{
    json_t *response = json_object(), *headers = headers_object(&ctx->r->headers_out.headers.part, false);

    put_special_headers(ctx->r, headers);
    put_int(response, "status", (double)ctx->r->headers_out.status);
    json_object_set_new(response, "headers", headers);
    put_int(response, "size", (double)ctx->r->connection->sent);
    return response;
}

/* "502, 200", or the number alone when the answer was gathered first. */
static void
put_upstream_status(sb_ctx_t *ctx, json_t *object)
{
    const sb_exchange_t *x = ctx->exchange;
    const ngx_array_t *states = x != NULL ? x->r->upstream_states : NULL;
    const ngx_http_upstream_state_t *s = states != NULL ? states->elts : NULL;
    sb_buf_t b = {0};

    if (ctx->capture != NULL && !ctx->capture->failed) {
        put_int(object, "upstream_status", ctx->capture->status);
        return;
    }
    for (ngx_uint_t i = 0; s != NULL && i < states->nelts; i++)
        if (s[i].status != 0)
            sb_buf_addf(&b, "%s%u", b.len != 0 ? ", " : "", (unsigned)s[i].status);
    json_object_set_new(object, "upstream_status", json_stringn(b.len != 0 ? b.data : "", b.len));
    sb_buf_free(&b);
}

/* ---- tries ---- */

static json_t *
try_object(const sb_try_t *t)
{
    json_t *object = json_object();

    put_int(object, "balancer_start", (double)(t->start_ns / 1000000));
    put_int(object, "balancer_start_ns", (double)t->start_ns);
    put_int(object, "balancer_latency", (double)(t->end - t->start));
    put_int(object, "balancer_latency_ns", (double)(t->end - t->start) * 1e6);
    if (t->ip.len != 0) {
        put_text(object, "ip", sb_ngx_str(t->ip));
        put_int(object, "port", t->port);
    }
    if (t->state != 0)
        json_object_set_new(object, "state", json_string((t->state & NGX_PEER_FAILED) != 0 ? "failed" : "next"));
    if (t->state != 0 && t->code != 0)
        put_int(object, "code", t->code);
    return object;
}

static void
put_tries(sb_ctx_t *ctx, json_t *object)
{
    json_t *tries;

    if (ctx->exchange == NULL || ctx->exchange->last == NULL)
        return;
    tries = json_array();
    for (const sb_try_t *t = &ctx->exchange->first; t != NULL; t = t->next)
        json_array_append_new(tries, try_object(t));
    json_object_set_new(object, "tries", tries);
}

/* ---- times ---- */

static double
now_ms(void)
{
    const ngx_time_t *t = ngx_timeofday();

    return (double)t->sec * 1000 + (double)t->msec;
}

/* The two clocks round differently: the whole is never less than its parts. */
static json_t *
latencies_object(sb_ctx_t *ctx)
{
    json_t *latencies = json_object();
    double waited = sb_ffi_get_num(ctx->r, SB_FFI_UPSTREAM_LATENCY_MS);
    double receive = ngx_max(sb_ffi_get_num(ctx->r, SB_FFI_RECEIVE_MS), 0);
    double outside = ngx_max(waited, 0) + receive;
    double total = ngx_max(now_ms() - sb_ffi_get_num(ctx->r, SB_FFI_START_MS), outside);

    put_int(latencies, "request", total);
    put_int(latencies, "proxy", waited);
    put_int(latencies, "receive", receive);
    put_int(latencies, "kong", total - outside);
    return latencies;
}

/* ---- values of plugins ---- */

/* Walks a dotted path, making objects on the way when make; NULL when it leads nowhere. *last is its end, malloc'ed. */
static json_t *
parent_of(json_t *object, sb_str_t key, bool make, char **last)
{
    const char *p = key.data, *end = p + key.len, *dot;

    while ((dot = memchr(p, '.', (size_t)(end - p))) != NULL) {
        char *name = sb_strdup_len(p, (size_t)(dot - p));
        json_t *next = json_object_get(object, name);
        if (!json_is_object(next) && make) {
            next = json_object();
            json_object_set_new(object, name, next);
        }
        free(name);
        if (!json_is_object(next))
            return NULL;
        object = next;
        p = dot + 1;
    }
    *last = sb_strdup_len(p, (size_t)(end - p));
    return object;
}

static void
apply_value(json_t *object, const sb_log_value_t *v)
{
    char *name = NULL;
    json_t *parent = parent_of(object, v->key, v->json.data != NULL && v->mode != VALUE_REPLACE, &name);
    bool present = parent != NULL && json_object_get(parent, name) != NULL;

    if (parent != NULL && (v->mode == VALUE_SET || (v->mode == VALUE_ADD && !present) || (v->mode == VALUE_REPLACE && present))) {
        json_t *value = v->json.data != NULL ? sb_json_parse(v->json.data, v->json.len, NULL) : NULL;
        if (value != NULL)
            json_object_set_new(parent, name, value);
        else
            json_object_del(parent, name);
    }
    free(name);
}

/* ---- all of it ---- */

static void
remove_nulls(json_t *object)
{
    const char *name;
    json_t *value;
    void *next;

    json_object_foreach_safe(object, next, name, value)
    {
        if (json_is_null(value))
            json_object_del(object, name);
        else if (json_is_object(value))
            remove_nulls(value);
    }
}

static void
put_entity(sb_ctx_t *ctx, json_t *object, const char *name, int what)
{
    sb_str_t json = get_str(ctx, what);
    json_t *row = json.data != NULL ? sb_json_parse(json.data, json.len, NULL) : NULL;

    if (row == NULL)
        return;
    remove_nulls(row);
    json_object_set_new(object, name, row);
}

static void
put_authenticated(sb_ctx_t *ctx, json_t *object)
{
    const sb_lua_request_t *lua = ctx->lua;
    char id[SB_UUID_TEXT + 1];
    json_t *entity;

    if (lua == NULL || lua->credential_id.data == NULL)
        return;
    entity = json_object();
    put_text(entity, "id", lua->credential_id);
    if (ctx->has_consumer) {
        sb_uuid_format(&ctx->consumer, id);
        json_object_set_new(entity, "consumer_id", json_string(id));
    }
    json_object_set_new(object, "authenticated_entity", entity);
}

/* Routes know their workspace; requests that matched none are the default's. */
static void
put_workspace(sb_ctx_t *ctx, json_t *object)
{
    const sb_entity_t *workspaces = sb_entity_find("workspaces");
    sb_uuid_t ws = ctx->route.ws;
    char id[SB_UUID_TEXT + 1], *json;
    const char *fallback;
    size_t len;
    json_t *row;

    if (!ctx->matched) {
        fallback = sb_model_default_ws(sb_worker.reader);
        if (!sb_uuid_parse(fallback, strlen(fallback), &ws))
            return;
    }
    sb_uuid_format(&ws, id);
    json_object_set_new(object, "workspace", json_string(id));
    json = workspaces != NULL ? sb_row_json(workspaces, &ws, &len, NULL) : NULL;
    row = json != NULL ? sb_json_parse(json, len, NULL) : NULL;
    if (row != NULL && sb_json_string(row, "name") != NULL)
        json_object_set_new(object, "workspace_name", json_string(sb_json_string(row, "name")));
    json_decref(row);
    free(json);
}

json_t *
sb_log_serialize(sb_ctx_t *ctx)
{
    json_t *object = json_object();
    const sb_lua_request_t *lua = ctx->lua;

    json_object_set_new(object, "request", request_object(ctx));
    put_text(object, "upstream_uri", get_str(ctx, SB_FFI_UPSTREAM_URI));
    put_upstream_status(ctx, object);
    json_object_set_new(object, "response", response_object(ctx));
    json_object_set_new(object, "latencies", latencies_object(ctx));
    put_tries(ctx, object);
    put_authenticated(ctx, object);
    put_entity(ctx, object, "route", SB_FFI_ROUTE);
    put_entity(ctx, object, "service", SB_FFI_SERVICE);
    put_entity(ctx, object, "consumer", SB_FFI_CONSUMER);
    put_text(object, "client_ip", get_str(ctx, SB_FFI_FORWARDED_IP));
    put_int(object, "started_at", sb_ffi_get_num(ctx->r, SB_FFI_START_MS));
    json_object_set_new(object, "source", json_string(ctx->source == SB_SOURCE_SERVICE ? "upstream" : "kong"));
    put_workspace(ctx, object);
    for (const sb_log_value_t *v = lua != NULL ? lua->values : NULL; v != NULL; v = v->next)
        apply_value(object, v);
    return object;
}
