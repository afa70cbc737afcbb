/*
 * Schemas that arrive as JSON, from Lua: fields in the order of their list, functions as {"lua_ref": n}, validators that exist in C
 * as "@name". They become the same rows that native tables are made of, in the schema's pool. What is wrong with a definition
 * (the metaschema) is reported with the path of the field. Start at sb_schema_from_json(); each attribute is a row of `attributes`.
 */
#include "core/schema/schema_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 32
#define LEN_LIMIT 1000000000

#define BIT(t)  (1u << (t))
#define STRINGS BIT(SB_T_STRING)
#define NUMBERS (BIT(SB_T_INTEGER) | BIT(SB_T_NUMBER))
#define LISTS   (BIT(SB_T_ARRAY) | BIT(SB_T_SET))
#define SIZED   (STRINGS | LISTS | BIT(SB_T_MAP))
#define ANY     (~0u)

static const char *const type_names[] = {
    [SB_T_STRING] = "string", [SB_T_INTEGER] = "integer", [SB_T_NUMBER] = "number", [SB_T_BOOLEAN] = "boolean", [SB_T_ARRAY] = "array",
    [SB_T_SET] = "set",       [SB_T_MAP] = "map",         [SB_T_RECORD] = "record", [SB_T_FOREIGN] = "foreign", [SB_T_JSON] = "json",
};

/* --- messages and small readers --- */

bool
sb_def_error(sb_json_def_t *d, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        sb_panic(__FILE__, __LINE__, "out of memory");
    va_end(ap);
    if (d->path[0] != '\0')
        sb_err_set(d->err, SB_E_SCHEMA_VIOLATION, "field '%s': %s", d->path, text);
    else
        sb_err_set(d->err, SB_E_SCHEMA_VIOLATION, "%s", text);
    free(text);
    return false;
}

size_t
sb_def_enter(sb_json_def_t *d, const char *name)
{
    size_t mark = strlen(d->path);

    snprintf(d->path + mark, sizeof(d->path) - mark, "%s%s", mark != 0 ? "." : "", name);
    return mark;
}

void
sb_def_leave(sb_json_def_t *d, size_t mark)
{
    d->path[mark] = '\0';
}

bool
sb_def_is_list(const json_t *v)
{
    return json_is_array(v) || (json_is_object(v) && json_object_size(v) == 0);
}

static const char *
pool_text(sb_json_def_t *d, const json_t *v)
{
    return sb_pool_str(d->pool, json_string_value(v), json_string_length(v)).data;
}

/* Any value as JSON text in the pool. */
static const char *
pool_json(sb_json_def_t *d, const json_t *v)
{
    char *text = sb_json_dump(v);
    const char *copy = sb_pool_strdup(d->pool, text);

    free(text);
    return copy;
}

bool
sb_def_lua_ref(sb_json_def_t *d, const char *what, const json_t *v, int *out)
{
    json_int_t n = json_integer_value(json_object_get(v, "lua_ref"));

    if (n <= 0 || n > INT32_MAX)
        return sb_def_error(d, "'%s' must be a function", what);
    *out = (int)n;
    return true;
}

/* A list of names, numbers or booleans, as texts. */
bool
sb_def_names(sb_json_def_t *d, const char *what, const json_t *v, const char *const **out)
{
    const char **names;
    json_t *item;
    char *text;
    size_t i;

    if (!sb_def_is_list(v))
        return sb_def_error(d, "'%s' must be a list", what);
    names = sb_pool_alloc(d->pool, (json_array_size(v) + 1) * sizeof(*names));
    json_array_foreach(v, i, item)
    {
        if (!json_is_string(item) && !json_is_number(item) && !json_is_boolean(item))
            return sb_def_error(d, "'%s' must be a list of strings, numbers or booleans", what);
        text = sb_value_text(item);
        names[i] = sb_pool_strdup(d->pool, text);
        free(text);
    }
    *out = names;
    return true;
}

