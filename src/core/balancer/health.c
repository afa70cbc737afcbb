/*
 * The entries of addresses that are unhealthy or have failed; see health.h. Open addressing with linear probing: a search ends at a slot
 * that was never used, removal leaves a mark, insertion takes the first mark or free slot of its way. At most three quarters are in use.
 *
 * An entry's word holds a counter of 8 bits per kind and the mark DOWN. Start at sb_health_report().
 */
#include "core/balancer/health.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FREE 0
#define GONE 1
#define MOST (SB_HEALTH_SLOTS / 4 * 3)
#define DOWN (1ull << 32)
/* Who waits so long for the lock takes it: its holder was killed, and another thread got its number. */
#define LOCK_WAIT_S 1

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

static uint64_t
word_at(const sb_health_t *h, size_t i)
{
    return __atomic_load_n(&h->slots[i].word, __ATOMIC_RELAXED);
}

bool
sb_health_is_down(const sb_health_t *h, uint64_t key)
{
    size_t place, at;

    if (!sb_health_any(h))
        return false;
    at = find(h, key, &place);
    return at != SB_HEALTH_SLOTS && (word_at(h, at) & DOWN) != 0;
}

/* ---------- the lock ---------- */

/* What a writer that was killed may have left undone. */
static void
recount(sb_health_t *h)
{
    uint64_t count = 0, entries = 0;

    for (size_t i = 0; i < SB_HEALTH_SLOTS; i++) {
        entries += h->slots[i].key > GONE;
        count += h->slots[i].key > GONE && (h->slots[i].word & DOWN) != 0;
    }
    __atomic_store_n(&h->entries, entries, __ATOMIC_RELAXED);
    __atomic_store_n(&h->count, count, __ATOMIC_RELAXED);
    __atomic_fetch_add(&h->gen, 1, __ATOMIC_RELEASE);
}

