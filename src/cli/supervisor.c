/*
 * The supervisor: one process that a node is to the outside. It starts the two nginx instances, first control, then the proxy, each in
 * a process group of its own, and keeps them running until it is told to stop.
 *
 *   SIGTERM, SIGINT  stop at once      SIGQUIT  finish what has begun, then stop
 *   SIGHUP           reload (supervisor_reload.c)      SIGUSR1  reopen the logs
 *
 * It is a loop over one signalfd, the socket on which instances report that they are ready, and the output of the child that tries a new
 * configuration. Every event changes the state of an instance (instance.h); tick() then does what the states ask for.
 *
 * What makes it more than a loop is how a master dies: one killed with -9 leaves its workers serving and holding the ports.
 *  - The supervisor owns the listening sockets (sockets.h), so a new proxy master starts beside the orphaned workers on the same sockets;
 * when its first worker has reported, the orphans are told to finish and go. No connection is refused meanwhile.
 *  - Control must never run twice (one writer): its orphans are ended first, then a new one starts. Its clients wait in the backlog.
 * Orphans become our children (subreaper), so their process group tells when the last one has ended.
 */
#include "cli/supervisor_int.h"

#include "cli/notify.h"
#include "cli/prefix.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CONTROL_GRACE 3.0  /* for orphans of control to end by themselves */
#define STOP_GRACE    10.0 /* for a fast stop, before SIGKILL */
#define STEADY        10.0 /* up so long: the next restart is at once again */
#define BACKOFF_FIRST 0.1
#define BACKOFF_MAX   10.0

/* --- log: the node's own error log, in nginx's form --- */

static char *log_path;

static void
log_line(int level, const char *line)
{
    static const char *const names[] = {"emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"};
    int fd = log_path != NULL ? open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644) : -1;
    time_t now = time(NULL);
    struct tm tm;
    char when[32];

    localtime_r(&now, &tm);
    strftime(when, sizeof(when), "%Y/%m/%d %H:%M:%S", &tm);
    dprintf(fd >= 0 ? fd : 2, "%s [%s] %ld#0: supervisor: %s\n", when, names[level], (long)getpid(), line);
    if (fd >= 0)
        close(fd);
}

static void
open_log(const sb_settings_t *s)
{
    const char *setting = sb_settings_str(s, "proxy_error_log");
    char *path = sb_nginx_path(s, setting != NULL && setting[0] != '\0' ? setting : "logs/error.log");

    free(log_path);
    log_path = path[0] == '/' ? path : NULL;
    if (log_path == NULL)
        free(path);
    sb_log_set_sink(log_line);
}

/* --- starting an instance --- */

void
sb_super_write_state(super_t *sp)
{
    sp->state.proxy = sp->proxy.state == SB_INST_UP;
    sp->state.control = sp->control.state == SB_INST_UP;
    sb_node_write_state(sp->prefix, &sp->state);
}

int
sb_super_open_sockets(const super_t *sp, const sb_settings_t *s, sb_instance_t kind, const char *suffix, sb_socks_t *have, sb_socks_t *out,
                      sb_err_t *err)
{
    char *path = sb_asprintf("%s/%s%s", sp->prefix, kind == SB_INSTANCE_PROXY ? "nginx.conf" : "control.conf", suffix);
    int workers = kind == SB_INSTANCE_PROXY ? sb_nginx_workers(s) : 1;
    int rc = sb_socks_wanted(path, sp->prefix, workers, out, err);

    if (rc == SB_OK && (rc = sb_socks_open(out, have, err)) != SB_OK)
        sb_socks_free(out);
    free(path);
    return rc;
}

static char *
stderr_path(const super_t *sp, const sb_inst_t *in)
{
    return sb_asprintf("%s/pids/%s.stderr", sp->prefix, sb_instance_name(in->kind));
}

static void
back_off(sb_inst_t *in)
{
    double now = sb_node_now();

    if (in->state == SB_INST_UP && now - in->up_since > STEADY)
        in->backoff = 0;
    in->at = now + in->backoff;
    in->backoff = in->backoff == 0 ? BACKOFF_FIRST : in->backoff * 2;
    if (in->backoff > BACKOFF_MAX)
        in->backoff = BACKOFF_MAX;
}

