/* The table of table.h: chains in a power-of-two array that doubles when there are as many nodes as slots. */
#include "proxy/table.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 64

/* The last bytes: random in version 4 and hashed in version 5, while the first may be a clock in others. */
static size_t
slot_of(const sb_table_t *t, const sb_uuid_t *id)
{
    uint64_t h, g;

    memcpy(&h, id->b + 8, sizeof(h));
    memcpy(&g, id->b, sizeof(g));
    h = (h ^ (g >> 7)) * 0x9E3779B97F4A7C15ull;
    return (size_t)(h >> 32) & t->mask;
}

sb_node_t *
sb_table_find(const sb_table_t *t, const sb_uuid_t *id)
{
    sb_node_t *node = t->slots != NULL ? t->slots[slot_of(t, id)] : NULL;

    while (node != NULL && memcmp(node->id.b, id->b, SB_UUID_LEN) != 0)
        node = node->next;
    return node;
}

static void
link_node(sb_table_t *t, sb_node_t *node)
{
    sb_node_t **slot = &t->slots[slot_of(t, &node->id)];

    node->next = *slot;
    *slot = node;
}

static void
grow(sb_table_t *t)
{
    sb_node_t **old = t->slots, *node, *next;
    size_t size = old != NULL ? t->mask + 1 : 0;

    t->slots = sb_calloc((size != 0 ? 2 * size : FIRST_SIZE) * sizeof(*t->slots));
    t->mask = (size != 0 ? 2 * size : FIRST_SIZE) - 1;
    for (size_t i = 0; i < size; i++) {
        for (node = old[i]; node != NULL; node = next) {
            next = node->next;
            link_node(t, node);
        }
    }
    free(old);
}

void
sb_table_add(sb_table_t *t, sb_node_t *node)
{
    if (t->slots == NULL || t->n > t->mask)
        grow(t);
    link_node(t, node);
    t->n++;
}

void
sb_table_remove(sb_table_t *t, sb_node_t *node)
{
    sb_node_t **at;

    if (t->slots == NULL)
        return;
    for (at = &t->slots[slot_of(t, &node->id)]; *at != NULL; at = &(*at)->next) {
        if (*at == node) {
            *at = node->next;
            node->next = NULL;
            t->n--;
            return;
        }
    }
}

void
sb_table_each(sb_table_t *t, void (*fn)(sb_node_t *node, void *arg), void *arg)
{
    sb_node_t *node, *next;

    for (size_t i = 0; t->slots != NULL && i <= t->mask; i++) {
        for (node = t->slots[i]; node != NULL; node = next) {
            next = node->next;
            fn(node, arg);
        }
    }
}
