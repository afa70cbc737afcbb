/*
 * The list of entities and what follows from their tables. Core entities stand here once, in load order; plugins add theirs at
 * start. sb_entities_all() orders parents before children whatever the order of registration. Built before threads start,
 * only read afterwards.
 */
#include "core/entities/entities_int.h"

#include <stdlib.h>
#include <string.h>

static const struct sb_schema_def *const core[] = {
    &sb_entity_workspaces,      &sb_entity_consumers,
    &sb_entity_consumer_groups, &sb_entity_consumer_group_consumers,
    &sb_entity_certificates,    &sb_entity_services,
    &sb_entity_routes,          &sb_entity_snis,
    &sb_entity_upstreams,       &sb_entity_targets,
    &sb_entity_plugins,         &sb_entity_tags,
    &sb_entity_ca_certificates, &sb_entity_clustering_data_planes,
    &sb_entity_parameters,      &sb_entity_vaults,
    &sb_entity_key_sets,        &sb_entity_keys,
    &sb_entity_filter_chains,
};

static const sb_entity_t **entities;
static size_t n_entities;

static size_t
count(const struct sb_field *f, bool (*test)(const struct sb_field *f))
{
    size_t n = 0;

    for (; f->name != NULL; f++)
        n += test(f);
    return n;
}

static bool
is_foreign(const struct sb_field *f)
{
    return f->type == SB_T_FOREIGN;
}

static bool
is_unique(const struct sb_field *f)
{
    return f->unique;
}

static const sb_foreign_t *
foreign_fields(const struct sb_field *fields)
{
    sb_foreign_t *out = sb_calloc((count(fields, is_foreign) + 1) * sizeof(*out));
    size_t n = 0;

    for (; fields->name != NULL; fields++) {
        if (is_foreign(fields))
            out[n++] = (sb_foreign_t){fields->name, fields->reference, fields->on_delete, fields->required};
    }
    return out;
}

static const char *const *
unique_fields(const struct sb_field *fields)
{
    const char **out = sb_calloc((count(fields, is_unique) + 1) * sizeof(*out));
    size_t n = 0;

    for (; fields->name != NULL; fields++) {
        if (is_unique(fields))
            out[n++] = fields->name;
    }
    return out;
}

static bool
has_field(const struct sb_field *f, const char *name)
{
    while (f->name != NULL && strcmp(f->name, name) != 0)
        f++;
    return f->name != NULL;
}

static size_t
position(const char *name)
{
    size_t i;

    for (i = 0; i < n_entities && strcmp(entities[i]->name, name) != 0;)
        i++;
    return i;
}

/* Moves each entity before the first that references it; the references of entities have no cycle. */
static void
order(void)
{
    const sb_entity_t *e;
    const sb_foreign_t *f;
    size_t i, at, rounds = 0;
    bool moved = true;

    while (moved && rounds++ < n_entities) {
        moved = false;
        for (i = 0; i < n_entities; i++) {
            for (f = entities[i]->foreign; f->field != NULL; f++) {
                at = position(f->parent);
                if (at == n_entities || at <= i)
                    continue;
                e = entities[at];
                memmove(&entities[i + 1], &entities[i], (at - i) * sizeof(*entities));
                entities[i] = e;
                moved = true;
                break;
            }
        }
    }
    SB_ASSERT(!moved);
}

void
sb_entity_register(const struct sb_schema_def *def)
{
    sb_entity_t *e;

    SB_ASSERT(sb_entity_find(def->name) == NULL);
    e = sb_calloc(sizeof(*e));
    e->name = def->name;
    e->def = def;
    e->schema = sb_schema_from_table(def);
    e->endpoint_key = def->endpoint_key;
    e->cache_key = def->cache_key;
    e->unique = unique_fields(def->fields);
    e->foreign = foreign_fields(def->fields);
    e->workspaceable = def->workspaceable;
    e->ttl = def->ttl;
    e->has_tags = has_field(def->fields, "tags");
    e->routing = def->routing;
    entities = sb_realloc(entities, (n_entities + 1) * sizeof(*entities));
    entities[n_entities++] = e;
    order();
}

void
sb_entities_init(void)
{
    size_t i;

    if (n_entities != 0)
        return;
    for (i = 0; i < sizeof(core) / sizeof(core[0]); i++)
        sb_entity_register(core[i]);
}

const sb_entity_t *
sb_entity_find(const char *name)
{
    size_t i = position(name);
    return i < n_entities ? entities[i] : NULL;
}

const sb_entity_t *const *
sb_entities_all(size_t *n)
{
    *n = n_entities;
    return entities;
}

void
sb_entity_children(const sb_entity_t *parent, void (*fn)(const sb_entity_t *child, const sb_foreign_t *f, void *arg), void *arg)
{
    const sb_foreign_t *f;
    size_t i;

    for (i = 0; i < n_entities; i++) {
        for (f = entities[i]->foreign; f->field != NULL; f++) {
            if (strcmp(f->parent, parent->name) == 0)
                fn(entities[i], f, arg);
        }
    }
}
