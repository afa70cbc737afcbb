/*
 * The router against a naive matcher that tries every route of a random set and ranks them straight from the rules: random requests
 * after each random insert, edit or delete, in both orders of precedence. The pools are small, so that routes collide.
 * A failure prints the seed, the request and both answers; SB_SEED=n reruns it.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "../model/model_fixture.h"

#include "core/model/cursor.h"
#include "core/router/explain.h"
#include "core/router/router.h"

#include <pcre2.h>

#define MAX_ROUTES 40
#define SERVICE    "11111111-0000-4000-8000-000000000001"

static unsigned seed;

static unsigned
below(unsigned n)
{
    return (unsigned)rand_r(&seed) % n;
}

#define PICK(pool) (pool)[below(sizeof(pool) / sizeof((pool)[0]))]

/* ---------- random routes ---------- */

#define LONG100 "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"

static const char *const host_pool[] = {
    "a.com", "b.com", "a.com:80", "a.com:81",  "*.com", "*.a.com",      "*.a.com:80",        "a.*",
    "x.a.*", "b.*",   "x.a.com",  "*.x.a.com", "c",     LONG100 ".com", "*." LONG100 ".com", "*.1" LONG100 ".com"};
static const char *const path_pool[] = {"/",
                                        "/a",
                                        "/ab",
                                        "/a/b",
                                        "/a-b",
                                        "/a/b/c",
                                        "/b",
                                        "/abc",
                                        "/a/",
                                        "/a/bc",
                                        "/" LONG100 LONG100,
                                        "/" LONG100 LONG100 "/x",
                                        ("/" LONG100),
                                        "~/a",
                                        "~/a\\d+",
                                        "~/a/(?<x>[a-z]+)/c",
                                        "~/.*b$",
                                        "~/ab?c*",
                                        "~/(a|b)c",
                                        "~/a|/b",
                                        "~/a\\.b",
                                        "~/a/b{2}",
                                        "~/[ab]+$",
                                        "~/\\Qa.\\E",
                                        "~/a+b",
                                        "~/(?i)A",
                                        "~/a\\d*/bb$",
                                        "~/[a-z]+/(z|bb)/c$",
                                        "~/.*/bb/?",
                                        "~/\\w/bb/c",
                                        "~/[[:alpha:]/x/]/bb$",
                                        "~/(?i).?/BB$",
                                        "~/a\\Q(\\E|/b"};
static const char *const method_pool[] = {"GET", "POST", "PURGE", "AAAA", "DELETE"};
static const char *const sni_pool[] = {"a.com", "a.com.", "b.com", "*.a.com", "*x.com", "a.*", "*"};
static const char *const header_pool[] = {"x-a", "X-B", "x-c"};
static const char *const value_pool[] = {"1", "Two", "three", "~*^v\\d+$", "~*wo", LONG100};

static void
add_list(json_t *row, const char *field, const char *const *pool, unsigned n, unsigned max)
{
    json_t *list = json_array();
    unsigned count = 1 + below(max);

    for (unsigned i = 0; i < count; i++)
        json_array_append_new(list, json_string(pool[below(n)]));
    json_object_set_new(row, field, list);
}

#define ADD_LIST(row, field, pool, max) add_list(row, field, pool, sizeof(pool) / sizeof((pool)[0]), max)

static void
add_headers(json_t *row)
{
    json_t *headers = json_object();
    unsigned n = 1 + below(2);

    for (unsigned i = 0; i < n; i++)
        ADD_LIST(headers, PICK(header_pool), value_pool, 2);
    json_object_set_new(row, "headers", headers);
}

