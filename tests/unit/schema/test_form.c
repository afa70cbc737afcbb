/* Form decoding: the rows of tests/data/validation_examples.json, and names that clients should not send. */
#include "examples.h"

static const sb_schema_t *
schema_of(const char *name)
{
    return name != NULL ? sb_entity_find(name)->schema : NULL;
}

static void
assert_decodes(const char *entity, const char *plugin, const json_t *form, const json_t *want)
{
    json_t *got = sb_schema_decode_form(schema_of(entity), plugin, form);

    if (!json_equal(got, (json_t *)want))
        fail_msg("%s\n  got  %s\n  want %s", json_dumps(form, 0), json_dumps(got, JSON_SORT_KEYS), json_dumps(want, JSON_SORT_KEYS));
    json_decref(got);
}

static void
test_examples(void **state)
{
    json_t *data = load(DATA "validation_examples.json"), *row;
    size_t i, n = 0;

    (void)state;
    json_array_foreach(json_object_get(data, "form_decoding"), i, row)
    {
        assert_decodes(sb_json_string(row, "schema"), NULL, json_object_get(row, "form"), json_object_get(row, "decoded"));
        n++;
    }
    assert_int_equal(n, 10);
    json_decref(data);
}

static void
check(const char *entity, const char *plugin, const char *form, const char *want)
{
    json_t *f = sb_json_parse(form, strlen(form), NULL), *w = sb_json_parse(want, strlen(want), NULL);

    assert_non_null(f);
    assert_non_null(w);
    assert_decodes(entity, plugin, f, w);
    json_decref(f);
    json_decref(w);
}

static void
test_types(void **state)
{
    (void)state;
    /* What does not parse stays text, for validation to report. */
    check("services", NULL, "{\"port\":\"http\",\"enabled\":\"yes\",\"retries\":\"0x10\"}",
          "{\"port\":\"http\",\"enabled\":\"yes\",\"retries\":\"0x10\"}");
    check("services", NULL, "{\"port\":\"-1\",\"retries\":\"1.5\"}", "{\"port\":-1,\"retries\":1.5}");
    check("services", NULL, "{\"port\":\"99999999999999999999\"}", "{\"port\":99999999999999999999.0}");
    check("services", NULL, "{\"url\":\"http://a\",\"bogus\":\"1\"}", "{\"url\":\"http://a\",\"bogus\":\"1\"}");
    check("services", NULL, "{\"tags\":\"a\",\"client_certificate\":\"\"}", "{\"tags\":[\"a\"],\"client_certificate\":null}");
    check("services", NULL, "{\"tags[]\":\"\"}", "{\"tags\":[]}");
    check("routes", NULL, "{\"sources[1].ip\":\"1.1.1.1\",\"sources[1].port\":\"80\",\"sources[3].ip\":\"::1\"}",
          "{\"sources\":[{\"ip\":\"1.1.1.1\",\"port\":80},{\"ip\":\"::1\"}]}");
    check("routes", NULL, "{\"service[id]\":\"x\",\"headers.x\":\"v\"}", "{\"service\":{\"id\":\"x\"},\"headers\":{\"x\":[\"v\"]}}");
    check("targets", NULL, "{\"created_at\":\"1.25\",\"weight\":\"7\"}", "{\"created_at\":1.25,\"weight\":7}");
}

static void
test_plugins(void **state)
{
    (void)state;
    check("plugins", "rate-limiting", "{\"config.minute\":\"5\"}", "{\"config\":{\"minute\":5}}");
    check("plugins", NULL, "{\"config.minute\":\"5\"}", "{\"config\":{\"minute\":\"5\"}}");
    check("plugins", NULL, "{\"name\":\"nope\",\"config.minute\":\"5\",\"enabled\":\"false\"}",
          "{\"name\":\"nope\",\"config\":{\"minute\":\"5\"},\"enabled\":false}");
    /* Shorthands have types too. */
    check("plugins", NULL, "{\"name\":\"rate-limiting\",\"config.redis_port\":\"1\",\"config.redis.port\":\"2\"}",
          "{\"name\":\"rate-limiting\",\"config\":{\"redis_port\":1,\"redis\":{\"port\":2}}}");
}

static void
test_odd_names(void **state)
{
    (void)state;
    check(NULL, NULL,
          "{\"a[\":\"1\",\"[b]\":\"2\",\".c\":\"3\",\"d..e\":\"4\",\"f[0]\":\"5\",\"g[1001]\":\"6\",\"h]\":\"7\",\"i[x]y\":\"8\"}",
          "{\"a[\":\"1\",\"[b]\":\"2\",\".c\":\"3\",\"d..e\":\"4\",\"f[0]\":\"5\",\"g[1001]\":\"6\",\"h]\":\"7\",\"i[x]y\":\"8\"}");
    /* A name that needs a container where there is a value already. */
    check(NULL, NULL, "{\"a\":\"1\",\"a.b\":\"2\",\"l[]\":\"3\",\"l.x\":\"4\"}", "{\"a\":\"1\",\"a.b\":\"2\",\"l\":[\"3\"],\"l.x\":\"4\"}");
}

static void
test_depth_is_bounded(void **state)
{
    char name[200] = "a";
    json_t *form = json_object(), *got;
    int i;

    (void)state;
    for (i = 0; i < 40; i++)
        strcat(name, ".b");
    json_object_set_new(form, name, json_string("x"));
    got = sb_schema_decode_form(NULL, NULL, form);
    assert_true(json_equal(got, form));
    json_decref(got);
    json_decref(form);
}

/* A thousand names that leave out 999 indexes thirty times over would take hundreds of megabytes. */
static void
test_gaps_are_bounded(void **state)
{
    json_t *form = json_object(), *got;
    char name[256];
    int i, k, n;

    (void)state;
    for (i = 0; i < 1000; i++) {
        n = snprintf(name, sizeof(name), "x%d", i);
        for (k = 0; k < 30; k++)
            n += snprintf(name + n, sizeof(name) - (size_t)n, "[1000]");
        json_object_set_new(form, name, json_string("v"));
    }
    got = sb_schema_decode_form(NULL, NULL, form);
    assert_string_equal(json_string_value(json_object_get(got, name)), "v"); /* the last one is no path any more */
    json_decref(got);
    json_decref(form);
    form = json_object();
    for (i = 1000; i > 0; i--) { /* whatever the order, indexes that are all there are fine */
        snprintf(name, sizeof(name), "tags[%d]", i);
        snprintf(name + 100, 16, "t%d", i);
        json_object_set_new(form, name, json_string(name + 100));
    }
    got = sb_schema_decode_form(schema_of("services"), NULL, form);
    assert_int_equal(json_array_size(json_object_get(got, "tags")), 1000);
    assert_string_equal(json_string_value(json_array_get(json_object_get(got, "tags"), 999)), "t1000");
    json_decref(got);
    json_decref(form);
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
        cmocka_unit_test(test_examples),         cmocka_unit_test(test_types),
        cmocka_unit_test(test_plugins),          cmocka_unit_test(test_odd_names),
        cmocka_unit_test(test_depth_is_bounded), cmocka_unit_test(test_gaps_are_bounded),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
