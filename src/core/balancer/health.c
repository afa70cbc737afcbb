/*
 * The set of unhealthy addresses; see health.h. Open addressing with linear probing: a search ends at a slot that was never used, removal
 * leaves a mark, insertion takes the first mark or free slot of its way. At most three quarters are in use.
 */
#include "core/balancer/health.h"

#include <arpa/inet.h>
#include <string.h>

#define FREE 0
#define GONE 1
#define MOST (SB_HEALTH_SLOTS / 4 * 3)

/* Spreads the bits of x over the whole word. */
static uint64_t
mix(uint64_t x)
{
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ull;
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ull;
    return x ^ (x >> 32);
}

uint64_t
sb_health_key(const sb_uuid_t *target, const void *ip, size_t ip_len, uint16_t port)
{
    uint64_t word[4] = {0}, key = port;

    SB_ASSERT(ip_len <= 16 && sizeof(*target) == 16);
    memcpy(word, target, sizeof(*target));
    memcpy(word + 2, ip, ip_len);
    for (size_t i = 0; i < 4; i++)
        key = mix(key + 0x9e3779b97f4a7c15ull + word[i]);
    return key <= GONE ? key + 2 : key;
}

uint64_t
sb_health_key_of(const sb_uuid_t *target, const char *ip, uint16_t port)
{
    unsigned char bytes[16];

    if (inet_pton(AF_INET, ip, bytes) == 1)
        return sb_health_key(target, bytes, 4, port);
    return inet_pton(AF_INET6, ip, bytes) == 1 ? sb_health_key(target, bytes, 16, port) : 0;
}

static uint64_t
key_at(const sb_health_t *h, size_t i)
{
    return __atomic_load_n(&h->slots[i % SB_HEALTH_SLOTS].key, __ATOMIC_ACQUIRE);
}

/* The slot that holds the key; SB_HEALTH_SLOTS: none. *place: where it would go. */
static size_t
find(const sb_health_t *h, uint64_t key, size_t *place)
{
    size_t first = (size_t)(key % SB_HEALTH_SLOTS), i;

    *place = SB_HEALTH_SLOTS;
    for (i = 0; i < SB_HEALTH_SLOTS; i++) {
        uint64_t have = key_at(h, first + i);

        if (have == key)
            return (first + i) % SB_HEALTH_SLOTS;
        if (have <= GONE && *place == SB_HEALTH_SLOTS)
            *place = (first + i) % SB_HEALTH_SLOTS;
        if (have == FREE)
            break;
    }
    return SB_HEALTH_SLOTS;
}

bool
sb_health_is_down(const sb_health_t *h, uint64_t key)
{
    size_t place;

    return sb_health_any(h) && find(h, key, &place) != SB_HEALTH_SLOTS;
}

static void
moved(sb_health_t *h, uint64_t count)
{
    __atomic_store_n(&h->count, count, __ATOMIC_RELEASE);
    __atomic_fetch_add(&h->gen, 1, __ATOMIC_RELEASE);
}

/* Marks that no search has to pass any more become free. */
static void
release(sb_health_t *h, size_t i)
{
    uint64_t left = key_at(h, i + 1) == FREE ? FREE : GONE;

    __atomic_store_n(&h->slots[i].key, left, __ATOMIC_RELEASE);
    for (size_t k = i + SB_HEALTH_SLOTS - 1; left == FREE && key_at(h, k) == GONE; k--)
        __atomic_store_n(&h->slots[k % SB_HEALTH_SLOTS].key, FREE, __ATOMIC_RELEASE);
}

int
sb_health_set(sb_health_t *h, const sb_uuid_t *target, uint64_t key, bool down)
{
    size_t place, at = find(h, key, &place);

    SB_ASSERT(key > GONE);
    if (down == (at != SB_HEALTH_SLOTS))
        return SB_OK;
    if (!down) {
        release(h, at);
        moved(h, h->count - 1);
        return SB_OK;
    }
    if (h->count >= MOST || place == SB_HEALTH_SLOTS)
        return SB_DECLINED;
    h->slots[place].target = *target;
    __atomic_store_n(&h->slots[place].key, key, __ATOMIC_RELEASE);
    moved(h, h->count + 1);
    return SB_OK;
}

void
sb_health_prune(sb_health_t *h, bool (*there)(const sb_uuid_t *target, void *arg), void *arg)
{
    uint64_t count = h->count;

    for (size_t i = 0; i < SB_HEALTH_SLOTS && count != 0; i++) {
        if (h->slots[i].key <= GONE || (there != NULL && there(&h->slots[i].target, arg)))
            continue;
        release(h, i);
        count--;
    }
    if (count != h->count)
        moved(h, count);
}
