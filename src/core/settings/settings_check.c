/*
 * What follows from other settings (derive) and what must hold between them (check), including what this version cannot do yet:
 * such a setting is refused with a clear message rather than silently left out.
 */
#include "core/settings/settings_int.h"

#include <arpa/inet.h>
#include <limits.h>
#include <math.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODERN_RSA                                                                                                                         \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                 \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:"                       \
    "DHE-RSA-CHACHA20-POLY1305"

static const struct suite {
    const char *name, *protocols, *ciphers, *prefer_server, *dhparam;
} suites[] = {
    {"modern", "TLSv1.3", NULL, "off", NULL},
    {"intermediate", "TLSv1.2 TLSv1.3", MODERN_RSA, "off", "ffdhe2048"},
    {"old", "TLSv1 TLSv1.1 TLSv1.2 TLSv1.3",
     MODERN_RSA ":ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"
                "ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:DHE-RSA-AES128-SHA256:"
                "DHE-RSA-AES256-SHA256:AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA256:AES256-SHA256:AES128-SHA:AES256-SHA:DES-CBC3-SHA",
     "on", NULL},
    {"fips", "TLSv1.2", "TLSv1.2+FIPS:kRSA+FIPS:!eNULL:!aNULL", "on", NULL},
};

static void
set(sb_settings_t *s, const char *name, const char *text)
{
    sb_settings_set_text(sb_settings_value(s, name), text);
}

/* A preset decides all four, whatever is written beside it; only `custom` leaves them to the user. */
static void
derive_tls(sb_settings_t *s)
{
    const char *name = sb_settings_str(s, "ssl_cipher_suite");

    for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
        if (strcmp(suites[i].name, name) != 0)
            continue;
        set(s, "ssl_protocols", suites[i].protocols);
        set(s, "ssl_ciphers", suites[i].ciphers);
        set(s, "ssl_prefer_server_ciphers", suites[i].prefer_server);
        if (!sb_settings_value(s, "ssl_dhparam")->set)
            set(s, "ssl_dhparam", suites[i].dhparam);
    }
}

static void
derive_directives(sb_settings_t *s)
{
    static const char *const blocks[] = {"nginx_http_", "nginx_stream_"};

    for (size_t i = 0; i < sb_settings_rows_n; i++) {
        if (sb_settings_rows[i].directive == NULL)
            continue;
        for (size_t b = 0; b < 2; b++) {
            char *name = sb_asprintf("%s%s", blocks[b], sb_settings_rows[i].directive);
            long row = sb_settings_row_index(name);
            if (row >= 0 && !s->values[row].set)
                sb_settings_set_text(&s->values[row], s->values[i].text);
            free(name);
        }
    }
}

/* The default user is `kong` where a package made one; else an unprivileged user that every Debian has. */
static void
derive_user(sb_settings_t *s)
{
    static const char *const users[] = {"kong", "www-data", "nobody"};
    value_t *v = sb_settings_value(s, "nginx_main_user");

    for (size_t i = 0; !v->set && i < 3; i++) {
        if (getpwnam(users[i]) != NULL) {
            sb_settings_set_text(v, i == 0 ? "kong kong" : users[i]);
            break;
        }
    }
    set(s, "nginx_user", v->text);
}

