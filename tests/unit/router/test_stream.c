/* Routes of streams on a real model: what selects a row, conditions, precedence in both orders, edits. */
#include "../model/model_fixture.h"

#include "core/router/router.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define ID(n)         "22222222-0000-4000-8000-00000000000" n
#define ROUTE(n, ...) put(f, "routes", "{'id':'" ID(n) "'," __VA_ARGS__ "}")

struct ask {
    uint16_t protocol;
    const char *sni, *from, *to;
    uint16_t from_port, to_port, mapped;
    enum sb_router_flavor flavor;
};

static sb_stream_router_t *routers[3]; /* by flavour; they live as long as a test, so that they see edits */

static void
address(const char *text, uint16_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof(*out));
    if (text == NULL)
        text = "127.0.0.1";
    if (strcmp(text, "unix") == 0)
        out->ss_family = AF_UNIX;
    else if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
    }
}

/* Last character of the matched route's id, or '-'. */
static char
ask_full(struct fixture *f, const struct ask *a)
{
    struct sockaddr_storage from, to;
    sb_stream_request_t req = {.protocols = a->protocol != 0 ? a->protocol : SB_PROTO_TCP,
                               .sni = {a->sni, a->sni != NULL ? strlen(a->sni) : 0},
                               .source = (struct sockaddr *)&from,
                               .destination = (struct sockaddr *)&to,
                               .destination_port = a->mapped};
    sb_route_brief_t brief;
    char id[37] = "-";
    int rc;

    req.tls = (a->protocol & (SB_PROTO_TLS | SB_PROTO_TLS_PASSTHROUGH)) != 0;
    address(a->from, a->from_port != 0 ? a->from_port : 4000, &from);
    address(a->to, a->to_port != 0 ? a->to_port : 9000, &to);
    if (routers[a->flavor] == NULL)
        routers[a->flavor] = sb_stream_router_new(f->r, a->flavor);
    look(f);
    rc = sb_stream_router_match(routers[a->flavor], &req, &brief);
    if (rc == SB_OK)
        sb_uuid_format(&brief.route, id);
    sb_model_end(f->r);
    return rc == SB_OK ? id[35] : '-';
}

#define ASK(...) ask_full(f, &(struct ask){__VA_ARGS__})
#define TLS(...) ask_full(f, &(struct ask){.protocol = SB_PROTO_TLS, __VA_ARGS__})

static void
destinations(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ASK(.to_port = 9000), '-');
    ROUTE("1", "'protocols':['tcp'],'destinations':[{'port':9000},{'port':9001}]");
    ROUTE("2", "'protocols':['tcp'],'destinations':[{'ip':'10.1.0.0/16'}]");
    ROUTE("3", "'protocols':['tcp'],'destinations':[{'ip':'10.1.2.3','port':9002}]");
    ROUTE("4", "'protocols':['tcp'],'destinations':[{'ip':'fd00::/8'}]");
    assert_int_equal(ASK(.to_port = 9000), '1');
    assert_int_equal(ASK(.to_port = 9001), '1');
    assert_int_equal(ASK(.to_port = 9002), '-');
    assert_int_equal(ASK(.to = "10.1.255.255", .to_port = 7), '2');
    assert_int_equal(ASK(.to = "10.2.0.0", .to_port = 7), '-');
    assert_int_equal(ASK(.to = "10.1.2.3", .to_port = 9002), '3');
    assert_int_equal(ASK(.to = "fd12::1", .to_port = 9002), '4');
    assert_int_equal(ASK(.to = "fe00::1", .to_port = 9002), '-');
    assert_int_equal(ASK(.to_port = 7, .mapped = 9000), '1');
    assert_int_equal(ASK(.to = "unix"), '-');
    delete_row(f, "routes", ID("1"));
    assert_int_equal(ASK(.to_port = 9000), '-');
}

