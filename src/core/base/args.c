/* Query strings and cookies; see args.h. Nothing is allocated, and everything returned lies within what was given. */
#include "core/base/args.h"
#include "core/base/hex.h"

#include <string.h>

/* Takes what is in front of the next separator, and that, off the front; rest may be empty. */
static sb_str_t
take_item(sb_str_t *rest, char separator)
{
    const char *end = memchr(rest->data, separator, rest->len);
    sb_str_t item = {rest->data, end != NULL ? (size_t)(end - rest->data) : rest->len};
    size_t used = item.len + (end != NULL);

    *rest = (sb_str_t){rest->data + used, rest->len - used};
    return item;
}

static void
split(sb_str_t item, sb_str_t *name, sb_str_t *value)
{
    const char *equals = item.len != 0 ? memchr(item.data, '=', item.len) : NULL;
    size_t len = equals != NULL ? (size_t)(equals - item.data) : item.len;

    *name = (sb_str_t){item.data, len};
    *value = equals != NULL ? (sb_str_t){equals + 1, item.len - len - 1} : (sb_str_t){NULL, 0};
}

bool
sb_args_next(sb_str_t *query, sb_str_t *name, sb_str_t *value)
{
    if (query->len == 0)
        return false;
    split(take_item(query, '&'), name, value);
    return true;
}

size_t
sb_args_decode(sb_str_t text, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++) {
        const char *s = text.data + i;
        int hi = *s == '%' && text.len - i > 2 ? sb_hex_value(s[1]) : -1, lo = hi >= 0 ? sb_hex_value(s[2]) : -1;

        i += lo >= 0 ? 2 : 0;
        out[n++] = lo >= 0 ? (char)(hi << 4 | lo) : *s == '+' ? ' ' : *s;
    }
    return n;
}

static sb_str_t
trimmed(sb_str_t s)
{
    while (s.len != 0 && (s.data[0] == ' ' || s.data[0] == '\t'))
        s = (sb_str_t){s.data + 1, s.len - 1};
    while (s.len != 0 && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

sb_str_t
sb_args_cookie(sb_str_t header, sb_str_t name)
{
    sb_str_t found, value;

    while (header.len != 0) {
        split(take_item(&header, ';'), &found, &value);
        if (value.data != NULL && sb_str_eq(trimmed(found), name))
            return trimmed(value);
    }
    return (sb_str_t){NULL, 0};
}
