/*
 * Shared parts of the two nginx configurations; see nginx_conf.h. Everything is written with absolute paths, so that neither the
 * working directory nor nginx's compiled-in prefix matters.
 */
#include "cli/nginx_conf.h"

#include "cli/nginx_walk.h"
#include "cli/paths.h"

#include <nginx.h>
#include <ngx_auto_config.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

const char *
sb_instance_name(sb_instance_t instance)
{
    return instance == SB_INSTANCE_PROXY ? "proxy" : "control";
}

void
sb_nginx_line(sb_buf_t *out, int depth, const char *fmt, ...)
{
    va_list ap;
    char *text = NULL;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        sb_panic(__FILE__, __LINE__, "out of memory");
    va_end(ap);
    sb_buf_addf(out, "%*s%s;\n", depth * 4, "", text);
    free(text);
}

void
sb_nginx_quote(sb_buf_t *out, const char *text)
{
    sb_buf_addc(out, '\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            sb_buf_addc(out, '\\');
        sb_buf_addc(out, *text);
    }
    sb_buf_addc(out, '\'');
}

static void
quoted_line(sb_buf_t *out, int depth, const char *directive, const char *text)
{
    sb_buf_addf(out, "%*s%s ", depth * 4, "", directive);
    sb_nginx_quote(out, text);
    sb_buf_adds(out, ";\n");
}

char *
sb_nginx_path(const sb_settings_t *s, const char *path)
{
    if (path[0] == '/' || strncmp(path, "syslog:", 7) == 0 || strncmp(path, "memory:", 7) == 0 || strcmp(path, "stderr") == 0 ||
        strcmp(path, "off") == 0)
        return sb_strdup_len(path, strlen(path));
    return sb_asprintf("%s/%s", sb_settings_str(s, "prefix"), path);
}

/* --- injected directives --- */

typedef struct inject {
    sb_buf_t *out;
    int depth;
    const sb_settings_t *s;
    const char *const *skip; /* NULL-terminated */
    const char *wanted;      /* looking for one: found tells */
    bool found;
    bool no_servers; /* includes with servers are left out */
} inject_t;

static int
is_server(const sb_nginx_directive_t *d, const char *block, void *arg, sb_err_t *err)
{
    bool *found = arg;

    *found = *found || (block[0] == '\0' && strcmp(d->words[0], "server") == 0);
    return SB_OK;
}

/* Does what `include value` names have a server of its own? */
static bool
brings_servers(const sb_settings_t *s, const char *value)
{
    char *name = sb_strdup_len(value, strlen(value));
    size_t len = strlen(name);
    bool found = false;

    if (len > 1 && (name[0] == '\'' || name[0] == '"') && name[len - 1] == name[0]) {
        name[len - 1] = '\0';
        memmove(name, name + 1, len - 1);
    }
    sb_nginx_walk_include(name, sb_settings_str(s, "prefix"), is_server, &found, NULL);
    free(name);
    return found;
}

static void
emit_injected(const char *directive, const char *value, void *arg)
{
    inject_t *in = arg;

    for (const char *const *skip = in->skip; skip != NULL && *skip != NULL; skip++)
        if (strcmp(*skip, directive) == 0)
            return;
    if (strcmp(value, SB_SETTING_NONE) == 0 || (in->no_servers && strcmp(directive, "include") == 0 && brings_servers(in->s, value)))
        return;
    /* A group's name stands for its parameters, which prepare writes into the prefix. */
    if (strcmp(directive, "ssl_dhparam") == 0 && strncmp(value, "ffdhe", 5) == 0)
        sb_nginx_line(in->out, in->depth, "ssl_dhparam %s/ssl/%s.pem", sb_settings_str(in->s, "prefix"), value);
    else
        sb_nginx_line(in->out, in->depth, "%s %s", directive, value);
}

static void
look_for(const char *directive, const char *value, void *arg)
{
    inject_t *in = arg;

    in->found = in->found || strcmp(directive, in->wanted) == 0;
}

