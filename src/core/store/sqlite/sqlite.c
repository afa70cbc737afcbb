/*
 * The embedded database: one file, one connection, write-ahead log.
 *
 * Durability: WAL mode, in which a commit is one sequential write of the log, whatever it changed, and sync() one fdatasync of it.
 * synchronous=NORMAL: SQLite leaves commits to us, and itself syncs what order depends on (a fresh log's header, and checkpoints). Moving
 * the log into the database file (a checkpoint, two more syncs) is kept out of commits: SQLite's own trigger is off, sb_store_idle() does
 * it when it is quiet, or between two batches once the log is long. Only where nobody calls that, a log that has grown very long is moved
 * by a commit. (After a checkpoint has emptied the log, the next commit syncs its new header once more.)
 *
 * Statements are prepared once per (operation, table, variant) and kept; see sb_sqlite_key(). Values are always bound, never spliced.
 *
 * One thread uses the connection. Other processes may read the file meanwhile (backup); the writer lock keeps second writers of ours away,
 * and foreign ones are waited for a while, then reported as busy.
 */
#include "core/store/sqlite/sqlite_int.h"
#include "core/base/json.h"
#include "core/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUSY_MS            5000
#define CHECKPOINT_QUIET   64    /* pages in the log: 256 KiB */
#define CHECKPOINT_OVERDUE 4096  /* 16 MiB */
#define CHECKPOINT_FORCED  65536 /* 256 MiB */

/* --- errors and statements --- */

int
sb_sqlite_fail(sb_sqlite_t *q, const char *what, sb_err_t *err)
{
    const char *text = q->db != NULL ? sqlite3_errmsg(q->db) : "out of memory";
    int code = q->db != NULL ? sqlite3_extended_errcode(q->db) : SQLITE_NOMEM;

    sb_log(SB_LOG_ERR, "store: sqlite: %s failed: %s (%d)", what, text, code);
    return sb_err_set(err, SB_E_DATABASE, "%s failed: %s", what, text);
}

int
sb_sqlite_end(sb_sqlite_t *q, sqlite3_stmt *st, int rc, const char *what, sb_err_t *err)
{
    int result = rc == SQLITE_DONE || rc == SQLITE_ROW ? SB_OK : sb_sqlite_fail(q, what, err);

    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return result;
}

int
sb_sqlite_run(sb_sqlite_t *q, sqlite3_stmt *st, const char *what, sb_err_t *err)
{
    return st == NULL ? SB_ERROR : sb_sqlite_end(q, st, sqlite3_step(st), what, err);
}

int
sb_sqlite_exec(sb_sqlite_t *q, const char *sql, sb_err_t *err)
{
    return sqlite3_exec(q->db, sql, NULL, NULL, NULL) == SQLITE_OK ? SB_OK : sb_sqlite_fail(q, sql, err);
}

static sb_sqlite_slot_t *
slot_of(sb_sqlite_slot_t *slots, size_t n, uint64_t key)
{
    size_t i = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (n - 1);

    while (slots[i].key != 0 && slots[i].key != key)
        i = (i + 1) & (n - 1);
    return &slots[i];
}

static void
grow(sb_sqlite_t *q)
{
    size_t i, n = q->nslots != 0 ? q->nslots * 2 : 256;
    sb_sqlite_slot_t *slots = sb_calloc(n * sizeof(*slots));

    for (i = 0; i < q->nslots; i++)
        if (q->slots[i].key != 0)
            *slot_of(slots, n, q->slots[i].key) = q->slots[i];
    free(q->slots);
    q->slots = slots;
    q->nslots = n;
}

sqlite3_stmt *
sb_sqlite_stmt(sb_sqlite_t *q, uint64_t key, void (*build)(sb_buf_t *sql, const void *arg), const void *arg, sb_err_t *err)
{
    sb_sqlite_slot_t *slot;
    sb_buf_t sql = {0};

    if (q->used * 2 >= q->nslots)
        grow(q);
    slot = slot_of(q->slots, q->nslots, key);
    if (slot->key == key)
        return slot->stmt;
    build(&sql, arg);
    if (sqlite3_prepare_v3(q->db, sql.data, (int)sql.len, SQLITE_PREPARE_PERSISTENT, &slot->stmt, NULL) == SQLITE_OK) {
        slot->key = key;
        q->used++;
    } else {
        sb_sqlite_fail(q, sql.data, err);
        slot->stmt = NULL;
    }
    sb_buf_free(&sql);
    return slot->stmt;
}

static void
copy_text(sb_buf_t *sql, const void *arg)
{
    sb_buf_adds(sql, arg);
}

