/* UUIDs and random bytes; see uuid.h. */
#include "core/base/uuid.h"
#include "core/base/hex.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

bool
sb_uuid_parse(const char *text, size_t len, sb_uuid_t *out)
{
    size_t n = 0;

    if (len != SB_UUID_TEXT)
        return false;
    for (size_t i = 0; i < len; i++) {
        int hi, lo;
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i] != '-')
                return false;
            continue;
        }
        hi = sb_hex_value(text[i]);
        lo = sb_hex_value(text[i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        out->b[n++] = (unsigned char)(hi << 4 | lo);
        i++;
    }
    return true;
}

void
sb_uuid_format(const sb_uuid_t *u, char out[SB_UUID_TEXT + 1])
{
    static const char digits[] = "0123456789abcdef";
    char *p = out;

    for (int i = 0; i < SB_UUID_LEN; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = digits[u->b[i] >> 4];
        *p++ = digits[u->b[i] & 15];
    }
    *p = '\0';
}

void
sb_random_bytes(void *out, size_t len)
{
    char *p = out;

    while (len != 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0)
            sb_panic(__FILE__, __LINE__, "getrandom");
        p += n;
        len -= (size_t)n;
    }
}

void
sb_uuid_v4(char out[SB_UUID_TEXT + 1])
{
    sb_uuid_t u;

    sb_random_bytes(u.b, sizeof(u.b));
    u.b[6] = (unsigned char)((u.b[6] & 0x0f) | 0x40);
    u.b[8] = (unsigned char)((u.b[8] & 0x3f) | 0x80);
    sb_uuid_format(&u, out);
}

void
sb_uuid_v5(const sb_uuid_t *ns, const char *name, size_t len, sb_uuid_t *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    SB_ASSERT(ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha1(), NULL) == 1);
    EVP_DigestUpdate(ctx, ns->b, SB_UUID_LEN);
    EVP_DigestUpdate(ctx, name, len);
    EVP_DigestFinal_ex(ctx, digest, NULL);
    EVP_MD_CTX_free(ctx);
    memcpy(out->b, digest, SB_UUID_LEN);
    out->b[6] = (unsigned char)((out->b[6] & 0x0f) | 0x50);
    out->b[8] = (unsigned char)((out->b[8] & 0x3f) | 0x80);
}
