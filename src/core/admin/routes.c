/*
 * The route table. core.c's rows come first, so that "/plugins/enabled" wins over "/plugins/{plugins}"; the generated rows follow from
 * the entity tables: for each entity its collection and items, for each foreign field the children under the parent and the parent
 * under the child. Nothing here names an entity.
 */
#include "core/admin/admin_int.h"

#include <stdlib.h>
#include <string.h>

#define MAX_SEGMENTS 8

/* Rows by hand, in order of precedence; each ended by an empty pattern. */
extern const sb_admin_route_t sb_admin_core_routes[], sb_admin_group_routes[], sb_admin_workspace_routes[];

static const sb_admin_route_t *const by_hand[] = {sb_admin_core_routes, sb_admin_group_routes, sb_admin_workspace_routes};

char *
sb_admin_entity_path(const sb_entity_t *e)
{
    return e->def->admin_path != NULL ? sb_strdup_len(e->def->admin_path, strlen(e->def->admin_path)) : sb_asprintf("/%s", e->name);
}

char *
sb_admin_nested_name(const sb_entity_t *e)
{
    const char *name = e->name;

    if (e->def->admin_nested != NULL)
        name = e->def->admin_nested;
    else if (e->def->admin_path != NULL)
        name = strrchr(e->def->admin_path, '/') + 1;
    return sb_strdup_len(name, strlen(name));
}

static void
add(sb_admin_t *a, sb_admin_route_t row)
{
    a->routes = sb_realloc(a->routes, (a->n + 1) * sizeof(*a->routes));
    a->routes[a->n++] = row;
}

static char *
pattern(sb_admin_t *a, char *text)
{
    char *kept = sb_pool_strdup(a->pool, text);

    free(text);
    return kept;
}

static void
add_entity(sb_admin_t *a, const sb_entity_t *e)
{
    char *path = pattern(a, sb_admin_entity_path(e));

    add(a, (sb_admin_route_t){.pattern = path,
                              .entity = e,
                              .text = "All, page by page; a new one.",
                              .on = {[SB_M_GET] = sb_admin_list, [SB_M_POST] = sb_admin_create}});
    add(a,
        (sb_admin_route_t){
            .pattern = pattern(a, sb_asprintf("%s/{%s}", path, e->name)),
            .entity = e,
            .text = "One of them.",
            .on = {[SB_M_GET] = sb_admin_get, [SB_M_PUT] = sb_admin_put, [SB_M_PATCH] = sb_admin_patch, [SB_M_DELETE] = sb_admin_delete}});
}

/* Children under their parent, and the parent under a child. */
static void
add_link(sb_admin_t *a, const sb_entity_t *child, const sb_foreign_t *f)
{
    const sb_entity_t *parent = sb_entity_find(f->parent);
    char *above, *own, *name, *nested;

    if (parent == NULL || parent->def->no_admin)
        return;
    above = sb_admin_entity_path(parent);
    own = sb_admin_entity_path(child);
    name = sb_admin_nested_name(child);
    nested = pattern(a, sb_asprintf("%s/{%s}/%s", above, parent->name, name));
    add(a, (sb_admin_route_t){.pattern = nested,
                              .entity = child,
                              .parent = parent,
                              .foreign = f,
                              .text = "Those that belong to it; a new one that does.",
                              .on = {[SB_M_GET] = sb_admin_nested_list, [SB_M_POST] = sb_admin_nested_create}});
    add(a, (sb_admin_route_t){.pattern = pattern(a, sb_asprintf("%s/{%s}", nested, child->name)),
                              .entity = child,
                              .parent = parent,
                              .foreign = f,
                              .text = "One of those that belong to it.",
                              .on = {[SB_M_GET] = sb_admin_nested_get,
                                     [SB_M_PUT] = sb_admin_nested_put,
                                     [SB_M_PATCH] = sb_admin_nested_patch,
                                     [SB_M_DELETE] = sb_admin_nested_delete}});
    add(a, (sb_admin_route_t){.pattern = pattern(a, sb_asprintf("%s/{%s}/%s", own, child->name, f->field)),
                              .entity = child,
                              .parent = parent,
                              .foreign = f,
                              .text = "What it belongs to.",
                              .on = {[SB_M_GET] = sb_admin_linked_get,
                                     [SB_M_PUT] = sb_admin_linked_put,
                                     [SB_M_PATCH] = sb_admin_linked_patch,
                                     [SB_M_DELETE] = sb_admin_linked_delete}});
    free(above);
    free(own);
    free(name);
}

