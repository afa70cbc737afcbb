/* UUIDs: binary form is 16 bytes in text order; text is 36 lower-case characters. */
#ifndef SB_UUID_H
#define SB_UUID_H

#include "core/base/base.h"

#define SB_UUID_LEN  16
#define SB_UUID_TEXT 36

typedef struct sb_uuid {
    unsigned char b[SB_UUID_LEN];
} sb_uuid_t;

bool sb_uuid_parse(const char *text, size_t len, sb_uuid_t *out); /* either case; false when not a UUID */
void sb_uuid_format(const sb_uuid_t *u, char out[SB_UUID_TEXT + 1]);
void sb_uuid_v4(char out[SB_UUID_TEXT + 1]); /* random, from the kernel */
/* Name-based (SHA-1), namespace given as binary. */
void sb_uuid_v5(const sb_uuid_t *ns, const char *name, size_t len, sb_uuid_t *out);
void sb_random_bytes(void *out, size_t len); /* cryptographic; aborts if the kernel has none */

#endif
