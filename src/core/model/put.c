/*
 * One row written: the row, its index keys, the router's rows, counts and the event, all in the open transaction.
 *
 * The indexes to remove are those of what the model holds, not of what the caller says the row was: a change that is replayed from
 * the change log then changes nothing. A row of the router is only touched when it differs, so that an edit of a route's name costs no
 * index write but the row version. Start at sb_model_put.
 */
#include "core/model/writer_int.h"

#include "core/base/buf.h"
#include "core/base/json.h"
#include "core/router/router.h"

#include <errno.h>
#include <stdlib.h>

/* What is being written. */
struct change {
    sb_model_writer_t *w;
    const sb_entity_t *e;
    const char *ws;
    sb_uuid_t id;
    bool removing; /* index callback: delete instead of put */
    int rc;        /* LMDB's code of what failed */
};

static MDB_val
key_val(const sb_model_key_t *k)
{
    return (MDB_val){k->len, (void *)k->b};
}

static int
change_fail(struct change *c, sb_err_t *err, const char *what)
{
    return sb_model_fail(err, c->rc != 0 ? c->rc : EINVAL, what);
}

/* ---------- counters ---------- */

static int
add_count(sb_model_writer_t *w, const sb_model_key_t *k, int64_t delta)
{
    MDB_val key = key_val(k), v;
    uint64_t n = 0;
    int rc;

    if (delta == 0)
        return 0;
    rc = mdb_get(top(w)->txn, w->dbi, &key, &v);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    if (rc == 0 && v.mv_size == sizeof(n))
        memcpy(&n, v.mv_data, sizeof(n));
    n += (uint64_t)delta;
    if (n == 0)
        return mdb_del(top(w)->txn, w->dbi, &key, NULL);
    v = (MDB_val){sizeof(n), &n};
    return mdb_put(top(w)->txn, w->dbi, &key, &v, 0);
}

static int
count_entity(struct change *c, int64_t delta)
{
    sb_model_key_t k;

    sb_model_key_start(&k, "0n", c->e->name);
    return k.overflow ? MDB_BAD_VALSIZE : add_count(c->w, &k, delta);
}

/* ---------- index keys ---------- */

