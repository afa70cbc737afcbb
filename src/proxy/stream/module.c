/*
 * The stream module: directives and phases. `silverback_stream plain` marks the server that listens; `silverback_stream tls` one that does
 * not, whose proxy_ssl_* directives are what TLS to services begins with. Start at preread_handler().
 */
#include "core/base/client_hello.h"
#include "proxy/stream/module_int.h"

/* ---- the connection ---- */

struct context {
    sb_stream_t stream;
    enum { NEW, WAITING, READY, FAILED } state;
};

static void
on_pool_end(void *data)
{
    sb_stream_host.release(data);
}

static void
on_ready(sb_stream_t *st, ngx_int_t rc)
{
    struct context *ctx = (struct context *)st;

    ctx->state = rc == NGX_OK ? READY : FAILED;
    ngx_stream_core_run_phases(st->session);
}

sb_stream_t *
sb_stream_of(ngx_stream_session_t *s)
{
    struct context *ctx = ngx_stream_get_module_ctx(s, ngx_stream_silverback_module);
    ngx_connection_t *c = s->connection;
    ngx_pool_cleanup_t *cln;

    if (ctx != NULL)
        return &ctx->stream;
    ctx = ngx_pcalloc(c->pool, sizeof(*ctx));
    cln = ngx_pool_cleanup_add(c->pool, 0);
    if (ctx == NULL || cln == NULL || ngx_connection_local_sockaddr(c, NULL, 0) != NGX_OK)
        return NULL;
    ctx->stream.connection = c;
    ctx->stream.session = s;
    ctx->stream.ready = on_ready;
    ctx->stream.local = c->local_sockaddr;
    ctx->stream.sni = SB_STR("");
    cln->handler = on_pool_end;
    cln->data = &ctx->stream;
    ngx_stream_set_ctx(s, ctx, ngx_stream_silverback_module);
    return &ctx->stream;
}

/* What is no host name counts as none: it is logged, and may hold any bytes. */
static ngx_int_t
read_server_name(sb_stream_t *st)
{
    const char *name = SSL_get_servername(st->connection->ssl->connection, TLSEXT_NAMETYPE_host_name);
    size_t len = name != NULL ? strlen(name) : 0;
    char *copy;

    if (len == 0)
        return NGX_OK;
    copy = ngx_pnalloc(st->connection->pool, len);
    if (copy == NULL)
        return NGX_ERROR;
    if (sb_server_name_lower(name, len, copy))
        st->sni = (sb_str_t){copy, len};
    return NGX_OK;
}

/* A route for plain TCP takes a connection whose TLS was ended here, too. */
static ngx_int_t
match(sb_stream_t *st)
{
    ngx_connection_t *c = st->connection;
    uint16_t protocols;

    if (!st->matched) {
        st->protocol = c->type == SOCK_DGRAM ? SB_PROTO_UDP : c->ssl != NULL ? SB_PROTO_TLS : SB_PROTO_TCP;
        if (c->ssl != NULL && read_server_name(st) != NGX_OK)
            return NGX_ERROR;
        protocols = st->protocol == SB_PROTO_TLS ? SB_PROTO_TLS | SB_PROTO_TCP : st->protocol;
        if (!sb_stream_host.match(st, protocols) && st->matched)
            return NGX_ERROR;
    }
    if (!st->matched) {
        ngx_log_error(NGX_LOG_WARN, c->log, 0, "no Route matched with those values: port %ui, SNI \"%*s\"",
                      (ngx_uint_t)ngx_inet_get_port(st->local), st->sni.len, st->sni.data);
        return NGX_STREAM_FORBIDDEN;
    }
    return NGX_OK;
}

static ngx_int_t
start(struct context *ctx)
{
    sb_stream_t *st = &ctx->stream;
    ngx_int_t rc = match(st);

    if (rc != NGX_OK)
        return rc;
    if (!sb_stream_host.preread(st))
        return NGX_STREAM_FORBIDDEN;
    if (st->service == NULL) {
        ngx_log_error(NGX_LOG_WARN, st->connection->log, 0, "no Service found with those values");
        return NGX_STREAM_SERVICE_UNAVAILABLE;
    }
    rc = sb_stream_host.prepare(st);
    ctx->state = rc == NGX_OK ? READY : rc == NGX_AGAIN ? WAITING : FAILED;
    return NGX_OK;
}

static ngx_int_t
preread_handler(ngx_stream_session_t *s)
{
    sb_stream_main_conf_t *conf = ngx_stream_get_module_main_conf(s, ngx_stream_silverback_module);
    struct context *ctx;
    ngx_int_t rc;

    if (conf->plain != s->srv_conf)
        return NGX_DECLINED;
    ctx = (struct context *)sb_stream_of(s);
    if (ctx == NULL)
        return NGX_ERROR;
    if (ctx->state == NEW && (rc = start(ctx)) != NGX_OK)
        return rc;
    if (ctx->state == WAITING)
        return NGX_DONE; /* on_ready() goes on */
    if (ctx->state == FAILED)
        return NGX_STREAM_SERVICE_UNAVAILABLE;
    return sb_stream_proxy_configure(s, &ctx->stream) == NGX_OK ? NGX_DECLINED : NGX_ERROR;
}

