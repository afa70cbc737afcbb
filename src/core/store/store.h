/*
 * The record: the durable truth, SQL, behind one DAO. Every write goes through sb_dao_*; a transaction groups writes,
 * and its commit is: read-model transaction built, SQL commit (fsync), read-model commit with events, answer (DESIGN 1).
 *
 * Threads: a store belongs to one thread (the store thread in control, main in the CLI). The writer lock file keeps one
 * writer per prefix.
 *
 * Rows are jansson objects as sb_schema_process() returns them. Every row has a version (change-log sequence of its last
 * write) and a workspace id. Facts: admin_api.json error_codes, entities.json.
 */
#ifndef SB_STORE_H
#define SB_STORE_H

#include "core/entities/entities.h"
#include "core/base/uuid.h"

typedef struct sb_store sb_store_t;
struct sb_model_writer; /* core/model/model.h */
struct sb_model_state;

/* The backend seam: sqlite here, postgres later. Defined in store_int.h. */
struct sb_store_ops;
extern const struct sb_store_ops sb_store_sqlite;

typedef struct sb_store_config {
    const char *path; /* sqlite: file; created 0600, its folder 0700 */
    sb_schema_hooks_t hooks;
    bool in_memory; /* tests */
} sb_store_config_t;

/* Takes the writer role (flock on <folder of path>/writer.lock), opens or creates the record, runs pending migrations. SB_DECLINED
 * when another process holds the role (the text names its pid) or when the file is of a newer version; SB_ERROR when it cannot be
 * read. Order at a node's start: sb_store_open, sb_model_writer_open(sb_store_id), sb_store_attach_model, sb_store_sync_model. */
int sb_store_open(const struct sb_store_ops *ops, const sb_store_config_t *cfg, sb_store_t **out, sb_err_t *err);
void sb_store_close(sb_store_t *s); /* rolls back an open transaction; the model writer stays the caller's */
/* Numbered steps; open() runs those pending on sqlite. Status as JSON for `migrations status`:
 * {"executed":[names],"pending":[names],"missing":[names executed but not known here],"new":[names]}. */
int sb_store_migrate(sb_store_t *s, sb_err_t *err);
json_t *sb_store_migration_status(sb_store_t *s);
/* The same of a record that is not open here and may be in use by another process; reads only. A record that is not there has nothing
 * executed. *out: new reference. */
int sb_store_peek(const struct sb_store_ops *ops, const char *path, json_t **out, sb_err_t *err);
/* Removes the embedded record for good. SB_DECLINED when another process holds the writer role. */
int sb_store_destroy(const char *path, sb_err_t *err);
/* Sequence of the last committed change. */
uint64_t sb_store_seq(sb_store_t *s);
const char *sb_store_id(sb_store_t *s);                /* uuid text, made once per record */
const char *sb_store_default_workspace(sb_store_t *s); /* its uuid text */
/* What ws NULL means to sb_dao_* from here on: that workspace (copied), or with NULL the default one again. It must exist. */
void sb_store_use_workspace(sb_store_t *s, const char *ws);
/* From here on the read model is fed at each commit. state: as sb_model_writer_open() found it. */
void sb_store_attach_model(sb_store_t *s, struct sb_model_writer *model, const struct sb_model_state *state);
/* Brings the attached model in step: replays the change log when the model is usable and the log reaches back far enough, else
 * rebuilds it from the record. Nothing to do without a model. */
int sb_store_sync_model(sb_store_t *s, sb_err_t *err);
/* Who the following changes are logged for (change log "actor"); NULL: nobody. Copied. */
void sb_store_set_actor(sb_store_t *s, const char *actor);
/* Housekeeping between writes: checkpoint, pruning of old changes. quiet: nobody is writing, do it in good time; else only what is
 * overdue. Cheap when there is nothing to do. Returns true when there is more. The store thread calls it; others may leave it. */
bool sb_store_idle(sb_store_t *s, bool quiet);

/* --- transactions: nestable as savepoints; without one each write is its own --- */
int sb_store_begin(sb_store_t *s, sb_err_t *err);
int sb_store_savepoint(sb_store_t *s, sb_err_t *err);   /* inside begin */
int sb_store_release(sb_store_t *s, sb_err_t *err);     /* ends the innermost savepoint, keeps its writes */
int sb_store_rollback_to(sb_store_t *s, sb_err_t *err); /* ends it and undoes them, model and events included */
int sb_store_commit(sb_store_t *s, sb_err_t *err);      /* SB_ERROR: nothing was applied, or it is replayed from the log */
void sb_store_rollback(sb_store_t *s);

/* An event without a row (cache purge, log level, a broadcast): reaches the workers in order with those of rows, with the commit; without a
 * transaction it is its own. Not in the change log: who starts later does not need it. Nothing without a model. */
int sb_store_event(sb_store_t *s, const json_t *event, sb_err_t *err);

/* --- the DAO. ws NULL: the default workspace, or that of sb_store_use_workspace(). Returned rows are new references. --- */
typedef struct sb_dao_opts {
    const char *ws;
    const char *by; /* select/update/upsert/delete by this unique field instead of id; NULL: id */
    bool content;   /* delete of a workspace: with all that is in it */
} sb_dao_opts_t;

