/*
 * Checks of a new row against the rows that are there: parents exist, unique fields and cache key are free, then the entity's own
 * rules (dao_rules.c). Only what the operation changes is looked up, so that an edit costs the same in a large record.
 */
#include "core/base/json.h"
#include "core/store/store_int.h"

#include <stdlib.h>
#include <string.h>

static bool
changed(const json_t *row, const json_t *old, const char *field)
{
    return old == NULL || !sb_json_same(row, old, field);
}

/* --- parents --- */

static int
parent_missing(const sb_foreign_t *f, const char *id, sb_err_t *err)
{
    json_t *key = json_pack("{s:s}", "id", id);
    char *pretty = sb_store_pretty(key);
    int rc = sb_err_set_fields(err, SB_E_FOREIGN_KEY_VIOLATION, json_pack("{s:o}", f->field, key),
                               "the foreign key '%s' does not reference an existing '%s' entity.", pretty, f->parent);

    free(pretty);
    return rc;
}

static int
check_parents(sb_store_t *s, const sb_table_t *t, const sb_change_set_t *c, sb_err_t *err)
{
    const sb_foreign_t *f;

    for (f = t->e->foreign; f != NULL && f->field != NULL; f++) {
        const sb_table_t *parent = sb_tables_find(s->tables, f->parent);
        const char *id = sb_json_foreign_id(c->row, f->field);
        sb_record_t rec = {0};
        int rc;

        if (id == NULL || parent == NULL || c->resolved >> (f - t->e->foreign) & 1 || !changed(c->row, c->old, f->field))
            continue;
        rc = sb_dao_lookup(s, parent, id, NULL, c->ws, &rec, err);
        json_decref(rec.row);
        if (rc == SB_DECLINED)
            return parent_missing(f, id, err);
        if (rc != SB_OK)
            return rc;
    }
    return SB_OK;
}

/* --- unique fields and combinations --- */

static int
violated(json_t *fields, sb_err_t *err)
{
    char *pretty = sb_store_pretty(fields);
    int rc = sb_err_set_fields(err, SB_E_UNIQUE_VIOLATION, fields, "UNIQUE violation detected on '%s'", pretty);

    free(pretty);
    return rc;
}

/* Whether `rec` is the row being replaced itself. Takes rec's reference. */
static bool
is_itself(const sb_table_t *t, sb_record_t *rec, const json_t *old)
{
    json_t *a = sb_table_key(t, rec->row), *b = old != NULL ? sb_table_key(t, old) : NULL;
    bool same = b != NULL && json_equal(a, b);

    json_decref(a);
    json_decref(b);
    json_decref(rec->row);
    return same;
}

static int
check_unique_field(sb_store_t *s, const sb_table_t *t, const sb_column_t *c, const char *ws, const json_t *row, const json_t *old,
                   sb_err_t *err)
{
    const json_t *given = json_object_get(row, c->field->name), *value = given;
    sb_record_t rec = {0};
    char *number = NULL;
    sb_str_t text;
    int rc;

    if (c->field->type == SB_T_FOREIGN)
        value = json_object_get(given, "id");
    if (value == NULL || json_is_null(value) || !changed(row, old, c->field->name))
        return SB_OK;
    if (json_is_string(value)) {
        text = (sb_str_t){json_string_value(value), json_string_length(value)};
    } else {
        number = sb_json_dump_len(value, &text.len);
        text.data = number;
    }
    rc = s->ops->find(s->conn, t, c, text, c->per_ws ? ws : NULL, &rec, err);
    free(number);
    if (rc == SB_OK && !is_itself(t, &rec, old))
        return violated(json_pack("{s:O}", c->field->name, given), err);
    return rc == SB_ERROR ? rc : SB_OK;
}

static int
check_cache_key(sb_store_t *s, const sb_table_t *t, const char *ws, const json_t *row, const json_t *old, sb_err_t *err)
{
    const char *const *name;
    sb_record_t rec = {0};
    bool moved = false;
    json_t *fields;
    char *key;
    int rc;

    if (!t->cache_key)
        return SB_OK;
    for (name = t->e->cache_key; *name != NULL; name++)
        moved = moved || changed(row, old, *name);
    if (!moved)
        return SB_OK;
    key = sb_table_cache_key(t, row, ws);
    rc = s->ops->find(s->conn, t, NULL, (sb_str_t){key, strlen(key)}, NULL, &rec, err);
    free(key);
    if (rc != SB_OK || is_itself(t, &rec, old))
        return rc == SB_ERROR ? rc : SB_OK;
    fields = json_object();
    for (name = t->e->cache_key; *name != NULL; name++) {
        json_t *v = json_object_get(row, *name);
        const sb_column_t *c = sb_table_column(t, *name);

        if (v != NULL || !c->field->sparse)
            json_object_set_new(fields, *name, v != NULL ? json_incref(v) : json_null());
    }
    return violated(fields, err);
}

static int
check_unique(sb_store_t *s, const sb_table_t *t, const char *ws, const json_t *row, const json_t *old, sb_err_t *err)
{
    size_t i;
    int rc;

    for (i = 0; i < t->ncols; i++)
        if (t->cols[i].unique && (rc = check_unique_field(s, t, &t->cols[i], ws, row, old, err)) != SB_OK)
            return rc;
    return check_cache_key(s, t, ws, row, old, err);
}

int
sb_dao_violation(const char *field, const char *text, sb_err_t *err)
{
    return sb_schema_violation(err, json_pack("{s:s}", field, text));
}

int
sb_dao_check(sb_store_t *s, const sb_table_t *t, const sb_change_set_t *c, sb_err_t *err)
{
    const struct sb_dao_rules *rules = sb_dao_rules_of(t);
    int rc = check_parents(s, t, c, err);

    if (rc == SB_OK && rules != NULL && rules->check != NULL)
        rc = rules->check(s, t, c, err);
    return rc == SB_OK ? check_unique(s, t, c->ws, c->row, c->old, err) : rc;
}
