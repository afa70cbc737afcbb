/*
 * The proxy instance's own structures: what one worker holds, what a request carries, and how plugin chains are walked. Never
 * leaves src/proxy.
 *
 * Lifetimes. A worker is one process and one thread. Services, chains and steps are cached per worker and reference
 * counted: a cache entry that an event made stale leaves the cache at once and dies with the last request that uses it. sb_ctx_t
 * lives in the request's pool.
 *
 * A request: phases.c rewrite -> match.c (route, service, chain) -> chain.c (plugins) -> content.c -> upstream.c (the exchange with
 * the service) -> filters.c (plugins' filters) -> out.c (gateway headers) -> phases.c log.
 */
#ifndef SB_PROXY_INT_H
#define SB_PROXY_INT_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/balancer/balancer.h"
#include "core/base/base.h"
#include "core/base/buf.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/pool.h"
#include "core/base/uuid.h"
#include "core/model/model.h"
#include "core/router/router.h"
#include "core/settings/settings.h"
#include "proxy/cache.h"
#include "proxy/resolver.h"
#include "proxy/table.h"
#include "silverback/plugin.h"

typedef struct sb_step sb_step_t;
typedef struct sb_chain sb_chain_t;
typedef struct sb_service sb_service_t;
typedef struct sb_request sb_ctx_t; /* request.h's sb_request_t is this */

#define SB_EXPORT           __attribute__((visibility("default")))
#define SB_PHASE_BIT(phase) (1u << (phase))

/* ------------------------------------------------------------------ configuration (module.c) */

/* What the `headers` setting allows. */
enum sb_header_bit {
    SB_H_SERVER = 1,
    SB_H_VIA = 2,
    SB_H_PROXY_LATENCY = 4,
    SB_H_RESPONSE_LATENCY = 8,
    SB_H_UPSTREAM_LATENCY = 16,
    SB_H_UPSTREAM_STATUS = 32,
    SB_H_REQUEST_ID = 64
};

enum sb_error_type { SB_ERROR_JSON, SB_ERROR_HTML, SB_ERROR_XML, SB_ERROR_PLAIN, SB_ERROR_GRPC };

typedef struct sb_port_map {
    in_port_t from, to;
} sb_port_map_t;

/* A listener that serves HTTP/3 too, and what Alt-Svc says of it. */
typedef struct sb_alt_svc {
    in_port_t port;
    ngx_str_t value;
} sb_alt_svc_t;

/* One per nginx cycle, read-only once parsed. */
typedef struct sb_conf {
    ngx_str_t prefix;
    sb_settings_t *settings;
    uint32_t headers;         /* sb_header_bits */
    bool upstream_request_id; /* headers_upstream */
    bool debug_header;
    ngx_array_t *trusted;   /* of ngx_cidr_t; NULL: none */
    ngx_int_t realip_index; /* variable $realip_remote_addr, with trusted */
    ngx_array_t *port_maps; /* of sb_port_map_t; NULL: none */
    ngx_array_t *alt_svcs;  /* of sb_alt_svc_t; NULL: none */
    ngx_uint_t keepalive_size, keepalive_requests;
    ngx_msec_t keepalive_timeout;
    size_t cache_bytes;               /* limit of what a worker caches (cache.h) */
    enum sb_error_type error_default; /* error_default_type */
    sb_str_t error_template[4];       /* by type, from error_template_*; data NULL: the built-in one */
    void **location[2];               /* loc_conf without and with Lua's hooks; [1] NULL: no Lua plugin is enabled */
    bool hides;                       /* proxy_hide_header is used */
    ngx_str_t trusted_file;           /* authorities for services that have none of their own; len 0: none */
    ngx_int_t trusted_depth;
    ngx_http_upstream_conf_t *proxy; /* the proxy module's configuration of location[0], template of each service's */
    ngx_http_handler_pt grpc;        /* the grpc module's content handler */
} sb_conf_t;
extern sb_conf_t *sb_conf; /* of the cycle that this worker runs */

