/*
 * The read model: an LMDB environment in the prefix, written by control's store thread, read lock-free by proxy workers.
 * One row per entity (compact JSON behind a fixed header), index rows (unique keys, foreign keys, router index), an event log, and meta.
 * NOSYNC, no WRITEMAP; a boot id, format number and record sequence decide at start whether it is kept or rebuilt (into a
 * new file, renamed before readers open it).
 *
 * Readers: open after fork, one sb_model_reader_t per worker; a read transaction lasts one event-loop turn at most
 * (begin/end; cheap renew/reset). Pointers handed out are valid until end().
 */
#ifndef SB_MODEL_H
#define SB_MODEL_H

#include "core/base/base.h"
#include "core/balancer/health.h"
#include "core/base/uuid.h"
#include "core/entities/entities.h"

#define SB_MODEL_FORMAT 3

/* ---------- shared runtime state: <prefix>/run/state, MAP_SHARED, created by control or the supervisor ---------- */
#define SB_RT_MAGIC       0x53425254u
#define SB_RT_WORKERS     256
#define SB_RT_DICTS       32
#define SB_RT_DICT_NAME   48
#define SB_CLOSING_MAX_MS 10000u /* how far ahead closing_until may be */
typedef struct sb_runtime {
    uint32_t magic, size;
    _Alignas(64) uint64_t event_seq;   /* last event committed to the read model; release store by control */
    _Alignas(64) uint64_t routing_gen; /* moved by routing entities and plugins only */
    _Alignas(64) uint64_t model_epoch; /* moves when the model was rebuilt into a new file: reopen */
    _Alignas(64) uint64_t log_level;   /* nginx level + 1; 0: as configured */
    /* A reload is near: until then (monotonic clock, milliseconds) answers ask clients to open a new connection. 0: none is. */
    uint64_t closing_until;
    _Alignas(64) uint64_t connections[6]; /* accepted, active, handled, reading, waiting, writing */
    uint64_t total_requests;
    uint64_t lua_entries;              /* how often a request entered Lua: proves that chains without Lua never do */
    uint64_t lua_gc_kb[SB_RT_WORKERS]; /* by worker slot */
    uint64_t lua_pid[SB_RT_WORKERS];
    uint64_t worker_pid[SB_RT_WORKERS]; /* 0: none; one that was killed may still stand here */
    uint64_t control_pid;               /* of the control worker that has the record open; 0: none; may have been killed */
    uint64_t run;                       /* which start of the node draining and health are of */
    uint64_t draining;                  /* 1: the node is to get no new traffic (Status API) */
    struct sb_runtime_dict {
        char name[SB_RT_DICT_NAME]; /* "": the end */
        uint64_t capacity, used;    /* bytes */
    } dicts[SB_RT_DICTS];           /* Lua's shared dictionaries, as the proxy last saw them */
    sb_health_t health;             /* of addresses of targets */
} sb_runtime_t;

/* Maps the file, creating it (0600) when create. *out stays mapped until sb_runtime_unmap. */
int sb_runtime_map(const char *path, bool create, sb_runtime_t **out, sb_err_t *err);
void sb_runtime_unmap(sb_runtime_t *rt);
/* Control, once it has the writer role: forgets what is of an earlier start of the node. run: tells starts apart, not 0. */
void sb_runtime_begin(sb_runtime_t *rt, uint64_t run);

/* ---------- writer (one per node) ---------- */
typedef struct sb_model_writer sb_model_writer_t;

typedef struct sb_model_state {
    uint64_t record_seq;
    bool usable;
} sb_model_state_t;

/* Opens the model in dir (the file named by dir/current; one per rebuild) or creates a new one. *state tells whether its content can be
 * kept (same boot id, format, store id) and up to which record sequence it is. */
int sb_model_writer_open(const char *dir, const char *store_id, sb_runtime_t *rt, sb_model_writer_t **out, sb_model_state_t *state,
                         sb_err_t *err);
void sb_model_writer_close(sb_model_writer_t *w);
/* Rebuild into a new file: begin (a transaction is open then), put everything, sb_model_txn_commit; on commit it replaces
 * the old one and model_epoch moves. sb_model_txn_abort keeps the old one. Puts append no events meanwhile: readers start over. */
int sb_model_rebuild_begin(sb_model_writer_t *w, sb_err_t *err);

