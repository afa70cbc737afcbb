/*
 * The writer: life of the file, transactions, publishing. Rows and indexes are in put.c.
 *
 * One writer per node (control's store thread; the writer lock is the store's). Transactions nest as LMDB's do: only the innermost is
 * used. What readers watch (event sequence, routing generation) is counted in the level's copy of the meta row, so that a rollback
 * takes it back, written with the commit, and published to the shared atomics afterwards: whoever sees a number finds the rows.
 *
 * A file that cannot be kept (another boot, format, store) is never opened: a fresh one is made, unnamed until its first commit;
 * until then readers go on with what they have. Start at sb_model_writer_open and sb_model_txn_commit.
 */
#include "core/model/writer_int.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK_READERS_S 5

/* ---------- files ---------- */

static bool
file_number(const char *name, unsigned *n)
{
    int end = 0;

    return sscanf(name, "model-%u.mdb%n", n, &end) == 1 && end > 0;
}

static unsigned
next_number(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    unsigned n, max = 0;

    while (d != NULL && (e = readdir(d)) != NULL)
        if (file_number(e->d_name, &n) && n > max)
            max = n;
    if (d != NULL)
        closedir(d);
    return max + 1;
}

/* Removes all models but `keep` ("model-7.mdb"; NULL: all). Processes that still map one keep it until they let go. */
static void
remove_others(const char *dir, const char *keep)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    unsigned n, kept = 0;

    if (keep != NULL)
        file_number(keep, &kept);
    while (d != NULL && (e = readdir(d)) != NULL)
        if (file_number(e->d_name, &n) && n != kept)
            unlinkat(dirfd(d), e->d_name, 0);
    if (d != NULL)
        closedir(d);
}

static int
make_fresh(sb_model_writer_t *w, sb_err_t *err)
{
    char *path = sb_asprintf("%s/model-%u.mdb", w->dir, next_number(w->dir));
    int rc = sb_model_env_acquire(path, true, &w->fresh, err);

    free(path);
    return rc;
}

static void
drop_fresh(sb_model_writer_t *w)
{
    char *path, *lck;

    if (w->fresh == NULL)
        return;
    path = sb_strdup_len(w->fresh->path, strlen(w->fresh->path));
    lck = sb_asprintf("%s-lock", path);
    sb_model_env_release(w->fresh);
    w->fresh = NULL;
    unlink(path);
    unlink(lck);
    free(path);
    free(lck);
}

/* ---------- open and close ---------- */

static uint64_t
later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t
published(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void
publish(sb_model_writer_t *w)
{
    if (w->rt == NULL)
        return;
    __atomic_store_n(&w->rt->routing_gen, w->committed.routing_gen, __ATOMIC_RELEASE);
    __atomic_store_n(&w->rt->event_seq, w->committed.event_seq, __ATOMIC_RELEASE);
}

static int
read_state(sb_model_env_t *e, struct state *out, sb_err_t *err)
{
    MDB_val k = {6, (void *)"0state"}, v;
    MDB_txn *txn;
    int rc = mdb_txn_begin(e->env, NULL, MDB_RDONLY, &txn);

    memset(out, 0, sizeof(*out));
    if (rc != 0)
        return sb_model_fail(err, rc, "begin");
    rc = mdb_get(txn, e->dbi, &k, &v);
    if (rc == 0 && v.mv_size == sizeof(*out))
        memcpy(out, v.mv_data, sizeof(*out));
    mdb_txn_abort(txn);
    return rc == 0 || rc == MDB_NOTFOUND ? SB_OK : sb_model_fail(err, rc, "state");
}

/* Opens the named file when it is of this boot, format and store. Anything else is left alone and replaced later. */
static bool
open_kept(sb_model_writer_t *w)
{
    sb_model_current_t c;
    char *path;
    int rc;

    if (!sb_model_current_read(w->dir, &c) || c.format != SB_MODEL_FORMAT || strcmp(c.boot, w->boot) != 0 || strcmp(c.store, w->store) != 0)
        return false;
    path = sb_asprintf("%s/%s", w->dir, c.file);
    rc = access(path, R_OK | W_OK) == 0 ? sb_model_env_acquire(path, true, &w->cur, NULL) : SB_ERROR;
    free(path);
    if (rc == SB_OK && read_state(w->cur, &w->committed, NULL) == SB_OK)
        return true;
    sb_model_env_release(w->cur);
    w->cur = NULL;
    return false;
}

static void
check_readers(sb_model_writer_t *w)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (w->cur == NULL || (w->checked != 0 && now.tv_sec - w->checked < CHECK_READERS_S))
        return;
    w->checked = now.tv_sec;
    mdb_reader_check(w->cur->env, NULL);
}

