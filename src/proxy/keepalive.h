/*
 * Idle connections to services, kept per worker in pools: one pool per address and TLS identity (server name, trust settings), so that
 * a connection is only used again by requests that would have made the same one. A pool lives while somebody refers to it or
 * connections are parked in it.
 */
#ifndef SB_PROXY_KEEPALIVE_H
#define SB_PROXY_KEEPALIVE_H

#include "proxy/proxy_int.h"

typedef struct sb_kpool sb_kpool_t;

/* The pool of an address (with port) and key: "" for plain connections. A reference for the caller. */
sb_kpool_t *sb_kpool_get(const struct sockaddr *sa, socklen_t len, sb_str_t key);
sb_kpool_t *sb_kpool_ref(sb_kpool_t *pool);
void sb_kpool_unref(sb_kpool_t *pool);
/* A parked connection becomes pc's. false: there is none. */
bool sb_kpool_take(sb_kpool_t *pool, ngx_peer_connection_t *pc);
/* Parks pc's connection, when it is clean and settings allow; then pc->connection is NULL. */
void sb_kpool_put(sb_kpool_t *pool, ngx_peer_connection_t *pc, const ngx_http_upstream_t *u, ngx_uint_t state);
/* The last TLS session of these connections; NULL: none. Borrowed. */
SSL_SESSION *sb_kpool_session(sb_kpool_t *pool);
void sb_kpool_session_set(sb_kpool_t *pool, SSL_SESSION *session); /* takes the reference */

#endif
