/* Settings from file, environment and defaults to typed values, with every complaint the interface words exactly. */
#include "core/settings/settings.c"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MAX_ENV 16

/* Loads from a file's text (NULL: an empty file) and "name=value" variables given without KONG_ and in lower case. */
static int
load(const char *text, const char *const *vars, sb_settings_t **out, sb_err_t *err)
{
    char path[] = "/tmp/sb-settings-XXXXXX", *env[MAX_ENV + 1] = {NULL};
    sb_settings_source_t src = {.conf_file = path, .environ = env};
    int fd = mkstemp(path), rc;
    size_t n = 0;

    assert_true(fd >= 0);
    if (text != NULL)
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    for (; vars != NULL && vars[n] != NULL; n++) {
        assert_true(n < MAX_ENV);
        env[n] = sb_asprintf("KONG_%s", vars[n]);
        for (char *p = env[n]; *p != '='; p++)
            *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
    }
    rc = sb_settings_load(&src, out, err);
    for (size_t i = 0; i < n; i++)
        free(env[i]);
    unlink(path);
    return rc;
}

static sb_settings_t *
loaded(const char *text, const char *var)
{
    const char *vars[] = {var, NULL};
    sb_settings_t *s = NULL;
    sb_err_t err = {0};

    if (load(text, vars, &s, &err) != SB_OK)
        fail_msg("%s", err.message);
    return s;
}

static void
complains(const char *var, const char *message)
{
    const char *vars[] = {var, NULL};
    sb_settings_t *s = NULL;
    sb_err_t err = {0};

    assert_int_equal(load(NULL, vars, &s, &err), SB_DECLINED);
    assert_null(s);
    assert_string_equal(err.message, message);
    sb_err_clear(&err);
}

static void
table_is_in_order(void **state)
{
    for (size_t i = 0; i < sb_settings_rows_n; i++) {
        const sb_setting_row_t *row = &sb_settings_rows[i];
        assert_true(i == 0 || strcmp(sb_settings_rows[i - 1].name, row->name) < 0);
        assert_true(row->type != SB_SETTING_ENUM || row->choices != NULL);
        assert_true(row->type == SB_SETTING_ENUM || row->type == SB_SETTING_LIST || row->choices == NULL);
        assert_true(row->text != NULL && row->text[0] != '\0');
        assert_true(row->alias_of == NULL || sb_settings_row_index(row->alias_of) >= 0);
    }
}

static void
defaults(void **state)
{
    sb_settings_t *s = loaded(NULL, NULL);
    size_t n;
    const sb_listen_t *l = sb_settings_listen(s, "admin_listen", &n);

    assert_string_equal(sb_settings_str(s, "database"), "sqlite");
    assert_string_equal(sb_settings_str(s, "prefix"), "/usr/local/kong");
    assert_int_equal(n, 2);
    assert_string_equal(l[0].address, "127.0.0.1");
    assert_int_equal(l[1].port, 8444);
    sb_settings_listen(s, "stream_listen", &n);
    assert_int_equal(n, 0);
    assert_true(sb_settings_list_has(s, "headers", "latency_tokens"));
    assert_int_equal(sb_settings_int(s, "upstream_keepalive_pool_size"), 512);
    assert_null(sb_settings_str(s, "pg_password"));
    assert_false(sb_settings_is_set(s, "log_level"));
    sb_settings_warnings(s, &n);
    assert_int_equal(n, 0);
    sb_settings_free(s);
}

static void
environment_beats_file(void **state)
{
    sb_settings_t *s = loaded("log_level = debug\nmem_cache_size = 1m\n", "log_level=warn");

    assert_string_equal(sb_settings_str(s, "log_level"), "warn");
    assert_string_equal(sb_settings_str(s, "mem_cache_size"), "1m");
    assert_true(sb_settings_is_set(s, "mem_cache_size"));
    sb_settings_free(s);
}

