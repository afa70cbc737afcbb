/*
 * What the PDK writes: the request that goes upstream and the response that goes to the client. Thin: the work is in the functions
 * that native plugins use too (request.h, proxy_int.h).
 */
#include "proxy/ffi_int.h"

static sb_cstr
cstr(const char *data, size_t len)
{
    return (sb_cstr){data, len};
}

static int
result(int rc)
{
    if (rc == SB_OK)
        return SB_FFI_OK;
    return rc == SB_ERROR_PHASE ? SB_FFI_E_PHASE : SB_FFI_E_INVALID;
}

/* ---- upstream ---- */

int
sb_ffi_upstream_header(void *r, int op, const char *name, size_t name_len, const char *value, size_t value_len)
{
    sb_ctx_t *ctx = sb_ctx(r);

    switch (op) {
    case SB_FFI_SET:
        return result(sb_upstream_header_set(ctx, cstr(name, name_len), cstr(value, value_len)));
    case SB_FFI_ADD:
        return result(sb_upstream_header_add(ctx, cstr(name, name_len), cstr(value, value_len)));
    default:
        return result(sb_upstream_header_clear(ctx, cstr(name, name_len)));
    }
}

int
sb_ffi_upstream_method(void *r, const char *method, size_t len)
{
    return result(sb_upstream_method_set(sb_ctx(r), cstr(method, len)));
}

int
sb_ffi_upstream_path(void *r, const char *path, size_t len)
{
    return result(sb_upstream_path_set(sb_ctx(r), cstr(path, len)));
}

int
sb_ffi_upstream_query(void *r, const char *query, size_t len)
{
    return result(sb_upstream_query_set(sb_ctx(r), cstr(query, len)));
}

int
sb_ffi_upstream_scheme(void *r, const char *scheme, size_t len)
{
    sb_ctx_t *ctx = sb_ctx(r);
    sb_str_t copy = sb_request_copy(r, scheme, len);

    if (copy.data == NULL)
        return SB_FFI_E_INVALID;
    ctx->upstream_scheme = copy;
    return SB_FFI_OK;
}

int
sb_ffi_upstream_target(void *r, const char *host, size_t len, int port)
{
    sb_ctx_t *ctx = sb_ctx(r);
    sb_str_t copy = sb_request_copy(r, host, len);

    if (copy.data == NULL)
        return SB_FFI_E_INVALID;
    ctx->target_host = copy;
    ctx->target_port = (uint16_t)port;
    return SB_FFI_OK;
}

/* The request's workspace is its route's. */
int
sb_ffi_upstream_name(void *r, const char *name, size_t len)
{
    sb_ctx_t *ctx = sb_ctx(r);
    char ws[SB_UUID_TEXT + 1];
    sb_row_t row;
    bool found;

    if (sb_model_begin(sb_worker.reader, NULL) != SB_OK)
        return SB_FFI_E_NOT_FOUND;
    sb_uuid_format(&ctx->route.ws, ws);
    found = sb_model_find(sb_worker.reader, sb_worker.upstreams, "name", ctx->matched ? ws : NULL, (sb_str_t){name, len}, &row);
    sb_model_end(sb_worker.reader);
    return found ? sb_ffi_upstream_target(r, name, len, 0) : SB_FFI_E_NOT_FOUND;
}

void
sb_ffi_upstream_retries(void *r, int retries)
{
    sb_ctx(r)->retries = retries;
}

void
sb_ffi_upstream_timeouts(void *r, int connect, int send, int read)
{
    sb_ctx_t *ctx = sb_ctx(r);

    ctx->timeouts[0] = (ngx_msec_t)connect;
    ctx->timeouts[1] = (ngx_msec_t)send;
    ctx->timeouts[2] = (ngx_msec_t)read;
}

/* ---- the service's answer ---- */

static bool
nth_header(ngx_list_part_t *part, int *n, ngx_table_elt_t **found)
{
    for (; part != NULL; part = part->next) {
        ngx_table_elt_t *h = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (h[i].key.len == 0 || (*n)-- > 0)
                continue;
            *found = &h[i];
            return true;
        }
    }
    return false;
}

/* In the order in which the service sent them; before they were passed through or hidden. */
int
sb_ffi_service_header(void *r, int n, sb_ffi_str *name, sb_ffi_str *value)
{
    ngx_list_t *headers = sb_service_headers(sb_ctx(r));
    ngx_table_elt_t *h = NULL;

    if (headers == NULL || !nth_header(&headers->part, &n, &h))
        return 0;
    sb_ffi_out(name, sb_ngx_str(h->key));
    sb_ffi_out(value, sb_ngx_str(h->value));
    return 1;
}

