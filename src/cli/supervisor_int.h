/* Inside of the supervisor: what its two files share. The story is told in supervisor.c. */
#ifndef SB_CLI_SUPERVISOR_INT_H
#define SB_CLI_SUPERVISOR_INT_H

#include "cli/instance.h"
#include "cli/node.h"
#include "cli/supervisor.h"
#include "core/base/buf.h"
#include "core/base/log.h"

#define SB_MAX_WORKERS 256

typedef enum reload_step {
    RELOAD_NONE,
    RELOAD_CHECK,   /* a child tries the new settings */
    RELOAD_CONTROL, /* control is being replaced */
    RELOAD_GOODBYE, /* clients of the proxy are told to open new connections */
    RELOAD_PROXY,   /* the proxy has been told; a worker of the new generation must report */
    RELOAD_LEAVING  /* it has; those of the old one must have noticed */
} reload_step_t;

typedef struct super {
    sb_settings_t *s;
    char *prefix;
    bool foreground;
    int signal_fd, ready_fd, lock_fd;
    sb_inst_t proxy, control;
    enum { PHASE_STARTING, PHASE_RUNNING, PHASE_STOPPING } phase;
    bool graceful; /* stopping: requests that have begun are finished */
    bool settled;  /* stopping: control has been told too */
    char *failure; /* why the start failed */
    sb_supervisor_report_pt report;
    void *report_arg;
    reload_step_t reload;
    bool reload_again; /* asked for while one was under way */
    double reload_deadline, goodbye_end;
    pid_t workers[SB_MAX_WORKERS]; /* of the proxy's present generation, as they reported */
    size_t n_workers;
    pid_t leaving[SB_MAX_WORKERS]; /* of the one before: the reload is done when none of them takes new requests */
    size_t n_leaving;
    pid_t leaving_group;
    bool proxy_socks_same; /* the reload leaves the proxy's sockets as they are */
    pid_t check_pid;
    int check_fd; /* -1: none */
    sb_buf_t check_out;
    sb_node_state_t state;
} super_t;

/* supervisor.c */
void sb_super_spawn(super_t *sp, sb_inst_t *in);
void sb_super_write_state(super_t *sp);
/* Reads a configuration file (its name with `suffix`) and opens the sockets it asks for in `out`, taking over those of `have`. */
int sb_super_open_sockets(const super_t *sp, const sb_settings_t *s, sb_instance_t kind, const char *suffix, sb_socks_t *have,
                          sb_socks_t *out, sb_err_t *err);

/* supervisor_reload.c */
void sb_super_reload(super_t *sp);                   /* asked to */
void sb_super_reload_output(super_t *sp);            /* the checking child wrote or ended */
void sb_super_reload_up(super_t *sp, sb_inst_t *in); /* a worker of the instance's present master reported */
void sb_super_reload_tick(super_t *sp, double now, double *next);
void sb_super_reload_failed(super_t *sp, const char *why);
void sb_super_reload_abort(super_t *sp); /* the node stops */

#endif
