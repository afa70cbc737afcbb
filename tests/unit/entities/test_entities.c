/* The list of entities: what is derived from the tables, and that every table is complete. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/entities/entities.h"
#include "silverback/typedefs.h"

static size_t
position(const char *name)
{
    const sb_entity_t *const *all;
    size_t n, i;

    all = sb_entities_all(&n);
    for (i = 0; i < n; i++) {
        if (strcmp(all[i]->name, name) == 0)
            return i;
    }
    fail_msg("no %s", name);
    return 0;
}

static void
test_parents_come_first(void **state)
{
    const sb_entity_t *const *all;
    const sb_foreign_t *f;
    size_t n, i;

    (void)state;
    all = sb_entities_all(&n);
    assert_true(n >= 19);
    for (i = 0; i < n; i++) {
        for (f = all[i]->foreign; f->field != NULL; f++)
            assert_true(position(f->parent) < i);
    }
}

static void
test_derived(void **state)
{
    const sb_entity_t *routes = sb_entity_find("routes"), *snis = sb_entity_find("snis"), *targets = sb_entity_find("targets");

    (void)state;
    assert_null(sb_entity_find("nope"));
    assert_string_equal(routes->endpoint_key, "name");
    assert_string_equal(routes->unique[0], "name");
    assert_null(routes->unique[1]);
    assert_string_equal(routes->foreign[0].field, "service");
    assert_int_equal(routes->foreign[0].on_delete, SB_RESTRICT);
    assert_false(routes->foreign[0].required);
    assert_null(routes->foreign[1].field);
    assert_true(routes->has_tags && routes->routing && routes->workspaceable && !routes->ttl);
    assert_true(snis->foreign[0].required);
    assert_int_equal(targets->foreign[0].on_delete, SB_CASCADE);
    assert_string_equal(targets->cache_key[1], "target");
    assert_false(sb_entity_find("consumers")->routing);
    assert_false(sb_entity_find("workspaces")->has_tags);
}

static void
count_child(const sb_entity_t *child, const sb_foreign_t *f, void *arg)
{
    char *seen = arg;

    strcat(strcat(strcat(strcat(seen, child->name), "."), f->field), " ");
}

static void
test_children(void **state)
{
    char seen[512] = "";

    (void)state;
    sb_entity_children(sb_entity_find("certificates"), count_child, seen);
    assert_string_equal(seen, "services.client_certificate snis.certificate upstreams.client_certificate ");
    seen[0] = '\0';
    sb_entity_children(sb_entity_find("routes"), count_child, seen);
    assert_string_equal(seen, "plugins.route filter_chains.route ");
}

/* A child that registers before its parent still comes behind it. */
static void
test_registration_order(void **state)
{
    static const struct sb_field child_fields[] = {
        SB_FIELD_ID,
        {.name = "parent", .type = SB_T_FOREIGN, .reference = "test_parents", .required = 1},
        SB_FIELD_END,
    };
    static const struct sb_field parent_fields[] = {SB_FIELD_ID, SB_FIELD_END};
    static const struct sb_schema_def child = {.name = "test_children", .fields = child_fields};
    static const struct sb_schema_def parent = {.name = "test_parents", .fields = parent_fields};

    (void)state;
    sb_entity_register(&child);
    sb_entity_register(&parent);
    assert_true(position("test_parents") < position("test_children"));
    test_parents_come_first(state);
}

static void
assert_described(const char *entity, const struct sb_field *f)
{
    for (; f->name != NULL; f++) {
        if (f->description == NULL || f->description[0] == '\0')
            fail_msg("%s.%s has no description", entity, f->name);
        if (f->type == SB_T_RECORD && f->fields != NULL)
            assert_described(entity, f->fields);
    }
}

static void
test_every_field_is_described(void **state)
{
    const sb_entity_t *const *all;
    json_t *shown, *fields;
    size_t n, i;

    (void)state;
    all = sb_entities_all(&n);
    for (i = 0; i < n; i++) {
        if (strncmp(all[i]->name, "test_", 5) == 0)
            continue;
        assert_described(all[i]->name, all[i]->def->fields);
        shown = sb_schema_describe(all[i]->schema);
        fields = json_object_get(shown, "fields");
        assert_true(json_is_array(fields) && json_array_size(fields) != 0);
        assert_true(json_is_array(json_object_get(shown, "entity_checks")));
        json_decref(shown);
    }
}

static void
test_describe(void **state)
{
    json_t *shown = sb_schema_describe(sb_entity_find("routes")->schema), *fields = json_object_get(shown, "fields");
    json_t *want =
        json_pack("{s:{s:s, s:b, s:[i,i,i,i,i], s:i, s:s}}", "https_redirect_status_code", "type", "integer", "required", 1, "one_of", 426,
                  301, 302, 307, 308, "default", 426, "description", "Answer to plain requests when only HTTPS is allowed.");

    (void)state;
    if (!json_equal(json_array_get(fields, 5), want))
        fail_msg("%s", json_dumps(json_array_get(fields, 5), 0));
    json_decref(want);
    json_decref(shown);
}

static int
setup(void **state)
{
    (void)state;
    sb_entities_init();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parents_come_first),       cmocka_unit_test(test_derived),  cmocka_unit_test(test_children),
        cmocka_unit_test(test_every_field_is_described), cmocka_unit_test(test_describe), cmocka_unit_test(test_registration_order),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
