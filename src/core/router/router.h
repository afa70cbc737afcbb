/*
 * Routing on the read model: index rows per (host pattern, path prefix) kept by the writer, so that neither lookup nor edit
 * grows with the number of routes for hosts, prefixes and equalities. Order of precedence: facts/expressions.json
 * traditional_compatible_priority and tie_break (default flavour), traditional_order (router_flavor=traditional).
 * Regex paths live in their own ordered rows, pre-filtered by literal prefix.
 */
#ifndef SB_ROUTER_H
#define SB_ROUTER_H

#include "core/model/model.h"

struct sockaddr;

typedef struct sb_router sb_router_t; /* one per worker; compiled regexes and flavour */

typedef struct sb_route_request {
    sb_str_t method, scheme, host; /* host: Host header without port, as sent; scheme "http"|"https" … */
    uint16_t port;                 /* of the Host header, or the listener's */
    sb_str_t path;                 /* normalised (sb_router_normalise_path), no query */
    sb_str_t query;                /* as sent, without the '?' */
    sb_str_t sni;                  /* empty when not TLS */
    sb_str_t src_ip, dst_ip;
    uint16_t src_port, dst_port;
    /* Returns the n-th value of a request header (name lower-case), false when there are no more. */
    bool (*header)(void *arg, sb_str_t name, unsigned n, sb_str_t *value);
    void *arg;
} sb_route_request_t;

/* Bits of sb_route_brief_t.protocols, in the order of the interface's one_of list. */
enum sb_route_protocol {
    SB_PROTO_GRPC = 1,
    SB_PROTO_GRPCS = 2,
    SB_PROTO_HTTP = 4,
    SB_PROTO_HTTPS = 8,
    SB_PROTO_TCP = 16,
    SB_PROTO_TLS = 32,
    SB_PROTO_TLS_PASSTHROUGH = 64,
    SB_PROTO_UDP = 128
};
#define SB_PROTO_WEB    (SB_PROTO_GRPC | SB_PROTO_GRPCS | SB_PROTO_HTTP | SB_PROTO_HTTPS)
#define SB_PROTO_STREAM (SB_PROTO_TCP | SB_PROTO_TLS | SB_PROTO_TLS_PASSTHROUGH | SB_PROTO_UDP)

/* The bit of a protocol's name, 0 when there is no such (NULL included). */
uint16_t sb_route_protocol_bit(const char *name);

/* What a plan needs of a route, kept beside the index row: no JSON is parsed on the request path. Fixed size, copied out.
 * For the rest (name, tags …) fetch the row with sb_model_get. */
typedef struct sb_route_brief {
    sb_uuid_t route, service; /* service: all zero bytes when has_service is false */
    sb_uuid_t ws;
    uint64_t version;   /* of the route row */
    uint16_t protocols; /* enum sb_route_protocol bits */
    uint16_t https_redirect_status_code;
    bool has_service, strip_path, preserve_host, path_handling_v1, request_buffering, response_buffering;
} sb_route_brief_t;

#define SB_ROUTER_CAPTURES 32
typedef struct sb_route_match {
    sb_route_brief_t brief;
    bool has_path, is_regex;
    size_t prefix_len;                             /* bytes of request path that the matched path covers (strip_path) */
    unsigned n_captures;                           /* regex only: captures[0] is the whole match; they point into req->path */
    sb_str_t captures[SB_ROUTER_CAPTURES];         /* the first n_captures are set; data NULL: group took no part */
    const char *capture_names[SB_ROUTER_CAPTURES]; /* NULL when unnamed; valid as long as the router */
} sb_route_match_t;

enum sb_router_flavor { SB_ROUTER_TRADITIONAL_COMPATIBLE, SB_ROUTER_TRADITIONAL, SB_ROUTER_EXPRESSIONS };

sb_router_t *sb_router_new(sb_model_reader_t *reader, enum sb_router_flavor flavor);
void sb_router_free(sb_router_t *r);
/* Inside sb_model_begin/end. SB_OK, or SB_DECLINED when nothing matches. Routes of services with enabled=false and routes
 * without an HTTP protocol never match. */
int sb_router_match(sb_router_t *r, const sb_route_request_t *req, sb_route_match_t *out);
/* "host:port" of a Host header taken apart: returns the host, and sets *port when there is one. */
sb_str_t sb_router_split_port(sb_str_t host, uint16_t *port);
/* --- streams (stream.c): routes of connections that are not HTTP --- */

typedef struct sb_stream_router sb_stream_router_t; /* one per worker */

typedef struct sb_stream_request {
    uint16_t protocols; /* only routes with one of these enum sb_route_protocol bits */
    bool tls;           /* the client speaks TLS: names of routes count. Without, they are ignored */
    sb_str_t sni;       /* empty when there is none */
    const struct sockaddr *source, *destination;
    uint16_t destination_port; /* as clients know it, where that differs; 0: destination's */
} sb_stream_request_t;

sb_stream_router_t *sb_stream_router_new(sb_model_reader_t *reader, enum sb_router_flavor flavor);
void sb_stream_router_free(sb_stream_router_t *r); /* NULL is fine */
/* Inside sb_model_begin/end. SB_OK, or SB_DECLINED when nothing matches. Facts: stream_priority, tie_break, traditional_order. Routes of
 * services with enabled=false never match. */
int sb_stream_router_match(sb_stream_router_t *r, const sb_stream_request_t *req, sb_route_brief_t *out);

/* Request path as the router and strip_path see it: dot segments removed, repeated slashes merged, unreserved %XX decoded, other
 * %xx upper-cased. Writes at most `len` bytes to out; returns the length. Facts: matching_rules.path_normalisation. */
size_t sb_router_normalise_path(const char *path, size_t len, char *out);
/* Upstream path (facts path_handling v0/v1). request_path normalised; service_path may be empty; out must hold
 * service_path.len + request_path.len + 2. Returns the length. */
size_t sb_router_upstream_path(sb_str_t service_path, sb_str_t request_path, size_t matched_len, bool strip, bool v1, char *out);

/* Whether an expression parses and fits the fields of HTTP routes (stream: of TCP, TLS and UDP routes). SB_OK, or SB_DECLINED with the
 * reason in err. */
int sb_router_check_expression(sb_str_t text, bool stream, sb_err_t *err);

/* --- writer side, called by sb_model_put --- */
struct sb_index_row {
    sb_str_t key, value;
    size_t class_len; /* how many bytes of key name its class: the kind of rows a lookup looks among; the model counts them */
};
/* The index rows of a row of `entity` ("routes", "services"; others have none); fn is called for each and returns SB_OK to
 * go on. ws and version are the row's. */
int sb_router_index_rows(const char *entity, const json_t *row, const sb_uuid_t *ws, uint64_t version,
                         int (*fn)(const struct sb_index_row *row, void *arg), void *arg, sb_err_t *err);

#endif
