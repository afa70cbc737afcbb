/*
 * Form arguments to objects. Two passes: names become paths ("config.a", "config[a]", "tags[]", "tags[1]") along which an untyped
 * tree of objects, arrays and strings grows; then the schema's nodes say what the strings are. Names come from clients: depth and
 * indexes are bounded, and a name that is no path stays a plain key, for validation to call unknown.
 */
#include "core/schema/schema_int.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENTS_MAX 32
#define INDEX_MAX    1000
#define GAPS_MAX     20000 /* indexes left out, in a whole form */

struct segment {
    const char *text; /* a member's name; NULL: an index */
    size_t len;
    size_t index; /* from 0; SIZE_MAX: append */
};

struct path {
    struct segment s[SEGMENTS_MAX];
    size_t n;
};

/* --- names --- */

/* What stands between brackets: nothing, an index from 1, or a member's name. */
static bool
bracket_segment(const char *s, size_t len, struct segment *out)
{
    size_t i, index = 0;

    *out = (struct segment){.index = SIZE_MAX};
    if (len == 0)
        return true;
    for (i = 0; i < len && i < 5 && isdigit((unsigned char)s[i]); i++)
        index = index * 10 + (size_t)(s[i] - '0');
    if (i == len) {
        out->index = index - 1;
        return index >= 1 && index <= INDEX_MAX;
    }
    out->text = s;
    out->len = len;
    return true;
}

/* False when `name` is not a path. */
static bool
parse_name(const char *name, struct path *p)
{
    const char *end;
    size_t len;

    p->n = 0;
    while (*name != '\0') {
        if (p->n == SEGMENTS_MAX)
            return false;
        if (*name == '[') {
            if (p->n == 0 || (end = strchr(name, ']')) == NULL || !bracket_segment(name + 1, (size_t)(end - name - 1), &p->s[p->n++]))
                return false;
            name = end + 1;
            if (*name != '\0' && *name != '[' && *name != '.')
                return false;
            continue;
        }
        name += *name == '.' && p->n != 0;
        len = strcspn(name, ".[");
        if (len == 0)
            return false;
        p->s[p->n++] = (struct segment){.text = name, .len = len};
        name += len;
    }
    return p->n != 0;
}

/* --- the untyped tree --- */

static json_t *
get(json_t *at, const struct segment *s)
{
    char key[256];

    if (s->text == NULL)
        return s->index != SIZE_MAX ? json_array_get(at, s->index) : NULL;
    if (s->len >= sizeof(key))
        return NULL;
    memcpy(key, s->text, s->len);
    key[s->len] = '\0';
    return json_object_get(at, key);
}

/* Puts `v` (stolen) under `s`; false when `at` is not the container that `s` needs, or too many indexes were left out. gaps: how many
 * may still be. */
static bool
put(json_t *at, const struct segment *s, json_t *v, size_t *gaps)
{
    char *key;

    if (s->text != NULL && json_is_object(at)) {
        key = sb_strdup_len(s->text, s->len);
        json_object_set_new(at, key, v);
        free(key);
        return true;
    }
    if (s->text != NULL || !json_is_array(at)) {
        json_decref(v);
        return false;
    }
    if (s->index == SIZE_MAX) {
        json_array_append_new(at, v);
        return true;
    }
    while (json_array_size(at) <= s->index && *gaps > 0) {
        json_array_append_new(at, json_null());
        --*gaps;
    }
    if (json_array_size(at) <= s->index) {
        json_decref(v);
        return false;
    }
    json_array_set_new(at, s->index, v);
    return true;
}

static bool
put_value(json_t *at, const struct segment *s, json_t *value, size_t *gaps)
{
    json_t *item;
    size_t i;

    if (s->text != NULL || !json_is_array(value))
        return put(at, s, json_incref(value), gaps);
    json_array_foreach(value, i, item)
    {
        if (!put(at, s, json_incref(item), gaps))
            return false;
    }
    return true;
}

static bool
insert(json_t *at, const struct path *p, json_t *value, size_t *gaps)
{
    json_t *next;
    size_t i;

    for (i = 0; i + 1 < p->n; i++) {
        next = get(at, &p->s[i]);
        if (next == NULL || json_is_null(next)) {
            next = p->s[i + 1].text != NULL ? json_object() : json_array();
            if (!put(at, &p->s[i], next, gaps))
                return false;
        }
        at = next;
    }
    return put_value(at, &p->s[p->n - 1], value, gaps);
}

static json_t *
untyped(const json_t *args)
{
    json_t *out = json_object(), *v;
    size_t gaps = GAPS_MAX;
    const char *name;
    struct path p;

    json_object_foreach((json_t *)args, name, v)
    {
        if (!parse_name(name, &p) || !insert(out, &p, v, &gaps))
            json_object_set(out, name, v);
    }
    return out;
}

/* Indexes that were never given leave nulls; they go. */
static void
compact(json_t *v)
{
    const char *key;
    json_t *item;
    size_t i;

    for (i = json_array_size(v); i-- > 0;) {
        if (json_is_null(json_array_get(v, i)))
            json_array_remove(v, i);
        else
            compact(json_array_get(v, i));
    }
    json_object_foreach(v, key, item) compact(item);
}

/* --- types --- */

