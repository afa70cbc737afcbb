/* Weighted round-robin: exact shares, even spread, no weight no pick, tried targets avoided. */
#include "core/balancer/balancer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static sb_balancer_t *
make(const uint32_t *weights, size_t n)
{
    sb_target_t *t = sb_calloc((n + 1) * sizeof(*t));
    sb_balancer_t *b;
    sb_err_t err = {0};
    sb_balancer_conf_t conf = {.algorithm = "round-robin", .addresses = t, .n = n};

    for (size_t i = 0; i < n; i++)
        t[i] = (sb_target_t){.host = SB_STR("h"), .port = (uint16_t)i, .weight = weights[i]};
    assert_int_equal(sb_balancer_new(&conf, &b, &err), SB_OK);
    free(t);
    return b;
}

static void
each_round_gives_each_its_weight(void **state)
{
    const uint32_t w[] = {5, 1, 0, 3, 100};
    sb_balancer_t *b = make(w, 5);

    for (int round = 0; round < 3; round++) {
        unsigned n[5] = {0};
        for (int i = 0; i < 109; i++)
            n[sb_balancer_pick(b, 0, NULL)]++;
        for (int i = 0; i < 5; i++)
            assert_int_equal(n[i], w[i]);
    }
    sb_balancer_free(b);
}

/* Between two turns of a target lie about total / weight others: never bunched. */
static void
turns_are_spread_evenly(void **state)
{
    const uint32_t w[] = {50, 30, 20};
    sb_balancer_t *b = make(w, 3);
    int last[3] = {-1, -1, -1};

    for (int i = 0; i < 1000; i++) {
        int t = sb_balancer_pick(b, 0, NULL);
        if (last[t] >= 0) {
            assert_true(i - last[t] <= (int)(100 / w[t]) + 2);
            assert_true(i - last[t] >= (int)(100 / w[t]) - 2);
        }
        last[t] = i;
    }
    sb_balancer_free(b);
}

static void
equal_weights_alternate(void **state)
{
    const uint32_t w[] = {100, 100};
    sb_balancer_t *b = make(w, 2);
    int first = sb_balancer_pick(b, 0, NULL);

    for (int i = 1; i < 500; i++)
        assert_int_equal(sb_balancer_pick(b, 0, NULL), i % 2 == 0 ? first : 1 - first);
    sb_balancer_free(b);
}

static void
the_first_pick_is_not_always_the_same(void **state)
{
    const uint32_t w[] = {1, 1, 1, 1};
    unsigned seen = 0;

    /* 64 draws of 4 miss one of them with a probability of 4 * (3/4)^64 = 4e-8. */
    for (int i = 0; i < 64; i++) {
        sb_balancer_t *b = make(w, 4);
        seen |= 1u << sb_balancer_pick(b, 0, NULL);
        sb_balancer_free(b);
    }
    assert_int_equal(seen, 15);
}

static void
nobody_without_weight(void **state)
{
    const uint32_t w[] = {0, 0};
    sb_balancer_t *b = make(w, 2), *none = make(w, 0);

    assert_int_equal(sb_balancer_pick(b, 0, NULL), -1);
    assert_int_equal(sb_balancer_pick(none, 0, NULL), -1);
    assert_int_equal(sb_balancer_count(b), 2);
    sb_balancer_free(b);
    sb_balancer_free(none);
}

static void
tried_targets_are_avoided_while_others_are_left(void **state)
{
    uint32_t w[130];
    uint64_t tried[3] = {0};
    sb_balancer_t *b;

    for (int i = 0; i < 130; i++)
        w[i] = i == 7 ? 0 : (uint32_t)i % 5 + 1;
    b = make(w, 130);
    for (int i = 0; i < 129; i++) {
        int t = sb_balancer_pick(b, 0, tried);
        assert_int_not_equal(t, 7);
        assert_int_equal(tried[t / 64] >> (t % 64) & 1, 0);
        tried[t / 64] |= (uint64_t)1 << (t % 64);
    }
    assert_true(sb_balancer_pick(b, 0, tried) >= 0); /* all tried: any again */
    sb_balancer_free(b);
}

/* Avoiding a tried target does not take its turn away from others. */
static void
skipping_keeps_the_turn(void **state)
{
    const uint32_t w[] = {1, 1};
    uint64_t tried = 1;
    sb_balancer_t *b = make(w, 2);
    int n[2] = {0};

    assert_int_equal(sb_balancer_pick(b, 0, &tried), 1);
    for (int i = 0; i < 3; i++)
        n[sb_balancer_pick(b, 0, NULL)]++;
    assert_int_equal(n[0], 2);
    assert_int_equal(n[1], 1);
    sb_balancer_free(b);
}

static void
ten_thousand_targets(void **state)
{
    static uint32_t w[10000], n[10000];
    uint64_t total = 0;
    sb_balancer_t *b;

    for (int i = 0; i < 10000; i++)
        total += w[i] = (uint32_t)i % 7;
    w[9999] = 65535;
    total += 65535 - 9999 % 7;
    b = make(w, 10000);
    for (uint64_t i = 0; i < total; i++)
        n[sb_balancer_pick(b, 0, NULL)]++;
    assert_memory_equal(n, w, sizeof(w));
    sb_balancer_free(b);
}

/* Those that are down get nothing, the others keep their shares; who comes back has its share from then on, and makes up for nothing. */
static void
down_and_up_again(void **state)
{
    const uint32_t w[] = {50, 30, 20};
    const uint64_t second = 1 << 1, all = 7;
    sb_balancer_t *b = make(w, 3);
    unsigned n[3] = {0};

    sb_balancer_set_down(b, &second);
    for (int i = 0; i < 70000; i++)
        n[sb_balancer_pick(b, 0, NULL)]++;
    assert_int_equal(n[1], 0);
    assert_in_range(n[0], 49999, 50001);
    sb_balancer_set_down(b, NULL);
    memset(n, 0, sizeof(n));
    for (int i = 0; i < 1000; i++)
        n[sb_balancer_pick(b, 0, NULL)]++;
    for (int i = 0; i < 3; i++)
        assert_in_range(n[i], w[i] * 10 - 1, w[i] * 10 + 1);
    sb_balancer_set_down(b, &all);
    assert_int_equal(sb_balancer_pick(b, 0, NULL), -1);
    sb_balancer_set_down(b, NULL);
    assert_true(sb_balancer_pick(b, 0, NULL) >= 0);
    sb_balancer_free(b);
}

static void
other_algorithms_are_declined(void **state)
{
    sb_balancer_t *b;
    sb_err_t err = {0};

    assert_int_equal(sb_balancer_new(&(sb_balancer_conf_t){.algorithm = "best-guess"}, &b, &err), SB_DECLINED);
    assert_null(b);
    assert_non_null(strstr(err.message, "best-guess"));
    sb_err_clear(&err);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_round_gives_each_its_weight),
        cmocka_unit_test(turns_are_spread_evenly),
        cmocka_unit_test(equal_weights_alternate),
        cmocka_unit_test(the_first_pick_is_not_always_the_same),
        cmocka_unit_test(nobody_without_weight),
        cmocka_unit_test(tried_targets_are_avoided_while_others_are_left),
        cmocka_unit_test(skipping_keeps_the_turn),
        cmocka_unit_test(ten_thousand_targets),
        cmocka_unit_test(down_and_up_again),
        cmocka_unit_test(other_algorithms_are_declined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
