/* Children under parents and parents under children. */
#include "support.h"

static int
setup(void **state)
{
    node_setup(state);
    assert_int_equal(call(*state, "POST", "/services", "{\"name\":\"a\",\"host\":\"a\"}"), 201);
    assert_int_equal(call(*state, "POST", "/services", "{\"name\":\"b\",\"host\":\"b\"}"), 201);
    assert_int_equal(call(*state, "POST", "/services/a/routes", "{\"name\":\"r\",\"paths\":[\"/r\"]}"), 201);
    return 0;
}

static void
test_children(void **state)
{
    node_t *n = *state;

    assert_int_equal(count_rows(n, "/services/a/routes"), 1);
    assert_int_equal(count_rows(n, "/services/b/routes"), 0);
    assert_int_equal(call(n, "GET", "/services/none/routes", NULL), 404);
    assert_int_equal(call(n, "GET", "/services/a/routes/r", NULL), 200);
    assert_int_equal(call(n, "GET", "/services/b/routes/r", NULL), 404);
    assert_int_equal(call(n, "PATCH", "/services/b/routes/r", "{\"paths\":[\"/x\"]}"), 404);
    assert_int_equal(call(n, "DELETE", "/services/b/routes/r", NULL), 404);
    assert_int_equal(call(n, "PATCH", "/services/a/routes/r", "{\"paths\":[\"/x\"]}"), 200);
    assert_int_equal(call(n, "PUT", "/services/b/routes/q", "{\"paths\":[\"/q\"]}"), 200);
    assert_int_equal(count_rows(n, "/services/b/routes"), 1);
    assert_int_equal(call(n, "DELETE", "/services/a/routes/r", NULL), 204);
    assert_int_equal(call(n, "DELETE", "/services/a/routes/r", NULL), 404);
    assert_int_equal(call(n, "DELETE", "/services/a", NULL), 204);
}

static void
test_next_link(void **state)
{
    node_t *n = *state;

    assert_int_equal(form(n, "POST", "/services/a/routes", "paths[]=/s"), 201);
    assert_int_equal(call(n, "GET", "/services/a/routes?size=1&tags=x,y/z", NULL), 200);
    assert_true(strncmp(text(n, "next"), "/services/a/routes?offset=", 26) == 0);
    assert_null(strchr(text(n, "next"), '&'));
}

static void
test_parent(void **state)
{
    node_t *n = *state;

    assert_int_equal(call(n, "GET", "/routes/r/service", NULL), 200);
    assert_string_equal(text(n, "name"), "a");
    assert_int_equal(call(n, "PATCH", "/routes/r/service", "{\"retries\":9}"), 200);
    assert_int_equal(json_integer_value(json_object_get(n->body, "retries")), 9);
    assert_int_equal(call(n, "PUT", "/routes/r/service", "{\"host\":\"n\"}"), 200);
    assert_true(json_is_null(json_object_get(n->body, "name")));
    assert_int_equal(call(n, "DELETE", "/routes/none/service", NULL), 404);
    assert_int_equal(call(n, "DELETE", "/routes/r/service", NULL), 405);
}

static void
test_no_parent(void **state)
{
    node_t *n = *state;
    char *id;

    assert_int_equal(call(n, "PATCH", "/routes/r", "{\"service\":null}"), 200);
    assert_true(json_is_null(json_object_get(n->body, "service")));
    assert_int_equal(call(n, "GET", "/routes/r/service", NULL), 404);
    assert_int_equal(call(n, "PATCH", "/routes/r/service", "{\"retries\":9}"), 404);
    assert_int_equal(call(n, "DELETE", "/routes/r/service", NULL), 404);
    assert_int_equal(call(n, "PUT", "/routes/r/service", "{}"), 400);
    assert_int_equal(count_rows(n, "/services"), 2);
    /* A new one is made and linked. */
    assert_int_equal(call(n, "PUT", "/routes/r/service", "{\"host\":\"n\"}"), 200);
    id = sb_strdup_len(text(n, "id"), 36);
    assert_int_equal(call(n, "GET", "/routes/r", NULL), 200);
    assert_string_equal(sb_json_foreign_id(n->body, "service"), id);
    free(id);
}

static void
test_plugin_links(void **state)
{
    node_t *n = *state;
    char url[96];

    assert_int_equal(form(n, "POST", "/routes/r/plugins", "name=unit&config.size=2"), 201);
    snprintf(url, sizeof(url), "/plugins/%s/route", text(n, "id"));
    assert_int_equal(call(n, "GET", url, NULL), 200);
    assert_string_equal(text(n, "name"), "r");
    snprintf(strrchr(url, '/'), 10, "/service");
    assert_int_equal(call(n, "GET", url, NULL), 404);
    assert_int_equal(call(n, "POST", "/routes/r/plugins", "{\"name\":\"unit\"}"), 409);
    assert_int_equal(call(n, "DELETE", "/routes/r", NULL), 204);
    assert_int_equal(count_rows(n, "/plugins"), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, node_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {T(test_children), T(test_next_link), T(test_parent), T(test_no_parent), T(test_plugin_links)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
