/* A node seen from outside; see node.h. */
#include "cli/node.h"

#include "cli/prefix.h"
#include "core/base/json.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

double
sb_node_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void
sb_node_sleep(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};

    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        continue;
}

static int
open_lock(const char *prefix, int flags)
{
    char *path = sb_asprintf("%s/pids/lock", prefix);
    int fd = open(path, flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);

    free(path);
    return fd;
}

int
sb_node_lock(const char *prefix, int *fd, sb_err_t *err)
{
    char *pids = sb_asprintf("%s/pids", prefix);
    int rc = sb_prefix_make_dirs(pids, 0755, err);

    free(pids);
    if (rc != SB_OK)
        return rc;
    *fd = open_lock(prefix, O_CREAT);
    if (*fd < 0) {
        sb_err_set(err, 0, "%s/pids/lock: %s", prefix, strerror(errno));
        return SB_ERROR;
    }
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
        return SB_OK;
    close(*fd);
    *fd = -1;
    return sb_err_set(err, 0, "Kong is already running in %s", prefix);
}

bool
sb_node_running(const char *prefix)
{
    int fd = open_lock(prefix, 0);
    bool held;

    if (fd < 0)
        return false;
    held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return held;
}

/* A number below `least` is none of ours. */
static pid_t
read_pid(const char *prefix, const char *name, long least)
{
    char *path = sb_asprintf("%s/pids/%s.pid", prefix, name);
    FILE *f = fopen(path, "re");
    long pid = 0;

    if (f != NULL) {
        if (fscanf(f, "%ld", &pid) != 1 || pid < least)
            pid = 0;
        fclose(f);
    }
    free(path);
    return (pid_t)pid;
}

pid_t
sb_node_pid(const char *prefix)
{
    for (double end = sb_node_now() + 5; sb_node_running(prefix); sb_node_sleep(0.02)) {
        pid_t pid = read_pid(prefix, "nginx", 1); /* 1: the first process of a container */
        if (pid > 0 && kill(pid, 0) == 0)
            return pid;
        if (sb_node_now() > end)
            break;
    }
    return 0;
}

bool
sb_node_wait_gone(const char *prefix, double seconds)
{
    for (double end = sb_node_now() + seconds; sb_node_running(prefix); sb_node_sleep(0.02))
        if (sb_node_now() > end)
            return false;
    return true;
}

int
sb_node_check_prefix(const char *prefix, sb_err_t *err)
{
    struct stat st;

    if (stat(prefix, &st) == 0 && S_ISDIR(st.st_mode))
        return SB_OK;
    return sb_err_set(err, 0, "no such prefix: %s", prefix);
}

/* Process group of a process that is nginx; 0 for others. */
static pid_t
nginx_group(const char *pid)
{
    char path[64], text[512], *end;
    FILE *f;
    size_t n;
    int group = 0;

    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    f = fopen(path, "re");
    if (f == NULL)
        return 0;
    n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    end = strrchr(text, ')');
    if (strstr(text, "(nginx)") == NULL || end == NULL || sscanf(end + 1, " %*c %*d %d", &group) != 1)
        return 0;
    return group;
}

/* Process numbers are used again: only an nginx that has our modules loaded is one of ours. */
static bool
has_our_module(const char *pid)
{
    char path[64], line[1024];
    bool found = false;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%.20s/maps", pid);
    f = fopen(path, "re");
    while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
        found = strstr(line, "/ngx_http_silverback") != NULL;
    if (f != NULL)
        fclose(f);
    return found;
}

void
sb_node_kill_leftovers(const char *prefix)
{
    static const char *const names[] = {"proxy", "control"};
    pid_t groups[2];
    bool found = true;

    for (int i = 0; i < 2; i++)
        groups[i] = read_pid(prefix, names[i], 2);
    for (double end = sb_node_now() + 10; found && sb_node_now() < end; sb_node_sleep(0.05)) {
        DIR *proc = opendir("/proc");
        found = false;
        for (struct dirent *d = proc != NULL ? readdir(proc) : NULL; d != NULL; d = readdir(proc)) {
            pid_t group = d->d_name[0] >= '1' && d->d_name[0] <= '9' ? nginx_group(d->d_name) : 0;
            if (group == 0 || (group != groups[0] && group != groups[1]) || !has_our_module(d->d_name))
                continue;
            kill((pid_t)atol(d->d_name), SIGKILL);
            found = true;
        }
        if (proc != NULL)
            closedir(proc);
        if (!found)
            break;
    }
}

bool
sb_node_read_state(const char *prefix, sb_node_state_t *out)
{
    char *path = sb_asprintf("%s/pids/state.json", prefix), text[4096];
    FILE *f = fopen(path, "re");
    json_t *doc = NULL;
    size_t n = 0;

    *out = (sb_node_state_t){0};
    if (f != NULL) {
        n = fread(text, 1, sizeof(text), f);
        fclose(f);
        doc = sb_json_parse(text, n, NULL);
    }
    free(path);
    if (doc == NULL)
        return false;
    out->reloads = sb_json_int(doc, "reloads", 0);
    out->proxy = sb_json_bool(doc, "proxy", false);
    out->control = sb_json_bool(doc, "control", false);
    snprintf(out->result, sizeof(out->result), "%s", sb_json_string(doc, "result") != NULL ? sb_json_string(doc, "result") : "");
    json_decref(doc);
    return true;
}

void
sb_node_write_state(const char *prefix, const sb_node_state_t *state)
{
    char *path = sb_asprintf("%s/pids/state.json", prefix), *tmp = sb_asprintf("%s.tmp", path), *text;
    json_t *result = json_string(state->result);
    json_t *doc = json_pack("{s:I,s:b,s:b,s:o}", "reloads", (json_int_t)state->reloads, "proxy", state->proxy, "control", state->control,
                            "result", result != NULL ? result : json_string("failed"));
    FILE *f = fopen(tmp, "we");

    text = sb_json_dump(doc);
    if (f != NULL) {
        fputs(text, f);
        if (fclose(f) == 0)
            rename(tmp, path);
    }
    free(text);
    json_decref(doc);
    free(tmp);
    free(path);
}
