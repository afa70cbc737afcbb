/* Between the two files of health checks: health.c (whom, when, and what follows) and health_probe.c (one check). */
#ifndef SB_CONTROL_HEALTH_INT_H
#define SB_CONTROL_HEALTH_INT_H

#include "control/control.h"

#include <ngx_event.h>
#include <ngx_event_connect.h>
#include <openssl/ssl.h>

/* How the addresses of a target are checked; outlives its probes. */
struct probe_how {
    const char *request; /* HTTP; length 0: a connection (with its handshake) is all */
    size_t request_len;
    SSL_CTX *tls;     /* NULL: none */
    const char *name; /* for SNI and verification; "" or an IP address: no SNI */
    ngx_msec_t timeout;
};

enum probe_end {
    PROBE_STARTED,    /* done() will be called, never inside probe_start() */
    PROBE_CONNECTED,  /* connections only */
    PROBE_STATUS,     /* an answer came */
    PROBE_FAILED,     /* no connection, no handshake, or it broke */
    PROBE_TIMEOUT,    /* not in time */
    PROBE_IMPOSSIBLE, /* this node lacks sockets or memory: says nothing about the address */
};

struct probe_result {
    enum probe_end end;
    int status; /* 0: what came is no HTTP */
};

/* PROBE_STARTED, PROBE_FAILED or PROBE_IMPOSSIBLE; done is called only after the first, once. */
enum probe_end probe_start(const struct probe_how *how, const struct sockaddr *sa, socklen_t len,
                           void (*done)(void *arg, struct probe_result result), void *arg);
/* Ends all, as PROBE_IMPOSSIBLE. */
void probes_drop(void);

#endif
