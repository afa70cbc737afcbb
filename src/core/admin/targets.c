/*
 * Targets, under their upstream only: listed newest first with a counted offset, found by id or by address in any spelling, changed
 * but never created by PUT. The rest of the table's behaviour is the generated one.
 */
#include "core/admin/admin_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_DEFAULT 100
#define PAGE_MAX     1000

static const sb_entity_t *
targets(void)
{
    return sb_entity_find("targets");
}

int
sb_admin_targets_upstream(sb_admin_call_t *c, json_t **row)
{
    return sb_admin_select(c, sb_entity_find("upstreams"), c->param[0], row);
}

/* Id of the upstream that the path names. SB_DECLINED having answered. */
static int
upstream_id(sb_admin_call_t *c, char id[SB_UUID_TEXT + 1])
{
    json_t *row = NULL;

    if (sb_admin_targets_upstream(c, &row) != SB_OK)
        return SB_DECLINED;
    memcpy(id, sb_json_string(row, "id"), SB_UUID_TEXT + 1);
    json_decref(row);
    return SB_OK;
}

/* ---------- listing ---------- */

/* Newest first. */
json_t *
sb_admin_targets_of(sb_admin_call_t *c, const char *upstream)
{
    sb_page_opts_t o = {.size = PAGE_MAX, .foreign_field = "upstream", .foreign_id = upstream, .newest_first = true};
    json_t *all = json_array(), *rows;
    char *next = NULL, *last = NULL;

    do {
        free(last);
        last = next;
        o.offset = last;
        if (sb_dao_page(c->store, targets(), &o, &rows, &next, &c->err) != SB_OK) {
            json_decref(all);
            all = NULL;
            break;
        }
        json_array_extend(all, rows);
        json_decref(rows);
    } while (next != NULL);
    free(last);
    return all;
}

/* A number of the query; false with c->err when it is none, or not in [min, …]. */
static bool
read_number(sb_admin_call_t *c, const char *name, size_t min, size_t *out)
{
    const char *text = sb_admin_query(c, name);
    char *end;
    double v;

    if (text == NULL)
        return true;
    v = strtod(text, &end);
    if (end != text && *end == '\0' && v >= (double)min && v == floor(v) && v < 1e9) {
        *out = (size_t)v;
        return true;
    }
    if (strcmp(name, "offset") == 0)
        sb_err_set(&c->err, SB_E_INVALID_OFFSET, "'%s' is not a valid offset: bad base64 encoding", text);
    else if (end == text || *end != '\0' || isnan(v))
        sb_err_set(&c->err, SB_E_INVALID_SIZE, "size must be a number");
    else
        sb_err_set(&c->err, SB_E_INVALID_SIZE, "size must be an integer between 1 and %d", PAGE_MAX);
    return false;
}

int
sb_admin_targets_page(sb_admin_call_t *c, const char *upstream, json_t **rows, char **token)
{
    size_t size = PAGE_DEFAULT, offset = 0, n;
    json_t *all;

    *token = NULL;
    if (!read_number(c, "size", 1, &size) || !read_number(c, "offset", 0, &offset) || (all = sb_admin_targets_of(c, upstream)) == NULL)
        return sb_admin_answer_error(c);
    size = size < PAGE_MAX ? size : PAGE_MAX;
    n = json_array_size(all);
    *rows = json_array();
    for (size_t i = offset; i < n && i < offset + size; i++)
        json_array_append_new(*rows, sb_admin_present(c, targets(), json_array_get(all, i)));
    json_decref(all);
    if (offset + size < n)
        *token = sb_asprintf("%zu", offset + size);
    return SB_OK;
}

int
sb_admin_targets_list(sb_admin_call_t *c)
{
    char id[SB_UUID_TEXT + 1], *key, *path, *token;
    json_t *rows;
    int rc;

    if (upstream_id(c, id) != SB_OK || sb_admin_targets_page(c, id, &rows, &token) != SB_OK)
        return SB_DECLINED;
    key = sb_admin_escape(c->param[0]);
    path = sb_asprintf("/upstreams/%s/targets", key);
    rc = sb_admin_answer_page(c, rows, token, path, NULL);
    free(key);
    free(path);
    return rc;
}

