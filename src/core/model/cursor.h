/*
 * The router's view of the model: a cursor over the router's index rows in the reader's open snapshot, and the numbers that say
 * which snapshot that is. Only the router uses it.
 *
 * A cursor is made once per router and follows its reader: each seek uses the snapshot that is open then. Keys and values are
 * borrowed until sb_model_end.
 */
#ifndef SB_MODEL_CURSOR_H
#define SB_MODEL_CURSOR_H

#include "core/model/model.h"

typedef struct sb_model_cursor sb_model_cursor_t;

sb_model_cursor_t *sb_model_cursor_new(sb_model_reader_t *r);
void sb_model_cursor_free(sb_model_cursor_t *c); /* before its reader is closed */

/* First row with key >= `key`; the row behind the last one found. false: there is none (or no snapshot is open). */
bool sb_model_cursor_seek(sb_model_cursor_t *c, sb_str_t key, sb_str_t *found, sb_str_t *value);
bool sb_model_cursor_next(sb_model_cursor_t *c, sb_str_t *found, sb_str_t *value);
/* Steps back to the row before the one found; length 0 when there is none. */
void sb_model_cursor_before(sb_model_cursor_t *c, sb_str_t *found);

/* Classes of index rows that have rows, in key order; fn returns false to stop. */
void sb_model_cursor_classes(sb_model_cursor_t *c, bool (*fn)(sb_str_t name, uint64_t rows, void *arg), void *arg);

/* Differs whenever the snapshot does. While it does not, what was borrowed from an earlier begin is good after the next begin, too:
 * nothing of the newest snapshot is overwritten. */
uint64_t sb_model_snapshot(const sb_model_reader_t *r);

#endif
