/* The DAO: operations, each error code with its text and fields, references, uniqueness, cascades, workspaces. */
#include "silverback/typedefs.h"
#include "unit/store/store_test.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#define NOBODY "8f9d1c1e-0000-4000-8000-000000000001"

static int
update(sb_store_t *s, const char *entity, const char *key, const char *by, const char *text, json_t **row, sb_err_t *err)
{
    sb_dao_opts_t o = {.by = by};
    json_t *input = test_json(text);
    int rc = sb_dao_update(s, sb_entity_find(entity), key, input, &o, row, err);

    json_decref(input);
    return rc;
}

static int
upsert(sb_store_t *s, const char *entity, const char *key, const char *by, const char *text, json_t **row, sb_err_t *err)
{
    sb_dao_opts_t o = {.by = by};
    json_t *input = test_json(text);
    int rc = sb_dao_upsert(s, sb_entity_find(entity), key, input, &o, row, err);

    json_decref(input);
    return rc;
}

static void
insert_and_select(void **state)
{
    sb_store_t *s = test_open(NULL);
    json_t *made = test_insert(s, "services", "{\"name\":\"s1\",\"host\":\"example.com\",\"tags\":[\"a\",\"b\"]}");
    json_t *by_id = test_select(s, "services", sb_json_string(made, "id"), NULL);
    json_t *by_name = test_select(s, "services", "s1", "name");

    assert_true(json_equal(made, by_id)); /* every field came back as it was processed */
    assert_true(json_equal(made, by_name));
    assert_int_equal(sb_json_int(made, "port", 0), 80);
    assert_true(json_is_null(json_object_get(made, "path")));
    json_decref(made);
    json_decref(by_id);
    json_decref(by_name);
    sb_store_close(s);
}

static void
upper_case_ids_are_the_same(void **state)
{
    sb_store_t *s = test_open(NULL);
    json_t *row = test_insert(s, "services", "{\"id\":\"ABCDEF00-0000-4000-8000-000000000001\",\"host\":\"h\"}");

    assert_string_equal(sb_json_string(row, "id"), "abcdef00-0000-4000-8000-000000000001");
    assert_true(test_exists(s, "services", "ABCDEF00-0000-4000-8000-000000000001"));
    json_decref(row);
    row = test_insert(s, "routes", "{\"paths\":[\"/a\"],\"service\":{\"id\":\"ABCDEF00-0000-4000-8000-000000000001\"}}");
    assert_string_equal(sb_json_foreign_id(row, "service"), "abcdef00-0000-4000-8000-000000000001");
    json_decref(row);
    sb_store_close(s);
}

static void
not_found_and_bad_keys(void **state)
{
    sb_store_t *s = test_open(NULL);
    const sb_entity_t *e = sb_entity_find("services");
    sb_dao_opts_t by_name = {.by = "name"}, by_host = {.by = "host"};
    json_t *row = NULL;
    sb_err_t err = {0};

    assert_int_equal(sb_dao_select(s, e, "x", NULL, &row, &err), SB_DECLINED);
    test_error(&err, 1, "invalid primary key: '{id=\"x\"}'", "{\"id\":\"x\"}");
    assert_int_equal(sb_dao_select(s, e, NOBODY, NULL, &row, &err), SB_DECLINED);
    test_error(&err, 6, "could not find the entity with primary key '{id=\"" NOBODY "\"}'", "{\"id\":\"" NOBODY "\"}");
    assert_int_equal(sb_dao_select(s, e, "none", &by_name, &row, &err), SB_DECLINED);
    test_error(&err, 6, "could not find the entity with '{name=\"none\"}'", "{\"name\":\"none\"}");
    assert_int_equal(sb_dao_select(s, e, "h", &by_host, &row, &err), SB_DECLINED);
    assert_int_equal(err.code, 10);
    sb_err_clear(&err);
    assert_int_equal(update(s, "services", NOBODY, NULL, "{}", &row, &err), SB_DECLINED);
    test_error(&err, 6, "could not find the entity with primary key '{id=\"" NOBODY "\"}'", NULL);
    assert_null(row);
    sb_store_close(s);
}

