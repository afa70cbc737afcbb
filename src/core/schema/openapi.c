/*
 * A field table as a schema object of OpenAPI 3.0: types, defaults and constraints as far as that language has words for them, the rest as
 * `x-` members (Lua patterns, checks between fields). Start at sb_schema_openapi().
 *
 * One table gives three shapes: the row as it is shown, what creates or replaces one, and what changes one. They differ in what must be
 * there and in what may be null.
 */
#include "core/base/buf.h"
#include "core/schema/schema_int.h"

#include <stdlib.h>
#include <string.h>

static json_t *value_schema(const struct sb_node *n, enum sb_shape shape);
static void add_members(json_t *o, const struct sb_node *record, enum sb_shape shape);

static void
add_text(json_t *o, const char *key, const char *text)
{
    if (text != NULL)
        json_object_set_new(o, key, json_string(text));
}

static json_t *
number(double d)
{
    return d == (double)(json_int_t)d ? json_integer((json_int_t)d) : json_real(d);
}

static json_t *
texts(const char *const *list)
{
    json_t *out = json_array();

    for (; list != NULL && *list != NULL; list++)
        json_array_append_new(out, json_string(*list));
    return out;
}

/* ---------- constraints ---------- */

static json_t *
choices(const struct sb_field *f, const char *const *list)
{
    bool numeric = f->type == SB_T_INTEGER || f->type == SB_T_NUMBER;
    json_t *out = json_array();

    for (; *list != NULL; list++)
        json_array_append_new(out, numeric ? sb_json_parse(*list, strlen(*list), NULL) : json_string(*list));
    return out;
}

/* What the length of a value is called for its type; NULL: it has none. */
static const char *
length_word(enum sb_type type, bool min)
{
    switch (type) {
    case SB_T_STRING:
        return min ? "minLength" : "maxLength";
    case SB_T_ARRAY:
    case SB_T_SET:
        return min ? "minItems" : "maxItems";
    case SB_T_MAP:
        return min ? "minProperties" : "maxProperties";
    default:
        return NULL;
    }
}

static void
add_length(json_t *o, const struct sb_field *f)
{
    const char *min = length_word(f->type, true), *max = length_word(f->type, false);
    int low = f->len_min;

    if (min == NULL)
        return;
    if (f->type == SB_T_STRING && low == 0 && !f->len_min_set) /* no empty strings unless the table says so */
        low = 1;
    if (f->len_eq != 0 || f->len_eq_set) {
        json_object_set_new(o, min, json_integer(f->len_eq));
        json_object_set_new(o, max, json_integer(f->len_eq));
        return;
    }
    if (low != 0)
        json_object_set_new(o, min, json_integer(low));
    if (f->len_max != 0)
        json_object_set_new(o, max, json_integer(f->len_max));
}

static void
add_range(json_t *o, const struct sb_field *f)
{
    if (f->has_between) {
        json_object_set_new(o, "minimum", number(f->between[0]));
        json_object_set_new(o, "maximum", number(f->between[1]));
    }
    if (f->gt != NULL) {
        json_object_set_new(o, "minimum", number(*f->gt));
        json_object_set_new(o, "exclusiveMinimum", json_true());
    }
}

/* "^/": the characters that mean something in a pattern are escaped. */
static void
add_start(json_t *o, const char *start)
{
    sb_buf_t b = {0};

    if (start == NULL)
        return;
    sb_buf_addc(&b, '^');
    for (; *start != '\0'; start++) {
        if (strchr("\\^$.|?*+()[]{}/", *start) != NULL)
            sb_buf_addc(&b, '\\');
        sb_buf_addc(&b, *start);
    }
    json_object_set_new(o, "pattern", json_string(b.data));
    sb_buf_free(&b);
}

