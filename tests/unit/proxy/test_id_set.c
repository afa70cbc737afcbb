/* The proxy's set of ids: what is added is there but for a few, what is removed or was never added is not. */
#include "proxy/id_set.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MANY 100000

static sb_uuid_t ids[MANY + 1];

static void
number_all(void)
{
    memset(ids, 0, sizeof(ids));
    for (size_t i = 0; i <= MANY; i++)
        memcpy(ids[i].b, &i, sizeof(i)); /* ids that differ in few bits only */
}

static size_t
held(const sb_id_set_t *set, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += sb_id_set_has(set, &ids[i]);
    return count;
}

static void
holds_nearly_all(void **state)
{
    static const size_t sizes[] = {1, 500, 513, 1000, 10000, MANY};

    (void)state;
    number_all();
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        sb_id_set_t set = {0};
        assert_false(sb_id_set_has(&set, &ids[0]));
        for (size_t j = 0; j < sizes[i]; j++)
            sb_id_set_add(&set, &ids[j]);
        assert_true(held(&set, sizes[i]) + sizes[i] / 50 + 20 >= sizes[i]); /* hashed by chance: a few at most share a full bucket */
        assert_int_equal(held(&set, sizes[i]), set.n);
        assert_false(sb_id_set_has(&set, &ids[MANY]));
        assert_true(set.size <= 4 * sizes[i] || set.size == SIZE_MIN_PRINTS);
        free(set.prints);
    }
}

static void
forgets_what_is_removed(void **state)
{
    sb_id_set_t set = {0};

    (void)state;
    number_all();
    sb_id_set_remove(&set, &ids[0]); /* empty: harmless */
    for (size_t j = 0; j < 1000; j++)
        sb_id_set_add(&set, &ids[j]);
    for (size_t j = 0; j < 500; j++) {
        sb_id_set_remove(&set, &ids[j]);
        sb_id_set_remove(&set, &ids[j]);
    }
    assert_int_equal(held(&set, 500), 0);
    assert_int_equal(held(&set, 1000), set.n);
    sb_id_set_clear(&set);
    assert_int_equal(held(&set, 1000) + set.n, 0);
    free(set.prints);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_nearly_all),
        cmocka_unit_test(forgets_what_is_removed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
