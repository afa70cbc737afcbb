/*
 * The DAO: operations on entities with the interface's rules and error texts. Each write: input → references resolved (dao_refs.c) →
 * schema (defaults, validation) → checks against other rows (dao_checks.c) → sb_store_write(). All checks come before the first write, so a
 * declined operation has changed nothing, also inside a larger transaction. Without one, each write is a transaction.
 *
 * Deleting is in dao_delete.c, pages and listings in dao_page.c.
 */
#include "core/base/json.h"
#include "core/store/store_int.h"

#include <stdlib.h>
#include <string.h>

static const sb_table_t *
table_of(sb_store_t *s, const sb_entity_t *e)
{
    const sb_table_t *t;

    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    t = sb_tables_find(s->tables, e->name);
    SB_ASSERT(t != NULL); /* registered before the store was opened */
    return t;
}

static const char *
workspace_of(const sb_store_t *s, const sb_dao_opts_t *o)
{
    return o != NULL && o->ws != NULL ? o->ws : s->ws;
}

/* --- looking up --- */

static int
not_found(json_t *fields, bool by_primary_key, sb_err_t *err)
{
    char *text = sb_store_pretty(fields);
    int rc =
        sb_err_set_fields(err, SB_E_NOT_FOUND, fields, "could not find the entity with %s'%s'", by_primary_key ? "primary key " : "", text);

    free(text);
    return rc;
}

/* The key's values as an array; code 1 when they cannot be a key. */
static int
parse_key(const sb_table_t *t, const char *text, json_t **key, sb_err_t *err)
{
    const struct sb_field *f = t->cols[t->pk[0]].field;
    json_t *k = NULL, *fields;
    sb_uuid_t uuid;
    char lower[SB_UUID_TEXT + 1], *pretty;
    int rc;

    if (t->npk > 1) {
        k = sb_json_parse(text, strlen(text), NULL);
        if (json_is_array(k) && json_array_size(k) == t->npk) {
            *key = k;
            return SB_OK;
        }
        json_decref(k);
    } else if (!f->uuid) {
        *key = json_pack("[s]", text);
        return SB_OK;
    } else if (sb_uuid_parse(text, strlen(text), &uuid)) {
        sb_uuid_format(&uuid, lower);
        *key = json_pack("[s]", lower);
        return SB_OK;
    }
    fields = json_pack("{s:s}", f->name, text);
    pretty = sb_store_pretty(fields);
    rc = sb_err_set_fields(err, SB_E_INVALID_PRIMARY_KEY, fields, "invalid primary key: '%s'", pretty);
    free(pretty);
    return rc;
}

static int
lookup_by_key(sb_store_t *s, const sb_table_t *t, const char *text, const char *ws, sb_record_t *out, sb_err_t *err)
{
    json_t *key = NULL, *fields;
    int rc = parse_key(t, text, &key, err);
    size_t i;

    if (rc != SB_OK)
        return rc;
    rc = s->ops->get(s->conn, t, key, out, err);
    if (rc == SB_OK && t->e->workspaceable && ws != NULL && strcmp(out->ws, ws) != 0) {
        json_decref(out->row);
        *out = (sb_record_t){0};
        rc = SB_DECLINED;
    }
    if (rc == SB_DECLINED) {
        fields = json_object();
        for (i = 0; i < t->npk; i++)
            json_object_set(fields, t->cols[t->pk[i]].field->name, json_array_get(key, i));
        not_found(fields, true, err);
    }
    json_decref(key);
    return rc;
}

int
sb_dao_lookup(sb_store_t *s, const sb_table_t *t, const char *key, const char *by, const char *ws, sb_record_t *out, sb_err_t *err)
{
    const sb_column_t *c;
    int rc;

    if (by == NULL || (t->npk == 1 && strcmp(by, t->cols[t->pk[0]].field->name) == 0))
        return lookup_by_key(s, t, key, ws, out, err);
    c = sb_table_column(t, by);
    if (c == NULL || !c->unique)
        return sb_err_set_fields(err, SB_E_INVALID_UNIQUE, json_pack("{s:s}", by, "not a unique field"), "%s is not a unique field of %s",
                                 by, t->e->name);
    rc = s->ops->find(s->conn, t, c, (sb_str_t){key, strlen(key)}, c->per_ws ? ws : NULL, out, err);
    return rc == SB_DECLINED ? not_found(json_pack("{s:s}", by, key), false, err) : rc;
}

