/* The store thread: jobs that queue up share a commit, declined ones take nothing along, order, stopping without losing any. */
#include "unit/store/store_test.h"
#include "core/base/log.h"

#include <pthread.h>
#include <semaphore.h>

typedef struct task {
    sb_job_t job;
    const char *entity;
    char text[128]; /* input */
    int rc;
    bool committed;
    int order;        /* in which jobs were handed back */
    size_t seen;      /* reads: rows found */
    uint64_t commits; /* reads: the store's count */
    sem_t *gate;      /* waits for it in run */
    sem_t *entered;
} task_t;

static sem_t handed_back;
static int order;

static void
done(sb_job_t *job, bool committed)
{
    task_t *t = job->data;

    t->committed = committed;
    t->order = __atomic_add_fetch(&order, 1, __ATOMIC_SEQ_CST); /* threads of the store are here */
    sem_post(&handed_back);
}

static int
run_insert(sb_store_t *s, sb_job_t *job)
{
    task_t *t = job->data;
    json_t *input = json_loads(t->text, 0, NULL), *row = NULL;
    sb_err_t err = {0};

    if (t->entered != NULL)
        sem_post(t->entered);
    if (t->gate != NULL)
        sem_wait(t->gate);
    t->rc = sb_dao_insert(s, sb_entity_find("consumers"), input, NULL, &row, &err);
    json_decref(input);
    json_decref(row);
    sb_err_clear(&err);
    return t->rc;
}

static int
run_count(sb_store_t *s, sb_job_t *job)
{
    task_t *t = job->data;

    t->seen = test_count(s, "consumers");
    t->commits = s->commits;
    return SB_OK;
}

static void
submit(sb_store_thread_t *th, task_t *t, bool writes, int name)
{
    snprintf(t->text, sizeof(t->text), "{\"username\":\"c%d\"}", name);
    t->job = (sb_job_t){.run = writes ? run_insert : run_count, .done = done, .writes = writes, .data = t};
    sb_store_thread_submit(th, &t->job);
}

static void
wait_for(int n)
{
    while (n-- > 0)
        sem_wait(&handed_back);
}

static sb_store_thread_t *
start(const char *path)
{
    sb_store_thread_t *th = NULL;
    sb_err_t err = {0};

    sem_init(&handed_back, 0, 0);
    order = 0;
    assert_int_equal(sb_store_thread_start(test_open(path), &th, &err), SB_OK);
    return th;
}

static void
queued_writes_share_a_commit(void **state)
{
    sb_store_thread_t *th = start(NULL);
    task_t *tasks = sb_calloc(60 * sizeof(*tasks)), before = {0};
    sem_t gate, entered;
    int i;

    sem_init(&gate, 0, 0);
    sem_init(&entered, 0, 0);
    submit(th, &before, false, 0);
    wait_for(1);
    tasks[0].gate = &gate; /* the thread is kept busy while the others queue up */
    tasks[0].entered = &entered;
    submit(th, &tasks[0], true, 0);
    sem_wait(&entered);
    for (i = 1; i < 51; i++)
        submit(th, &tasks[i], true, i == 20 ? 19 : i); /* one takes a name that is taken */
    submit(th, &tasks[51], false, 0);
    sem_post(&gate);
    wait_for(52);
    for (i = 0; i < 51; i++)
        assert_int_equal(tasks[i].committed, i != 20);
    assert_int_equal(tasks[20].rc, SB_DECLINED);
    assert_int_equal(tasks[51].seen, 50);                    /* the read behind the writes saw them */
    assert_int_equal(tasks[51].commits - before.commits, 1); /* inside: only the first job's commit was done */
    submit(th, &tasks[52], false, 0);
    wait_for(1);
    assert_int_equal(tasks[52].seen, 50);
    assert_int_equal(tasks[52].commits - before.commits, 2); /* 51 jobs, two commits */
    assert_true(tasks[52].order > tasks[50].order);
    sb_store_thread_stop(th);
    free(tasks);
}

static int
run_rollback_only(sb_store_t *s, sb_job_t *job)
{
    return run_insert(s, job) == SB_OK ? SB_DECLINED : SB_ERROR;
}

static void
a_job_may_undo_itself(void **state)
{
    sb_store_thread_t *th = start(NULL);
    task_t a = {0}, b = {0};

    submit(th, &a, true, 1);
    wait_for(1);
    assert_true(a.committed);
    /* Wrote, then changed its mind. */
    snprintf(b.text, sizeof(b.text), "{\"username\":\"c2\"}");
    b.job = (sb_job_t){.run = run_rollback_only, .done = done, .writes = true, .data = &b};
    sb_store_thread_submit(th, &b.job);
    wait_for(1);
    assert_int_equal(b.rc, SB_OK);
    assert_false(b.committed);
    submit(th, &a, false, 0);
    wait_for(1);
    assert_int_equal(a.seen, 1);
    sb_store_thread_stop(th);
}

