/*
 * The nginx module: directives, the configuration of a cycle, registration of handlers and filters. The work is elsewhere; start
 * reading a request in phases.c.
 *
 *     http {
 *         silverback_prefix P;              reads P/.kong_env
 *         silverback_trusted FILE DEPTH;    authorities for services that are verified and name none
 *         server {
 *             silverback_proxy on;          gateway headers and error bodies for all that this server answers
 *             location / { proxy_pass https://silverback_upstream; grpc_pass $silverback_grpc; … silverback_location plain; }
 *             location @silverback_lua { proxy_pass, grpc_pass … silverback_location lua; … Lua hooks … }
 *             error_page 494 = @silverback_494;
 *             location @silverback_494 { silverback_error 494; }
 *         server {
 *             location / { silverback_status; } the Status API
 *
 * proxy_pass in a location only makes the proxy module's directives apply there; the exchange is our own (upstream.c). grpc_pass does
 * the same for its module's, and leaves its handler, which silverback_location takes over for grpc.c.
 */
#include "proxy/out.h"
#include "proxy/proxy_int.h"
#include "proxy/tls.h"

#include <strings.h>

sb_conf_t *sb_conf;

extern ngx_module_t ngx_http_proxy_module;

static void *
create_main_conf(ngx_conf_t *cf)
{
    sb_conf_t *conf = ngx_pcalloc(cf->pool, sizeof(*conf));

    if (conf != NULL)
        conf->realip_index = NGX_ERROR;
    return conf;
}

static void *
create_loc_conf(ngx_conf_t *cf)
{
    sb_loc_conf_t *conf = ngx_pcalloc(cf->pool, sizeof(*conf));

    if (conf != NULL)
        conf->proxy = NGX_CONF_UNSET;
    return conf;
}

static char *
merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    sb_loc_conf_t *prev = parent, *conf = child;

    ngx_conf_merge_value(conf->proxy, prev->proxy, 0);
    return NGX_CONF_OK;
}

/* ---- what the settings say, in the form that requests need ---- */

static const struct {
    const char *token;
    uint32_t bits;
} header_tokens[] = {
    {"server_tokens", SB_H_SERVER | SB_H_VIA},
    {"latency_tokens", SB_H_PROXY_LATENCY | SB_H_RESPONSE_LATENCY | SB_H_UPSTREAM_LATENCY},
    {"Server", SB_H_SERVER},
    {"Via", SB_H_VIA},
    {"X-Kong-Proxy-Latency", SB_H_PROXY_LATENCY},
    {"X-Kong-Response-Latency", SB_H_RESPONSE_LATENCY},
    {"X-Kong-Upstream-Latency", SB_H_UPSTREAM_LATENCY},
    {"X-Kong-Upstream-Status", SB_H_UPSTREAM_STATUS},
    {"X-Kong-Request-Id", SB_H_REQUEST_ID},
};

/* "off" counts only as the first item. */
static uint32_t
header_bits(const sb_settings_t *s)
{
    size_t n;
    const char *const *items = sb_settings_list(s, "headers", &n);
    uint32_t bits = 0;

    if (n != 0 && strcasecmp(items[0], "off") == 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        for (size_t t = 0; t < sizeof(header_tokens) / sizeof(header_tokens[0]); t++)
            if (strcasecmp(items[i], header_tokens[t].token) == 0)
                bits |= header_tokens[t].bits;
    return bits;
}

static bool
upstream_request_id(const sb_settings_t *s)
{
    size_t n;
    const char *const *items = sb_settings_list(s, "headers_upstream", &n);

    if (n != 0 && strcasecmp(items[0], "off") == 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(items[i], "x-kong-request-id") == 0)
            return true;
    return false;
}

static char *
read_trusted(ngx_conf_t *cf, sb_conf_t *conf)
{
    size_t n;
    const char *const *items = sb_settings_list(conf->settings, "trusted_ips", &n);
    ngx_str_t name = ngx_string("realip_remote_addr");

    if (n == 0)
        return NGX_CONF_OK;
    conf->trusted = ngx_array_create(cf->pool, n, sizeof(ngx_cidr_t));
    conf->realip_index = ngx_http_get_variable_index(cf, &name);
    if (conf->trusted == NULL || conf->realip_index == NGX_ERROR)
        return NGX_CONF_ERROR;
    for (size_t i = 0; i < n; i++) {
        ngx_cidr_t *cidr = ngx_array_push(conf->trusted);
        ngx_str_t text = {strlen(items[i]), (u_char *)items[i]};
        if (cidr == NULL)
            return NGX_CONF_ERROR;
        ngx_memzero(cidr, sizeof(*cidr));
        if (strcmp(items[i], "unix:") == 0)
            cidr->family = AF_UNIX;
        else if (ngx_ptocidr(&text, cidr) == NGX_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "trusted_ips: invalid address \"%V\"", &text);
            return NGX_CONF_ERROR;
        }
    }
    return NGX_CONF_OK;
}

