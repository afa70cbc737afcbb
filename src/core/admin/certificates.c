/*
 * Certificates: `snis` is a list of names that the API takes and shows with a certificate, though each name is an entity of its own;
 * and a certificate's path key may be such a name. Before a write the list is checked against the names that exist; after it
 * the SNI rows are brought in step, in the same transaction.
 */
#include "core/admin/admin_int.h"

#include <stdlib.h>
#include <string.h>

static const sb_entity_t *
snis(void)
{
    return sb_entity_find("snis");
}

/* The certificate that an SNI name belongs to; NULL with c->err for none. malloc'ed. */
static char *
owner_of(sb_admin_call_t *c, const char *name)
{
    json_t *row = NULL;
    const char *id;
    char *owner = NULL;

    if (sb_dao_select(c->store, snis(), name, &(sb_dao_opts_t){.by = "name"}, &row, &c->err) == SB_OK) {
        id = sb_json_foreign_id(row, "certificate");
        owner = sb_strdup_len(id, strlen(id));
    }
    json_decref(row);
    return owner;
}

static int
key(sb_admin_call_t *c, const char *name, bool create, char **id)
{
    char made[SB_UUID_TEXT + 1];
    json_t *list;

    *id = owner_of(c, name);
    if (*id != NULL)
        return SB_OK;
    if (c->err.code != SB_E_NOT_FOUND)
        return sb_admin_answer_error(c);
    if (!create)
        return sb_admin_answer_message(c, 404, "SNI not found");
    /* A PUT by a new name makes a certificate that has it. */
    sb_err_clear(&c->err);
    sb_uuid_v4(made);
    *id = sb_strdup_len(made, SB_UUID_TEXT);
    list = json_array();
    json_array_append_new(list, json_string(name));
    if (json_is_array(json_object_get(c->input, "snis")))
        json_array_extend(list, json_object_get(c->input, "snis"));
    json_object_set_new(c->input, "snis", list);
    return SB_OK;
}

/* ---------- writing ---------- */

static int refuse(sb_admin_call_t *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int
refuse(sb_admin_call_t *c, const char *fmt, ...)
{
    va_list ap;
    char *text = NULL;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        sb_panic(__FILE__, __LINE__, "out of memory");
    va_end(ap);
    sb_schema_violation(&c->err, json_pack("{s:s}", "snis", text));
    free(text);
    return sb_admin_answer_error(c);
}

static bool
occurs_before(const json_t *list, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (json_equal(json_array_get(list, k), json_array_get(list, i)))
            return true;
    }
    return false;
}

static int
before(sb_admin_call_t *c, const char *id, void **state)
{
    json_t *list = json_object_get(c->input, "snis"), *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        const char *name = json_string_value(item);
        char *owner;
        int rc = SB_OK;

        if (name == NULL)
            continue; /* the schema says what is wrong with it */
        if (occurs_before(list, i))
            return refuse(c, "%s is duplicated", name);
        owner = owner_of(c, name);
        if (owner != NULL && (id == NULL || strcasecmp(owner, id) != 0))
            rc = refuse(c, "%s already associated with existing certificate '%s'", name, owner);
        free(owner);
        if (rc != SB_OK)
            return rc;
        sb_err_clear(&c->err);
    }
    *state = json_incref(list);
    return SB_OK;
}

/* Rows of a certificate's SNIs, all of them. New reference; NULL with c->err. */
static json_t *
rows_of(sb_admin_call_t *c, const char *id)
{
    sb_page_opts_t o = {.size = 1000, .foreign_field = "certificate", .foreign_id = id};
    json_t *all = json_array(), *rows;
    char *next = NULL, *last = NULL;

    do {
        free(last);
        last = next;
        o.offset = last;
        if (sb_dao_page(c->store, snis(), &o, &rows, &next, &c->err) != SB_OK) {
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

static bool
contains(const json_t *list, const json_t *value)
{
    size_t i;
    json_t *v;

    json_array_foreach(list, i, v)
    {
        if (json_equal(v, value))
            return true;
    }
    return false;
}

static int
drop_rows(sb_admin_call_t *c, const json_t *rows, const json_t *list)
{
    json_t *row;
    size_t i;
    int rc = SB_OK;

    json_array_foreach(rows, i, row)
    {
        if (rc == SB_OK && !contains(list, json_object_get(row, "name")))
            rc = sb_dao_delete(c->store, snis(), sb_json_string(row, "id"), NULL, NULL, &c->err);
    }
    return rc;
}

static int
add_rows(sb_admin_call_t *c, const json_t *rows, const json_t *list, const char *id)
{
    json_t *name, *row, *input;
    size_t i, k;
    int rc = SB_OK;

    json_array_foreach(list, i, name)
    {
        bool there = false;

        json_array_foreach(rows, k, row) there = there || json_equal(json_object_get(row, "name"), name);
        if (there || rc != SB_OK)
            continue;
        input = json_pack("{s:O,s:{s:s}}", "name", name, "certificate", "id", id);
        rc = sb_dao_insert(c->store, snis(), input, NULL, &row, &c->err);
        json_decref(input);
        if (rc == SB_OK)
            json_decref(row);
    }
    return rc;
}

static int
after(sb_admin_call_t *c, const json_t *row, void *state)
{
    json_t *list = state, *rows;
    const char *id = row != NULL ? sb_json_string(row, "id") : NULL;
    int rc = SB_OK;

    if (id != NULL && list != NULL) {
        rows = rows_of(c, id);
        rc = rows != NULL ? drop_rows(c, rows, list) : SB_ERROR;
        if (rc == SB_OK)
            rc = add_rows(c, rows, list, id);
        json_decref(rows);
        if (rc != SB_OK)
            rc = sb_admin_answer_error(c);
    }
    json_decref(list);
    return rc;
}

/* ---------- showing ---------- */

static int
by_text(const void *a, const void *b)
{
    return strcmp(json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

static void
present(sb_admin_call_t *c, json_t *shown)
{
    json_t *rows = rows_of(c, sb_json_string(shown, "id")), *names = json_array(), **sorted;
    size_t n = json_array_size(rows);

    sorted = sb_calloc((n + 1) * sizeof(*sorted));
    for (size_t i = 0; i < n; i++)
        sorted[i] = json_object_get(json_array_get(rows, i), "name");
    qsort(sorted, n, sizeof(*sorted), by_text);
    for (size_t i = 0; i < n; i++)
        json_array_append(names, sorted[i]);
    json_object_set_new(shown, "snis", names);
    free(sorted);
    json_decref(rows);
    sb_err_clear(&c->err);
}

const sb_admin_hook_t sb_admin_hook_certificates = {
    .entity = "certificates", .key = key, .before = before, .after = after, .present = present};