static ngx_int_t
log_handler(ngx_stream_session_t *s)
{
    struct context *ctx = ngx_stream_get_module_ctx(s, ngx_stream_silverback_module);
    const ngx_time_t *now = ngx_timeofday();
    const ngx_str_t *address;

    if (ctx == NULL || !ctx->stream.matched)
        return NGX_OK;
    address = s->upstream != NULL ? ctx->stream.name : NULL;
    ctx->stream.result = (sb_stream_result_t){
        .status = (int)s->status,
        .received = s->received,
        .sent = s->connection->sent,
        .duration_ms = ((int64_t)now->sec - s->start_sec) * 1000 + ((int64_t)now->msec - (int64_t)s->start_msec),
        .upstream_address = address != NULL ? (sb_cstr){(const char *)address->data, address->len} : (sb_cstr){NULL, 0}};
    sb_stream_host.log(&ctx->stream);
    return NGX_OK;
}

/* ---- configuration ---- */

static void *
create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(sb_stream_main_conf_t));
}

static char *
set_stream(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    sb_stream_main_conf_t *conf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_silverback_module);
    ngx_stream_core_srv_conf_t *cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);
    void **srv_conf = ((ngx_stream_conf_ctx_t *)cf->ctx)->srv_conf;
    ngx_str_t *value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "plain") == 0)
        conf->plain = srv_conf;
    else if (ngx_strcmp(value[1].data, "tls") == 0) {
        conf->tls = srv_conf;
        cscf->listen = 1; /* nginx asks every server for a listen directive; this one is only looked at */
    } else
        return "takes \"plain\" or \"tls\"";
    return NGX_CONF_OK;
}

static ngx_int_t
add_handler(ngx_stream_core_main_conf_t *cmcf, ngx_uint_t phase, ngx_stream_handler_pt handler)
{
    ngx_stream_handler_pt *h = ngx_array_push(&cmcf->phases[phase].handlers);

    if (h == NULL)
        return NGX_ERROR;
    *h = handler;
    return NGX_OK;
}

/* Our peers stand in for those of the upstream block that proxy_pass names. */
static ngx_int_t
take_upstream(ngx_conf_t *cf)
{
    ngx_stream_upstream_main_conf_t *umcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_upstream_module);
    ngx_stream_upstream_srv_conf_t **list = umcf->upstreams.elts;

    for (ngx_uint_t i = 0; i < umcf->upstreams.nelts; i++) {
        if (list[i]->host.len == sizeof("silverback_stream") - 1 &&
            ngx_strncmp(list[i]->host.data, "silverback_stream", list[i]->host.len) == 0) {
            list[i]->peer.init = sb_stream_peer_init;
            return NGX_OK;
        }
    }
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "silverback_stream needs an upstream block of that name");
    return NGX_ERROR;
}

static ngx_int_t
postconfiguration(ngx_conf_t *cf)
{
    ngx_stream_core_main_conf_t *cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);
    sb_stream_main_conf_t *conf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_silverback_module);
    const ngx_stream_ssl_srv_conf_t *tls;
    const char *problem;

    if (conf->plain == NULL || conf->tls == NULL)
        return NGX_OK;
    problem = sb_stream_proxy_layout(cf, conf);
    if (problem != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "nginx's stream proxy module is not as expected: %s", problem);
        return NGX_ERROR;
    }
    if (take_upstream(cf) != NGX_OK)
        return NGX_ERROR;
    tls = conf->plain[ngx_stream_ssl_module.ctx_index];
    if (tls->ssl.ctx != NULL)
        sb_stream_host.tls_listener(tls->ssl.ctx);
    if (add_handler(cmcf, NGX_STREAM_PREACCESS_PHASE, sb_stream_hello_handler) != NGX_OK ||
        add_handler(cmcf, NGX_STREAM_PREREAD_PHASE, preread_handler) != NGX_OK)
        return NGX_ERROR;
    return add_handler(cmcf, NGX_STREAM_LOG_PHASE, log_handler);
}

static ngx_command_t commands[] = {
    {ngx_string("silverback_stream"), NGX_STREAM_SRV_CONF | NGX_CONF_TAKE1, set_stream, NGX_STREAM_SRV_CONF_OFFSET, 0, NULL},
    ngx_null_command};

static ngx_stream_module_t module_ctx = {NULL, postconfiguration, create_main_conf, NULL, NULL, NULL};

SB_EXPORT ngx_module_t ngx_stream_silverback_module = {NGX_MODULE_V1, &module_ctx, commands, NGX_STREAM_MODULE,    NULL, NULL, NULL, NULL,
                                                       NULL,          NULL,        NULL,     NGX_MODULE_V1_PADDING};

SB_EXPORT ngx_module_t *ngx_modules[] = {&ngx_stream_silverback_module, NULL};
SB_EXPORT char *ngx_module_names[] = {"ngx_stream_silverback_module", NULL};
SB_EXPORT char *ngx_module_order[] = {NULL};