static void
injected_except(const sb_settings_t *s, const char *prefix, const char *const *skip, int depth, sb_buf_t *out)
{
    inject_t in = {.out = out, .depth = depth, .s = s, .skip = skip};

    sb_settings_injected(s, prefix, emit_injected, &in);
}

void
sb_nginx_injected(const sb_settings_t *s, const char *prefix, int depth, sb_buf_t *out)
{
    injected_except(s, prefix, NULL, depth, out);
}

void
sb_nginx_default(const sb_settings_t *s, const char *prefix, const char *directive, const char *value, int depth, sb_buf_t *out)
{
    inject_t in = {.wanted = directive};

    sb_settings_injected(s, prefix, look_for, &in);
    if (!in.found)
        sb_nginx_line(out, depth, "%s %s", directive, value);
}

void
sb_nginx_default_quoted(const sb_settings_t *s, const char *prefix, const char *directive, const char *value, int depth, sb_buf_t *out)
{
    sb_buf_t quoted = {0};

    sb_nginx_quote(&quoted, value);
    sb_nginx_default(s, prefix, directive, quoted.data, depth, out);
    sb_buf_free(&quoted);
}

/* --- logs --- */

void
sb_nginx_access_log(const sb_settings_t *s, const char *setting, const char *format, int depth, sb_buf_t *out)
{
    const char *value = sb_settings_str(s, setting);
    size_t len;
    char *path, *full;

    if (value == NULL || value[0] == '\0' || strcmp(value, "off") == 0) {
        sb_nginx_line(out, depth, "access_log off");
        return;
    }
    len = strcspn(value, " \t");
    path = sb_strdup_len(value, len);
    full = sb_nginx_path(s, path);
    if (value[len] != '\0')
        sb_nginx_line(out, depth, "access_log %s%s", full, value + len);
    else
        sb_nginx_line(out, depth, "access_log %s%s%s", full, format != NULL ? " " : "", format != NULL ? format : "");
    free(full);
    free(path);
}

void
sb_nginx_error_log(const sb_settings_t *s, const char *setting, int depth, sb_buf_t *out)
{
    const char *value = sb_settings_str(s, setting);
    char *path = sb_nginx_path(s, value != NULL && value[0] != '\0' ? value : "logs/error.log");

    /* nginx has no "off" here and would make a file of that name. */
    sb_nginx_line(out, depth, "error_log %s %s", strcmp(path, "off") == 0 ? "/dev/null" : path, sb_settings_str(s, "log_level"));
    free(path);
}

/* --- main and events --- */

int
sb_nginx_workers(const sb_settings_t *s)
{
    const char *text = sb_settings_str(s, "nginx_main_worker_processes");
    cpu_set_t cpus;
    int n;

    if (strcmp(text, "auto") != 0) {
        n = atoi(text);
        return n > 0 ? n : 1;
    }
    n = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    /* nginx's own "auto" counts the machine's processors, so ask for the number that it would take. */
    if (sysconf(_SC_NPROCESSORS_ONLN) > 0)
        n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n;
}

long
sb_nginx_auto_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > 16384)
        return 16384;
    return limit.rlim_cur < 1024 ? 1024 : (long)limit.rlim_cur;
}

static int
load_modules(const char *const *modules, sb_buf_t *out, sb_err_t *err)
{
    const sb_paths_t *paths = sb_paths_get();

    for (; *modules != NULL; modules++) {
        bool ours = strstr(*modules, "_silverback_") != NULL;
        char *path = sb_asprintf("%s/%s.so", ours ? paths->modules : paths->nginx_modules, *modules);
        bool there = access(path, R_OK) == 0;

        if (there) {
            sb_buf_adds(out, "load_module ");
            sb_nginx_quote(out, path);
            sb_buf_adds(out, ";\n");
        } else
            sb_err_set(err, 0, "nginx module not found: %s", path);
        free(path);
        if (!there)
            return SB_DECLINED;
    }
    return SB_OK;
}

