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

/* The header's number; 0: not in the set. */
static inline uint8_t
sb_names_find(const sb_names_t *t, const ngx_table_elt_t *h)
{
    uint32_t hash = (uint32_t)h->hash;

    for (size_t at = sb_names_slot(hash); t->slots[at].hash != 0; at = (at + 1) % SB_NAMES_SLOTS)
        if (t->slots[at].hash == hash && t->slots[at].len == h->key.len &&
            ngx_strncasecmp(h->key.data, (u_char *)t->text[t->slots[at].name], h->key.len) == 0)
            return t->slots[at].number;
    return 0;
}

#endif
