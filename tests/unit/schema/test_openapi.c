/* Schemas as OpenAPI objects: constraints, what must be given, what may be null, in each of the three shapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "core/base/json.h"
#include "core/schema/schema.h"

static const struct sb_field word = {.type = SB_T_STRING, .starts_with = "/a."};
static const struct sb_field inner[] = {
    {.name = "must", .type = SB_T_BOOLEAN, .required = 1}, {.name = "may", .type = SB_T_NUMBER, .gt = &(const double){0}}, SB_FIELD_END};
static const struct sb_field with_default[] = {{.name = "n", .type = SB_T_INTEGER, .required = 1, .default_json = "7"}, SB_FIELD_END};
static const struct sb_field fields[] = {
    {.name = "id", .type = SB_T_STRING, .uuid = 1, .automatic = 1, .required = 1},
    {.name = "name", .type = SB_T_STRING, .required = 1, .len_max = 9, .description = "A name."},
    {.name = "kind", .type = SB_T_STRING, .one_of = (const char *const[]){"a", "b", NULL}},
    {.name = "size", .type = SB_T_INTEGER, .has_between = 1, .between = {1, 9}, .required = 1, .default_json = "3"},
    {.name = "paths", .type = SB_T_SET, .elements = &word, .len_min = 1},
    {.name = "deep", .type = SB_T_RECORD, .fields = inner},
    {.name = "easy", .type = SB_T_RECORD, .fields = with_default},
    {.name = "nothing", .type = SB_T_STRING, .eq_null = 1},
    {.name = "parent", .type = SB_T_FOREIGN, .reference = "parents"},
    SB_FIELD_END,
};
static const struct sb_schema_def def = {.name = "things", .fields = fields, .ttl = true};

static const struct sb_shorthand shorthands[] = {{.name = "short", .type = SB_T_STRING},
                                                 {.name = "old", .type = SB_T_INTEGER, .replaced_with = "size"},
                                                 {.name = "size", .type = SB_T_INTEGER}, /* watches the field */
                                                 {.name = NULL}};
static const struct sb_schema_def short_def = {.name = "shorts", .fields = fields, .shorthands = shorthands};

static json_t *
shaped(const struct sb_schema_def *d, enum sb_shape shape)
{
    sb_schema_t *s = sb_schema_from_table(d);
    json_t *o = sb_schema_openapi(s, NULL, shape);

    assert_null(sb_schema_openapi(s, "no-such-subschema", shape));
    sb_schema_free(s);
    return o;
}

/* The member's schema equals the JSON text. */
static void
assert_member(const json_t *schema, const char *name, const char *text)
{
    json_t *wanted = sb_json_parse(text, strlen(text), NULL), *got = json_object_get(json_object_get(schema, "properties"), name);

    assert_non_null(wanted);
    if (!json_equal(wanted, got)) {
        char *shown = got != NULL ? sb_json_dump(got) : NULL;
        fail_msg("%s is %s, wanted %s", name, shown, text);
    }
    json_decref(wanted);
}

static void
assert_names(const json_t *schema, const char *text)
{
    json_t *wanted = sb_json_parse(text, strlen(text), NULL);

    assert_true(json_equal(wanted, json_object_get(schema, "required")));
    json_decref(wanted);
}

static void
test_new(void **state)
{
    json_t *o = shaped(&def, SB_SHAPE_NEW);

    (void)state;
    assert_names(o, "[\"name\",\"deep\"]");
    assert_true(json_is_false(json_object_get(o, "additionalProperties")));
    assert_member(o, "id", "{\"type\":\"string\",\"minLength\":1,\"format\":\"uuid\",\"nullable\":true}");
    assert_member(o, "name", "{\"type\":\"string\",\"minLength\":1,\"maxLength\":9,\"description\":\"A name.\"}");
    assert_member(o, "kind", "{\"type\":\"string\",\"minLength\":1,\"enum\":[\"a\",\"b\",null],\"nullable\":true}");
    assert_member(o, "size", "{\"type\":\"integer\",\"minimum\":1,\"maximum\":9,\"default\":3}");
    assert_member(o, "paths",
                  "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":1,\"pattern\":\"^\\\\/a\\\\.\"},\"minItems\":1,"
                  "\"nullable\":true}");
    assert_member(
        o, "deep",
        "{\"type\":\"object\",\"properties\":{\"must\":{\"type\":\"boolean\"},\"may\":{\"type\":\"number\",\"minimum\":0,"
        "\"exclusiveMinimum\":true,\"nullable\":true}},\"required\":[\"must\"],\"additionalProperties\":false,\"nullable\":true}");
    assert_member(o, "nothing", "{\"type\":\"string\",\"minLength\":1,\"enum\":[null],\"nullable\":true}");
    assert_member(o, "parent",
                  "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\",\"format\":\"uuid\"}},\"x-reference\":\"parents\","
                  "\"minProperties\":1,\"nullable\":true}");
    json_decref(o);
}

static void
test_change(void **state)
{
    json_t *o = shaped(&def, SB_SHAPE_CHANGE);

    (void)state;
    assert_null(json_object_get(o, "required"));
    assert_member(o, "size", "{\"type\":\"integer\",\"minimum\":1,\"maximum\":9}");
    assert_null(json_object_get(json_object_get(json_object_get(o, "properties"), "deep"), "required"));
    json_decref(o);
}

static void
test_answer(void **state)
{
    json_t *o = shaped(&def, SB_SHAPE_ANSWER);

    (void)state;
    assert_names(o, "[\"id\",\"name\",\"kind\",\"size\",\"paths\",\"deep\",\"easy\",\"nothing\",\"parent\"]");
    assert_null(json_object_get(o, "additionalProperties"));
    assert_member(o, "id", "{\"type\":\"string\",\"minLength\":1,\"format\":\"uuid\"}");
    assert_member(o, "ttl", "{\"type\":\"integer\",\"minimum\":0,\"description\":\"Seconds until the row expires.\",\"nullable\":true}");
    json_decref(o);
}

static void
test_shorthands(void **state)
{
    json_t *o = shaped(&short_def, SB_SHAPE_NEW), *shown = shaped(&short_def, SB_SHAPE_ANSWER);
    static const char any[] = "[{\"required\":[\"name\",\"deep\"]},{\"required\":[\"short\"]},{\"required\":[\"old\"]}]";
    json_t *wanted = sb_json_parse(any, strlen(any), NULL);

    (void)state;
    assert_null(json_object_get(o, "required"));
    assert_true(json_equal(wanted, json_object_get(o, "anyOf")));
    assert_member(o, "short", "{\"type\":\"string\",\"minLength\":1,\"nullable\":true}");
    assert_member(o, "old", "{\"type\":\"integer\",\"nullable\":true,\"deprecated\":true,\"x-replaced-with\":\"size\"}");
    assert_member(o, "size", "{\"type\":\"integer\",\"minimum\":1,\"maximum\":9,\"default\":3}");
    assert_null(json_object_get(json_object_get(shown, "properties"), "short"));
    assert_non_null(json_object_get(json_object_get(shown, "properties"), "old"));
    json_decref(wanted);
    json_decref(shown);
    json_decref(o);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_new), cmocka_unit_test(test_change), cmocka_unit_test(test_answer),
                                       cmocka_unit_test(test_shorthands)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