static void stop(super_t *sp, bool graceful);

static void
fail_start(super_t *sp, const char *why)
{
    if (sp->failure == NULL)
        sp->failure = sb_strdup_len(why, strlen(why));
    stop(sp, false);
}

void
sb_super_spawn(super_t *sp, sb_inst_t *in)
{
    char *err_file = sp->foreground ? NULL : stderr_path(sp, in);
    sb_err_t err = {0};

    if (in == &sp->proxy)
        sp->n_workers = 0;
    if (sb_inst_spawn(in, sp->prefix, err_file, &err) != SB_OK) {
        sb_log(SB_LOG_ERR, "could not start %s: %s", sb_instance_name(in->kind), err.message);
        if (sp->phase == PHASE_STARTING)
            fail_start(sp, err.message);
        else
            back_off(in);
    }
    sb_err_clear(&err);
    free(err_file);
}

/* --- ready reports --- */

static int
open_ready_socket(super_t *sp, sb_err_t *err)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char *path = sb_asprintf("%s/sockets/ready.sock", sp->prefix);
    int one = 1, rc = SB_OK;
    sb_owner_t owner;

    if (strlen(path) >= sizeof(un.sun_path)) {
        rc = sb_err_set(err, 0, "the prefix's path is too long for a unix socket: %s", path);
        goto out;
    }
    strcpy(un.sun_path, path);
    unlink(path);
    sp->ready_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sp->ready_fd < 0 || setsockopt(sp->ready_fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) != 0 ||
        bind(sp->ready_fd, (struct sockaddr *)&un, sizeof(un)) != 0) {
        sb_err_set(err, 0, "%s: %s", path, strerror(errno));
        rc = SB_ERROR;
        goto out;
    }
    chmod(path, 0600);
    if (geteuid() == 0 && sb_prefix_owner(sp->s, &owner, NULL) == SB_OK && lchown(path, owner.uid, owner.gid) != 0)
        sb_log(SB_LOG_WARN, "%s: %s", path, strerror(errno));
out:
    free(path);
    return rc;
}

static void
started(super_t *sp)
{
    sp->phase = PHASE_RUNNING;
    sb_super_write_state(sp);
    sb_log(SB_LOG_NOTICE, "started");
    sb_notify("READY=1");
    sp->report(NULL, sp->report_arg);
}

static void
instance_up(super_t *sp, sb_inst_t *in)
{
    bool first = in->state != SB_INST_UP;

    if (first) {
        in->state = SB_INST_UP;
        in->up_since = sb_node_now();
        in->at = 0;
        sb_super_write_state(sp);
        sb_log(SB_LOG_NOTICE, "%s is ready", sb_instance_name(in->kind));
        /* Those that served until now may finish and go. */
        sb_inst_signal_old(in, SIGQUIT);
    }
    if (sp->phase == PHASE_STARTING && first) {
        if (in->kind == SB_INSTANCE_CONTROL)
            sb_super_spawn(sp, &sp->proxy);
        else
            started(sp);
    } else if (sp->phase == PHASE_RUNNING)
        sb_super_reload_up(sp, in);
}

/* The proxy is up when all its workers are. */
static size_t
workers_needed(const super_t *sp)
{
    size_t n = (size_t)sb_nginx_workers(sp->s);

    return n < SB_MAX_WORKERS ? n : SB_MAX_WORKERS;
}

static void
note_worker(super_t *sp, pid_t pid)
{
    for (size_t i = 0; i < sp->n_workers; i++)
        if (sp->workers[i] == pid)
            return;
    if (sp->n_workers < SB_MAX_WORKERS)
        sp->workers[sp->n_workers++] = pid;
    else
        sp->workers[0] = pid; /* so many have died and been replaced that the oldest is long gone */
}