static void
add_lua_patterns(json_t *o, const struct sb_field *f)
{
    json_t *all = json_array(), *none = json_array();
    const struct sb_pattern *p;

    if (f->match != NULL)
        json_array_append_new(all, json_string(f->match->pattern));
    for (p = f->match_all; p != NULL && p->pattern != NULL; p++)
        json_array_append_new(all, json_string(p->pattern));
    if (f->not_match != NULL)
        json_array_append_new(none, json_string(f->not_match->pattern));
    for (p = f->match_none; p != NULL && p->pattern != NULL; p++)
        json_array_append_new(none, json_string(p->pattern));
    if (json_array_size(all) != 0)
        json_object_set(o, "x-lua-match-all", all);
    if (json_array_size(none) != 0)
        json_object_set(o, "x-lua-match-none", none);
    if (f->match_any != NULL)
        json_object_set_new(o, "x-lua-match-any", texts(f->match_any));
    json_decref(all);
    json_decref(none);
}

static void
add_values(json_t *o, const struct sb_node *n)
{
    const struct sb_field *f = n->f;

    if (n->eq != NULL)
        json_object_set_new(o, "enum", json_pack("[O]", n->eq));
    else if (f->one_of != NULL && f->one_of[0] != NULL)
        json_object_set_new(o, "enum", choices(f, f->one_of));
    if (f->one_of != NULL && f->one_of[0] == NULL) /* nothing fits; an enum may not be empty */
        json_object_set_new(o, "not", json_object());
    else if (n->ne != NULL)
        json_object_set_new(o, "not", json_pack("{s:[O]}", "enum", n->ne));
    else if (f->not_one_of != NULL)
        json_object_set_new(o, "not", json_pack("{s:o}", "enum", choices(f, f->not_one_of)));
    add_text(o, "x-contains", f->contains);
    add_text(o, "x-validator", f->validator_name);
}

static void
add_constraints(json_t *o, const struct sb_node *n)
{
    add_length(o, n->f);
    add_range(o, n->f);
    add_start(o, n->f->starts_with);
    add_values(o, n);
    add_lua_patterns(o, n->f);
    if (n->f->uuid)
        json_object_set_new(o, "format", json_string("uuid"));
}

/* A reference to a secret stands where its value would; the value's constraints hold when it is looked up. */
static json_t *
with_reference(json_t *o, const struct sb_node *n, enum sb_shape shape)
{
    if (!n->f->referenceable || n->f->type != SB_T_STRING)
        return o;
    json_object_set_new(o, "x-referenceable", json_true());
    if (shape == SB_SHAPE_ANSWER || (json_object_get(o, "enum") == NULL && json_object_get(o, "pattern") == NULL)) {
        json_object_del(o, "enum");
        json_object_del(o, "pattern");
        return o;
    }
    return json_pack("{s:[o,{s:s,s:s}]}", "anyOf", o, "type", "string", "pattern", "^\\{vault://.*\\}$");
}

/* ---------- types ---------- */

static json_t *
foreign_schema(const struct sb_field *f, enum sb_shape shape)
{
    json_t *o = json_pack("{s:s,s:{s:{s:s,s:s}}}", "type", "object", "properties", "id", "type", "string", "format", "uuid");

    add_text(o, "x-reference", f->reference);
    if (shape == SB_SHAPE_ANSWER)
        json_object_set_new(o, "required", json_pack("[s]", "id"));
    else
        json_object_set_new(o, "minProperties", json_integer(1));
    return o;
}

static json_t *
record_schema(const struct sb_node *n, enum sb_shape shape)
{
    json_t *o = json_pack("{s:s}", "type", "object");

    if (n->fields == NULL)
        return o;
    add_members(o, n, shape);
    if (shape != SB_SHAPE_ANSWER)
        json_object_set_new(o, "additionalProperties", json_false());
    return o;
}

static json_t *
list_schema(const struct sb_node *n, enum sb_shape shape)
{
    /* A list is replaced as a whole, so its elements are new ones also in a change. */
    enum sb_shape inner = shape == SB_SHAPE_CHANGE ? SB_SHAPE_NEW : shape;
    json_t *o = json_pack("{s:s}", "type", "array");

    json_object_set_new(o, "items", n->elements != NULL ? value_schema(n->elements, inner) : json_object());
    if (n->f->type == SB_T_SET && shape == SB_SHAPE_ANSWER)
        json_object_set_new(o, "uniqueItems", json_true());
    return o;
}

