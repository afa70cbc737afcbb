/*
 * The line to control: a stream socket in the prefix over which control wakes idle workers ({"seq":n} after each commit) and answers
 * requests ({"id":n, …}). One JSON object a line, both ways. When it breaks, it is made again for ever, with growing pauses; the
 * worker serves meanwhile what it has, and requests notice new commits by themselves (worker.c).
 */
#include "proxy/proxy_int.h"

#include <sys/socket.h>
#include <sys/un.h>

#define PAUSE_MIN      50u
#define PAUSE_MAX      2000u
#define LINE_MAX_BYTES (64u * 1024 * 1024)

struct call {
    struct call *next;
    uint64_t id;
    void (*done)(void *arg, const json_t *answer);
    void *arg;
};

static struct {
    ngx_connection_t *c; /* NULL: not connected */
    ngx_event_t retry;
    ngx_msec_t pause;
    sb_buf_t in, out;
    struct call *calls;
    uint64_t last_id;
    bool stopped;
} line;

static void connect_now(void);

/* ---- breaking ---- */

static void
fail_calls(void)
{
    struct call *calls = line.calls, *next;

    line.calls = NULL;
    for (; calls != NULL; calls = next) {
        next = calls->next;
        calls->done(calls->arg, NULL);
        free(calls);
    }
}

static void
try_later(void)
{
    if (line.stopped || ngx_exiting || ngx_terminate)
        return;
    ngx_add_timer(&line.retry, line.pause);
    line.pause = ngx_min(line.pause * 2, PAUSE_MAX);
}

static void
hang_up(void)
{
    if (line.c != NULL)
        ngx_close_connection(line.c);
    line.c = NULL;
    sb_buf_reset(&line.in);
    sb_buf_reset(&line.out);
    fail_calls();
}

static void
broken(void)
{
    hang_up();
    try_later();
}

/* ---- reading ---- */

static void
answer(uint64_t id, const json_t *message)
{
    for (struct call **at = &line.calls; *at != NULL; at = &(*at)->next) {
        struct call *call = *at;
        if (call->id != id)
            continue;
        *at = call->next;
        call->done(call->arg, message);
        free(call);
        return;
    }
}

static void
wake_up(void)
{
    sb_worker_catch_up();
    sb_worker_follow_log_level();
}

static void
take_line(const char *text, size_t len)
{
    json_t *message = sb_json_parse(text, len, NULL);

    uint64_t id = (uint64_t)sb_json_int(message, "id", 0), asked = (uint64_t)sb_json_int(message, "ask", 0);

    if (message == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "control sent a line that is not JSON");
        return;
    }
    if (id != 0)
        answer(id, message);
    else if (asked != 0)
        sb_asked(asked, message);
    else
        wake_up();
    json_decref(message);
}

/* Whole lines out of what has come in. */
static void
take_lines(void)
{
    sb_buf_t in = line.in;
    char *start = in.data, *end = in.data + in.len, *newline;

    line.in = (sb_buf_t){0}; /* callbacks may break the line */
    while (start < end && (newline = memchr(start, '\n', (size_t)(end - start))) != NULL) {
        take_line(start, (size_t)(newline - start));
        start = newline + 1;
    }
    if (start < end && line.c != NULL)
        sb_buf_add(&line.in, start, (size_t)(end - start));
    sb_buf_free(&in);
}

static void
on_read(ngx_event_t *ev)
{
    u_char block[16384];
    ssize_t n;

    while ((n = ngx_recv(line.c, block, sizeof(block))) > 0) {
        sb_buf_add(&line.in, block, (size_t)n);
        if (line.in.len > LINE_MAX_BYTES)
            break;
    }
    if (line.in.len != 0 && n == NGX_AGAIN)
        take_lines();
    if (line.c != NULL && (n != NGX_AGAIN || ngx_handle_read_event(line.c->read, 0) != NGX_OK))
        broken();
}

/* ---- writing ---- */