/* --- attributes: one reader each, (definition, attribute's name, value, row) --- */

typedef bool (*reader_pt)(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f);

static bool
read_flag(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    static const char *const flags[] = {"required",  "unique",   "auto",     "uuid",    "timestamp",        "referenceable", "encrypted",
                                        "immutable", "is_regex", "abstract", "indexed", "unique_across_ws", "transient",     NULL};
    bool on = json_is_true(v);
    size_t i;

    if (!json_is_boolean(v))
        return sb_def_error(d, "'%s' must be a boolean", name);
    for (i = 0; strcmp(flags[i], name) != 0;)
        i++;
    switch (i) {
    case 0:
        f->required = on;
        f->not_required = !on;
        break;
    case 1:
        f->unique = on;
        break;
    case 2:
        f->automatic = on;
        break;
    case 3:
        f->uuid = on;
        break;
    case 4:
        f->timestamp = on;
        break;
    case 5:
        f->referenceable = on;
        break;
    case 6:
        f->encrypted = on;
        break;
    case 7:
        f->immutable = on;
        break;
    case 8:
        f->is_regex = on;
        break;
    case 9:
        f->abstract = on;
        break;
    case 10:
        f->indexed = on;
        break;
    case 11:
        f->unique_across_ws = on;
        break;
    default:
        f->transient = on;
        break;
    }
    return true;
}

static bool
read_text(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    const char *text;

    if (!json_is_string(v))
        return sb_def_error(d, "'%s' must be a string", name);
    text = pool_text(d, v);
    if (strcmp(name, "description") == 0)
        f->description = text;
    else if (strcmp(name, "err") == 0)
        f->err = text;
    else if (strcmp(name, "starts_with") == 0)
        f->starts_with = text;
    else
        f->reference = text;
    return true;
}

static bool
read_ignored(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    (void)d, (void)name, (void)v, (void)f;
    return true;
}

static bool
read_default(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    (void)name;
    f->default_json = json_is_null(v) ? NULL : pool_json(d, v);
    return true;
}

static bool
read_eq_ne(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    if (strcmp(name, "ne") == 0)
        f->ne_json = pool_json(d, v);
    else if (json_is_null(v))
        f->eq_null = 1;
    else
        f->eq_json = pool_json(d, v);
    return true;
}

static bool
read_between(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    const json_t *lo = json_array_get(v, 0), *hi = json_array_get(v, 1);

    if (json_array_size(v) != 2 || !json_is_number(lo) || !json_is_number(hi))
        return sb_def_error(d, "'%s' must be a list of two numbers", name);
    f->has_between = 1;
    f->between[0] = json_number_value(lo);
    f->between[1] = json_number_value(hi);
    return true;
}

static bool
read_gt(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    double *gt;

    if (!json_is_number(v))
        return sb_def_error(d, "'%s' must be a number", name);
    gt = sb_pool_alloc(d->pool, sizeof(*gt));
    *gt = json_number_value(v);
    f->gt = gt;
    return true;
}

static bool
read_length(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    double n = json_number_value(v);

    if (!json_is_number(v) || n < 0 || n > LEN_LIMIT || floor(n) != n)
        return sb_def_error(d, "'%s' must be a whole number", name);
    if (strcmp(name, "len_min") == 0) {
        f->len_min = (int)n;
        f->len_min_set = 1;
    } else if (strcmp(name, "len_max") == 0) {
        f->len_max = (int)n;
    } else {
        f->len_eq = (int)n;
        f->len_eq_set = 1;
    }
    return true;
}

static bool
read_choices(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    return sb_def_names(d, name, v, strcmp(name, "one_of") == 0 ? &f->one_of : &f->not_one_of);
}

static bool
check_pattern(sb_json_def_t *d, const char *name, const json_t *v)
{
    const char *wrong;

    if (!json_is_string(v))
        return sb_def_error(d, "'%s' must have a pattern that is a string", name);
    wrong = sb_lua_pattern_error(json_string_value(v));
    return wrong == NULL || sb_def_error(d, "'%s' has a bad pattern: %s", name, wrong);
}