static void
derive_prefix(sb_settings_t *s)
{
    value_t *v = sb_settings_value(s, "prefix");
    char cwd[PATH_MAX], *path;
    size_t len;

    if (v->text[0] == '\0')
        set(s, "prefix", "/usr/local/kong/");
    if (v->text[0] == '/' || getcwd(cwd, sizeof(cwd)) == NULL)
        path = sb_strdup_len(v->text, strlen(v->text));
    else
        path = sb_asprintf("%s/%s", cwd, strncmp(v->text, "./", 2) == 0 ? v->text + 2 : v->text);
    for (len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
        path[len - 1] = '\0';
    sb_settings_set_text(v, path);
    free(path);
}

/* "a.pem, /b.pem" with each item made absolute, as seen from where the command was given; ends: "," for a list, "" for one path. */
static char *
absolute_items(const char *text, const char *ends, const char *cwd)
{
    sb_buf_t b = {0};

    while (*text != '\0') {
        size_t len = strcspn(text, ends), skip = strspn(text, " \t");
        if (b.len != 0)
            sb_buf_adds(&b, ", ");
        if (skip < len && text[skip] != '/')
            sb_buf_addf(&b, "%s/", cwd);
        if (skip < len)
            sb_buf_add(&b, text + skip, len - skip);
        text += len + (text[len] != '\0');
    }
    return sb_buf_take(&b);
}

/* Files that a user names relative to the present folder, which the instances do not know. */
static void
derive_paths(sb_settings_t *s)
{
    static const char *const names[] = {"ssl_cert",
                                        "ssl_cert_key",
                                        "admin_ssl_cert",
                                        "admin_ssl_cert_key",
                                        "status_ssl_cert",
                                        "status_ssl_cert_key",
                                        "admin_gui_ssl_cert",
                                        "admin_gui_ssl_cert_key",
                                        "client_ssl_cert",
                                        "client_ssl_cert_key",
                                        "error_template_html",
                                        "error_template_json",
                                        "error_template_plain",
                                        "error_template_xml"};
    char cwd[PATH_MAX];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && getcwd(cwd, sizeof(cwd)) != NULL; i++) {
        value_t *v = sb_settings_value(s, names[i]);
        bool list = sb_settings_rows[sb_settings_row_index(names[i])].type == SB_SETTING_LIST;
        char *path;
        if (v->text == NULL || v->text[0] == '\0' || strstr(v->text, "{vault://") != NULL)
            continue;
        path = absolute_items(v->text, list ? "," : "", cwd);
        sb_settings_set_text(v, path);
        free(path);
    }
}

void
sb_settings_derive(sb_settings_t *s)
{
    derive_prefix(s);
    derive_paths(s);
    derive_tls(s);
    derive_directives(s);
    derive_user(s);
    /* What a renamed setting shows is what its successor has. */
    for (size_t i = 0; i < sb_settings_rows_n; i++)
        if (sb_settings_rows[i].alias_of != NULL && !(sb_settings_rows[i].flags & SB_SETTING_DEPRECATED))
            sb_settings_set_text(&s->values[i], sb_settings_str(s, sb_settings_rows[i].alias_of));
}

static void
check_not_yet(sb_settings_t *s)
{
    if (strcmp(sb_settings_str(s, "database"), "sqlite") != 0)
        sb_settings_problem(s, "database = %s is not available yet in this version; use 'sqlite'", sb_settings_str(s, "database"));
    if (strcmp(sb_settings_str(s, "role"), "traditional") != 0)
        sb_settings_problem(s, "role = %s is not available yet in this version; use 'traditional'", sb_settings_str(s, "role"));
    if (sb_settings_bool(s, "wasm"))
        sb_settings_problem(s, "wasm = on is not available yet in this version");
    for (size_t i = 0; i < sb_settings_rows_n; i++) {
        const char *text = s->values[i].text;
        if (text != NULL && strstr(text, "{vault://") != NULL)
            sb_settings_problem(s, "%s: vault references are not available yet in this version", sb_settings_rows[i].name);
    }
    for (size_t i = 0; i < s->dynamic.n; i++)
        if (strstr(s->dynamic.v[i].value, "{vault://") != NULL)
            sb_settings_problem(s, "%s: vault references are not available yet in this version", s->dynamic.v[i].name);
}

static void
check_range(sb_settings_t *s, const char *name, double low, double high, bool integer, const char *rule)
{
    const value_t *v = sb_settings_value(s, name);

    if (v->text != NULL && (v->number < low || v->number > high || (integer && v->number != floor(v->number))))
        sb_settings_problem(s, "%s must be %s", name, rule);
}

