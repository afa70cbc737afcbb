/*
 * The configuration of the proxy instance: the proxy server with its internal locations. Requests start in the plain location; the
 * module moves those whose plugins are Lua to the second one, which exists only when a Lua plugin is enabled. Start at
 * sb_nginx_proxy_conf().
 */
#include "cli/nginx_conf.h"

#include "silverback/plugin.h"

#include <stdlib.h>
#include <string.h>

static bool
is_native(const char *name)
{
    for (const struct sb_plugin *const *p = sb_bundled_plugins; *p != NULL; p++)
        if (strcmp((*p)->name, name) == 0)
            return true;
    return false;
}

static bool
uses_lua(const sb_settings_t *s)
{
    size_t n;
    const char *const *names = sb_settings_list(s, "plugins", &n);

    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], "bundled") != 0 && strcmp(names[i], "off") != 0 && !is_native(names[i]))
            return true;
    return false;
}

/* Dictionaries that plugins written for the interface expect to find (constants.DICTS in lua/kong/constants.lua). */
static void
lua_head(const sb_settings_t *s, sb_buf_t *out)
{
    static const struct {
        const char *name, *size;
    } dicts[] = {{"kong", "5m"},
                 {"kong_locks", "8m"},
                 {"kong_healthchecks", "5m"},
                 {"kong_cluster_events", "5m"},
                 {"kong_rate_limiting_counters", "12m"},
                 {"kong_db_cache_miss", "12m"},
                 {"kong_secrets", "5m"}};

    for (size_t i = 0; i < sizeof(dicts) / sizeof(dicts[0]); i++)
        sb_nginx_line(out, 1, "lua_shared_dict %s %s", dicts[i].name, dicts[i].size);
    sb_nginx_line(out, 1, "lua_shared_dict kong_db_cache %s", sb_settings_str(s, "mem_cache_size"));
    sb_buf_adds(out, "    init_by_lua_block { require(\"kong.silverback.runtime\").init() }\n"
                     "    init_worker_by_lua_block { require(\"kong.silverback.runtime\").init_worker() }\n");
}

/* A directive of the proxy module and its twin of the grpc module. */
static void
service_default(const sb_settings_t *s, const char *what, const char *value, sb_buf_t *out)
{
    static const char *const kinds[] = {"proxy", "grpc"};
    char name[64];

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        snprintf(name, sizeof(name), "%s_%s", kinds[i], what);
        sb_nginx_default(s, "nginx_location_", name, value, 3, out);
    }
}

/* What the exchange with services starts from; each service's own settings are laid over it. */
static void
service_lines(const sb_settings_t *s, sb_buf_t *out)
{
    char *trusted = sb_settings_trusted_file(s);

    sb_nginx_default(s, "nginx_location_", "proxy_http_version", "1.1", 3, out);
    service_default(s, "ssl_server_name", "on", out);
    if (trusted != NULL) {
        service_default(s, "ssl_trusted_certificate", trusted, out);
        service_default(s, "ssl_verify_depth", sb_settings_str(s, "lua_ssl_verify_depth"), out);
    }
    sb_nginx_client_certificate(s, "nginx_location_", "proxy", 3, out);
    sb_nginx_client_certificate(s, "nginx_location_", "grpc", 3, out);
    sb_nginx_line(out, 3, "proxy_pass_header Server");
    sb_nginx_line(out, 3, "proxy_pass_header Date");
    /* A service must not be able to send a request elsewhere inside the gateway. */
    sb_nginx_line(out, 3, "proxy_ignore_headers X-Accel-Redirect");
    sb_nginx_injected(s, "nginx_location_", 3, out);
    sb_nginx_line(out, 3, "proxy_pass https://silverback_upstream");
    sb_nginx_line(out, 3, "grpc_set_header Host \"\"");
    sb_nginx_line(out, 3, "grpc_set_header :authority $silverback_grpc_authority");
    sb_nginx_line(out, 3, "grpc_pass $silverback_grpc"); /* the last: silverback_location takes its handler over */
    free(trusted);
}

static void
locations(const sb_settings_t *s, bool lua, sb_buf_t *out)
{
    static const char *const hooks[] = {"rewrite", "access", "header_filter", "body_filter", "log"};

    sb_buf_adds(out, "        location / {\n");
    service_lines(s, out);
    sb_nginx_line(out, 3, "silverback_location plain");
    sb_buf_adds(out, "        }\n");
    sb_buf_adds(
        out,
        "        error_page 494 = @silverback_494;\n        location @silverback_494 {\n            silverback_error 494;\n        }\n");
    if (!lua)
        return;
    sb_buf_adds(out, "        location @silverback_lua {\n");
    service_lines(s, out);
    sb_nginx_line(out, 3, "silverback_location lua");
    /* A header set by a plugin is no reason for a Content-Type. */
    sb_nginx_line(out, 3, "lua_use_default_type off");
    for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
        sb_buf_addf(out, "            %s_by_lua_block { require(\"kong.silverback.runtime\").%s() }\n", hooks[i], hooks[i]);
    sb_buf_adds(out, "        }\n");
}

