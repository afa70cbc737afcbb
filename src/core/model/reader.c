/*
 * The reader: snapshots, rows, indexes, events.
 *
 * One reader belongs to one thread. Its read transaction is reset, not ended, between turns, so that begin is a renewal of some
 * nanoseconds; cursors are pooled and renewed likewise. A reader never blocks the writer; but an open snapshot keeps old pages alive, so
 * it lasts one event-loop turn at most.
 *
 * A rebuilt model (epoch moved) is opened at the next outermost begin. When that fails the old one is kept, because serving what was
 * committed last beats serving nothing, and the opening is tried again after a second. Start at sb_model_begin.
 */
#include "core/model/model_int.h"

#include "core/base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define READER_MAGIC 0x53424d52u
#define POOLED       8
#define RETRY_OPEN_S 1

struct sb_model_reader {
    uint32_t magic;
    char *dir;
    sb_runtime_t *rt;
    sb_model_env_t *env;
    MDB_txn *txn;
    unsigned depth, opens;
    uint64_t epoch, turn; /* turn: counts outermost begins */
    time_t retry;         /* when to try opening again; 0: when the epoch moves */
    MDB_cursor *pool[POOLED];
    unsigned pooled;
    sb_model_cursor_t *cursors; /* the router's */
    struct state state;         /* of snapshot state_txn */
    uint64_t state_txn;
    char default_ws[SB_UUID_TEXT + 1];
};

/* ---------- life ---------- */

static uint64_t
epoch_now(const sb_model_reader_t *r)
{
    return r->rt != NULL ? __atomic_load_n(&r->rt->model_epoch, __ATOMIC_ACQUIRE) : 0;
}

static time_t
seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return t.tv_sec + 1;
}

/* Cursors go before their transaction, that before the environment. */
static void
let_go(sb_model_reader_t *r)
{
    while (r->pooled > 0)
        mdb_cursor_close(r->pool[--r->pooled]);
    for (sb_model_cursor_t *c = r->cursors; c != NULL; c = c->next) {
        if (c->c != NULL)
            mdb_cursor_close(c->c);
        c->c = NULL;
    }
    if (r->txn != NULL)
        mdb_txn_abort(r->txn);
    r->txn = NULL;
    sb_model_env_release(r->env);
    r->env = NULL;
    r->state_txn = 0;
}

static int
open_current(const char *dir, sb_model_env_t **out, sb_err_t *err)
{
    sb_model_current_t c;
    char boot[40], *path;
    int rc;

    sb_model_boot_id(boot);
    if (!sb_model_current_read(dir, &c))
        return sb_err_set(err, SB_E_DATABASE, "read model %s: none yet", dir);
    if (c.format != SB_MODEL_FORMAT || strcmp(c.boot, boot) != 0)
        return sb_err_set(err, SB_E_DATABASE, "read model %s: of another %s, not rebuilt yet", dir,
                          c.format != SB_MODEL_FORMAT ? "format" : "boot");
    path = sb_asprintf("%s/%s", dir, c.file);
    rc = sb_model_env_acquire(path, false, out, err);
    free(path);
    return rc;
}

/* The file named by `current` may be replaced and removed between reading the name and opening it: look again. */
static int
reopen(sb_model_reader_t *r, sb_err_t *err)
{
    sb_model_env_t *fresh = NULL;
    uint64_t epoch = epoch_now(r);
    int rc = SB_ERROR;

    for (int i = 0; i < 3 && rc != SB_OK; i++) {
        sb_err_clear(err);
        rc = open_current(r->dir, &fresh, err);
    }
    if (rc != SB_OK) {
        r->retry = seconds() + RETRY_OPEN_S;
        return rc;
    }
    let_go(r);
    r->env = fresh;
    r->opens++;
    r->epoch = epoch;
    r->retry = 0;
    return SB_OK;
}

int
sb_model_reader_open(const char *dir, sb_runtime_t *rt, sb_model_reader_t **out, sb_err_t *err)
{
    sb_model_reader_t *r = sb_calloc(sizeof(*r));
    sb_err_t mine = {0};

    *out = NULL;
    r->magic = READER_MAGIC;
    r->dir = sb_strdup_len(dir, strlen(dir));
    r->rt = rt;
    if (reopen(r, &mine) != SB_OK) {
        if (err != NULL)
            sb_err_move(err, &mine);
        sb_err_clear(&mine);
        sb_model_reader_close(r);
        return SB_ERROR;
    }
    *out = r;
    return SB_OK;
}

