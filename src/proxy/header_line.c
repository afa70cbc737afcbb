/*
 * Header lines of answers. Every header of every answer comes through here, so lines are searched with memchr() and names pass one
 * table that tells at once what is allowed and what its lower case is. What a client could take for another line (a bare CR, NUL) or a
 * server could hide behind (blanks in a name, continued lines) is refused.
 */
#include "proxy/header_line.h"

#include <string.h>

/* 0: ends a name, rightly or not. Lower case otherwise; what is not ASCII stays as it is. */
static unsigned char lowered[256];

static void __attribute__((constructor)) fill_table(void)
{
    for (unsigned c = 0x21; c < 256; c++)
        lowered[c] = (unsigned char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    lowered[0x7f] = lowered[':'] = 0;
}

static bool
is_blank(unsigned char c)
{
    return c == ' ' || c == '\t';
}

bool
sb_header_line_parse(const unsigned char *line, size_t len, sb_header_line_t *out)
{
    size_t n = 0, start, end = len;
    uintptr_t hash = 0;
    unsigned char c;

    for (; n < len && (c = lowered[line[n]]) != 0; n++)
        hash = hash * 31 + c;
    if (n == 0 || (n < len && line[n] != ':'))
        return false;
    start = n < len ? n + 1 : n;
    while (start < end && is_blank(line[start]))
        start++;
    while (end > start && is_blank(line[end - 1]))
        end--;
    *out = (sb_header_line_t){n, start, end - start, hash};
    return memchr(line + start, '\r', end - start) == NULL && memchr(line + start, '\0', end - start) == NULL;
}