int sb_model_txn_begin(sb_model_writer_t *w, sb_err_t *err);
int sb_model_txn_savepoint(sb_model_writer_t *w, sb_err_t *err); /* LMDB nested transaction */
int sb_model_txn_release(sb_model_writer_t *w, sb_err_t *err);
void sb_model_txn_rollback_to(sb_model_writer_t *w);
/* Row written (old NULL: new). Keeps every index, the router's too, in step, and appends the event
 * {"op":"create|update|delete","entity","id","ws","version"} and, for update and delete, "old": the row before. row NULL:
 * deleted. version: record sequence of the write. Safe to repeat (replay): the indexes follow what the model holds, not `old`.
 * A workspaces row named "default" makes its id the default workspace. */
int sb_model_put(sb_model_writer_t *w, const sb_entity_t *e, const char *ws, uint64_t version, const json_t *row, const json_t *old,
                 sb_err_t *err);
/* An event without a row (log level, cache purge, plugin broadcast): kept in order with the others. */
int sb_model_event(sb_model_writer_t *w, const json_t *event, sb_err_t *err);
/* Commits, then publishes event_seq and routing_gen (release), so that a reader that sees them finds the rows. */
int sb_model_txn_commit(sb_model_writer_t *w, uint64_t record_seq, sb_err_t *err);
void sb_model_txn_abort(sb_model_writer_t *w);
/* Called after each commit, on the committing thread: wake the workers. */
void sb_model_on_commit(sb_model_writer_t *w, void (*fn)(void *arg), void *arg);

/* ---------- reader (one per worker) ---------- */
typedef struct sb_model_reader sb_model_reader_t;

typedef struct sb_row {
    sb_uuid_t id, ws;
    uint64_t version;
    sb_str_t json; /* borrowed until end() */
} sb_row_t;

int sb_model_reader_open(const char *dir, sb_runtime_t *rt, sb_model_reader_t **out, sb_err_t *err);
void sb_model_reader_close(sb_model_reader_t *r);
/* Nestable; begin also reopens when model_epoch moved. SB_ERROR only when the environment is gone. */
int sb_model_begin(sb_model_reader_t *r, sb_err_t *err);
void sb_model_end(sb_model_reader_t *r);
/* Ends and begins again: the newest snapshot. When it fails, everything is ended: no sb_model_end() then. */
int sb_model_refresh(sb_model_reader_t *r, sb_err_t *err);

bool sb_model_get(sb_model_reader_t *r, const sb_entity_t *e, const sb_uuid_t *id, sb_row_t *out);
/* By unique field, or by cache key (field "cache_key", value the full cache-key string). ws NULL: default workspace. */
bool sb_model_find(sb_model_reader_t *r, const sb_entity_t *e, const char *field, const char *ws, sb_str_t value, sb_row_t *out);
/* Children whose foreign `field` is `parent`, by id. fn returns false to stop; it may call the model. */
void sb_model_children(sb_model_reader_t *r, const sb_entity_t *child, const char *field, const sb_uuid_t *parent,
                       bool (*fn)(const sb_row_t *row, void *arg), void *arg);
/* Whether any row's foreign `field` is set. */
bool sb_model_has_children(sb_model_reader_t *r, const sb_entity_t *child, const char *field);
/* Plugins that name no parent at all, of all workspaces. */
void sb_model_global_plugins(sb_model_reader_t *r, bool (*fn)(const sb_row_t *row, void *arg), void *arg);
void sb_model_each(sb_model_reader_t *r, const sb_entity_t *e, bool (*fn)(const sb_row_t *row, void *arg), void *arg);
uint64_t sb_model_count(sb_model_reader_t *r, const sb_entity_t *e);
/* These three need no open snapshot; without one they look at the newest. */
uint64_t sb_model_event_seq(sb_model_reader_t *r);
const char *sb_model_default_ws(sb_model_reader_t *r); /* uuid text, "" before it is known */
/* Routing generation of the snapshot that is open (not of the newest): what a plan made now belongs to. Equal to
 * runtime.routing_gen once that commit is published. */
uint64_t sb_model_routing_gen(sb_model_reader_t *r);
/* Events after `from`, in order. SB_DECLINED: older than the log keeps; flush everything and continue from event_seq. */
int sb_model_events(sb_model_reader_t *r, uint64_t from, void (*fn)(uint64_t seq, const json_t *event, void *arg), void *arg);
/* The cache key of a row: "entity:v1:v2:v3:v4:v5:ws", absent values empty, foreign values their id. malloc'ed; NULL when the
 * entity has no cache key. ws is empty for entities without workspaces. */
char *sb_model_cache_key(const sb_entity_t *e, const char *ws, const json_t *row);
/* The router's cursor over its index rows is core/model/cursor.h. */

#endif