void
sb_model_reader_close(sb_model_reader_t *r)
{
    if (r == NULL)
        return;
    SB_CHECK_MAGIC(r, READER_MAGIC);
    let_go(r);
    for (sb_model_cursor_t *c = r->cursors; c != NULL; c = c->next)
        c->reader = NULL;
    r->magic = 0;
    free(r->dir);
    free(r);
}

/* ---------- snapshots ---------- */

static int
renew(sb_model_reader_t *r)
{
    return r->txn != NULL ? mdb_txn_renew(r->txn) : mdb_txn_begin(r->env->env, NULL, MDB_RDONLY, &r->txn);
}

static int
take_snapshot(sb_model_reader_t *r, sb_err_t *err)
{
    int rc = renew(r);

    if (rc == MDB_READERS_FULL) {
        mdb_reader_check(r->env->env, NULL);
        rc = renew(r);
    } else if (rc == MDB_MAP_RESIZED) {
        rc = mdb_env_set_mapsize(r->env->env, 0);
        r->env->moves++;
        if (rc == 0)
            rc = renew(r);
    }
    return rc == 0 ? SB_OK : sb_model_fail(err, rc, "snapshot");
}

int
sb_model_begin(sb_model_reader_t *r, sb_err_t *err)
{
    SB_CHECK_MAGIC(r, READER_MAGIC);
    if (r->depth > 0) {
        r->depth++;
        return SB_OK;
    }
    if (r->env == NULL || r->epoch != epoch_now(r)) {
        sb_err_t mine = {0};
        if ((r->retry == 0 || seconds() >= r->retry) && reopen(r, &mine) != SB_OK && r->env == NULL)
            return sb_err_set(err, SB_E_DATABASE, "%s", mine.message);
        sb_err_clear(&mine);
        if (r->env == NULL)
            return sb_err_set(err, SB_E_DATABASE, "read model %s: not open", r->dir);
    }
    if (take_snapshot(r, err) != SB_OK)
        return SB_ERROR;
    r->depth = 1;
    r->turn++;
    return SB_OK;
}

void
sb_model_end(sb_model_reader_t *r)
{
    SB_CHECK_MAGIC(r, READER_MAGIC);
    SB_ASSERT(r->depth > 0);
    if (--r->depth == 0)
        mdb_txn_reset(r->txn);
}

int
sb_model_refresh(sb_model_reader_t *r, sb_err_t *err)
{
    unsigned depth;
    int rc;

    SB_CHECK_MAGIC(r, READER_MAGIC);
    depth = r->depth;
    SB_ASSERT(depth > 0);
    mdb_txn_reset(r->txn);
    r->depth = 0;
    rc = sb_model_begin(r, err);
    if (rc == SB_OK)
        r->depth = depth;
    return rc;
}

uint64_t
sb_model_snapshot(const sb_model_reader_t *r)
{
    return ((uint64_t)(r->opens << 8 | (r->env->moves & 0xff)) << 40) ^ mdb_txn_id(r->txn);
}

/* ---------- rows ---------- */

static bool
lookup(sb_model_reader_t *r, const sb_model_key_t *k, MDB_val *v)
{
    MDB_val key = {k->len, (void *)k->b};

    SB_ASSERT(r->depth > 0);
    return !k->overflow && mdb_get(r->txn, r->env->dbi, &key, v) == 0;
}

static bool
decode_row(const sb_uuid_t *id, const MDB_val *v, sb_row_t *out)
{
    struct row_head h;

    if (v->mv_size < sizeof(h))
        return false;
    memcpy(&h, v->mv_data, sizeof(h));
    out->id = *id;
    out->ws = h.ws;
    out->version = h.version;
    out->json = (sb_str_t){(const char *)v->mv_data + sizeof(h), v->mv_size - sizeof(h)};
    return true;
}

bool
sb_model_get(sb_model_reader_t *r, const sb_entity_t *e, const sb_uuid_t *id, sb_row_t *out)
{
    sb_model_key_t k;
    MDB_val v;

    SB_CHECK_MAGIC(r, READER_MAGIC);
    sb_model_key_row(&k, e, id);
    return lookup(r, &k, &v) && decode_row(id, &v, out);
}

