/*
 * Completes a record: every field of its table present in table order, absent ones with their default, generated value or null;
 * null records that must be there become records of their defaults; sets lose duplicates; whole reals become integers; {} and []
 * stand for each other as Lua tables do. Names the table does not know are kept behind, for validation to report.
 * Explicit nulls stay null, so that validation can tell "unset" from "defaulted".
 */
#include "core/base/uuid.h"
#include "core/schema/schema_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RANDOM_LEN 32

static json_t *fill_value(sb_pass_t *p, const struct sb_node *n, json_t *v);

/* 32 characters of base64 over 24 random bytes, the two that are not alphanumeric replaced by letters. */
static json_t *
random_string(void)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789kq";
    unsigned char raw[RANDOM_LEN];
    char text[RANDOM_LEN];
    size_t i;

    sb_random_bytes(raw, sizeof(raw));
    for (i = 0; i < RANDOM_LEN; i++)
        text[i] = alphabet[raw[i] & 63];
    return json_stringn(text, RANDOM_LEN);
}

static json_t *
generated_uuid(sb_pass_t *p)
{
    char text[SB_UUID_TEXT + 1];
    const char *old = sb_json_string(p->current, "id");

    if (p->op == SB_OP_UPSERT && old != NULL)
        return json_string(old);
    if (p->hooks != NULL && p->hooks->uuid != NULL)
        p->hooks->uuid(p->hooks->arg, text);
    else
        sb_uuid_v4(text);
    return json_string(text);
}

static json_t *
timestamp(sb_pass_t *p, const struct sb_field *f)
{
    double ms;

    if (f->type == SB_T_INTEGER)
        return json_integer((json_int_t)floor(p->now));
    ms = floor(p->now * 1000);
    return fmod(ms, 1000) == 0 ? json_integer((json_int_t)(ms / 1000)) : json_real(ms / 1000);
}

/* NULL when nothing is generated for this field now. */
static json_t *
generate(sb_pass_t *p, const struct sb_field *f, const json_t *v)
{
    bool unset = v == NULL || json_is_null(v);

    if (f->timestamp && strcmp(f->name, "updated_at") == 0)
        return timestamp(p, f);
    if (!unset || p->op == SB_OP_UPDATE)
        return NULL;
    if (f->timestamp)
        return timestamp(p, f);
    if (f->uuid)
        return generated_uuid(p);
    return f->type == SB_T_STRING && v == NULL ? random_string() : NULL;
}

static json_t *
dedupe(json_t *list)
{
    json_t *seen = json_object(), *out = json_array(), *v;
    char *key;
    size_t i;

    json_array_foreach(list, i, v)
    {
        if (json_is_object(v) || json_is_array(v)) {
            json_array_append(out, v);
            continue;
        }
        key = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
        SB_ASSERT(key != NULL);
        if (json_object_get(seen, key) == NULL)
            json_array_append(out, v);
        json_object_set_new(seen, key, json_true());
        free(key);
    }
    json_decref(seen);
    json_decref(list);
    return out;
}

static json_t *
fill_list(sb_pass_t *p, const struct sb_node *n, json_t *v)
{
    size_t i;

    if (json_is_object(v) && json_object_size(v) == 0) {
        json_decref(v);
        v = json_array();
    }
    if (!json_is_array(v))
        return v;
    for (i = 0; n->elements != NULL && i < json_array_size(v); i++)
        json_array_set_new(v, i, fill_value(p, n->elements, json_incref(json_array_get(v, i))));
    return n->f->type == SB_T_SET ? dedupe(v) : v;
}

static json_t *
fill_map(sb_pass_t *p, const struct sb_node *n, json_t *v)
{
    const char *key;
    json_t *item;

    if (json_is_array(v) && json_array_size(v) == 0) {
        json_decref(v);
        v = json_object();
    }
    if (json_is_object(v) && n->values != NULL) {
        json_object_foreach(v, key, item) json_object_set_new(v, key, fill_value(p, n->values, json_incref(item)));
    }
    return v;
}

static json_t *
fill_number(json_t *v)
{
    json_int_t whole;
    double d;

    if (!json_is_real(v))
        return v;
    d = json_real_value(v);
    if (floor(d) != d || fabs(d) > 9007199254740992.0)
        return v;
    whole = (json_int_t)d;
    json_decref(v);
    return json_integer(whole);
}

static json_t *
fill_value(sb_pass_t *p, const struct sb_node *n, json_t *v)
{
    switch (n->f->type) {
    case SB_T_INTEGER:
    case SB_T_NUMBER:
        return fill_number(v);
    case SB_T_ARRAY:
    case SB_T_SET:
        return fill_list(p, n, v);
    case SB_T_MAP:
        return fill_map(p, n, v);
    case SB_T_RECORD:
        if (json_is_array(v) && json_array_size(v) == 0) {
            json_decref(v);
            v = json_object();
        }
        return json_is_object(v) && n->fields != NULL ? sb_fill_record(p, n, v) : v;
    default:
        return v;
    }
}

/* The value of a field that is absent, or null where a record must stand. */
static json_t *
missing(const struct sb_node *n)
{
    if (n->dflt != NULL)
        return json_deep_copy(n->dflt);
    if (n->f->type == SB_T_RECORD && n->required && n->fields != NULL)
        return json_object();
    return json_null();
}

static json_t *
fill_field(sb_pass_t *p, const struct sb_node *n, json_t *given)
{
    json_t *v = n->f->automatic ? generate(p, n->f, given) : NULL;

    if (v != NULL)
        return v;
    if (given == NULL)
        v = missing(n);
    else if (json_is_null(given) && n->f->type == SB_T_RECORD && n->required)
        v = missing(n);
    else
        v = json_incref(given);
    return fill_value(p, n, v);
}

static bool
left_out(const struct sb_field *f, const json_t *v)
{
    return f->sparse && (v == NULL || json_is_null(v));
}

json_t *
sb_fill_record(sb_pass_t *p, const struct sb_node *n, json_t *obj)
{
    json_t *out = json_object(), *v;
    const char *key;
    size_t i;

    for (i = 0; i < n->n_fields; i++) {
        const struct sb_field *f = n->fields[i].f;

        v = json_object_get(obj, f->name);
        if ((f->transient && v == NULL) || left_out(f, v))
            continue;
        json_object_set_new(out, f->name, fill_field(p, &n->fields[i], v));
    }
    json_object_foreach(obj, key, v)
    {
        if (json_object_get(out, key) == NULL)
            json_object_set(out, key, v);
    }
    for (i = 0; i < n->n_fields; i++) {
        if (left_out(n->fields[i].f, json_object_get(out, n->fields[i].f->name)))
            json_object_del(out, n->fields[i].f->name);
    }
    json_decref(obj);
    return out;
}
