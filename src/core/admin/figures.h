/* Figures of the node out of the state that its processes share (core/model), in the form of the Admin API. Any process may ask. */
#ifndef SB_ADMIN_FIGURES_H
#define SB_ADMIN_FIGURES_H

#include "core/model/model.h"

/* Process ids of the proxy's workers: an array. New references, all of them. */
json_t *sb_admin_figures_workers(sb_runtime_t *rt);
/* "server" of /status: {"connections_active": n …}. */
json_t *sb_admin_figures_counters(sb_runtime_t *rt);
/* "memory" of /status, in bytes. */
json_t *sb_admin_figures_memory(sb_runtime_t *rt);
/* Whether a control process has the record open. */
bool sb_admin_figures_control(sb_runtime_t *rt);

#endif
