/*
 * Tables: what a database needs to know of an entity, derived from its field table, so that adding an entity is adding its table.
 * Scalars become columns of their own, foreign fields <field>_id, everything nested JSON text. Two more columns belong to the store:
 * ws_id (entities of a workspace) and row_version; a third, cache_key, where several fields are unique together, and ttl
 * (the time of expiry) where rows age.
 *
 * Made once when a store is opened, immutable afterwards, freed with it.
 */
#include "core/base/json.h"
#include "core/store/store_int.h"

#include <stdlib.h>
#include <string.h>

/* Kong's name of a table where it is not the entity's, so that an existing PostgreSQL database fits. */
static const struct {
    const char *entity, *table;
} table_names[] = {{"vaults", "sm_vaults"}};

static const char *
declaration(enum sb_type type)
{
    switch (type) {
    case SB_T_INTEGER:
    case SB_T_BOOLEAN:
        return "INTEGER";
    case SB_T_NUMBER:
        return "NUMERIC";
    default:
        return "TEXT";
    }
}

static void
add_column(sb_table_t *t, const struct sb_field *f, bool hidden)
{
    sb_column_t *c;

    t->cols = sb_realloc(t->cols, (t->ncols + 1) * sizeof(*t->cols));
    c = &t->cols[t->ncols++];
    *c = (sb_column_t){.field = f, .decl = declaration(f->type), .hidden = hidden};
    c->name = f->type == SB_T_FOREIGN ? sb_asprintf("%s_id", f->name) : sb_asprintf("%s", f->name);
    c->unique = f->unique;
    c->per_ws = t->e->workspaceable && !f->unique_across_ws;
    c->indexed = f->type == SB_T_FOREIGN || f->indexed;
    if (strcmp(f->name, "created_at") == 0)
        t->created_at = true;
}

static void
find_primary_key(sb_table_t *t)
{
    static const char *const by_id[] = {"id", NULL};
    const char *const *name = t->e->def->primary_key != NULL ? t->e->def->primary_key : by_id;

    for (; *name != NULL; name++) {
        const sb_column_t *c = sb_table_column(t, *name);

        SB_ASSERT(c != NULL && t->npk < SB_STORE_MAX_PK);
        t->pk[t->npk++] = (size_t)(c - t->cols);
    }
    if (t->npk == 1) /* the primary key's own index is enough */
        t->cols[t->pk[0]].unique = false;
}

static bool
needs_cache_key(const sb_table_t *t)
{
    const char *const *key = t->e->cache_key;
    const sb_column_t *c;

    if (key == NULL || key[0] == NULL)
        return false;
    if (key[1] != NULL)
        return true;
    c = sb_table_column(t, key[0]);
    return c == NULL || (!c->unique && (size_t)(c - t->cols) != t->pk[0]);
}

/* Fields of a router flavor: columns exist for all of them, rows have those of this node's. Some replace a field of the same name. */
static void
add_variant_columns(sb_table_t *t, const struct sb_field *fields, bool active)
{
    for (; fields != NULL && fields->type != SB_T_END; fields++) {
        sb_column_t *c = (sb_column_t *)sb_table_column(t, fields->name);

        if (c == NULL)
            add_column(t, fields, !active);
        else if (active)
            c->hidden = false;
    }
}

static sb_table_t *
make_table(const sb_entity_t *e, size_t index, const sb_schema_hooks_t *hooks)
{
    static const struct sb_field ttl = {.name = "ttl", .type = SB_T_NUMBER};
    sb_table_t *t = sb_calloc(sizeof(*t));
    const struct sb_field *f;
    size_t i;

    t->e = e;
    t->index = index;
    t->name = e->name;
    for (i = 0; i < sizeof(table_names) / sizeof(table_names[0]); i++)
        if (strcmp(e->name, table_names[i].entity) == 0)
            t->name = table_names[i].table;
    for (f = e->def->fields; f->type != SB_T_END; f++)
        if (!f->transient)
            add_column(t, f, false);
    add_variant_columns(t, e->def->expressions_fields, hooks->expressions);
    add_variant_columns(t, e->def->traditional_fields, hooks->traditional);
    if (e->ttl)
        add_column(t, &ttl, false);
    find_primary_key(t);
    t->cache_key = needs_cache_key(t);
    return t;
}

sb_table_t *
sb_tables_make(const sb_schema_hooks_t *hooks)
{
    sb_table_t *first = NULL, **next = &first;
    const sb_entity_t *const *all;
    size_t i, n, index = 0;

    all = sb_entities_all(&n);
    for (i = 0; i < n; i++) {
        if (strcmp(all[i]->name, "tags") == 0) /* a view of the side table of that name */
            continue;
        *next = make_table(all[i], index++, hooks);
        next = &(*next)->next;
    }
    return first;
}

void
sb_tables_free(sb_table_t *t)
{
    sb_table_t *next;
    size_t i;

    for (; t != NULL; t = next) {
        next = t->next;
        for (i = 0; i < t->ncols; i++)
            free((char *)t->cols[i].name);
        free(t->cols);
        free(t);
    }
}

size_t
sb_tables_count(const sb_table_t *t)
{
    size_t n = 0;

    for (; t != NULL; t = t->next)
        n++;
    return n;
}

const sb_table_t *
sb_tables_find(const sb_table_t *t, const char *entity)
{
    while (t != NULL && strcmp(t->e->name, entity) != 0)
        t = t->next;
    return t;
}

const sb_column_t *
sb_table_column(const sb_table_t *t, const char *field)
{
    size_t i;

    for (i = 0; i < t->ncols; i++)
        if (strcmp(t->cols[i].field->name, field) == 0)
            return &t->cols[i];
    return NULL;
}

static json_t *
key_value(const sb_column_t *c, const json_t *row)
{
    json_t *v = json_object_get(row, c->field->name);

    if (c->field->type == SB_T_FOREIGN)
        v = json_object_get(v, "id");
    return v != NULL ? json_incref(v) : json_null();
}

json_t *
sb_table_key(const sb_table_t *t, const json_t *row)
{
    json_t *key = json_array();
    size_t i;

    for (i = 0; i < t->npk; i++)
        json_array_append_new(key, key_value(&t->cols[t->pk[i]], row));
    return key;
}

char *
sb_table_key_text(const sb_table_t *t, const json_t *key)
{
    const char *one = json_string_value(json_array_get(key, 0));

    return t->npk == 1 && one != NULL ? sb_asprintf("%s", one) : sb_json_dump(key);
}

static void
add_cache_key_part(sb_buf_t *b, const json_t *v)
{
    if (json_is_object(v))
        v = json_object_get(v, "id");
    if (json_is_string(v))
        sb_buf_add(b, json_string_value(v), json_string_length(v));
    else if (json_is_integer(v))
        sb_buf_addf(b, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_boolean(v))
        sb_buf_adds(b, json_is_true(v) ? "true" : "false");
}

char *
sb_table_cache_key(const sb_table_t *t, const json_t *row, const char *ws)
{
    const char *const *key = t->e->cache_key;
    sb_buf_t b = {0};
    size_t i;

    sb_buf_adds(&b, t->e->name);
    for (i = 0; i < 5; i++) {
        sb_buf_addc(&b, ':');
        if (key != NULL && *key != NULL)
            add_cache_key_part(&b, json_object_get(row, *key++));
    }
    sb_buf_addf(&b, ":%s", t->e->workspaceable && ws != NULL ? ws : "");
    return sb_buf_take(&b);
}
