/*
 * The entry to the Admin API: finds the route of a request, answers OPTIONS, HEAD, unknown paths and methods, adds the CORS headers,
 * and calls the route's handler. Everything runs on the store thread; a sb_admin_t is read-only once made.
 */
#include "core/admin/admin_int.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const method_names[SB_M_COUNT] = {"GET", "POST", "PUT", "PATCH", "DELETE"};

sb_admin_t *
sb_admin_new(const sb_admin_host_t *host)
{
    sb_admin_t *a = sb_calloc(sizeof(*a));

    a->magic = SB_ADMIN_MAGIC;
    a->host = *host;
    a->pool = sb_pool_new(8192);
    sb_admin_routes_build(a);
    return a;
}

void
sb_admin_free(sb_admin_t *a)
{
    if (a == NULL)
        return;
    SB_CHECK_MAGIC(a, SB_ADMIN_MAGIC);
    a->magic = 0;
    sb_pool_free(a->pool);
    free(a->routes);
    free(a->openapi);
    free(a);
}

static bool
ends_with(sb_str_t s, const char *tail)
{
    size_t n = strlen(tail);

    while (s.len != 0 && s.data[s.len - 1] == '/')
        s.len--;
    return s.len >= n && memcmp(s.data + s.len - n, tail, n) == 0;
}

bool
sb_admin_is_write(const sb_admin_request_t *req)
{
    if (sb_str_starts(req->path, SB_STR("/schemas/")) && ends_with(req->path, "/validate"))
        return false;
    for (enum sb_admin_method m = SB_M_POST; m < SB_M_COUNT; m++) {
        if (sb_str_eqc(req->method, method_names[m]))
            return true;
    }
    return false;
}

/* ---------- CORS ---------- */

/* The first of admin_gui_url's origins, or `origin` if it is among them. malloc'ed; NULL: none configured. */
static char *
gui_origin(const sb_settings_t *s, sb_str_t origin)
{
    size_t n = 0;
    const char *const *urls = s != NULL ? sb_settings_list(s, "admin_gui_url", &n) : NULL;
    char *first = NULL;

    for (size_t i = 0; i < n; i++) {
        const char *authority = strstr(urls[i], "://");
        size_t len = authority != NULL ? (size_t)(authority - urls[i]) + 3 : 0;

        len += strcspn(urls[i] + len, "/?#");
        if (sb_str_eq(origin, (sb_str_t){urls[i], len})) {
            free(first);
            return sb_strdup_len(urls[i], len);
        }
        if (first == NULL)
            first = sb_strdup_len(urls[i], len);
    }
    return first;
}

/* Header text must not smuggle line ends; nginx has refused those, other hosts may not. */
static char *
header_text(sb_str_t s, const char *fallback)
{
    if (s.len == 0 || memchr(s.data, '\n', s.len) != NULL || memchr(s.data, '\r', s.len) != NULL || memchr(s.data, '\0', s.len) != NULL)
        return sb_strdup_len(fallback, strlen(fallback));
    return sb_strdup_len(s.data, s.len);
}

void
sb_admin_add_cors(const sb_settings_t *s, sb_str_t asked, sb_admin_response_t *res)
{
    char *origin = gui_origin(s, asked);

    if (origin == NULL)
        origin = header_text(asked, "*");
    sb_admin_add_header(res, "Access-Control-Allow-Origin", origin);
    sb_admin_add_header(res, "Access-Control-Allow-Credentials", "true");
    if (strcmp(origin, "*") != 0)
        sb_admin_add_header(res, "Vary", "Origin");
    free(origin);
}

static int
options(sb_admin_call_t *c)
{
    char *allow = sb_admin_route_allow(c->route), *headers = header_text(c->req->acrh, "Content-Type");

    sb_admin_add_header(c->res, "Allow", allow);
    sb_admin_add_header(c->res, "Access-Control-Allow-Methods", allow);
    sb_admin_add_header(c->res, "Access-Control-Allow-Headers", headers);
    free(allow);
    free(headers);
    return sb_admin_answer_empty(c, 204);
}