/* The meta row, of the open snapshot or else of a new one; all zero when there is no model. Valid until the next call. */
static const struct state *
state_of(sb_model_reader_t *r)
{
    static const sb_model_key_t k = {6, false, "0state"};
    static const struct state none;
    MDB_val v;

    if (r->depth == 0) {
        if (sb_model_begin(r, NULL) != SB_OK)
            return &none;
        state_of(r);
        sb_model_end(r);
        return &r->state;
    }
    if (r->state_txn == mdb_txn_id(r->txn) && r->state_txn != 0)
        return &r->state;
    memset(&r->state, 0, sizeof(r->state));
    if (lookup(r, &k, &v) && v.mv_size == sizeof(r->state))
        memcpy(&r->state, v.mv_data, sizeof(r->state));
    r->state_txn = mdb_txn_id(r->txn);
    return &r->state;
}

bool
sb_model_find(sb_model_reader_t *r, const sb_entity_t *e, const char *field, const char *ws, sb_str_t value, sb_row_t *out)
{
    sb_uuid_t w = {{0}}, id;
    sb_model_key_t k;
    MDB_val v;

    SB_CHECK_MAGIC(r, READER_MAGIC);
    if (strcmp(field, "cache_key") == 0) {
        sb_model_key_cache(&k, e, value);
    } else {
        if (ws == NULL)
            w = state_of(r)->default_ws;
        else if (!sb_uuid_parse(ws, strlen(ws), &w))
            return false;
        sb_model_key_unique(&k, e, field, &w, value);
    }
    if (!lookup(r, &k, &v) || v.mv_size != sizeof(id))
        return false;
    memcpy(&id, v.mv_data, sizeof(id));
    return sb_model_get(r, e, &id, out);
}

/* ---------- ranges ---------- */

static MDB_cursor *
cursor_take(sb_model_reader_t *r)
{
    MDB_cursor *c = NULL;

    if (r->pooled > 0) {
        c = r->pool[--r->pooled];
        if (mdb_cursor_renew(r->txn, c) == 0)
            return c;
        mdb_cursor_close(c);
    }
    return mdb_cursor_open(r->txn, r->env->dbi, &c) == 0 ? c : NULL;
}

static void
cursor_give(sb_model_reader_t *r, MDB_cursor *c)
{
    if (r->pooled < POOLED)
        r->pool[r->pooled++] = c;
    else
        mdb_cursor_close(c);
}

/* Every key that starts with prefix; fn returns false to stop. */
static void
each_prefix(sb_model_reader_t *r, const sb_model_key_t *prefix, bool (*fn)(const MDB_val *k, const MDB_val *v, void *arg), void *arg)
{
    MDB_val k = {prefix->len, (void *)prefix->b}, v;
    MDB_cursor *c;
    int rc;

    SB_ASSERT(r->depth > 0);
    if (prefix->overflow || (c = cursor_take(r)) == NULL)
        return;
    for (rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE); rc == 0; rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        if (k.mv_size < prefix->len || memcmp(k.mv_data, prefix->b, prefix->len) != 0)
            break;
        if (!fn(&k, &v, arg))
            break;
    }
    cursor_give(r, c);
}

struct row_walk {
    sb_model_reader_t *r;
    const sb_entity_t *e;
    bool by_index; /* keys end with the id of the row to fetch, instead of being the row */
    bool (*fn)(const sb_row_t *row, void *arg);
    void *arg;
};

static bool
on_key(const MDB_val *k, const MDB_val *v, void *arg)
{
    struct row_walk *w = arg;
    sb_uuid_t id;
    sb_row_t row;

    if (k->mv_size < sizeof(id))
        return true;
    memcpy(&id, (const char *)k->mv_data + k->mv_size - sizeof(id), sizeof(id));
    if (!(w->by_index ? sb_model_get(w->r, w->e, &id, &row) : decode_row(&id, v, &row)))
        return true;
    return w->fn(&row, w->arg);
}

void
sb_model_children(sb_model_reader_t *r, const sb_entity_t *child, const char *field, const sb_uuid_t *parent,
                  bool (*fn)(const sb_row_t *row, void *arg), void *arg)
{
    struct row_walk w = {r, child, true, fn, arg};
    sb_model_key_t k;

    SB_CHECK_MAGIC(r, READER_MAGIC);
    sb_model_key_foreign(&k, child, field, parent);
    each_prefix(r, &k, on_key, &w);
}

static bool
note_key(const MDB_val *k, const MDB_val *v, void *arg)
{
    (void)k, (void)v;
    *(bool *)arg = true;
    return false;
}

