/* Generated endpoints of one entity: create, read, replace, change, delete, pages, filters, the three forms of input. */
#include "support.h"

#define ID1 "11111111-1111-4111-8111-111111111111"

static void
test_create(void **state)
{
    node_t *n = *state;

    assert_int_equal(call(n, "POST", "/services", "{\"name\":\"s\",\"url\":\"https://h.test/p\"}"), 201);
    assert_string_equal(text(n, "protocol"), "https");
    assert_int_equal(json_integer_value(json_object_get(n->body, "port")), 443);
    assert_true(json_is_null(json_object_get(n->body, "tags")));
    assert_string_equal(header(n, "Content-Type"), "application/json; charset=utf-8");
    assert_int_equal(call(n, "GET", "/services/s", NULL), 200);
    assert_string_equal(text(n, "host"), "h.test");
    assert_int_equal(call(n, "POST", "/services", "{\"id\":\"" ID1 "\",\"host\":\"h\"}"), 201);
    assert_string_equal(text(n, "id"), ID1);
    assert_int_equal(call(n, "GET", "/services/" ID1, NULL), 200);
    assert_int_equal(call(n, "HEAD", "/services/" ID1, NULL), 200);
    assert_int_equal(count_rows(n, "/services"), 2);
}

static void
test_put(void **state)
{
    node_t *n = *state;
    char *id;

    assert_int_equal(call(n, "PUT", "/services/new", "{\"host\":\"a\",\"retries\":1}"), 200);
    assert_string_equal(text(n, "name"), "new");
    id = sb_strdup_len(text(n, "id"), 36);
    assert_int_equal(call(n, "PUT", "/services/new", "{\"host\":\"b\"}"), 200);
    assert_string_equal(text(n, "id"), id);
    assert_int_equal(json_integer_value(json_object_get(n->body, "retries")), 5); /* back to the default */
    assert_int_equal(call(n, "PUT", "/services/" ID1, "{\"host\":\"c\",\"name\":\"by-id\"}"), 200);
    assert_string_equal(text(n, "id"), ID1);
    free(id);
}

static void
test_patch(void **state)
{
    node_t *n = *state;

    call(n, "POST", "/services", "{\"name\":\"s\",\"host\":\"h\",\"path\":\"/x\",\"retries\":1}");
    assert_int_equal(call(n, "PATCH", "/services/s", "{\"path\":null}"), 200);
    assert_true(json_is_null(json_object_get(n->body, "path")));
    assert_int_equal(json_integer_value(json_object_get(n->body, "retries")), 1);
    assert_int_equal(call(n, "PATCH", "/services/none", "{\"retries\":2}"), 404);
    expect_body(n, "{\"message\":\"Not found\"}");
}

static void
test_delete(void **state)
{
    node_t *n = *state;

    call(n, "POST", "/services", "{\"name\":\"s\",\"host\":\"h\"}");
    assert_int_equal(call(n, "DELETE", "/services/s", NULL), 204);
    assert_null(n->res.body);
    assert_int_equal(call(n, "GET", "/services/s", NULL), 404);
    assert_int_equal(call(n, "DELETE", "/services/s", NULL), 204);
    assert_int_equal(call(n, "DELETE", "/services/" ID1, NULL), 204);
}

static void
test_pages(void **state)
{
    node_t *n = *state;
    char url[256];
    const char *next;

    for (int i = 0; i < 5; i++) {
        snprintf(url, sizeof(url), "{\"username\":\"u%d\",\"tags\":[\"t\",\"t%d\"]}", i, i);
        assert_int_equal(call(n, "POST", "/consumers", url), 201);
    }
    assert_int_equal(call(n, "GET", "/consumers?tags=t&size=2", NULL), 200);
    assert_int_equal(json_array_size(json_object_get(n->body, "data")), 2);
    next = text(n, "next");
    assert_non_null(strstr(next, "/consumers?offset="));
    assert_non_null(strstr(next, "&tags=t&size=2"));
    assert_non_null(text(n, "offset"));
    snprintf(url, sizeof(url), "%s", next);
    assert_int_equal(call(n, "GET", url, NULL), 200);
    snprintf(url, sizeof(url), "%s", text(n, "next"));
    assert_int_equal(call(n, "GET", url, NULL), 200);
    assert_int_equal(json_array_size(json_object_get(n->body, "data")), 1);
    assert_true(json_is_null(json_object_get(n->body, "next")));
    assert_null(json_object_get(n->body, "offset"));
    assert_int_equal(count_rows(n, "/consumers?tags=t1/t2"), 2);
    assert_int_equal(count_rows(n, "/consumers?tags=t,t3"), 1);
    assert_int_equal(count_rows(n, "/consumers?tags=t1,t2"), 0);
    assert_int_equal(count_rows(n, "/consumers?sort_by=username&sort_desc=1"), 5);
    assert_int_equal(call(n, "GET", "/services", NULL), 200);
    expect_body(n, "{\"data\":[],\"next\":null}");
}

