/*
 * Reload: new settings (or the same, with changed files behind them) without cutting a request that has begun.
 *
 *   1. A child reads .kong_env.next (left by the reload verb, renamed to .kong_env.try) or .kong_env, and .nginx_template in the same way,
 *      writes both configurations under the suffix ".try" and tries them: nginx -t, then every plugin loaded. A mistake ends here and
 * nothing has changed.
 *   2. The new files take the place of the old ones. Control is replaced: the old one finishes its requests while new ones wait in the
 *      backlog of the sockets that we hold, since there may be only one writer.
 *   3. For a moment the proxy's answers say "Connection: close", so that clients that keep connections busy do not send on one that its
 * worker is about to close.
 *   4. The proxy's master gets SIGHUP, which keeps its shared dictionaries. If the sockets changed (other addresses or number of workers),
 *      a new master is started on them instead, and the old one finishes and goes.
 *
 * The outcome goes into state.json, where the reload verb waits for it.
 */
#include "cli/preflight.h"
#include "cli/supervisor_int.h"

#include "cli/nginx_template.h"
#include "cli/paths.h"
#include "cli/prefix.h"
#include "core/model/model.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK_SECONDS   120.0
#define STEP_SECONDS    90.0
#define DRAIN_SECONDS   10.0 /* for Admin requests that have begun */
#define GOODBYE_SECONDS 0.3
#define LEAVING_SECONDS 3.0 /* and until the old workers know that they leave, new ones included */

/* --- trying a configuration --- */

/* The complaint in nginx's output, without its "nginx: ". */
static char *
complaint(const char *text)
{
    const char *at = strstr(text, "[emerg]");

    if (at == NULL)
        at = strstr(text, "[error]");
    if (at == NULL)
        at = strstr(text, "[alert]");
    if (at == NULL)
        at = text;
    return sb_strdup_len(at, strcspn(at, "\n"));
}

static int
run_nginx_test(const char *prefix, const char *conf, sb_buf_t *out)
{
    char *prefix_arg = sb_asprintf("%s/", prefix), *log_arg = sb_asprintf("%s/logs/error.log", prefix);
    char *pid_arg = sb_asprintf("pid %s/pids/test.nginx;", prefix);
    char *const argv[] = {"nginx", "-p", prefix_arg, "-c", (char *)conf, "-e", log_arg, "-g", pid_arg, "-t", "-q", NULL};
    int pipe_fds[2], status = -1;
    char chunk[4096];
    ssize_t n;
    pid_t pid = -1;

    if (pipe2(pipe_fds, O_CLOEXEC) == 0) {
        pid = fork();
        if (pid == 0) {
            dup2(pipe_fds[1], 1);
            dup2(pipe_fds[1], 2);
            execv(sb_paths_get()->nginx, argv);
            _exit(127);
        }
        close(pipe_fds[1]);
        while (pid > 0 && (n = read(pipe_fds[0], chunk, sizeof(chunk))) > 0)
            sb_buf_add(out, chunk, (size_t)n);
        close(pipe_fds[0]);
        if (pid > 0 && waitpid(pid, &status, 0) != pid)
            status = -1;
    }
    pid_arg[strlen(pid_arg) - 1] = '\0';
    unlink(pid_arg + strlen("pid ")); /* nginx makes it even for a test */
    free(prefix_arg);
    free(log_arg);
    free(pid_arg);
    return status;
}

/* nginx names a line of the file that came of a template: which line of the template that is. "" when it is none; malloc'ed. */
static char *
template_place(const sb_settings_t *s, const char *suffix, const char *conf, const char *complaint_text)
{
    const char *at = strstr(complaint_text, conf);
    sb_template_t t = {0};
    size_t line = 0;
    char *place;

    if (at != NULL && at[strlen(conf)] == ':' && sb_template_load(sb_settings_str(s, "prefix"), suffix, &t, NULL) == SB_OK)
        line = sb_template_origin(s, &t, strtoul(at + strlen(conf) + 1, NULL, 10));
    place = line != 0 ? sb_asprintf(" (%s:%zu)", t.file, line) : sb_asprintf("%s", "");
    sb_template_free(&t);
    return place;
}

