/*
 * One active health check: a connection to an address, with TLS or without; by HTTP a request of version 1.0 of whose answer the status
 * line is read, by gRPC a call of its health service (health_grpc.c). A machine of states on the event loop; step() goes as far as the
 * socket lets it, and is called again by nginx's events.
 *
 * Each probe has one timer for all of it, which does not keep a worker from exiting.
 */
#include "control/health_int.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#define STATUS_LINE SB_HEALTH_STATUS_LINE

enum state { CONNECTING, SHAKING_HANDS, SENDING, READING, CALLING };

struct probe {
    const struct probe_how *how;
    void (*done)(void *arg, struct probe_result result);
    void *arg;
    ngx_connection_t *conn;
    SSL *ssl;
    ngx_event_t timer;
    enum state state;
    size_t sent, got;
    char head[STATUS_LINE];
    struct grpc_check *call;
    ngx_queue_t link;
};

static ngx_queue_t running;

/* ---------- the end ---------- */

static void
release(struct probe *p)
{
    ngx_queue_remove(&p->link);
    if (p->timer.timer_set)
        ngx_del_timer(&p->timer);
    SSL_free(p->ssl);
    grpc_check_free(p->call);
    if (p->conn != NULL)
        ngx_close_connection(p->conn);
    free(p);
}

static void
finish(struct probe *p, struct probe_result result)
{
    void (*done)(void *, struct probe_result) = p->done;
    void *arg = p->arg;

    release(p);
    done(arg, result);
}

static void
finish_as(struct probe *p, enum probe_end end)
{
    finish(p, (struct probe_result){end, 0});
}

static void
on_timer(ngx_event_t *ev)
{
    struct probe *p = ((ngx_connection_t *)ev->data)->data;

    finish_as(p, PROBE_TIMEOUT);
}

/* ---------- steps: 1 done, 0 wait, -1 failed ---------- */