typedef struct sb_loc_conf {
    ngx_flag_t proxy; /* answers from here carry the gateway's headers and error bodies */
    ngx_int_t error;  /* silverback_error: the code that led here */
} sb_loc_conf_t;

sb_conf_t *sb_conf_of(ngx_cycle_t *cycle);

/* module.c registers these. */
ngx_int_t sb_rewrite_handler(ngx_http_request_t *r); /* phases.c */
ngx_int_t sb_access_handler(ngx_http_request_t *r);
ngx_int_t sb_content_handler(ngx_http_request_t *r); /* content.c */
ngx_int_t sb_error_handler(ngx_http_request_t *r);
ngx_int_t sb_log_handler(ngx_http_request_t *r);
ngx_int_t sb_variables_add(ngx_conf_t *cf);                                      /* variables.c */
void sb_filters_install(void);                                                   /* filters.c */
ngx_int_t sb_out_header_filter(ngx_http_request_t *r);                           /* response_headers.c, through the out module */
ngx_int_t sb_peer_init(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us); /* peer.c */
ngx_int_t sb_worker_init(ngx_cycle_t *cycle);                                    /* worker.c */
void sb_worker_exit(ngx_cycle_t *cycle);

/* ------------------------------------------------------------------ steps and chains (chain.c) */

/*
 * One plugin instance (a row of `plugins`), decoded once per configuration change and worker; shared by every chain that uses
 * it. Immutable. Text members are NUL-terminated; "" when the instance does not name that entity.
 */
struct sb_step {
    sb_node_t node; /* in the table of steps, until a newer version takes its place */
    uint32_t refs;
    int priority;
    uint32_t phases;                /* SB_PHASE_BIT()s that the plugin has a handler for */
    uint16_t protocols;             /* enum sb_route_protocol bits of the instance */
    const struct sb_plugin *native; /* NULL: a Lua plugin */
    const char *name;               /* plugin name */
    void *conf;                     /* native: the decoded struct */
    uint64_t serial;                /* unique in this worker, never used again: key for what others keep about a step */
    uint64_t version;               /* of the row; (id, version) identifies a configuration across steps and workers */
    sb_uuid_t id;
    char id_text[SB_UUID_TEXT + 1];
    char route_id[SB_UUID_TEXT + 1], service_id[SB_UUID_TEXT + 1], consumer_id[SB_UUID_TEXT + 1], group_id[SB_UUID_TEXT + 1],
        ws_id[SB_UUID_TEXT + 1];
    sb_uuid_t scope_route, scope_service, scope_consumer, scope_group;
    const char *instance_name; /* "" when none */
    sb_str_t config;           /* JSON text of "config", NUL-terminated behind len */
    sb_pool_t *pool;           /* holds all of this */
};

/* The steps of a scope, highest priority first, ties by name descending; one per plugin name. */
struct sb_chain {
    uint32_t refs;
    uint32_t phases;     /* union of the steps' phases */
    uint32_t lua_phases; /* the same over Lua steps only */
    uint32_t n;
    sb_step_t *steps[];
};

enum sb_chain_verdict {
    SB_CHAIN_DONE, /* no step is left in this phase */
    SB_CHAIN_LUA,  /* *step is the next one and is Lua: run it, then call again */
    SB_CHAIN_EXIT, /* a response stands in ctx (sb_exit_*): end the phase; the content handler sends it */
    SB_CHAIN_WAIT  /* a native step waits: call again after sb_lua_hooks.resume(ctx) */
};

/*
 * Begins a phase for the Lua driver: the cursor goes to the first step. In rewrite and access the C handler has begun already
 * and this changes nothing. A filter or log phase in which no Lua step takes part was walked in C: then nothing is left.
 * rewrite walks the global chain; the others the request's own.
 */
