/*
 * A node seen from outside: is one running in a prefix, whom to signal, has it gone. The lock file P/pids/lock is held by the running
 * supervisor (and by a `start` under way), so the answer does not depend on process numbers, which the system uses again.
 */
#ifndef SB_CLI_NODE_H
#define SB_CLI_NODE_H

#include "core/base/base.h"

#include <sys/types.h>

/* Takes the node's lock: *fd is to be kept open. SB_DECLINED when somebody holds it. Makes P/pids if need be. */
int sb_node_lock(const char *prefix, int *fd, sb_err_t *err);
bool sb_node_running(const char *prefix);
/* The supervisor; 0 when none runs. Waits a little for one that is only starting. */
pid_t sb_node_pid(const char *prefix);
/* True once the node has gone; false after so many seconds. */
bool sb_node_wait_gone(const char *prefix, double seconds);
/* Does the prefix exist? Fills err with the interface's text if not. */
int sb_node_check_prefix(const char *prefix, sb_err_t *err);
/* Ends processes of nginx that a supervisor killed with -9 left behind: those of the process groups named in P/pids. */
void sb_node_kill_leftovers(const char *prefix);
double sb_node_now(void); /* seconds, monotonic */
void sb_node_sleep(double seconds);

/* What the supervisor tells verbs, in P/pids/state.json. */
typedef struct sb_node_state {
    int64_t reloads;     /* finished so far */
    char result[1024];   /* of the last one; "" when it went well */
    bool proxy, control; /* the instance is up */
} sb_node_state_t;
bool sb_node_read_state(const char *prefix, sb_node_state_t *out);
void sb_node_write_state(const char *prefix, const sb_node_state_t *state);

#endif
