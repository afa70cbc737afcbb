/*
 * The age of what a worker caches: one list over services and the chains of routes, and the bytes that they and what they alone keep
 * alive take. When there are too many, the oldest go, except that one that was used since it came to the end goes round once more: so a
 * hit costs no change of the list.
 */
#ifndef SB_PROXY_CACHE_H
#define SB_PROXY_CACHE_H

#include <ngx_config.h>
#include <ngx_core.h>

#include <stdbool.h>

typedef struct sb_aged {
    ngx_queue_t link;
    bool used;                         /* set at every hit */
    void (*forget)(struct sb_aged *a); /* takes it out of its table and, by sb_cache_remove(), out of the list */
} sb_aged_t;

/* How much is cached now; whoever allocates adds, whoever frees subtracts. */
extern size_t sb_cache_bytes;

void sb_cache_add(sb_aged_t *a, void (*forget)(sb_aged_t *a));
void sb_cache_remove(sb_aged_t *a);

#endif
