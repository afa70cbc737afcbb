/* The router on a real model: each rule of matching and of precedence in one place. test_router_random.c compares with a naive one. */
#include "../model/model_fixture.h"

#include "core/router/router_int.h"

#define ID(n) "22222222-0000-4000-8000-00000000000" n

static sb_router_t *routers[2]; /* by flavour; they live as long as a test, so that they see edits */

static bool
header(void *arg, sb_str_t name, unsigned n, sb_str_t *value)
{
    const char *const *p = arg;

    for (; p != NULL && *p != NULL; p += 2) {
        if (!sb_str_eqc(name, p[0]) || n-- > 0)
            continue;
        *value = (sb_str_t){p[1], strlen(p[1])};
        return true;
    }
    return false;
}

static sb_str_t
str(const char *s)
{
    return (sb_str_t){s, s != NULL ? strlen(s) : 0};
}

struct ask {
    const char *method, *scheme, *host, *path, *sni;
    uint16_t port;
    const char *const *headers;
    enum sb_router_flavor flavor;
};

/* Last character of the matched route's id, or '-'. */
static char
ask_full(struct fixture *f, const struct ask *a, sb_route_match_t *out)
{
    sb_route_request_t req = {.method = str(a->method != NULL ? a->method : "GET"),
                              .scheme = str(a->scheme != NULL ? a->scheme : "http"),
                              .host = str(a->host != NULL ? a->host : "h"),
                              .port = a->port != 0 ? a->port : 80,
                              .path = str(a->path != NULL ? a->path : "/"),
                              .sni = str(a->sni),
                              .header = header,
                              .arg = (void *)a->headers};
    char id[37] = "-";
    int rc;

    if (routers[a->flavor] == NULL)
        routers[a->flavor] = sb_router_new(f->r, a->flavor);
    look(f);
    rc = sb_router_match(routers[a->flavor], &req, out);
    if (rc == SB_OK)
        sb_uuid_format(&out->brief.route, id);
    sb_model_end(f->r);
    return rc == SB_OK ? id[35] : '-';
}

#define ASK(...) ask_full(f, &(struct ask){__VA_ARGS__}, &(sb_route_match_t){0})
#define HEADERS(...)                                                                                                                       \
    .headers = (const char *const[])                                                                                                       \
    {                                                                                                                                      \
        __VA_ARGS__, NULL                                                                                                                  \
    }
#define ROUTE(n, ...) put(f, "routes", "{'id':'" ID(n) "','protocols':['http','https']," __VA_ARGS__ "}")

static void
longest_prefix(void **state)
{
    struct fixture *f = *state;
    sb_route_match_t m;

    assert_int_equal(ASK(.path = "/"), '-');
    ROUTE("1", "'paths':['/a']");
    ROUTE("2", "'paths':['/a/b','/c']");
    ROUTE("3", "'paths':['/a-z']");
    assert_int_equal(ASK(.path = "/"), '-');
    assert_int_equal(ASK(.path = "/a"), '1');
    assert_int_equal(ASK(.path = "/abc"), '1'); /* a prefix, not a segment */
    assert_int_equal(ASK(.path = "/a/b"), '2');
    assert_int_equal(ASK(.path = "/a/a"), '1'); /* /a-z sorts between */
    assert_int_equal(ask_full(f, &(struct ask){.path = "/a/b/c"}, &m), '2');
    assert_int_equal(m.prefix_len, 4);
    assert_true(m.has_path);
    assert_false(m.is_regex);
    assert_int_equal(ASK(.path = "/c"), '2');
    delete_row(f, "routes", ID("2"));
    assert_int_equal(ASK(.path = "/a/b"), '1');
    assert_int_equal(ASK(.path = "/c"), '-');
    ROUTE("1", "'paths':['/d']");
    assert_int_equal(ASK(.path = "/a/b"), '-');
    assert_int_equal(ASK(.path = "/d"), '1');
}

