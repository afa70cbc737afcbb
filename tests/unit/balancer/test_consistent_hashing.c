/* Consistent hashing: where points lie, what is picked for a hash, little moves when targets come and go, many targets. */
#include "core/balancer/consistent_hashing.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct hosts {
    sb_target_t *t;
    char (*text)[16];
    size_t n;
};

static struct hosts
hosts(size_t n)
{
    struct hosts h = {sb_calloc((n + 1) * sizeof(*h.t)), sb_calloc((n + 1) * sizeof(*h.text)), n};

    for (size_t i = 0; i < n; i++) {
        snprintf(h.text[i], sizeof(h.text[i]), "10.%u.%u.%u", (unsigned)i / 65536 % 256, (unsigned)i / 256 % 256, (unsigned)i % 256);
        h.t[i] = (sb_target_t){.host = {h.text[i], strlen(h.text[i])}, .port = 80, .weight = 100};
    }
    return h;
}

static void
hosts_free(struct hosts *h)
{
    free(h->t);
    free(h->text);
}

static struct ring *
ring_of(const sb_target_t *t, size_t n, size_t slots)
{
    return start(&(sb_balancer_conf_t){.slots = slots, .addresses = t, .n = n});
}

static uint32_t
hash_of(const char *text)
{
    return sb_xxh32(text, strlen(text));
}

static void
hash_vectors(void **state)
{
    assert_true(sb_xxh32(NULL, 0) == 46947589u);
    assert_true(hash_of("a") == 1426945110u);
    assert_true(hash_of("10.0.0.1") == 3271325198u);
    assert_true(hash_of("10.0.0.1::80 1") == 1053262915u);
}

/* The first address has its first 160 points where the interface says; the second what is left of its own. */
static void
points_lie_where_the_interface_says(void **state)
{
    sb_target_t t[] = {{.host = SB_STR("b.example"), .ip = SB_STR("10.0.0.2"), .port = 80, .weight = 100},
                       {.host = SB_STR("a.example"), .ip = SB_STR("10.0.0.1"), .port = 80, .weight = 100}};
    struct ring *r = ring_of(t, 2, 10000);
    size_t count[2] = {0};
    char text[64];

    assert_int_equal(r->points, 10000);
    assert_int_equal(r->owner[1053262915u % 10000], 1);
    for (int k = 1; k <= 160; k++) {
        snprintf(text, sizeof(text), "10.0.0.1::80 %d", k);
        assert_int_equal(r->owner[hash_of(text) % 10000], 1);
    }
    for (size_t i = 0; i < r->points; i++)
        if (r->owner[i] != NOBODY)
            count[r->owner[i]]++;
    assert_int_equal(count[0], 160);
    assert_in_range(count[1], 150, 160);
    end(r);
}

static void
a_pick_is_the_nearest_point_below(void **state)
{
    struct hosts h = hosts(5);
    struct ring *r = ring_of(h.t, 5, 1000);

    for (uint32_t hash = 0; hash < 3000; hash++) {
        size_t at = hash % 1000;
        while (r->owner[at] == NOBODY)
            at = at == 0 ? 999 : at - 1;
        assert_int_equal(pick(r, hash, NULL), r->owner[at]);
    }
    end(r);
    hosts_free(&h);
}

static void
slots_count_from_1000_on(void **state)
{
    struct hosts h = hosts(1);
    const struct {
        size_t slots, points;
    } cases[] = {{10, 1000}, {999, 1000}, {1000, 1000}, {1001, 1001}, {65536, 65536}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ring *r = ring_of(h.t, 1, cases[i].slots);
        assert_int_equal(r->points, cases[i].points);
        end(r);
    }
    hosts_free(&h);
}

static void
weights_share_the_points(void **state)
{
    struct hosts h = hosts(4);
    unsigned count[4] = {0};
    struct ring *r;

    h.t[0].weight = 300;
    h.t[1].weight = 99;
    h.t[2].weight = 1; /* its share is no whole point, but it has one */
    h.t[3].weight = 0;
    r = ring_of(h.t, 4, 65536);
    for (size_t i = 0; i < r->points; i++)
        if (r->owner[i] != NOBODY)
            count[r->owner[i]]++;
    assert_int_equal(count[0], 480);
    assert_int_equal(count[1], 158);
    assert_int_equal(count[2], 1);
    assert_int_equal(count[3], 0);
    end(r);
    hosts_free(&h);
}

/* Only what went to the one that is down moves, and all of it back again. */
static void
little_moves(void **state)
{
    struct hosts h = hosts(10);
    struct ring *r = ring_of(h.t, 10, 10000);
    const uint64_t third = 1 << 2, all = 1023;
    int before[5000], moved = 0;

    for (uint32_t i = 0; i < 5000; i++)
        before[i] = pick(r, i * 2654435761u, NULL);
    set_down(r, &third);
    for (uint32_t i = 0; i < 5000; i++) {
        int now = pick(r, i * 2654435761u, NULL);
        assert_int_not_equal(now, 2);
        assert_true(now == before[i] || before[i] == 2);
        moved += now != before[i];
    }
    assert_in_range(moved, 300, 800);
    set_down(r, NULL);
    for (uint32_t i = 0; i < 5000; i++)
        assert_int_equal(pick(r, i * 2654435761u, NULL), before[i]);
    set_down(r, &all);
    assert_int_equal(pick(r, 7, NULL), -1);
    end(r);
    hosts_free(&h);
}

static void
tried_ones_are_avoided(void **state)
{
    struct hosts h = hosts(70);
    struct ring *r = ring_of(h.t, 70, 10000);
    uint64_t tried[2] = {0};
    int first = pick(r, 12345, NULL);

    for (int i = 0; i < 70; i++) {
        int t = pick(r, 12345, tried);
        assert_false(has_bit(tried, t));
        assert_true(i != 0 || t == first);
        tried[t / 64] |= 1ull << (t % 64);
    }
    assert_int_equal(pick(r, 12345, tried), first);
    end(r);
    hosts_free(&h);
}

/* More than the interface's ring has room for: everyone has a fair share all the same. */
static void
ten_thousand_targets(void **state)
{
    struct hosts h = hosts(10000);
    struct ring *r = ring_of(h.t, 10000, 10000);
    unsigned *count = sb_calloc(10000 * sizeof(*count)), most = 0, none = 0;

    for (uint32_t i = 0; i < 1000000; i++)
        count[pick(r, i * 2654435761u, NULL)]++;
    for (int i = 0; i < 10000; i++) {
        none += count[i] == 0;
        most = count[i] > most ? count[i] : most;
    }
    assert_int_equal(none, 0);
    assert_true(most < 400);
    free(count);
    end(r);
    hosts_free(&h);
}

static void
nobody(void **state)
{
    struct ring *r = ring_of(NULL, 0, 10000);

    assert_int_equal(pick(r, 1, NULL), -1);
    end(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_vectors),
        cmocka_unit_test(points_lie_where_the_interface_says),
        cmocka_unit_test(a_pick_is_the_nearest_point_below),
        cmocka_unit_test(slots_count_from_1000_on),
        cmocka_unit_test(weights_share_the_points),
        cmocka_unit_test(little_moves),
        cmocka_unit_test(tried_ones_are_avoided),
        cmocka_unit_test(ten_thousand_targets),
        cmocka_unit_test(nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
