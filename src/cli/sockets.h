/*
 * The listening sockets of an instance. The supervisor opens them and hands them to each nginx master it starts (nginx takes over
 * sockets whose numbers stand in the environment variable NGINX). So a port stays open, and no connection is refused, while a master is
 * replaced; and a new master can serve beside the workers that a killed one left behind, on the very same sockets.
 */
#ifndef SB_CLI_SOCKETS_H
#define SB_CLI_SOCKETS_H

#include "core/base/base.h"

#include <sys/socket.h>

typedef struct sb_sock {
    struct sockaddr_storage addr;
    socklen_t len;
    unsigned copy; /* which of the sockets that share the address (reuseport: one per worker) */
    int backlog;
    bool reuseport, ipv6only, datagram, own; /* own: has options that make nginx bind it even beside a wildcard */
    int fd;                                  /* -1: not open */
    char *label;                             /* as written, for messages */
} sb_sock_t;

typedef struct sb_socks {
    sb_sock_t *v;
    size_t n;
} sb_socks_t;

/* What the listen lines of a configuration, and of the files that it includes, ask for; nothing is opened. `conf` is its path, relative
 * includes are looked for in `prefix`; `workers`: how many sockets a reuseport one has. */
int sb_socks_wanted(const char *conf, const char *prefix, int workers, sb_socks_t *out, sb_err_t *err);
/* Opens all of `want`, taking over those that `have` (may be NULL) has open; on failure `have` is as it was. */
int sb_socks_open(sb_socks_t *want, sb_socks_t *have, sb_err_t *err);
/* Same addresses and counts? */
bool sb_socks_same(const sb_socks_t *a, const sb_socks_t *b);
/* "3;4;", malloc'ed; "" when there are none. */
char *sb_socks_environment(const sb_socks_t *s);
/* Closes what is open. */
void sb_socks_free(sb_socks_t *s);
/* Removes the files of unix sockets; when the node ends. */
void sb_socks_unlink(const sb_socks_t *s);

#endif