static void
the_brief_says_what_a_plan_needs(void **state)
{
    struct fixture *f = *state;
    sb_uuid_t service = uuid("11111111-0000-4000-8000-000000000001");
    sb_route_match_t m;

    ROUTE("1", "'paths':['/a']");
    assert_int_equal(ask_full(f, &(struct ask){.path = "/a"}, &m), '1');
    assert_false(m.brief.has_service);
    assert_true(m.brief.strip_path);
    assert_true(m.brief.request_buffering);
    assert_int_equal(m.brief.https_redirect_status_code, 426);
    assert_int_equal(m.brief.protocols, SB_PROTO_HTTP | SB_PROTO_HTTPS);
    assert_int_equal(m.brief.version, 1);
    put(f, "routes",
        "{'id':'" ID(
            "1") "','protocols':['grpcs'],'paths':['/a'],'service':{'id':'11111111-0000-4000-8000-000000000001'},"
                 "'strip_path':false,'preserve_host':true,'request_buffering':false,'response_buffering':false,'path_handling':'v1',"
                 "'https_redirect_status_code':301}");
    assert_int_equal(ask_full(f, &(struct ask){.path = "/a"}, &m), '1');
    assert_true(m.brief.has_service);
    assert_memory_equal(&m.brief.service, &service, 16);
    assert_false(m.brief.strip_path);
    assert_true(m.brief.preserve_host);
    assert_false(m.brief.request_buffering);
    assert_false(m.brief.response_buffering);
    assert_false(m.brief.path_handling_v1); /* only the traditional router has it */
    assert_int_equal(m.brief.https_redirect_status_code, 301);
    assert_int_equal(m.brief.protocols, SB_PROTO_GRPCS);
    assert_int_equal(m.brief.version, 2);
    assert_int_equal(ask_full(f, &(struct ask){.path = "/a", .flavor = SB_ROUTER_TRADITIONAL}, &m), '1');
    assert_true(m.brief.path_handling_v1);
}

static void
hosts(void **state)
{
    struct fixture *f = *state;

    ROUTE("1", "'hosts':['a.com']");
    ROUTE("2", "'hosts':['*.a.com']");
    ROUTE("3", "'hosts':['a.*']");
    ROUTE("4", "'hosts':['b.com:81']");
    ROUTE("5", "'hosts':['b.com:82','*.b.com:82']");
    assert_int_equal(ASK(.host = "a.com"), '1'); /* plain before wildcard */
    assert_int_equal(ASK(.host = "A.com"), '-'); /* as received */
    assert_int_equal(ASK(.host = "x.a.com"), '2');
    assert_int_equal(ASK(.host = "x.y.a.com"), '2');
    assert_int_equal(ASK(.host = "xa.com"), '-');
    assert_int_equal(ASK(.host = "a.org"), '3');
    assert_int_equal(ASK(.host = "a.b.org"), '3');
    assert_int_equal(ASK(.host = "b.com"), '-');
    assert_int_equal(ASK(.host = "b.com", .port = 81), '4');
    assert_int_equal(ASK(.host = "b.com", .port = 82), '5');
    assert_int_equal(ASK(.host = "x.b.com", .port = 82), '5');
    assert_int_equal(ASK(.host = ""), '-');
}

static void
nested_wildcards_all_count(void **state)
{
    struct fixture *f = *state;

    ROUTE("1", "'hosts':['*.com'],'paths':['/long/path']");
    ROUTE("2", "'hosts':['*.a.com'],'paths':['/long']");
    ROUTE("3", "'hosts':['x.*'],'paths':['/']");
    assert_int_equal(ASK(.host = "x.a.com", .path = "/long/path"), '1'); /* the host's length does not count */
    assert_int_equal(ASK(.host = "x.a.com", .path = "/long"), '2');
    assert_int_equal(ASK(.host = "x.a.com", .path = "/"), '3');
    assert_int_equal(ASK(.host = "y.com", .path = "/long"), '-');
}

static void
methods(void **state)
{
    struct fixture *f = *state;

    ROUTE("1", "'methods':['GET','HEAD'],'paths':['/a']");
    ROUTE("2", "'methods':['PURGE','POST'],'paths':['/a']");
    ROUTE("3", "'methods':['DELETE']");
    ROUTE("4", "'paths':['/a/b']");
    assert_int_equal(ASK(.path = "/a"), '1');
    assert_int_equal(ASK(.path = "/a/b"), '1'); /* two attributes before one */
    assert_int_equal(ASK(.path = "/a", .method = "POST"), '2');
    assert_int_equal(ASK(.path = "/a", .method = "PURGE"), '2');
    assert_int_equal(ASK(.path = "/a", .method = "PUT"), '-');
    assert_int_equal(ASK(.path = "/a/b", .method = "PUT"), '4');
    assert_int_equal(ASK(.path = "/z", .method = "DELETE"), '3');
    assert_int_equal(ASK(.path = "/a", .method = "get"), '-');
}