void sb_chain_begin(sb_ctx_t *ctx, enum sb_phase phase);
/* The same for C callers: always the first step. */
void sb_chain_rewind(sb_ctx_t *ctx, enum sb_phase phase);
/* Runs native steps of the phase begun last from the cursor on, and stops at the next Lua step, which it consumes. */
enum sb_chain_verdict sb_chain_next(sb_ctx_t *ctx, const sb_step_t **step);
/* The same for a body chunk: data and len hold the chunk and may be replaced (request memory). Begin once per chunk. */
enum sb_chain_verdict sb_chain_next_body(sb_ctx_t *ctx, const char **data, size_t *len, bool eof, const sb_step_t **step);
/* For C callers: as sb_chain_next, but leaves the Lua step to the next caller. */
enum sb_chain_verdict sb_chain_run(sb_ctx_t *ctx);
/* Tells which consumer was authenticated (NULL: none any more): the steps behind the cursor are chosen anew. */
void sb_chain_set_consumer(sb_ctx_t *ctx, const sb_uuid_t *consumer);

/* Makes a chain the request's own, from its first step; takes over the reference. */
void sb_chain_use(sb_ctx_t *ctx, sb_chain_t *chain);
void sb_chain_release(sb_ctx_t *ctx); /* at the request's end */
sb_chain_t *sb_chain_ref(sb_chain_t *chain);
void sb_chain_unref(sb_chain_t *chain); /* NULL is fine */
/* Chains by scope; a reference for the caller. The global one opens a snapshot itself when it must, and is NULL (logged) when it cannot;
 * the others want to be inside sb_model_begin/end. */
sb_chain_t *sb_chain_global(void);
sb_chain_t *sb_chain_of_workspace(const sb_uuid_t *ws); /* its global plugins */
sb_chain_t *sb_chain_of_service(sb_service_t *s);
sb_chain_t *sb_chain_of_route(const sb_route_brief_t *route, sb_service_t *s); /* route_chain.c */
/* The chain of a route with plugins of its own; NULL: it has none. */
sb_chain_t *sb_chain_build_route(const sb_route_brief_t *route, sb_service_t *s);
/* The chain of a route of streams for connections of one protocol; made anew by each call. */
sb_chain_t *sb_chain_build_stream(const sb_route_brief_t *route, sb_service_t *s, uint16_t protocol);
/* A route or a plugin of it changed (NULL: all may have). */
void sb_route_chains_forget(const sb_uuid_t *route);
/* steps.c: the decoded step of a plugin row; a reference for the caller. NULL: not for us (disabled, unknown plugin …). */
sb_step_t *sb_step_get(const sb_row_t *row);
void sb_step_unref(sb_step_t *s);

/* Before workers start (init_by_lua) or in init_worker: a Lua plugin that may appear in chains. name is copied. Registering
 * a name again replaces it. */
void sb_lua_plugin_register(const char *name, int priority, uint32_t phases);
/* Serials of steps that died since the last call; Lua drops its conf tables of them. Returns how many were written. */
size_t sb_steps_released(uint64_t *serials, size_t max);

/* What the Lua side gives us; set by ffi.c when it is in use, members may be NULL. */
typedef struct sb_lua_hooks {
    bool in_use;      /* a Lua plugin is enabled: the Lua locations exist */
    bool defer_ready; /* readiness waits for sb_worker_lua_ready() */
    /* An event of the model, in order, on the event loop, no read transaction open. Runs Lua only if it must. */
    void (*event)(uint64_t seq, const json_t *event);
    /* The event log was lost: everything may have changed. */
    void (*flush)(void);
    /* A native step that answered SB_CHAIN_WAIT under Lua goes on. */
    void (*resume)(sb_ctx_t *ctx);
} sb_lua_hooks_t;
extern sb_lua_hooks_t sb_lua_hooks;

/* ------------------------------------------------------------------ services (service.c) */

/* Something a connection can be made to. */
typedef struct sb_endpoint {
    sb_str_t host;      /* name or IP text, without brackets */
    sb_str_t host_port; /* the Host header that names it: IPv6 in brackets, always with the port */
    size_t host_only;   /* how much of host_port is without the port */
    uint16_t port;
    bool literal;          /* host is an IP address: addr, text and pool are set */
    sb_addr_t addr;        /* with port */
    ngx_str_t text;        /* "ip:port" as logs name it */
    struct sb_kpool *pool; /* idle connections to it; referenced */
    sb_uuid_t target;      /* of an upstream's target: what its addresses' health is kept under */
    uint32_t weight;       /* of a target */
} sb_endpoint_t;

