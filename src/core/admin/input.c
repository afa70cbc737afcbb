/* The body of a request as one JSON object, whatever form it came in; see admin_int.h. */
#include "core/admin/admin_int.h"

#include <string.h>
#include <strings.h>

enum form { FORM_NONE, FORM_JSON, FORM_URLENCODED, FORM_MULTIPART, FORM_OTHER };

static bool
type_is(sb_str_t type, const char *name)
{
    size_t n = strlen(name);

    return type.len >= n && strncasecmp(type.data, name, n) == 0 &&
           (type.len == n || type.data[n] == ';' || type.data[n] == ' ' || type.data[n] == '\t');
}

static enum form
form_of(const sb_admin_request_t *req)
{
    if (type_is(req->content_type, "application/json"))
        return FORM_JSON;
    if (type_is(req->content_type, "application/x-www-form-urlencoded"))
        return FORM_URLENCODED;
    if (type_is(req->content_type, "multipart/form-data"))
        return FORM_MULTIPART;
    return FORM_OTHER;
}

static int
read_json(sb_admin_call_t *c)
{
    c->input = sb_json_parse(c->req->body.data, c->req->body.len, NULL);
    if (json_is_array(c->input) && json_array_size(c->input) == 0) {
        /* An empty list and an empty object are one thing to the interface. */
        json_decref(c->input);
        c->input = json_object();
    }
    return json_is_object(c->input) ? SB_OK : sb_admin_answer_message(c, 400, "Cannot parse JSON body");
}

static int
read_form(sb_admin_call_t *c, enum form form, const sb_schema_t *schema, const char *plugin_name)
{
    json_t *args = json_object();
    bool well = true;
    int rc;

    if (form == FORM_MULTIPART)
        rc = sb_admin_multipart_parse(c->req->content_type, c->req->body, args, &well);
    else
        rc = sb_admin_args_parse(c->req->body, args, &well);
    if (rc == SB_OK)
        c->input = schema != NULL ? sb_schema_decode_form(schema, plugin_name, args) : json_incref(args);
    else
        rc = sb_admin_answer_message(c, 400, well ? "Too many arguments" : "Cannot parse form body");
    json_decref(args);
    return rc;
}

int
sb_admin_read_input(sb_admin_call_t *c, const sb_entity_t *e, const char *plugin_name)
{
    enum form form = c->req->body.len != 0 ? form_of(c->req) : FORM_NONE;

    json_decref(c->input);
    c->input = NULL;
    switch (form) {
    case FORM_NONE:
        c->input = json_object();
        return SB_OK;
    case FORM_JSON:
        return read_json(c);
    case FORM_OTHER:
        return sb_admin_answer_message(c, 415, "Unsupported media type");
    default:
        return read_form(c, form, e != NULL ? sb_schema_variant(e->schema, &c->admin->host.hooks) : NULL, plugin_name);
    }
}

const char *
sb_admin_query(const sb_admin_call_t *c, const char *name)
{
    json_t *v = json_object_get(c->query, name);

    if (json_is_array(v))
        v = json_array_get(v, json_array_size(v) - 1);
    return json_string_value(v);
}
