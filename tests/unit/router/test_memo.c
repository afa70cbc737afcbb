/* The router's memo: whatever it answers is what a seek in the sorted rows finds, also under hashes that many keys share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/router/router_int.h"

#include <stdio.h>
#include <stdlib.h>

#define ROWS   200
#define ROW    16 /* room for a key and the value behind it */
#define ROUNDS 20000

struct rows {
    char b[ROWS][ROW];
    size_t n;
};

static size_t
random_key(unsigned *seed, char *out)
{
    size_t n = 1 + (size_t)rand_r(seed) % 6;

    for (size_t i = 0; i < n; i++)
        out[i] = "abc"[rand_r(seed) % 3];
    out[n] = '\0';
    return n;
}

static int
by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void
make_rows(struct rows *r, unsigned *seed)
{
    char all[ROWS][ROW];

    memset(all, 0, sizeof(all));
    for (size_t i = 0; i < ROWS; i++)
        random_key(seed, all[i]);
    qsort(all, ROWS, ROW, by_text);
    r->n = 0;
    for (size_t i = 0; i < ROWS; i++)
        if (r->n == 0 || strcmp(r->b[r->n - 1], all[i]) != 0)
            memcpy(r->b[r->n++], all[i], ROW);
}

static size_t
seek(const struct rows *r, const char *key)
{
    size_t i = 0;

    while (i < r->n && strcmp(r->b[i], key) < 0)
        i++;
    return i;
}

static sb_str_t
text(const char *s)
{
    return (sb_str_t){s, strlen(s)};
}

/* One key against the rows; returns whether the memo knew. */
static bool
ask(struct memo *m, const struct rows *r, const char *key)
{
    struct rkey k = {.len = strlen(key)};
    uint64_t hash = memo_hash((const unsigned char *)key, k.len < 2 ? k.len : 2, 0); /* shared by many */
    size_t want = seek(r, key);
    sb_str_t row, value;

    memcpy(k.b, key, k.len);
    if (memo_find(m, hash, &k, &row, &value)) {
        assert_true(want < r->n);
        assert_ptr_equal(row.data, r->b[want]);
        assert_int_equal(row.len, strlen(r->b[want]));
        assert_ptr_equal(value.data, row.data + row.len);
        assert_int_equal(value.len, 2);
        return true;
    }
    if (want < r->n) {
        row = text(r->b[want]);
        memo_keep(m, hash, row, (sb_str_t){row.data + row.len, 2}, want > 0 ? text(r->b[want - 1]) : text(""));
    }
    return false;
}

static void
it_answers_what_a_seek_finds(void **state)
{
    struct memo *m = memo_new();
    struct rows r;
    unsigned seed = 1, known = 0;
    char key[ROW];

    (void)state;
    for (uint64_t snapshot = 1; snapshot <= 10; snapshot++) {
        make_rows(&r, &seed);
        memo_snapshot(m, snapshot);
        for (unsigned i = 0; i < ROUNDS; i++) {
            random_key(&seed, key);
            known += ask(m, &r, key);
        }
    }
    assert_true(known > ROUNDS);
    memo_free(m);
}

static void
another_snapshot_makes_it_forget(void **state)
{
    static const char rows[] = "b\0v";
    struct memo *m = memo_new();
    struct rkey k = {.len = 1, .b = "a"};
    sb_str_t row = {rows, 1}, value = {rows + 1, 2}, found, with;

    (void)state;
    memo_snapshot(m, 7);
    memo_keep(m, 1, row, value, text(""));
    assert_true(memo_find(m, 1, &k, &found, &with));
    memo_snapshot(m, 7);
    assert_true(memo_find(m, 1, &k, &found, &with));
    memo_snapshot(m, 8);
    assert_false(memo_find(m, 1, &k, &found, &with));
    memo_snapshot(m, 7);
    assert_false(memo_find(m, 1, &k, &found, &with));
    memo_free(m);
}

static void
it_grows_with_what_is_kept(void **state)
{
    enum { N = 20000 };
    char *rows = calloc(N, ROW);
    struct memo *m = memo_new();
    unsigned known = 0;
    sb_str_t found, with;

    (void)state;
    memo_snapshot(m, 1);
    for (int pass = 0; pass < 5; pass++) {
        known = 0;
        for (unsigned i = 0; i < N; i++) {
            char *row = rows + (size_t)i * ROW;
            struct rkey k = {.len = 6};
            uint64_t hash;
            snprintf(row, ROW, "%06u", i);
            memcpy(k.b, row, 6);
            hash = memo_hash(k.b, 6, 0);
            if (memo_find(m, hash, &k, &found, &with)) {
                assert_ptr_equal(found.data, row);
                known++;
            } else {
                memo_keep(m, hash, (sb_str_t){row, 6}, (sb_str_t){row + 6, 1}, i > 0 ? (sb_str_t){row - ROW, 6} : text(""));
            }
        }
    }
    if (known <= N * 8 / 10)
        print_message("%u of %u known\n", known, (unsigned)N);
    assert_true(known > N * 8 / 10); /* keys that share a pair push each other out */
    memo_free(m);
    free(rows);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_answers_what_a_seek_finds),
        cmocka_unit_test(another_snapshot_makes_it_forget),
        cmocka_unit_test(it_grows_with_what_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
