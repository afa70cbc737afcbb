/*
 * What logs may show of a request's URL: secrets are told by their names, since the log writes lines of requests that no endpoint has seen.
 * Hidden are the value of a query argument with such a name, and the path's segment behind one that names credentials or cached rows
 * ("/key-auths/<key>", "/cache/<key>"), unless it is the id of a row. A name written with escapes may be any.
 */
#include "core/admin/admin_int.h"

#include <string.h>
#include <strings.h>

#define MASK "***"

/* Arguments and collections: "keys" and "key-sets" are collections whose rows are found by names. */
static const char *const in_arguments[] = {"pass", "secret", "token", "key", "credential", "auth", NULL};
static const char *const in_paths[] = {"pass", "secret", "token", "key-", "keyauth", "apikey", "credential", "auth", "jwt", "cache", NULL};
static const char *const open_paths[] = {"key-sets", "key_sets", NULL};

static bool
holds(sb_str_t name, const char *word)
{
    size_t n = strlen(word);

    for (size_t i = 0; i + n <= name.len; i++)
        if (strncasecmp(name.data + i, word, n) == 0)
            return true;
    return false;
}

static bool
names_secret(sb_str_t name, const char *const *words)
{
    if (memchr(name.data, '%', name.len) != NULL)
        return true;
    for (; *words != NULL; words++)
        if (holds(name, *words))
            return true;
    return false;
}

static bool
is_open(sb_str_t segment)
{
    for (const char *const *name = open_paths; *name != NULL; name++)
        if (sb_str_eqc(segment, *name))
            return true;
    return false;
}

/* Where one of `ends` or the line's end is, from at on. */
static size_t
until(sb_str_t line, size_t at, const char *ends)
{
    while (at < line.len && memchr(ends, line.data[at], strlen(ends)) == NULL)
        at++;
    return at;
}

/* Adds text as far as there is room; the new length. */
static size_t
put(char *out, size_t n, size_t size, const char *text, size_t len)
{
    len = len < size - n ? len : size - n;
    memcpy(out + n, text, len);
    return n + len;
}

static size_t
put_path(sb_str_t line, size_t *at, char *out, size_t n, size_t size)
{
    bool secret = false;
    sb_uuid_t id;

    while (*at < line.len && line.data[*at] != '?' && line.data[*at] != ' ') {
        size_t end = until(line, *at + 1, "/? "); /* at a slash */
        sb_str_t segment = {line.data + *at + 1, end - *at - 1};

        n = put(out, n, size, "/", 1);
        if (secret && segment.len != 0 && !sb_uuid_parse(segment.data, segment.len, &id))
            n = put(out, n, size, MASK, strlen(MASK));
        else
            n = put(out, n, size, segment.data, segment.len);
        secret = segment.len != 0 && !is_open(segment) && names_secret(segment, in_paths);
        *at = end;
    }
    return n;
}

static size_t
put_query(sb_str_t line, size_t *at, char *out, size_t n, size_t size)
{
    while (*at < line.len && line.data[*at] != ' ') {
        size_t eq = until(line, *at, "=& "), end = until(line, eq, "& "), next = end + (end < line.len && line.data[end] == '&');
        bool secret = end > eq && names_secret((sb_str_t){line.data + *at, eq - *at}, in_arguments);

        if (secret) {
            n = put(out, n, size, line.data + *at, eq + 1 - *at);
            n = put(out, n, size, MASK, strlen(MASK));
            n = put(out, n, size, line.data + end, next - end);
        } else {
            n = put(out, n, size, line.data + *at, next - *at);
        }
        *at = next;
    }
    return n;
}

size_t
sb_admin_hide_secrets(sb_str_t line, bool query_only, char *out, size_t size)
{
    size_t at = 0, n = 0;

    if (!query_only) {
        at = until(line, 0, "/?"); /* behind the method, where there is one */
        n = put(out, n, size, line.data, at);
        n = put_path(line, &at, out, n, size);
        if (at < line.len && line.data[at] == '?')
            n = put(out, n, size, line.data + at++, 1);
    }
    n = put_query(line, &at, out, n, size);
    return put(out, n, size, line.data + at, line.len - at);
}