sqlite3_stmt *
sb_sqlite_stmt_text(sb_sqlite_t *q, enum sb_sqlite_op op, unsigned variant, const char *sql, sb_err_t *err)
{
    return sb_sqlite_stmt(q, sb_sqlite_key(op, NULL, variant), copy_text, sql, err);
}

/* --- values --- */

void
sb_sqlite_bind_text(sqlite3_stmt *st, int i, const char *text)
{
    if (text == NULL || *text == '\0')
        sqlite3_bind_null(st, i);
    else
        sqlite3_bind_text(st, i, text, -1, SQLITE_TRANSIENT);
}

void
sb_sqlite_bind_json(sqlite3_stmt *st, int i, const json_t *v)
{
    char *text;
    size_t len;

    switch (v != NULL ? json_typeof(v) : JSON_NULL) {
    case JSON_NULL:
        sqlite3_bind_null(st, i);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        sqlite3_bind_int(st, i, json_is_true(v));
        break;
    case JSON_INTEGER:
        sqlite3_bind_int64(st, i, json_integer_value(v));
        break;
    case JSON_REAL:
        sqlite3_bind_double(st, i, json_real_value(v));
        break;
    case JSON_STRING: /* rows outlive the statement's run, so no copy is needed */
        sqlite3_bind_text(st, i, json_string_value(v), (int)json_string_length(v), SQLITE_STATIC);
        break;
    default:
        text = sb_json_dump_len(v, &len);
        sqlite3_bind_text(st, i, text, (int)len, free);
        break;
    }
}

json_t *
sb_sqlite_text(sqlite3_stmt *st, int i)
{
    const char *text = (const char *)sqlite3_column_text(st, i);
    json_t *v = text != NULL ? json_stringn(text, (size_t)sqlite3_column_bytes(st, i)) : NULL;

    return v != NULL ? v : json_null();
}

/* --- connection --- */

static void
close_connection(void *conn)
{
    sb_sqlite_t *q = conn;
    size_t i;

    for (i = 0; i < q->nslots; i++)
        sqlite3_finalize(q->slots[i].stmt);
    free(q->slots);
    free(q->wal_path);
    if (q->wal_fd >= 0)
        close(q->wal_fd);
    if (q->db != NULL && sqlite3_close(q->db) != SQLITE_OK)
        sb_log(SB_LOG_ERR, "store: sqlite: close failed: %s", sqlite3_errmsg(q->db));
    free(q);
}

/* SQLite gives its log and index files the mode of the database file, so that one is made before SQLite sees it. */
static int
make_file(const char *path, sb_err_t *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd >= 0) {
        close(fd);
        return SB_OK;
    }
    sb_log(SB_LOG_ERR, "store: cannot open %s: %s", path, strerror(errno));
    return sb_err_set(err, SB_E_DATABASE, "cannot open %s: %s", path, strerror(errno));
}

static int
on_wal(void *arg, sqlite3 *db, const char *schema, int pages)
{
    sb_sqlite_t *q = arg;

    q->wal_pages = pages;
    return SQLITE_OK;
}

static int
configure(sb_sqlite_t *q, sb_err_t *err)
{
    sqlite3_extended_result_codes(q->db, 1);
    sqlite3_busy_timeout(q->db, BUSY_MS);
    sqlite3_wal_hook(q->db, on_wal, q); /* also switches SQLite's own checkpoints off */
    return sb_sqlite_exec(
        q,
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-65536;"
        "PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=OFF; PRAGMA trusted_schema=OFF; PRAGMA journal_size_limit=67108864;",
        err);
}

static int
open_connection(const sb_store_config_t *cfg, void **conn, sb_err_t *err)
{
    sb_sqlite_t *q = sb_calloc(sizeof(*q));
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int rc = cfg->in_memory ? SB_OK : make_file(cfg->path, err);

    q->persistent = !cfg->in_memory;
    q->wal_path = cfg->in_memory ? NULL : sb_asprintf("%s-wal", cfg->path);
    q->wal_fd = -1;
    if (rc == SB_OK && sqlite3_open_v2(cfg->in_memory ? ":memory:" : cfg->path, &q->db, flags, NULL) != SQLITE_OK)
        rc = sb_sqlite_fail(q, "open", err);
    if (rc == SB_OK)
        rc = configure(q, err);
    if (rc != SB_OK) {
        sb_err_context(err, "%s", cfg->in_memory ? "memory" : cfg->path);
        close_connection(q);
        return rc;
    }
    *conn = q;
    return SB_OK;
}

/* --- transactions --- */

static int
begin(void *conn, sb_err_t *err)
{
    return sb_sqlite_run(conn, sb_sqlite_stmt_text(conn, SB_SQL_BEGIN, 0, "BEGIN IMMEDIATE", err), "begin", err);
}

