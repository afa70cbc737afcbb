/* Wrong requests: each with its exact status and body, and nothing stored by any of them. */
#include "support.h"

#define JSON          "application/json"
#define FORM          "application/x-www-form-urlencoded"
#define ID1           "11111111-1111-4111-8111-111111111111"
#define MESSAGE(text) "{\"message\":\"" text "\"}"
#define VIOLATION(message, fields)                                                                                                         \
    "{\"code\":2,\"name\":\"schema violation\",\"message\":\"schema violation (" message ")\",\"fields\":" fields "}"

struct wrong {
    const char *method, *url, *type, *body;
    int status;
    const char *answer;
};

static const struct wrong rows[] = {
    {"POST", "/services", JSON, "{\"host\":", 400, MESSAGE("Cannot parse JSON body")},
    {"POST", "/services", JSON, "\"text\"", 400, MESSAGE("Cannot parse JSON body")},
    {"POST", "/services", JSON, "[1]", 400, MESSAGE("Cannot parse JSON body")},
    {"POST", "/services", JSON, "{\"host\":\"\xff\"}", 400, MESSAGE("Cannot parse JSON body")},
    {"POST", "/services", FORM, "host=%ff", 400, MESSAGE("Cannot parse form body")},
    {"POST", "/services", "multipart/form-data", "x", 400, MESSAGE("Cannot parse form body")},
    {"POST", "/services", "text/plain", "host=h", 415, MESSAGE("Unsupported media type")},
    {"POST", "/services", "", "host=h", 415, MESSAGE("Unsupported media type")},
    {"PUT", "/services/s2", "application/jsonx", "{}", 415, MESSAGE("Unsupported media type")},
    {"POST", "/services", JSON, "{}", 400, VIOLATION("host: required field missing", "{\"host\":\"required field missing\"}")},
    {"POST", "/services", JSON, "{\"host\":7}", 400, VIOLATION("host: expected a string", "{\"host\":\"expected a string\"}")},
    {"POST", "/services", JSON, "{\"host\":\"h\",\"port\":\"x\"}", 400,
     VIOLATION("port: expected an integer", "{\"port\":\"expected an integer\"}")},
    {"POST", "/services", FORM, "host=h&port=x", 400, VIOLATION("port: expected an integer", "{\"port\":\"expected an integer\"}")},
    {"POST", "/services", JSON, "{\"host\":\"h\",\"bogus\":1}", 400, VIOLATION("bogus: unknown field", "{\"bogus\":\"unknown field\"}")},
    {"POST", "/services", JSON, "{\"host\":\"h\",\"id\":\"x\"}", 400,
     VIOLATION("id: expected a valid UUID", "{\"id\":\"expected a valid UUID\"}")},
    {"POST", "/services", JSON, "{\"host\":\"h\",\"name\":\"s\"}", 409,
     "{\"code\":5,\"name\":\"unique constraint violation\",\"message\":\"UNIQUE violation detected on '{name=\\\"s\\\"}'\",\"fields\":{"
     "\"name\":\"s\"}}"},
    {"POST", "/services", JSON, "{\"host\":\"h\",\"id\":\"" ID1 "\"}", 400,
     "{\"code\":3,\"name\":\"primary key violation\",\"message\":\"primary key violation on key '{id=\\\"" ID1 "\\\"}'\",\"fields\":{"
     "\"id\":\"" ID1 "\"}}"},
    {"POST", "/routes", JSON, "{\"paths\":[\"/\"],\"service\":{\"id\":\"22222222-2222-4222-8222-222222222222\"}}", 400,
     "{\"code\":4,\"name\":\"foreign key violation\",\"message\":\"the foreign key '{id=\\\"22222222-2222-4222-8222-222222222222\\\"}' "
     "does "
     "not reference an existing 'services' entity.\",\"fields\":{\"service\":{\"id\":\"22222222-2222-4222-8222-222222222222\"}}}"},
    {"POST", "/routes", JSON, "{\"paths\":[\"/\"],\"service\":{\"name\":\"none\"}}", 400,
     "{\"code\":13,\"name\":\"foreign keys unresolved\",\"message\":\"foreign key unresolved (service.name: the foreign key cannot be "
     "resolved with '{name=\\\"none\\\"}' for an existing 'services' entity)\",\"fields\":{\"service\":{\"name\":\"the foreign key cannot "
     "be resolved with '{name=\\\"none\\\"}' for an existing 'services' entity\"}}}"},
    {"POST", "/services/none/routes", JSON, "{\"paths\":[\"/\"]}", 404, MESSAGE("Not found")},
    {"DELETE", "/services/s", "", "", 400,
     "{\"code\":4,\"name\":\"foreign key violation\",\"message\":\"an existing 'routes' entity references this 'services' "
     "entity\",\"fields\":{\"@referenced_by\":\"routes\"}}"},
    {"GET", "/certificates?size=0", "", "", 400,
     "{\"code\":9,\"name\":\"invalid size\",\"message\":\"size must be an integer between 1 and 1000\"}"},
    {"GET", "/services?size=1001", "", "", 400,
     "{\"code\":9,\"name\":\"invalid size\",\"message\":\"size must be an integer between 1 and 1000\"}"},
    {"GET", "/services?size=1.5", "", "", 400,
     "{\"code\":9,\"name\":\"invalid size\",\"message\":\"size must be an integer between 1 and 1000\"}"},
    {"GET", "/services?size=ten", "", "", 400, "{\"code\":9,\"name\":\"invalid size\",\"message\":\"size must be a number\"}"},
    {"GET", "/services?offset=*", "", "", 400,
     "{\"code\":7,\"name\":\"invalid offset\",\"message\":\"'*' is not a valid offset: bad base64 encoding\"}"},
    {"GET", "/services?tags=", "", "", 400,
     "{\"code\":11,\"name\":\"invalid options\",\"message\":\"invalid option (tags: cannot be null)\",\"options\":{\"tags\":\"cannot be "
     "null\"}}"},
    {"GET", "/services?tags=a,b/c", "", "", 400,
     "{\"code\":11,\"name\":\"invalid options\",\"message\":\"invalid option (tags: invalid filter "
     "syntax)\",\"options\":{\"tags\":\"invalid filter syntax\"}}"},
    {"GET", "/services?tags=a,,b", "", "", 400,
     "{\"code\":11,\"name\":\"invalid options\",\"message\":\"invalid option (tags: invalid filter "
     "syntax)\",\"options\":{\"tags\":\"invalid filter syntax\"}}"},
    {"GET", "/nowhere", "", "", 404, MESSAGE("Not found")},
    {"POST", "/nowhere", JSON, "{}", 404, MESSAGE("Not found")},
    {"PATCH", "/services", JSON, "{}", 405, MESSAGE("Method not allowed")},
    {"POST", "/services/s", JSON, "{}", 405, MESSAGE("Method not allowed")},
    {"BREW", "/services", "", "", 405, MESSAGE("Method not allowed")},
    {"DELETE", "/routes/r/service", "", "", 405, MESSAGE("Method not allowed")},
    {"GET", "/config", "", "", 400, MESSAGE("this endpoint is only available when Kong is configured to not use a database")},
};

