/* The request as native plugins see it: include/silverback/request.h over nginx's request. */
#include "proxy/proxy_int.h"

static sb_cstr
cstr(ngx_str_t s)
{
    return (sb_cstr){s.data != NULL ? (const char *)s.data : "", s.len};
}

static sb_str_t
str(sb_cstr s)
{
    return (sb_str_t){s.data, s.len};
}

static bool
in_phases(const sb_request_t *r, uint32_t phases)
{
    return (SB_PHASE_BIT(r->phase) & phases) != 0;
}

#define BEFORE_SERVICE (SB_PHASE_BIT(SB_PHASE_REWRITE) | SB_PHASE_BIT(SB_PHASE_ACCESS))
#define CHANGE_ANSWER  (BEFORE_SERVICE | SB_PHASE_BIT(SB_PHASE_RESPONSE) | SB_PHASE_BIT(SB_PHASE_HEADER_FILTER))

static int
answer(ngx_int_t rc)
{
    return rc == NGX_OK ? SB_OK : SB_ERROR;
}

enum sb_phase
sb_request_phase(const sb_request_t *r)
{
    return r->phase;
}

void *
sb_request_alloc(sb_request_t *r, size_t n)
{
    return ngx_pcalloc(r->r->pool, n);
}

sb_cstr
sb_request_id(sb_request_t *r)
{
    return (sb_cstr){(const char *)r->request_id, sizeof(r->request_id)};
}

/* ---- what the client sent ---- */

sb_cstr
sb_request_method(sb_request_t *r)
{
    return cstr(r->r->method_name);
}

sb_cstr
sb_request_scheme(sb_request_t *r)
{
    return r->r->connection->ssl != NULL ? (sb_cstr){"https", 5} : (sb_cstr){"http", 4};
}

/* As nginx's $host has it: by HTTP/1.0 a client may name none, and has asked the server itself. */
sb_cstr
sb_request_host(sb_request_t *r)
{
    const ngx_http_core_srv_conf_t *server;

    if (r->r->headers_in.server.len != 0)
        return cstr(r->r->headers_in.server);
    server = ngx_http_get_module_srv_conf(r->r, ngx_http_core_module);
    return cstr(server->server_name);
}

sb_cstr
sb_request_raw_path(sb_request_t *r)
{
    return (sb_cstr){r->raw_path.data, r->raw_path.len};
}

sb_cstr
sb_request_path(sb_request_t *r)
{
    return (sb_cstr){r->path.data, r->path.len};
}

sb_cstr
sb_request_query(sb_request_t *r)
{
    return cstr(r->r->args);
}

sb_cstr
sb_request_client_ip(sb_request_t *r)
{
    return cstr(r->r->connection->addr_text);
}

static sb_cstr
find_header(ngx_list_t *list, const char *name, unsigned n)
{
    size_t len = strlen(name);

    for (ngx_list_part_t *part = &list->part; part != NULL; part = part->next) {
        ngx_table_elt_t *h = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++)
            if (h[i].hash != 0 && h[i].key.len == len && ngx_strncasecmp(h[i].key.data, (u_char *)name, len) == 0 && n-- == 0)
                return cstr(h[i].value);
    }
    return (sb_cstr){NULL, 0};
}

sb_cstr
sb_request_header(sb_request_t *r, const char *name, unsigned n)
{
    return find_header(&r->r->headers_in.headers, name, n);
}

void
sb_request_each_header(sb_request_t *r, bool (*fn)(sb_cstr name, sb_cstr value, void *arg), void *arg)
{
    for (ngx_list_part_t *part = &r->r->headers_in.headers.part; part != NULL; part = part->next) {
        ngx_table_elt_t *h = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++)
            if (h[i].hash != 0 && !fn(cstr(h[i].key), cstr(h[i].value), arg))
                return;
    }
}

int
sb_request_port(sb_request_t *r)
{
    return ngx_inet_get_port(r->r->connection->local_sockaddr);
}

sb_cstr
sb_row_text(ngx_pool_t *pool, const sb_entity_t *e, const sb_uuid_t *id)
{
    sb_cstr out = {NULL, 0};
    sb_row_t row;
    char *copy;

    if (sb_model_begin(sb_worker.reader, NULL) != SB_OK)
        return out;
    if (sb_model_get(sb_worker.reader, e, id, &row) && (copy = ngx_pnalloc(pool, row.json.len)) != NULL) {
        memcpy(copy, row.json.data, row.json.len);
        out = (sb_cstr){copy, row.json.len};
    }
    sb_model_end(sb_worker.reader);
    return out;
}

sb_cstr
sb_request_route_json(sb_request_t *r)
{
    return r->matched ? sb_row_text(r->r->pool, sb_worker.routes, &r->route.route) : (sb_cstr){NULL, 0};
}

sb_cstr
sb_request_service_json(sb_request_t *r)
{
    return r->service != NULL ? sb_row_text(r->r->pool, sb_worker.services, &r->service->node.id) : (sb_cstr){NULL, 0};
}

