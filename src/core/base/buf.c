/* The growing buffer; see buf.h. */
#include "core/base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
reserve(sb_buf_t *b, size_t more)
{
    size_t cap = b->cap != 0 ? b->cap : 64;

    SB_ASSERT(more < SIZE_MAX / 4 && b->len < SIZE_MAX / 4);
    while (cap < b->len + more + 1)
        cap *= 2;
    if (cap != b->cap) {
        b->data = sb_realloc(b->data, cap);
        b->cap = cap;
    }
}

void
sb_buf_add(sb_buf_t *b, const void *data, size_t len)
{
    reserve(b, len);
    if (len != 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void
sb_buf_adds(sb_buf_t *b, const char *cstr)
{
    sb_buf_add(b, cstr, strlen(cstr));
}

void
sb_buf_addc(sb_buf_t *b, char c)
{
    sb_buf_add(b, &c, 1);
}

void
sb_buf_addf(sb_buf_t *b, const char *fmt, ...)
{
    va_list ap;
    char *s = NULL;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&s, fmt, ap);
    va_end(ap);
    if (n < 0)
        sb_panic(__FILE__, __LINE__, "out of memory");
    sb_buf_add(b, s, (size_t)n);
    free(s);
}

void
sb_buf_reset(sb_buf_t *b)
{
    b->len = 0;
    if (b->data != NULL)
        b->data[0] = '\0';
}

char *
sb_buf_take(sb_buf_t *b)
{
    char *p;

    reserve(b, 0);
    b->data[b->len] = '\0';
    p = b->data;
    *b = (sb_buf_t){0};
    return p;
}

void
sb_buf_free(sb_buf_t *b)
{
    free(b->data);
    *b = (sb_buf_t){0};
}