static json_t *
random_route(unsigned slot)
{
    static const int priorities[] = {0, 0, 0, 1, 5, -1};
    char id[37];
    json_t *row;
    bool wide = below(20) == 0; /* more rows than go into keys */

    snprintf(id, sizeof(id), "%08x-0000-4000-8000-%012x", slot * 2654435761u, slot);
    row = json_pack("{s:s, s:[s], s:i, s:i}", "id", id, "protocols",
                    below(15) == 0  ? "tcp"
                    : below(2) == 0 ? "http"
                                    : "grpcs",
                    "created_at", (int)below(3), "regex_priority", priorities[below(6)]);
    if (below(3) == 0)
        json_object_set_new(row, "service", json_pack("{s:s}", "id", SERVICE));
    if (below(4) != 0)
        ADD_LIST(row, "paths", path_pool, below(3) == 0 ? 4 : 1);
    if (wide && below(3) == 0) /* so many that they do not go into keys either, but only two different ones */
        add_list(row, "hosts", &host_pool[below(14)], 2, 3000);
    else if (below(2) == 0)
        ADD_LIST(row, "hosts", host_pool, wide ? 40 : 2);
    if (below(3) == 0)
        ADD_LIST(row, "methods", method_pool, wide ? 30 : 2);
    if (below(4) == 0)
        add_headers(row);
    if (below(5) == 0)
        ADD_LIST(row, "snis", sni_pool, wide ? 30 : 2);
    if (below(12) == 0)
        json_object_set_new(row, "sources", json_pack("[{s:i}]", "port", 1));
    if (below(12) == 0)
        json_object_set_new(row, "destinations", json_pack("[{s:i}]", "port", 1));
    if (below(15) == 0)
        json_object_set_new(row, "hosts", json_array());
    return row;
}

/* ---------- random requests ---------- */

struct ask {
    const char *method, *scheme, *host, *path, *sni;
    uint16_t port;
    const char *headers[5]; /* name, value, … */
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

static void
random_request(struct ask *a)
{
    static const char *const hosts[] = {"a.com", "b.com",        "x.a.com",           "y.x.a.com",         "a.org", "x.a.org", "c", "",
                                        "z",     LONG100 ".com", "q." LONG100 ".com", "q.1" LONG100 ".com"};
    static const char *const paths[] = {"/",
                                        "/a",
                                        "/ab",
                                        "/abc",
                                        "/a/b",
                                        "/a/b/c",
                                        "/a/bb",
                                        "/a/bb/c",
                                        "/a1/bb",
                                        "/bb/bb",
                                        "/a/BB",
                                        "/a/z/c",
                                        "/a-b",
                                        "/a.b",
                                        "/a1",
                                        "/b",
                                        "/bc",
                                        "/acb",
                                        "/aab",
                                        "/A",
                                        "/zzb",
                                        "/" LONG100 LONG100 "/x/y",
                                        "/" LONG100 LONG100,
                                        "/" LONG100 "/a",
                                        "/abb"};
    static const char *const names[] = {"x-a", "x-b", "x-c"};
    static const char *const values[] = {"1", "TWO", "three", "v12", "other", LONG100};

    memset(a, 0, sizeof(*a));
    a->method = PICK(method_pool);
    a->scheme = below(2) == 0 ? "http" : "https";
    a->host = PICK(hosts);
    a->port = (uint16_t)(80 + below(3));
    a->path = PICK(paths);
    a->sni = strcmp(a->scheme, "https") == 0 && below(4) != 0 ? PICK(hosts) : "";
    for (unsigned i = 0, n = below(3); i < n; i++) {
        a->headers[2 * i] = PICK(names);
        a->headers[2 * i + 1] = PICK(values);
    }
}

/* ---------- the naive matcher ---------- */

struct answer {
    const json_t *route;
    bool regex;
    size_t prefix_len;
    uint64_t priority;
    sb_uuid_t entry;
};

static bool
pcre(const char *pattern, size_t len, uint32_t options, const char *subject, size_t *start, size_t *end)
{
    int code;
    PCRE2_SIZE at;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, len, options, &code, &at, NULL);
    pcre2_match_data *d;
    bool ok;

    assert_non_null(re);
    d = pcre2_match_data_create(1, NULL);
    ok = pcre2_match(re, (PCRE2_SPTR)subject, strlen(subject), 0, 0, d, NULL) >= 0;
    *start = pcre2_get_ovector_pointer(d)[0];
    *end = pcre2_get_ovector_pointer(d)[1];
    pcre2_match_data_free(d);
    pcre2_code_free(re);
    return ok;
}

