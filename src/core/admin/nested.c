/*
 * Children under their parent (/services/{services}/routes/{routes}) and the parent under a child (/routes/{routes}/service): generated
 * for every foreign field. A child that belongs to another parent is not found.
 */
#include "core/admin/admin_int.h"

#include <stdlib.h>
#include <string.h>

/* The parent that the path names first; its id. SB_DECLINED having answered 404. */
static int
parent_id(sb_admin_call_t *c, char id[SB_UUID_TEXT + 1])
{
    json_t *row = NULL;
    const char *text;

    if (sb_admin_select(c, c->route->parent, c->param[0], &row) != SB_OK)
        return SB_DECLINED;
    text = sb_json_string(row, "id");
    SB_ASSERT(text != NULL && strlen(text) == SB_UUID_TEXT);
    memcpy(id, text, SB_UUID_TEXT + 1);
    json_decref(row);
    return SB_OK;
}

static void
link_input(sb_admin_call_t *c, const char *id)
{
    json_object_set_new(c->input, c->route->foreign->field, json_pack("{s:s}", "id", id));
}

/* The child that the path names second, if it is the parent's. SB_DECLINED having answered. */
static int
select_child(sb_admin_call_t *c, const char *parent, json_t **row)
{
    const char *linked;

    if (sb_admin_select(c, c->route->entity, c->param[1], row) != SB_OK)
        return SB_DECLINED;
    linked = sb_json_foreign_id(*row, c->route->foreign->field);
    if (linked != NULL && strcmp(linked, parent) == 0)
        return SB_OK;
    json_decref(*row);
    *row = NULL;
    return sb_admin_answer_not_found(c);
}

int
sb_admin_nested_list(sb_admin_call_t *c)
{
    char id[SB_UUID_TEXT + 1], *above, *key, *name, *path;
    int rc;

    if (parent_id(c, id) != SB_OK)
        return SB_DECLINED;
    above = sb_admin_entity_path(c->route->parent);
    key = sb_admin_escape(c->param[0]);
    name = sb_admin_nested_name(c->route->entity);
    path = sb_asprintf("%s/%s/%s", above, key, name);
    rc = sb_admin_list_rows(c, c->route->entity, path, c->route->foreign->field, id);
    free(above);
    free(key);
    free(name);
    free(path);
    return rc;
}

int
sb_admin_nested_create(sb_admin_call_t *c)
{
    char id[SB_UUID_TEXT + 1];

    if (parent_id(c, id) != SB_OK || sb_admin_read_input(c, c->route->entity, NULL) != SB_OK)
        return SB_DECLINED;
    link_input(c, id);
    return sb_admin_write_insert(c, c->route->entity);
}

int
sb_admin_nested_get(sb_admin_call_t *c)
{
    char id[SB_UUID_TEXT + 1];
    json_t *row = NULL;

    if (parent_id(c, id) != SB_OK || select_child(c, id, &row) != SB_OK)
        return SB_DECLINED;
    return sb_admin_answer_row(c, 200, c->route->entity, row);
}

int
sb_admin_nested_put(sb_admin_call_t *c)
{
    char id[SB_UUID_TEXT + 1];

    if (parent_id(c, id) != SB_OK || sb_admin_read_input(c, c->route->entity, NULL) != SB_OK)
        return SB_DECLINED;
    link_input(c, id);
    return sb_admin_write_item(c, c->route->entity, c->param[1], true);
}

int
sb_admin_nested_patch(sb_admin_call_t *c)
{
    char id[SB_UUID_TEXT + 1];
    json_t *row = NULL;
    int rc;

    if (parent_id(c, id) != SB_OK || select_child(c, id, &row) != SB_OK)
        return SB_DECLINED;
    rc = sb_admin_read_patch(c, c->route->entity, sb_json_string(row, "id"));
    if (rc == SB_OK) {
        link_input(c, id);
        rc = sb_admin_write_item(c, c->route->entity, sb_json_string(row, "id"), false);
    }
    json_decref(row);
    return rc;
}

