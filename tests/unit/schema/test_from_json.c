/* Schemas from JSON: mistakes are reported with their field; all kinds of checks, constraints, shorthands and references work. */
#include "examples.h"

/* The stand-in for Lua: refuses the word "bad", doubles the shorthand, joins the transformation's inputs. */
static int
fake_lua(void *arg, const char *plugin, int ref, json_t *value, json_t **out, sb_err_t *err)
{
    (void)arg;
    assert_string_equal(plugin, "mine");
    if (ref == 1 && json_is_string(value) && strcmp(json_string_value(value), "bad") == 0)
        return sb_err_set(err, 0, "that is bad");
    if (ref == 1 && json_is_string(value) && strcmp(json_string_value(value), "mute") == 0)
        return sb_err_set(err, 0, "%s", "");
    if (ref == 1 && json_is_string(value) && strcmp(json_string_value(value), "broken") == 0)
        return sb_err_set(err, SB_E_TRANSFORMATION, "attempt to index nil");
    if (ref == 2 && json_is_string(json_object_get(json_object_get(value, "config"), "a")))
        return sb_err_set(err, 0, "a is not wanted");
    if (ref == 3)
        *out = json_pack("{s:{s:o}}", "deep", "n", json_integer(2 * json_integer_value(value)));
    if (ref == 4)
        *out = json_pack("{s:O}", "digest", json_array_get(value, 0));
    return SB_OK;
}

static const sb_schema_hooks_t hooks = {.lua_call = fake_lua};

static sb_schema_t *
make(const char *text)
{
    json_t *def = sb_json_parse(text, strlen(text), NULL);
    sb_schema_t *s = NULL;
    sb_err_t err = {0};

    assert_non_null(def);
    if (sb_schema_from_json("mine", def, &s, &err) != SB_OK)
        fail_msg("%s", err.message);
    json_decref(def);
    return s;
}

static void
assert_refused(const char *text, const char *message)
{
    json_t *def = sb_json_parse(text, strlen(text), NULL);
    sb_schema_t *s = NULL;
    sb_err_t err = {0};

    assert_non_null(def);
    assert_int_equal(sb_schema_from_json("mine", def, &s, &err), SB_DECLINED);
    assert_null(s);
    assert_string_equal(err.message, message);
    sb_err_clear(&err);
    json_decref(def);
}

#define FIELD(def)  "{\"fields\":[{\"f\":" def "}]}"
#define CONFIG(def) "{\"fields\":[{\"config\":{\"type\":\"record\",\"fields\":[{\"f\":" def "}]}}]}"

static void
test_mistakes(void **state)
{
    (void)state;
    assert_refused("{}", "'fields' is missing");
    assert_refused("[]", "the schema must be a table");
    assert_refused("{\"fields\":1}", "'fields' must be a list");
    assert_refused("{\"fields\":[{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"string\"}}]}",
                   "entry 1 of 'fields' must be a table with one key, the field's name");
    assert_refused("{\"fields\":[{\"a\":{\"type\":\"string\"}},{\"a\":{\"type\":\"string\"}}]}", "'fields' has 'a' twice");
    assert_refused(FIELD("1"), "field 'f': the definition must be a table");
    assert_refused(FIELD("{}"), "field 'f': 'type' is missing");
    assert_refused(CONFIG("{\"type\":\"text\"}"), "field 'config.f': unknown type 'text'");
    assert_refused(CONFIG("{\"type\":\"string\",\"needed\":true}"), "field 'config.f': unknown attribute 'needed'");
    assert_refused(CONFIG("{\"type\":\"string\",\"required\":1}"), "field 'config.f': 'required' must be a boolean");
    assert_refused(CONFIG("{\"type\":\"array\"}"), "field 'config.f': 'elements' is missing");
    assert_refused(CONFIG("{\"type\":\"array\",\"elements\":{}}"), "field 'config.f.elements': 'type' is missing");
    assert_refused(CONFIG("{\"type\":\"map\",\"keys\":{\"type\":\"string\"}}"), "field 'config.f': 'values' is missing");
    assert_refused(CONFIG("{\"type\":\"record\"}"), "field 'config.f': 'fields' is missing");
    assert_refused(CONFIG("{\"type\":\"foreign\"}"), "field 'config.f': 'reference' is missing");
    assert_refused(CONFIG("{\"type\":\"string\",\"between\":[1,2]}"), "field 'config.f': 'between' cannot be used with type 'string'");
    assert_refused(CONFIG("{\"type\":\"integer\",\"between\":[1]}"), "field 'config.f': 'between' must be a list of two numbers");
    assert_refused(CONFIG("{\"type\":\"integer\",\"default\":\"x\"}"),
                   "field 'config.f': bad default: schema violation (default value: expected an integer)");
    assert_refused(CONFIG("{\"type\":\"string\",\"one_of\":[\"a\"],\"default\":\"b\"}"),
                   "field 'config.f': bad default: schema violation (default value: expected one of: a)");
    assert_refused(CONFIG("{\"type\":\"string\",\"match\":\"[\"}"),
                   "field 'config.f': 'match' has a bad pattern: malformed pattern (missing ']')");
    assert_refused(CONFIG("{\"type\":\"string\",\"custom_validator\":\"@nope\"}"),
                   "field 'config.f': 'custom_validator' names '@nope', which does not exist");
    assert_refused(CONFIG("{\"type\":\"string\",\"custom_validator\":{}}"), "field 'config.f': 'custom_validator' must be a function");
    assert_refused("{\"fields\":[],\"entity_checks\":[{\"nope\":[]}]}", "unknown entity check 'nope'");
    assert_refused("{\"fields\":[],\"entity_checks\":[{\"conditional\":{}}]}", "conditional: if_field and then_field must be strings");
    assert_refused("{\"fields\":[],\"transformations\":[{\"input\":[\"a\"]}]}",
                   "each of 'transformations' must have 'on_write' or 'on_read'");
    assert_refused("{\"fields\":[],\"transformations\":[{\"input\":1,\"on_read\":{\"lua_ref\":1}}]}", "'input' must be a list");
    assert_refused("{\"fields\":[],\"transformations\":[{\"on_read\":true}]}", "'on_read' must be a function");
    assert_refused("{\"fields\":[],\"shorthand_fields\":[{\"s\":{\"type\":\"string\"}}]}", "field 's': 'func' is missing");
}