/* Among others: their writes are made once more without it, and are counted once. */
static void
undoing_takes_nothing_else_along(void **state)
{
    sb_store_thread_t *th = start(NULL);
    task_t *tasks = sb_calloc(7 * sizeof(*tasks));
    sem_t gate, entered;
    int i;

    sem_init(&gate, 0, 0);
    sem_init(&entered, 0, 0);
    tasks[0].gate = &gate;
    tasks[0].entered = &entered;
    submit(th, &tasks[0], true, 0);
    sem_wait(&entered);
    for (i = 1; i < 6; i++) {
        snprintf(tasks[i].text, sizeof(tasks[i].text), "{\"username\":\"c%d\"}",
                 i == 2 ? 0 : i); /* 2 is declined, having written nothing */
        tasks[i].job = (sb_job_t){.run = i == 4 ? run_rollback_only : run_insert, .done = done, .writes = true, .data = &tasks[i]};
        sb_store_thread_submit(th, &tasks[i].job);
    }
    submit(th, &tasks[6], false, 0);
    sem_post(&gate);
    wait_for(7);
    for (i = 0; i < 6; i++)
        assert_int_equal(tasks[i].committed, i != 2 && i != 4);
    assert_int_equal(tasks[2].rc, SB_DECLINED);
    assert_int_equal(tasks[6].seen, 4);
    assert_int_equal(tasks[6].commits, 2); /* the default workspace's and the first write's */
    sb_store_thread_stop(th);
    free(tasks);
}

static int
no_sync(void *conn, sb_err_t *err)
{
    return sb_err_set(err, SB_E_DATABASE, "cannot sync");
}

static void
what_the_disk_did_not_take_is_no_success(void **state)
{
    sb_store_t *s = test_open(NULL);
    struct sb_store_ops ops = *s->ops;
    sb_store_thread_t *th = NULL;
    task_t write = {0}, later = {0}, read = {0};
    sb_err_t err = {0};

    ops.sync = no_sync;
    s->ops = &ops;
    sem_init(&handed_back, 0, 0);
    assert_int_equal(sb_store_thread_start(s, &th, &err), SB_OK);
    submit(th, &write, true, 1);
    wait_for(1);
    assert_int_equal(write.rc, SB_OK);
    assert_false(write.committed);
    submit(th, &later, true, 2); /* refused before it runs */
    submit(th, &read, false, 0);
    wait_for(2);
    assert_false(later.committed);
    assert_int_equal(read.seen, 1);
    sb_store_thread_stop(th);
}

static void
stopping_finishes_the_queue(void **state)
{
    char *dir = test_folder(), *path = sb_asprintf("%s/silverback.db", dir);
    sb_store_thread_t *th = start(path);
    task_t *tasks = sb_calloc(700 * sizeof(*tasks));
    sb_store_t *s;
    int i;

    for (i = 0; i < 700; i++) /* more than one batch */
        submit(th, &tasks[i], true, i);
    sb_store_thread_stop(th);
    for (i = 0; i < 700; i++) {
        assert_true(tasks[i].committed);
        assert_int_equal(tasks[i].order, i + 1);
    }
    s = test_open(path);
    assert_int_equal(test_count(s, "consumers"), 700);
    sb_store_close(s);
    free(tasks);
    free(path);
    test_folder_remove(dir);
}

typedef struct client {
    sb_store_thread_t *th;
    task_t tasks[50];
    int base;
} client_t;

static void *
client_main(void *arg)
{
    client_t *c = arg;
    int i;

    for (i = 0; i < 50; i++)
        submit(c->th, &c->tasks[i], true, c->base + i);
    return NULL;
}

static void
many_clients(void **state)
{
    sb_store_thread_t *th = start(NULL);
    client_t *clients = sb_calloc(8 * sizeof(*clients));
    pthread_t ids[8];
    task_t count = {0};
    int i, k;

    for (i = 0; i < 8; i++) {
        clients[i].th = th;
        clients[i].base = i * 1000;
        assert_int_equal(pthread_create(&ids[i], NULL, client_main, &clients[i]), 0);
    }
    for (i = 0; i < 8; i++)
        pthread_join(ids[i], NULL);
    wait_for(400);
    submit(th, &count, false, 0);
    wait_for(1);
    assert_int_equal(count.seen, 400);
    for (i = 0; i < 8; i++)
        for (k = 1; k < 50; k++) /* each client's jobs came back in its order */
            assert_true(clients[i].tasks[k].committed && clients[i].tasks[k].order > clients[i].tasks[k - 1].order);
    sb_store_thread_stop(th);
    free(clients);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queued_writes_share_a_commit),     cmocka_unit_test(a_job_may_undo_itself),
        cmocka_unit_test(undoing_takes_nothing_else_along), cmocka_unit_test(what_the_disk_did_not_take_is_no_success),
        cmocka_unit_test(stopping_finishes_the_queue),      cmocka_unit_test(many_clients),
    };

    return cmocka_run_group_tests(tests, test_entities, NULL);
}
