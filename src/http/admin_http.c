/* nginx requests and the Admin functions' structs; see admin_http.h. Compiled into both modules that have such requests. */
#include "http/admin_http.h"

#include "core/base/log.h"

/* ---------- the answer ---------- */

static ngx_int_t
add_header(ngx_http_request_t *r, const char *name, const char *value, ngx_table_elt_t **out)
{
    ngx_table_elt_t *h = ngx_list_push(&r->headers_out.headers);

    if (h == NULL)
        return NGX_ERROR;
    ngx_memzero(h, sizeof(*h));
    h->hash = 1;
    h->key.data = (u_char *)name;
    h->key.len = strlen(name);
    h->value.data = (u_char *)value;
    h->value.len = strlen(value);
    if (out != NULL)
        *out = h;
    return NGX_OK;
}

static bool
header_enabled(const sb_settings_t *settings, const char *name, const char *group)
{
    size_t n;
    const char *const *list = sb_settings_list(settings, "headers", &n);

    if (n != 0 && ngx_strcasecmp((u_char *)list[0], (u_char *)"off") == 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (ngx_strcasecmp((u_char *)list[i], (u_char *)name) == 0 || ngx_strcasecmp((u_char *)list[i], (u_char *)group) == 0)
            return true;
    }
    return false;
}

static ngx_int_t
add_node_headers(ngx_http_request_t *r, const sb_settings_t *settings)
{
    ngx_time_t *now = ngx_timeofday();
    ngx_msec_int_t ms = (ngx_msec_int_t)((now->sec - r->start_sec) * 1000 + ((ngx_msec_int_t)now->msec - (ngx_msec_int_t)r->start_msec));
    u_char *text = ngx_pnalloc(r->pool, NGX_INT64_LEN + 1);

    if (text == NULL || add_header(r, "Server", "kong/" SB_KONG_VERSION, &r->headers_out.server) != NGX_OK)
        return NGX_ERROR;
    if (!header_enabled(settings, "server", "server_tokens"))
        r->headers_out.server->hash = 0; /* none, and not nginx's own either */
    if (!header_enabled(settings, "x-kong-admin-latency", "latency_tokens"))
        return NGX_OK;
    *ngx_sprintf(text, "%M", (ngx_msec_t)ngx_max(ms, 0)) = '\0';
    return add_header(r, "X-Kong-Admin-Latency", (char *)text, NULL);
}

static void
free_response(void *data)
{
    sb_admin_response_free(data);
}

/* Moves the response into the request's memory. */
static sb_admin_response_t *
adopt_response(ngx_http_request_t *r, sb_admin_response_t *res)
{
    ngx_pool_cleanup_t *cln = ngx_pool_cleanup_add(r->pool, sizeof(*res));

    if (cln == NULL)
        return NULL;
    cln->handler = free_response;
    *(sb_admin_response_t *)cln->data = *res;
    *res = (sb_admin_response_t){0};
    return cln->data;
}

static ngx_int_t
send_body(ngx_http_request_t *r, const sb_admin_response_t *res)
{
    ngx_buf_t *b = ngx_calloc_buf(r->pool);
    ngx_chain_t out = {.buf = b};

    if (b == NULL)
        return NGX_ERROR;
    b->pos = b->start = (u_char *)res->body;
    b->last = b->end = b->pos + res->body_len;
    b->memory = res->body_len != 0;
    b->last_buf = 1;
    return ngx_http_output_filter(r, &out);
}

