/*
 * No acknowledged write is lost. A child writes in a storm through the store thread and reports each id over a pipe when it is handed
 * back as committed; the parent kills it with SIGKILL somewhere in the middle, opens the record, and wants every reported row,
 * a change log without gaps that agrees with the rows, and the writer role free again.
 */
#include "unit/store/store_test.h"

#include <signal.h>
#include <sys/wait.h>

#define ROUNDS  6
#define WRITERS 16

typedef struct task {
    sb_job_t job;
    char id[SB_UUID_TEXT + 1];
} task_t;

static int report_fd;
static sb_store_thread_t *thread;

static int
run(sb_store_t *s, sb_job_t *job)
{
    task_t *t = job->data;
    json_t *input, *row = NULL;
    sb_err_t err = {0};
    int rc;

    sb_uuid_v4(t->id);
    input = json_pack("{s:s,s:s,s:[s,s]}", "id", t->id, "username", t->id, "tags", "storm", "x");
    rc = sb_dao_insert(s, sb_entity_find("consumers"), input, NULL, &row, &err);
    json_decref(input);
    json_decref(row);
    return rc;
}

static void
done(sb_job_t *job, bool committed)
{
    task_t *t = job->data;

    if (!committed || write(report_fd, t->id, SB_UUID_TEXT) != SB_UUID_TEXT)
        _exit(1);
    sb_store_thread_submit(thread, job); /* on and on */
}

static void
child(const char *path)
{
    static task_t tasks[WRITERS];
    sb_store_config_t cfg = {.path = path};
    sb_store_t *s = NULL;
    sb_err_t err = {0};
    int i;

    if (sb_store_open(&sb_store_sqlite, &cfg, &s, &err) != SB_OK || sb_store_thread_start(s, &thread, &err) != SB_OK)
        _exit(2);
    for (i = 0; i < WRITERS; i++) {
        tasks[i].job = (sb_job_t){.run = run, .done = done, .writes = true, .data = &tasks[i]};
        sb_store_thread_submit(thread, &tasks[i].job);
    }
    for (;;)
        pause();
}

/* Reads what the child reports until `enough` ids are there, kills it, reads the rest. */
static json_t *
storm(const char *path, size_t enough)
{
    json_t *ids = json_array();
    char id[SB_UUID_TEXT];
    size_t have = 0;
    int fds[2], status;
    bool killed = false;
    pid_t pid;
    ssize_t n;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        report_fd = fds[1];
        child(path);
    }
    close(fds[1]);
    while ((n = read(fds[0], id + have, sizeof(id) - have)) > 0) {
        have += (size_t)n;
        if (have < sizeof(id))
            continue;
        have = 0;
        json_array_append_new(ids, json_stringn(id, sizeof(id)));
        if (!killed && json_array_size(ids) >= enough) {
            kill(pid, SIGKILL);
            killed = true;
        }
    }
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status)); /* it did not fail by itself */
    assert_int_equal(have, 0);
    return ids;
}

typedef struct check {
    uint64_t next;
    json_t *versions; /* id → sequence, from the log */
} check_t;

static int
on_change(uint64_t seq, const json_t *change, void *arg)
{
    check_t *c = arg;

    assert_int_equal(seq, c->next++);
    json_object_set_new(c->versions, sb_json_string(change, "id"), json_integer((json_int_t)seq));
    return SB_OK;
}

static int
on_row(json_t *row, const char *ws, uint64_t version, void *arg)
{
    check_t *c = arg;
    const char *id = sb_json_string(row, "id");

    assert_int_equal(json_integer_value(json_object_get(c->versions, id)), version);
    json_object_del(c->versions, id);
    return SB_OK;
}

static void
check_record(const char *path, const json_t *acknowledged)
{
    sb_store_t *s = test_open(path);
    check_t c = {.next = 1, .versions = json_object()};
    sb_page_opts_t all = {.size = 1};
    json_t *id, *rows = NULL;
    char *next = NULL;
    sb_err_t err = {0};
    size_t i;

    json_array_foreach(acknowledged, i, id) assert_true(test_exists(s, "consumers", json_string_value(id)));
    test_expect(sb_store_changes(s, 0, on_change, &c, &err), SB_OK, &err);
    assert_int_equal(c.next, sb_store_seq(s) + 1);
    test_expect(sb_dao_each(s, sb_entity_find("consumers"), on_row, &c, &err), SB_OK, &err);
    test_expect(sb_dao_each(s, sb_entity_find("workspaces"), on_row, &c, &err), SB_OK, &err);
    assert_int_equal(json_object_size(c.versions), 0); /* neither a change without its row nor the other way round */
    test_expect(sb_dao_tags(s, "storm", &all, &rows, &next, &err), SB_OK, &err);
    assert_int_equal(json_array_size(rows), 1);
    free(next);
    json_decref(rows);
    json_decref(c.versions);
    sb_store_close(s);
}

static void
kill_in_a_storm(void **state)
{
    char *dir = test_folder(), *path = sb_asprintf("%s/silverback.db", dir);
    json_t *all = json_array(), *ids;
    unsigned char chance;
    int i;

    for (i = 0; i < ROUNDS; i++) {
        sb_random_bytes(&chance, 1);
        ids = storm(path, 1 + (size_t)chance * 2);
        json_array_extend(all, ids);
        json_decref(ids);
        check_record(path, all);
    }
    json_decref(all);
    free(path);
    test_folder_remove(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kill_in_a_storm)};

    return cmocka_run_group_tests(tests, test_entities, NULL);
}
