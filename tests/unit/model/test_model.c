/* Rows, indexes, savepoints, events and the life of the model's file, within one process. */
#include "model_fixture.h"

#include "core/base/uuid.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define S1 "11111111-0000-4000-8000-000000000001"
#define S2 "11111111-0000-4000-8000-000000000002"
#define R1 "22222222-0000-4000-8000-000000000001"
#define P1 "33333333-0000-4000-8000-000000000001"
#define P2 "33333333-0000-4000-8000-000000000002"

static bool
collect_id(const sb_row_t *row, void *arg)
{
    char id[37], *all = arg;

    sb_uuid_format(&row->id, id);
    strcat(all, id);
    strcat(all, " ");
    return true;
}

static bool
by(struct fixture *f, const char *name, const char *field, const char *ws, const char *value, sb_row_t *row)
{
    return sb_model_find(f->r, entity(name), field, ws, (sb_str_t){value, strlen(value)}, row);
}

static void
rows_are_found_by_every_index(void **state)
{
    struct fixture *f = *state;
    sb_uuid_t s1 = uuid(S1), r1 = uuid(R1);
    char ids[400] = "";
    sb_row_t row;

    put(f, "services", "{'id':'" S1 "','name':'one'}");
    put(f, "routes", "{'id':'" R1 "','name':'r','service':{'id':'" S1 "'},'protocols':['http'],'paths':['/x']}");
    put(f, "plugins", "{'id':'" P1 "','name':'cors','route':null,'service':null,'consumer':null}");
    put(f, "plugins", "{'id':'" P2 "','name':'cors','route':{'id':'" R1 "'},'service':null,'consumer':null}");
    look(f);
    assert_true(sb_model_get(f->r, entity("services"), &s1, &row));
    assert_int_equal(row.version, 1);
    assert_memory_equal(&row.id, &s1, 16);
    assert_true(sb_str_eqc(row.json, "{\"id\":\"" S1 "\",\"name\":\"one\"}"));
    assert_true(by(f, "services", "name", WS, "one", &row));
    assert_memory_equal(&row.id, &s1, 16);
    assert_false(by(f, "services", "name", WS, "two", &row));
    assert_false(by(f, "services", "name", "00000000-0000-4000-8000-00000000000b", "one", &row));
    assert_false(by(f, "routes", "name", WS, "one", &row));
    sb_model_children(f->r, entity("routes"), "service", &s1, collect_id, ids);
    assert_string_equal(ids, R1 " ");
    ids[0] = '\0';
    sb_model_children(f->r, entity("plugins"), "route", &r1, collect_id, ids);
    assert_string_equal(ids, P2 " ");
    ids[0] = '\0';
    sb_model_global_plugins(f->r, collect_id, ids);
    assert_string_equal(ids, P1 " ");
    ids[0] = '\0';
    sb_model_each(f->r, entity("plugins"), collect_id, ids);
    assert_string_equal(ids, P1 " " P2 " ");
    assert_true(by(f, "plugins", "cache_key", NULL, "plugins:cors:" R1 "::::" WS, &row));
    assert_true(by(f, "plugins", "cache_key", NULL, "plugins:cors:::::" WS, &row));
    assert_int_equal(sb_model_count(f->r, entity("plugins")), 2);
    assert_int_equal(sb_model_count(f->r, entity("consumers")), 0);
    sb_model_end(f->r);
}

static void
an_update_moves_the_indexes_and_a_delete_removes_them(void **state)
{
    struct fixture *f = *state;
    sb_uuid_t s1 = uuid(S1), s2 = uuid(S2);
    char ids[100] = "";
    sb_row_t row;

    put(f, "services", "{'id':'" S1 "','name':'one'}");
    put(f, "routes", "{'id':'" R1 "','name':'r','service':{'id':'" S1 "'},'protocols':['http'],'paths':['/x']}");
    put(f, "routes", "{'id':'" R1 "','name':'q','service':{'id':'" S2 "'},'protocols':['http'],'paths':['/y']}");
    look(f);
    assert_false(by(f, "routes", "name", WS, "r", &row));
    assert_true(by(f, "routes", "name", WS, "q", &row));
    assert_int_equal(row.version, 3);
    sb_model_children(f->r, entity("routes"), "service", &s1, collect_id, ids);
    assert_string_equal(ids, "");
    sb_model_children(f->r, entity("routes"), "service", &s2, collect_id, ids);
    assert_string_equal(ids, R1 " ");
    assert_int_equal(sb_model_count(f->r, entity("routes")), 1);
    sb_model_end(f->r);
    delete_row(f, "routes", R1);
    look(f);
    assert_false(by(f, "routes", "name", WS, "q", &row));
    ids[0] = '\0';
    sb_model_children(f->r, entity("routes"), "service", &s2, collect_id, ids);
    assert_string_equal(ids, "");
    assert_int_equal(sb_model_count(f->r, entity("routes")), 0);
    sb_model_end(f->r);
}