/* ---- the client's body ---- */

struct body_wait {
    enum sb_verdict (*then)(sb_request_t *r, const void *conf);
    const void *conf;
    enum sb_verdict verdict;
    bool done, waiting;
};

static void
on_body(ngx_http_request_t *r)
{
    sb_ctx_t *ctx = sb_ctx(r);
    struct body_wait *w = ctx->body_wait;

    r->main->count--; /* the reader had taken one */
    w->done = true;
    w->verdict = w->then(ctx, w->conf);
    if (w->waiting)
        sb_request_resume(ctx, (int)w->verdict);
}

enum sb_verdict
sb_request_read_body(sb_request_t *r, enum sb_verdict (*then)(sb_request_t *r, const void *conf), const void *conf)
{
    struct body_wait *w = ngx_pcalloc(r->r->pool, sizeof(*w));
    ngx_int_t rc;

    if (w == NULL || r->phase != SB_PHASE_ACCESS)
        return SB_NEXT;
    w->then = then;
    w->conf = conf;
    r->body_wait = w;
    r->r->request_body_in_single_buf = 1;
    rc = ngx_http_read_client_request_body(r->r, on_body);
    if (w->done)
        return w->verdict;
    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        r->r->main->count--;
        sb_exit_error(r, (int)rc, (sb_str_t){NULL, 0});
        return SB_EXIT;
    }
    w->waiting = true;
    return SB_WAIT;
}

/* Bytes of one buffer to the end of out. */
static void
append_buf(ngx_buf_t *b, sb_buf_t *out)
{
    u_char block[16384];
    off_t at = b->file_pos;

    if (ngx_buf_in_memory(b)) {
        sb_buf_add(out, b->pos, (size_t)(b->last - b->pos));
        return;
    }
    while (b->in_file && at < b->file_last) {
        ssize_t n = ngx_read_file(b->file, block, (size_t)ngx_min((off_t)sizeof(block), b->file_last - at), at);
        if (n <= 0)
            return;
        sb_buf_add(out, block, (size_t)n);
        at += n;
    }
}

sb_cstr
sb_request_body(sb_request_t *r)
{
    ngx_http_request_body_t *body = r->r->request_body;
    sb_buf_t all = {0};
    sb_cstr out = {NULL, 0};
    char *copy;

    if (body == NULL || body->bufs == NULL)
        return out;
    if (body->bufs->next == NULL && ngx_buf_in_memory(body->bufs->buf))
        return (sb_cstr){(char *)body->bufs->buf->pos, (size_t)(body->bufs->buf->last - body->bufs->buf->pos)};
    for (ngx_chain_t *link = body->bufs; link != NULL; link = link->next)
        append_buf(link->buf, &all);
    copy = ngx_pnalloc(r->r->pool, all.len + 1);
    if (copy != NULL) {
        memcpy(copy, all.data != NULL ? all.data : "", all.len);
        out = (sb_cstr){copy, all.len};
    }
    sb_buf_free(&all);
    return out;
}

/* ---- what goes to the service ---- */

/* ":authority" is what HTTP/2 calls it. */
static bool
is_host(sb_cstr name)
{
    return sb_str_ieq(str(name), SB_STR("host")) || sb_str_ieq(str(name), SB_STR(":authority"));
}

static int
set_host(sb_request_t *r, sb_str_t value)
{
    char *copy;

    value = sb_header_text(r->r->pool, value);
    copy = value.data != NULL ? ngx_pnalloc(r->r->pool, value.len + 1) : NULL;
    if (copy == NULL)
        return SB_ERROR;
    memcpy(copy, value.data, value.len);
    r->upstream_host = (sb_str_t){copy, value.len};
    return SB_OK;
}

int
sb_upstream_header_set(sb_request_t *r, sb_cstr name, sb_cstr value)
{
    if (!in_phases(r, BEFORE_SERVICE))
        return SB_ERROR_PHASE;
    if (is_host(name))
        return set_host(r, str(value));
    return answer(sb_headers_in_set(r->r, str(name), str(value)));
}

int
sb_upstream_header_add(sb_request_t *r, sb_cstr name, sb_cstr value)
{
    if (!in_phases(r, BEFORE_SERVICE))
        return SB_ERROR_PHASE;
    if (is_host(name))
        return set_host(r, str(value));
    return answer(sb_headers_in_add(r->r, str(name), str(value)));
}

int
sb_upstream_header_clear(sb_request_t *r, sb_cstr name)
{
    if (!in_phases(r, BEFORE_SERVICE))
        return SB_ERROR_PHASE;
    sb_headers_in_clear(r->r, str(name));
    return SB_OK;
}

