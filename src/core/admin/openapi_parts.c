/*
 * The components of the OpenAPI document. Of each entity:
 *
 *   routes           a row as it is shown              routes.page     a page of them
 *   routes.new       what POST takes                   routes.change   what PATCH takes
 *   routes.put       what PUT takes: as POST, but the path may give the name
 *   routes.nested    what POST takes under a parent, which then need not be named
 *
 * where .put and .nested only stand when they differ from .new. An entity whose fields depend on its `name` (plugins, vaults) has a
 * schema for each name, plugins.new.<name>, and .new is one of them; a plugin's configuration is plugins.config.<name>.
 */
#include "core/admin/openapi_int.h"

#include <stdlib.h>
#include <string.h>

json_t *
sb_openapi_ref(const char *kind, const char *name)
{
    char *text = sb_asprintf("#/components/%s/%s", kind, name);
    json_t *o = json_pack("{s:s}", "$ref", text);

    free(text);
    return o;
}

/* ---------- what must be given, by endpoint ---------- */

static bool
is_foreign(const sb_entity_t *e, const char *name)
{
    for (const sb_foreign_t *f = e->foreign; f != NULL && f->field != NULL; f++)
        if (strcmp(f->field, name) == 0)
            return true;
    return false;
}

/* Whether a path that leads to the row gives this field: nested, the parent; else the key of a PUT. */
static bool
in_path(const sb_entity_t *e, const char *name, bool nested)
{
    return nested ? is_foreign(e, name) : e->endpoint_key != NULL && strcmp(e->endpoint_key, name) == 0;
}

/* Takes what the path gives out of a "required" list; true when there was something. */
static bool
drop_required(const sb_entity_t *e, json_t *schema, bool nested)
{
    json_t *names = json_object_get(schema, "required");
    bool found = false;

    for (size_t i = json_array_size(names); i-- > 0;) {
        if (!in_path(e, json_string_value(json_array_get(names, i)), nested))
            continue;
        json_array_remove(names, i);
        found = true;
    }
    if (names != NULL && json_array_size(names) == 0)
        json_object_del(schema, "required"); /* OpenAPI wants none rather than an empty one */
    return found;
}

static bool
differs(const sb_entity_t *e, bool nested)
{
    json_t *schema = sb_schema_openapi(e->schema, NULL, SB_SHAPE_NEW);
    bool found = drop_required(e, schema, nested);

    json_decref(schema);
    return found;
}

char *
sb_openapi_body_name(const sb_entity_t *e, enum sb_admin_method m, bool nested)
{
    const char *tail = "new";

    if (m == SB_M_PATCH)
        tail = "change";
    else if (nested && differs(e, true))
        tail = "nested";
    else if (m == SB_M_PUT && differs(e, false))
        tail = "put";
    return sb_asprintf("%s.%s", e->name, tail);
}

/* ---------- entities ---------- */

static void
put(json_t *schemas, const char *entity, const char *tail, json_t *schema)
{
    char *name = sb_asprintf("%s%s%s", entity, tail[0] != '\0' ? "." : "", tail);

    json_object_set_new(schemas, name, schema);
    free(name);
}

static json_t *
page_of(json_t *items)
{
    return json_pack("{s:s,s:[s,s],s:{s:{s:s,s:o},s:{s:s,s:b,s:s},s:{s:s,s:s}}}", "type", "object", "required", "data", "next",
                     "properties", "data", "type", "array", "items", items, "next", "type", "string", "nullable", 1, "description",
                     "The path of the next page; null on the last.", "offset", "type", "string", "description",
                     "Where the next page begins; absent on the last.");
}

/* A plugin's configuration becomes a schema of its own. */
static void
move_config(json_t *schemas, const sb_entity_t *e, json_t *schema, const char *name)
{
    json_t *properties = json_object_get(schema, "properties"), *config = json_object_get(properties, "config");
    char *key = sb_asprintf("%s.config.%s", e->name, name);

    if (json_object_get(config, "properties") != NULL) {
        json_object_set(schemas, key, config);
        json_object_set_new(properties, "config", sb_openapi_ref("schemas", key));
    }
    free(key);
}

