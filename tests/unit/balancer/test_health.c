/* The set of unhealthy addresses: against a simple list, through many changes; full; emptied by target. */
#include "core/balancer/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static sb_uuid_t
target(unsigned n)
{
    sb_uuid_t u = {{0}};

    memcpy(u.b, &n, sizeof(n));
    return u;
}

static void
keys_tell_addresses_apart(void **state)
{
    sb_uuid_t a = target(1), b = target(2);
    uint64_t key = sb_health_key_of(&a, "127.0.0.1", 80);

    assert_true(key > 1);
    assert_true(key == sb_health_key(&a, "\x7f\0\0\1", 4, 80));
    assert_true(key != sb_health_key_of(&a, "127.0.0.1", 81));
    assert_true(key != sb_health_key_of(&a, "127.0.0.2", 80));
    assert_true(key != sb_health_key_of(&b, "127.0.0.1", 80));
    assert_true(sb_health_key_of(&a, "::1", 80) == sb_health_key_of(&a, "0000:0000:0000:0000:0000:0000:0000:0001", 80));
    assert_true(sb_health_key_of(&a, "name", 80) == 0);
}

static void
follows_a_list_through_changes(void **state)
{
    sb_health_t *h = sb_calloc(sizeof(*h));
    bool down[500] = {0};
    uint64_t count = 0, gen = 0;
    unsigned seed = 7;

    for (int step = 0; step < 20000; step++) {
        unsigned i = (unsigned)rand_r(&seed) % 500;
        sb_uuid_t t = target(i);
        /* Few distinct places, so that searches pass over marks. */
        uint64_t key = 2 + (i % 20) + (uint64_t)(i / 20) * SB_HEALTH_SLOTS;
        bool now = rand_r(&seed) % 2 == 0;

        assert_int_equal(sb_health_set(h, &t, key, now), SB_OK);
        gen += now != down[i];
        count += (uint64_t)now - (uint64_t)down[i];
        down[i] = now;
        assert_true(h->count == count && h->gen == gen);
        if (step % 500 == 0) {
            for (unsigned k = 0; k < 500; k++)
                assert_int_equal(sb_health_is_down(h, 2 + (k % 20) + (uint64_t)(k / 20) * SB_HEALTH_SLOTS), down[k]);
        }
    }
    sb_health_prune(h, NULL, NULL);
    assert_false(sb_health_any(h));
    for (size_t i = 0; i < SB_HEALTH_SLOTS; i++)
        assert_true(h->slots[i].key <= 1);
    free(h);
}

static bool
is_even(const sb_uuid_t *t, void *arg)
{
    return (t->b[0] & 1) == 0;
}

static void
full_and_pruned(void **state)
{
    sb_health_t *h = sb_calloc(sizeof(*h));
    unsigned n = 0;
    sb_uuid_t t;

    for (;; n++) {
        t = target(n);
        if (sb_health_set(h, &t, sb_health_key_of(&t, "10.0.0.1", 1), true) != SB_OK)
            break;
    }
    assert_true(n > SB_HEALTH_SLOTS / 2 && n < SB_HEALTH_SLOTS);
    sb_health_prune(h, is_even, NULL);
    assert_true(h->count == (n + 1) / 2);
    assert_int_equal(sb_health_set(h, &t, sb_health_key_of(&t, "10.0.0.1", 1), true), SB_OK);
    for (unsigned i = 0; i < n; i++) {
        t = target(i);
        assert_int_equal(sb_health_is_down(h, sb_health_key_of(&t, "10.0.0.1", 1)), i % 2 == 0);
    }
    free(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keys_tell_addresses_apart), cmocka_unit_test(follows_a_list_through_changes),
                                       cmocka_unit_test(full_and_pruned)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
