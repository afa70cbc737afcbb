/*
 * What a control worker owns: the record, the read model, the store thread, the Admin functions; and in which order they come and go.
 *
 * Start: the worker's init only sets the scene and starts the opener thread, which waits for the writer role (during a reload the old
 * worker still has it), opens the record and brings the read model in step; the event loop turns meanwhile and Admin requests wait in
 * node.waiting. When all is open, on_opened() runs on the loop: the store thread starts, takes what waits, the hub listens, and the
 * supervisor is told that control is ready.
 *
 * End: on a graceful exit the role is handed on as soon as no client is connected that could still send a request, at the latest
 * HAND_OVER_MS after the exit began, so that a slow client of the old worker does not hold up the new one. Requests that come later
 * get 503. While requests are held a timer keeps nginx from exiting, which only looks at timers.
 *
 * Threads: everything on the event loop except open_node() and below it.
 */
#include "control/control.h"

#include "core/base/log.h"
#include "silverback/plugin.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/un.h>

#define HAND_OVER_MS      5000
#define HAND_OVER_LOOK_MS 5
#define HOLD_MS           60000
#define RETRY_NS          20000000L
#define ROLE_WAIT_S       30

static struct {
    ngx_cycle_t *cycle;
    const char *prefix;
    const sb_settings_t *settings;
    enum sb_node_state state;
    /* The opener thread and what it brings. */
    pthread_t opener;
    bool opener_running;
    atomic_bool stop_opening;
    sb_loop_task_t opened;
    sb_err_t open_err;
    sb_store_t *store;
    /* Open. */
    sb_runtime_t *rt;
    sb_model_writer_t *model;
    sb_store_thread_t *thread;
    sb_admin_t *admin;
    /* Jobs that wait for SB_NODE_READY. */
    sb_job_t *waiting, **waiting_tail;
    unsigned held;
    ngx_msec_t exit_began;
    ngx_event_t hold_timer, hand_over_timer;
    ngx_connection_t dummy; /* what timers log through */
} node;

static char *
path_of(const char *name)
{
    return sb_asprintf("%s/%s", node.prefix, name);
}

/* ---------- plugins ---------- */

static void
register_native_plugins(void)
{
    static bool done;
    size_t n;
    const char *const *enabled = sb_settings_list(node.settings, "plugins", &n);

    if (done)
        return;
    done = true;
    for (const struct sb_plugin *const *p = sb_bundled_plugins; *p != NULL; p++) {
        sb_plugin_schema_t *ps;
        bool on = false;

        for (size_t i = 0; i < n; i++)
            on = on || strcmp(enabled[i], "bundled") == 0 || strcmp(enabled[i], (*p)->name) == 0;
        if (!on)
            continue;
        ps = sb_calloc(sizeof(*ps));
        *ps = (sb_plugin_schema_t){(*p)->name, sb_schema_from_table((*p)->schema), *p, (*p)->priority, (*p)->version};
        sb_plugin_schemas_add(ps);
    }
}

/* ---------- opening, on its own thread ---------- */

static void
on_commit(void *arg)
{
    sb_hub_announce(__atomic_load_n(&((sb_runtime_t *)arg)->event_seq, __ATOMIC_ACQUIRE));
}

static int
open_store(sb_err_t *err)
{
    char *path = path_of("store/silverback.db");
    sb_store_config_t cfg = {.path = path, .hooks = sb_control_hooks(node.settings)};
    struct timespec pause = {0, RETRY_NS};
    time_t deadline = time(NULL) + ROLE_WAIT_S;
    int rc;

    /* A former worker may hold the writer role a little longer. */
    while ((rc = sb_store_open(&sb_store_sqlite, &cfg, &node.store, err)) == SB_DECLINED && !atomic_load(&node.stop_opening) &&
           time(NULL) < deadline)
        nanosleep(&pause, NULL);
    free(path);
    return rc;
}

