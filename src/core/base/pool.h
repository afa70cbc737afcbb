/*
 * An arena: many small allocations with one lifetime, freed at once. Used for decoded schemas, plans and plugin
 * configurations. Not thread-safe; one owner.
 */
#ifndef SB_POOL_H
#define SB_POOL_H

#include "core/base/base.h"

typedef struct sb_pool sb_pool_t;

sb_pool_t *sb_pool_new(size_t first_block);     /* first_block: bytes to start with, 0 for the default */
void sb_pool_free(sb_pool_t *pool);             /* NULL is fine */
void *sb_pool_alloc(sb_pool_t *pool, size_t n); /* aligned to 16, zeroed; never NULL */
char *sb_pool_strdup(sb_pool_t *pool, const char *cstr);
sb_str_t sb_pool_str(sb_pool_t *pool, const char *data, size_t len); /* copy, NUL-terminated behind len */
/* fn(arg) runs when the pool is freed, last registered first. */
void sb_pool_cleanup(sb_pool_t *pool, void (*fn)(void *), void *arg);
size_t sb_pool_bytes(const sb_pool_t *pool); /* what it holds, for cache limits */

#endif
