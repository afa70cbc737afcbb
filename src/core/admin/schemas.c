/* Schemas of entities and plugins, shown and tried out, and which plugins there are. */
#include "core/admin/core_int.h"

#include <string.h>

static int
no_entity(sb_admin_call_t *c, const char *name)
{
    return sb_admin_answer_message(c, 404, "No entity named '%s'", name);
}

/* What the interface shows of a schema: its fields and its checks, and not which other ways of writing a field there are. */
static int
answer_schema(sb_admin_call_t *c, const sb_schema_t *schema)
{
    json_t *shown = sb_schema_describe(schema);

    json_object_del(shown, "shorthand_fields");
    return sb_admin_answer(c, 200, shown);
}

int
sb_admin_schema(sb_admin_call_t *c)
{
    const sb_entity_t *e = sb_entity_find(c->param[0]);

    if (e == NULL)
        return no_entity(c, c->param[0]);
    return answer_schema(c, sb_schema_variant(e->schema, &c->admin->host.hooks));
}

int
sb_admin_schema_validate(sb_admin_call_t *c)
{
    const char *name = c->route->param0 != NULL ? c->route->param0 : c->param[0];
    const sb_entity_t *e = sb_entity_find(name);
    json_t *row = NULL;
    int rc;

    if (e == NULL)
        return no_entity(c, name);
    if (sb_admin_read_input(c, e, NULL) != SB_OK)
        return SB_DECLINED;
    rc = sb_schema_process(e->schema, SB_OP_INSERT, c->input, NULL, &c->admin->host.hooks, &row, &c->err);
    json_decref(row);
    return rc == SB_OK ? sb_admin_answer_message(c, 200, "schema validation successful") : sb_admin_answer_error(c);
}

int
sb_admin_plugin_schema(sb_admin_call_t *c)
{
    const sb_plugin_schema_t *ps = sb_plugin_schemas_find(c->param[0]);

    if (ps == NULL)
        return sb_admin_answer_message(c, 404, "No plugin named '%s'", c->param[0]);
    return answer_schema(c, ps->schema);
}

/* The older form: the fields of config alone. */
int
sb_admin_plugin_config_schema(sb_admin_call_t *c)
{
    const sb_plugin_schema_t *ps = sb_plugin_schemas_find(c->param[0]);
    json_t *whole, *field, *config = NULL, *fields;
    size_t i;

    if (ps == NULL)
        return sb_admin_answer_message(c, 404, "No plugin named '%s'", c->param[0]);
    whole = sb_schema_describe(ps->schema);
    json_array_foreach(json_object_get(whole, "fields"), i, field)
    {
        if (json_object_get(field, "config") != NULL)
            config = json_object_get(field, "config");
    }
    fields = json_object_get(config, "fields");
    fields = fields != NULL ? json_incref(fields) : json_array();
    json_decref(whole);
    return sb_admin_answer(c, 200, json_pack("{s:o}", "fields", fields));
}

/* A kind of vault is a row of the vaults' table of subschemas. */
int
sb_admin_vault_schema(sb_admin_call_t *c)
{
    const sb_entity_t *e = sb_entity_find("vaults");
    const struct sb_subschema *sub = e != NULL ? e->def->subschemas : NULL;
    struct sb_schema_def def = {.name = c->param[0]};
    sb_schema_t *schema;
    int rc;

    while (sub != NULL && sub->key != NULL && strcmp(sub->key, c->param[0]) != 0)
        sub++;
    if (sub == NULL || sub->key == NULL)
        return sb_admin_answer_message(c, 404, "No vault named '%s'", c->param[0]);
    def.fields = sub->fields;
    def.checks = sub->checks;
    schema = sb_schema_from_table(&def);
    rc = answer_schema(c, schema);
    sb_schema_free(schema);
    return rc;
}

int
sb_admin_filter_schema(sb_admin_call_t *c)
{
    return sb_admin_answer_message(c, 404, "Filter '%s' not found", c->param[0]);
}

int
sb_admin_plugins_enabled(sb_admin_call_t *c)
{
    size_t n;
    const sb_plugin_schema_t *const *all = sb_plugin_schemas_all(&n);
    json_t *names = json_array();

    for (size_t i = 0; i < n; i++)
        json_array_append_new(names, json_string(all[i]->name));
    return sb_admin_answer(c, 200, json_pack("{s:o}", "enabled_plugins", names));
}