static int
open_model(sb_err_t *err)
{
    char *state = path_of("run/state"), *dir = path_of("run/model");
    sb_model_state_t found;
    int rc = sb_runtime_map(state, true, &node.rt, err);

    if (rc == SB_OK)
        rc = sb_model_writer_open(dir, sb_store_id(node.store), node.rt, &node.model, &found, err);
    if (rc == SB_OK) {
        sb_store_attach_model(node.store, node.model, &found);
        sb_model_on_commit(node.model, on_commit, node.rt);
        rc = sb_store_sync_model(node.store, err);
    }
    free(state);
    free(dir);
    return rc;
}

static void *
open_node(void *arg)
{
    (void)arg;
    if (open_store(&node.open_err) == SB_OK && open_model(&node.open_err) == SB_OK)
        sb_err_clear(&node.open_err);
    sb_loop_post(&node.opened);
    return NULL;
}

/* ---------- back on the event loop ---------- */

static void
close_store(void *arg)
{
    (void)arg;
    if (node.thread != NULL)
        sb_store_thread_stop(node.thread); /* closes the store */
    else if (node.store != NULL)
        sb_store_close(node.store);
    node.thread = NULL;
    node.store = NULL;
    sb_model_writer_close(node.model);
    node.model = NULL;
}

static void
refuse_waiting(void)
{
    sb_job_t *job, *next;

    for (job = node.waiting; job != NULL; job = next) {
        next = job->next;
        job->done(job, false);
    }
    node.waiting = NULL;
    node.waiting_tail = &node.waiting;
}

/* Gives the writer role up; afterwards this worker only refuses. */
static void
close_node(void)
{
    if (node.state == SB_NODE_CLOSED)
        return;
    node.state = SB_NODE_CLOSED;
    sb_health_checks_stop();
    if (node.hand_over_timer.timer_set)
        ngx_del_timer(&node.hand_over_timer);
    if (node.opener_running) {
        atomic_store(&node.stop_opening, true);
        pthread_join(node.opener, NULL);
        node.opener_running = false;
    }
    sb_hub_stop();
    sb_loop_finish(close_store, NULL);
    refuse_waiting();
    if (node.rt != NULL)
        sb_runtime_unmap(node.rt);
    node.rt = NULL;
}

static void
submit_waiting(void)
{
    sb_job_t *job, *next;

    for (job = node.waiting; job != NULL; job = next) {
        next = job->next;
        sb_store_thread_submit(node.thread, job);
    }
    node.waiting = NULL;
    node.waiting_tail = &node.waiting;
}

