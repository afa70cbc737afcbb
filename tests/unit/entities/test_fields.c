/*
 * The core entities' tables against tests/data/entity_fields.json, which says what the interface's entities have: fields in their order,
 * types, defaults, constraints, keys. Everything the file says must be in the table, and the table may have no more than it says
 * but for the fields named in `extra`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/json.h"
#include "core/entities/entities.h"
#include "silverback/typedefs.h"

static json_t *describe(const struct sb_field *f);

/* Fields that come from the public documentation, which goes beyond the file. */
static const char *const extra[] = {"plugins.consumer_group", NULL};

static void
set_text(json_t *o, const char *key, const char *text)
{
    if (text != NULL)
        json_object_set_new(o, key, json_string(text));
}

static void
set_flag(json_t *o, const char *key, bool on)
{
    if (on)
        json_object_set_new(o, key, json_true());
}

static void
set_list(json_t *o, const char *key, const char *const *list, bool numbers)
{
    json_t *out;

    if (list == NULL)
        return;
    out = json_array();
    for (; *list != NULL; list++)
        json_array_append_new(out, numbers ? json_integer(atol(*list)) : json_string(*list));
    json_object_set_new(o, key, out);
}

static void
set_patterns(json_t *o, const char *key, const struct sb_pattern *p)
{
    json_t *out;

    if (p == NULL)
        return;
    out = json_array();
    for (; p->pattern != NULL; p++)
        json_array_append_new(out, json_string(p->pattern));
    json_object_set_new(o, key, out);
}

static json_t *
check_names(const struct sb_entity_check *c)
{
    static const char *const names[] = {[SB_CHECK_AT_LEAST_ONE_OF] = "at_least_one_of",
                                        [SB_CHECK_CONDITIONAL_AT_LEAST_ONE_OF] = "conditional_at_least_one_of",
                                        [SB_CHECK_ONLY_ONE_OF] = "only_one_of",
                                        [SB_CHECK_MUTUALLY_EXCLUSIVE] = "mutually_exclusive",
                                        [SB_CHECK_MUTUALLY_REQUIRED] = "mutually_required",
                                        [SB_CHECK_DISTINCT] = "distinct",
                                        [SB_CHECK_CONDITIONAL] = "conditional",
                                        [SB_CHECK_MUTUALLY_EXCLUSIVE_SETS] = "mutually_exclusive_sets"};
    json_t *out = json_array();

    for (; c != NULL && c->kind != SB_CHECK_END; c++)
        if (c->kind != SB_CHECK_CUSTOM)
            json_array_append_new(out, json_string(names[c->kind]));
    return out;
}

static json_t *
describe_fields(const struct sb_field *f)
{
    json_t *out = json_array();

    for (; f->name != NULL; f++)
        json_array_append_new(out, json_pack("{s:o}", f->name, describe(f)));
    return out;
}

static void
describe_lengths(json_t *o, const struct sb_field *f)
{
    if (f->len_min_set || f->len_min != 0)
        json_object_set_new(o, "len_min", json_integer(f->len_min));
    if (f->len_max != 0)
        json_object_set_new(o, "len_max", json_integer(f->len_max));
    if (f->len_eq_set || f->len_eq != 0)
        json_object_set_new(o, "len_eq", json_integer(f->len_eq));
    if (f->has_between)
        json_object_set_new(o, "between", json_pack("[f,f]", f->between[0], f->between[1]));
    if (f->gt != NULL)
        json_object_set_new(o, "gt", json_real(*f->gt));
}

static void
describe_nested(json_t *o, const struct sb_field *f)
{
    if (f->elements != NULL)
        json_object_set_new(o, "elements", describe(f->elements));
    if (f->keys != NULL)
        json_object_set_new(o, "keys", describe(f->keys));
    if (f->values != NULL)
        json_object_set_new(o, "values", describe(f->values));
    if (f->fields != NULL)
        json_object_set_new(o, "fields", describe_fields(f->fields));
    if (f->checks != NULL)
        json_object_set_new(o, "entity_checks", check_names(f->checks));
}