static void
test_forms(void **state)
{
    node_t *n = *state;

    assert_int_equal(form(n, "POST", "/services", "name=s&url=http%3A%2F%2Fh.test%3A81&retries=3&tags[]=a&tags[]=b"), 201);
    assert_int_equal(json_integer_value(json_object_get(n->body, "retries")), 3);
    assert_int_equal(json_array_size(json_object_get(n->body, "tags")), 2);
    assert_int_equal(form(n, "POST", "/services/s/routes", "paths[]=/mock&name=r&headers.x-a=1&strip_path=false"), 201);
    assert_true(json_is_false(json_object_get(n->body, "strip_path")));
    assert_int_equal(form(n, "PATCH", "/routes/r", "name="), 200);
    assert_true(json_is_null(json_object_get(n->body, "name")));
    assert_int_equal(call_as(n, "POST", "/consumers", "multipart/form-data; boundary=b",
                             "--b\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nmary\r\n--b--"),
                     201);
    assert_string_equal(text(n, "username"), "mary");
    assert_int_equal(call_as(n, "POST", "/consumers", "Application/JSON; charset=utf-8", "{\"username\":\"bob\"}"), 201);
    /* Without a body the type does not matter. */
    assert_int_equal(call_as(n, "POST", "/consumers", "text/plain", ""), 400);
    assert_int_equal(json_integer_value(json_object_get(n->body, "code")), 2);
    assert_int_equal(call(n, "POST", "/consumers", "[]"), 400);
    assert_int_equal(json_integer_value(json_object_get(n->body, "code")), 2);
}

static void
test_plugins(void **state)
{
    node_t *n = *state;
    char url[96];

    assert_int_equal(form(n, "POST", "/plugins", "name=unit&config.size=4&config.words[]=a"), 201);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(n->body, "config"), "size")), 4);
    snprintf(url, sizeof(url), "/plugins/%s", text(n, "id"));
    /* The name is not in the form: the stored one tells the types. */
    assert_int_equal(form(n, "PATCH", url, "config.size=9"), 200);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(n->body, "config"), "size")), 9);
    assert_int_equal(json_array_size(json_object_get(json_object_get(n->body, "config"), "words")), 1);
    assert_int_equal(call(n, "POST", "/plugins", "{\"name\":\"unit\"}"), 409);
    assert_int_equal(json_integer_value(json_object_get(n->body, "code")), 5);
    assert_int_equal(call(n, "POST", "/plugins", "{\"name\":\"nope\"}"), 400);
    expect_body(n, "{\"code\":2,\"name\":\"schema violation\",\"message\":\"schema violation (name: plugin 'nope' not enabled; add it to "
                   "the 'plugins' configuration property)\",\"fields\":{\"name\":\"plugin 'nope' not enabled; add it to the 'plugins' "
                   "configuration property\"}}");
    assert_int_equal(call(n, "PUT", "/plugins/named", "{\"name\":\"unit\",\"enabled\":false}"), 409);
    assert_int_equal(call(n, "DELETE", url, NULL), 204);
    assert_int_equal(call(n, "PUT", "/plugins/named", "{\"name\":\"unit\",\"enabled\":false}"), 200);
    assert_int_equal(call(n, "GET", "/plugins/named", NULL), 200);
}

static void
test_vaults(void **state)
{
    node_t *n = *state;

    assert_int_equal(form(n, "POST", "/vaults", "name=env&prefix=my-env&config.prefix=A_"), 201);
    assert_int_equal(form(n, "PATCH", "/vaults/my-env", "config.prefix=B_"), 200);
    assert_string_equal(sb_json_string(json_object_get(n->body, "config"), "prefix"), "B_");
    assert_int_equal(call(n, "POST", "/vaults", "{\"name\":\"none\",\"prefix\":\"other\"}"), 400);
}

#define T(f) cmocka_unit_test_setup_teardown(f, node_setup, node_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {T(test_create), T(test_put),   T(test_patch),   T(test_delete),
                                       T(test_pages),  T(test_forms), T(test_plugins), T(test_vaults)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