static void
types(void **state)
{
    sb_settings_t *s = loaded("client_ssl = true\nanonymous_reports = false\nnginx_daemon = false\ntracing_sampling_rate = 0.5\n"
                              "plugins = bundled, a ,,b\n",
                              NULL);
    size_t n;
    const char *const *plugins = sb_settings_list(s, "plugins", &n);

    assert_true(sb_settings_bool(s, "client_ssl"));
    assert_false(sb_settings_bool(s, "anonymous_reports"));
    assert_string_equal(sb_settings_str(s, "nginx_main_daemon"), "off");
    assert_true(sb_settings_num(s, "tracing_sampling_rate") == 0.5);
    assert_int_equal(n, 3);
    assert_string_equal(plugins[1], "a");
    assert_string_equal(plugins[2], "b");
    sb_settings_free(s);
}

static void
exact_complaints(void **state)
{
    complains("lua_max_req_headers=many", "lua_max_req_headers is not a number: 'many'");
    complains("db_cache_ttl=", "db_cache_ttl is not a number: ''");
    complains("client_ssl=yes", "client_ssl is not a boolean: 'yes'");
    complains("log_level=loud", "log_level has an invalid value: 'loud' (debug, info, notice, warn, error, crit, alert, emerg)");
    complains("proxy_listen=8000", "proxy_listen must be of form: [off] | <ip>:<port> [flags], [... next entry ...]");
    complains("proxy_listen=0.0.0.0:1 udp", "proxy_listen must be of form: [off] | <ip>:<port> [flags], [... next entry ...]");
    complains("proxy_listen=0.0.0.0:1 ssl, 0.0.0.0:2 quic", "proxy_listen: '0.0.0.0:2' has the flag quic: it needs ssl in the same entry");
    complains("proxy_listen=0.0.0.0:1 ssl quic proxy_protocol",
              "proxy_listen: '0.0.0.0:1' has the flag quic: it cannot stand with proxy_protocol, which datagrams do not carry");
    complains("admin_listen=[::1]:1 ssl quic", "admin_listen: '[::1]:1' has the flag quic: proxy_listen alone takes it");
    complains("stream_listen=0.0.0.0:1 http2", "stream_listen must be of form: [off] | <ip>:<port> [flags], [... next entry ...]");
    complains("stream_listen=0.0.0.0:1 reuseport deferred",
              "stream_listen must be of form: [off] | <ip>:<port> [flags], [... next entry ...]");
    complains("pg_password={vault://env/p}", "pg_password: vault references are not available yet in this version");
    complains("nginx_http_x={vault://env/p}", "nginx_http_x: vault references are not available yet in this version");
    complains("error_template_json=/nowhere", "error_template_json: no such file at /nowhere");
    complains("error_template_json=/no,where", "error_template_json: no such file at /no,where");
    complains("client_ssl_cert=/etc/hosts", "client_ssl_cert_key must be specified");
    complains("client_ssl_cert_key=the key itself",
              "client_ssl_cert_key: no such file at the given path\nclient_ssl_cert must be specified");
    complains("lua_max_req_headers=0", "lua_max_req_headers must be an integer between 1 and 1000");
    complains("lua_max_uri_args=1.5", "lua_max_uri_args must be an integer between 1 and 1000");
    complains("upstream_keepalive_pool_size=-1", "upstream_keepalive_pool_size must be 0 or greater");
    complains("trusted_ips=10.0.0.0/8, 1.2.3.4/33", "trusted_ips: invalid CIDR or IP address: '1.2.3.4/33'");
    complains("trusted_ips=::/129", "trusted_ips: invalid CIDR or IP address: '::/129'");
    complains("ssl_cert=/etc/hosts", "ssl_cert: must have the same number of certificates and keys (ssl_cert_key)");
    complains("plugins=off,a", "plugins: 'off' excludes other values");
    complains("dns_order=LAST, MX", "dns_order has an invalid value: 'MX' (LAST, SRV, A, AAAA, CNAME)");
    complains("resolver_family=A,CNAME", "resolver_family has an invalid value: 'CNAME' (A, AAAA, SRV)");
    complains("headers_upstream=server", "headers_upstream has an invalid value: 'server' (X-Kong-Request-Id, off)");
    complains(
        "headers=via, tokens",
        "headers has an invalid value: 'tokens' (Server, Via, X-Kong-Proxy-Latency, X-Kong-Response-Latency, X-Kong-Upstream-Latency, "
        "X-Kong-Admin-Latency, X-Kong-Upstream-Status, X-Kong-Request-Id, server_tokens, latency_tokens, off)");
    complains("cluster_dp_labels=a:b", "cluster_dp_labels can only be set on a data plane (role = data_plane)");
    complains("cluster_use_proxy=on", "cluster_use_proxy is turned on but no proxy_server is configured");
    complains("proxy_server=http://h:1/x", "proxy_server: only scheme, host and port are supported, without path or query: '******'");
    complains("proxy_server=ftp://h", "proxy_server missing scheme: only 'http' and 'https' are supported");
    complains("nginx_worker_processes=many", "nginx_main_worker_processes must be 'auto' or a number from 1 to 1024: 'many'");
    complains("port_maps=80:8000, 443", "port_maps: invalid port mapping: '443' (expected <public port>:<port>)");
    complains("database=postgres", "database = postgres is not available yet in this version; use 'sqlite'");
    complains("database=cassandra", "database has an invalid value: 'cassandra' (sqlite, postgres, off)");
}

