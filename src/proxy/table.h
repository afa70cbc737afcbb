/*
 * A hash table of things that are found by UUID, linked through a node inside them. The worker's services, upstreams and steps are in
 * such tables. UUIDs are mostly random, so their own bytes are the hash; a table that someone filled with chosen ids only
 * gets slow in proportion to what its owner may configure.
 */
#ifndef SB_PROXY_TABLE_H
#define SB_PROXY_TABLE_H

#include "core/base/uuid.h"

typedef struct sb_node {
    struct sb_node *next;
    sb_uuid_t id;
} sb_node_t;

typedef struct sb_table {
    sb_node_t **slots; /* NULL while empty */
    size_t mask, n;
} sb_table_t;

sb_node_t *sb_table_find(const sb_table_t *t, const sb_uuid_t *id); /* NULL: not there */
void sb_table_add(sb_table_t *t, sb_node_t *node);                  /* node->id is not there yet */
void sb_table_remove(sb_table_t *t, sb_node_t *node);               /* harmless when it is not there */
/* fn may remove the node it is given. */
void sb_table_each(sb_table_t *t, void (*fn)(sb_node_t *node, void *arg), void *arg);

#endif