static bool
read_match(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    struct sb_pattern *p;

    if (!check_pattern(d, name, v))
        return false;
    p = sb_pool_alloc(d->pool, sizeof(*p));
    p->pattern = pool_text(d, v);
    if (strcmp(name, "match") == 0)
        f->match = p;
    else
        f->not_match = p;
    return true;
}

static bool
read_match_list(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    struct sb_pattern *list;
    json_t *item, *err;
    size_t i;

    if (!sb_def_is_list(v))
        return sb_def_error(d, "'%s' must be a list", name);
    list = sb_pool_alloc(d->pool, (json_array_size(v) + 1) * sizeof(*list));
    json_array_foreach(v, i, item)
    {
        if (!check_pattern(d, name, json_object_get(item, "pattern")))
            return false;
        list[i].pattern = pool_text(d, json_object_get(item, "pattern"));
        if (json_is_string(err = json_object_get(item, "err")))
            list[i].err = pool_text(d, err);
    }
    if (strcmp(name, "match_all") == 0)
        f->match_all = list;
    else
        f->match_none = list;
    return true;
}

static bool
read_match_any(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    json_t *patterns = json_object_get(v, "patterns"), *item, *err = json_object_get(v, "err");
    size_t i;

    if (!json_is_array(patterns))
        return sb_def_error(d, "'%s' must have a list of patterns", name);
    json_array_foreach(patterns, i, item)
    {
        if (!check_pattern(d, name, item))
            return false;
    }
    if (json_is_string(err))
        f->match_any_err = pool_text(d, err);
    return sb_def_names(d, name, patterns, &f->match_any);
}

static bool
read_contains(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    char *text;

    if (!json_is_string(v) && !json_is_number(v) && !json_is_boolean(v))
        return sb_def_error(d, "'%s' must be a string, number or boolean", name);
    text = sb_value_text(v);
    f->contains = sb_pool_strdup(d->pool, text);
    free(text);
    return true;
}

static bool
read_subsets(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    const char *const **sets;
    json_t *item;
    size_t i;

    if (!sb_def_is_list(v))
        return sb_def_error(d, "'%s' must be a list of lists", name);
    sets = sb_pool_alloc(d->pool, (json_array_size(v) + 1) * sizeof(*sets));
    json_array_foreach(v, i, item)
    {
        if (!sb_def_names(d, name, item, &sets[i]))
            return false;
    }
    f->mutually_exclusive_subsets = sets;
    return true;
}

static bool
read_validator(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    const char *s = json_string_value(v);

    if (s == NULL)
        return sb_def_lua_ref(d, name, v, &f->lua_ref);
    f->validator = s[0] == '@' ? sb_validator_find(s + 1) : NULL;
    if (f->validator == NULL)
        return sb_def_error(d, "'%s' names '%s', which does not exist", name, s);
    f->validator_name = sb_pool_strdup(d->pool, s + 1);
    return true;
}

static bool
read_part(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    if (strcmp(name, "elements") == 0)
        return sb_def_row(d, name, v, &f->elements);
    return sb_def_row(d, name, v, strcmp(name, "keys") == 0 ? &f->keys : &f->values);
}

static bool
read_record(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    if (strcmp(name, "fields") == 0)
        return sb_def_fields(d, v, &f->fields);
    if (strcmp(name, "entity_checks") == 0)
        return sb_def_checks(d, v, &f->checks);
    return sb_def_shorthands(d, v, &f->shorthands);
}

static bool
read_on_delete(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    const char *s = json_string_value(v);

    if (s != NULL && strcmp(s, "cascade") == 0)
        f->on_delete = SB_CASCADE;
    else if (s != NULL && strcmp(s, "null") == 0)
        f->on_delete = SB_SET_NULL;
    else if (s == NULL || strcmp(s, "restrict") != 0)
        return sb_def_error(d, "'%s' must be one of: restrict, cascade, null", name);
    return true;
}

