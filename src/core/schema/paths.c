/*
 * Dotted paths ("config.redis.host") in JSON objects, the errors object that grows along them, and the texts in which values
 * and field lists appear in messages.
 */
#include "core/base/buf.h"
#include "core/schema/schema_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX_LEN 256

/* Copies the first segment of *path to key and moves *path behind its dot (NULL after the last). */
static bool
next_segment(const char **path, char key[KEY_MAX_LEN])
{
    const char *dot = strchr(*path, '.');
    size_t len = dot != NULL ? (size_t)(dot - *path) : strlen(*path);

    if (len >= KEY_MAX_LEN)
        return false;
    memcpy(key, *path, len);
    key[len] = '\0';
    *path = dot != NULL ? dot + 1 : NULL;
    return true;
}

json_t *
sb_path_get(const json_t *obj, const char *path)
{
    char key[KEY_MAX_LEN];
    json_t *v = (json_t *)obj;

    while (path != NULL && v != NULL) {
        if (!next_segment(&path, key))
            return NULL;
        v = json_object_get(v, key);
    }
    return v;
}

void
sb_path_set(json_t *obj, const char *path, json_t *value)
{
    char key[KEY_MAX_LEN];
    json_t *next;

    while (next_segment(&path, key)) {
        if (path == NULL) {
            json_object_set_new(obj, key, value);
            return;
        }
        next = json_object_get(obj, key);
        if (!json_is_object(next)) {
            next = json_object();
            json_object_set_new(obj, key, next);
        }
        obj = next;
    }
    json_decref(value);
}

void
sb_errors_set(json_t *errors, const char *path, json_t *error)
{
    const char *rest = path;
    char key[KEY_MAX_LEN];
    json_t *at = errors, *next;

    while (next_segment(&rest, key) && rest != NULL) {
        next = json_object_get(at, key);
        if (next != NULL && !json_is_object(next)) {
            json_decref(error);
            return;
        }
        if (next == NULL)
            break;
        at = next;
    }
    sb_path_set(errors, path, error);
}

void
sb_errors_add_entity(json_t *errors, const char *text)
{
    json_t *list = json_object_get(errors, "@entity");

    if (list == NULL) {
        list = json_array();
        json_object_set_new(errors, "@entity", list);
    }
    json_array_append_new(list, json_string(text));
}

char *
sb_value_text(const json_t *v)
{
    double d;

    if (v == NULL || json_is_null(v))
        return sb_asprintf("null");
    if (json_is_string(v))
        return sb_strdup_len(json_string_value(v), json_string_length(v));
    if (json_is_boolean(v))
        return sb_asprintf("%s", json_is_true(v) ? "true" : "false");
    if (json_is_number(v)) {
        d = json_number_value(v);
        return json_is_integer(v) ? sb_asprintf("%lld", (long long)json_integer_value(v)) : sb_asprintf("%.14g", d);
    }
    return sb_json_dump(v);
}

char *
sb_quoted_list(const char *const *names)
{
    sb_buf_t b = {0};
    size_t i;

    for (i = 0; names != NULL && names[i] != NULL; i++)
        sb_buf_addf(&b, "%s'%s'", i != 0 ? ", " : "", names[i]);
    return sb_buf_take(&b);
}
