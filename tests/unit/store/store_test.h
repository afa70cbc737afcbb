/* What the store's tests share: a store in memory or in a folder of its own, short forms of the DAO's calls. */
#ifndef STORE_TEST_H
#define STORE_TEST_H

#include "core/base/json.h"
#include "core/store/store_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static inline sb_store_t *
test_open(const char *path)
{
    sb_store_config_t cfg = {.path = path, .in_memory = path == NULL};
    sb_store_t *s = NULL;
    sb_err_t err = {0};
    int rc = sb_store_open(&sb_store_sqlite, &cfg, &s, &err);

    if (rc != SB_OK)
        print_error("open: %s\n", err.message != NULL ? err.message : "no text");
    assert_int_equal(rc, SB_OK);
    return s;
}

/* A folder for one test; removed by test_folder_remove. */
static inline char *
test_folder(void)
{
    char *dir = sb_asprintf("%s/sbstore.XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");

    assert_non_null(mkdtemp(dir));
    return dir;
}

static inline void
test_folder_remove(char *dir)
{
    char *cmd = sb_asprintf("rm -rf '%s'", dir);

    assert_int_equal(system(cmd), 0);
    free(cmd);
    free(dir);
}

static inline json_t *
test_json(const char *text)
{
    json_error_t e;
    json_t *v = json_loads(text, JSON_DECODE_ANY, &e);

    if (v == NULL)
        print_error("bad JSON in test: %s: %s\n", text, e.text);
    assert_non_null(v);
    return v;
}

static inline void
test_expect(int rc, int wanted, sb_err_t *err)
{
    if (rc != wanted)
        print_error("result %d, code %d: %s\n", rc, err->code, err->message != NULL ? err->message : "");
    assert_int_equal(rc, wanted);
}

static inline json_t *
test_insert(sb_store_t *s, const char *entity, const char *text)
{
    json_t *input = test_json(text), *row = NULL;
    sb_err_t err = {0};

    test_expect(sb_dao_insert(s, sb_entity_find(entity), input, NULL, &row, &err), SB_OK, &err);
    json_decref(input);
    return row;
}

/* Inserts and gives the id, in static memory of four turns. */
static inline const char *
test_insert_id(sb_store_t *s, const char *entity, const char *text)
{
    static char ids[4][64];
    static unsigned turn;
    json_t *row = test_insert(s, entity, text);
    char *id = ids[turn++ % 4];

    snprintf(id, sizeof(ids[0]), "%s", sb_json_string(row, "id"));
    json_decref(row);
    return id;
}

/* printf into JSON text that a call of the same expression uses. */
#define T(...) (snprintf(test_text, sizeof(test_text), __VA_ARGS__), test_text)
static char test_text[4096] __attribute__((unused));

static inline void
test_error(sb_err_t *err, int code, const char *message, const char *fields)
{
    assert_int_equal(err->code, code);
    assert_string_equal(err->message, message);
    if (fields != NULL) {
        json_t *wanted = test_json(fields);

        if (!json_equal(wanted, err->fields)) {
            char *got = sb_json_dump(err->fields);

            print_error("fields %s, wanted %s\n", got, fields);
            free(got);
        }
        assert_true(json_equal(wanted, err->fields));
        json_decref(wanted);
    }
    sb_err_clear(err);
}

static inline void
test_insert_fails(sb_store_t *s, const char *entity, const char *text, int code, const char *message, const char *fields)
{
    json_t *input = test_json(text), *row = NULL;
    sb_err_t err = {0};
    uint64_t seq = s->seq;

    test_expect(sb_dao_insert(s, sb_entity_find(entity), input, NULL, &row, &err), SB_DECLINED, &err);
    assert_null(row);
    assert_int_equal(s->seq, seq);
    test_error(&err, code, message, fields);
    json_decref(input);
}

static inline json_t *
test_select(sb_store_t *s, const char *entity, const char *key, const char *by)
{
    sb_dao_opts_t o = {.by = by};
    json_t *row = NULL;
    sb_err_t err = {0};

    test_expect(sb_dao_select(s, sb_entity_find(entity), key, &o, &row, &err), SB_OK, &err);
    return row;
}

static inline bool
test_exists(sb_store_t *s, const char *entity, const char *key)
{
    json_t *row = NULL;
    sb_err_t err = {0};
    int rc = sb_dao_select(s, sb_entity_find(entity), key, NULL, &row, &err);

    assert_int_not_equal(rc, SB_ERROR);
    json_decref(row);
    sb_err_clear(&err);
    return rc == SB_OK;
}

static inline int
test_count_one(json_t *row, const char *ws, uint64_t version, void *arg)
{
    ++*(size_t *)arg;
    return SB_OK;
}

static inline size_t
test_count(sb_store_t *s, const char *entity)
{
    sb_err_t err = {0};
    size_t n = 0;

    test_expect(sb_dao_each(s, sb_entity_find(entity), test_count_one, &n, &err), SB_OK, &err);
    return n;
}

static inline int
test_entities(void **state)
{
    static const struct sb_field config[] = {{.name = "n", .type = SB_T_INTEGER}, SB_FIELD_END};
    static const struct sb_field fields[] = {{.name = "config", .type = SB_T_RECORD, .required = 1, .fields = config}, SB_FIELD_END};
    static const struct sb_schema_def def = {.name = "test-plugin", .fields = fields};
    sb_plugin_schema_t ps = {.name = "test-plugin", .version = "1", .priority = 1};

    sb_entities_init();
    ps.schema = sb_schema_from_table(&def);
    sb_plugin_schemas_add(&ps);
    return 0;
}

#endif