/* Readers of what was before must see that something is new: numbers never go back, whatever file they come from. */
static void
continue_numbers(sb_model_writer_t *w)
{
    if (w->rt == NULL)
        return;
    w->committed.event_seq = later(w->committed.event_seq, published(&w->rt->event_seq));
    w->committed.routing_gen = later(w->committed.routing_gen, published(&w->rt->routing_gen));
}

int
sb_model_writer_open(const char *dir, const char *store_id, sb_runtime_t *rt, sb_model_writer_t **out, sb_model_state_t *state,
                     sb_err_t *err)
{
    sb_model_writer_t *w = sb_calloc(sizeof(*w));
    int rc = SB_OK;

    *out = NULL;
    w->magic = WRITER_MAGIC;
    w->dir = sb_strdup_len(dir, strlen(dir));
    w->rt = rt;
    sb_model_boot_id(w->boot);
    snprintf(w->store, sizeof(w->store), "%s", store_id != NULL && *store_id != '\0' ? store_id : "-");
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        rc = sb_err_set(err, SB_E_DATABASE, "read model %s: %s", dir, strerror(errno));
    state->usable = rc == SB_OK && open_kept(w);
    state->record_seq = w->committed.record_seq;
    if (rc == SB_OK && !state->usable) {
        remove_others(dir, NULL);
        rc = make_fresh(w, err);
    }
    if (rc != SB_OK) {
        sb_model_writer_close(w);
        return SB_ERROR;
    }
    if (state->usable) {
        /* A crash between commit and publish is made good here. */
        publish(w);
        check_readers(w);
    }
    continue_numbers(w);
    *out = w;
    return SB_OK;
}

void
sb_model_writer_close(sb_model_writer_t *w)
{
    if (w == NULL)
        return;
    SB_CHECK_MAGIC(w, WRITER_MAGIC);
    if (w->depth > 0)
        sb_model_txn_abort(w);
    drop_fresh(w);
    sb_model_env_release(w->cur);
    w->magic = 0;
    free(w->dir);
    free(w);
}

void
sb_model_on_commit(sb_model_writer_t *w, void (*fn)(void *arg), void *arg)
{
    SB_CHECK_MAGIC(w, WRITER_MAGIC);
    w->on_commit = fn;
    w->on_commit_arg = arg;
}

/* ---------- transactions ---------- */

/* A failed write of LMDB's own meta page leaves the environment unusable until it is opened again. */
static int
reopen(sb_model_writer_t *w, sb_err_t *err)
{
    char *path = sb_strdup_len(w->cur->path, strlen(w->cur->path));
    int rc;

    sb_model_env_release(w->cur);
    rc = sb_model_env_acquire(path, true, &w->cur, err);
    free(path);
    return rc;
}

/* Returns LMDB's code. */
static int
begin_on(sb_model_writer_t *w, sb_model_env_t *e)
{
    struct level *l = &w->level[0];
    int rc;

    SB_ASSERT(w->depth == 0);
    rc = mdb_txn_begin(e->env, NULL, 0, &l->txn);
    if (rc != 0)
        return rc;
    l->state = w->committed;
    l->routing = false;
    w->dbi = e->dbi;
    w->depth = 1;
    return 0;
}

int
sb_model_txn_begin(sb_model_writer_t *w, sb_err_t *err)
{
    int rc;

    SB_CHECK_MAGIC(w, WRITER_MAGIC);
    if (w->cur == NULL && w->fresh == NULL && make_fresh(w, err) != SB_OK)
        return SB_ERROR;
    rc = begin_on(w, w->cur != NULL ? w->cur : w->fresh);
    if (rc == MDB_PANIC && w->cur != NULL) {
        if (reopen(w, err) != SB_OK)
            return SB_ERROR;
        rc = begin_on(w, w->cur);
    }
    return rc == 0 ? SB_OK : sb_model_fail(err, rc, "begin");
}