int
sb_dao_present(sb_store_t *s, const sb_table_t *t, json_t *rows, sb_err_t *err)
{
    const struct sb_dao_rules *rules = sb_dao_rules_of(t);
    int rc = rules != NULL && rules->present != NULL ? rules->present(s, t, rows, err) : SB_OK;

    for (size_t i = 0; rc == SB_OK && i < json_array_size(rows); i++)
        rc = sb_schema_read(t->e->schema, json_array_get(rows, i), &s->hooks, err);
    return rc;
}

/* Hands a row that was found to the caller. */
static int
give(sb_store_t *s, const sb_table_t *t, json_t *found, json_t **row, sb_err_t *err)
{
    json_t *rows = json_pack("[O]", found);
    int rc = sb_dao_present(s, t, rows, err);

    json_decref(rows);
    if (rc == SB_OK)
        *row = found;
    else
        json_decref(found);
    return rc;
}

int
sb_dao_select(sb_store_t *s, const sb_entity_t *e, const char *key, const sb_dao_opts_t *o, json_t **row, sb_err_t *err)
{
    const sb_table_t *t = table_of(s, e);
    sb_record_t rec = {0};
    int rc = sb_dao_lookup(s, t, key, o != NULL ? o->by : NULL, workspace_of(s, o), &rec, err);

    return rc == SB_OK ? give(s, t, rec.row, row, err) : rc;
}

int
sb_dao_select_by_cache_key(sb_store_t *s, const sb_entity_t *e, const json_t *fields, const sb_dao_opts_t *o, json_t **row, sb_err_t *err)
{
    const sb_table_t *t = table_of(s, e);
    const char *ws = workspace_of(s, o);
    sb_record_t rec = {0};
    char *key;
    int rc;

    SB_ASSERT(e->cache_key != NULL);
    if (!t->cache_key) { /* one field that is unique by itself */
        const char *value = sb_json_string(fields, e->cache_key[0]);

        rc = value == NULL ? not_found(json_deep_copy(fields), false, err) : sb_dao_lookup(s, t, value, e->cache_key[0], ws, &rec, err);
    } else {
        key = sb_table_cache_key(t, fields, ws);
        rc = s->ops->find(s->conn, t, NULL, (sb_str_t){key, strlen(key)}, NULL, &rec, err);
        free(key);
        if (rc == SB_DECLINED)
            not_found(json_deep_copy(fields), false, err);
    }
    return rc == SB_OK ? give(s, t, rec.row, row, err) : rc;
}

/* --- writing --- */

/* Ends an operation: its own transaction, when it has one, is committed or undone; *row is given out on success only. */
static int
finish(sb_store_t *s, bool own, int rc, json_t **row, sb_err_t *err)
{
    if (own) {
        if (rc == SB_OK)
            rc = sb_store_commit(s, err);
        else
            sb_store_rollback(s);
    }
    if (rc != SB_OK && row != NULL) {
        json_decref(*row);
        *row = NULL;
    }
    return rc;
}

static int
start(sb_store_t *s, bool *own, sb_err_t *err)
{
    *own = s->depth < 0;
    return *own ? sb_store_begin(s, err) : SB_OK;
}

/* UUIDs are the same in either case; rows hold them in lower case. */
static void
lower_uuid(json_t *obj, const char *field)
{
    const char *text = sb_json_string(obj, field);
    char lower[SB_UUID_TEXT + 1];
    sb_uuid_t uuid;

    if (text == NULL || !sb_uuid_parse(text, strlen(text), &uuid))
        return;
    sb_uuid_format(&uuid, lower);
    if (strcmp(lower, text) != 0)
        json_object_set_new(obj, field, json_string(lower));
}

static void
normalise(const sb_table_t *t, json_t *row)
{
    size_t i;

    for (i = 0; i < t->ncols; i++) {
        const struct sb_field *f = t->cols[i].field;

        if (f->type == SB_T_FOREIGN)
            lower_uuid(json_object_get(row, f->name), "id");
        else if (f->uuid)
            lower_uuid(row, f->name);
    }
}

