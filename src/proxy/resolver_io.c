/*
 * c-ares in nginx's event loop. c-ares opens the sockets and tells by sock_state() which of them it wants to hear about; each
 * gets an ngx_connection_t, level-triggered because c-ares need not drain a TCP socket in one call. One timer follows
 * ares_timeout(). Nothing here knows of caches or waiters: a question goes in, done() comes out.
 *
 * Start reading at sb_resolver_io_ask().
 */
#include "proxy/resolver_int.h"

#include <ngx_event.h>
#include <stdlib.h>
#include <string.h>

/* The defaults of older c-ares keep a request waiting for more than a minute when the name server is dead; and those versions do not know
 * resolv.conf's words `timeout` and `attempts`, which are read here for them. */
#define OLD_TIMEOUT_MS 5000
#define OLD_TRIES      4
#define TIMEOUT_MS     2000
#define TRIES          3

#define RESOLV_CONF     "/etc/resolv.conf"
#define RESOLV_CONF_MAX (64u << 10)

#define CLASS_IN 1

static struct {
    ares_channel channel;
    ngx_event_t timer;
    ngx_connection_t timer_ident; /* what nginx's debug log shows of the timer: ev->data must look like a connection */
    ngx_queue_t sockets;          /* struct sock */
    ngx_log_t *log;
    bool open, closing;
} io;

struct sock {
    ngx_queue_t link;
    ngx_connection_t *c;
    ares_socket_t fd;
};

struct ask {
    sb_resolver_io_done_pt done;
    void *arg;
    int type;
};

static void
arm_timer(void)
{
    struct timeval tv, *t = ares_timeout(io.channel, NULL, &tv);
    ngx_msec_t ms;

    if (io.timer.timer_set)
        ngx_del_timer(&io.timer);
    if (t == NULL)
        return;
    ms = (ngx_msec_t)t->tv_sec * 1000 + (ngx_msec_t)t->tv_usec / 1000;
    ngx_add_timer(&io.timer, ms + 1);
}

static void
on_timer(ngx_event_t *ev)
{
    ares_process_fd(io.channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm_timer();
}

static void
on_readable(ngx_event_t *ev)
{
    ngx_connection_t *c = ev->data;

    ares_process_fd(io.channel, (ares_socket_t)c->fd, ARES_SOCKET_BAD);
    arm_timer();
}

static void
on_writable(ngx_event_t *ev)
{
    ngx_connection_t *c = ev->data;

    ares_process_fd(io.channel, ARES_SOCKET_BAD, (ares_socket_t)c->fd);
    arm_timer();
}

static struct sock *
sock_find(ares_socket_t fd)
{
    ngx_queue_t *q;

    for (q = ngx_queue_head(&io.sockets); q != ngx_queue_sentinel(&io.sockets); q = ngx_queue_next(q)) {
        struct sock *s = ngx_queue_data(q, struct sock, link);

        if (s->fd == fd)
            return s;
    }
    return NULL;
}

static struct sock *
sock_new(ares_socket_t fd)
{
    ngx_connection_t *c = ngx_get_connection(fd, io.log);
    struct sock *s;

    if (c == NULL)
        return NULL; /* out of connections: the question ends by its timeout */
    s = sb_calloc(sizeof(*s));
    s->fd = fd;
    s->c = c;
    c->read->handler = on_readable;
    c->write->handler = on_writable;
    c->read->log = c->write->log = io.log;
    c->read->resolver = 1; /* not a leaked connection when the worker ends */
    ngx_queue_insert_tail(&io.sockets, &s->link);
    return s;
}

static void
sock_free(struct sock *s)
{
    ngx_connection_t *c = s->c;

    /* c-ares closes the descriptor right after, but the kernel keeps it in epoll while a copy of it is open elsewhere. */
    if (c->read->active)
        ngx_del_event(c->read, NGX_READ_EVENT, 0);
    if (c->write->active)
        ngx_del_event(c->write, NGX_WRITE_EVENT, 0);
    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }
    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }
    ngx_free_connection(c);
    c->fd = (ngx_socket_t)-1;
    ngx_queue_remove(&s->link);
    free(s);
}

static void
want(ngx_event_t *ev, ngx_int_t event, bool on)
{
    if (on && !ev->active)
        ngx_add_event(ev, event, NGX_LEVEL_EVENT);
    else if (!on && ev->active)
        ngx_del_event(ev, event, 0);
}

static void
sock_state(void *data, ares_socket_t fd, int readable, int writable)
{
    struct sock *s = sock_find(fd);

    if (!readable && !writable) {
        if (s != NULL)
            sock_free(s);
        return;
    }
    if (s == NULL)
        s = sock_new(fd);
    if (s == NULL)
        return;
    want(s->c->read, NGX_READ_EVENT, readable);
    want(s->c->write, NGX_WRITE_EVENT, writable);
}