typedef struct sb_ups sb_ups_t; /* an upstream entity: ups.h */

/* What a service's row says about TLS towards it; the rest is the location's. */
typedef struct sb_service_tls {
    X509_STORE *trust;        /* own CA certificates; NULL: the location's */
    int verify_depth;         /* -1: the location's */
    struct sb_tls_cert *cert; /* shown to the service; referenced. NULL: the upstream entity's or the location's */
    sb_str_t pool_key;        /* what connections may be shared by: "" when nothing is the service's own */
} sb_service_tls_t;

struct sb_service {
    sb_node_t node; /* in the table of services, until stale */
    sb_aged_t aged;
    uint32_t refs;
    bool stale, tls;
    uint16_t protocol; /* one enum sb_route_protocol bit */
    int retries;
    uint64_t version;
    uint64_t plugins_epoch;  /* moves when a plugin of this service changes; no two services share a value */
    uint64_t ups_epoch;      /* ups is right while this is the worker's */
    uint64_t chain_stamp[2]; /* chain is right while these are (global_epoch, plugins_epoch) */
    sb_str_t path;           /* "" when none */
    sb_endpoint_t endpoint;  /* host and port as configured */
    sb_uuid_t ws;
    sb_ups_t *ups;                  /* the upstream entity of that name; NULL: the host itself */
    sb_chain_t *chain;              /* of its routes that have no plugins of their own */
    ngx_http_upstream_conf_t *conf; /* the location's with its timeouts and TLS */
    sb_service_tls_t tls_own;
    sb_pool_t *pool;
};

/* services.c. Inside sb_model_begin/end; a reference for the caller, NULL when there is no such service. */
sb_service_t *sb_service_get(const sb_uuid_t *id);
void sb_service_unref(sb_service_t *s);
void sb_services_forget(const sb_uuid_t *id); /* NULL: all */
void sb_services_plugins_changed(const sb_uuid_t *id);
/* service_tls.c. Fills s->tls_own and the TLS members of s->conf from the row; inside sb_model_begin/end. */
void sb_service_tls_read(sb_service_t *s, const json_t *row);
/* Before a handshake. false: OpenSSL refused. */
bool sb_service_tls_apply(const sb_service_t *s, SSL *ssl);
void sb_service_tls_clear(sb_service_tls_t *own);
/* The upstream entity that the service's host names, made anew when upstreams changed. NULL: none. Borrowed. */
sb_ups_t *sb_service_ups(sb_service_t *s);
/* ups.c. By name in a workspace, inside sb_model_begin/end; a reference for the caller, NULL when there is none of that name. */
sb_ups_t *sb_ups_find(const sb_uuid_t *ws, sb_str_t name);
/* The same for one that perhaps no service holds: it stays, with its balancer, for the requests to come. */
sb_ups_t *sb_ups_find_kept(const sb_uuid_t *ws, sb_str_t name);
sb_ups_t *sb_ups_ref(sb_ups_t *u);
void sb_ups_unref(sb_ups_t *u);
void sb_ups_forget(const sb_uuid_t *id); /* NULL: all */
void sb_ups_target_changed(const sb_uuid_t *id, const sb_uuid_t *target);
/* Fills *e; strings come from the pool. */
void sb_endpoint_init(sb_endpoint_t *e, sb_pool_t *pool, sb_str_t host, uint16_t port);
void sb_endpoint_clear(sb_endpoint_t *e);
/* ------------------------------------------------------------------ the request */

/* A response made by the gateway or a plugin, sent by the content handler. Headers are in r->headers_out already. */
typedef struct sb_exit {
    int status;
    sb_str_t content_type; /* data NULL: none set by it */
    sb_str_t body;         /* request memory */
} sb_exit_t;

/* Where the answer came from (kong.response.get_source). */
enum sb_source { SB_SOURCE_NONE, SB_SOURCE_SERVICE, SB_SOURCE_EXIT, SB_SOURCE_ERROR };