/* One datagram "control <pid>" to the supervisor; it may be gone or not there (tests): then nobody waits for it. */
static void
tell_ready(void)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    char text[32];
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/sockets/ready.sock", node.prefix);
    int len = snprintf(text, sizeof(text), "control %d", (int)ngx_pid);

    if (fd >= 0 && n > 0 && (size_t)n < sizeof(sa.sun_path) &&
        sendto(fd, text, (size_t)len, MSG_NOSIGNAL, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        sb_log(SB_LOG_INFO, "%s: %s", sa.sun_path, strerror(errno));
    if (fd >= 0)
        close(fd);
}

/* A worker without its record is of no use, and nor is a master without a worker: both end, and the supervisor sees it. */
static void
give_up(const char *message)
{
    sb_log(SB_LOG_EMERG, "control cannot start: %s", message);
    close_node();
    kill(ngx_parent, SIGQUIT);
    exit(2); /* nginx does not respawn a worker that ends with 2 */
}

static void
on_opened(sb_loop_task_t *task)
{
    sb_admin_host_t host = {0};
    sb_err_t err = {0};

    (void)task;
    if (node.state == SB_NODE_CLOSED)
        return;
    pthread_join(node.opener, NULL);
    node.opener_running = false;
    if (node.open_err.message != NULL)
        give_up(node.open_err.message);
    sb_control_admin_host(&host, node.settings, node.rt);
    node.admin = sb_admin_new(&host);
    if (sb_hub_start(node.cycle, node.prefix, &err) != SB_OK || sb_store_thread_start(node.store, &node.thread, &err) != SB_OK)
        give_up(err.message);
    node.store = NULL;
    node.state = SB_NODE_READY;
    submit_waiting();
    sb_health_checks_start(node.settings, node.rt);
    sb_log(SB_LOG_NOTICE, "control is ready");
    tell_ready();
}

static void
on_hold_timer(ngx_event_t *ev)
{
    if (node.held != 0)
        ngx_add_timer(ev, HOLD_MS);
}

/* Connections that clients have open; those without a request were closed when the exit began. */
static bool
clients_left(void)
{
    const ngx_connection_t *c = node.cycle->connections;

    for (ngx_uint_t i = 0; i < node.cycle->connection_n; i++) {
        if (c[i].fd != (ngx_socket_t)-1 && c[i].listening != NULL && !c[i].read->accept)
            return true;
    }
    return false;
}

static void
on_hand_over_timer(ngx_event_t *ev)
{
    if (node.state != SB_NODE_CLOSED && (node.held != 0 || clients_left()) && ngx_current_msec - node.exit_began < HAND_OVER_MS)
        ngx_add_timer(ev, HAND_OVER_LOOK_MS);
    else
        close_node();
}

static void
on_exiting(void)
{
    sb_health_checks_stop();
    node.exit_began = ngx_current_msec;
    ngx_add_timer(&node.hand_over_timer, 1);
}

static void
timer_init(ngx_event_t *ev, void (*handler)(ngx_event_t *))
{
    *ev = (ngx_event_t){.handler = handler, .data = &node.dummy, .log = node.cycle->log};
}

int
sb_node_start(ngx_cycle_t *cycle, const char *prefix, const sb_settings_t *settings, sb_err_t *err)
{
    node.cycle = cycle;
    node.prefix = prefix;
    node.settings = settings;
    node.state = SB_NODE_OPENING;
    node.waiting_tail = &node.waiting;
    node.dummy.fd = (ngx_socket_t)-1;
    node.opened.run = on_opened;
    timer_init(&node.hold_timer, on_hold_timer);
    timer_init(&node.hand_over_timer, on_hand_over_timer);
    register_native_plugins();
    if (sb_loop_start(cycle, on_exiting, err) != SB_OK)
        return SB_ERROR;
    if (pthread_create(&node.opener, NULL, open_node, NULL) != 0)
        return sb_err_set(err, SB_E_DATABASE, "cannot start a thread");
    node.opener_running = true;
    return SB_OK;
}

enum sb_node_state
sb_node_state(void)
{
    return node.state;
}

sb_admin_t *
sb_node_admin(void)
{
    return node.admin;
}

const sb_settings_t *
sb_node_settings(void)
{
    return node.settings;
}

void
sb_node_submit(sb_job_t *job)
{
    job->next = NULL;
    if (node.state == SB_NODE_READY) {
        sb_store_thread_submit(node.thread, job);
        return;
    }
    if (node.state == SB_NODE_CLOSED) {
        job->done(job, false);
        return;
    }
    *node.waiting_tail = job;
    node.waiting_tail = &job->next;
}

bool
sb_node_cancel(sb_job_t *job)
{
    for (sb_job_t **p = &node.waiting; *p != NULL; p = &(*p)->next) {
        if (*p != job)
            continue;
        *p = job->next;
        if (node.waiting_tail == &job->next)
            node.waiting_tail = p;
        return true;
    }
    return false;
}

void
sb_node_hold(void)
{
    if (node.held++ == 0)
        ngx_add_timer(&node.hold_timer, HOLD_MS);
}

void
sb_node_release(void)
{
    if (--node.held == 0)
        ngx_del_timer(&node.hold_timer);
}

void
sb_node_stop(void)
{
    close_node();
    sb_loop_stop();
    sb_admin_free(node.admin);
    node.admin = NULL;
}
