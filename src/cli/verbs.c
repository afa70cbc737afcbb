/* Finding and stopping a running node, for the verbs that do. */
#include "cli/verbs_int.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

int
sb_verb_find_node(const char *prefix, pid_t *pid, sb_err_t *err)
{
    int rc = sb_node_check_prefix(prefix, err);

    if (rc != SB_OK)
        return rc;
    *pid = sb_node_pid(prefix);
    return *pid != 0 ? SB_OK : sb_err_set(err, 0, "Kong is not running in %s", prefix);
}

int
sb_verb_stop_node(const char *prefix, sb_err_t *err)
{
    pid_t pid;
    int rc = sb_verb_find_node(prefix, &pid, err);

    if (rc != SB_OK)
        return rc;
    sb_cli_say(1, "sending TERM to %ld", (long)pid);
    if (kill(pid, SIGTERM) != 0 && errno != ESRCH)
        return sb_err_set(err, 0, "could not stop Kong in %s: %s", prefix, strerror(errno));
    if (!sb_node_wait_gone(prefix, SB_STOP_SECONDS))
        return sb_err_set(err, 0, "Kong in %s did not stop within %d seconds", prefix, SB_STOP_SECONDS);
    return SB_OK;
}