/* Files are named from where the command was given; lists item by item. */
static void
relative_paths(void **state)
{
    char *cwd = getcwd(NULL, 0), *expected = sb_asprintf("%s/a.pem, /b.pem, %s/c/d.pem", cwd, cwd);
    sb_settings_t *s = settings_new();

    sb_settings_set_text(sb_settings_value(s, "ssl_cert"), " a.pem,/b.pem,  c/d.pem");
    fill_defaults(s);
    sb_settings_derive(s);
    assert_string_equal(sb_settings_str(s, "ssl_cert"), expected);
    assert_null(sb_settings_str(s, "client_ssl_cert"));
    sb_settings_free(s);
    free(expected);
    free(cwd);
}

static void
trusted_file(void **state)
{
    static const char *const rows[][2] = {{"/a.pem", "/a.pem"}, {"ca/a.pem", "/p/ca/a.pem"}, {"/a.pem,system", "/p/.ca_combined"}};
    const char *vars[] = {"prefix=/p", NULL, NULL};
    bool system = access(SB_SYSTEM_CA, R_OK) == 0;
    char *file;

    for (size_t i = 0; i < 4; i++) {
        sb_settings_t *s = NULL;
        char *var = i < 3 ? sb_asprintf("lua_ssl_trusted_certificate=%s", rows[i][0]) : NULL;

        vars[1] = var;
        assert_int_equal(load(NULL, vars, &s, NULL), SB_OK);
        file = sb_settings_trusted_file(s);
        if (i < 3)
            assert_string_equal(file, rows[i][1]);
        else
            assert_true(system ? strcmp(file, SB_SYSTEM_CA) == 0 : file == NULL);
        free(file);
        free(var);
        sb_settings_free(s);
    }
}

static void
all_problems_at_once(void **state)
{
    const char *vars[] = {"log_level=loud", "client_ssl=yes", NULL};
    sb_settings_t *s = NULL;
    sb_err_t err = {0};

    assert_int_equal(load("db_cache_ttl = x\n", vars, &s, &err), SB_DECLINED);
    assert_string_equal(err.message, "client_ssl is not a boolean: 'yes'\ndb_cache_ttl is not a number: 'x'\n"
                                     "log_level has an invalid value: 'loud' (debug, info, notice, warn, error, crit, alert, emerg)");
    sb_err_clear(&err);
}

static void
good_addresses(void **state)
{
    sb_settings_t *s = loaded("trusted_ips = 10.0.0.0/8, ::1, 2001:db8::/32, unix:\n", NULL);
    size_t n;

    sb_settings_list(s, "trusted_ips", &n);
    assert_int_equal(n, 4);
    sb_settings_free(s);
}

static void
aliases(void **state)
{
    sb_settings_t *s = loaded("nginx_worker_processes = 3\nreal_ip_header = X-Forwarded-For\n", NULL);

    assert_string_equal(sb_settings_str(s, "nginx_main_worker_processes"), "3");
    assert_string_equal(sb_settings_str(s, "nginx_proxy_real_ip_header"), "X-Forwarded-For");
    sb_settings_free(s);
    s = loaded("nginx_worker_processes = 3\nnginx_main_worker_processes = 5\n", NULL);
    assert_string_equal(sb_settings_str(s, "nginx_main_worker_processes"), "5");
    assert_string_equal(sb_settings_str(s, "nginx_worker_processes"), "5");
    sb_settings_free(s);
}

