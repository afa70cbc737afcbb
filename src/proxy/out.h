/*
 * The out module: a filter that nginx runs after Lua's, because its module is loaded before Lua's. It holds no logic; the proxy
 * module, loaded later, puts its functions here. (Symbols of modules are global, so the later one finds the earlier one's.)
 */
#ifndef SB_PROXY_OUT_H
#define SB_PROXY_OUT_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

typedef struct sb_out_hooks {
    ngx_int_t (*header_filter)(ngx_http_request_t *r); /* NGX_OK: go on */
    ngx_int_t (*log)(ngx_http_request_t *r);           /* before Lua's log handler */
    ngx_int_t (*init_process)(ngx_cycle_t *cycle);     /* before Lua's init_worker */
    void (*exit_process)(ngx_cycle_t *cycle);
} sb_out_hooks_t;

extern __attribute__((visibility("default"))) sb_out_hooks_t sb_out_hooks;

#endif
