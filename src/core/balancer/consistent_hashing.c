/*
 * Consistent hashing on a ring of numbered points. Each address has points on it by its share of the weight; a request's hash names a
 * point, and the nearest taken point at or below it, around the end, says which address serves.
 *
 * Where points lie is an interface: nodes (and other gateways) that have the same targets agree on it. Text "<ip>::<port> <k>", k from 1,
 * XXH32 modulo the number of points; a point that is taken is passed over and one more is tried. That number is the upstream's
 * "slots". With so many targets that their points would not fit, the ring is as large as it takes (grow()).
 *
 * below[] has, for each point, the nearest one whose address is up, so that a pick is two reads; it is worked out anew when that changes.
 */
#include "core/balancer/balancer_int.h"
#include "core/balancer/xxh32.h"

#include <stdlib.h>
#include <string.h>

#define MIN_POINTS 1000
#define PER_TARGET 160
/* When a ring has to grow: about this many points in all, but not fewer than LEAST_EACH per target, on a ring four times that. */
#define GROWN_TOTAL 160000
#define LEAST_EACH  16
#define NOBODY      (-1)

struct ring {
    size_t points, n;
    int32_t *owner;  /* by point: the address, or NOBODY */
    uint32_t *below; /* by point: the nearest point whose address is up; only while any is */
    bool any;
    unsigned char *usable; /* by address: is up and has a point */
};

/* ---- where points lie ---- */

static sb_str_t
ip_of(const sb_target_t *t)
{
    return t->ip.data != NULL ? t->ip : t->host;
}

static int
compare_text(sb_str_t a, sb_str_t b)
{
    int c = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

/* By name, port, address: who comes first gets a point that two want. */
static int
compare_targets(const void *a, const void *b)
{
    const sb_target_t *x = *(const sb_target_t *const *)a, *y = *(const sb_target_t *const *)b;
    int c = compare_text(x->host, y->host);

    if (c == 0)
        c = (x->port > y->port) - (x->port < y->port);
    return c != 0 ? c : compare_text(ip_of(x), ip_of(y));
}

static const sb_target_t **
sorted(const sb_balancer_conf_t *conf)
{
    const sb_target_t **list = sb_malloc((conf->n + 1) * sizeof(*list));

    for (size_t i = 0; i < conf->n; i++)
        list[i] = &conf->addresses[i];
    qsort(list, conf->n, sizeof(*list), compare_targets);
    return list;
}

static size_t
put_number(char *out, uint64_t n)
{
    char digits[20];
    size_t len = 0;

    do
        digits[len++] = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    for (size_t i = 0; i < len; i++)
        out[i] = digits[len - 1 - i];
    return len;
}

/* "<ip>::<port> ", IPv6 in brackets. Room for 300 bytes; returns the length, behind which 20 more fit. */
static size_t
put_name(char *out, const sb_target_t *t)
{
    sb_str_t ip = ip_of(t);
    bool v6 = memchr(ip.data, ':', ip.len) != NULL;
    size_t len = 0, copied = ip.len < 256 ? ip.len : 256;

    if (v6)
        out[len++] = '[';
    memcpy(out + len, ip.data, copied);
    len += copied;
    if (v6)
        out[len++] = ']';
    memcpy(out + len, "::", 2);
    len += 2;
    len += put_number(out + len, t->port);
    out[len++] = ' ';
    return len;
}

/* Gives the address `wanted` points. False: more points than the ring has were found taken. */
static bool
place(struct ring *r, int32_t index, const sb_target_t *t, uint64_t wanted, size_t *collisions)
{
    char text[320];
    size_t len = put_name(text, t);

    for (uint64_t k = 1; wanted != 0; k++) {
        size_t at = sb_xxh32(text, len + put_number(text + len, k)) % r->points;

        if (r->owner[at] != NOBODY) {
            if (++*collisions > r->points)
                return false;
            continue;
        }
        r->owner[at] = index;
        wanted--;
    }
    return true;
}

static bool
place_all(struct ring *r, const sb_balancer_conf_t *conf, const sb_target_t **list, uint64_t per_target)
{
    uint64_t total = 0, targets = conf->n_targets != 0 ? conf->n_targets : conf->n;
    size_t collisions = 0;

    r->owner = sb_realloc(r->owner, r->points * sizeof(*r->owner));
    memset(r->owner, 0xff, r->points * sizeof(*r->owner)); /* NOBODY */
    for (size_t i = 0; i < conf->n; i++)
        total += conf->addresses[i].weight;
    for (size_t i = 0; i < conf->n; i++) {
        const sb_target_t *t = list[i];
        uint64_t wanted = t->weight == 0 ? 0 : (uint64_t)((double)t->weight / (double)total * (double)targets * (double)per_target);

        if (wanted == 0 && t->weight != 0)
            wanted = 1;
        if (!place(r, (int32_t)(t - conf->addresses), t, wanted, &collisions))
            return false;
    }
    return true;
}

/* A ring with room for all: the interface's has none. */
static void
grow(struct ring *r, const sb_balancer_conf_t *conf, const sb_target_t **list)
{
    size_t targets = conf->n_targets > conf->n ? conf->n_targets : conf->n, each = GROWN_TOTAL / targets;

    each = each > PER_TARGET ? PER_TARGET : each < LEAST_EACH ? LEAST_EACH : each;
    r->points = 4 * targets * (each + 1);
    while (!place_all(r, conf, list, each))
        r->points *= 2;
}

/* ---- the seam ---- */

/* below[] from the highest point up: what lies below point 0 is the top. */
static void
look_down(struct ring *r)
{
    size_t last = r->points;

    for (size_t i = r->points; i > 0 && last == r->points; i--)
        if (r->owner[i - 1] != NOBODY && r->usable[r->owner[i - 1]])
            last = i - 1;
    r->any = last != r->points;
    for (size_t i = 0; i < r->points && r->any; i++) {
        if (r->owner[i] != NOBODY && r->usable[r->owner[i]])
            last = i;
        r->below[i] = (uint32_t)last;
    }
}

static void
set_down(void *state, const uint64_t *down)
{
    struct ring *r = state;

    for (size_t i = 0; i < r->n; i++)
        r->usable[i] = !has_bit(down, (int)i);
    look_down(r);
}

static void *
start(const sb_balancer_conf_t *conf)
{
    struct ring *r = sb_calloc(sizeof(*r));
    const sb_target_t **list = sorted(conf);

    r->n = conf->n;
    r->points = conf->slots >= MIN_POINTS ? conf->slots : MIN_POINTS;
    if (!place_all(r, conf, list, PER_TARGET))
        grow(r, conf, list);
    free(list);
    r->below = sb_calloc(r->points * sizeof(*r->below));
    r->usable = sb_calloc(r->n + 1);
    set_down(r, NULL);
    return r;
}

static void
end(void *state)
{
    struct ring *r = state;

    free(r->owner);
    free(r->below);
    free(r->usable);
    free(r);
}

/* Downwards until an address comes that was not tried; around the ring once at most. */
static int
pick(void *state, uint32_t hash, const uint64_t *tried)
{
    const struct ring *r = state;
    size_t from, at;

    if (!r->any)
        return -1;
    from = at = r->below[hash % r->points];
    while (has_bit(tried, r->owner[at])) {
        at = r->below[at == 0 ? r->points - 1 : at - 1];
        if (at == from)
            break;
    }
    return r->owner[at];
}

const struct algorithm consistent_hashing = {"consistent-hashing", start, end, pick, set_down, NULL, true};
