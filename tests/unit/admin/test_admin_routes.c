/* The route table: what is there, what wins, how paths are taken apart. */
#include "support.h"

#include "core/admin/admin_int.h"

static const char *
find(node_t *n, const char *path, char **param)
{
    const sb_admin_route_t *r;

    for (size_t i = 0; i < SB_ADMIN_MAX_PARAMS; i++) {
        free(param[i]);
        param[i] = NULL;
    }
    r = sb_admin_routes_find(n->admin, (sb_str_t){path, strlen(path)}, param);
    return r != NULL ? r->pattern : "none";
}

static void
test_find(void **state)
{
    static const char *const rows[][2] = {
        {"/", "/"},
        {"", "/"},
        {"/services", "/services"},
        {"/services/", "/services"},
        {"/services//", "none"},
        {"//services", "none"},
        {"/services/a/routes/b/", "/services/{services}/routes/{routes}"},
        {"/services/a/routes/b/c", "none"},
        {"/s%65rvices/a", "/services/{services}"},
        {"/services/a%00b", "none"},
        {"/services/%ff", "none"},
        {"/plugins/enabled", "/plugins/enabled"},
        {"/plugins/other", "/plugins/{plugins}"},
        {"/upstreams/u/targets/all", "/upstreams/{upstreams}/targets/all"},
        {"/upstreams/u/targets/x", "/upstreams/{upstreams}/targets/{targets}"},
        {"/targets", "none"},
        {"/targets/x/upstream", "none"},
        {"/snis/x/certificate", "none"},
        {"/workspaces", "/workspaces"},
        {"/1/2/3/4/5/6/7/8/9/10/11/12", "none"},
        {"services", "none"},
    };
    char *param[SB_ADMIN_MAX_PARAMS] = {0};
    node_t *n = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(find(n, rows[i][0], param), rows[i][1]);
    find(n, "/services/a%2Fb%20c/plugins/d", param);
    assert_string_equal(param[0], "a/b c");
    assert_string_equal(param[1], "d");
    assert_null(param[2]);
    find(n, "/snis/routes/certificate", param);
    assert_null(param[0]); /* nobody would free it */
    find(n, "/", param);
}

static void
test_options(void **state)
{
    node_t *n = *state;

    assert_int_equal(call(n, "OPTIONS", "/services", NULL), 204);
    assert_null(n->res.body);
    assert_string_equal(header(n, "Allow"), "GET, HEAD, OPTIONS, POST");
    assert_string_equal(header(n, "Access-Control-Allow-Methods"), "GET, HEAD, OPTIONS, POST");
    assert_string_equal(header(n, "Access-Control-Allow-Headers"), "Content-Type");
    assert_string_equal(header(n, "Access-Control-Allow-Origin"), "*");
    assert_string_equal(header(n, "Access-Control-Allow-Credentials"), "true");
    call(n, "OPTIONS", "/services/x", NULL);
    assert_string_equal(header(n, "Allow"), "DELETE, GET, HEAD, OPTIONS, PATCH, PUT");
    assert_int_equal(call(n, "OPTIONS", "/nowhere", NULL), 404);
}

static void
test_is_write(void **state)
{
    static const struct {
        const char *method, *path;
        bool write;
    } rows[] = {{"GET", "/services", false},
                {"HEAD", "/services", false},
                {"OPTIONS", "/services", false},
                {"POST", "/services", true},
                {"PUT", "/services/x", true},
                {"PATCH", "/services/x", true},
                {"DELETE", "/x", true},
                {"POST", "/schemas/routes/validate", false},
                {"POST", "/schemas/plugins/validate/", false},
                {"BREW", "/services", false}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        sb_admin_request_t req = {.method = {rows[i].method, strlen(rows[i].method)}, .path = {rows[i].path, strlen(rows[i].path)}};
        assert_int_equal(sb_admin_is_write(&req), rows[i].write);
    }
}

static void
test_endpoints(void **state)
{
    node_t *n = *state;
    json_t *data;

    assert_int_equal(call(n, "GET", "/endpoints", NULL), 200);
    data = json_object_get(n->body, "data");
    assert_string_equal(json_string_value(json_array_get(data, 0)), "/");
    for (size_t i = 1; i < json_array_size(data); i++) {
        const char *path = json_string_value(json_array_get(data, i));
        assert_string_not_equal(path, json_string_value(json_array_get(data, i - 1)));
        assert_string_not_equal(path, "/targets");
    }
    /* "/" is lower than any other character, so the child list stands before "/plugins2"-like names. */
    assert_true(json_array_size(data) > 40);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_find), cmocka_unit_test(test_options), cmocka_unit_test(test_is_write),
                                       cmocka_unit_test(test_endpoints)};
    return cmocka_run_group_tests(tests, node_setup, node_teardown);
}