/* Fields that are accepted but not stored leave the row. */
static void
take_transient(const sb_table_t *t, sb_change_set_t *c)
{
    const struct sb_field *f;

    c->transient = json_object();
    for (f = t->e->def->fields; f->type != SB_T_END; f++) {
        json_t *v = f->transient ? json_object_get(c->row, f->name) : NULL;

        if (v == NULL)
            continue;
        json_object_set(c->transient, f->name, v);
        json_object_del(c->row, f->name);
    }
}

/* The new row of an operation, checked: input against schema and other rows. */
static int
make_row(sb_store_t *s, const sb_table_t *t, enum sb_op op, const json_t *input, sb_change_set_t *c, sb_err_t *err)
{
    json_t *resolved = NULL;
    size_t i;
    int rc = sb_dao_resolve(s, t, c, input, &resolved, err);

    if (rc == SB_OK)
        rc = sb_schema_process(t->e->schema, op, resolved, c->old, &s->hooks, &c->row, err);
    json_decref(resolved);
    if (rc != SB_OK)
        return rc;
    for (i = 0; c->old != NULL && i < t->npk; i++) { /* a row keeps its key, whatever input says */
        const char *name = t->cols[t->pk[i]].field->name;

        json_object_set(c->row, name, json_object_get(c->old, name));
    }
    normalise(t, c->row);
    take_transient(t, c);
    return sb_dao_check(s, t, c, err);
}

/* The write itself, with what the entity's rules add to it; *row is the row as handed out. */
static int
write_row(sb_store_t *s, const sb_table_t *t, const sb_change_set_t *c, json_t **row, sb_err_t *err)
{
    const struct sb_dao_rules *rules = sb_dao_rules_of(t);
    int rc = sb_store_write(s, t, c->ws, c->row, c->old, err);

    if (rc == SB_OK && rules != NULL && rules->written != NULL && (rc = rules->written(s, t, c, err)) != SB_OK) {
        s->broken = true;
        rc = SB_ERROR;
    }
    return rc == SB_OK ? give(s, t, json_incref(c->row), row, err) : rc;
}

static void
clear(sb_change_set_t *c)
{
    json_decref(c->row);
    json_decref(c->transient);
}

static int
primary_key_free(sb_store_t *s, const sb_table_t *t, const json_t *row, sb_err_t *err)
{
    json_t *key = sb_table_key(t, row), *fields;
    sb_record_t rec = {0};
    char *text;
    size_t i;
    int rc = s->ops->get(s->conn, t, key, &rec, err);

    json_decref(rec.row);
    if (rc == SB_OK) {
        fields = json_object();
        for (i = 0; i < t->npk; i++)
            json_object_set(fields, t->cols[t->pk[i]].field->name, json_array_get(key, i));
        text = sb_store_pretty(fields);
        rc = sb_err_set_fields(err, SB_E_PRIMARY_KEY_VIOLATION, fields, "primary key violation on key '%s'", text);
        free(text);
    } else if (rc == SB_DECLINED) {
        rc = SB_OK;
    }
    json_decref(key);
    return rc;
}

static int
workspace_exists(sb_store_t *s, const sb_table_t *t, const char *ws, sb_err_t *err)
{
    sb_record_t rec = {0};
    int rc;

    if (!t->e->workspaceable || strcmp(ws, s->default_ws) == 0)
        return SB_OK;
    rc = sb_dao_lookup(s, sb_tables_find(s->tables, "workspaces"), ws, NULL, NULL, &rec, err);
    json_decref(rec.row);
    return rc == SB_DECLINED ? sb_err_set(err, SB_E_INVALID_WORKSPACE, "invalid workspace '%s'", ws) : rc;
}

static int
insert(sb_store_t *s, const sb_table_t *t, enum sb_op op, const char *ws, const json_t *input, json_t **row, sb_err_t *err)
{
    sb_change_set_t c = {.ws = ws};
    int rc = workspace_exists(s, t, ws, err);

    if (rc == SB_OK)
        rc = make_row(s, t, op, input, &c, err);
    if (rc == SB_OK)
        rc = primary_key_free(s, t, c.row, err);
    if (rc == SB_OK)
        rc = write_row(s, t, &c, row, err);
    clear(&c);
    return rc;
}

int
sb_dao_insert(sb_store_t *s, const sb_entity_t *e, const json_t *input, const sb_dao_opts_t *o, json_t **row, sb_err_t *err)
{
    const sb_table_t *t = table_of(s, e);
    bool own;
    int rc;

    *row = NULL;
    if ((rc = start(s, &own, err)) != SB_OK)
        return rc;
    rc = insert(s, t, SB_OP_INSERT, workspace_of(s, o), input, row, err);
    return finish(s, own, rc, row, err);
}