static json_t *
map_schema(const struct sb_node *n, enum sb_shape shape)
{
    enum sb_shape inner = shape == SB_SHAPE_CHANGE ? SB_SHAPE_NEW : shape;
    json_t *o = json_pack("{s:s}", "type", "object");

    json_object_set_new(o, "additionalProperties", n->values != NULL ? value_schema(n->values, inner) : json_true());
    if (n->keys != NULL)
        json_object_set_new(o, "x-keys", value_schema(n->keys, inner));
    return o;
}

static json_t *
typed(const struct sb_node *n, enum sb_shape shape)
{
    switch (n->f->type) {
    case SB_T_STRING:
        return json_pack("{s:s}", "type", "string");
    case SB_T_INTEGER:
        return json_pack("{s:s}", "type", "integer");
    case SB_T_NUMBER:
        return json_pack("{s:s}", "type", "number");
    case SB_T_BOOLEAN:
        return json_pack("{s:s}", "type", "boolean");
    case SB_T_ARRAY:
    case SB_T_SET:
        return list_schema(n, shape);
    case SB_T_MAP:
        return map_schema(n, shape);
    case SB_T_RECORD:
        return record_schema(n, shape);
    case SB_T_FOREIGN:
        return foreign_schema(n->f, shape);
    default:
        return json_object();
    }
}

static json_t *
value_schema(const struct sb_node *n, enum sb_shape shape)
{
    json_t *o = typed(n, shape);

    add_constraints(o, n);
    return with_reference(o, n, shape);
}

/* ---------- members of a record ---------- */

static bool
may_be_null(const struct sb_node *n, enum sb_shape shape)
{
    if (n->eq != NULL && json_is_null(n->eq))
        return true;
    if (shape == SB_SHAPE_ANSWER || !n->required)
        return !n->required;
    return n->f->automatic || n->f->type == SB_T_RECORD; /* generated; a record of defaults */
}

static void
allow_null(json_t *o)
{
    json_t *list = json_object_get(o, "enum"), *v;
    size_t i;

    json_object_set_new(o, "nullable", json_true());
    json_array_foreach(list, i, v) if (json_is_null(v)) return;
    if (list != NULL)
        json_array_append_new(list, json_null());
}

static json_t *
member_schema(const struct sb_node *n, enum sb_shape shape)
{
    json_t *o = value_schema(n, shape);

    add_text(o, "description", n->f->description);
    if (n->dflt != NULL && !json_is_null(n->dflt) && shape == SB_SHAPE_NEW)
        json_object_set_new(o, "default", json_deep_copy(n->dflt));
    if (may_be_null(n, shape))
        allow_null(o);
    if (n->f->automatic && n->f->timestamp && strcmp(n->f->name, "updated_at") == 0)
        json_object_set_new(o, "readOnly", json_true());
    return o;
}

/* Whether a new record without this member is refused. */
static bool
must_be_given(const struct sb_node *n)
{
    if (!n->required || n->dflt != NULL || n->f->automatic || (n->eq != NULL && json_is_null(n->eq)))
        return false;
    if (n->f->type != SB_T_RECORD)
        return true;
    for (size_t i = 0; i < n->n_fields; i++)
        if (must_be_given(&n->fields[i]))
            return true;
    return false;
}

static json_t *
required_names(const struct sb_node *record, enum sb_shape shape)
{
    json_t *out = json_array();

    for (size_t i = 0; i < record->n_fields && shape != SB_SHAPE_CHANGE; i++) {
        const struct sb_node *n = &record->fields[i];

        if (shape == SB_SHAPE_NEW ? must_be_given(n) : !n->f->transient && !n->f->sparse)
            json_array_append_new(out, json_string(n->f->name));
    }
    return out;
}

static json_t *
shorthand_schema(const struct sb_shorthand *s, enum sb_shape shape)
{
    struct sb_field own = {.name = s->name, .type = s->type, .elements = s->elements, .not_required = 1};
    struct sb_node n = {0};
    sb_pool_t *pool = sb_pool_new(0);
    json_t *o;

    if (s->type == SB_T_END && s->field == NULL)
        own.type = SB_T_JSON;
    sb_node_compile(pool, &n, s->field != NULL ? s->field : &own);
    o = value_schema(&n, shape);
    sb_pool_free(pool);
    allow_null(o);
    if (s->replaced_with != NULL || s->deprecation != NULL)
        json_object_set_new(o, "deprecated", json_true());
    add_text(o, "x-replaced-with", s->replaced_with);
    return o;
}