static void
sources(void **state)
{
    struct fixture *f = *state;

    ROUTE("1", "'protocols':['tcp'],'sources':[{'ip':'192.168.0.0/23'},{'port':5000}]");
    ROUTE("2", "'protocols':['udp'],'sources':[{'ip':'192.168.0.1'}]");
    assert_int_equal(ASK(.from = "192.168.1.9"), '1');
    assert_int_equal(ASK(.from = "192.168.2.9"), '-');
    assert_int_equal(ASK(.from = "192.168.2.9", .from_port = 5000), '1');
    assert_int_equal(ASK(.protocol = SB_PROTO_UDP, .from = "192.168.0.1"), '2');
    assert_int_equal(ASK(.protocol = SB_PROTO_UDP, .from = "192.168.0.2"), '-');
}

static void
names(void **state)
{
    struct fixture *f = *state;

    ROUTE("1", "'protocols':['tls'],'snis':['a.com','B.com.']");
    ROUTE("2", "'protocols':['tls'],'snis':['*.a.com']");
    ROUTE("3", "'protocols':['tls_passthrough'],'snis':['a.com']");
    ROUTE("4", "'protocols':['tcp','tls'],'snis':['c.com'],'destinations':[{'port':9000}]");
    assert_int_equal(TLS(.sni = "a.com"), '1');
    assert_int_equal(TLS(.sni = "A.COM"), '1');
    assert_int_equal(TLS(.sni = "b.com"), '1');
    assert_int_equal(TLS(.sni = "x.a.com"), '2');
    assert_int_equal(TLS(.sni = "x.b.com"), '-');
    assert_int_equal(TLS(.sni = NULL), '-');
    assert_int_equal(TLS(.sni = "x.a.com", .flavor = SB_ROUTER_TRADITIONAL), '-');
    assert_int_equal(ASK(.protocol = SB_PROTO_TLS_PASSTHROUGH, .sni = "a.com"), '3');
    assert_int_equal(ASK(.protocol = SB_PROTO_TLS_PASSTHROUGH, .sni = "b.com"), '-');
    assert_int_equal(TLS(.sni = "c.com"), '4');
    assert_int_equal(TLS(.sni = "d.com"), '-');
    assert_int_equal(ASK(.protocol = 0), '4'); /* no TLS: names do not count */
    assert_int_equal(ASK(.to_port = 9001), '-');
}

static void
precedence(void **state)
{
    struct fixture *f = *state;

    ROUTE("1", "'protocols':['tls'],'destinations':[{'port':9000}],'created_at':1");
    ROUTE("2", "'protocols':['tls'],'destinations':[{'ip':'127.0.0.0/8'}],'created_at':2");
    ROUTE("3", "'protocols':['tls'],'sources':[{'ip':'127.0.0.0/8'}],'created_at':3");
    assert_int_equal(TLS(.sni = NULL), '3'); /* sources stand above destinations */
    assert_int_equal(TLS(.flavor = SB_ROUTER_TRADITIONAL), '3');
    assert_int_equal(TLS(.from = "10.0.0.1"), '1'); /* a port above a network */
    ROUTE("4", "'protocols':['tls'],'snis':['a.com'],'created_at':4");
    assert_int_equal(TLS(.sni = "a.com"), '4');
    ROUTE("5", "'protocols':['tls'],'sources':[{'ip':'127.0.0.1'}],'destinations':[{'port':9000}],'created_at':5");
    assert_int_equal(TLS(.sni = "a.com"), '5'); /* both together weigh as much as a name, and then they count */
    ROUTE("6", "'protocols':['tls'],'destinations':[{'port':9000}],'created_at':6");
    assert_int_equal(TLS(.from = "10.0.0.1"), '6');                                  /* a tie: the larger id */
    assert_int_equal(TLS(.from = "10.0.0.1", .flavor = SB_ROUTER_TRADITIONAL), '1'); /* a tie: the older */
}

