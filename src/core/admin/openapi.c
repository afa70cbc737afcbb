/*
 * GET /openapi: the Admin API as an OpenAPI 3.0 document, from the route table and the entity tables. The paths are here, the schemas they
 * refer to in openapi_parts.c.
 *
 * A route says which handler answers a method; `kinds` says of each handler what it takes and answers. A handler that has no row there is
 * described in general terms, so a new endpoint is in the document without a line here. The document is made at the first request and
 * kept; only the store thread uses it.
 */
#include "core/admin/core_int.h"
#include "core/admin/openapi_int.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum takes { TAKES_NOTHING, TAKES_NEW, TAKES_CHANGE, TAKES_ANY };
enum gives { GIVES_OBJECT, GIVES_ANY, GIVES_ROW, GIVES_PARENT, GIVES_PAGE, GIVES_NOTHING, GIVES_MESSAGE, GIVES_ERROR };

/* Answers beside the successful one and 400, which everything may give. */
#define NOT_FOUND   1u
#define NOT_ALLOWED 2u
#define CONFLICT    4u
#define ABSENT      8u /* 501 */
#define CREATED     16u

struct kind {
    sb_admin_handler_pt handler;
    enum takes takes;
    enum gives gives;
    unsigned codes;
    const char *query; /* names of components/parameters, by spaces */
};

#define PAGED "size offset"

static const struct kind kinds[] = {
    /* entities */
    {sb_admin_list, TAKES_NOTHING, GIVES_PAGE, 0, PAGED},
    {sb_admin_create, TAKES_NEW, GIVES_ROW, CREATED | CONFLICT, NULL},
    {sb_admin_get, TAKES_NOTHING, GIVES_ROW, NOT_FOUND, NULL},
    {sb_admin_put, TAKES_NEW, GIVES_ROW, CONFLICT, NULL},
    {sb_admin_patch, TAKES_CHANGE, GIVES_ROW, NOT_FOUND | CONFLICT, NULL},
    {sb_admin_delete, TAKES_NOTHING, GIVES_NOTHING, NOT_FOUND, NULL},
    {sb_admin_nested_list, TAKES_NOTHING, GIVES_PAGE, NOT_FOUND, PAGED},
    {sb_admin_nested_create, TAKES_NEW, GIVES_ROW, CREATED | NOT_FOUND | CONFLICT, NULL},
    {sb_admin_nested_get, TAKES_NOTHING, GIVES_ROW, NOT_FOUND, NULL},
    {sb_admin_nested_put, TAKES_NEW, GIVES_ROW, NOT_FOUND | CONFLICT, NULL},
    {sb_admin_nested_patch, TAKES_CHANGE, GIVES_ROW, NOT_FOUND | CONFLICT, NULL},
    {sb_admin_nested_delete, TAKES_NOTHING, GIVES_NOTHING, NOT_FOUND, NULL},
    {sb_admin_linked_get, TAKES_NOTHING, GIVES_PARENT, NOT_FOUND, NULL},
    {sb_admin_linked_put, TAKES_NEW, GIVES_PARENT, NOT_FOUND | CONFLICT, NULL},
    {sb_admin_linked_patch, TAKES_CHANGE, GIVES_PARENT, NOT_FOUND | CONFLICT, NULL},
    {sb_admin_linked_delete, TAKES_NOTHING, GIVES_ERROR, NOT_FOUND | NOT_ALLOWED, NULL},
    {sb_admin_workspaces_create, TAKES_NEW, GIVES_ROW, CREATED | CONFLICT, NULL},
    {sb_admin_workspaces_put, TAKES_NEW, GIVES_ROW, CONFLICT, NULL},
    {sb_admin_workspaces_delete, TAKES_NOTHING, GIVES_NOTHING, NOT_FOUND, "cascade"},
    {sb_admin_targets_list, TAKES_NOTHING, GIVES_PAGE, NOT_FOUND, PAGED},
    {sb_admin_targets_all, TAKES_NOTHING, GIVES_PAGE, NOT_FOUND, PAGED},
    {sb_admin_targets_create, TAKES_NEW, GIVES_ROW, CREATED | NOT_FOUND | CONFLICT, NULL},
    {sb_admin_targets_get, TAKES_NOTHING, GIVES_ROW, NOT_FOUND, NULL},
    {sb_admin_targets_patch, TAKES_CHANGE, GIVES_ROW, NOT_FOUND | CONFLICT, NULL},
    {sb_admin_targets_delete, TAKES_NOTHING, GIVES_NOTHING, NOT_FOUND, NULL},
    {sb_admin_health, TAKES_NOTHING, GIVES_OBJECT, NOT_FOUND, PAGED " balancer_health"},
    {sb_admin_health_up, TAKES_NOTHING, GIVES_NOTHING, NOT_FOUND, NULL},
    {sb_admin_health_down, TAKES_NOTHING, GIVES_NOTHING, NOT_FOUND, NULL},
    /* the node */
    {sb_admin_root, TAKES_NOTHING, GIVES_OBJECT, 0, NULL},
    {sb_admin_status, TAKES_NOTHING, GIVES_OBJECT, 0, "unit scale"},
    {sb_admin_timers, TAKES_NOTHING, GIVES_OBJECT, 0, NULL},
    {sb_admin_endpoints, TAKES_NOTHING, GIVES_OBJECT, 0, NULL},
    {sb_admin_openapi, TAKES_NOTHING, GIVES_OBJECT, 0, NULL},
    {sb_admin_config, TAKES_NOTHING, GIVES_ERROR, 0, NULL},
    {sb_admin_clustering, TAKES_NOTHING, GIVES_ERROR, 0, NULL},
    {sb_admin_cache_purge, TAKES_NOTHING, GIVES_NOTHING, 0, NULL},
    {sb_admin_cache_get, TAKES_NOTHING, GIVES_ANY, NOT_FOUND, NULL},
    {sb_admin_cache_delete, TAKES_NOTHING, GIVES_NOTHING, 0, NULL},
    {sb_admin_status_dns, TAKES_NOTHING, GIVES_OBJECT, ABSENT, NULL},
    {sb_admin_needs_wasm, TAKES_NOTHING, GIVES_ERROR, 0, NULL},
    {sb_admin_log_level, TAKES_NOTHING, GIVES_MESSAGE, 0, NULL},
    {sb_admin_log_level_set, TAKES_NOTHING, GIVES_MESSAGE, 0, "timeout"},
    {sb_admin_route_match, TAKES_NOTHING, GIVES_OBJECT, 0, "method url header sni source source_port destination candidates"},
    {sb_admin_schema, TAKES_NOTHING, GIVES_OBJECT, NOT_FOUND, NULL},
    {sb_admin_schema_validate, TAKES_ANY, GIVES_MESSAGE, NOT_FOUND, NULL},
    {sb_admin_plugin_schema, TAKES_NOTHING, GIVES_OBJECT, NOT_FOUND, NULL},
    {sb_admin_plugin_config_schema, TAKES_NOTHING, GIVES_OBJECT, NOT_FOUND, NULL},
    {sb_admin_vault_schema, TAKES_NOTHING, GIVES_OBJECT, NOT_FOUND, NULL},
    {sb_admin_filter_schema, TAKES_NOTHING, GIVES_ERROR, NOT_FOUND, NULL},
    {sb_admin_plugins_enabled, TAKES_NOTHING, GIVES_OBJECT, 0, NULL},
    {sb_admin_tags, TAKES_NOTHING, GIVES_PAGE, 0, PAGED},
    {sb_admin_tags_refuse, TAKES_NOTHING, GIVES_ERROR, 0, NULL},
};

