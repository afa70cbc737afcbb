/*
 * Every row of tests/data/validation_examples.json whose entity (for plugins: whose plugin) exists here: input, then exactly
 * that row or that error. Rows that cannot be run are counted by entity and printed; those of the core entities may not be among
 * them. Schemas of plugins that are not built in are made from tests/data/plugin_schemas.json; their own checks in Lua or C, where a row is
 * about one, are not there, and such rows count as skipped.
 */
#include "examples.h"

static unsigned uuids;

static double
fixed_now(void *arg)
{
    (void)arg;
    return 1700000000;
}

static void
counted_uuid(void *arg, char out[37])
{
    (void)arg;
    snprintf(out, 37, "00000000-0000-4000-8000-%012u", ++uuids % 1000000);
}

/* Checks by name that have no C here: accepted, unless the row is about one (then it was not run). */
static int
accept_all(void *arg, const char *plugin, int ref, json_t *value, json_t **out, sb_err_t *err)
{
    (void)arg, (void)plugin, (void)ref, (void)value, (void)err;
    if (out != NULL)
        *out = NULL;
    return SB_OK;
}

static const sb_schema_hooks_t hooks = {.now = fixed_now, .uuid = counted_uuid, .lua_call = accept_all, .traditional = true};

/* The examples write empty maps as []. */
static json_t *
empties_alike(json_t *v)
{
    const char *key;
    json_t *item;
    size_t i;

    if (json_is_object(v) && json_object_size(v) == 0)
        return json_array();
    if (json_is_object(v)) {
        json_t *out = json_object();

        json_object_foreach(v, key, item) json_object_set_new(out, key, empties_alike(item));
        return out;
    }
    if (json_is_array(v)) {
        json_t *out = json_array();

        json_array_foreach(v, i, item) json_array_append_new(out, empties_alike(item));
        return out;
    }
    return json_incref(v);
}

static void
assert_same(const json_t *row, const char *what, json_t *got, json_t *want)
{
    json_t *a = empties_alike(got), *b = empties_alike(want);
    char *ta, *tb, *tr;

    if (!json_equal(a, b)) {
        ta = json_dumps(a, JSON_SORT_KEYS | JSON_ENCODE_ANY);
        tb = json_dumps(b, JSON_SORT_KEYS | JSON_ENCODE_ANY);
        tr = json_dumps(json_object_get(row, "input"), 0);
        fail_msg("%s of %s\n  got  %s\n  want %s", what, tr, ta, tb);
    }
    json_decref(a);
    json_decref(b);
}

static void
check_error(const json_t *row, const sb_err_t *err)
{
    const json_t *want = json_object_get(row, "error");
    const char *at;

    assert_int_equal(err->code, json_integer_value(json_object_get(want, "code")));
    assert_string_equal(sb_err_name(err->code), sb_json_string(want, "name"));
    if (json_object_get(row, "engine_text_differs") != NULL) {
        /* The pattern's offset is the engine's. */
        at = strstr(sb_json_string(want, "message"), "(pattern offset");
        assert_non_null(at);
        assert_int_equal(strncmp(err->message, sb_json_string(want, "message"), (size_t)(at - sb_json_string(want, "message"))), 0);
        return;
    }
    assert_string_equal(err->message, sb_json_string(want, "message"));
    assert_same(row, "fields", err->fields, json_object_get(want, "fields"));
}

static void
blank_random(json_t *got, json_t *want)
{
    const char *key;
    json_t *v;

    json_object_foreach(want, key, v)
    {
        if (json_is_string(v) && strcmp(json_string_value(v), "<random32>") == 0) {
            assert_int_equal(strlen(sb_json_string(got, key)), 32);
            json_object_set(got, key, v);
        }
    }
}

static void
run_create(const sb_entity_t *e, const json_t *row)
{
    json_t *out = NULL, *want = json_object_get(row, "result");
    sb_err_t err = {0};
    int rc;

    uuids = 0;
    rc = sb_schema_process(e->schema, SB_OP_INSERT, json_object_get(row, "input"), NULL, &hooks, &out, &err);
    if (want == NULL) {
        assert_int_equal(rc, SB_DECLINED);
        check_error(row, &err);
    } else {
        if (rc != SB_OK)
            fail_msg("%s: %s", e->name, err.message);
        blank_random(out, want);
        assert_same(row, "result", out, want);
    }
    json_decref(out);
    sb_err_clear(&err);
}

