/* One nginx instance under the supervisor; see instance.h. */
#include "cli/instance.h"

#include "cli/node.h"
#include "cli/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* How long an instance may take to be ready; one that dies is noticed at once. Control may have to build the read model of a large
 * record first. */
#define START_SECONDS       60
#define START_SECONDS_BUILD 900

static void
child(const sb_inst_t *in, const char *prefix, const char *stderr_file)
{
    const char *conf = in->kind == SB_INSTANCE_PROXY ? "nginx.conf" : "control.conf";
    char *prefix_arg = sb_asprintf("%s/", prefix), *conf_arg = sb_asprintf("%s/%s", prefix, conf);
    char *log_arg = sb_asprintf("%s/logs/error.log", prefix), *fds = sb_socks_environment(&in->socks);
    char *pid_arg = sb_asprintf("pid %s/pids/%ld.nginx;", prefix, (long)getpid());
    char *const argv[] = {"nginx", "-p", prefix_arg, "-c", conf_arg, "-e", log_arg, "-g", pid_arg, NULL};
    sigset_t none;
    int fd;

    setpgid(0, 0);
    /* If the supervisor itself is killed, nothing may keep the ports: the next start needs them. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (stderr_file != NULL && (fd = open(stderr_file, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600)) >= 0) {
        dup2(fd, 1);
        dup2(fd, 2);
        close(fd);
    }
    for (size_t i = 0; i < in->socks.n; i++)
        if (in->socks.v[i].fd >= 0)
            fcntl(in->socks.v[i].fd, F_SETFD, 0);
    if (fds[0] != '\0')
        setenv("NGINX", fds, 1);
    execv(sb_paths_get()->nginx, argv);
    dprintf(2, "could not run %s: %s\n", sb_paths_get()->nginx, strerror(errno));
    _exit(127);
}

int
sb_inst_spawn(sb_inst_t *in, const char *prefix, const char *stderr_file, sb_err_t *err)
{
    pid_t pid;

    if (sb_paths_get()->nginx == NULL) {
        sb_err_set(err, 0, "nginx was not found on PATH");
        return SB_ERROR;
    }
    pid = fork();
    if (pid < 0) {
        sb_err_set(err, 0, "fork: %s", strerror(errno));
        return SB_ERROR;
    }
    if (pid == 0)
        child(in, prefix, stderr_file);
    setpgid(pid, pid); /* both do it: whoever comes first */
    in->master = pid;
    in->state = SB_INST_STARTING;
    in->at = sb_node_now() + (in->kind == SB_INSTANCE_CONTROL ? START_SECONDS_BUILD : START_SECONDS);
    sb_inst_write_pid(in, prefix);
    return SB_OK;
}

void
sb_inst_write_pid(const sb_inst_t *in, const char *prefix)
{
    char *path = sb_asprintf("%s/pids/%s.pid", prefix, sb_instance_name(in->kind)), *tmp = sb_asprintf("%s.tmp", path);
    FILE *f;

    if (in->master != 0 && (f = fopen(tmp, "we")) != NULL) {
        fprintf(f, "%ld\n", (long)in->master);
        if (fclose(f) == 0)
            rename(tmp, path);
    }
    free(tmp);
    free(path);
}

void
sb_inst_forget_master(pid_t master, const char *prefix)
{
    char *path = sb_asprintf("%s/pids/%ld.nginx", prefix, (long)master);

    unlink(path);
    free(path);
}

bool
sb_inst_group_alive(pid_t group)
{
    return kill(-group, 0) == 0 || errno == EPERM;
}

void
sb_inst_retire(sb_inst_t *in, bool master_alive, double kill_at)
{
    if (in->master == 0)
        return;
    if (in->n_old == SB_MAX_OLD) {
        /* So many generations are still draining that the oldest has had its time. */
        kill(-in->old[0].group, SIGKILL);
        memmove(in->old, in->old + 1, sizeof(in->old) - sizeof(in->old[0]));
        in->n_old--;
    }
    in->old[in->n_old++] = (sb_old_group_t){.group = in->master, .master_alive = master_alive, .kill_at = kill_at};
    in->master = 0;
    in->state = SB_INST_DOWN;
}

void
sb_inst_signal_old(sb_inst_t *in, int sig)
{
    for (size_t i = 0; i < in->n_old; i++)
        kill(in->old[i].master_alive ? in->old[i].group : -in->old[i].group, sig);
}

double
sb_inst_reap_old(sb_inst_t *in, double now)
{
    double next = 0;

    for (size_t i = 0; i < in->n_old;) {
        sb_old_group_t *g = &in->old[i];
        if (!sb_inst_group_alive(g->group)) {
            memmove(g, g + 1, (in->n_old - i - 1) * sizeof(*g));
            in->n_old--;
            continue;
        }
        if (g->kill_at != 0 && now >= g->kill_at) {
            kill(-g->group, SIGKILL);
            g->kill_at = now + 1;
        }
        if (g->kill_at != 0 && (next == 0 || g->kill_at < next))
            next = g->kill_at;
        i++;
    }
    return next;
}