static void
check_numbers(sb_settings_t *s)
{
    static const char *const args[] = {"lua_max_req_headers", "lua_max_resp_headers", "lua_max_uri_args", "lua_max_post_args"};
    static const char *const keepalive[] = {"upstream_keepalive_pool_size", "upstream_keepalive_max_requests",
                                            "upstream_keepalive_idle_timeout"};

    for (size_t i = 0; i < 4; i++)
        check_range(s, args[i], 1, 1000, true, "an integer between 1 and 1000");
    for (size_t i = 0; i < 3; i++)
        check_range(s, keepalive[i], 0, HUGE_VAL, false, "0 or greater");
    check_range(s, "pg_max_concurrent_queries", 0, HUGE_VAL, true, "an integer greater than or equal to 0");
    check_range(s, "pg_semaphore_timeout", 0, HUGE_VAL, true, "an integer greater than or equal to 0");
    check_range(s, "tracing_sampling_rate", 0, 1, false, "a number between 0 and 1");
    check_range(s, "cluster_data_plane_purge_delay", 60, HUGE_VAL, false, "60 or greater");
    check_range(s, "cluster_max_payload", 4194304, HUGE_VAL, false, "4194304 (4MB) or greater");
    if (sb_settings_num(s, "worker_state_update_frequency") <= 0)
        sb_settings_problem(s, "worker_state_update_frequency must be greater than 0");
}

static void
check_certificates(sb_settings_t *s)
{
    static const char *const kinds[] = {"ssl", "admin_ssl", "status_ssl", "admin_gui_ssl"};

    for (size_t i = 0; i < 4; i++) {
        char *cert = sb_asprintf("%s_cert", kinds[i]), *key = sb_asprintf("%s_cert_key", kinds[i]);
        size_t certs, keys;
        const char *const *names[2] = {sb_settings_list(s, cert, &certs), sb_settings_list(s, key, &keys)};

        if (certs != keys)
            sb_settings_problem(s, "%s: must have the same number of certificates and keys (%s)", cert, key);
        for (size_t k = 0; k < certs + keys; k++) {
            const char *file = k < certs ? names[0][k] : names[1][k - certs];
            if (access(file, F_OK) != 0)
                sb_settings_problem(s, "%s: no such file at %s", k < certs ? cert : key, k < certs ? file : "the given path");
        }
        free(cert);
        free(key);
    }
}

/* The path is not said of a secret: somebody may have given the key itself. */
static void
check_file(sb_settings_t *s, const char *name)
{
    const char *path = sb_settings_str(s, name), *shown;
    struct stat st;

    if (path == NULL)
        return;
    shown = sb_settings_rows[sb_settings_row_index(name)].flags & SB_SETTING_SENSITIVE ? "the given path" : path;
    if (stat(path, &st) != 0)
        sb_settings_problem(s, "%s: no such file at %s", name, shown);
    else if (!S_ISREG(st.st_mode) || st.st_size > SB_SETTINGS_FILE_MAX)
        sb_settings_problem(s, "%s: not a file of at most %d bytes: %s", name, SB_SETTINGS_FILE_MAX, shown);
}

static void
check_files(sb_settings_t *s)
{
    static const char *const names[] = {"error_template_html", "error_template_json", "error_template_plain",
                                        "error_template_xml",  "client_ssl_cert",     "client_ssl_cert_key"};
    bool cert = sb_settings_str(s, "client_ssl_cert") != NULL, key = sb_settings_str(s, "client_ssl_cert_key") != NULL;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        check_file(s, names[i]);
    if (cert && !key)
        sb_settings_problem(s, "client_ssl_cert_key must be specified");
    if (key && !cert)
        sb_settings_problem(s, "client_ssl_cert must be specified");
}