static void
checkpoint(sb_sqlite_t *q)
{
    int left = 0, moved = 0;
    int rc = sqlite3_wal_checkpoint_v2(q->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &left, &moved);

    if (rc != SQLITE_OK && rc != SQLITE_BUSY)
        sb_log(SB_LOG_WARN, "store: sqlite: checkpoint failed: %s", sqlite3_errmsg(q->db));
    q->wal_pages = 0; /* the next commit tells again */
}

/* The log exists once something was committed, and as long as the connection. Unlike the database file it has no locks that closing
 * another descriptor of it would drop. */
static void
open_wal(sb_sqlite_t *q)
{
    int fd = open(q->wal_path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        sb_log(SB_LOG_ERR, "store: cannot open %s: %s", q->wal_path, strerror(errno));
    __atomic_store_n(&q->wal_fd, fd, __ATOMIC_RELEASE);
}

static int
commit(void *conn, sb_err_t *err)
{
    sb_sqlite_t *q = conn;
    int rc = sb_sqlite_run(q, sb_sqlite_stmt_text(q, SB_SQL_COMMIT, 0, "COMMIT", err), "commit", err);

    if (rc == SB_OK && q->persistent && q->wal_fd < 0)
        open_wal(q);
    if (rc == SB_OK && q->wal_pages > CHECKPOINT_FORCED)
        checkpoint(q);
    return rc;
}

static int
sync_log(void *conn, sb_err_t *err)
{
    sb_sqlite_t *q = conn;

    if (!q->persistent || fdatasync(__atomic_load_n(&q->wal_fd, __ATOMIC_ACQUIRE)) == 0)
        return SB_OK;
    sb_log(SB_LOG_ERR, "store: cannot sync %s: %s", q->wal_path, strerror(errno));
    return sb_err_set(err, SB_E_DATABASE, "cannot sync %s: %s", q->wal_path, strerror(errno));
}

static void
rollback(void *conn)
{
    sb_sqlite_t *q = conn;

    if (!sqlite3_get_autocommit(q->db)) /* else SQLite has undone it by itself, as on a full disk */
        sb_sqlite_exec(q, "ROLLBACK", NULL);
}

/* Savepoint names are their depth; SQL has no parameters there. */
static int
point(sb_sqlite_t *q, enum sb_sqlite_op op, const char *verb, unsigned depth, sb_err_t *err)
{
    char *sql = sb_asprintf("%s s%u", verb, depth);
    int rc = sb_sqlite_run(q, sb_sqlite_stmt_text(q, op, depth, sql, err), verb, err);

    free(sql);
    return rc;
}

static int
savepoint(void *conn, unsigned depth, sb_err_t *err)
{
    return point(conn, SB_SQL_SAVEPOINT, "SAVEPOINT", depth, err);
}

static int
release(void *conn, unsigned depth, sb_err_t *err)
{
    return point(conn, SB_SQL_RELEASE, "RELEASE", depth, err);
}

static int
rollback_to(void *conn, unsigned depth, sb_err_t *err)
{
    int rc = point(conn, SB_SQL_ROLLBACK_TO, "ROLLBACK TO", depth, err);

    return rc == SB_OK ? release(conn, depth, err) : rc;
}

static bool
idle(void *conn, bool quiet)
{
    sb_sqlite_t *q = conn;

    if (q->persistent && q->wal_pages >= (quiet ? CHECKPOINT_QUIET : CHECKPOINT_OVERDUE))
        checkpoint(q);
    return false;
}

const struct sb_store_ops sb_store_sqlite = {
    .name = "sqlite",
    .open = open_connection,
    .close = close_connection,
    .migrate = sb_sqlite_migrate,
    .status = sb_sqlite_status,
    .peek = sb_sqlite_peek,
    .begin = begin,
    .commit = commit,
    .sync = sync_log,
    .rollback = rollback,
    .savepoint = savepoint,
    .release = release,
    .rollback_to = rollback_to,
    .get = sb_sqlite_get,
    .find = sb_sqlite_find,
    .insert = sb_sqlite_insert,
    .update = sb_sqlite_update,
    .remove = sb_sqlite_remove,
    .page = sb_sqlite_page,
    .leading = sb_sqlite_leading,
    .tags = sb_sqlite_tags,
    .log_append = sb_sqlite_log_append,
    .log_read = sb_sqlite_log_read,
    .log_bounds = sb_sqlite_log_bounds,
    .log_prune = sb_sqlite_log_prune,
    .meta_get = sb_sqlite_meta_get,
    .meta_set = sb_sqlite_meta_set,
    .idle = idle,
};
