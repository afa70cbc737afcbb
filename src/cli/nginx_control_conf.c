/*
 * The configuration of the control instance: the Admin API's server, in front of the control module. Everything else that control does
 * (record, read model, workers' connections) needs no configuration beyond the prefix. Start at sb_nginx_control_conf().
 */
#include "cli/nginx_conf.h"

/* What nginx itself refuses (malformed, too large …) is answered in the interface's form. */
#define REFUSALS "400 405 408 411 412 413 414 417 500 501 502 503 504 505"

static void
admin_server(const sb_settings_t *s, sb_buf_t *out)
{
    size_t n;

    sb_settings_listen(s, "admin_listen", &n);
    if (n == 0)
        return;
    sb_buf_adds(out, "    server {\n");
    sb_nginx_line(out, 2, "server_name kong_admin");
    sb_nginx_listens(s, "admin_listen", 2, out);
    if (sb_nginx_listens_tls(s, "admin_listen"))
        sb_nginx_tls(s, "admin_ssl", 2, out);
    sb_nginx_access_log(s, "admin_access_log", NULL, 2, out);
    sb_nginx_error_log(s, "admin_error_log", 2, out);
    sb_nginx_injected(s, "nginx_admin_", 2, out);
    sb_nginx_line(out, 2, "error_page " REFUSALS " /silverback-refusal/");
    sb_nginx_line(out, 2, "error_page 494 /silverback-refusal/494");
    sb_buf_adds(out, "        location ^~ /silverback-refusal/ {\n");
    sb_nginx_line(out, 3, "internal");
    sb_nginx_line(out, 3, "silverback_admin");
    sb_buf_adds(out, "        }\n        location / {\n");
    sb_nginx_line(out, 3, "silverback_admin");
    sb_buf_adds(out, "        }\n    }\n");
}

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
    admin_server(s, out);
    sb_buf_adds(out, "}\n");
    return SB_OK;
}