static void
request_headers(void **state)
{
    struct fixture *f = *state;

    ROUTE("1", "'paths':['/'],'headers':{'X-Kind':['One','two']}");
    ROUTE("2", "'paths':['/'],'headers':{'x-kind':['one'],'x-other':['1']}");
    ROUTE("3", "'paths':['/'],'headers':{'x-re':['~*^v[0-9]+$','plain']}");
    ROUTE("4", "'paths':['/']");
    assert_int_equal(ASK(), '4');
    assert_int_equal(ASK(HEADERS("x-kind", "ONE")), '1');
    assert_int_equal(ASK(HEADERS("x-kind", "zero", "x-kind", "two")), '1'); /* any value */
    assert_int_equal(ASK(HEADERS("x-kind", "three")), '4');
    assert_int_equal(ASK(HEADERS("x-kind", "one", "x-other", "1")), '2'); /* more headers first */
    assert_int_equal(ASK(HEADERS("x-kind", "one", "x-other", "2")), '1');
    assert_int_equal(ASK(HEADERS("x-re", "V12")), '3');
    assert_int_equal(ASK(HEADERS("x-re", "plain")), '3');
    assert_int_equal(ASK(HEADERS("x-re", "w12")), '4');
}

static void
snis(void **state)
{
    struct fixture *f = *state;

    ROUTE("1", "'snis':['a.com.','*.b.com'],'paths':['/']");
    ROUTE("2", "'paths':['/']");
    assert_int_equal(ASK(), '1'); /* plain http: ignored, but it counts */
    assert_int_equal(ASK(.scheme = "https", .sni = "a.com"), '1');
    assert_int_equal(ASK(.scheme = "https", .sni = "x.b.com"), '1');
    assert_int_equal(ASK(.scheme = "https", .sni = "c.com"), '2');
    assert_int_equal(ASK(.scheme = "https"), '2');
    assert_int_equal(ASK(.scheme = "https", .sni = "x.b.com", .flavor = SB_ROUTER_TRADITIONAL), '2'); /* no wildcards there */
}

static void
regexes(void **state)
{
    struct fixture *f = *state;
    sb_route_match_t m;

    ROUTE("1", "'paths':['~/user/(?<id>\\\\d+)/(x)?']");
    ROUTE("2", "'paths':['/user/12345']");
    ROUTE("3", "'paths':['~/user/\\\\d+$'],'regex_priority':5");
    ROUTE("4", "'paths':['~/.*/end$','/plain']");
    assert_int_equal(ask_full(f, &(struct ask){.path = "/user/12345/y"}, &m), '1'); /* regex before prefix */
    assert_true(m.is_regex);
    assert_int_equal(m.prefix_len, 12);
    assert_int_equal(m.n_captures, 2);
    assert_true(sb_str_eqc(m.captures[1], "12345"));
    assert_string_equal(m.capture_names[1], "id");
    assert_null(m.capture_names[0]);
    assert_int_equal(ASK(.path = "/user/12345"), '3');
    assert_int_equal(ASK(.path = "/user/12345x"), '2');
    assert_int_equal(ASK(.path = "/x/user/1/"), '-'); /* anchored at the start */
    assert_int_equal(ask_full(f, &(struct ask){.path = "/q/end"}, &m), '4');
    assert_int_equal(ask_full(f, &(struct ask){.path = "/plain/x"}, &m), '4');
    assert_false(m.is_regex);
    assert_int_equal(m.n_captures, 0);
    ROUTE("6", "'paths':['~/commented(?#()|/other']"); /* the bracket in the comment hides no alternative */
    ROUTE("7", "'paths':['~/spaced(?x)#(\\n|/another']");
    assert_int_equal(ASK(.path = "/other"), '6');
    assert_int_equal(ASK(.path = "/another"), '7');
    ROUTE("5", "'paths':['~/(oops']"); /* would not pass validation */
    assert_int_equal(ASK(.path = "/oops"), '-');
}

