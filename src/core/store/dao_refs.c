/*
 * References by name: {"service":{"name":"x"}} becomes {"service":{"id":…}} before validation, by any unique field of the parent. An object
 * with an id, or with no unique field of the parent, is left to validation.
 */
#include "core/base/json.h"
#include "core/store/store_int.h"

#include <stdlib.h>
#include <string.h>

typedef struct resolve {
    sb_store_t *s;
    const char *ws;
    json_t *out;      /* shallow copy of input; what is replaced is replaced here */
    json_t *failures; /* {field: {key: text}} */
} resolve_t;

static void
unresolved(resolve_t *r, const char *field, const char *key, const json_t *given, const char *parent)
{
    char *pretty = sb_store_pretty(given);
    char *text = sb_asprintf("the foreign key cannot be resolved with '%s' for an existing '%s' entity", pretty, parent);
    json_t *of_field = json_object_get(r->failures, field);

    if (of_field == NULL) {
        of_field = json_object();
        json_object_set_new(r->failures, field, of_field);
    }
    json_object_set_new(of_field, key, json_string(text));
    free(text);
    free(pretty);
}

static int
resolve_field(resolve_t *r, const json_t *input, const sb_foreign_t *f, sb_err_t *err)
{
    const json_t *given = json_object_get(input, f->field);
    const sb_table_t *parent = sb_tables_find(r->s->tables, f->parent);
    size_t i;

    if (!json_is_object(given) || parent == NULL || sb_json_get(given, "id") != NULL)
        return SB_OK;
    for (i = 0; i < parent->ncols; i++) {
        const sb_column_t *c = &parent->cols[i];
        const char *value = c->unique ? sb_json_string(given, c->field->name) : NULL;
        sb_record_t rec = {0};
        int rc;

        if (value == NULL)
            continue;
        rc = r->s->ops->find(r->s->conn, parent, c, (sb_str_t){value, json_string_length(json_object_get(given, c->field->name))},
                             c->per_ws ? r->ws : NULL, &rec, err);
        if (rc == SB_OK) {
            json_object_set_new(r->out, f->field, json_pack("{s:O}", "id", json_object_get(rec.row, "id")));
            json_object_del(r->failures, f->field);
            json_decref(rec.row);
            return SB_OK;
        }
        if (rc != SB_DECLINED)
            return rc;
        unresolved(r, f->field, c->field->name, given, f->parent);
    }
    return SB_OK;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "service.name: the foreign key …; …" in the order of field names. */
static size_t
describe(const json_t *failures, sb_buf_t *b)
{
    size_t i, n = json_object_size(failures), count = 0;
    const char **fields = sb_calloc(n * sizeof(*fields)), *key;
    json_t *value;

    i = 0;
    json_object_foreach((json_t *)failures, key, value) fields[i++] = key;
    qsort(fields, n, sizeof(*fields), by_name);
    for (i = 0; i < n; i++) {
        json_object_foreach(json_object_get(failures, fields[i]), key, value)
        {
            sb_buf_addf(b, "%s%s.%s: %s", count != 0 ? "; " : "", fields[i], key, json_string_value(value));
            count++;
        }
    }
    free(fields);
    return count;
}

static int
report(json_t *failures, sb_err_t *err)
{
    sb_buf_t b = {0};
    size_t n = describe(failures, &b);
    int rc;

    if (n == 1)
        rc = sb_err_set_fields(err, SB_E_FOREIGN_KEYS_UNRESOLVED, failures, "foreign key unresolved (%s)", b.data);
    else
        rc = sb_err_set_fields(err, SB_E_FOREIGN_KEYS_UNRESOLVED, failures, "%zu foreign keys unresolved (%s)", n, b.data);
    sb_buf_free(&b);
    return rc;
}

int
sb_dao_resolve(sb_store_t *s, const sb_table_t *t, sb_change_set_t *c, const json_t *input, json_t **out, sb_err_t *err)
{
    resolve_t r = {.s = s, .ws = c->ws};
    const sb_foreign_t *f;
    int rc = SB_OK;

    r.out = json_copy((json_t *)input); /* shallow */
    r.failures = json_object();
    for (f = t->e->foreign; rc == SB_OK && f != NULL && f->field != NULL; f++)
        if ((rc = resolve_field(&r, input, f, err)) == SB_OK && json_object_get(r.out, f->field) != json_object_get(input, f->field))
            c->resolved |= UINT64_C(1) << (f - t->e->foreign);
    if (rc == SB_OK && json_object_size(r.failures) != 0)
        rc = report(json_incref(r.failures), err);
    json_decref(r.failures);
    if (rc == SB_OK)
        *out = r.out;
    else
        json_decref(r.out);
    return rc;
}
