/*
 * All that Lua calls in C: the PDK and the driver in lua/kong stand on these functions and on nothing else of ours.
 *
 * The part between the cdef marks is also what LuaJIT reads: the build turns it into a string (tools/ffi-cdef) that sb_ffi_cdef()
 * returns, so the two sides cannot differ. It may hold only typedefs, enums and prototypes in plain C.
 *
 * How Lua is entered. The generated nginx configuration of the proxy calls these entry points, and no others:
 *
 *     http {
 *         init_by_lua_block        { require("kong.silverback.runtime").init() }
 *         init_worker_by_lua_block { require("kong.silverback.runtime").init_worker() }
 *     }
 *     # in the server, when it listens with TLS:
 *     ssl_certificate_by_lua_block { require("kong.silverback.runtime").certificate() }
 *     # in the Lua variant of each internal location, never in the C one:
 *     rewrite_by_lua_block       { require("kong.silverback.runtime").rewrite() }
 *     access_by_lua_block        { require("kong.silverback.runtime").access() }
 *     header_filter_by_lua_block { require("kong.silverback.runtime").header_filter() }
 *     body_filter_by_lua_block   { require("kong.silverback.runtime").body_filter() }
 *     log_by_lua_block           { require("kong.silverback.runtime").log() }
 *
 * init() loads the handlers named by settings `plugins` and registers them here; it raises an error, which makes nginx fail to
 * start, when one cannot be loaded. The directives lua_package_path, lua_shared_dict (constants.DICTS) and the resolver are the
 * configuration's business.
 *
 * Conventions. `r` is the ngx_http_request_t of the Lua request. Strings come out through sb_ffi_str, valid as long as the
 * request unless said otherwise; the functions that fill one return 1, or 0 when there is no such value. Numbers that may be
 * absent are negative then. Functions that may fail return 0, or a negative SB_FFI_E_* code.
 */
#ifndef SILVERBACK_SB_FFI_H
#define SILVERBACK_SB_FFI_H

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(default)

/* The text of the declarations below, for ffi.cdef. */
const char *sb_ffi_cdef(void);

/* cdef-begin */
typedef struct sb_ffi_str {
    const char *data;
    size_t len;
} sb_ffi_str;

enum {
    SB_FFI_OK = 0,
    SB_FFI_E_PHASE = -2,     /* not in this phase */
    SB_FFI_E_NOT_FOUND = -3, /* no such entity */
    SB_FFI_E_INVALID = -4,   /* a value that cannot be used */
    SB_FFI_E_SENT = -5       /* the response header is out already */
};

/* ---- start ---- */

/* Settings as JSON, secrets included: kong.configuration. Valid until the process ends. */
int sb_ffi_settings(sb_ffi_str *out);
/* The template of error bodies of a media type (without parameters), a file of the user's counted in. */
int sb_ffi_error_template(const char *mime, sb_ffi_str *out);
/* The n-th name of the settings list `plugins` that has no native plugin, "bundled" expanded; 0 when there are no more. */
int sb_ffi_lua_plugin_name(int n, sb_ffi_str *out);
/* Makes a Lua plugin known to the plan builder; `phases` are bits (1 << enum sb_phase). In init, before workers are forked. */
void sb_ffi_plugin_register(const char *name, int priority, unsigned phases);
/* This worker's node id, default workspace … */
enum { SB_FFI_NODE_ID = 1, SB_FFI_DEFAULT_WS, SB_FFI_HOSTNAME, SB_FFI_PREFIX };
int sb_ffi_node_str(int what, sb_ffi_str *out);
/* Adds what this worker's Lua VM holds to the shared state (kong.node.get_memory_stats, /status). */
void sb_ffi_report_gc(double kilobytes);
/* The n-th worker's pid and kilobytes of that report; 0 when there are no more. */
int sb_ffi_worker_gc(int n, double *pid, double *kilobytes);
/* nginx's counters: active, reading, writing, waiting, accepted, handled, total_requests. */
void sb_ffi_statistics(double out[7]);
/* All plugins of this node are loaded in this worker: lets the worker say that it is ready. */
void sb_ffi_worker_ready(void);

/* ---- chain ---- */

enum {
    SB_FFI_DONE = 0, /* the phase's chain is at its end */
    SB_FFI_STEP = 1, /* *step is the next Lua step */
    SB_FFI_EXIT = 2, /* a response was produced; leave the phase */
    SB_FFI_WAIT = 3  /* a native step waits: wait on the semaphore given to sb_ffi_wait_on(), then ask again */
};

typedef struct sb_ffi_step {
    uint64_t serial;  /* of the configuration in this worker: never used again for another one */
    const void *step; /* opaque; valid during the request */
} sb_ffi_step;

