/*
 * What lua/kong/silverback/cosocket.lua calls through the FFI. Plain types only: the same declarations stand in its cdef.
 */
#ifndef SILVERBACK_SB_FFI_RESOLVER_H
#define SILVERBACK_SB_FFI_RESOLVER_H

#include <stddef.h>

#define SB_FFI_IP_MAX 64
#define SB_FFI_EXPORT __attribute__((visibility("default")))

/* 0: ip (room for SB_FFI_IP_MAX, IPv6 in brackets) and *ip_len are set; 1: *why tells (static text); 2: it must be waited for. */
SB_FFI_EXPORT int sb_ffi_resolve(const char *name, size_t len, char *ip, size_t *ip_len, const char **why);
/* After 2: begins to wait; sema is the ngx.semaphore's `sem`, posted once when it is over. NULL: cannot wait here. */
SB_FFI_EXPORT void *sb_ffi_resolve_start(const char *name, size_t len, void *sema);
/* Ends a lookup, over or not, and frees it. Result as sb_ffi_resolve(), never 2. */
SB_FFI_EXPORT int sb_ffi_resolve_end(void *lookup, char *ip, size_t *ip_len, const char **why);

#endif
