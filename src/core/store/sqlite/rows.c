/*
 * Rows: binding a JSON row to its table's columns and back, and the statements on single rows. Tags are kept a second time in the side
 * table `tags`, which the filters and /tags read.
 *
 * Parameter numbers are the same in all writing statements: column i is ?i+1, then cache_key, ws_id, row_version, whether a table
 * has them or not. A column that the router flavor hides is left as it is.
 */
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/store/sqlite/sqlite_int.h"

#include <string.h>

static int
param_cache_key(const sb_table_t *t)
{
    return (int)t->ncols + 1;
}

static int
param_ws(const sb_table_t *t)
{
    return (int)t->ncols + 2;
}

static int
param_version(const sb_table_t *t)
{
    return (int)t->ncols + 3;
}

static bool
is_key(const sb_table_t *t, size_t column)
{
    size_t i;

    for (i = 0; i < t->npk; i++)
        if (t->pk[i] == column)
            return true;
    return false;
}

static bool
has_index(const sb_column_t *c)
{
    return c->unique || c->indexed;
}

static const json_t *
column_value(const sb_column_t *c, const json_t *row)
{
    const json_t *v = json_object_get(row, c->field->name);

    return c->field->type == SB_T_FOREIGN ? json_object_get(v, "id") : v;
}

static void
bind_column(sqlite3_stmt *st, int i, const sb_column_t *c, const json_t *row)
{
    const json_t *v = column_value(c, row);
    size_t len;
    char *text;

    /* "json" fields may hold any value and come back as they went in, so their text is JSON even when it is a string. */
    if (c->field->type == SB_T_JSON && v != NULL && !json_is_null(v)) {
        text = sb_json_dump_len(v, &len);
        sqlite3_bind_text(st, i, text, (int)len, free);
    } else {
        sb_sqlite_bind_json(st, i, v);
    }
}

/* --- reading --- */

void
sb_sqlite_columns(sb_buf_t *sql, const sb_table_t *t)
{
    size_t i;

    for (i = 0; i < t->ncols; i++)
        if (!t->cols[i].hidden)
            sb_buf_addf(sql, "t.\"%s\",", t->cols[i].name);
    sb_buf_adds(sql, t->e->workspaceable ? "t.ws_id,t.row_version" : "NULL,t.row_version");
}

/* NULL: the text is not the JSON that we wrote. */
static json_t *
read_column(const sb_column_t *c, sqlite3_stmt *st, int i)
{
    if (sqlite3_column_type(st, i) == SQLITE_NULL)
        return json_null();
    switch (c->field->type) {
    case SB_T_STRING:
        return sb_sqlite_text(st, i);
    case SB_T_BOOLEAN:
        return json_boolean(sqlite3_column_int(st, i));
    case SB_T_INTEGER: /* beyond 64 bits a real */
    case SB_T_NUMBER:
        if (sqlite3_column_type(st, i) == SQLITE_INTEGER)
            return json_integer(sqlite3_column_int64(st, i));
        return json_real(sqlite3_column_double(st, i));
    case SB_T_FOREIGN:
        return json_pack("{s:o}", "id", sb_sqlite_text(st, i));
    default:
        return sb_json_parse((const char *)sqlite3_column_text(st, i), (size_t)sqlite3_column_bytes(st, i), NULL);
    }
}