/* The stored row is one made from the least that is required; the result shows what would change. */
static void
run_patch(const sb_entity_t *e, const json_t *row)
{
    json_t *least = json_pack("{s:s}", "host", "h"), *current = NULL, *out = NULL, *v;
    sb_schema_hooks_t older = hooks;
    sb_err_t err = {0};
    const char *key;

    assert_string_equal(e->name, "services");
    assert_int_equal(sb_schema_process(e->schema, SB_OP_INSERT, least, NULL, &older, &current, &err), SB_OK);
    json_object_set_new(current, "updated_at", json_integer(1600000000));
    assert_int_equal(sb_schema_process(e->schema, SB_OP_UPDATE, json_object_get(row, "input"), current, &hooks, &out, &err), SB_OK);
    json_object_update(current, json_object_get(row, "result"));
    assert_same(row, "patch", out, current);
    json_object_foreach(json_object_get(row, "result"), key, v) assert_true(json_equal(json_object_get(out, key), v));
    json_decref(least);
    json_decref(current);
    json_decref(out);
}

/* Rows that are about a check which only the plugin itself brings. */
static bool
needs_own_check(const json_t *row)
{
    static const char *const texts[] = {"The limit for",
                                        "is not a valid regex",
                                        "specifying both an",
                                        "message cannot be used",
                                        "at least one of these fields must be true",
                                        NULL};
    const char *message = sb_json_string(json_object_get(row, "error"), "message");
    const char *name = sb_json_string(json_object_get(row, "input"), "name");
    size_t i;

    if (name != NULL && sb_plugin_schemas_find(name)->native != NULL)
        return false;
    /* Its shorthand is a function of the plugin. */
    if (name != NULL && strcmp(name, "opentelemetry") == 0)
        return true;
    for (i = 0; message != NULL && texts[i] != NULL; i++) {
        if (strstr(message, texts[i]) != NULL)
            return strcmp(texts[i], "is not a valid regex") != 0;
    }
    return false;
}

static bool
may_run(const json_t *row)
{
    const char *entity = sb_json_string(row, "entity");
    const char *name = sb_json_string(json_object_get(row, "input"), "name");

    if (sb_entity_find(entity) == NULL)
        return false;
    if (strcmp(entity, "plugins") != 0 || name == NULL)
        return true;
    return sb_plugin_schemas_find(name) != NULL && !needs_own_check(row);
}

static void
test_examples(void **state)
{
    json_t *data = load(DATA "validation_examples.json"), *row, *ran = json_object(), *skipped = json_object(), *n;
    const char *entity;
    char *text, *more;
    size_t i;

    (void)state;
    json_array_foreach(json_object_get(data, "validation"), i, row)
    {
        json_t *counts = may_run(row) ? ran : skipped;

        entity = sb_json_string(row, "entity");
        n = json_object_get(counts, entity);
        json_object_set_new(counts, entity, json_integer(1 + json_integer_value(n)));
        if (counts == skipped)
            continue;
        if (strcmp(sb_json_string(row, "operation"), "patch") == 0)
            run_patch(sb_entity_find(entity), row);
        else
            run_create(sb_entity_find(entity), row);
    }
    text = json_dumps(ran, 0);
    more = json_dumps(skipped, 0);
    printf("rows run: %s\nskipped: %s\n", text, more);
    free(text);
    free(more);
    assert_int_equal(json_integer_value(json_object_get(ran, "services")), 12);
    assert_int_equal(json_integer_value(json_object_get(ran, "routes")), 12);
    assert_int_equal(json_integer_value(json_object_get(ran, "consumers")), 2);
    assert_int_equal(json_integer_value(json_object_get(ran, "upstreams")), 6);
    assert_null(json_object_get(skipped, "services"));
    assert_null(json_object_get(skipped, "routes"));
    assert_null(json_object_get(skipped, "upstreams"));
    assert_null(json_object_get(skipped, "targets"));
    assert_null(json_object_get(skipped, "snis"));
    assert_null(json_object_get(skipped, "vaults"));
    assert_null(json_object_get(skipped, "keys"));
    json_decref(ran);
    json_decref(skipped);
    json_decref(data);
}

static int
setup(void **state)
{
    (void)state;
    sb_entities_init();
    add_plugins();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
