/*
 * Workspaces: /workspaces and what is in each. That names do not change, and that only empty ones go unless asked otherwise, is the
 * record's rule (core/store/dao_rules.c); here a name must leave the API's own paths alone, since it stands first in the paths of its
 * workspace (admin.c).
 */
#include "core/admin/core_int.h"

#include <stdlib.h>
#include <string.h>

/* Names that the field table refuses are left to it. */
static bool
refused_by_table(const sb_entity_t *e, const char *name)
{
    const struct sb_field *f = e->def->fields;

    while (f->name != NULL && strcmp(f->name, "name") != 0)
        f++;
    for (const char *const *n = f->not_one_of; n != NULL && *n != NULL; n++)
        if (strcmp(*n, name) == 0)
            return true;
    return false;
}

static bool
begins_a_path(const sb_admin_t *a, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; n != 0 && i < a->n; i++) {
        const char *segment = a->routes[i].pattern + 1;

        if (strncmp(segment, name, n) == 0 && (segment[n] == '/' || segment[n] == '\0'))
            return true;
    }
    return false;
}

/* SB_DECLINED having answered. */
static int
check_name(sb_admin_call_t *c, const char *name)
{
    char *text;

    if (name == NULL || refused_by_table(c->route->entity, name) || !begins_a_path(c->admin, name))
        return SB_OK;
    text = sb_asprintf("must not be the beginning of one of this API's paths: %s", name);
    sb_schema_violation(&c->err, json_pack("{s:s}", "name", text));
    free(text);
    return sb_admin_answer_error(c);
}

int
sb_admin_workspaces_create(sb_admin_call_t *c)
{
    const sb_entity_t *e = c->route->entity;

    if (sb_admin_read_input(c, e, NULL) != SB_OK || check_name(c, sb_json_string(c->input, "name")) != SB_OK)
        return SB_DECLINED;
    return sb_admin_write_insert(c, e);
}

int
sb_admin_workspaces_put(sb_admin_call_t *c)
{
    const sb_entity_t *e = c->route->entity;
    sb_uuid_t id;
    bool by_id = sb_uuid_parse(c->param[0], strlen(c->param[0]), &id);

    if (sb_admin_read_input(c, e, NULL) != SB_OK || check_name(c, by_id ? sb_json_string(c->input, "name") : c->param[0]) != SB_OK)
        return SB_DECLINED;
    return sb_admin_write_item(c, e, c->param[0], true);
}

int
sb_admin_workspaces_delete(sb_admin_call_t *c)
{
    const char *cascade = sb_admin_query(c, "cascade");

    if (cascade == NULL || strcmp(cascade, "false") == 0)
        return sb_admin_delete_item(c, false);
    if (strcmp(cascade, "true") == 0)
        return sb_admin_delete_item(c, true);
    sb_err_set_fields(&c->err, SB_E_INVALID_OPTIONS, json_pack("{s:s}", "cascade", "expected a boolean"),
                      "invalid option (cascade: expected a boolean)");
    return sb_admin_answer_error(c);
}

/* ---------- what is in one ---------- */

/* Rows of e in a workspace; -1 with c->err. */
static json_int_t
count(sb_admin_call_t *c, const sb_entity_t *e, const char *ws)
{
    sb_page_opts_t o = {.ws = ws, .size = 1000};
    char *token = NULL, *before;
    json_int_t n = 0;
    json_t *rows;
    int rc;

    do {
        before = token;
        o.offset = before;
        token = NULL;
        rows = NULL;
        rc = sb_dao_page(c->store, e, &o, &rows, &token, &c->err);
        n += (json_int_t)json_array_size(rows);
        json_decref(rows);
        free(before);
    } while (rc == SB_OK && token != NULL);
    return rc == SB_OK ? n : -1;
}

static int
meta(sb_admin_call_t *c)
{
    json_t *row = NULL, *counts;
    size_t n;
    const sb_entity_t *const *all = sb_entities_all(&n);
    json_int_t in = 0;

    if (sb_admin_select(c, c->route->entity, c->param[0], &row) != SB_OK)
        return SB_DECLINED;
    counts = json_object();
    for (size_t i = 0; i < n && in >= 0; i++) {
        if (!all[i]->workspaceable || all[i]->def->no_admin)
            continue;
        in = count(c, all[i], sb_json_string(row, "id"));
        json_object_set_new(counts, all[i]->name, json_integer(in));
    }
    json_decref(row);
    if (in >= 0)
        return sb_admin_answer(c, 200, json_pack("{s:o}", "counts", counts));
    json_decref(counts);
    return sb_admin_answer_error(c);
}

const sb_admin_route_t sb_admin_workspace_routes[] = {
    {.pattern = "/workspaces",
     .of = "workspaces",
     .text = "All, page by page; a new one, whose rows are under its name: `/{name}/services`.",
     .on = {[SB_M_GET] = sb_admin_list, [SB_M_POST] = sb_admin_workspaces_create}},
    {.pattern = "/workspaces/{workspaces}",
     .of = "workspaces",
     .text =
         "One of them. Its name stays. It is deleted when it is empty, with `?cascade=true` also when it is not; the default one never.",
     .on = {[SB_M_GET] = sb_admin_get,
            [SB_M_PUT] = sb_admin_workspaces_put,
            [SB_M_PATCH] = sb_admin_patch,
            [SB_M_DELETE] = sb_admin_workspaces_delete}},
    {.pattern = "/workspaces/{workspaces}/meta",
     .of = "workspaces",
     .text = "How many rows of each kind are in it.",
     .on = {[SB_M_GET] = meta}},
    {.pattern = NULL},
};