int
sb_sqlite_read_row(sb_sqlite_t *q, const sb_table_t *t, sqlite3_stmt *st, sb_record_t *out, sb_err_t *err)
{
    json_t *row = json_object(), *v;
    const char *ws;
    int at = 0;
    size_t i;

    for (i = 0; i < t->ncols; i++) {
        if (t->cols[i].hidden)
            continue;
        v = read_column(&t->cols[i], st, at++);
        if (v == NULL) {
            json_decref(row);
            sb_log(SB_LOG_ERR, "store: sqlite: column %s of a row of %s is damaged", t->cols[i].name, t->name);
            return sb_err_set(err, SB_E_DATABASE, "column %s of a row of %s is damaged", t->cols[i].name, t->name);
        }
        if (t->cols[i].field->sparse && json_is_null(v))
            json_decref(v);
        else
            json_object_set_new_nocheck(row, t->cols[i].field->name, v);
    }
    ws = (const char *)sqlite3_column_text(st, at);
    memset(out->ws, 0, sizeof(out->ws));
    if (ws != NULL)
        strncpy(out->ws, ws, sizeof(out->ws) - 1);
    out->version = (uint64_t)sqlite3_column_int64(st, at + 1);
    out->row = row;
    return SB_OK;
}

/* Runs a statement that finds at most one row. */
static int
read_one(sb_sqlite_t *q, const sb_table_t *t, sqlite3_stmt *st, sb_record_t *out, sb_err_t *err)
{
    int rc = sqlite3_step(st), result, ended;

    result = rc == SQLITE_ROW ? sb_sqlite_read_row(q, t, st, out, err) : SB_DECLINED;
    ended = sb_sqlite_end(q, st, rc, "read", err);
    return ended != SB_OK ? ended : result;
}

static void
build_get(sb_buf_t *sql, const void *arg)
{
    const sb_table_t *t = arg;
    size_t i;

    sb_buf_adds(sql, "SELECT ");
    sb_sqlite_columns(sql, t);
    sb_buf_addf(sql, " FROM \"%s\" t WHERE ", t->name);
    for (i = 0; i < t->npk; i++)
        sb_buf_addf(sql, "%st.\"%s\"=?%zu", i != 0 ? " AND " : "", t->cols[t->pk[i]].name, i + 1);
}

int
sb_sqlite_get(void *conn, const sb_table_t *t, const json_t *key, sb_record_t *out, sb_err_t *err)
{
    sqlite3_stmt *st = sb_sqlite_stmt(conn, sb_sqlite_key(SB_SQL_GET, t, 0), build_get, t, err);
    size_t i;

    if (st == NULL)
        return SB_ERROR;
    for (i = 0; i < t->npk; i++)
        sb_sqlite_bind_json(st, (int)i + 1, json_array_get(key, i));
    return read_one(conn, t, st, out, err);
}

typedef struct find_sql {
    const sb_table_t *t;
    const sb_column_t *col;
    bool per_ws;
} find_sql_t;

static void
build_find(sb_buf_t *sql, const void *arg)
{
    const find_sql_t *f = arg;

    sb_buf_adds(sql, "SELECT ");
    sb_sqlite_columns(sql, f->t);
    sb_buf_addf(sql, " FROM \"%s\" t WHERE t.\"%s\"=?1%s LIMIT 1", f->t->name, f->col != NULL ? f->col->name : "cache_key",
                f->per_ws ? " AND t.ws_id=?2" : "");
}

int
sb_sqlite_find(void *conn, const sb_table_t *t, const sb_column_t *col, sb_str_t value, const char *ws, sb_record_t *out, sb_err_t *err)
{
    find_sql_t f = {t, col, ws != NULL && t->e->workspaceable};
    unsigned variant = (col != NULL ? (unsigned)(col - t->cols) + 1 : 0) << 1 | f.per_ws;
    sqlite3_stmt *st = sb_sqlite_stmt(conn, sb_sqlite_key(SB_SQL_FIND, t, variant), build_find, &f, err);

    if (st == NULL)
        return SB_ERROR;
    sqlite3_bind_text(st, 1, value.data, (int)value.len, SQLITE_STATIC);
    if (f.per_ws)
        sb_sqlite_bind_text(st, 2, ws);
    return read_one(conn, t, st, out, err);
}

/* --- tags --- */