/* Regexes that start alike, found by a segment behind what varies. */
static void
regexes_by_segment(void **state)
{
    struct fixture *f = *state;

    ROUTE("1", "'paths':['~/v\\\\d+/users/[a-z]+$']");
    ROUTE("2", "'paths':['~/v\\\\d+/groups/?']");
    ROUTE("3", "'paths':['~/v\\\\d+/items$']");
    ROUTE("4", "'paths':['~/v\\\\d+/users/admin$'],'regex_priority':1");
    ROUTE("5", "'paths':['~/w.*/users/x']");
    assert_int_equal(ASK(.path = "/v1/users/bob"), '1');
    assert_int_equal(ASK(.path = "/v1/users/admin"), '4');
    assert_int_equal(ASK(.path = "/v1/users/7"), '-');
    assert_int_equal(ASK(.path = "/v22/groups"), '2');
    assert_int_equal(ASK(.path = "/v22/groups-of"), '2');
    assert_int_equal(ASK(.path = "/v1/items"), '3');
    assert_int_equal(ASK(.path = "/v1/items/1"), '-');
    assert_int_equal(ASK(.path = "/w/v1/users/x/users"), '5');
    assert_int_equal(ASK(.path = "/users"), '-');
    for (char path[] = "/v1/users/a"; path[10] <= 'z'; path[10]++)
        assert_int_equal(ASK(.path = path), '1');
    ROUTE("3", "'paths':['~/v\\\\d+/things$']");
    assert_int_equal(ASK(.path = "/v1/items"), '-');
    assert_int_equal(ASK(.path = "/v1/things"), '3');
}

static void
segment_of_a_regex(void **state)
{
    static const struct {
        const char *re, *segment;
    } cases[] = {
        {"/v\\d+/users/[a-z]+$", "users"},
        {"/v\\d+/users$", "users"},
        {"/v\\d+/users", ""}, /* may go on */
        {"/users/\\d+$", ""}, /* literal start */
        {"/v\\d+/a/longest/b/", "longest"},
        {"/(a|b)/c\\.d/", "c.d"},
        {"/(?:a|b)/users/", "users"},
        {"/(?<n>a|b)/users/", "users"},
        {"/(?P<n>a|b)/users/", "users"},
        {"/[a/b/c]+/users/", "users"},
        {"/[]/x/]+/users/", "users"},
        {"/.?/users/?", ""},
        {"/.?/users+/", ""},
        {"/.?/user{2}/", ""},
        {"/.?/us\\ders/", ""},
        {"/.?(/users/)?", ""},
        {"/.?/users/|/b", ""},
        {"/(?i).?/users/", ""},
        {"/.?/(?i)users/", ""},
        {"/(?=.)/users/", ""},
        {"/(?x) .?/us ers/", ""},
        {"(*UTF)/.?/users/", ""},
        {"/[[:alpha:]/users/]/", ""},
        {"/[\\Q]\\E/users/]/", ""},
        {"/.?\\Q/users/\\E", ""},
        {"/\\c/users/", ""},
        {"/.?\\K/users/", ""},
        {"/.?/us\\", ""},
        {"/.?/us(", ""},
        {"/.?/us[", ""},
        {"/.?/0123456789012345678901234567890123456789012345678901234567890123/", ""},
    };
    char out[SEGMENT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t n = regex_segment(cases[i].re, strlen(cases[i].re), out);
        if (n != strlen(cases[i].segment) || memcmp(out, cases[i].segment, n) != 0)
            fail_msg("%s: got '%.*s', expected '%s'", cases[i].re, (int)n, out, cases[i].segment);
    }
}

static void
a_negative_regex_priority_disturbs_the_order(void **state)
{
    struct fixture *f = *state;

    ROUTE("1", "'paths':['~/a'],'regex_priority':-1");
    ROUTE("2", "'paths':['/a'],'methods':['GET'],'hosts':['h']");
    assert_int_equal(ASK(.path = "/a"), '1');                  /* the sign fills the bits of the attribute count */
    ROUTE("3", "'paths':['~/a'],'regex_priority':4294967296"); /* one more than fits: reaches the regex bit only */
    delete_row(f, "routes", ID("1"));
    assert_int_equal(ASK(.path = "/a"), '2');
}