static void
events_block(const sb_settings_t *s, sb_buf_t *out)
{
    static const char *const skip[] = {"worker_connections", NULL};
    const char *connections = sb_settings_str(s, "nginx_events_worker_connections");

    sb_buf_adds(out, "events {\n");
    if (strcmp(connections, "auto") == 0)
        sb_nginx_line(out, 1, "worker_connections %ld", sb_nginx_auto_files());
    else if (strcmp(connections, SB_SETTING_NONE) != 0)
        sb_nginx_line(out, 1, "worker_connections %s", connections);
    injected_except(s, "nginx_events_", skip, 1, out);
    sb_buf_adds(out, "}\n");
}

int
sb_nginx_head(const sb_settings_t *s, sb_instance_t instance, const char *const *modules, unsigned has, sb_buf_t *out, sb_err_t *err)
{
    const char *files = sb_settings_str(s, "nginx_main_worker_rlimit_nofile");
    bool control = instance == SB_INSTANCE_CONTROL;

    if (load_modules(modules, out, err) != SB_OK)
        return SB_DECLINED;
    sb_nginx_line(out, 0, "daemon off");
    if (geteuid() == 0) /* the owner of the prefix's files */
        sb_nginx_line(out, 0, "user %s", sb_settings_str(s, "nginx_main_user"));
    sb_nginx_line(out, 0, "worker_processes %d", control ? 1 : sb_nginx_workers(s));
    if ((has & SB_NGINX_HAS_RLIMIT) == 0 && strcmp(files, "auto") == 0)
        sb_nginx_line(out, 0, "worker_rlimit_nofile %ld", sb_nginx_auto_files());
    else if ((has & SB_NGINX_HAS_RLIMIT) == 0 && strcmp(files, SB_SETTING_NONE) != 0)
        sb_nginx_line(out, 0, "worker_rlimit_nofile %s", files);
    if ((has & SB_NGINX_HAS_ERROR_LOG) == 0)
        sb_nginx_error_log(s, control ? "admin_error_log" : "proxy_error_log", 0, out);
    return SB_OK;
}

int
sb_nginx_main(const sb_settings_t *s, sb_instance_t instance, const char *const *modules, sb_buf_t *out, sb_err_t *err)
{
    static const char *const skip[] = {"daemon", "user", "worker_processes", "worker_rlimit_nofile", "pid", "error_log", NULL};
    int rc = sb_nginx_head(s, instance, modules, 0, out, err);

    if (rc != SB_OK)
        return rc;
    injected_except(s, "nginx_main_", skip, 0, out);
    events_block(s, out);
    return SB_OK;
}

/* --- http --- */

static void
add_path(sb_buf_t *b, const char *dir, const char *pattern)
{
    sb_buf_addf(b, "%s/%s;", dir, pattern);
}

/* The trees that luarocks installs into, the user's own last. */
static void
add_rock_trees(sb_buf_t *b, const char *const *patterns, const char *sub)
{
    const char *home = getenv("HOME");
    char *trees[3] = {sb_asprintf("/usr/local/%s/lua/5.1", sub), sb_asprintf("/usr/%s/lua/5.1", sub),
                      home != NULL ? sb_asprintf("%s/.luarocks/%s/lua/5.1", home, sub) : NULL};

    for (size_t t = 0; t < 3; t++) {
        if (t < 2 || (trees[t] != NULL && access(trees[t], F_OK) == 0))
            for (const char *const *p = patterns; *p != NULL; p++)
                add_path(b, trees[t], *p);
        free(trees[t]);
    }
}

static void
add_user_path(sb_buf_t *b, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    /* ";;" is Lua's place for its defaults, which come at the very end anyway. */
    sb_buf_adds(b, text);
    while (b->len > 0 && b->data[b->len - 1] == ';')
        b->data[--b->len] = '\0';
    sb_buf_addc(b, ';');
}