static void
add_named(json_t *schemas, json_t *any, json_t *mapping, const sb_entity_t *e, const sb_schema_t *s, const char *name)
{
    json_t *schema = sb_schema_openapi(s, name, SB_SHAPE_NEW);
    char *key = sb_asprintf("%s.new.%s", e->name, name), *path = sb_asprintf("#/components/schemas/%s", key);

    move_config(schemas, e, schema, name);
    json_object_set_new(schemas, key, schema);
    json_array_append_new(any, sb_openapi_ref("schemas", key));
    json_object_set_new(mapping, name, json_string(path));
    free(key);
    free(path);
}

/* One schema per plugin, or per kind of vault. NULL when there is none. */
static json_t *
by_name(json_t *schemas, const sb_entity_t *e, const sb_schema_t *s)
{
    json_t *any = json_array(), *mapping = json_object();
    const struct sb_subschema *sub = e->def->subschemas;
    size_t n = 0;
    const sb_plugin_schema_t *const *plugins = sb_plugin_schemas_all(&n);

    for (; sub != NULL && sub->key != NULL; sub++)
        add_named(schemas, any, mapping, e, s, sub->key);
    for (size_t i = 0; e->def->subschemas == NULL && i < n; i++)
        add_named(schemas, any, mapping, e, s, plugins[i]->name);
    if (json_array_size(any) == 0) {
        json_decref(any);
        json_decref(mapping);
        return NULL;
    }
    return json_pack("{s:o,s:{s:s,s:o}}", "oneOf", any, "discriminator", "propertyName", e->def->subschema_key, "mapping", mapping);
}

static json_t *
new_schema(json_t *schemas, const sb_entity_t *e, const sb_schema_t *s)
{
    bool named = e->def->subschema_key != NULL && strcmp(e->def->subschema_key, "name") == 0;
    json_t *schema = named ? by_name(schemas, e, s) : NULL;

    return schema != NULL ? schema : sb_schema_openapi(s, NULL, SB_SHAPE_NEW);
}

static void
add_without_path(json_t *schemas, const sb_entity_t *e, const sb_schema_t *s, bool nested)
{
    json_t *schema = sb_schema_openapi(s, NULL, SB_SHAPE_NEW);

    if (drop_required(e, schema, nested))
        put(schemas, e->name, nested ? "nested" : "put", json_incref(schema));
    json_decref(schema);
}

static void
add_entity(json_t *schemas, const sb_admin_t *a, const sb_entity_t *e)
{
    const sb_schema_t *s = sb_schema_variant(e->schema, &a->host.hooks);

    put(schemas, e->name, "", sb_schema_openapi(s, NULL, SB_SHAPE_ANSWER));
    put(schemas, e->name, "page", page_of(sb_openapi_ref("schemas", e->name)));
    put(schemas, e->name, "new", new_schema(schemas, e, s));
    put(schemas, e->name, "change", sb_schema_openapi(s, NULL, SB_SHAPE_CHANGE));
    add_without_path(schemas, e, s, false);
    add_without_path(schemas, e, s, true);
}

/* ---------- what all share ---------- */

static void
add_shared(json_t *schemas)
{
    json_object_set_new(schemas, "page", page_of(json_pack("{s:s}", "type", "object")));
    json_object_set_new(
        schemas, "message",
        json_pack("{s:s,s:[s],s:{s:{s:s}}}", "type", "object", "required", "message", "properties", "message", "type", "string"));
    json_object_set_new(schemas, "form",
                        json_pack("{s:s,s:s}", "type", "object", "description",
                                  "The same fields as text: `config.size=1` for members of records, `paths[]=/a` or `paths[1]=/a` for "
                                  "elements of lists. Values are read by the entity's types."));
    json_object_set_new(schemas, "error",
                        json_pack("{s:s,s:[s],s:{s:{s:s},s:{s:s,s:s},s:{s:s,s:s},s:{s:s,s:s},s:{s:s,s:s}}}", "type", "object", "required",
                                  "message", "properties", "message", "type", "string", "code", "type", "integer", "description",
                                  "Which kind of error.", "name", "type", "string", "description", "The code in words.", "fields", "type",
                                  "object", "description", "What is wrong, by field.", "options", "type", "object", "description",
                                  "What is wrong, by argument of the query."));
}

