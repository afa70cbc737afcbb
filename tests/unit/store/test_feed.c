/*
 * Feeding the read model: order of commits, savepoints, a model that fails behind a durable commit, catching up at start. The model
 * here is a list in memory that takes the place of the real one, so that it can be made to fail at will.
 */
#include "unit/store/store_test.h"
#include "core/base/log.h"
#include "core/model/model.h"

/* --- the model: what is committed, and the open transaction's levels --- */

static json_t *committed; /* "entity:id" → version */
static json_t *level[SB_STORE_DEPTH + 2];
static int depth = -1;
static uint64_t record_seq;
static int fail_commits, fail_puts, commits, rebuilds, put_count, event_count;
static sb_store_t *watched; /* a commit must find the record's own commit done */

static void
push(json_t *base)
{
    level[++depth] = json_copy(base);
}

int
sb_model_txn_begin(sb_model_writer_t *w, sb_err_t *err)
{
    assert_int_equal(depth, -1);
    push(committed);
    return SB_OK;
}

int
sb_model_rebuild_begin(sb_model_writer_t *w, sb_err_t *err)
{
    json_t *empty = json_object();

    assert_int_equal(depth, -1);
    push(empty);
    json_decref(empty);
    rebuilds++;
    return SB_OK;
}

int
sb_model_txn_savepoint(sb_model_writer_t *w, sb_err_t *err)
{
    push(level[depth]);
    return SB_OK;
}

int
sb_model_txn_release(sb_model_writer_t *w, sb_err_t *err)
{
    assert_true(depth > 0);
    json_decref(level[depth - 1]);
    level[depth - 1] = level[depth];
    depth--;
    return SB_OK;
}

void
sb_model_txn_rollback_to(sb_model_writer_t *w)
{
    assert_true(depth > 0);
    json_decref(level[depth--]);
}

int
sb_model_put(sb_model_writer_t *w, const sb_entity_t *e, const char *ws, uint64_t version, const json_t *row, const json_t *old,
             sb_err_t *err)
{
    char *key = sb_asprintf("%s:%s", e->name, sb_json_string(row != NULL ? row : old, "id"));

    assert_true(depth >= 0);
    assert_int_equal(ws != NULL, e->workspaceable);
    if (fail_puts > 0) {
        fail_puts--;
        free(key);
        return sb_err_set(err, SB_E_DATABASE, "the model is full");
    }
    put_count++;
    if (row != NULL)
        json_object_set_new(level[depth], key, json_integer((json_int_t)version));
    else
        json_object_del(level[depth], key);
    free(key);
    return SB_OK;
}

int
sb_model_event(sb_model_writer_t *w, const json_t *event, sb_err_t *err)
{
    assert_true(depth >= 0);
    event_count++;
    return SB_OK;
}

int
sb_model_txn_commit(sb_model_writer_t *w, uint64_t seq, sb_err_t *err)
{
    assert_int_equal(depth, 0);
    if (watched != NULL) /* the record is durable first */
        assert_int_equal(sb_store_seq(watched), seq);
    if (fail_commits > 0) {
        fail_commits--;
        json_decref(level[depth--]);
        return sb_err_set(err, SB_E_DATABASE, "the model cannot commit");
    }
    json_decref(committed);
    committed = level[depth--];
    record_seq = seq;
    commits++;
    return SB_OK;
}

void
sb_model_txn_abort(sb_model_writer_t *w)
{
    while (depth >= 0)
        json_decref(level[depth--]);
}

/* --- helpers --- */

static int
reset(void **state)
{
    json_decref(committed);
    committed = json_object();
    depth = -1;
    record_seq = 0;
    fail_commits = fail_puts = commits = rebuilds = put_count = event_count = 0;
    watched = NULL;
    return 0;
}

static int
drop(void **state)
{
    json_decref(committed);
    committed = NULL;
    return 0;
}

static sb_store_t *
open_fed(const char *path, bool usable)
{
    sb_store_t *s = test_open(path);
    sb_model_state_t state = {.record_seq = record_seq, .usable = usable};
    sb_err_t err = {0};

    sb_store_attach_model(s, (struct sb_model_writer *)&committed, &state);
    test_expect(sb_store_sync_model(s, &err), SB_OK, &err);
    watched = s;
    return s;
}

