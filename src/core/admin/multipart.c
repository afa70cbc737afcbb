/*
 * multipart/form-data (RFC 7578) to a JSON object of text. Only the name of a part counts; its file name and type do not. Foreign
 * bytes: every step looks at the remaining length first.
 */
#include "core/admin/admin_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_BOUNDARY 256 /* RFC 2046 allows 70 */

/* The value of `;name=value` or `;name="value"` in a header; false when absent. Copies at most size - 1 bytes. */
static bool
parameter(sb_str_t header, const char *name, char *out, size_t size)
{
    size_t n = strlen(name), len = 0;
    const char *p = memchr(header.data, ';', header.len), *end = header.data + header.len;

    while (p != NULL) {
        do
            p++;
        while (p < end && (*p == ' ' || *p == '\t'));
        if ((size_t)(end - p) > n && strncasecmp(p, name, n) == 0 && p[n] == '=')
            break;
        /* On to the next parameter, past a quoted value. */
        for (bool quoted = false; p < end && (quoted || *p != ';'); p++)
            quoted ^= *p == '"';
        if (p == end)
            p = NULL;
    }
    if (p == NULL)
        return false;
    p += n + 1;
    if (p < end && *p == '"') {
        for (p++; p < end && *p != '"' && len + 1 < size; p++) {
            if (*p == '\\' && p + 1 < end)
                p++;
            out[len++] = *p;
        }
    } else {
        for (; p < end && *p != ';' && *p != ' ' && *p != '\t' && len + 1 < size; p++)
            out[len++] = *p;
    }
    out[len] = '\0';
    return true;
}

static const char *
find(sb_str_t in, const char *what, size_t n)
{
    return in.len != 0 ? memmem(in.data, in.len, what, n) : NULL;
}

static sb_str_t
after(sb_str_t in, const char *p)
{
    return (sb_str_t){p, (size_t)(in.data + in.len - p)};
}

/* Reads the part's header lines; leaves *part at its content. False when it has no end or no name. */
static bool
part_name(sb_str_t *part, char *name, size_t size)
{
    static const char field[] = "content-disposition:";
    bool found = false;
    const char *eol;

    while ((eol = find(*part, "\r\n", 2)) != NULL) {
        sb_str_t line = {part->data, (size_t)(eol - part->data)};

        *part = after(*part, eol + 2);
        if (line.len == 0)
            return found;
        if (line.len >= sizeof(field) - 1 && strncasecmp(line.data, field, sizeof(field) - 1) == 0)
            found = parameter(line, "name", name, size);
    }
    return false;
}

/* `body` stands behind a delimiter line. */
static int
parts(sb_str_t body, const char *delimiter, json_t *out, bool *ok)
{
    size_t n = strlen(delimiter);
    char name[1024];

    for (size_t count = 1;; count++) {
        sb_str_t part;
        const char *end;

        /* Behind the delimiter: "--" ends, else optional blanks and a line end. */
        if (body.len >= 2 && memcmp(body.data, "--", 2) == 0)
            return SB_OK;
        while (body.len != 0 && (*body.data == ' ' || *body.data == '\t'))
            body = after(body, body.data + 1);
        if (body.len < 2 || memcmp(body.data, "\r\n", 2) != 0)
            break;
        body = after(body, body.data + 2);
        end = find(body, delimiter, n);
        if (end == NULL)
            break;
        part = (sb_str_t){body.data, (size_t)(end - body.data)};
        if (count > SB_ADMIN_MAX_ARGS)
            return SB_DECLINED;
        if (!part_name(&part, name, sizeof(name)) || !sb_admin_args_add(out, name, strlen(name), part.data, part.len))
            break;
        body = after(body, end + n);
    }
    *ok = false;
    return SB_DECLINED;
}

int
sb_admin_multipart_parse(sb_str_t content_type, sb_str_t body, json_t *out, bool *ok)
{
    char boundary[MAX_BOUNDARY], delimiter[MAX_BOUNDARY + 4];
    const char *first;
    size_t n;

    *ok = true;
    if (content_type.len == 0 || !parameter(content_type, "boundary", boundary, sizeof(boundary)) || boundary[0] == '\0')
        goto bad;
    n = (size_t)snprintf(delimiter, sizeof(delimiter), "\r\n--%s", boundary);
    /* The first delimiter may open the body, without the line end before it. */
    if (sb_str_starts(body, (sb_str_t){delimiter + 2, n - 2}))
        return parts(after(body, body.data + n - 2), delimiter, out, ok);
    first = find(body, delimiter, n);
    if (first != NULL)
        return parts(after(body, first + n), delimiter, out, ok);
bad:
    *ok = false;
    return SB_DECLINED;
}