static struct kind
kind_of(sb_admin_handler_pt handler, enum sb_admin_method m)
{
    struct kind general = {handler, TAKES_NOTHING, GIVES_OBJECT, NOT_FOUND | NOT_ALLOWED | CONFLICT, NULL};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i].handler == handler)
            return kinds[i];
    if (m == SB_M_POST || m == SB_M_PUT || m == SB_M_PATCH)
        general.takes = TAKES_ANY;
    if (m == SB_M_POST)
        general.codes |= CREATED;
    return general;
}

static bool
is_known(sb_admin_handler_pt handler)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i].handler == handler)
            return true;
    return false;
}

/* ---------- parameters ---------- */

static const char *
key_text(const sb_entity_t *e, char *buf, size_t len)
{
    if (e == NULL)
        return NULL;
    if (e->endpoint_key != NULL)
        snprintf(buf, len, "The id or the `%s` of one of %s.", e->endpoint_key, e->name);
    else
        snprintf(buf, len, "The id of one of %s.", e->name);
    return buf;
}

static void
add_path_parameter(json_t *list, const char *name, size_t len)
{
    char *text = sb_strdup_len(name, len), buf[160];
    const char *about = key_text(sb_entity_find(text), buf, sizeof(buf));
    json_t *p =
        json_pack("{s:s,s:s,s:b,s:{s:s,s:i}}", "name", text, "in", "path", "required", 1, "schema", "type", "string", "minLength", 1);

    if (about != NULL)
        json_object_set_new(p, "description", json_string(about));
    json_array_append_new(list, p);
    free(text);
}