static json_t *
describe(const struct sb_field *f)
{
    static const char *const types[] = {NULL, "string", "integer", "number", "boolean", "array", "set", "map", "record", "foreign", "json"};
    static const char *const behaviours[] = {NULL, "cascade", "null"};
    bool numeric = f->type == SB_T_INTEGER || f->type == SB_T_NUMBER;
    json_t *o = json_object();

    set_text(o, "type", types[f->type]);
    if (f->default_json != NULL && strcmp(f->default_json, "null") != 0)
        json_object_set_new(o, "default", sb_json_parse(f->default_json, strlen(f->default_json), NULL));
    set_flag(o, "required", f->required && f->type != SB_T_RECORD);
    set_flag(o, "nullable", f->not_required);
    set_flag(o, "unique", f->unique);
    set_flag(o, "unique_across_ws", f->unique_across_ws);
    set_flag(o, "auto", f->automatic);
    set_flag(o, "uuid", f->uuid);
    set_flag(o, "timestamp", f->timestamp);
    set_flag(o, "referenceable", f->referenceable);
    set_flag(o, "encrypted", f->encrypted);
    set_flag(o, "abstract", f->abstract);
    set_flag(o, "transient", f->transient);
    set_list(o, "one_of", f->one_of, numeric);
    set_list(o, "not_one_of", f->not_one_of, numeric);
    set_list(o, "match_any", f->match_any, false);
    set_patterns(o, "match_all", f->match_all);
    set_patterns(o, "match_none", f->match_none);
    set_text(o, "match", f->match != NULL ? f->match->pattern : NULL);
    set_text(o, "starts_with", f->starts_with);
    set_text(o, "custom_validator", f->validator_name);
    set_text(o, "reference", f->reference);
    set_text(o, "on_delete", behaviours[f->on_delete]);
    describe_lengths(o, f);
    describe_nested(o, f);
    return o;
}

/* --- the file's side, brought to the same form --- */

static void
drop_custom(json_t *checks)
{
    size_t i;

    for (i = json_array_size(checks); i-- > 0;)
        if (strncmp(json_string_value(json_array_get(checks, i)), "custom", 6) == 0)
            json_array_remove(checks, i);
}

static void normal_field(json_t *f);

static void
normal_fields(json_t *fields)
{
    json_t *row, *f;
    const char *name;
    size_t i;

    json_array_foreach(fields, i, row) json_object_foreach(row, name, f) normal_field(f);
}

/* Numbers in the file are written as they are there; those of limits are compared as reals. A null default is none. */
static void
normal_field(json_t *f)
{
    static const char *const nested[] = {"elements", "keys", "values"};
    json_t *v = json_object_get(f, "between");
    size_t i;

    if (v != NULL)
        json_object_set_new(f, "between",
                            json_pack("[f,f]", json_number_value(json_array_get(v, 0)), json_number_value(json_array_get(v, 1))));
    if (json_is_null(json_object_get(f, "default")))
        json_object_del(f, "default");
    /* A record stands in every row unless the file says that it need not. */
    if (strcmp(sb_json_string(f, "type"), "record") == 0 && json_is_false(json_object_get(f, "required")))
        json_object_set_new(f, "nullable", json_true());
    if (strcmp(sb_json_string(f, "type"), "record") == 0 || json_is_false(json_object_get(f, "required")))
        json_object_del(f, "required");
    json_object_del(f, "mutually_exclusive_subsets");
    drop_custom(json_object_get(f, "entity_checks"));
    for (i = 0; i < 3; i++)
        if ((v = json_object_get(f, nested[i])) != NULL)
            normal_field(v);
    normal_fields(json_object_get(f, "fields"));
}

