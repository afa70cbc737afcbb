/*
 * The store's handle: opening, transactions, sequence numbers, and the one place where a row is written (sb_store_write).
 *
 * A write draws the next sequence number and, in one transaction, changes the row (row_version = sequence), appends the change log
 * and feeds the read model's transaction. The writer lock makes us the only writer, so that sequence order is commit order; a rollback
 * gives the numbers back, so that there are no gaps. Commit order: database first, then the read model, which publishes events.
 * When the read model fails behind a commit it is brought up from the change log before the next transaction. The disk is waited for
 * in between (sb_store_commit), or afterwards and elsewhere (sb_store_commit_later, sb_store_sync).
 *
 * Savepoints nest in the database and in the read model alike; the read model's transaction is opened by the first write
 * only, hence the two depths. After a database error inside a transaction (`broken`) nothing but undoing is accepted: a half-applied
 * write can never be committed.
 *
 * Start at sb_store_open() and sb_store_write(). The read model's side is in feed.c.
 */
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/store/feed_int.h"
#include "core/store/store_int.h"

#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <errno.h>

static int
prepare_folder(const sb_store_config_t *cfg, int *lock_fd, sb_err_t *err)
{
    char *copy, *dir;
    int rc;

    if (cfg->in_memory)
        return SB_OK;
    copy = sb_asprintf("%s", cfg->path);
    dir = dirname(copy);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        int e = errno;

        sb_log(SB_LOG_ERR, "store: cannot create %s: %s", dir, strerror(e));
        rc = sb_err_set(err, SB_E_DATABASE, "cannot create %s: %s", dir, strerror(e));
    } else {
        rc = sb_store_lock(dir, lock_fd, err);
    }
    free(copy);
    return rc;
}

/* The store's identity and the default workspace exist from the first migration on. */
static int
ensure_identity(sb_store_t *s, sb_err_t *err)
{
    char *id = NULL;
    int rc = s->ops->meta_get(s->conn, "store_id", &id, err);

    if (rc != SB_OK)
        return rc;
    if (id != NULL && strlen(id) == SB_UUID_TEXT) {
        memcpy(s->id, id, sizeof(s->id));
    } else {
        sb_uuid_v4(s->id);
        rc = s->ops->meta_set(s->conn, "store_id", s->id, err);
    }
    free(id);
    return rc;
}

static int
ensure_default_workspace(sb_store_t *s, sb_err_t *err)
{
    const sb_table_t *t = sb_tables_find(s->tables, "workspaces");
    sb_record_t rec = {0};
    json_t *input, *row = NULL;
    int rc;

    SB_ASSERT(t != NULL);
    rc = sb_dao_lookup(s, t, "default", "name", NULL, &rec, err);
    if (rc == SB_DECLINED) {
        sb_err_clear(err);
        input = json_pack("{s:s}", "name", "default");
        rc = sb_dao_insert(s, t->e, input, NULL, &row, err);
        json_decref(input);
    } else if (rc == SB_OK) {
        row = rec.row;
    }
    if (rc == SB_OK)
        snprintf(s->default_ws, sizeof(s->default_ws), "%s", sb_json_string(row, "id"));
    sb_store_use_workspace(s, NULL);
    json_decref(row);
    return rc;
}

int
sb_store_migrate(sb_store_t *s, sb_err_t *err)
{
    int rc;

    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    SB_ASSERT(s->depth < 0);
    rc = s->ops->migrate(s->conn, s->tables, err);
    if (rc == SB_OK)
        rc = s->ops->log_bounds(s->conn, &s->log_first, &s->seq, err);
    s->committed_seq = s->seq;
    if (rc != SB_OK || (rc = sb_store_begin(s, err)) != SB_OK)
        return rc;
    rc = ensure_identity(s, err);
    if (rc == SB_OK)
        rc = ensure_default_workspace(s, err);
    if (rc == SB_OK)
        return sb_store_commit(s, err);
    sb_store_rollback(s);
    return rc;
}

int
sb_store_open(const struct sb_store_ops *ops, const sb_store_config_t *cfg, sb_store_t **out, sb_err_t *err)
{
    sb_store_t *s = sb_calloc(sizeof(*s));
    int rc;

    s->magic = SB_STORE_MAGIC;
    s->ops = ops;
    s->hooks = cfg->hooks;
    s->lock_fd = -1;
    s->depth = -1;
    s->tables = sb_tables_make(&cfg->hooks);
    s->changed = sb_calloc(sb_tables_count(s->tables) * sizeof(*s->changed));
    rc = prepare_folder(cfg, &s->lock_fd, err);
    if (rc == SB_OK)
        rc = ops->open(cfg, &s->conn, err);
    if (rc == SB_OK)
        rc = sb_store_migrate(s, err);
    if (rc != SB_OK) {
        sb_store_close(s);
        return rc;
    }
    *out = s;
    return SB_OK;
}

void
sb_store_close(sb_store_t *s)
{
    if (s == NULL)
        return;
    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    if (s->depth >= 0)
        sb_store_rollback(s);
    if (s->conn != NULL)
        s->ops->close(s->conn);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    sb_tables_free(s->tables);
    free(s->actor);
    free(s->changed);
    s->magic = 0;
    free(s);
}

