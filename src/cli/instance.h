/*
 * One nginx instance under the supervisor: its master, the process groups that earlier masters left, its sockets. The functions here start
 * and signal; when to do what is the supervisor's business.
 */
#ifndef SB_CLI_INSTANCE_H
#define SB_CLI_INSTANCE_H

#include "cli/nginx_conf.h"
#include "cli/sockets.h"

#include <sys/types.h>

#define SB_MAX_OLD 32

enum sb_inst_state {
    SB_INST_DOWN,     /* no master; `at` says when to start one, 0: not by itself */
    SB_INST_STARTING, /* a master runs, a worker has not reported yet; `at` is the deadline */
    SB_INST_UP,
};

typedef struct sb_old_group {
    pid_t group;
    bool master_alive; /* it still has its master, so a signal to that is enough */
    double kill_at;    /* SIGKILL then; 0: may take its time */
} sb_old_group_t;

typedef struct sb_inst {
    sb_instance_t kind;
    enum sb_inst_state state;
    pid_t master; /* also its process group */
    double at, up_since, backoff;
    sb_socks_t socks;
    sb_old_group_t old[SB_MAX_OLD]; /* groups without a place in the configuration any more, until their last process has ended */
    size_t n_old;
} sb_inst_t;

/* Starts a master with the instance's sockets; state becomes STARTING. `stderr_file`: where what nginx says before its log is open goes;
 * NULL: our standard error. SB_ERROR when there is no nginx or no process. */
int sb_inst_spawn(sb_inst_t *in, const char *prefix, const char *stderr_file, sb_err_t *err);
/* The present master leaves the books: its group goes to the old ones. */
void sb_inst_retire(sb_inst_t *in, bool master_alive, double kill_at);
/* Signals every old group. */
void sb_inst_signal_old(sb_inst_t *in, int sig);
/* Drops groups that have no process left, kills those whose time is up. Returns the next kill_at; 0: none. */
double sb_inst_reap_old(sb_inst_t *in, double now);
bool sb_inst_group_alive(pid_t group);
/* Writes P/pids/<name>.pid, ours: the master itself has one of its own, P/pids/<pid>.nginx, as two may live at a time. */
void sb_inst_write_pid(const sb_inst_t *in, const char *prefix);
/* The file of a master that ended without removing it. */
void sb_inst_forget_master(pid_t master, const char *prefix);

#endif