static void
test_deep_nesting(void **state)
{
    sb_err_t err = {0};
    sb_schema_t *s;
    json_t *def = json_pack("{s:s}", "type", "string");
    int i;

    (void)state;
    for (i = 0; i < 100; i++)
        def = json_pack("{s:s, s:o}", "type", "array", "elements", def);
    def = json_pack("{s:[{s:o}]}", "fields", "f", def);
    assert_int_equal(sb_schema_from_json("mine", def, &s, &err), SB_DECLINED);
    assert_non_null(strstr(err.message, "nested too deeply"));
    sb_err_clear(&err);
    json_decref(def);
}

/* --- processing --- */

static void
assert_row(const sb_schema_t *s, const char *input, const char *want)
{
    json_t *in = sb_json_parse(input, strlen(input), NULL), *w = sb_json_parse(want, strlen(want), NULL), *out = NULL;
    sb_err_t err = {0};

    if (sb_schema_process(s, SB_OP_INSERT, in, NULL, &hooks, &out, &err) != SB_OK)
        fail_msg("%s: %s", input, err.message);
    if (!json_equal(out, w))
        fail_msg("%s\n  got  %s\n  want %s", input, json_dumps(out, 0), want);
    json_decref(in);
    json_decref(w);
    json_decref(out);
}

static void
assert_error(const sb_schema_t *s, const char *input, const char *message)
{
    json_t *in = sb_json_parse(input, strlen(input), NULL), *out = NULL;
    sb_err_t err = {0};

    if (sb_schema_process(s, SB_OP_INSERT, in, NULL, &hooks, &out, &err) != SB_DECLINED)
        fail_msg("%s: accepted", input);
    assert_string_equal(err.message, message);
    sb_err_clear(&err);
    json_decref(in);
}

#define V1(text) "schema violation (" text ")"

