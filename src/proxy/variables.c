/*
 * The nginx variables that access log formats and plugins know by name: $kong_request_id, and where the request goes. Those about the
 * upstream can be set (ngx.var.upstream_host = …) until the request is sent.
 */
#include "proxy/proxy_int.h"

typedef sb_str_t (*read_pt)(sb_ctx_t *ctx);

static sb_str_t
read_id(sb_ctx_t *ctx)
{
    return (sb_str_t){(const char *)ctx->request_id, sizeof(ctx->request_id)};
}

static sb_str_t
read_uri(sb_ctx_t *ctx)
{
    return ctx->service != NULL || ctx->path_set ? sb_upstream_path(ctx) : (sb_str_t){NULL, 0};
}

static sb_str_t
read_scheme(sb_ctx_t *ctx)
{
    if (ctx->upstream_scheme.len != 0 || ctx->service == NULL)
        return ctx->upstream_scheme;
    if (sb_grpc_is(ctx))
        return ctx->service->tls ? SB_STR("grpcs") : SB_STR("grpc");
    return ctx->service->tls ? SB_STR("https") : SB_STR("http");
}

static sb_str_t
read_host(sb_ctx_t *ctx)
{
    if (ctx->upstream_host.len != 0 || ctx->service == NULL)
        return ctx->upstream_host;
    return ctx->service->endpoint.host_port;
}

static sb_str_t
read_grpc_pass(sb_ctx_t *ctx)
{
    return sb_grpc_pass(ctx);
}

static sb_str_t
read_grpc_authority(sb_ctx_t *ctx)
{
    return sb_grpc_authority(ctx);
}

static const read_pt readers[] = {read_id, read_uri, read_scheme, read_host, read_grpc_pass, read_grpc_authority};
enum { V_ID, V_URI, V_SCHEME, V_HOST, V_GRPC_PASS, V_GRPC_AUTHORITY };

static ngx_int_t
get_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    sb_ctx_t *ctx = sb_ctx(r->main);
    sb_str_t s = ctx != NULL ? readers[data](ctx) : (sb_str_t){NULL, 0};

    if (s.data == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }
    v->data = (u_char *)s.data;
    v->len = s.len;
    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;
    return NGX_OK;
}

static void
set_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    sb_ctx_t *ctx = sb_ctx(r->main);
    char *copy = ngx_pnalloc(r->pool, v->len + 1);
    sb_str_t s = {copy, v->len};

    if (ctx == NULL || copy == NULL)
        return;
    memcpy(copy, v->data, v->len);
    copy[v->len] = '\0';
    switch (data) {
    case V_URI:
        ctx->upstream_path = s;
        ctx->path_set = 1;
        break;
    case V_SCHEME:
        ctx->upstream_scheme = s;
        break;
    case V_HOST:
        s = sb_header_text(r->pool, s);
        if (s.data != NULL)
            ctx->upstream_host = s;
        break;
    }
}

static ngx_http_variable_t variables[] = {
    {ngx_string("kong_request_id"), NULL, get_variable, V_ID, NGX_HTTP_VAR_NOCACHEABLE, 0},
    {ngx_string("upstream_uri"), set_variable, get_variable, V_URI, NGX_HTTP_VAR_CHANGEABLE | NGX_HTTP_VAR_NOCACHEABLE, 0},
    {ngx_string("upstream_scheme"), set_variable, get_variable, V_SCHEME, NGX_HTTP_VAR_CHANGEABLE | NGX_HTTP_VAR_NOCACHEABLE, 0},
    {ngx_string("upstream_host"), set_variable, get_variable, V_HOST, NGX_HTTP_VAR_CHANGEABLE | NGX_HTTP_VAR_NOCACHEABLE, 0},
    {ngx_string("silverback_grpc"), NULL, get_variable, V_GRPC_PASS, NGX_HTTP_VAR_NOCACHEABLE, 0},
    {ngx_string("silverback_grpc_authority"), NULL, get_variable, V_GRPC_AUTHORITY, NGX_HTTP_VAR_NOCACHEABLE, 0},
};

ngx_int_t
sb_variables_add(ngx_conf_t *cf)
{
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        ngx_http_variable_t *v = ngx_http_add_variable(cf, &variables[i].name, variables[i].flags);
        if (v == NULL)
            return NGX_ERROR;
        v->get_handler = variables[i].get_handler;
        v->set_handler = variables[i].set_handler;
        v->data = variables[i].data;
    }
    return NGX_OK;
}