/* port_maps entries are public:internal; requests know the internal one. */
static char *
read_port_maps(ngx_conf_t *cf, sb_conf_t *conf)
{
    size_t n;
    const char *const *items = sb_settings_list(conf->settings, "port_maps", &n);

    if (n == 0)
        return NGX_CONF_OK;
    conf->port_maps = ngx_array_create(cf->pool, n, sizeof(sb_port_map_t));
    if (conf->port_maps == NULL)
        return NGX_CONF_ERROR;
    for (size_t i = 0; i < n; i++) {
        unsigned to, from;
        sb_port_map_t *map;
        if (sscanf(items[i], "%5u:%5u", &to, &from) != 2 || to > 65535 || from > 65535)
            continue;
        map = ngx_array_push(conf->port_maps);
        if (map == NULL)
            return NGX_CONF_ERROR;
        *map = (sb_port_map_t){(in_port_t)from, (in_port_t)to};
    }
    return NGX_CONF_OK;
}

/* Of the listeners with the flag quic, under the ports that clients know. */
static char *
read_alt_svcs(ngx_conf_t *cf, sb_conf_t *conf)
{
    size_t n;
    const sb_listen_t *l = sb_settings_listen(conf->settings, "proxy_listen", &n);

    for (size_t i = 0; i < n; i++) {
        sb_alt_svc_t *alt;
        u_char *text;
        if (!l[i].quic)
            continue;
        if (conf->alt_svcs == NULL && (conf->alt_svcs = ngx_array_create(cf->pool, n, sizeof(*alt))) == NULL)
            return NGX_CONF_ERROR;
        alt = ngx_array_push(conf->alt_svcs);
        text = ngx_pnalloc(cf->pool, sizeof("h3=\":65535\"; ma=86400"));
        if (alt == NULL || text == NULL)
            return NGX_CONF_ERROR;
        alt->port = l[i].port;
        alt->value.len = (size_t)(ngx_sprintf(text, "h3=\":%ui\"; ma=86400", (ngx_uint_t)sb_public_port(conf, l[i].port)) - text);
        alt->value.data = text;
    }
    return NGX_CONF_OK;
}

#define CACHE_BYTES_MAX (32u * 1024 * 1024)

static size_t
cache_bytes(const sb_settings_t *s)
{
    const char *text = sb_settings_str(s, "mem_cache_size");
    ngx_str_t size = {strlen(text), (u_char *)text};
    off_t bytes = ngx_parse_offset(&size);

    return bytes <= 0 || bytes > (off_t)CACHE_BYTES_MAX ? CACHE_BYTES_MAX : (size_t)bytes;
}

/* Files of users' own, read here because only the master may be allowed to. */
static char *
read_templates(ngx_conf_t *cf, sb_conf_t *conf)
{
    static const char *const names[] = {[SB_ERROR_JSON] = "error_template_json",
                                        [SB_ERROR_HTML] = "error_template_html",
                                        [SB_ERROR_XML] = "error_template_xml",
                                        [SB_ERROR_PLAIN] = "error_template_plain"};
    sb_err_t err = {0};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        sb_buf_t text = {0};
        char *copy;
        if (sb_settings_str(conf->settings, names[i]) == NULL)
            continue;
        if (sb_settings_read(conf->settings, names[i], &text, &err) != SB_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s", err.message);
            sb_err_clear(&err);
            sb_buf_free(&text);
            return NGX_CONF_ERROR;
        }
        copy = ngx_pnalloc(cf->pool, text.len + 1);
        if (copy != NULL) {
            ngx_memcpy(copy, text.data, text.len);
            conf->error_template[i] = (sb_str_t){copy, text.len};
        }
        sb_buf_free(&text);
        if (copy == NULL)
            return NGX_CONF_ERROR;
    }
    return NGX_CONF_OK;
}