/* What services that name no authorities of their own are verified by. */
static void
trusted(const sb_settings_t *s, sb_buf_t *out)
{
    char *file = sb_settings_trusted_file(s);

    if (file != NULL) {
        sb_buf_adds(out, "    silverback_trusted ");
        sb_nginx_quote(out, file);
        sb_buf_addf(out, " %s;\n", sb_settings_str(s, "lua_ssl_verify_depth"));
    }
    free(file);
}

static void
proxy_server(const sb_settings_t *s, bool lua, sb_buf_t *out)
{
    size_t n;

    sb_settings_listen(s, "proxy_listen", &n);
    sb_buf_adds(out, "    upstream silverback_upstream {\n        server 0.0.0.1;\n");
    sb_nginx_injected(s, "nginx_upstream_", 2, out);
    sb_buf_adds(out, "    }\n    server {\n");
    sb_nginx_line(out, 2, "server_name kong");
    sb_nginx_line(out, 2, "silverback_proxy on");
    if (n != 0)
        sb_nginx_listens(s, "proxy_listen", 2, out);
    else /* nginx would listen on port 80 by itself */
        sb_nginx_line(out, 2, "listen unix:%s/sockets/proxy.sock", sb_settings_str(s, "prefix"));
    if (sb_nginx_listens_tls(s, "proxy_listen")) {
        sb_nginx_tls(s, "ssl", 2, out);
        if (lua)
            sb_buf_adds(out, "        ssl_certificate_by_lua_block { require(\"kong.silverback.runtime\").certificate() }\n");
    }
    sb_nginx_access_log(s, "proxy_access_log", "kong_log_format", 2, out);
    sb_nginx_error_log(s, "proxy_error_log", 2, out);
    sb_nginx_real_ip(s, 2, out);
    sb_nginx_injected(s, "nginx_proxy_", 2, out);
    locations(s, lua, out);
    sb_buf_adds(out, "    }\n");
}

/* The order is that of the filters: ours, Lua's, ours again. The stream modules stand around them, because ours calls both. */
static const char *const with_streams[] = {"ngx_stream_module",
                                           "ngx_http_silverback_out_module",
                                           "ndk_http_module",
                                           "ngx_http_lua_module",
                                           "ngx_http_silverback_module",
                                           "ngx_stream_silverback_module",
                                           NULL};
static const char *const with_others_streams[] = {"ngx_stream_module",   "ngx_http_silverback_out_module", "ndk_http_module",
                                                  "ngx_http_lua_module", "ngx_http_silverback_module",     NULL};
static const char *const without_streams[] = {"ngx_http_silverback_out_module", "ndk_http_module", "ngx_http_lua_module",
                                              "ngx_http_silverback_module", NULL};

static const char *const *
modules(const sb_settings_t *s, unsigned has)
{
    if (sb_nginx_has_stream(s))
        return with_streams;
    return (has & SB_NGINX_HAS_STREAM) != 0 ? with_others_streams : without_streams;
}

int
sb_nginx_proxy_head(const sb_settings_t *s, unsigned has, sb_buf_t *out, sb_err_t *err)
{
    if (sb_nginx_check_quic(s, "proxy_listen", err) != SB_OK)
        return SB_DECLINED;
    return sb_nginx_head(s, SB_INSTANCE_PROXY, modules(s, has), has, out, err);
}

void
sb_nginx_proxy_http(const sb_settings_t *s, sb_buf_t *out)
{
    bool lua = uses_lua(s);

    sb_nginx_http(s, SB_INSTANCE_PROXY, out);
    trusted(s, out);
    /* What a proxied request takes fits: one allocation less than with nginx's 4k. */
    sb_nginx_default(s, "nginx_http_", "request_pool_size", "12k", 1, out);
    sb_buf_adds(out, "    log_format kong_log_format '$remote_addr - $remote_user [$time_local] \"$request\" $status "
                     "$body_bytes_sent \"$http_referer\" \"$http_user_agent\" kong_request_id: \"$kong_request_id\"';\n");
    if (lua)
        lua_head(s, out);
    proxy_server(s, lua, out);
    sb_nginx_api_server(s, "status", "silverback_status", out);
}

int
sb_nginx_proxy_conf(const sb_settings_t *s, sb_buf_t *out, sb_err_t *err)
{
    int rc = sb_nginx_check_quic(s, "proxy_listen", err);

    if (rc == SB_OK)
        rc = sb_nginx_main(s, SB_INSTANCE_PROXY, modules(s, 0), out, err);
    if (rc != SB_OK)
        return rc;
    if (sb_nginx_has_stream(s)) /* before http: the preflight ends there */
        sb_nginx_stream(s, out);
    sb_buf_adds(out, "http {\n");
    sb_nginx_proxy_http(s, out);
    sb_buf_adds(out, "}\n");
    return SB_OK;
}