int
sb_admin_nested_delete(sb_admin_call_t *c)
{
    char id[SB_UUID_TEXT + 1];
    json_t *row = NULL;
    int rc;

    if (parent_id(c, id) != SB_OK || select_child(c, id, &row) != SB_OK)
        return SB_DECLINED;
    rc = sb_dao_delete(c->store, c->route->entity, sb_json_string(row, "id"), &(sb_dao_opts_t){0}, NULL, &c->err);
    json_decref(row);
    return rc == SB_OK ? sb_admin_answer_empty(c, 204) : sb_admin_answer_error(c);
}

/* ---------- the parent, seen from a child ---------- */

/* Id of what the child's foreign field names, malloc'ed, NULL when it names nothing. SB_DECLINED having answered: no such child. */
static int
linked_id(sb_admin_call_t *c, json_t **child, char **id)
{
    const char *text;

    if (sb_admin_select(c, c->route->entity, c->param[0], child) != SB_OK)
        return SB_DECLINED;
    text = sb_json_foreign_id(*child, c->route->foreign->field);
    *id = text != NULL ? sb_strdup_len(text, strlen(text)) : NULL;
    return SB_OK;
}

int
sb_admin_linked_get(sb_admin_call_t *c)
{
    json_t *child = NULL, *row = NULL;
    char *id = NULL;
    int rc = linked_id(c, &child, &id);

    if (rc == SB_OK && id == NULL)
        rc = sb_admin_answer_not_found(c);
    else if (rc == SB_OK && (rc = sb_admin_select(c, c->route->parent, id, &row)) == SB_OK)
        rc = sb_admin_answer_row(c, 200, c->route->parent, row);
    json_decref(child);
    free(id);
    return rc;
}

/* A parent that the PUT has just created becomes the child's. */
static int
link_child(sb_admin_call_t *c, const json_t *child, const char *id)
{
    json_t *input = json_pack("{s:{s:s}}", c->route->foreign->field, "id", id), *row = NULL;
    int rc = sb_dao_update(c->store, c->route->entity, sb_json_string(child, "id"), input, &(sb_dao_opts_t){0}, &row, &c->err);

    json_decref(input);
    json_decref(row);
    return rc == SB_OK ? SB_OK : sb_admin_answer_error(c);
}

int
sb_admin_linked_put(sb_admin_call_t *c)
{
    json_t *child = NULL;
    char *id = NULL, made[SB_UUID_TEXT + 1];
    int rc = linked_id(c, &child, &id);

    if (rc == SB_OK)
        rc = sb_admin_read_input(c, c->route->parent, NULL);
    if (rc == SB_OK && id == NULL) {
        sb_uuid_v4(made);
        rc = sb_admin_write_item(c, c->route->parent, made, true);
        if (rc == SB_OK)
            rc = link_child(c, child, made);
    } else if (rc == SB_OK) {
        rc = sb_admin_write_item(c, c->route->parent, id, true);
    }
    json_decref(child);
    free(id);
    return rc;
}

int
sb_admin_linked_patch(sb_admin_call_t *c)
{
    json_t *child = NULL;
    char *id = NULL;
    int rc = linked_id(c, &child, &id);

    if (rc == SB_OK && id == NULL)
        rc = sb_admin_answer_not_found(c);
    else if (rc == SB_OK && (rc = sb_admin_read_patch(c, c->route->parent, id)) == SB_OK)
        rc = sb_admin_write_item(c, c->route->parent, id, false);
    json_decref(child);
    free(id);
    return rc;
}

int
sb_admin_linked_delete(sb_admin_call_t *c)
{
    json_t *child = NULL;
    char *id = NULL;
    int rc = linked_id(c, &child, &id);

    if (rc == SB_OK && id == NULL)
        rc = sb_admin_answer_not_found(c);
    else if (rc == SB_OK)
        rc = sb_admin_answer_message(c, 405, "Method not allowed");
    json_decref(child);
    free(id);
    return rc;
}