static void
two_rows_may_swap_a_unique_value(void **state)
{
    struct fixture *f = *state;
    json_t *a = json("{'id':'" S1 "','name':'b'}"), *b = json("{'id':'" S2 "','name':'a'}");
    sb_uuid_t s1 = uuid(S1), s2 = uuid(S2);
    sb_row_t row;

    put(f, "services", "{'id':'" S1 "','name':'a'}");
    put(f, "services", "{'id':'" S2 "','name':'b'}");
    begin(f);
    put_in(f, "services", a, NULL);
    put_in(f, "services", b, NULL);
    commit(f);
    look(f);
    assert_true(by(f, "services", "name", WS, "b", &row));
    assert_memory_equal(&row.id, &s1, 16);
    assert_true(by(f, "services", "name", WS, "a", &row));
    assert_memory_equal(&row.id, &s2, 16);
    sb_model_end(f->r);
    json_decref(a);
    json_decref(b);
}

static void
unique_across_workspaces_is_found_from_any(void **state)
{
    struct fixture *f = *state;
    sb_row_t row;

    put(f, "snis", "{'id':'" S1 "','name':'a.example','certificate':{'id':'" S2 "'}}");
    look(f);
    assert_true(by(f, "snis", "name", NULL, "a.example", &row));
    assert_true(by(f, "snis", "name", "00000000-0000-4000-8000-00000000000b", "a.example", &row));
    sb_model_end(f->r);
}

static void
long_unique_values_are_found(void **state)
{
    struct fixture *f = *state;
    char name[3000], text[3200];
    sb_row_t row;

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    snprintf(text, sizeof(text), "{'id':'" S1 "','name':'%s'}", name);
    put(f, "services", text);
    look(f);
    assert_true(by(f, "services", "name", WS, name, &row));
    name[sizeof(name) - 2] = 'm';
    assert_false(by(f, "services", "name", WS, name, &row));
    sb_model_end(f->r);
}

static void
the_default_workspace_is_known(void **state)
{
    struct fixture *f = *state;
    sb_row_t row;

    look(f);
    assert_string_equal(sb_model_default_ws(f->r), "");
    sb_model_end(f->r);
    put(f, "workspaces", "{'id':'" WS "','name':'default'}");
    put(f, "services", "{'id':'" S1 "','name':'one'}");
    look(f);
    assert_string_equal(sb_model_default_ws(f->r), WS);
    assert_true(by(f, "services", "name", NULL, "one", &row));
    sb_model_end(f->r);
}

static void
a_savepoint_takes_everything_back(void **state)
{
    struct fixture *f = *state;
    json_t *a = json("{'id':'" S1 "','name':'a'}"), *b = json("{'id':'" S2 "','name':'b'}");
    uint64_t seq = f->rt->event_seq;
    sb_err_t err = {0};
    sb_row_t row;

    begin(f);
    put_in(f, "services", a, NULL);
    must(sb_model_txn_savepoint(f->w, &err), &err);
    put_in(f, "services", b, NULL);
    must(sb_model_txn_savepoint(f->w, &err), &err);
    put_in(f, "services", NULL, a);
    must(sb_model_txn_release(f->w, &err), &err);
    sb_model_txn_rollback_to(f->w);
    commit(f);
    look(f);
    assert_true(by(f, "services", "name", WS, "a", &row));
    assert_false(by(f, "services", "name", WS, "b", &row));
    assert_int_equal(sb_model_count(f->r, entity("services")), 1);
    assert_int_equal(sb_model_event_seq(f->r), seq + 1);
    assert_int_equal(f->rt->event_seq, seq + 1);
    sb_model_end(f->r);
    json_decref(a);
    json_decref(b);
}

