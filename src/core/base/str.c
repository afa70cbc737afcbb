/* Strings and memory that must be there; see base.h. */
#include "core/base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool
sb_str_eq(sb_str_t a, sb_str_t b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool
sb_str_eqc(sb_str_t a, const char *cstr)
{
    size_t n = strlen(cstr);
    return a.len == n && (n == 0 || memcmp(a.data, cstr, n) == 0);
}

bool
sb_str_ieq(sb_str_t a, sb_str_t b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.data, b.data, a.len) == 0);
}

bool
sb_str_starts(sb_str_t s, sb_str_t prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

bool
sb_str_eq_consttime(sb_str_t a, sb_str_t b)
{
    volatile unsigned char diff = 0;

    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        diff |= (unsigned char)(a.data[i] ^ b.data[i]);
    return diff == 0;
}

char *
sb_strdup_len(const char *data, size_t len)
{
    char *p = sb_malloc(len + 1);
    if (len != 0)
        memcpy(p, data, len);
    p[len] = '\0';
    return p;
}

char *
sb_asprintf(const char *fmt, ...)
{
    char *p = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&p, fmt, ap) < 0)
        sb_panic(__FILE__, __LINE__, "out of memory");
    va_end(ap);
    return p;
}

void *
sb_malloc(size_t n)
{
    void *p = malloc(n != 0 ? n : 1);
    if (p == NULL)
        sb_panic(__FILE__, __LINE__, "out of memory");
    return p;
}

void *
sb_calloc(size_t n)
{
    void *p = calloc(1, n != 0 ? n : 1);
    if (p == NULL)
        sb_panic(__FILE__, __LINE__, "out of memory");
    return p;
}

void *
sb_realloc(void *old, size_t n)
{
    void *p = realloc(old, n != 0 ? n : 1);
    if (p == NULL)
        sb_panic(__FILE__, __LINE__, "out of memory");
    return p;
}

void
sb_panic(const char *file, int line, const char *what)
{
    fprintf(stderr, "silverback: %s:%d: assertion failed: %s\n", file, line, what);
    abort();
}