static int
copy_to(sb_request_t *r, sb_cstr from, ngx_str_t *to)
{
    u_char *copy;

    if (!in_phases(r, BEFORE_SERVICE))
        return SB_ERROR_PHASE;
    copy = ngx_pnalloc(r->r->pool, from.len + 1);
    if (copy == NULL)
        return SB_ERROR;
    memcpy(copy, from.data, from.len);
    copy[from.len] = '\0';
    *to = (ngx_str_t){from.len, copy};
    return SB_OK;
}

int
sb_upstream_method_set(sb_request_t *r, sb_cstr method)
{
    static const struct {
        const char *name;
        ngx_uint_t code;
    } known[] = {{"GET", NGX_HTTP_GET},       {"HEAD", NGX_HTTP_HEAD},       {"POST", NGX_HTTP_POST},   {"PUT", NGX_HTTP_PUT},
                 {"DELETE", NGX_HTTP_DELETE}, {"OPTIONS", NGX_HTTP_OPTIONS}, {"PATCH", NGX_HTTP_PATCH}, {"TRACE", NGX_HTTP_TRACE}};
    int rc;

    for (size_t i = 0; i < method.len; i++)
        if ((method.data[i] < 'A' || method.data[i] > 'Z') && method.data[i] != '-' && method.data[i] != '_')
            return SB_ERROR;
    rc = method.len != 0 ? copy_to(r, method, &r->r->method_name) : SB_ERROR;
    if (rc != SB_OK)
        return rc;
    /* The client asked for a header alone, whatever the service is asked for. */
    if (r->r->method == NGX_HTTP_HEAD)
        r->r->header_only = 1;
    r->r->method = NGX_HTTP_UNKNOWN;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (sb_str_eqc(str(method), known[i].name))
            r->r->method = known[i].code;
    return SB_OK;
}

int
sb_upstream_path_set(sb_request_t *r, sb_cstr path)
{
    ngx_str_t copy;
    int rc = copy_to(r, path, &copy);

    if (rc != SB_OK)
        return rc;
    r->upstream_path = (sb_str_t){(char *)copy.data, copy.len};
    r->path_set = 1;
    return SB_OK;
}

int
sb_upstream_query_set(sb_request_t *r, sb_cstr query)
{
    return copy_to(r, query, &r->r->args);
}

/* ---- the answer ---- */

int
sb_response_status(sb_request_t *r)
{
    if (r->r->err_status != 0)
        return (int)r->r->err_status;
    return r->exited && !r->r->header_sent ? r->exit.status : (int)r->r->headers_out.status;
}

int
sb_response_status_set(sb_request_t *r, int status)
{
    if (!in_phases(r, CHANGE_ANSWER))
        return SB_ERROR_PHASE;
    if (r->exited)
        r->exit.status = status;
    r->r->err_status = 0;
    r->r->headers_out.status = (ngx_uint_t)status;
    r->r->headers_out.status_line.len = 0;
    return SB_OK;
}

sb_cstr
sb_response_header(sb_request_t *r, const char *name, unsigned n)
{
    if (n == 0 && strcasecmp(name, "content-type") == 0 && r->r->headers_out.content_type.len != 0)
        return cstr(r->r->headers_out.content_type);
    return find_header(&r->r->headers_out.headers, name, n);
}

int
sb_response_header_set(sb_request_t *r, sb_cstr name, sb_cstr value)
{
    return in_phases(r, CHANGE_ANSWER) ? answer(sb_headers_out_set(r->r, str(name), str(value))) : SB_ERROR_PHASE;
}

int
sb_response_header_add(sb_request_t *r, sb_cstr name, sb_cstr value)
{
    return in_phases(r, CHANGE_ANSWER) ? answer(sb_headers_out_add(r->r, str(name), str(value))) : SB_ERROR_PHASE;
}

int
sb_response_header_clear(sb_request_t *r, sb_cstr name)
{
    if (!in_phases(r, CHANGE_ANSWER))
        return SB_ERROR_PHASE;
    sb_headers_out_clear(r->r, str(name));
    return SB_OK;
}

int
sb_request_exit(sb_request_t *r, int status, sb_cstr content_type, sb_cstr body)
{
    if (!in_phases(r, BEFORE_SERVICE))
        return SB_ERROR_PHASE;
    sb_exit_set(r, status, str(content_type), str(body));
    return SB_OK;
}

int
sb_request_exit_message(sb_request_t *r, int status, const char *message)
{
    json_t *object = json_pack("{s:s}", "message", message);
    char *text;
    int rc;

    if (object == NULL)
        return SB_ERROR;
    text = sb_json_dump(object);
    rc = sb_request_exit(r, status, (sb_cstr){"application/json; charset=utf-8", 31}, (sb_cstr){text, strlen(text)});
    free(text);
    json_decref(object);
    return rc;
}

int
sb_request_exit_error(sb_request_t *r, int status, const char *message)
{
    if (!in_phases(r, BEFORE_SERVICE))
        return SB_ERROR_PHASE;
    sb_exit_error(r, status, (sb_str_t){message, message != NULL ? strlen(message) : 0});
    return SB_OK;
}