static json_t *
responses(void)
{
    static const struct {
        const char *status, *text;
    } rows[] = {
        {"400", "The request cannot be read, or a field of it is not acceptable."},
        {"404", "There is none."},
        {"405", "Not possible here."},
        {"409", "Another one has that value of a unique field."},
        {"413", "The body is larger than this listener takes."},
        {"415", "The body is neither JSON nor a form."},
        {"501", "Not there in this version."},
        {"default", "Any other error."},
    };
    json_t *out = json_object();

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        json_object_set_new(out, rows[i].status,
                            json_pack("{s:s,s:{s:{s:o}}}", "description", rows[i].text, "content", "application/json", "schema",
                                      sb_openapi_ref("schemas", "error")));
    return out;
}

static json_t *
parameters(void)
{
    static const struct {
        const char *name, *schema, *text;
    } rows[] = {
        {"size", "{\"type\":\"integer\",\"minimum\":1,\"maximum\":1000,\"default\":100}", "How many rows a page has."},
        {"offset", "{\"type\":\"string\"}", "Where the page begins: `offset` of the page before."},
        {"tags", "{\"type\":\"string\",\"minLength\":1}", "Only rows with these tags: `a,b` for both, `a/b` for either; at most five."},
        {"custom_id", "{\"type\":\"string\",\"minLength\":1}", "Only the row with this `custom_id`."},
        {"cascade", "{\"type\":\"boolean\",\"default\":false}", "With all that is in it, in one transaction."},
        {"unit", "{\"type\":\"string\",\"enum\":[\"b\",\"k\",\"m\",\"g\",\"B\",\"K\",\"M\",\"G\"],\"default\":\"m\"}",
         "The unit of sizes of memory."},
        {"scale", "{\"type\":\"number\",\"minimum\":0,\"default\":2}", "How many digits sizes have behind the point."},
        {"balancer_health", "{\"type\":\"string\",\"enum\":[\"1\"]}", "The balancer as a whole instead of its targets."},
        {"timeout", "{\"type\":\"number\",\"minimum\":0,\"default\":60}", "After how many seconds the old level comes back; 0: never."},
        {"method", "{\"type\":\"string\",\"default\":\"GET\"}", "The method of the request asked about."},
        {"url", "{\"type\":\"string\"}", "Its URL, `http[s]://host[:port]/path?query`, or a path. Must be given."},
        {"header", "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}",
         "Its headers, each as `Name: value`; `Host` replaces the URL's."},
        {"sni", "{\"type\":\"string\"}", "The name in its TLS handshake; left out: the host."},
        {"source", "{\"type\":\"string\",\"default\":\"127.0.0.1\"}", "The address it comes from."},
        {"source_port", "{\"type\":\"integer\",\"minimum\":0,\"maximum\":65535,\"default\":0}", "The port it comes from."},
        {"destination", "{\"type\":\"string\",\"default\":\"127.0.0.1\"}", "The address it goes to."},
        {"candidates", "{\"type\":\"integer\",\"minimum\":0,\"maximum\":1000,\"default\":20}", "How many routes are shown."},
    };
    json_t *out = json_object();

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        json_object_set_new(out, rows[i].name,
                            json_pack("{s:s,s:s,s:s,s:o}", "name", rows[i].name, "in", "query", "description", rows[i].text, "schema",
                                      sb_json_parse(rows[i].schema, strlen(rows[i].schema), NULL)));
    return out;
}

/* Whether any path is about it. */
static bool
has_paths(const sb_admin_t *a, const sb_entity_t *e)
{
    for (size_t i = 0; i < a->n; i++)
        if (a->routes[i].entity == e)
            return true;
    return false;
}

json_t *
sb_openapi_components(const sb_admin_t *a)
{
    json_t *schemas = json_object();
    size_t n;
    const sb_entity_t *const *all = sb_entities_all(&n);

    for (size_t i = 0; i < n; i++)
        if (has_paths(a, all[i]))
            add_entity(schemas, a, all[i]);
    add_shared(schemas);
    return json_pack("{s:o,s:o,s:o}", "schemas", schemas, "responses", responses(), "parameters", parameters());
}