static bool
is_extra(const char *entity, const char *field)
{
    size_t i, n = strlen(entity);

    for (i = 0; extra[i] != NULL; i++)
        if (strncmp(extra[i], entity, n) == 0 && extra[i][n] == '.' && strcmp(extra[i] + n + 1, field) == 0)
            return true;
    return false;
}

static void
drop_extra(const char *entity, json_t *fields)
{
    size_t i;

    for (i = json_array_size(fields); i-- > 0;)
        if (is_extra(entity, json_object_iter_key(json_object_iter(json_array_get(fields, i)))))
            json_array_remove(fields, i);
}

static void
assert_equal(const char *what, const char *part, json_t *got, json_t *want)
{
    if (!json_equal(got, want))
        fail_msg("%s: %s is\n  %s\nbut should be\n  %s", what, part, json_dumps(got, JSON_ENCODE_ANY | JSON_SORT_KEYS),
                 json_dumps(want, JSON_ENCODE_ANY | JSON_SORT_KEYS));
}

static json_t *
names_of(const char *const *list)
{
    json_t *out = json_array();

    for (; list != NULL && *list != NULL; list++)
        json_array_append_new(out, json_string(*list));
    return out;
}

static void
compare_keys(const sb_entity_t *e, const json_t *want)
{
    static const char *const by_id[] = {"id", NULL};
    json_t *cache = names_of(e->cache_key), *pk = names_of(e->def->primary_key != NULL ? e->def->primary_key : by_id);
    json_t *wanted = json_object_get(want, "cache_key"), *checks = check_names(e->def->checks);
    const char *endpoint = sb_json_string(want, "endpoint_key");

    if (strcmp(e->name, "plugins") == 0) /* the group is the fifth part */
        json_array_remove(cache, 4);
    assert_equal(e->name, "primary_key", pk, json_object_get(want, "primary_key"));
    if (wanted != NULL)
        assert_equal(e->name, "cache_key", cache, wanted);
    assert_true((endpoint == NULL) == (e->endpoint_key == NULL));
    if (endpoint != NULL)
        assert_string_equal(e->endpoint_key, endpoint);
    assert_int_equal(e->workspaceable, sb_json_bool(want, "workspaceable", false));
    assert_int_equal(e->ttl, sb_json_bool(want, "ttl", false));
    drop_custom(json_object_get(want, "entity_checks"));
    if (json_array_size(checks) != json_array_size(json_object_get(want, "entity_checks")))
        assert_equal(e->name, "entity_checks", checks, json_object_get(want, "entity_checks"));
    json_decref(cache);
    json_decref(pk);
    json_decref(checks);
}

static void
compare_fields(const sb_entity_t *e, json_t *want)
{
    json_t *got = describe_fields(e->def->fields), *a, *b;
    const char *name;
    size_t i;

    drop_extra(e->name, got);
    normal_fields(want);
    assert_int_equal(json_array_size(got), json_array_size(want));
    for (i = 0; i < json_array_size(want); i++) {
        a = json_array_get(got, i);
        b = json_array_get(want, i);
        name = json_object_iter_key(json_object_iter(b));
        assert_equal(e->name, name, a, b);
    }
    json_decref(got);
}

static void
test_tables(void **state)
{
    json_t *all = json_load_file(SB_SOURCE_ROOT "/tests/data/entity_fields.json", 0, NULL), *want;
    size_t i;

    (void)state;
    assert_non_null(all);
    assert_int_equal(json_array_size(all), 17);
    json_array_foreach(all, i, want)
    {
        const sb_entity_t *e = sb_entity_find(sb_json_string(want, "name"));

        if (e == NULL)
            fail_msg("there is no %s", sb_json_string(want, "name"));
        compare_keys(e, want);
        compare_fields(e, json_object_get(want, "fields"));
    }
    json_decref(all);
}

static int
setup(void **state)
{
    (void)state;
    sb_entities_init();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tables)};

    return cmocka_run_group_tests(tests, setup, NULL);
}
