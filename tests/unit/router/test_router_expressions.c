/*
 * Routes with expressions in the index: precedence and what a match says, and then at random: whatever pins the index finds routes by, the
 * answer is that of running the programs of all routes. Running itself: test_expression.c.
 */
#include "../model/model_fixture.h"

#include "core/model/cursor.h"
#include "core/router/explain.h"
#include "core/router/expression/expression.h"
#include "core/router/router_int.h"

#define ID(n)      "22222222-0000-4000-8000-00000000000" n
#define MAX_ROUTES 40

static sb_router_t *router;

struct ask {
    const char *method, *scheme, *host, *path, *query, *sni, *src;
    uint16_t port;
    const char *headers[7]; /* name, value, … */
};

static bool
header(void *arg, sb_str_t name, unsigned n, sb_str_t *value)
{
    const struct ask *a = arg;

    for (int i = 0; a->headers[i] != NULL; i += 2) {
        if (!sb_str_eqc(name, a->headers[i]) || n-- > 0)
            continue;
        *value = (sb_str_t){a->headers[i + 1], strlen(a->headers[i + 1])};
        return true;
    }
    return false;
}

static sb_str_t
str(const char *s)
{
    return (sb_str_t){s != NULL ? s : "", s != NULL ? strlen(s) : 0};
}

static sb_route_request_t
request_of(const struct ask *a)
{
    return (sb_route_request_t){.method = str(a->method != NULL ? a->method : "GET"),
                                .scheme = str(a->scheme != NULL ? a->scheme : "http"),
                                .host = str(a->host),
                                .port = a->port != 0 ? a->port : 80,
                                .path = str(a->path != NULL ? a->path : "/"),
                                .query = str(a->query),
                                .sni = str(a->sni),
                                .src_ip = str(a->src != NULL ? a->src : "127.0.0.1"),
                                .header = header,
                                .arg = (void *)a};
}

/* The last digit of the route's id, '-' without one. */
static char
ask_full(struct fixture *f, const struct ask *a, sb_route_match_t *out)
{
    sb_route_request_t req = request_of(a);
    char id[SB_UUID_TEXT + 1];
    int rc;

    look(f);
    if (router == NULL)
        router = sb_router_new(f->r, SB_ROUTER_EXPRESSIONS);
    rc = sb_router_match(router, &req, out);
    sb_model_end(f->r);
    if (rc != SB_OK)
        return '-';
    sb_uuid_format(&out->brief.route, id);
    return id[SB_UUID_TEXT - 1];
}

static char
ask(struct fixture *f, const struct ask *a)
{
    sb_route_match_t m;

    return ask_full(f, a, &m);
}

#define ASK(...)           ask(f, &(struct ask){__VA_ARGS__})
#define ROUTE(id, members) put(f, "routes", "{'id':'" ID(id) "','protocols':['http','https']," members "}")

/* Expressions hold quotes, which put() would read as its own. */
static void
put_expression(struct fixture *f, const char *id, const char *protocols, int priority, const char *expression)
{
    json_t *row = json_pack("{s:s, s:[s], s:i, s:s}", "id", id, "protocols", protocols, "priority", priority, "expression", expression);

    if (strcmp(protocols, "both") == 0)
        json_object_set_new(row, "protocols", json_pack("[ss]", "http", "https"));
    begin(f);
    put_in(f, "routes", row, NULL);
    commit(f);
    json_decref(row);
}

#define EXPRESSION(id, priority, text) put_expression(f, ID(id), "both", priority, text)

static void
priorities_decide(void **state)
{
    struct fixture *f = *state;

    EXPRESSION("1", 0, "http.path ^= \"/a\"");
    EXPRESSION("2", 5, "http.path ^= \"/\"");
    assert_int_equal(ASK(.path = "/a"), '2');
    EXPRESSION("3", 5, "http.method == \"GET\""); /* equal: the larger id */
    assert_int_equal(ASK(.path = "/a"), '3');
    EXPRESSION("4", 6, "http.host == \"h\"");
    assert_int_equal(ASK(.path = "/a", .host = "h"), '4');
    assert_int_equal(ASK(.path = "/a", .method = "PUT"), '2');
}

static void
expressions_come_before_other_routes(void **state)
{
    struct fixture *f = *state;

    ROUTE("1", "'paths':['/a'],'hosts':['h'],'methods':['GET'],'headers':{'x':['1']}");
    assert_int_equal(ASK(.path = "/a", .host = "h", .headers = {"x", "1"}), '1');
    EXPRESSION("2", 0, "http.path ^= \"/\"");
    assert_int_equal(ASK(.path = "/a", .host = "h", .headers = {"x", "1"}), '2');
}

