/*
 * Plugins' code is also linked into the program and into control, which only read their tables. The functions of request.h exist there in
 * name only; in the proxy module the real ones (src/proxy/request.c) take their places, because these are weak.
 */
#include "core/base/base.h"
#include "silverback/plugin.h"

#define ABSENT(type, name, args)                                                                                                           \
    __attribute__((weak)) type name args                                                                                                   \
    {                                                                                                                                      \
        sb_panic(__FILE__, __LINE__, #name " called outside of a proxy worker");                                                           \
    }

ABSENT(enum sb_phase, sb_request_phase, (const sb_request_t *r))
ABSENT(void *, sb_request_alloc, (sb_request_t * r, size_t n))
ABSENT(sb_cstr, sb_request_id, (sb_request_t * r))
ABSENT(sb_cstr, sb_request_method, (sb_request_t * r))
ABSENT(sb_cstr, sb_request_scheme, (sb_request_t * r))
ABSENT(sb_cstr, sb_request_host, (sb_request_t * r))
ABSENT(int, sb_request_port, (sb_request_t * r))
ABSENT(sb_cstr, sb_request_raw_path, (sb_request_t * r))
ABSENT(sb_cstr, sb_request_path, (sb_request_t * r))
ABSENT(sb_cstr, sb_request_query, (sb_request_t * r))
ABSENT(sb_cstr, sb_request_client_ip, (sb_request_t * r))
ABSENT(sb_cstr, sb_request_header, (sb_request_t * r, const char *name, unsigned n))
ABSENT(void, sb_request_each_header, (sb_request_t * r, bool (*fn)(sb_cstr name, sb_cstr value, void *arg), void *arg))
ABSENT(sb_cstr, sb_request_route_json, (sb_request_t * r))
ABSENT(sb_cstr, sb_request_service_json, (sb_request_t * r))
ABSENT(enum sb_verdict, sb_request_read_body,
       (sb_request_t * r, enum sb_verdict (*then)(sb_request_t *r, const void *conf), const void *conf))
ABSENT(sb_cstr, sb_request_body, (sb_request_t * r))
ABSENT(int, sb_upstream_header_set, (sb_request_t * r, sb_cstr name, sb_cstr value))
ABSENT(int, sb_upstream_header_add, (sb_request_t * r, sb_cstr name, sb_cstr value))
ABSENT(int, sb_upstream_header_clear, (sb_request_t * r, sb_cstr name))
ABSENT(int, sb_upstream_method_set, (sb_request_t * r, sb_cstr method))
ABSENT(int, sb_upstream_path_set, (sb_request_t * r, sb_cstr path))
ABSENT(int, sb_upstream_query_set, (sb_request_t * r, sb_cstr query))
ABSENT(int, sb_response_status, (sb_request_t * r))
ABSENT(int, sb_response_status_set, (sb_request_t * r, int status))
ABSENT(sb_cstr, sb_response_header, (sb_request_t * r, const char *name, unsigned n))
ABSENT(int, sb_response_header_set, (sb_request_t * r, sb_cstr name, sb_cstr value))
ABSENT(int, sb_response_header_add, (sb_request_t * r, sb_cstr name, sb_cstr value))
ABSENT(int, sb_response_header_clear, (sb_request_t * r, sb_cstr name))
ABSENT(int, sb_request_exit, (sb_request_t * r, int status, sb_cstr content_type, sb_cstr body))
ABSENT(int, sb_request_exit_message, (sb_request_t * r, int status, const char *message))
ABSENT(int, sb_request_exit_error, (sb_request_t * r, int status, const char *message))
ABSENT(void, sb_request_resume, (sb_request_t * r, int verdict))
ABSENT(void *, sb_stream_alloc, (sb_stream_t * s, size_t n))
ABSENT(sb_cstr, sb_stream_protocol, (const sb_stream_t *s))
ABSENT(sb_cstr, sb_stream_client_ip, (const sb_stream_t *s))
ABSENT(int, sb_stream_client_port, (const sb_stream_t *s))
ABSENT(int, sb_stream_port, (const sb_stream_t *s))
ABSENT(sb_cstr, sb_stream_sni, (const sb_stream_t *s))
ABSENT(sb_cstr, sb_stream_route_json, (sb_stream_t * s))
ABSENT(sb_cstr, sb_stream_service_json, (sb_stream_t * s))
ABSENT(sb_stream_result_t, sb_stream_result, (const sb_stream_t *s))