static bool
valid_ip_or_cidr(const char *text)
{
    char ip[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    unsigned char raw[16];
    long bits = 0;
    char *end;

    if (strcmp(text, "unix:") == 0)
        return true;
    if (len >= sizeof(ip))
        return false;
    memcpy(ip, text, len);
    ip[len] = '\0';
    if (slash != NULL) {
        if (slash[1] < '0' || slash[1] > '9')
            return false;
        bits = strtol(slash + 1, &end, 10);
        if (*end != '\0')
            return false;
    }
    if (inet_pton(AF_INET, ip, raw) == 1)
        return bits <= 32;
    return inet_pton(AF_INET6, ip, raw) == 1 && bits <= 128;
}

static bool
valid_port(const char **p)
{
    char *end;
    long port = **p >= '0' && **p <= '9' ? strtol(*p, &end, 10) : 0;

    if (port < 1 || port > 65535)
        return false;
    *p = end;
    return true;
}

static void
check_port_maps(sb_settings_t *s)
{
    size_t n;
    const char *const *maps = sb_settings_list(s, "port_maps", &n);

    for (size_t i = 0; i < n; i++) {
        const char *p = maps[i];
        if (!valid_port(&p) || *p++ != ':' || !valid_port(&p) || *p != '\0')
            sb_settings_problem(s, "port_maps: invalid port mapping: '%s' (expected <public port>:<port>)", maps[i]);
    }
}

static void
check_addresses(sb_settings_t *s)
{
    size_t n;
    const char *const *ips = sb_settings_list(s, "trusted_ips", &n);
    const char *path = sb_settings_str(s, "admin_gui_path"), *proxy = sb_settings_str(s, "proxy_server");

    for (size_t i = 0; i < n; i++)
        if (!valid_ip_or_cidr(ips[i]))
            sb_settings_problem(s, "trusted_ips: invalid CIDR or IP address: '%s'", ips[i]);
    if (path[0] != '/' || (path[1] != '\0' && path[strlen(path) - 1] == '/'))
        sb_settings_problem(s, "admin_gui_path must start with a slash ('/') and must not end with one");
    if (proxy != NULL && strncmp(proxy, "http://", 7) != 0 && strncmp(proxy, "https://", 8) != 0)
        sb_settings_problem(s, "proxy_server missing scheme: only 'http' and 'https' are supported");
    else if (proxy != NULL && strpbrk(strstr(proxy, "//") + 2, "/?#") != NULL) /* may hold a password */
        sb_settings_problem(s, "proxy_server: only scheme, host and port are supported, without path or query: '******'");
    check_port_maps(s);
}

static void
check_workers(sb_settings_t *s)
{
    const char *text = sb_settings_str(s, "nginx_main_worker_processes");
    char *end;
    long n = strtol(text, &end, 10);

    if (strcmp(text, "auto") != 0 && (n < 1 || n > 1024 || *end != '\0'))
        sb_settings_problem(s, "nginx_main_worker_processes must be 'auto' or a number from 1 to 1024: '%s'", text);
}

static void
check_words(sb_settings_t *s)
{
    size_t n;

    sb_settings_list(s, "tracing_instrumentations", &n);
    if (n > 1 && sb_settings_list_has(s, "tracing_instrumentations", "off"))
        sb_settings_problem(s, "tracing_instrumentations: 'off' excludes other values");
    sb_settings_list(s, "cluster_dp_labels", &n);
    if (n != 0 && strcmp(sb_settings_str(s, "role"), "data_plane") != 0)
        sb_settings_problem(s, "cluster_dp_labels can only be set on a data plane (role = data_plane)");
    if (sb_settings_bool(s, "cluster_use_proxy") && sb_settings_str(s, "proxy_server") == NULL)
        sb_settings_problem(s, "cluster_use_proxy is turned on but no proxy_server is configured");
    check_workers(s);
    sb_settings_list(s, "plugins", &n);
    if (n > 1 && sb_settings_list_has(s, "plugins", "off"))
        sb_settings_problem(s, "plugins: 'off' excludes other values");
}

void
sb_settings_check(sb_settings_t *s)
{
    check_not_yet(s);
    check_numbers(s);
    check_certificates(s);
    check_files(s);
    check_addresses(s);
    check_words(s);
}