static bool
ends_with(const char *s, const char *end)
{
    return strlen(s) >= strlen(end) && strcmp(s + strlen(s) - strlen(end), end) == 0;
}

static bool
name_fits(const char *pattern, const char *name)
{
    size_t n = strlen(pattern);

    if (pattern[0] == '*')
        return ends_with(name, pattern + 1);
    if (pattern[n - 1] == '*')
        return strncmp(name, pattern, n - 1) == 0;
    return strcmp(pattern, name) == 0;
}

static bool
host_fits(const char *pattern, const struct ask *a)
{
    char name[300];
    char *colon;

    strcpy(name, pattern);
    colon = strchr(name, ':');
    if (colon != NULL) {
        if (atoi(colon + 1) != a->port)
            return false;
        *colon = '\0';
    }
    return name_fits(name, a->host);
}

static bool
sni_fits(const char *pattern, const char *sni, bool traditional)
{
    char name[300];

    strcpy(name, pattern);
    if (strchr(name, '*') != NULL)
        return !traditional && name_fits(name, sni);
    if (name[strlen(name) - 1] == '.')
        name[strlen(name) - 1] = '\0';
    return strcmp(name, sni) == 0;
}

static bool
value_fits(const char *wanted, const char *value)
{
    size_t s, e;

    if (strncmp(wanted, "~*", 2) == 0)
        return pcre(wanted + 2, strlen(wanted + 2), PCRE2_CASELESS, value, &s, &e);
    return strcasecmp(wanted, value) == 0;
}

static bool
any_value_fits(const char *name, const json_t *wanted, const struct ask *a)
{
    for (int i = 0; a->headers[i] != NULL; i += 2)
        for (size_t j = 0; strcasecmp(a->headers[i], name) == 0 && j < json_array_size(wanted); j++)
            if (value_fits(json_string_value(json_array_get(wanted, j)), a->headers[i + 1]))
                return true;
    return false;
}

static bool
has(const json_t *route, const char *field)
{
    const json_t *v = json_object_get(route, field);

    return json_array_size(v) != 0 || json_object_size(v) != 0;
}

/* All but the path. */
static bool
fields_fit(const json_t *route, const struct ask *a, bool traditional, bool disabled)
{
    bool host = !has(route, "hosts"), method = !has(route, "methods"), tls = strcmp(a->scheme, "https") == 0;
    bool sni = !has(route, "snis") || !tls;
    const char *name;
    json_t *v;
    size_t i;

    if (strcmp(json_string_value(json_array_get(json_object_get(route, "protocols"), 0)), "tcp") == 0)
        return false;
    if (disabled && json_object_get(route, "service") != NULL)
        return false;
    json_array_foreach(json_object_get(route, "hosts"), i, v) host = host || host_fits(json_string_value(v), a);
    json_array_foreach(json_object_get(route, "methods"), i, v) method = method || strcmp(json_string_value(v), a->method) == 0;
    json_array_foreach(json_object_get(route, "snis"), i, v) sni =
        sni || (*a->sni != '\0' && sni_fits(json_string_value(v), a->sni, traditional));
    if (!host || !method || !sni)
        return false;
    json_object_foreach(json_object_get(route, "headers"), name, v) if (!any_value_fits(name, v, a)) return false;
    return true;
}

static bool
path_fits(const char *path, const char *request, size_t *len)
{
    char pattern[300];
    size_t start;

    *len = strlen(path);
    if (path[0] != '~')
        return strncmp(path, request, *len) == 0;
    snprintf(pattern, sizeof(pattern), "^%s", path + 1);
    if (!pcre(pattern, strlen(pattern), PCRE2_DOLLAR_ENDONLY, request, &start, len))
        return false;
    if (start != 0)
        *len = 0;
    return true;
}

static unsigned
kinds(const json_t *r)
{
    return (has(r, "hosts") ? 64 : 0) | (has(r, "headers") ? 32 : 0) | (has(r, "paths") ? 16 : 0) | (has(r, "methods") ? 8 : 0) |
           (has(r, "snis") ? 4 : 0) | (has(r, "sources") ? 2 : 0) | (has(r, "destinations") ? 1 : 0);
}

