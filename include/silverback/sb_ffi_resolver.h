/*
 * What lua/kong/silverback/cosocket.lua calls through the FFI. Plain types only: the same declarations stand in its cdef.
 */
#ifndef SILVERBACK_SB_FFI_RESOLVER_H
#define SILVERBACK_SB_FFI_RESOLVER_H

#include <stddef.h>

#define SB_FFI_IP_MAX 64
#define SB_FFI_EXPORT __attribute__((visibility("default")))

/* Where to connect to. */
typedef struct sb_ffi_address {
    char ip[SB_FFI_IP_MAX]; /* IPv6 in brackets */
    size_t len;
    int port; /* of the name's SRV record; 0: it has none */
} sb_ffi_address_t;

/* 0: *out is set; 1: *why tells (static text); 2: it must be waited for. */
SB_FFI_EXPORT int sb_ffi_resolve(const char *name, size_t len, sb_ffi_address_t *out, const char **why);
/* After 2: begins to wait; sema is the ngx.semaphore's `sem`, posted once when it is over. NULL: cannot wait here. */
SB_FFI_EXPORT void *sb_ffi_resolve_start(const char *name, size_t len, void *sema);
/* Ends a lookup, over or not, and frees it. Result as sb_ffi_resolve(), never 2. */
SB_FFI_EXPORT int sb_ffi_resolve_end(void *lookup, sb_ffi_address_t *out, const char **why);

#endif
