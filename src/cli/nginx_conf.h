/*
 * What the two generators of nginx configuration share. Each writes text into a buffer; indentation is four spaces per `depth`.
 * A generator's text looks like
 *
 *     sb_nginx_main(…)            load_module … events { … }
 *     http {
 *         sb_nginx_http(…)
 *         server { sb_nginx_listens(…) sb_nginx_tls(…) sb_nginx_access_log(…) sb_nginx_injected(s, "nginx_proxy_", …) }
 *     }
 */
#ifndef SB_CLI_NGINX_CONF_H
#define SB_CLI_NGINX_CONF_H

#include "core/base/buf.h"
#include "core/settings/settings.h"

typedef enum sb_instance { SB_INSTANCE_PROXY, SB_INSTANCE_CONTROL } sb_instance_t;

/* "proxy" or "control": the name in pid files and messages. */
const char *sb_instance_name(sb_instance_t instance);

/* The generators: complete files. SB_DECLINED: a setting does not work out. */
int sb_nginx_proxy_conf(const sb_settings_t *s, sb_buf_t *out, sb_err_t *err);
int sb_nginx_control_conf(const sb_settings_t *s, sb_buf_t *out, sb_err_t *err);
/* The parts of the proxy's that a custom template is put around (nginx_template.h): what stands before all else; what stands in http{} and
 * stream{}. The mask says what the template has itself: an error_log, a limit of open files, a stream block that may be all its own. */
#define SB_NGINX_HAS_ERROR_LOG 1u
#define SB_NGINX_HAS_RLIMIT    2u
#define SB_NGINX_HAS_STREAM    4u
int sb_nginx_proxy_head(const sb_settings_t *s, unsigned has, sb_buf_t *out, sb_err_t *err);
void sb_nginx_proxy_http(const sb_settings_t *s, sb_buf_t *out);
void sb_nginx_stream_inside(const sb_settings_t *s, sb_buf_t *out);

/*
 * All that stands before http{}: the modules, in the given order (NULL-terminated; ours by file name without ".so" from our modules folder,
 * others from the distribution's), daemon off, user when root, worker_processes (control: 1), error_log, the events block, and what
 * users inject with nginx_main_ and nginx_events_. SB_DECLINED when a module is not there. The pid file is not there: whoever runs nginx
 * names one with -g, since several masters may live.
 */
int sb_nginx_main(const sb_settings_t *s, sb_instance_t instance, const char *const *modules, sb_buf_t *out, sb_err_t *err);
/* Its beginning, up to error_log, without the directives that the mask has. */
int sb_nginx_head(const sb_settings_t *s, sb_instance_t instance, const char *const *modules, unsigned has, sb_buf_t *out, sb_err_t *err);
/*
 * The head of http{} (depth 1): silverback_prefix, temporary paths, Lua search paths and TLS trust, resolver, TLS presets, what users
 * inject with nginx_http_ (it has client_max_body_size, charset … with our defaults). Shared dictionaries, log formats and servers are the
 * generator's.
 */
void sb_nginx_http(const sb_settings_t *s, sb_instance_t instance, sb_buf_t *out);
/* A `listen` line per entry of a listen setting. */
void sb_nginx_listens(const sb_settings_t *s, const char *setting, int depth, sb_buf_t *out);
/* SB_DECLINED, with the setting's name: an entry asks for HTTP/3, which the nginx that this is built for has not. */
int sb_nginx_check_quic(const sb_settings_t *s, const char *setting, sb_err_t *err);
/* True if an entry has ssl. */
bool sb_nginx_listens_tls(const sb_settings_t *s, const char *setting);
/* ssl_certificate and ssl_certificate_key lines from "<kind>_cert" and "<kind>_cert_key" (kind: "ssl", "admin_ssl", "status_ssl"), or the
 * generated default ones of the prefix. For servers that have a TLS listener. */
void sb_nginx_tls(const sb_settings_t *s, const char *kind, int depth, sb_buf_t *out);
/* A server of the Admin functions, unless its listen setting ("<kind>_listen") is empty: kind is "admin" or "status", handler the directive
 * that makes a location answer, which also answers what nginx itself refuses (malformed, too large …), in the interface's form. */
void sb_nginx_api_server(const sb_settings_t *s, const char *kind, const char *handler, sb_buf_t *out);
/* proxy_ssl_certificate and its key, from client_ssl…, for services that ask for one and have none of their own. */
void sb_nginx_client_certificate(const sb_settings_t *s, const char *prefix, const char *module, int depth, sb_buf_t *out);
/* set_real_ip_from: whose word on the client's address counts. */
void sb_nginx_real_ip(const sb_settings_t *s, int depth, sb_buf_t *out);
/* Whether there is a stream block; and the block (depth 0). */
bool sb_nginx_has_stream(const sb_settings_t *s);
void sb_nginx_stream(const sb_settings_t *s, sb_buf_t *out);
/* Every directive injected under a prefix such as "nginx_proxy_", but for those whose value is NONE. */
void sb_nginx_injected(const sb_settings_t *s, const char *prefix, int depth, sb_buf_t *out);
/* "directive value;" unless the user injects that directive under the prefix (nginx refuses it twice), or NONE for it. */
void sb_nginx_default(const sb_settings_t *s, const char *prefix, const char *directive, const char *value, int depth, sb_buf_t *out);
/* The same, with the value quoted: a path. */
void sb_nginx_default_quoted(const sb_settings_t *s, const char *prefix, const char *directive, const char *value, int depth,
                             sb_buf_t *out);
/* access_log from a *_access_log setting: paths made absolute, "off" kept, `format` (NULL: nginx's own) used when the setting names none.
 */
void sb_nginx_access_log(const sb_settings_t *s, const char *setting, const char *format, int depth, sb_buf_t *out);
/* error_log from a *_error_log setting, at log_level. */
void sb_nginx_error_log(const sb_settings_t *s, const char *setting, int depth, sb_buf_t *out);
/* A path of a setting, made absolute under the prefix when relative. malloc'ed. */
char *sb_nginx_path(const sb_settings_t *s, const char *path);
/* 'text' quoted for nginx. */
void sb_nginx_quote(sb_buf_t *out, const char *text);
/* A line, indented, with ";" and newline added. */
void sb_nginx_line(sb_buf_t *out, int depth, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* lua_package_path and lua_package_cpath as the instances have them, for whoever runs Lua outside (the preflight). malloc'ed. */
char *sb_nginx_lua_path(const sb_settings_t *s);
char *sb_nginx_lua_cpath(const sb_settings_t *s);
/* The name servers for nginx, "a [b]": those of the settings, else the system's; nothing when there are none. */
void sb_nginx_resolvers(const sb_settings_t *s, sb_buf_t *out);
/* What "auto" means for connections and open files: the limit we run under, within reason. */
long sb_nginx_auto_files(void);
/* How many workers the proxy will have ("auto" worked out). */
int sb_nginx_workers(const sb_settings_t *s);

#endif
