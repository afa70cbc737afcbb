/*
 * A small set of header names, each with a number: found by the hash that nginx has computed for a header while it parsed it. Sparse and
 * compact, so that most names that are not in it end at the first look, in a cache line or two.
 */
#ifndef SB_PROXY_NAMES_H
#define SB_PROXY_NAMES_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_hash.h>

#include "core/base/base.h"

#define SB_NAMES_SLOTS 128
#define SB_NAMES_MAX   48

typedef struct sb_names {
    struct {
        uint32_t hash; /* of nginx's, what fits; 0: empty */
        uint8_t len, number, name;
    } slots[SB_NAMES_SLOTS];
    const char *text[SB_NAMES_MAX];
    uint8_t n;
} sb_names_t;

static inline size_t
sb_names_slot(uint32_t hash)
{
    return (hash ^ (hash >> 7) ^ (hash >> 14)) % SB_NAMES_SLOTS;
}

/* name: lower-case, static. number: not 0. */
static inline void
sb_names_add(sb_names_t *t, const char *name, uint8_t number)
{
    size_t len = strlen(name), at;
    uint32_t hash = (uint32_t)ngx_hash_key((u_char *)name, len);

    SB_ASSERT(t->n < SB_NAMES_MAX && hash != 0 && number != 0);
    for (at = sb_names_slot(hash); t->slots[at].hash != 0; at = (at + 1) % SB_NAMES_SLOTS)
        ;
    t->slots[at].hash = hash;
    t->slots[at].len = (uint8_t)len;
    t->slots[at].number = number;
    t->slots[at].name = t->n;
    t->text[t->n++] = name;
}

/* lower: of letters, digits and "-". Setting one bit makes their lower case of letters and changes nothing about the others; only controls
 * could become one of them by it, and no parser lets those into a name. */
static inline bool
sb_names_same(const u_char *name, const char *lower, size_t len)
{
    const uint64_t bits = 0x2020202020202020ull;
    uint64_t x, y;
    size_t i;

    for (i = 0; i + sizeof(x) <= len; i += sizeof(x)) {
        memcpy(&x, name + i, sizeof(x));
        memcpy(&y, lower + i, sizeof(y));
        if ((x | bits) != y)
            return false;
    }
    for (; i < len; i++)
        if ((name[i] | 0x20) != (u_char)lower[i])
            return false;
    return true;
}

/* The header's number; 0: not in the set. */
static inline uint8_t
sb_names_find(const sb_names_t *t, const ngx_table_elt_t *h)
{
    uint32_t hash = (uint32_t)h->hash;

    for (size_t at = sb_names_slot(hash); t->slots[at].hash != 0; at = (at + 1) % SB_NAMES_SLOTS)
        if (t->slots[at].hash == hash && t->slots[at].len == h->key.len &&
            sb_names_same(h->key.data, t->text[t->slots[at].name], h->key.len))
            return t->slots[at].number;
    return 0;
}

#endif
