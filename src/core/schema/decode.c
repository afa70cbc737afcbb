/*
 * Processed values into the C structs that a table's offsets describe. Everything that is not in the struct itself lives in the
 * pool. Sizes of members follow from their types (see include/silverback/schema.h); a record in a list or map needs its row's size.
 */
#include "core/schema/schema_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int decode_value(const struct sb_field *f, const json_t *v, sb_pool_t *pool, void *out, sb_err_t *err);

static size_t
size_of(const struct sb_field *f)
{
    switch (f->type) {
    case SB_T_INTEGER:
        return sizeof(int64_t);
    case SB_T_NUMBER:
        return sizeof(double);
    case SB_T_BOOLEAN:
        return sizeof(bool);
    case SB_T_ARRAY:
    case SB_T_SET:
        return sizeof(sb_list);
    case SB_T_MAP:
        return sizeof(sb_map);
    case SB_T_RECORD:
        SB_ASSERT(f->size != 0);
        return f->size;
    default:
        return sizeof(sb_cstr);
    }
}

static sb_cstr
pool_string(sb_pool_t *pool, const char *data, size_t len)
{
    sb_str_t s = sb_pool_str(pool, data, len);

    return (sb_cstr){s.data, s.len};
}

static int
misfit(const struct sb_field *f, sb_err_t *err)
{
    return sb_err_set(err, SB_E_TRANSFORMATION, "value of '%s' does not fit its table", f->name != NULL ? f->name : "(element)");
}

static int
decode_string(const struct sb_field *f, const json_t *v, sb_pool_t *pool, sb_cstr *out, sb_err_t *err)
{
    const json_t *s = f->type == SB_T_FOREIGN ? json_object_get(v, "id") : v;

    if (!json_is_string(s))
        return misfit(f, err);
    *out = pool_string(pool, json_string_value(s), json_string_length(s));
    return SB_OK;
}

static int
decode_list(const struct sb_field *f, const json_t *v, sb_pool_t *pool, sb_list *out, sb_err_t *err)
{
    size_t size = size_of(f->elements), i;
    char *items;

    if (!json_is_array(v))
        return misfit(f, err);
    items = sb_pool_alloc(pool, json_array_size(v) * size + 1);
    for (i = 0; i < json_array_size(v); i++) {
        if (decode_value(f->elements, json_array_get(v, i), pool, items + i * size, err) != SB_OK)
            return SB_ERROR;
    }
    *out = (sb_list){json_array_size(v), items};
    return SB_OK;
}

static int
decode_map(const struct sb_field *f, const json_t *v, sb_pool_t *pool, sb_map *out, sb_err_t *err)
{
    size_t size = size_of(f->values), n = json_object_size(v), i = 0;
    const char *key;
    json_t *item;
    char *values;

    if (!json_is_object(v))
        return misfit(f, err);
    *out = (sb_map){.keys = sb_pool_alloc(pool, n * sizeof(*out->keys) + 1)};
    values = sb_pool_alloc(pool, n * size + 1);
    json_object_foreach((json_t *)v, key, item)
    {
        out->keys[i] = pool_string(pool, key, strlen(key));
        if (decode_value(f->values, item, pool, values + i * size, err) != SB_OK)
            return SB_ERROR;
        i++;
    }
    out->n = n;
    out->values = values;
    return SB_OK;
}

/* To the interface whole numbers beyond 64 bits are integers as well; the nearest that fits stands for them. */
static bool
whole_of(const json_t *v, int64_t *out)
{
    double d = json_real_value(v);

    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    if (!json_is_real(v) || floor(d) != d)
        return false;
    *out = d >= 0x1p63 ? INT64_MAX : d <= -0x1p63 ? SB_UNSET_INT + 1 : (int64_t)d;
    return true;
}

static int
decode_number(const struct sb_field *f, const json_t *v, void *out, sb_err_t *err)
{
    int64_t whole;

    if (f->type == SB_T_NUMBER) {
        if (!json_is_number(v))
            return misfit(f, err);
        *(double *)out = json_number_value(v);
        return SB_OK;
    }
    if (!whole_of(v, &whole))
        return misfit(f, err);
    memcpy(out, &whole, sizeof(whole));
    return SB_OK;
}

static int
decode_json(const json_t *v, sb_pool_t *pool, sb_cstr *out)
{
    size_t len;
    char *text = sb_json_dump_len(v, &len);

    *out = pool_string(pool, text, len);
    free(text);
    return SB_OK;
}

static int
decode_unset(const struct sb_field *f, sb_pool_t *pool, void *out, sb_err_t *err)
{
    switch (f->type) {
    case SB_T_INTEGER:
        *(int64_t *)out = SB_UNSET_INT;
        return SB_OK;
    case SB_T_NUMBER:
        *(double *)out = NAN;
        return SB_OK;
    case SB_T_RECORD:
        return f->fields != NULL ? sb_schema_decode_struct(f->fields, NULL, pool, out, err) : SB_OK;
    default:
        memset(out, 0, size_of(f));
        return SB_OK;
    }
}

static int
decode_value(const struct sb_field *f, const json_t *v, sb_pool_t *pool, void *out, sb_err_t *err)
{
    if (v == NULL || json_is_null(v))
        return decode_unset(f, pool, out, err);
    switch (f->type) {
    case SB_T_INTEGER:
    case SB_T_NUMBER:
        return decode_number(f, v, out, err);
    case SB_T_BOOLEAN:
        *(bool *)out = json_is_true(v);
        return json_is_boolean(v) ? SB_OK : misfit(f, err);
    case SB_T_ARRAY:
    case SB_T_SET:
        return decode_list(f, v, pool, out, err);
    case SB_T_MAP:
        return decode_map(f, v, pool, out, err);
    case SB_T_RECORD:
        return json_is_object(v) ? sb_schema_decode_struct(f->fields, v, pool, out, err) : misfit(f, err);
    case SB_T_JSON:
        return decode_json(v, pool, out);
    default:
        return decode_string(f, v, pool, out, err);
    }
}

int
sb_schema_decode_struct(const struct sb_field *fields, const json_t *value, sb_pool_t *pool, void *out, sb_err_t *err)
{
    for (; fields->name != NULL; fields++) {
        if (decode_value(fields, json_object_get(value, fields->name), pool, (char *)out + fields->offset, err) != SB_OK)
            return SB_ERROR;
    }
    return SB_OK;
}
