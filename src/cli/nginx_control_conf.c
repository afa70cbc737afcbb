/*
 * The configuration of the control instance: the Admin API's server, in front of the control module. Everything else that control does
 * (record, read model, workers' connections) needs no configuration beyond the prefix. Start at sb_nginx_control_conf().
 */
#include "cli/nginx_conf.h"

int
sb_nginx_control_conf(const sb_settings_t *s, sb_buf_t *out, sb_err_t *err)
{
    static const char *const modules[] = {"ndk_http_module", "ngx_http_lua_module", "ngx_http_silverback_control_module", NULL};
    int rc = sb_nginx_main(s, SB_INSTANCE_CONTROL, modules, out, err);

    if (rc != SB_OK)
        return rc;
    sb_buf_adds(out, "http {\n");
    sb_nginx_http(s, SB_INSTANCE_CONTROL, out);
    sb_buf_addf(out, "    init_by_lua_block { require(\"kong.silverback.control\").init([==[%s]==]) }\n", sb_settings_str(s, "prefix"));
    sb_nginx_api_server(s, "admin", "silverback_admin", out);
    sb_buf_adds(out, "}\n");
    return SB_OK;
}
