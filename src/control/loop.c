/*
 * The bridge between nginx's event loop and other threads; see loop.h.
 *
 * Structures: one FIFO list of tasks behind a mutex, and an eventfd that nginx polls like any connection. A poster adds its task and, if
 * the list was empty, writes the eventfd; the read handler takes the whole list and runs it. sb_loop_call() is a task on the
 * caller's stack with a condition variable.
 *
 * Lifetime: `bridge` lives from worker init to worker exit. At exit the loop no longer turns, but the store thread must still be able to
 * finish its queue, whose jobs may call back (Lua validators run on the loop): sb_loop_finish() polls the eventfd by hand meanwhile.
 *
 * The eventfd's connection is marked idle, so that nginx, when it begins a graceful exit, calls its handler with `close` set; this is
 * how we learn of it. Start reading at sb_loop_post().
 */
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "control/loop.h"

struct call {
    sb_loop_task_t task;
    void (*fn)(void *);
    void *arg;
    bool done;
    pthread_mutex_t lock;
    pthread_cond_t cond;
};

struct finish {
    void (*fn)(void *);
    void *arg;
    sb_loop_task_t task;
    bool done;
};

static struct {
    pthread_mutex_t lock;
    pthread_t thread;
    sb_loop_task_t *head, **tail;
    ngx_connection_t *conn;
    int fd;
    bool running;
    void (*on_exiting)(void);
} bridge = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static void
wake(void)
{
    uint64_t one = 1;

    /* The counter cannot overflow: it is written once per drained list. EINTR cannot lose it either. */
    while (write(bridge.fd, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
}

static void
drain(void)
{
    sb_loop_task_t *task, *next;
    uint64_t count;

    while (read(bridge.fd, &count, sizeof(count)) < 0 && errno == EINTR)
        continue;
    pthread_mutex_lock(&bridge.lock);
    task = bridge.head;
    bridge.head = NULL;
    bridge.tail = &bridge.head;
    pthread_mutex_unlock(&bridge.lock);
    for (; task != NULL; task = next) {
        next = task->next;
        task->run(task);
    }
}

static void
on_event(ngx_event_t *ev)
{
    ngx_connection_t *c = ev->data;

    if (c->close) {
        c->close = 0;
        c->idle = 0;
        if (bridge.on_exiting != NULL)
            bridge.on_exiting();
    }
    drain();
}

static int
fail(const char *what, sb_err_t *err)
{
    int e = errno;

    sb_loop_stop();
    return sb_err_set(err, SB_E_DATABASE, "event loop bridge: %s: %s", what, strerror(e));
}

int
sb_loop_start(ngx_cycle_t *cycle, void (*on_exiting)(void), sb_err_t *err)
{
    SB_ASSERT(!bridge.running);
    bridge.thread = pthread_self();
    bridge.head = NULL;
    bridge.tail = &bridge.head;
    bridge.on_exiting = on_exiting;
    bridge.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (bridge.fd < 0)
        return fail("eventfd", err);
    bridge.conn = ngx_get_connection(bridge.fd, cycle->log);
    if (bridge.conn == NULL)
        return fail("no free connection", err);
    bridge.conn->log = cycle->log;
    bridge.conn->read->log = cycle->log;
    bridge.conn->read->handler = on_event;
    bridge.conn->idle = 1;
    if (ngx_add_event(bridge.conn->read, NGX_READ_EVENT, 0) != NGX_OK)
        return fail("add event", err);
    pthread_mutex_lock(&bridge.lock);
    bridge.running = true;
    pthread_mutex_unlock(&bridge.lock);
    return SB_OK;
}

/* False when the loop is not running; the task is then not queued. */
static bool
enqueue(sb_loop_task_t *task)
{
    bool running, first = false;

    task->next = NULL;
    pthread_mutex_lock(&bridge.lock);
    running = bridge.running;
    if (running) {
        first = bridge.head == NULL;
        *bridge.tail = task;
        bridge.tail = &task->next;
        if (first)
            wake();
    }
    pthread_mutex_unlock(&bridge.lock);
    return running;
}

void
sb_loop_post(sb_loop_task_t *task)
{
    SB_ASSERT(enqueue(task));
}

static void
run_call(sb_loop_task_t *task)
{
    struct call *c = (struct call *)task; /* its first member */

    c->fn(c->arg);
    pthread_mutex_lock(&c->lock);
    c->done = true;
    pthread_cond_signal(&c->cond);
    pthread_mutex_unlock(&c->lock);
}

int
sb_loop_call(void (*fn)(void *arg), void *arg)
{
    struct call c = {.task.run = run_call, .fn = fn, .arg = arg};

    if (bridge.running && pthread_equal(pthread_self(), bridge.thread)) {
        fn(arg);
        return SB_OK;
    }
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.cond, NULL);
    if (enqueue(&c.task)) {
        pthread_mutex_lock(&c.lock);
        while (!c.done)
            pthread_cond_wait(&c.cond, &c.lock);
        pthread_mutex_unlock(&c.lock);
    }
    pthread_cond_destroy(&c.cond);
    pthread_mutex_destroy(&c.lock);
    return c.done ? SB_OK : SB_ERROR;
}

static void
mark_finished(sb_loop_task_t *task)
{
    struct finish *f = (struct finish *)((char *)task - offsetof(struct finish, task));
    f->done = true;
}

static void *
run_finish(void *arg)
{
    struct finish *f = arg;

    f->fn(f->arg);
    sb_loop_post(&f->task);
    return NULL;
}

void
sb_loop_finish(void (*fn)(void *arg), void *arg)
{
    struct finish f = {.fn = fn, .arg = arg, .task.run = mark_finished};
    struct pollfd p = {.fd = bridge.fd, .events = POLLIN};
    pthread_t helper;

    if (!bridge.running || pthread_create(&helper, NULL, run_finish, &f) != 0) {
        fn(arg);
        return;
    }
    while (!f.done) {
        if (poll(&p, 1, -1) > 0)
            drain();
    }
    pthread_join(helper, NULL);
}

void
sb_loop_stop(void)
{
    pthread_mutex_lock(&bridge.lock);
    bridge.running = false;
    pthread_mutex_unlock(&bridge.lock);
    if (bridge.head != NULL)
        drain();
    if (bridge.conn != NULL) {
        ngx_close_connection(bridge.conn); /* closes the eventfd too */
        bridge.conn = NULL;
        bridge.fd = -1;
    }
    if (bridge.fd != -1) {
        close(bridge.fd);
        bridge.fd = -1;
    }
}
