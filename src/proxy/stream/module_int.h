/* The half of streams that calls nginx's stream modules; see stream.h. Never leaves this folder. */
#ifndef SB_PROXY_STREAM_MODULE_INT_H
#define SB_PROXY_STREAM_MODULE_INT_H

#include "proxy/stream/stream.h"

#include <ngx_stream.h>
#include <ngx_stream_ssl_module.h>

#if nginx_version < 1025005 /* before servers of streams had names */
typedef ngx_stream_ssl_conf_t ngx_stream_ssl_srv_conf_t;
#endif

typedef struct sb_stream_main_conf {
    void **plain, **tls; /* srv_conf of the servers that are templates of exchanges without and with TLS to the service */
    size_t proxy_size;   /* of the proxy module's server configuration */
    struct {
        ngx_uint_t connect_timeout, timeout, ssl_verify, ssl_session_reuse; /* where these directives have their values in it */
    } at;
} sb_stream_main_conf_t;

extern ngx_module_t ngx_stream_silverback_module;

/* module.c. The connection of a session, made on demand; NULL without memory. */
sb_stream_t *sb_stream_of(ngx_stream_session_t *s);
/* hello.c: in the preaccess phase, before TLS is ended. */
ngx_int_t sb_stream_hello_handler(ngx_stream_session_t *s);
/* peer.c. Finds out how the proxy module's configuration is laid out. Text on failure. */
const char *sb_stream_proxy_layout(ngx_conf_t *cf, sb_stream_main_conf_t *conf);
/* Gives the session a proxy configuration of its own, with the timeouts and TLS of its service. */
ngx_int_t sb_stream_proxy_configure(ngx_stream_session_t *s, const sb_stream_t *st);
ngx_int_t sb_stream_peer_init(ngx_stream_session_t *s, ngx_stream_upstream_srv_conf_t *us);

#endif