static void
only_routing_entities_move_the_generation(void **state)
{
    struct fixture *f = *state;
    uint64_t gen = f->rt->routing_gen;
    const sb_entity_t *quiet = NULL, *const * all;
    json_t *row = json("{'id':'" S1 "','tags':null}");
    sb_err_t err = {0};
    size_t n;

    all = sb_entities_all(&n);
    for (size_t i = 0; i < n; i++)
        if (!all[i]->routing)
            quiet = all[i];
    if (quiet != NULL) {
        begin(f);
        must(sb_model_put(f->w, quiet, WS, ++f->seq, row, NULL, &err), &err);
        commit(f);
        assert_int_equal(f->rt->routing_gen, gen);
    }
    json_decref(row);
    put(f, "routes", "{'id':'" R1 "','protocols':['http'],'paths':['/x']}");
    assert_int_equal(f->rt->routing_gen, gen + 1);
    look(f);
    assert_int_equal(sb_model_routing_gen(f->r), gen + 1);
    sb_model_end(f->r);
}

/* ---------- events ---------- */

struct seen {
    uint64_t first, last, n;
    json_t *last_event;
};

static void
on_event(uint64_t seq, const json_t *event, void *arg)
{
    struct seen *s = arg;

    if (s->n++ == 0)
        s->first = seq;
    s->last = seq;
    json_decref(s->last_event);
    s->last_event = json_deep_copy(event);
}

static void
events_say_what_happened(void **state)
{
    struct fixture *f = *state;
    uint64_t from = f->rt->event_seq;
    struct seen s = {0};
    json_t *expected;

    put(f, "services", "{'id':'" S1 "','name':'one'}");
    put(f, "services", "{'id':'" S1 "','name':'two'}");
    delete_row(f, "services", S1);
    delete_row(f, "services", S1); /* nothing to delete: no event */
    assert_int_equal(sb_model_events(f->r, from, on_event, &s), SB_OK);
    assert_int_equal(s.n, 3);
    assert_int_equal(s.first, from + 1);
    expected = json("{'op':'delete','entity':'services','id':'" S1 "','ws':'" WS "','version':3,'old':{'id':'" S1 "','name':'two'}}");
    assert_true(json_equal(s.last_event, expected));
    json_decref(expected);
    s.n = 0;
    assert_int_equal(sb_model_events(f->r, from + 1, on_event, &s), SB_OK);
    assert_int_equal(s.n, 2);
    s.n = 0;
    assert_int_equal(sb_model_events(f->r, from + 3, on_event, &s), SB_OK);
    assert_int_equal(s.n, 0);
    assert_int_equal(sb_model_events(f->r, from + 4, on_event, &s), SB_DECLINED);
    json_decref(s.last_event);
}

static void
the_event_log_is_bounded(void **state)
{
    struct fixture *f = *state;
    uint64_t from = f->rt->event_seq;
    json_t *ev = json("{'op':'purge'}");
    struct seen s = {0};
    sb_err_t err = {0};

    begin(f);
    for (int i = 0; i < 70000; i++)
        must(sb_model_event(f->w, ev, &err), &err);
    commit(f);
    assert_int_equal(sb_model_events(f->r, from, on_event, &s), SB_DECLINED);
    assert_int_equal(s.n, 0);
    assert_int_equal(sb_model_events(f->r, from + 70000 - 65536, on_event, &s), SB_OK);
    assert_int_equal(s.n, 65536);
    assert_int_equal(s.last, from + 70000);
    assert_int_equal(sb_model_events(f->r, from + 70000 - 65537, on_event, &s), SB_DECLINED);
    json_decref(s.last_event);
    json_decref(ev);
}

/* ---------- the file ---------- */

static void
reopen_writer(struct fixture *f, const char *store, sb_model_state_t *found)
{
    sb_model_writer_close(f->w);
    f->w = NULL;
    fixture_writer(f, store, found);
}

static void
a_clean_stop_keeps_the_model(void **state)
{
    struct fixture *f = *state;
    uint64_t seq, gen;
    sb_model_state_t found;
    sb_row_t row;

    put(f, "services", "{'id':'" S1 "','name':'one'}");
    seq = f->rt->event_seq;
    gen = f->rt->routing_gen;
    f->rt->event_seq = 0; /* as if the process had died before it published */
    f->rt->routing_gen = 0;
    reopen_writer(f, "store", &found);
    assert_true(found.usable);
    assert_int_equal(found.record_seq, 1);
    assert_int_equal(f->rt->event_seq, seq);
    assert_int_equal(f->rt->routing_gen, gen);
    look(f);
    assert_true(by(f, "services", "name", WS, "one", &row));
    sb_model_end(f->r);
}