static void
the_match_says_what_was_matched(void **state)
{
    struct fixture *f = *state;
    sb_route_match_t m;

    EXPRESSION("1", 0, "http.path ^= \"/prefix\"");
    EXPRESSION("2", 1, "http.path == \"/exact\"");
    EXPRESSION("3", 1, "http.path ~ r#\"^/users/(?P<id>\\d+)\"#");
    assert_int_equal(ask_full(f, &(struct ask){.path = "/prefix/x"}, &m), '1');
    assert_true(m.has_path && !m.is_regex && m.prefix_len == 7 && m.n_captures == 0);
    assert_int_equal(ask_full(f, &(struct ask){.path = "/exact"}, &m), '2');
    assert_false(m.has_path);
    assert_int_equal(ask_full(f, &(struct ask){.path = "/users/42/x"}, &m), '3');
    assert_true(m.is_regex && m.prefix_len == 9 && m.n_captures == 2);
    assert_string_equal(m.capture_names[1], "id");
    assert_true(sb_str_eqc(m.captures[1], "42"));
}

static void
a_failed_candidate_leaves_the_captures_alone(void **state)
{
    struct fixture *f = *state;
    sb_route_match_t m;

    EXPRESSION("1", 5, "http.path ~ \"^/(a)\"");
    EXPRESSION("2", 9, "http.path ~ \"(b)\" && http.method == \"PUT\"");
    assert_int_equal(ask_full(f, &(struct ask){.path = "/ab"}, &m), '1');
    assert_true(m.n_captures == 2 && sb_str_eqc(m.captures[1], "a"));
}

static void
protocols_are_a_condition(void **state)
{
    struct fixture *f = *state;

    put_expression(f, ID("1"), "http", 0, "http.path ^= \"/1\"");
    put_expression(f, ID("2"), "https", 0, "http.path ^= \"/2\"");
    put_expression(f, ID("3"), "grpcs", 0, "http.path ^= \"/3\"");
    put_expression(f, ID("4"), "tcp", 0, "net.dst.port == 80");
    assert_int_equal(ASK(.path = "/1"), '1');
    assert_int_equal(ASK(.path = "/1", .scheme = "https"), '-');
    assert_int_equal(ASK(.path = "/2"), '2'); /* answered with 426 afterwards */
    assert_int_equal(ASK(.path = "/2", .scheme = "https"), '2');
    assert_int_equal(ASK(.path = "/3"), '-');
    assert_int_equal(ASK(.path = "/3", .scheme = "https"), '3');
    assert_int_equal(ASK(.path = "/4"), '-');
}

static void
sources_count_in_this_flavor(void **state)
{
    struct fixture *f = *state;

    ROUTE("1", "'paths':['/a'],'sources':[{'ip':'10.1.2.3/8'},{'ip':'192.168.0.1'}]");
    assert_int_equal(ASK(.path = "/a", .src = "10.9.9.9"), '1');
    assert_int_equal(ASK(.path = "/a", .src = "192.168.0.1"), '1');
    assert_int_equal(ASK(.path = "/a", .src = "192.168.0.2"), '-');
    assert_int_equal(ASK(.path = "/a", .src = "fd00::1"), '-');
}

static void
other_flavors_do_not_see_expressions(void **state)
{
    struct fixture *f = *state;
    sb_router_t *compatible = sb_router_new(f->r, SB_ROUTER_TRADITIONAL_COMPATIBLE);
    struct ask a = {.path = "/a"};
    sb_route_request_t req = request_of(&a);
    sb_route_match_t m;

    EXPRESSION("1", 0, "http.path ^= \"/a\"");
    look(f);
    assert_int_equal(sb_router_match(compatible, &req, &m), SB_DECLINED);
    sb_model_end(f->r);
    assert_int_equal(ask(f, &a), '1');
    sb_router_free(compatible);
}

/* ---------- at random ---------- */

static unsigned seed;

static unsigned
below(unsigned n)
{
    return (unsigned)rand_r(&seed) % n;
}

#define PICK(pool) (pool)[below(sizeof(pool) / sizeof((pool)[0]))]

