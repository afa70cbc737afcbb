/* Feeding the read model from the store's transactions (feed.c). All do nothing while no model is attached. */
#ifndef SB_FEED_INT_H
#define SB_FEED_INT_H

#include "core/store/store_int.h"

/* One row, inside the transaction; opens the model's transaction and savepoints as far as they lag behind. */
int sb_feed_put(sb_store_t *s, const sb_table_t *t, const sb_record_t *rec, const json_t *old, sb_err_t *err);
/* An event without a row, likewise. */
int sb_feed_event(sb_store_t *s, const json_t *event, sb_err_t *err);
int sb_feed_release(sb_store_t *s, sb_err_t *err);
void sb_feed_rollback_to(sb_store_t *s);
void sb_feed_abort(sb_store_t *s);
/* Behind the durable commit. When the model fails it is replayed at once; SB_ERROR only when that fails too. */
int sb_feed_commit(sb_store_t *s, sb_err_t *err);
/* Nothing to do when the model is in step, else replay or rebuild. Outside of transactions. */
int sb_feed_catch_up(sb_store_t *s, sb_err_t *err);

#endif