static void
free_settings(void *data)
{
    sb_settings_free(data);
}

static char *
read_settings(ngx_conf_t *cf, sb_conf_t *conf)
{
    const sb_settings_t *s = conf->settings;

    conf->headers = header_bits(s);
    conf->upstream_request_id = upstream_request_id(s);
    conf->debug_header = sb_settings_bool(s, "allow_debug_header");
    conf->keepalive_size = (ngx_uint_t)sb_settings_int(s, "upstream_keepalive_pool_size");
    conf->keepalive_requests = (ngx_uint_t)sb_settings_int(s, "upstream_keepalive_max_requests");
    conf->keepalive_timeout = (ngx_msec_t)(sb_settings_num(s, "upstream_keepalive_idle_timeout") * 1000);
    conf->cache_bytes = cache_bytes(s);
    conf->error_default = sb_error_type_of(sb_settings_str(s, "error_default_type"));
    if (read_templates(cf, conf) != NGX_CONF_OK || read_port_maps(cf, conf) != NGX_CONF_OK || read_alt_svcs(cf, conf) != NGX_CONF_OK)
        return NGX_CONF_ERROR;
    return read_trusted(cf, conf);
}

/* The same in every cycle. */
static void
init_entities(void)
{
    static bool done;

    if (!done)
        sb_entities_init();
    done = true;
}

/* A preflight tries settings that the node does not have yet; see src/cli/preflight.c. */
static const char *
settings_path(const ngx_str_t *prefix, char *buf, size_t size)
{
    const char *trial = getenv("SILVERBACK_PREFLIGHT") != NULL ? getenv("SILVERBACK_PREFLIGHT_ENV") : NULL;

    if (trial != NULL)
        return trial;
    snprintf(buf, size, "%s/.kong_env", (char *)prefix->data);
    return buf;
}

/* Ends a preflight that Lua has not ended: no Lua plugin is enabled, and everything up to here was fine. */
static void
end_preflight(void)
{
    const char *path = getenv("SILVERBACK_PREFLIGHT");
    FILE *report = path != NULL ? fopen(path, "we") : NULL;

    if (path == NULL)
        return;
    exit(report != NULL && fclose(report) == 0 ? 0 : 1);
}

static char *
set_prefix(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    sb_conf_t *conf = data;
    ngx_str_t *value = cf->args->elts;
    ngx_pool_cleanup_t *cln;
    char path[NGX_MAX_PATH];
    sb_err_t err = {0};

    if (conf->settings != NULL)
        return "is duplicate";
    init_entities();
    conf->prefix = value[1];
    if (value[1].len + sizeof("/.kong_env") > sizeof(path))
        return "is too long";
    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL)
        return NGX_CONF_ERROR;
    if (sb_settings_load_env_file(settings_path(&value[1], path, sizeof(path)), &conf->settings, &err) != SB_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "cannot read settings: %s", err.message);
        sb_err_clear(&err);
        return NGX_CONF_ERROR;
    }
    cln->handler = free_settings;
    cln->data = conf->settings;
    return read_settings(cf, conf);
}

static char *
set_trusted(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    sb_conf_t *conf = data;
    ngx_str_t *value = cf->args->elts;

    conf->trusted_file = value[1];
    conf->trusted_depth = ngx_atoi(value[2].data, value[2].len);
    return conf->trusted_depth == NGX_ERROR ? "takes a file and a number" : NGX_CONF_OK;
}

/* ---- locations ---- */

static char *
set_location(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    sb_conf_t *conf = ngx_http_conf_get_module_main_conf(cf, ngx_http_silverback_module);
    ngx_http_core_loc_conf_t *clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    ngx_str_t *value = cf->args->elts;
    ngx_uint_t lua = ngx_strcmp(value[1].data, "lua") == 0;

    if (!lua && ngx_strcmp(value[1].data, "plain") != 0)
        return "takes \"plain\" or \"lua\"";
    if (clcf->handler == NULL)
        return "must stand after grpc_pass";
    conf->grpc = clcf->handler;
    clcf->handler = sb_content_handler;
    conf->location[lua] = ((ngx_http_conf_ctx_t *)cf->ctx)->loc_conf;
    return NGX_CONF_OK;
}