/* "proxy 123", "control 123", or "error proxy why": the instance cannot come up and says so. */
static void
take_report(super_t *sp, pid_t sender, char *text)
{
    char *save = NULL, *word = strtok_r(text, " \n", &save);
    bool failed = word != NULL && strcmp(word, "error") == 0;
    sb_inst_t *in;

    if (failed)
        word = strtok_r(NULL, " \n", &save);
    if (word == NULL || (strcmp(word, "proxy") != 0 && strcmp(word, "control") != 0))
        return;
    in = strcmp(word, "proxy") == 0 ? &sp->proxy : &sp->control;
    /* The kernel vouches for the sender: only a process of the instance's present generation counts. */
    if (in->master == 0 || getpgid(sender) != in->master)
        return;
    if (!failed) {
        if (in == &sp->proxy)
            note_worker(sp, sender);
        if (in == &sp->control || sp->n_workers >= workers_needed(sp))
            instance_up(sp, in);
        return;
    }
    word = strtok_r(NULL, "\n", &save);
    sb_log(SB_LOG_ERR, "%s: %s", sb_instance_name(in->kind), word != NULL ? word : "failed");
    if (sp->phase == PHASE_STARTING)
        fail_start(sp, word != NULL ? word : "failed");
    else
        sb_super_reload_failed(sp, word != NULL ? word : "failed");
}

static void
read_reports(super_t *sp)
{
    char text[2048], control[CMSG_SPACE(sizeof(struct ucred))];

    for (;;) {
        struct iovec iov = {text, sizeof(text) - 1};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(sp->ready_fd, &msg, MSG_DONTWAIT);
        struct cmsghdr *c;
        struct ucred cred;

        if (n < 0)
            return;
        text[n] = '\0';
        c = CMSG_FIRSTHDR(&msg);
        if (c == NULL || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS)
            continue;
        memcpy(&cred, CMSG_DATA(c), sizeof(cred));
        take_report(sp, cred.pid, text);
    }
}

/* --- deaths --- */

/* What nginx said before it gave up: its last line with a severe level, else the exit status. */
static char *
last_words(const super_t *sp, const sb_inst_t *in, int status)
{
    char *path = stderr_path(sp, in), line[2048], *found = NULL;
    FILE *f = sp->foreground ? NULL : fopen(path, "re");

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strstr(line, "[emerg]") == NULL && strstr(line, "[alert]") == NULL && strstr(line, "[error]") == NULL &&
            strstr(line, "could not run") == NULL)
            continue;
        free(found);
        found = sb_strdup_len(line, strlen(line));
    }
    if (f != NULL)
        fclose(f);
    free(path);
    if (found != NULL)
        return found;
    if (WIFSIGNALED(status))
        return sb_asprintf("%s ended on signal %d; see logs/error.log", sb_instance_name(in->kind), WTERMSIG(status));
    return sb_asprintf("%s ended with status %d; see logs/error.log", sb_instance_name(in->kind), WEXITSTATUS(status));
}

static void
master_died(super_t *sp, sb_inst_t *in, int status)
{
    bool control = in->kind == SB_INSTANCE_CONTROL, was_up = in->state == SB_INST_UP;
    pid_t group = in->master;
    char *words = last_words(sp, in, status);
    double now = sb_node_now();

    if (sp->phase != PHASE_STARTING)
        sb_log(SB_LOG_ERR, "the master of %s (%ld) has died (%s %d); a new one is started", sb_instance_name(in->kind), (long)group,
               WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    back_off(in);
    sb_inst_retire(in, false, control || !was_up ? now + CONTROL_GRACE : 0);
    if (control || !was_up)
        kill(-group, SIGTERM);
    sb_inst_forget_master(group, sp->prefix);
    sb_super_write_state(sp);
    if (sp->phase == PHASE_STARTING)
        fail_start(sp, words);
    else
        sb_super_reload_failed(sp, words);
    free(words);
}

/* A master that was retired alive has ended: whoever it left behind is told directly. */
static void
old_master_ended(super_t *sp, sb_inst_t *in, pid_t pid)
{
    for (size_t i = 0; i < in->n_old; i++) {
        if (in->old[i].group != pid)
            continue;
        in->old[i].master_alive = false;
        kill(-pid, sp->phase == PHASE_STOPPING && !sp->graceful ? SIGTERM : SIGQUIT);
        sb_inst_forget_master(pid, sp->prefix);
    }
}

static void
reap(super_t *sp)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == sp->proxy.master)
            master_died(sp, &sp->proxy, status);
        else if (pid == sp->control.master)
            master_died(sp, &sp->control, status);
        else {
            old_master_ended(sp, &sp->proxy, pid);
            old_master_ended(sp, &sp->control, pid);
        }
    }
}