static void
warnings(void **state)
{
    sb_settings_t *s =
        loaded("no_such_thing = 1\nopentelemetry_tracing = all\ndb_update_frequency = 7\nlog_level = info\n", "another_unknown=2");
    size_t n;
    const char *const *w = sb_settings_warnings(s, &n);

    assert_int_equal(n, 4);
    assert_string_equal(w[0], "unknown setting 'no_such_thing' is ignored");
    assert_string_equal(w[1], "the configuration property 'opentelemetry_tracing' is deprecated, use 'tracing_instrumentations' instead");
    assert_string_equal(w[2], "setting 'db_update_frequency' has no effect in this version");
    assert_string_equal(w[3], "setting 'tracing_instrumentations' has no effect in this version");
    assert_true(sb_settings_list_has(s, "tracing_instrumentations", "all"));
    sb_settings_free(s);
}

static void
without_effect(void **state)
{
    sb_settings_t *s = loaded("nginx_wasm_a = 1\nnginx_stream_a = 1\npluginserver_x_socket = /s\nnginx_proxy_b = 2\n", NULL);
    size_t n;
    const char *const *w = sb_settings_warnings(s, &n);

    assert_int_equal(n, 2);
    assert_string_equal(w[0], "setting 'nginx_wasm_a' has no effect in this version");
    assert_string_equal(w[1], "setting 'pluginserver_x_socket' has no effect in this version");
    sb_settings_free(s);
}

static void
add_warning(const char *text, void *arg)
{
    sb_buf_addf(arg, "%s;", text);
}

static void
warnings_beside_problems(void **state)
{
    sb_buf_t b = {0};
    char *env[] = {(char *)"KONG_LOG_LEVEL=loud", (char *)"KONG_DB_UPDATE_FREQUENCY=7", NULL};
    sb_settings_source_t src = {.conf_file = "/dev/null", .environ = env, .warn = add_warning, .warn_arg = &b};
    sb_settings_t *s = NULL;
    sb_err_t err = {0};

    assert_int_equal(sb_settings_load(&src, &s, &err), SB_DECLINED);
    assert_string_equal(b.data, "setting 'db_update_frequency' has no effect in this version;");
    sb_err_clear(&err);
    sb_buf_free(&b);
}

static void
collect(const char *directive, const char *value, void *arg)
{
    sb_buf_addf(arg, "%s %s;", directive, value);
}

static void
injected_directives(void **state)
{
    sb_settings_t *s = loaded("nginx_upstream_b = 2\nnginx_upstream_a = 1 'x'\nnginx_upstream_c =\n", "nginx_http_upstream_keepalive=9");
    sb_buf_t b = {0};

    sb_settings_injected(s, "nginx_upstream_", collect, &b);
    assert_string_equal(b.data, "a 1 'x';b 2;");
    sb_buf_reset(&b);
    sb_settings_injected(s, "nginx_http_", collect, &b);
    assert_non_null(strstr(b.data, "client_max_body_size 0;"));
    assert_non_null(strstr(b.data, "ssl_protocols TLSv1.2 TLSv1.3;"));
    assert_null(strstr(b.data, "upstream_keepalive"));
    sb_buf_reset(&b);
    sb_settings_injected(s, "nginx_admin_", collect, &b);
    assert_string_equal(b.data, "client_body_buffer_size 10m;client_max_body_size 10m;");
    sb_buf_free(&b);
    sb_settings_free(s);
}

static void
tls_presets(void **state)
{
    sb_settings_t *s = loaded("ssl_cipher_suite = modern\nssl_protocols = TLSv1\n", NULL);

    assert_string_equal(sb_settings_str(s, "nginx_http_ssl_protocols"), "TLSv1.3");
    assert_null(sb_settings_str(s, "ssl_ciphers"));
    sb_settings_free(s);
    s = loaded("ssl_cipher_suite = custom\nssl_protocols = TLSv1.2\nssl_ciphers = AES256-SHA\n", NULL);
    assert_string_equal(sb_settings_str(s, "nginx_http_ssl_protocols"), "TLSv1.2");
    assert_string_equal(sb_settings_str(s, "ssl_ciphers"), "AES256-SHA");
    sb_settings_free(s);
}