static int
compare(json_t *row, const char *ws, uint64_t version, void *arg)
{
    char *key = sb_asprintf("%s:%s", ((const sb_entity_t *)arg)->name, sb_json_string(row, "id"));

    assert_int_equal(json_integer_value(json_object_get(committed, key)), version);
    free(key);
    return SB_OK;
}

/* The model holds exactly the record's rows, each at its version. */
static void
assert_in_step(sb_store_t *s)
{
    const sb_table_t *t;
    size_t rows = 0;
    sb_err_t err = {0};

    for (t = s->tables; t != NULL; t = t->next) {
        test_expect(sb_dao_each(s, t->e, compare, (void *)t->e, &err), SB_OK, &err);
        rows += test_count(s, t->e->name);
    }
    assert_int_equal(json_object_size(committed), rows);
    assert_int_equal(record_seq, sb_store_seq(s));
    assert_int_equal(depth, -1);
}

/* --- tests --- */

static void
follows_commits(void **state)
{
    sb_store_t *s = open_fed(NULL, false);
    json_t *row, *event;
    sb_err_t err = {0};
    int before;

    assert_int_equal(rebuilds, 1);
    assert_in_step(s);
    row = test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\"}");
    assert_in_step(s);
    test_expect(sb_dao_delete(s, sb_entity_find("services"), sb_json_string(row, "id"), NULL, NULL, &err), SB_OK, &err);
    assert_in_step(s);
    before = commits;
    assert_int_equal(sb_store_begin(s, &err), SB_OK);
    assert_int_equal(sb_store_commit(s, &err), SB_OK);
    assert_int_equal(commits, before); /* nothing written: nothing published */
    event = test_json("{\"op\":\"purge\"}");
    test_expect(sb_store_event(s, event, &err), SB_OK, &err); /* published by itself, and the record's sequence stays */
    assert_int_equal(event_count, 1);
    assert_int_equal(commits, before + 1);
    assert_in_step(s);
    json_decref(event);
    assert_int_equal(rebuilds, 1);
    json_decref(row);
    sb_store_close(s);
}

static void
savepoints_match(void **state)
{
    sb_store_t *s = open_fed(NULL, false);
    sb_err_t err = {0};

    assert_int_equal(sb_store_begin(s, &err), SB_OK);
    assert_int_equal(sb_store_savepoint(s, &err), SB_OK);
    assert_int_equal(sb_store_savepoint(s, &err), SB_OK); /* the model's transaction opens this deep */
    json_decref(test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    assert_int_equal(sb_store_release(s, &err), SB_OK);
    assert_int_equal(sb_store_savepoint(s, &err), SB_OK); /* nothing written inside */
    assert_int_equal(sb_store_rollback_to(s, &err), SB_OK);
    assert_int_equal(sb_store_savepoint(s, &err), SB_OK);
    json_decref(test_insert(s, "services", "{\"name\":\"b\",\"host\":\"h\"}"));
    assert_int_equal(sb_store_rollback_to(s, &err), SB_OK);
    assert_int_equal(sb_store_release(s, &err), SB_OK);
    assert_int_equal(sb_store_savepoint(s, &err), SB_OK);
    json_decref(test_insert(s, "services", "{\"name\":\"c\",\"host\":\"h\"}"));
    assert_int_equal(sb_store_release(s, &err), SB_OK);
    assert_int_equal(sb_store_commit(s, &err), SB_OK);
    assert_int_equal(test_count(s, "services"), 2);
    assert_in_step(s);
    assert_int_equal(sb_store_begin(s, &err), SB_OK);
    json_decref(test_insert(s, "services", "{\"name\":\"d\",\"host\":\"h\"}"));
    sb_store_rollback(s);
    assert_in_step(s);
    sb_store_close(s);
}

static void
quiet(int level_, const char *line)
{
}

static void
a_model_that_cannot_commit_is_replayed(void **state)
{
    sb_store_t *s = open_fed(NULL, false);
    json_t *input = test_json("{\"name\":\"b\",\"host\":\"h\"}"), *row = NULL;
    sb_err_t err = {0};

    sb_log_set_sink(quiet);
    fail_commits = 1;
    json_decref(test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\"}")); /* replayed at once: served when answered */
    assert_in_step(s);
    assert_int_equal(rebuilds, 1);
    /* It goes on failing: the write is durable, the answer is an error, the next transaction brings the model up first. */
    fail_commits = 3;
    assert_int_equal(sb_dao_insert(s, sb_entity_find("services"), input, NULL, &row, &err), SB_ERROR);
    sb_err_clear(&err);
    assert_int_equal(test_count(s, "services"), 2);
    assert_int_not_equal(record_seq, sb_store_seq(s));
    sb_log_set_sink(NULL);
    json_decref(test_insert(s, "services", "{\"name\":\"c\",\"host\":\"h\"}"));
    assert_in_step(s);
    json_decref(input);
    sb_store_close(s);
}

