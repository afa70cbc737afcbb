/* What single entities have beyond their tables: one row per entity, each defined in the file that its comment names. */
#include "core/admin/admin_int.h"

#include <string.h>

static const sb_admin_hook_t *const hooks[] = {
    &sb_admin_hook_certificates, /* certificates.c: keys that are SNI names */
    &sb_admin_hook_consumers,    /* below: ?custom_id= */
};

const sb_admin_hook_t *
sb_admin_hook(const sb_entity_t *e)
{
    static const sb_admin_hook_t none;

    for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++) {
        if (strcmp(hooks[i]->entity, e->name) == 0)
            return hooks[i];
    }
    return &none;
}

/* ---------- consumers ---------- */

static int
list_consumers(sb_admin_call_t *c)
{
    json_t *given = json_object_get(c->query, "custom_id"), *rows, *row = NULL;
    int rc;

    if (given == NULL)
        return SB_NOT_MINE;
    if (!json_is_string(given) || json_string_length(given) == 0)
        return sb_admin_answer_message(c, 400, "custom_id must be an unempty string");
    rc = sb_dao_select(c->store, c->route->entity, json_string_value(given), &(sb_dao_opts_t){.by = "custom_id"}, &row, &c->err);
    if (rc != SB_OK && c->err.code != SB_E_NOT_FOUND)
        return sb_admin_answer_error(c);
    rows = json_array();
    if (rc == SB_OK) {
        json_array_append_new(rows, sb_admin_present(c, c->route->entity, row));
        json_decref(row);
    }
    return sb_admin_answer_page(c, rows, NULL, NULL, NULL);
}

const sb_admin_hook_t sb_admin_hook_consumers = {.entity = "consumers", .list = list_consumers, .query = "custom_id"};
