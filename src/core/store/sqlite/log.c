/* The change log, and the few values the store keeps about itself. */
#include "core/base/json.h"
#include "core/store/sqlite/sqlite_int.h"

#include <stdlib.h>
#include <string.h>

int
sb_sqlite_log_append(void *conn, const sb_change_t *c, sb_err_t *err)
{
    sqlite3_stmt *st =
        sb_sqlite_stmt_text(conn, SB_SQL_LOG_ADD, 0,
                            "INSERT INTO changes(seq,time,entity,op,id,ws_id,actor,\"row\",old) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)", err);

    if (st == NULL)
        return SB_ERROR;
    sqlite3_bind_int64(st, 1, (sqlite3_int64)c->seq);
    sqlite3_bind_double(st, 2, c->time);
    sb_sqlite_bind_text(st, 3, c->entity);
    sb_sqlite_bind_text(st, 4, c->op);
    sb_sqlite_bind_text(st, 5, c->id);
    sb_sqlite_bind_text(st, 6, c->ws);
    sb_sqlite_bind_text(st, 7, c->actor);
    sb_sqlite_bind_json(st, 8, c->row);
    sb_sqlite_bind_json(st, 9, c->old);
    return sb_sqlite_run(conn, st, "change log", err);
}

static json_t *
json_column(sqlite3_stmt *st, int i)
{
    json_t *v;

    if (sqlite3_column_type(st, i) == SQLITE_NULL)
        return json_null();
    v = sb_json_parse((const char *)sqlite3_column_text(st, i), (size_t)sqlite3_column_bytes(st, i), NULL);
    return v != NULL ? v : json_null();
}

static json_t *
read_change(sqlite3_stmt *st)
{
    static const char *const names[] = {"entity", "op", "id", "ws", "actor"};
    json_t *c = json_object();
    int i;

    json_object_set_new(c, "time", json_real(sqlite3_column_double(st, 1)));
    for (i = 0; i < 5; i++)
        json_object_set_new(c, names[i], sb_sqlite_text(st, 2 + i));
    json_object_set_new(c, "row", json_column(st, 7));
    json_object_set_new(c, "old", json_column(st, 8));
    return c;
}

int
sb_sqlite_log_read(void *conn, uint64_t from, size_t limit, int (*fn)(uint64_t seq, const json_t *change, void *arg), void *arg,
                   sb_err_t *err)
{
    sqlite3_stmt *st =
        sb_sqlite_stmt_text(conn, SB_SQL_LOG_READ, 0,
                            "SELECT seq,time,entity,op,id,ws_id,actor,\"row\",old FROM changes WHERE seq>?1 ORDER BY seq LIMIT ?2", err);
    int rc = SQLITE_DONE, result = SB_OK, ended;

    if (st == NULL)
        return SB_ERROR;
    sqlite3_bind_int64(st, 1, (sqlite3_int64)from);
    sqlite3_bind_int64(st, 2, limit != 0 ? (sqlite3_int64)limit : -1);
    while (result == SB_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        json_t *change = read_change(st);

        result = fn((uint64_t)sqlite3_column_int64(st, 0), change, arg);
        json_decref(change);
    }
    ended = sb_sqlite_end(conn, st, rc, "reading the change log", err);
    return ended != SB_OK ? ended : result;
}

int
sb_sqlite_log_bounds(void *conn, uint64_t *first, uint64_t *last, sb_err_t *err)
{
    sqlite3_stmt *st =
        sb_sqlite_stmt_text(conn, SB_SQL_LOG_BOUNDS, 0, "SELECT (SELECT min(seq) FROM changes),(SELECT max(seq) FROM changes)", err);
    int rc;

    if (st == NULL)
        return SB_ERROR;
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        *first = (uint64_t)sqlite3_column_int64(st, 0);
        *last = (uint64_t)sqlite3_column_int64(st, 1);
    }
    return sb_sqlite_end(conn, st, rc, "change log bounds", err);
}

int
sb_sqlite_log_prune(void *conn, uint64_t last, sb_err_t *err)
{
    sqlite3_stmt *st = sb_sqlite_stmt_text(conn, SB_SQL_LOG_PRUNE, 0, "DELETE FROM changes WHERE seq<=?1", err);

    if (st == NULL)
        return SB_ERROR;
    sqlite3_bind_int64(st, 1, (sqlite3_int64)last);
    return sb_sqlite_run(conn, st, "pruning the change log", err);
}

int
sb_sqlite_meta_get(void *conn, const char *key, char **value, sb_err_t *err)
{
    sqlite3_stmt *st = sb_sqlite_stmt_text(conn, SB_SQL_META_GET, 0, "SELECT value FROM store_meta WHERE key=?1", err);
    const char *text;
    int rc;

    *value = NULL;
    if (st == NULL)
        return SB_ERROR;
    sb_sqlite_bind_text(st, 1, key);
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW && (text = (const char *)sqlite3_column_text(st, 0)) != NULL)
        *value = sb_strdup_len(text, strlen(text));
    return sb_sqlite_end(conn, st, rc, "reading store_meta", err);
}

int
sb_sqlite_meta_set(void *conn, const char *key, const char *value, sb_err_t *err)
{
    sqlite3_stmt *st = sb_sqlite_stmt_text(conn, SB_SQL_META_SET, 0,
                                           "INSERT INTO store_meta(key,value) VALUES(?1,?2) ON CONFLICT(key) DO UPDATE SET value=?2", err);

    if (st == NULL)
        return SB_ERROR;
    sb_sqlite_bind_text(st, 1, key);
    sb_sqlite_bind_text(st, 2, value);
    return sb_sqlite_run(conn, st, "writing store_meta", err);
}