/* What a step is made of; texts are "" when the instance does not name that entity. */
typedef struct sb_ffi_step_facts {
    uint64_t version; /* (id, version) identifies a configuration */
    const char *name, *id, *route_id, *service_id, *consumer_id, *group_id, *ws_id, *instance_name;
    sb_ffi_str config; /* JSON */
} sb_ffi_step_facts;

/* A Lua hook begins to run for `phase` (enum sb_phase); per chunk in body_filter. 0: Lua has nothing to do there. */
int sb_ffi_enter(void *r, int phase);
/* From access to the response phase; 0 when there is an answer already (the service could not be asked). */
int sb_ffi_begin_response(void *r);
/* Runs native steps and returns at the next Lua step that has the phase, or at the end. */
int sb_ffi_chain_next(void *r, int phase, sb_ffi_step *step);
/* The same in body_filter, where the steps between see the chunk; *changed is set when one of them replaced it. */
int sb_ffi_chain_next_body(void *r, sb_ffi_step *step, sb_ffi_str *chunk, int eof, int *changed);
void sb_ffi_step_facts_get(const void *step, sb_ffi_step_facts *out);
/* Serials whose steps died since the last call; returns how many were written. */
size_t sb_ffi_steps_released(uint64_t *serials, size_t max);
/* The phase the request is in (enum sb_phase); negative when r is no request of ours (timers). */
int sb_ffi_phase(void *r);
/* The semaphore (ngx_http_lua_sema_t *) to post when what the request waits for is there: capture, native WAIT. NULL: none any
 * more. */
void sb_ffi_wait_on(void *r, void *sema);
/* An error in a plugin: the request is answered 500 in the gateway's error format. */
void sb_ffi_fail(void *r);

/* ---- buffered proxying: response phase and kong.service.request.enable_buffering ---- */

/* 1 when the plan has a response step or buffering was asked for, and nothing was answered yet. */
int sb_ffi_wants_capture(void *r);
void sb_ffi_enable_buffering(void *r);
/* Starts the upstream exchange, buffered; the request's semaphore is posted at its end. */
int sb_ffi_capture_start(void *r);
/* After the response handlers: the gathered answer, as they changed it, is what is sent. */
void sb_ffi_capture_commit(void *r);
int sb_ffi_captured_body(void *r, sb_ffi_str *out);

/* ---- configuration changes ---- */

/* The semaphore that is posted when there are changes to take; NULL to end. */
void sb_ffi_changes_sema(void *sema);
/* How many changes wait; a load, no call into the model. */
int sb_ffi_changes_pending(void);
/* Takes the oldest change of a plugin row (id: 36 characters and NUL). 1; 2 when everything may have changed; 0 when none. */
int sb_ffi_change_take(char id[37]);
/* Row of an entity by id or, with `field`, by unique field: in the workspace of the request's route, without a request (r NULL) or a route
 * in the default one. *json is malloc'ed for the caller: sb_ffi_free(). *version may be NULL. Returns SB_FFI_OK, SB_FFI_E_NOT_FOUND or
 * SB_FFI_E_INVALID (unknown entity). */
int sb_ffi_row(void *r, const char *entity, const char *field, const char *value, size_t len, sb_ffi_str *json, uint64_t *version);
/* All plugin rows of a plugin name as a JSON array of {"version":n,"row":{…}}; malloc'ed: sb_ffi_free(). */
int sb_ffi_plugin_rows(const char *name, sb_ffi_str *json);
void sb_ffi_free(sb_ffi_str *str);

/* ---- the request ---- */

enum {
    SB_FFI_METHOD = 1,
    SB_FFI_SCHEME,
    SB_FFI_HOST,
    SB_FFI_PATH,
    SB_FFI_RAW_PATH,
    SB_FFI_URI,
    SB_FFI_QUERY,
    SB_FFI_ID,
    SB_FFI_FORWARDED_SCHEME,
    SB_FFI_FORWARDED_HOST,
    SB_FFI_FORWARDED_PATH,
    SB_FFI_FORWARDED_PREFIX,
    SB_FFI_CLIENT_IP,    /* the peer's, before real-ip processing */
    SB_FFI_FORWARDED_IP, /* after it */
    SB_FFI_ROUTE,
    SB_FFI_SERVICE,
    SB_FFI_CONSUMER, /* entities as JSON */
    SB_FFI_UPSTREAM_URI,
    SB_FFI_UPSTREAM_SCHEME,
    SB_FFI_UPSTREAM_HOST,
    SB_FFI_BALANCER_IP
};
int sb_ffi_get_str(void *r, int what, sb_ffi_str *out);

