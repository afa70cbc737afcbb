/*
 * Pages and listings. A page holds rows behind the last one of the page before, in key order, so that rows added or deleted between two
 * pages neither repeat nor hide others.
 */
#include "core/base/json.h"
#include "core/store/store_int.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_DEFAULT 100
#define PAGE_MAX     1000
#define TAGS_MAX     15

static int
append(sb_record_t *rec, void *arg)
{
    json_array_append_new(arg, rec->row);
    return SB_OK;
}

static int
page_size(size_t asked, size_t *size, sb_err_t *err)
{
    if (asked > PAGE_MAX)
        return sb_err_set(err, SB_E_INVALID_SIZE, "size must be an integer between 1 and %d", PAGE_MAX);
    *size = asked != 0 ? asked : PAGE_DEFAULT;
    return SB_OK;
}

static int
make_query(sb_store_t *s, const sb_table_t *t, const sb_page_opts_t *o, sb_query_t *q, sb_err_t *err)
{
    json_t *after = NULL;
    int rc = page_size(o->size, &q->limit, err);

    if (rc != SB_OK)
        return rc;
    q->ws = o->ws != NULL ? o->ws : s->ws;
    q->newest_first = o->newest_first && t->created_at && t->npk == 1;
    if (o->foreign_field != NULL) {
        q->foreign = sb_table_column(t, o->foreign_field);
        SB_ASSERT(q->foreign != NULL && q->foreign->field->type == SB_T_FOREIGN);
        q->foreign_id = o->foreign_id;
    }
    for (q->tags = o->tags; o->tags != NULL && o->tags[q->ntags] != NULL && q->ntags < TAGS_MAX;)
        q->ntags++;
    q->tags_any = o->tags_any;
    if (o->offset != NULL)
        rc = sb_store_token_read(o->offset, t->npk + (q->newest_first ? 1 : 0), &after, err);
    q->after = after;
    return rc;
}

/* The token for what follows `row`. */
static char *
token_behind(const sb_table_t *t, const json_t *row, bool newest_first)
{
    json_t *values = sb_table_key(t, row);
    char *token;

    if (newest_first)
        json_array_insert(values, 0, json_object_get(row, "created_at"));
    token = sb_store_token_make(values);
    json_decref(values);
    return token;
}

int
sb_dao_page(sb_store_t *s, const sb_entity_t *e, const sb_page_opts_t *o, json_t **rows, char **next, sb_err_t *err)
{
    const sb_table_t *t;
    sb_query_t q = {0};
    json_t *found;
    size_t size;
    int rc;

    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    t = sb_tables_find(s->tables, e->name);
    SB_ASSERT(t != NULL);
    *rows = NULL;
    *next = NULL;
    if ((rc = make_query(s, t, o, &q, err)) != SB_OK)
        return rc;
    size = q.limit++; /* one more tells whether there is a next page */
    found = json_array();
    rc = s->ops->page(s->conn, t, &q, append, found, err);
    json_decref((json_t *)q.after);
    if (rc != SB_OK) {
        json_decref(found);
        return rc;
    }
    if (json_array_size(found) > size) {
        json_array_remove(found, size);
        *next = token_behind(t, json_array_get(found, size - 1), q.newest_first);
    }
    rc = sb_dao_present(s, t, found, err);
    if (rc != SB_OK) {
        json_decref(found);
        free(*next);
        *next = NULL;
        return rc;
    }
    *rows = found;
    return SB_OK;
}

/* --- everything --- */

#define SLICE 500

typedef struct slice {
    sb_record_t recs[SLICE];
    size_t n;
} slice_t;

static int
keep(sb_record_t *rec, void *arg)
{
    slice_t *slice = arg;

    slice->recs[slice->n++] = *rec;
    return SB_OK;
}

/* Hands a slice out (fn NULL: only frees it); *after becomes the key of its last row. */
static int
hand_out(const sb_table_t *t, slice_t *slice, json_t **after, int (*fn)(json_t *row, const char *ws, uint64_t version, void *arg),
         void *arg)
{
    int rc = SB_OK;
    size_t i;

    json_decref(*after);
    *after = slice->n != 0 ? sb_table_key(t, slice->recs[slice->n - 1].row) : NULL;
    for (i = 0; i < slice->n; i++) {
        sb_record_t *rec = &slice->recs[i];

        if (rc == SB_OK && fn != NULL)
            rc = fn(rec->row, rec->ws[0] != '\0' ? rec->ws : NULL, rec->version, arg);
        json_decref(rec->row);
    }
    return rc;
}

int
sb_dao_each(sb_store_t *s, const sb_entity_t *e, int (*fn)(json_t *row, const char *ws, uint64_t version, void *arg), void *arg,
            sb_err_t *err)
{
    const sb_table_t *t;
    sb_query_t q = {.limit = SLICE};
    slice_t *slice = sb_malloc(sizeof(*slice));
    json_t *after = NULL;
    int rc;

    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    t = sb_tables_find(s->tables, e->name);
    SB_ASSERT(t != NULL);
    do { /* slices, not one cursor: fn may use the store */
        int handed;

        slice->n = 0;
        q.after = after;
        rc = s->ops->page(s->conn, t, &q, keep, slice, err);
        handed = hand_out(t, slice, &after, rc == SB_OK ? fn : NULL, arg);
        rc = rc == SB_OK ? handed : rc;
    } while (rc == SB_OK && slice->n == SLICE);
    json_decref(after);
    free(slice);
    return rc;
}

int
sb_dao_leading(sb_store_t *s, const sb_entity_t *e, void (*fn)(const char *value, void *arg), void *arg, sb_err_t *err)
{
    const sb_table_t *t;

    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    t = sb_tables_find(s->tables, e->name);
    SB_ASSERT(t != NULL && t->cache_key);
    return s->ops->leading(s->conn, t, fn, arg, err);
}

int
sb_dao_tags(sb_store_t *s, const char *tag, const sb_page_opts_t *o, json_t **rows, char **next, sb_err_t *err)
{
    json_t *after = NULL, *found = NULL, *last, *values;
    const char *ws;
    size_t size = 0;
    int rc;

    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    ws = o->ws != NULL ? o->ws : s->ws;
    *rows = NULL;
    *next = NULL;
    rc = page_size(o->size, &size, err);
    if (rc == SB_OK && o->offset != NULL)
        rc = sb_store_token_read(o->offset, 3, &after, err);
    if (rc == SB_OK)
        rc = s->ops->tags(s->conn, ws, tag, after, size + 1, &found, err);
    json_decref(after);
    if (rc != SB_OK)
        return rc;
    if (json_array_size(found) > size) {
        json_array_remove(found, size);
        last = json_array_get(found, size - 1);
        values =
            json_pack("[O,O,O]", json_object_get(last, "tag"), json_object_get(last, "entity_name"), json_object_get(last, "entity_id"));
        *next = sb_store_token_make(values);
        json_decref(values);
    }
    *rows = found;
    return SB_OK;
}