static int
connected(struct probe *p)
{
    int error = 0;
    socklen_t len = sizeof(error);
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof(peer);

    if (getsockopt(p->conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0)
        return -1;
    return getpeername(p->conn->fd, (struct sockaddr *)&peer, &peer_len) == 0 ? 1 : 0;
}

/* What a result of OpenSSL means. */
static int
tls_wants(struct probe *p, int rc)
{
    int error = SSL_get_error(p->ssl, rc);

    ERR_clear_error();
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static bool
start_tls(struct probe *p)
{
    const struct probe_how *how = p->how;
    unsigned char ip[16];
    bool literal;

    p->ssl = SSL_new(how->tls);
    if (p->ssl == NULL || SSL_set_fd(p->ssl, p->conn->fd) != 1)
        return false;
    literal = inet_pton(AF_INET, how->name, ip) == 1 || inet_pton(AF_INET6, how->name, ip) == 1;
    if (how->name[0] != '\0' && !literal && (SSL_set_tlsext_host_name(p->ssl, how->name) != 1 || SSL_set1_host(p->ssl, how->name) != 1))
        return false;
    if (literal && X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(p->ssl), how->name) != 1)
        return false;
    SSL_set_connect_state(p->ssl);
    return true;
}

static int
shake_hands(struct probe *p)
{
    int rc = SSL_do_handshake(p->ssl);

    return rc == 1 ? 1 : tls_wants(p, rc);
}

/* How many bytes; 0: wait, -1: failed. */
static int
write_some(struct probe *p, const void *from, size_t len)
{
    int n = p->ssl != NULL ? SSL_write(p->ssl, from, (int)len) : (int)send(p->conn->fd, from, len, MSG_NOSIGNAL);

    if (n > 0)
        return n;
    return p->ssl != NULL ? tls_wants(p, n) : errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static int
read_some(struct probe *p, void *to, size_t room)
{
    int n = p->ssl != NULL ? SSL_read(p->ssl, to, (int)room) : (int)recv(p->conn->fd, to, room, 0);

    if (n > 0)
        return n;
    return p->ssl != NULL ? tls_wants(p, n) : n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static int
send_request(struct probe *p)
{
    const struct probe_how *how = p->how;

    while (p->sent < how->request_len) {
        int n = write_some(p, how->request + p->sent, how->request_len - p->sent);

        if (n <= 0)
            return n;
        p->sent += (size_t)n;
    }
    return 1;
}

static int
read_status(struct probe *p)
{
    while (p->got < STATUS_LINE) {
        int n = read_some(p, p->head + p->got, STATUS_LINE - p->got);

        if (n <= 0)
            return n;
        p->got += (size_t)n;
    }
    return 1;
}

static int
send_frames(struct probe *p)
{
    const uint8_t *bytes;
    size_t len;

    while ((len = grpc_check_to_send(p->call, &bytes)) != 0) {
        int n = write_some(p, bytes, len);

        if (n <= 0)
            return n;
        grpc_check_sent(p->call, (size_t)n);
    }
    return 1;
}

/* Both ways until the call has ended or nothing more can be done now. */
static int
call(struct probe *p)
{
    uint8_t block[4096];
    int n;

    while (grpc_check_end(p->call) == PROBE_STARTED) {
        if (send_frames(p) < 0)
            return -1;
        n = read_some(p, block, sizeof(block));
        if (n <= 0)
            return n;
        if (!grpc_check_received(p->call, block, (size_t)n))
            return -1;
    }
    return 1;
}

/* ---------- the machine ---------- */

static int
advance(struct probe *p)
{
    switch (p->state) {
    case CONNECTING:
        return connected(p);
    case SHAKING_HANDS:
        return shake_hands(p);
    case SENDING:
        return send_request(p);
    case READING:
        return read_status(p);
    default:
        return call(p);
    }
}

/* What comes once the connection stands, with its handshake. True: nothing does. */
static bool
begin(struct probe *p)
{
    p->state = p->how->authority != NULL ? CALLING : SENDING;
    return p->how->authority == NULL && p->how->request_len == 0;
}

/* True: the step that was done was the last. */
static bool
next_state(struct probe *p)
{
    switch (p->state) {
    case CONNECTING:
        if (p->how->tls == NULL)
            return begin(p);
        p->state = SHAKING_HANDS;
        return false;
    case SHAKING_HANDS:
        return begin(p);
    case SENDING:
        p->state = READING;
        return false;
    default:
        return true;
    }
}

static void
finish_well(struct probe *p)
{
    if (p->state == CALLING)
        finish_as(p, grpc_check_end(p->call));
    else if (p->state == READING)
        finish(p, (struct probe_result){PROBE_STATUS, sb_health_http_status(p->head)});
    else
        finish_as(p, PROBE_CONNECTED);
}

/* What a state begins with. */
static bool
enter(struct probe *p)
{
    if (p->state == SHAKING_HANDS)
        return start_tls(p);
    if (p->state == CALLING)
        p->call = grpc_check_new(p->how);
    return p->state != CALLING || p->call != NULL;
}

static void
step(struct probe *p)
{
    int rc;

    while ((rc = advance(p)) == 1) {
        if (next_state(p)) {
            finish_well(p);
            return;
        }
        if (!enter(p))
            break;
    }
    if (rc != 0)
        finish_as(p, PROBE_FAILED);
}

static void
on_event(ngx_event_t *ev)
{
    step(((ngx_connection_t *)ev->data)->data);
}

enum probe_end
probe_start(const struct probe_how *how, const struct sockaddr *sa, socklen_t len, void (*done)(void *, struct probe_result), void *arg)
{
    ngx_str_t name = ngx_string("health check");
    ngx_peer_connection_t pc = {.sockaddr = (struct sockaddr *)sa, .socklen = len, .name = &name, .get = ngx_event_get_peer};
    struct probe *p;
    ngx_int_t rc;

    pc.log = ngx_cycle->log;
    pc.log_error = NGX_ERROR_INFO;
    rc = ngx_event_connect_peer(&pc);
    if (rc != NGX_OK && rc != NGX_AGAIN)
        return rc == NGX_DECLINED ? PROBE_FAILED : PROBE_IMPOSSIBLE;
    p = sb_calloc(sizeof(*p));
    p->how = how;
    p->done = done;
    p->arg = arg;
    p->conn = pc.connection;
    p->conn->data = p;
    p->conn->read->handler = p->conn->write->handler = on_event;
    p->conn->read->log = p->conn->write->log = p->conn->log = ngx_cycle->log;
    p->timer = (ngx_event_t){.handler = on_timer, .data = p->conn, .log = ngx_cycle->log};
    p->timer.cancelable = 1;
    ngx_add_timer(&p->timer, how->timeout);
    if (running.next == NULL) { /* a macro of two statements */
        ngx_queue_init(&running);
    }
    ngx_queue_insert_tail(&running, &p->link);
    if (rc == NGX_OK) { /* connected at once */
        ngx_post_event(p->conn->write, &ngx_posted_events);
    }
    return PROBE_STARTED;
}

void
probes_drop(void)
{
    while (running.next != NULL && !ngx_queue_empty(&running))
        finish_as(ngx_queue_data(ngx_queue_head(&running), struct probe, link), PROBE_IMPOSSIBLE);
}