static bool
only_plain_hosts(const json_t *route)
{
    const json_t *hosts = json_object_get(route, "hosts");
    json_t *v;
    size_t i;

    json_array_foreach(hosts, i, v) if (strchr(json_string_value(v), '*') != NULL) return false;
    return has(route, "hosts");
}

static int64_t
regex_priority(const json_t *route)
{
    return sb_json_int(route, "regex_priority", 0);
}

static uint64_t
entry_priority(const json_t *route, bool regex, size_t length)
{
    uint64_t p = (uint64_t)__builtin_popcount(kinds(route)) << 61;

    if (only_plain_hosts(route))
        p |= 1ull << 60;
    p |= (uint64_t)json_object_size(json_object_get(route, "headers")) << 52;
    if (regex)
        p |= 1ull << 51 | (uint64_t)regex_priority(route) << 19;
    else
        p |= length;
    return p;
}

static sb_uuid_t
entry_id(const json_t *route, unsigned group)
{
    sb_uuid_t ns = uuid("7f145bf9-0dce-4f91-98eb-debbce4b9f6b"), id = uuid(sb_json_string(route, "id"));
    char name[60];

    if (json_array_size(json_object_get(route, "paths")) <= 1)
        return id;
    snprintf(name, sizeof(name), "%s#%u", sb_json_string(route, "id"), group);
    sb_uuid_v5(&ns, name, strlen(name), &id);
    return id;
}

/* The entries of a route, best first match of each against *best. */
static void
try_entries(const json_t *route, const struct ask *a, struct answer *best)
{
    const json_t *paths = json_object_get(route, "paths");
    long groups[64]; /* length, or -1 for regexes */
    unsigned n_groups = 0;
    struct answer x = {.route = route};

    for (size_t i = 0; i < json_array_size(paths) || (i == 0 && !has(route, "paths")); i++) {
        const char *path = has(route, "paths") ? json_string_value(json_array_get(paths, i)) : NULL;
        long group = path == NULL ? 0 : path[0] == '~' ? -1 : (long)strlen(path);
        unsigned g = 0;
        int c;
        while (g < n_groups && groups[g] != group)
            g++;
        if (g == n_groups)
            groups[n_groups++] = group;
        if (path != NULL && !path_fits(path, a->path, &x.prefix_len))
            continue;
        x.regex = group == -1;
        x.priority = entry_priority(route, x.regex, group > 0 ? (size_t)group : 0);
        x.entry = entry_id(route, g + 1);
        c = best->route == NULL            ? 1
            : x.priority != best->priority ? (x.priority > best->priority ? 1 : -1)
                                           : memcmp(&x.entry, &best->entry, 16);
        if (c > 0)
            *best = x;
    }
}

static unsigned
submatch(const json_t *route)
{
    unsigned bits = only_plain_hosts(route) ? 2 : 0;
    const json_t *hosts = json_object_get(route, "hosts");
    json_t *v;
    size_t i;

    if (json_is_array(hosts) && json_array_size(hosts) == 0)
        bits |= 2;
    json_array_foreach(hosts, i, v) if (strchr(json_string_value(v), '*') && strchr(json_string_value(v), ':')) bits |= 4;
    json_array_foreach(json_object_get(route, "paths"), i, v) if (json_string_value(v)[0] == '~') bits |= 1;
    return bits;
}

static size_t
longest(const json_t *route)
{
    size_t max = 0, i;
    json_t *v;

    json_array_foreach(json_object_get(route, "paths"), i, v) if (json_string_value(v)[0] != '~' && json_string_length(v) > max) max =
        json_string_length(v);
    return max;
}