static void
primary_key_violation(void **state)
{
    sb_store_t *s = test_open(NULL);

    json_decref(test_insert(s, "services", "{\"id\":\"" NOBODY "\",\"host\":\"h\"}"));
    test_insert_fails(s, "services", "{\"id\":\"" NOBODY "\",\"host\":\"h\"}", 3, "primary key violation on key '{id=\"" NOBODY "\"}'",
                      "{\"id\":\"" NOBODY "\"}");
    sb_store_close(s);
}

static void
unique_violation(void **state)
{
    sb_store_t *s = test_open(NULL);
    json_t *row = NULL;
    sb_err_t err = {0};
    char id[64];

    snprintf(id, sizeof(id), "%s", test_insert_id(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    json_decref(test_insert(s, "services", "{\"name\":\"b\",\"host\":\"h\"}"));
    test_insert_fails(s, "services", "{\"name\":\"a\",\"host\":\"h\"}", 5, "UNIQUE violation detected on '{name=\"a\"}'",
                      "{\"name\":\"a\"}");
    assert_int_equal(update(s, "services", id, NULL, "{\"name\":\"b\"}", &row, &err), SB_DECLINED);
    test_error(&err, 5, "UNIQUE violation detected on '{name=\"b\"}'", "{\"name\":\"b\"}");
    /* A row does not collide with itself, and a name that was given up is free. */
    test_expect(update(s, "services", id, NULL, "{\"name\":\"a\",\"port\":81}", &row, &err), SB_OK, &err);
    json_decref(row);
    test_expect(update(s, "services", "a", "name", "{\"name\":\"c\"}", &row, &err), SB_OK, &err);
    assert_string_equal(sb_json_string(row, "id"), id);
    json_decref(row);
    json_decref(test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    /* Unset names do not collide. */
    json_decref(test_insert(s, "services", "{\"host\":\"h\"}"));
    json_decref(test_insert(s, "services", "{\"host\":\"h\"}"));
    sb_store_close(s);
}

static void
foreign_keys(void **state)
{
    sb_store_t *s = test_open(NULL);
    char id[64];
    json_t *row;

    snprintf(id, sizeof(id), "%s", test_insert_id(s, "services", "{\"name\":\"svc\",\"host\":\"h\"}"));
    test_insert_fails(s, "routes", "{\"paths\":[\"/a\"],\"service\":{\"id\":\"" NOBODY "\"}}", 4,
                      "the foreign key '{id=\"" NOBODY "\"}' does not reference an existing 'services' entity.",
                      "{\"service\":{\"id\":\"" NOBODY "\"}}");
    row = test_insert(s, "routes", "{\"paths\":[\"/a\"],\"service\":{\"name\":\"svc\"}}");
    assert_string_equal(sb_json_foreign_id(row, "service"), id);
    json_decref(row);
    test_insert_fails(
        s, "routes", "{\"paths\":[\"/a\"],\"service\":{\"name\":\"no\"}}", 13,
        "foreign key unresolved (service.name: the foreign key cannot be resolved with '{name=\"no\"}' for an existing 'services' "
        "entity)",
        "{\"service\":{\"name\":\"the foreign key cannot be resolved with '{name=\\\"no\\\"}' for an existing 'services' entity\"}}");
    row = test_insert(s, "routes", "{\"paths\":[\"/b\"],\"service\":null}");
    assert_true(json_is_null(json_object_get(row, "service")));
    json_decref(row);
    sb_store_close(s);
}

static void
two_references_unresolved(void **state)
{
    sb_store_t *s = test_open(NULL);
    json_t *input = test_json("{\"name\":\"test-plugin\",\"service\":{\"name\":\"x\"},\"route\":{\"name\":\"y\"}}"), *row = NULL;
    sb_err_t err = {0};

    assert_int_equal(sb_dao_insert(s, sb_entity_find("plugins"), input, NULL, &row, &err), SB_DECLINED);
    test_error(
        &err, 13,
        "2 foreign keys unresolved (route.name: the foreign key cannot be resolved with '{name=\"y\"}' for an existing 'routes' entity; "
        "service.name: the foreign key cannot be resolved with '{name=\"x\"}' for an existing 'services' entity)",
        NULL);
    json_decref(input);
    sb_store_close(s);
}

static void
update_merges_and_unlinks(void **state)
{
    sb_store_t *s = test_open(NULL);
    char route[64];
    json_t *row = NULL, *again;
    sb_err_t err = {0};

    json_decref(test_insert(s, "services", "{\"name\":\"svc\",\"host\":\"h\"}"));
    snprintf(route, sizeof(route), "%s", test_insert_id(s, "routes", "{\"name\":\"r\",\"paths\":[\"/a\"],\"service\":{\"name\":\"svc\"}}"));
    test_expect(update(s, "routes", route, NULL, "{\"service\":null,\"hosts\":[\"x.org\"]}", &row, &err), SB_OK, &err);
    assert_true(json_is_null(json_object_get(row, "service")));
    assert_int_equal(json_array_size(json_object_get(row, "paths")), 1);
    again = test_select(s, "routes", "r", "name");
    assert_true(json_equal(row, again));
    json_decref(row);
    json_decref(again);
    sb_store_close(s);
}

static void
the_id_stays(void **state)
{
    sb_store_t *s = test_open(NULL);
    char id[64];
    json_t *row = NULL;
    sb_err_t err = {0};

    snprintf(id, sizeof(id), "%s", test_insert_id(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    test_expect(update(s, "services", id, NULL, "{\"id\":\"" NOBODY "\",\"port\":90}", &row, &err), SB_OK, &err);
    assert_string_equal(sb_json_string(row, "id"), id);
    json_decref(row);
    assert_false(test_exists(s, "services", NOBODY));
    sb_store_close(s);
}

static void
upserts(void **state)
{
    sb_store_t *s = test_open(NULL);
    json_t *row = NULL;
    sb_err_t err = {0};

    test_expect(upsert(s, "services", NOBODY, NULL, "{\"name\":\"a\",\"host\":\"h\",\"port\":81}", &row, &err), SB_OK, &err);
    assert_string_equal(sb_json_string(row, "id"), NOBODY);
    json_decref(row);
    /* Replaces: what is not given returns to its default; key and name in the path win. */
    test_expect(upsert(s, "services", "a", "name", "{\"host\":\"h2\",\"name\":\"zzz\"}", &row, &err), SB_OK, &err);
    assert_string_equal(sb_json_string(row, "id"), NOBODY);
    assert_string_equal(sb_json_string(row, "name"), "a");
    assert_int_equal(sb_json_int(row, "port", 0), 80);
    json_decref(row);
    test_expect(upsert(s, "services", "new", "name", "{\"host\":\"h2\"}", &row, &err), SB_OK, &err);
    assert_string_equal(sb_json_string(row, "name"), "new");
    json_decref(row);
    assert_int_equal(test_count(s, "services"), 2);
    assert_int_equal(upsert(s, "services", "bad", NULL, "{\"host\":\"h2\"}", &row, &err), SB_DECLINED);
    test_error(&err, 1, "invalid primary key: '{id=\"bad\"}'", NULL);
    sb_store_close(s);
}

static void
deletes(void **state)
{
    sb_store_t *s = test_open(NULL);
    const sb_entity_t *services = sb_entity_find("services");
    sb_dao_opts_t by_name = {.by = "name"};
    bool existed = false;
    sb_err_t err = {0};

    json_decref(test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\",\"tags\":[\"t\"]}"));
    test_expect(sb_dao_delete(s, services, "a", &by_name, &existed, &err), SB_OK, &err);
    assert_true(existed);
    test_expect(sb_dao_delete(s, services, "a", &by_name, &existed, &err), SB_OK, &err);
    assert_false(existed);
    assert_int_equal(sb_dao_delete(s, services, "a", NULL, NULL, &err), SB_DECLINED);
    test_error(&err, 1, "invalid primary key: '{id=\"a\"}'", NULL);
    sb_store_close(s);
}

static void
delete_restricted(void **state)
{
    sb_store_t *s = test_open(NULL);
    char id[64], plugin[64];
    uint64_t seq;
    sb_err_t err = {0};

    snprintf(id, sizeof(id), "%s", test_insert_id(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    snprintf(plugin, sizeof(plugin), "%s", test_insert_id(s, "plugins", "{\"name\":\"test-plugin\",\"service\":{\"name\":\"a\"}}"));
    json_decref(test_insert(s, "routes", "{\"paths\":[\"/a\"],\"service\":{\"name\":\"a\"}}"));
    seq = sb_store_seq(s);
    assert_int_equal(sb_dao_delete(s, sb_entity_find("services"), id, NULL, NULL, &err), SB_DECLINED);
    test_error(&err, 4, "an existing 'routes' entity references this 'services' entity", "{\"@referenced_by\":\"routes\"}");
    assert_int_equal(sb_store_seq(s), seq); /* the cascade to plugins was not begun */
    assert_true(test_exists(s, "plugins", plugin));
    sb_store_close(s);
}

static void
delete_cascades(void **state)
{
    sb_store_t *s = test_open(NULL);
    char up[64], route[64], plugin[64];
    sb_err_t err = {0};

    snprintf(up, sizeof(up), "%s", test_insert_id(s, "upstreams", "{\"name\":\"u\"}"));
    json_decref(test_insert(s, "targets", "{\"target\":\"10.0.0.1:80\",\"upstream\":{\"name\":\"u\"}}"));
    json_decref(test_insert(s, "targets", "{\"target\":\"10.0.0.2:80\",\"upstream\":{\"name\":\"u\"}}"));
    test_expect(sb_dao_delete(s, sb_entity_find("upstreams"), up, NULL, NULL, &err), SB_OK, &err);
    assert_int_equal(test_count(s, "targets"), 0);

    snprintf(route, sizeof(route), "%s", test_insert_id(s, "routes", "{\"paths\":[\"/a\"]}"));
    snprintf(plugin, sizeof(plugin), "%s", test_insert_id(s, "plugins", T("{\"name\":\"test-plugin\",\"route\":{\"id\":\"%s\"}}", route)));
    test_expect(sb_dao_delete(s, sb_entity_find("routes"), route, NULL, NULL, &err), SB_OK, &err);
    assert_false(test_exists(s, "plugins", plugin));
    sb_store_close(s);
}

static void
composite_keys_are_unique(void **state)
{
    sb_store_t *s = test_open(NULL);
    const sb_entity_t *plugins = sb_entity_find("plugins");
    char svc[64];
    json_t *fields, *row = NULL;
    sb_err_t err = {0};

    snprintf(svc, sizeof(svc), "%s", test_insert_id(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    json_decref(test_insert(s, "plugins", "{\"name\":\"test-plugin\"}"));
    test_insert_fails(s, "plugins", "{\"name\":\"test-plugin\"}", 5,
                      "UNIQUE violation detected on '{consumer=null,name=\"test-plugin\",route=null,service=null}'",
                      "{\"consumer\":null,\"name\":\"test-plugin\",\"route\":null,\"service\":null}");
    json_decref(test_insert(s, "plugins", "{\"name\":\"test-plugin\",\"service\":{\"name\":\"a\"}}"));
    fields = test_json(T("{\"name\":\"test-plugin\",\"service\":{\"id\":\"%s\"}}", svc));
    test_expect(sb_dao_select_by_cache_key(s, plugins, fields, NULL, &row, &err), SB_OK, &err);
    assert_string_equal(sb_json_foreign_id(row, "service"), svc);
    json_decref(row);
    json_decref(fields);
    fields = test_json("{\"name\":\"other\"}");
    assert_int_equal(sb_dao_select_by_cache_key(s, plugins, fields, NULL, &row, &err), SB_DECLINED);
    test_error(&err, 6, "could not find the entity with '{name=\"other\"}'", NULL);
    json_decref(fields);
    sb_store_close(s);
}

static void
targets_by_cache_key(void **state)
{
    sb_store_t *s = test_open(NULL);
    char up[64];
    json_t *fields, *row = NULL;
    sb_err_t err = {0};

    snprintf(up, sizeof(up), "%s", test_insert_id(s, "upstreams", "{\"name\":\"u\"}"));
    json_decref(test_insert(s, "targets", "{\"target\":\"10.0.0.1:80\",\"upstream\":{\"name\":\"u\"}}"));
    test_insert_fails(s, "targets", "{\"target\":\"10.0.0.1:80\",\"upstream\":{\"name\":\"u\"}}", 5,
                      T("UNIQUE violation detected on '{target=\"10.0.0.1:80\",upstream={id=\"%s\"}}'", up), NULL);
    fields = test_json(T("{\"target\":\"10.0.0.1:80\",\"upstream\":{\"id\":\"%s\"}}", up));
    test_expect(sb_dao_select_by_cache_key(s, sb_entity_find("targets"), fields, NULL, &row, &err), SB_OK, &err);
    json_decref(row);
    json_decref(fields);
    sb_store_close(s);
}

static void
plugin_protocols(void **state)
{
    sb_store_t *s = test_open(NULL);
    char tcp[64], svc[64];

    snprintf(svc, sizeof(svc), "%s", test_insert_id(s, "services", "{\"name\":\"a\",\"host\":\"h\",\"protocol\":\"tcp\",\"port\":90}"));
    json_decref(test_insert(s, "plugins", "{\"name\":\"test-plugin\",\"service\":{\"name\":\"a\"}}")); /* no route yet */
    snprintf(tcp, sizeof(tcp), "%s",
             test_insert_id(s, "routes", "{\"protocols\":[\"tcp\"],\"destinations\":[{\"port\":9000}],\"service\":{\"name\":\"a\"}}"));
    test_insert_fails(s, "plugins", T("{\"name\":\"test-plugin\",\"route\":{\"id\":\"%s\"}}", tcp), 2,
                      "schema violation (protocols: must match the associated route's protocols)",
                      "{\"protocols\":\"must match the associated route's protocols\"}");
    json_decref(test_insert(s, "consumers", "{\"username\":\"c\"}"));
    test_insert_fails(s, "plugins", "{\"name\":\"test-plugin\",\"service\":{\"name\":\"a\"},\"consumer\":{\"username\":\"c\"}}", 2,
                      "schema violation (protocols: must match the protocols of at least one route pointing to this Plugin's service)",
                      "{\"protocols\":\"must match the protocols of at least one route pointing to this Plugin's service\"}");
    json_decref(test_insert(s, "routes", "{\"paths\":[\"/a\"],\"service\":{\"name\":\"a\"}}"));
    json_decref(test_insert(s, "plugins", "{\"name\":\"test-plugin\",\"service\":{\"name\":\"a\"},\"consumer\":{\"username\":\"c\"}}"));
    sb_store_close(s);
}

static void
workspaces_keep_apart(void **state)
{
    sb_store_t *s = test_open(NULL);
    const sb_entity_t *services = sb_entity_find("services");
    char ws[64];
    sb_dao_opts_t o = {.ws = ws}, by_name = {.ws = ws, .by = "name"}, nowhere = {.ws = NOBODY};
    json_t *input = test_json("{\"name\":\"a\",\"host\":\"h\"}"), *row = NULL, *ref;
    sb_err_t err = {0};

    snprintf(ws, sizeof(ws), "%s", test_insert_id(s, "workspaces", "{\"name\":\"second\"}"));
    json_decref(test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    test_expect(sb_dao_insert(s, services, input, &o, &row, &err), SB_OK, &err); /* the same name, in another workspace */
    assert_false(test_exists(s, "services", sb_json_string(row, "id")));
    json_decref(row);
    test_expect(sb_dao_select(s, services, "a", &by_name, &row, &err), SB_OK, &err);
    ref = json_pack("{s:[s],s:{s:O}}", "paths", "/x", "service", "id", json_object_get(row, "id"));
    json_decref(row);
    /* A parent in another workspace does not exist. */
    assert_int_equal(sb_dao_insert(s, sb_entity_find("routes"), ref, NULL, &row, &err), SB_DECLINED);
    assert_int_equal(err.code, 4);
    sb_err_clear(&err);
    json_decref(ref);
    assert_int_equal(sb_dao_insert(s, services, input, &nowhere, &row, &err), SB_DECLINED);
    test_error(&err, 17, "invalid workspace '" NOBODY "'", NULL);
    json_decref(input);
    sb_store_close(s);
}

static void
whole_numbers_beyond_64_bits(void **state)
{
    static const char *const priorities[] = {"1e20", "-1e20", "9223372036854775808.0", "9223372036854775807", "-9223372036854775808"};
    sb_store_t *s = test_open(NULL);

    for (size_t i = 0; i < sizeof(priorities) / sizeof(priorities[0]); i++) {
        json_t *made = test_insert(s, "routes", T("{\"paths\":[\"/a\"],\"regex_priority\":%s}", priorities[i]));
        json_t *read = test_select(s, "routes", sb_json_string(made, "id"), NULL);

        assert_true(json_equal(made, read));
        json_decref(made);
        json_decref(read);
    }
    sb_store_close(s);
}

/* A row that refers twice to what goes loses both references. */
static void
references_are_set_null(void **state)
{
    static const struct sb_field fields[] = {
        SB_FIELD_ID,
        {.name = "one", .type = SB_T_FOREIGN, .reference = "consumers", .on_delete = SB_SET_NULL},
        {.name = "two", .type = SB_T_FOREIGN, .reference = "consumers", .on_delete = SB_SET_NULL},
        SB_FIELD_END,
    };
    static const struct sb_schema_def def = {.name = "test_links", .fields = fields, .workspaceable = true};
    sb_err_t err = {0};
    sb_store_t *s;
    json_t *row;
    char id[64];

    sb_entity_register(&def);
    s = test_open(NULL);
    snprintf(id, sizeof(id), "%s", test_insert_id(s, "consumers", "{\"username\":\"c\"}"));
    row = test_insert(s, "test_links", T("{\"one\":{\"id\":\"%s\"},\"two\":{\"id\":\"%s\"}}", id, id));
    test_expect(sb_dao_delete(s, sb_entity_find("consumers"), id, NULL, NULL, &err), SB_OK, &err);
    snprintf(id, sizeof(id), "%s", sb_json_string(row, "id"));
    json_decref(row);
    row = test_select(s, "test_links", id, NULL);
    assert_true(json_is_null(json_object_get(row, "one")));
    assert_true(json_is_null(json_object_get(row, "two")));
    json_decref(row);
    sb_store_close(s);
}

static json_t *
insert_in(sb_store_t *s, const char *ws, const char *entity, json_t *input)
{
    sb_dao_opts_t o = {.ws = ws};
    sb_err_t err = {0};
    json_t *row = NULL;

    test_expect(sb_dao_insert(s, sb_entity_find(entity), input, &o, &row, &err), SB_OK, &err);
    json_decref(input);
    return row;
}

/* A service whose routes would keep it, their plugins, members of a group, and more consumers than are looked at in one go. */
static void
fill_workspace(sb_store_t *s, const char *ws)
{
    json_t *service, *route, *consumer = NULL, *group;
    sb_err_t err = {0};

    assert_int_equal(sb_store_begin(s, &err), SB_OK);
    service = insert_in(s, ws, "services", json_pack("{s:s,s:s,s:[s]}", "name", "a", "host", "h", "tags", "t"));
    route = insert_in(s, ws, "routes", json_pack("{s:[s],s:{s:O}}", "paths", "/x", "service", "id", json_object_get(service, "id")));
    for (int i = 0; i < 1100; i++) {
        json_decref(consumer);
        consumer = insert_in(s, ws, "consumers", json_pack("{s:o}", "username", json_sprintf("c%d", i)));
    }
    group = insert_in(s, ws, "consumer_groups", json_pack("{s:s}", "name", "g"));
    json_decref(insert_in(s, ws, "consumer_group_consumers",
                          json_pack("{s:{s:O},s:{s:O}}", "consumer", "id", json_object_get(consumer, "id"), "consumer_group", "id",
                                    json_object_get(group, "id"))));
    assert_int_equal(sb_store_commit(s, &err), SB_OK);
    json_decref(service);
    json_decref(route);
    json_decref(consumer);
    json_decref(group);
}

static void
a_workspace_goes_with_its_content(void **state)
{
    static const char *const entities[] = {"services", "routes", "consumers", "consumer_groups", "consumer_group_consumers"};
    sb_store_t *s = test_open(NULL);
    const sb_entity_t *workspaces = sb_entity_find("workspaces");
    sb_dao_opts_t all = {.by = "name", .content = true}, empty = {.by = "name"};
    char second[64];
    json_t *rows = NULL;
    char *next = NULL;
    sb_err_t err = {0};
    bool existed;

    snprintf(second, sizeof(second), "%s", test_insert_id(s, "workspaces", "{\"name\":\"second\"}"));
    fill_workspace(s, second);
    json_decref(test_insert(s, "services", "{\"name\":\"a\",\"host\":\"h\"}"));
    assert_int_equal(sb_dao_delete(s, workspaces, "default", &all, NULL, &err), SB_DECLINED);
    test_error(&err, 19, "Cannot delete default workspace", NULL);
    assert_int_equal(sb_dao_delete(s, workspaces, "second", &empty, NULL, &err), SB_DECLINED);
    test_error(&err, 19, "Workspace is not empty", NULL);

    test_expect(sb_dao_delete(s, workspaces, "second", &all, &existed, &err), SB_OK, &err);
    assert_true(existed);
    assert_false(test_exists(s, "workspaces", second));
    for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++) {
        assert_int_equal(sb_dao_page(s, sb_entity_find(entities[i]), &(sb_page_opts_t){.ws = second}, &rows, &next, &err), SB_OK);
        assert_int_equal(json_array_size(rows), 0);
        json_decref(rows);
    }
    assert_int_equal(sb_dao_tags(s, "t", &(sb_page_opts_t){.ws = second}, &rows, &next, &err), SB_OK);
    assert_int_equal(json_array_size(rows), 0);
    json_decref(rows);
    assert_int_equal(test_count(s, "services"), 1); /* the default workspace's */
    test_expect(sb_dao_delete(s, workspaces, "second", &all, &existed, &err), SB_OK, &err);
    assert_false(existed);
    sb_store_close(s);
}

static void
certificates_take_their_snis_along(void **state)
{
    sb_store_t *s = test_open(NULL);
    const sb_table_t *certs = sb_tables_find(s->tables, "certificates");
    json_t *cert = json_pack("{s:s,s:s,s:s}", "id", NOBODY, "cert", "c", "key", "k");
    sb_err_t err = {0};

    /* Past the schema: a parsable certificate is not the point here. */
    assert_int_equal(sb_store_begin(s, &err), SB_OK);
    assert_int_equal(sb_store_write(s, certs, s->default_ws, cert, NULL, &err), SB_OK);
    assert_int_equal(sb_store_commit(s, &err), SB_OK);
    json_decref(cert);
    json_decref(test_insert(s, "snis", "{\"name\":\"a.example\",\"certificate\":{\"id\":\"" NOBODY "\"}}"));
    test_expect(sb_dao_delete(s, sb_entity_find("certificates"), NOBODY, NULL, NULL, &err), SB_OK, &err);
    assert_int_equal(test_count(s, "snis"), 0);
    sb_store_close(s);
}

/* A self-signed certificate and its key, as PEM in an input object. */
static json_t *
certificate(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    BIO *cert = BIO_new(BIO_s_mem()), *priv = BIO_new(BIO_s_mem());
    char *c, *p;
    long cn, pn;
    json_t *input;

    assert_true(key != NULL && x != NULL);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    PEM_write_bio_X509(cert, x);
    PEM_write_bio_PrivateKey(priv, key, NULL, NULL, 0, NULL, NULL);
    cn = BIO_get_mem_data(cert, &c);
    pn = BIO_get_mem_data(priv, &p);
    input = json_pack("{s:o,s:o}", "cert", json_stringn(c, (size_t)cn), "key", json_stringn(p, (size_t)pn));
    BIO_free(cert);
    BIO_free(priv);
    X509_free(x);
    EVP_PKEY_free(key);
    return input;
}

static void
assert_snis(const json_t *row, const char *wanted)
{
    char *got = sb_json_dump(json_object_get(row, "snis"));

    assert_string_equal(got, wanted);
    free(got);
}

static void
certificates_show_their_names(void **state)
{
    sb_store_t *s = test_open(NULL);
    const sb_entity_t *certs = sb_entity_find("certificates");
    json_t *input = certificate(), *row = NULL, *again;
    char id[64], *wanted;
    sb_err_t err = {0};

    json_object_set_new(input, "snis", test_json("[\"b.test\",\"a.test\"]"));
    test_expect(sb_dao_insert(s, certs, input, NULL, &row, &err), SB_OK, &err);
    assert_snis(row, "[\"a.test\",\"b.test\"]");
    snprintf(id, sizeof(id), "%s", sb_json_string(row, "id"));
    again = test_select(s, "certificates", id, NULL);
    assert_true(json_equal(row, again));
    json_decref(row);
    json_decref(again);
    assert_int_equal(test_count(s, "snis"), 2);
    /* Names of another certificate, or twice. */
    json_object_set_new(input, "snis", test_json("[\"c.test\",\"a.test\"]"));
    assert_int_equal(sb_dao_insert(s, certs, input, NULL, &row, &err), SB_DECLINED);
    wanted = sb_asprintf("schema violation (snis: a.test already associated with existing certificate '%s')", id);
    test_error(&err, 2, wanted, NULL);
    free(wanted);
    json_object_set_new(input, "snis", test_json("[\"c.test\",\"c.test\"]"));
    assert_int_equal(sb_dao_insert(s, certs, input, NULL, &row, &err), SB_DECLINED);
    test_error(&err, 2, "schema violation (snis: c.test is duplicated)", "{\"snis\":\"c.test is duplicated\"}");
    json_decref(input);
    /* Given anew they replace, not given they stay, null takes them all. */
    test_expect(update(s, "certificates", id, NULL, "{\"snis\":[\"b.test\",\"d.test\"]}", &row, &err), SB_OK, &err);
    assert_snis(row, "[\"b.test\",\"d.test\"]");
    json_decref(row);
    test_expect(update(s, "certificates", id, NULL, "{\"tags\":[\"x\"]}", &row, &err), SB_OK, &err);
    assert_snis(row, "[\"b.test\",\"d.test\"]");
    json_decref(row);
    test_expect(update(s, "certificates", id, NULL, "{\"snis\":null}", &row, &err), SB_OK, &err);
    assert_snis(row, "[]");
    json_decref(row);
    assert_int_equal(test_count(s, "snis"), 0);
    sb_store_close(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(insert_and_select),
        cmocka_unit_test(upper_case_ids_are_the_same),
        cmocka_unit_test(not_found_and_bad_keys),
        cmocka_unit_test(primary_key_violation),
        cmocka_unit_test(unique_violation),
        cmocka_unit_test(foreign_keys),
        cmocka_unit_test(two_references_unresolved),
        cmocka_unit_test(update_merges_and_unlinks),
        cmocka_unit_test(the_id_stays),
        cmocka_unit_test(upserts),
        cmocka_unit_test(deletes),
        cmocka_unit_test(delete_restricted),
        cmocka_unit_test(delete_cascades),
        cmocka_unit_test(composite_keys_are_unique),
        cmocka_unit_test(targets_by_cache_key),
        cmocka_unit_test(plugin_protocols),
        cmocka_unit_test(workspaces_keep_apart),
        cmocka_unit_test(a_workspace_goes_with_its_content),
        cmocka_unit_test(certificates_take_their_snis_along),
        cmocka_unit_test(certificates_show_their_names),
        cmocka_unit_test(whole_numbers_beyond_64_bits),
        cmocka_unit_test(references_are_set_null), /* last: its entity stays */
    };

    return cmocka_run_group_tests(tests, test_entities, NULL);
}