static json_t *
path_parameters(const char *pattern)
{
    json_t *list = json_array();
    const char *at, *end;

    for (at = strchr(pattern, '{'); at != NULL; at = strchr(end, '{')) {
        end = at + strcspn(at, "}");
        add_path_parameter(list, at + 1, (size_t)(end - at) - 1);
    }
    return list;
}

static void
add_query(json_t *op, const char *names)
{
    json_t *list = json_object_get(op, "parameters");

    if (list == NULL) {
        list = json_array();
        json_object_set_new(op, "parameters", list);
    }
    while (*names != '\0') {
        size_t len = strcspn(names, " ");
        char *name = sb_strdup_len(names, len);

        json_array_append_new(list, sb_openapi_ref("parameters", name));
        free(name);
        names += len + (names[len] == ' ');
    }
}

/* ---------- bodies and answers ---------- */

/* Whether the path names a parent of what is written. */
static bool
is_nested(const sb_admin_route_t *r)
{
    return r->foreign != NULL || (r->of != NULL && strstr(r->pattern, "}/") != NULL);
}

static void
add_body(json_t *op, const sb_admin_route_t *r, enum sb_admin_method m, const struct kind *k)
{
    static const char *const forms[] = {"application/x-www-form-urlencoded", "multipart/form-data"};
    const sb_entity_t *e = k->gives == GIVES_PARENT ? r->parent : r->entity;
    json_t *json, *content = json_object();
    char *name;

    if (k->takes == TAKES_ANY || e == NULL) {
        json = json_pack("{s:s}", "type", "object");
    } else {
        name = sb_openapi_body_name(e, k->takes == TAKES_CHANGE ? SB_M_PATCH : m, is_nested(r) && k->gives != GIVES_PARENT);
        json = sb_openapi_ref("schemas", name);
        free(name);
    }
    json_object_set_new(content, "application/json", json_pack("{s:o}", "schema", json));
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        json_object_set_new(content, forms[i], json_pack("{s:o}", "schema", sb_openapi_ref("schemas", "form")));
    json_object_set_new(op, "requestBody", json_pack("{s:o}", "content", content));
}

static json_t *
success_schema(const sb_admin_route_t *r, const struct kind *k)
{
    const sb_entity_t *e = k->gives == GIVES_PARENT ? r->parent : r->entity;
    char *name;
    json_t *o;

    if (k->gives == GIVES_MESSAGE)
        return sb_openapi_ref("schemas", "message");
    if (k->gives == GIVES_ANY)
        return json_object();
    if (k->gives == GIVES_PAGE && e == NULL)
        return sb_openapi_ref("schemas", "page");
    if (k->gives == GIVES_OBJECT || e == NULL)
        return json_pack("{s:s}", "type", "object");
    name = sb_asprintf("%s%s", e->name, k->gives == GIVES_PAGE ? ".page" : "");
    o = sb_openapi_ref("schemas", name);
    free(name);
    return o;
}

/* Of a handler that is described in general terms, any success may come. */
static void
add_success(json_t *responses, const sb_admin_route_t *r, const struct kind *k)
{
    bool created = (k->codes & CREATED) != 0, known = is_known(k->handler);
    json_t *o;

    if (k->gives == GIVES_ERROR)
        return;
    if (k->gives == GIVES_NOTHING || !known)
        json_object_set_new(responses, "204", json_pack("{s:s}", "description", "Done; nothing to show."));
    if (k->gives == GIVES_NOTHING)
        return;
    o = json_pack("{s:s,s:{s:{s:o}}}", "description", created ? "What was made." : "The answer.", "content", "application/json", "schema",
                  success_schema(r, k));
    if (!created || !known)
        json_object_set(responses, "200", o);
    if (created)
        json_object_set(responses, "201", o);
    json_decref(o);
}

