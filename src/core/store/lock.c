/*
 * The writer role: an exclusive flock on writer.lock in the record's folder. The kernel drops it with the process that holds it, however
 * that ends. The file holds the holder's pid for the message a second opener gets; the pid alone means nothing.
 */
#include "core/base/log.h"
#include "core/store/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int
refuse(const char *dir, int fd, sb_err_t *err)
{
    char pid[32] = {0};
    ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

    pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
    close(fd);
    return sb_err_set(err, SB_E_NONE, "another process holds the writer role of %s, pid %s", dir, pid[0] != '\0' ? pid : "unknown");
}

static int
fail(const char *path, int fd, sb_err_t *err)
{
    int e = errno;

    if (fd >= 0)
        close(fd);
    sb_log(SB_LOG_ERR, "store: cannot lock %s: %s", path, strerror(e));
    return sb_err_set(err, SB_E_DATABASE, "cannot lock %s: %s", path, strerror(e));
}

int
sb_store_lock(const char *dir, int *out, sb_err_t *err)
{
    char *path = sb_asprintf("%s/writer.lock", dir);
    int fd, rc = SB_OK;

    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        rc = fail(path, fd, err);
    else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        rc = errno == EWOULDBLOCK ? refuse(dir, fd, err) : fail(path, fd, err);
    else if (ftruncate(fd, 0) != 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0)
        rc = fail(path, fd, err);
    else
        *out = fd;
    free(path);
    return rc;
}
