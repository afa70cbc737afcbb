/*
 * An Admin request: from nginx to the store thread and back.
 *
 * Life of a `struct exchange`: made when the body is complete, with copies of all it needs, because the client may go away (and nginx
 * frees the request) while the store thread works; given to sb_node_submit(); handed back by on_done(), which posts it to the event
 * loop; answered and freed in finish(). A request that nginx frees earlier only clears exchange.r: a write that has begun is
 * never half done because a client hung up.
 *
 * Start reading at sb_admin_content_handler().
 */
#include "control/control.h"

#include "core/base/buf.h"
#include "core/base/log.h"

#include <stdatomic.h>

#define OPENING_WAIT_MS 10000

struct exchange {
    sb_job_t job; /* first: the store thread hands it back */
    sb_loop_task_t task;
    ngx_http_request_t *r;  /* NULL: gone */
    struct exchange **back; /* the request's pointer to us; NULL: none any more */
    ngx_event_t timer;      /* while the record is being opened */
    ngx_connection_t dummy;
    sb_admin_request_t req;
    sb_admin_response_t res;
    sb_buf_t copy; /* what req points into */
    bool committed, ran;
};

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
header_enabled(const char *name, const char *group)
{
    size_t n;
    const char *const *list = sb_settings_list(sb_node_settings(), "headers", &n);

    if (n != 0 && ngx_strcasecmp((u_char *)list[0], (u_char *)"off") == 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (ngx_strcasecmp((u_char *)list[i], (u_char *)name) == 0 || ngx_strcasecmp((u_char *)list[i], (u_char *)group) == 0)
            return true;
    }
    return false;
}

static ngx_int_t
add_node_headers(ngx_http_request_t *r)
{
    ngx_time_t *now = ngx_timeofday();
    ngx_msec_int_t ms = (ngx_msec_int_t)((now->sec - r->start_sec) * 1000 + ((ngx_msec_int_t)now->msec - (ngx_msec_int_t)r->start_msec));
    u_char *text = ngx_pnalloc(r->pool, NGX_INT64_LEN + 1);

    if (text == NULL || add_header(r, "Server", "kong/" SB_KONG_VERSION, &r->headers_out.server) != NGX_OK)
        return NGX_ERROR;
    if (!header_enabled("server", "server_tokens"))
        r->headers_out.server->hash = 0; /* none, and not nginx's own either */
    if (!header_enabled("x-kong-admin-latency", "latency_tokens"))
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

/* Sends the response and takes its memory over; the result is for ngx_http_finalize_request(). */
static ngx_int_t
send_response(ngx_http_request_t *r, sb_admin_response_t *given)
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
            r->headers_out.content_type.len = r->headers_out.content_type_len = strlen(h->value);
        } else if (add_header(r, h->name, h->value, NULL) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    if (add_node_headers(r) != NGX_OK)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only)
        return rc;
    return send_body(r, res);
}

/* ---------- the way back ---------- */

static void
exchange_free(struct exchange *x)
{
    if (x->timer.timer_set)
        ngx_del_timer(&x->timer);
    if (x->back != NULL)
        *x->back = NULL; /* the request may live on: its answer is still being written */
    sb_admin_response_free(&x->res);
    sb_buf_free(&x->copy);
    free(x);
    sb_node_release();
}

static void
finish(sb_loop_task_t *task)
{
    struct exchange *x = (struct exchange *)((char *)task - offsetof(struct exchange, task));
    ngx_http_request_t *r = x->r;
    ngx_connection_t *c;

    if (!x->ran)
        sb_admin_http_error(503, &x->res);
    else if (!x->committed && x->res.status < 400)
        sb_admin_commit_failed(&x->res);
    if (r != NULL) {
        c = r->connection;
        ngx_http_set_log_request(c->log, r);
        x->r = NULL;
        ngx_http_finalize_request(r, send_response(r, &x->res));
        ngx_http_run_posted_requests(c);
    }
    exchange_free(x);
}

/* Store thread (or the loop, when the node closes). */
static void
on_done(sb_job_t *job, bool committed)
{
    struct exchange *x = (struct exchange *)job;

    x->committed = committed;
    sb_loop_post(&x->task);
}

/* Store thread. */
static int
on_run(sb_store_t *s, sb_job_t *job)
{
    struct exchange *x = (struct exchange *)job;

    x->ran = true;
    return sb_admin_handle(sb_node_admin(), s, &x->req, &x->res);
}

