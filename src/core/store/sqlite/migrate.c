/*
 * Migrations. Numbered steps make and change what the store itself needs; each runs in a transaction that also records its name in
 * schema_meta. Behind them the entity tables follow their field tables: a table that is missing is created, a column that is missing is
 * added, indexes are created by name. Columns that no field table knows any more stay, so that a plugin that is taken out and put back
 * finds its data.
 *
 * A file with steps that this program does not know is of a newer version and is refused.
 */
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/store/sqlite/sqlite_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PEEK_BUSY_MS 5000

static const struct {
    const char *name, *sql;
} steps[] = {
    {"000_base", "CREATE TABLE store_meta(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;"
                 "CREATE TABLE changes(seq INTEGER PRIMARY KEY, time REAL NOT NULL, entity TEXT NOT NULL, op TEXT NOT NULL, id TEXT NOT "
                 "NULL, ws_id TEXT,"
                 " actor TEXT, \"row\" TEXT, old TEXT);"
                 "CREATE TABLE tags(tag TEXT NOT NULL, entity_name TEXT NOT NULL, entity_id TEXT NOT NULL, ws_id TEXT,"
                 " PRIMARY KEY(tag, entity_name, entity_id)) WITHOUT ROWID;"},
};

#define NSTEPS (sizeof(steps) / sizeof(steps[0]))

/* --- numbered steps --- */

/* The first column of a query's rows as texts. */
static int
read_names(sb_sqlite_t *q, const char *sql, json_t **out, sb_err_t *err)
{
    sqlite3_stmt *st = NULL;
    json_t *names = json_array();
    int rc;

    if (sqlite3_prepare_v2(q->db, sql, -1, &st, NULL) != SQLITE_OK) {
        json_decref(names);
        return sb_sqlite_fail(q, "reading schema_meta", err);
    }
    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        json_array_append_new(names, sb_sqlite_text(st, 0));
    rc = rc == SQLITE_DONE ? SB_OK : sb_sqlite_fail(q, "reading schema_meta", err);
    sqlite3_finalize(st);
    if (rc == SB_OK)
        *out = names;
    else
        json_decref(names);
    return rc;
}

/* Names of executed steps, in order; none when the table is not there yet. */
static int
executed(sb_sqlite_t *q, json_t **out, sb_err_t *err)
{
    json_t *table = NULL;
    int rc = read_names(q, "SELECT name FROM sqlite_master WHERE type='table' AND name='schema_meta'", &table, err);

    if (rc != SB_OK)
        return rc;
    if (json_array_size(table) == 0)
        *out = json_array();
    else
        rc = read_names(q, "SELECT name FROM schema_meta WHERE subsystem='core' ORDER BY position", out, err);
    json_decref(table);
    return rc;
}

static bool
contains(const json_t *names, const char *name)
{
    size_t i;
    json_t *v;

    json_array_foreach(names, i, v)
    {
        if (strcmp(json_string_value(v), name) == 0)
            return true;
    }
    return false;
}

static bool
is_known(const char *name)
{
    for (size_t i = 0; i < NSTEPS; i++)
        if (strcmp(steps[i].name, name) == 0)
            return true;
    return false;
}

static int
refuse_newer(const json_t *done, sb_err_t *err)
{
    size_t i;
    json_t *name;

    json_array_foreach(done, i, name)
    {
        if (!is_known(json_string_value(name)))
            return sb_err_set(err, SB_E_NONE, "the database was written by a newer version (migration %s is not known here)",
                              json_string_value(name));
    }
    return SB_OK;
}

static int
run_step(sb_sqlite_t *q, size_t i, sb_err_t *err)
{
    char *record = sqlite3_mprintf("INSERT INTO schema_meta VALUES('core',%Q,%d,strftime('%%s','now'))", steps[i].name, (int)i);
    int rc = sb_sqlite_exec(q, steps[i].sql, err);

    if (rc == SB_OK)
        rc = sb_sqlite_exec(q, record, err);
    sqlite3_free(record);
    if (rc == SB_OK)
        sb_log(SB_LOG_INFO, "store: migration %s done", steps[i].name);
    return rc;
}

