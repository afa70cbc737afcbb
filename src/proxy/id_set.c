/* The set of id_set.h. Up to SIZE_MAX_PRINTS it doubles when it is half full, so that few buckets ever are full. */
#include "proxy/id_set.h"

#include <stdlib.h>
#include <string.h>

#define BUCKET          8u
#define SIZE_MIN_PRINTS 1024u
#define SIZE_MAX_PRINTS (1u << 20) /* 8 MiB */

static uint64_t
print_of(const sb_id_set_t *set, const sb_uuid_t *id)
{
    uint64_t a, b;
    unsigned __int128 m;

    memcpy(&a, id->b, sizeof(a));
    memcpy(&b, id->b + 8, sizeof(b));
    m = (unsigned __int128)(a ^ set->key[0]) * (b ^ set->key[1]);
    a = (uint64_t)m ^ (uint64_t)(m >> 64);
    m = (unsigned __int128)(a ^ set->key[1]) * (set->key[0] | 1);
    a = (uint64_t)m ^ (uint64_t)(m >> 64);
    return a != 0 ? a : 1;
}

static uint64_t *
bucket_of(const sb_id_set_t *set, uint64_t print)
{
    return &set->prints[print & (set->size - 1) & ~(size_t)(BUCKET - 1)];
}

/* Where a print is in its bucket; BUCKET when it is not there. */
static unsigned
place_of(const uint64_t *bucket, uint64_t print)
{
    unsigned i = 0;

    while (i < BUCKET && bucket[i] != print)
        i++;
    return i;
}

static void
put(sb_id_set_t *set, uint64_t print)
{
    uint64_t *bucket = bucket_of(set, print);
    unsigned i = place_of(bucket, 0);

    if (i < BUCKET)
        set->n++;
    else
        i = (unsigned)(print >> 61); /* any */
    bucket[i] = print;
}

static void
grow(sb_id_set_t *set)
{
    size_t old_size = set->size;
    uint64_t *old = set->prints;

    if (old == NULL)
        sb_random_bytes(set->key, sizeof(set->key));
    set->size = old != NULL ? 2 * old_size : SIZE_MIN_PRINTS;
    set->prints = aligned_alloc(BUCKET * sizeof(*old), set->size * sizeof(*old));
    SB_ASSERT(set->prints != NULL);
    sb_id_set_clear(set);
    for (size_t i = 0; i < old_size; i++)
        if (old[i] != 0)
            put(set, old[i]);
    free(old);
}

bool
sb_id_set_has(const sb_id_set_t *set, const sb_uuid_t *id)
{
    uint64_t print;

    if (set->prints == NULL)
        return false;
    print = print_of(set, id);
    return place_of(bucket_of(set, print), print) < BUCKET;
}

void
sb_id_set_add(sb_id_set_t *set, const sb_uuid_t *id)
{
    if (set->n >= set->size / 2 && set->size < SIZE_MAX_PRINTS)
        grow(set);
    put(set, print_of(set, id));
}

void
sb_id_set_remove(sb_id_set_t *set, const sb_uuid_t *id)
{
    uint64_t print, *bucket;
    unsigned i;

    if (set->prints == NULL)
        return;
    print = print_of(set, id);
    bucket = bucket_of(set, print);
    i = place_of(bucket, print);
    if (i == BUCKET)
        return;
    bucket[i] = 0;
    set->n--;
}

void
sb_id_set_clear(sb_id_set_t *set)
{
    if (set->prints != NULL)
        memset(set->prints, 0, set->size * sizeof(*set->prints));
    set->n = 0;
}
