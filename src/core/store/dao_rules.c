/*
 * What single entities have beyond their field tables: a plugin's protocols must fit its route or service, a certificate carries
 * the names of its SNIs, a CA certificate in use stays, a workspace keeps its name and goes only when it is empty.
 */
#include "core/base/json.h"
#include "core/store/store_int.h"
#include "silverback/plugin.h"

#include <stdlib.h>
#include <string.h>

static bool
changed(const sb_change_set_t *c, const char *field)
{
    return c->old == NULL || !sb_json_same(c->row, c->old, field);
}

/* --- plugins --- */

static bool
contains(const json_t *list, const json_t *value)
{
    size_t i;
    json_t *v;

    json_array_foreach(list, i, v)
    {
        if (json_equal(v, value))
            return true;
    }
    return false;
}

static bool
intersect(const json_t *a, const json_t *b)
{
    size_t i;
    json_t *v;

    json_array_foreach(a, i, v)
    {
        if (contains(b, v))
            return true;
    }
    return false;
}

typedef struct protocol_scan {
    const json_t *protocols;
    bool any, match;
} protocol_scan_t;

static int
scan_route(sb_record_t *rec, void *arg)
{
    protocol_scan_t *p = arg;

    p->any = true;
    p->match = intersect(p->protocols, json_object_get(rec->row, "protocols"));
    json_decref(rec->row);
    return p->match ? SB_DECLINED : SB_OK; /* DECLINED: found, stop */
}

static int
check_service_protocols(sb_store_t *s, const char *service, const json_t *protocols, sb_err_t *err)
{
    const sb_table_t *routes = sb_tables_find(s->tables, "routes");
    sb_query_t q = {.limit = SIZE_MAX, .foreign = sb_table_column(routes, "service"), .foreign_id = service};
    protocol_scan_t p = {.protocols = protocols};
    int rc = s->ops->page(s->conn, routes, &q, scan_route, &p, err);

    if (rc == SB_ERROR)
        return rc;
    if (p.any && !p.match)
        return sb_dao_violation("protocols", "must match the protocols of at least one route pointing to this Plugin's service", err);
    return SB_OK;
}

static int
check_route_protocols(sb_store_t *s, const char *ws, const char *route, const json_t *protocols, sb_err_t *err)
{
    sb_record_t rec = {0};
    int rc = sb_dao_lookup(s, sb_tables_find(s->tables, "routes"), route, NULL, ws, &rec, err);

    if (rc == SB_OK && !intersect(protocols, json_object_get(rec.row, "protocols")))
        rc = sb_dao_violation("protocols", "must match the associated route's protocols", err);
    json_decref(rec.row);
    return rc;
}

/* Lua does not run on streams, and not every native plugin has something to do there: such an instance would be passed over. */
static int
check_stream_protocols(const json_t *row, const json_t *protocols, sb_err_t *err)
{
    static const char *const streams[] = {"tcp", "tls", "tls_passthrough", "udp"};
    const char *name = sb_json_string(row, "name");
    const sb_plugin_schema_t *plugin = name != NULL ? sb_plugin_schemas_find(name) : NULL;
    const json_t *v;
    char *text = NULL;
    size_t i, k;
    int rc;

    if (plugin == NULL || (plugin->native != NULL && (plugin->native->preread != NULL || plugin->native->stream_log != NULL)))
        return SB_OK;
    json_array_foreach(protocols, i, v)
    {
        for (k = 0; k < sizeof(streams) / sizeof(streams[0]) && text == NULL; k++)
            if (strcmp(json_string_value(v), streams[k]) == 0)
                text = plugin->native != NULL
                           ? sb_asprintf("plugin '%s' does not run on streams: '%s' cannot be among its protocols", name, streams[k])
                           : sb_asprintf("plugin '%s' is written in Lua, which does not run on streams: '%s' cannot be among its protocols",
                                         name, streams[k]);
    }
    if (text == NULL)
        return SB_OK;
    rc = sb_dao_violation("protocols", text, err);
    free(text);
    return rc;
}

static int
check_plugin(sb_store_t *s, const sb_table_t *t, const sb_change_set_t *c, sb_err_t *err)
{
    const char *route = sb_json_foreign_id(c->row, "route"), *service = sb_json_foreign_id(c->row, "service");
    const json_t *protocols = json_object_get(c->row, "protocols");
    int rc = SB_OK;

    if (!json_is_array(protocols) || (!changed(c, "protocols") && !changed(c, "route") && !changed(c, "service")))
        return SB_OK;
    if (changed(c, "protocols"))
        rc = check_stream_protocols(c->row, protocols, err);
    if (rc == SB_OK && route != NULL)
        rc = check_route_protocols(s, c->ws, route, protocols, err);
    return rc == SB_OK && service != NULL ? check_service_protocols(s, service, protocols, err) : rc;
}

