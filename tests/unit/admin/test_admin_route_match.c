/* GET /debug/route-match: what it reads from its arguments, and what it says. Whether it finds what the router finds: unit/router. */
#include "support.h"

#define ROUTE_MATCH "/debug/route-match?url="

static const char *
member(node_t *n, const char *object, const char *name)
{
    return sb_json_string(json_object_get(n->body, object), name);
}

static const json_t *
candidate(node_t *n, size_t i)
{
    return json_array_get(json_object_get(n->body, "candidates"), i);
}

static void
add_service(node_t *n)
{
    assert_int_equal(call(n, "POST", "/services", "{\"name\":\"s\",\"host\":\"up\",\"port\":81,\"path\":\"/base\",\"protocol\":\"https\"}"),
                     201);
}

static void
the_chosen_route(void **state)
{
    node_t *n = *state;

    add_service(n);
    assert_int_equal(call(n, "POST", "/services/s/routes", "{\"name\":\"re\",\"paths\":[\"~/u/(?<id>\\\\d+)\"],\"strip_path\":false}"),
                     201);
    assert_int_equal(call(n, "POST", "/services/s/routes", "{\"name\":\"all\",\"paths\":[\"/\"]}"), 201);
    assert_int_equal(call(n, "GET", ROUTE_MATCH "http://h/u/./7%3Fx=%22", NULL), 200);
    assert_true(json_is_true(json_object_get(n->body, "matched")));
    assert_string_equal(member(n, "route", "name"), "re");
    assert_string_equal(member(n, "service", "name"), "s");
    assert_string_equal(member(n, "captures", "id"), "7");
    assert_string_equal(text(n, "upstream_url"), "https://up:81/base/u/7?x=%22");
    assert_int_equal(json_integer_value(json_object_get(n->body, "routes")), 2);
    assert_string_equal(sb_json_string(candidate(n, 0), "result"), "chosen");
    assert_string_equal(sb_json_string(candidate(n, 1), "result"), "lower precedence");
    assert_int_equal(call(n, "GET", ROUTE_MATCH "/a&candidates=0", NULL), 200);
    assert_string_equal(member(n, "route", "name"), "all");
    assert_int_equal(json_array_size(json_object_get(n->body, "candidates")), 0);
}

static void
the_losers(void **state)
{
    node_t *n = *state;

    add_service(n);
    assert_int_equal(
        call(n, "POST", "/services/s/routes", "{\"name\":\"one\",\"paths\":[\"/a\"],\"hosts\":[\"h:81\"],\"headers\":{\"X-A\":[\"1\"]}}"),
        201);
    assert_int_equal(call(n, "POST", "/services/s/routes", "{\"name\":\"two\",\"paths\":[\"/b\"],\"methods\":[\"PUT\"]}"), 201);
    assert_int_equal(call(n, "GET", ROUTE_MATCH "http://h:82/a&header=x-a:%201", NULL), 200);
    assert_true(json_is_false(json_object_get(n->body, "matched")));
    assert_string_equal(sb_json_string(candidate(n, 0), "name"), "one");
    assert_string_equal(sb_json_string(candidate(n, 0), "attribute"), "hosts");
    assert_string_equal(sb_json_string(candidate(n, 0), "reason"), "the host fits, but the port is 82");
    assert_int_equal(json_array_size(json_object_get(candidate(n, 1), "attributes")), 2);
    assert_string_equal(sb_json_string(candidate(n, 1), "reason"), "none of the paths fits '/a'");
    assert_int_equal(call(n, "GET", ROUTE_MATCH "/a&header=Host:h:81&header=X-A:2", NULL), 200);
    assert_string_equal(sb_json_string(candidate(n, 0), "reason"), "no value of header 'X-A' fits");
    assert_int_equal(call(n, "PATCH", "/services/s", "{\"enabled\":false}"), 200);
    assert_int_equal(call(n, "GET", ROUTE_MATCH "/a&header=Host:h:81&header=X-A:1", NULL), 200);
    assert_string_equal(sb_json_string(candidate(n, 0), "attribute"), "service");
}

static void
plugins_by_scope(void **state)
{
    node_t *n = *state;
    const json_t *first;

    add_service(n);
    assert_int_equal(call(n, "POST", "/services/s/routes", "{\"name\":\"r\",\"paths\":[\"/\"],\"protocols\":[\"https\"]}"), 201);
    assert_int_equal(call(n, "POST", "/plugins", "{\"name\":\"unit\"}"), 201);
    assert_int_equal(call(n, "POST", "/routes/r/plugins", "{\"name\":\"unit\"}"), 201);
    assert_int_equal(call(n, "POST", "/services/s/plugins", "{\"name\":\"unit\"}"), 201);
    assert_int_equal(call(n, "POST", "/consumers", "{\"username\":\"c\"}"), 201);
    assert_int_equal(call(n, "POST", "/consumers/c/plugins", "{\"name\":\"unit\"}"), 201);
    assert_int_equal(call(n, "GET", ROUTE_MATCH "/", NULL), 200);
    assert_int_equal(json_array_size(json_object_get(n->body, "plugins")), 1);
    first = json_array_get(json_object_get(n->body, "plugins"), 0);
    assert_string_equal(sb_json_string(first, "scope"), "route");
    assert_int_equal(sb_json_int(first, "priority", 0), 7);
    assert_int_equal(json_array_size(json_object_get(n->body, "plugins_by_consumer")), 1);
    assert_int_equal(sb_json_int(json_object_get(n->body, "answer"), "status", 0), 426);
    assert_int_equal(call(n, "GET", ROUTE_MATCH "https://h/", NULL), 200);
    assert_null(json_object_get(n->body, "answer"));
    assert_string_equal(member(n, "request", "sni"), "h");
}

static void
wrong_arguments(void **state)
{
    static const struct {
        const char *args, *message;
    } rows[] = {
        {"", "missing argument url (expected http[s]://host[:port]/path or /path)"},
        {"?url=h/a", "invalid argument url: 'h/a' (expected http[s]://host[:port]/path or /path)"},
        {"?url=http://", "invalid argument url: 'http://' (expected http[s]://host[:port]/path or /path)"},
        {"?url=http://h:x/", "invalid argument url: 'http://h:x/' (expected http[s]://host[:port]/path or /path)"},
        {"?url=/&header=x", "invalid argument header: 'x' (expected Name: value)"},
        {"?url=/&source=h", "invalid argument source: 'h' (expected an IPv4 or IPv6 address)"},
        {"?url=/&source_port=65536", "invalid argument source_port: '65536' (expected a port from 0 to 65535)"},
        {"?url=/&candidates=1001", "invalid argument candidates: '1001' (expected a number from 0 to 1000)"},
        {"?url=/&sni=a", "invalid argument sni: 'a' (expected none with a url that is not https)"},
        {"?url=/&path=a", "unknown argument path"},
    };
    node_t *n = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char path[128];
        snprintf(path, sizeof(path), "/debug/route-match%s", rows[i].args);
        assert_int_equal(call(n, "GET", path, NULL), 400);
        assert_string_equal(text(n, "message"), rows[i].message);
    }
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, node_setup, node_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_chosen_route),
        CASE(the_losers),
        CASE(plugins_by_scope),
        CASE(wrong_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
