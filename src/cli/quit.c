/* quit: lets requests that have begun finish, for a limited time. */
#include "cli/verbs_int.h"

#include <signal.h>

static const sb_option_t options[] = {
    {'p', "prefix", "DIR", NULL, "working folder of the node"},
    {'t', "timeout", "SECONDS", "10", "then it is stopped by force"},
    {'w', "wait", "SECONDS", "0", "wait this long before anything else"},
    {0},
};

static int
quit(const char *prefix, double wait, double timeout, sb_err_t *err)
{
    pid_t pid;
    int rc = sb_verb_find_node(prefix, &pid, err);

    if (rc != SB_OK)
        return rc;
    if (wait > 0) {
        sb_cli_say(1, "waiting %g seconds", wait);
        sb_node_sleep(wait);
    }
    sb_cli_say(1, "sending QUIT to %ld", (long)pid);
    kill(pid, SIGQUIT);
    if (sb_node_wait_gone(prefix, timeout)) {
        printf("Kong stopped (gracefully)\n");
        return SB_OK;
    }
    rc = sb_verb_stop_node(prefix, err);
    /* It may have ended by itself just now. */
    if (rc != SB_OK && sb_node_running(prefix))
        return rc;
    sb_err_clear(err);
    printf("Timeout, Kong stopped forcefully\n");
    return SB_OK;
}

static int
run(const sb_args_t *args)
{
    char *prefix = sb_cli_prefix(args);
    double wait, timeout;
    sb_err_t err = {0};
    int rc = 0;

    if (sb_args_seconds(args, "wait", &wait, &err) != SB_OK || sb_args_seconds(args, "timeout", &timeout, &err) != SB_OK ||
        quit(prefix, wait, timeout, &err) != SB_OK)
        rc = sb_cli_fail_err(&err);
    free(prefix);
    return rc;
}

const sb_verb_t sb_verb_quit = {"quit", "Stop a running node gracefully: requests that have begun are finished", options, NULL, NULL, run};
