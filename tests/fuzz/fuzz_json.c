/*
 * Any JSON text, as bodies, lines on the socket between the instances and rows have it: what is taken can be written and read again.
 * Numbers are written with 16 digits, as the interface shows them, so they come back nearly the same.
 */
#include <math.h>

#include "core/base/json.h"
#include "fuzz.h"

static bool same(const json_t *a, const json_t *b);

static bool
same_object(const json_t *a, const json_t *b)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)a, key, value)
    {
        const json_t *other = json_object_get(b, key);
        if (other == NULL || !same(value, other))
            return false;
    }
    return json_object_size(a) == json_object_size(b);
}

static bool
same(const json_t *a, const json_t *b)
{
    if (json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_real(a))
        return fabs(json_real_value(a) - json_real_value(b)) <= fabs(json_real_value(a)) * 1e-15;
    if (json_is_object(a))
        return same_object(a, b);
    for (size_t i = 0; json_is_array(a) && i < json_array_size(a); i++)
        if (i >= json_array_size(b) || !same(json_array_get(a, i), json_array_get(b, i)))
            return false;
    return json_is_array(a) ? json_array_size(a) == json_array_size(b) : json_equal(a, b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sb_err_t err = {0};
    json_t *value = sb_json_parse((const char *)data, size, &err), *again;
    size_t len;
    char *text;

    sb_err_clear(&err);
    if (value == NULL)
        return 0;
    text = sb_json_dump_len(value, &len);
    SB_ASSERT(text != NULL && strlen(text) == len);
    again = sb_json_parse(text, len, NULL);
    SB_ASSERT(again != NULL && same(value, again));
    json_decref(again);
    json_decref(value);
    free(text);
    return 0;
}