/* Only the row that owns a unique key may remove it: another may have taken it in the same transaction. */
static int
remove_key(struct change *c, MDB_val *key, bool with_id)
{
    MDB_val v;
    int rc = 0;

    if (with_id) {
        rc = mdb_get(top(c->w)->txn, c->w->dbi, key, &v);
        if (rc == 0 && (v.mv_size != sizeof(c->id) || memcmp(v.mv_data, &c->id, sizeof(c->id)) != 0))
            return 0;
    }
    if (rc == 0)
        rc = mdb_del(top(c->w)->txn, c->w->dbi, key, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int
on_index_key(const sb_model_key_t *k, bool with_id, void *arg)
{
    struct change *c = arg;
    MDB_val key = key_val(k), v = {with_id ? sizeof(c->id) : 0, &c->id};

    if (k->overflow)
        c->rc = MDB_BAD_VALSIZE;
    else if (c->removing)
        c->rc = remove_key(c, &key, with_id);
    else
        c->rc = mdb_put(top(c->w)->txn, c->w->dbi, &key, &v, 0);
    return c->rc == 0 ? SB_OK : SB_ERROR;
}

/* ---------- router rows ---------- */

/* A route's index rows, copied, to compare those before with those after. */
struct rows {
    struct entry {
        size_t key, key_len, value, value_len, class_len; /* offsets into data */
    } * entries;
    size_t n, cap;
    sb_buf_t data;
};

static int
collect_row(const struct sb_index_row *row, void *arg)
{
    struct rows *r = arg;
    struct entry *en;

    if (row->key.len + 1 > KEY_MAX)
        return SB_ERROR;
    if (r->n == r->cap) {
        r->cap = r->cap != 0 ? r->cap * 2 : 8;
        r->entries = sb_realloc(r->entries, r->cap * sizeof(*r->entries));
    }
    en = &r->entries[r->n++];
    *en = (struct entry){.key = r->data.len, .key_len = row->key.len + 1, .class_len = row->class_len + 1};
    sb_buf_addc(&r->data, 'r');
    sb_buf_add(&r->data, row->key.data, row->key.len);
    en->value = r->data.len;
    en->value_len = row->value.len;
    sb_buf_add(&r->data, row->value.data, row->value.len);
    return SB_OK;
}

static int
compare_entries(const void *a, const void *b, void *arg)
{
    const struct entry *x = a, *y = b;
    const char *data = ((const struct rows *)arg)->data.data;
    size_t n = x->key_len < y->key_len ? x->key_len : y->key_len;
    int c = memcmp(data + x->key, data + y->key, n);

    return c != 0 ? c : (x->key_len > y->key_len) - (x->key_len < y->key_len);
}

static int
collect(const sb_entity_t *e, const json_t *row, const char *ws, uint64_t version, struct rows *out, sb_err_t *err)
{
    sb_uuid_t w = {{0}};

    if (row == NULL)
        return SB_OK;
    if (ws != NULL)
        sb_uuid_parse(ws, strlen(ws), &w);
    if (sb_router_index_rows(e->name, row, &w, version, collect_row, out, err) != SB_OK)
        return err != NULL && err->message != NULL ? SB_ERROR : sb_model_fail(err, MDB_BAD_VALSIZE, "route index");
    if (out->n > 1)
        qsort_r(out->entries, out->n, sizeof(*out->entries), compare_entries, out);
    return SB_OK;
}

static int
entry_write(sb_model_writer_t *w, const struct rows *r, const struct entry *en, bool del)
{
    MDB_val k = {en->key_len, r->data.data + en->key}, v = {en->value_len, r->data.data + en->value};
    sb_model_key_t cls;
    int rc = del ? mdb_del(top(w)->txn, w->dbi, &k, NULL) : 0;

    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc == 0 && !del) {
        rc = mdb_put(top(w)->txn, w->dbi, &k, &v, MDB_NOOVERWRITE);
        if (rc == MDB_KEYEXIST) { /* counted already */
            v = (MDB_val){en->value_len, r->data.data + en->value};
            return mdb_put(top(w)->txn, w->dbi, &k, &v, 0);
        }
    }
    if (rc != 0)
        return rc;
    sb_model_key_start(&cls, "s", NULL);
    sb_model_key_add(&cls, r->data.data + en->key + 1, en->class_len - 1);
    return cls.overflow ? MDB_BAD_VALSIZE : add_count(w, &cls, del ? -1 : 1);
}

/* Walks both sorted lists: rows only before are removed, rows only after or with another value are written. */
static int
merge(sb_model_writer_t *w, const struct rows *old, const struct rows *new)
{
    size_t i = 0, j = 0;
    int rc = 0;

    while (rc == 0 && (i < old->n || j < new->n)) {
        const struct entry *a = i < old->n ? &old->entries[i] : NULL, *b = j < new->n ? &new->entries[j] : NULL;
        int c = a == NULL ? 1 : b == NULL ? -1 : 0;
        if (c == 0) {
            size_t n = a->key_len < b->key_len ? a->key_len : b->key_len;
            c = memcmp(old->data.data + a->key, new->data.data + b->key, n);
            if (c == 0)
                c = (a->key_len > b->key_len) - (a->key_len < b->key_len);
        }
        if (c < 0)
            rc = entry_write(w, old, a, true);
        else
            rc = entry_write(w, new, b, false);
        i += c <= 0;
        j += c >= 0;
    }
    return rc;
}

static int
put_router_rows(struct change *c, const json_t *row, uint64_t version, const json_t *old, const char *old_ws, uint64_t old_version,
                sb_err_t *err)
{
    struct rows before = {0}, after = {0};
    int rc = collect(c->e, old, old_ws, old_version, &before, err);

    if (rc == SB_OK)
        rc = collect(c->e, row, c->ws, version, &after, err);
    if (rc == SB_OK) {
        c->rc = merge(c->w, &before, &after);
        if (c->rc != 0)
            rc = change_fail(c, err, "route index");
    }
    free(before.entries);
    free(after.entries);
    sb_buf_free(&before.data);
    sb_buf_free(&after.data);
    return rc;
}

/* ---------- events ---------- */

static int
append_event(sb_model_writer_t *w, const char *text, size_t len, sb_err_t *err)
{
    struct level *l = top(w);
    sb_model_key_t k;
    MDB_val key, v = {len, (void *)text};
    int rc;

    if (w->rebuilding)
        return SB_OK;
    sb_model_key_event(&k, l->state.event_seq + 1);
    key = key_val(&k);
    rc = mdb_put(l->txn, w->dbi, &key, &v, MDB_APPEND);
    if (rc == 0 && l->state.event_seq >= EVENTS_KEPT) {
        sb_model_key_event(&k, l->state.event_seq + 1 - EVENTS_KEPT);
        key = key_val(&k);
        rc = mdb_del(l->txn, w->dbi, &key, NULL);
        if (rc == MDB_NOTFOUND)
            rc = 0;
    }
    if (rc != 0)
        return sb_model_fail(err, rc, "event");
    l->state.event_seq++;
    return SB_OK;
}

int
sb_model_event(sb_model_writer_t *w, const json_t *event, sb_err_t *err)
{
    size_t len;
    char *text;
    int rc;

    SB_CHECK_MAGIC(w, WRITER_MAGIC);
    text = sb_json_dump_len(event, &len);
    rc = append_event(w, text, len, err);
    free(text);
    return rc;
}

/* Written as text: none of what is in it but the old row needs escaping. */
static int
row_event(struct change *c, const json_t *row, json_t *old, uint64_t version, sb_err_t *err)
{
    const char *op = row == NULL ? "delete" : old == NULL ? "create" : "update";
    char id[SB_UUID_TEXT + 1];
    sb_buf_t b = {0};
    char *was;
    size_t len;
    int rc;

    if (c->w->rebuilding)
        return SB_OK;
    sb_uuid_format(&c->id, id);
    sb_buf_addf(&b, "{\"op\":\"%s\",\"entity\":\"%s\",\"id\":\"%s\",\"version\":%llu", op, c->e->name, id, (unsigned long long)version);
    if (c->ws != NULL)
        sb_buf_addf(&b, ",\"ws\":\"%s\"", c->ws);
    if (old != NULL) {
        was = sb_json_dump_len(old, &len);
        sb_buf_adds(&b, ",\"old\":");
        sb_buf_add(&b, was, len);
        free(was);
    }
    sb_buf_addc(&b, '}');
    rc = append_event(c->w, b.data, b.len, err);
    sb_buf_free(&b);
    return rc;
}

/* ---------- the row ---------- */

struct stored {
    json_t *row;
    uint64_t version;
    char ws[SB_UUID_TEXT + 1];
};

static int
read_stored(struct change *c, const sb_model_key_t *k, struct stored *out, sb_err_t *err)
{
    MDB_val key = key_val(k), v;
    struct row_head h;

    memset(out, 0, sizeof(*out));
    c->rc = mdb_get(top(c->w)->txn, c->w->dbi, &key, &v);
    if (c->rc == MDB_NOTFOUND)
        return SB_OK;
    if (c->rc != 0 || v.mv_size < sizeof(h))
        return change_fail(c, err, "row");
    memcpy(&h, v.mv_data, sizeof(h));
    out->version = h.version;
    sb_uuid_format(&h.ws, out->ws);
    out->row = sb_json_parse((const char *)v.mv_data + sizeof(h), v.mv_size - sizeof(h), err);
    return out->row != NULL ? SB_OK : sb_err_set(err, SB_E_DATABASE, "read model: a row of %s is damaged", c->e->name);
}

static int
write_row(struct change *c, const sb_model_key_t *k, const json_t *row, uint64_t version)
{
    struct row_head h = {.version = version};
    MDB_val key = key_val(k), v;
    size_t len;
    char *text = sb_json_dump_len(row, &len);
    int rc;

    if (c->ws != NULL)
        sb_uuid_parse(c->ws, strlen(c->ws), &h.ws);
    v = (MDB_val){sizeof(h) + len, NULL};
    rc = mdb_put(top(c->w)->txn, c->w->dbi, &key, &v, MDB_RESERVE);
    if (rc == 0) {
        memcpy(v.mv_data, &h, sizeof(h));
        memcpy((char *)v.mv_data + sizeof(h), text, len);
    }
    free(text);
    return rc;
}

static int
remove_row(struct change *c, const sb_model_key_t *k)
{
    MDB_val key = key_val(k);

    return mdb_del(top(c->w)->txn, c->w->dbi, &key, NULL);
}

static void
note_default_ws(struct change *c, const json_t *row)
{
    const char *name = sb_json_string(row, "name");

    if (strcmp(c->e->name, "workspaces") != 0 || name == NULL || strcmp(name, "default") != 0)
        return;
    top(c->w)->state.default_ws = c->id;
    top(c->w)->state.has_ws = 1;
}

static int
put_all(struct change *c, const sb_model_key_t *k, const json_t *row, uint64_t version, const struct stored *was, sb_err_t *err)
{
    if (was->row != NULL) {
        c->removing = true;
        if (sb_model_index_each(c->e, was->ws, &c->id, was->row, on_index_key, c) != SB_OK)
            return change_fail(c, err, "index");
        c->removing = false;
    }
    c->rc = row != NULL ? write_row(c, k, row, version) : remove_row(c, k);
    if (c->rc == 0)
        c->rc = count_entity(c, (row != NULL) - (was->row != NULL));
    if (c->rc != 0)
        return change_fail(c, err, c->e->name);
    if (row != NULL && sb_model_index_each(c->e, c->ws, &c->id, row, on_index_key, c) != SB_OK)
        return change_fail(c, err, "index");
    if (put_router_rows(c, row, version, was->row, was->ws, was->version, err) != SB_OK)
        return SB_ERROR;
    return row_event(c, row, was->row, version, err);
}

int
sb_model_put(sb_model_writer_t *w, const sb_entity_t *e, const char *ws, uint64_t version, const json_t *row, const json_t *old,
             sb_err_t *err)
{
    struct change c = {.w = w, .e = e, .ws = ws};
    struct stored was = {0};
    sb_model_key_t k;
    int rc;

    SB_CHECK_MAGIC(w, WRITER_MAGIC);
    if (!sb_model_row_id(e, row != NULL ? row : old, &c.id))
        return sb_err_set(err, SB_E_DATABASE, "read model: a row of %s has no id", e->name);
    sb_model_key_row(&k, e, &c.id);
    rc = k.overflow ? sb_model_fail(err, MDB_BAD_VALSIZE, e->name) : read_stored(&c, &k, &was, err);
    if (rc == SB_OK && (row != NULL || was.row != NULL)) {
        rc = put_all(&c, &k, row, version, &was, err);
        if (rc == SB_OK && row != NULL)
            note_default_ws(&c, row);
        if (rc == SB_OK && e->routing)
            top(w)->routing = true;
    }
    json_decref(was.row);
    return rc;
}