static int
tag_row(sb_sqlite_t *q, const sb_table_t *t, bool add, const json_t *row, const char *ws, sb_err_t *err)
{
    static const char *const sql[2] = {"DELETE FROM tags WHERE tag=?1 AND entity_name=?2 AND entity_id=?3",
                                       "INSERT OR IGNORE INTO tags(tag,entity_name,entity_id,ws_id) VALUES(?1,?2,?3,?4)"};
    const json_t *id = json_object_get(row, t->cols[t->pk[0]].field->name);
    json_t *tag;
    size_t i;

    json_array_foreach(json_object_get(row, "tags"), i, tag)
    {
        sqlite3_stmt *st = sb_sqlite_stmt_text(q, add ? SB_SQL_TAG_ADD : SB_SQL_TAG_DEL, 0, sql[add], err);

        if (st == NULL)
            return SB_ERROR;
        sb_sqlite_bind_json(st, 1, tag);
        sb_sqlite_bind_text(st, 2, t->e->name);
        sb_sqlite_bind_json(st, 3, id);
        if (add)
            sb_sqlite_bind_text(st, 4, ws);
        if (sb_sqlite_run(q, st, "writing tags", err) != SB_OK)
            return SB_ERROR;
    }
    return SB_OK;
}

static int
write_tags(sb_sqlite_t *q, const sb_table_t *t, const json_t *row, const json_t *old, const char *ws, sb_err_t *err)
{
    if (!t->e->has_tags || t->npk != 1 || json_equal(json_object_get(row, "tags"), json_object_get(old, "tags")))
        return SB_OK;
    if (old != NULL && tag_row(q, t, false, old, ws, err) != SB_OK)
        return SB_ERROR;
    return row != NULL ? tag_row(q, t, true, row, ws, err) : SB_OK;
}

/* --- writing --- */

static void
build_insert(sb_buf_t *sql, const void *arg)
{
    const sb_table_t *t = arg;
    sb_buf_t values = {0};
    size_t i;

    sb_buf_addf(sql, "INSERT INTO \"%s\"(", t->name);
    for (i = 0; i < t->ncols; i++) {
        if (t->cols[i].hidden)
            continue;
        sb_buf_addf(sql, "\"%s\",", t->cols[i].name);
        sb_buf_addf(&values, "?%zu,", i + 1);
    }
    if (t->cache_key) {
        sb_buf_adds(sql, "cache_key,");
        sb_buf_addf(&values, "?%d,", param_cache_key(t));
    }
    if (t->e->workspaceable) {
        sb_buf_adds(sql, "ws_id,");
        sb_buf_addf(&values, "?%d,", param_ws(t));
    }
    sb_buf_addf(sql, "row_version) VALUES(%s?%d)", values.data != NULL ? values.data : "", param_version(t));
    sb_buf_free(&values);
}

int
sb_sqlite_insert(void *conn, const sb_table_t *t, const sb_record_t *rec, const char *cache_key, sb_err_t *err)
{
    sqlite3_stmt *st = sb_sqlite_stmt(conn, sb_sqlite_key(SB_SQL_INSERT, t, 0), build_insert, t, err);
    size_t i;

    if (st == NULL)
        return SB_ERROR;
    for (i = 0; i < t->ncols; i++)
        if (!t->cols[i].hidden)
            bind_column(st, (int)i + 1, &t->cols[i], rec->row);
    if (t->cache_key)
        sb_sqlite_bind_text(st, param_cache_key(t), cache_key);
    if (t->e->workspaceable)
        sb_sqlite_bind_text(st, param_ws(t), rec->ws);
    sqlite3_bind_int64(st, param_version(t), (sqlite3_int64)rec->version);
    if (sb_sqlite_run(conn, st, "insert", err) != SB_OK)
        return SB_ERROR;
    return write_tags(conn, t, rec->row, NULL, rec->ws, err);
}

typedef struct update_sql {
    const sb_table_t *t;
    bool light; /* no indexed column has changed: index pages stay untouched */
} update_sql_t;

