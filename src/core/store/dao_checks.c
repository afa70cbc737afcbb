/*
 * Checks of a new row against the rows that are there: parents exist, unique fields and cache key are free, and the rules of
 * single entities that need a query. Only what the operation changes is looked up, so that an edit costs the same in a large record.
 */
#include "core/base/json.h"
#include "core/store/store_int.h"

#include <stdlib.h>
#include <string.h>

static bool
changed(const json_t *row, const json_t *old, const char *field)
{
    return old == NULL || !json_equal(json_object_get(row, field), json_object_get(old, field));
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
check_parents(sb_store_t *s, const sb_table_t *t, const char *ws, const json_t *row, const json_t *old, sb_err_t *err)
{
    const sb_foreign_t *f;

    for (f = t->e->foreign; f != NULL && f->field != NULL; f++) {
        const sb_table_t *parent = sb_tables_find(s->tables, f->parent);
        const char *id = sb_json_foreign_id(row, f->field);
        sb_record_t rec = {0};
        int rc;

        if (id == NULL || parent == NULL || !changed(row, old, f->field))
            continue;
        rc = sb_dao_lookup(s, parent, id, NULL, ws, &rec, err);
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

/* --- plugins: protocols must fit the route's --- */

static bool
intersect(const json_t *a, const json_t *b)
{
    size_t i, j;
    json_t *x, *y;

    json_array_foreach(a, i, x) json_array_foreach(b, j, y) if (json_equal(x, y)) return true;
    return false;
}

int
sb_dao_violation(const char *field, const char *text, sb_err_t *err)
{
    return sb_err_set_fields(err, SB_E_SCHEMA_VIOLATION, json_pack("{s:s}", field, text), "schema violation (%s: %s)", field, text);
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
check_plugin(sb_store_t *s, const sb_table_t *t, const char *ws, const json_t *row, const json_t *old, sb_err_t *err)
{
    const char *route = sb_json_foreign_id(row, "route"), *service = sb_json_foreign_id(row, "service");
    const json_t *protocols = json_object_get(row, "protocols");
    sb_record_t rec = {0};
    int rc;

    if (!json_is_array(protocols) || (!changed(row, old, "protocols") && !changed(row, old, "route") && !changed(row, old, "service")))
        return SB_OK;
    if (route != NULL) {
        rc = sb_dao_lookup(s, sb_tables_find(s->tables, "routes"), route, NULL, ws, &rec, err);
        if (rc != SB_OK)
            return rc;
        rc = intersect(protocols, json_object_get(rec.row, "protocols"))
                 ? SB_OK
                 : sb_dao_violation("protocols", "must match the associated route's protocols", err);
        json_decref(rec.row);
        if (rc != SB_OK)
            return rc;
    }
    return service != NULL ? check_service_protocols(s, service, protocols, err) : SB_OK;
}

/* Rules of single entities. */
static const struct {
    const char *entity;
    int (*check)(sb_store_t *s, const sb_table_t *t, const char *ws, const json_t *row, const json_t *old, sb_err_t *err);
} entity_rules[] = {{"plugins", check_plugin}};

int
sb_dao_check(sb_store_t *s, const sb_table_t *t, const char *ws, const json_t *row, const json_t *old, sb_err_t *err)
{
    size_t i;
    int rc = check_parents(s, t, ws, row, old, err);

    for (i = 0; rc == SB_OK && i < sizeof(entity_rules) / sizeof(entity_rules[0]); i++)
        if (strcmp(entity_rules[i].entity, t->e->name) == 0)
            rc = entity_rules[i].check(s, t, ws, row, old, err);
    return rc == SB_OK ? check_unique(s, t, ws, row, old, err) : rc;
}
