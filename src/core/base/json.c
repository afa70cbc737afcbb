/* Helpers over jansson; see json.h. */
#include "core/base/buf.h"
#include "core/base/json.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *
sb_json_get(const json_t *obj, const char *key)
{
    json_t *v = json_object_get(obj, key);
    return v == NULL || json_is_null(v) ? NULL : v;
}

const char *
sb_json_string(const json_t *obj, const char *key)
{
    return json_string_value(json_object_get(obj, key));
}

int64_t
sb_json_int(const json_t *obj, const char *key, int64_t fallback)
{
    json_t *v = json_object_get(obj, key);

    if (json_is_integer(v))
        return (int64_t)json_integer_value(v);
    if (json_is_real(v) && floor(json_real_value(v)) == json_real_value(v) && fabs(json_real_value(v)) < 9e15)
        return (int64_t)json_real_value(v);
    return fallback;
}

bool
sb_json_bool(const json_t *obj, const char *key, bool fallback)
{
    json_t *v = json_object_get(obj, key);
    return json_is_boolean(v) ? json_is_true(v) : fallback;
}

bool
sb_json_same(const json_t *a, const json_t *b, const char *key)
{
    const json_t *x = sb_json_get(a, key), *y = sb_json_get(b, key);

    return x == y || (x != NULL && y != NULL && json_equal(x, y));
}

const char *
sb_json_foreign_id(const json_t *obj, const char *field)
{
    return sb_json_string(json_object_get(obj, field), "id");
}

/* --- writing: rows are written several times per change, and jansson's writer calls back per token --- */

static void
dump_string(sb_buf_t *b, const char *s, size_t len)
{
    static const char short_form[32] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    size_t i, from = 0;

    sb_buf_addc(b, '"');
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c >= 32 && c != '"' && c != '\\')
            continue;
        sb_buf_add(b, s + from, i - from);
        from = i + 1;
        if (c >= 32 || short_form[c] != 0) {
            sb_buf_addc(b, '\\');
            sb_buf_addc(b, c >= 32 ? (char)c : short_form[c]);
        } else {
            sb_buf_addf(b, "\\u%04X", c);
        }
    }
    sb_buf_add(b, s + from, len - from);
    sb_buf_addc(b, '"');
}

/* "1e+05" becomes "1e5"; returns the length. */
static int
short_exponent(char *text, int n)
{
    char *e = strchr(text, 'e'), *digits, *to;

    if (e == NULL)
        return n;
    to = e[1] == '-' ? e + 2 : e + 1;
    digits = e + 2;
    while (*digits == '0' && digits[1] != '\0')
        digits++;
    memmove(to, digits, strlen(digits) + 1);
    return (int)strlen(text);
}

static void
dump_number(sb_buf_t *b, const json_t *v)
{
    char text[64];
    int n;

    if (json_is_integer(v)) {
        n = snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    } else {
        n = snprintf(text, sizeof(text), "%.16g", json_real_value(v));
        if (isinf(strtod(text, NULL))) /* rounded up beyond the largest number */
            n = snprintf(text, sizeof(text), "%.17g", json_real_value(v));
        n = short_exponent(text, n);
        if (strpbrk(text, ".e") == NULL) { /* stays a real when it is read again */
            memcpy(text + n, ".0", 3);
            n += 2;
        }
    }
    sb_buf_add(b, text, (size_t)n);
}

static void
dump(sb_buf_t *b, const json_t *v)
{
    const char *key;
    json_t *item;
    size_t i;
    bool first = true;

    switch (json_typeof(v)) {
    case JSON_OBJECT:
        json_object_foreach((json_t *)v, key, item)
        {
            sb_buf_addc(b, first ? '{' : ',');
            first = false;
            dump_string(b, key, strlen(key));
            sb_buf_addc(b, ':');
            dump(b, item);
        }
        sb_buf_adds(b, first ? "{}" : "}");
        break;
    case JSON_ARRAY:
        sb_buf_addc(b, '[');
        json_array_foreach(v, i, item)
        {
            if (i != 0)
                sb_buf_addc(b, ',');
            dump(b, item);
        }
        sb_buf_addc(b, ']');
        break;
    case JSON_STRING:
        dump_string(b, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        dump_number(b, v);
        break;
    default:
        sb_buf_adds(b, json_is_true(v) ? "true" : json_is_false(v) ? "false" : "null");
        break;
    }
}

char *
sb_json_dump_len(const json_t *value, size_t *len)
{
    sb_buf_t b = {0};

    dump(&b, value);
    if (len != NULL)
        *len = b.len;
    return sb_buf_take(&b);
}

char *
sb_json_dump(const json_t *value)
{
    return sb_json_dump_len(value, NULL);
}

/* --- reading --- */

/* Whether digits, behind a sign or not, are a number that 64 bits cannot hold. */
static bool
beyond_64_bits(const char *digits, size_t n, bool negative)
{
    const char *most = negative ? "9223372036854775808" : "9223372036854775807";

    return n > strlen(most) || (n == strlen(most) && memcmp(digits, most, n) > 0);
}

/* What is behind the number that begins here; *whole: it needs a fraction to be read as a real. */
static const char *
skip_number(const char *at, const char *end, bool *whole)
{
    bool negative = *at == '-';
    const char *digits = at + negative, *rest;

    for (at = digits; at < end && isdigit((unsigned char)*at);)
        at++;
    for (rest = at; rest < end && *rest != '\0' && strchr("0123456789.eE+-", *rest) != NULL;)
        rest++;
    *whole = rest == at && beyond_64_bits(digits, (size_t)(at - digits), negative);
    return rest;
}

/* Behind the closing quote of the string that begins here. */
static const char *
skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        at += *at == '\\' && at + 1 < end;
    return at < end ? at + 1 : end;
}

/* The text with its whole numbers beyond 64 bits written as reals. */
static void
widen_numbers(sb_buf_t *b, const char *at, const char *end)
{
    while (at < end) {
        const char *from = at;
        bool whole = false;

        if (*at == '"')
            at = skip_string(at, end);
        else if (*at == '-' || isdigit((unsigned char)*at))
            at = skip_number(at, end, &whole);
        else
            at++;
        sb_buf_add(b, from, (size_t)(at - from));
        sb_buf_adds(b, whole ? ".0" : "");
    }
}

json_t *
sb_json_parse(const char *text, size_t len, sb_err_t *err)
{
    const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_error_t jerr;
    json_t *v = json_loadb(text, len, flags, &jerr);

    /* jansson has no number for it, other readers of JSON take the nearest double. */
    if (v == NULL && json_error_code(&jerr) == json_error_numeric_overflow) {
        sb_buf_t wide = {0};

        widen_numbers(&wide, text, text + len);
        v = json_loadb(wide.data, wide.len, flags, &jerr);
        sb_buf_free(&wide);
    }
    if (v == NULL)
        sb_err_set(err, SB_E_NONE, "line %d column %d: %s", jerr.line, jerr.column, jerr.text);
    return v;
}
