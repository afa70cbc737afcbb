/*
 * The hub: proxy workers connect to <prefix>/sockets/events.sock and are told, one line {"seq":n} per burst of commits and at most one in
 * TELL_MS, that the read model has moved; an idle worker has nothing else to wake it. The same connection carries a worker's requests
 * ({"id":n,"call":…}) and their answers, and our questions to a worker ({"ask":n,…}, answered by {"answer":n,…}).
 *
 * Structures: `hub` with the listening connection and a list of peers, each with an input buffer (a partial line) and an output
 * buffer (what the socket did not take). A peer that sends rubbish, or does not read for 16 MiB, is dropped; it reconnects.
 *
 * All on the event loop, but for sb_hub_announce(), which only sets a number and posts one task. Start at on_accept().
 */
#include "control/control.h"

#include "core/base/buf.h"
#include "core/base/json.h"
#include "core/base/log.h"

#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/un.h>

#define MAX_LINE   (8u << 20)
#define MAX_QUEUED (16u << 20)
#define ANSWER_MS  5000
#define TELL_MS    5 /* between two announcements: they wake idle workers, and busy ones look for themselves */

/* A question that a worker has not answered yet. */
struct question {
    ngx_queue_t link;
    uint64_t id, peer;
    void (*done)(void *arg, const json_t *answer);
    void *arg;
    ngx_event_t timer;
    ngx_connection_t dummy; /* what the timer logs through */
};

struct peer {
    ngx_queue_t link;
    uint64_t id;
    ngx_connection_t *conn;
    sb_buf_t in, out;
    size_t sent; /* of out */
};

static struct {
    ngx_connection_t *listener;
    ngx_queue_t peers, questions;
    uint64_t next_id, next_question;
    sb_hub_call_pt call;
    sb_loop_task_t task;
    atomic_bool posted; /* an announcement is on its way */
    atomic_ullong seq;
    ngx_msec_t told; /* when it last was */
    ngx_event_t timer;
    ngx_connection_t dummy; /* what the timer logs through */
} hub;

static void
question_end(struct question *q, const json_t *answer)
{
    ngx_queue_remove(&q->link);
    if (q->timer.timer_set)
        ngx_del_timer(&q->timer);
    q->done(q->arg, answer);
    free(q);
}

static void
on_question_timer(ngx_event_t *ev)
{
    question_end(((ngx_connection_t *)ev->data)->data, NULL);
}

/* Those with this id, or asked of this peer; 0: not looked at. */
static void
questions_end(uint64_t id, uint64_t peer, const json_t *answer)
{
    ngx_queue_t *q, *next;

    for (q = ngx_queue_head(&hub.questions); q != ngx_queue_sentinel(&hub.questions); q = next) {
        struct question *one = ngx_queue_data(q, struct question, link);

        next = ngx_queue_next(q);
        if ((id != 0 && one->id == id) || (peer != 0 && id == 0 && one->peer == peer))
            question_end(one, answer);
    }
}

static void
peer_drop(struct peer *p)
{
    ngx_queue_remove(&p->link);
    questions_end(0, p->id, NULL);
    ngx_close_connection(p->conn);
    sb_buf_free(&p->in);
    sb_buf_free(&p->out);
    free(p);
}

static struct peer *
peer_find(uint64_t id)
{
    for (ngx_queue_t *q = ngx_queue_head(&hub.peers); q != ngx_queue_sentinel(&hub.peers); q = ngx_queue_next(q)) {
        struct peer *p = ngx_queue_data(q, struct peer, link);
        if (p->id == id)
            return p;
    }
    return NULL;
}

/* False when the peer is gone. */
static bool
peer_flush(struct peer *p)
{
    while (p->sent < p->out.len) {
        ssize_t n = send(p->conn->fd, p->out.data + p->sent, p->out.len - p->sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            p->conn->write->ready = 0;
            return ngx_handle_write_event(p->conn->write, 0) == NGX_OK;
        }
        if (n < 0)
            return false;
        p->sent += (size_t)n;
    }
    sb_buf_reset(&p->out);
    p->sent = 0;
    return true;
}