void
sb_admin_routes_build(sb_admin_t *a)
{
    size_t n;
    const sb_entity_t *const *all = sb_entities_all(&n);

    for (size_t i = 0; i < sizeof(by_hand) / sizeof(by_hand[0]); i++) {
        for (const sb_admin_route_t *r = by_hand[i]; r->pattern != NULL; r++) {
            if (r->api != SB_ADMIN_AND_STATUS && r->api != (a->host.status_api ? SB_STATUS_ONLY : SB_ADMIN_ONLY))
                continue;
            add(a, *r);
            if (r->of != NULL)
                a->routes[a->n - 1].entity = sb_entity_find(r->of);
        }
    }
    for (size_t i = 0; i < n && !a->host.status_api; i++) {
        if (all[i]->def->no_admin)
            continue;
        add_entity(a, all[i]);
        for (const sb_foreign_t *f = all[i]->foreign; f != NULL && f->field != NULL; f++)
            add_link(a, all[i], f);
    }
}

/* ---------- finding ---------- */

struct path {
    char *seg[MAX_SEGMENTS];
    size_t n;
};

static void
path_free(struct path *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->seg[i]);
}

/* Splits and decodes. False for what no route can have: too many segments, empty ones, NUL, not UTF-8. */
static bool
path_split(sb_str_t path, struct path *p)
{
    p->n = 0;
    if (path.len != 0 && path.data[path.len - 1] == '/')
        path.len--;
    while (path.len != 0) {
        const char *next = path.len > 1 ? memchr(path.data + 1, '/', path.len - 1) : NULL;
        size_t len = next != NULL ? (size_t)(next - path.data) : path.len, n;
        json_t *utf8;

        if (path.data[0] != '/' || len == 1 || p->n == MAX_SEGMENTS)
            return false;
        p->seg[p->n] = sb_admin_unescape((sb_str_t){path.data + 1, len - 1}, &n);
        utf8 = json_stringn(p->seg[p->n], n);
        p->n++;
        json_decref(utf8);
        if (utf8 == NULL || strlen(p->seg[p->n - 1]) != n)
            return false;
        path.data += len;
        path.len -= len;
    }
    return true;
}

/* Whether the pattern fits; which segments are parameters is left in *which, ended by -1. */
static bool
fits(const char *pat, const struct path *p, int *which)
{
    size_t i = 0;

    for (; *pat == '/' && pat[1] != '\0'; i++) {
        size_t len = strcspn(pat + 1, "/");

        if (i == p->n)
            return false;
        if (pat[1] == '{')
            *which++ = (int)i;
        else if (strlen(p->seg[i]) != len || memcmp(p->seg[i], pat + 1, len) != 0)
            return false;
        pat += len + 1;
    }
    *which = -1;
    return i == p->n;
}

const sb_admin_route_t *
sb_admin_routes_find(const sb_admin_t *a, sb_str_t path, char **param)
{
    const sb_admin_route_t *found = NULL;
    struct path p;
    int which[MAX_SEGMENTS + 1] = {-1};

    if (path_split(path, &p)) {
        for (size_t i = 0; i < a->n && found == NULL; i++) {
            if (fits(a->routes[i].pattern, &p, which))
                found = &a->routes[i];
        }
    }
    if (found != NULL && found->hidden)
        found = NULL;
    for (size_t i = 0; found != NULL && which[i] >= 0 && i < SB_ADMIN_MAX_PARAMS; i++) {
        param[i] = p.seg[which[i]];
        p.seg[which[i]] = NULL;
    }
    path_free(&p);
    return found;
}

bool
sb_admin_routes_shown(const sb_admin_t *a, size_t i)
{
    bool hidden = a->routes[i].hidden;

    for (size_t k = 0; k < i && !hidden; k++)
        hidden = strcmp(a->routes[k].pattern, a->routes[i].pattern) == 0;
    return !hidden;
}

void
sb_admin_each_route(const sb_admin_t *a, void (*fn)(const char *pattern, const char *allow, const char *text, void *arg), void *arg)
{
    for (size_t i = 0; i < a->n; i++) {
        char *allow = sb_admin_route_allow(&a->routes[i]);

        if (sb_admin_routes_shown(a, i))
            fn(a->routes[i].pattern, allow, a->routes[i].text, arg);
        free(allow);
    }
}

char *
sb_admin_route_allow(const sb_admin_route_t *r)
{
    static const struct {
        const char *name;
        enum sb_admin_method needs;
    } rows[] = {{"DELETE", SB_M_DELETE}, {"GET", SB_M_GET},   {"HEAD", SB_M_GET}, {"OPTIONS", SB_M_COUNT},
                {"PATCH", SB_M_PATCH},   {"POST", SB_M_POST}, {"PUT", SB_M_PUT}};
    sb_buf_t out = {0};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].needs != SB_M_COUNT && r->on[rows[i].needs] == NULL)
            continue;
        sb_buf_addf(&out, "%s%s", out.len != 0 ? ", " : "", rows[i].name);
    }
    return sb_buf_take(&out);
}
