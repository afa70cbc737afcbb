/* Between the files of health checks: health.c (whom, when, and what follows), health_probe.c (one check), health_grpc.c (by gRPC). */
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
    const char *authority; /* of a check by gRPC; NULL: it is none */
    json_t *headers;       /* the same: {name: [value …]}, NULL: none. Referenced */
    SSL_CTX *tls;          /* NULL: none */
    const char *name;      /* for SNI and verification; "" or an IP address: no SNI */
    ngx_msec_t timeout;
};

enum probe_end {
    PROBE_STARTED,    /* done() will be called, never inside probe_start() */
    PROBE_CONNECTED,  /* all is well: a connection stands, or by gRPC the answer says so */
    PROBE_STATUS,     /* an answer by HTTP came */
    PROBE_UNWELL,     /* an answer by gRPC came, and says otherwise */
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

/* health_grpc.c. A call of gRPC's health service; NULL without memory. */
struct grpc_check *grpc_check_new(const struct probe_how *how);
void grpc_check_free(struct grpc_check *g); /* NULL is fine */
/* How many bytes are to be sent now, and which: the same until they were sent. */
size_t grpc_check_to_send(struct grpc_check *g, const uint8_t **bytes);
void grpc_check_sent(struct grpc_check *g, size_t n);
/* false: that is no HTTP/2. */
bool grpc_check_received(struct grpc_check *g, const uint8_t *bytes, size_t n);
/* How it ended; PROBE_STARTED: not yet. */
enum probe_end grpc_check_end(const struct grpc_check *g);

#endif
