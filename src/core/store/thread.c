/*
 * The store thread: the one that writes. Callers put jobs into a queue and get them back through done(); nothing here waits for a
 * caller, and no caller waits here for a disk.
 *
 * Group commit: the thread takes all jobs that have queued up, runs them in order inside one transaction, and commits once. A write
 * that is declined takes nothing else along: as a rule it has written nothing yet; has it, the transaction is undone and run once
 * more with a savepoint around each write, which would cost all writes if it were always so. A second thread
 * waits for the disk and then hands the jobs back, while the first one runs the next batch. So workers may serve a change some
 * hundred microseconds before it is durable; who asked for it is told afterwards. After a power failure the read model is built anew from
 * the record, which then has neither more nor less than what is durable.
 *
 * Reads are answered at once while nothing waits for the disk; others may have seen a write that does, so they wait and fail with it.
 *
 * Locking: `lock` guards queue and `stop`, `settle_lock` what waits for the disk; jobs run without them. The store belongs to the store
 * thread from start to stop, but for sb_store_sync(). Stopping finishes what was queued; a job that comes later is handed back at once as
 * failed.
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
    pthread_t settle_id;
    pthread_mutex_t settle_lock;
    pthread_cond_t settle_more;
    sb_job_t *settling, **settling_last; /* committed, not durable yet */
    bool syncing, settle_stop;
};

typedef struct batch {
    sb_job_t *jobs[BATCH_MAX];
    bool answered[BATCH_MAX]; /* the others wait for the commit */
    size_t n, writes;
    bool open;    /* a transaction is */
    bool dead;    /* it cannot go on */
    bool careful; /* with savepoints */
    bool again;   /* what was undone can only be undone with the whole transaction */
} batch_t;