static bool
read_deprecation(sb_json_def_t *d, const char *name, const json_t *v, struct sb_field *f)
{
    if (!json_is_object(v))
        return sb_def_error(d, "'%s' must be a table", name);
    f->deprecation = pool_json(d, v);
    return true;
}

static const struct attribute {
    const char *name;
    reader_pt read;
    unsigned types;
} attributes[] = {
    {"abstract", read_flag, BIT(SB_T_RECORD)},
    {"auto", read_flag, ANY},
    {"between", read_between, NUMBERS},
    {"contains", read_contains, LISTS},
    {"custom_validator", read_validator, ANY},
    {"default", read_default, ANY},
    {"default_generated", read_ignored, ANY},
    {"deprecation", read_deprecation, ANY},
    {"description", read_text, ANY},
    {"elements", read_part, LISTS},
    {"encrypted", read_flag, ANY},
    {"entity_checks", read_record, BIT(SB_T_RECORD)},
    {"eq", read_eq_ne, ANY},
    {"err", read_text, ANY},
    {"fields", read_record, BIT(SB_T_RECORD)},
    {"gt", read_gt, NUMBERS},
    {"hidden", read_ignored, ANY},
    {"immutable", read_flag, ANY},
    {"indexed", read_flag, ANY},
    {"is_regex", read_flag, STRINGS},
    {"json_schema", read_ignored, BIT(SB_T_JSON)},
    {"keys", read_part, BIT(SB_T_MAP)},
    {"legacy", read_ignored, ANY},
    {"len_eq", read_length, SIZED},
    {"len_max", read_length, SIZED},
    {"len_min", read_length, SIZED},
    {"match", read_match, STRINGS},
    {"match_all", read_match_list, STRINGS},
    {"match_any", read_match_any, STRINGS},
    {"match_none", read_match_list, STRINGS},
    {"mutually_exclusive_subsets", read_subsets, LISTS},
    {"ne", read_eq_ne, ANY},
    {"nilable", read_ignored, ANY},
    {"not_match", read_match, STRINGS},
    {"not_one_of", read_choices, ANY},
    {"on_delete", read_on_delete, BIT(SB_T_FOREIGN)},
    {"one_of", read_choices, ANY},
    {"reference", read_text, BIT(SB_T_FOREIGN)},
    {"referenceable", read_flag, ANY},
    {"required", read_flag, ANY},
    {"shorthand_fields", read_record, BIT(SB_T_RECORD)},
    {"starts_with", read_text, STRINGS},
    {"timestamp", read_flag, NUMBERS},
    {"transient", read_flag, ANY},
    {"type", read_ignored, ANY},
    {"typedef", read_ignored, ANY},
    {"unique", read_flag, ANY},
    {"unique_across_ws", read_flag, ANY},
    {"uuid", read_flag, STRINGS},
    {"values", read_part, BIT(SB_T_MAP)},
};

static const struct attribute *
find_attribute(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
        if (strcmp(attributes[i].name, name) == 0)
            return &attributes[i];
    }
    return NULL;
}

/* --- fields --- */

static bool
read_type(sb_json_def_t *d, const json_t *v, enum sb_type *out)
{
    const char *s = sb_json_string(v, "type");
    size_t i;

    if (json_object_get(v, "type") == NULL)
        return sb_def_error(d, "'type' is missing");
    for (i = 1; s != NULL && i < sizeof(type_names) / sizeof(type_names[0]); i++) {
        if (strcmp(type_names[i], s) == 0) {
            *out = (enum sb_type)i;
            return true;
        }
    }
    return sb_def_error(d, "unknown type '%s'", s != NULL ? s : "?");
}