static void
env_file_keeps_everything(void **state)
{
    sb_settings_t *s = loaded("pluginserver_x_socket = /a\\#b\nprefix = /tmp/x/\nlog_level = info\n", "lua_package_path=/a/?.lua;\\;\n#;;");
    char path[] = "/tmp/sb-env-XXXXXX";
    sb_settings_t *t = NULL;
    struct stat st;
    sb_err_t err = {0};

    close(mkstemp(path));
    sb_settings_set_text(sb_settings_value(s, "lua_package_path"), "a\\b\nc#d \\# e");
    assert_int_equal(sb_settings_write_env_file(s, path, &err), SB_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(sb_settings_load_env_file(path, &t, &err), SB_OK);
    for (size_t i = 0; i < sb_settings_rows_n; i++) {
        const char *a = s->values[i].text, *b = t->values[i].text;
        assert_true((a == NULL) == (b == NULL));
        if (a != NULL)
            assert_string_equal(a, b);
    }
    assert_string_equal(sb_settings_dynamic(t, "pluginserver_x_socket"), "/a#b");
    assert_string_equal(sb_settings_str(t, "prefix"), "/tmp/x");
    assert_true(sb_settings_is_set(t, "log_level") && !sb_settings_is_set(t, "mem_cache_size"));
    sb_settings_free(s);
    sb_settings_free(t);
    unlink(path);
}

static void
json_masks_secrets(void **state)
{
    sb_settings_t *s = loaded("pg_password = hunter2\nlog_level = info\n", NULL);
    json_t *j = sb_settings_json(s);

    assert_string_equal(json_string_value(json_object_get(j, "pg_password")), "******");
    assert_string_equal(json_string_value(json_object_get(j, "log_level")), "info");
    assert_int_equal(json_integer_value(json_object_get(j, "upstream_keepalive_pool_size")), 512);
    assert_true(json_is_array(json_object_get(j, "plugins")));
    assert_true(json_is_true(json_object_get(j, "anonymous_reports")));
    assert_string_equal(json_string_value(json_object_get(j, "real_ip_recursive")), "off");
    assert_null(json_object_get(j, "pg_schema"));
    json_decref(j);
    sb_settings_free(s);
}

static void
missing_file(void **state)
{
    sb_settings_source_t src = {.conf_file = "/nowhere/kong.conf"};
    sb_settings_t *s = NULL;
    sb_err_t err = {0};

    assert_int_equal(sb_settings_load(&src, &s, &err), SB_ERROR);
    assert_string_equal(err.message, "no file at: /nowhere/kong.conf (No such file or directory)");
    sb_err_clear(&err);
}

static void
prefix_lookup(void **state)
{
    char *env[] = {"KONG_PREFIX=/from/env/", "KONG_LOG_LEVEL=broken", NULL};
    sb_settings_source_t src = {.conf_file = "/dev/null", .environ = env};
    char *p = sb_settings_find_prefix(&src);

    assert_string_equal(p, "/from/env");
    free(p);
    src.prefix = "/given";
    p = sb_settings_find_prefix(&src);
    assert_string_equal(p, "/given");
    free(p);
    src = (sb_settings_source_t){.conf_file = "/dev/null"};
    p = sb_settings_find_prefix(&src);
    assert_string_equal(p, "/usr/local/kong");
    free(p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_in_order),
        cmocka_unit_test(defaults),
        cmocka_unit_test(environment_beats_file),
        cmocka_unit_test(types),
        cmocka_unit_test(exact_complaints),
        cmocka_unit_test(all_problems_at_once),
        cmocka_unit_test(good_addresses),
        cmocka_unit_test(aliases),
        cmocka_unit_test(warnings),
        cmocka_unit_test(without_effect),
        cmocka_unit_test(relative_paths),
        cmocka_unit_test(trusted_file),
        cmocka_unit_test(warnings_beside_problems),
        cmocka_unit_test(injected_directives),
        cmocka_unit_test(tls_presets),
        cmocka_unit_test(env_file_keeps_everything),
        cmocka_unit_test(json_masks_secrets),
        cmocka_unit_test(missing_file),
        cmocka_unit_test(prefix_lookup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
