/* Request ids: 16 random bytes as 32 hexadecimal characters. The kernel's bytes are fetched in blocks, not once per request. */
#include "proxy/proxy_int.h"

#define ID_BYTES 16

void
sb_request_id_make(u_char id[32])
{
    static const char digits[] = "0123456789abcdef";
    static u_char block[256 * ID_BYTES];
    static size_t left;
    const u_char *bytes;

    /* A worker fills its block at its first request, after fork, so no two workers share one. */
    if (left == 0) {
        sb_random_bytes(block, sizeof(block));
        left = sizeof(block);
    }
    left -= ID_BYTES;
    bytes = block + left;
    for (size_t i = 0; i < ID_BYTES; i++) {
        id[2 * i] = (u_char)digits[bytes[i] >> 4];
        id[2 * i + 1] = (u_char)digits[bytes[i] & 15];
    }
}
