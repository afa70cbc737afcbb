/*
 * The model between processes: readers follow every commit in order, a killed reader neither blocks the writer nor keeps its slot, a
 * killed writer leaves nothing half done. Children report by exit code; nothing waits for time.
 */
#include "model_fixture.h"

#include "core/model/model_int.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#define COMMITS 600
#define READERS 3

/* The fixture's writer and reader are closed: parents and children of fork open their own. */
static void
close_both(struct fixture *f)
{
    sb_model_reader_close(f->r);
    f->r = NULL;
    sb_model_writer_close(f->w);
    f->w = NULL;
}

static void
open_writer(struct fixture *f)
{
    sb_model_state_t found;

    fixture_writer(f, "store", &found);
    assert_true(found.usable);
}

static json_t *
service(unsigned n, unsigned value)
{
    char id[37], name[20];

    snprintf(id, sizeof(id), "11111111-0000-4000-8000-%012x", n);
    snprintf(name, sizeof(name), "v%u", value);
    return json_pack("{s:s, s:s, s:i}", "id", id, "name", name, "value", (int)value);
}

/* ---------- readers follow ---------- */

struct follower {
    sb_model_reader_t *r;
    uint64_t at, last_value;
    int wrong;
    bool end;
};

/* Event n was written with the row's value n: the row must be there and not be older than its event. */
static void
on_event(uint64_t seq, const json_t *event, void *arg)
{
    struct follower *w = arg;
    sb_uuid_t id;
    sb_row_t row;

    if (seq != ++w->at)
        w->wrong |= 1;
    if (sb_json_string(event, "end") != NULL) {
        w->end = true;
        return;
    }
    sb_uuid_parse(sb_json_string(event, "id"), 36, &id);
    if (!sb_model_get(w->r, entity("services"), &id, &row))
        w->wrong |= 2;
    else if (row.version < (uint64_t)sb_json_int(event, "version", 0))
        w->wrong |= 4;
    if ((uint64_t)sb_json_int(event, "version", 0) != ++w->last_value)
        w->wrong |= 8;
}

/* What the shared atomics promise must be in the snapshot that is begun after reading them. */
static int
follow(struct fixture *f, uint64_t from)
{
    struct follower w = {.at = from};
    sb_err_t err = {0};

    if (sb_model_reader_open(f->model, f->rt, &w.r, &err) != SB_OK)
        return 100;
    while (!w.end && w.wrong == 0) {
        uint64_t seq = __atomic_load_n(&f->rt->event_seq, __ATOMIC_ACQUIRE), gen = __atomic_load_n(&f->rt->routing_gen, __ATOMIC_ACQUIRE);
        if (seq == w.at) {
            sched_yield();
            continue;
        }
        if (sb_model_begin(w.r, NULL) != SB_OK)
            return 101;
        if (sb_model_event_seq(w.r) < seq || sb_model_routing_gen(w.r) < gen)
            w.wrong |= 16;
        if (sb_model_events(w.r, w.at, on_event, &w) != SB_OK)
            w.wrong |= 32;
        sb_model_end(w.r);
    }
    return w.wrong;
}

static void
readers_see_exactly_the_committed_sequence(void **state)
{
    struct fixture *f = *state;
    pid_t pids[READERS];
    json_t *end = json("{'end':'yes'}");
    sb_err_t err = {0};
    uint64_t from = f->rt->event_seq;
    unsigned value = 0;
    int status;

    close_both(f);
    for (int i = 0; i < READERS; i++)
        if ((pids[i] = fork()) == 0)
            _exit(follow(f, from));
    open_writer(f);
    for (int i = 0; i < COMMITS; i++) {
        begin(f);
        for (int j = 0; j <= i % 4; j++) { /* f->seq, the version, moves along with value */
            json_t *row = service(value % 50, value + 1);
            put_in(f, "services", row, NULL);
            json_decref(row);
            value++;
        }
        commit(f);
    }
    begin(f);
    must(sb_model_event(f->w, end, &err), &err);
    commit(f);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    json_decref(end);
}

/* ---------- a killed reader ---------- */

