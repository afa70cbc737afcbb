/*
 * docs/reference/admin-api.md: the route table, and of every endpoint and method what it takes and answers, out of the OpenAPI document
 * that the node itself shows. Start at docgen_admin().
 */
#include "docgen.h"

#include "core/admin/admin.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static void
print_route(const char *pattern, const char *allow, const char *text, void *arg)
{
    docgen_need(text, "admin route", pattern);
    fprintf(arg, "| `%s` | %s | ", pattern, allow);
    docgen_cell(arg, text);
    fprintf(arg, " |\n");
}

/* ---- errors ---- */

static void
print_statuses(FILE *f, const json_t *document)
{
    json_t *responses = json_object_get(json_object_get(document, "components"), "responses"), *v;
    const char *status;

    fprintf(f,
            "\n## Errors\n\nThe body has a `message`. Errors that concern a row also have the `code` and its `name`, and `fields` says by "
            "field what is\nwrong.\n\n| Status | When |\n|---|---|\n");
    json_object_foreach(responses, status, v)
    {
        fprintf(f, "| %s | ", strcmp(status, "default") == 0 ? "other" : status);
        docgen_cell(f, json_string_value(json_object_get(v, "description")));
        fprintf(f, " |\n");
    }
}

static void
print_codes(FILE *f)
{
    fprintf(f, "\n| Code | Name | Status |\n|---|---|---|\n");
    for (int code = 1; sb_err_name(code)[0] != '\0'; code++)
        fprintf(f, "| %d | %s | %d |\n", code, sb_err_name(code), sb_admin_error_status(code));
}

/* ---- arguments ---- */

static void
print_parameters(FILE *f, const json_t *document)
{
    json_t *parameters = json_object_get(json_object_get(document, "components"), "parameters"), *v;
    const char *name;
    char *schema;

    fprintf(f, "\n## Arguments of the query\n\n| Name | Values | Meaning |\n|---|---|---|\n");
    json_object_foreach(parameters, name, v)
    {
        schema = json_dumps(json_object_get(v, "schema"), JSON_COMPACT);
        fprintf(f, "| `%s` | `%s` | ", name, schema);
        docgen_cell(f, json_string_value(json_object_get(v, "description")));
        fprintf(f, " |\n");
        free(schema);
    }
}

/* ---- operations ---- */

/* The last part of a "$ref"; NULL: something else. */
static const char *
referred(const json_t *o)
{
    const char *ref = json_string_value(json_object_get(o, "$ref"));

    return ref != NULL ? strrchr(ref, '/') + 1 : NULL;
}

static const json_t *
json_schema_of(const json_t *holder)
{
    return json_object_get(json_object_get(json_object_get(holder, "content"), "application/json"), "schema");
}

static void
print_arguments(FILE *f, const json_t *op)
{
    json_t *p;
    size_t i;

    json_array_foreach(json_object_get(op, "parameters"), i, p) fprintf(f, "%s`%s`", i != 0 ? ", " : "", referred(p));
}

static void
print_body(FILE *f, const json_t *op)
{
    const json_t *body = json_object_get(op, "requestBody");
    const char *name = referred(json_schema_of(body));

    if (body != NULL)
        fprintf(f, "%s%s%s", name != NULL ? "`" : "", name != NULL ? name : "an object", name != NULL ? "`" : "");
}

static void
print_answers(FILE *f, const json_t *op)
{
    json_t *v;
    const char *status, *name;
    bool first = true;

    json_object_foreach(json_object_get(op, "responses"), status, v)
    {
        if (strcmp(status, "default") == 0)
            continue;
        fprintf(f, "%s%s", first ? "" : ", ", status);
        name = referred(json_schema_of(v));
        if (name != NULL)
            fprintf(f, " `%s`", name);
        first = false;
    }
}

static void
print_operation(FILE *f, const char *path, const char *method, const json_t *op)
{
    fprintf(f, "| `%s` | ", path);
    for (const char *p = method; *p != '\0'; p++)
        fputc(toupper((unsigned char)*p), f);
    fprintf(f, " | ");
    print_arguments(f, op);
    fprintf(f, " | ");
    print_body(f, op);
    fprintf(f, " | ");
    print_answers(f, op);
    fprintf(f, " |\n");
}

static void
print_operations(FILE *f, const json_t *document)
{
    static const char *const methods[] = {"get", "post", "put", "patch", "delete"};
    json_t *item, *op;
    const char *path;

    fprintf(
        f, "\n## Every operation\n\nWhat stands in code is the name of a schema in the document that `GET /openapi` answers: `routes` is a "
           "row as it is shown,\n`routes.page` a page of them, `routes.new` what creates one, `routes.change` what changes one. HEAD is "
           "answered as GET without\nthe body, OPTIONS with 204 and the methods.\n\n| Path | Method | Arguments | Takes | Answers |\n"
           "|---|---|---|---|---|\n");
    json_object_foreach(json_object_get(document, "paths"), path, item) for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
    {
        op = json_object_get(item, methods[i]);
        if (op != NULL)
            print_operation(f, path, methods[i], op);
    }
}

void
docgen_admin(FILE *f)
{
    sb_admin_host_t host = {0};
    sb_admin_t *a = sb_admin_new(&host);
    json_t *document = sb_admin_openapi_document(a);

    fprintf(f, "# Admin API\n\nThe route table, in order of precedence: first the node's own endpoints (`src/core/admin/core.c`), then "
               "what follows from the\n[entity tables](entities.md) (`src/core/admin/routes.c`). A name in braces stands for an id, or for "
               "the key that the entity\nis found by. POST creates, PUT creates or replaces, PATCH changes what is given. `GET /openapi` "
               "gives the same to programs\n([how to use it](../howto/openapi.md)).\n\n"
               "| Path | Methods | What it is |\n|---|---|---|\n");
    sb_admin_each_route(a, print_route, f);
    print_parameters(f, document);
    print_statuses(f, document);
    print_codes(f);
    print_operations(f, document);
    json_decref(document);
    sb_admin_free(a);
}