bool
sb_model_has_children(sb_model_reader_t *r, const sb_entity_t *child, const char *field)
{
    sb_model_key_t k;
    bool any = false;

    SB_CHECK_MAGIC(r, READER_MAGIC);
    sb_model_key_start(&k, "bf", child->name);
    sb_model_key_add(&k, field, strlen(field) + 1);
    each_prefix(r, &k, note_key, &any);
    return any;
}

void
sb_model_global_plugins(sb_model_reader_t *r, bool (*fn)(const sb_row_t *row, void *arg), void *arg)
{
    struct row_walk w = {r, NULL, true, fn, arg};
    sb_entity_t plugins = {.name = "plugins"}; /* the key needs no more of it */
    sb_model_key_t k;

    SB_CHECK_MAGIC(r, READER_MAGIC);
    w.e = &plugins;
    sb_model_key_start(&k, "bg", NULL);
    each_prefix(r, &k, on_key, &w);
}

void
sb_model_each(sb_model_reader_t *r, const sb_entity_t *e, bool (*fn)(const sb_row_t *row, void *arg), void *arg)
{
    struct row_walk w = {r, e, false, fn, arg};
    sb_model_key_t k;

    SB_CHECK_MAGIC(r, READER_MAGIC);
    sb_model_key_row(&k, e, NULL);
    each_prefix(r, &k, on_key, &w);
}

uint64_t
sb_model_count(sb_model_reader_t *r, const sb_entity_t *e)
{
    sb_model_key_t k;
    uint64_t n = 0;
    MDB_val v;

    SB_CHECK_MAGIC(r, READER_MAGIC);
    sb_model_key_start(&k, "0n", e->name);
    if (lookup(r, &k, &v) && v.mv_size == sizeof(n))
        memcpy(&n, v.mv_data, sizeof(n));
    return n;
}

/* ---------- meta and events ---------- */

uint64_t
sb_model_event_seq(sb_model_reader_t *r)
{
    SB_CHECK_MAGIC(r, READER_MAGIC);
    return state_of(r)->event_seq;
}

uint64_t
sb_model_routing_gen(sb_model_reader_t *r)
{
    SB_CHECK_MAGIC(r, READER_MAGIC);
    return state_of(r)->routing_gen;
}

const char *
sb_model_default_ws(sb_model_reader_t *r)
{
    const struct state *s;

    SB_CHECK_MAGIC(r, READER_MAGIC);
    s = state_of(r);
    if (!s->has_ws)
        return "";
    sb_uuid_format(&s->default_ws, r->default_ws);
    return r->default_ws;
}

struct event_walk {
    uint64_t next; /* the sequence that must come next */
    bool gap;
    void (*fn)(uint64_t seq, const json_t *event, void *arg);
    void *arg;
};

static bool
on_event(const MDB_val *k, const MDB_val *v, void *arg)
{
    struct event_walk *w = arg;
    const unsigned char *b = k->mv_data;
    uint64_t seq = 0;
    json_t *ev;

    if (k->mv_size != 9)
        return true;
    for (int i = 1; i <= 8; i++)
        seq = seq << 8 | b[i];
    w->gap = seq != w->next;
    ev = w->gap ? NULL : sb_json_parse(v->mv_data, v->mv_size, NULL);
    if (ev == NULL) {
        w->gap = true;
        return false;
    }
    w->fn(seq, ev, w->arg);
    json_decref(ev);
    w->next++;
    return true;
}

static bool
has_event(sb_model_reader_t *r, uint64_t seq)
{
    sb_model_key_t k;
    MDB_val v;

    sb_model_key_event(&k, seq);
    return lookup(r, &k, &v);
}

/* z followed by 8 bytes: the walk starts in the middle of the kind, so it cannot be a prefix walk. */
static void
walk_events(sb_model_reader_t *r, struct event_walk *w)
{
    MDB_cursor *c = cursor_take(r);
    sb_model_key_t start;
    MDB_val k, v;
    int rc;

    if (c == NULL) {
        w->gap = true;
        return;
    }
    sb_model_key_event(&start, w->next);
    k = (MDB_val){start.len, start.b};
    for (rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE); rc == 0; rc = mdb_cursor_get(c, &k, &v, MDB_NEXT))
        if (!on_event(&k, &v, w))
            break;
    cursor_give(r, c);
}

