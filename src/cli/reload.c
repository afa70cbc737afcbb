/*
 * reload: a running node takes new settings (-c) and another template (--nginx-conf), or the ones it has once more, without cutting a
 * request. The supervisor does it; here it is asked to, and its answer waited for.
 */
#include "cli/verbs_int.h"

#include "cli/nginx_template.h"
#include "cli/prefix.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define RELOAD_SECONDS 240

static const sb_option_t options[] = {
    {'c', "conf", "FILE", NULL, "settings file; without it, the node's present settings"},
    {'p', "prefix", "DIR", NULL, "working folder of the node"},
    SB_TEMPLATE_OPTIONS,
    {0},
};

/* One reload verb at a time, so that the answer each reads is its own. */
static int
take_turn(const char *prefix, sb_err_t *err)
{
    char *path = sb_asprintf("%s/pids/reload.lock", prefix);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 || flock(fd, LOCK_EX) != 0)
        sb_err_set(err, 0, "%s: %s", path, strerror(errno));
    free(path);
    return fd;
}

static int
leave_settings(const sb_args_t *args, const char *prefix, sb_err_t *err)
{
    sb_args_t with_prefix = *args;
    sb_settings_t *s = NULL;
    int rc;

    if (sb_args_get(args, "conf") == NULL)
        return SB_OK;
    with_prefix.values[1] = prefix; /* whatever the file says: it is this node that reloads */
    rc = sb_cli_settings(&with_prefix, &s, err);
    if (rc == SB_OK)
        rc = sb_prefix_write_env(s, ".next", err);
    sb_settings_free(s);
    return rc;
}

/* What is not given stays as the node has it. */
static int
leave_template(const sb_template_t *wanted, const char *prefix, sb_err_t *err)
{
    sb_template_t now = {0}, next = *wanted; /* borrows */
    int rc;

    if (wanted->file == NULL && wanted->flags == NULL)
        return SB_OK;
    rc = sb_template_load(prefix, "", &now, err);
    if (next.file == NULL)
        next.file = now.file;
    if (next.flags == NULL)
        next.flags = now.flags;
    if (rc == SB_OK)
        rc = sb_template_save(prefix, ".next", &next, err);
    sb_template_free(&now);
    return rc;
}

static int
ask(const char *prefix, pid_t pid, sb_err_t *err)
{
    sb_node_state_t before, now;
    double end = sb_node_now() + RELOAD_SECONDS;

    if (!sb_node_read_state(prefix, &before) || kill(pid, SIGHUP) != 0)
        return sb_err_set(err, 0, "Kong is not running in %s", prefix);
    for (; sb_node_now() < end; sb_node_sleep(0.02)) {
        if (!sb_node_running(prefix))
            return sb_err_set(err, 0, "Kong is not running in %s", prefix);
        if (!sb_node_read_state(prefix, &now) || now.reloads == before.reloads)
            continue;
        return now.result[0] == '\0' ? SB_OK : sb_err_set(err, 0, "%s", now.result);
    }
    return sb_err_set(err, 0, "the reload did not finish within %d seconds", RELOAD_SECONDS);
}

static int
run(const sb_args_t *args)
{
    char *prefix = sb_cli_prefix(args);
    sb_template_t template = {0};
    sb_err_t err = {0};
    pid_t pid;
    int turn = -1, rc = sb_cli_template(args, &template, &err);

    if (rc == SB_OK)
        rc = sb_verb_find_node(prefix, &pid, &err);
    if (rc == SB_OK && (turn = take_turn(prefix, &err)) < 0)
        rc = SB_ERROR;
    if (rc == SB_OK)
        rc = leave_settings(args, prefix, &err);
    if (rc == SB_OK)
        rc = leave_template(&template, prefix, &err);
    if (rc == SB_OK)
        rc = ask(prefix, pid, &err);
    if (rc == SB_OK)
        printf("Kong reloaded\n");
    if (turn >= 0)
        close(turn);
    sb_template_free(&template);
    free(prefix);
    return rc == SB_OK ? 0 : sb_cli_fail_err(&err);
}

const sb_verb_t sb_verb_reload = {"reload", "Make a running node take its settings again, without cutting requests", options, NULL, NULL,
                                  run};
