/*
 * Figures of the record: microseconds per durable route insert through the DAO beside one raw durable insert of SQLite in the same
 * round, with few and with many routes in the record, and rows per second of an import inside one transaction. The read model is attached:
 * a write counts until it is served.
 *
 *   store_bench [folder [rows]]        folder: on the disk that is meant (default: the current one); rows: default 100000
 *
 * Rounds alternate raw and DAO, so that what else the disk is doing meets both; medians are printed.
 */
#include "core/base/json.h"
#include "core/model/model.h"
#include "core/store/store.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES 400

static void
stop(const char *what, const char *text)
{
    fprintf(stderr, "%s: %s\n", what, text != NULL ? text : "failed");
    exit(1);
}

static double
now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double
median(double *v, size_t n)
{
    qsort(v, n, sizeof(*v), by_value);
    return v[n / 2];
}

/* --- the yardstick: a table, an index, one row per durable commit --- */

static sqlite3 *raw_db;
static sqlite3_stmt *raw_insert;

static void
raw_open(const char *path)
{
    if (sqlite3_open(path, &raw_db) != SQLITE_OK ||
        sqlite3_exec(raw_db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t(id TEXT PRIMARY KEY, body TEXT)", NULL, NULL,
                     NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(raw_db, "INSERT INTO t VALUES(?1,?2)", -1, &raw_insert, NULL) != SQLITE_OK)
        stop("raw", sqlite3_errmsg(raw_db));
}

static double
raw_write(void)
{
    static char body[400];
    char id[SB_UUID_TEXT + 1];
    double start;

    memset(body, 'x', sizeof(body) - 1);
    sb_uuid_v4(id);
    start = now_us();
    sqlite3_bind_text(raw_insert, 1, id, -1, SQLITE_STATIC);
    sqlite3_bind_text(raw_insert, 2, body, -1, SQLITE_STATIC);
    if (sqlite3_step(raw_insert) != SQLITE_DONE)
        stop("raw", sqlite3_errmsg(raw_db));
    sqlite3_reset(raw_insert);
    return now_us() - start;
}

/* --- ours --- */

static unsigned long counter;

static json_t *
route_input(void)
{
    char name[64], path[64];

    snprintf(name, sizeof(name), "route-%lu", counter);
    snprintf(path, sizeof(path), "/api/%lu/things", counter);
    counter++;
    return json_pack("{s:s,s:[s],s:[s],s:{s:s}}", "name", name, "paths", path, "hosts", "example.com", "service", "name", "svc");
}

static void
insert(sb_store_t *s, const sb_entity_t *e, json_t *input)
{
    json_t *row = NULL;
    sb_err_t err = {0};

    if (sb_dao_insert(s, e, input, NULL, &row, &err) != SB_OK)
        stop("insert", err.message);
    json_decref(row);
    json_decref(input);
}

static double
dao_write(sb_store_t *s, const sb_entity_t *routes)
{
    json_t *input = route_input();
    double start = now_us(), took;

    insert(s, routes, input);
    took = now_us() - start;
    sb_store_idle(s, false); /* as the store thread does behind a commit */
    return took;
}

static void
compare(sb_store_t *s, const sb_entity_t *routes, unsigned long rows)
{
    static double raw[SAMPLES], dao[SAMPLES];
    double r, d;
    int i;

    for (i = 0; i < SAMPLES; i++) {
        raw[i] = raw_write();
        dao[i] = dao_write(s, routes);
    }
    r = median(raw, SAMPLES);
    d = median(dao, SAMPLES);
    printf("%8lu routes: raw durable insert %7.0f us, DAO route insert %7.0f us, ratio %.2f\n", rows, r, d, d / r);
}

static void
import(sb_store_t *s, const sb_entity_t *routes, unsigned long rows)
{
    sb_err_t err = {0};
    double start = now_us(), took;
    unsigned long i;

    if (sb_store_begin(s, &err) != SB_OK)
        stop("begin", err.message);
    for (i = 0; i < rows; i++)
        insert(s, routes, route_input());
    if (sb_store_commit(s, &err) != SB_OK)
        stop("commit", err.message);
    took = now_us() - start;
    printf("import of %lu routes in one transaction: %.2f s, %.1f us per row\n", rows, took / 1e6, took / (double)rows);
    start = now_us();
    while (sb_store_idle(s, true))
        continue;
    printf("housekeeping behind it: %.2f s\n", (now_us() - start) / 1e6);
}

static void
attach_model(sb_store_t *s, const char *dir)
{
    char *state = sb_asprintf("%s/state", dir);
    sb_model_state_t found = {0};
    sb_model_writer_t *w = NULL;
    sb_runtime_t *rt = NULL;
    sb_err_t err = {0};

    if (sb_runtime_map(state, true, &rt, &err) != SB_OK || sb_model_writer_open(dir, sb_store_id(s), rt, &w, &found, &err) != SB_OK)
        stop("model", err.message);
    sb_store_attach_model(s, w, &found);
    if (sb_store_sync_model(s, &err) != SB_OK)
        stop("model", err.message);
    free(state);
}

int
main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : ".";
    unsigned long rows = argc > 2 ? strtoul(argv[2], NULL, 10) : 100000;
    char *dir = sb_asprintf("%s/store_bench.%ld", folder, (long)getpid()), *path = sb_asprintf("%s/silverback.db", dir),
         *raw_path = sb_asprintf("%s/raw.db", dir), *cmd = sb_asprintf("rm -rf '%s'", dir);
    sb_store_config_t cfg = {.path = path};
    const sb_entity_t *routes;
    sb_store_t *s = NULL;
    sb_err_t err = {0};

    sb_entities_init();
    if (mkdir(dir, 0700) != 0)
        stop("mkdir", dir);
    if (sb_store_open(&sb_store_sqlite, &cfg, &s, &err) != SB_OK)
        stop("open", err.message);
    attach_model(s, dir);
    raw_open(raw_path);
    routes = sb_entity_find("routes");
    insert(s, sb_entity_find("services"), json_pack("{s:s,s:s}", "name", "svc", "host", "example.com"));
    import(s, routes, 100);
    sync();
    compare(s, routes, 100);
    import(s, routes, rows);
    sync(); /* what the import left to be written would slow both down */
    compare(s, routes, rows);
    sqlite3_finalize(raw_insert);
    sqlite3_close(raw_db);
    sb_store_close(s);
    if (system(cmd) != 0)
        stop("cleaning up", dir);
    free(cmd);
    free(raw_path);
    free(path);
    free(dir);
    return 0;
}