static json_t *
responses_of(const sb_admin_route_t *r, const struct kind *k)
{
    static const struct {
        unsigned flag;
        const char *status;
    } rows[] = {{NOT_FOUND, "404"}, {NOT_ALLOWED, "405"}, {CONFLICT, "409"}, {ABSENT, "501"}};
    json_t *out = json_object();

    add_success(out, r, k);
    json_object_set_new(out, "400", sb_openapi_ref("responses", "400"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (k->codes & rows[i].flag)
            json_object_set_new(out, rows[i].status, sb_openapi_ref("responses", rows[i].status));
    json_object_set_new(out, "413", sb_openapi_ref("responses", "413"));
    if (k->takes != TAKES_NOTHING)
        json_object_set_new(out, "415", sb_openapi_ref("responses", "415"));
    json_object_set_new(out, "default", sb_openapi_ref("responses", "default"));
    return out;
}

/* ---------- operations ---------- */

/* "get_routes_routes_service" */
static json_t *
operation_id(const char *method, const char *pattern)
{
    sb_buf_t b = {0};
    json_t *out;

    sb_buf_adds(&b, method);
    for (const char *p = pattern; *p != '\0'; p++) {
        if (isalnum((unsigned char)*p))
            sb_buf_addc(&b, *p);
        else if (b.data[b.len - 1] != '_' && *p != '}')
            sb_buf_addc(&b, '_');
    }
    out = json_string(b.data);
    sb_buf_free(&b);
    return out;
}

/* The first part of the path, under which pages sort operations. */
static json_t *
group(const char *pattern)
{
    size_t len = strcspn(pattern + 1, "/");

    return json_pack("[o]", len != 0 ? json_stringn(pattern + 1, len) : json_string("node"));
}

static json_t *
operation(const sb_admin_route_t *r, enum sb_admin_method m, const char *method)
{
    struct kind k = kind_of(r->on[m], m);
    json_t *op =
        json_pack("{s:o,s:o,s:s?}", "operationId", operation_id(method, r->pattern), "tags", group(r->pattern), "summary", r->text);
    const sb_admin_hook_t *hook = r->entity != NULL ? sb_admin_hook(r->entity) : NULL;

    if (k.query != NULL)
        add_query(op, k.query);
    if (k.handler == sb_admin_list && r->entity->has_tags)
        add_query(op, "tags");
    if (k.handler == sb_admin_list && hook->query != NULL)
        add_query(op, hook->query);
    if (k.takes != TAKES_NOTHING)
        add_body(op, r, m, &k);
    json_object_set_new(op, "responses", responses_of(r, &k));
    return op;
}

/* GET without its body. */
static json_t *
head_of(const sb_admin_route_t *r, const json_t *get)
{
    json_t *op = json_deep_copy(get), *responses = json_object_get(op, "responses"), *v;
    const char *status;
    void *tmp;

    json_object_set_new(op, "operationId", operation_id("head", r->pattern));
    json_object_foreach_safe(responses, tmp, status, v)
        json_object_set_new(responses, status, json_pack("{s:s}", "description", "As GET, without a body."));
    return op;
}

static json_t *
options_of(const sb_admin_route_t *r)
{
    return json_pack("{s:o,s:o,s:s,s:{s:{s:s,s:{s:{s:{s:s}}}},s:o,s:o}}", "operationId", operation_id("options", r->pattern), "tags",
                     group(r->pattern), "summary", "Which methods there are.", "responses", "204", "description", "The methods.", "headers",
                     "Allow", "schema", "type", "string", "400", sb_openapi_ref("responses", "400"), "default",
                     sb_openapi_ref("responses", "default"));
}

static json_t *
path_item(const sb_admin_route_t *r)
{
    static const char *const names[SB_M_COUNT] = {"get", "post", "put", "patch", "delete"};
    json_t *item = json_object(), *parameters = path_parameters(r->pattern);

    if (json_array_size(parameters) != 0)
        json_object_set(item, "parameters", parameters);
    json_decref(parameters);
    for (enum sb_admin_method m = SB_M_GET; m < SB_M_COUNT; m++)
        if (r->on[m] != NULL)
            json_object_set_new(item, names[m], operation(r, m, names[m]));
    if (r->on[SB_M_GET] != NULL)
        json_object_set_new(item, "head", head_of(r, json_object_get(item, "get")));
    json_object_set_new(item, "options", options_of(r));
    return item;
}

/* ---------- the document ---------- */

json_t *
sb_admin_openapi_document(const sb_admin_t *a)
{
    json_t *paths = json_object();

    for (size_t i = 0; i < a->n; i++)
        if (sb_admin_routes_shown(a, i))
            json_object_set_new(paths, a->routes[i].pattern, path_item(&a->routes[i]));
    return json_pack("{s:s,s:{s:s,s:s,s:s},s:o,s:o}", "openapi", "3.0.3", "info", "title", "Silverback Admin API", "version", SB_VERSION,
                     "description", "Written from the tables that the Admin API itself runs on.", "paths", paths, "components",
                     sb_openapi_components(a));
}

int
sb_admin_openapi(sb_admin_call_t *c)
{
    sb_admin_t *a = c->admin;

    if (a->openapi == NULL) {
        json_t *document = sb_admin_openapi_document(a);

        a->openapi = sb_json_dump_len(document, &a->openapi_len);
        json_decref(document);
    }
    return sb_admin_answer_json(c, 200, a->openapi, a->openapi_len);
}
