/*
 * The Admin API as functions: a request struct in, a response struct out; no sockets, no nginx. Runs on the store thread.
 * Routes are one table (path pattern, methods, handler); generated endpoints of entities follow from the entity tables.
 * Facts: admin_api.json.
 */
#ifndef SB_ADMIN_H
#define SB_ADMIN_H

#include "core/balancer/health.h"
#include "core/store/store.h"
#include "core/settings/settings.h"

typedef struct sb_admin sb_admin_t;

typedef struct sb_admin_request {
    sb_str_t method;       /* "GET" */
    sb_str_t path;         /* raw, still percent-encoded, no query */
    sb_str_t query;        /* raw */
    sb_str_t content_type; /* empty: none */
    sb_str_t body;
    sb_str_t origin;    /* CORS request headers, empty: none */
    sb_str_t acrh;      /* Access-Control-Request-Headers */
    const json_t *told; /* what a first run asked for (sb_admin_response_t.ask); NULL: this is the first */
} sb_admin_request_t;

typedef struct sb_admin_header {
    char *name, *value;
} sb_admin_header_t;

typedef struct sb_admin_response {
    int status;
    char *body; /* malloc'ed; NULL: empty */
    size_t body_len;
    sb_admin_header_t *headers; /* Content-Type, Allow, CORS …; not Server, Content-Length, latency */
    size_t n_headers;
    /* Set instead of all the others: the endpoint needs what only a proxy worker knows, and is to be called again with `told`.
     *   {"resolve": [host name …]}  →  {"resolve": {name: [{"ip", of SRV records "port" and "weight" as well} …], or text why not}}
     *   {"dns": true}               →  {"dns": {"worker": {"id": n, "count": n}, "stats": {name: {…}}}}
     *   {"cache": key}              →  {"cache": {"value": any}}, or {} when nothing is cached
     * told is {} when no worker answers. */
    json_t *ask;
} sb_admin_response_t;

/* What the endpoints need from the node; called on the store thread; every callback may be NULL. New references. */
typedef struct sb_admin_host {
    const sb_settings_t *settings;
    sb_schema_hooks_t hooks; /* as the store has them; for /schemas */
    const char *node_id, *hostname, *lua_version;
    json_t *(*pids)(void *arg);     /* {"master": n, "workers": [n…]} */
    json_t *(*counters)(void *arg); /* "server" of /status: {"connections_active": n …} */
    /* "memory" of /status in bytes: {"lua_shared_dicts": {name: {"allocated_slabs": n, "capacity": n}}, "workers_lua_vms":
     * [{"pid": n, "http_allocated_gc": n}]} */
    json_t *(*memory)(void *arg);
    int (*log_level)(void *arg);                              /* as SB_LOG_* */
    void (*set_log_level)(int level, int timeout, void *arg); /* for `timeout` seconds; 0: until changed again */
    sb_health_t *health;                                      /* NULL: targets' health is neither known nor set */
    /* The Status API: its few endpoints instead of all, none of which needs a store. */
    bool status_api;
    bool (*reachable)(void *arg);      /* the record; NULL: it is */
    const char *(*unready)(void *arg); /* why traffic should not come here, static text; NULL: it may */
    void (*drain)(void *arg);          /* traffic is to stay away from now on */
    json_t *(*dns)(void *arg);         /* as "dns" of sb_admin_response_t.ask; NULL: a worker has to be asked */
    void *arg;
} sb_admin_host_t;

sb_admin_t *sb_admin_new(const sb_admin_host_t *host);
void sb_admin_free(sb_admin_t *a);
/* Whether this request may write (decides group commit); by method and path only. */
bool sb_admin_is_write(const sb_admin_request_t *req);
/* s: may be NULL for a Status API. Fills *res completely; never fails. Returns SB_OK when writes are to be kept, SB_DECLINED when they are
 * to be undone. */
int sb_admin_handle(sb_admin_t *a, sb_store_t *s, const sb_admin_request_t *req, sb_admin_response_t *res);
/* Replaces *res by the answer for a status that no endpoint gave: a request that the server itself refused (400, 413 …), 503, a commit that
 * failed (500). s, origin: of the request, for the CORS headers; s may be NULL, origin empty. */
void sb_admin_http_error(const sb_settings_t *s, sb_str_t origin, int status, sb_admin_response_t *res);
void sb_admin_response_free(sb_admin_response_t *res);
/* A request line ("GET /x?y=z HTTP/1.1", or a URL's path and query alone) as logs may show it; query_only: it is a query string. Writes at
 * most size bytes to out, the rest is cut, and returns how many; size 3 * line.len + 4 is always enough. See secrets.c. */
size_t sb_admin_hide_secrets(sb_str_t line, bool query_only, char *out, size_t size);
/* Every row of the route table that answers, in order of precedence: pattern, the methods as in Allow, what it is for. */
void sb_admin_each_route(const sb_admin_t *a, void (*fn)(const char *pattern, const char *allow, const char *text, void *arg), void *arg);

/* The HTTP status of an error code of the interface (SB_E_*). */
int sb_admin_error_status(int code);
/* The API as an OpenAPI 3.0 document, for the reference. New reference. */
json_t *sb_admin_openapi_document(const sb_admin_t *a);

/* On the store thread: makes room among the addresses whose health is known, by forgetting those of targets that are gone. */
void sb_admin_health_prune(sb_store_t *store, sb_health_t *health);

#endif