static void
a_model_that_refuses_a_row_undoes_the_write(void **state)
{
    sb_store_t *s = open_fed(NULL, false);
    json_t *input = test_json("{\"name\":\"b\",\"host\":\"h\"}"), *row = NULL;
    sb_err_t err = {0};

    fail_puts = 1;
    assert_int_equal(sb_dao_insert(s, sb_entity_find("services"), input, NULL, &row, &err), SB_ERROR);
    assert_int_equal(err.code, SB_E_DATABASE);
    sb_err_clear(&err);
    assert_int_equal(test_count(s, "services"), 0);
    assert_in_step(s);
    json_decref(input);
    sb_store_close(s);
}

static void
catches_up_at_start(void **state)
{
    char *dir = test_folder(), *path = sb_asprintf("%s/silverback.db", dir), id[64];
    sb_store_t *s = open_fed(path, false);
    sb_err_t err = {0};
    int before;

    snprintf(id, sizeof(id), "%s", test_insert_id(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    sb_store_close(s);
    watched = NULL;
    s = test_open(path); /* writes that the model does not see */
    json_decref(test_insert(s, "services", "{\"name\":\"b\",\"host\":\"h\"}"));
    test_expect(sb_dao_delete(s, sb_entity_find("services"), id, NULL, NULL, &err), SB_OK, &err);
    sb_store_close(s);

    before = put_count;
    s = open_fed(path, true); /* kept and behind: replayed */
    assert_int_equal(rebuilds, 1);
    assert_int_equal(put_count - before, 2);
    assert_in_step(s);
    sb_store_close(s);
    watched = NULL;

    s = open_fed(path, true); /* in step: nothing to do */
    assert_int_equal(put_count - before, 2);
    sb_store_close(s);
    watched = NULL;

    s = open_fed(path, false); /* of another boot */
    assert_int_equal(rebuilds, 2);
    assert_in_step(s);
    sb_store_close(s);
    watched = NULL;

    record_seq += 1000; /* ahead of the record: an older record was put in place */
    s = open_fed(path, true);
    assert_int_equal(rebuilds, 3);
    assert_in_step(s);
    /* Behind, and the log does not reach back that far. */
    watched = NULL;
    assert_int_equal(s->ops->log_prune(s->conn, sb_store_seq(s) - 1, &err), SB_OK);
    sb_store_close(s);
    record_seq = 1;
    s = open_fed(path, true);
    assert_int_equal(rebuilds, 4);
    assert_in_step(s);
    sb_store_close(s);
    free(path);
    test_folder_remove(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(follows_commits, reset, drop),
        cmocka_unit_test_setup_teardown(savepoints_match, reset, drop),
        cmocka_unit_test_setup_teardown(a_model_that_cannot_commit_is_replayed, reset, drop),
        cmocka_unit_test_setup_teardown(a_model_that_refuses_a_row_undoes_the_write, reset, drop),
        cmocka_unit_test_setup_teardown(catches_up_at_start, reset, drop),
    };

    return cmocka_run_group_tests(tests, test_entities, NULL);
}
