/*
 * A request and its status line over one connection; see http.h. The socket's own time limits bound every step, a deadline all of them.
 */
#include "cli/http.h"

#include "cli/node.h"
#include "core/base/buf.h"

#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STATUS_LINE_MAX 1024

typedef struct link {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl; /* NULL: plain */
    double deadline;
} link_t;

static int
fail(sb_err_t *err, const char *why)
{
    sb_err_set(err, 0, "%s", why);
    return SB_ERROR;
}

/* Waits until the socket is ready for `events`. */
static int
wait_for(link_t *l, short events, sb_err_t *err)
{
    struct pollfd p = {.fd = l->fd, .events = events};
    double left = l->deadline - sb_node_now();
    int n = left > 0 ? poll(&p, 1, (int)(left * 1000) + 1) : 0;

    if (n == 0)
        return fail(err, "timeout");
    return n < 0 && errno != EINTR ? fail(err, strerror(errno)) : SB_OK;
}

static int
connect_one(link_t *l, const struct addrinfo *a, sb_err_t *err)
{
    int problem = 0;
    socklen_t len = sizeof(problem);

    l->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return fail(err, strerror(errno));
    if (connect(l->fd, a->ai_addr, a->ai_addrlen) == 0)
        return SB_OK;
    if (errno != EINPROGRESS)
        return fail(err, strerror(errno));
    if (wait_for(l, POLLOUT, err) != SB_OK)
        return SB_ERROR;
    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &problem, &len) != 0 || problem != 0)
        return fail(err, strerror(problem != 0 ? problem : errno));
    return SB_OK;
}

static int
connect_to(link_t *l, const sb_http_call_t *call, sb_err_t *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    size_t skip = call->host[0] == '[' ? 1 : 0;
    char *host = sb_strdup_len(call->host + skip, strlen(call->host) - 2 * skip), port[8];
    int rc = SB_ERROR, problem;

    snprintf(port, sizeof(port), "%u", call->port);
    problem = getaddrinfo(host, port, &hints, &found);
    if (problem != 0)
        fail(err, gai_strerror(problem));
    for (const struct addrinfo *a = found; a != NULL && rc != SB_OK; a = a->ai_next) {
        if (l->fd >= 0)
            close(l->fd);
        rc = connect_one(l, a, err);
    }
    if (found != NULL)
        freeaddrinfo(found);
    free(host);
    return rc;
}

/* What a TLS call that did not work wants: SB_OK to try again. */
static int
tls_again(link_t *l, int result, sb_err_t *err)
{
    switch (SSL_get_error(l->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return wait_for(l, POLLIN, err);
    case SSL_ERROR_WANT_WRITE:
        return wait_for(l, POLLOUT, err);
    default:
        return fail(err, "the TLS connection failed");
    }
}

static int
start_tls(link_t *l, sb_err_t *err)
{
    int n, rc = SB_OK;

    l->ctx = SSL_CTX_new(TLS_client_method());
    l->ssl = l->ctx != NULL ? SSL_new(l->ctx) : NULL;
    if (l->ssl == NULL || SSL_set_fd(l->ssl, l->fd) != 1)
        return fail(err, "the TLS connection failed");
    while (rc == SB_OK && (n = SSL_connect(l->ssl)) != 1)
        rc = tls_again(l, n, err);
    return rc;
}

static int
send_all(link_t *l, const char *data, size_t len, bool tls, sb_err_t *err)
{
    int rc = SB_OK;

    while (rc == SB_OK && len > 0) {
        ssize_t n = tls ? SSL_write(l->ssl, data, (int)len) : send(l->fd, data, len, MSG_NOSIGNAL);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        } else if (tls)
            rc = tls_again(l, (int)n, err);
        else
            rc = errno == EAGAIN || errno == EINTR ? wait_for(l, POLLOUT, err) : fail(err, strerror(errno));
    }
    return rc;
}

/* Up to the end of the first line. */
static int
read_line(link_t *l, char *line, sb_err_t *err)
{
    size_t have = 0;
    int rc = SB_OK;

    while (rc == SB_OK && memchr(line, '\n', have) == NULL) {
        ssize_t n;
        if (have == STATUS_LINE_MAX - 1)
            return fail(err, "the answer is not HTTP");
        n = l->ssl != NULL ? SSL_read(l->ssl, line + have, 1) : recv(l->fd, line + have, STATUS_LINE_MAX - 1 - have, 0);
        if (n > 0)
            have += (size_t)n;
        else if (n == 0)
            rc = fail(err, "closed");
        else if (l->ssl != NULL)
            rc = tls_again(l, (int)n, err);
        else
            rc = errno == EAGAIN || errno == EINTR ? wait_for(l, POLLIN, err) : fail(err, strerror(errno));
    }
    line[have] = '\0';
    return rc;
}

static int
exchange(link_t *l, const sb_http_call_t *call, int *status, sb_err_t *err)
{
    static const char proxy_line[] = "PROXY UNKNOWN\r\n";
    char line[STATUS_LINE_MAX];
    sb_buf_t request = {0};
    int rc = connect_to(l, call, err);

    if (rc == SB_OK && call->proxy_protocol)
        rc = send_all(l, proxy_line, sizeof(proxy_line) - 1, false, err);
    if (rc == SB_OK && call->tls)
        rc = start_tls(l, err);
    sb_buf_addf(&request,
                "%s %s HTTP/1.1\r\nHost: %s:%u\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                call->method, call->path, call->host, call->port, strlen(call->body), call->body);
    if (rc == SB_OK)
        rc = send_all(l, request.data, request.len, call->tls, err);
    if (rc == SB_OK)
        rc = read_line(l, line, err);
    if (rc == SB_OK && sscanf(line, "HTTP/%*d.%*d %3d", status) != 1)
        rc = fail(err, "the answer is not HTTP");
    sb_buf_free(&request);
    return rc;
}

int
sb_http_status(const sb_http_call_t *call, int *status, sb_err_t *err)
{
    link_t l = {.fd = -1, .deadline = sb_node_now() + call->timeout};
    int rc = exchange(&l, call, status, err);

    if (rc == SB_OK)
        sb_err_clear(err); /* of an address that was tried in vain */
    SSL_free(l.ssl);
    SSL_CTX_free(l.ctx);
    ERR_clear_error();
    if (l.fd >= 0)
        close(l.fd);
    return rc;
}
