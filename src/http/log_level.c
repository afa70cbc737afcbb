/* See log_level.h. A log is a chain of places to write to, each with a level of its own; servers may share one. */
#include "http/log_level.h"

#define MAX_LOGS 64

static struct {
    ngx_log_t *log;
    ngx_uint_t configured;
} logs[MAX_LOGS];
static ngx_uint_t n_logs;

static void
add(ngx_log_t *log)
{
    for (; log != NULL; log = log->next) {
        ngx_uint_t i = 0;

        while (i < n_logs && logs[i].log != log)
            i++;
        if (i < n_logs || n_logs == MAX_LOGS)
            continue;
        logs[n_logs].log = log;
        logs[n_logs++].configured = log->log_level;
    }
}

void
sb_log_level_init(ngx_cycle_t *cycle)
{
    ngx_http_core_main_conf_t *cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);
    ngx_http_core_srv_conf_t **servers = cmcf != NULL ? cmcf->servers.elts : NULL;
    ngx_listening_t *ls = cycle->listening.elts;

    n_logs = 0;
    add(cycle->log);
    for (ngx_uint_t i = 0; servers != NULL && i < cmcf->servers.nelts; i++) {
        ngx_http_core_loc_conf_t *clcf = servers[i]->ctx->loc_conf[ngx_http_core_module.ctx_index];
        add(clcf->error_log);
    }
    /* What new connections begin with. */
    for (ngx_uint_t i = 0; i < cycle->listening.nelts; i++)
        add(&ls[i].log);
}

void
sb_log_level_set(int level)
{
    for (ngx_uint_t i = 0; i < n_logs; i++)
        logs[i].log->log_level = level >= 0 ? (ngx_uint_t)level : logs[i].configured;
}
