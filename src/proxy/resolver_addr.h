/* Addresses, the hosts file and the options of resolv.conf: the parts of name resolution that need no network and no nginx. */
#ifndef SB_RESOLVER_ADDR_H
#define SB_RESOLVER_ADDR_H

#include "core/base/base.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* What weight 1 of an SRV record is, so that it can be divided among the addresses of the record's target. */
#define SB_ADDR_WEIGHT_UNIT 240

typedef struct sb_addr {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } sa;                 /* port 0: see port */
    socklen_t len;        /* of the member in use */
    uint16_t port;        /* of an SRV record; 0: the caller knows it */
    uint32_t weight;      /* with port: of the SRV record, in SB_ADDR_WEIGHT_UNITs, divided among the addresses of its target; else 1 */
    const char *srv_name; /* the SRV record's target, as long as the sb_addrs_t lives; NULL: no SRV record */
    uint8_t text_len;
    char text[INET6_ADDRSTRLEN]; /* "192.0.2.1", "2001:db8::1" without brackets; NUL-terminated */
} sb_addr_t;

/* An address from text, IPv6 with or without brackets. False: not a literal. */
bool sb_addr_parse(const char *text, size_t len, sb_addr_t *out);
void sb_addr_set(sb_addr_t *out, int family, const void *bytes); /* bytes: struct in_addr or in6_addr */
/* Calls fn for each (name, address) of a hosts file's text. Lines that are not well formed are passed over. */
void sb_hosts_parse(const char *text, size_t len, void (*fn)(sb_str_t name, const sb_addr_t *addr, void *arg), void *arg);

/* How long a name server is waited for, in seconds, and how often servers are asked. 0: not said. */
typedef struct sb_dns_times {
    uint8_t timeout, attempts;
} sb_dns_times_t;

/* Takes "timeout:n" and "attempts:n" from words such as RES_OPTIONS has; at most 30 and 5, as the C library has it. What is not said,
 * or is not a number from 1, leaves *out as it is. */
void sb_dns_options_parse(const char *text, size_t len, sb_dns_times_t *out);
/* The same from the "options" lines of a resolv.conf's text. */
void sb_resolv_conf_parse(const char *text, size_t len, sb_dns_times_t *out);
/* Reads a file of at most max bytes; malloc'ed. NULL when it cannot be read. */
char *sb_hosts_read(const char *path, size_t max, size_t *len);

#endif
