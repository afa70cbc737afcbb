/* The list of cache.h. */
#include "proxy/cache.h"

#include "proxy/proxy_int.h"

static ngx_queue_t ages = {&ages, &ages}; /* latest first */
static size_t entries;

size_t sb_cache_bytes;

/* The last entry stays: it is the one being added. */
static void
shrink(void)
{
    while (sb_cache_bytes > sb_conf->cache_bytes && entries > 1) {
        sb_aged_t *oldest = ngx_queue_data(ngx_queue_last(&ages), sb_aged_t, link);
        if (!oldest->used) {
            oldest->forget(oldest);
            continue;
        }
        oldest->used = false;
        ngx_queue_remove(&oldest->link);
        ngx_queue_insert_head(&ages, &oldest->link);
    }
}

void
sb_cache_add(sb_aged_t *a, void (*forget)(sb_aged_t *a))
{
    a->forget = forget;
    a->used = true;
    ngx_queue_insert_head(&ages, &a->link);
    entries++;
    shrink();
}

void
sb_cache_remove(sb_aged_t *a)
{
    ngx_queue_remove(&a->link);
    entries--;
}
