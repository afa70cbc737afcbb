/*
 * The text of a kong.conf, through everything a verb does with it; what is accepted must be the same after it was written to .kong_env
 * and read back, as the instances do.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/json.h"
#include "core/settings/settings.h"
#include "fuzz.h"

static void
round_trip(const sb_settings_t *s)
{
    static char path[64];
    sb_settings_t *again = NULL;
    sb_err_t err = {0};
    json_t *a, *b;

    snprintf(path, sizeof(path), "/tmp/sb-fuzz-env-%d", (int)getpid());
    SB_ASSERT(sb_settings_write_env_file(s, path, &err) == SB_OK);
    SB_ASSERT(sb_settings_load_env_file(path, &again, &err) == SB_OK);
    a = sb_settings_json(s);
    b = sb_settings_json(again);
    SB_ASSERT(json_equal(a, b));
    json_decref(a);
    json_decref(b);
    sb_settings_free(again);
    unlink(path);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    sb_settings_source_t src = {.conf_file = path, .prefix = "/tmp/sb-fuzz-prefix"};
    sb_settings_t *s = NULL;
    sb_err_t err = {0};
    int fd = memfd_create("conf", 0), rc;

    SB_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    rc = sb_settings_load(&src, &s, &err);
    SB_ASSERT(rc == SB_OK || (err.message != NULL && err.message[0] != '\0'));
    if (rc == SB_OK)
        round_trip(s);
    sb_settings_free(s);
    sb_err_clear(&err);
    close(fd);
    return 0;
}