/* key: uuid text, or with opts->by the unique value; for a primary key of several fields the JSON array of its values.
 * SB_DECLINED code 6 when absent, 1 when the key is not a uuid, 10 when opts->by is not a unique field. */
int sb_dao_select(sb_store_t *s, const sb_entity_t *e, const char *key, const sb_dao_opts_t *o, json_t **row, sb_err_t *err);
/* By cache_key: fields is an object of the key's members (foreign as {"id"}); code 6 when absent. */
int sb_dao_select_by_cache_key(sb_store_t *s, const sb_entity_t *e, const json_t *fields, const sb_dao_opts_t *o, json_t **row,
                               sb_err_t *err);
/* input: an object as the Admin API takes it; foreign fields {"id"}, or a unique field of the parent, which is resolved. A write that
 * is declined has changed nothing; after SB_ERROR inside a transaction only rollback or rollback_to are accepted.
 * insert: code 3 when the id exists, 5 on unique fields or cache key, 4 on foreign ids that do not exist, 13 on unresolved ones.
 * update: merges (PATCH). upsert: replaces or creates under the key (PUT); key and opts->by win over what input says. */
int sb_dao_insert(sb_store_t *s, const sb_entity_t *e, const json_t *input, const sb_dao_opts_t *o, json_t **row, sb_err_t *err);
int sb_dao_update(sb_store_t *s, const sb_entity_t *e, const char *key, const json_t *input, const sb_dao_opts_t *o, json_t **row,
                  sb_err_t *err);
int sb_dao_upsert(sb_store_t *s, const sb_entity_t *e, const char *key, const json_t *input, const sb_dao_opts_t *o, json_t **row,
                  sb_err_t *err);
/* Cascades as on_delete says, code 4 when restricted. SB_OK also when absent; *existed (may be NULL) tells. */
int sb_dao_delete(sb_store_t *s, const sb_entity_t *e, const char *key, const sb_dao_opts_t *o, bool *existed, sb_err_t *err);

typedef struct sb_page_opts {
    const char *ws;
    size_t size;                            /* 1..1000; 0: 100 */
    const char *offset;                     /* token of the page before; NULL: first. Bad token: code 7 */
    const char *const *tags;                /* NULL-ended; NULL: no filter */
    bool tags_any;                          /* "a/b": any instead of all */
    const char *foreign_field, *foreign_id; /* children of one parent */
    bool newest_first;                      /* created_at desc, id (targets) */
} sb_page_opts_t;

/* *rows: new array; *next: malloc'ed token or NULL at the end. */
int sb_dao_page(sb_store_t *s, const sb_entity_t *e, const sb_page_opts_t *o, json_t **rows, char **next, sb_err_t *err);
/* All rows of all workspaces, streaming. fn returns SB_OK to go on. row is borrowed. */
int sb_dao_each(sb_store_t *s, const sb_entity_t *e, int (*fn)(json_t *row, const char *ws, uint64_t version, void *arg), void *arg,
                sb_err_t *err);
/* Calls fn with each value (a text) that the first member of e's cache key has anywhere, in any workspace, without reading the rows: the
 * names of the configured plugins. */
int sb_dao_leading(sb_store_t *s, const sb_entity_t *e, void (*fn)(const char *value, void *arg), void *arg, sb_err_t *err);
/* Tag listing for /tags: [{entity_name, entity_id, tag}], paged like sb_dao_page. tag NULL: all. */
int sb_dao_tags(sb_store_t *s, const char *tag, const sb_page_opts_t *o, json_t **rows, char **next, sb_err_t *err);

/* The change log, oldest first, after `from`: fn(seq, {"entity","op","id","ws","time","actor","row","old"}); op create|update|delete,
 * row null on delete, old null on create. The newest SB_STORE_CHANGES_KEEP entries are kept at least. */
#define SB_STORE_CHANGES_KEEP 20000
int sb_store_changes(sb_store_t *s, uint64_t from, int (*fn)(uint64_t seq, const json_t *change, void *arg), void *arg, sb_err_t *err);

/* The sequence of the newest change of e since the store was opened, perhaps of one that was undone; 0: none. */
uint64_t sb_store_changed(sb_store_t *s, const sb_entity_t *e);

/* --- the store thread (store/thread.c): a queue of jobs, run in order; jobs that queued up share one durable commit --- */
typedef struct sb_store_thread sb_store_thread_t;
typedef struct sb_job {
    struct sb_job *next;
    /* On the store thread. Returns SB_OK to keep its writes, else they are undone. It may be called again, from the start, when another
     * job of its transaction was undone: what it did then has not happened. */
    int (*run)(sb_store_t *s, struct sb_job *job);
    /* On a thread of the store after the commit is durable and served (true), or failed or undone (false). Reads: after run, true; one
     * that may have seen a write that is not durable yet waits with it and shares its fate. It must only hand the job back to its
     * owner (queue + eventfd). */
    void (*done)(struct sb_job *job, bool committed);
    bool writes;
    void *data;
} sb_job_t;

int sb_store_thread_start(sb_store_t *s, sb_store_thread_t **out, sb_err_t *err); /* takes the store over */
void sb_store_thread_submit(sb_store_thread_t *t, sb_job_t *job);                 /* any thread; never blocks long */
void sb_store_thread_stop(sb_store_thread_t *t);                                  /* finishes what is queued, closes the store */

#endif
