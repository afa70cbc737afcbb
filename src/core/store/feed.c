/*
 * The record's side of the read model: rows go into the model's transaction as they are written, its commit follows the record's,
 * and a model that is behind is replayed from the change log or rebuilt.
 *
 * model_seq is the record sequence the model is known to hold. It is less than committed_seq only between a failed model commit
 * and the catch-up that sb_store_begin() insists on. Deeper savepoints of the store than the model has (model_depth) are savepoints in
 * which nothing was written so far.
 */
#include "core/base/log.h"
#include "core/model/model.h"
#include "core/store/feed_int.h"

#include <string.h>

#define EACH_SLICE 1000

static int
open_model(sb_store_t *s, sb_err_t *err)
{
    if (!s->model_open) {
        if (sb_model_txn_begin(s->model, err) != SB_OK)
            return SB_ERROR;
        s->model_open = true;
        s->model_depth = 0;
    }
    for (; s->model_depth < s->depth; s->model_depth++)
        if (sb_model_txn_savepoint(s->model, err) != SB_OK)
            return SB_ERROR;
    return SB_OK;
}

int
sb_feed_put(sb_store_t *s, const sb_table_t *t, const sb_record_t *rec, const json_t *old, sb_err_t *err)
{
    if (s->model == NULL)
        return SB_OK;
    if (open_model(s, err) != SB_OK)
        return SB_ERROR;
    return sb_model_put(s->model, t->e, rec->ws[0] != '\0' ? rec->ws : NULL, rec->version, rec->row, old, err);
}

int
sb_feed_event(sb_store_t *s, const json_t *event, sb_err_t *err)
{
    if (s->model == NULL)
        return SB_OK;
    return open_model(s, err) == SB_OK && sb_model_event(s->model, event, err) == SB_OK ? SB_OK : SB_ERROR;
}

int
sb_feed_release(sb_store_t *s, sb_err_t *err)
{
    if (!s->model_open || s->model_depth < s->depth)
        return SB_OK;
    s->model_depth--;
    return sb_model_txn_release(s->model, err);
}

void
sb_feed_rollback_to(sb_store_t *s)
{
    if (!s->model_open || s->model_depth < s->depth)
        return;
    s->model_depth--;
    sb_model_txn_rollback_to(s->model);
}

void
sb_feed_abort(sb_store_t *s)
{
    if (s->model_open)
        sb_model_txn_abort(s->model);
    s->model_open = false;
}

int
sb_feed_commit(sb_store_t *s, sb_err_t *err)
{
    sb_err_t model_err = {0};

    if (!s->model_open)
        return SB_OK;
    s->model_open = false;
    if (sb_model_txn_commit(s->model, s->committed_seq, &model_err) == SB_OK) {
        s->model_seq = s->committed_seq;
        return SB_OK;
    }
    sb_log(SB_LOG_ERR, "store: change %llu is durable, but the read model refused it (%s); replaying", (unsigned long long)s->committed_seq,
           model_err.message != NULL ? model_err.message : "unknown");
    sb_err_clear(&model_err);
    return sb_feed_catch_up(s, err);
}

/* --- catching up --- */

typedef struct replay {
    sb_store_t *s;
    sb_err_t *err;
    uint64_t next; /* the sequence expected: a gap means that the log was pruned meanwhile */
} replay_t;

static int
replay_one(uint64_t seq, const json_t *change, void *arg)
{
    replay_t *r = arg;
    const sb_table_t *t = sb_tables_find(r->s->tables, json_string_value(json_object_get(change, "entity")));
    const json_t *row = json_object_get(change, "row"), *old = json_object_get(change, "old");

    if (seq != r->next++)
        return SB_DECLINED;
    if (t == NULL) /* of a plugin that is gone */
        return SB_OK;
    return sb_model_put(r->s->model, t->e, json_string_value(json_object_get(change, "ws")), seq, json_is_null(row) ? NULL : row,
                        json_is_null(old) ? NULL : old, r->err);
}

/* SB_DECLINED: the log does not reach back far enough. */
static int
replay(sb_store_t *s, sb_err_t *err)
{
    replay_t r = {.s = s, .err = err, .next = s->model_seq + 1};
    int rc;

    if (s->model_seq > s->committed_seq || s->log_first > s->model_seq + 1)
        return SB_DECLINED;
    if (sb_model_txn_begin(s->model, err) != SB_OK)
        return SB_ERROR;
    rc = s->ops->log_read(s->conn, s->model_seq, 0, replay_one, &r, err);
    if (rc == SB_OK && r.next != s->committed_seq + 1)
        rc = SB_DECLINED;
    if (rc == SB_OK)
        return sb_model_txn_commit(s->model, s->committed_seq, err);
    sb_model_txn_abort(s->model);
    return rc;
}

typedef struct rebuild {
    sb_store_t *s;
    const sb_table_t *t;
    sb_err_t *err;
} rebuild_t;

static int
rebuild_one(json_t *row, const char *ws, uint64_t version, void *arg)
{
    rebuild_t *b = arg;

    return sb_model_put(b->s->model, b->t->e, ws, version, row, NULL, b->err);
}

static int
rebuild(sb_store_t *s, sb_err_t *err)
{
    rebuild_t b = {.s = s, .err = err};
    int rc = sb_model_rebuild_begin(s->model, err);

    if (rc != SB_OK)
        return rc;
    for (b.t = s->tables; rc == SB_OK && b.t != NULL; b.t = b.t->next)
        rc = sb_dao_each(s, b.t->e, rebuild_one, &b, err);
    if (rc == SB_OK)
        return sb_model_txn_commit(s->model, s->committed_seq, err);
    sb_model_txn_abort(s->model);
    return rc;
}

int
sb_feed_catch_up(sb_store_t *s, sb_err_t *err)
{
    int rc = SB_DECLINED;

    if (s->model == NULL || (s->model_usable && s->model_seq == s->committed_seq))
        return SB_OK;
    if (s->model_usable)
        rc = replay(s, err);
    if (rc != SB_OK) {
        sb_err_clear(err);
        rc = rebuild(s, err);
    }
    if (rc != SB_OK) {
        sb_err_context(err, "the read model cannot be brought in step");
        sb_log(SB_LOG_ERR, "store: %s", err != NULL && err->message != NULL ? err->message : "the read model cannot be brought in step");
        return SB_ERROR;
    }
    s->model_usable = true;
    s->model_seq = s->committed_seq;
    return SB_OK;
}

void
sb_store_attach_model(sb_store_t *s, struct sb_model_writer *model, const struct sb_model_state *state)
{
    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    SB_ASSERT(s->depth < 0);
    s->model = model;
    s->model_usable = state->usable;
    s->model_seq = state->record_seq;
}

int
sb_store_sync_model(sb_store_t *s, sb_err_t *err)
{
    SB_CHECK_MAGIC(s, SB_STORE_MAGIC);
    SB_ASSERT(s->depth < 0);
    return sb_feed_catch_up(s, err);
}