/* --- certificates: "snis", the names that belong to one, given and shown with it, stored as snis rows --- */

static int
check_name(sb_store_t *s, const sb_change_set_t *c, const json_t *names, size_t i, sb_err_t *err)
{
    const sb_table_t *snis = sb_tables_find(s->tables, "snis");
    const json_t *name = json_array_get(names, i);
    sb_record_t rec = {0};
    const char *owner;
    char *text = NULL;
    size_t k;
    int rc;

    for (k = 0; k < i; k++)
        if (json_equal(json_array_get(names, k), name))
            text = text != NULL ? text : sb_asprintf("%s is duplicated", json_string_value(name));
    if (text == NULL) {
        rc = s->ops->find(s->conn, snis, sb_table_column(snis, "name"), (sb_str_t){json_string_value(name), json_string_length(name)}, NULL,
                          &rec, err);
        if (rc == SB_ERROR)
            return rc;
        owner = sb_json_foreign_id(rec.row, "certificate");
        if (rc == SB_OK && owner != NULL && strcmp(owner, sb_json_string(c->row, "id")) != 0)
            text = sb_asprintf("%s already associated with existing certificate '%s'", json_string_value(name), owner);
        json_decref(rec.row);
    }
    if (text == NULL)
        return SB_OK;
    rc = sb_dao_violation("snis", text, err);
    free(text);
    return rc;
}

static int
check_certificate(sb_store_t *s, const sb_table_t *t, const sb_change_set_t *c, sb_err_t *err)
{
    const json_t *names = json_object_get(c->transient, "snis");
    size_t i;
    int rc = SB_OK;

    for (i = 0; rc == SB_OK && i < json_array_size(names); i++)
        rc = check_name(s, c, names, i, err);
    return rc;
}

static int
keep(sb_record_t *rec, void *arg)
{
    json_array_append_new(arg, rec->row);
    return SB_OK;
}

/* The snis rows of a certificate. */
static int
rows_of(sb_store_t *s, const json_t *certificate, json_t **rows, sb_err_t *err)
{
    const sb_table_t *snis = sb_tables_find(s->tables, "snis");
    sb_query_t q = {.limit = SIZE_MAX, .foreign = sb_table_column(snis, "certificate"), .foreign_id = sb_json_string(certificate, "id")};

    *rows = json_array();
    return s->ops->page(s->conn, snis, &q, keep, *rows, err);
}

static bool
has_name(const json_t *names, const char *name)
{
    size_t i;
    json_t *v;

    json_array_foreach(names, i, v)
    {
        if (strcmp(json_is_object(v) ? sb_json_string(v, "name") : json_string_value(v), name) == 0)
            return true;
    }
    return false;
}

/* The names given become the certificate's, all others of its go. */
static int
write_certificate(sb_store_t *s, const sb_table_t *t, const sb_change_set_t *c, sb_err_t *err)
{
    const sb_entity_t *snis = sb_tables_find(s->tables, "snis")->e;
    const json_t *names = json_object_get(c->transient, "snis");
    sb_dao_opts_t o = {.ws = c->ws};
    json_t *have = NULL, *v, *input, *made;
    size_t i;
    int rc;

    if (names == NULL)
        return SB_OK;
    rc = rows_of(s, c->row, &have, err);
    json_array_foreach(have, i, v)
    {
        if (rc == SB_OK && !has_name(names, sb_json_string(v, "name")))
            rc = sb_dao_delete(s, snis, sb_json_string(v, "id"), &o, NULL, err);
    }
    json_array_foreach(names, i, v)
    {
        if (rc != SB_OK || has_name(have, json_string_value(v)))
            continue;
        input = json_pack("{s:O,s:{s:O}}", "name", v, "certificate", "id", json_object_get(c->row, "id"));
        rc = sb_dao_insert(s, snis, input, &o, &made, err);
        json_decref(made);
        json_decref(input);
    }
    json_decref(have);
    return rc;
}

