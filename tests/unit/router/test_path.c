/* Path normalisation, and the upstream path of every row of tests/data/path_handling.json. */
#include "core/base/json.h"
#include "core/router/router.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *
normalised(const char *path)
{
    static char out[256];

    out[sb_router_normalise_path(path, strlen(path), out)] = '\0';
    return out;
}

static void
normalisation(void **state)
{
    static const char *const cases[][2] = {
        {"/", "/"},
        {"/a/b", "/a/b"},
        {"", ""},
        {"*", "*"},
        {"//", "/"},
        {"//a///b//", "/a/b/"},
        {"/.", "/"},
        {"/..", "/"},
        {"/a/.", "/a/"},
        {"/a/..", "/"},
        {"/a/./b", "/a/b"},
        {"/a/../b", "/b"},
        {"/a/b/../../../c", "/c"},
        {"/a//../b", "/b"},
        {"/...", "/..."},
        {"/.a/..b/c.", "/.a/..b/c."},
        {"/%61%2D%2e%5f%7E", "/a-._~"},
        {"/a/%2e%2E/b", "/b"},
        {"/a/%2e", "/a/"},
        {"/a%2fb%c3%a9", "/a%2Fb%C3%A9"},
        {"/%2F%2f", "/%2F%2F"},
        {"/%", "/%"},
        {"/%4", "/%4"},
        {"/%zz%g1", "/%zz%g1"},
        {"/%2561", "/%2561"},
        {"/a%00", "/a%00"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(normalised(cases[i][0]), cases[i][1]);
}

static void
normalising_twice_changes_nothing(void **state)
{
    static const char alphabet[] = "/.%2eEfFaA%/";
    unsigned seed = 1;
    char in[24], once[24], twice[24];

    for (int round = 0; round < 200000; round++) {
        size_t n = (size_t)rand_r(&seed) % sizeof(in), a, b;
        for (size_t i = 0; i < n; i++)
            in[i] = alphabet[(size_t)rand_r(&seed) % (sizeof(alphabet) - 1)];
        if (n > 0)
            in[0] = '/';
        a = sb_router_normalise_path(in, n, once);
        assert_true(a <= n);
        b = sb_router_normalise_path(once, a, twice);
        /* A second pass may decode what the first made ("%%32e" → "%2e"), which is why it is done once; dot segments and slashes
         * are final. */
        if (memchr(once, '%', a) == NULL) {
            assert_int_equal(b, a);
            assert_memory_equal(once, twice, a);
        }
    }
}

static void
upstream_paths_of_the_facts(void **state)
{
    json_error_t error;
    json_t *rows = json_load_file(SB_SOURCE_ROOT "/tests/data/path_handling.json", 0, &error), *row;
    size_t i;

    assert_int_equal(json_array_size(rows), 54);
    json_array_foreach(rows, i, row)
    {
        const char *service = sb_json_string(row, "service_path"), *request = sb_json_string(row, "request_path");
        const char *route = sb_json_string(row, "route_path"), *expected = sb_json_string(row, "upstream_path");
        bool v1 = strcmp(sb_json_string(row, "path_handling"), "v1") == 0;
        char out[64] = "";
        size_t n = sb_router_upstream_path((sb_str_t){service, service != NULL ? strlen(service) : 0}, (sb_str_t){request, strlen(request)},
                                           strlen(route), sb_json_bool(row, "strip_path", false), v1, out);
        out[n] = '\0';
        assert_string_equal(out, expected);
    }
    json_decref(rows);
}

static const char *
upstream(const char *service, const char *request, size_t matched, bool strip)
{
    static char out[64];
    size_t n =
        sb_router_upstream_path((sb_str_t){service, strlen(service)}, (sb_str_t){request, strlen(request)}, matched, strip, false, out);

    assert_true(n <= strlen(service) + strlen(request) + 2);
    out[n] = '\0';
    return out;
}

static void
upstream_paths_at_the_edges(void **state)
{
    /* Everything stripped: the request's trailing slash is kept, and only that. */
    assert_string_equal(upstream("/s", "/r", 2, true), "/s");
    assert_string_equal(upstream("/s/", "/r", 2, true), "/s");
    assert_string_equal(upstream("/s", "/r/", 3, true), "/s/");
    assert_string_equal(upstream("/", "/r", 2, true), "/");
    assert_string_equal(upstream("", "/r", 2, true), "/");
    /* A leftover never climbs. */
    assert_string_equal(upstream("/s", "/r../x", 2, true), "/s/x");
    assert_string_equal(upstream("/s", "/r./x", 2, true), "/s/x");
    assert_string_equal(upstream("/s", "/r..", 2, true), "/s");
    assert_string_equal(upstream("/s", "/r...x", 2, true), "/s/...x");
    assert_string_equal(upstream("/s", "/r.x", 2, true), "/s/.x");
    /* Longer matches than the path (never from the router) are cut. */
    assert_string_equal(upstream("/s", "/r", 9, true), "/s");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalisation),
        cmocka_unit_test(normalising_twice_changes_nothing),
        cmocka_unit_test(upstream_paths_of_the_facts),
        cmocka_unit_test(upstream_paths_at_the_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
