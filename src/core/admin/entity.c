/*
 * The generated endpoints of one entity: its collection and its items. What an entity has beyond its table comes in through its hook
 * (hooks.c). Writes go input → hook before → DAO → hook after → answer; a handler that answers an error returns SB_DECLINED and the
 * store thread undoes the request's writes.
 */
#include "core/admin/admin_int.h"

#include <stdlib.h>
#include <string.h>

/* Which key of the DAO a path key is: *by, and *id (malloc'ed) when the hook has translated it. SB_DECLINED having answered. */
static int
resolve_key(sb_admin_call_t *c, const sb_entity_t *e, const char *key, bool create, const char **by, char **id)
{
    const sb_admin_hook_t *hook = sb_admin_hook(e);
    sb_uuid_t u;

    *by = NULL;
    *id = NULL;
    if (sb_uuid_parse(key, strlen(key), &u))
        return SB_OK;
    if (hook->key != NULL)
        return hook->key(c, key, create, id);
    *by = e->endpoint_key; /* without one the DAO refuses the key (code 1) */
    return SB_OK;
}

int
sb_admin_select(sb_admin_call_t *c, const sb_entity_t *e, const char *key, json_t **row)
{
    sb_dao_opts_t o = {0};
    char *id;
    int rc = resolve_key(c, e, key, false, &o.by, &id);

    if (rc == SB_OK && sb_dao_select(c->store, e, id != NULL ? id : key, &o, row, &c->err) != SB_OK)
        rc = sb_admin_answer_error(c);
    free(id);
    return rc;
}

/* ---------- writing ---------- */

typedef int (*dao_write_pt)(sb_admin_call_t *c, const sb_entity_t *e, const char *key, const sb_dao_opts_t *o, json_t **row);

static int
dao_insert(sb_admin_call_t *c, const sb_entity_t *e, const char *key, const sb_dao_opts_t *o, json_t **row)
{
    (void)key;
    return sb_dao_insert(c->store, e, c->input, o, row, &c->err);
}

static int
dao_update(sb_admin_call_t *c, const sb_entity_t *e, const char *key, const sb_dao_opts_t *o, json_t **row)
{
    return sb_dao_update(c->store, e, key, c->input, o, row, &c->err);
}

static int
dao_upsert(sb_admin_call_t *c, const sb_entity_t *e, const char *key, const sb_dao_opts_t *o, json_t **row)
{
    return sb_dao_upsert(c->store, e, key, c->input, o, row, &c->err);
}

/* c->input is read. Answers with the row. */
static int
write_row(sb_admin_call_t *c, const sb_entity_t *e, dao_write_pt write, const char *key, const sb_dao_opts_t *o, int status)
{
    json_t *row = NULL;
    int rc = write(c, e, key, o, &row);

    return rc == SB_OK ? sb_admin_answer_row(c, status, e, row) : sb_admin_answer_error(c);
}

int
sb_admin_write_insert(sb_admin_call_t *c, const sb_entity_t *e)
{
    return write_row(c, e, dao_insert, NULL, &(sb_dao_opts_t){0}, 201);
}

int
sb_admin_write_item(sb_admin_call_t *c, const sb_entity_t *e, const char *key, bool upsert)
{
    sb_dao_opts_t o = {0};
    char *id;
    int rc = resolve_key(c, e, key, upsert, &o.by, &id);

    if (rc == SB_OK)
        rc = write_row(c, e, upsert ? dao_upsert : dao_update, id != NULL ? id : key, &o, 200);
    free(id);
    return rc;
}

/* A PATCH of a plugin may leave its name out, but form fields of its config are typed by the schema that the name stands for. */
int
sb_admin_read_patch(sb_admin_call_t *c, const sb_entity_t *e, const char *key)
{
    json_t *row = NULL;
    int rc;

    if (e->def->subschema_key == NULL || strcmp(e->def->subschema_key, "name") != 0)
        return sb_admin_read_input(c, e, NULL);
    rc = sb_admin_select(c, e, key, &row);
    if (rc == SB_OK)
        rc = sb_admin_read_input(c, e, sb_json_string(row, "name"));
    json_decref(row);
    return rc;
}

/* ---------- endpoints ---------- */

int
sb_admin_list(sb_admin_call_t *c)
{
    const sb_entity_t *e = c->route->entity;
    const sb_admin_hook_t *hook = sb_admin_hook(e);
    int rc = hook->list != NULL ? hook->list(c) : SB_NOT_MINE;

    return rc != SB_NOT_MINE ? rc : sb_admin_list_rows(c, e, c->route->pattern, NULL, NULL);
}

int
sb_admin_list_rows(sb_admin_call_t *c, const sb_entity_t *e, const char *path, const char *field, const char *parent_id)
{
    json_t *rows = NULL, *shown = json_array(), *row;
    sb_admin_page_t p;
    char *token = NULL;
    size_t i;
    int rc = sb_admin_page_read(c, field == NULL && e->has_tags, &p);

    if (rc == SB_OK) {
        p.opts.foreign_field = field;
        p.opts.foreign_id = parent_id;
        rc = sb_dao_page(c->store, e, &p.opts, &rows, &token, &c->err);
    }
    if (rc != SB_OK) {
        json_decref(shown);
        sb_admin_page_free(&p);
        return sb_admin_answer_error(c);
    }
    json_array_foreach(rows, i, row) json_array_append_new(shown, sb_admin_present(c, e, row));
    json_decref(rows);
    rc = sb_admin_answer_page(c, shown, token, path, field == NULL ? &p : NULL);
    sb_admin_page_free(&p);
    return rc;
}

int
sb_admin_create(sb_admin_call_t *c)
{
    const sb_entity_t *e = c->route->entity;

    return sb_admin_read_input(c, e, NULL) == SB_OK ? sb_admin_write_insert(c, e) : SB_DECLINED;
}

int
sb_admin_get(sb_admin_call_t *c)
{
    json_t *row = NULL;

    if (sb_admin_select(c, c->route->entity, c->param[0], &row) != SB_OK)
        return SB_DECLINED;
    return sb_admin_answer_row(c, 200, c->route->entity, row);
}

int
sb_admin_put(sb_admin_call_t *c)
{
    const sb_entity_t *e = c->route->entity;

    return sb_admin_read_input(c, e, NULL) == SB_OK ? sb_admin_write_item(c, e, c->param[0], true) : SB_DECLINED;
}

int
sb_admin_patch(sb_admin_call_t *c)
{
    const sb_entity_t *e = c->route->entity;

    return sb_admin_read_patch(c, e, c->param[0]) == SB_OK ? sb_admin_write_item(c, e, c->param[0], false) : SB_DECLINED;
}

int
sb_admin_delete(sb_admin_call_t *c)
{
    return sb_admin_delete_item(c, false);
}

int
sb_admin_delete_item(sb_admin_call_t *c, bool content)
{
    const sb_entity_t *e = c->route->entity;
    sb_dao_opts_t o = {.content = content};
    char *id;
    int rc = resolve_key(c, e, c->param[0], false, &o.by, &id);

    if (rc != SB_OK)
        return rc;
    rc = sb_dao_delete(c->store, e, id != NULL ? id : c->param[0], &o, NULL, &c->err);
    free(id);
    return rc == SB_OK ? sb_admin_answer_empty(c, 204) : sb_admin_answer_error(c);
}
