/* Entity checks, shorthands and transformations of schemas that arrive as JSON; see from_json.c. */
#include "core/schema/schema_int.h"

#include <stdlib.h>
#include <string.h>

/* The one member of an entry of a list; NULL (and an error) when it is not an object of one. */
static json_t *
only_member(sb_json_def_t *d, const char *list, size_t i, const json_t *item, const char **name)
{
    if (!json_is_object(item) || json_object_size(item) != 1) {
        sb_def_error(d, "entry %zu of '%s' must be a table with one key", i + 1, list);
        return NULL;
    }
    *name = json_object_iter_key(json_object_iter((json_t *)item));
    return json_object_get(item, *name);
}

static const char *
text_of(sb_json_def_t *d, const json_t *v, const char *key)
{
    const char *s = sb_json_string(v, key);

    return s != NULL ? sb_pool_strdup(d->pool, s) : NULL;
}

static bool
optional_names(sb_json_def_t *d, const json_t *v, const char *key, const char *const **out)
{
    json_t *list = sb_json_get(v, key);

    return list == NULL || sb_def_names(d, key, list, out);
}

static bool
read_conditional(sb_json_def_t *d, const json_t *v, struct sb_entity_check *c)
{
    c->if_field = text_of(d, v, "if_field");
    c->then_field = text_of(d, v, "then_field");
    c->then_err = text_of(d, v, "then_err");
    if (c->if_field == NULL || c->then_field == NULL)
        return sb_def_error(d, "conditional: if_field and then_field must be strings");
    return sb_def_match_row(d, "if_match", json_object_get(v, "if_match"), &c->if_match) &&
           sb_def_match_row(d, "then_match", json_object_get(v, "then_match"), &c->then_match);
}

static bool
read_conditional_at_least(sb_json_def_t *d, const json_t *v, struct sb_entity_check *c)
{
    json_t *other = sb_json_get(v, "else_match");

    c->if_field = text_of(d, v, "if_field");
    c->then_err = text_of(d, v, "then_err");
    c->else_then_err = text_of(d, v, "else_then_err");
    if (c->if_field == NULL)
        return sb_def_error(d, "conditional_at_least_one_of: if_field must be a string");
    if (!sb_def_names(d, "then_at_least_one_of", json_object_get(v, "then_at_least_one_of"), &c->then_at_least_one_of) ||
        !optional_names(d, v, "else_then_at_least_one_of", &c->else_then_at_least_one_of))
        return false;
    if (!sb_def_match_row(d, "if_match", json_object_get(v, "if_match"), &c->if_match))
        return false;
    return other == NULL || sb_def_match_row(d, "else_match", other, &c->else_match);
}

static bool
read_custom(sb_json_def_t *d, const json_t *v, struct sb_entity_check *c)
{
    c->run_with_missing_fields = sb_json_bool(v, "run_with_missing_fields", false);
    return sb_def_names(d, "field_sources", json_object_get(v, "field_sources"), &c->fields) &&
           sb_def_lua_ref(d, "fn", json_object_get(v, "fn"), &c->lua_ref);
}

static bool
read_sets(sb_json_def_t *d, const json_t *v, struct sb_entity_check *c)
{
    return sb_def_names(d, "set1", json_object_get(v, "set1"), &c->fields) && sb_def_names(d, "set2", json_object_get(v, "set2"), &c->set2);
}

static bool
read_list(sb_json_def_t *d, const json_t *v, struct sb_entity_check *c)
{
    return sb_def_names(d, "entity check", v, &c->fields);
}

static const struct {
    const char *name;
    enum sb_check_kind kind;
    bool (*read)(sb_json_def_t *d, const json_t *v, struct sb_entity_check *c);
} kinds[] = {
    {"at_least_one_of", SB_CHECK_AT_LEAST_ONE_OF, read_list},
    {"conditional", SB_CHECK_CONDITIONAL, read_conditional},
    {"conditional_at_least_one_of", SB_CHECK_CONDITIONAL_AT_LEAST_ONE_OF, read_conditional_at_least},
    {"custom_entity_check", SB_CHECK_CUSTOM, read_custom},
    {"distinct", SB_CHECK_DISTINCT, read_list},
    {"mutually_exclusive", SB_CHECK_MUTUALLY_EXCLUSIVE, read_list},
    {"mutually_exclusive_sets", SB_CHECK_MUTUALLY_EXCLUSIVE_SETS, read_sets},
    {"mutually_required", SB_CHECK_MUTUALLY_REQUIRED, read_list},
    {"only_one_of", SB_CHECK_ONLY_ONE_OF, read_list},
};

static bool
read_check(sb_json_def_t *d, const char *name, const json_t *v, struct sb_entity_check *c)
{
    size_t i;

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            c->kind = kinds[i].kind;
            return kinds[i].read(d, v, c);
        }
    }
    return sb_def_error(d, "unknown entity check '%s'", name);
}

bool
sb_def_checks(sb_json_def_t *d, const json_t *v, const struct sb_entity_check **out)
{
    struct sb_entity_check *rows;
    const char *name;
    json_t *item, *def;
    size_t i;

    if (!sb_def_is_list(v))
        return sb_def_error(d, "'entity_checks' must be a list");
    rows = sb_pool_alloc(d->pool, (json_array_size(v) + 1) * sizeof(*rows));
    json_array_foreach(v, i, item)
    {
        if ((def = only_member(d, "entity_checks", i, item, &name)) == NULL || !read_check(d, name, def, &rows[i]))
            return false;
    }
    *out = rows;
    return true;
}

