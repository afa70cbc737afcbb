/*
 * The proxy instance's own structures: what one worker holds, what a request carries, and how plugin chains are walked. Never
 * leaves src/proxy.
 *
 * Lifetimes. A worker is one process and one thread. Plans, services, chains and steps are cached per worker and reference
 * counted: a cache entry that an event made stale leaves the cache at once and dies with the last request that uses it. sb_ctx_t
 * lives in the request's pool.
 *
 * A request: phases.c rewrite -> match.c (route, plan) -> chain.c (plugins) -> content.c -> upstream.c (the exchange with
 * the service) -> filters.c (plugins' filters) -> out.c (gateway headers) -> phases.c log.
 */
#ifndef SB_PROXY_INT_H
#define SB_PROXY_INT_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/base/base.h"
#include "core/base/buf.h"
#include "core/base/json.h"
#include "core/base/pool.h"
#include "core/base/uuid.h"
#include "core/model/model.h"
#include "core/router/router.h"
#include "core/settings/settings.h"
#include "silverback/plugin.h"

typedef struct sb_step sb_step_t;
typedef struct sb_chain sb_chain_t;
typedef struct sb_service sb_service_t;
typedef struct sb_plan sb_plan_t;
typedef struct sb_request sb_ctx_t; /* request.h's sb_request_t is this */

#define SB_PHASE_BIT(phase) (1u << (phase))

/* ------------------------------------------------------------------ steps and chains (chain.c) */

/*
 * One plugin instance (a row of `plugins`), decoded once per configuration change and worker; shared by every chain that uses
 * it. Immutable. Text members are NUL-terminated; "" when the instance does not name that entity.
 */
struct sb_step {
    uint32_t refs;
    int priority;
    uint32_t phases;                /* SB_PHASE_BIT()s that the plugin has a handler for */
    const struct sb_plugin *native; /* NULL: a Lua plugin */
    const char *name;               /* plugin name */
    void *conf;                     /* native: the decoded struct */
    uint64_t serial;                /* unique in this worker, never used again: key for what others keep about a step */
    uint64_t version;               /* of the row; (id, version) identifies a configuration across steps and workers */
    sb_uuid_t id;
    char id_text[SB_UUID_TEXT + 1];
    char route_id[SB_UUID_TEXT + 1], service_id[SB_UUID_TEXT + 1], consumer_id[SB_UUID_TEXT + 1], ws_id[SB_UUID_TEXT + 1];
    sb_uuid_t scope_route, scope_service, scope_consumer;
    const char *instance_name;      /* "" when none */
    sb_str_t config;                /* JSON text of "config", NUL-terminated behind len */
    sb_pool_t *pool;                /* holds all of this */
};

/* The steps of a scope, highest priority first, ties by name descending; one per plugin name. */
struct sb_chain {
    uint32_t refs;
    uint32_t phases;                /* union of the steps' phases */
    uint32_t lua_phases;            /* the same over Lua steps only */
    uint32_t n;
    uint64_t global_epoch, service_epoch; /* as they were when it was built */
    bool stale;
    sb_step_t *steps[];
};

enum sb_chain_verdict {
    SB_CHAIN_DONE, /* no step is left in this phase */
    SB_CHAIN_LUA,  /* *step is the next one and is Lua: run it, then call again */
    SB_CHAIN_EXIT, /* a response stands in ctx (sb_exit_*): end the phase; the content handler sends it */
    SB_CHAIN_WAIT  /* a native step waits: call again after sb_lua_hooks.resume(ctx) */
};

/* Begins a phase: the cursor goes to the first step. rewrite walks the global chain; the others the request's own. */
void sb_chain_begin(sb_ctx_t *ctx, enum sb_phase phase);
/* Runs native steps of the phase begun last from the cursor on, and stops at the next Lua step, which it consumes. */
enum sb_chain_verdict sb_chain_next(sb_ctx_t *ctx, const sb_step_t **step);
/* The same for a body chunk: data and len hold the chunk and may be replaced (request memory). Begin once per chunk. */
enum sb_chain_verdict sb_chain_next_body(sb_ctx_t *ctx, const char **data, size_t *len, bool eof, const sb_step_t **step);
/* For C callers: as sb_chain_next, but leaves the Lua step to the next caller. */
enum sb_chain_verdict sb_chain_run(sb_ctx_t *ctx);
/* Tells which consumer was authenticated (NULL: none any more): the steps behind the cursor are chosen anew. */
void sb_chain_set_consumer(sb_ctx_t *ctx, const sb_uuid_t *consumer);

/* Before workers start (init_by_lua) or in init_worker: a Lua plugin that may appear in chains. name is copied. Registering
 * a name again replaces it. */
