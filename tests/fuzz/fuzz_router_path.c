/*
 * Fuzzes what the router makes of foreign paths and patterns: normalising, the upstream path, and a match against routes whose host,
 * path and regex come from the same bytes. Input: fields separated by newlines: request path, host, route path, route host, regex.
 *
 * Checks: nothing is written beyond what the headers promise, a normalised path has no dot segments or double slashes, and a
 * prefix route matches exactly the paths it is a prefix of.
 */
#include "core/base/buf.h"
#include "core/base/json.h"
#include "core/entities/entities.h"
#include "core/router/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WS    "00000000-0000-4000-8000-00000000000a"
#define ID(n) "22222222-0000-4000-8000-00000000000" n

static sb_model_writer_t *writer;
static sb_model_reader_t *reader;
static sb_router_t *router;
static uint64_t seq;

static void
start(void)
{
    char dir[] = "/tmp/sb-fuzz-router-XXXXXX";
    sb_model_state_t found;
    static sb_runtime_t rt;
    sb_err_t err = {0};

    sb_entities_init();
    SB_ASSERT(mkdtemp(dir) != NULL);
    SB_ASSERT(sb_model_writer_open(dir, "fuzz", &rt, &writer, &found, &err) == SB_OK);
    SB_ASSERT(sb_model_rebuild_begin(writer, &err) == SB_OK);
    SB_ASSERT(sb_model_txn_commit(writer, 0, &err) == SB_OK);
    SB_ASSERT(sb_model_reader_open(dir, &rt, &reader, &err) == SB_OK);
    router = sb_router_new(reader, SB_ROUTER_TRADITIONAL_COMPATIBLE);
}

static sb_str_t
field(sb_str_t *in)
{
    const char *nl = in->len != 0 ? memchr(in->data, '\n', in->len) : NULL;
    sb_str_t f = {in->data, nl != NULL ? (size_t)(nl - in->data) : in->len};
    size_t used = f.len + (nl != NULL);

    in->data += used;
    in->len -= used;
    return f;
}

/* false: the value cannot be in a route (not UTF-8). */
static bool
put_route(const char *id, const char *name, const char *before, sb_str_t value)
{
    sb_buf_t text = {0};
    json_t *s, *row;
    sb_err_t err = {0};

    sb_buf_adds(&text, before);
    sb_buf_add(&text, value.data, value.len);
    s = json_stringn(text.data, text.len);
    sb_buf_free(&text);
    if (s == NULL)
        return false;
    row = json_pack("{s:s, s:[s], s:[o]}", "id", id, "protocols", "http", name, s);
    SB_ASSERT(sb_model_txn_begin(writer, &err) == SB_OK);
    SB_ASSERT(sb_model_put(writer, sb_entity_find("routes"), WS, ++seq, row, NULL, &err) == SB_OK);
    SB_ASSERT(sb_model_txn_commit(writer, seq, &err) == SB_OK);
    json_decref(row);
    return true;
}

static void
check_normal(const char *p, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++) {
        SB_ASSERT(p[i] != '/' || p[i + 1] != '/');
        SB_ASSERT(!(p[i] == '/' && p[i + 1] == '.' && (i + 2 == n || p[i + 2] == '/')));
        SB_ASSERT(!(p[i] == '/' && i + 2 < n && p[i + 1] == '.' && p[i + 2] == '.' && (i + 3 == n || p[i + 3] == '/')));
    }
}

static void
match(sb_str_t path, sb_str_t host, bool must_match)
{
    sb_route_request_t req = {.method = SB_STR("GET"), .scheme = SB_STR("http"), .host = host, .path = path};
    static sb_route_match_t m;
    sb_err_t err = {0};

    SB_ASSERT(sb_model_begin(reader, &err) == SB_OK);
    if (sb_router_match(router, &req, &m) == SB_OK) {
        SB_ASSERT(m.prefix_len <= path.len);
        for (unsigned i = 0; i < m.n_captures; i++)
            SB_ASSERT(m.captures[i].data == NULL || (m.captures[i].data >= path.data && m.captures[i].len <= path.len));
    } else {
        SB_ASSERT(!must_match);
    }
    sb_model_end(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sb_str_t in = {(const char *)data, size}, raw, host, route_path, route_host, regex, path;
    char *normal = malloc(size + 1), *upstream = malloc(2 * size + 16);
    bool stored;

    if (router == NULL)
        start();
    raw = field(&in);
    host = field(&in);
    route_path = field(&in);
    route_host = field(&in);
    regex = field(&in);
    path = (sb_str_t){normal, sb_router_normalise_path(raw.data, raw.len, normal)};
    SB_ASSERT(path.len <= raw.len);
    check_normal(path.data, path.len);
    for (int i = 0; i < 4; i++)
        SB_ASSERT(sb_router_upstream_path(route_path, path, route_host.len, i & 1, i & 2, upstream) <= route_path.len + path.len + 2);
    stored = put_route(ID("1"), "paths", "/", route_path);
    put_route(ID("2"), "hosts", "", route_host);
    put_route(ID("3"), "paths", "~/", regex);
    match(path, host, stored && path.len != 0 && path.data[0] == '/' && sb_str_starts((sb_str_t){path.data + 1, path.len - 1}, route_path));
    free(normal);
    free(upstream);
    return 0;
}