/* times: NULL for c-ares's own. */
static int
channel_new(const sb_dns_times_t *times, ares_channel *out)
{
    struct ares_options o = {.sock_state_cb = sock_state, .lookups = "b"};
    int mask = ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS; /* "b": DNS only, the hosts file is ours */

#ifdef ARES_OPT_QUERY_CACHE
    mask |= ARES_OPT_QUERY_CACHE; /* newer ones have a cache of their own; of 0 seconds here: ours is the one that settings bound */
#endif
    if (times != NULL) {
        o.timeout = times->timeout != 0 ? times->timeout * 1000 : TIMEOUT_MS;
        o.tries = times->attempts != 0 ? times->attempts : TRIES;
        mask |= ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES;
    }
    return ares_init_options(out, &o, mask);
}

/* What resolv.conf says, and the environment above it. */
static sb_dns_times_t
told_times(void)
{
    sb_dns_times_t times = {0};
    size_t len = 0;
    char *text = sb_hosts_read(RESOLV_CONF, RESOLV_CONF_MAX, &len);
    const char *options = getenv("RES_OPTIONS");

    if (text != NULL)
        sb_resolv_conf_parse(text, len, &times);
    if (options != NULL)
        sb_dns_options_parse(options, strlen(options), &times);
    free(text);
    return times;
}

/* Whether c-ares found nothing that says how long to wait, in the words that it knows. */
static bool
times_are_defaults(ares_channel channel)
{
    struct ares_options o = {0};
    int mask = 0;
    bool yes;

    if (ares_save_options(channel, &o, &mask) != ARES_SUCCESS)
        return false;
    yes = o.timeout == OLD_TIMEOUT_MS && o.tries == OLD_TRIES;
    ares_destroy_options(&o);
    return yes;
}

int
sb_resolver_io_open(const char *servers, ngx_log_t *log, sb_err_t *err)
{
    int rc = ares_library_init(ARES_LIB_INIT_ALL);

    memset(&io, 0, sizeof(io));
    io.log = log;
    ngx_queue_init(&io.sockets);
    if (rc == ARES_SUCCESS)
        rc = channel_new(NULL, &io.channel);
    if (rc == ARES_SUCCESS && times_are_defaults(io.channel)) {
        sb_dns_times_t times = told_times();

        ares_destroy(io.channel);
        rc = channel_new(&times, &io.channel);
    }
    if (rc != ARES_SUCCESS) {
        sb_err_set(err, SB_E_NONE, "name resolver: %s", ares_strerror(rc));
        return SB_ERROR;
    }
    if (servers != NULL && ares_set_servers_ports_csv(io.channel, servers) != ARES_SUCCESS) {
        ares_destroy(io.channel);
        return sb_err_set(err, SB_E_NONE, "name resolver: not a list of name servers: %s", servers);
    }
    io.timer_ident.fd = (ngx_socket_t)-1;
    io.timer.handler = on_timer;
    io.timer.data = &io.timer_ident;
    io.timer.log = log;
    io.timer.cancelable = 1;
    io.open = true;
    return SB_OK;
}

void
sb_resolver_io_close(void)
{
    if (!io.open)
        return;
    io.closing = true;
    if (io.timer.timer_set)
        ngx_del_timer(&io.timer);
    ares_destroy(io.channel);
    io.open = false;
    ares_library_cleanup();
}

/* What c-ares's status and the message come to. */
static int
read_answer(int status, const unsigned char *msg, int len, int type, sb_dns_answer_t *out)
{
    if (status != ARES_SUCCESS)
        return status;
    switch (sb_dns_parse(msg, len > 0 ? (size_t)len : 0, type, out)) {
    case SB_OK:
        return ARES_SUCCESS;
    case SB_DECLINED:
        return ARES_ENODATA;
    default:
        return ARES_EBADRESP;
    }
}

static void
on_answer(void *arg, int status, int timeouts, unsigned char *msg, int len)
{
    struct ask *ask = arg;
    sb_dns_answer_t answer = {0};

    if (!io.closing) {
        status = read_answer(status, msg, len, ask->type, &answer);
        ask->done(ask->arg, status, status == ARES_SUCCESS ? &answer : NULL);
        sb_dns_answer_free(&answer);
    }
    free(ask);
}

void
sb_resolver_io_ask(const char *name, int type, sb_resolver_io_done_pt done, void *arg)
{
    struct ask *ask = sb_malloc(sizeof(*ask));

    *ask = (struct ask){.done = done, .arg = arg, .type = type};
    ares_search(io.channel, name, CLASS_IN, type, on_answer, ask);
    if (io.open)
        arm_timer();
}