int
sb_model_events(sb_model_reader_t *r, uint64_t from, void (*fn)(uint64_t seq, const json_t *event, void *arg), void *arg)
{
    struct event_walk w = {from + 1, false, fn, arg};
    uint64_t last;

    SB_CHECK_MAGIC(r, READER_MAGIC);
    if (sb_model_begin(r, NULL) != SB_OK)
        return SB_ERROR;
    last = state_of(r)->event_seq;
    if (from != last && (from > last || !has_event(r, from + 1)))
        w.gap = true; /* pruned, or another model's numbers */
    else if (from != last)
        walk_events(r, &w);
    sb_model_end(r);
    return w.gap ? SB_DECLINED : SB_OK;
}

/* ---------- the router's cursor ---------- */

sb_model_cursor_t *
sb_model_cursor_new(sb_model_reader_t *r)
{
    sb_model_cursor_t *c = sb_calloc(sizeof(*c));

    SB_CHECK_MAGIC(r, READER_MAGIC);
    c->reader = r;
    c->next = r->cursors;
    r->cursors = c;
    return c;
}

void
sb_model_cursor_free(sb_model_cursor_t *c)
{
    sb_model_cursor_t **p;

    if (c == NULL)
        return;
    if (c->reader != NULL) {
        for (p = &c->reader->cursors; *p != c;)
            p = &(*p)->next;
        *p = c->next;
        if (c->c != NULL)
            mdb_cursor_close(c->c);
    }
    free(c);
}

static bool
cursor_ready(sb_model_cursor_t *c)
{
    sb_model_reader_t *r = c->reader;

    if (c->turn == r->turn && c->c != NULL)
        return r->depth > 0;
    if (r->depth == 0)
        return false;
    if (c->c == NULL ? mdb_cursor_open(r->txn, r->env->dbi, &c->c) != 0 : mdb_cursor_renew(r->txn, c->c) != 0)
        return false;
    c->turn = r->turn;
    return true;
}

static bool
cursor_found(int rc, const MDB_val *k, const MDB_val *v, sb_str_t *found, sb_str_t *value)
{
    if (rc != 0 || k->mv_size == 0 || *(const char *)k->mv_data != 'r')
        return false;
    *found = (sb_str_t){(const char *)k->mv_data + 1, k->mv_size - 1};
    *value = (sb_str_t){v->mv_data, v->mv_size};
    return true;
}

bool
sb_model_cursor_seek(sb_model_cursor_t *c, sb_str_t key, sb_str_t *found, sb_str_t *value)
{
    char b[KEY_MAX];
    MDB_val k = {key.len + 1, b}, v;

    if (key.len > sizeof(b) - 1 || !cursor_ready(c))
        return false;
    b[0] = 'r';
    memcpy(b + 1, key.data, key.len);
    return cursor_found(mdb_cursor_get(c->c, &k, &v, MDB_SET_RANGE), &k, &v, found, value);
}

bool
sb_model_cursor_next(sb_model_cursor_t *c, sb_str_t *found, sb_str_t *value)
{
    MDB_val k, v;

    return cursor_ready(c) && cursor_found(mdb_cursor_get(c->c, &k, &v, MDB_NEXT), &k, &v, found, value);
}

void
sb_model_cursor_before(sb_model_cursor_t *c, sb_str_t *found)
{
    MDB_val k, v;
    sb_str_t value;

    if (!cursor_ready(c) || !cursor_found(mdb_cursor_get(c->c, &k, &v, MDB_PREV), &k, &v, found, &value))
        *found = (sb_str_t){"", 0};
}

struct class_walk {
    bool (*fn)(sb_str_t name, uint64_t rows, void *arg);
    void *arg;
};

static bool
on_class(const MDB_val *k, const MDB_val *v, void *arg)
{
    struct class_walk *w = arg;
    uint64_t n = 0;

    if (v->mv_size == sizeof(n))
        memcpy(&n, v->mv_data, sizeof(n));
    return w->fn((sb_str_t){(const char *)k->mv_data + 1, k->mv_size - 1}, n, w->arg);
}

void
sb_model_cursor_classes(sb_model_cursor_t *c, bool (*fn)(sb_str_t name, uint64_t rows, void *arg), void *arg)
{
    struct class_walk w = {fn, arg};
    sb_model_key_t k;

    sb_model_key_start(&k, "s", NULL);
    each_prefix(c->reader, &k, on_class, &w);
}