static void
peer_send(struct peer *p, const char *line)
{
    sb_buf_adds(&p->out, line);
    sb_buf_addc(&p->out, '\n');
    if (p->out.len > MAX_QUEUED || !peer_flush(p))
        peer_drop(p);
}

/* False when the line is not of the protocol. */
static bool
peer_line(struct peer *p, const char *line, size_t len)
{
    json_t *request = sb_json_parse(line, len, NULL), *answer = NULL;
    char *text = NULL;
    bool ok = json_is_object(request);
    uint64_t answered = (uint64_t)sb_json_int(request, "answer", 0);

    if (ok && answered != 0)
        questions_end(answered, 0, request);
    else if (ok && json_object_get(request, "call") != NULL && hub.call != NULL)
        answer = hub.call(p->id, request);
    json_decref(request);
    if (answer != NULL) {
        text = sb_json_dump(answer);
        json_decref(answer);
        sb_buf_adds(&p->out, text);
        sb_buf_addc(&p->out, '\n');
        free(text);
    }
    return ok;
}

/* Handles the complete lines that have come; false: drop the peer. */
static bool
peer_lines(struct peer *p)
{
    size_t from = 0;
    char *nl;

    while ((nl = memchr(p->in.data + from, '\n', p->in.len - from)) != NULL) {
        size_t end = (size_t)(nl - p->in.data);
        if (!peer_line(p, p->in.data + from, end - from))
            return false;
        from = end + 1;
    }
    if (from != 0) {
        memmove(p->in.data, p->in.data + from, p->in.len - from);
        p->in.len -= from;
    }
    return p->in.len <= MAX_LINE && p->out.len <= MAX_QUEUED && peer_flush(p);
}

static void
on_peer_read(ngx_event_t *ev)
{
    ngx_connection_t *c = ev->data;
    struct peer *p = c->data;
    char chunk[16384];
    ssize_t n;

    for (;;) {
        n = recv(c->fd, chunk, sizeof(chunk), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            ev->ready = 0;
            if (ngx_handle_read_event(ev, 0) != NGX_OK)
                peer_drop(p);
            return;
        }
        if (n <= 0)
            break;
        sb_buf_add(&p->in, chunk, (size_t)n);
        if (!peer_lines(p))
            break;
    }
    peer_drop(p);
}

static void
on_peer_write(ngx_event_t *ev)
{
    ngx_connection_t *c = ev->data;
    struct peer *p = c->data;

    if (!peer_flush(p))
        peer_drop(p);
}

static void
peer_add(int fd, ngx_log_t *log)
{
    ngx_connection_t *c = ngx_get_connection(fd, log);
    struct peer *p;

    if (c == NULL) {
        close(fd);
        return;
    }
    p = sb_calloc(sizeof(*p));
    p->id = ++hub.next_id;
    p->conn = c;
    c->data = p;
    c->log = log;
    c->read->log = c->write->log = log;
    c->read->handler = on_peer_read;
    c->write->handler = on_peer_write;
    c->write->ready = 1;
    ngx_queue_insert_tail(&hub.peers, &p->link);
    if (ngx_handle_read_event(c->read, 0) != NGX_OK)
        peer_drop(p);
}

static void
on_accept(ngx_event_t *ev)
{
    ngx_connection_t *listener = ev->data;
    int fd;

    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0 || errno == EINTR) {
        if (fd >= 0)
            peer_add(fd, listener->log);
    }
}

static void
tell(ngx_event_t *ev)
{
    ngx_queue_t *q, *next;
    char line[48];

    (void)ev;
    atomic_store(&hub.posted, false);
    if (hub.listener == NULL)
        return;
    hub.told = ngx_current_msec;
    snprintf(line, sizeof(line), "{\"seq\":%llu}", (unsigned long long)atomic_load(&hub.seq));
    for (q = ngx_queue_head(&hub.peers); q != ngx_queue_sentinel(&hub.peers); q = next) {
        next = ngx_queue_next(q);
        peer_send(ngx_queue_data(q, struct peer, link), line);
    }
}