typedef struct sb_capture sb_capture_t;
typedef struct sb_exchange sb_exchange_t; /* exchange.h */

struct sb_request {
    ngx_http_request_t *r;
    sb_service_t *service; /* of the matched route; referenced. NULL: none */
    sb_chain_t *base;      /* the matched route's chain; held */
    /* the chain in use: the global one before the match, then the route's, then a copy when a consumer was set */
    sb_step_t *const *steps;
    uint32_t n_steps, cursor;
    uint32_t phases, lua_phases; /* unions over steps */
    struct sb_held_chain *held;  /* references on the chains that steps come from */
    uint8_t phase;               /* enum sb_phase, of the chain walk or of C code */
    uint8_t source;              /* enum sb_source */
    unsigned matched : 1, in_lua : 1, lua_drives : 1, exited : 1, access_ended : 1, proxied : 1, waiting : 1, error_made : 1,
        has_consumer : 1, filters_run : 1, replace_body : 1, body_sent : 1, trusted : 1, trusted_known : 1, released : 1, capturing : 1,
        path_set : 1, upgrade : 1, debug : 1, is_regex : 1, named_known : 1;
    u_char request_id[32];
    sb_uuid_t consumer;

    /* the match */
    sb_str_t raw_path, path; /* as sent, normalised; no query */
    uint32_t prefix_len;     /* what strip_path takes away */
    sb_str_t host;           /* Host header as sent */
    sb_route_brief_t route;  /* with matched */
    sb_route_match_t *match; /* kept only for regex matches (captures), request memory */

    /* what goes upstream; set by plugins, else computed when the request is built */
    sb_str_t upstream_path;   /* with path_set, or after sb_upstream_path() */
    sb_str_t upstream_host;   /* Host header; len 0: by the rules */
    sb_str_t upstream_scheme; /* len 0: the service's */
    sb_str_t target_host;     /* kong.service.set_target / set_upstream; len 0: the service's */
    uint16_t target_port;
    int retries;               /* -1: the service's */
    ngx_msec_t timeouts[3];    /* connect, send, read; 0: the service's */
    struct sb_tls_choice *tls; /* kong.service.set_tls_*; NULL: nothing was chosen */
    ngx_array_t *named;        /* with named_known: the client's headers that its Connection header names (upstream_request.c) */

    sb_exit_t exit;          /* with exited */
    sb_exchange_t *exchange; /* with the service, once it was prepared */
    sb_capture_t *capture;   /* response phase */

    /* milliseconds of ngx_current_msec's clock */
    ngx_msec_t balancer_end; /* an address was chosen */
    ngx_msec_t header_start; /* the service's answer header was there */
    void *lua;               /* the FFI's own */
    void *body_wait;         /* request.c's own */
};

extern ngx_module_t ngx_http_silverback_module;

/* The context, or NULL. Subrequests of the capture share the main request's. */
static inline sb_ctx_t *
sb_ctx(ngx_http_request_t *r)
{
    return ngx_http_get_module_ctx(r, ngx_http_silverback_module);
}

/* The context, made on demand (request id included). NULL only without memory. */
sb_ctx_t *sb_ctx_make(ngx_http_request_t *r);

/* match.c: finds route, service and chain, or sets the error that ends the request. */
void sb_match(sb_ctx_t *ctx);
/* phases.c: goes on after a native step that waited. */
void sb_phases_resume(sb_ctx_t *ctx);
/* The port that the client has connected to. */
in_port_t sb_listener_port(ngx_http_request_t *r);
/* The port that clients know this listener by: by port_maps. */
in_port_t sb_public_port(const sb_conf_t *conf, in_port_t port);
in_port_t sb_forwarded_port(sb_ctx_t *ctx);
/* Scheme, host, port and path as the first proxy saw them, when the peer is trusted to tell; else as seen here. */
sb_str_t sb_forwarded_proto(sb_ctx_t *ctx);

