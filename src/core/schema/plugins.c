/*
 * The set of enabled plugins, in the order in which they run: priority descending, then name descending. Filled once at start
 * from one thread; afterwards it is only read. The array is small and sorted on insertion.
 */
#include "core/schema/schema_int.h"

#include <stdlib.h>
#include <string.h>

static const sb_plugin_schema_t **plugins;
static size_t n_plugins;

static bool
runs_before(const sb_plugin_schema_t *a, const sb_plugin_schema_t *b)
{
    return a->priority != b->priority ? a->priority > b->priority : strcmp(a->name, b->name) > 0;
}

void
sb_plugin_schemas_add(const sb_plugin_schema_t *ps)
{
    sb_plugin_schema_t *copy;
    size_t i;

    SB_ASSERT(ps->name != NULL && ps->schema != NULL && sb_plugin_schemas_find(ps->name) == NULL);
    copy = sb_malloc(sizeof(*copy));
    *copy = *ps;
    copy->name = sb_strdup_len(ps->name, strlen(ps->name));
    if (ps->version != NULL)
        copy->version = sb_strdup_len(ps->version, strlen(ps->version));
    plugins = sb_realloc(plugins, (n_plugins + 1) * sizeof(*plugins));
    for (i = n_plugins; i > 0 && runs_before(copy, plugins[i - 1]); i--)
        plugins[i] = plugins[i - 1];
    plugins[i] = copy;
    n_plugins++;
}

const sb_plugin_schema_t *
sb_plugin_schemas_find(const char *name)
{
    size_t i;

    for (i = 0; i < n_plugins; i++) {
        if (strcmp(plugins[i]->name, name) == 0)
            return plugins[i];
    }
    return NULL;
}

const sb_plugin_schema_t *const *
sb_plugin_schemas_all(size_t *n)
{
    *n = n_plugins;
    return plugins;
}

void
sb_plugin_schemas_clear(void)
{
    size_t i;

    for (i = 0; i < n_plugins; i++) {
        free((void *)plugins[i]->name);
        free((void *)plugins[i]->version);
        free((void *)plugins[i]);
    }
    free(plugins);
    plugins = NULL;
    n_plugins = 0;
}
