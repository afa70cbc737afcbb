/* What verbs about a running node share. */
#ifndef SB_CLI_VERBS_INT_H
#define SB_CLI_VERBS_INT_H

#include "cli/cli.h"
#include "cli/node.h"
#include "core/base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#define SB_STOP_SECONDS 30

/* The supervisor's pid, or the interface's error. */
int sb_verb_find_node(const char *prefix, pid_t *pid, sb_err_t *err);
/* TERM, and waits until the node has gone. */
int sb_verb_stop_node(const char *prefix, sb_err_t *err);

#endif
