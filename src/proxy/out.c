/* The module that stands before Lua in nginx's list: see out.h. Without the proxy module it does nothing. */
#include "proxy/out.h"

#define SB_EXPORT __attribute__((visibility("default")))

SB_EXPORT sb_out_hooks_t sb_out_hooks;

static ngx_http_output_header_filter_pt next_header_filter;

static ngx_int_t
header_filter(ngx_http_request_t *r)
{
    if (sb_out_hooks.header_filter != NULL) {
        ngx_int_t rc = sb_out_hooks.header_filter(r);
        if (rc != NGX_OK)
            return rc;
    }
    return next_header_filter(r);
}

static ngx_int_t
log_handler(ngx_http_request_t *r)
{
    return sb_out_hooks.log != NULL ? sb_out_hooks.log(r) : NGX_OK;
}

static ngx_int_t
init_process(ngx_cycle_t *cycle)
{
    return sb_out_hooks.init_process != NULL ? sb_out_hooks.init_process(cycle) : NGX_OK;
}

static void
exit_process(ngx_cycle_t *cycle)
{
    if (sb_out_hooks.exit_process != NULL)
        sb_out_hooks.exit_process(cycle);
}

static ngx_int_t
postconfiguration(ngx_conf_t *cf)
{
    ngx_http_core_main_conf_t *cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    ngx_http_handler_pt *h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);

    if (h == NULL)
        return NGX_ERROR;
    *h = log_handler;
    next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = header_filter;
    return NGX_OK;
}

static ngx_http_module_t module_ctx = {NULL, postconfiguration, NULL, NULL, NULL, NULL, NULL, NULL};

SB_EXPORT ngx_module_t ngx_http_silverback_out_module = {NGX_MODULE_V1, &module_ctx, NULL, NGX_HTTP_MODULE, NULL, NULL,
                                                         init_process,  NULL,        NULL, exit_process,    NULL, NGX_MODULE_V1_PADDING};

SB_EXPORT ngx_module_t *ngx_modules[] = {&ngx_http_silverback_out_module, NULL};
SB_EXPORT char *ngx_module_names[] = {"ngx_http_silverback_out_module", NULL};
/* Among the filters, just before the copy filter; Lua's module, loaded later, goes between. */
SB_EXPORT char *ngx_module_order[] = {"ngx_http_silverback_out_module", "ngx_http_copy_filter_module", NULL};