/* A child that holds a snapshot until it is killed. */
static pid_t
holding_reader(struct fixture *f)
{
    int ready[2];
    char c;
    pid_t pid;

    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        sb_model_reader_t *r;
        if (sb_model_reader_open(f->model, f->rt, &r, NULL) == SB_OK && sb_model_begin(r, NULL) == SB_OK && write(ready[1], "x", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    return pid;
}

static void
kill_and_wait(pid_t pid)
{
    int status;

    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

struct slot_search {
    char pid[16];
    bool found;
};

static int
on_slot(const char *line, void *arg)
{
    struct slot_search *s = arg;

    s->found = s->found || strstr(line, s->pid) != NULL;
    return 0;
}

static bool
has_slot(struct fixture *f, pid_t pid)
{
    struct slot_search s = {.found = false};
    sb_model_current_t c;
    sb_model_env_t *e;
    char *path;

    snprintf(s.pid, sizeof(s.pid), " %d ", (int)pid);
    assert_true(sb_model_current_read(f->model, &c));
    path = sb_asprintf("%s/%s", f->model, c.file);
    assert_int_equal(sb_model_env_acquire(path, true, &e, NULL), SB_OK);
    mdb_reader_list(e->env, on_slot, &s);
    sb_model_env_release(e);
    free(path);
    return s.found;
}

static void
a_killed_reader_blocks_nothing_and_leaks_no_slot(void **state)
{
    struct fixture *f = *state;
    pid_t pid;

    close_both(f);
    pid = holding_reader(f);
    open_writer(f);
    put(f, "services", "{'id':'11111111-0000-4000-8000-000000000001','name':'a'}");
    assert_true(has_slot(f, pid));
    kill_and_wait(pid);
    put(f, "services", "{'id':'11111111-0000-4000-8000-000000000001','name':'b'}");
    sb_model_writer_close(f->w);
    open_writer(f); /* looks for dead readers, as it does from time to time */
    assert_false(has_slot(f, pid));
}

/* More readers die with their snapshot open than there are slots. */
static void
dead_readers_make_room(void **state)
{
    struct fixture *f = *state;
    int status;

    close_both(f);
    open_writer(f);
    for (int i = 0; i < MODEL_READERS + 50; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            sb_model_reader_t *r;
            _exit(sb_model_reader_open(f->model, f->rt, &r, NULL) == SB_OK && sb_model_begin(r, NULL) == SB_OK ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
}

/* ---------- a killed writer ---------- */

static void
a_killed_writer_leaves_nothing_half_done(void **state)
{
    struct fixture *f = *state;
    sb_uuid_t id = uuid("11111111-0000-4000-8000-000000000002");
    int ready[2];
    char c;
    pid_t pid;
    sb_row_t row;

    close_both(f);
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        open_writer(f);
        put(f, "services", "{'id':'11111111-0000-4000-8000-000000000001','name':'a'}");
        begin(f);
        for (unsigned i = 2; i < 5000; i++) {
            json_t *s = service(i, i);
            put_in(f, "services", s, NULL);
            json_decref(s);
        }
        if (write(ready[1], "x", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    fixture_reader(f); /* readers go on meanwhile */
    look(f);
    assert_int_equal(sb_model_count(f->r, entity("services")), 1);
    sb_model_end(f->r);
    sb_model_reader_close(f->r);
    kill_and_wait(pid);
    open_writer(f);
    put(f, "services", "{'id':'11111111-0000-4000-8000-000000000003','name':'c'}");
    fixture_reader(f);
    look(f);
    assert_int_equal(sb_model_count(f->r, entity("services")), 2);
    assert_false(sb_model_get(f->r, entity("services"), &id, &row));
    sb_model_end(f->r);
}

/* ---------- a rebuild under another process ---------- */

static int
watch_rebuilds(struct fixture *f, int ready)
{
    sb_model_reader_t *r;
    uint64_t n, last = 0;

    if (sb_model_reader_open(f->model, f->rt, &r, NULL) != SB_OK || write(ready, "x", 1) != 1)
        return 1;
    do {
        if (sb_model_begin(r, NULL) != SB_OK)
            return 2;
        n = sb_model_count(r, entity("services"));
        sb_model_end(r);
        if (n < last) /* each rebuild holds more than the one before */
            return 3;
        last = n;
    } while (n < 20);
    return 0;
}

static void
rebuilds_reach_other_processes_whole(void **state)
{
    struct fixture *f = *state;
    sb_err_t err = {0};
    int ready[2], status;
    char c;
    pid_t pid;

    close_both(f);
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0)
        _exit(watch_rebuilds(f, ready[1]));
    assert_int_equal(read(ready[0], &c, 1), 1);
    open_writer(f);
    for (unsigned round = 1; round <= 20; round++) {
        must(sb_model_rebuild_begin(f->w, &err), &err);
        for (unsigned i = 0; i < round; i++) {
            json_t *row = service(i, i);
            put_in(f, "services", row, NULL);
            json_decref(row);
        }
        commit(f);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(ready[0]);
    close(ready[1]);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(readers_see_exactly_the_committed_sequence),
        CASE(a_killed_reader_blocks_nothing_and_leaks_no_slot),
        CASE(dead_readers_make_room),
        CASE(a_killed_writer_leaves_nothing_half_done),
        CASE(rebuilds_reach_other_processes_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
