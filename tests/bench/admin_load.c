/*
 * What the benchmark of the Admin API needs done fast and in C:
 *
 *   admin_load fill PREFIX FIRST N  puts consumers c<FIRST> … into record and read model there, 10,000 rows a transaction, while the node
 *                                   of that prefix is stopped; prints the seconds
 *   admin_load raw FILE SECONDS     durable inserts of rows of that size by hand, one a commit, for that long; prints how many a second
 *
 * fill goes through the DAO, so the rows are what the Admin API would have made of them.
 */
#include "core/base/json.h"
#include "core/base/uuid.h"
#include "core/model/model.h"
#include "core/store/store.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROWS_A_COMMIT 10000

static void
stop(const char *what, const char *text)
{
    fprintf(stderr, "%s: %s\n", what, text != NULL ? text : "failed");
    exit(1);
}

static double
now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
insert(sb_store_t *s, const sb_entity_t *e, unsigned long i)
{
    char name[32];
    json_t *input, *row = NULL;
    sb_err_t err = {0};

    snprintf(name, sizeof(name), "c%07lu", i);
    input = json_pack("{s:s,s:s}", "username", name, "custom_id", name);
    if (sb_dao_insert(s, e, input, NULL, &row, &err) != SB_OK)
        stop("insert", err.message);
    json_decref(row);
    json_decref(input);
}

/* As a node opens them. */
static sb_store_t *
open_prefix(const char *prefix)
{
    char *path = sb_asprintf("%s/store/silverback.db", prefix), *state = sb_asprintf("%s/run/state", prefix),
         *dir = sb_asprintf("%s/run/model", prefix);
    sb_store_config_t cfg = {.path = path};
    sb_model_state_t found = {0};
    sb_model_writer_t *w = NULL;
    sb_runtime_t *rt = NULL;
    sb_store_t *s = NULL;
    sb_err_t err = {0};

    sb_entities_init();
    if (sb_store_open(&sb_store_sqlite, &cfg, &s, &err) != SB_OK)
        stop("open", err.message);
    if (sb_runtime_map(state, true, &rt, &err) != SB_OK || sb_model_writer_open(dir, sb_store_id(s), rt, &w, &found, &err) != SB_OK)
        stop("model", err.message);
    sb_store_attach_model(s, w, &found);
    if (sb_store_sync_model(s, &err) != SB_OK)
        stop("model", err.message);
    free(path);
    free(state);
    free(dir);
    return s;
}

static void
fill(const char *prefix, unsigned long first, unsigned long n)
{
    sb_err_t err = {0};
    double start = now();
    sb_store_t *s = open_prefix(prefix);

    for (unsigned long i = 0; i < n; i++) {
        if (i % ROWS_A_COMMIT == 0 && sb_store_begin(s, &err) != SB_OK)
            stop("begin", err.message);
        insert(s, sb_entity_find("consumers"), first + i);
        if ((i + 1) % ROWS_A_COMMIT != 0 && i + 1 != n)
            continue;
        if (sb_store_commit(s, &err) != SB_OK)
            stop("commit", err.message);
        while (sb_store_idle(s, true))
            continue;
    }
    sb_store_close(s);
    printf("%.2f\n", now() - start);
}

static void
raw(const char *path, double seconds)
{
    static const char row[] =
        "{\"id\":\"00000000-0000-4000-8000-000000000000\",\"username\":\"c0000000\",\"custom_id\":\"c0000000\",\"tags\":null}";
    char id[SB_UUID_TEXT + 1];
    unsigned long n = 0;
    sqlite3_stmt *st;
    sqlite3 *db;
    double start;

    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE IF NOT EXISTS t(id TEXT PRIMARY KEY, body TEXT)",
                     NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "INSERT INTO t VALUES(?1,?2)", -1, &st, NULL) != SQLITE_OK)
        stop("raw", sqlite3_errmsg(db));
    for (start = now(); now() - start < seconds; n++) {
        sb_uuid_v4(id);
        sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 2, row, -1, SQLITE_STATIC);
        if (sqlite3_step(st) != SQLITE_DONE)
            stop("raw", sqlite3_errmsg(db));
        sqlite3_reset(st);
    }
    printf("%.1f\n", (double)n / (now() - start));
    sqlite3_finalize(st);
    sqlite3_close(db);
}

int
main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "fill") == 0)
        fill(argv[2], strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
    else if (argc == 4 && strcmp(argv[1], "raw") == 0)
        raw(argv[2], strtod(argv[3], NULL));
    else
        stop("usage", "admin_load fill PREFIX FIRST N | admin_load raw FILE SECONDS");
    return 0;
}
