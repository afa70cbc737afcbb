/* least-connections and latency: against a search through all; shares; what is down, tried, or not known yet. */
#include "core/balancer/ranked.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct ranks *
make(const struct algorithm *a, const uint32_t *weights, size_t n)
{
    sb_target_t *t = sb_calloc((n + 1) * sizeof(*t));
    struct ranks *r;

    for (size_t i = 0; i < n; i++)
        t[i] = (sb_target_t){.host = SB_STR("h"), .port = (uint16_t)i, .weight = weights[i]};
    r = a->start(&(sb_balancer_conf_t){.addresses = t, .n = n});
    free(t);
    return r;
}

static void
connections_follow_the_lowest_rank(void **state)
{
    uint32_t w[100];
    int open[1000], n = 0;
    unsigned held[100] = {0}, seed = 3;
    struct ranks *r;

    for (int i = 0; i < 100; i++)
        w[i] = (uint32_t)(i % 9);
    r = make(&least_connections, w, 100);
    for (int step = 0; step < 50000; step++) {
        if (n == 1000 || (n > 0 && rand_r(&seed) % 5 < 2)) {
            int k = rand_r(&seed) % n;
            least_connections.done(r, open[k], 0, -1);
            held[open[k]]--;
            open[k] = open[--n];
            continue;
        }
        open[n] = pick(r, 0, NULL);
        for (int i = 0; i < 100; i++)
            assert_true(w[i] == 0 || (held[open[n]] + 1.0) / w[open[n]] <= (held[i] + 1.0) / w[i]);
        held[open[n++]]++;
    }
    end(r);
}

