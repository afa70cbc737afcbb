/* Pages: order, tokens, bad tokens and sizes, stability while rows come and go; tag filters and /tags; what a listing costs. */
#include "core/store/sqlite/sqlite_int.h"
#include "unit/store/store_test.h"

static int
page(sb_store_t *s, const char *entity, const sb_page_opts_t *o, json_t **rows, char **next)
{
    sb_err_t err = {0};
    int rc = sb_dao_page(s, sb_entity_find(entity), o, rows, next, &err);

    test_expect(rc, SB_OK, &err);
    return rc;
}

/* All pages of `size`, the ids in order. */
static json_t *
walk(sb_store_t *s, const char *entity, sb_page_opts_t o, size_t *pages)
{
    json_t *ids = json_array(), *rows, *row;
    char *next = NULL, *last = NULL;
    size_t i;

    for (*pages = 0;; ++*pages) {
        o.offset = last;
        page(s, entity, &o, &rows, &next);
        json_array_foreach(rows, i, row) json_array_append(ids, json_object_get(row, "id"));
        json_decref(rows);
        free(last);
        last = next;
        if (next == NULL)
            break;
    }
    ++*pages;
    return ids;
}

static void
fill(sb_store_t *s, int n)
{
    int i;

    for (i = 0; i < n; i++)
        json_decref(test_insert(s, "services", T("{\"name\":\"s%d\",\"host\":\"h\"}", i)));
}

static bool
ascending(const json_t *ids)
{
    size_t i;

    for (i = 1; i < json_array_size(ids); i++)
        if (strcmp(json_string_value(json_array_get(ids, i - 1)), json_string_value(json_array_get(ids, i))) >= 0)
            return false;
    return true;
}

static void
pages_hold_each_row_once(void **state)
{
    sb_store_t *s = test_open(NULL);
    size_t pages;
    json_t *ids;

    fill(s, 25);
    ids = walk(s, "services", (sb_page_opts_t){.size = 10}, &pages);
    assert_int_equal(json_array_size(ids), 25);
    assert_int_equal(pages, 3);
    assert_true(ascending(ids));
    json_decref(ids);
    ids = walk(s, "services", (sb_page_opts_t){.size = 5}, &pages); /* the last page is full, and there is no empty one behind it */
    assert_int_equal(pages, 5);
    json_decref(ids);
    sb_store_close(s);
}

static void
pages_are_stable(void **state)
{
    sb_store_t *s = test_open(NULL);
    sb_page_opts_t o = {.size = 10};
    json_t *first, *rest, *row;
    char *next = NULL;
    size_t i, found = 0, pages;
    sb_err_t err = {0};

    fill(s, 20);
    page(s, "services", &o, &first, &next);
    assert_non_null(next);
    /* Rows in front of the token and the token's own row go, others come: what was there behind it is seen once, what was seen is not. */
    for (i = 5; i < 10; i++)
        test_expect(sb_dao_delete(s, sb_entity_find("services"), sb_json_string(json_array_get(first, i), "id"), NULL, NULL, &err), SB_OK,
                    &err);
    json_decref(test_insert(s, "services", "{\"id\":\"00000000-0000-4000-8000-000000000000\",\"host\":\"h\"}"));
    json_decref(test_insert(s, "services", "{\"id\":\"ffffffff-ffff-4fff-8fff-ffffffffffff\",\"host\":\"h\"}"));
    o.offset = next;
    rest = walk(s, "services", o, &pages);
    json_array_foreach(rest, i, row) found += strcmp(json_string_value(row), "ffffffff-ffff-4fff-8fff-ffffffffffff") != 0;
    free(next);
    json_decref(rest);
    json_decref(first);
    sb_store_close(s);
    assert_true(found >= 10);
}

