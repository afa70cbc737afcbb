/*
 * Trailer sections as text; see trailer_text.h. nginx's own parser of chunks passes over them: it stays the judge of the framing, and this
 * reads the same bytes a second time only to find where the section begins.
 */
#include "proxy/trailer_text.h"

#include <string.h>
#include <strings.h>

/* In a line of framing: AT_START may also be the line end that follows the data of a chunk. */
enum { AT_START, ZEROS, LAST_EXTENSION, OTHER_CHUNK, IN_SECTION };

static unsigned char
step(unsigned char state, unsigned char c)
{
    switch (state) {
    case AT_START:
        return c == '0' ? ZEROS : c == '\r' || c == '\n' ? AT_START : OTHER_CHUNK;
    case ZEROS:
        if (c == '0')
            return ZEROS;
        if (c == '\n')
            return IN_SECTION;
        return c == '\r' || c == ';' || c == ' ' || c == '\t' ? LAST_EXTENSION : OTHER_CHUNK;
    case LAST_EXTENSION:
        return c == '\n' ? IN_SECTION : LAST_EXTENSION;
    default:
        return c == '\n' ? AT_START : OTHER_CHUNK;
    }
}

size_t
sb_last_chunk_find(sb_last_chunk_t *t, const unsigned char *p, size_t n)
{
    size_t i;

    for (i = 0; i < n && t->state != IN_SECTION; i++)
        t->state = step(t->state, p[i]);
    return i;
}

bool
sb_trailer_next(const unsigned char **pos, const unsigned char *end, const unsigned char **line, size_t *len)
{
    const unsigned char *lf = *pos < end ? memchr(*pos, '\n', (size_t)(end - *pos)) : NULL;

    if (lf == NULL)
        return false;
    *line = *pos;
    *len = (size_t)(lf - *pos);
    *pos = lf + 1;
    if (*len > 0 && (*line)[*len - 1] == '\r')
        (*len)--;
    return *len > 0;
}

static bool
is_forbidden(const unsigned char *name, size_t len)
{
    static const char *const names[] = {
        "connection", "content-encoding", "content-length",    "content-range", "content-type", "host", "keep-alive", "proxy-connection",
        "te",         "trailer",          "transfer-encoding", "upgrade"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strlen(names[i]) == len && strncasecmp((const char *)name, names[i], len) == 0)
            return true;
    return false;
}

bool
sb_trailer_parse(const unsigned char *line, size_t len, sb_header_line_t *out)
{
    return sb_header_line_parse(line, len, out) && out->name_len < len && !is_forbidden(line, out->name_len);
}
