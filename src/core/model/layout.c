/*
 * Keys of the model (drawn in model_int.h) and what of a row goes into its indexes. Pure functions; writer and reader both build
 * their keys here, so that they cannot disagree.
 *
 * Keys end at LMDB's 511 bytes: a long unique value is replaced by its name-based uuid (SHA-1), told from a plain one by a first byte.
 */
#include "core/model/model_int.h"

#include "core/base/buf.h"
#include "core/base/json.h"

#include <stdlib.h>

#define VALUE_MAX 200

static const sb_uuid_t no_uuid;

void
sb_model_key_add(sb_model_key_t *k, const void *data, size_t len)
{
    if (k->overflow || len > sizeof(k->b) - k->len) {
        k->overflow = true;
        return;
    }
    memcpy(k->b + k->len, data, len);
    k->len += len;
}

void
sb_model_key_start(sb_model_key_t *k, const char *kind, const char *text)
{
    k->len = 0;
    k->overflow = false;
    sb_model_key_add(k, kind, strlen(kind));
    if (text != NULL)
        sb_model_key_add(k, text, strlen(text) + 1);
}

static void
add_value(sb_model_key_t *k, sb_str_t value)
{
    sb_uuid_t hash;

    if (value.len <= VALUE_MAX) {
        sb_model_key_add(k, "", 1);
        sb_model_key_add(k, value.data, value.len);
        return;
    }
    sb_uuid_v5(&no_uuid, value.data, value.len, &hash);
    sb_model_key_add(k, "\1", 1);
    sb_model_key_add(k, hash.b, sizeof(hash.b));
}

void
sb_model_key_row(sb_model_key_t *k, const sb_entity_t *e, const sb_uuid_t *id)
{
    sb_model_key_start(k, "a", e->name);
    if (id != NULL)
        sb_model_key_add(k, id->b, sizeof(id->b));
}

/* A field that is unique across workspaces, or of an entity that has none, is found from any workspace. */
static bool
spans_workspaces(const sb_entity_t *e, const char *field)
{
    if (!e->workspaceable)
        return true;
    for (const struct sb_field *f = e->def != NULL ? e->def->fields : NULL; f != NULL && f->type != SB_T_END; f++)
        if (f->name != NULL && strcmp(f->name, field) == 0)
            return f->unique_across_ws;
    return false;
}

void
sb_model_key_unique(sb_model_key_t *k, const sb_entity_t *e, const char *field, const sb_uuid_t *ws, sb_str_t value)
{
    if (spans_workspaces(e, field))
        ws = &no_uuid;
    sb_model_key_start(k, "b=", e->name);
    sb_model_key_add(k, field, strlen(field) + 1);
    sb_model_key_add(k, ws->b, sizeof(ws->b));
    add_value(k, value);
}

void
sb_model_key_cache(sb_model_key_t *k, const sb_entity_t *e, sb_str_t value)
{
    sb_model_key_start(k, "bk", e->name);
    add_value(k, value);
}

void
sb_model_key_foreign(sb_model_key_t *k, const sb_entity_t *e, const char *field, const sb_uuid_t *parent)
{
    sb_model_key_start(k, "bf", e->name);
    sb_model_key_add(k, field, strlen(field) + 1);
    sb_model_key_add(k, parent->b, sizeof(parent->b));
}

void
sb_model_key_event(sb_model_key_t *k, uint64_t seq)
{
    unsigned char b[8];

    for (int i = 0; i < 8; i++)
        b[i] = (unsigned char)(seq >> (56 - 8 * i));
    sb_model_key_start(k, "z", NULL);
    sb_model_key_add(k, b, sizeof(b));
}

/* A value's text in a composite key: strings as they are, a foreign object its id, null nothing. */
static void
add_text(sb_buf_t *b, const json_t *v)
{
    if (json_is_object(v))
        v = json_object_get(v, "id");
    if (json_is_string(v))
        sb_buf_add(b, json_string_value(v), json_string_length(v));
    else if (json_is_integer(v))
        sb_buf_addf(b, "%lld", (long long)json_integer_value(v));
}

