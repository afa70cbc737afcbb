/* The supervisor: the process that a node is to the outside; see supervisor.c. */
#ifndef SB_CLI_SUPERVISOR_H
#define SB_CLI_SUPERVISOR_H

#include "core/settings/settings.h"

/* The outcome of the start: error NULL when the node is up. Called once. */
typedef void (*sb_supervisor_report_pt)(const char *error, void *arg);

/*
 * Runs the node whose prefix is prepared and whose configurations are written, until it is told to stop. Returns the exit code. Takes over
 * s and lock_fd. `foreground`: messages of nginx before its log is open go to our standard error.
 */
int sb_supervisor_run(sb_settings_t *s, int lock_fd, bool foreground, sb_supervisor_report_pt report, void *arg);

/* preflight of the settings in `prefix` (nginx -t of both configurations "<name><suffix>", then every plugin loaded). SB_DECLINED: err says
 * what is wrong. */
int sb_supervisor_try(const sb_settings_t *s, const char *suffix, sb_err_t *err);

#endif
