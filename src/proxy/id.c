/* Request ids: 16 random bytes as 32 hexadecimal characters. The kernel's bytes are fetched in blocks, not once per request. */
#include "proxy/proxy_int.h"

#define ID_BYTES 16

static const char digits[] = "0123456789abcdef";

void
sb_request_id_make(u_char id[32])
{
    static char pairs[256][2]; /* "00" to "ff" */
    static u_char block[256 * ID_BYTES];
    static size_t left;
    const u_char *bytes;

    /* A worker fills its block at its first request, after fork, so no two workers share one. */
    if (left == 0) {
        if (pairs[255][0] == '\0')
            for (size_t i = 0; i < 256; i++)
                memcpy(pairs[i], (char[]){digits[i >> 4], digits[i & 15]}, 2);
        sb_random_bytes(block, sizeof(block));
        left = sizeof(block);
    }
    left -= ID_BYTES;
    bytes = block + left;
    for (size_t i = 0; i < ID_BYTES; i++)
        memcpy(id + 2 * i, pairs[bytes[i]], 2);
}
