/* The handle: transactions and savepoints, sequence and change log, reopening, migrations, the writer lock, database failures. */
#include "unit/store/store_test.h"
#include "core/base/log.h"
#include "core/store/sqlite/sqlite_int.h"

#include <fcntl.h>
#include <sys/stat.h>

static void
transaction_undone(void **state)
{
    sb_store_t *s = test_open(NULL);
    uint64_t seq = sb_store_seq(s);
    sb_err_t err = {0};
    json_t *row;

    assert_int_equal(sb_store_begin(s, &err), SB_OK);
    row = test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\",\"tags\":[\"t\"]}");
    assert_true(test_exists(s, "services", sb_json_string(row, "id"))); /* seen inside */
    sb_store_rollback(s);
    assert_false(test_exists(s, "services", sb_json_string(row, "id")));
    assert_int_equal(sb_store_seq(s), seq);
    json_decref(row);
    row = test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\"}");
    assert_int_equal(sb_store_seq(s), seq + 1); /* the number was given back */
    json_decref(row);
    sb_store_close(s);
}

static void
savepoints_nest(void **state)
{
    sb_store_t *s = test_open(NULL);
    uint64_t seq = sb_store_seq(s);
    sb_err_t err = {0};
    json_t *row;

    assert_int_equal(sb_store_begin(s, &err), SB_OK);
    json_decref(test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    assert_int_equal(sb_store_savepoint(s, &err), SB_OK);
    json_decref(test_insert(s, "services", "{\"name\":\"b\",\"host\":\"h\"}"));
    assert_int_equal(sb_store_savepoint(s, &err), SB_OK);
    json_decref(test_insert(s, "services", "{\"name\":\"c\",\"host\":\"h\"}"));
    assert_int_equal(sb_store_rollback_to(s, &err), SB_OK); /* c */
    assert_int_equal(sb_store_savepoint(s, &err), SB_OK);
    json_decref(test_insert(s, "services", "{\"name\":\"d\",\"host\":\"h\"}"));
    assert_int_equal(sb_store_release(s, &err), SB_OK);     /* d stays with its surroundings */
    assert_int_equal(sb_store_rollback_to(s, &err), SB_OK); /* b and d */
    assert_int_equal(sb_store_savepoint(s, &err), SB_OK);
    json_decref(test_insert(s, "services", "{\"name\":\"e\",\"host\":\"h\"}"));
    assert_int_equal(sb_store_release(s, &err), SB_OK);
    assert_int_equal(sb_store_commit(s, &err), SB_OK);

    assert_int_equal(test_count(s, "services"), 2);
    row = test_select(s, "services", "a", "name");
    json_decref(row);
    row = test_select(s, "services", "e", "name");
    json_decref(row);
    assert_int_equal(sb_store_seq(s), seq + 2);
    sb_store_close(s);
}

static void
a_declined_write_leaves_the_transaction_usable(void **state)
{
    sb_store_t *s = test_open(NULL);
    sb_err_t err = {0};

    assert_int_equal(sb_store_begin(s, &err), SB_OK);
    json_decref(test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    test_insert_fails(s, "services", "{\"name\":\"a\",\"host\":\"h\"}", 5, "UNIQUE violation detected on '{name=\"a\"}'", NULL);
    assert_int_equal(sb_store_commit(s, &err), SB_OK);
    assert_int_equal(test_count(s, "services"), 1);
    sb_store_close(s);
}

typedef struct log_check {
    uint64_t next;
    json_t *all;
} log_check_t;

static int
on_change(uint64_t seq, const json_t *change, void *arg)
{
    log_check_t *c = arg;

    assert_int_equal(seq, c->next++);
    json_array_append(c->all, (json_t *)change);
    return SB_OK;
}

static void
change_log(void **state)
{
    sb_store_t *s = test_open(NULL);
    uint64_t from = sb_store_seq(s);
    log_check_t c = {.next = from + 1, .all = json_array()};
    json_t *made, *input, *row = NULL, *change;
    sb_err_t err = {0};
    char id[64];

    sb_store_set_actor(s, "someone");
    made = test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\"}");
    sb_store_set_actor(s, NULL);
    snprintf(id, sizeof(id), "%s", sb_json_string(made, "id"));
    input = test_json("{\"port\":99}");
    test_expect(sb_dao_update(s, sb_entity_find("services"), id, input, NULL, &row, &err), SB_OK, &err);
    json_decref(input);
    test_expect(sb_dao_delete(s, sb_entity_find("services"), id, NULL, NULL, &err), SB_OK, &err);
    test_expect(sb_store_changes(s, from, on_change, &c, &err), SB_OK, &err);

    assert_int_equal(json_array_size(c.all), 3);
    change = json_array_get(c.all, 0);
    assert_string_equal(sb_json_string(change, "op"), "create");
    assert_string_equal(sb_json_string(change, "entity"), "services");
    assert_string_equal(sb_json_string(change, "id"), id);
    assert_string_equal(sb_json_string(change, "ws"), sb_store_default_workspace(s));
    assert_string_equal(sb_json_string(change, "actor"), "someone");
    assert_true(json_equal(json_object_get(change, "row"), made));
    assert_true(json_is_null(json_object_get(change, "old")));
    change = json_array_get(c.all, 1);
    assert_string_equal(sb_json_string(change, "op"), "update");
    assert_true(json_equal(json_object_get(change, "row"), row));
    assert_true(json_equal(json_object_get(change, "old"), made));
    assert_true(json_is_null(json_object_get(change, "actor")));
    change = json_array_get(c.all, 2);
    assert_string_equal(sb_json_string(change, "op"), "delete");
    assert_true(json_is_null(json_object_get(change, "row")));
    assert_true(json_equal(json_object_get(change, "old"), row));
    json_decref(c.all);
    json_decref(made);
    json_decref(row);
    sb_store_close(s);
}

static int
same_version(json_t *row, const char *ws, uint64_t version, void *arg)
{
    assert_int_equal(version, *(uint64_t *)arg);
    return SB_OK;
}

static void
row_version_is_the_sequence(void **state)
{
    sb_store_t *s = test_open(NULL);
    json_t *row = NULL, *input = test_json("{\"port\":99}");
    sb_err_t err = {0};
    uint64_t seq;
    char id[64];

    snprintf(id, sizeof(id), "%s", test_insert_id(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    seq = sb_store_seq(s);
    test_expect(sb_dao_each(s, sb_entity_find("services"), same_version, &seq, &err), SB_OK, &err);
    json_decref(test_insert(s, "consumers", "{\"username\":\"c\"}"));
    test_expect(sb_dao_update(s, sb_entity_find("services"), id, input, NULL, &row, &err), SB_OK, &err);
    assert_int_equal(sb_store_seq(s), seq + 2);
    seq += 2;
    test_expect(sb_dao_each(s, sb_entity_find("services"), same_version, &seq, &err), SB_OK, &err);
    json_decref(row);
    json_decref(input);
    sb_store_close(s);
}

static void
reopened(void **state)
{
    char *dir = test_folder(), *path = sb_asprintf("%s/store/silverback.db", dir), id[64], ws[64];
    sb_store_t *s = test_open(path);
    json_t *made = test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\",\"tags\":[\"x\"]}"), *row, *status;
    uint64_t seq = sb_store_seq(s);
    struct stat st;

    snprintf(id, sizeof(id), "%s", sb_store_id(s));
    snprintf(ws, sizeof(ws), "%s", sb_store_default_workspace(s));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    sb_store_close(s);

    s = test_open(path);
    assert_string_equal(sb_store_id(s), id);
    assert_string_equal(sb_store_default_workspace(s), ws);
    assert_int_equal(sb_store_seq(s), seq);
    row = test_select(s, "services", "a", "name");
    assert_true(json_equal(row, made));
    json_decref(row);
    json_decref(made);
    status = sb_store_migration_status(s);
    assert_int_equal(json_array_size(json_object_get(status, "new")), 0);
    assert_true(json_array_size(json_object_get(status, "executed")) >= 1);
    json_decref(status);
    sb_store_close(s);
    free(path);
    test_folder_remove(dir);
}

/* How many steps a look from outside finds executed, and how many new. */
static void
expect_steps(const char *path, bool executed, bool fresh)
{
    json_t *status = NULL;
    sb_err_t err = {0};

    test_expect(sb_store_peek(&sb_store_sqlite, path, &status, &err), SB_OK, &err);
    assert_int_equal(json_array_size(json_object_get(status, "executed")) != 0, executed);
    assert_int_equal(json_array_size(json_object_get(status, "new")) != 0, fresh);
    assert_int_equal(json_array_size(json_object_get(status, "missing")), 0);
    json_decref(status);
}

static void
looked_at_and_destroyed(void **state)
{
    char *dir = test_folder(), *path = sb_asprintf("%s/silverback.db", dir);
    sb_store_t *s;
    sb_err_t err = {0};
    struct stat st;

    expect_steps(path, false, true);
    assert_int_not_equal(stat(path, &st), 0); /* looking made nothing */
    s = test_open(path);
    expect_steps(path, true, false); /* beside the writer */
    assert_int_equal(sb_store_destroy(path, &err), SB_DECLINED);
    assert_non_null(strstr(err.message, "holds the writer role"));
    sb_err_clear(&err);
    json_decref(test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    sb_store_close(s);
    test_expect(sb_store_destroy(path, &err), SB_OK, &err);
    expect_steps(path, false, true);
    s = test_open(path);
    json_decref(test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    sb_store_close(s);
    free(path);
    test_folder_remove(dir);
}

static void
second_writer_refused(void **state)
{
    char *dir = test_folder(), *path = sb_asprintf("%s/silverback.db", dir), *wanted;
    sb_store_config_t cfg = {.path = path};
    sb_store_t *s = test_open(path), *second = NULL;
    sb_err_t err = {0};

    assert_int_equal(sb_store_open(&sb_store_sqlite, &cfg, &second, &err), SB_DECLINED);
    assert_null(second);
    wanted = sb_asprintf("another process holds the writer role of %s, pid %ld", dir, (long)getpid());
    assert_string_equal(err.message, wanted);
    sb_err_clear(&err);
    sb_store_close(s);
    s = test_open(path); /* free again */
    sb_store_close(s);
    free(wanted);
    free(path);
    test_folder_remove(dir);
}

/* --- migrations --- */

static void
sql(const char *path, const char *text)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void
missing_columns_are_added(void **state)
{
    char *dir = test_folder(), *path = sb_asprintf("%s/silverback.db", dir);
    sb_store_t *s = test_open(path);
    json_t *row;

    json_decref(test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    json_decref(test_insert(s, "routes", "{\"name\":\"r\",\"paths\":[\"/x\"],\"service\":{\"name\":\"a\"}}"));
    sb_store_close(s);
    /* As an older version would have left it: a field that did not exist, and a column nobody knows any more. */
    sql(path, "ALTER TABLE services DROP COLUMN path; ALTER TABLE services ADD COLUMN forgotten TEXT; DROP TABLE consumers;");
    s = test_open(path);
    row = test_select(s, "services", "a", "name");
    assert_true(json_is_null(json_object_get(row, "path")));
    assert_null(json_object_get(row, "forgotten"));
    json_decref(row);
    json_decref(test_insert(s, "services", "{\"name\":\"b\",\"host\":\"h\",\"path\":\"/p\"}"));
    json_decref(test_insert(s, "consumers", "{\"username\":\"c\"}"));
    sb_store_close(s);
    free(path);
    test_folder_remove(dir);
}

static void
newer_files_are_refused(void **state)
{
    char *dir = test_folder(), *path = sb_asprintf("%s/silverback.db", dir);
    sb_store_config_t cfg = {.path = path};
    sb_store_t *s = test_open(path);
    sb_err_t err = {0};

    sb_store_close(s);
    sql(path, "INSERT INTO schema_meta VALUES('core','999_future',999,0)");
    s = NULL;
    assert_int_equal(sb_store_open(&sb_store_sqlite, &cfg, &s, &err), SB_DECLINED);
    assert_string_equal(err.message, "the database was written by a newer version (migration 999_future is not known here)");
    sb_err_clear(&err);
    free(path);
    test_folder_remove(dir);
}

/* --- database failures --- */

static int logged;

static void
count_errors(int level, const char *line)
{
    logged += level <= SB_LOG_ERR;
}

static void
a_full_database_applies_nothing(void **state)
{
    sb_store_t *s = test_open(NULL);
    sb_sqlite_t *q = s->conn;
    json_t *input, *row = NULL;
    char *big = sb_malloc(300001);
    uint64_t seq;
    sb_err_t err = {0};

    json_decref(test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    seq = sb_store_seq(s);
    assert_int_equal(sqlite3_exec(q->db, "PRAGMA max_page_count=1", NULL, NULL, NULL), SQLITE_OK); /* that is: as many as there are */
    memset(big, 'x', 300000);
    big[300000] = '\0';
    input = json_pack("{s:s,s:s,s:[s]}", "username", "big", "custom_id", big, "tags", "t");
    logged = 0;
    sb_log_set_sink(count_errors);
    assert_int_equal(sb_dao_insert(s, sb_entity_find("consumers"), input, NULL, &row, &err), SB_ERROR);
    sb_log_set_sink(NULL);
    assert_int_equal(err.code, SB_E_DATABASE);
    assert_non_null(strstr(err.message, "full"));
    assert_true(logged > 0);
    assert_null(row);
    sb_err_clear(&err);
    assert_int_equal(test_count(s, "consumers"), 0);
    assert_int_equal(sb_store_seq(s), seq);
    /* Room again: it goes on. */
    assert_int_equal(sqlite3_exec(q->db, "PRAGMA max_page_count=1000000", NULL, NULL, NULL), SQLITE_OK);
    test_expect(sb_dao_insert(s, sb_entity_find("consumers"), input, NULL, &row, &err), SB_OK, &err);
    assert_int_equal(sb_store_seq(s), seq + 1);
    json_decref(row);
    json_decref(input);
    free(big);
    sb_store_close(s);
}

/* A failure in the middle of a write (its log entry cannot be stored) spoils the transaction, however the caller goes on. */
static void
half_a_write_is_never_committed(void **state)
{
    sb_store_t *s = test_open(NULL);
    sb_sqlite_t *q = s->conn;
    json_t *input = test_json("{\"name\":\"b\",\"host\":\"h\"}"), *row = NULL;
    sb_err_t err = {0};

    sb_log_set_sink(count_errors);
    assert_int_equal(sb_store_begin(s, &err), SB_OK);
    json_decref(test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    assert_int_equal(
        sqlite3_exec(q->db, "CREATE TEMP TRIGGER no BEFORE INSERT ON main.changes BEGIN SELECT RAISE(ABORT,'no'); END", NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sb_dao_insert(s, sb_entity_find("services"), input, NULL, &row, &err), SB_ERROR);
    sb_err_clear(&err);
    assert_int_equal(sb_store_savepoint(s, &err), SB_ERROR);
    sb_err_clear(&err);
    assert_int_equal(sb_store_commit(s, &err), SB_ERROR);
    sb_err_clear(&err);
    assert_int_equal(test_count(s, "services"), 0);
    /* Inside a savepoint the damage stays there. (The trigger went with the transaction.) */
    assert_int_equal(sb_store_begin(s, &err), SB_OK);
    json_decref(test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    assert_int_equal(sb_store_savepoint(s, &err), SB_OK);
    assert_int_equal(
        sqlite3_exec(q->db, "CREATE TEMP TRIGGER no BEFORE INSERT ON main.changes BEGIN SELECT RAISE(ABORT,'no'); END", NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sb_dao_insert(s, sb_entity_find("services"), input, NULL, &row, &err), SB_ERROR);
    sb_err_clear(&err);
    assert_int_equal(sb_store_rollback_to(s, &err), SB_OK);
    assert_int_equal(sb_store_commit(s, &err), SB_OK);
    sb_log_set_sink(NULL);
    assert_int_equal(test_count(s, "services"), 1);
    json_decref(input);
    sb_store_close(s);
}

static void
a_locked_database_is_an_error(void **state)
{
    char *dir = test_folder(), *path = sb_asprintf("%s/silverback.db", dir);
    sb_store_t *s = test_open(path);
    json_t *input = test_json("{\"name\":\"b\",\"host\":\"h\"}"), *row = NULL;
    sqlite3 *other = NULL;
    sb_err_t err = {0};

    sqlite3_busy_timeout(((sb_sqlite_t *)s->conn)->db, 0);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    sb_log_set_sink(count_errors);
    assert_int_equal(sb_dao_insert(s, sb_entity_find("services"), input, NULL, &row, &err), SB_ERROR);
    sb_log_set_sink(NULL);
    assert_int_equal(err.code, SB_E_DATABASE);
    assert_non_null(strstr(err.message, "locked"));
    sb_err_clear(&err);
    sqlite3_close(other);
    test_expect(sb_dao_insert(s, sb_entity_find("services"), input, NULL, &row, &err), SB_OK, &err);
    json_decref(row);
    json_decref(input);
    sb_store_close(s);
    free(path);
    test_folder_remove(dir);
}

static void
a_damaged_file_is_an_error(void **state)
{
    char *dir = test_folder(), *path = sb_asprintf("%s/silverback.db", dir);
    sb_store_config_t cfg = {.path = path};
    sb_store_t *s = NULL;
    sb_err_t err = {0};
    FILE *f = fopen(path, "w");
    int i;

    for (i = 0; i < 1000; i++)
        fputs("this is no database ", f);
    fclose(f);
    sb_log_set_sink(count_errors);
    assert_int_equal(sb_store_open(&sb_store_sqlite, &cfg, &s, &err), SB_ERROR);
    sb_log_set_sink(NULL);
    assert_int_equal(err.code, SB_E_DATABASE);
    assert_non_null(strstr(err.message, path));
    assert_null(s);
    sb_err_clear(&err);
    free(path);
    test_folder_remove(dir);
}

static void
old_changes_are_pruned(void **state)
{
    sb_store_t *s = test_open(NULL);
    const sb_table_t *t = sb_tables_find(s->tables, "consumers");
    json_t *row = test_insert(s, "consumers", "{\"username\":\"c\"}");
    uint64_t first, last;
    sb_err_t err = {0};
    int i;

    assert_int_equal(sb_store_begin(s, &err), SB_OK);
    for (i = 0; i < SB_STORE_CHANGES_KEEP + 3 * SB_STORE_PRUNE_SLICE; i++)
        assert_int_equal(sb_store_write(s, t, s->default_ws, row, row, &err), SB_OK);
    assert_int_equal(sb_store_commit(s, &err), SB_OK);
    while (sb_store_idle(s, true))
        continue;
    assert_int_equal(s->ops->log_bounds(s->conn, &first, &last, &err), SB_OK);
    assert_int_equal(last, sb_store_seq(s));
    assert_true(last - first >= SB_STORE_CHANGES_KEEP - 1);
    assert_true(last - first <= SB_STORE_CHANGES_KEEP + SB_STORE_PRUNE_SLICE);
    assert_int_equal(first, s->log_first);
    json_decref(row);
    sb_store_close(s);
}

static void
pretty_text(void **state)
{
    json_t *v = test_json("{\"b\":[1,2.5,true,null],\"a-b\":\"q\\\"\",\"end\":{},\"_x\":false}");
    char *text = sb_store_pretty(v);

    assert_string_equal(text, "{_x=false,[\"a-b\"]=\"q\\\"\",b={1,2.5,true,null},[\"end\"]={}}");
    free(text);
    json_decref(v);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transaction_undone),
        cmocka_unit_test(savepoints_nest),
        cmocka_unit_test(a_declined_write_leaves_the_transaction_usable),
        cmocka_unit_test(change_log),
        cmocka_unit_test(row_version_is_the_sequence),
        cmocka_unit_test(reopened),
        cmocka_unit_test(looked_at_and_destroyed),
        cmocka_unit_test(second_writer_refused),
        cmocka_unit_test(missing_columns_are_added),
        cmocka_unit_test(newer_files_are_refused),
        cmocka_unit_test(a_full_database_applies_nothing),
        cmocka_unit_test(half_a_write_is_never_committed),
        cmocka_unit_test(a_locked_database_is_an_error),
        cmocka_unit_test(a_damaged_file_is_an_error),
        cmocka_unit_test(old_changes_are_pruned),
        cmocka_unit_test(pretty_text),
    };

    return cmocka_run_group_tests(tests, test_entities, NULL);
}