/* The response that ends this request; the latest call wins until content begins. body and content_type are copied. */
void sb_exit_set(sb_ctx_t *ctx, int status, sb_str_t content_type, sb_str_t body);
/* The gateway's error body by Accept, with request id; message.data NULL: the default text of the status. */
void sb_exit_error(sb_ctx_t *ctx, int status, sb_str_t message);
/* error.c */
enum sb_error_type sb_error_type_of(const char *mime);
/* What the client wants errors in. nginx_page: an error that nginx found, which looks at Content-Type and error_default_type too. */
enum sb_error_type sb_error_choose(sb_ctx_t *ctx, bool nginx_page);
/* The template of a type: "%s" twice, for message and request id. Valid as long as conf; "" for gRPC. */
sb_str_t sb_error_template(const sb_conf_t *conf, enum sb_error_type type);
/* Content type (static) and body (request memory) of an error; gRPC: headers are set and the body is empty. */
void sb_error_body(sb_ctx_t *ctx, enum sb_error_type type, int status, sb_str_t message, sb_str_t *content_type, sb_str_t *body);
/* The interface's text for a status. buf takes the one that has the number in it. */
const char *sb_error_text(int status, char buf[64]);
void sb_request_id_make(u_char id[32]); /* id.c */
/* request.c: the text of a row as it is now, in memory of the pool. data NULL: there is none, or no memory. */
sb_cstr sb_row_text(ngx_pool_t *pool, const sb_entity_t *entity, const sb_uuid_t *id);

/* Response header operations on r->headers_out that know nginx's special members (Content-Type, Content-Length …). NGX_ERROR: no
 * memory. */
ngx_int_t sb_headers_out_set(ngx_http_request_t *r, sb_str_t name, sb_str_t value);
ngx_int_t sb_headers_out_add(ngx_http_request_t *r, sb_str_t name, sb_str_t value);
void sb_headers_out_clear(ngx_http_request_t *r, sb_str_t name);
/* Text for a header line: with bytes that would end the line escaped. s itself when there are none; data NULL without memory. */
sb_str_t sb_header_text(ngx_pool_t *pool, sb_str_t s);
/* The same on what the client sent, which is what goes upstream. */
ngx_int_t sb_headers_in_set(ngx_http_request_t *r, sb_str_t name, sb_str_t value);
ngx_int_t sb_headers_in_add(ngx_http_request_t *r, sb_str_t name, sb_str_t value);
void sb_headers_in_clear(ngx_http_request_t *r, sb_str_t name);
/* Whether a name or token stands in a comma list, in any case of letters. */
bool sb_header_list_has(const ngx_str_t *list, const ngx_str_t *name);

/* The headers that the service sent, as it sent them, captured or not; NULL: it has not answered. Kept only when Lua
 * takes part in the request. (upstream_header.c) */
ngx_list_t *sb_service_headers(const sb_ctx_t *ctx);
/* grpc.c: whether the service is spoken to in HTTP/2; what grpc_pass and the :authority header of the location are to be. */
bool sb_grpc_is(const sb_ctx_t *ctx);
sb_str_t sb_grpc_pass(const sb_ctx_t *ctx);
sb_str_t sb_grpc_authority(const sb_ctx_t *ctx);
/* Path sent upstream, without query, as of now: a plugin's or the computed one. Request memory. */
sb_str_t sb_upstream_path(sb_ctx_t *ctx);
/* The address of the peer itself, also where real_ip has put the client's in its place; "unix:" for all of that kind. */
sb_str_t sb_peer_text(sb_ctx_t *ctx);
/* Whether the peer's address (before real-ip) is one of trusted_ips. */
bool sb_ctx_trusted(sb_ctx_t *ctx);

/* ------------------------------------------------------------------ response phase (capture.c) */

/* The answer of a service, whole. Its headers are in the main request's headers_out, where handlers may change them. */
struct sb_capture {
    int status;    /* of the service, or of the error that replaced it */
    sb_str_t body; /* all of it, or the error's */
    bool failed;   /* the exchange broke: an error of ours with status 502, 504 … */
    bool finished;
    void (*done)(sb_ctx_t *ctx); /* on the event loop, once */
    off_t length;                /* Content-Length of the service, -1: none (HEAD keeps it) */
    sb_buf_t bytes;              /* holds the body */
};