void sb_lua_plugin_register(const char *name, int priority, uint32_t phases);
/* Serials of steps that died since the last call; Lua drops its conf tables of them. Returns how many were written. */
size_t sb_steps_released(uint64_t *serials, size_t max);

/* What the Lua side gives us; set by ffi.c when it is in use, members may be NULL. */
typedef struct sb_lua_hooks {
    bool in_use;                    /* a Lua plugin is enabled: the Lua locations exist */
    bool defer_ready;               /* readiness waits for sb_worker_lua_ready() */
    /* An event of the model, in order, on the event loop, no read transaction open. Runs Lua only if it must. */
    void (*event)(uint64_t seq, const json_t *event);
    /* The event log was lost: everything may have changed. */
    void (*flush)(void);
    /* A native step that answered SB_CHAIN_WAIT under Lua goes on. */
    void (*resume)(sb_ctx_t *ctx);
} sb_lua_hooks_t;
extern sb_lua_hooks_t sb_lua_hooks;

/* ------------------------------------------------------------------ plans (plan.c) */

enum sb_protocol_bit {
    SB_PROTO_HTTP = 1, SB_PROTO_HTTPS = 2, SB_PROTO_GRPC = 4, SB_PROTO_GRPCS = 8, SB_PROTO_WS = 16, SB_PROTO_WSS = 32,
    SB_PROTO_OTHER = 64
};

/* The targets of an upstream entity, or one host. */
typedef struct sb_ups sb_ups_t;

struct sb_service {
    uint32_t refs;
    bool stale, enabled, tls;
    uint8_t protocol;               /* one sb_protocol_bit */
    uint16_t port;
    uint16_t retries;
    sb_uuid_t id;
    uint64_t version;
    uint64_t chain_epoch;           /* moves when a plugin of this service changes */
    uint64_t ups_epoch;             /* upstream lookup was made at this worker epoch */
    sb_str_t host, path, name;      /* path may be empty */
    sb_str_t host_header;           /* host[:port] as sent when nothing else says */
    sb_ups_t *ups;                  /* upstream entity of that name; NULL: the host itself */
    sb_chain_t *chain;              /* of its routes that have no plugins of their own; built at first use */
    ngx_http_upstream_conf_t *conf[2]; /* [response buffering]; made at first use */
    ngx_ssl_t *ssl;                 /* own trust settings; NULL: the location's */
    sb_pool_t *pool;
};

/* What a route needs; small, there may be 100,000. Everything else is read from the model when asked for. */
struct sb_plan {
    uint32_t refs;
    uint8_t protocols;              /* sb_protocol_bits */
    unsigned strip_path : 1, preserve_host : 1, path_v1 : 1, request_buffering : 1, response_buffering : 1, stale : 1,
             has_name : 1;
    uint16_t redirect_status;       /* https_redirect_status_code */
    sb_uuid_t route;
    uint64_t version;
    sb_service_t *service;          /* NULL: none */
    sb_chain_t *chain;
    ngx_queue_t lru;
};

/* ------------------------------------------------------------------ the request */

/* A response made by the gateway or a plugin, sent by the content handler. Headers are in r->headers_out already. */
typedef struct sb_exit {
    int status;
    sb_str_t content_type;          /* data NULL: none set by it */
    sb_str_t body;                  /* request memory */
} sb_exit_t;

/* Where the answer came from (kong.response.get_source). */
enum sb_source { SB_SOURCE_NONE, SB_SOURCE_SERVICE, SB_SOURCE_EXIT, SB_SOURCE_ERROR };

typedef struct sb_capture sb_capture_t;
typedef struct sb_try sb_try_t;     /* one attempt, peer.c */

struct sb_request {
    ngx_http_request_t *r;
    sb_plan_t *plan;                /* NULL before the match */
    sb_service_t *service;          /* plan->service, or a plugin's choice; referenced with plan */
    /* the chain in use: the global one before the match, then the plan's, then a copy when a consumer was set */
    sb_step_t *const *steps;
    uint32_t n_steps, cursor;
    uint32_t phases, lua_phases;    /* unions over steps */
    sb_chain_t *chains[3];          /* references held: global, plan's, consumer's */
    uint8_t phase;                  /* enum sb_phase, of the chain walk or of C code */
    uint8_t source;                 /* enum sb_source */
    unsigned matched : 1, in_lua : 1, exited : 1, access_ended : 1, proxied : 1, waiting : 1, error_made : 1, has_consumer : 1,
             filters_run : 1, replace_body : 1, body_sent : 1, trusted : 1, trusted_known : 1, released : 1, capturing : 1,
             path_set : 1, upgrade : 1, te_trailers : 1, debug : 1, logged : 1, buffered : 1, log_run : 1;
    u_char request_id[32];
    sb_uuid_t consumer;

    /* the match */
    sb_str_t raw_path, path;        /* as sent, normalised; no query */
    uint32_t prefix_len;            /* what strip_path takes away */
    sb_route_match_t *match;        /* kept only for regex matches (captures), request memory */

