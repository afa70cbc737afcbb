/* The proxy's table of things by UUID: growth, removal, removal while walking. */
#include "proxy/table.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MANY 5000

static sb_node_t nodes[MANY];

static void
number(sb_node_t *node, size_t i)
{
    memset(node, 0, sizeof(*node));
    memcpy(node->id.b, &i, sizeof(i)); /* ids that differ in few bits only */
}

static void
finds_what_was_added(void **state)
{
    sb_table_t t = {0};
    sb_uuid_t absent;

    memset(&absent, 0xff, sizeof(absent));
    assert_null(sb_table_find(&t, &absent));
    for (size_t i = 0; i < MANY; i++) {
        number(&nodes[i], i);
        sb_table_add(&t, &nodes[i]);
    }
    assert_int_equal(t.n, MANY);
    for (size_t i = 0; i < MANY; i++)
        assert_ptr_equal(sb_table_find(&t, &nodes[i].id), &nodes[i]);
    assert_null(sb_table_find(&t, &absent));
    for (size_t i = 0; i < MANY; i += 2) {
        sb_table_remove(&t, &nodes[i]);
        sb_table_remove(&t, &nodes[i]); /* not there any more: harmless */
    }
    assert_int_equal(t.n, MANY / 2);
    for (size_t i = 0; i < MANY; i++)
        assert_ptr_equal(sb_table_find(&t, &nodes[i].id), i % 2 == 0 ? NULL : &nodes[i]);
    free(t.slots);
}

struct walk {
    sb_table_t *table;
    size_t seen;
};

static void
remove_it(sb_node_t *node, void *arg)
{
    struct walk *w = arg;

    w->seen++;
    sb_table_remove(w->table, node);
}

static void
walks_and_removes(void **state)
{
    sb_table_t t = {0};
    struct walk w = {&t, 0};

    sb_table_each(&t, remove_it, &w);
    for (size_t i = 0; i < MANY; i++) {
        number(&nodes[i], i);
        sb_table_add(&t, &nodes[i]);
    }
    sb_table_each(&t, remove_it, &w);
    assert_int_equal(w.seen, MANY);
    assert_int_equal(t.n, 0);
    free(t.slots);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_what_was_added), cmocka_unit_test(walks_and_removes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
