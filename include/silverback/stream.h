/*
 * A connection of a stream listener (TCP, TLS, UDP) as native plugins see it: a plugin that has the callbacks `preread` and `stream_log`
 * (plugin.h) runs for the connections whose protocol is among its instance's `protocols`. Memory handed out lives as long as the
 * connection.
 */
#ifndef SILVERBACK_STREAM_H
#define SILVERBACK_STREAM_H

#include "silverback/schema.h"

typedef struct sb_stream sb_stream_t;

void *sb_stream_alloc(sb_stream_t *s, size_t n); /* zeroed; NULL without memory */

sb_cstr sb_stream_protocol(const sb_stream_t *s);  /* "tcp", "tls" (ended here), "tls_passthrough", "udp" */
sb_cstr sb_stream_client_ip(const sb_stream_t *s); /* after PROXY protocol, from peers in trusted_ips */
int sb_stream_client_port(const sb_stream_t *s);
int sb_stream_port(const sb_stream_t *s);    /* of the listener */
sb_cstr sb_stream_sni(const sb_stream_t *s); /* the name that the client asked for, in lower case; len 0: none */

/* What matched, as JSON text of the row; data NULL when there is none. */
sb_cstr sb_stream_route_json(sb_stream_t *s);
sb_cstr sb_stream_service_json(sb_stream_t *s);

/* For stream_log: how it went. */
typedef struct sb_stream_result {
    int status;               /* as in the access log: 200, or why it ended early */
    int64_t received, sent;   /* bytes from and to the client */
    int64_t duration_ms;      /* since the connection was accepted */
    sb_cstr upstream_address; /* "ip:port" of the last try; len 0: none was made */
} sb_stream_result_t;
sb_stream_result_t sb_stream_result(const sb_stream_t *s);

#endif