static int
test_conf(const sb_settings_t *s, const char *name, const char *suffix, sb_err_t *err)
{
    const char *prefix = sb_settings_str(s, "prefix");
    char *conf = sb_asprintf("%s/%s%s", prefix, name, suffix), *what, *where;
    sb_buf_t out = {0};
    int rc = SB_OK;

    if (run_nginx_test(prefix, conf, &out) != 0) {
        what = complaint(out.data != NULL ? out.data : "");
        where = template_place(s, suffix, conf, what);
        rc = sb_err_set(err, 0, "nginx configuration is invalid: %s%s", what, where);
        free(where);
        free(what);
    }
    sb_buf_free(&out);
    free(conf);
    return rc;
}

int
sb_supervisor_try(const sb_settings_t *s, const char *suffix, sb_err_t *err)
{
    int rc;

    if (sb_paths_get()->nginx == NULL)
        return sb_err_set(err, 0, "nginx was not found on PATH");
    rc = test_conf(s, "control.conf", suffix, err);
    if (rc == SB_OK)
        rc = test_conf(s, "nginx.conf", suffix, err);
    if (rc == SB_OK)
        rc = sb_preflight_run(s, suffix, err);
    return rc;
}

/* --- the checking child --- */

static char *
env_path(const char *prefix, const char *suffix)
{
    return sb_asprintf("%s/.kong_env%s", prefix, suffix);
}

static int
load_next(const char *prefix, sb_settings_t **out, sb_err_t *err)
{
    char *trial = env_path(prefix, ".try"), *now = env_path(prefix, "");
    int rc = sb_settings_load_env_file(access(trial, F_OK) == 0 ? trial : now, out, err);

    free(trial);
    free(now);
    return rc;
}

static int
check(const char *prefix, sb_err_t *err)
{
    sb_settings_t *s = NULL;
    int rc = load_next(prefix, &s, err);

    if (rc == SB_OK)
        rc = sb_prefix_prepare(s, err);
    if (rc == SB_OK)
        rc = sb_prefix_write_confs(s, ".try", err);
    if (rc == SB_OK)
        rc = sb_supervisor_try(s, ".try", err);
    sb_settings_free(s);
    return rc;
}

static void
check_child(const super_t *sp, int out)
{
    sigset_t none;
    sb_err_t err = {0};

    setpgid(0, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (check(sp->prefix, &err) != SB_OK)
        dprintf(out, "%s", err.message != NULL ? err.message : "failed");
    _exit(err.message != NULL);
}

/* Calls fn for the trial of each file that a reload replaces: (trial, file). */
static void
for_trials(const super_t *sp, void (*fn)(const char *trial, const char *file))
{
    static const char *const settings[] = {".kong_env", ".nginx_template", NULL};
    const char *const *const lists[] = {settings, sb_prefix_conf_names};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        for (const char *const *name = lists[i]; *name != NULL; name++) {
            char *file = sb_asprintf("%s/%s", sp->prefix, *name), *trial = sb_asprintf("%s.try", file);
            fn(trial, file);
            free(trial);
            free(file);
        }
    }
}

static void
drop(const char *trial, const char *file)
{
    unlink(trial);
}

static void
drop_trial(const super_t *sp)
{
    for_trials(sp, drop);
}

/* From here on the reload verb may leave the next ones. */
static void
take_next(const super_t *sp)
{
    static const char *const names[] = {".kong_env", ".nginx_template"};

    drop_trial(sp);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *next = sb_asprintf("%s/%s.next", sp->prefix, names[i]), *trial = sb_asprintf("%s/%s.try", sp->prefix, names[i]);
        rename(next, trial); /* need not be there */
        free(next);
        free(trial);
    }
}