static void
test_constraints(void **state)
{
    static const struct {
        const char *def, *value, *error; /* error NULL: accepted */
    } rows[] = {
        {"{\"type\":\"string\",\"eq\":\"a\"}", "\"b\"", "value must be a"},
        {"{\"type\":\"integer\",\"ne\":1}", "1", "value must not be 1"},
        {"{\"type\":\"string\",\"not_one_of\":[\"a\",\"b\"]}", "\"b\"", "must not be one of: a, b"},
        {"{\"type\":\"number\",\"one_of\":[1,2.5]}", "2.5", NULL},
        {"{\"type\":\"number\",\"gt\":0}", "0", "value must be greater than 0"},
        {"{\"type\":\"number\",\"timestamp\":true}", "0", "expected a valid timestamp"},
        {"{\"type\":\"string\",\"uuid\":true}", "\"A3AD71A8-6685-4B03-A101-980A953544F6\"", NULL},
        {"{\"type\":\"string\",\"uuid\":true}", "\"a3ad71a8\"", "expected a valid UUID"},
        {"{\"type\":\"string\",\"is_regex\":true}", "\"[\"", "not a valid regex: ["},
        {"{\"type\":\"number\",\"between\":[0.001,2]}", "0", "value should be between 0 and 2"},
        {"{\"type\":\"string\",\"len_eq\":2}", "\"abc\"", "length must be 2"},
        {"{\"type\":\"array\",\"len_min\":2,\"elements\":{\"type\":\"string\"}}", "[\"a\"]", "length must be at least 2"},
        {"{\"type\":\"set\",\"len_max\":1,\"elements\":{\"type\":\"string\"}}", "[\"a\",\"b\",\"a\"]", "length must be at most 1"},
        {"{\"type\":\"set\",\"len_max\":1,\"elements\":{\"type\":\"string\"}}", "[\"a\",\"a\"]", NULL},
        {"{\"type\":\"string\",\"len_min\":0}", "\"\"", NULL},
        {"{\"type\":\"string\"}", "\"\"", "length must be at least 1"},
        {"{\"type\":\"string\",\"starts_with\":\"/\"}", "\"a\"", "should start with: /"},
        {"{\"type\":\"string\",\"not_match\":\"a\"}", "\"xax\"", "invalid value: xax"},
        {"{\"type\":\"string\",\"match\":\"^%d+$\"}", "\"x\"", "invalid value: x"},
        {"{\"type\":\"string\",\"match\":\"^%d+$\",\"err\":\"digits\"}", "\"x\"", "digits"},
        {"{\"type\":\"string\",\"match_none\":[{\"pattern\":\"//\",\"err\":\"e\"}]}", "\"//\"", "e"},
        {"{\"type\":\"string\",\"match_all\":[{\"pattern\":\"^a\"},{\"pattern\":\"b$\",\"err\":\"no b\"}]}", "\"a\"", "no b"},
        {"{\"type\":\"string\",\"match_any\":{\"patterns\":[\"a\",\"b\"],\"err\":\"none\"}}", "\"c\"", "none"},
        {"{\"type\":\"array\",\"contains\":\"x\",\"elements\":{\"type\":\"string\"}}", "[\"y\"]", "expected to contain: x"},
        {"{\"type\":\"string\",\"custom_validator\":\"@header_name\"}", "\"a b\"",
         "bad header name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'"},
        {"{\"type\":\"string\",\"custom_validator\":{\"lua_ref\":1}}", "\"bad\"", "that is bad"},
        {"{\"type\":\"string\",\"custom_validator\":{\"lua_ref\":1}}", "\"mute\"", "failed validating: mute"},
        {"{\"type\":\"string\",\"custom_validator\":{\"lua_ref\":1}}", "\"good\"", NULL},
        {"{\"type\":\"string\",\"referenceable\":true,\"len_max\":3}", "\"{vault://env/x}\"", NULL},
        {"{\"type\":\"string\",\"len_max\":3}", "\"{vault://env/x}\"", "length must be at most 3"},
        {"{\"type\":\"set\",\"elements\":{\"type\":\"string\"},\"mutually_exclusive_subsets\":[[\"a\",\"b\"],[\"c\"]]}", "[\"c\",\"a\"]",
         "these sets are mutually exclusive: ('a'), ('c')"},
        {"{\"type\":\"string\",\"required\":true}", "null", "required field missing"},
        {"{\"type\":\"string\"}", "1", "expected a string"},
        {"{\"type\":\"integer\"}", "1.5", "expected an integer"},
        {"{\"type\":\"integer\"}", "5.0", NULL},
        {"{\"type\":\"integer\"}", "\"5\"", "expected an integer"},
        {"{\"type\":\"number\"}", "\"5\"", "expected a number"},
        {"{\"type\":\"boolean\"}", "\"true\"", "expected a boolean"},
        {"{\"type\":\"array\",\"elements\":{\"type\":\"string\"}}", "\"a\"", "expected an array"},
        {"{\"type\":\"set\",\"elements\":{\"type\":\"string\"}}", "{\"a\":1}", "expected a set"},
        {"{\"type\":\"map\",\"keys\":{\"type\":\"string\"},\"values\":{\"type\":\"string\"}}", "[\"a\"]", "expected a map"},
        {"{\"type\":\"map\",\"keys\":{\"type\":\"string\"},\"values\":{\"type\":\"integer\"}}", "{\"a\":\"x\"}", "expected an integer"},
        {"{\"type\":\"record\",\"fields\":[]}", "1", "expected a record"},
        {"{\"type\":\"json\"}", "{\"any\":[1]}", NULL},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *def = sb_asprintf(FIELD("%s"), rows[i].def), *input = sb_asprintf("{\"f\":%s}", rows[i].value);
        char *message = rows[i].error != NULL ? sb_asprintf("schema violation (f: %s)", rows[i].error) : NULL;
        json_t *in = sb_json_parse(input, strlen(input), NULL), *out = NULL;
        sb_schema_t *s = make(def);
        sb_err_t err = {0};
        int rc = sb_schema_process(s, SB_OP_INSERT, in, NULL, &hooks, &out, &err);

        if (rc != (message != NULL ? SB_DECLINED : SB_OK) || (message != NULL && strcmp(message, err.message) != 0))
            fail_msg("%s %s: %s", def, input, err.message != NULL ? err.message : "accepted");
        sb_err_clear(&err);
        json_decref(in);
        json_decref(out);
        sb_schema_free(s);
        free(def);
        free(input);
        free(message);
    }
}

