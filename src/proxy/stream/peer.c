/*
 * nginx's stream proxy module does the exchange; this file tells it where to, and with which of the service's own settings. Its
 * configuration is not public, so a session gets a copy of the template server's in which single directives have other values: where they
 * are, the module's own table of directives says, and the size is what making one takes from a pool (docs/decisions/0008).
 */
#include "proxy/stream/module_int.h"

#include <math.h>

extern ngx_module_t ngx_stream_proxy_module;

/* ---- the proxy module's configuration ---- */

static bool
find_directive(const char *name, void *setter, ngx_uint_t *at)
{
    for (ngx_command_t *c = ngx_stream_proxy_module.commands; c->name.len != 0; c++) {
        if (c->name.len != strlen(name) || ngx_strncmp(c->name.data, name, c->name.len) != 0)
            continue;
        *at = c->offset;
        return c->conf == NGX_STREAM_SRV_CONF_OFFSET && (void *)c->set == setter;
    }
    return false;
}

static size_t
measure(ngx_conf_t *cf)
{
    const ngx_stream_module_t *module = ngx_stream_proxy_module.ctx;
    ngx_pool_t *pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, cf->log);
    ngx_conf_t trial = *cf;
    u_char *made;
    size_t size = 0;

    if (pool == NULL)
        return 0;
    trial.pool = pool;
    made = module->create_srv_conf(&trial);
    if (made != NULL && made >= (u_char *)pool && made < pool->d.last)
        size = (size_t)(pool->d.last - made);
    ngx_destroy_pool(pool);
    return size;
}

const char *
sb_stream_proxy_layout(ngx_conf_t *cf, sb_stream_main_conf_t *conf)
{
    struct {
        const char *name;
        void *setter;
        ngx_uint_t *at;
        size_t size;
    } wanted[] = {{"proxy_connect_timeout", (void *)ngx_conf_set_msec_slot, &conf->at.connect_timeout, sizeof(ngx_msec_t)},
                  {"proxy_timeout", (void *)ngx_conf_set_msec_slot, &conf->at.timeout, sizeof(ngx_msec_t)},
                  {"proxy_ssl_verify", (void *)ngx_conf_set_flag_slot, &conf->at.ssl_verify, sizeof(ngx_flag_t)},
                  {"proxy_ssl_session_reuse", (void *)ngx_conf_set_flag_slot, &conf->at.ssl_session_reuse, sizeof(ngx_flag_t)}};

    conf->proxy_size = measure(cf);
    if (conf->proxy_size == 0)
        return "size of its configuration";
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        if (!find_directive(wanted[i].name, wanted[i].setter, wanted[i].at) || *wanted[i].at + wanted[i].size > conf->proxy_size)
            return wanted[i].name;
    return NULL;
}

static void
set_msec(u_char *proxy, ngx_uint_t at, ngx_msec_t value)
{
    ngx_memcpy(proxy + at, &value, sizeof(value));
}

static void
set_flag(u_char *proxy, ngx_uint_t at, ngx_flag_t value)
{
    ngx_memcpy(proxy + at, &value, sizeof(value));
}

/* nginx has one timeout between two operations either way: the service's read_timeout. */
ngx_int_t
sb_stream_proxy_configure(ngx_stream_session_t *s, const sb_stream_t *st)
{
    const sb_stream_main_conf_t *conf = ngx_stream_get_module_main_conf(s, ngx_stream_silverback_module);
    bool tls = st->service->protocol == SB_PROTO_TLS && st->protocol != SB_PROTO_TLS_PASSTHROUGH;
    ngx_uint_t index = ngx_stream_proxy_module.ctx_index;
    void **srv_conf = ngx_palloc(s->connection->pool, ngx_stream_max_module * sizeof(*srv_conf));
    u_char *proxy = ngx_palloc(s->connection->pool, conf->proxy_size);

    if (srv_conf == NULL || proxy == NULL)
        return NGX_ERROR;
    ngx_memcpy(proxy, (tls ? conf->tls : conf->plain)[index], conf->proxy_size);
    set_msec(proxy, conf->at.connect_timeout, st->service->conf->connect_timeout);
    set_msec(proxy, conf->at.timeout, st->service->conf->read_timeout);
    set_flag(proxy, conf->at.ssl_verify, st->service->conf->ssl_verify);
    set_flag(proxy, conf->at.ssl_session_reuse, 1); /* its callbacks are where a connection's own settings are applied */
    ngx_memcpy(srv_conf, s->srv_conf, ngx_stream_max_module * sizeof(*srv_conf));
    srv_conf[index] = proxy;
    s->srv_conf = srv_conf;
    return NGX_OK;
}