char *
sb_nginx_lua_path(const sb_settings_t *s)
{
    static const char *const patterns[] = {"?.lua", "?/init.lua", NULL};
    sb_buf_t b = {0};

    add_user_path(&b, sb_settings_str(s, "lua_package_path"));
    for (const char *const *p = patterns; *p != NULL; p++)
        add_path(&b, sb_paths_get()->lua, *p);
    add_rock_trees(&b, patterns, "share");
    /* Our versions of libraries that users may have the original of: theirs is found first. */
    add_path(&b, sb_paths_get()->lua, "fallback/?.lua");
    sb_buf_addc(&b, ';');
    return sb_buf_take(&b);
}

char *
sb_nginx_lua_cpath(const sb_settings_t *s)
{
    static const char *const patterns[] = {"?.so", NULL};
    sb_buf_t b = {0};

    add_user_path(&b, sb_settings_str(s, "lua_package_cpath"));
    add_rock_trees(&b, patterns, "lib");
    sb_buf_addc(&b, ';');
    return sb_buf_take(&b);
}

/* Name servers of /etc/resolv.conf, in nginx's form. */
static void
system_name_servers(sb_buf_t *b)
{
    FILE *f = fopen("/etc/resolv.conf", "re");
    char line[512], address[128];

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, " nameserver %127s", address) != 1 || strchr(address, '%') != NULL)
            continue;
        sb_buf_addf(b, strchr(address, ':') != NULL ? " [%s]" : " %s", address);
    }
    if (f != NULL)
        fclose(f);
}

void
sb_nginx_resolvers(const sb_settings_t *s, sb_buf_t *out)
{
    sb_buf_t servers = {0};
    size_t n;
    const char *const *list = sb_settings_list(s, "dns_resolver", &n);

    for (size_t i = 0; i < n; i++)
        sb_buf_addf(&servers, " %s", list[i]);
    if (n == 0)
        system_name_servers(&servers);
    if (servers.len != 0)
        sb_buf_adds(out, servers.data + 1);
    sb_buf_free(&servers);
}

static void
resolver_lines(const sb_settings_t *s, sb_buf_t *out)
{
    sb_buf_t servers = {0};

    sb_nginx_resolvers(s, &servers);
    if (servers.len != 0)
        sb_nginx_default(s, "nginx_http_", "resolver", servers.data, 1, out);
    sb_buf_free(&servers);
}

static void
temporary_paths(const sb_settings_t *s, sb_buf_t *out)
{
    static const char *const kinds[] = {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        char *directive = sb_asprintf("%s_temp_path", kinds[i]), *path = sb_asprintf("%s/tmp/%s", sb_settings_str(s, "prefix"), kinds[i]);
        sb_nginx_default(s, "nginx_http_", directive, path, 1, out);
        free(path);
        free(directive);
    }
}

static void
lua_lines(const sb_settings_t *s, sb_buf_t *out)
{
    char *path = sb_nginx_lua_path(s), *cpath = sb_nginx_lua_cpath(s), *trusted = sb_settings_trusted_file(s);

    quoted_line(out, 1, "lua_package_path", path);
    quoted_line(out, 1, "lua_package_cpath", cpath);
    sb_nginx_line(out, 1, "lua_socket_pool_size %ld", (long)sb_settings_int(s, "lua_socket_pool_size"));
    sb_nginx_line(out, 1, "lua_ssl_verify_depth %ld", (long)sb_settings_int(s, "lua_ssl_verify_depth"));
    sb_nginx_line(out, 1, "lua_ssl_protocols %s", sb_settings_str(s, "lua_ssl_protocols"));
    if (trusted != NULL)
        quoted_line(out, 1, "lua_ssl_trusted_certificate", trusted);
    /* Every failed timer or lookup would otherwise be an [error] of its own beside the one its caller logs. */
    sb_nginx_default(s, "nginx_http_", "lua_socket_log_errors", "off", 1, out);
    free(path);
    free(cpath);
    free(trusted);
}