ngx_int_t
sb_admin_http_send(ngx_http_request_t *r, const sb_settings_t *settings, sb_admin_response_t *given)
{
    sb_admin_response_t *res = adopt_response(r, given);
    ngx_int_t rc;

    if (res == NULL)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    r->headers_out.status = (ngx_uint_t)res->status;
    r->headers_out.content_length_n = (off_t)res->body_len;
    r->allow_ranges = 0;
    for (size_t i = 0; i < res->n_headers; i++) {
        const sb_admin_header_t *h = &res->headers[i];
        if (ngx_strcasecmp((u_char *)h->name, (u_char *)"content-type") == 0) {
            r->headers_out.content_type.data = (u_char *)h->value;
            r->headers_out.content_type.len = strlen(h->value);
            r->headers_out.content_type_len = strcspn(h->value, ";"); /* what gzip_types is compared with */
        } else if (add_header(r, h->name, h->value, NULL) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    if (add_node_headers(r, settings) != NGX_OK)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only)
        return rc;
    return send_body(r, res);
}

/* ---------- the request ---------- */

static size_t
copy(sb_buf_t *out, const void *data, size_t len)
{
    size_t at = out->len;

    sb_buf_add(out, data, len);
    return at;
}

static bool
copy_file_buf(sb_buf_t *out, const ngx_buf_t *b, ngx_log_t *log)
{
    u_char chunk[16384];
    off_t at = b->file_pos;

    while (at < b->file_last) {
        size_t want = (size_t)ngx_min(b->file_last - at, (off_t)sizeof(chunk));
        ssize_t n = ngx_read_file(b->file, chunk, want, at);
        if (n <= 0) {
            ngx_log_error(NGX_LOG_ERR, log, 0, "cannot read back the request body");
            return false;
        }
        copy(out, chunk, (size_t)n);
        at += n;
    }
    return true;
}

static bool
copy_body(sb_buf_t *out, ngx_http_request_t *r)
{
    for (ngx_chain_t *in = r->request_body != NULL ? r->request_body->bufs : NULL; in != NULL; in = in->next) {
        if (in->buf->in_file && !ngx_buf_in_memory(in->buf)) {
            if (!copy_file_buf(out, in->buf, r->connection->log))
                return false;
        } else {
            copy(out, in->buf->pos, (size_t)(in->buf->last - in->buf->pos));
        }
    }
    return true;
}

static sb_str_t
request_header(ngx_http_request_t *r, const char *name)
{
    ngx_list_part_t *part = &r->headers_in.headers.part;
    size_t len = strlen(name);

    for (; part != NULL; part = part->next) {
        ngx_table_elt_t *h = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (h[i].key.len == len && ngx_strncasecmp(h[i].key.data, (u_char *)name, len) == 0)
                return (sb_str_t){(const char *)h[i].value.data, h[i].value.len};
        }
    }
    return (sb_str_t){0};
}

/* Copies the pieces one behind the other, then points req at them, since the buffer moves while it grows. */
bool
sb_admin_http_copy(ngx_http_request_t *r, sb_buf_t *out, sb_admin_request_t *req)
{
    sb_str_t uri = {(const char *)r->unparsed_uri.data, r->unparsed_uri.len};
    const char *mark = uri.len != 0 ? memchr(uri.data, '?', uri.len) : NULL;
    size_t path_len = mark != NULL ? (size_t)(mark - uri.data) : uri.len;
    sb_str_t piece[] = {{(const char *)r->method_name.data, r->method_name.len},
                        {uri.data, path_len},
                        {mark != NULL ? mark + 1 : NULL, mark != NULL ? uri.len - path_len - 1 : 0},
                        request_header(r, "content-type"),
                        request_header(r, "origin"),
                        request_header(r, "access-control-request-headers")};
    sb_str_t *dest[] = {&req->method, &req->path, &req->query, &req->content_type, &req->origin, &req->acrh};
    size_t at[6], body;

    for (size_t i = 0; i < 6; i++)
        at[i] = copy(out, piece[i].data, piece[i].len);
    body = out->len;
    if (!copy_body(out, r))
        return false;
    for (size_t i = 0; i < 6; i++)
        *dest[i] = (sb_str_t){out->data + at[i], piece[i].len};
    req->body = (sb_str_t){out->data + body, out->len - body};
    return true;
}

ngx_int_t
sb_admin_http_refusal(ngx_http_request_t *r, const sb_settings_t *settings)
{
    sb_admin_response_t res = {0};
    int status = (int)r->err_status;
    ngx_int_t rc;

    /* nginx turns its 494 into 400 on the way; the path still tells. */
    if (status == 400 && r->uri.len > 4 && ngx_strncmp(r->uri.data + r->uri.len - 4, "/494", 4) == 0)
        status = 494;
    sb_admin_http_error(settings, request_header(r, "origin"), status, &res);
    rc = sb_admin_http_send(r, settings, &res);
    sb_admin_response_free(&res);
    return rc;
}
