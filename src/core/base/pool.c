/* The arena: a chain of blocks, each twice the last up to 64 KiB; see pool.h. */
#include "core/base/pool.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_BLOCK 1024
#define MAX_BLOCK     65536
#define ALIGN(n)      (((n) + 15) & ~(size_t)15)

struct block {
    struct block *next;
    size_t used, size;
    _Alignas(16) char data[];
};

struct cleanup {
    struct cleanup *next;
    void (*fn)(void *);
    void *arg;
};

struct sb_pool {
    struct block *blocks;
    struct cleanup *cleanups;
    size_t next_size, bytes;
};

static struct block *
block_add(sb_pool_t *pool, size_t need)
{
    size_t size = pool->next_size > need ? pool->next_size : need;
    struct block *b = sb_malloc(sizeof(*b) + size);

    b->next = pool->blocks;
    b->used = 0;
    b->size = size;
    pool->blocks = b;
    pool->bytes += sizeof(*b) + size;
    if (pool->next_size < MAX_BLOCK)
        pool->next_size *= 2;
    return b;
}

sb_pool_t *
sb_pool_new(size_t first_block)
{
    sb_pool_t *pool = sb_calloc(sizeof(*pool));
    pool->next_size = ALIGN(first_block != 0 ? first_block : DEFAULT_BLOCK);
    pool->bytes = sizeof(*pool);
    return pool;
}

void
sb_pool_free(sb_pool_t *pool)
{
    struct block *b, *next;

    if (pool == NULL)
        return;
    for (struct cleanup *c = pool->cleanups; c != NULL; c = c->next)
        c->fn(c->arg);
    for (b = pool->blocks; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    free(pool);
}

void *
sb_pool_alloc(sb_pool_t *pool, size_t n)
{
    struct block *b = pool->blocks;
    void *p;

    SB_ASSERT(n < SIZE_MAX / 2);
    n = ALIGN(n != 0 ? n : 1);
    if (b == NULL || b->size - b->used < n)
        b = block_add(pool, n);
    p = b->data + b->used;
    b->used += n;
    return memset(p, 0, n);
}

char *
sb_pool_strdup(sb_pool_t *pool, const char *cstr)
{
    return (char *)sb_pool_str(pool, cstr, strlen(cstr)).data;
}

sb_str_t
sb_pool_str(sb_pool_t *pool, const char *data, size_t len)
{
    char *p = sb_pool_alloc(pool, len + 1);
    if (len != 0)
        memcpy(p, data, len);
    return (sb_str_t){p, len};
}

void
sb_pool_cleanup(sb_pool_t *pool, void (*fn)(void *), void *arg)
{
    struct cleanup *c = sb_pool_alloc(pool, sizeof(*c));
    *c = (struct cleanup){pool->cleanups, fn, arg};
    pool->cleanups = c;
}

size_t
sb_pool_bytes(const sb_pool_t *pool)
{
    return pool->bytes;
}
