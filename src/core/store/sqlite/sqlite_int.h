/* The SQLite backend's insides: the connection and its prepared statements. */
#ifndef SB_SQLITE_INT_H
#define SB_SQLITE_INT_H

#include "core/store/store_int.h"

#include <sqlite3.h>

/* What a prepared statement does; with the table's index and a variant it is the statement's key. */
enum sb_sqlite_op {
    SB_SQL_BEGIN = 1,
    SB_SQL_COMMIT,
    SB_SQL_SAVEPOINT,
    SB_SQL_RELEASE,
    SB_SQL_ROLLBACK_TO,
    SB_SQL_GET,
    SB_SQL_FIND,
    SB_SQL_INSERT,
    SB_SQL_UPDATE,
    SB_SQL_UPDATE_LIGHT,
    SB_SQL_REMOVE,
    SB_SQL_PAGE,
    SB_SQL_LEADING,
    SB_SQL_TAG_ADD,
    SB_SQL_TAG_DEL,
    SB_SQL_TAGS,
    SB_SQL_LOG_ADD,
    SB_SQL_LOG_READ,
    SB_SQL_LOG_BOUNDS,
    SB_SQL_LOG_PRUNE,
    SB_SQL_META_GET,
    SB_SQL_META_SET
};

typedef struct sb_sqlite_slot {
    uint64_t key; /* 0: free */
    sqlite3_stmt *stmt;
} sb_sqlite_slot_t;

typedef struct sb_sqlite {
    sqlite3 *db;
    sb_sqlite_slot_t *slots; /* open addressing; every variant that occurs stays prepared */
    size_t nslots, used;
    int wal_pages; /* in the write-ahead log after the last commit */
    bool persistent;
    char *wal_path;
    int wal_fd; /* to sync it by; -1: nothing was committed yet */
} sb_sqlite_t;

/* The statement of that key, prepared when it is new from what build(sql, arg) writes. NULL: *err is set. Parameters are unbound. */
sqlite3_stmt *sb_sqlite_stmt(sb_sqlite_t *q, uint64_t key, void (*build)(sb_buf_t *sql, const void *arg), const void *arg, sb_err_t *err);
/* Same for fixed text. */
sqlite3_stmt *sb_sqlite_stmt_text(sb_sqlite_t *q, enum sb_sqlite_op op, unsigned variant, const char *sql, sb_err_t *err);
/* Steps a statement without rows and resets it. */
int sb_sqlite_run(sb_sqlite_t *q, sqlite3_stmt *st, const char *what, sb_err_t *err);
/* After a step: resets; SB_OK for rc SQLITE_DONE/ROW, else logs, sets code 8 and returns SB_ERROR. */
int sb_sqlite_end(sb_sqlite_t *q, sqlite3_stmt *st, int rc, const char *what, sb_err_t *err);
int sb_sqlite_fail(sb_sqlite_t *q, const char *what, sb_err_t *err);
int sb_sqlite_exec(sb_sqlite_t *q, const char *sql, sb_err_t *err);

static inline uint64_t
sb_sqlite_key(enum sb_sqlite_op op, const sb_table_t *t, unsigned variant)
{
    return (uint64_t)op | (uint64_t)(t != NULL ? t->index + 1 : 0) << 8 | (uint64_t)variant << 32;
}

/* NULL and "" bind NULL. */
void sb_sqlite_bind_text(sqlite3_stmt *st, int i, const char *text);
/* A JSON value as a column of that declaration; objects and arrays as text. */
void sb_sqlite_bind_json(sqlite3_stmt *st, int i, const json_t *v);
/* Text column as a JSON string, or null. */
json_t *sb_sqlite_text(sqlite3_stmt *st, int i);

/* migrate.c */
int sb_sqlite_migrate(void *conn, const sb_table_t *tables, sb_err_t *err);
int sb_sqlite_status(void *conn, json_t **out, sb_err_t *err);
int sb_sqlite_peek(const char *path, json_t **out, sb_err_t *err);
/* rows.c */
int sb_sqlite_get(void *conn, const sb_table_t *t, const json_t *key, sb_record_t *out, sb_err_t *err);
int sb_sqlite_find(void *conn, const sb_table_t *t, const sb_column_t *col, sb_str_t value, const char *ws, sb_record_t *out,
                   sb_err_t *err);
int sb_sqlite_insert(void *conn, const sb_table_t *t, const sb_record_t *rec, const char *cache_key, sb_err_t *err);
int sb_sqlite_update(void *conn, const sb_table_t *t, const sb_record_t *rec, const json_t *old, const char *cache_key, sb_err_t *err);
int sb_sqlite_remove(void *conn, const sb_table_t *t, const json_t *old, sb_err_t *err);
/* The columns a row is read from, in the order sb_sqlite_read_row() expects; prefixed "t.". */
void sb_sqlite_columns(sb_buf_t *sql, const sb_table_t *t);
int sb_sqlite_read_row(sb_sqlite_t *q, const sb_table_t *t, sqlite3_stmt *st, sb_record_t *out, sb_err_t *err);
/* page.c */
int sb_sqlite_page(void *conn, const sb_table_t *t, const sb_query_t *query, int (*fn)(sb_record_t *rec, void *arg), void *arg,
                   sb_err_t *err);
int sb_sqlite_leading(void *conn, const sb_table_t *t, void (*fn)(const char *value, void *arg), void *arg, sb_err_t *err);
int sb_sqlite_tags(void *conn, const char *ws, const char *tag, const json_t *after, size_t limit, json_t **out, sb_err_t *err);
/* log.c */
int sb_sqlite_log_append(void *conn, const sb_change_t *c, sb_err_t *err);
int sb_sqlite_log_read(void *conn, uint64_t from, size_t limit, int (*fn)(uint64_t seq, const json_t *change, void *arg), void *arg,
                       sb_err_t *err);
int sb_sqlite_log_bounds(void *conn, uint64_t *first, uint64_t *last, sb_err_t *err);
int sb_sqlite_log_prune(void *conn, uint64_t last, sb_err_t *err);
int sb_sqlite_meta_get(void *conn, const char *key, char **value, sb_err_t *err);
int sb_sqlite_meta_set(void *conn, const char *key, const char *value, sb_err_t *err);

#endif
