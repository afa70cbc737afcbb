/*
 * What a route lookup and a route edit cost, at 1, 10,000 and 100,000 routes: nanoseconds of CPU per match (begin, match, end, as a
 * request does) at random over all routes and with a suffix that never repeats, microseconds per edit with its commit.
 *
 *   build/tests/bench/router_bench [directory for the model, default /tmp]
 */
#include "core/base/json.h"
#include "core/entities/entities.h"
#include "core/router/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WS "00000000-0000-4000-8000-00000000000a"

enum shape { PATHS, HOSTS, HOSTS_AND_PATHS, MIXED, EXPRESSIONS, SHAPES };

static const char *const shape_names[] = {"paths", "hosts", "hosts+paths", "mixed", "expressions"};

static double
now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void
check(int rc, sb_err_t *err)
{
    if (rc == SB_OK)
        return;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

/* "mixed" has every kind of route, so that a lookup visits several classes. */
static json_t *
make_route(enum shape shape, unsigned i, const char *extra)
{
    char id[40], host[40], path[40];
    json_t *row;

    snprintf(id, sizeof(id), "22222222-0000-4000-8000-%012x", i * 2654435761u);
    snprintf(host, sizeof(host), "h%u.example.com", i);
    snprintf(path, sizeof(path), "/api/r%u", i);
    row = json_pack("{s:s, s:[s,s], s:s, s:{s:s}, s:b, s:b, s:i, s:i}", "id", id, "protocols", "http", "https", "name", extra, "service",
                    "id", "11111111-0000-4000-8000-000000000001", "strip_path", 1, "preserve_host", 0, "https_redirect_status_code", 426,
                    "created_at", 1700000000);
    if (shape == EXPRESSIONS) {
        char text[160];
        snprintf(text, sizeof(text), "http.host == \"%s\" && http.path ^= \"%s\" && http.method == \"GET\"", host, path);
        json_object_set_new(row, "expression", json_string(text));
        return row;
    }
    if (shape == MIXED)
        shape = (enum shape)(i % 3);
    if (shape != HOSTS)
        json_object_set_new(row, "paths", json_pack("[s]", path));
    if (shape != PATHS)
        json_object_set_new(row, "hosts", json_pack("[s]", host));
    return row;
}

struct bench {
    sb_model_writer_t *w;
    sb_model_reader_t *r;
    sb_router_t *router;
    const sb_entity_t *routes;
    uint64_t seq;
};

static void
fill(struct bench *b, enum shape shape, unsigned n)
{
    sb_err_t err = {0};

    check(sb_model_rebuild_begin(b->w, &err), &err);
    for (unsigned i = 0; i < n; i++) {
        json_t *row = make_route(shape, i, "bench");
        check(sb_model_put(b->w, b->routes, WS, ++b->seq, row, NULL, &err), &err);
        json_decref(row);
    }
    check(sb_model_txn_commit(b->w, b->seq, &err), &err);
}

static double
match_ns(struct bench *b, unsigned n, bool suffix, unsigned rounds)
{
    unsigned seed = 1, missed = 0;
    sb_route_match_t *m = malloc(sizeof(*m));
    sb_err_t err = {0};
    double start = now();

    for (unsigned i = 0; i < rounds; i++) {
        char host[40], path[80];
        unsigned k = (unsigned)rand_r(&seed) % n;
        sb_route_request_t req = {.method = SB_STR("GET"), .scheme = SB_STR("http"), .port = 80};
        req.host = (sb_str_t){host, (size_t)snprintf(host, sizeof(host), "h%u.example.com", k)};
        req.path = (sb_str_t){path, (size_t)snprintf(path, sizeof(path), suffix ? "/api/r%u/%u-%u" : "/api/r%u", k, i, (unsigned)seed)};
        check(sb_model_begin(b->r, &err), &err);
        missed += sb_router_match(b->router, &req, m) != SB_OK;
        sb_model_end(b->r);
    }
    start = now() - start;
    if (missed != 0)
        fprintf(stderr, "%u of %u missed\n", missed, rounds);
    free(m);
    return start / rounds;
}

/* What match_ns spends on making requests. */
static double
overhead_ns(unsigned n, bool suffix, unsigned rounds)
{
    unsigned seed = 1;
    volatile char sink = 0;
    double start = now();

    for (unsigned i = 0; i < rounds; i++) {
        char host[40], path[80];
        unsigned k = (unsigned)rand_r(&seed) % n;
        snprintf(host, sizeof(host), "h%u.example.com", k);
        snprintf(path, sizeof(path), suffix ? "/api/r%u/%u-%u" : "/api/r%u", k, i, (unsigned)seed);
        sink ^= host[1] ^ path[5];
    }
    (void)sink;
    return (now() - start) / rounds;
}

static double
edit_us(struct bench *b, enum shape shape, unsigned n, unsigned rounds)
{
    sb_err_t err = {0};
    unsigned seed = 7;
    double start = now();

    for (unsigned i = 0; i < rounds; i++) {
        unsigned k = (unsigned)rand_r(&seed) % n;
        char name[32];
        json_t *row;
        snprintf(name, sizeof(name), "edit%u", i);
        row = make_route(shape, k, name);
        json_object_set_new(row, "preserve_host", json_true());
        check(sb_model_txn_begin(b->w, &err), &err);
        check(sb_model_put(b->w, b->routes, WS, ++b->seq, row, NULL, &err), &err);
        check(sb_model_txn_commit(b->w, b->seq, &err), &err);
        json_decref(row);
    }
    return (now() - start) / rounds / 1e3;
}

int
main(int argc, char **argv)
{
    static const unsigned sizes[] = {1, 100, 10000, 100000};
    char *dir = sb_asprintf("%s/sb-router-bench-XXXXXX", argc > 1 ? argv[1] : "/tmp"), *model, *state, *cmd;
    struct bench b = {0};
    sb_model_state_t found;
    sb_runtime_t *rt;
    sb_err_t err = {0};

    sb_entities_init();
    if (mkdtemp(dir) == NULL)
        return 1;
    model = sb_asprintf("%s/model", dir);
    state = sb_asprintf("%s/state", dir);
    b.routes = sb_entity_find("routes");
    check(sb_runtime_map(state, true, &rt, &err), &err);
    check(sb_model_writer_open(model, "bench", rt, &b.w, &found, &err), &err);
    printf("%-12s %8s %12s %12s %10s %10s\n", "shape", "routes", "random ns", "suffix ns", "edit us", "fill s");
    for (int shape = PATHS; shape < SHAPES; shape++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            unsigned n = sizes[i], rounds = 500000;
            double t = now(), plain, suffix;
            fill(&b, (enum shape)shape, n);
            t = (now() - t) / 1e9;
            if (b.r == NULL)
                check(sb_model_reader_open(model, rt, &b.r, &err), &err);
            sb_router_free(b.router);
            b.router = sb_router_new(b.r, shape == EXPRESSIONS ? SB_ROUTER_EXPRESSIONS : SB_ROUTER_TRADITIONAL_COMPATIBLE);
            match_ns(&b, n, false, rounds / 5);
            plain = match_ns(&b, n, false, rounds) - overhead_ns(n, false, rounds);
            suffix = match_ns(&b, n, true, rounds) - overhead_ns(n, true, rounds);
            printf("%-12s %8u %12.0f %12.0f %10.1f %10.2f\n", shape_names[shape], n, plain, suffix, edit_us(&b, (enum shape)shape, n, 2000),
                   t);
            fflush(stdout);
        }
    }
    sb_router_free(b.router);
    sb_model_reader_close(b.r);
    sb_model_writer_close(b.w);
    sb_runtime_unmap(rt);
    cmd = sb_asprintf("rm -rf %s", dir);
    if (system(cmd) != 0)
        fprintf(stderr, "%s failed\n", cmd);
    free(cmd);
    free(state);
    free(model);
    free(dir);
    return 0;
}
