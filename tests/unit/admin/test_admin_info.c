/* The node's own endpoints and schemas. */
#include "support.h"

static void
test_root(void **state)
{
    node_t *n = *state;
    json_t *plugins, *want;

    call(n, "POST", "/plugins", "{\"name\":\"unit\"}");
    assert_int_equal(call(n, "GET", "/", NULL), 200);
    assert_string_equal(text(n, "version"), "3.9.1");
    assert_string_equal(sb_json_string(json_object_get(n->body, "silverback"), "version"), SB_VERSION);
    assert_string_equal(text(n, "hostname"), "unit-host");
    assert_string_equal(text(n, "lua_version"), "LuaJIT");
    assert_string_equal(text(n, "edition"), "community");
    assert_string_equal(text(n, "node_id"), "8a3b1c6e-0000-4000-8000-000000000000");
    plugins = json_object_get(n->body, "plugins");
    want = json_loads("{\"enabled_in_cluster\":[\"unit\"],\"available_on_server\":{\"unit\":{\"version\":\"1.2.3\",\"priority\":7}}}", 0,
                      NULL);
    assert_true(json_equal(plugins, want));
    json_decref(want);
    want = json_loads("{\"master\":1,\"workers\":[2]}", 0, NULL);
    assert_true(json_equal(json_object_get(n->body, "pids"), want));
    json_decref(want);
}

static void
test_status(void **state)
{
    node_t *n = *state;

    assert_int_equal(call(n, "GET", "/status", NULL), 200);
    expect_body(n, "{\"database\":{\"reachable\":true},\"server\":{\"total_requests\":3},\"memory\":{\"lua_shared_dicts\":{\"kong\":{"
                   "\"capacity\":\"5.00 MiB\",\"allocated_slabs\":\"0.00 MiB\"}},\"workers_lua_vms\":[{\"pid\":77,\"http_allocated_gc\":"
                   "\"2.00 MiB\"}]}}");
    assert_int_equal(call(n, "GET", "/status?unit=K&scale=0", NULL), 200);
    assert_string_equal(
        sb_json_string(json_object_get(json_object_get(json_object_get(n->body, "memory"), "lua_shared_dicts"), "kong"), "capacity"),
        "5120 KiB");
    assert_int_equal(call(n, "GET", "/status?unit=b", NULL), 200);
    assert_int_equal(json_integer_value(json_object_get(
                         json_array_get(json_object_get(json_object_get(n->body, "memory"), "workers_lua_vms"), 0), "http_allocated_gc")),
                     2097152);
    assert_int_equal(call(n, "GET", "/status?unit=T", NULL), 400);
    expect_body(n, "{\"message\":\"invalid unit 'T' (expected 'k/K', 'm/M', or 'g/G')\"}");
    assert_int_equal(call(n, "GET", "/status?scale=-1", NULL), 400);
    expect_body(n, "{\"message\":\"scale must be equal or greater than 0\"}");
}

static void
test_log_level(void **state)
{
    node_t *n = *state;

    call(n, "GET", "/debug/node/log-level", NULL);
    expect_body(n, "{\"message\":\"log level: notice\"}");
    assert_int_equal(call(n, "PUT", "/debug/node/log-level/notice", NULL), 200);
    expect_body(n, "{\"message\":\"log level is already notice\"}");
    assert_int_equal(call(n, "PUT", "/debug/node/log-level/debug?timeout=5", NULL), 200);
    expect_body(n, "{\"message\":\"log level changed\"}");
    assert_int_equal(n->level, 7);
    assert_int_equal(n->level_timeout, 5);
    assert_int_equal(call(n, "PUT", "/debug/node/log-level/loud", NULL), 400);
    expect_body(n, "{\"message\":\"unknown log level: loud\"}");
    assert_int_equal(call(n, "PUT", "/debug/node/log-level/info?timeout=-1", NULL), 400);
    expect_body(n, "{\"message\":\"timeout must be greater than or equal to 0\"}");
}

static void
test_schemas(void **state)
{
    node_t *n = *state;

    assert_int_equal(call(n, "GET", "/schemas/services", NULL), 200);
    assert_true(json_array_size(json_object_get(n->body, "fields")) > 10);
    assert_int_equal(call(n, "GET", "/schemas/none", NULL), 404);
    expect_body(n, "{\"message\":\"No entity named 'none'\"}");
    assert_int_equal(call(n, "GET", "/schemas/plugins/unit", NULL), 200);
    assert_true(json_is_array(json_object_get(n->body, "fields")));
    assert_int_equal(call(n, "GET", "/schemas/plugins/none", NULL), 404);
    expect_body(n, "{\"message\":\"No plugin named 'none'\"}");
    assert_int_equal(call(n, "GET", "/schemas/vaults/env", NULL), 200);
    assert_non_null(json_object_get(json_array_get(json_object_get(n->body, "fields"), 0), "config"));
    assert_int_equal(call(n, "GET", "/schemas/vaults/none", NULL), 404);
    expect_body(n, "{\"message\":\"No vault named 'none'\"}");
    assert_int_equal(call(n, "GET", "/schemas/filters/none", NULL), 404);
    expect_body(n, "{\"message\":\"Filter 'none' not found\"}");
    assert_int_equal(call(n, "POST", "/routes/x/filter-chains", "{}"), 400);
    expect_body(n, "{\"message\":\"this endpoint is only available when wasm is enabled\"}");
    assert_int_equal(call(n, "GET", "/plugins/schema/unit", NULL), 200);
    assert_non_null(json_object_get(json_array_get(json_object_get(n->body, "fields"), 0), "size"));
    assert_int_equal(call(n, "GET", "/plugins/enabled", NULL), 200);
    expect_body(n, "{\"enabled_plugins\":[\"unit\"]}");
}

static void
test_validate(void **state)
{
    node_t *n = *state;

    assert_int_equal(call(n, "POST", "/schemas/services/validate", "{\"host\":\"h\"}"), 200);
    expect_body(n, "{\"message\":\"schema validation successful\"}");
    assert_int_equal(call(n, "POST", "/schemas/services/validate", "{\"host\":\"a b\"}"), 400);
    assert_int_equal(json_integer_value(json_object_get(n->body, "code")), 2);
    assert_int_equal(call(n, "POST", "/schemas/plugins/validate", "{\"name\":\"unit\",\"config\":{\"size\":\"x\"}}"), 400);
    expect_body(n, "{\"code\":2,\"name\":\"schema violation\",\"message\":\"schema violation (config.size: expected an "
                   "integer)\",\"fields\":{\"config\":{\"size\":\"expected an integer\"}}}");
    assert_int_equal(form(n, "POST", "/schemas/plugins/validate", "name=unit&config.size=3"), 200);
    assert_int_equal(call(n, "POST", "/schemas/none/validate", "{}"), 404);
    expect_body(n, "{\"message\":\"No entity named 'none'\"}");
    assert_int_equal(count_rows(n, "/services"), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, node_setup, node_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {T(test_root), T(test_status), T(test_log_level), T(test_schemas), T(test_validate)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