void
sb_super_reload(super_t *sp)
{
    int fds[2];

    if (sp->reload != RELOAD_NONE) {
        sp->reload_again = true;
        return;
    }
    sb_log(SB_LOG_NOTICE, "reloading");
    sp->reload_again = false;
    sp->reload = RELOAD_CHECK;
    sp->reload_deadline = sb_node_now() + CHECK_SECONDS;
    sb_buf_reset(&sp->check_out);
    take_next(sp);
    if (pipe2(fds, O_CLOEXEC) != 0 || (sp->check_pid = fork()) < 0) {
        sp->check_pid = 0;
        sb_super_reload_failed(sp, strerror(errno));
        return;
    }
    if (sp->check_pid == 0)
        check_child(sp, fds[1]);
    close(fds[1]);
    sp->check_fd = fds[0];
}

/* --- the steps after it --- */

/* The proxy's answers say "Connection: close" for so long; 0: no more. Without the shared state nobody is told. */
static void
say_goodbye(const super_t *sp, double seconds)
{
    char *path = sb_asprintf("%s/run/state", sp->prefix);
    sb_runtime_t *rt = NULL;
    sb_err_t err = {0};

    if (sb_runtime_map(path, false, &rt, &err) == SB_OK)
        __atomic_store_n(&rt->closing_until, seconds > 0 ? (uint64_t)((sb_node_now() + seconds) * 1000) : 0, __ATOMIC_RELAXED);
    sb_runtime_unmap(rt);
    sb_err_clear(&err);
    free(path);
}

static void
finish(super_t *sp, const char *problem)
{
    sb_super_reload_abort(sp);
    sp->state.reloads++;
    snprintf(sp->state.result, sizeof(sp->state.result), "%s", problem != NULL ? problem : "");
    sb_super_write_state(sp);
    if (problem != NULL)
        sb_log(SB_LOG_ERR, "reload failed: %s", problem);
    else
        sb_log(SB_LOG_NOTICE, "reloaded");
    if (sp->reload_again)
        sb_super_reload(sp);
}

void
sb_super_reload_failed(super_t *sp, const char *why)
{
    if (sp->reload != RELOAD_NONE)
        finish(sp, why);
}

/* Ends the check if one runs, and leaves no trace of what it wrote. */
void
sb_super_reload_abort(super_t *sp)
{
    if (sp->check_fd >= 0) {
        close(sp->check_fd);
        sp->check_fd = -1;
    }
    if (sp->check_pid > 0)
        kill(-sp->check_pid, SIGKILL);
    sp->check_pid = 0;
    drop_trial(sp);
    if (sp->reload >= RELOAD_GOODBYE)
        say_goodbye(sp, 0);
    sp->reload = RELOAD_NONE;
}

static void
replace(const char *trial, const char *file)
{
    rename(trial, file); /* those of the settings need not be there */
}

static void
put_in_place(const super_t *sp)
{
    for_trials(sp, replace);
}

/* Opens what the new configurations ask for, for both instances or for none. */
static int
renew_sockets(super_t *sp, const sb_settings_t *next, sb_err_t *err)
{
    sb_socks_t proxy = {0}, control = {0};
    int rc = sb_super_open_sockets(sp, next, SB_INSTANCE_PROXY, ".try", &sp->proxy.socks, &proxy, err);

    if (rc != SB_OK)
        return rc;
    rc = sb_super_open_sockets(sp, next, SB_INSTANCE_CONTROL, ".try", &sp->control.socks, &control, err);
    if (rc != SB_OK) {
        sb_socks_open(&sp->proxy.socks, &proxy, NULL); /* takes back what was moved */
        sb_socks_free(&proxy);
        return rc;
    }
    sp->proxy_socks_same = sb_socks_same(&proxy, &sp->proxy.socks);
    sb_socks_free(&sp->proxy.socks);
    sb_socks_free(&sp->control.socks);
    sp->proxy.socks = proxy;
    sp->control.socks = control;
    return SB_OK;
}

static void
replace_control(super_t *sp)
{
    sb_inst_t *in = &sp->control;
    pid_t old = in->master;

    sp->reload = RELOAD_CONTROL;
    sp->reload_deadline = sb_node_now() + STEP_SECONDS;
    sb_inst_retire(in, true, sb_node_now() + DRAIN_SECONDS);
    if (old != 0)
        kill(old, SIGQUIT);
    in->backoff = 0;
    in->at = sb_node_now();
}