bool
sb_model_row_id(const sb_entity_t *e, const json_t *row, sb_uuid_t *out)
{
    const char *id = sb_json_string(row, "id");
    const char *const *pk = e->def != NULL ? e->def->primary_key : NULL;
    sb_buf_t b = {0};

    if (pk == NULL || (strcmp(pk[0], "id") == 0 && pk[1] == NULL))
        return id != NULL && sb_uuid_parse(id, strlen(id), out);
    for (; *pk != NULL; pk++) {
        add_text(&b, json_object_get(row, *pk));
        sb_buf_addc(&b, '\0');
    }
    sb_uuid_v5(&no_uuid, b.data, b.len, out);
    sb_buf_free(&b);
    return true;
}

char *
sb_model_cache_key(const sb_entity_t *e, const char *ws, const json_t *row)
{
    sb_buf_t b = {0};
    const char *const *f = e->cache_key;

    if (f == NULL)
        return NULL;
    sb_buf_adds(&b, e->name);
    for (int i = 0; i < 5; i++) {
        sb_buf_addc(&b, ':');
        if (*f != NULL)
            add_text(&b, json_object_get(row, *f++));
    }
    sb_buf_addc(&b, ':');
    if (e->workspaceable && ws != NULL)
        sb_buf_adds(&b, ws);
    return sb_buf_take(&b);
}

static int
unique_keys(const sb_entity_t *e, const sb_uuid_t *ws, const json_t *row, int (*fn)(const sb_model_key_t *, bool, void *), void *arg)
{
    sb_model_key_t k;
    int rc = SB_OK;

    for (const char *const *f = e->unique; f != NULL && *f != NULL && rc == SB_OK; f++) {
        sb_buf_t text = {0};
        add_text(&text, json_object_get(row, *f));
        if (text.len != 0) {
            sb_model_key_unique(&k, e, *f, ws, (sb_str_t){text.data, text.len});
            rc = fn(&k, true, arg);
        }
        sb_buf_free(&text);
    }
    return rc;
}

/* Foreign keys; a plugin that names no parent at all is global. */
static int
foreign_keys(const sb_entity_t *e, const sb_uuid_t *id, const json_t *row, int (*fn)(const sb_model_key_t *, bool, void *), void *arg)
{
    sb_model_key_t k;
    bool any = false;

    for (const sb_foreign_t *f = e->foreign; f != NULL && f->field != NULL; f++) {
        const char *text = sb_json_foreign_id(row, f->field);
        sb_uuid_t parent;
        if (text == NULL || !sb_uuid_parse(text, strlen(text), &parent))
            continue;
        any = true;
        sb_model_key_foreign(&k, e, f->field, &parent);
        sb_model_key_add(&k, id->b, sizeof(id->b));
        if (fn(&k, false, arg) != SB_OK)
            return SB_ERROR;
    }
    if (any || strcmp(e->name, "plugins") != 0)
        return SB_OK;
    sb_model_key_start(&k, "bg", NULL);
    sb_model_key_add(&k, id->b, sizeof(id->b));
    return fn(&k, false, arg);
}

int
sb_model_index_each(const sb_entity_t *e, const char *ws, const sb_uuid_t *id, const json_t *row,
                    int (*fn)(const sb_model_key_t *k, bool with_id, void *arg), void *arg)
{
    sb_uuid_t w = no_uuid;
    sb_model_key_t k;
    char *cache;
    int rc;

    if (ws != NULL)
        sb_uuid_parse(ws, strlen(ws), &w);
    rc = unique_keys(e, &w, row, fn, arg);
    if (rc == SB_OK)
        rc = foreign_keys(e, id, row, fn, arg);
    cache = rc == SB_OK ? sb_model_cache_key(e, ws, row) : NULL;
    if (cache != NULL) {
        sb_model_key_cache(&k, e, (sb_str_t){cache, strlen(cache)});
        rc = fn(&k, true, arg);
        free(cache);
    }
    return rc;
}