static void
test_wrong(void **state)
{
    node_t *n = *state;
    uint64_t seq;

    assert_int_equal(call(n, "POST", "/services", "{\"name\":\"s\",\"host\":\"h\",\"id\":\"" ID1 "\"}"), 201);
    assert_int_equal(call(n, "POST", "/services/s/routes", "{\"name\":\"r\",\"paths\":[\"/\"]}"), 201);
    seq = sb_store_seq(n->store);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct wrong *w = &rows[i];
        int status = call_as(n, w->method, w->url, w->type, w->body);

        if (status != w->status)
            fail_msg("%s %s %s: %d %s", w->method, w->url, w->body, status, n->res.body);
        expect_body(n, w->answer);
        assert_string_equal(header(n, "Content-Type"), "application/json; charset=utf-8");
        assert_int_equal(sb_store_seq(n->store), seq);
    }
    assert_int_equal(count_rows(n, "/services"), 1);
    assert_int_equal(count_rows(n, "/routes"), 1);
}

static void
test_many_arguments(void **state)
{
    node_t *n = *state;
    sb_buf_t args = {0}, url = {0};

    for (int i = 0; i <= 1000; i++)
        sb_buf_addf(&args, "tags[]=%d&", i);
    assert_int_equal(form(n, "POST", "/consumers", args.data), 400);
    expect_body(n, MESSAGE("Too many arguments"));
    sb_buf_addf(&url, "/consumers?%s", args.data);
    assert_int_equal(call(n, "GET", url.data, NULL), 400);
    expect_body(n, MESSAGE("Too many arguments"));
    sb_buf_free(&args);
    sb_buf_free(&url);
}

static void
test_without_endpoint(void **state)
{
    sb_admin_response_t res = {0};

    (void)state;
    sb_admin_http_error(NULL, SB_STR("http://a.test"), 413, &res);
    assert_int_equal(res.status, 413);
    assert_string_equal(res.body, MESSAGE("Payload too large"));
    assert_string_equal(res.headers[0].name, "Access-Control-Allow-Origin");
    assert_string_equal(res.headers[0].value, "http://a.test");
    sb_admin_http_error(NULL, (sb_str_t){0}, 494, &res);
    assert_int_equal(res.status, 400);
    assert_string_equal(res.body, MESSAGE("Request header or cookie too large"));
    assert_string_equal(res.headers[0].value, "*");
    sb_admin_http_error(NULL, (sb_str_t){0}, 500, &res);
    assert_int_equal(res.status, 500);
    assert_string_equal(res.body, MESSAGE("An unexpected error occurred"));
    sb_admin_response_free(&res);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_wrong, node_setup, node_teardown),
                                       cmocka_unit_test_setup_teardown(test_many_arguments, node_setup, node_teardown),
                                       cmocka_unit_test(test_without_endpoint)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