/* > 0: a before b in the traditional order. */
static int
traditional_order(const json_t *a, const json_t *b)
{
    int64_t x[7] = {__builtin_popcount(kinds(a)),
                    kinds(a),
                    submatch(a),
                    (int64_t)json_object_size(json_object_get(a, "headers")),
                    submatch(a) & 1 ? regex_priority(a) : 0,
                    (int64_t)longest(a),
                    -sb_json_int(a, "created_at", 0)};
    int64_t y[7] = {__builtin_popcount(kinds(b)),
                    kinds(b),
                    submatch(b),
                    (int64_t)json_object_size(json_object_get(b, "headers")),
                    submatch(b) & 1 ? regex_priority(b) : 0,
                    (int64_t)longest(b),
                    -sb_json_int(b, "created_at", 0)};

    for (int i = 0; i < 7; i++)
        if (x[i] != y[i])
            return x[i] > y[i] ? 1 : -1;
    return 0;
}

/* The path that counts of one route: a regex, the first that fits; else the longest prefix. */
static bool
traditional_path(const json_t *route, const struct ask *a, struct answer *x)
{
    bool found = !has(route, "paths");
    size_t i, len;
    json_t *v;

    x->regex = false;
    x->prefix_len = 0;
    json_array_foreach(json_object_get(route, "paths"), i, v)
    {
        bool regex = json_string_value(v)[0] == '~';
        if (!path_fits(json_string_value(v), a->path, &len))
            continue;
        if (!found || (regex && !x->regex) || (!regex && !x->regex && len > x->prefix_len)) {
            x->regex = regex;
            x->prefix_len = len;
        }
        found = true;
    }
    return found;
}

static void
naive(json_t **routes, const struct ask *a, bool traditional, bool disabled, struct answer *best, bool *tie)
{
    memset(best, 0, sizeof(*best));
    *tie = false;
    for (int i = 0; i < MAX_ROUTES; i++) {
        struct answer x = {.route = routes[i]};
        int c;
        if (routes[i] == NULL || !fields_fit(routes[i], a, traditional, disabled))
            continue;
        if (!traditional) {
            try_entries(routes[i], a, best);
            continue;
        }
        if (!traditional_path(routes[i], a, &x))
            continue;
        c = best->route == NULL ? 1 : traditional_order(routes[i], best->route);
        if (c > 0)
            *tie = false;
        if (c == 0)
            *tie = true; /* the rules do not say; either is right */
        if (c > 0)
            *best = x;
    }
}

/* ---------- the comparison ---------- */

/* Explaining finds what the router finds; every tenth time, as it compiles each regex anew. */
static void
explained(json_t **routes, const sb_route_request_t *req, bool traditional, bool disabled, bool tie, const sb_route_match_t *got)
{
    static unsigned times;
    enum sb_router_flavor flavor = traditional ? SB_ROUTER_TRADITIONAL : SB_ROUTER_TRADITIONAL_COMPATIBLE;
    const sb_route_verdict_t *v;
    sb_route_explain_t *x;
    sb_uuid_t ws = uuid(WS);

    if (times++ % 10 != 0 || tie)
        return;
    x = sb_route_explain_new(flavor, req, 3);
    for (int i = 0; i < MAX_ROUTES; i++)
        if (routes[i] != NULL)
            sb_route_explain_add(x, routes[i], &ws, 1, disabled && json_object_get(routes[i], "service") != NULL);
    v = sb_route_explain_at(x, 0);
    assert_int_equal(v != NULL && v->fits, got != NULL);
    if (v != NULL && !v->fits)
        assert_true(json_array_size(v->failed) != 0 && v->reason[0] != '\0');
    if (got != NULL) {
        assert_memory_equal(&v->match.brief.route, &got->brief.route, SB_UUID_LEN);
        assert_int_equal(v->match.prefix_len, got->prefix_len);
        assert_int_equal(v->match.is_regex, got->is_regex);
        assert_int_equal(v->match.has_path, got->has_path);
        assert_int_equal(v->match.n_captures, got->n_captures);
    }
    sb_route_explain_free(x);
}