static void
announce(sb_loop_task_t *task)
{
    ngx_msec_t since = ngx_current_msec - hub.told;

    (void)task;
    if (hub.listener == NULL || since >= TELL_MS) {
        tell(NULL);
        return;
    }
    hub.dummy.fd = (ngx_socket_t)-1;
    hub.timer.handler = tell;
    hub.timer.data = &hub.dummy;
    hub.timer.log = ngx_cycle->log;
    hub.timer.cancelable = 1;
    ngx_add_timer(&hub.timer, TELL_MS - since);
}

void
sb_hub_announce(uint64_t seq)
{
    atomic_store(&hub.seq, seq);
    if (!atomic_exchange(&hub.posted, true)) {
        hub.task.run = announce;
        sb_loop_post(&hub.task);
    }
}

void
sb_hub_answer(uint64_t peer, json_t *answer)
{
    struct peer *p = hub.listener != NULL ? peer_find(peer) : NULL;
    char *text;

    if (p != NULL) {
        text = sb_json_dump(answer);
        peer_send(p, text);
        free(text);
    }
    json_decref(answer);
}

void
sb_hub_ask(json_t *question, void (*done)(void *arg, const json_t *answer), void *arg)
{
    /* The newest: an older one may be on its way out. */
    bool any = hub.listener != NULL && !ngx_queue_empty(&hub.peers);
    struct peer *p = any ? ngx_queue_data(ngx_queue_last(&hub.peers), struct peer, link) : NULL;
    struct question *q;

    if (p == NULL) {
        json_decref(question);
        done(arg, NULL);
        return;
    }
    q = sb_calloc(sizeof(*q));
    q->id = ++hub.next_question;
    q->peer = p->id;
    q->done = done;
    q->arg = arg;
    q->dummy.fd = (ngx_socket_t)-1;
    q->dummy.data = q;
    q->timer = (ngx_event_t){.handler = on_question_timer, .data = &q->dummy, .log = ngx_cycle->log};
    ngx_queue_insert_tail(&hub.questions, &q->link);
    ngx_add_timer(&q->timer, ANSWER_MS);
    json_object_set_new(question, "ask", json_integer((json_int_t)q->id));
    sb_hub_answer(p->id, question);
}

void
sb_hub_set_call(sb_hub_call_pt fn)
{
    hub.call = fn;
}

/* A listening unix socket, only for our own user, in place of whatever a former worker left at that path; -1 with errno. */
static int
listen_at(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd, e;

    if (strlen(path) >= sizeof(sa.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(sa.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    unlink(path);
    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && chmod(path, 0600) == 0 && listen(fd, 256) == 0)
        return fd;
    e = errno;
    close(fd);
    errno = e;
    return -1;
}

int
sb_hub_start(ngx_cycle_t *cycle, const char *prefix, sb_err_t *err)
{
    char *path = sb_asprintf("%s/sockets/events.sock", prefix);
    int fd = listen_at(path), rc = SB_OK;
    ngx_connection_t *c = NULL;

    ngx_queue_init(&hub.peers);
    ngx_queue_init(&hub.questions);
    if (fd < 0) {
        rc = sb_err_set(err, SB_E_DATABASE, "%s: %s", path, strerror(errno));
        goto out;
    }
    c = ngx_get_connection(fd, cycle->log);
    if (c == NULL) {
        close(fd);
        rc = sb_err_set(err, SB_E_DATABASE, "%s: no free connection", path);
        goto out;
    }
    c->log = c->read->log = cycle->log;
    c->read->handler = on_accept;
    hub.listener = c;
    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        sb_hub_stop();
        rc = sb_err_set(err, SB_E_DATABASE, "%s: cannot poll it", path);
    }
out:
    free(path);
    return rc;
}

void
sb_hub_stop(void)
{
    if (hub.listener == NULL)
        return;
    while (!ngx_queue_empty(&hub.peers))
        peer_drop(ngx_queue_data(ngx_queue_head(&hub.peers), struct peer, link));
    if (hub.timer.timer_set)
        ngx_del_timer(&hub.timer);
    ngx_close_connection(hub.listener);
    hub.listener = NULL;
}