/* --- shorthands --- */

/* ["redis","host"] as "redis.host". */
static const char *
join_path(sb_json_def_t *d, const json_t *path)
{
    char text[512] = "";
    json_t *item;
    size_t i;

    json_array_foreach(path, i, item)
    {
        size_t len = strlen(text), more = json_string_length(item);

        if (!json_is_string(item) || len + more + 2 > sizeof(text))
            return NULL;
        strcat(strcat(text, i != 0 ? "." : ""), json_string_value(item));
    }
    return text[0] != '\0' ? sb_pool_strdup(d->pool, text) : NULL;
}

/* Where the value went: deprecation.replaced_with's first path, or the older translate_backwards. */
static bool
read_replacement(sb_json_def_t *d, const json_t *v, struct sb_shorthand *s)
{
    json_t *replaced = sb_json_get(json_object_get(v, "deprecation"), "replaced_with");
    json_t *path = sb_json_get(v, "translate_backwards");

    if (replaced != NULL)
        path = json_object_get(json_array_get(replaced, 0), "path");
    if (replaced == NULL && path == NULL)
        return true;
    s->replaced_with = join_path(d, path);
    return s->replaced_with != NULL || sb_def_error(d, "'replaced_with' must be a list of tables with a path");
}

/* The value's constraints: the definition without what only a shorthand has. */
static bool
read_constraints(sb_json_def_t *d, const json_t *v, struct sb_shorthand *s)
{
    static const char *const own[] = {"func", "maps_to", "translate_backwards", "expand", "deprecation", NULL};
    json_t *rest = json_copy((json_t *)v);
    struct sb_field *f = sb_pool_alloc(d->pool, sizeof(*f));
    bool ok;
    size_t i;

    for (i = 0; own[i] != NULL; i++)
        json_object_del(rest, own[i]);
    ok = sb_def_field(d, rest, f);
    json_decref(rest);
    f->name = s->name;
    s->field = f;
    s->type = f->type;
    s->elements = f->elements;
    return ok;
}

static bool
read_shorthand(sb_json_def_t *d, const json_t *v, struct sb_shorthand *s)
{
    json_t *func, *deprecation;
    char *text;

    if (!json_is_object(v))
        return sb_def_error(d, "the definition must be a table");
    if ((func = sb_json_get(v, "func")) != NULL && !sb_def_lua_ref(d, "func", func, &s->lua_ref))
        return false;
    if ((deprecation = sb_json_get(v, "deprecation")) != NULL) {
        text = sb_json_dump(deprecation);
        s->deprecation = sb_pool_strdup(d->pool, text);
        free(text);
    }
    if (!read_replacement(d, v, s) || !read_constraints(d, v, s))
        return false;
    return s->lua_ref != 0 || s->replaced_with != NULL || sb_json_get(v, "maps_to") != NULL || sb_def_error(d, "'func' is missing");
}

bool
sb_def_shorthands(sb_json_def_t *d, const json_t *v, const struct sb_shorthand **out)
{
    struct sb_shorthand *rows;
    const char *name;
    json_t *item, *def;
    size_t i, mark;
    bool ok;

    if (!sb_def_is_list(v))
        return sb_def_error(d, "'shorthand_fields' must be a list");
    rows = sb_pool_alloc(d->pool, (json_array_size(v) + 1) * sizeof(*rows));
    json_array_foreach(v, i, item)
    {
        if ((def = only_member(d, "shorthand_fields", i, item, &name)) == NULL)
            return false;
        rows[i].name = sb_pool_strdup(d->pool, name);
        mark = sb_def_enter(d, name);
        ok = read_shorthand(d, def, &rows[i]);
        sb_def_leave(d, mark);
        if (!ok)
            return false;
    }
    *out = rows;
    return true;
}

/* --- transformations --- */

static bool
read_transformation(sb_json_def_t *d, const json_t *item, struct sb_transformation *t)
{
    static const char *const none[] = {NULL};
    json_t *on_write = sb_json_get(item, "on_write"), *on_read = sb_json_get(item, "on_read");

    if (on_write == NULL && on_read == NULL)
        return sb_def_error(d, "each of 'transformations' must have 'on_write' or 'on_read'");
    if (!optional_names(d, item, "input", &t->input) || !optional_names(d, item, "needs", &t->needs))
        return false;
    if (t->input == NULL)
        t->input = none;
    return (on_write == NULL || sb_def_lua_ref(d, "on_write", on_write, &t->lua_ref)) &&
           (on_read == NULL || sb_def_lua_ref(d, "on_read", on_read, &t->lua_read));
}

bool
sb_def_transformations(sb_json_def_t *d, const json_t *v, const struct sb_transformation **out)
{
    struct sb_transformation *rows;
    json_t *item;
    size_t i;

    if (!sb_def_is_list(v))
        return sb_def_error(d, "'transformations' must be a list");
    rows = sb_pool_alloc(d->pool, (json_array_size(v) + 1) * sizeof(*rows));
    json_array_foreach(v, i, item)
    {
        if (!read_transformation(d, item, &rows[i]))
            return false;
    }
    *out = rows;
    return true;
}