static void
bad_tokens_and_sizes(void **state)
{
    static const struct {
        const char *offset, *message;
    } bad[] = {
        {"potato!", "'potato!' is not a valid offset: bad base64 encoding"},
        {"a", "'a' is not a valid offset: bad base64 encoding"},
        {"", "'' is not a valid offset: bad base64 encoding"},
        {"cG90YXRv", "'cG90YXRv' is not a valid offset: bad json encoding"},         /* potato */
        {"WyJhIiwiYiJd", "'WyJhIiwiYiJd' is not a valid offset: bad json encoding"}, /* ["a","b"] */
        {"W3t9XQ", "'W3t9XQ' is not a valid offset: bad json encoding"},             /* [{}] */
        {"W10", "'W10' is not a valid offset: bad json encoding"},                   /* [] */
    };
    sb_store_t *s = test_open(NULL);
    sb_page_opts_t o = {0};
    json_t *rows = NULL;
    char *next = NULL;
    sb_err_t err = {0};
    size_t i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        o.offset = bad[i].offset;
        assert_int_equal(sb_dao_page(s, sb_entity_find("services"), &o, &rows, &next, &err), SB_DECLINED);
        test_error(&err, 7, bad[i].message, NULL);
        assert_null(rows);
        assert_null(next);
    }
    o = (sb_page_opts_t){.size = 1001};
    assert_int_equal(sb_dao_page(s, sb_entity_find("services"), &o, &rows, &next, &err), SB_DECLINED);
    test_error(&err, 9, "size must be an integer between 1 and 1000", NULL);
    sb_store_close(s);
}

static void
token_is_base64_of_the_key(void **state)
{
    json_t *key = json_pack("[s]", "8f9d1c1e-0000-4000-8000-000000000001"), *back = NULL;
    char *token = sb_store_token_make(key), *padded;
    sb_err_t err = {0};

    assert_string_equal(token, "WyI4ZjlkMWMxZS0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwMDEiXQ");
    assert_int_equal(sb_store_token_read(token, 1, &back, &err), SB_OK);
    assert_true(json_equal(key, back));
    json_decref(back);
    padded = sb_asprintf("%s==", token);
    assert_int_equal(sb_store_token_read(padded, 1, &back, &err), SB_OK);
    json_decref(back);
    json_decref(key);
    free(padded);
    free(token);
}