static void
replace_in_current(struct fixture *f, int field, const char *value)
{
    char *path = sb_asprintf("%s/current", f->model), w[4][100];
    FILE *file = fopen(path, "r");

    assert_int_equal(fscanf(file, "%99s %99s %99s %99s", w[0], w[1], w[2], w[3]), 4);
    fclose(file);
    strcpy(w[field], value);
    file = fopen(path, "w");
    fprintf(file, "%s %s %s %s\n", w[0], w[1], w[2], w[3]);
    fclose(file);
    free(path);
}

static void
what_is_foreign_is_not_used(void **state)
{
    struct fixture *f = *state;
    const struct {
        int field;
        const char *value;
    } cases[] = {{0, "999"}, {1, "another-boot"}, {2, "another-store"}, {3, "model-99.mdb"}};
    sb_model_state_t found;
    sb_err_t err = {0};

    for (size_t i = 0; i < 4; i++) {
        put(f, "services", "{'id':'" S1 "','name':'one'}");
        replace_in_current(f, cases[i].field, cases[i].value);
        sb_model_reader_close(f->r);
        f->r = NULL;
        if (i != 2) /* a reader cannot know the store */
            assert_int_equal(sb_model_reader_open(f->model, f->rt, &f->r, &err), SB_ERROR);
        sb_err_clear(&err);
        sb_model_reader_close(f->r);
        f->r = NULL;
        reopen_writer(f, "store", &found);
        assert_false(found.usable);
        must(sb_model_rebuild_begin(f->w, &err), &err);
        must(sb_model_txn_commit(f->w, 0, &err), &err);
        fixture_reader(f);
        look(f);
        assert_int_equal(sb_model_count(f->r, entity("services")), 0);
        sb_model_end(f->r);
    }
}

static int
models_on_disk(struct fixture *f)
{
    char *cmd = sb_asprintf("ls %s | grep -c 'mdb$'", f->model);
    FILE *p = popen(cmd, "r");
    int n = -1;

    assert_int_equal(fscanf(p, "%d", &n), 1);
    pclose(p);
    free(cmd);
    return n;
}

static void
a_rebuild_replaces_the_file_under_readers(void **state)
{
    struct fixture *f = *state;
    json_t *b = json("{'id':'" S2 "','name':'b'}");
    uint64_t epoch = f->rt->model_epoch, seq, gen = f->rt->routing_gen;
    struct seen s = {0};
    sb_err_t err = {0};
    sb_row_t row;

    put(f, "services", "{'id':'" S1 "','name':'a'}");
    seq = f->rt->event_seq;
    look(f);
    must(sb_model_rebuild_begin(f->w, &err), &err);
    put_in(f, "services", b, NULL);
    sb_model_txn_abort(f->w);
    assert_int_equal(f->rt->model_epoch, epoch);
    must(sb_model_rebuild_begin(f->w, &err), &err);
    put_in(f, "services", b, NULL);
    must(sb_model_txn_commit(f->w, 42, &err), &err);
    assert_int_equal(f->rt->model_epoch, epoch + 1);
    assert_true(f->rt->event_seq > seq);
    assert_true(f->rt->routing_gen > gen);
    assert_true(by(f, "services", "name", WS, "a", &row)); /* the old snapshot is still whole */
    sb_model_end(f->r);
    look(f);
    assert_false(by(f, "services", "name", WS, "a", &row));
    assert_true(by(f, "services", "name", WS, "b", &row));
    sb_model_end(f->r);
    assert_int_equal(sb_model_events(f->r, seq, on_event, &s), SB_DECLINED); /* start over */
    assert_int_equal(sb_model_events(f->r, f->rt->event_seq, on_event, &s), SB_OK);
    assert_int_equal(models_on_disk(f), 1);
    json_decref(b);
}