static const char *const atoms[] = {"http.path ^= \"/a\"",
                                    "http.path ^= \"/a/b\"",
                                    "http.path ^= \"/\"",
                                    "http.path ^= \"\"",
                                    "http.path == \"/a/b\"",
                                    "lower(http.path) == \"/a/b\"",
                                    "lower(http.path) ^= \"/b\"",
                                    "http.path ~ \"^/a/[bc]\"",
                                    "http.path ~ \"^/b|/c\"",
                                    "http.path ~ \"b\"",
                                    "http.path.segments.0 == \"a\"",
                                    "http.path.segments.0_1 == \"a/b\"",
                                    "http.path.segments.1 == \"b\"",
                                    "http.path.segments.0 ^= \"b\"",
                                    "http.path.segments.len > 1",
                                    "http.path =^ \"b\"",
                                    "http.host == \"a.com\"",
                                    "http.host == \"b.com\"",
                                    "lower(http.host) == \"a.com\"",
                                    "http.host =^ \".a.com\"",
                                    "http.host =^ \"a.com\"",
                                    "lower(http.host) =^ \".COM\"",
                                    "lower(http.host) =^ \".com\"",
                                    "http.host ^= \"a.\"",
                                    "lower(http.host) ^= \"x.\"",
                                    "http.host != \"a.com\"",
                                    "http.method == \"GET\"",
                                    "http.headers.x_a == \"1\"",
                                    "any(http.headers.x_a) == \"1\"",
                                    "any(lower(http.headers.x_a)) == \"two\"",
                                    "any(http.headers.x_b) != \"1\"",
                                    "http.headers.x_b == \"Two\"",
                                    "http.queries.q == \"1\"",
                                    "net.dst.port == 80",
                                    "tls.sni == \"a.com\""};

static void
random_expression(sb_buf_t *out, int depth)
{
    for (unsigned i = 0, n = below(3); i <= n; i++) {
        sb_buf_adds(out, i != 0 ? " && " : "");
        for (unsigned j = 0, m = below(4); j <= (m == 3 ? 2 : 0); j++) {
            sb_buf_adds(out, j != 0 ? " || " : "");
            if (depth == 0 || below(3) != 0) {
                sb_buf_adds(out, PICK(atoms));
                continue;
            }
            sb_buf_adds(out, below(3) == 0 ? "!(" : "(");
            random_expression(out, depth - 1);
            sb_buf_adds(out, ")");
        }
    }
}

static json_t *
random_route(unsigned slot)
{
    static const char *const protocols[] = {"http", "https", "grpcs"};
    sb_buf_t text = {0};
    char id[37];
    json_t *row;

    snprintf(id, sizeof(id), "%08x-0000-4000-8000-%012x", slot * 2654435761u, slot);
    random_expression(&text, 2);
    if (below(30) == 0) { /* more pins than go into keys */
        sb_buf_reset(&text);
        for (int i = 0; i < 300; i++)
            sb_buf_addf(&text, "%s http.host == \"%s\"", i != 0 ? " ||" : "", i == 150 ? "a.com" : i % 2 != 0 ? "b.com" : "c");
    }
    row = json_pack("{s:s, s:[s], s:i, s:s}", "id", id, "protocols", PICK(protocols), "priority", (int)below(4), "expression", text.data);
    if (below(2) == 0)
        json_object_set_new(row, "protocols", json_pack("[ss]", "http", "https"));
    sb_buf_free(&text);
    return row;
}

static void
random_request(struct ask *a)
{
    static const char *const hosts[] = {"a.com", "A.com", "b.com", "x.a.com", "X.A.COM", "a.org", "c", ""};
    static const char *const paths[] = {"/", "/a", "/ab", "/a/b", "/a/b/", "/A/b", "/a/bc", "/a/c", "/b", "/B/x", "/bc", "/x/b", "/c"};
    static const char *const names[] = {"x-a", "x_a", "x-b"};
    static const char *const values[] = {"1", "TWO", "Two"};

    memset(a, 0, sizeof(*a));
    a->method = below(2) == 0 ? "GET" : "PUT";
    a->scheme = below(2) == 0 ? "http" : "https";
    a->host = PICK(hosts);
    a->port = (uint16_t)(80 + below(2));
    a->path = PICK(paths);
    a->query = below(2) == 0 ? "q=1" : "";
    a->sni = strcmp(a->scheme, "https") == 0 ? PICK(hosts) : "";
    for (unsigned i = 0, n = below(4); i < n; i++) {
        a->headers[2 * i] = PICK(names);
        a->headers[2 * i + 1] = PICK(values);
    }
}

static bool
protocol_fits(const json_t *row, bool tls)
{
    const json_t *list = json_object_get(row, "protocols");
    const char *first = json_string_value(json_array_get(list, 0));

    if (json_array_size(list) == 2 || strcmp(first, "https") == 0)
        return true;
    return (strcmp(first, "grpcs") == 0) == tls;
}

static bool
naive_fits(const json_t *row, struct expression_run *run)
{
    sb_pool_t *pool = sb_pool_new(0);
    const struct expression *e;
    sb_buf_t program = {0};
    bool fits;

    assert_int_equal(expression_parse(pool, str(sb_json_string(row, "expression")), false, &e, NULL), SB_OK);
    expression_compile(e, &program);
    fits = protocol_fits(row, run->tls) && expression_run(run, program.data, program.len);
    sb_buf_free(&program);
    sb_pool_free(pool);
    return fits;
}