static bool
is_set(const update_sql_t *u, size_t column)
{
    const sb_column_t *c = &u->t->cols[column];

    return !c->hidden && !is_key(u->t, column) && !(u->light && has_index(c));
}

static void
build_update(sb_buf_t *sql, const void *arg)
{
    const update_sql_t *u = arg;
    const sb_table_t *t = u->t;
    size_t i;

    sb_buf_addf(sql, "UPDATE \"%s\" SET ", t->name);
    for (i = 0; i < t->ncols; i++)
        if (is_set(u, i))
            sb_buf_addf(sql, "\"%s\"=?%zu,", t->cols[i].name, i + 1);
    if (t->cache_key && !u->light)
        sb_buf_addf(sql, "cache_key=?%d,", param_cache_key(t));
    sb_buf_addf(sql, "row_version=?%d WHERE ", param_version(t));
    for (i = 0; i < t->npk; i++)
        sb_buf_addf(sql, "%s\"%s\"=?%zu", i != 0 ? " AND " : "", t->cols[t->pk[i]].name, t->pk[i] + 1);
}

static bool
indexes_stay(const sb_table_t *t, const json_t *row, const json_t *old)
{
    const char *const *name;
    size_t i;

    for (i = 0; i < t->ncols; i++) {
        const sb_column_t *c = &t->cols[i];

        if (has_index(c) && !sb_json_same(row, old, c->field->name))
            return false;
    }
    for (name = t->cache_key ? t->e->cache_key : NULL; name != NULL && *name != NULL; name++)
        if (!sb_json_same(row, old, *name))
            return false;
    return true;
}

int
sb_sqlite_update(void *conn, const sb_table_t *t, const sb_record_t *rec, const json_t *old, const char *cache_key, sb_err_t *err)
{
    update_sql_t u = {t, indexes_stay(t, rec->row, old)};
    enum sb_sqlite_op op = u.light ? SB_SQL_UPDATE_LIGHT : SB_SQL_UPDATE;
    sqlite3_stmt *st = sb_sqlite_stmt(conn, sb_sqlite_key(op, t, 0), build_update, &u, err);
    size_t i;

    if (st == NULL)
        return SB_ERROR;
    for (i = 0; i < t->ncols; i++)
        if (is_set(&u, i) || is_key(t, i))
            bind_column(st, (int)i + 1, &t->cols[i], rec->row);
    if (t->cache_key && !u.light)
        sb_sqlite_bind_text(st, param_cache_key(t), cache_key);
    sqlite3_bind_int64(st, param_version(t), (sqlite3_int64)rec->version);
    if (sb_sqlite_run(conn, st, "update", err) != SB_OK)
        return SB_ERROR;
    return write_tags(conn, t, rec->row, old, rec->ws, err);
}

static void
build_remove(sb_buf_t *sql, const void *arg)
{
    const sb_table_t *t = arg;
    size_t i;

    sb_buf_addf(sql, "DELETE FROM \"%s\" WHERE ", t->name);
    for (i = 0; i < t->npk; i++)
        sb_buf_addf(sql, "%s\"%s\"=?%zu", i != 0 ? " AND " : "", t->cols[t->pk[i]].name, i + 1);
}

int
sb_sqlite_remove(void *conn, const sb_table_t *t, const json_t *old, sb_err_t *err)
{
    sqlite3_stmt *st = sb_sqlite_stmt(conn, sb_sqlite_key(SB_SQL_REMOVE, t, 0), build_remove, t, err);
    size_t i;

    if (st == NULL)
        return SB_ERROR;
    for (i = 0; i < t->npk; i++)
        bind_column(st, (int)i + 1, &t->cols[t->pk[i]], old);
    if (sb_sqlite_run(conn, st, "delete", err) != SB_OK)
        return SB_ERROR;
    return write_tags(conn, t, NULL, old, NULL, err);
}
