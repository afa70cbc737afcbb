/*
 * The stream block of the proxy instance, there when stream_listen has listeners: one server for all of them, and one that does not listen
 * but holds what TLS to services begins with (src/proxy/stream/module.c). Start at sb_nginx_stream().
 */
#include "cli/nginx_conf.h"

#include <stdlib.h>

static void
head(const sb_settings_t *s, sb_buf_t *out)
{
    const char *ciphers = sb_settings_str(s, "ssl_ciphers");

    sb_buf_adds(out, "    log_format basic '$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received $session_time';\n");
    if (ciphers != NULL) {
        sb_buf_adds(out, "    ssl_ciphers ");
        sb_nginx_quote(out, ciphers);
        sb_buf_adds(out, ";\n");
    }
    sb_nginx_line(out, 1, "ssl_session_cache shared:StreamSSL:%s", sb_settings_str(s, "ssl_session_cache_size"));
    sb_nginx_injected(s, "nginx_stream_", 1, out);
    sb_buf_adds(out, "    upstream silverback_stream {\n        server 0.0.0.1:1;\n");
    sb_nginx_injected(s, "nginx_supstream_", 2, out);
    sb_buf_adds(out, "    }\n");
}

static void
listening_server(const sb_settings_t *s, sb_buf_t *out)
{
    sb_buf_adds(out, "    server {\n");
    sb_nginx_listens(s, "stream_listen", 2, out);
    if (sb_nginx_listens_tls(s, "stream_listen"))
        sb_nginx_tls(s, "ssl", 2, out);
    sb_nginx_access_log(s, "proxy_stream_access_log", NULL, 2, out);
    sb_nginx_error_log(s, "proxy_stream_error_log", 2, out);
    sb_nginx_real_ip(s, 2, out);
    sb_nginx_injected(s, "nginx_sproxy_", 2, out);
    sb_nginx_line(out, 2, "silverback_stream plain");
    sb_nginx_line(out, 2, "proxy_pass silverback_stream");
    sb_buf_adds(out, "    }\n");
}

/* Verification is on here so that the authorities are loaded; whether a service's certificate is verified, the service says. */
static void
tls_server(const sb_settings_t *s, sb_buf_t *out)
{
    char *trusted = sb_settings_trusted_file(s);

    sb_buf_adds(out, "    server {\n");
    sb_nginx_default(s, "nginx_sproxy_", "proxy_ssl", "on", 2, out);
    sb_nginx_default(s, "nginx_sproxy_", "proxy_ssl_server_name", "on", 2, out);
    if (trusted != NULL) {
        sb_nginx_default(s, "nginx_sproxy_", "proxy_ssl_verify", "on", 2, out);
        sb_nginx_default_quoted(s, "nginx_sproxy_", "proxy_ssl_trusted_certificate", trusted, 2, out);
        sb_nginx_default(s, "nginx_sproxy_", "proxy_ssl_verify_depth", sb_settings_str(s, "lua_ssl_verify_depth"), 2, out);
    }
    sb_nginx_client_certificate(s, "nginx_sproxy_", "proxy", 2, out);
    sb_nginx_injected(s, "nginx_sproxy_", 2, out);
    sb_nginx_line(out, 2, "silverback_stream tls");
    sb_nginx_line(out, 2, "proxy_pass silverback_stream");
    sb_buf_adds(out, "    }\n");
    free(trusted);
}

bool
sb_nginx_has_stream(const sb_settings_t *s)
{
    size_t n;

    sb_settings_listen(s, "stream_listen", &n);
    return n != 0;
}

void
sb_nginx_stream_inside(const sb_settings_t *s, sb_buf_t *out)
{
    if (!sb_nginx_has_stream(s))
        return;
    head(s, out);
    listening_server(s, out);
    tls_server(s, out);
}

void
sb_nginx_stream(const sb_settings_t *s, sb_buf_t *out)
{
    sb_buf_adds(out, "stream {\n");
    sb_nginx_stream_inside(s, out);
    sb_buf_adds(out, "}\n");
}
