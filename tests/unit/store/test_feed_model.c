/* The record with the real read model: what is committed is served, also after a restart with, without and behind its model. */
#include "unit/store/store_test.h"
#include "core/model/model.h"

typedef struct node {
    sb_store_t *store;
    sb_runtime_t *rt;
    sb_model_writer_t *writer;
    sb_model_reader_t *reader;
    bool usable;
} node_t;

static void
start(node_t *n, const char *dir)
{
    char *path = sb_asprintf("%s/silverback.db", dir), *state = sb_asprintf("%s/state", dir);
    sb_model_state_t found = {0};
    sb_err_t err = {0};

    n->store = test_open(path);
    test_expect(sb_runtime_map(state, true, &n->rt, &err), SB_OK, &err);
    test_expect(sb_model_writer_open(dir, sb_store_id(n->store), n->rt, &n->writer, &found, &err), SB_OK, &err);
    n->usable = found.usable;
    sb_store_attach_model(n->store, n->writer, &found);
    test_expect(sb_store_sync_model(n->store, &err), SB_OK, &err);
    test_expect(sb_model_reader_open(dir, n->rt, &n->reader, &err), SB_OK, &err);
    free(path);
    free(state);
}

static void
stop(node_t *n)
{
    sb_model_reader_close(n->reader);
    sb_store_close(n->store);
    sb_model_writer_close(n->writer);
    sb_runtime_unmap(n->rt);
    *n = (node_t){0};
}

static bool
served(node_t *n, const char *entity, const char *name)
{
    sb_row_t row;
    sb_err_t err = {0};
    bool found;

    test_expect(sb_model_begin(n->reader, &err), SB_OK, &err);
    found = sb_model_find(n->reader, sb_entity_find(entity), "name", NULL, (sb_str_t){name, strlen(name)}, &row);
    sb_model_end(n->reader);
    return found;
}

static void
committed_rows_are_served(void **state)
{
    char *dir = test_folder(), *path;
    node_t n = {0};
    sb_err_t err = {0};
    json_t *row;
    sb_store_t *alone;

    start(&n, dir);
    assert_false(n.usable);
    row = test_insert(n.store, "services", "{\"name\":\"a\",\"host\":\"h\"}");
    assert_true(served(&n, "services", "a"));
    assert_int_equal(sb_store_begin(n.store, &err), SB_OK);
    json_decref(test_insert(n.store, "services", "{\"name\":\"b\",\"host\":\"h\"}"));
    assert_int_equal(sb_store_savepoint(n.store, &err), SB_OK);
    json_decref(test_insert(n.store, "routes", "{\"name\":\"r\",\"paths\":[\"/x\"],\"service\":{\"name\":\"b\"}}"));
    assert_int_equal(sb_store_rollback_to(n.store, &err), SB_OK);
    assert_false(served(&n, "services", "b"));
    assert_int_equal(sb_store_commit(n.store, &err), SB_OK);
    assert_true(served(&n, "services", "b"));
    assert_false(served(&n, "routes", "r"));
    stop(&n);

    start(&n, dir); /* kept */
    assert_true(n.usable);
    assert_true(served(&n, "services", "b"));
    stop(&n);

    path = sb_asprintf("%s/silverback.db", dir);
    alone = test_open(path); /* written without its model, as by the command line while no node runs */
    json_decref(test_insert(alone, "routes", "{\"name\":\"r\",\"paths\":[\"/x\"],\"service\":{\"name\":\"b\"}}"));
    test_expect(sb_dao_delete(alone, sb_entity_find("services"), sb_json_string(row, "id"), NULL, NULL, &err), SB_OK, &err);
    sb_store_close(alone);
    start(&n, dir); /* replayed */
    assert_true(n.usable);
    assert_true(served(&n, "routes", "r"));
    assert_false(served(&n, "services", "a"));
    stop(&n);

    /* Another record in its place: its model is foreign, and rebuilt. */
    assert_int_equal(unlink(path), 0);
    start(&n, dir);
    assert_false(n.usable);
    assert_false(served(&n, "routes", "r"));
    stop(&n);
    json_decref(row);
    free(path);
    test_folder_remove(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(committed_rows_are_served)};

    return cmocka_run_group_tests(tests, test_entities, NULL);
}
