/*
 * start: prepares the prefix, tries what will run, then becomes the supervisor, in the background unless nginx_main_daemon is off. Success
 * is reported only once both instances serve; until then a mistake leaves nothing behind.
 */
#include "cli/cli.h"
#include "cli/nginx_template.h"
#include "cli/node.h"
#include "cli/prefix.h"
#include "cli/supervisor.h"
#include "core/base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const sb_option_t sb_start_options[] = {
    {'c', "conf", "FILE", NULL, "settings file"},
    {'p', "prefix", "DIR", NULL, "working folder of the node"},
    SB_TEMPLATE_OPTIONS,
    {0, "run-migrations", NULL, NULL, "migrate first (the embedded store always does)"},
    {0, "db-timeout", "SECONDS", NULL, "limit of database operations (no effect on the embedded store)"},
    {0, "lock-timeout", "SECONDS", "60", "wait for another migrating node (no effect on the embedded store)"},
    {0},
};

static void
print_listeners(const sb_settings_t *s, const char *setting, const char *what, const char *plain, const char *tls)
{
    size_t n;
    const sb_listen_t *l = sb_settings_listen(s, setting, &n);

    for (size_t i = 0; i < n; i++) {
        bool any = strcmp(l[i].address, "0.0.0.0") == 0 || strcmp(l[i].address, "[::]") == 0;
        const char *scheme = l[i].ssl ? tls : strstr(l[i].flags, "udp") != NULL ? "udp" : plain;
        printf("  %-10s %s://%s:%u\n", i == 0 ? what : "", scheme, any ? "localhost" : l[i].address, l[i].port);
    }
}

static void
print_hints(const sb_settings_t *s)
{
    size_t n_proxy, n_admin;
    const sb_listen_t *proxy = sb_settings_listen(s, "proxy_listen", &n_proxy), *admin = sb_settings_listen(s, "admin_listen", &n_admin);

    if (n_proxy == 0 || n_admin == 0)
        return;
    printf("\nTry, in another shell:\n"
           "  curl -i -X POST http://localhost:%u/services --data name=example --data url=http://httpbin.org\n"
           "  curl -i -X POST http://localhost:%u/services/example/routes --data 'paths[]=/mock'\n"
           "  curl -i http://localhost:%u/mock/anything\n\nCtrl-C stops it.\n",
           admin[0].port, admin[0].port, proxy[0].port);
}

/* In the foreground the supervisor is this process. */
static void
report_foreground(const char *error, void *arg)
{
    const sb_settings_t *s = arg;

    if (error != NULL) {
        sb_cli_fail("%s", error);
        return;
    }
    printf("Kong started\n\n");
    print_listeners(s, "proxy_listen", "Proxy", "http", "https");
    print_listeners(s, "stream_listen", "Stream", "tcp", "tls");
    print_listeners(s, "admin_listen", "Admin API", "http", "https");
    printf("  %-10s %s/logs/error.log\n", "Log", sb_settings_str(s, "prefix"));
    if (isatty(1))
        print_hints(s);
    fflush(stdout);
}

static void
report_background(const char *error, void *arg)
{
    int fd = *(int *)arg;

    dprintf(fd, "%c%s", error == NULL ? '+' : '-', error != NULL ? error : "");
    close(fd);
}

/* The parent of a background node waits for its one report. */
static int
wait_report(int fd)
{
    sb_buf_t text = {0};
    char chunk[1024];
    ssize_t n;
    int rc;

    while ((n = read(fd, chunk, sizeof(chunk))) > 0)
        sb_buf_add(&text, chunk, (size_t)n);
    close(fd);
    if (text.len > 0 && text.data[0] == '+') {
        printf("Kong started\n");
        rc = 0;
    } else
        rc = sb_cli_fail("%s", text.len > 1 ? text.data + 1 : "the node ended while it was starting; see logs/error.log");
    sb_buf_free(&text);
    return rc;
}

static void
leave_terminal(void)
{
    int null = open("/dev/null", O_RDWR);

    setsid();
    for (int fd = 0; fd < 3 && null >= 0; fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
}

static int
run_background(sb_settings_t *s, int lock_fd)
{
    int fds[2];
    pid_t pid;

    fflush(stdout);
    if (pipe2(fds, O_CLOEXEC) != 0 || (pid = fork()) < 0)
        return sb_cli_fail("%s", strerror(errno));
    if (pid == 0) {
        close(fds[0]);
        leave_terminal();
        _exit(sb_supervisor_run(s, lock_fd, false, report_background, &fds[1]));
    }
    close(fds[1]);
    close(lock_fd);
    return wait_report(fds[0]);
}

/* Everything that can be wrong without anything running yet. */
static int
prepare(const sb_settings_t *s, const sb_template_t *template, sb_err_t *err)
{
    int rc = sb_prefix_prepare(s, err);

    if (rc == SB_OK)
        rc = sb_prefix_write_env(s, "", err);
    if (rc == SB_OK)
        rc = sb_template_save(sb_settings_str(s, "prefix"), "", template, err);
    if (rc == SB_OK)
        rc = sb_prefix_write_confs(s, "", err);
    if (rc == SB_OK)
        rc = sb_supervisor_try(s, "", err);
    return rc;
}

static int
run(const sb_args_t *args)
{
    sb_settings_t *s = NULL;
    sb_template_t template = {0};
    sb_err_t err = {0};
    int lock_fd = -1, rc = 1;
    double ignored;
    bool daemon;

    if (sb_args_seconds(args, "db-timeout", &ignored, &err) != SB_OK || sb_args_seconds(args, "lock-timeout", &ignored, &err) != SB_OK ||
        sb_cli_template(args, &template, &err) != SB_OK || sb_cli_settings(args, &s, &err) != SB_OK)
        goto fail;
    if (sb_node_lock(sb_settings_str(s, "prefix"), &lock_fd, &err) != SB_OK)
        goto fail;
    sb_node_kill_leftovers(sb_settings_str(s, "prefix"));
    if (prepare(s, &template, &err) != SB_OK)
        goto fail;
    sb_template_free(&template);
    daemon = strcmp(sb_settings_str(s, "nginx_main_daemon"), "off") != 0;
    rc = daemon ? run_background(s, lock_fd) : sb_supervisor_run(s, lock_fd, true, report_foreground, s);
    if (daemon)
        sb_settings_free(s);
    return rc;
fail:
    if (lock_fd >= 0)
        close(lock_fd);
    sb_template_free(&template);
    sb_settings_free(s);
    return sb_cli_fail_err(&err);
}

const sb_verb_t sb_verb_start = {"start", "Start a node", sb_start_options, NULL, NULL, run};