static bool
read_attributes(sb_json_def_t *d, const json_t *v, struct sb_field *f)
{
    const struct attribute *a;
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)v, name, value)
    {
        if ((a = find_attribute(name)) == NULL)
            return sb_def_error(d, "unknown attribute '%s'", name);
        if (f->type != SB_T_END && (a->types & BIT(f->type)) == 0)
            return sb_def_error(d, "'%s' cannot be used with type '%s'", name, type_names[f->type]);
        if (!a->read(d, name, value, f))
            return false;
    }
    return true;
}

static bool
check_parts(sb_json_def_t *d, const struct sb_field *f)
{
    unsigned type = BIT(f->type);

    if ((type & LISTS) != 0 && f->elements == NULL)
        return sb_def_error(d, "'elements' is missing");
    if (f->type == SB_T_MAP && (f->keys == NULL || f->values == NULL))
        return sb_def_error(d, "'%s' is missing", f->keys == NULL ? "keys" : "values");
    if (f->type == SB_T_RECORD && f->fields == NULL && !f->abstract)
        return sb_def_error(d, "'fields' is missing");
    if (f->type == SB_T_FOREIGN && f->reference == NULL)
        return sb_def_error(d, "'reference' is missing");
    return true;
}

/* Lua checks are not asked about defaults: their author's code may not be ready yet. */
static int
accept(void *arg, const char *plugin, int ref, json_t *value, json_t **out, sb_err_t *err)
{
    (void)arg, (void)plugin, (void)ref, (void)value, (void)err;
    if (out != NULL)
        *out = NULL;
    return SB_OK;
}

static bool
check_default(sb_json_def_t *d, const struct sb_field *f)
{
    static const sb_schema_hooks_t hooks = {.lua_call = accept};
    struct sb_field holder_fields[2] = {*f, SB_FIELD_END};
    sb_pass_t pass = {.hooks = &hooks, .op = SB_OP_INSERT, .plugin = ""};
    struct sb_node record = {0};
    sb_pool_t *pool;
    json_t *row, *error;
    char *text;
    bool ok;

    if (f->default_json == NULL)
        return true;
    pool = sb_pool_new(0);
    holder_fields[0].name = "default value";
    sb_node_compile_record(pool, &record, holder_fields, NULL, NULL);
    row = sb_fill_record(&pass, &record, json_object());
    error = sb_validate_fields(&pass, &record, row);
    ok = json_object_size(error) == 0;
    text = sb_schema_errors_text(error);
    if (!ok)
        sb_def_error(d, "bad default: %s", text);
    free(text);
    json_decref(row);
    json_decref(error);
    sb_pool_free(pool);
    return ok;
}

bool
sb_def_field(sb_json_def_t *d, const json_t *v, struct sb_field *f)
{
    bool ok;

    if (!json_is_object(v))
        return sb_def_error(d, "the definition must be a table");
    if (d->depth == DEPTH_MAX)
        return sb_def_error(d, "nested too deeply");
    if (!read_type(d, v, &f->type))
        return false;
    d->depth++;
    ok = read_attributes(d, v, f) && check_parts(d, f) && check_default(d, f);
    d->depth--;
    return ok;
}

bool
sb_def_row(sb_json_def_t *d, const char *what, const json_t *v, const struct sb_field **out)
{
    struct sb_field *f = sb_pool_alloc(d->pool, sizeof(*f));
    size_t mark = sb_def_enter(d, what);
    bool ok = sb_def_field(d, v, f);

    sb_def_leave(d, mark);
    *out = f;
    return ok;
}

bool
sb_def_match_row(sb_json_def_t *d, const char *what, const json_t *v, const struct sb_field **out)
{
    struct sb_field *f = sb_pool_alloc(d->pool, sizeof(*f));

    if (!json_is_object(v))
        return sb_def_error(d, "'%s' must be a table", what);
    if (json_object_get(v, "type") != NULL && !read_type(d, v, &f->type))
        return false;
    if (!read_attributes(d, v, f))
        return false;
    *out = f;
    return true;
}