/* The record took too long to open: answer 503. */
static void
on_timeout(ngx_event_t *ev)
{
    struct exchange *x = ((ngx_connection_t *)ev->data)->data;

    if (sb_node_cancel(&x->job))
        finish(&x->task);
}

/* nginx frees the request before the answer is there. */
static void
on_gone(void *data)
{
    struct exchange *x = *(struct exchange **)data;

    if (x != NULL) {
        x->r = NULL;
        x->back = NULL;
    }
}

/* ---------- the way in ---------- */

static size_t
copy(struct exchange *x, const void *data, size_t len)
{
    size_t at = x->copy.len;

    sb_buf_add(&x->copy, data, len);
    return at;
}

static bool
copy_file_buf(struct exchange *x, const ngx_buf_t *b, ngx_log_t *log)
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
        copy(x, chunk, (size_t)n);
        at += n;
    }
    return true;
}

static bool
copy_body(struct exchange *x, ngx_http_request_t *r)
{
    for (ngx_chain_t *in = r->request_body != NULL ? r->request_body->bufs : NULL; in != NULL; in = in->next) {
        if (in->buf->in_file && !ngx_buf_in_memory(in->buf)) {
            if (!copy_file_buf(x, in->buf, r->connection->log))
                return false;
        } else {
            copy(x, in->buf->pos, (size_t)(in->buf->last - in->buf->pos));
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
static bool
copy_request(struct exchange *x, ngx_http_request_t *r)
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
    sb_str_t *dest[] = {&x->req.method, &x->req.path, &x->req.query, &x->req.content_type, &x->req.origin, &x->req.acrh};
    size_t at[6], body;

    for (size_t i = 0; i < 6; i++)
        at[i] = copy(x, piece[i].data, piece[i].len);
    body = x->copy.len;
    if (!copy_body(x, r))
        return false;
    for (size_t i = 0; i < 6; i++)
        *dest[i] = (sb_str_t){x->copy.data + at[i], piece[i].len};
    x->req.body = (sb_str_t){x->copy.data + body, x->copy.len - body};
    return true;
}

static struct exchange *
exchange_new(ngx_http_request_t *r)
{
    ngx_http_cleanup_t *cln = ngx_http_cleanup_add(r, sizeof(struct exchange *));
    struct exchange *x;

    if (cln == NULL)
        return NULL;
    x = sb_calloc(sizeof(*x));
    cln->handler = on_gone;
    x->r = r;
    x->back = cln->data;
    *x->back = x;
    x->task.run = finish;
    x->job.run = on_run;
    x->job.done = on_done;
    x->dummy.data = x;
    x->dummy.fd = (ngx_socket_t)-1;
    x->timer = (ngx_event_t){.handler = on_timeout, .data = &x->dummy, .log = ngx_cycle->log};
    return x;
}

static void
on_body(ngx_http_request_t *r)
{
    struct exchange *x = exchange_new(r);

    if (x == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }
    sb_node_hold();
    /* A client that closes its sending half still gets its answer. */
    r->read_event_handler = ngx_http_block_reading;
    if (!copy_request(x, r)) {
        x->ran = true;
        sb_admin_http_error(500, &x->res);
        finish(&x->task);
        return;
    }
    x->job.writes = sb_admin_is_write(&x->req);
    if (sb_node_state() == SB_NODE_OPENING)
        ngx_add_timer(&x->timer, OPENING_WAIT_MS);
    sb_node_submit(&x->job);
}

/* nginx itself refused the request (too large, malformed …) and error_page led here. */
static ngx_int_t
answer_refusal(ngx_http_request_t *r)
{
    sb_admin_response_t res = {0};
    int status = (int)r->err_status;
    ngx_int_t rc;

    /* nginx turns its 494 into 400 on the way; the path still tells. */
    if (status == 400 && r->uri.len > 4 && ngx_strncmp(r->uri.data + r->uri.len - 4, "/494", 4) == 0)
        status = 494;
    sb_admin_http_error(status, &res);
    rc = send_response(r, &res);
    sb_admin_response_free(&res);
    return rc;
}

ngx_int_t
sb_admin_content_handler(ngx_http_request_t *r)
{
    ngx_int_t rc;

    if (r->err_status >= NGX_HTTP_BAD_REQUEST)
        return answer_refusal(r);
    rc = ngx_http_read_client_request_body(r, on_body);
    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}