/* What the steps that are done (taken over) say about the file. */
static json_t *
status_of(json_t *done)
{
    json_t *fresh = json_array(), *missing = json_array(), *name;
    size_t i;

    for (i = 0; i < NSTEPS; i++)
        if (!contains(done, steps[i].name))
            json_array_append_new(fresh, json_string(steps[i].name));
    json_array_foreach(done, i, name)
    {
        if (!is_known(json_string_value(name)))
            json_array_append(missing, name);
    }
    return json_pack("{s:o,s:[],s:o,s:o}", "executed", done, "pending", "missing", missing, "new", fresh);
}

int
sb_sqlite_status(void *conn, json_t **out, sb_err_t *err)
{
    json_t *done = NULL;
    int rc = executed(conn, &done, err);

    if (rc == SB_OK)
        *out = status_of(done);
    return rc;
}

int
sb_sqlite_peek(const char *path, json_t **out, sb_err_t *err)
{
    sb_sqlite_t q = {0};
    json_t *done = NULL;
    int rc;

    if (access(path, F_OK) != 0 && errno == ENOENT) {
        *out = status_of(json_array());
        return SB_OK;
    }
    if (sqlite3_open_v2(path, &q.db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        rc = sb_sqlite_fail(&q, "open", err);
    else {
        sqlite3_busy_timeout(q.db, PEEK_BUSY_MS);
        rc = executed(&q, &done, err);
    }
    sqlite3_close_v2(q.db);
    if (rc == SB_OK)
        *out = status_of(done);
    else
        sb_err_context(err, "%s", path);
    return rc;
}

/* --- entity tables --- */

static void
add_column_decl(sb_buf_t *sql, const sb_table_t *t, const sb_column_t *c)
{
    size_t i;
    bool key = false;

    for (i = 0; i < t->npk; i++)
        key = key || c == &t->cols[t->pk[i]];
    sb_buf_addf(sql, "\"%s\" %s%s", c->name, c->decl, key ? " NOT NULL" : "");
}

static int
create_table(sb_sqlite_t *q, const sb_table_t *t, sb_err_t *err)
{
    sb_buf_t sql = {0};
    size_t i;
    int rc;

    sb_buf_addf(&sql, "CREATE TABLE \"%s\"(", t->name);
    for (i = 0; i < t->ncols; i++) {
        add_column_decl(&sql, t, &t->cols[i]);
        sb_buf_addc(&sql, ',');
    }
    if (t->cache_key)
        sb_buf_adds(&sql, "cache_key TEXT,");
    if (t->e->workspaceable)
        sb_buf_adds(&sql, "ws_id TEXT NOT NULL,");
    sb_buf_adds(&sql, "row_version INTEGER NOT NULL,PRIMARY KEY(");
    for (i = 0; i < t->npk; i++)
        sb_buf_addf(&sql, "%s\"%s\"", i != 0 ? "," : "", t->cols[t->pk[i]].name);
    sb_buf_adds(&sql, "))");
    rc = sb_sqlite_exec(q, sql.data, err);
    sb_buf_free(&sql);
    return rc;
}

/* The columns a table has, as an object; empty: there is no such table. */
static int
columns_of(sb_sqlite_t *q, const char *table, json_t **out, sb_err_t *err)
{
    sqlite3_stmt *st = NULL;
    json_t *have = json_object();
    int rc;

    if (sqlite3_prepare_v2(q->db, "SELECT name FROM pragma_table_info(?1)", -1, &st, NULL) != SQLITE_OK) {
        json_decref(have);
        return sb_sqlite_fail(q, "table_info", err);
    }
    sqlite3_bind_text(st, 1, table, -1, SQLITE_STATIC);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        json_object_set_new(have, (const char *)sqlite3_column_text(st, 0), json_true());
    rc = rc == SQLITE_DONE ? SB_OK : sb_sqlite_fail(q, "table_info", err);
    sqlite3_finalize(st);
    if (rc == SB_OK)
        *out = have;
    else
        json_decref(have);
    return rc;
}

static int
add_column(sb_sqlite_t *q, const sb_table_t *t, const char *name, const char *decl, sb_err_t *err)
{
    char *sql = sb_asprintf("ALTER TABLE \"%s\" ADD COLUMN \"%s\" %s", t->name, name, decl);
    int rc = sb_sqlite_exec(q, sql, err);

    free(sql);
    if (rc == SB_OK)
        sb_log(SB_LOG_NOTICE, "store: column %s added to table %s", name, t->name);
    return rc;
}

static int
add_missing(sb_sqlite_t *q, const sb_table_t *t, const json_t *have, sb_err_t *err)
{
    size_t i;
    int rc = SB_OK;

    for (i = 0; rc == SB_OK && i < t->ncols; i++)
        if (json_object_get(have, t->cols[i].name) == NULL)
            rc = add_column(q, t, t->cols[i].name, t->cols[i].decl, err);
    if (rc == SB_OK && t->cache_key && json_object_get(have, "cache_key") == NULL)
        rc = add_column(q, t, "cache_key", "TEXT", err);
    return rc;
}

static int
create_index(sb_sqlite_t *q, const sb_table_t *t, bool unique, const char *column, const char *columns, sb_err_t *err)
{
    char *sql =
        sb_asprintf("CREATE %sINDEX IF NOT EXISTS \"%s_%s_idx\" ON \"%s\"(%s)", unique ? "UNIQUE " : "", t->name, column, t->name, columns);
    int rc = sb_sqlite_exec(q, sql, err);

    free(sql);
    return rc;
}

static int
create_indexes(sb_sqlite_t *q, const sb_table_t *t, sb_err_t *err)
{
    size_t i;
    int rc = SB_OK;

    for (i = 0; rc == SB_OK && i < t->ncols; i++) {
        const sb_column_t *c = &t->cols[i];
        char *columns;

        if (!c->unique && !c->indexed)
            continue;
        if (c->unique)
            columns = sb_asprintf("\"%s\"%s", c->name, c->per_ws ? ",ws_id" : "");
        else /* the key behind it: children come in key order */
            columns = sb_asprintf("\"%s\",\"%s\"", c->name, t->cols[t->pk[0]].name);
        rc = create_index(q, t, c->unique, c->name, columns, err);
        free(columns);
    }
    if (rc == SB_OK && t->cache_key)
        rc = create_index(q, t, true, "cache_key", "cache_key", err);
    return rc;
}

static int
follow(sb_sqlite_t *q, const sb_table_t *t, sb_err_t *err)
{
    json_t *have = NULL;
    int rc = columns_of(q, t->name, &have, err);

    if (rc != SB_OK)
        return rc;
    rc = json_object_size(have) == 0 ? create_table(q, t, err) : add_missing(q, t, have, err);
    json_decref(have);
    return rc == SB_OK ? create_indexes(q, t, err) : rc;
}

static int
migrate(sb_sqlite_t *q, const sb_table_t *tables, sb_err_t *err)
{
    const sb_table_t *t;
    json_t *done = NULL;
    size_t i;
    int rc = sb_sqlite_exec(q,
                            "CREATE TABLE IF NOT EXISTS schema_meta(subsystem TEXT NOT NULL, name TEXT NOT NULL, position INTEGER NOT NULL,"
                            " executed_at INTEGER NOT NULL, PRIMARY KEY(subsystem, name)) WITHOUT ROWID",
                            err);

    if (rc == SB_OK)
        rc = executed(q, &done, err);
    if (rc != SB_OK)
        return rc;
    rc = refuse_newer(done, err);
    for (i = 0; rc == SB_OK && i < NSTEPS; i++)
        if (!contains(done, steps[i].name))
            rc = run_step(q, i, err);
    for (t = tables; rc == SB_OK && t != NULL; t = t->next)
        rc = follow(q, t, err);
    json_decref(done);
    return rc;
}

int
sb_sqlite_migrate(void *conn, const sb_table_t *tables, sb_err_t *err)
{
    sb_sqlite_t *q = conn;
    int rc;

    if (sb_sqlite_exec(q, "BEGIN IMMEDIATE", err) != SB_OK)
        return SB_ERROR;
    rc = migrate(q, tables, err);
    if (rc == SB_OK)
        return sb_sqlite_exec(q, "COMMIT", err);
    if (!sqlite3_get_autocommit(q->db))
        sb_sqlite_exec(q, "ROLLBACK", NULL);
    return rc;
}