static void
flush_out(void)
{
    size_t sent = 0;

    while (sent < line.out.len) {
        ssize_t n = ngx_send(line.c, (u_char *)line.out.data + sent, line.out.len - sent);
        if (n <= 0 && n != NGX_AGAIN) {
            /* Found out again by reading, on the loop: callers of sb_rpc_call() must not be answered while they call. */
            ngx_post_event(line.c->read, &ngx_posted_events);
            return;
        }
        if (n == NGX_AGAIN)
            break;
        sent += (size_t)n;
    }
    memmove(line.out.data, line.out.data + sent, line.out.len - sent);
    line.out.len -= sent;
    if (ngx_handle_write_event(line.c->write, 0) != NGX_OK) {
        ngx_post_event(line.c->read, &ngx_posted_events);
    }
}

static void
on_write(ngx_event_t *ev)
{
    if (line.c != NULL && line.out.len != 0)
        flush_out();
}

/* ---- connecting ---- */

static int
open_socket(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd;

    if ((size_t)snprintf(to.sun_path, sizeof(to.sun_path), "%s/sockets/events.sock", sb_worker.prefix) >= sizeof(to.sun_path))
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void
connect_now(void)
{
    int fd = open_socket();
    ngx_connection_t *c = fd >= 0 ? ngx_get_connection(fd, ngx_cycle->log) : NULL;

    if (c == NULL) {
        if (fd >= 0)
            close(fd);
        try_later();
        return;
    }
    c->recv = ngx_recv;
    c->send = ngx_send;
    c->log = ngx_cycle->log;
    c->read->log = c->write->log = c->log;
    c->read->handler = on_read;
    c->write->handler = on_write;
    line.c = c;
    if ((ngx_add_conn != NULL ? ngx_add_conn(c) : ngx_handle_read_event(c->read, 0)) != NGX_OK) {
        broken();
        return;
    }
    line.pause = PAUSE_MIN;
    sb_buf_addf(&line.out, "{\"hello\":\"proxy\",\"pid\":%d}\n", (int)ngx_pid);
    flush_out();
    /* What has changed while there was no line. */
    wake_up();
}

static void
on_retry(ngx_event_t *ev)
{
    connect_now();
}

void
sb_events_start(ngx_cycle_t *cycle)
{
    static ngx_connection_t dummy = {.fd = -1}; /* debug logs print the descriptor of a timer's connection */

    line.pause = PAUSE_MIN;
    line.retry.handler = on_retry;
    line.retry.log = cycle->log;
    line.retry.data = &dummy;
    line.retry.cancelable = 1;
    ngx_add_timer(&line.retry, 0);
}

void
sb_events_stop(void)
{
    line.stopped = true;
    if (line.retry.timer_set)
        ngx_del_timer(&line.retry);
    hang_up();
    sb_buf_free(&line.in);
    sb_buf_free(&line.out);
}

/* ---- requests ---- */

void
sb_rpc_answer(uint64_t asked, json_t *message)
{
    char *text;

    json_object_set_new(message, "answer", json_integer((json_int_t)asked));
    text = sb_json_dump(message);
    json_decref(message);
    if (line.c != NULL) {
        sb_buf_adds(&line.out, text);
        sb_buf_addc(&line.out, '\n');
        flush_out();
    }
    free(text);
}

uint64_t
sb_rpc_call(const char *name, json_t *args, void (*done)(void *arg, const json_t *answer), void *arg)
{
    json_t *message = args != NULL ? args : json_object();
    struct call *call;
    char *text;
    uint64_t id;

    if (line.c == NULL) {
        json_decref(message);
        return 0;
    }
    id = ++line.last_id;
    json_object_set_new(message, "id", json_integer((json_int_t)id));
    json_object_set_new(message, "call", json_string(name));
    text = sb_json_dump(message);
    json_decref(message);
    call = sb_malloc(sizeof(*call));
    *call = (struct call){line.calls, id, done, arg};
    line.calls = call;
    sb_buf_adds(&line.out, text);
    sb_buf_addc(&line.out, '\n');
    free(text);
    flush_out();
    return id;
}

void
sb_rpc_cancel(uint64_t id)
{
    for (struct call **at = &line.calls; *at != NULL; at = &(*at)->next) {
        struct call *call = *at;
        if (call->id != id)
            continue;
        *at = call->next;
        free(call);
        return;
    }
}