/* ---- responses of plugins ---- */

/* The header of the service's answer is on its way through the filters: it becomes that of the plugin's answer, and filters.c lets the
 * plugin's body through in place of the service's. */
static void
replace_answer(sb_ctx_t *ctx, int status, sb_str_t content_type, sb_str_t body)
{
    ngx_http_request_t *r = ctx->r;

    ctx->exit.body = sb_request_copy(r, body.data, body.len);
    if (ctx->exit.body.data == NULL)
        return;
    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);
    r->err_status = 0;
    r->headers_out.status = (ngx_uint_t)status;
    r->headers_out.status_line.len = 0;
    r->headers_out.content_length_n = (off_t)body.len;
    if (content_type.data != NULL)
        sb_headers_out_set(r, SB_STR("content-type"), content_type);
    ctx->replace_body = 1;
}

static void
answer(sb_ctx_t *ctx, int status, sb_str_t content_type, sb_str_t body, enum sb_source source)
{
    if (ctx->phase == SB_PHASE_HEADER_FILTER)
        replace_answer(ctx, status, content_type, body);
    else
        sb_exit_set(ctx, status, content_type, body);
    ctx->source = source;
}

void
sb_ffi_exit(void *r, int status, const char *body, size_t len)
{
    sb_ctx_t *ctx = sb_ctx(r);
    sb_str_t text = {body, len}, type = {NULL, 0};

    if (sb_ffi_get_num(r, SB_FFI_IS_GRPC) == 1)
        sb_error_body(ctx, SB_ERROR_GRPC, status, text, &type, &text);
    answer(ctx, status, type, text, SB_SOURCE_EXIT);
}

static enum sb_error_type
error_type(const char *content_type, size_t len)
{
    char mime[64];
    size_t n = 0;

    while (n < len && n < sizeof(mime) - 1 && content_type[n] != ';')
        n++;
    memcpy(mime, content_type, n);
    mime[n] = '\0';
    return strcmp(mime, "application/grpc") == 0 ? SB_ERROR_GRPC : sb_error_type_of(mime);
}

void
sb_ffi_error(void *r, int status, const char *content_type, size_t ct_len, const char *message, size_t len)
{
    sb_ctx_t *ctx = sb_ctx(r);
    enum sb_error_type format = content_type != NULL ? error_type(content_type, ct_len) : sb_error_choose(ctx, false);
    sb_str_t type, body;

    sb_error_body(ctx, format, status, (sb_str_t){message, len}, &type, &body);
    answer(ctx, status, type, body, SB_SOURCE_ERROR);
}

/* ---- consumer ---- */

void
sb_ffi_authenticate(void *r, const char *consumer, size_t consumer_len, const char *credential, size_t credential_len)
{
    sb_ctx_t *ctx = sb_ctx(r);
    sb_lua_request_t *lua = sb_lua_request(ctx);
    sb_uuid_t id;

    if (lua != NULL)
        lua->credential_id = credential != NULL ? sb_request_copy(r, credential, credential_len) : (sb_str_t){NULL, 0};
    if (consumer != NULL && sb_uuid_parse(consumer, consumer_len, &id))
        sb_chain_set_consumer(ctx, &id);
    else
        sb_chain_set_consumer(ctx, NULL);
}

/* ---- log ---- */

int
sb_ffi_log_enabled(void *r, int level)
{
    const ngx_log_t *log = r != NULL ? ((ngx_http_request_t *)r)->connection->log : ngx_cycle->log;

    return log->log_level >= (ngx_uint_t)level;
}

void
sb_ffi_log_value(void *r, const char *key, size_t key_len, const char *json, size_t json_len, int mode)
{
    sb_ctx_t *ctx = sb_ctx(r);
    sb_lua_request_t *lua = sb_lua_request(ctx);
    sb_log_value_t *v = ngx_pcalloc(ctx->r->pool, sizeof(*v));

    if (lua == NULL || v == NULL)
        return;
    v->key = sb_request_copy(r, key, key_len);
    v->json = json != NULL ? sb_request_copy(r, json, json_len) : (sb_str_t){NULL, 0};
    v->mode = mode;
    if (v->key.data == NULL || (json != NULL && v->json.data == NULL))
        return;
    *lua->values_last = v;
    lua->values_last = &v->next;
}

int
sb_ffi_log_serialize(void *r, sb_ffi_str *json)
{
    json_t *object = sb_log_serialize(sb_ctx(r));
    size_t len;
    char *text = sb_json_dump_len(object, &len);

    json_decref(object);
    return sb_ffi_out(json, (sb_str_t){text, len}) ? SB_FFI_OK : SB_FFI_E_INVALID;
}