static int
by_text(const void *a, const void *b)
{
    return strcmp(json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

/* The array with its texts in order. New reference. */
static json_t *
sorted(const json_t *names)
{
    size_t i, n = json_array_size(names);
    json_t **order = sb_calloc((n + 1) * sizeof(*order)), *out = json_array();

    for (i = 0; i < n; i++)
        order[i] = json_array_get(names, i);
    qsort(order, n, sizeof(*order), by_text);
    for (i = 0; i < n; i++)
        json_array_append(out, order[i]);
    free(order);
    return out;
}

/* arg: certificate id -> array of names. */
static int
sort_out(sb_record_t *rec, void *arg)
{
    json_array_append(json_object_get(arg, sb_json_foreign_id(rec->row, "certificate")), json_object_get(rec->row, "name"));
    json_decref(rec->row);
    return SB_OK;
}

/* One query, however many certificates. */
static int
present_certificates(sb_store_t *s, const sb_table_t *t, json_t *rows, sb_err_t *err)
{
    const sb_table_t *snis = sb_tables_find(s->tables, "snis");
    json_t *names = json_object(), *ids = json_array(), *row;
    sb_query_t q = {.limit = SIZE_MAX, .foreign = sb_table_column(snis, "certificate"), .foreign_any = ids};
    size_t i;
    int rc = SB_OK;

    json_array_foreach(rows, i, row)
    {
        json_array_append(ids, json_object_get(row, "id"));
        json_object_set_new(names, sb_json_string(row, "id"), json_array());
    }
    if (json_array_size(ids) != 0)
        rc = s->ops->page(s->conn, snis, &q, sort_out, names, err);
    json_array_foreach(rows, i, row) json_object_set_new(row, "snis", sorted(json_object_get(names, sb_json_string(row, "id"))));
    json_decref(names);
    json_decref(ids);
    return rc;
}

/* --- CA certificates: no service and no plugin that checks against one loses it --- */

typedef struct reference_scan {
    json_t *id;
    bool in_config; /* the list is a member of `config` */
    char *found;    /* id of a row that refers to it, malloc'ed */
} reference_scan_t;

static int
scan_reference(sb_record_t *rec, void *arg)
{
    reference_scan_t *scan = arg;
    const json_t *holder = scan->in_config ? json_object_get(rec->row, "config") : rec->row;
    const char *id = sb_json_string(rec->row, "id");

    if (contains(json_object_get(holder, "ca_certificates"), scan->id))
        scan->found = sb_strdup_len(id, strlen(id));
    json_decref(rec->row);
    return scan->found != NULL ? SB_DECLINED : SB_OK;
}

static int
ca_certificate_removable(sb_store_t *s, const sb_table_t *t, const sb_record_t *rec, sb_err_t *err)
{
    static const char *const holders[] = {"services", "plugins"};
    reference_scan_t scan = {.id = json_object_get(rec->row, "id")};
    sb_query_t q = {.limit = SIZE_MAX};
    size_t i;
    int rc = SB_OK;

    for (i = 0; i < 2 && rc == SB_OK; i++) {
        scan.in_config = i == 1;
        if (s->ops->page(s->conn, sb_tables_find(s->tables, holders[i]), &q, scan_reference, &scan, err) == SB_ERROR)
            rc = SB_ERROR;
        else if (scan.found != NULL)
            rc = sb_err_set(err, SB_E_REFERENCED_BY_OTHERS, "ca certificate %s is still referenced by %s (id = %s)",
                            json_string_value(scan.id), holders[i], scan.found);
    }
    free(scan.found);
    return rc;
}

/* --- workspaces: the default one stays, others go when they are empty --- */

static int
stop(sb_record_t *rec, void *arg)
{
    *(bool *)arg = true;
    json_decref(rec->row);
    return SB_DECLINED;
}

static int
workspace_removable(sb_store_t *s, const sb_table_t *t, const sb_record_t *rec, sb_err_t *err)
{
    const char *id = sb_json_string(rec->row, "id");
    sb_query_t q = {.ws = id, .limit = 1};
    const sb_table_t *child;
    bool any = false;

    if (strcmp(id, s->default_ws) == 0)
        return sb_err_set(err, SB_E_REFERENCED_BY_OTHERS, "Cannot delete default workspace");
    for (child = s->tables; child != NULL && !any; child = child->next)
        if (child->e->workspaceable && s->ops->page(s->conn, child, &q, stop, &any, err) == SB_ERROR)
            return SB_ERROR;
    return any ? sb_err_set(err, SB_E_REFERENCED_BY_OTHERS, "Workspace is not empty") : SB_OK;
}

/* Its name stands in paths that others keep; the default one is found by it. */
static int
check_workspace(sb_store_t *s, const sb_table_t *t, const sb_change_set_t *c, sb_err_t *err)
{
    return c->old != NULL && changed(c, "name") ? sb_dao_violation("name", "immutable field cannot be updated", err) : SB_OK;
}

static const struct sb_dao_rules all[] = {
    {.entity = "ca_certificates", .removable = ca_certificate_removable},
    {.entity = "workspaces", .check = check_workspace, .removable = workspace_removable},
    {.entity = "plugins", .check = check_plugin},
    {.entity = "certificates", .check = check_certificate, .written = write_certificate, .present = present_certificates},
};

const struct sb_dao_rules *
sb_dao_rules_of(const sb_table_t *t)
{
    size_t i;

    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strcmp(all[i].entity, t->e->name) == 0)
            return &all[i];
    return NULL;
}
