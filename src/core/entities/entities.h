/*
 * The core entities: one file per entity with its field table, listed once in entities.c (load order of facts). Everything
 * else (store tables, Admin endpoints, schemas, docs) is derived. Plugin entities register at start.
 */
#ifndef SB_ENTITIES_H
#define SB_ENTITIES_H

#include "core/schema/schema.h"

typedef struct sb_foreign {
    const char *field;  /* "service" */
    const char *parent; /* "services" */
    enum sb_on_delete on_delete;
    bool required;
} sb_foreign_t;

typedef struct sb_entity {
    const char *name; /* "routes" */
    const struct sb_schema_def *def;
    const sb_schema_t *schema;
    const char *endpoint_key;     /* "name", may be NULL */
    const char *const *cache_key; /* composite unique key, may be NULL */
    const char *const *unique;    /* unique fields, NULL-ended */
    const sb_foreign_t *foreign;  /* ended by {NULL} */
    bool workspaceable, ttl, has_tags;
    bool routing; /* an edit moves the routing generation */
} sb_entity_t;

/* Builds all schemas; call once at start, before threads. */
void sb_entities_init(void);
const sb_entity_t *sb_entity_find(const char *name);  /* NULL: unknown */
const sb_entity_t *const *sb_entities_all(size_t *n); /* parents before children */
/* The plugins' own entities; before any store is opened. */
void sb_entity_register(const struct sb_schema_def *def);
/* Calls fn for each (child, foreign field) that references `parent`. */
void sb_entity_children(const sb_entity_t *parent, void (*fn)(const sb_entity_t *child, const sb_foreign_t *f, void *arg), void *arg);

#endif
