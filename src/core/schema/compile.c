/*
 * From field tables to nodes: see schema_int.h. Everything is allocated in the schema's pool; parsed JSON (defaults, eq, ne) is
 * released by pool cleanups. Start at sb_schema_from_table(). A malformed native table is a bug and aborts; tables made from
 * JSON were checked by from_json.c before they come here.
 */
#include "core/schema/schema_int.h"

#include <stdlib.h>
#include <string.h>

static void
release_json(void *v)
{
    json_decref(v);
}

static json_t *
parse_fixed(sb_pool_t *pool, const char *text)
{
    json_t *v;

    if (text == NULL)
        return NULL;
    v = sb_json_parse(text, strlen(text), NULL);
    SB_ASSERT(v != NULL);
    sb_pool_cleanup(pool, release_json, v);
    return v;
}

static struct sb_node *
compile_one(sb_pool_t *pool, const struct sb_field *f)
{
    struct sb_node *n;

    if (f == NULL)
        return NULL;
    n = sb_pool_alloc(pool, sizeof(*n));
    sb_node_compile(pool, n, f);
    return n;
}

/* Elements, keys and values can never be null. */
static struct sb_node *
compile_part(sb_pool_t *pool, const struct sb_field *f)
{
    struct sb_node *n = compile_one(pool, f);

    if (n != NULL)
        n->required = true;
    return n;
}

static void
compile_checks(sb_pool_t *pool, struct sb_node *n, const struct sb_entity_check *checks)
{
    size_t i, count = 0;

    for (; checks != NULL && checks[count].kind != SB_CHECK_END;)
        count++;
    n->n_checks = count;
    n->checks = count != 0 ? sb_pool_alloc(pool, count * sizeof(*n->checks)) : NULL;
    for (i = 0; i < count; i++) {
        n->checks[i].c = &checks[i];
        n->checks[i].if_match = compile_one(pool, checks[i].if_match);
        n->checks[i].then_match = compile_one(pool, checks[i].then_match);
        n->checks[i].else_match = compile_one(pool, checks[i].else_match);
    }
}

void
sb_node_compile_record(sb_pool_t *pool, struct sb_node *n, const struct sb_field *fields, const struct sb_entity_check *checks,
                       const struct sb_shorthand *shorthands)
{
    size_t i, count = 0;

    for (; fields != NULL && fields[count].name != NULL;)
        count++;
    n->n_fields = count;
    n->fields = sb_pool_alloc(pool, (count + 1) * sizeof(*n->fields));
    for (i = 0; i < count; i++)
        sb_node_compile(pool, &n->fields[i], &fields[i]);
    compile_checks(pool, n, checks);
    n->shorthands = shorthands;
}

void
sb_node_compile(sb_pool_t *pool, struct sb_node *n, const struct sb_field *f)
{
    n->f = f;
    n->required = f->required || (f->type == SB_T_RECORD && !f->not_required && !f->abstract);
    n->dflt = parse_fixed(pool, f->default_json);
    n->eq = parse_fixed(pool, f->eq_null ? "null" : f->eq_json);
    n->ne = parse_fixed(pool, f->ne_json);
    n->elements = compile_part(pool, f->elements);
    n->keys = compile_part(pool, f->keys);
    n->values = compile_part(pool, f->values);
    if (f->type == SB_T_RECORD && f->fields != NULL)
        sb_node_compile_record(pool, n, f->fields, f->checks, f->shorthands);
}

struct sb_node *
sb_node_field(const struct sb_node *record, const char *name)
{
    size_t i;

    for (i = 0; i < record->n_fields; i++) {
        if (strcmp(record->fields[i].f->name, name) == 0)
            return &record->fields[i];
    }
    return NULL;
}

void
sb_node_merge(const struct sb_node *base, const struct sb_node *sub, struct sb_node *out)
{
    const struct sb_node *o;
    size_t i;

    *out = *base;
    out->fields = sb_malloc((base->n_fields + 1) * sizeof(*out->fields));
    for (i = 0; i < base->n_fields; i++) {
        o = sub != NULL ? sb_node_field(sub, base->fields[i].f->name) : NULL;
        out->fields[i] = o != NULL ? *o : base->fields[i];
    }
}