static json_t *typed(const struct sb_node *n, json_t *v);
static json_t *typed_record(const struct sb_node *n, json_t *v);

static json_t *
number_of(const char *s)
{
    size_t len = strlen(s), digits = strspn(s + (*s == '-'), "0123456789");
    char *end;
    double d;

    if (digits != 0 && digits <= 18 && digits + (*s == '-') == len)
        return json_integer(strtoll(s, NULL, 10));
    if (strspn(s, "0123456789+-.eE") != len)
        return NULL;
    d = strtod(s, &end);
    return len != 0 && *end == '\0' && isfinite(d) ? json_real(d) : NULL;
}

static json_t *
typed_scalar(enum sb_type type, json_t *v)
{
    const char *s = json_string_value(v);
    json_t *out = NULL;

    if (s == NULL)
        return json_incref(v);
    if (s[0] == '\0')
        return json_null();
    if (type == SB_T_INTEGER || type == SB_T_NUMBER)
        out = number_of(s);
    else if (type == SB_T_BOOLEAN && (strcmp(s, "true") == 0 || strcmp(s, "false") == 0))
        out = json_boolean(s[0] == 't');
    else if (type == SB_T_JSON)
        out = sb_json_parse(s, strlen(s), NULL);
    return out != NULL ? out : json_incref(v);
}

static bool
is_empty_text(const json_t *v)
{
    return json_is_string(v) && json_string_length(v) == 0;
}

static json_t *
typed_list(const struct sb_node *n, json_t *v)
{
    json_t *out, *item;
    size_t i;

    if (is_empty_text(v))
        return json_null();
    if (json_is_object(v))
        return json_incref(v);
    out = json_array();
    if (!json_is_array(v)) {
        json_array_append_new(out, typed(n->elements, v));
        return out;
    }
    /* "tags[]=" is the way to say "none". */
    if (json_array_size(v) == 1 && is_empty_text(json_array_get(v, 0)))
        return out;
    json_array_foreach(v, i, item) json_array_append_new(out, typed(n->elements, item));
    return out;
}

static json_t *
typed_map(const struct sb_node *n, json_t *v)
{
    const char *key;
    json_t *out, *item;

    if (is_empty_text(v))
        return json_null();
    if (!json_is_object(v))
        return json_incref(v);
    out = json_object();
    json_object_foreach(v, key, item) json_object_set_new(out, key, typed(n->values, item));
    return out;
}

static json_t *
typed(const struct sb_node *n, json_t *v)
{
    if (n == NULL)
        return json_incref(v);
    switch (n->f->type) {
    case SB_T_ARRAY:
    case SB_T_SET:
        return typed_list(n, v);
    case SB_T_MAP:
        return typed_map(n, v);
    case SB_T_RECORD:
        return typed_record(n, v);
    default:
        return typed_scalar(n->f->type, v);
    }
}

static json_t *
typed_shorthand(const struct sb_shorthand *s, json_t *v)
{
    struct sb_field own = {.name = s->name, .type = s->type, .elements = s->elements};
    sb_pool_t *pool = sb_pool_new(0);
    struct sb_node n = {0};
    json_t *out;

    sb_node_compile(pool, &n, s->field != NULL ? s->field : &own);
    out = typed(&n, v);
    sb_pool_free(pool);
    return out;
}

static json_t *
typed_member(const struct sb_node *n, const char *key, json_t *v)
{
    const struct sb_node *field = sb_node_field(n, key);
    const struct sb_shorthand *s;

    if (field != NULL)
        return typed(field, v);
    for (s = n->shorthands; s != NULL && s->name != NULL; s++) {
        if (strcmp(s->name, key) == 0)
            return typed_shorthand(s, v);
    }
    return json_incref(v);
}

static json_t *
typed_record(const struct sb_node *n, json_t *v)
{
    const char *key;
    json_t *out, *item;

    if (is_empty_text(v))
        return json_null();
    if (!json_is_object(v) || n->fields == NULL)
        return json_incref(v);
    out = json_object();
    json_object_foreach(v, key, item) json_object_set_new(out, key, typed_member(n, key, item));
    return out;
}

json_t *
sb_schema_decode_form(const sb_schema_t *s, const char *plugin_name, const json_t *args)
{
    json_t *tree = untyped(args), *out, *ttl;
    const struct sb_node *sub = NULL;
    struct sb_node root;

    compact(tree);
    if (s == NULL)
        return tree;
    SB_CHECK_MAGIC(s, SB_SCHEMA_MAGIC);
    /* Fixed subschemas have the base's types; plugins bring their configuration's. */
    if (sb_schema_has_subs(s) && s->def->subschemas == NULL) {
        if (sb_json_string(tree, s->def->subschema_key) != NULL)
            plugin_name = sb_json_string(tree, s->def->subschema_key);
        sub = plugin_name != NULL ? sb_schema_sub(s, plugin_name) : NULL;
    }
    sb_node_merge(&s->root, sub, &root);
    out = typed_record(&root, tree);
    if (s->def->ttl && (ttl = json_object_get(out, "ttl")) != NULL)
        json_object_set_new(out, "ttl", typed_scalar(SB_T_INTEGER, ttl));
    sb_node_merge_free(&root);
    json_decref(tree);
    return out;
}