/* --- stopping --- */

static void
stop_instance(sb_inst_t *in, int sig, double kill_at)
{
    sb_inst_retire(in, true, kill_at);
    in->at = 0;
    for (size_t i = 0; i < in->n_old; i++)
        in->old[i].kill_at = kill_at;
    sb_inst_signal_old(in, sig);
}

/* A graceful stop lets control live until the proxy's last request has been answered: it may need control. */
static void
stop(super_t *sp, bool graceful)
{
    double limit = sb_node_now() + STOP_GRACE;

    if (sp->phase == PHASE_STOPPING && (graceful || !sp->graceful))
        return;
    sp->phase = PHASE_STOPPING;
    sp->graceful = graceful;
    sb_super_reload_abort(sp);
    sb_log(SB_LOG_NOTICE, graceful ? "finishing" : "stopping");
    sb_notify("STOPPING=1");
    stop_instance(&sp->proxy, graceful ? SIGQUIT : SIGTERM, graceful ? 0 : limit);
    if (!graceful)
        stop_instance(&sp->control, SIGTERM, limit);
    sp->settled = !graceful;
}

/* --- the loop --- */

static void
on_signal(super_t *sp, uint32_t signo)
{
    switch (signo) {
    case SIGTERM:
    case SIGINT:
        stop(sp, false);
        break;
    case SIGQUIT:
        stop(sp, true);
        break;
    case SIGHUP:
        if (sp->phase == PHASE_RUNNING)
            sb_super_reload(sp);
        break;
    case SIGUSR1:
        for (int i = 0; i < 2; i++) {
            sb_inst_t *in = i == 0 ? &sp->proxy : &sp->control;
            if (in->master != 0)
                kill(in->master, SIGUSR1);
            sb_inst_signal_old(in, SIGUSR1);
        }
        break;
    case SIGCHLD:
        reap(sp);
        break;
    }
}

