/* Listening sockets kept by the supervisor; see sockets.h. */
#include "cli/sockets.h"

#include "cli/nginx_walk.h"
#include "core/base/buf.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_BACKLOG 511

/* --- from the configuration --- */

static bool
same_address(const sb_sock_t *a, const sb_sock_t *b)
{
    return a->len == b->len && memcmp(&a->addr, &b->addr, a->len) == 0 && a->datagram == b->datagram;
}

static void
add_sock(sb_socks_t *s, const sb_sock_t *sock, int workers)
{
    for (size_t i = 0; i < s->n; i++) {
        if (same_address(&s->v[i], sock))
            return; /* another server on the same address */
    }
    for (int k = 0; k < (sock->reuseport ? workers : 1); k++) {
        s->v = sb_realloc(s->v, (s->n + 1) * sizeof(*s->v));
        s->v[s->n] = *sock;
        s->v[s->n].copy = (unsigned)k;
        s->v[s->n].label = sb_strdup_len(sock->label, strlen(sock->label));
        s->n++;
    }
}

static int
add_unix(const char *address, sb_sock_t *sock, sb_socks_t *out, sb_err_t *err)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&sock->addr;
    const char *path = address + 5;

    if (strlen(path) >= sizeof(un->sun_path))
        return sb_err_set(err, 0, "path of unix socket too long: %s", path);
    un->sun_family = AF_UNIX;
    strcpy(un->sun_path, path);
    sock->len = sizeof(*un);
    add_sock(out, sock, 1);
    return SB_OK;
}

/* "8888": every address; "host" and "[::1]": nginx's port. */
static const char *
port_in(const char *address, size_t *host_len)
{
    const char *colon = strrchr(address, ':');
    bool digits = address[strspn(address, "0123456789")] == '\0';

    if (digits) {
        *host_len = 0;
        return address;
    }
    if (colon == NULL || colon[strcspn(colon, "]")] != '\0') {
        *host_len = strlen(address);
        return "80";
    }
    *host_len = (size_t)(colon - address);
    return colon + 1;
}

static int
add_inet(const char *address, sb_sock_t *sock, int workers, sb_socks_t *out, sb_err_t *err)
{
    const char *host = address, *port;
    char name[256];
    size_t len;
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int rc;

    port = port_in(address, &len);
    if (len > 1 && host[0] == '[') {
        host++;
        len -= 2;
    }
    if (len >= sizeof(name))
        return sb_err_set(err, 0, "listen address too long: %s", address);
    memcpy(name, host, len);
    name[len] = '\0';
    rc = getaddrinfo(name[0] == '\0' || strcmp(name, "*") == 0 ? "0.0.0.0" : name, port, &hints, &found);
    if (rc != 0)
        return sb_err_set(err, 0, "listen address %s: %s", address, gai_strerror(rc));
    for (struct addrinfo *a = found; a != NULL; a = a->ai_next) {
        memset(&sock->addr, 0, sizeof(sock->addr));
        memcpy(&sock->addr, a->ai_addr, a->ai_addrlen);
        sock->len = a->ai_addrlen;
        add_sock(out, sock, workers);
    }
    freeaddrinfo(found);
    return SB_OK;
}

static void
take_option(const char *word, sb_sock_t *sock)
{
    sock->own = sock->own || (strcmp(word, "ssl") != 0 && strcmp(word, "http2") != 0 && strcmp(word, "proxy_protocol") != 0 &&
                              strcmp(word, "default_server") != 0);
    if (strcmp(word, "reuseport") == 0)
        sock->reuseport = true;
    else if (strcmp(word, "udp") == 0 || strcmp(word, "quic") == 0)
        sock->datagram = true;
    else if (strcmp(word, "ipv6only=off") == 0)
        sock->ipv6only = false;
    else if (strncmp(word, "backlog=", 8) == 0)
        sock->backlog = atoi(word + 8);
}

typedef struct wanted {
    sb_socks_t *out;
    int workers;
} wanted_t;

static int
take_listen(const sb_nginx_directive_t *d, wanted_t *w, sb_err_t *err)
{
    sb_sock_t sock = {.backlog = DEFAULT_BACKLOG, .ipv6only = true, .fd = -1};
    char *address;
    int rc;

    if (d->n_words < 2)
        return SB_OK;
    for (size_t i = 2; i < d->n_words; i++)
        take_option(d->words[i], &sock);
    sock.label = address = sb_strdup_len(d->words[1], strlen(d->words[1]));
    if (strncmp(address, "unix:", 5) == 0)
        rc = add_unix(address, &sock, w->out, err);
    else
        rc = add_inet(address, &sock, w->workers, w->out, err);
    free(address);
    return rc;
}

static int
on_directive(const sb_nginx_directive_t *d, const char *block, void *arg, sb_err_t *err)
{
    return strcmp(d->words[0], "listen") == 0 && strcmp(block, "server") == 0 ? take_listen(d, arg, err) : SB_OK;
}

static in_port_t
port_of(const sb_sock_t *s)
{
    return s->addr.ss_family == AF_INET ? ((const struct sockaddr_in *)&s->addr)->sin_port
                                        : ((const struct sockaddr_in6 *)&s->addr)->sin6_port;
}