void
sb_node_merge_free(struct sb_node *merged)
{
    free(merged->fields);
    merged->fields = NULL;
}

/* --- variants: the same table with fields added or replaced --- */

static const struct sb_field *
variant_fields(sb_pool_t *pool, const struct sb_field *base, const struct sb_field *extra)
{
    struct sb_field *out;
    size_t n = 0, m = 0, i, j;

    while (base[n].name != NULL)
        n++;
    while (extra[m].name != NULL)
        m++;
    out = sb_pool_alloc(pool, (n + m + 1) * sizeof(*out));
    memcpy(out, base, n * sizeof(*out));
    for (i = 0; i < m; i++) {
        for (j = 0; j < n && strcmp(out[j].name, extra[i].name) != 0;)
            j++;
        out[j] = extra[i];
        n += j == n;
    }
    return out;
}

static sb_schema_t *
make(const struct sb_schema_def *def, const struct sb_field *extra, const struct sb_subschema *subs)
{
    sb_pool_t *pool = sb_pool_new(0);
    sb_schema_t *s = sb_pool_alloc(pool, sizeof(*s));
    size_t i;

    SB_ASSERT(def->name != NULL && def->fields != NULL);
    s->magic = SB_SCHEMA_MAGIC;
    s->pool = pool;
    s->def = def;
    s->name = def->name;
    sb_node_compile_record(pool, &s->root, extra != NULL ? variant_fields(pool, def->fields, extra) : def->fields, def->checks,
                           def->shorthands);
    for (; subs != NULL && subs[s->n_subs].key != NULL;)
        s->n_subs++;
    s->subs = sb_pool_alloc(pool, (s->n_subs + 1) * sizeof(*s->subs));
    for (i = 0; i < s->n_subs; i++) {
        s->subs[i].key = subs[i].key;
        sb_node_compile_record(pool, &s->subs[i].root, subs[i].fields, subs[i].checks, NULL);
    }
    return s;
}

sb_schema_t *
sb_schema_from_table(const struct sb_schema_def *def)
{
    sb_schema_t *s = make(def, NULL, def->subschemas);

    if (def->expressions_fields != NULL)
        s->expressions =
            make(def, def->expressions_fields, def->expressions_subschemas != NULL ? def->expressions_subschemas : def->subschemas);
    if (def->traditional_fields != NULL)
        s->traditional = make(def, def->traditional_fields, def->subschemas);
    return s;
}

void
sb_schema_free(sb_schema_t *s)
{
    if (s == NULL)
        return;
    SB_CHECK_MAGIC(s, SB_SCHEMA_MAGIC);
    sb_schema_free(s->expressions);
    sb_schema_free(s->traditional);
    sb_pool_free(s->pool);
}

const sb_schema_t *
sb_schema_variant(const sb_schema_t *s, const sb_schema_hooks_t *hooks)
{
    SB_CHECK_MAGIC(s, SB_SCHEMA_MAGIC);
    if (hooks != NULL && hooks->expressions && s->expressions != NULL)
        return s->expressions;
    if (hooks != NULL && hooks->traditional && s->traditional != NULL)
        return s->traditional;
    return s;
}

const char *
sb_schema_name(const sb_schema_t *s)
{
    SB_CHECK_MAGIC(s, SB_SCHEMA_MAGIC);
    return s->name;
}

bool
sb_schema_has_subs(const sb_schema_t *s)
{
    return s->def->subschema_key != NULL;
}

const struct sb_node *
sb_schema_sub(const sb_schema_t *s, const char *key)
{
    const sb_plugin_schema_t *ps;
    size_t i;

    for (i = 0; i < s->n_subs; i++) {
        if (strcmp(s->subs[i].key, key) == 0)
            return &s->subs[i].root;
    }
    /* Without fixed subschemas the enabled plugins are meant. */
    if (s->def->subschemas != NULL || (ps = sb_plugin_schemas_find(key)) == NULL)
        return NULL;
    return &ps->schema->root;
}