int
sb_admin_targets_all(sb_admin_call_t *c)
{
    char id[SB_UUID_TEXT + 1], *key, *path;
    int rc;

    if (upstream_id(c, id) != SB_OK)
        return SB_DECLINED;
    key = sb_admin_escape(c->param[0]);
    path = sb_asprintf("/upstreams/%s/targets/all", key);
    rc = sb_admin_list_rows(c, targets(), path, "upstream", id);
    free(key);
    free(path);
    return rc;
}

/* ---------- items ---------- */

/* An address in the form that is stored; malloc'ed, NULL when it is none. The schema knows the form. */
static char *
normal_form(const char *text, const char *upstream)
{
    json_t *input = json_pack("{s:s,s:{s:s}}", "target", text, "upstream", "id", upstream), *row = NULL;
    char *out = NULL;

    if (sb_schema_process(targets()->schema, SB_OP_INSERT, input, NULL, NULL, &row, NULL) == SB_OK) {
        text = sb_json_string(row, "target");
        out = sb_strdup_len(text, strlen(text));
    }
    json_decref(input);
    json_decref(row);
    return out;
}

static int
select_by_address(sb_admin_call_t *c, const char *upstream, const char *text, json_t **row)
{
    char *address = normal_form(text, upstream);
    json_t *fields;
    int rc;

    if (address == NULL)
        return sb_err_set(&c->err, SB_E_NOT_FOUND, "not an address: %s", text);
    fields = json_pack("{s:s,s:{s:s}}", "target", address, "upstream", "id", upstream);
    rc = sb_dao_select_by_cache_key(c->store, targets(), fields, NULL, row, &c->err);
    json_decref(fields);
    free(address);
    return rc;
}

int
sb_admin_targets_select(sb_admin_call_t *c, char upstream[SB_UUID_TEXT + 1], json_t **row)
{
    sb_uuid_t u;
    int rc = upstream_id(c, upstream);

    if (rc != SB_OK)
        return rc;
    if (sb_uuid_parse(c->param[1], strlen(c->param[1]), &u))
        rc = sb_dao_select(c->store, targets(), c->param[1], NULL, row, &c->err);
    else
        rc = select_by_address(c, upstream, c->param[1], row);
    if (rc != SB_OK)
        return sb_admin_answer_error(c);
    if (strcmp(sb_json_foreign_id(*row, "upstream"), upstream) == 0)
        return SB_OK;
    json_decref(*row);
    return sb_admin_answer_not_found(c);
}

int
sb_admin_targets_get(sb_admin_call_t *c)
{
    char upstream[SB_UUID_TEXT + 1];
    json_t *row = NULL;

    if (sb_admin_targets_select(c, upstream, &row) != SB_OK)
        return SB_DECLINED;
    return sb_admin_answer_row(c, 200, targets(), row);
}

int
sb_admin_targets_patch(sb_admin_call_t *c)
{
    char upstream[SB_UUID_TEXT + 1];
    json_t *row = NULL;
    int rc;

    if (sb_admin_targets_select(c, upstream, &row) != SB_OK)
        return SB_DECLINED;
    rc = sb_admin_read_input(c, targets(), NULL);
    if (rc == SB_OK) {
        json_object_set_new(c->input, "upstream", json_pack("{s:s}", "id", upstream));
        rc = sb_admin_write_item(c, targets(), sb_json_string(row, "id"), false);
    }
    json_decref(row);
    return rc;
}

int
sb_admin_targets_delete(sb_admin_call_t *c)
{
    char upstream[SB_UUID_TEXT + 1];
    json_t *row = NULL;
    int rc;

    if (sb_admin_targets_select(c, upstream, &row) != SB_OK)
        return SB_DECLINED;
    rc = sb_dao_delete(c->store, targets(), sb_json_string(row, "id"), NULL, NULL, &c->err);
    json_decref(row);
    return rc == SB_OK ? sb_admin_answer_empty(c, 204) : sb_admin_answer_error(c);
}

int
sb_admin_targets_create(sb_admin_call_t *c)
{
    char upstream[SB_UUID_TEXT + 1];

    if (upstream_id(c, upstream) != SB_OK || sb_admin_read_input(c, targets(), NULL) != SB_OK)
        return SB_DECLINED;
    json_object_set_new(c->input, "upstream", json_pack("{s:s}", "id", upstream));
    return sb_admin_write_insert(c, targets());
}
