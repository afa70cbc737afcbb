/* The runtime state file: created whole, shared between mappings, kept over restarts, replaced when of another layout. */
#include "model_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

static int
setup(void **state)
{
    static char path[64];
    char dir[] = "/tmp/sb-runtime-XXXXXX";

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/state", dir);
    *state = path;
    return 0;
}

static int
teardown(void **state)
{
    char *path = *state;

    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
    return 0;
}

static void
mappings_share_and_last(void **state)
{
    sb_runtime_t *a, *b;
    struct stat st;
    sb_err_t err = {0};

    assert_int_equal(sb_runtime_map(*state, false, &a, &err), SB_ERROR); /* none yet */
    sb_err_clear(&err);
    must(sb_runtime_map(*state, true, &a, &err), &err);
    must(sb_runtime_map(*state, true, &b, &err), &err);
    a->event_seq = 7;
    assert_int_equal(b->event_seq, 7);
    sb_runtime_unmap(a);
    sb_runtime_unmap(b);
    must(sb_runtime_map(*state, false, &a, &err), &err);
    assert_int_equal(a->event_seq, 7);
    sb_runtime_unmap(a);
    assert_int_equal(stat(*state, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(st.st_blocks * 512 >= st.st_size); /* no hole that a full disk would make a SIGBUS of */
}

static void
another_layout_starts_over(void **state)
{
    sb_runtime_t *a;
    sb_err_t err = {0};
    int fd = open(*state, O_WRONLY | O_CREAT, 0600);

    assert_int_equal(write(fd, "something else", 14), 14);
    close(fd);
    assert_int_equal(sb_runtime_map(*state, false, &a, &err), SB_ERROR);
    sb_err_clear(&err);
    must(sb_runtime_map(*state, true, &a, &err), &err);
    assert_int_equal(a->magic, SB_RT_MAGIC);
    assert_int_equal(a->event_seq, 0);
    sb_runtime_unmap(a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(mappings_share_and_last, setup, teardown),
        cmocka_unit_test_setup_teardown(another_layout_starts_over, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
