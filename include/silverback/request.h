/*
 * A request as native plugins see it. Memory handed out lives as long as the request. Functions marked [phase] abort nothing when
 * called elsewhere: they return SB_ERROR_PHASE.
 */
#ifndef SILVERBACK_REQUEST_H
#define SILVERBACK_REQUEST_H

#include "silverback/schema.h"

typedef struct sb_request sb_request_t;
struct sb_pool;

enum sb_phase {
    SB_PHASE_INIT_WORKER,
    SB_PHASE_CONFIGURE,
    SB_PHASE_CERTIFICATE,
    SB_PHASE_REWRITE,
    SB_PHASE_ACCESS,
    SB_PHASE_BALANCER,
    SB_PHASE_RESPONSE,
    SB_PHASE_HEADER_FILTER,
    SB_PHASE_BODY_FILTER,
    SB_PHASE_LOG,
    SB_PHASE_COUNT
};

#define SB_ERROR_PHASE (-2)

/* What a phase callback answers. */
enum sb_verdict {
    SB_NEXT, /* go on with the next plugin */
    SB_EXIT, /* a response was produced with sb_request_exit(); the rest of this phase is skipped */
    SB_WAIT  /* something was started that will call sb_request_resume(); rewrite and access only */
};

enum sb_phase sb_request_phase(const sb_request_t *r);
void *sb_request_alloc(sb_request_t *r, size_t n); /* zeroed, request lifetime */
sb_cstr sb_request_id(sb_request_t *r);            /* 32 hex characters */

/* The request from the client (as now: later plugins see earlier ones' changes to what goes upstream only upstream). */
sb_cstr sb_request_method(sb_request_t *r);
sb_cstr sb_request_scheme(sb_request_t *r);
sb_cstr sb_request_host(sb_request_t *r);     /* lower case, no port; the server's own name when the client gave none */
sb_cstr sb_request_raw_path(sb_request_t *r); /* no query */
sb_cstr sb_request_path(sb_request_t *r);     /* normalised */
sb_cstr sb_request_query(sb_request_t *r);
sb_cstr sb_request_client_ip(sb_request_t *r); /* after real_ip/trusted_ips */
/* n-th value of a request header, case-insensitive; data NULL when there is none. */
sb_cstr sb_request_header(sb_request_t *r, const char *name, unsigned n);
/* fn gets every header in order, until it returns false. */
void sb_request_each_header(sb_request_t *r, bool (*fn)(sb_cstr name, sb_cstr value, void *arg), void *arg);
int sb_request_port(sb_request_t *r); /* of the listener */

/* What is sent upstream [rewrite, access]. */
int sb_upstream_header_set(sb_request_t *r, sb_cstr name, sb_cstr value); /* replaces all */
int sb_upstream_header_add(sb_request_t *r, sb_cstr name, sb_cstr value);
int sb_upstream_header_clear(sb_request_t *r, sb_cstr name);
int sb_upstream_method_set(sb_request_t *r, sb_cstr method);
int sb_upstream_path_set(sb_request_t *r, sb_cstr path);
int sb_upstream_query_set(sb_request_t *r, sb_cstr query);

/* The answer. header_* work in rewrite, access, response, header_filter. */
int sb_response_status(sb_request_t *r);
int sb_response_status_set(sb_request_t *r, int status);
sb_cstr sb_response_header(sb_request_t *r, const char *name, unsigned n);
int sb_response_header_set(sb_request_t *r, sb_cstr name, sb_cstr value);
int sb_response_header_add(sb_request_t *r, sb_cstr name, sb_cstr value);
int sb_response_header_clear(sb_request_t *r, sb_cstr name);

/* What matched, as JSON text of the row; data NULL when there is none. */
sb_cstr sb_request_route_json(sb_request_t *r);
sb_cstr sb_request_service_json(sb_request_t *r);

/* Reads the client's body whole [access], then calls `then` with conf. SB_WAIT: it is called later, and the chain goes on with what
 * it returns; else it was called and this is what it returned. */
enum sb_verdict sb_request_read_body(sb_request_t *r, enum sb_verdict (*then)(sb_request_t *r, const void *conf), const void *conf);
/* The body, once it was read; data NULL before. */
sb_cstr sb_request_body(sb_request_t *r);

/* Produces the response [rewrite, access]; the plugin then returns SB_EXIT. body is copied. content_type data NULL: none set. */
int sb_request_exit(sb_request_t *r, int status, sb_cstr content_type, sb_cstr body);
/* Same with {"message": …} as compact JSON, as most plugins answer. */
int sb_request_exit_message(sb_request_t *r, int status, const char *message);
/* The gateway's error body by Accept, with request_id (facts headers_errors.json error_format). message NULL: the default text. */
int sb_request_exit_error(sb_request_t *r, int status, const char *message);
/* After SB_WAIT: goes on with the chain. verdict SB_NEXT or SB_EXIT. */
void sb_request_resume(sb_request_t *r, int verdict);

#endif