static const json_t *
naive(json_t **routes, const sb_route_request_t *req, struct expression_run *run)
{
    const json_t *best = NULL;

    run->req = req;
    run->tls = sb_str_eqc(req->scheme, "https");
    for (int i = 0; i < MAX_ROUTES; i++) {
        if (routes[i] == NULL || !naive_fits(routes[i], run))
            continue;
        if (best != NULL && sb_json_int(routes[i], "priority", 0) < sb_json_int(best, "priority", 0))
            continue;
        if (best == NULL || sb_json_int(routes[i], "priority", 0) > sb_json_int(best, "priority", 0) ||
            strcmp(sb_json_string(routes[i], "id"), sb_json_string(best, "id")) > 0)
            best = routes[i];
    }
    return best;
}

/* Explaining finds what the router finds. */
static void
explained(json_t **routes, const sb_route_request_t *req, const char *id)
{
    sb_route_explain_t *x = sb_route_explain_new(SB_ROUTER_EXPRESSIONS, req, 3);
    const sb_route_verdict_t *v;
    sb_uuid_t ws = uuid(WS);

    for (int i = 0; i < MAX_ROUTES; i++)
        if (routes[i] != NULL)
            sb_route_explain_add(x, routes[i], &ws, 1, false);
    v = sb_route_explain_at(x, 0);
    assert_string_equal(v != NULL && v->fits ? sb_json_string(v->row, "id") : "-", id);
    sb_route_explain_free(x);
}

static void
compare(json_t **routes, struct expression_run *run)
{
    unsigned at = seed;
    struct ask a;
    sb_route_request_t req;
    sb_route_match_t got;
    const json_t *want;
    char id[37] = "-";

    random_request(&a);
    req = request_of(&a);
    want = naive(routes, &req, run);
    if (sb_router_match(router, &req, &got) == SB_OK)
        sb_uuid_format(&got.brief.route, id);
    explained(routes, &req, id);
    if (strcmp(id, want != NULL ? sb_json_string(want, "id") : "-") == 0)
        return;
    print_message("seed %u: %s %s://%s:%u%s?%s sni '%s' %s=%s %s=%s %s=%s\n", at, a.method, a.scheme, a.host, a.port, a.path, a.query,
                  a.sni, a.headers[0], a.headers[1], a.headers[2], a.headers[3], a.headers[4], a.headers[5]);
    print_message("got %s, want %s: %s\n", id, want != NULL ? sb_json_string(want, "id") : "-",
                  want != NULL ? sb_json_string(want, "expression") : "");
    fail();
}

static bool
count_class(sb_str_t name, uint64_t rows, void *arg)
{
    (void)name, (void)rows;
    (*(unsigned *)arg)++;
    return true;
}

static void
edit(struct fixture *f, json_t **routes, unsigned slot, bool remove)
{
    json_t *old = routes[slot];

    routes[slot] = remove ? NULL : random_route(slot);
    if (routes[slot] == NULL && old == NULL)
        return;
    begin(f);
    put_in(f, "routes", routes[slot], old);
    commit(f);
    json_decref(old);
}

static void
random_routes_and_requests(void **state)
{
    struct fixture *f = *state;
    json_t *routes[MAX_ROUTES] = {0};
    struct expression_run run = {.regexes = regexes_new()};
    sb_model_cursor_t *cursor;
    const char *env = getenv("SB_SEED");
    unsigned classes = 0;

    seed = env != NULL ? (unsigned)atoi(env) : (unsigned)getpid() * 2654435761u;
    print_message("SB_SEED=%u\n", seed);
    router = sb_router_new(f->r, SB_ROUTER_EXPRESSIONS);
    for (int step = 0; step < 600; step++) {
        edit(f, routes, below(MAX_ROUTES), below(4) == 0);
        look(f);
        for (int i = 0; i < 8; i++)
            compare(routes, &run);
        sb_model_end(f->r);
    }
    for (unsigned i = 0; i < MAX_ROUTES; i++)
        edit(f, routes, i, true);
    look(f);
    cursor = sb_model_cursor_new(f->r);
    sb_model_cursor_classes(cursor, count_class, &classes); /* nothing is left behind */
    assert_int_equal(classes, 0);
    sb_model_cursor_free(cursor);
    sb_model_end(f->r);
    regexes_free(run.regexes);
    expression_run_free(&run);
}

static int
teardown(void **state)
{
    sb_router_free(router);
    router = NULL;
    return fixture_teardown(state);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(priorities_decide),
        CASE(expressions_come_before_other_routes),
        CASE(the_match_says_what_was_matched),
        CASE(a_failed_candidate_leaves_the_captures_alone),
        CASE(protocols_are_a_condition),
        CASE(sources_count_in_this_flavor),
        CASE(other_flavors_do_not_see_expressions),
        CASE(random_routes_and_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
