/* What the files of the FFI layer (ffi*.c, log_serialize.c) share. Never leaves src/proxy. */
#ifndef SB_PROXY_FFI_INT_H
#define SB_PROXY_FFI_INT_H

#include "proxy/proxy_int.h"
#include "silverback/sb_ffi.h"

/* A value that a plugin put into the log serializer's object; in order. */
typedef struct sb_log_value {
    struct sb_log_value *next;
    sb_str_t key;  /* dotted */
    sb_str_t json; /* data NULL: remove */
    int mode;
} sb_log_value_t;

/* The FFI's part of a request (ctx->lua), request memory. */
typedef struct sb_lua_request {
    void *sema; /* ngx_http_lua_sema_t, held by the Lua thread that waits on it */
    sb_log_value_t *values, **values_last;
    sb_str_t credential_id;
    sb_str_t client_verify; /* kong.client.tls.set_client_verify; data NULL: as nginx says */
    bool buffered;          /* kong.service.request.enable_buffering */
} sb_lua_request_t;

/* The FFI's part of a request, made on demand; NULL only without memory. */
sb_lua_request_t *sb_lua_request(sb_ctx_t *ctx);

static inline sb_str_t
sb_ngx_str(ngx_str_t s)
{
    return (sb_str_t){(const char *)s.data, s.len};
}

static inline int
sb_ffi_out(sb_ffi_str *out, sb_str_t s)
{
    out->data = s.data;
    out->len = s.len;
    return s.data != NULL;
}

/* Request memory, NUL-terminated behind len; data NULL without memory. */
sb_str_t sb_request_copy(ngx_http_request_t *r, const char *data, size_t len);
/* The value of an nginx variable; data NULL when it has none. */
sb_str_t sb_request_variable(ngx_http_request_t *r, const char *name);
/* n-th value of a request header; any case, '_' and '-' the same. */
bool sb_request_header_find(ngx_http_request_t *r, sb_str_t name, int n, sb_str_t *value);
/* The exchange with the service, when its answer's header has come (of a gathered answer too); else NULL. */
ngx_http_upstream_t *sb_service_upstream(const sb_ctx_t *ctx);
/* A row as JSON with its workspace ("ws_id"), malloc'ed; NULL: no such row. version may be NULL. */
char *sb_row_json(const sb_entity_t *e, const sb_uuid_t *id, size_t *len, uint64_t *version);

/* The sema functions of nginx's Lua module, found when first needed: it is loaded only where Lua plugins are. */
void sb_lua_sema_post(void *sema);

/* The log serializer's object (facts log_fields). New reference. */
json_t *sb_log_serialize(sb_ctx_t *ctx);

/* ffi_events.c: hooks that the worker calls. */
void sb_lua_event(uint64_t seq, const json_t *event);
void sb_lua_flush(void);

#endif
