/*
 * Connections of stream listeners. nginx's stream modules are in a shared object of their own (libnginx-mod-stream), which is loaded only
 * when stream_listen asks for it, and so is the half of this folder that calls them (module.c, hello.c, peer.c). The other half (match.c,
 * destination.c, plugins.c) belongs to the proxy module, which is always there; the two meet in struct sb_stream_host.
 *
 * A connection: hello.c looks at a TLS client's first message for a passthrough route; module.c has the route matched and an address found,
 * runs plugins, and leaves the rest to nginx's proxy module, whose peers peer.c gives.
 */
#ifndef SB_PROXY_STREAM_H
#define SB_PROXY_STREAM_H

#include "proxy/ups.h"
#include "silverback/stream.h"

struct sb_stream {
    /* the connection; filled by the stream module */
    ngx_connection_t *connection;
    void *session;                               /* ngx_stream_session_t */
    void (*ready)(sb_stream_t *s, ngx_int_t rc); /* after prepare() gave NGX_AGAIN: NGX_OK or NGX_DECLINED */
    uint16_t protocol;                           /* one enum sb_route_protocol bit */
    sb_str_t sni;                                /* lower case */
    struct sockaddr *local;                      /* the address that the client connected to */
    sb_stream_result_t result;                   /* set before log() */

    /* the plan */
    bool matched;
    sb_route_brief_t route;
    sb_service_t *service; /* referenced; NULL: none */
    sb_chain_t *chain;     /* referenced */

    /* where to */
    sb_ups_t *ups; /* referenced; NULL: one host */
    const sb_endpoint_t *endpoint;
    sb_peers_t *peers; /* of ups, referenced; what tried and picked count in */
    int picked;        /* the address in use, until the balancer was told its end; -1: none */
    uint64_t *tried;   /* bits of addresses, with peers */
    uint32_t hash;
    const char *why; /* what kept the last target from having an address */
    sb_query_t query;
    sb_addr_t addr;
    ngx_str_t *name;             /* "ip:port" of addr, in the newest of: */
    struct sb_stream_try *tries; /* NULL: none yet */
    bool prepared;
};

/* One attempt. Each has a name of its own, because nginx keeps pointers for $upstream_addr. */
struct sb_stream_try {
    struct sb_stream_try *before;
    ngx_str_t name;
    u_char text[NGX_SOCKADDR_STRLEN];
};

/* What the proxy module does for the stream module. All in a worker. */
struct sb_stream_host {
    /* Finds route, service and plugins for a connection that speaks one of `protocols` (route bits) as `s` describes it. false: none; what
     * is wrong has been logged unless it is only that no route fits. */
    bool (*match)(sb_stream_t *s, uint16_t protocols);
    /* Plugins' preread. false: the connection ends here. */
    bool (*preread)(sb_stream_t *s);
    /* Chooses the first address. NGX_OK; NGX_AGAIN: s->ready will be called; NGX_DECLINED: there is none, logged. */
    ngx_int_t (*prepare)(sb_stream_t *s);
    /* What has become known of the address in use. */
    void (*report)(sb_stream_t *s, enum sb_health_kind kind);
    /* A try has ended. connect_ms: how long the connection took to stand, INFINITY when it did not, negative when that is not known. */
    void (*ended)(sb_stream_t *s, double connect_ms);
    /* Another address after a failed try, without waiting. */
    bool (*next)(sb_stream_t *s);
    /* The name that TLS towards the service asks for and checks. */
    ngx_str_t (*server_name)(const sb_stream_t *s);
    /* Lays the service's own trust and certificate (else the upstream entity's) over a connection, before its handshake. */
    bool (*tls_apply)(const sb_stream_t *s, SSL *ssl);
    /* When the configuration is read: a TLS listener's context, which shall show certificates of the store. */
    void (*tls_listener)(SSL_CTX *ctx);
    /* Plugins' log. */
    void (*log)(sb_stream_t *s);
    /* At the connection's end. */
    void (*release)(sb_stream_t *s);
};
extern __attribute__((visibility("default"))) const struct sb_stream_host sb_stream_host;

/* match.c */
bool sb_stream_match(sb_stream_t *s, uint16_t protocols);
void sb_stream_release(sb_stream_t *s);
/* destination.c */
ngx_int_t sb_stream_prepare(sb_stream_t *s);
bool sb_stream_next(sb_stream_t *s);
void sb_stream_report(sb_stream_t *s, enum sb_health_kind kind);
void sb_stream_ended(sb_stream_t *s, double connect_ms);
ngx_str_t sb_stream_server_name(const sb_stream_t *s);
void sb_stream_destination_release(sb_stream_t *s);
/* plugins.c */
bool sb_stream_preread(sb_stream_t *s);
void sb_stream_run_log(sb_stream_t *s);

#endif
