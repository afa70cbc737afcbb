/*
 * What earlier seeks in this snapshot found, so that the next one costs a hash and one comparison instead of a descent through the tree.
 *
 * A seek for K finds row R with P < K <= R, P being the row before R. Every other key in that gap finds R as well: an entry keeps R, P
 * and how many bytes the two have in common, and is right for a key when the key lies in the gap. So the hash decides only
 * where to look, never what is found, and a path that was never seen before is found by the part that its route has.
 *
 * Rows are kept as pointers into the snapshot. LMDB overwrites no page of its newest snapshot, so they stay good until the snapshot moves,
 * which makes all entries stale at once (tag). The table grows with what is kept, so that few pairs are full, up to
 * MEMO_MAX entries of 32 bytes.
 */
#include "core/router/router_int.h"

#include <stdlib.h>

#define MEMO_MIN (1u << 10)
#define MEMO_MAX (1u << 18)

/* Which byte of a word, in the order of memory, is the first that is not zero. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FIRST_BYTE(word) ((size_t)__builtin_ctzll(word) / 8)
#else
#define FIRST_BYTE(word) ((size_t)__builtin_clzll(word) / 8)
#endif

struct entry {
    const char *row, *prev;
    uint32_t tag;       /* 0: never used */
    uint32_t value_len; /* the value follows the key */
    uint16_t row_len, prev_len;
    uint16_t common; /* bytes that row and prev start with */
    uint16_t check;  /* of the hash: most wrong entries are seen without looking at their rows */
};

struct memo {
    void *block;
    struct entry *entries; /* pairs share a cache line */
    size_t size, kept;
    uint32_t tag;
    uint64_t snapshot;
};

struct memo *
memo_new(void)
{
    return sb_calloc(sizeof(struct memo));
}

static void
release(struct memo *m)
{
    free(m->block);
    m->block = NULL;
    m->entries = NULL;
    m->size = 0;
}

void
memo_free(struct memo *m)
{
    if (m == NULL)
        return;
    release(m);
    free(m);
}

void
memo_snapshot(struct memo *m, uint64_t snapshot)
{
    if (m->tag != 0 && m->snapshot == snapshot)
        return;
    m->snapshot = snapshot;
    m->kept = 0;
    if (++m->tag == 0) { /* after four thousand million changes an old entry could pass for a new one */
        m->tag = 1;
        release(m);
    }
}

/* Entries are not moved: what is asked for again is kept again. */
static void
grow(struct memo *m)
{
    size_t size = m->size != 0 ? 2 * m->size : MEMO_MIN, pair = 2 * sizeof(struct entry);

    release(m);
    m->block = sb_calloc(size * sizeof(struct entry) + pair);
    m->entries = (struct entry *)(((uintptr_t)m->block + pair - 1) / pair * pair);
    m->size = size;
    m->kept = 0;
}

static struct entry *
pair_of(const struct memo *m, uint64_t hash)
{
    return &m->entries[(size_t)(hash >> 16) & (m->size - 1) & ~(size_t)1];
}

static size_t
common_len(const unsigned char *a, size_t a_len, const unsigned char *b, size_t b_len)
{
    size_t n = a_len < b_len ? a_len : b_len, i = 0;
    uint64_t x, y;

    for (; i + sizeof(x) <= n; i += sizeof(x)) {
        memcpy(&x, a + i, sizeof(x));
        memcpy(&y, b + i, sizeof(y));
        if (x != y)
            return i + FIRST_BYTE(x ^ y);
    }
    while (i < n && a[i] == b[i])
        i++;
    return i;
}

static bool
is_after(const struct rkey *key, const char *prev, size_t prev_len)
{
    size_t n = key->len < prev_len ? key->len : prev_len;
    int c = memcmp(key->b, prev, n);

    return c > 0 || (c == 0 && key->len > prev_len);
}

/* prev < key <= row? */
static bool
in_gap(const struct entry *e, const struct rkey *key)
{
    const unsigned char *row = (const unsigned char *)e->row;
    size_t n = common_len(key->b, key->len, row, e->row_len);

    if (n < key->len && (n == e->row_len || key->b[n] > row[n]))
        return false;
    return n > e->common || is_after(key, e->prev, e->prev_len);
}

bool
memo_find(struct memo *m, uint64_t hash, const struct rkey *key, sb_str_t *row, sb_str_t *value)
{
    struct entry *e;

    if (m->entries == NULL)
        return false;
    e = pair_of(m, hash);
    for (int i = 0; i < 2; i++, e++) {
        if (e->tag != m->tag || e->check != (uint16_t)hash || !in_gap(e, key))
            continue;
        *row = (sb_str_t){e->row, e->row_len};
        *value = (sb_str_t){e->row + e->row_len, e->value_len};
        return true;
    }
    return false;
}

void
memo_keep(struct memo *m, uint64_t hash, sb_str_t row, sb_str_t value, sb_str_t prev)
{
    struct entry *e;

    if (value.data != row.data + row.len || value.len > UINT32_MAX)
        return; /* a large value has pages of its own */
    if (m->entries == NULL || (m->kept > m->size / 4 && m->size < MEMO_MAX))
        grow(m);
    e = pair_of(m, hash);
    if (e[0].tag != m->tag || (e[1].tag == m->tag && e[0].check == (uint16_t)hash))
        m->kept += e[0].tag != m->tag;
    else {
        m->kept += e[1].tag != m->tag;
        e[1] = e[0];
    }
    e->row = row.data;
    e->prev = prev.data;
    e->tag = m->tag;
    e->value_len = (uint32_t)value.len;
    e->row_len = (uint16_t)row.len;
    e->prev_len = (uint16_t)prev.len;
    e->common = (uint16_t)common_len((const unsigned char *)row.data, row.len, (const unsigned char *)prev.data, prev.len);
    e->check = (uint16_t)hash;
}

/* Not against an adversary: who finds colliding keys makes his own requests take the longer way. */
uint64_t
memo_hash(const unsigned char *p, size_t n, uint64_t seed)
{
    const uint64_t k = 0x9E3779B97F4A7C15ull;
    uint64_t h = seed * k ^ n, w;

    for (; n >= sizeof(w); n -= sizeof(w), p += sizeof(w)) {
        memcpy(&w, p, sizeof(w));
        h = (h ^ w) * k;
        h ^= h >> 32;
    }
    w = 0;
    memcpy(&w, p, n);
    h = (h ^ w) * k;
    h ^= h >> 29;
    h *= k;
    return h ^ h >> 32;
}
