/*
 * What a request is hashed by for consistent hashing: the upstream's hash_on, or hash_fallback when that gives nothing. A cookie that is
 * missing is made up and set, so that the client comes back to the same target. With nothing at all the empty text is hashed.
 *
 * A row of getters[] per input; each gives text in request memory or borrowed from it, data NULL for nothing.
 */
#include "core/balancer/xxh32.h"
#include "core/base/args.h"
#include "proxy/ffi_int.h"
#include "proxy/ups.h"

static const sb_str_t nothing;

static sb_str_t
of_consumer(const sb_ups_t *u, sb_ctx_t *ctx, ngx_http_request_t *r, sb_str_t name)
{
    const sb_lua_request_t *lua = ctx->lua;
    char id[SB_UUID_TEXT + 1];

    if (ctx->has_consumer) {
        sb_uuid_format(&ctx->consumer, id);
        return sb_request_copy(r, id, SB_UUID_TEXT);
    }
    return lua != NULL ? lua->credential_id : nothing;
}

static sb_str_t
of_ip(const sb_ups_t *u, sb_ctx_t *ctx, ngx_http_request_t *r, sb_str_t name)
{
    return sb_ngx_str(r->connection->addr_text);
}

/* ---- text that is put together ---- */

struct text {
    ngx_http_request_t *r;
    sb_str_t s;
};

static void
append(struct text *t, sb_str_t more)
{
    char *data = ngx_pnalloc(t->r->pool, t->s.len + more.len + 1);

    if (data == NULL)
        return;
    if (t->s.len != 0)
        memcpy(data, t->s.data, t->s.len);
    if (more.len != 0)
        memcpy(data + t->s.len, more.data, more.len);
    t->s = (sb_str_t){data, t->s.len + more.len};
}

/* Several headers of the name are taken together. */
static sb_str_t
of_header(const sb_ups_t *u, sb_ctx_t *ctx, ngx_http_request_t *r, sb_str_t name)
{
    struct text all = {r, nothing};
    sb_str_t value;

    for (int n = 0; sb_request_header_find(r, name, n, &value); n++) {
        if (n == 0)
            all.s = value;
        else
            append(&all, value);
    }
    return all.s;
}

/* ---- cookies ---- */

static sb_str_t
set_cookie(const sb_ups_t *u, ngx_http_request_t *r, sb_str_t name)
{
    char id[SB_UUID_TEXT + 1];
    struct text line = {r, nothing};

    sb_uuid_v4(id);
    append(&line, name);
    append(&line, SB_STR("="));
    append(&line, (sb_str_t){id, SB_UUID_TEXT});
    append(&line, SB_STR("; Path="));
    append(&line, u->cookie_path);
    append(&line, SB_STR("; Same-Site=Lax; HttpOnly"));
    sb_headers_out_add(r, SB_STR("Set-Cookie"), line.s);
    return sb_request_copy(r, id, SB_UUID_TEXT);
}

static sb_str_t
of_cookie(const sb_ups_t *u, sb_ctx_t *ctx, ngx_http_request_t *r, sb_str_t name)
{
    sb_str_t line, value;

    for (int n = 0; sb_request_header_find(r, SB_STR("cookie"), n, &line); n++) {
        value = sb_args_cookie(line, name);
        if (value.data != NULL && value.len != 0)
            return value;
    }
    return set_cookie(u, r, name);
}

/* ---- path and query ---- */

static sb_str_t
of_path(const sb_ups_t *u, sb_ctx_t *ctx, ngx_http_request_t *r, sb_str_t name)
{
    return sb_ngx_str(r->main->uri);
}

/* "%41+b" as "A b": borrowed when it is as it was, else in request memory. */
static sb_str_t
decoded(ngx_http_request_t *r, sb_str_t s)
{
    char *data;

    if (s.len == 0 || (memchr(s.data, '%', s.len) == NULL && memchr(s.data, '+', s.len) == NULL))
        return s;
    data = ngx_pnalloc(r->pool, s.len);
    return data != NULL ? (sb_str_t){data, sb_args_decode(s, data)} : nothing;
}

#define MAX_VALUES 100

/* The values of an argument; without "=" it is "true". */
static size_t
values_of(ngx_http_request_t *r, sb_str_t name, sb_str_t values[MAX_VALUES])
{
    sb_str_t query = sb_ngx_str(r->args), key, value;
    size_t n = 0;

    while (n < MAX_VALUES && sb_args_next(&query, &key, &value))
        if (sb_str_eq(decoded(r, key), name))
            values[n++] = value.data != NULL ? decoded(r, value) : SB_STR("true");
    return n;
}

static int
compare(const void *a, const void *b)
{
    const sb_str_t *x = a, *y = b;
    int c = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);

    return c != 0 ? c : (x->len > y->len) - (x->len < y->len);
}

static sb_str_t
of_query_arg(const sb_ups_t *u, sb_ctx_t *ctx, ngx_http_request_t *r, sb_str_t name)
{
    sb_str_t values[MAX_VALUES];
    size_t n = values_of(r->main, name, values);
    struct text all = {r, n != 0 ? values[0] : nothing};

    if (n < 2)
        return all.s;
    qsort(values, n, sizeof(*values), compare);
    all.s = values[0];
    for (size_t i = 1; i < n; i++) {
        append(&all, SB_STR(","));
        append(&all, values[i]);
    }
    return all.s;
}

/* By number or name. */
static sb_str_t
of_uri_capture(const sb_ups_t *u, sb_ctx_t *ctx, ngx_http_request_t *r, sb_str_t name)
{
    const sb_route_match_t *m = ctx->match;
    ngx_int_t number = ngx_atoi((u_char *)name.data, name.len);

    for (unsigned i = 0; m != NULL && i < m->n_captures; i++) {
        if ((ngx_int_t)i == number || (m->capture_names[i] != NULL && sb_str_eqc(name, m->capture_names[i])))
            return m->captures[i];
    }
    return nothing;
}

/* ---- all of them ---- */

static sb_str_t (*const getters[])(const sb_ups_t *u, sb_ctx_t *ctx, ngx_http_request_t *r, sb_str_t name) = {
    [SB_HASH_CONSUMER] = of_consumer,       [SB_HASH_IP] = of_ip,     [SB_HASH_HEADER] = of_header,
    [SB_HASH_COOKIE] = of_cookie,           [SB_HASH_PATH] = of_path, [SB_HASH_QUERY_ARG] = of_query_arg,
    [SB_HASH_URI_CAPTURE] = of_uri_capture,
};

uint32_t
sb_hash_request(const sb_ups_t *u, sb_ctx_t *ctx, ngx_http_request_t *r)
{
    for (size_t i = 0; i < 2; i++) {
        const sb_hash_input_t *input = &u->hash[i];
        sb_str_t value = input->on != SB_HASH_NONE ? getters[input->on](u, ctx, r, input->name) : nothing;

        if (value.data != NULL)
            return sb_xxh32(value.data, value.len);
    }
    return sb_xxh32("", 0);
}