static int
replace(sb_store_t *s, const sb_table_t *t, enum sb_op op, const sb_record_t *old, const char *ws, const json_t *input, json_t **row,
        sb_err_t *err)
{
    sb_change_set_t c = {.ws = t->e->workspaceable ? old->ws : ws, .old = old->row};
    int rc = make_row(s, t, op, input, &c, err);

    if (rc == SB_OK)
        rc = write_row(s, t, &c, row, err);
    clear(&c);
    return rc;
}

int
sb_dao_update(sb_store_t *s, const sb_entity_t *e, const char *key, const json_t *input, const sb_dao_opts_t *o, json_t **row,
              sb_err_t *err)
{
    const sb_table_t *t = table_of(s, e);
    const char *ws = workspace_of(s, o);
    sb_record_t old = {0};
    bool own;
    int rc;

    *row = NULL;
    if ((rc = start(s, &own, err)) != SB_OK)
        return rc;
    rc = sb_dao_lookup(s, t, key, o != NULL ? o->by : NULL, ws, &old, err);
    if (rc == SB_OK)
        rc = replace(s, t, SB_OP_UPDATE, &old, ws, input, row, err);
    json_decref(old.row);
    return finish(s, own, rc, row, err);
}

/* Input with the key it is stored under. */
static json_t *
input_with_key(const sb_table_t *t, const char *key, const char *by, const json_t *input)
{
    json_t *copy = json_copy((json_t *)input), *values = NULL;
    size_t i;

    if (by != NULL) {
        json_object_set_new(copy, by, json_string(key));
    } else if (parse_key(t, key, &values, NULL) == SB_OK) {
        for (i = 0; i < t->npk; i++)
            json_object_set(copy, t->cols[t->pk[i]].field->name, json_array_get(values, i));
        json_decref(values);
    }
    return copy;
}

int
sb_dao_upsert(sb_store_t *s, const sb_entity_t *e, const char *key, const json_t *input, const sb_dao_opts_t *o, json_t **row,
              sb_err_t *err)
{
    const sb_table_t *t = table_of(s, e);
    const char *ws = workspace_of(s, o), *by = o != NULL ? o->by : NULL;
    sb_record_t old = {0};
    sb_err_t absent = {0};
    json_t *full;
    bool own;
    int rc;

    *row = NULL;
    if ((rc = start(s, &own, err)) != SB_OK)
        return rc;
    full = input_with_key(t, key, by, input);
    rc = sb_dao_lookup(s, t, key, by, ws, &old, &absent);
    if (rc == SB_OK) {
        rc = replace(s, t, SB_OP_UPSERT, &old, ws, full, row, err);
    } else if (absent.code == SB_E_NOT_FOUND) {
        rc = insert(s, t, SB_OP_UPSERT, ws, full, row, err);
    } else if (err != NULL) {
        sb_err_move(err, &absent);
    }
    sb_err_clear(&absent);
    json_decref(old.row);
    json_decref(full);
    return finish(s, own, rc, row, err);
}

int
sb_dao_delete(sb_store_t *s, const sb_entity_t *e, const char *key, const sb_dao_opts_t *o, bool *existed, sb_err_t *err)
{
    const sb_table_t *t = table_of(s, e);
    sb_record_t rec = {0};
    sb_err_t absent = {0};
    bool own, found;
    int rc;

    if ((rc = start(s, &own, err)) != SB_OK)
        return rc;
    rc = sb_dao_lookup(s, t, key, o != NULL ? o->by : NULL, workspace_of(s, o), &rec, &absent);
    found = rc == SB_OK;
    if (rc == SB_OK) {
        rc = o != NULL && o->content ? sb_dao_remove_workspace(s, t, &rec, err) : sb_dao_remove(s, t, &rec, err);
    } else if (absent.code == SB_E_NOT_FOUND) {
        rc = SB_OK;
    } else if (err != NULL) {
        sb_err_move(err, &absent);
    }
    sb_err_clear(&absent);
    json_decref(rec.row);
    if (existed != NULL)
        *existed = found;
    return finish(s, own, rc, NULL, err);
}
