/*
 * Opening LMDB environments, and the file that says which one is the model.
 *
 * The model lives in dir/model-<n>.mdb; a rebuild makes the next number and then renames dir/current over, so that a reader finds
 * either the old or the new one, complete. `current` also carries format, boot id and store id: with NOSYNC a file from before a power
 * cut may be torn, so it must not even be opened, let alone trusted to describe itself.
 *
 * Environments are kept in a list per process, counted; the list's mutex also covers opening. Start at sb_model_env_acquire.
 */
#include "core/model/model_int.h"

#include "core/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sb_model_env_t *envs;

int
sb_model_fail(sb_err_t *err, int rc, const char *what)
{
    return sb_err_set(err, SB_E_DATABASE, "read model: %s: %s%s", what, mdb_strerror(rc),
                      rc == MDB_MAP_FULL ? " (the limit of address space, ulimit -v, leaves no room for it)" : "");
}

/* The map is address space, not memory or disk: as large as the system lets us, which is 64 GiB unless someone limited it.
 * (Under valgrind it is EINVAL that says so.) */
static int
open_with_map(sb_model_env_t *e, sb_err_t *err)
{
    static const size_t mib[] = {65536, 16384, 4096, 1024, 256};
    unsigned flags = MDB_NOSUBDIR | MDB_NOSYNC | MDB_NOTLS | MDB_NORDAHEAD | (e->writable ? 0 : MDB_RDONLY);
    int rc = ENOMEM;

    for (size_t i = 0; i < sizeof(mib) / sizeof(mib[0]) && (rc == ENOMEM || rc == EINVAL); i++) {
        rc = mdb_env_create(&e->env);
        if (rc != 0)
            break;
        mdb_env_set_mapsize(e->env, mib[i] << 20);
        mdb_env_set_maxreaders(e->env, MODEL_READERS);
        rc = mdb_env_open(e->env, e->path, flags, 0600);
        if (rc != 0) {
            mdb_env_close(e->env);
            e->env = NULL;
        } else if (i > 0) {
            sb_log(SB_LOG_WARN, "read model: address space is limited, it can grow to %zu MiB only", mib[i]);
        }
    }
    return rc == 0 ? SB_OK : sb_model_fail(err, rc, e->path);
}

static int
open_tree(sb_model_env_t *e, sb_err_t *err)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(e->env, NULL, e->writable ? 0 : MDB_RDONLY, &txn);

    if (rc == MDB_READERS_FULL) {
        mdb_reader_check(e->env, NULL);
        rc = mdb_txn_begin(e->env, NULL, e->writable ? 0 : MDB_RDONLY, &txn);
    }
    if (rc != 0)
        return sb_model_fail(err, rc, "begin");
    rc = mdb_dbi_open(txn, NULL, 0, &e->dbi);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return sb_model_fail(err, rc, "open");
    }
    rc = mdb_txn_commit(txn);
    return rc == 0 ? SB_OK : sb_model_fail(err, rc, "open");
}

static void
env_free(sb_model_env_t *e)
{
    if (e->env != NULL)
        mdb_env_close(e->env);
    free(e->path);
    free(e);
}

static sb_model_env_t *
find_open(const char *path)
{
    /* What a parent opened before fork is not ours: its locks are the parent's. */
    for (sb_model_env_t *e = envs; e != NULL; e = e->next)
        if (e->pid == getpid() && strcmp(e->path, path) == 0)
            return e;
    return NULL;
}

static int
open_new(const char *path, bool writable, sb_model_env_t **out, sb_err_t *err)
{
    sb_model_env_t *e = sb_calloc(sizeof(*e));

    e->path = sb_strdup_len(path, strlen(path));
    e->writable = writable;
    e->pid = getpid();
    e->refs = 1;
    if (open_with_map(e, err) != SB_OK || open_tree(e, err) != SB_OK) {
        env_free(e);
        return SB_ERROR;
    }
    e->next = envs;
    envs = e;
    *out = e;
    return SB_OK;
}

int
sb_model_env_acquire(const char *path, bool writable, sb_model_env_t **out, sb_err_t *err)
{
    sb_model_env_t *e;
    int rc = SB_OK;

    *out = NULL;
    pthread_mutex_lock(&lock);
    e = find_open(path);
    if (e == NULL) {
        rc = open_new(path, writable, out, err);
    } else if (writable && !e->writable) {
        rc = sb_err_set(err, SB_E_DATABASE, "read model: %s is open for reading in this process", path);
    } else {
        e->refs++;
        *out = e;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

void
sb_model_env_release(sb_model_env_t *e)
{
    sb_model_env_t **p = &envs;

    if (e == NULL)
        return;
    pthread_mutex_lock(&lock);
    if (--e->refs == 0) {
        while (*p != e)
            p = &(*p)->next;
        *p = e->next;
        env_free(e);
    }
    pthread_mutex_unlock(&lock);
}

void
sb_model_boot_id(char out[40])
{
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

    if (f == NULL || fscanf(f, "%39s", out) != 1)
        strcpy(out, "unknown");
    if (f != NULL)
        fclose(f);
}

bool
sb_model_current_read(const char *dir, sb_model_current_t *out)
{
    char *path = sb_asprintf("%s/current", dir);
    FILE *f = fopen(path, "re");
    bool ok = false;

    memset(out, 0, sizeof(*out));
    if (f != NULL) {
        ok = fscanf(f, "%u %39s %79s %47s", &out->format, out->boot, out->store, out->file) == 4 && strchr(out->file, '/') == NULL;
        fclose(f);
    }
    free(path);
    return ok;
}

int
sb_model_current_write(const char *dir, const sb_model_current_t *c, sb_err_t *err)
{
    char *path = sb_asprintf("%s/current", dir);
    char *tmp = sb_asprintf("%s/current.new", dir);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && dprintf(fd, "%u %s %s %s\n", c->format, c->boot, c->store, c->file) > 0;
    int rc = SB_OK;

    if (fd >= 0 && close(fd) != 0)
        ok = false;
    if (!ok || rename(tmp, path) != 0)
        rc = sb_err_set(err, SB_E_DATABASE, "read model: %s: %s", path, strerror(errno));
    free(path);
    free(tmp);
    return rc;
}
