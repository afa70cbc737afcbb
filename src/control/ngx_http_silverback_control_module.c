/*
 * The nginx module of the control instance. Two directives: `silverback_prefix P;` in http{} names the node's folder, everything else is
 * read from P/.kong_env; `silverback_admin;` makes a location answer the Admin API.
 *
 * The configuration is read in the master (postconfiguration), so that a bad one stops the start; the node starts in the one worker
 * (sb_node_start). Start reading there, or in request.c for the path of one request.
 */
#include "control/control.h"
#include "control/lua_bridge.h"

#include "core/base/log.h"
#include "http/log_level.h"

#define SB_EXPORT __attribute__((visibility("default")))

extern ngx_module_t ngx_http_silverback_control_module;

struct main_conf {
    ngx_str_t prefix;
    sb_settings_t *settings;
};

static void
log_sink(int level, const char *line)
{
    /* Our levels and nginx's are the same numbers, one apart. */
    ngx_log_error((ngx_uint_t)level + NGX_LOG_EMERG, ngx_cycle->log, 0, "%s", line);
}

static void *
create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(struct main_conf));
}

static void
free_settings(void *data)
{
    sb_settings_free(data);
}

static ngx_int_t
read_settings(ngx_conf_t *cf, struct main_conf *mcf)
{
    ngx_pool_cleanup_t *cln = ngx_pool_cleanup_add(cf->cycle->pool, 0);
    char *path = sb_asprintf("%s/.kong_env", (char *)mcf->prefix.data);
    sb_err_t err = {0};
    int rc = cln != NULL ? sb_settings_load_env_file(path, &mcf->settings, &err) : SB_ERROR;

    if (rc == SB_OK) {
        cln->handler = free_settings;
        cln->data = mcf->settings;
    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s: %s", path, err.message != NULL ? err.message : "out of memory");
    }
    sb_err_clear(&err);
    free(path);
    return rc == SB_OK ? NGX_OK : NGX_ERROR;
}

static ngx_int_t
no_value(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    (void)r;
    (void)data;
    v->not_found = 1;
    return NGX_OK;
}

/* Directives that users inject into http{} stand in both instances, so the proxy's variables must be known here: they are empty. */
static ngx_int_t
preconfiguration(ngx_conf_t *cf)
{
    static ngx_str_t names[] = {ngx_string("kong_request_id"), ngx_string("upstream_uri"), ngx_string("upstream_scheme"),
                                ngx_string("upstream_host")};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        ngx_http_variable_t *v = ngx_http_add_variable(cf, &names[i], NGX_HTTP_VAR_CHANGEABLE | NGX_HTTP_VAR_NOCACHEABLE);
        if (v == NULL)
            return NGX_ERROR;
        v->get_handler = no_value;
    }
    return NGX_OK;
}

static ngx_int_t
postconfiguration(ngx_conf_t *cf)
{
    struct main_conf *mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_silverback_control_module);

    if (mcf->prefix.data == NULL)
        return NGX_OK;
    sb_log_set_sink(log_sink);
    return sb_logs_init(cf) == NGX_OK ? read_settings(cf, mcf) : NGX_ERROR;
}

static char *
set_admin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t *clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    struct main_conf *mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_silverback_control_module);

    (void)cmd;
    (void)conf;
    if (mcf->prefix.data == NULL)
        return "needs silverback_prefix before it";
    clcf->handler = sb_admin_content_handler;
    return NGX_CONF_OK;
}

static ngx_int_t
init_process(ngx_cycle_t *cycle)
{
    struct main_conf *mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_silverback_control_module);
    sb_err_t err = {0};

    if (mcf == NULL || mcf->prefix.data == NULL || (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE))
        return NGX_OK;
    sb_entities_init();
    sb_logs_start(cycle);
    sb_log_level_init(cycle);
    sb_control_set_lua(sb_lua_bridge_call, NULL);
    if (sb_node_start(cycle, (const char *)mcf->prefix.data, mcf->settings, &err) == SB_OK)
        return NGX_OK;
    ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "control cannot start: %s", err.message);
    sb_err_clear(&err);
    return NGX_ERROR;
}

static void
exit_process(ngx_cycle_t *cycle)
{
    struct main_conf *mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_silverback_control_module);

    if (mcf != NULL && mcf->prefix.data != NULL && (ngx_process == NGX_PROCESS_WORKER || ngx_process == NGX_PROCESS_SINGLE))
        sb_node_stop();
}

static ngx_command_t commands[] = {
    {ngx_string("silverback_prefix"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1, ngx_conf_set_str_slot, NGX_HTTP_MAIN_CONF_OFFSET,
     offsetof(struct main_conf, prefix), NULL},
    {ngx_string("silverback_admin"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, set_admin, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
    ngx_null_command};

static ngx_http_module_t context = {
    .preconfiguration = preconfiguration,
    .postconfiguration = postconfiguration,
    .create_main_conf = create_main_conf,
};

SB_EXPORT ngx_module_t ngx_http_silverback_control_module = {
    NGX_MODULE_V1, &context, commands, NGX_HTTP_MODULE, NULL, NULL, init_process, NULL, NULL, exit_process, NULL, NGX_MODULE_V1_PADDING};

SB_EXPORT ngx_module_t *ngx_modules[] = {&ngx_http_silverback_control_module, NULL};
SB_EXPORT char *ngx_module_names[] = {"ngx_http_silverback_control_module", NULL};
SB_EXPORT char *ngx_module_order[] = {NULL};