static bool
take(sb_health_t *h, uint64_t from, uint64_t self)
{
    return __atomic_compare_exchange_n(&h->lock, &from, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void
lock(sb_health_t *h)
{
    uint64_t self = (uint64_t)syscall(SYS_gettid), holder;
    time_t since = 0;

    for (unsigned spins = 1; !take(h, 0, self); spins++) {
        if (spins % 256 != 0)
            continue;
        sched_yield();
        since = since != 0 ? since : time(NULL);
        holder = __atomic_load_n(&h->lock, __ATOMIC_RELAXED);
        if (holder == 0 || (time(NULL) - since <= LOCK_WAIT_S && (kill((pid_t)holder, 0) == 0 || errno != ESRCH)))
            continue;
        if (take(h, holder, self)) {
            recount(h);
            return;
        }
    }
}

static void
unlock(sb_health_t *h)
{
    __atomic_store_n(&h->lock, 0, __ATOMIC_RELEASE);
}

/* ---------- writing, with the lock held ---------- */

/* Marks that no search has to pass any more become free. */
static void
release(sb_health_t *h, size_t i)
{
    uint64_t left = key_at(h, i + 1) == FREE ? FREE : GONE;

    __atomic_store_n(&h->slots[i].key, left, __ATOMIC_RELEASE);
    for (size_t k = i + SB_HEALTH_SLOTS - 1; left == FREE && key_at(h, k) == GONE; k--)
        __atomic_store_n(&h->slots[k % SB_HEALTH_SLOTS].key, FREE, __ATOMIC_RELEASE);
    __atomic_store_n(&h->entries, h->entries - 1, __ATOMIC_RELAXED);
}

/* Makes `word` that of the address; one that says nothing has no entry. False: no room. */
static bool
put(sb_health_t *h, const sb_uuid_t *target, uint64_t key, uint64_t word)
{
    size_t place, at = find(h, key, &place);
    uint64_t old = at != SB_HEALTH_SLOTS ? word_at(h, at) : 0;

    if (at != SB_HEALTH_SLOTS) {
        __atomic_store_n(&h->slots[at].word, word, __ATOMIC_RELAXED);
        if (word == 0)
            release(h, at);
    } else if (word != 0) {
        if (h->entries >= MOST || place == SB_HEALTH_SLOTS)
            return false;
        h->slots[place].target = *target;
        __atomic_store_n(&h->slots[place].word, word, __ATOMIC_RELAXED);
        __atomic_store_n(&h->slots[place].key, key, __ATOMIC_RELEASE);
        __atomic_store_n(&h->entries, h->entries + 1, __ATOMIC_RELAXED);
    }
    if (((old ^ word) & DOWN) != 0) {
        __atomic_store_n(&h->count, (word & DOWN) != 0 ? h->count + 1 : h->count - 1, __ATOMIC_RELEASE);
        __atomic_fetch_add(&h->gen, 1, __ATOMIC_RELEASE);
    }
    return true;
}

static uint64_t
counter(uint64_t word, enum sb_health_kind kind)
{
    return word >> (8 * kind) & 0xff;
}

static uint64_t
count_one(uint64_t word, enum sb_health_kind kind)
{
    return counter(word, kind) == 0xff ? word : word + (1ull << (8 * kind));
}

/* What an address is after another success or failure. */
static uint64_t
after(uint64_t word, enum sb_health_kind kind, uint64_t limit)
{
    if (kind == SB_HEALTH_SUCCESS) {
        word &= DOWN | 0xff;
        if ((word & DOWN) == 0)
            return 0;
        word = count_one(word, kind);
        return limit != 0 && counter(word, kind) >= limit ? 0 : word;
    }
    word &= ~0xffull;
    if (limit == 0)
        return word;
    word = count_one(word, kind);
    return counter(word, kind) >= limit ? word | DOWN : word;
}

bool
sb_health_report(sb_health_t *h, const sb_uuid_t *target, uint64_t key, enum sb_health_kind kind, const sb_health_limits_t *limits)
{
    uint64_t old, word;
    size_t place, at;
    bool done;

    SB_ASSERT(key > GONE);
    if ((kind == SB_HEALTH_SUCCESS || limits->of[kind] == 0) &&
        (__atomic_load_n(&h->entries, __ATOMIC_RELAXED) == 0 || find(h, key, &place) == SB_HEALTH_SLOTS))
        return false;
    lock(h);
    at = find(h, key, &place);
    old = at != SB_HEALTH_SLOTS ? word_at(h, at) : 0;
    word = after(old, kind, limits->of[kind]);
    done = word == old || put(h, target, key, word);
    unlock(h);
    return done && ((old ^ word) & DOWN) != 0;
}

int
sb_health_http_status(const char line[SB_HEALTH_STATUS_LINE])
{
    bool right = memcmp(line, "HTTP/1.", 7) == 0 && line[7] >= '0' && line[7] <= '9' && line[8] == ' ';
    int status = 0;

    for (size_t i = 9; i < SB_HEALTH_STATUS_LINE; i++) {
        right = right && line[i] >= '0' && line[i] <= '9';
        status = status * 10 + (line[i] - '0');
    }
    return right ? status : 0;
}

/* Protocol buffers' numbers: 7 bits a byte, the lowest first. false: they do not end. */
static bool
read_varint(const uint8_t **at, const uint8_t *end, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;

        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* Past a field's value, which `type` says the kind of; *value: a number's. false: there is no such kind, or it does not end. */
static bool
read_field(const uint8_t **at, const uint8_t *end, unsigned type, uint64_t *value)
{
    uint64_t size;

    if (type == 0)
        return read_varint(at, end, value);
    size = type == 1 ? 8 : 4;
    if ((type != 1 && type != 2 && type != 5) || (type == 2 && !read_varint(at, end, &size)) || size > (uint64_t)(end - *at))
        return false;
    *at += size;
    return true;
}

bool
sb_health_grpc_serving(const uint8_t *body, size_t len)
{
    const uint8_t *at, *end;
    uint64_t tag, value = 0, status = 0;
    size_t size;

    if (len < 5 || body[0] != 0) /* compressed: nobody has said that we read it */
        return false;
    size = (size_t)body[1] << 24 | (size_t)body[2] << 16 | (size_t)body[3] << 8 | body[4];
    if (size > len - 5)
        return false;
    for (at = body + 5, end = at + size; at < end;) {
        if (!read_varint(&at, end, &tag) || !read_field(&at, end, tag & 7, &value))
            return false;
        if (tag == (1 << 3 | 0))
            status = value;
    }
    return status == 1;
}

int
sb_health_set(sb_health_t *h, const sb_uuid_t *target, uint64_t key, bool down)
{
    bool done;

    SB_ASSERT(key > GONE);
    lock(h);
    done = put(h, target, key, down ? DOWN : 0);
    unlock(h);
    return done ? SB_OK : SB_DECLINED;
}

void
sb_health_prune(sb_health_t *h, bool (*there)(const sb_uuid_t *target, void *arg), void *arg)
{
    uint64_t entries = __atomic_load_n(&h->entries, __ATOMIC_RELAXED);

    if (entries == 0)
        return;
    lock(h);
    for (size_t i = 0; i < SB_HEALTH_SLOTS; i++) {
        struct sb_health_slot *s = &h->slots[i];

        if (s->key > GONE && (there == NULL || !there(&s->target, arg)))
            put(h, &s->target, s->key, 0);
    }
    unlock(h);
}