static void
test_entity_checks(void **state)
{
    sb_schema_t *s = make("{\"fields\":[{\"a\":{\"type\":\"string\"}},{\"b\":{\"type\":\"string\"}},{\"c\":{\"type\":\"string\"}},"
                          "{\"r\":{\"type\":\"record\",\"fields\":[{\"x\":{\"type\":\"string\"}}],\"entity_checks\":["
                          "{\"at_least_one_of\":[\"x\"]}],\"required\":false}}],\"entity_checks\":["
                          "{\"mutually_exclusive\":[\"a\",\"b\"]},{\"mutually_required\":[\"b\",\"c\"]},{\"distinct\":[\"b\",\"c\"]},"
                          "{\"conditional\":{\"if_field\":\"c\",\"if_match\":{\"eq\":\"x\"},\"then_field\":\"r.x\","
                          "\"then_match\":{\"required\":true}}}]}");
    sb_schema_t *only = make("{\"fields\":[{\"a\":{\"type\":\"string\"}},{\"b\":{\"type\":\"string\"}},{\"c\":{\"type\":\"string\"}}],"
                             "\"entity_checks\":[{\"only_one_of\":[\"a\",\"b\"]},{\"mutually_exclusive_sets\":{\"set1\":[\"a\"],"
                             "\"set2\":[\"c\"]}}]}");

    (void)state;
    assert_error(s, "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}", V1("only one or none of these fields must be set: 'a', 'b'"));
    assert_error(s, "{\"b\":\"2\"}", V1("all or none of these fields must be set: 'b', 'c'"));
    assert_error(s, "{\"b\":\"2\",\"c\":\"2\"}", V1("values of these fields must be distinct: 'b', 'c'"));
    assert_error(s, "{\"r\":{}}", "schema violation (r.@entity: {\n  \"at least one of these fields must be non-empty: 'x'\"\n})");
    assert_error(s, "{\"b\":\"2\",\"c\":\"x\"}",
                 "2 schema violations (failed conditional validation given value of field 'c'; r.x: required field missing)");
    assert_error(only, "{}", V1("exactly one of these fields must be non-empty: 'a', 'b'"));
    assert_error(only, "{\"a\":\"1\",\"c\":\"2\"}", V1("these sets are mutually exclusive: ('a'), ('c')"));
    sb_schema_free(s);
    sb_schema_free(only);
}

static void
test_lua(void **state)
{
    sb_schema_t *s = make("{\"fields\":[{\"config\":{\"type\":\"record\",\"fields\":[{\"a\":{\"type\":\"string\"}},"
                          "{\"deep\":{\"type\":\"record\",\"fields\":[{\"n\":{\"type\":\"integer\",\"default\":7}}]}}],"
                          "\"shorthand_fields\":[{\"twice\":{\"type\":\"integer\",\"func\":{\"lua_ref\":3}}}]}},"
                          "{\"digest\":{\"type\":\"string\"}},{\"src\":{\"type\":\"string\"}}],"
                          "\"entity_checks\":[{\"custom_entity_check\":{\"field_sources\":[\"config\"],\"fn\":{\"lua_ref\":2}}}],"
                          "\"transformations\":[{\"input\":[\"src\"],\"on_write\":{\"lua_ref\":4}}]}");
    sb_schema_t *v = make(FIELD("{\"type\":\"string\",\"custom_validator\":{\"lua_ref\":1}}"));
    json_t *in = json_pack("{s:s}", "f", "broken"), *out;
    sb_err_t err = {0};

    (void)state;
    assert_row(s, "{}", "{\"config\":{\"a\":null,\"deep\":{\"n\":7}},\"digest\":null,\"src\":null}");
    assert_row(s, "{\"config\":{\"twice\":4}}", "{\"config\":{\"a\":null,\"deep\":{\"n\":8}},\"digest\":null,\"src\":null}");
    assert_row(s, "{\"src\":\"x\"}", "{\"config\":{\"a\":null,\"deep\":{\"n\":7}},\"digest\":\"x\",\"src\":\"x\"}");
    assert_error(s, "{\"config\":{\"a\":\"x\"}}", V1("a is not wanted"));
    assert_error(s, "{\"config\":{\"twice\":\"x\"}}", V1("twice: expected an integer"));
    /* Lua that breaks is no mistake of the user's. */
    assert_int_equal(sb_schema_process(v, SB_OP_INSERT, in, NULL, &hooks, &out, &err), SB_ERROR);
    assert_string_equal(err.message, "attempt to index nil");
    sb_err_clear(&err);
    assert_int_equal(sb_schema_process(v, SB_OP_INSERT, in, NULL, NULL, &out, &err), SB_ERROR);
    assert_null(out);
    sb_err_clear(&err);
    json_decref(in);
    sb_schema_free(s);
    sb_schema_free(v);
}