static bool
is_wildcard(const sb_sock_t *s)
{
    if (s->addr.ss_family == AF_INET)
        return ((const struct sockaddr_in *)&s->addr)->sin_addr.s_addr == INADDR_ANY;
    return s->addr.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)&s->addr)->sin6_addr);
}

/* nginx does not bind an address without options of its own when the wildcard has the port too: nobody would accept from ours. */
static void
drop_covered(sb_socks_t *s)
{
    for (size_t i = 0; i < s->n; i++) {
        sb_sock_t *a = &s->v[i];
        bool covered = false;
        for (size_t k = 0; k < s->n && !a->own && !is_wildcard(a) && a->addr.ss_family != AF_UNIX; k++)
            covered = covered || (is_wildcard(&s->v[k]) && s->v[k].addr.ss_family == a->addr.ss_family && port_of(&s->v[k]) == port_of(a));
        if (covered) {
            free(a->label);
            memmove(a, a + 1, (s->n - i - 1) * sizeof(*a));
            s->n--;
            i--;
        }
    }
}

int
sb_socks_wanted(const char *conf, const char *prefix, int workers, sb_socks_t *out, sb_err_t *err)
{
    wanted_t w = {.out = out, .workers = workers};
    int rc;

    *out = (sb_socks_t){0};
    rc = sb_nginx_walk(conf, prefix, on_directive, &w, err);
    if (rc == SB_OK)
        drop_covered(out);
    else
        sb_socks_free(out);
    return rc;
}

/* --- opening --- */

static bool
set_options(int fd, const sb_sock_t *s)
{
    int one = 1, only = s->ipv6only;

    if (s->addr.ss_family == AF_UNIX)
        return true;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0)
        return false;
    if (s->reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0)
        return false;
    return s->addr.ss_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) == 0;
}

static int
open_sock(sb_sock_t *s, sb_err_t *err)
{
    int fd = socket(s->addr.ss_family, (s->datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const char *path = ((const struct sockaddr_un *)&s->addr)->sun_path, *what = "socket()";

    if (fd < 0 || !set_options(fd, s))
        goto fail;
    /* We hold the prefix's lock: a file of that name is from a run that ended badly. */
    if (s->addr.ss_family == AF_UNIX)
        unlink(path);
    what = "bind()";
    if (bind(fd, (const struct sockaddr *)&s->addr, s->len) != 0)
        goto fail;
    if (s->addr.ss_family == AF_UNIX)
        chmod(path, 0666); /* the folder's mode says who comes near */
    what = "listen()";
    if (!s->datagram && listen(fd, s->backlog) != 0)
        goto fail;
    s->fd = fd;
    return SB_OK;
fail:
    sb_err_set(err, 0, "%s to %s failed (%d: %s)", what, s->label, errno, strerror(errno));
    if (fd >= 0)
        close(fd);
    return SB_DECLINED;
}

static sb_sock_t *
find_sock(const sb_socks_t *s, const sb_sock_t *like)
{
    for (size_t i = 0; s != NULL && i < s->n; i++)
        if (same_address(&s->v[i], like) && s->v[i].copy == like->copy && s->v[i].reuseport == like->reuseport)
            return &s->v[i];
    return NULL;
}

int
sb_socks_open(sb_socks_t *want, sb_socks_t *have, sb_err_t *err)
{
    size_t i;

    for (i = 0; i < want->n; i++) {
        sb_sock_t *old = find_sock(have, &want->v[i]);
        if ((old == NULL || old->fd < 0) && want->v[i].fd < 0 && open_sock(&want->v[i], err) != SB_OK)
            break;
    }
    if (i < want->n) {
        for (size_t k = 0; k < i; k++) {
            if (want->v[k].fd >= 0)
                close(want->v[k].fd);
            want->v[k].fd = -1;
        }
        return SB_DECLINED;
    }
    for (i = 0; i < want->n; i++) {
        sb_sock_t *old = find_sock(have, &want->v[i]);
        if (want->v[i].fd < 0 && old != NULL) {
            want->v[i].fd = old->fd;
            old->fd = -1;
        }
    }
    return SB_OK;
}

bool
sb_socks_same(const sb_socks_t *a, const sb_socks_t *b)
{
    for (size_t i = 0; i < a->n; i++)
        if (find_sock(b, &a->v[i]) == NULL)
            return false;
    return a->n == b->n;
}

char *
sb_socks_environment(const sb_socks_t *s)
{
    sb_buf_t b = {0};

    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].fd >= 0)
            sb_buf_addf(&b, "%d;", s->v[i].fd);
    return sb_buf_take(&b);
}

void
sb_socks_free(sb_socks_t *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->v[i].fd >= 0)
            close(s->v[i].fd);
        free(s->v[i].label);
    }
    free(s->v);
    *s = (sb_socks_t){0};
}

void
sb_socks_unlink(const sb_socks_t *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].addr.ss_family == AF_UNIX)
            unlink(((const struct sockaddr_un *)&s->v[i].addr)->sun_path);
}