static bool
known(const struct sb_field *rows, size_t n, const char *name)
{
    while (n > 0) {
        if (strcmp(rows[--n].name, name) == 0)
            return true;
    }
    return false;
}

bool
sb_def_fields(sb_json_def_t *d, const json_t *v, const struct sb_field **out)
{
    struct sb_field *rows;
    const char *name;
    json_t *item;
    size_t i, mark;
    bool ok;

    if (!sb_def_is_list(v))
        return sb_def_error(d, "'fields' must be a list");
    rows = sb_pool_alloc(d->pool, (json_array_size(v) + 1) * sizeof(*rows));
    json_array_foreach(v, i, item)
    {
        if (!json_is_object(item) || json_object_size(item) != 1)
            return sb_def_error(d, "entry %zu of 'fields' must be a table with one key, the field's name", i + 1);
        name = json_object_iter_key(json_object_iter(item));
        if (known(rows, i, name))
            return sb_def_error(d, "'fields' has '%s' twice", name);
        rows[i].name = sb_pool_strdup(d->pool, name);
        mark = sb_def_enter(d, name);
        ok = sb_def_field(d, json_object_get(item, name), &rows[i]);
        sb_def_leave(d, mark);
        if (!ok)
            return false;
    }
    *out = rows;
    return true;
}

/* --- the schema --- */

static bool
read_names_of(sb_json_def_t *d, const json_t *def, const char *key, const char *const **out)
{
    json_t *v = sb_json_get(def, key);

    return v == NULL || sb_def_names(d, key, v, out);
}

static bool
read_keys(sb_json_def_t *d, const json_t *def, struct sb_schema_def *s)
{
    json_t *endpoint = sb_json_get(def, "endpoint_key");

    if (endpoint != NULL && !json_is_string(endpoint))
        return sb_def_error(d, "'endpoint_key' must be a string");
    s->endpoint_key = endpoint != NULL ? pool_text(d, endpoint) : NULL;
    s->workspaceable = sb_json_bool(def, "workspaceable", false);
    s->ttl = sb_json_bool(def, "ttl", false);
    s->no_admin = !sb_json_bool(def, "generate_admin_api", true);
    return read_names_of(d, def, "primary_key", &s->primary_key) && read_names_of(d, def, "cache_key", &s->cache_key);
}

static bool
read_schema(sb_json_def_t *d, const json_t *def, struct sb_schema_def *s)
{
    json_t *v;

    if (!json_is_object(def))
        return sb_def_error(d, "the schema must be a table");
    if ((v = json_object_get(def, "fields")) == NULL)
        return sb_def_error(d, "'fields' is missing");
    if (!sb_def_fields(d, v, &s->fields) || !read_keys(d, def, s))
        return false;
    if ((v = sb_json_get(def, "entity_checks")) != NULL && !sb_def_checks(d, v, &s->checks))
        return false;
    if ((v = sb_json_get(def, "transformations")) != NULL && !sb_def_transformations(d, v, &s->transformations))
        return false;
    return (v = sb_json_get(def, "shorthand_fields")) == NULL || sb_def_shorthands(d, v, &s->shorthands);
}

int
sb_schema_from_json(const char *name, const json_t *def, sb_schema_t **out, sb_err_t *err)
{
    sb_json_def_t d = {.pool = sb_pool_new(0), .err = err};
    struct sb_schema_def *s = sb_pool_alloc(d.pool, sizeof(*s));

    *out = NULL;
    s->name = sb_pool_strdup(d.pool, name);
    if (!read_schema(&d, def, s)) {
        sb_pool_free(d.pool);
        return SB_DECLINED;
    }
    *out = sb_schema_from_table(s);
    /* The rows live as long as the schema that was made from them. */
    sb_pool_cleanup((*out)->pool, (void (*)(void *))sb_pool_free, d.pool);
    return SB_OK;
}
