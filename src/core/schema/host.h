/* Host names and addresses as users write them: "name:80", "10.0.0.1", "[::1]:80". */
#ifndef SB_HOST_H
#define SB_HOST_H

#include "core/base/base.h"

enum sb_host_kind { SB_HOST_BAD_NAME, SB_HOST_BAD_IPV4, SB_HOST_BAD_IPV6, SB_HOST_BAD_PORT, SB_HOST_NAME, SB_HOST_IPV4, SB_HOST_IPV6 };

typedef struct sb_host {
    enum sb_host_kind kind;    /* from SB_HOST_NAME on it is well formed */
    sb_str_t host;             /* borrowed from the text; IPv6 without brackets */
    int port;                  /* -1: none */
    unsigned char address[16]; /* of IPV4 (4 bytes) and IPV6 */
} sb_host_t;

/* What kind of host `text` is; the kinds below SB_HOST_NAME say what is wrong. */
void sb_host_parse(const char *text, size_t len, sb_host_t *out);

#endif