json_t *
sb_store_migration_status(sb_store_t *s)
{
    json_t *status = NULL;

    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    return s->ops->status(s->conn, &status, NULL) == SB_OK ? status : NULL;
}

int
sb_store_peek(const struct sb_store_ops *ops, const char *path, json_t **out, sb_err_t *err)
{
    return ops->peek(path, out, err);
}

int
sb_store_destroy(const char *path, sb_err_t *err)
{
    static const char *const parts[] = {"-wal", "-shm", ""}; /* the file itself last: without it the others mean nothing */
    sb_store_config_t cfg = {.path = path};
    int fd = -1, rc = prepare_folder(&cfg, &fd, err);

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && rc == SB_OK; i++) {
        char *file = sb_asprintf("%s%s", path, parts[i]);
        if (unlink(file) != 0 && errno != ENOENT)
            rc = sb_err_set(err, SB_E_DATABASE, "cannot remove %s: %s", file, strerror(errno));
        free(file);
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

uint64_t
sb_store_seq(sb_store_t *s)
{
    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    return s->committed_seq;
}

const char *
sb_store_id(sb_store_t *s)
{
    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    return s->id;
}

const char *
sb_store_default_workspace(sb_store_t *s)
{
    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    return s->default_ws;
}

void
sb_store_use_workspace(sb_store_t *s, const char *ws)
{
    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    snprintf(s->ws, sizeof(s->ws), "%s", ws != NULL ? ws : s->default_ws);
}

void
sb_store_set_actor(sb_store_t *s, const char *actor)
{
    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    free(s->actor);
    s->actor = actor != NULL ? sb_asprintf("%s", actor) : NULL;
}

/* --- transactions --- */

int
sb_store_begin(sb_store_t *s, sb_err_t *err)
{
    int rc;

    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    SB_ASSERT(s->depth < 0);
    if (__atomic_load_n(&s->lost, __ATOMIC_ACQUIRE))
        return sb_err_set(err, SB_E_DATABASE, "the disk failed to keep an earlier change: restart the node once it is mended");
    /* A read model that missed a commit catches up first, so that its order of events stays the record's. */
    if ((rc = sb_feed_catch_up(s, err)) != SB_OK || (rc = s->ops->begin(s->conn, err)) != SB_OK)
        return rc;
    s->depth = 0;
    s->broken = false;
    s->seq = s->committed_seq;
    return SB_OK;
}

int
sb_store_savepoint(sb_store_t *s, sb_err_t *err)
{
    int rc;

    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    SB_ASSERT(s->depth >= 0 && s->depth < SB_STORE_DEPTH);
    if (s->broken)
        return sb_err_set(err, SB_E_DATABASE, "the transaction has failed before");
    rc = s->ops->savepoint(s->conn, (unsigned)s->depth + 1, err);
    if (rc != SB_OK) {
        s->broken = true;
        return rc;
    }
    s->depth++;
    s->seq_at[s->depth] = s->seq;
    return SB_OK;
}

int
sb_store_release(sb_store_t *s, sb_err_t *err)
{
    int rc;

    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    SB_ASSERT(s->depth > 0);
    if (s->broken)
        return sb_err_set(err, SB_E_DATABASE, "the transaction has failed before");
    rc = s->ops->release(s->conn, (unsigned)s->depth, err);
    if (rc == SB_OK)
        rc = sb_feed_release(s, err);
    if (rc == SB_OK)
        s->depth--;
    else
        s->broken = true;
    return rc;
}

int
sb_store_rollback_to(sb_store_t *s, sb_err_t *err)
{
    int rc;

    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    SB_ASSERT(s->depth > 0);
    sb_feed_rollback_to(s);
    rc = s->ops->rollback_to(s->conn, (unsigned)s->depth, err);
    s->broken = rc != SB_OK;
    s->seq = s->seq_at[s->depth];
    s->depth--;
    return rc;
}

void
sb_store_rollback(sb_store_t *s)
{
    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    SB_ASSERT(s->depth >= 0);
    sb_feed_abort(s);
    s->ops->rollback(s->conn);
    s->depth = -1;
    s->broken = false;
    s->seq = s->committed_seq;
}

static int
commit_record(sb_store_t *s, sb_err_t *err)
{
    int rc;

    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    SB_ASSERT(s->depth == 0);
    if (s->broken) {
        sb_store_rollback(s);
        return sb_err_set(err, SB_E_DATABASE, "the transaction has failed before; nothing was applied");
    }
    rc = s->ops->commit(s->conn, err);
    if (rc != SB_OK) {
        sb_store_rollback(s);
        return rc;
    }
    s->depth = -1;
    if (s->seq != s->committed_seq)
        s->commits++;
    s->committed_seq = s->seq;
    if (s->log_first == 0 && s->seq != 0)
        s->log_first = 1;
    return SB_OK;
}

int
sb_store_sync(sb_store_t *s, sb_err_t *err)
{
    int rc;

    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    rc = s->ops->sync(s->conn, err);
    if (rc != SB_OK)
        __atomic_store_n(&s->lost, true, __ATOMIC_RELEASE);
    return rc;
}

int
sb_store_commit_later(sb_store_t *s, sb_err_t *err)
{
    int rc = commit_record(s, err);

    return rc == SB_OK ? sb_feed_commit(s, err) : rc;
}

int
sb_store_commit(sb_store_t *s, sb_err_t *err)
{
    int rc = commit_record(s, err);

    if (rc == SB_OK)
        rc = sb_store_sync(s, err);
    return rc == SB_OK ? sb_feed_commit(s, err) : rc;
}

/* --- the one write --- */

static int
write_row(sb_store_t *s, const sb_table_t *t, const sb_record_t *rec, const json_t *old, sb_err_t *err)
{
    char *key = NULL;
    int rc;

    if (rec->row == NULL)
        return s->ops->remove(s->conn, t, old, err);
    if (t->cache_key)
        key = sb_table_cache_key(t, rec->row, rec->ws);
    rc = old == NULL ? s->ops->insert(s->conn, t, rec, key, err) : s->ops->update(s->conn, t, rec, old, key, err);
    free(key);
    return rc;
}

static int
write_log(sb_store_t *s, const sb_table_t *t, const sb_record_t *rec, const json_t *old, sb_err_t *err)
{
    json_t *key = sb_table_key(t, rec->row != NULL ? rec->row : old);
    char *id = sb_table_key_text(t, key);
    sb_change_t c = {.seq = rec->version, .entity = t->e->name, .id = id, .actor = s->actor, .row = rec->row, .old = old};
    struct timespec now;
    int rc;

    clock_gettime(CLOCK_REALTIME, &now);
    c.time = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    c.op = rec->row == NULL ? "delete" : old == NULL ? "create" : "update";
    c.ws = rec->ws[0] != '\0' ? rec->ws : NULL;
    rc = s->ops->log_append(s->conn, &c, err);
    free(id);
    json_decref(key);
    return rc;
}

int
sb_store_write(sb_store_t *s, const sb_table_t *t, const char *ws, const json_t *row, const json_t *old, sb_err_t *err)
{
    sb_record_t rec = {.row = (json_t *)row, .version = s->seq + 1};
    int rc;

    SB_ASSERT(s->depth >= 0 && (row != NULL || old != NULL));
    if (s->broken)
        return sb_err_set(err, SB_E_DATABASE, "the transaction has failed before");
    s->written++;
    s->changed[t->index] = rec.version;
    if (t->e->workspaceable && ws != NULL)
        snprintf(rec.ws, sizeof(rec.ws), "%s", ws);
    rc = write_row(s, t, &rec, old, err);
    if (rc == SB_OK)
        rc = write_log(s, t, &rec, old, err);
    if (rc == SB_OK)
        rc = sb_feed_put(s, t, &rec, old, err);
    if (rc == SB_OK)
        s->seq++;
    else
        s->broken = true;
    return rc == SB_OK ? SB_OK : SB_ERROR;
}

int
sb_store_event(sb_store_t *s, const json_t *event, sb_err_t *err)
{
    bool own;
    int rc;

    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    own = s->depth < 0;
    if (own && (rc = sb_store_begin(s, err)) != SB_OK)
        return rc;
    if (s->broken)
        return sb_err_set(err, SB_E_DATABASE, "the transaction has failed before");
    s->written++;
    rc = sb_feed_event(s, event, err);
    if (rc != SB_OK)
        s->broken = true;
    if (!own)
        return rc;
    if (rc == SB_OK)
        return sb_store_commit(s, err);
    sb_store_rollback(s);
    return rc;
}

int
sb_store_changes(sb_store_t *s, uint64_t from, int (*fn)(uint64_t seq, const json_t *change, void *arg), void *arg, sb_err_t *err)
{
    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    return s->ops->log_read(s->conn, from, 0, fn, arg, err);
}

uint64_t
sb_store_changed(sb_store_t *s, const sb_entity_t *e)
{
    const sb_table_t *t;

    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    t = sb_tables_find(s->tables, e->name);
    return t != NULL ? s->changed[t->index] : 0;
}

/* Old changes go in slices, so that no single turn is long. */
static bool
prune(sb_store_t *s, bool quiet)
{
    uint64_t bound = quiet ? SB_STORE_CHANGES_KEEP + SB_STORE_PRUNE_SLICE : 4 * SB_STORE_CHANGES_KEEP, last;

    if (s->log_first == 0 || s->committed_seq - s->log_first < bound)
        return false;
    last = s->log_first + SB_STORE_PRUNE_SLICE - 1;
    if (s->ops->log_prune(s->conn, last, NULL) != SB_OK)
        return false;
    s->log_first = last + 1;
    return true;
}

bool
sb_store_idle(sb_store_t *s, bool quiet)
{
    bool more;

    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    SB_ASSERT(s->depth < 0);
    more = prune(s, quiet);
    return s->ops->idle(s->conn, quiet) || more;
}
