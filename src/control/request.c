/*
 * An Admin request: from nginx to the store thread and back.
 *
 * Life of a `struct exchange`: made when the body is complete, with copies of all it needs, because the client may go away (and nginx
 * frees the request) while the store thread works; given to sb_node_submit(); handed back by on_done(), which posts it to the event
 * loop; answered and freed in finish(), unless the endpoint asks for what a proxy worker knows: then it runs once more with the answer. A
 * request that nginx frees earlier only clears exchange.r: a write that has begun is never half done because a client hung up.
 *
 * Start reading at sb_admin_content_handler().
 */
#include "control/control.h"

#include "core/base/buf.h"
#include "core/base/log.h"
#include "http/admin_http.h"

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
    json_t *told;  /* what req.told is */
    bool committed, ran;
};

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
    json_decref(x->told);
    free(x);
    sb_node_release();
}

/* A worker has answered what the endpoint wanted to know (NULL: none did): the endpoint runs once more. */
static void
on_told(void *arg, const json_t *answer)
{
    struct exchange *x = arg;

    x->told = answer != NULL ? json_deep_copy(answer) : json_object();
    x->req.told = x->told;
    x->ran = x->committed = false;
    sb_node_submit(&x->job);
}

static void
finish(sb_loop_task_t *task)
{
    struct exchange *x = (struct exchange *)((char *)task - offsetof(struct exchange, task));
    ngx_http_request_t *r = x->r;
    ngx_connection_t *c;
    json_t *ask = x->res.ask;

    if (ask != NULL) {
        x->res.ask = NULL;
        sb_hub_ask(ask, on_told, x);
        return;
    }
    if (!x->ran)
        sb_admin_http_error(sb_node_settings(), x->req.origin, 503, &x->res);
    else if (!x->committed && x->res.status < 400)
        sb_admin_http_error(sb_node_settings(), x->req.origin, 500, &x->res);
    if (r != NULL) {
        c = r->connection;
        ngx_http_set_log_request(c->log, r);
        x->r = NULL;
        ngx_http_finalize_request(r, sb_admin_http_send(r, sb_node_settings(), &x->res));
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

    if (x->ran)
        sb_admin_response_free(&x->res);
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
    if (!sb_admin_http_copy(r, &x->copy, &x->req)) {
        x->ran = true;
        sb_admin_http_error(sb_node_settings(), (sb_str_t){0}, 500, &x->res);
        finish(&x->task);
        return;
    }
    x->job.writes = sb_admin_is_write(&x->req);
    if (sb_node_state() == SB_NODE_OPENING)
        ngx_add_timer(&x->timer, OPENING_WAIT_MS);
    sb_node_submit(&x->job);
}

ngx_int_t
sb_admin_content_handler(ngx_http_request_t *r)
{
    ngx_int_t rc;

    if (r->err_status >= NGX_HTTP_BAD_REQUEST)
        return sb_admin_http_refusal(r, sb_node_settings());
    rc = ngx_http_read_client_request_body(r, on_body);
    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}