void
sb_nginx_http(const sb_settings_t *s, sb_instance_t instance, sb_buf_t *out)
{
    const char *ciphers = sb_settings_str(s, "ssl_ciphers");
    inject_t in = {.out = out, .depth = 1, .s = s};

    quoted_line(out, 1, "silverback_prefix", sb_settings_str(s, "prefix"));
    temporary_paths(s, out);
    lua_lines(s, out);
    resolver_lines(s, out);
    if (ciphers != NULL)
        quoted_line(out, 1, "ssl_ciphers", ciphers);
    sb_nginx_line(out, 1, "ssl_session_cache shared:SSL:%s", sb_settings_str(s, "ssl_session_cache_size"));
    /* One instance only can listen for a server that users include: the one that carries traffic. */
    in.no_servers = instance == SB_INSTANCE_CONTROL;
    sb_settings_injected(s, "nginx_http_", emit_injected, &in);
}

/* --- servers --- */

bool
sb_nginx_listens_tls(const sb_settings_t *s, const char *setting)
{
    size_t n;
    const sb_listen_t *l = sb_settings_listen(s, setting, &n);

    for (size_t i = 0; i < n; i++)
        if (l[i].ssl)
            return true;
    return false;
}

#ifdef NGX_HTTP_V3
static const bool has_http3 = true;
#else
static const bool has_http3 = false;
#endif

int
sb_nginx_check_quic(const sb_settings_t *s, const char *setting, sb_err_t *err)
{
    size_t n;
    const sb_listen_t *l = sb_settings_listen(s, setting, &n);

    for (size_t i = 0; i < n; i++)
        if (l[i].quic && !has_http3)
            return sb_err_set(err, 0,
                              "%s: '%s:%u' has the flag quic: it needs an nginx with HTTP/3 (ngx_http_v3_module), and nginx " NGINX_VERSION
                              " here has none",
                              setting, l[i].address, l[i].port);
    return SB_OK;
}

/* The UDP listener of an entry. Without reuseport any worker would get any packet: each needs a socket of its own. */
static void
listen_quic(const sb_listen_t *l, int depth, sb_buf_t *out)
{
    const char *only = strstr(l->flags, "ipv6only=");

    sb_nginx_line(out, depth, "listen %s:%u quic reuseport%s%.*s", l->address, l->port, only != NULL ? " " : "",
                  only != NULL ? (int)strcspn(only, " ") : 0, only != NULL ? only : "");
}

void
sb_nginx_listens(const sb_settings_t *s, const char *setting, int depth, sb_buf_t *out)
{
    size_t n;
    const sb_listen_t *l = sb_settings_listen(s, setting, &n);

    for (size_t i = 0; i < n; i++) {
        sb_buf_t flags = {0};
        if (l[i].ssl)
            sb_buf_adds(&flags, " ssl");
        if (l[i].http2 && nginx_version < 1025001)
            sb_buf_adds(&flags, " http2");
        if (l[i].proxy_protocol)
            sb_buf_adds(&flags, " proxy_protocol");
        if (l[i].flags[0] != '\0')
            sb_buf_addf(&flags, " %s", l[i].flags);
        sb_nginx_line(out, depth, "listen %s:%u%s", l[i].address, l[i].port, flags.len != 0 ? flags.data : "");
        sb_buf_free(&flags);
        if (l[i].quic)
            listen_quic(&l[i], depth, out);
    }
    for (size_t i = 0; i < n && nginx_version >= 1025001; i++) {
        if (l[i].http2) {
            sb_nginx_line(out, depth, "http2 on");
            break;
        }
    }
}

void
sb_nginx_tls(const sb_settings_t *s, const char *kind, int depth, sb_buf_t *out)
{
    static const char *const suffixes[] = {"", "-ecdsa"};
    int role = (int)(strlen(kind) - 3); /* "admin_ssl" -> "admin_" */
    char *cert = sb_asprintf("%s_cert", kind), *key = sb_asprintf("%s_cert_key", kind);
    const char *prefix = sb_settings_str(s, "prefix");
    size_t n, keys;
    const char *const *certs = sb_settings_list(s, cert, &n), *const *key_files = sb_settings_list(s, key, &keys);

    for (size_t i = 0; i < n && i < keys; i++) {
        quoted_line(out, depth, "ssl_certificate", certs[i]);
        quoted_line(out, depth, "ssl_certificate_key", key_files[i]);
    }
    for (size_t i = 0; i < 2 && n == 0; i++) {
        const char *dash = role > 0 ? "-" : "";
        int len = role > 0 ? role - 1 : 0;
        sb_nginx_line(out, depth, "ssl_certificate %s/ssl/%.*s%skong-default%s.crt", prefix, len, kind, dash, suffixes[i]);
        sb_nginx_line(out, depth, "ssl_certificate_key %s/ssl/%.*s%skong-default%s.key", prefix, len, kind, dash, suffixes[i]);
    }
    free(cert);
    free(key);
}