static void
expressions(void **state)
{
    struct fixture *f = *state;

#define EXPR(...) ASK(.flavor = SB_ROUTER_EXPRESSIONS, __VA_ARGS__)
    ROUTE("1", "'protocols':['tcp','udp'],'expression':'net.dst.port == 9000 && net.src.ip in 10.0.0.0/8','priority':1");
    ROUTE("2", "'protocols':['tls'],'expression':'tls.sni =^ \\\"a.\\\" && net.protocol == \\\"tls\\\"','priority':1");
    ROUTE("3", "'protocols':['tcp'],'expression':'net.dst.port == 9000 && net.protocol == \\\"tcp\\\"','priority':2");
    ROUTE("4", "'protocols':['tcp'],'destinations':[{'port':9000}]");
    assert_int_equal(EXPR(.from = "10.1.1.1"), '3');
    assert_int_equal(EXPR(.from = "10.1.1.1", .protocol = SB_PROTO_UDP), '1');
    assert_int_equal(EXPR(.from = "11.1.1.1", .protocol = SB_PROTO_UDP), '-');
    assert_int_equal(EXPR(.sni = "a.com", .protocol = SB_PROTO_TLS), '-'); /* =^ is a suffix */
    assert_int_equal(EXPR(.sni = "com.a.", .protocol = SB_PROTO_TLS), '2');
    assert_int_equal(EXPR(.protocol = SB_PROTO_TLS), '-');
    assert_int_equal(ASK(.from = "10.1.1.1"), '4'); /* other flavors know no expressions */
    delete_row(f, "routes", ID("3"));
    assert_int_equal(EXPR(.from = "10.1.1.1"), '1');
    assert_int_equal(EXPR(.from = "11.1.1.1"), '4');
}

static void
disabled_services(void **state)
{
    struct fixture *f = *state;

    put(f, "services", "{'id':'11111111-0000-4000-8000-000000000001','host':'h','enabled':false}");
    ROUTE("1", "'protocols':['tcp'],'destinations':[{'port':9000}]");
    ROUTE("2", "'protocols':['tcp'],'destinations':[{'port':9000}],'service':{'id':'11111111-0000-4000-8000-000000000001'}");
    ROUTE("3", "'protocols':['tcp'],'destinations':[{'port':9000}],'service':{'id':'11111111-0000-4000-8000-000000000001'}");
    assert_int_equal(ASK(.protocol = 0), '1');
    put(f, "services", "{'id':'11111111-0000-4000-8000-000000000001','host':'h','enabled':true}");
    assert_int_equal(ASK(.protocol = 0), '3');
}

/* HTTP requests and streams do not see each other's routes. */
static void
apart_from_http(void **state)
{
    struct fixture *f = *state;
    sb_route_request_t req = {.method = SB_STR("GET"), .scheme = SB_STR("http"), .host = SB_STR("h"), .path = SB_STR("/"), .port = 80};
    sb_router_t *http = sb_router_new(f->r, SB_ROUTER_TRADITIONAL_COMPATIBLE);
    sb_route_match_t m;

    ROUTE("1", "'protocols':['tcp'],'destinations':[{'port':80}]");
    look(f);
    assert_int_equal(sb_router_match(http, &req, &m), SB_DECLINED);
    sb_model_end(f->r);
    ROUTE("2", "'protocols':['http'],'paths':['/']");
    look(f);
    assert_int_equal(sb_router_match(http, &req, &m), SB_OK);
    sb_model_end(f->r);
    assert_int_equal(ASK(.to_port = 80), '1');
    sb_router_free(http);
}

static int
free_routers(void **state)
{
    for (size_t i = 0; i < 3; i++) {
        sb_stream_router_free(routers[i]);
        routers[i] = NULL;
    }
    return fixture_teardown(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, free_routers)

int
main(void)
{
    const struct CMUnitTest tests[] = {TEST(destinations), TEST(sources),           TEST(names),          TEST(precedence),
                                       TEST(expressions),  TEST(disabled_services), TEST(apart_from_http)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
