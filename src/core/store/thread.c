/*
 * The store thread: the one that writes. Callers put jobs into a queue and get them back through done(); nothing here waits for a
 * caller, and no caller waits here for a disk.
 *
 * Group commit: the thread takes all jobs that have queued up, runs them in order inside one transaction, a savepoint around each
 * write so that one that is declined takes nothing else along, and commits once. A batch of one write needs no savepoint. Reads in front of
 * the first write are answered at once; a read behind a write may have seen it, so it is answered with the commit, and fails with it.
 *
 * Locking: `lock` guards queue and `stop`; jobs run without it. The store belongs to the thread from start to stop. Stopping finishes
 * what was queued; a job that comes later is handed back at once as failed.
 */
#include "core/base/log.h"
#include "core/store/store_int.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define QUIET_MS  200 /* without a job before housekeeping */
#define BATCH_MAX 256 /* jobs that share a commit: bounds how long the first one waits */

struct sb_store_thread {
    uint32_t magic;
    sb_store_t *store;
    pthread_t id;
    pthread_mutex_t lock;
    pthread_cond_t more;
    sb_job_t *first, **last;
    bool stop;
};

typedef struct batch {
    sb_job_t *jobs[BATCH_MAX];
    bool kept[BATCH_MAX]; /* waits for the commit */
    size_t n, writes;
    bool open; /* a transaction is */
    bool dead; /* it cannot go on */
} batch_t;

static void
fill(sb_store_thread_t *t, batch_t *b)
{
    b->n = b->writes = 0;
    b->open = b->dead = false;
    while (t->first != NULL && b->n < BATCH_MAX) {
        sb_job_t *job = t->first;

        t->first = job->next;
        if (t->first == NULL)
            t->last = &t->first;
        job->next = NULL;
        b->kept[b->n] = false;
        b->writes += job->writes;
        b->jobs[b->n++] = job;
    }
}

/* Waits for a job, for a stop, or until it has been quiet for a while (true). Holds the lock. */
static bool
wait_quiet(sb_store_thread_t *t)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += QUIET_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    while (t->first == NULL && !t->stop)
        if (pthread_cond_timedwait(&t->more, &t->lock, &until) == ETIMEDOUT)
            return t->first == NULL && !t->stop;
    return false;
}

/* Waits for work; uses the time when there is none. false: stopped and empty. */
static bool
next_batch(sb_store_thread_t *t, batch_t *b)
{
    bool to_do = true;

    pthread_mutex_lock(&t->lock);
    while (t->first == NULL && !t->stop) {
        if (!to_do) {
            pthread_cond_wait(&t->more, &t->lock);
        } else if (wait_quiet(t)) {
            do { /* slice by slice, as long as nobody wants anything */
                pthread_mutex_unlock(&t->lock);
                to_do = sb_store_idle(t->store, true);
                pthread_mutex_lock(&t->lock);
            } while (to_do && t->first == NULL && !t->stop);
        }
    }
    fill(t, b);
    pthread_mutex_unlock(&t->lock);
    return b->n != 0;
}

static void
log_error(const char *what, sb_err_t *err)
{
    sb_log(SB_LOG_ERR, "store: %s: %s", what, err->message != NULL ? err->message : "failed");
    sb_err_clear(err);
}

/* true: the job's writes are in the transaction. */
static bool
run_write(sb_store_t *s, batch_t *b, sb_job_t *job)
{
    bool alone = b->writes == 1;
    sb_err_t err = {0};
    int rc;

    if (!b->open) {
        if (sb_store_begin(s, &err) != SB_OK) {
            log_error("cannot begin", &err);
            b->dead = true;
            return false;
        }
        b->open = true;
    }
    if (!alone && sb_store_savepoint(s, &err) != SB_OK) {
        log_error("savepoint", &err);
        b->dead = true;
        return false;
    }
    rc = job->run(s, job);
    if (!alone && rc == SB_OK)
        rc = sb_store_release(s, &err);
    if (rc == SB_OK)
        return true;
    if (alone) {
        sb_store_rollback(s);
        b->open = false;
    } else if (sb_store_rollback_to(s, &err) != SB_OK) {
        b->dead = true;
    }
    if (err.code != 0)
        log_error("savepoint", &err);
    return false;
}

static void
run_job(sb_store_t *s, batch_t *b, size_t i)
{
    sb_job_t *job = b->jobs[i];

    if (b->dead) {
        b->kept[i] = true; /* fails with the batch */
    } else if (job->writes) {
        b->kept[i] = run_write(s, b, job);
        if (!b->kept[i] && !b->dead)
            job->done(job, false);
        else
            b->kept[i] = true;
    } else {
        job->run(s, job);
        b->kept[i] = b->open;
        if (!b->kept[i])
            job->done(job, true);
    }
}

static void
run_batch(sb_store_t *s, batch_t *b)
{
    sb_err_t err = {0};
    bool committed = false;
    size_t i;

    for (i = 0; i < b->n; i++)
        run_job(s, b, i);
    if (b->open && b->dead)
        sb_store_rollback(s);
    else if (b->open && !(committed = sb_store_commit(s, &err) == SB_OK))
        log_error("commit", &err);
    for (i = 0; i < b->n; i++)
        if (b->kept[i])
            b->jobs[i]->done(b->jobs[i], committed);
}

static void *
thread_main(void *arg)
{
    sb_store_thread_t *t = arg;
    batch_t *b = sb_malloc(sizeof(*b));

    while (next_batch(t, b)) {
        run_batch(t->store, b);
        sb_store_idle(t->store, false);
    }
    free(b);
    sb_store_close(t->store);
    return NULL;
}

#define THREAD_MAGIC 0x53425448u

int
sb_store_thread_start(sb_store_t *s, sb_store_thread_t **out, sb_err_t *err)
{
    sb_store_thread_t *t = sb_calloc(sizeof(*t));
    pthread_condattr_t clock;

    t->magic = THREAD_MAGIC;
    t->store = s;
    t->last = &t->first;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&t->more, &clock);
    pthread_condattr_destroy(&clock);
    if (pthread_create(&t->id, NULL, thread_main, t) != 0) {
        pthread_cond_destroy(&t->more);
        pthread_mutex_destroy(&t->lock);
        free(t);
        return sb_err_set(err, SB_E_DATABASE, "the store thread cannot be started");
    }
    *out = t;
    return SB_OK;
}

void
sb_store_thread_submit(sb_store_thread_t *t, sb_job_t *job)
{
    bool refused;

    SB_CHECK_MAGIC(t, THREAD_MAGIC);
    job->next = NULL;
    pthread_mutex_lock(&t->lock);
    refused = t->stop;
    if (!refused) {
        *t->last = job;
        t->last = &job->next;
        pthread_cond_signal(&t->more);
    }
    pthread_mutex_unlock(&t->lock);
    if (refused)
        job->done(job, false);
}

void
sb_store_thread_stop(sb_store_thread_t *t)
{
    if (t == NULL)
        return;
    SB_CHECK_MAGIC(t, THREAD_MAGIC);
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_signal(&t->more);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->id, NULL);
    pthread_cond_destroy(&t->more);
    pthread_mutex_destroy(&t->lock);
    t->magic = 0;
    free(t);
}