static double
sooner(double a, double b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* What an instance's state asks for now. Returns when to look again; 0: only after an event. */
static double
tick_instance(super_t *sp, sb_inst_t *in, double now)
{
    double next = sb_inst_reap_old(in, now);
    /* The last process of a group may be reaped by its own parent, which tells nobody: look again soon. */
    if (in->n_old != 0)
        next = sooner(next, now + (sp->phase == PHASE_STOPPING || in->kind == SB_INSTANCE_CONTROL ? 0.02 : 0.5));
    if (in->state == SB_INST_STARTING && now >= in->at) {
        sb_log(SB_LOG_ERR, "%s was not ready in time", sb_instance_name(in->kind));
        if (sp->phase == PHASE_STARTING)
            fail_start(sp, in->kind == SB_INSTANCE_PROXY ? "the proxy was not ready in time; see logs/error.log"
                                                         : "control was not ready in time; see logs/error.log");
        else
            kill(-in->master, SIGKILL);
        in->at = now + 5;
    }
    if (in->state == SB_INST_DOWN && in->at != 0 && sp->phase == PHASE_RUNNING) {
        bool may = in->kind == SB_INSTANCE_PROXY || in->n_old == 0;
        if (may && now >= in->at)
            sb_super_spawn(sp, in);
    }
    return in->at != 0 ? sooner(next, in->at > now ? in->at : now + 0.02) : next;
}

/* Returns false when the node has ended. */
static bool
tick(super_t *sp, double *next)
{
    double now = sb_node_now();

    *next = sooner(tick_instance(sp, &sp->control, now), tick_instance(sp, &sp->proxy, now));
    sb_super_reload_tick(sp, now, next);
    if (sp->phase != PHASE_STOPPING)
        return true;
    if (!sp->settled && sp->proxy.n_old == 0) {
        sp->settled = true;
        stop_instance(&sp->control, SIGQUIT, now + STOP_GRACE);
        *next = now + 0.02;
    }
    return !sp->settled || sp->proxy.n_old != 0 || sp->control.n_old != 0;
}

static void
loop(super_t *sp)
{
    struct pollfd fds[3] = {{.fd = sp->signal_fd, .events = POLLIN}, {.fd = sp->ready_fd, .events = POLLIN}, {.events = POLLIN}};
    struct signalfd_siginfo info;
    double next;

    while (tick(sp, &next)) {
        double wait = next == 0 ? -1 : next - sb_node_now();
        int ms = next == 0 ? -1 : wait <= 0 ? 0 : wait > 3600 ? 3600000 : (int)(wait * 1000) + 1;

        fds[2].fd = sp->check_fd;
        if (poll(fds, 3, ms) < 0 && errno != EINTR)
            sb_panic(__FILE__, __LINE__, "poll");
        while (read(sp->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
            on_signal(sp, info.ssi_signo);
        if (fds[1].revents != 0)
            read_reports(sp);
        if (sp->check_fd >= 0 && fds[2].fd == sp->check_fd && fds[2].revents != 0)
            sb_super_reload_output(sp);
    }
}

static void
block_signals(super_t *sp)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGCHLD};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaddset(&set, signals[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sp->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    SB_ASSERT(sp->signal_fd >= 0);
}

static void
write_own_pid(const super_t *sp)
{
    char *path = sb_asprintf("%s/pids/nginx.pid", sp->prefix);
    FILE *f = fopen(path, "we");

    if (f != NULL) {
        fprintf(f, "%ld\n", (long)getpid());
        fclose(f);
    }
    free(path);
}

static void
remove_files(const super_t *sp)
{
    static const char *const names[] = {"pids/nginx.pid",     "pids/proxy.pid",    "pids/control.pid",   "pids/state.json",
                                        "sockets/ready.sock", "pids/proxy.stderr", "pids/control.stderr"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = sb_asprintf("%s/%s", sp->prefix, names[i]);
        unlink(path);
        free(path);
    }
    sb_socks_unlink(&sp->proxy.socks);
    sb_socks_unlink(&sp->control.socks);
}

/* Opens what must be open before anything is started, so that a taken port is an error with nothing to undo. */
static int
begin(super_t *sp, sb_err_t *err)
{
    int rc = open_ready_socket(sp, err);

    if (rc == SB_OK)
        rc = sb_super_open_sockets(sp, sp->s, SB_INSTANCE_CONTROL, "", NULL, &sp->control.socks, err);
    if (rc == SB_OK)
        rc = sb_super_open_sockets(sp, sp->s, SB_INSTANCE_PROXY, "", NULL, &sp->proxy.socks, err);
    return rc;
}

int
sb_supervisor_run(sb_settings_t *s, int lock_fd, bool foreground, sb_supervisor_report_pt report, void *arg)
{
    super_t sp = {.s = s,
                  .foreground = foreground,
                  .signal_fd = -1,
                  .ready_fd = -1,
                  .lock_fd = lock_fd,
                  .check_fd = -1,
                  .report = report,
                  .report_arg = arg,
                  .proxy = {.kind = SB_INSTANCE_PROXY},
                  .control = {.kind = SB_INSTANCE_CONTROL}};
    sb_err_t err = {0};

    sp.prefix = sb_strdup_len(sb_settings_str(s, "prefix"), strlen(sb_settings_str(s, "prefix")));
    umask(022);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    open_log(s);
    block_signals(&sp);
    write_own_pid(&sp);
    if (begin(&sp, &err) == SB_OK) {
        sb_super_spawn(&sp, &sp.control);
        loop(&sp);
    } else
        sp.failure = sb_strdup_len(err.message, strlen(err.message));
    sb_err_clear(&err);
    remove_files(&sp);
    sb_log(SB_LOG_NOTICE, "stopped");
    if (sp.failure != NULL)
        report(sp.failure, arg);
    sb_socks_free(&sp.proxy.socks);
    sb_socks_free(&sp.control.socks);
    sb_settings_free(sp.s);
    close(sp.ready_fd);
    close(sp.signal_fd);
    close(lock_fd);
    free(sp.prefix);
    sb_buf_free(&sp.check_out);
    if (sp.failure == NULL)
        return 0;
    free(sp.failure);
    return 1;
}