int
sb_model_rebuild_begin(sb_model_writer_t *w, sb_err_t *err)
{
    int rc;

    SB_CHECK_MAGIC(w, WRITER_MAGIC);
    SB_ASSERT(w->depth == 0);
    if (w->cur != NULL)
        drop_fresh(w);
    if (w->fresh == NULL && make_fresh(w, err) != SB_OK)
        return SB_ERROR;
    rc = begin_on(w, w->fresh);
    if (rc != 0)
        return sb_model_fail(err, rc, "begin");
    w->rebuilding = true;
    memset(&w->level[0].state.default_ws, 0, sizeof(sb_uuid_t));
    w->level[0].state.has_ws = 0;
    w->level[0].state.event_seq++;
    w->level[0].routing = true;
    return SB_OK;
}

int
sb_model_txn_savepoint(sb_model_writer_t *w, sb_err_t *err)
{
    struct level *parent = top(w), *l = &w->level[w->depth];
    int rc;

    if (w->depth == LEVELS)
        return sb_err_set(err, SB_E_DATABASE, "read model: too many nested savepoints");
    rc = mdb_txn_begin(mdb_txn_env(parent->txn), parent->txn, 0, &l->txn);
    if (rc != 0)
        return sb_model_fail(err, rc, "savepoint");
    l->state = parent->state;
    l->routing = parent->routing;
    w->depth++;
    return SB_OK;
}

int
sb_model_txn_release(sb_model_writer_t *w, sb_err_t *err)
{
    struct level *l = top(w);
    int rc;

    SB_ASSERT(w->depth > 1);
    rc = mdb_txn_commit(l->txn);
    w->depth--;
    if (rc != 0)
        return sb_model_fail(err, rc, "release");
    top(w)->state = l->state;
    top(w)->routing = l->routing;
    return SB_OK;
}

void
sb_model_txn_rollback_to(sb_model_writer_t *w)
{
    SB_CHECK_MAGIC(w, WRITER_MAGIC);
    SB_ASSERT(w->depth > 1);
    mdb_txn_abort(top(w)->txn);
    w->depth--;
}

void
sb_model_txn_abort(sb_model_writer_t *w)
{
    SB_CHECK_MAGIC(w, WRITER_MAGIC);
    if (w->depth == 0)
        return;
    /* Aborting the outermost ends the nested ones. */
    mdb_txn_abort(w->level[0].txn);
    w->depth = 0;
    if (w->rebuilding) {
        w->rebuilding = false;
        drop_fresh(w);
    }
}

/* Makes the committed fresh file the model: named first, so that the epoch never points at nothing. */
static int
install_fresh(sb_model_writer_t *w, sb_err_t *err)
{
    sb_model_current_t c = {.format = SB_MODEL_FORMAT};
    const char *name = strrchr(w->fresh->path, '/') + 1;

    snprintf(c.boot, sizeof(c.boot), "%s", w->boot);
    snprintf(c.store, sizeof(c.store), "%s", w->store);
    snprintf(c.file, sizeof(c.file), "%s", name);
    if (sb_model_current_write(w->dir, &c, err) != SB_OK) {
        drop_fresh(w);
        return SB_ERROR;
    }
    remove_others(w->dir, c.file);
    sb_model_env_release(w->cur);
    w->cur = w->fresh;
    w->fresh = NULL;
    if (w->rt != NULL)
        __atomic_fetch_add(&w->rt->model_epoch, 1, __ATOMIC_ACQ_REL);
    return SB_OK;
}

int
sb_model_txn_commit(sb_model_writer_t *w, uint64_t record_seq, sb_err_t *err)
{
    struct level *l = top(w);
    MDB_val k = {6, (void *)"0state"}, v = {sizeof(l->state), &l->state};
    int rc;

    SB_ASSERT(w->depth == 1);
    l->state.record_seq = record_seq;
    l->state.routing_gen += l->routing;
    rc = mdb_put(l->txn, w->dbi, &k, &v, 0);
    if (rc != 0) {
        sb_model_txn_abort(w);
        return sb_model_fail(err, rc, "commit");
    }
    rc = mdb_txn_commit(l->txn);
    w->depth = 0;
    w->rebuilding = false;
    if (rc != 0) {
        drop_fresh(w);
        return sb_model_fail(err, rc, "commit");
    }
    if (w->fresh != NULL && install_fresh(w, err) != SB_OK)
        return SB_ERROR;
    w->committed = l->state;
    publish(w);
    check_readers(w);
    if (w->on_commit != NULL)
        w->on_commit(w->on_commit_arg);
    return SB_OK;
}