static void
ties(void **state)
{
    struct fixture *f = *state;

    ROUTE("1", "'paths':['/a'],'created_at':10");
    ROUTE("2", "'paths':['/a'],'created_at':20");
    assert_int_equal(ASK(.path = "/a"), '2');                                  /* larger id */
    assert_int_equal(ASK(.path = "/a", .flavor = SB_ROUTER_TRADITIONAL), '1'); /* older */
}

static void
traditional_ranks_by_the_route_not_the_path(void **state)
{
    struct fixture *f = *state;
    sb_route_match_t m;

    ROUTE("1", "'paths':['/a','/zzzzzzzz']");
    ROUTE("2", "'paths':['/a/b']");
    assert_int_equal(ASK(.path = "/a/b"), '2');
    assert_int_equal(ask_full(f, &(struct ask){.path = "/a/b", .flavor = SB_ROUTER_TRADITIONAL}, &m), '1');
    assert_int_equal(m.prefix_len, 2);
    ROUTE("3", "'headers':{'x':['1']},'methods':['GET']"); /* two kinds: before one */
    ROUTE("4", "'hosts':['h'],'methods':['GET']");         /* a host before a header */
    assert_int_equal(ASK(.path = "/a/b", HEADERS("x", "1"), .flavor = SB_ROUTER_TRADITIONAL), '4');
}

static void
disabled_services_have_no_routes(void **state)
{
    struct fixture *f = *state;

    put(f, "services", "{'id':'11111111-0000-4000-8000-000000000001','enabled':false}");
    ROUTE("1", "'paths':['/a/b'],'service':{'id':'11111111-0000-4000-8000-000000000001'}");
    ROUTE("2", "'paths':['/a']");
    assert_int_equal(ASK(.path = "/a/b"), '2');
    put(f, "services", "{'id':'11111111-0000-4000-8000-000000000001','enabled':true}");
    assert_int_equal(ASK(.path = "/a/b"), '1');
}

static void
stream_routes_do_not_match(void **state)
{
    struct fixture *f = *state;

    put(f, "routes", "{'id':'" ID("1") "','protocols':['tls'],'snis':['a.com']}");
    assert_int_equal(ASK(.scheme = "https", .sni = "a.com"), '-');
}

static void
long_texts_are_told_apart(void **state)
{
    struct fixture *f = *state;
    char host[260], path[400], text[1024], name[2];
    struct ask a = {.host = host, .path = path};
    sb_route_match_t m;

    memset(host, 'h', sizeof(host));
    memset(path, 'p', sizeof(path));
    path[0] = '/';
    for (int i = 1; i <= 3; i++) {
        snprintf(host + 200, 5, ".co%d", i);
        snprintf(path + 300, 4, "%d", i);
        snprintf(name, sizeof(name), "%d", i);
        snprintf(text, sizeof(text), "{'id':'22222222-0000-4000-8000-00000000000%d','protocols':['http'],'hosts':['*.%s'],'paths':['%s']}",
                 i, host, path);
        put(f, "routes", text);
    }
    for (int i = 1; i <= 3; i++) {
        char full[300];
        snprintf(host + 200, 5, ".co%d", i);
        snprintf(full, sizeof(full), "x.%s", host);
        a.host = full;
        snprintf(path + 300, 40, "%d/more", i);
        assert_int_equal(ask_full(f, &a, &m), '0' + i);
        assert_int_equal(m.prefix_len, 301);
        snprintf(path + 300, 40, "%d/more", i % 3 + 1);
        assert_int_equal(ask_full(f, &a, &m), '-');
    }
}

static int
teardown(void **state)
{
    for (int i = 0; i < 2; i++) {
        sb_router_free(routers[i]);
        routers[i] = NULL;
    }
    return fixture_teardown(state);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(longest_prefix),
        CASE(the_brief_says_what_a_plan_needs),
        CASE(hosts),
        CASE(nested_wildcards_all_count),
        CASE(methods),
        CASE(request_headers),
        CASE(snis),
        CASE(regexes),
        CASE(regexes_by_segment),
        cmocka_unit_test(segment_of_a_regex),
        CASE(a_negative_regex_priority_disturbs_the_order),
        CASE(ties),
        CASE(traditional_ranks_by_the_route_not_the_path),
        CASE(disabled_services_have_no_routes),
        CASE(stream_routes_do_not_match),
        CASE(long_texts_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
