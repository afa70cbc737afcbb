/* Query strings and form bodies (application/x-www-form-urlencoded) to JSON objects of text. Foreign bytes: nothing is trusted. */
#include "core/admin/admin_int.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int
hex(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    ch = (char)tolower((unsigned char)ch);
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* A % that is not followed by two hex digits stays as it is. */
static char *
unescape(sb_str_t in, bool plus, size_t *len)
{
    char *out = sb_malloc(in.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < in.len; i++) {
        char ch = in.data[i];
        if (ch == '%' && i + 2 < in.len && hex(in.data[i + 1]) >= 0 && hex(in.data[i + 2]) >= 0) {
            ch = (char)(hex(in.data[i + 1]) << 4 | hex(in.data[i + 2]));
            i += 2;
        } else if (ch == '+' && plus) {
            ch = ' ';
        }
        out[n++] = ch;
    }
    out[n] = '\0';
    if (len != NULL)
        *len = n;
    return out;
}

char *
sb_admin_unescape(sb_str_t in, size_t *len)
{
    return unescape(in, false, len);
}

char *
sb_admin_escape(const char *text)
{
    sb_buf_t out = {0};

    for (; *text != '\0'; text++) {
        if (isalnum((unsigned char)*text) || strchr("-._~", *text) != NULL)
            sb_buf_addc(&out, *text);
        else
            sb_buf_addf(&out, "%%%02X", (unsigned char)*text);
    }
    return sb_buf_take(&out);
}

bool
sb_admin_args_add(json_t *out, const char *name, size_t name_len, const char *value, size_t value_len)
{
    json_t *v = json_stringn(value, value_len), *have, *list;
    bool ok = true;

    if (v == NULL || memchr(name, '\0', name_len) != NULL) {
        json_decref(v);
        return false;
    }
    have = json_object_get(out, name);
    if (have == NULL) {
        ok = json_object_set_new(out, name, v) == 0; /* fails when the name is not UTF-8 */
    } else if (json_is_array(have)) {
        json_array_append_new(have, v);
    } else {
        list = json_array();
        json_array_append(list, have);
        json_array_append_new(list, v);
        json_object_set_new(out, name, list);
    }
    return ok;
}

static bool
add_pair(sb_str_t pair, json_t *out)
{
    const char *eq = memchr(pair.data, '=', pair.len);
    size_t name_len = eq != NULL ? (size_t)(eq - pair.data) : pair.len;
    sb_str_t value = eq != NULL ? (sb_str_t){eq + 1, pair.len - name_len - 1} : (sb_str_t){"", 0};
    size_t n, v;
    char *name = unescape((sb_str_t){pair.data, name_len}, true, &n);
    char *text = unescape(value, true, &v);
    bool ok = n == 0 || sb_admin_args_add(out, name, n, text, v);

    free(name);
    free(text);
    return ok;
}

int
sb_admin_args_parse(sb_str_t in, json_t *out, bool *utf8)
{
    size_t count = 0;

    *utf8 = true;
    while (in.len != 0) {
        const char *amp = memchr(in.data, '&', in.len);
        size_t len = amp != NULL ? (size_t)(amp - in.data) : in.len;

        if (len != 0 && ++count > SB_ADMIN_MAX_ARGS)
            return SB_DECLINED;
        if (len != 0 && !add_pair((sb_str_t){in.data, len}, out)) {
            *utf8 = false;
            return SB_DECLINED;
        }
        len += amp != NULL;
        in.data += len;
        in.len -= len;
    }
    return SB_OK;
}