/* ---- peers ---- */

struct peer {
    sb_stream_t *stream;
    ngx_stream_upstream_t *upstream;
    bool tried;
};

static ngx_int_t
get_peer(ngx_peer_connection_t *pc, void *data)
{
    struct peer *peer = data;
    sb_stream_t *st = peer->stream;

    if (peer->tried && !sb_stream_host.next(st))
        return NGX_BUSY;
    peer->tried = true;
    peer->upstream->ssl_name = sb_stream_host.server_name(st); /* another target may have another name */
    pc->sockaddr = &st->addr.sa.any;
    pc->socklen = st->addr.len;
    pc->name = st->name;
    pc->cached = 0;
    pc->connection = NULL;
    return NGX_OK;
}

/* The connection stands, with its handshake. A datagram is sent whether somebody is there or not: of those only an answer tells. */
static void
notify(ngx_peer_connection_t *pc, void *data, ngx_uint_t type)
{
    const struct peer *peer = data;

    if (type == NGX_STREAM_UPSTREAM_NOTIFY_CONNECT && pc->connection->type != SOCK_DGRAM)
        sb_stream_host.report(peer->stream, SB_HEALTH_SUCCESS);
}

/* What the end of a try says about the address. */
static void
judge(const struct peer *peer, const ngx_connection_t *c, ngx_uint_t state)
{
    bool late = c != NULL && (c->read->timedout || c->write->timedout);

    if ((state & NGX_PEER_FAILED) != 0)
        sb_stream_host.report(peer->stream, late ? SB_HEALTH_TIMEOUT : SB_HEALTH_TCP_FAILURE);
    else if (c != NULL && c->type == SOCK_DGRAM && peer->upstream->received != 0)
        sb_stream_host.report(peer->stream, SB_HEALTH_SUCCESS);
}

static double
connect_time(const ngx_stream_upstream_t *u, ngx_uint_t state)
{
    if ((state & NGX_PEER_FAILED) != 0)
        return INFINITY;
    return u->connected && u->state != NULL && u->state->connect_time != (ngx_msec_t)-1 ? (double)u->state->connect_time : -1;
}

static void
free_peer(ngx_peer_connection_t *pc, void *data, ngx_uint_t state)
{
    const struct peer *peer = data;

    judge(peer, pc->connection, state);
    sb_stream_host.ended(peer->stream, connect_time(peer->upstream, state));
    if (pc->tries != 0)
        pc->tries--;
}

static ngx_int_t
set_session(ngx_peer_connection_t *pc, void *data)
{
    const struct peer *peer = data;

    return sb_stream_host.tls_apply(peer->stream, pc->connection->ssl->connection) ? NGX_OK : NGX_ERROR;
}

static void
save_session(ngx_peer_connection_t *pc, void *data)
{
}

ngx_int_t
sb_stream_peer_init(ngx_stream_session_t *s, ngx_stream_upstream_srv_conf_t *us)
{
    sb_stream_t *st = sb_stream_of(s);
    ngx_stream_upstream_t *u = s->upstream;
    struct peer *peer = ngx_pcalloc(s->connection->pool, sizeof(*peer));

    if (st == NULL || !st->prepared || peer == NULL)
        return NGX_ERROR;
    peer->stream = st;
    peer->upstream = u;
    u->peer.data = peer;
    u->peer.get = get_peer;
    u->peer.free = free_peer;
    u->peer.notify = notify;
    u->peer.set_session = set_session;
    u->peer.save_session = save_session;
    u->peer.tries = (ngx_uint_t)st->service->retries + 1;
    return NGX_OK;
}
