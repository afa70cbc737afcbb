/*
 * An exchange with a service: choosing an address (peer.c), the request (upstream_request.c), the answer's header (upstream_header.c) and
 * bodies (upstream_body.c), on nginx's upstream machinery. At most one per request; its request is the main one, or the subrequest of the
 * response phase (capture.c).
 */
#ifndef SB_PROXY_EXCHANGE_H
#define SB_PROXY_EXCHANGE_H

#include "proxy/ups.h"

/* One attempt, as logs list it. */
typedef struct sb_try {
    struct sb_try *next;
    ngx_msec_t start, end; /* of choosing the address */
    int64_t start_ns;      /* wall clock, nanoseconds */
    ngx_str_t ip;
    ngx_str_t name; /* "ip:port", as nginx's $upstream_addr has it */
    in_port_t port;
    uint8_t state; /* 0: fine; NGX_PEER_NEXT, NGX_PEER_FAILED */
    uint16_t code; /* HTTP status of a failed try, 0: none */
} sb_try_t;

struct sb_grpc;     /* grpc.c */
struct sb_trailers; /* upstream_trailers.c */

struct sb_exchange {
    sb_ctx_t *ctx;
    ngx_http_request_t *r;
    void (*ready)(sb_exchange_t *x, ngx_int_t rc); /* after sb_exchange_prepare() gave NGX_AGAIN */

    /* where to */
    bool tls, is_grpc;
    sb_ups_t *ups;      /* referenced; NULL: one host */
    sb_endpoint_t *own; /* a plugin's target, in own_pool */
    sb_pool_t *own_pool;
    const sb_endpoint_t *endpoint;
    sb_peers_t *peers; /* of ups, referenced; what picked and tried count in */
    int picked;        /* the address of this try, until the balancer was told its end; -1: none */
    uint64_t *tried;   /* bits of addresses tried before; NULL: none yet */
    uint32_t hash;     /* what the address is picked by */
    sb_addr_t addr;    /* of this try, with port */
    ngx_str_t name;    /* "ip:port" */
    sb_kpool_t *kpool; /* referenced when kpool_own */
    bool kpool_own, prepared;
    struct sb_tls_cert *cert; /* the upstream entity's, shown when asked for one; referenced. NULL: the service's or the location's */
    sb_str_t host;            /* the Host header sent */
    int retries;
    sb_query_t query;
    sb_try_t first, *last; /* first: the list's head; last NULL: none yet */

    /* parsing and writing */
    ngx_http_status_t status;
    ngx_http_chunked_t chunked;
    bool chunked_request, head_sent, broken; /* broken: the answer's chunks make no sense */
    ngx_int_t end;                           /* how it ended: NGX_OK, or an error or status */
    ngx_chain_t *free, *busy;                /* of the chunked request body */
    struct sb_trailers *trailers;            /* of an answer in chunks; NULL: nobody wants them */

    struct sb_grpc *grpc; /* of an exchange by HTTP/2 */

    /* the answer's header */
    ngx_list_part_t *mark_part; /* where r->headers_out.headers ended before */
    ngx_uint_t mark_n;
    bool noted;         /* members of headers_out stand for the answer */
    ngx_list_t headers; /* as the service sent them, when Lua may ask; part.elts NULL: not kept */
};

/* peer.c. Chooses the first address. NGX_OK; NGX_AGAIN: a name is being resolved, x->ready will be called; NGX_DECLINED: the error is
 * in ctx (sb_exit_error). */
ngx_int_t sb_exchange_prepare(sb_exchange_t *x);
void sb_exchange_release(sb_exchange_t *x);
/* upstream.c. Starts the exchange; as a content handler returns. */
ngx_int_t sb_upstream_start(sb_exchange_t *x);
/* The bytes that come next are the beginning of an answer's header. */
void sb_upstream_expect_header(sb_exchange_t *x);
/* The service's configuration of nginx's machinery, with what a plugin changed for this request. */
ngx_http_upstream_conf_t *sb_upstream_conf(sb_ctx_t *ctx);
/* grpc.c: the same for services that speak HTTP/2, the request made again for another target, and what our peer adds to the set-up. */
ngx_int_t sb_grpc_start(sb_exchange_t *x);
ngx_int_t sb_grpc_rebuild(sb_exchange_t *x);
ngx_int_t sb_grpc_peer_init(sb_exchange_t *x);
/* upstream_request.c: request line and headers for the service, in a buffer of its own; NULL without memory. */
ngx_buf_t *sb_upstream_make_head(ngx_http_request_t *r);
/* u->create_request, and its head made again for another target. */
ngx_int_t sb_upstream_create_request(ngx_http_request_t *r);
ngx_int_t sb_upstream_rebuild_head(ngx_http_request_t *r);
void sb_upstream_request_init(void);
/* Notes, once a request, which of the client's headers its Connection header names, so that they are not passed on. Before plugins change
 * headers: theirs are passed. NGX_ERROR without memory. */
ngx_int_t sb_upstream_note_named(sb_ctx_t *ctx);
/* Whether the client asks for what alone may become a tunnel: a WebSocket, by HTTP/1.1. */
bool sb_upstream_is_websocket(ngx_http_request_t *r);
/* upstream_header.c: u->process_header; the mark is where headers_out ends before, undo goes back to it. */
ngx_int_t sb_upstream_process_status(ngx_http_request_t *r);
void sb_upstream_header_mark(sb_exchange_t *x);
void sb_upstream_header_undo(sb_exchange_t *x);
void sb_upstream_header_init(void);
/* upstream_body.c. Whether the answer, by its header, has no body. */
bool sb_upstream_no_body(ngx_http_request_t *r);
ngx_int_t sb_upstream_filter_init(void *data);
ngx_int_t sb_upstream_copy(ngx_event_pipe_t *p, ngx_buf_t *buf);
ngx_int_t sb_upstream_plain(void *data, ssize_t bytes);
ngx_int_t sb_upstream_chunked_output(void *data, ngx_chain_t *in);
/* upstream_trailers.c. Whether the client sent "TE: trailers". */
bool sb_upstream_te_trailers(ngx_http_request_t *r);
/* An answer in chunks begins: x->trailers is set when the client can be sent trailers. Then, after each step of the parser, the framing it
 * has passed; when it is done, the trailers become the answer's. NGX_OK; NGX_ERROR: no memory. */
ngx_int_t sb_trailers_expect(sb_exchange_t *x);
ngx_int_t sb_trailers_framing(sb_exchange_t *x, const u_char *from, const u_char *to);
ngx_int_t sb_trailers_done(sb_exchange_t *x);
/* Trailers of a captured answer become the main request's. */
ngx_int_t sb_trailers_move(ngx_http_request_t *from, ngx_http_request_t *to);

#endif
