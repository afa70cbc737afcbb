/*
 * The level of all logs of an nginx process at once: the process's own, and those of the servers, which requests write to. Compiled into
 * both modules.
 */
#ifndef SB_LOG_LEVEL_H
#define SB_LOG_LEVEL_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

/* Notes the levels that the configuration gives them. Once in a worker, when it starts. */
void sb_log_level_init(ngx_cycle_t *cycle);
/* level: nginx's number, for all of them, from their next request on; -1: back to what each was configured with. */
void sb_log_level_set(int level);

#endif
