/* The resolver's insides: resolver.c (cache and waiters), resolver_io.c (c-ares in nginx's event loop), resolver_hosts.c. */
#ifndef SB_RESOLVER_INT_H
#define SB_RESOLVER_INT_H

#include "proxy/resolver.h"

#include <ares.h>

/* --- resolver_io.c: one c-ares channel per worker --- */

/* servers: "a,b:port" or NULL for resolv.conf's. */
int sb_resolver_io_open(const char *servers, ngx_log_t *log, sb_err_t *err);
void sb_resolver_io_close(void);
/* Asks for one family. done(arg, …) may be called before this returns. addrs is a new reference, or NULL with *ares_status. */
typedef void (*sb_resolver_io_done_pt)(void *arg, int ares_status, sb_addrs_t *addrs, uint32_t ttl);
void sb_resolver_io_ask(const char *name, int family, sb_resolver_io_done_pt done, void *arg);

/* n addresses, uninitialised, one reference. */
sb_addrs_t *sb_addrs_new(uint32_t n);

#endif
