/* Helpers over jansson; see json.h. */
#include "core/base/json.h"

#include <math.h>
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

const char *
sb_json_foreign_id(const json_t *obj, const char *field)
{
    return sb_json_string(json_object_get(obj, field), "id");
}

char *
sb_json_dump_len(const json_t *value, size_t *len)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(16));

    if (text == NULL)
        sb_panic(__FILE__, __LINE__, "json_dumps: out of memory or not UTF-8");
    if (len != NULL)
        *len = strlen(text);
    return text;
}

char *
sb_json_dump(const json_t *value)
{
    return sb_json_dump_len(value, NULL);
}

json_t *
sb_json_parse(const char *text, size_t len, sb_err_t *err)
{
    json_error_t jerr;
    json_t *v = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &jerr);

    if (v == NULL)
        sb_err_set(err, SB_E_NONE, "line %d column %d: %s", jerr.line, jerr.column, jerr.text);
    return v;
}