/* ---------- one request ---------- */

static int
method_not_allowed(sb_admin_call_t *c)
{
    char *allow = sb_admin_route_allow(c->route);

    sb_admin_add_header(c->res, "Allow", allow);
    free(allow);
    return sb_admin_answer_message(c, 405, "Method not allowed");
}

static bool
find_method(sb_admin_call_t *c)
{
    sb_str_t name = sb_str_eqc(c->req->method, "HEAD") ? SB_STR("GET") : c->req->method;

    for (c->method = SB_M_GET; c->method < SB_M_COUNT; c->method++) {
        if (sb_str_eqc(name, method_names[c->method]))
            return c->route->on[c->method] != NULL;
    }
    return false;
}

static int
read_query(sb_admin_call_t *c)
{
    bool utf8;

    c->query = json_object();
    if (sb_admin_args_parse(c->req->query, c->query, &utf8) == SB_OK)
        return SB_OK;
    return sb_admin_answer_message(c, 400, utf8 ? "Too many arguments" : "Cannot parse query string");
}

/* "/team/services" is "/services" in the workspace of that name, when nothing else is called so. SB_DECLINED having answered. */
static int
enter_workspace(sb_admin_call_t *c)
{
    sb_str_t path = c->req->path, rest;
    const char *slash = path.len > 1 ? memchr(path.data + 1, '/', path.len - 1) : NULL;
    size_t len = slash != NULL ? (size_t)(slash - path.data) : path.len, n;
    json_t *row = NULL;
    char *name;

    if (c->store == NULL || len < 2 || path.data[0] != '/')
        return sb_admin_answer_not_found(c);
    name = sb_admin_unescape((sb_str_t){path.data + 1, len - 1}, &n);
    rest = len < path.len ? (sb_str_t){path.data + len, path.len - len} : SB_STR("/");
    c->route = strlen(name) == n ? sb_admin_routes_find(c->admin, rest, c->param) : NULL;
    if (c->route == NULL)
        sb_admin_answer_not_found(c);
    else if (sb_dao_select(c->store, sb_entity_find("workspaces"), name, &(sb_dao_opts_t){.by = "name"}, &row, &c->err) != SB_OK)
        sb_admin_answer_error(c);
    free(name);
    if (row == NULL)
        return SB_DECLINED;
    sb_store_use_workspace(c->store, sb_json_string(row, "id"));
    c->prefix = sb_strdup_len(path.data, len);
    json_decref(row);
    return SB_OK;
}

static int
dispatch(sb_admin_call_t *c)
{
    c->route = sb_admin_routes_find(c->admin, c->req->path, c->param);
    if (c->route == NULL && enter_workspace(c) != SB_OK)
        return SB_DECLINED;
    if (sb_str_eqc(c->req->method, "OPTIONS"))
        return options(c);
    if (!find_method(c))
        return method_not_allowed(c);
    if (read_query(c) != SB_OK)
        return SB_DECLINED;
    return c->route->on[c->method](c);
}

int
sb_admin_handle(sb_admin_t *a, sb_store_t *s, const sb_admin_request_t *req, sb_admin_response_t *res)
{
    sb_admin_call_t c = {.admin = a, .store = s, .req = req, .res = res};
    int rc;

    SB_CHECK_MAGIC(a, SB_ADMIN_MAGIC);
    *res = (sb_admin_response_t){0};
    sb_admin_add_cors(a->host.settings, req->origin, res);
    rc = dispatch(&c);
    SB_ASSERT(res->status != 0 || res->ask != NULL);
    for (size_t i = 0; i < SB_ADMIN_MAX_PARAMS; i++)
        free(c.param[i]);
    if (s != NULL)
        sb_store_use_workspace(s, NULL);
    free(c.prefix);
    json_decref(c.query);
    json_decref(c.input);
    sb_err_clear(&c.err);
    return rc == SB_OK ? SB_OK : SB_DECLINED;
}