static void
a_change_that_is_replayed_changes_nothing(void **state)
{
    struct fixture *f = *state;
    json_t *a = json("{'id':'" S1 "','name':'a'}"), *b = json("{'id':'" S1 "','name':'b'}");
    sb_row_t row;

    begin(f);
    put_in(f, "services", a, NULL);
    put_in(f, "services", b, a);
    put_in(f, "services", b, a); /* again, with what it replaced the first time */
    put_in(f, "services", a, NULL);
    put_in(f, "services", b, a);
    commit(f);
    look(f);
    assert_int_equal(sb_model_count(f->r, entity("services")), 1);
    assert_false(by(f, "services", "name", WS, "a", &row));
    assert_true(by(f, "services", "name", WS, "b", &row));
    sb_model_end(f->r);
    json_decref(a);
    json_decref(b);
}

static void
count_commit(void *arg)
{
    (*(int *)arg)++;
}

static void
commits_wake_the_workers(void **state)
{
    struct fixture *f = *state;
    int n = 0;

    sb_model_on_commit(f->w, count_commit, &n);
    put(f, "services", "{'id':'" S1 "','name':'a'}");
    assert_int_equal(n, 1);
}

/* Writes may fail at any size from now on; what failed must not be there, what follows must work. */
static int
full_disk_child(struct fixture *f)
{
    struct rlimit lim = {0, RLIM_INFINITY};
    json_t *row = json("{'id':'" S2 "','name':'big','tags':[]}");
    json_t *pad = json_string("");
    char *mb = sb_malloc(1 << 20);
    sb_model_state_t found;
    sb_err_t err = {0};
    int rc;

    memset(mb, 'x', 1 << 20);
    json_string_setn(pad, mb, 1 << 20);
    json_object_set_new(row, "pad", pad);
    f->w = NULL;
    if (sb_model_writer_open(f->model, "store", f->rt, &f->w, &found, &err) != SB_OK || !found.usable)
        return 1;
    signal(SIGXFSZ, SIG_IGN);
    lim.rlim_cur = 256 * 1024;
    setrlimit(RLIMIT_FSIZE, &lim);
    if (sb_model_txn_begin(f->w, &err) != SB_OK)
        return 2;
    rc = sb_model_put(f->w, entity("services"), WS, 7, row, NULL, &err);
    if (rc == SB_OK)
        rc = sb_model_txn_commit(f->w, 7, &err);
    else
        sb_model_txn_abort(f->w);
    if (rc != SB_ERROR || err.code != SB_E_DATABASE)
        return 3;
    lim.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &lim);
    sb_err_clear(&err);
    if (sb_model_txn_begin(f->w, &err) != SB_OK)
        return 4;
    if (sb_model_put(f->w, entity("services"), WS, 8, row, NULL, &err) != SB_OK)
        return 5;
    return sb_model_txn_commit(f->w, 8, &err) == SB_OK ? 0 : 6;
}

static void
a_full_disk_leaves_nothing_half_applied(void **state)
{
    struct fixture *f = *state;
    uint64_t seq;
    int status;
    pid_t pid;
    sb_row_t row;

    put(f, "services", "{'id':'" S1 "','name':'one'}");
    seq = f->rt->event_seq;
    sb_model_writer_close(f->w);
    f->w = NULL;
    pid = fork();
    if (pid == 0)
        _exit(full_disk_child(f));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    look(f);
    assert_int_equal(sb_model_count(f->r, entity("services")), 2);
    assert_true(by(f, "services", "name", WS, "big", &row));
    assert_int_equal(row.version, 8);
    assert_int_equal(sb_model_event_seq(f->r), seq + 1);
    sb_model_end(f->r);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(rows_are_found_by_every_index),
        CASE(an_update_moves_the_indexes_and_a_delete_removes_them),
        CASE(two_rows_may_swap_a_unique_value),
        CASE(unique_across_workspaces_is_found_from_any),
        CASE(long_unique_values_are_found),
        CASE(the_default_workspace_is_known),
        CASE(a_savepoint_takes_everything_back),
        CASE(only_routing_entities_move_the_generation),
        CASE(events_say_what_happened),
        CASE(the_event_log_is_bounded),
        CASE(a_clean_stop_keeps_the_model),
        CASE(what_is_foreign_is_not_used),
        CASE(a_rebuild_replaces_the_file_under_readers),
        CASE(a_change_that_is_replayed_changes_nothing),
        CASE(commits_wake_the_workers),
        CASE(a_full_disk_leaves_nothing_half_applied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