static void
children_of_one_parent(void **state)
{
    sb_store_t *s = test_open(NULL);
    size_t pages;
    json_t *ids;
    char a[64];
    int i;

    snprintf(a, sizeof(a), "%s", test_insert_id(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    json_decref(test_insert(s, "services", "{\"name\":\"b\",\"host\":\"h\"}"));
    for (i = 0; i < 30; i++)
        json_decref(test_insert(s, "routes", T("{\"paths\":[\"/%d\"],\"service\":{\"name\":\"%s\"}}", i, i % 3 == 0 ? "a" : "b")));
    ids = walk(s, "routes", (sb_page_opts_t){.size = 4, .foreign_field = "service", .foreign_id = a}, &pages);
    assert_int_equal(json_array_size(ids), 10);
    assert_int_equal(pages, 3);
    assert_true(ascending(ids));
    json_decref(ids);
    sb_store_close(s);
}

static void
newest_first(void **state)
{
    sb_store_t *s = test_open(NULL);
    const sb_table_t *targets = sb_tables_find(s->tables, "targets");
    char up[64];
    json_t *ids;
    size_t pages, i;
    sb_err_t err = {0};

    snprintf(up, sizeof(up), "%s", test_insert_id(s, "upstreams", "{\"name\":\"u\"}"));
    /* Past the schema, which sets created_at itself; two share one time. */
    assert_int_equal(sb_store_begin(s, &err), SB_OK);
    for (i = 0; i < 5; i++) {
        json_t *row = test_json(T(
            "{\"id\":\"00000000-0000-4000-8000-00000000000%zu\",\"target\":\"t%zu\",\"created_at\":%s,\"upstream\":{\"id\":\"%s\"}}", i, i,
            i == 0  ? "1700000000.5"
            : i < 3 ? "1700000002"
                    : "1700000001.25",
            up));

        assert_int_equal(sb_store_write(s, targets, s->default_ws, row, NULL, &err), SB_OK);
        json_decref(row);
    }
    assert_int_equal(sb_store_commit(s, &err), SB_OK);
    ids = walk(s, "targets", (sb_page_opts_t){.size = 2, .foreign_field = "upstream", .foreign_id = up, .newest_first = true}, &pages);
    assert_int_equal(json_array_size(ids), 5);
    for (i = 0; i < 5; i++) {
        static const char order[] = "12340";
        const char *id = json_string_value(json_array_get(ids, i));

        assert_int_equal(id[strlen(id) - 1], order[i]);
    }
    json_decref(ids);
    sb_store_close(s);
}

static size_t
tagged(sb_store_t *s, const char *a, const char *b, bool any)
{
    const char *tags[] = {a, b, NULL};
    size_t pages, n;
    json_t *ids = walk(s, "services", (sb_page_opts_t){.size = 2, .tags = tags, .tags_any = any}, &pages);

    assert_true(ascending(ids));
    n = json_array_size(ids);
    json_decref(ids);
    return n;
}

static void
tag_filters(void **state)
{
    sb_store_t *s = test_open(NULL);
    json_t *row = NULL, *input;
    sb_err_t err = {0};
    char id[64];
    int i;

    for (i = 0; i < 12; i++)
        json_decref(test_insert(
            s, "services", T("{\"host\":\"h\",\"tags\":[\"all\"%s%s]}", i % 2 == 0 ? ",\"two\"" : "", i % 3 == 0 ? ",\"three\"" : "")));
    json_decref(test_insert(s, "consumers", "{\"username\":\"c\",\"tags\":[\"two\"]}")); /* of another entity */
    assert_int_equal(tagged(s, "all", NULL, false), 12);
    assert_int_equal(tagged(s, "two", NULL, false), 6);
    assert_int_equal(tagged(s, "two", "three", false), 2);
    assert_int_equal(tagged(s, "two", "three", true), 8);
    assert_int_equal(tagged(s, "none", NULL, false), 0);
    /* Tags follow updates and deletes. */
    snprintf(id, sizeof(id), "%s", test_insert_id(s, "services", "{\"host\":\"h\",\"tags\":[\"x\"]}"));
    input = test_json("{\"tags\":[\"y\"]}");
    test_expect(sb_dao_update(s, sb_entity_find("services"), id, input, NULL, &row, &err), SB_OK, &err);
    json_decref(row);
    json_decref(input);
    assert_int_equal(tagged(s, "x", NULL, false), 0);
    assert_int_equal(tagged(s, "y", NULL, false), 1);
    test_expect(sb_dao_delete(s, sb_entity_find("services"), id, NULL, NULL, &err), SB_OK, &err);
    assert_int_equal(tagged(s, "y", NULL, false), 0);
    sb_store_close(s);
}

static void
tags_listed(void **state)
{
    sb_store_t *s = test_open(NULL);
    sb_page_opts_t o = {.size = 2};
    json_t *rows = NULL;
    char *next = NULL, *token;
    sb_err_t err = {0};

    json_decref(test_insert(s, "services", "{\"host\":\"h\",\"tags\":[\"b\",\"a\"]}"));
    json_decref(test_insert(s, "consumers", "{\"username\":\"c\",\"tags\":[\"b\"]}"));
    test_expect(sb_dao_tags(s, NULL, &o, &rows, &next, &err), SB_OK, &err);
    assert_int_equal(json_array_size(rows), 2);
    assert_string_equal(sb_json_string(json_array_get(rows, 0), "tag"), "a");
    assert_string_equal(sb_json_string(json_array_get(rows, 1), "entity_name"), "consumers");
    assert_non_null(next);
    json_decref(rows);
    o.offset = token = next;
    test_expect(sb_dao_tags(s, NULL, &o, &rows, &next, &err), SB_OK, &err);
    assert_int_equal(json_array_size(rows), 1);
    assert_string_equal(sb_json_string(json_array_get(rows, 0), "entity_name"), "services");
    assert_null(next);
    json_decref(rows);
    free(token);
    o.offset = NULL;
    test_expect(sb_dao_tags(s, "b", &o, &rows, &next, &err), SB_OK, &err);
    assert_int_equal(json_array_size(rows), 2);
    assert_null(next);
    json_decref(rows);
    sb_store_close(s);
}

/* Writes a row past the schema. */
static void
write_raw(sb_store_t *s, const char *entity, json_t *row)
{
    sb_err_t err = {0};

    test_expect(sb_store_write(s, sb_tables_find(s->tables, entity), s->default_ws, row, NULL, &err), SB_OK, &err);
    json_decref(row);
}

static void
write_plugins(sb_store_t *s, const char *name, int from, int to)
{
    sb_err_t err = {0};
    char id[SB_UUID_TEXT + 1], service[SB_UUID_TEXT + 1];

    assert_int_equal(sb_store_begin(s, &err), SB_OK);
    for (int i = from; i < to; i++) {
        sb_uuid_v4(id);
        sb_uuid_v4(service);
        write_raw(s, "plugins", json_pack("{s:s,s:s,s:{s:s},s:{}}", "id", id, "name", name, "service", "id", service, "config"));
    }
    assert_int_equal(sb_store_commit(s, &err), SB_OK);
}

static void
add_text(const char *value, void *arg)
{
    json_array_append_new(arg, json_string(value));
}

static int
count_step(void *arg)
{
    ++*(size_t *)arg;
    return 0;
}

/* Whether the leading values are those, and how many steps the database took to find them. */
static size_t
steps_to_find(sb_store_t *s, const char *wanted)
{
    sqlite3 *db = ((sb_sqlite_t *)s->conn)->db;
    json_t *found = json_array(), *names = test_json(wanted);
    sb_err_t err = {0};
    size_t steps = 0;

    sqlite3_progress_handler(db, 1, count_step, &steps);
    test_expect(sb_dao_leading(s, sb_entity_find("plugins"), add_text, found, &err), SB_OK, &err);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    assert_true(json_equal(found, names));
    json_decref(found);
    json_decref(names);
    return steps;
}

static void
names_without_reading_rows(void **state)
{
    /* In the order of the keys: '-' comes before ':', which ends a name. */
    static const char all[] = "[\"a\",\"key-auth-enc\",\"key-auth\",\"key-authz\",\"z\"]";
    static const char *const names[] = {"key-auth", "z", "key-authz", "a", "key-auth-enc"};
    sb_store_t *s = test_open(NULL);
    size_t few;

    steps_to_find(s, "[]");
    for (int i = 0; i < 5; i++)
        write_plugins(s, names[i], 0, 2);
    few = steps_to_find(s, all);
    for (int i = 0; i < 5; i++)
        write_plugins(s, names[i], 2, 400);
    assert_true(steps_to_find(s, all) < few * 2);
    sb_store_close(s);
}

static size_t pages_of_snis;

static int
counting_page(void *conn, const sb_table_t *t, const sb_query_t *q, int (*fn)(sb_record_t *rec, void *arg), void *arg, sb_err_t *err)
{
    pages_of_snis += strcmp(t->name, "snis") == 0;
    return sb_store_sqlite.page(conn, t, q, fn, arg, err);
}

static void
names_of_all_certificates_at_once(void **state)
{
    sb_store_t *s = test_open(NULL);
    struct sb_store_ops ops = *s->ops;
    json_t *rows, *row;
    char id[SB_UUID_TEXT + 1], *next, *got;
    sb_err_t err = {0};
    size_t i;

    assert_int_equal(sb_store_begin(s, &err), SB_OK);
    for (i = 0; i < 30; i++) {
        snprintf(id, sizeof(id), "%08zu-1111-4111-8111-111111111111", i);
        write_raw(s, "certificates", json_pack("{s:s,s:s,s:s}", "id", id, "cert", "c", "key", "k"));
    }
    assert_int_equal(sb_store_commit(s, &err), SB_OK);
    for (i = 0; i < 30; i += 2)
        for (int n = 2; n-- > 0;)
            json_decref(test_insert(
                s, "snis", T("{\"name\":\"%d.c%zu.test\",\"certificate\":{\"id\":\"%08zu-1111-4111-8111-111111111111\"}}", n, i, i)));
    ops.page = counting_page;
    s->ops = &ops;
    pages_of_snis = 0;
    page(s, "certificates", &(sb_page_opts_t){.size = 20}, &rows, &next);
    assert_int_equal(pages_of_snis, 1);
    assert_int_equal(json_array_size(rows), 20);
    json_array_foreach(rows, i, row)
    {
        got = sb_json_dump(json_object_get(row, "snis"));
        assert_string_equal(got, i % 2 == 0 ? T("[\"0.c%zu.test\",\"1.c%zu.test\"]", i, i) : "[]");
        free(got);
    }
    json_decref(rows);
    free(next);
    sb_store_close(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_hold_each_row_once),
        cmocka_unit_test(pages_are_stable),
        cmocka_unit_test(bad_tokens_and_sizes),
        cmocka_unit_test(token_is_base64_of_the_key),
        cmocka_unit_test(children_of_one_parent),
        cmocka_unit_test(newest_first),
        cmocka_unit_test(tag_filters),
        cmocka_unit_test(tags_listed),
        cmocka_unit_test(names_without_reading_rows),
        cmocka_unit_test(names_of_all_certificates_at_once),
    };

    return cmocka_run_group_tests(tests, test_entities, NULL);
}