/* The next shorthand that is a name of its own: some only watch a field of the same name. */
static const struct sb_shorthand *
next_name(const struct sb_node *record, const struct sb_shorthand *s)
{
    while (s != NULL && s->name != NULL && sb_node_field(record, s->name) != NULL)
        s++;
    return s != NULL && s->name != NULL ? s : NULL;
}

static void
add_shorthands(json_t *properties, const struct sb_node *record, enum sb_shape shape)
{
    const struct sb_shorthand *s;

    for (s = next_name(record, record->shorthands); s != NULL; s = next_name(record, s + 1))
        if (shape != SB_SHAPE_ANSWER || s->replaced_with != NULL)
            json_object_set_new(properties, s->name, shorthand_schema(s, shape));
}

/* What must be given may also come out of a shorthand. */
static json_t *
any_required(json_t *names, const struct sb_node *record)
{
    json_t *any = json_pack("[{s:o}]", "required", names);
    const struct sb_shorthand *s;

    for (s = next_name(record, record->shorthands); s != NULL; s = next_name(record, s + 1))
        json_array_append_new(any, json_pack("{s:[s]}", "required", s->name));
    return any;
}

static void
add_members(json_t *o, const struct sb_node *record, enum sb_shape shape)
{
    json_t *properties = json_object(), *names = required_names(record, shape);

    for (size_t i = 0; i < record->n_fields; i++)
        json_object_set_new(properties, record->fields[i].f->name, member_schema(&record->fields[i], shape));
    add_shorthands(properties, record, shape);
    json_object_set_new(o, "properties", properties);
    if (json_array_size(names) == 0)
        json_decref(names);
    else if (shape == SB_SHAPE_NEW && next_name(record, record->shorthands) != NULL)
        json_object_set_new(o, "anyOf", any_required(names, record));
    else
        json_object_set_new(o, "required", names);
}

/* ---------- rows ---------- */

static void
add_ttl(json_t *o, const sb_schema_t *s, enum sb_shape shape)
{
    json_t *properties = json_object_get(o, "properties");

    if (!s->def->ttl || json_object_get(properties, "ttl") != NULL)
        return;
    json_object_set_new(properties, "ttl",
                        json_pack("{s:s,s:i,s:s}", "type", shape == SB_SHAPE_ANSWER ? "integer" : "number", "minimum", 0, "description",
                                  "Seconds until the row expires."));
    allow_null(json_object_get(properties, "ttl"));
}

static void
add_checks(json_t *o, const sb_schema_t *s)
{
    json_t *described = sb_schema_describe(s), *checks = json_object_get(described, "entity_checks");

    if (json_array_size(checks) != 0)
        json_object_set(o, "x-entity-checks", checks);
    json_decref(described);
}

json_t *
sb_schema_openapi(const sb_schema_t *s, const char *sub, enum sb_shape shape)
{
    const struct sb_node *override = sub != NULL ? sb_schema_sub(s, sub) : NULL;
    struct sb_node root;
    json_t *o, *key;

    SB_CHECK_MAGIC(s, SB_SCHEMA_MAGIC);
    if (sub != NULL && override == NULL)
        return NULL;
    sb_node_merge(&s->root, override, &root);
    o = json_pack("{s:s}", "type", "object");
    add_members(o, &root, shape);
    sb_node_merge_free(&root);
    add_ttl(o, s, shape);
    if (shape != SB_SHAPE_ANSWER)
        json_object_set_new(o, "additionalProperties", json_false());
    if (shape == SB_SHAPE_NEW)
        add_checks(o, s);
    key = override != NULL ? json_object_get(json_object_get(o, "properties"), s->def->subschema_key) : NULL;
    if (key != NULL)
        json_object_set_new(key, "enum", json_pack("[s]", sub));
    return o;
}