static void
test_nested_errors(void **state)
{
    sb_schema_t *s =
        make("{\"fields\":[{\"l\":{\"type\":\"array\",\"elements\":{\"type\":\"record\",\"fields\":[{\"n\":{\"type\":\"integer\"}},"
             "{\"x-y\":{\"type\":\"record\",\"fields\":[{\"b\":{\"type\":\"boolean\"}}]}}]}}}]}");

    (void)state;
    assert_error(
        s, "{\"l\":[{},{\"n\":\"\\\"q\",\"x-y\":{\"b\":1,\"end\":2}},null]}",
        "2 schema violations (l.2: {\n  n = \"expected an integer\",\n  [\"x-y\"] = {\n    b = \"expected a boolean\",\n    [\"end\"] = "
        "\"unknown field\"\n  }\n}; l.3: required field missing)");
    sb_schema_free(s);
}

/* What describe() gives can be read again and describes the same. */
static void
test_describe_round_trip(void **state)
{
    json_t *all = load(DATA "plugin_schemas.json"), *def, *again, *once;
    sb_schema_t *s, *t;
    const char *name;
    sb_err_t err = {0};

    (void)state;
    json_object_foreach(all, name, def)
    {
        hide_missing(def);
        assert_int_equal(sb_schema_from_json(name, def, &s, &err), SB_OK);
        once = sb_schema_describe(s);
        /* Functions are not shown, and custom checks need one. */
        json_object_set_new(once, "entity_checks", json_array());
        json_object_del(once, "shorthand_fields");
        sb_schema_free(s);
        json_t *config = json_object_get(
            json_array_get(json_object_get(once, "fields"), json_array_size(json_object_get(once, "fields")) - 1), "config");
        json_object_del(config, "shorthand_fields");
        if (sb_schema_from_json(name, once, &t, &err) != SB_OK)
            fail_msg("%s: %s", name, err.message);
        again = sb_schema_describe(t);
        assert_true(json_equal(once, again));
        sb_schema_free(t);
        json_decref(once);
        json_decref(again);
    }
    json_decref(all);
}

static void
test_plugin_set(void **state)
{
    const sb_plugin_schema_t *const *all;
    sb_schema_t *empty = make("{\"fields\":[]}");
    sb_plugin_schema_t ps = {.schema = empty};
    size_t n;

    (void)state;
    add_plugins();
    assert_non_null(sb_plugin_schemas_find("key-auth"));
    assert_null(sb_plugin_schemas_find("nope"));
    drop_plugins();
    assert_null(sb_plugin_schemas_find("key-auth"));
    ps.name = "a", ps.priority = 1, sb_plugin_schemas_add(&ps);
    ps.name = "c", ps.priority = 5, sb_plugin_schemas_add(&ps);
    ps.name = "b", ps.priority = 1, sb_plugin_schemas_add(&ps);
    all = sb_plugin_schemas_all(&n);
    assert_int_equal(n, 3);
    assert_string_equal(all[0]->name, "c");
    assert_string_equal(all[1]->name, "b");
    assert_string_equal(all[2]->name, "a");
    sb_plugin_schemas_clear();
    sb_schema_free(empty);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_constraints),
        cmocka_unit_test(test_lua),
        cmocka_unit_test(test_entity_checks),
        cmocka_unit_test(test_nested_errors),
        cmocka_unit_test(test_describe_round_trip),
        cmocka_unit_test(test_plugin_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