/* Without load the addresses take turns. */
static void
equal_ones_take_turns(void **state)
{
    const uint32_t w[] = {5, 5, 5};
    struct ranks *r = make(&least_connections, w, 3);
    int n[3] = {0};

    for (int i = 0; i < 300; i++) {
        int t = pick(r, 0, NULL);
        n[t]++;
        least_connections.done(r, t, 0, -1);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(n[i], 100);
    end(r);
}

static void
down_and_tried(void **state)
{
    const uint32_t w[] = {1, 1, 1, 0};
    uint64_t tried = 0, down = 1;
    struct ranks *r = make(&least_connections, w, 4);

    for (int i = 0; i < 3; i++) {
        int t = pick(r, 0, &tried);
        assert_int_equal(tried >> t & 1, 0);
        tried |= 1ull << t;
    }
    assert_true(pick(r, 0, &tried) >= 0);
    set_down(r, &down);
    for (int i = 0; i < 20; i++)
        assert_in_range(pick(r, 0, NULL), 1, 2);
    down = 7;
    set_down(r, &down);
    assert_int_equal(pick(r, 0, NULL), -1);
    set_down(r, NULL);
    assert_int_equal(pick(r, 0, NULL), 0); /* it has the fewest */
    end(r);
}

static void
answer(struct ranks *r, const double *ms, int *n, uint64_t now)
{
    int t = pick(r, 0, NULL);

    n[t]++;
    latency.done(r, t, now, ms[t]);
}

static void
latency_prefers_the_fast(void **state)
{
    const uint32_t w[] = {100, 100, 100};
    const double ms[] = {5, 50, INFINITY};
    struct ranks *r = make(&latency, w, 3);
    int n[3] = {0};

    for (uint64_t i = 0; i < 20000; i++)
        answer(r, ms, n, i * 10);
    /* The others are looked at again as their averages decay. */
    assert_in_range(n[1], 3, 100);
    assert_in_range(n[2], 2, n[1]);
    end(r);
}

static void
latency_is_weighted(void **state)
{
    const uint32_t w[] = {100, 10};
    const double ms[] = {5, 5};
    struct ranks *r = make(&latency, w, 2);
    int n[2] = {0};

    for (uint64_t i = 0; i < 5000; i++)
        answer(r, ms, n, i * 10);
    assert_true(n[0] > 2 * n[1] && n[1] > 0);
    end(r);
}

/* Those without an answer yet get one request each to find out. */
static void
the_unknown_get_one_request_each(void **state)
{
    const uint32_t w[] = {1, 1, 1, 1};
    struct ranks *r = make(&latency, w, 4);
    int n[4] = {0}, t[4];

    for (int i = 0; i < 4; i++)
        n[t[i] = pick(r, 0, NULL)]++;
    for (int i = 0; i < 4; i++)
        assert_int_equal(n[i], 1);
    latency.done(r, t[2], 5, 3.0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(pick(r, 0, NULL), t[2]);
    latency.done(r, t[1], 6, -1); /* nothing learnt: it is asked again */
    assert_int_equal(pick(r, 0, NULL), t[1]);
    end(r);
}

/* The order by ranks is that of decayed averages, whenever one looks. */
static void
ranks_are_decayed_averages(void **state)
{
    const uint32_t w[] = {3, 1, 7, 2, 5};
    unsigned seed = 11;
    struct ranks *r = make(&latency, w, 5);

    for (uint64_t now = 1; now < 40000; now += 1 + (uint64_t)rand_r(&seed) % 40) {
        uint64_t all = 0;
        int t = pick(r, 0, rand_r(&seed) % 3 == 0 ? &(uint64_t){1u << (rand_r(&seed) % 5)} : &all), best = 0;
        double least = INFINITY;

        latency.done(r, t, now, 1 + rand_r(&seed) % 100);
        for (int i = 0; i < 5 && now > 2000; i++) {
            const struct entry *e = &r->entries[i];
            double score = e->load->average * exp(-((double)now - (double)e->load->last_ms) / DECAY_MS) / e->weight;
            assert_true(e->load->average > 0);
            best = score < least ? i : best;
            least = score < least ? score : least;
        }
        if (now > 2000)
            assert_int_equal(r->heap[0], best);
    }
    end(r);
}

/* A balancer in another's place: by `was`, which address of it each is. */
static sb_balancer_t *
in_place_of(const sb_balancer_t *before, const char *algorithm, size_t n, const int *was)
{
    sb_target_t t[4];
    sb_balancer_conf_t conf = {.algorithm = algorithm, .addresses = t, .n = n, .before = before, .was = was};
    sb_balancer_t *b;
    sb_err_t err = {0};

    for (size_t i = 0; i < n; i++)
        t[i] = (sb_target_t){.host = SB_STR("h"), .port = (uint16_t)i, .weight = 10};
    assert_int_equal(sb_balancer_new(&conf, &b, &err), SB_OK);
    return b;
}

/* Connections that an older balancer has made are counted by the one in its place, until they end there. */
static void
connections_stay(void **state)
{
    const int was[] = {-1, 1, 0};
    sb_balancer_t *old = in_place_of(NULL, "least-connections", 2, NULL), *b;
    int picked[6], n[3] = {0};

    for (int i = 0; i < 6; i++)
        picked[i] = sb_balancer_pick(old, 0, NULL);
    b = in_place_of(old, "least-connections", 3, was);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sb_balancer_pick(b, 0, NULL), 0); /* the new one has none, the others three each */
    for (int i = 0; i < 6; i++)
        if (picked[i] == 1)
            sb_balancer_done(old, 1, 0, -1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sb_balancer_pick(b, 0, NULL), 1);
    for (int i = 0; i < 6; i++)
        if (picked[i] == 0)
            sb_balancer_done(old, 0, 0, -1);
    sb_balancer_free(old);
    for (int i = 0; i < 9; i++)
        n[sb_balancer_pick(b, 0, NULL)]++;
    assert_int_equal(n[2], 5); /* five each in the end: 3 + 2, 3 + 2, 0 + 5 */
    assert_int_equal(n[0], 2);
    assert_int_equal(n[1], 2);
    sb_balancer_free(b);
}

/* The other way round: the newer ends first. */
static void
picks_of_the_old_end_after_the_new(void **state)
{
    const int was[] = {0, 1};
    sb_balancer_t *old = in_place_of(NULL, "least-connections", 2, NULL), *b = in_place_of(old, "least-connections", 2, was);
    int i = sb_balancer_pick(old, 0, NULL);

    assert_int_equal(sb_balancer_pick(b, 0, NULL), 1 - i);
    sb_balancer_free(b);
    sb_balancer_done(old, i, 0, -1);
    assert_in_range(sb_balancer_pick(old, 0, NULL), 0, 1);
    sb_balancer_free(old);
}

static void
averages_stay(void **state)
{
    const int was[] = {1, 0};
    sb_balancer_t *old = in_place_of(NULL, "latency", 2, NULL), *b;

    for (int i = 0; i < 2; i++) {
        int t = sb_balancer_pick(old, 0, NULL);
        sb_balancer_done(old, t, 5, t == 0 ? 10 : 100);
    }
    b = in_place_of(old, "latency", 2, was);
    sb_balancer_free(old);
    for (int i = 0; i < 5; i++)
        assert_int_equal(sb_balancer_pick(b, 0, NULL), 1);
    old = b;
    b = in_place_of(old, "least-connections", 2, was); /* another algorithm knows nothing */
    sb_balancer_free(old);
    assert_int_not_equal(sb_balancer_pick(b, 0, NULL), sb_balancer_pick(b, 0, NULL));
    sb_balancer_free(b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_follow_the_lowest_rank),
        cmocka_unit_test(equal_ones_take_turns),
        cmocka_unit_test(down_and_tried),
        cmocka_unit_test(latency_prefers_the_fast),
        cmocka_unit_test(latency_is_weighted),
        cmocka_unit_test(the_unknown_get_one_request_each),
        cmocka_unit_test(ranks_are_decayed_averages),
        cmocka_unit_test(connections_stay),
        cmocka_unit_test(picks_of_the_old_end_after_the_new),
        cmocka_unit_test(averages_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
