/* The health of addresses: against a simple list, through many changes; full; emptied by target; counters; many writers, dead ones. */
#include "core/balancer/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

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
        if (step % 1000 == 0) {
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

static const sb_uuid_t one = {{1}};

static bool
report(sb_health_t *h, enum sb_health_kind kind, uint8_t successes, uint8_t failures)
{
    sb_health_limits_t limits = {{successes, failures, failures, failures}};

    return sb_health_report(h, &one, 77, kind, &limits);
}

static void
failures_in_a_row(void **state)
{
    sb_health_t *h = sb_calloc(sizeof(*h));

    assert_false(report(h, SB_HEALTH_SUCCESS, 1, 3));
    assert_true(h->entries == 0);
    for (int i = 0; i < 2; i++)
        assert_false(report(h, SB_HEALTH_TCP_FAILURE, 1, 3));
    assert_false(report(h, SB_HEALTH_TIMEOUT, 1, 3)); /* kinds are counted apart */
    assert_true(h->entries == 1 && h->count == 0 && h->gen == 0);
    assert_false(report(h, SB_HEALTH_SUCCESS, 0, 3)); /* ends all of them */
    assert_true(h->entries == 0);
    for (int i = 0; i < 2; i++)
        assert_false(report(h, SB_HEALTH_HTTP_FAILURE, 1, 3));
    assert_true(report(h, SB_HEALTH_HTTP_FAILURE, 1, 3));
    assert_false(report(h, SB_HEALTH_HTTP_FAILURE, 1, 3)); /* it was already */
    assert_true(sb_health_is_down(h, 77) && !sb_health_is_down(h, 78) && h->gen == 1 && h->count == 1);
    free(h);
}

static void
successes_in_a_row(void **state)
{
    sb_health_t *h = sb_calloc(sizeof(*h));

    assert_int_equal(sb_health_set(h, &one, 77, true), SB_OK);
    for (int i = 0; i < 300; i++)
        assert_false(report(h, SB_HEALTH_SUCCESS, 0, 1)); /* 0: never */
    assert_false(report(h, SB_HEALTH_HTTP_FAILURE, 2, 0));
    assert_false(report(h, SB_HEALTH_SUCCESS, 2, 1));
    assert_false(report(h, SB_HEALTH_HTTP_FAILURE, 2, 0)); /* counts for nothing, but it was no success */
    assert_false(report(h, SB_HEALTH_SUCCESS, 2, 1));
    assert_true(sb_health_is_down(h, 77));
    assert_true(report(h, SB_HEALTH_SUCCESS, 2, 1));
    assert_true(h->entries == 0 && h->count == 0 && h->gen == 2);
    free(h);
}

static void
zero_is_off(void **state)
{
    sb_health_t *h = sb_calloc(sizeof(*h));

    for (int i = 0; i < 300; i++)
        assert_false(report(h, SB_HEALTH_TCP_FAILURE, 0, 0));
    assert_true(h->entries == 0);
    free(h);
}

/* A writer that died with the lock does not stop the others, and what it left is counted anew. */
static void
a_dead_writers_lock_is_taken(void **state)
{
    sb_health_t *h = sb_calloc(sizeof(*h));
    pid_t dead = fork();

    if (dead == 0)
        _exit(0);
    waitpid(dead, NULL, 0);
    assert_int_equal(sb_health_set(h, &one, 77, true), SB_OK);
    h->count = 5;
    h->lock = (uint64_t)dead;
    assert_int_equal(sb_health_set(h, &one, 78, true), SB_OK);
    assert_true(h->count == 2 && h->entries == 2 && h->lock == 0);
    free(h);
}

static void *
hammer(void *arg)
{
    sb_health_limits_t limits = {{1, 1, 1, 1}};
    unsigned seed = (unsigned)(uintptr_t)&seed;

    for (int i = 0; i < 50000; i++)
        sb_health_report(arg, &one, 2 + (uint64_t)rand_r(&seed) % 64, rand_r(&seed) % 2 ? SB_HEALTH_SUCCESS : SB_HEALTH_TIMEOUT, &limits);
    return NULL;
}

static void
many_writers(void **state)
{
    sb_health_t *h = sb_calloc(sizeof(*h));
    pthread_t threads[4];
    uint64_t count = 0, entries = 0;

    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, h), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (uint64_t key = 2; key < 66; key++)
        count += sb_health_is_down(h, key);
    for (size_t i = 0; i < SB_HEALTH_SLOTS; i++)
        entries += h->slots[i].key > 1;
    assert_true(h->count == count && h->entries == entries && h->lock == 0);
    free(h);
}

static void
status_lines(void **state)
{
    assert_int_equal(sb_health_http_status("HTTP/1.1 200"), 200);
    assert_int_equal(sb_health_http_status("HTTP/1.0 503"), 503);
    assert_int_equal(sb_health_http_status("HTTP/2.0 200"), 0);
    assert_int_equal(sb_health_http_status("HTTP/1.1 20x"), 0);
    assert_int_equal(sb_health_http_status("HTTP/1.1-200"), 0);
    assert_int_equal(sb_health_http_status("SSH-2.0-Open"), 0);
}

#define SERVES(bytes) sb_health_grpc_serving((const uint8_t *)(bytes), sizeof(bytes) - 1)

static void
answers_of_grpcs_health_service(void **state)
{
    assert_true(SERVES("\0\0\0\0\2\x08\1"));
    assert_true(SERVES("\0\0\0\0\2\x08\1zz more"));
    assert_true(SERVES("\0\0\0\0\x0c\x12\3zyx\x08\1\x15\1\2\3\4")); /* with fields that nobody knows yet */
    assert_true(SERVES("\0\0\0\0\4\x08\2\x08\1"));                  /* the last one counts */
    assert_false(SERVES("\0\0\0\0\2\x08\2"));                       /* NOT_SERVING */
    assert_false(SERVES("\0\0\0\0\0"));                             /* UNKNOWN */
    assert_false(SERVES("\1\0\0\0\2\x08\1"));
    assert_false(SERVES("\0\0\0\0\3\x08\1"));
    assert_false(SERVES("\0\0\0\0\4\x08\1\x12\1"));
    assert_false(SERVES("\0\0\0\0\3\x08\1\x0b"));
    assert_false(SERVES("\0\0\0\0\1\x88"));
    assert_false(SERVES("\0\0\0\0"));
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(keys_tell_addresses_apart),
                                       cmocka_unit_test(follows_a_list_through_changes),
                                       cmocka_unit_test(full_and_pruned),
                                       cmocka_unit_test(failures_in_a_row),
                                       cmocka_unit_test(successes_in_a_row),
                                       cmocka_unit_test(zero_is_off),
                                       cmocka_unit_test(a_dead_writers_lock_is_taken),
                                       cmocka_unit_test(many_writers),
                                       cmocka_unit_test(status_lines),
                                       cmocka_unit_test(answers_of_grpcs_health_service)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
