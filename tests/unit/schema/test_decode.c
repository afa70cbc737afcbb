/* Values into C structs: every member type, unset ones, nested records, lists of records, and values that do not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "core/base/json.h"
#include "core/schema/schema.h"
#include "silverback/typedefs.h"

struct address {
    sb_cstr ip;
    int64_t port;
};

struct conf {
    sb_cstr text;
    int64_t whole;
    double real;
    bool on;
    sb_list names, addresses;
    sb_map weights;
    struct {
        int64_t n;
        sb_cstr s;
    } nested;
    sb_cstr consumer, any;
};

static const struct sb_field address_fields[] = {
    {.name = "ip", .type = SB_T_STRING, .offset = offsetof(struct address, ip)},
    {.name = "port", .type = SB_T_INTEGER, .offset = offsetof(struct address, port)},
    SB_FIELD_END,
};

/* Offsets in a nested record count from that record. */
static const struct sb_field nested_fields[] = {
    {.name = "n", .type = SB_T_INTEGER, .offset = 0},
    {.name = "s", .type = SB_T_STRING, .offset = offsetof(struct conf, nested.s) - offsetof(struct conf, nested)},
    SB_FIELD_END,
};

static const struct sb_field fields[] = {
    {.name = "text", .type = SB_T_STRING, .offset = offsetof(struct conf, text)},
    {.name = "whole", .type = SB_T_INTEGER, .offset = offsetof(struct conf, whole)},
    {.name = "real", .type = SB_T_NUMBER, .offset = offsetof(struct conf, real)},
    {.name = "on", .type = SB_T_BOOLEAN, .offset = offsetof(struct conf, on)},
    {.name = "names", .type = SB_T_SET, .elements = SB_ROW(.type = SB_T_STRING), .offset = offsetof(struct conf, names)},
    {.name = "addresses",
     .type = SB_T_ARRAY,
     .offset = offsetof(struct conf, addresses),
     .elements = SB_ROW(.type = SB_T_RECORD, .fields = address_fields, .size = sizeof(struct address))},
    {.name = "weights",
     .type = SB_T_MAP,
     .keys = SB_ROW(.type = SB_T_STRING),
     .values = SB_ROW(.type = SB_T_NUMBER),
     .offset = offsetof(struct conf, weights)},
    {.name = "nested", .type = SB_T_RECORD, .not_required = 1, .fields = nested_fields, .offset = offsetof(struct conf, nested)},
    {.name = "consumer", .type = SB_T_FOREIGN, .reference = "consumers", .offset = offsetof(struct conf, consumer)},
    {.name = "any", .type = SB_T_JSON, .offset = offsetof(struct conf, any)},
    SB_FIELD_END,
};

static int
decode(const char *text, sb_pool_t *pool, struct conf *c, sb_err_t *err)
{
    json_t *v = sb_json_parse(text, strlen(text), NULL);
    int rc;

    assert_non_null(v);
    memset(c, 0xee, sizeof(*c));
    rc = sb_schema_decode_struct(fields, v, pool, c, err);
    /* Nothing in the struct may point into the value. */
    json_decref(v);
    return rc;
}

static void
test_all_members(void **state)
{
    sb_pool_t *pool = sb_pool_new(0);
    sb_err_t err = {0};
    struct conf c;
    const struct address *a;

    (void)state;
    assert_int_equal(decode("{\"text\":\"a\\u0000b\",\"whole\":-5,\"real\":2,\"on\":true,\"names\":[\"x\",\"yz\"],"
                            "\"addresses\":[{\"ip\":\"::1\",\"port\":80},{\"ip\":null,\"port\":null}],\"weights\":{\"k\":0.5},"
                            "\"nested\":{\"n\":9,\"s\":\"t\"},\"consumer\":{\"id\":\"i\"},\"any\":[1,{}]}",
                            pool, &c, &err),
                     SB_OK);
    assert_int_equal(c.text.len, 3);
    assert_memory_equal(c.text.data, "a\0b", 4);
    assert_int_equal(c.whole, -5);
    assert_true(c.real == 2.0);
    assert_true(c.on);
    assert_int_equal(c.names.n, 2);
    assert_string_equal(((sb_cstr *)c.names.items)[1].data, "yz");
    a = c.addresses.items;
    assert_int_equal(c.addresses.n, 2);
    assert_string_equal(a[0].ip.data, "::1");
    assert_int_equal(a[0].port, 80);
    assert_null(a[1].ip.data);
    assert_int_equal(a[1].port, SB_UNSET_INT);
    assert_int_equal(c.weights.n, 1);
    assert_string_equal(c.weights.keys[0].data, "k");
    assert_true(((double *)c.weights.values)[0] == 0.5);
    assert_int_equal(c.nested.n, 9);
    assert_string_equal(c.nested.s.data, "t");
    assert_string_equal(c.consumer.data, "i");
    assert_string_equal(c.any.data, "[1,{}]");
    sb_pool_free(pool);
}

static void
test_unset(void **state)
{
    sb_pool_t *pool = sb_pool_new(0);
    sb_err_t err = {0};
    struct conf c;

    (void)state;
    assert_int_equal(decode("{\"text\":null,\"names\":[],\"nested\":null}", pool, &c, &err), SB_OK);
    assert_null(c.text.data);
    assert_int_equal(c.whole, SB_UNSET_INT);
    assert_true(isnan(c.real));
    assert_false(c.on);
    assert_int_equal(c.names.n, 0);
    assert_int_equal(c.weights.n, 0);
    assert_int_equal(c.nested.n, SB_UNSET_INT);
    assert_null(c.nested.s.data);
    assert_null(c.any.data);
    sb_pool_free(pool);
}

static void
test_large_integers(void **state)
{
    static const struct {
        const char *json;
        int64_t whole;
    } rows[] = {{"{\"whole\":1e20}", INT64_MAX},
                {"{\"whole\":9223372036854775808.0}", INT64_MAX},
                {"{\"whole\":9223372036854775807}", INT64_MAX},
                {"{\"whole\":-1e20}", INT64_MIN + 1},
                {"{\"whole\":1e18}", 1000000000000000000}};
    sb_pool_t *pool = sb_pool_new(0);
    sb_err_t err = {0};
    struct conf c;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(decode(rows[i].json, pool, &c, &err), SB_OK);
        assert_true(c.whole == rows[i].whole);
    }
    sb_pool_free(pool);
}

static void
test_misfits(void **state)
{
    static const char *const bad[] = {"{\"text\":1}",         "{\"whole\":\"1\"}",
                                      "{\"whole\":1.5}",      "{\"real\":\"x\"}",
                                      "{\"on\":1}",           "{\"names\":{}}",
                                      "{\"names\":[1]}",      "{\"addresses\":[1]}",
                                      "{\"weights\":[]}",     "{\"weights\":{\"a\":true}}",
                                      "{\"nested\":[]}",      "{\"nested\":{\"n\":\"x\"}}",
                                      "{\"consumer\":\"i\"}", "{\"consumer\":{}}"};
    sb_pool_t *pool = sb_pool_new(0);
    sb_err_t err = {0};
    struct conf c;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (decode(bad[i], pool, &c, &err) != SB_ERROR)
            fail_msg("%s passed", bad[i]);
        assert_non_null(strstr(err.message, "does not fit"));
    }
    sb_err_clear(&err);
    sb_pool_free(pool);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_members),
        cmocka_unit_test(test_unset),
        cmocka_unit_test(test_large_integers),
        cmocka_unit_test(test_misfits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