static char *
set_error(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    sb_loc_conf_t *conf = data;
    ngx_http_core_loc_conf_t *clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    ngx_str_t *value = cf->args->elts;

    conf->error = ngx_atoi(value[1].data, value[1].len);
    if (conf->error == NGX_ERROR)
        return "takes a number";
    clcf->handler = sb_error_handler;
    return NGX_CONF_OK;
}

static char *
set_status(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    ngx_http_core_loc_conf_t *clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    clcf->handler = sb_status_handler;
    return NGX_CONF_OK;
}

/* ---- registration ---- */

static ngx_int_t
add_handler(ngx_http_core_main_conf_t *cmcf, ngx_uint_t phase, ngx_http_handler_pt handler)
{
    ngx_http_handler_pt *h = ngx_array_push(&cmcf->phases[phase].handlers);

    if (h == NULL)
        return NGX_ERROR;
    *h = handler;
    return NGX_OK;
}

static ngx_int_t
postconfiguration(ngx_conf_t *cf)
{
    ngx_http_core_main_conf_t *cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    sb_conf_t *conf = ngx_http_conf_get_module_main_conf(cf, ngx_http_silverback_module);

    if (conf->settings == NULL || conf->location[0] == NULL)
        return NGX_OK;
    conf->proxy = conf->location[0][ngx_http_proxy_module.ctx_index];
    if (conf->proxy->upstream == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "silverback_location needs proxy_pass to an upstream block");
        return NGX_ERROR;
    }
    conf->hides = conf->proxy->hide_headers != NULL && conf->proxy->hide_headers != NGX_CONF_UNSET_PTR;
    conf->proxy->upstream->peer.init = sb_peer_init;
    if (add_handler(cmcf, NGX_HTTP_REWRITE_PHASE, sb_rewrite_handler) != NGX_OK ||
        add_handler(cmcf, NGX_HTTP_ACCESS_PHASE, sb_access_handler) != NGX_OK)
        return NGX_ERROR;
    end_preflight();
    if (sb_tls_install(cf, conf) != NGX_OK)
        return NGX_ERROR;
    sb_filters_install();
    sb_out_hooks = (sb_out_hooks_t){sb_out_header_filter, sb_log_handler, sb_worker_init, sb_worker_exit};
    return NGX_OK;
}

sb_conf_t *
sb_conf_of(ngx_cycle_t *cycle)
{
    return ngx_http_cycle_get_module_main_conf(cycle, ngx_http_silverback_module);
}

static ngx_command_t commands[] = {
    {ngx_string("silverback_prefix"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1, set_prefix, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL},
    {ngx_string("silverback_trusted"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE2, set_trusted, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL},
    {ngx_string("silverback_proxy"), NGX_HTTP_SRV_CONF | NGX_CONF_FLAG, ngx_conf_set_flag_slot, NGX_HTTP_LOC_CONF_OFFSET,
     offsetof(sb_loc_conf_t, proxy), NULL},
    {ngx_string("silverback_status"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, set_status, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
    {ngx_string("silverback_location"), NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, set_location, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
    {ngx_string("silverback_error"), NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, set_error, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
    ngx_null_command};

static ngx_http_module_t module_ctx = {sb_variables_add, postconfiguration, create_main_conf, NULL, NULL, NULL,
                                       create_loc_conf,  merge_loc_conf};

SB_EXPORT ngx_module_t ngx_http_silverback_module = {NGX_MODULE_V1, &module_ctx, commands, NGX_HTTP_MODULE,      NULL, NULL, NULL, NULL,
                                                     NULL,          NULL,        NULL,     NGX_MODULE_V1_PADDING};

SB_EXPORT ngx_module_t *ngx_modules[] = {&ngx_http_silverback_module, NULL};
SB_EXPORT char *ngx_module_names[] = {"ngx_http_silverback_module", NULL};
/* Among the filters, between Lua's module and the copy filter: ours run before Lua's, on bytes in memory. */
SB_EXPORT char *ngx_module_order[] = {"ngx_http_silverback_module", "ngx_http_copy_filter_module", NULL};