void
sb_nginx_client_certificate(const sb_settings_t *s, const char *prefix, const char *module, int depth, sb_buf_t *out)
{
    const char *cert = sb_settings_str(s, "client_ssl_cert"), *key = sb_settings_str(s, "client_ssl_cert_key");
    char *own = sb_asprintf("%s/ssl/kong-default", sb_settings_str(s, "prefix")), *own_cert = sb_asprintf("%s.crt", own),
         *own_key = sb_asprintf("%s.key", own), *cert_name = sb_asprintf("%s_ssl_certificate", module),
         *key_name = sb_asprintf("%s_ssl_certificate_key", module);

    if (sb_settings_bool(s, "client_ssl")) {
        sb_nginx_default_quoted(s, prefix, cert_name, cert != NULL ? cert : own_cert, depth, out);
        sb_nginx_default_quoted(s, prefix, key_name, key != NULL ? key : own_key, depth, out);
    }
    free(own);
    free(own_cert);
    free(own_key);
    free(cert_name);
    free(key_name);
}

void
sb_nginx_real_ip(const sb_settings_t *s, int depth, sb_buf_t *out)
{
    size_t n;
    const char *const *trusted = sb_settings_list(s, "trusted_ips", &n);

    for (size_t i = 0; i < n; i++)
        sb_nginx_line(out, depth, "set_real_ip_from %s", trusted[i]);
}

/* --- the Admin and the Status API --- */

#define REFUSALS "400 405 408 411 412 413 414 417 500 501 502 503 504 505"

/* "<kind><tail>", kept until the next call. */
static const char *
name_of(const char *kind, const char *tail)
{
    static char name[64];

    snprintf(name, sizeof(name), "%s%s", kind, tail);
    return name;
}

void
sb_nginx_api_server(const sb_settings_t *s, const char *kind, const char *handler, sb_buf_t *out)
{
    size_t n;
    char *injected = sb_asprintf("nginx_%s_", kind);

    sb_settings_listen(s, name_of(kind, "_listen"), &n);
    if (n != 0) {
        sb_buf_adds(out, "    server {\n");
        sb_nginx_line(out, 2, "server_name kong_%s", kind);
        sb_nginx_listens(s, name_of(kind, "_listen"), 2, out);
        if (sb_nginx_listens_tls(s, name_of(kind, "_listen")))
            sb_nginx_tls(s, name_of(kind, "_ssl"), 2, out);
        sb_nginx_access_log(s, name_of(kind, "_access_log"), NULL, 2, out);
        sb_nginx_error_log(s, name_of(kind, "_error_log"), 2, out);
        sb_nginx_default(s, injected, "gzip", "on", 2, out);
        sb_nginx_default(s, injected, "gzip_types", "application/json", 2, out);
        sb_nginx_default(s, injected, "gzip_min_length", "1000", 2, out);
        sb_nginx_injected(s, injected, 2, out);
        sb_nginx_line(out, 2, "error_page " REFUSALS " /silverback-refusal/");
        sb_nginx_line(out, 2, "error_page 494 /silverback-refusal/494");
        sb_buf_adds(out, "        location ^~ /silverback-refusal/ {\n");
        sb_nginx_line(out, 3, "internal");
        sb_nginx_line(out, 3, "%s", handler);
        sb_buf_adds(out, "        }\n        location / {\n");
        sb_nginx_line(out, 3, "%s", handler);
        sb_buf_adds(out, "        }\n    }\n");
    }
    free(injected);
}
