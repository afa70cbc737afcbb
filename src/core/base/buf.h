/* A growing byte buffer, always NUL-terminated behind its length. Zero-initialise; sb_buf_free() ends it. */
#ifndef SB_BUF_H
#define SB_BUF_H

#include "core/base/base.h"

typedef struct sb_buf {
    char *data;
    size_t len;
    size_t cap;
} sb_buf_t;

void sb_buf_add(sb_buf_t *b, const void *data, size_t len);
void sb_buf_adds(sb_buf_t *b, const char *cstr);
void sb_buf_addc(sb_buf_t *b, char c);
void sb_buf_addf(sb_buf_t *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sb_buf_reset(sb_buf_t *b); /* length 0, memory kept */
/* Hands the bytes (malloc'ed, NUL-terminated, "" when empty) to the caller and empties the buffer. */
char *sb_buf_take(sb_buf_t *b);
void sb_buf_free(sb_buf_t *b);

#endif
