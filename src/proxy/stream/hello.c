/*
 * TLS listeners serve routes that end TLS here and routes that pass it through. Which of them a client wants, its first message tells; it
 * is looked at where it lies, in the socket, so that whoever takes the connection reads all of it. A passthrough route that matches
 * switches nginx's TLS off for this connection.
 */
#include "core/base/client_hello.h"
#include "proxy/stream/module_int.h"

#include <sys/socket.h>

static ngx_int_t
wait_for_more(ngx_stream_session_t *s)
{
    ngx_stream_core_srv_conf_t *cscf = ngx_stream_get_module_srv_conf(s, ngx_stream_core_module);
    ngx_event_t *rev = s->connection->read;

    if (rev->pending_eof)
        return NGX_STREAM_BAD_REQUEST;
    rev->ready = 0; /* what is there has been seen: the next bytes are news */
    if (ngx_handle_read_event(rev, 0) != NGX_OK)
        return NGX_ERROR;
    if (!rev->timer_set)
        ngx_add_timer(rev, cscf->preread_timeout);
    return NGX_AGAIN;
}

static ngx_int_t
match_passthrough(ngx_stream_session_t *s, const char *name)
{
    sb_stream_t *st = sb_stream_of(s);
    size_t len = strlen(name);
    char *copy;

    if (st == NULL || (copy = ngx_pnalloc(s->connection->pool, len + 1)) == NULL)
        return NGX_ERROR;
    memcpy(copy, name, len + 1);
    st->sni = (sb_str_t){copy, len};
    st->protocol = SB_PROTO_TLS_PASSTHROUGH;
    if (sb_stream_host.match(st, SB_PROTO_TLS_PASSTHROUGH)) {
        s->ssl = 0;
        return NGX_DECLINED;
    }
    return st->matched ? NGX_STREAM_INTERNAL_SERVER_ERROR : NGX_DECLINED;
}

ngx_int_t
sb_stream_hello_handler(ngx_stream_session_t *s)
{
    static u_char bytes[SB_CLIENT_HELLO_MAX + 1024]; /* the worker has one thread, and nothing is kept in it */
    sb_stream_main_conf_t *conf = ngx_stream_get_module_main_conf(s, ngx_stream_silverback_module);
    ngx_connection_t *c = s->connection;
    char name[SB_SERVER_NAME_MAX + 1];
    ssize_t n;
    int rc;

    if (!s->ssl || conf->plain != s->srv_conf)
        return NGX_DECLINED;
    if (c->read->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT, "client said nothing");
        return NGX_STREAM_BAD_REQUEST;
    }
    n = recv(c->fd, bytes, sizeof(bytes), MSG_PEEK);
    if (n < 0)
        return ngx_socket_errno == NGX_EAGAIN ? wait_for_more(s) : NGX_STREAM_BAD_REQUEST;
    if (n == 0)
        return NGX_STREAM_OK;
    rc = sb_client_hello_name(bytes, (size_t)n, name);
    if (rc == SB_HELLO_MORE && n < (ssize_t)sizeof(bytes))
        return wait_for_more(s);
    if (c->read->timer_set)
        ngx_del_timer(c->read);
    return rc == SB_OK && name[0] != '\0' ? match_passthrough(s, name) : NGX_DECLINED;
}