/* From Lua's access handler on the main request: runs the exchange with the service in a subrequest, gathers the answer in
 * ctx->capture, then calls done. NGX_OK: done will be called, maybe before this returns; NGX_ERROR: it will not. When ctx->exited is
 * set then, no address could be had: that answer stands, and there is none for response handlers to see. */
ngx_int_t sb_capture_start(sb_ctx_t *ctx, void (*done)(sb_ctx_t *ctx));
/* filters.c: what the subrequest sends comes here instead of to the client. */
ngx_int_t sb_capture_header(ngx_http_request_t *r);
ngx_int_t sb_capture_body(ngx_http_request_t *r, ngx_chain_t *in);
/* After the response handlers: the captured answer (status, headers and body, as changed meanwhile in r->headers_out) becomes what
 * the content handler sends. */
void sb_capture_commit(sb_ctx_t *ctx);

/* ------------------------------------------------------------------ the worker (worker.c, events.c) */

typedef struct sb_worker {
    sb_settings_t *settings;
    const char *prefix;
    sb_runtime_t *rt;
    sb_model_reader_t *reader;
    sb_router_t *router;
    sb_stream_router_t *stream_router;
    bool expressions;   /* router_flavor */
    unsigned slot;      /* index in rt's per-worker arrays */
    uint64_t event_seq; /* applied so far */
    uint64_t model_epoch;
    uint64_t log_level;      /* as in rt, applied so far */
    uint64_t global_epoch;   /* moves when a global plugin changes */
    uint64_t route_epoch;    /* moves when a plugin of a route changes */
    uint64_t consumer_epoch; /* moves when a plugin of a consumer or a group changes, or who is in a group */
    uint64_t ups_epoch;      /* moves when an upstream or target changes */
    sb_chain_t *global_chain;
    const sb_entity_t *routes, *services, *plugins, *upstreams, *targets, *consumers, *consumer_groups, *group_members, *certificates,
        *ca_certificates, *snis;
    bool ready;
} sb_worker_t;
extern sb_worker_t sb_worker;

/* status.c: the Status API's requests, what /status shows of the proxy, and their end. */
ngx_int_t sb_status_handler(ngx_http_request_t *r);
void sb_status_publish_dicts(void);
/* What GET /status/dns answers; new reference. arg is not used. */
json_t *sb_status_dns(void *arg);
void sb_status_done(void);
/* phases.c: copies nginx's counters of connections into the shared state. */
void sb_worker_publish(void);

void sb_events_start(ngx_cycle_t *cycle); /* events.c */
void sb_events_stop(void);

/* Applies what control committed since the last look. Cheap when nothing has moved. */
void sb_worker_catch_up(void);
/* The same for the log level, which may change without a commit. */
void sb_worker_follow_log_level(void);
/* Lua's init_worker has ended. */
void sb_worker_lua_ready(void);
/* Over the events socket: sends {"id":n,"call":call, …args} and hands the answer (borrowed) to done, answer NULL when the
 * connection broke. args is stolen. Returns the id, 0 when not connected. */
uint64_t sb_rpc_call(const char *call, json_t *args, void (*done)(void *arg, const json_t *answer), void *arg);
void sb_rpc_cancel(uint64_t id);
/* asked.c: control's question number `asked`, answered now or later by sb_rpc_answer(), which takes its message over. */
void sb_asked(uint64_t asked, const json_t *question);
void sb_rpc_answer(uint64_t asked, json_t *message);
/* Drops what is not answered yet. */
void sb_asked_done(void);
/* lua_cache.c: kong.cache's values, in Lua's shared dictionaries. What is cached under key, parsed; NULL: nothing. New reference. */
json_t *sb_lua_cache_get(sb_str_t key);
void sb_lua_cache_delete(sb_str_t key);
void sb_lua_cache_purge(void);

/* Switches the request to the location with Lua's hooks; counts it once in rt->lua_entries. */
void sb_enter_lua(sb_ctx_t *ctx);

#endif