static void
renew_proxy(super_t *sp)
{
    sb_inst_t *in = &sp->proxy;

    sp->reload = RELOAD_PROXY;
    sp->reload_deadline = sb_node_now() + STEP_SECONDS;
    memcpy(sp->leaving, sp->workers, sizeof(sp->leaving));
    sp->n_leaving = sp->n_workers;
    sp->leaving_group = in->master;
    sp->n_workers = 0;
    if (sp->proxy_socks_same && in->state == SB_INST_UP) {
        kill(in->master, SIGHUP);
        return;
    }
    sb_inst_retire(in, true, 0);
    in->backoff = 0;
    sb_super_spawn(sp, in);
}

void
sb_super_reload_output(super_t *sp)
{
    char chunk[2048];
    ssize_t n = read(sp->check_fd, chunk, sizeof(chunk));
    sb_settings_t *next = NULL;
    sb_err_t err = {0};

    if (n > 0) {
        sb_buf_add(&sp->check_out, chunk, (size_t)n);
        return;
    }
    close(sp->check_fd);
    sp->check_fd = -1;
    sp->check_pid = 0;
    if (sp->check_out.len != 0) {
        finish(sp, sp->check_out.data);
        return;
    }
    if (load_next(sp->prefix, &next, &err) != SB_OK || renew_sockets(sp, next, &err) != SB_OK) {
        finish(sp, err.message);
        sb_settings_free(next);
    } else {
        put_in_place(sp);
        sb_settings_free(sp->s);
        sp->s = next;
        replace_control(sp);
    }
    sb_err_clear(&err);
}

void
sb_super_reload_up(super_t *sp, sb_inst_t *in)
{
    if (sp->reload == RELOAD_CONTROL && in->kind == SB_INSTANCE_CONTROL) {
        sp->reload = RELOAD_GOODBYE;
        sp->goodbye_end = sb_node_now() + GOODBYE_SECONDS;
        say_goodbye(sp, GOODBYE_SECONDS + LEAVING_SECONDS);
    }
    if (sp->reload == RELOAD_PROXY && in->kind == SB_INSTANCE_PROXY)
        sp->reload = RELOAD_LEAVING;
}

/* Has it ended, or said in its title that it takes no new requests? */
static bool
has_left(pid_t pid, pid_t group)
{
    char path[64], title[256];
    FILE *f;
    size_t n = 0;

    if (getpgid(pid) != group)
        return true; /* gone, and its number perhaps somebody else's */
    snprintf(path, sizeof(path), "/proc/%ld/cmdline", (long)pid);
    f = fopen(path, "re");
    if (f != NULL) {
        n = fread(title, 1, sizeof(title) - 1, f);
        fclose(f);
    }
    title[n] = '\0';
    return n == 0 || strstr(title, "shutting down") != NULL;
}

void
sb_super_reload_tick(super_t *sp, double now, double *next)
{
    double look = sp->reload_deadline;

    if (sp->phase != PHASE_RUNNING || sp->reload == RELOAD_NONE)
        return;
    if (sp->reload == RELOAD_GOODBYE && now >= sp->goodbye_end)
        renew_proxy(sp);
    while (sp->reload == RELOAD_LEAVING && sp->n_leaving > 0 && has_left(sp->leaving[sp->n_leaving - 1], sp->leaving_group))
        sp->n_leaving--;
    if (sp->reload == RELOAD_LEAVING && sp->n_leaving == 0) {
        finish(sp, NULL);
        return;
    }
    if (now >= sp->reload_deadline)
        sb_super_reload_failed(sp, "the new configuration was not ready in time; see logs/error.log");
    else if (sp->reload == RELOAD_LEAVING)
        look = now + 0.02;
    else if (sp->reload == RELOAD_GOODBYE)
        look = sp->goodbye_end;
    *next = *next == 0 || look < *next ? look : *next;
}