static void
compare(struct fixture *f, sb_router_t *router, json_t **routes, bool traditional, bool disabled)
{
    struct ask a;
    struct answer want;
    sb_route_match_t got;
    sb_route_request_t req;
    char id[37] = "-";
    unsigned at = seed;
    bool tie, same;
    int rc;

    random_request(&a);
    req = (sb_route_request_t){.method = {a.method, strlen(a.method)},
                               .scheme = {a.scheme, strlen(a.scheme)},
                               .host = {a.host, strlen(a.host)},
                               .port = a.port,
                               .path = {a.path, strlen(a.path)},
                               .sni = {a.sni, strlen(a.sni)},
                               .header = header,
                               .arg = &a};
    naive(routes, &a, traditional, disabled, &want, &tie);
    rc = sb_router_match(router, &req, &got);
    if (rc == SB_OK)
        sb_uuid_format(&got.brief.route, id);
    explained(routes, &req, traditional, disabled, tie, rc == SB_OK ? &got : NULL);
    same = want.route == NULL ? rc == SB_DECLINED
                              : rc == SB_OK && (tie || (strcmp(id, sb_json_string(want.route, "id")) == 0 && got.is_regex == want.regex &&
                                                        got.prefix_len == want.prefix_len && got.has_path == has(want.route, "paths")));
    if (same)
        return;
    print_message("seed %u, %s: %s %s://%s:%u%s sni '%s' %s=%s %s=%s\n", at, traditional ? "traditional" : "compatible", a.method, a.scheme,
                  a.host, a.port, a.path, a.sni, a.headers[0], a.headers[1], a.headers[2], a.headers[3]);
    print_message("got %s (regex %d, prefix %zu)\n", id, rc == SB_OK && got.is_regex, rc == SB_OK ? got.prefix_len : 0);
    if (want.route != NULL) {
        char *text = sb_json_dump(want.route);
        print_message("want %s (regex %d, prefix %zu)\n", text, want.regex, want.prefix_len);
        free(text);
    }
    fail();
}

static void
edit(struct fixture *f, json_t **routes)
{
    unsigned slot = below(MAX_ROUTES);
    json_t *row = below(4) == 0 ? NULL : random_route(slot), *old = routes[slot];

    if (row == NULL && old == NULL)
        return;
    begin(f);
    put_in(f, "routes", row, old);
    commit(f);
    json_decref(old);
    routes[slot] = row;
}

static bool
count_class(sb_str_t name, uint64_t rows, void *arg)
{
    (*(unsigned *)arg)++;
    return true;
}

static void
random_routes_and_requests(void **state)
{
    struct fixture *f = *state;
    json_t *routes[MAX_ROUTES] = {0};
    sb_router_t *compatible = sb_router_new(f->r, SB_ROUTER_TRADITIONAL_COMPATIBLE);
    sb_router_t *traditional = sb_router_new(f->r, SB_ROUTER_TRADITIONAL);
    sb_model_cursor_t *cursor;
    unsigned classes = 0;
    bool disabled = false;
    const char *env = getenv("SB_SEED");

    seed = env != NULL ? (unsigned)atoi(env) : (unsigned)getpid() * 2654435761u;
    print_message("SB_SEED=%u\n", seed);
    for (int step = 0; step < 2500; step++) {
        edit(f, routes);
        if (below(100) == 0) {
            disabled = !disabled;
            put(f, "services", disabled ? "{'id':'" SERVICE "','enabled':false}" : "{'id':'" SERVICE "','enabled':true}");
        }
        look(f);
        for (int i = 0; i < 8; i++) {
            compare(f, compatible, routes, false, disabled);
            compare(f, traditional, routes, true, disabled);
        }
        sb_model_end(f->r);
    }
    for (int i = 0; i < MAX_ROUTES; i++)
        if (routes[i] != NULL) {
            begin(f);
            put_in(f, "routes", NULL, routes[i]);
            commit(f);
            json_decref(routes[i]);
            routes[i] = NULL;
        }
    look(f);
    compare(f, compatible, routes, false, disabled); /* nothing is left behind */
    assert_int_equal(sb_model_count(f->r, entity("routes")), 0);
    cursor = sb_model_cursor_new(f->r);
    sb_model_cursor_classes(cursor, count_class, &classes);
    assert_int_equal(classes, disabled ? 1 : 0);
    sb_model_cursor_free(cursor);
    sb_model_end(f->r);
    sb_router_free(compatible);
    sb_router_free(traditional);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_routes_and_requests, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