static void
fill(sb_store_thread_t *t, batch_t *b)
{
    b->n = b->writes = 0;
    b->open = b->dead = b->careful = b->again = false;
    while (t->first != NULL && b->n < BATCH_MAX) {
        sb_job_t *job = t->first;

        t->first = job->next;
        if (t->first == NULL)
            t->last = &t->first;
        job->next = NULL;
        b->answered[b->n] = false;
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

/* ---- durable, then answered ---- */

static void
log_error(const char *what, sb_err_t *err)
{
    sb_log(SB_LOG_ERR, "store: %s: %s", what, err->message != NULL ? err->message : "failed");
    sb_err_clear(err);
}

/* Waits for jobs; takes all there are. NULL: stopped and empty. */
static sb_job_t *
take_settling(sb_store_thread_t *t)
{
    sb_job_t *jobs;

    pthread_mutex_lock(&t->settle_lock);
    t->syncing = false;
    while (t->settling == NULL && !t->settle_stop)
        pthread_cond_wait(&t->settle_more, &t->settle_lock);
    jobs = t->settling;
    t->settling = NULL;
    t->settling_last = &t->settling;
    t->syncing = jobs != NULL;
    pthread_mutex_unlock(&t->settle_lock);
    return jobs;
}

static void *
settle_main(void *arg)
{
    sb_store_thread_t *t = arg;
    sb_job_t *job, *next;
    sb_err_t err = {0};
    bool durable;

    while ((job = take_settling(t)) != NULL) {
        durable = sb_store_sync(t->store, &err) == SB_OK;
        if (!durable)
            log_error("sync", &err);
        for (; job != NULL; job = next) {
            next = job->next;
            job->next = NULL;
            job->done(job, durable);
        }
    }
    return NULL;
}

static bool
is_settling(sb_store_thread_t *t)
{
    bool is;

    pthread_mutex_lock(&t->settle_lock);
    is = t->settling != NULL || t->syncing;
    pthread_mutex_unlock(&t->settle_lock);
    return is;
}

static void
settle(sb_store_thread_t *t, const batch_t *b)
{
    pthread_mutex_lock(&t->settle_lock);
    for (size_t i = 0; i < b->n; i++) {
        if (b->answered[i])
            continue;
        *t->settling_last = b->jobs[i];
        t->settling_last = &b->jobs[i]->next;
    }
    if (t->settling != NULL)
        pthread_cond_signal(&t->settle_more);
    pthread_mutex_unlock(&t->settle_lock);
}

/* Hands back what is left first. */
static void
end_settling(sb_store_thread_t *t)
{
    pthread_mutex_lock(&t->settle_lock);
    t->settle_stop = true;
    pthread_cond_signal(&t->settle_more);
    pthread_mutex_unlock(&t->settle_lock);
    pthread_join(t->settle_id, NULL);
}

/* ---- running ---- */

static bool
open_transaction(sb_store_t *s, batch_t *b)
{
    sb_err_t err = {0};

    if (b->open)
        return true;
    if (sb_store_begin(s, &err) != SB_OK) {
        log_error("cannot begin", &err);
        b->dead = true;
        return false;
    }
    b->open = true;
    return true;
}

/* true: the job's writes are in the transaction. A job that declined without having written anything left nothing to undo. */
static bool
run_freely(sb_store_t *s, batch_t *b, sb_job_t *job)
{
    uint64_t written = s->written;

    if (job->run(s, job) == SB_OK && !s->broken)
        return true;
    if (s->written == written && !s->broken)
        return false;
    sb_store_rollback(s);
    b->open = false;
    b->again = b->writes > 1;
    return false;
}

static bool
run_carefully(sb_store_t *s, batch_t *b, sb_job_t *job)
{
    sb_err_t err = {0};
    int rc;

    if (sb_store_savepoint(s, &err) != SB_OK) {
        log_error("savepoint", &err);
        b->dead = true;
        return false;
    }
    rc = job->run(s, job);
    if (rc == SB_OK)
        rc = sb_store_release(s, &err);
    if (rc == SB_OK)
        return true;
    if (sb_store_rollback_to(s, &err) != SB_OK)
        b->dead = true;
    if (err.code != 0)
        log_error("savepoint", &err);
    return false;
}

static void
answer(batch_t *b, size_t i, bool committed)
{
    b->answered[i] = true;
    b->jobs[i]->done(b->jobs[i], committed);
}

static void
run_job(sb_store_thread_t *t, batch_t *b, size_t i)
{
    sb_job_t *job = b->jobs[i];

    if (b->dead && (job->writes || b->open)) /* fails with the batch */
        return;
    if (!job->writes) {
        job->run(t->store, job);
        if (!b->open && !is_settling(t))
            answer(b, i, true);
    } else if (open_transaction(t->store, b) && !(b->careful ? run_carefully : run_freely)(t->store, b, job)) {
        if (!b->dead && !b->again)
            answer(b, i, false);
    }
}

static void
run_jobs(sb_store_thread_t *t, batch_t *b)
{
    for (size_t i = 0; i < b->n && !b->again; i++)
        if (!b->answered[i])
            run_job(t, b, i);
}

static void
run_batch(sb_store_thread_t *t, batch_t *b)
{
    sb_err_t err = {0};
    bool failed = false;

    run_jobs(t, b);
    if (b->again) {
        b->again = false;
        b->careful = true;
        run_jobs(t, b);
    }
    if (b->dead) {
        failed = true;
        if (b->open)
            sb_store_rollback(t->store);
    } else if (b->open && sb_store_commit_later(t->store, &err) != SB_OK) {
        failed = true;
        log_error("commit", &err);
    }
    if (!failed) {
        settle(t, b);
        return;
    }
    for (size_t i = 0; i < b->n; i++)
        if (!b->answered[i])
            answer(b, i, false);
}

static void *
thread_main(void *arg)
{
    sb_store_thread_t *t = arg;
    batch_t *b = sb_malloc(sizeof(*b));

    while (next_batch(t, b)) {
        run_batch(t, b);
        sb_store_idle(t->store, false);
    }
    free(b);
    end_settling(t);
    sb_store_close(t->store);
    return NULL;
}

#define THREAD_MAGIC 0x53425448u

static void
thread_free(sb_store_thread_t *t)
{
    pthread_cond_destroy(&t->more);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->settle_more);
    pthread_mutex_destroy(&t->settle_lock);
    t->magic = 0;
    free(t);
}

static bool
start_both(sb_store_thread_t *t)
{
    if (pthread_create(&t->settle_id, NULL, settle_main, t) != 0)
        return false;
    if (pthread_create(&t->id, NULL, thread_main, t) == 0)
        return true;
    end_settling(t);
    return false;
}

int
sb_store_thread_start(sb_store_t *s, sb_store_thread_t **out, sb_err_t *err)
{
    sb_store_thread_t *t = sb_calloc(sizeof(*t));
    pthread_condattr_t clock;

    t->magic = THREAD_MAGIC;
    t->store = s;
    t->last = &t->first;
    t->settling_last = &t->settling;
    pthread_mutex_init(&t->lock, NULL);
    pthread_mutex_init(&t->settle_lock, NULL);
    pthread_cond_init(&t->settle_more, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&t->more, &clock);
    pthread_condattr_destroy(&clock);
    if (!start_both(t)) {
        thread_free(t);
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
    thread_free(t);
}
