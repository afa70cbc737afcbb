/*
 * Values in error messages: the notation of the interface ("{id=\"…\"}"), a Lua table literal without spaces, keys sorted, keys that
 * are no identifiers in brackets.
 */
#include "core/store/store_int.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static void add_value(sb_buf_t *b, const json_t *v);

static void
add_string(sb_buf_t *b, const char *s, size_t len)
{
    size_t i;

    sb_buf_addc(b, '"');
    for (i = 0; i < len; i++) {
        if (s[i] == '"' || s[i] == '\\')
            sb_buf_addc(b, '\\');
        if (s[i] == '\n')
            sb_buf_adds(b, "\\n");
        else if (s[i] == '\r')
            sb_buf_adds(b, "\\r");
        else if (s[i] == '\0')
            sb_buf_adds(b, "\\0");
        else
            sb_buf_addc(b, s[i]);
    }
    sb_buf_addc(b, '"');
}

static bool
is_identifier(const char *s)
{
    static const char *const keywords[] = {"and",      "break",  "do",   "else", "elseif", "end",  "false", "for",
                                           "function", "goto",   "if",   "in",   "local",  "nil",  "not",   "or",
                                           "repeat",   "return", "then", "true", "until",  "while"};
    size_t i;

    for (i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++)
        if (strcmp(s, keywords[i]) == 0)
            return false;
    if (!isalpha((unsigned char)*s) && *s != '_')
        return false;
    while (isalnum((unsigned char)*s) || *s == '_')
        s++;
    return *s == '\0';
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void
add_object(sb_buf_t *b, const json_t *v)
{
    size_t i = 0, n = json_object_size(v);
    const char **keys = sb_calloc((n + 1) * sizeof(*keys));
    const char *key;
    json_t *member;

    json_object_foreach((json_t *)v, key, member) keys[i++] = key;
    qsort(keys, n, sizeof(*keys), by_name);
    sb_buf_addc(b, '{');
    for (i = 0; i < n; i++) {
        if (i != 0)
            sb_buf_addc(b, ',');
        if (is_identifier(keys[i])) {
            sb_buf_adds(b, keys[i]);
        } else {
            sb_buf_addc(b, '[');
            add_string(b, keys[i], strlen(keys[i]));
            sb_buf_addc(b, ']');
        }
        sb_buf_addc(b, '=');
        add_value(b, json_object_get(v, keys[i]));
    }
    sb_buf_addc(b, '}');
    free(keys);
}

static void
add_array(sb_buf_t *b, const json_t *v)
{
    size_t i;
    json_t *item;

    sb_buf_addc(b, '{');
    json_array_foreach(v, i, item)
    {
        if (i != 0)
            sb_buf_addc(b, ',');
        add_value(b, item);
    }
    sb_buf_addc(b, '}');
}

static void
add_value(sb_buf_t *b, const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        add_object(b, v);
        break;
    case JSON_ARRAY:
        add_array(b, v);
        break;
    case JSON_STRING:
        add_string(b, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
        sb_buf_addf(b, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        break;
    case JSON_REAL:
        sb_buf_addf(b, "%.14g", json_real_value(v));
        break;
    case JSON_TRUE:
        sb_buf_adds(b, "true");
        break;
    case JSON_FALSE:
        sb_buf_adds(b, "false");
        break;
    case JSON_NULL:
        sb_buf_adds(b, "null");
        break;
    }
}

char *
sb_store_pretty(const json_t *value)
{
    sb_buf_t b = {0};

    add_value(&b, value);
    return sb_buf_take(&b);
}
