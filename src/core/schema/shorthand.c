/*
 * Shorthands: input names that are not fields. On the way in they are taken out of their record and write real fields; on the
 * way out those that were replaced by a field are echoed with its value. Both walks go through nested records.
 */
#include "core/schema/schema_int.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 1024

void
sb_merge_into(json_t *into, const json_t *from)
{
    const char *key;
    json_t *v, *old;

    json_object_foreach((json_t *)from, key, v)
    {
        old = json_object_get(into, key);
        if (json_is_object(old) && json_is_object(v))
            sb_merge_into(old, v);
        else
            json_object_set_new(into, key, json_deep_copy(v));
    }
}

/* The constraints of a shorthand's value as a node on the caller's stack. */
static json_t *
validate_given(sb_pass_t *p, const struct sb_shorthand *s, const json_t *v)
{
    struct sb_field own = {.name = s->name, .type = s->type, .elements = s->elements, .not_required = 1};
    sb_pool_t *pool;
    struct sb_node n;
    json_t *e;

    if (json_is_null(v) || (s->type == SB_T_END && s->field == NULL))
        return NULL;
    memset(&n, 0, sizeof(n));
    pool = sb_pool_new(0);
    sb_node_compile(pool, &n, s->field != NULL ? s->field : &own);
    e = sb_validate_value(p, &n, v);
    sb_pool_free(pool);
    return e;
}

static char *
mismatch_text(const struct sb_shorthand *s, const json_t *old_value, const json_t *new_value)
{
    char *a = sb_value_text(old_value), *b = sb_value_text(new_value), *text;

    text = sb_asprintf("both deprecated and new field are used but their values mismatch: %s = %s vs %s = %s", s->name, a, s->replaced_with,
                       b);
    free(a);
    free(b);
    return text;
}

/* Moves the value to its new place, or leaves that to the shorthand's function. True when nothing is left to do: the new place
 * is set, which wins; *text (malloc'ed) is then the violation if the values differ. */
static bool
replace(const struct sb_shorthand *s, const json_t *v, json_t *obj, char **text)
{
    const json_t *current = sb_path_get(obj, s->replaced_with);

    if (current != NULL && !json_is_null(current)) {
        if (!json_is_null(v) && !sb_value_equal(v, current))
            *text = mismatch_text(s, v, current);
        return true;
    }
    if (s->to_fields != NULL || s->lua_ref != 0)
        return false;
    sb_path_set(obj, s->replaced_with, json_deep_copy(v));
    return true;
}

static json_t *
call(sb_pass_t *p, const struct sb_shorthand *s, json_t *v, json_t *obj)
{
    json_t *out = NULL, *e = NULL;
    char buf[TEXT_MAX];
    const char *text;

    if (s->to_fields != NULL) {
        text = s->to_fields(v, obj, buf, sizeof(buf));
        return text != NULL ? json_string(text) : NULL;
    }
    if (s->lua_ref == 0)
        return NULL;
    e = sb_pass_lua(p, s->lua_ref, v, &out, v);
    if (e == NULL && json_is_object(out))
        sb_merge_into(obj, out);
    json_decref(out);
    return e;
}

static void
translate_one(sb_pass_t *p, const struct sb_shorthand *s, json_t *obj, json_t *errors)
{
    json_t *v = json_object_get(obj, s->name), *e;
    char *text = NULL;

    if (v == NULL)
        return;
    json_incref(v);
    json_object_del(obj, s->name);
    e = validate_given(p, s, v);
    if (e == NULL && s->replaced_with != NULL && replace(s, v, obj, &text))
        e = text != NULL ? json_string(text) : NULL;
    else if (e == NULL)
        e = call(p, s, v, obj);
    if (e != NULL)
        json_object_set_new(errors, s->name, e);
    free(text);
    json_decref(v);
}

void
sb_shorthands_translate(sb_pass_t *p, const struct sb_node *n, json_t *obj, json_t *errors)
{
    const struct sb_shorthand *s;
    json_t *v, *item;
    size_t i, j;

    for (s = n->shorthands; s != NULL && s->name != NULL; s++)
        translate_one(p, s, obj, errors);
    for (i = 0; i < n->n_fields; i++) {
        v = json_object_get(obj, n->fields[i].f->name);
        if (json_is_object(v) && n->fields[i].f->type == SB_T_RECORD)
            sb_shorthands_translate(p, &n->fields[i], v, errors);
        if (!json_is_array(v) || n->fields[i].elements == NULL || n->fields[i].elements->f->type != SB_T_RECORD)
            continue;
        json_array_foreach(v, j, item)
        {
            if (json_is_object(item))
                sb_shorthands_translate(p, n->fields[i].elements, item, errors);
        }
    }
}

void
sb_shorthands_echo(const struct sb_node *n, json_t *obj)
{
    const struct sb_shorthand *s;
    json_t *v, *item;
    size_t i, j;

    for (i = 0; i < n->n_fields; i++) {
        v = json_object_get(obj, n->fields[i].f->name);
        if (json_is_object(v) && n->fields[i].f->type == SB_T_RECORD)
            sb_shorthands_echo(&n->fields[i], v);
        if (!json_is_array(v) || n->fields[i].elements == NULL || n->fields[i].elements->f->type != SB_T_RECORD)
            continue;
        json_array_foreach(v, j, item)
        {
            if (json_is_object(item))
                sb_shorthands_echo(n->fields[i].elements, item);
        }
    }
    for (s = n->shorthands; s != NULL && s->name != NULL; s++) {
        if (s->replaced_with != NULL) {
            v = sb_path_get(obj, s->replaced_with);
            json_object_set_new(obj, s->name, v != NULL ? json_deep_copy(v) : json_null());
        }
    }
}