enum {
    SB_FFI_PORT = 1,
    SB_FFI_FORWARDED_PORT,
    SB_FFI_HTTP_VERSION /* 9, 10, 11, 20 */,
    SB_FFI_START_MS,
    SB_FFI_CLIENT_PORT,
    SB_FFI_FORWARDED_CLIENT_PORT,
    SB_FFI_IS_GRPC,
    SB_FFI_TRUSTED,
    SB_FFI_SOURCE /* 1 exit, 2 error, 3 service */,
    SB_FFI_UPSTREAM_STATUS,
    SB_FFI_PROXIED,
    SB_FFI_PROXY_LATENCY_MS,
    SB_FFI_UPSTREAM_LATENCY_MS,
    SB_FFI_RESPONSE_LATENCY_MS,
    SB_FFI_RECEIVE_MS,
    SB_FFI_TRIES,
    SB_FFI_BALANCER_PORT
};
double sb_ffi_get_num(void *r, int what);

/* n-th value of a request header; name in any case, '_' and '-' the same. */
int sb_ffi_request_header(void *r, const char *name, size_t len, int n, sb_ffi_str *out);
/* n-th capture of the route's regex path: 0 is the whole match. name->data NULL when unnamed. */
int sb_ffi_capture(void *r, int n, sb_ffi_str *name, sb_ffi_str *value);
/* Whether an address is in trusted_ips. */
int sb_ffi_ip_trusted(const char *ip, size_t len);

/* ---- what goes upstream ---- */

enum { SB_FFI_SET = 1, SB_FFI_ADD, SB_FFI_CLEAR };
int sb_ffi_upstream_header(void *r, int op, const char *name, size_t name_len, const char *value, size_t value_len);
int sb_ffi_upstream_method(void *r, const char *method, size_t len);
int sb_ffi_upstream_scheme(void *r, const char *scheme, size_t len);
int sb_ffi_upstream_path(void *r, const char *path, size_t len);
int sb_ffi_upstream_query(void *r, const char *query, size_t len);
int sb_ffi_upstream_target(void *r, const char *host, size_t len, int port);
int sb_ffi_upstream_name(void *r, const char *name, size_t len); /* SB_FFI_E_NOT_FOUND: no such upstream entity */
void sb_ffi_upstream_retries(void *r, int retries);
void sb_ffi_upstream_timeouts(void *r, int connect, int send, int read);
/* TLS to the service, for this request: objects of OpenSSL (X509_STORE, STACK_OF(X509) with the certificate first, EVP_PKEY), of which a
 * reference is kept. SB_FFI_E_INVALID: they cannot be used, or do not belong together. */
int sb_ffi_upstream_tls_verify(void *r, int on);
int sb_ffi_upstream_tls_depth(void *r, int depth);
int sb_ffi_upstream_tls_store(void *r, void *store);
int sb_ffi_upstream_tls_pair(void *r, void *certs, void *key);

/* ---- TLS of the client ---- */

/* In the certificate phase, whose requests nginx makes up: 0 when no global plugin takes part. */
int sb_ffi_enter_certificate(void *r);
/* Asks for a certificate and takes any; authorities: STACK_OF(X509) that the client is told, or NULL. SB_FFI_E_INVALID: no TLS. */
int sb_ffi_client_request_certificate(void *r, void *authorities);
int sb_ffi_client_disable_session_reuse(void *r);
/* What the client showed, in PEM, its own certificate first; malloc'ed: sb_ffi_free(). 0: nothing. */
int sb_ffi_client_chain(void *r, sb_ffi_str *out);
/* What the log says of it (kong.client.tls.set_client_verify). */
void sb_ffi_client_verify(void *r, const char *text, size_t len);

/* ---- the answer ---- */

/* n-th header that the service sent; 0 when there are no more. */
int sb_ffi_service_header(void *r, int n, sb_ffi_str *name, sb_ffi_str *value);
/* Produces the response: rewrite, access, response; in header_filter it replaces what the service sent. Headers set before stay.
 * To a gRPC request the body is a message, told in headers. */
void sb_ffi_exit(void *r, int status, const char *body, size_t len);
/* The gateway's error response. content_type: one of the gateway's own, NULL: by gRPC, Accept, default. message NULL: the status'
 * default text. */
void sb_ffi_error(void *r, int status, const char *content_type, size_t ct_len, const char *message, size_t len);

/* ---- consumer, log ---- */

/* Ids, NULL: none. Chooses the consumer's overlay of the plan for the steps that follow. */
void sb_ffi_authenticate(void *r, const char *consumer, size_t consumer_len, const char *credential, size_t credential_len);
/* nginx's numbers of levels; whether a line of that level would be written. */
int sb_ffi_log_enabled(void *r, int level);
/* kong.log.set_serialize_value: mode 1 set, 2 add, 3 replace; json NULL removes. */
void sb_ffi_log_value(void *r, const char *key, size_t key_len, const char *json, size_t json_len, int mode);
/* The log serializer's object as JSON; malloc'ed: sb_ffi_free(). */
int sb_ffi_log_serialize(void *r, sb_ffi_str *json);
/* cdef-end */

#pragma GCC visibility pop

#endif
