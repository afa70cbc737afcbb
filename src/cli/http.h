/* One small HTTP request to a node of ours, for verbs that talk to one. */
#ifndef SB_CLI_HTTP_H
#define SB_CLI_HTTP_H

#include "core/base/base.h"

typedef struct sb_http_call {
    const char *host; /* an address, IPv6 in brackets, or a name */
    uint16_t port;
    bool tls;            /* the certificate is not checked: a node's own is self-signed, and no secret is sent */
    bool proxy_protocol; /* the listener wants that line first */
    const char *method, *path;
    const char *body; /* JSON; "" for none */
    double timeout;   /* seconds, for all of it */
} sb_http_call_t;

/* Sends it and reads the status line: *status. SB_ERROR with why it could not be: refused, timed out, no HTTP. */
int sb_http_status(const sb_http_call_t *call, int *status, sb_err_t *err);

#endif
