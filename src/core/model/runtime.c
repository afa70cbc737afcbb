/*
 * The runtime state: one file of atomics that both instances map. Its blocks are allocated when it is created, because writing to
 * a mapped hole on a full disk would be a SIGBUS. The file outlives restarts on purpose: counters that readers compare (events,
 * routing generation, model epoch) only move forward. Start reading at sb_runtime_map.
 */
#include "core/model/model.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int
fail(sb_err_t *err, const char *path, const char *what, int code)
{
    return sb_err_set(err, SB_E_DATABASE, "runtime state %s: %s: %s", path, what, strerror(code));
}

/* A file of another layout (an upgrade) starts over; the instances that mapped it are restarted then. */
static int
prepare(int fd, const char *path, bool create, sb_err_t *err)
{
    struct stat st;
    sb_runtime_t head;
    int rc;

    if (fstat(fd, &st) != 0)
        return fail(err, path, "stat", errno);
    if (st.st_size == (off_t)sizeof(head) && pread(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head) && head.magic == SB_RT_MAGIC &&
        head.size == sizeof(head))
        return SB_OK;
    if (!create)
        return sb_err_set(err, SB_E_DATABASE, "runtime state %s: not of this version", path);
    rc = ftruncate(fd, 0) != 0 ? errno : posix_fallocate(fd, 0, sizeof(head));
    if (rc != 0)
        return fail(err, path, "allocate", rc);
    memset(&head, 0, sizeof(head));
    head.magic = SB_RT_MAGIC;
    head.size = sizeof(head);
    if (pwrite(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head))
        return fail(err, path, "write", errno);
    return SB_OK;
}

int
sb_runtime_map(const char *path, bool create, sb_runtime_t **out, sb_err_t *err)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
    void *p;
    int rc;

    *out = NULL;
    if (fd < 0)
        return fail(err, path, "open", errno);
    rc = prepare(fd, path, create, err);
    if (rc == SB_OK) {
        p = mmap(NULL, sizeof(sb_runtime_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            rc = fail(err, path, "map", errno);
        else
            *out = p;
    }
    close(fd);
    return rc;
}

void
sb_runtime_unmap(sb_runtime_t *rt)
{
    if (rt != NULL)
        munmap(rt, sizeof(*rt));
}

void
sb_runtime_begin(sb_runtime_t *rt, uint64_t run)
{
    if (__atomic_exchange_n(&rt->run, run, __ATOMIC_RELAXED) == run)
        return;
    __atomic_store_n(&rt->draining, 0, __ATOMIC_RELAXED);
    sb_health_prune(&rt->health, NULL, NULL);
}