    /* what goes upstream; set by plugins, else computed when the request is built */
    sb_str_t upstream_path;         /* with path_set, or after sb_upstream_path() */
    sb_str_t upstream_host;         /* Host header; len 0: by the rules */
    sb_str_t upstream_scheme;       /* len 0: the service's */
    sb_str_t target_host;           /* kong.service.set_target / set_upstream; len 0: the service's */
    uint16_t target_port;
    int retries;                    /* -1: the service's */
    ngx_msec_t timeouts[3];         /* connect, send, read; 0: the service's */

    sb_exit_t exit;                 /* with exited */
    struct sb_peer *peer;           /* peer.c, from the first try on */
    sb_capture_t *capture;          /* response phase */

    /* milliseconds of ngx_current_msec's clock */
    ngx_msec_t balancer_end, header_start;
    void *lua;                      /* the FFI's own */
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

/* The response that ends this request; the latest call wins until content begins. body and content_type are copied. */
void sb_exit_set(sb_ctx_t *ctx, int status, sb_str_t content_type, sb_str_t body);
/* The gateway's error body by Accept, with request id; message.data NULL: the default text of the status. */
void sb_exit_error(sb_ctx_t *ctx, int status, sb_str_t message);
/* Only the bytes: content type (static) and body (request memory) for an error. */
int sb_error_body(sb_ctx_t *ctx, int status, sb_str_t message, sb_str_t *content_type, sb_str_t *body);
const char *sb_error_text(int status);

/* Response header operations on r->headers_out that know nginx's special members (Content-Type, Content-Length …). NGX_ERROR: no
 * memory. */
ngx_int_t sb_headers_out_set(ngx_http_request_t *r, sb_str_t name, sb_str_t value);
ngx_int_t sb_headers_out_add(ngx_http_request_t *r, sb_str_t name, sb_str_t value);
void sb_headers_out_clear(ngx_http_request_t *r, sb_str_t name);
/* The same on what the client sent, which is what goes upstream. */
ngx_int_t sb_headers_in_set(ngx_http_request_t *r, sb_str_t name, sb_str_t value);
ngx_int_t sb_headers_in_add(ngx_http_request_t *r, sb_str_t name, sb_str_t value);
void sb_headers_in_clear(ngx_http_request_t *r, sb_str_t name);

/* Path sent upstream, without query, as of now: a plugin's or the computed one. Request memory. */
sb_str_t sb_upstream_path(sb_ctx_t *ctx);
/* Whether the peer's address (before real-ip) is one of trusted_ips. */
bool sb_ctx_trusted(sb_ctx_t *ctx);

/* ------------------------------------------------------------------ response phase (capture.c) */

struct sb_capture {
    int status;                     /* of the service, or of the error that replaced it */
    ngx_list_t headers;             /* of ngx_table_elt_t, hash 0: removed */
    sb_str_t content_type;
    sb_str_t body;                  /* all of it */
    bool failed;                    /* the exchange broke: status 502, 504 …, body empty */
    void (*done)(sb_ctx_t *ctx);    /* on the event loop, once */
};

/* From Lua's access handler on the main request: runs the exchange with the service in a subrequest, gathers the answer in
 * ctx->capture, then calls done. NGX_OK: done will be called; NGX_ERROR: it will not. */
ngx_int_t sb_capture_start(sb_ctx_t *ctx, void (*done)(sb_ctx_t *ctx));
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
    unsigned slot;                  /* index in rt's per-worker arrays */
    uint64_t event_seq;             /* applied so far */
    uint64_t global_epoch;          /* moves when a global plugin changes */
    uint64_t consumer_epoch;        /* moves when a plugin of a consumer changes */
    uint64_t ups_epoch;             /* moves when an upstream or target changes */
    sb_chain_t *global_chain;
    const sb_entity_t *routes, *services, *plugins, *upstreams, *targets, *consumers, *ca_certificates;
    bool ready;
} sb_worker_t;
extern sb_worker_t sb_worker;

/* Applies what control committed since the last look. Cheap when nothing has moved. */
void sb_worker_catch_up(void);
/* Lua's init_worker has ended. */
void sb_worker_lua_ready(void);
/* Over the events socket: sends {"id":n,"call":call, …args} and hands the answer (borrowed) to done, answer NULL when the
 * connection broke. args is stolen. Returns the id, 0 when not connected. */
uint64_t sb_rpc_call(const char *call, json_t *args, void (*done)(void *arg, const json_t *answer), void *arg);
void sb_rpc_cancel(uint64_t id);

/* Switches the request to the location with Lua's hooks; counts it once in rt->lua_entries. */
void sb_enter_lua(sb_ctx_t *ctx);

#endif
