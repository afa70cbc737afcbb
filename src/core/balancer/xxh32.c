/* XXH32 by its public specification: four lanes over blocks of 16 bytes, then words, then bytes, then mixing. */
#include "core/balancer/xxh32.h"

#include <string.h>

#define P1 2654435761u
#define P2 2246822519u
#define P3 3266489917u
#define P4 668265263u
#define P5 374761393u

static uint32_t
rotate(uint32_t x, int by)
{
    return x << by | x >> (32 - by);
}

static uint32_t
word_at(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t
lane(uint32_t acc, const unsigned char *p)
{
    return rotate(acc + word_at(p) * P2, 13) * P1;
}

static uint32_t
blocks(const unsigned char **p, const unsigned char *end)
{
    uint32_t a = P1 + P2, b = P2, c = 0, d = 0u - P1;

    for (; end - *p >= 16; *p += 16) {
        a = lane(a, *p);
        b = lane(b, *p + 4);
        c = lane(c, *p + 8);
        d = lane(d, *p + 12);
    }
    return rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
}

uint32_t
sb_xxh32(const void *data, size_t len)
{
    const unsigned char *p = len != 0 ? data : (const unsigned char *)"", *end = p + len;
    uint32_t h = (len >= 16 ? blocks(&p, end) : P5) + (uint32_t)len;

    for (; end - p >= 4; p += 4)
        h = rotate(h + word_at(p) * P3, 17) * P4;
    for (; p < end; p++)
        h = rotate(h + *p * P5, 11) * P1;
    h = (h ^ h >> 15) * P2;
    h = (h ^ h >> 13) * P3;
    return h ^ h >> 16;
}
