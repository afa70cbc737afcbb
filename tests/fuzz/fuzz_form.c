/*
 * Fuzz target: "name=value" lines become form arguments (repeated names an array, as a client's form is), are decoded by an entity's
 * schema, and the result is processed. The first byte chooses the entity.
 */
#include <stdlib.h>
#include <string.h>

#include "core/entities/entities.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
add(json_t *args, const char *name, size_t name_len, const char *value, size_t value_len)
{
    char *key = sb_strdup_len(name, name_len);
    json_t *v = json_stringn(value, value_len), *old = json_object_get(args, key);

    if (v == NULL || json_object_set(args, key, old != NULL ? old : v) != 0) {
        json_decref(v); /* not UTF-8: the Admin API refuses it before */
    } else if (old == NULL) {
        json_decref(v);
    } else if (json_is_array(old)) {
        json_array_append_new(old, v);
    } else {
        json_object_set_new(args, key, json_pack("[O, o]", old, v));
    }
    free(key);
}

static json_t *
arguments(const char *text, size_t size)
{
    json_t *args = json_object();
    const char *end, *eq;
    size_t len;

    while (size != 0) {
        end = memchr(text, '\n', size);
        len = end != NULL ? (size_t)(end - text) : size;
        if ((eq = memchr(text, '=', len)) != NULL)
            add(args, text, (size_t)(eq - text), eq + 1, len - (size_t)(eq - text) - 1);
        size -= end != NULL ? len + 1 : len;
        text += end != NULL ? len + 1 : len;
    }
    return args;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const sb_entity_t *const *all;
    json_t *args, *object, *row = NULL;
    sb_err_t err = {0};
    size_t n;

    sb_entities_init();
    if (size == 0)
        return 0;
    all = sb_entities_all(&n);
    args = arguments((const char *)data + 1, size - 1);
    json_decref(sb_schema_decode_form(NULL, NULL, args));
    object = sb_schema_decode_form(all[data[0] % n]->schema, NULL, args);
    if (sb_schema_process(all[data[0] % n]->schema, SB_OP_INSERT, object, NULL, NULL, &row, &err) == SB_DECLINED && err.message == NULL)
        abort();
    sb_err_clear(&err);
    json_decref(row);
    json_decref(object);
    json_decref(args);
    return 0;
}
