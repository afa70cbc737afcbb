/*
 * docker-start: what a container's entry runs. `start` in the foreground, so that the node is the container's first process: TERM and QUIT
 * end it, HUP reloads it, and what it logs goes to the container's standard output and error unless the settings send it elsewhere.
 */
#include "cli/cli.h"
#include "cli/prefix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The files that the default settings log to. One that is already there as a file stays one: somebody mounted it. */
static const struct {
    const char *name, *target;
} logs[] = {
    {"access.log", "/dev/stdout"}, {"admin_access.log", "/dev/stdout"}, {"error.log", "/dev/stderr"}, {"status_error.log", "/dev/stderr"}};

static int
link_logs(const char *prefix, sb_err_t *err)
{
    char *folder = sb_asprintf("%s/logs", prefix);
    int rc = sb_prefix_make_dirs(folder, 0755, err);

    for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]) && rc == SB_OK; i++) {
        char *path = sb_asprintf("%s/%s", folder, logs[i].name);
        if (symlink(logs[i].target, path) != 0 && errno != EEXIST) {
            sb_err_set(err, 0, "%s: %s", path, strerror(errno));
            rc = SB_ERROR;
        }
        free(path);
    }
    free(folder);
    return rc;
}

static int
run(const sb_args_t *args)
{
    char *prefix = sb_cli_prefix(args);
    sb_err_t err = {0};
    int rc = link_logs(prefix, &err);

    if (rc != SB_OK)
        sb_err_context(&err, "could not prepare Kong prefix at %s", prefix);
    free(prefix);
    if (rc != SB_OK)
        return sb_cli_fail_err(&err);
    setenv("KONG_NGINX_MAIN_DAEMON", "off", 1);
    unsetenv("KONG_NGINX_DAEMON");
    return sb_verb_start.run(args);
}

const sb_verb_t sb_verb_docker_start = {
    "docker-start", "Start a node as the main process of a container", sb_start_options, NULL, NULL, run};
