/*
 * Inside the store: the handle, the tables derived from entity field tables, and the seam to a database.
 *
 * Layers: dao*.c (rules of the interface) → store.c (transactions, sequence, change log, read model) → sb_store_ops (SQL).
 * A backend knows columns and rows, no rules; the DAO knows no SQL.
 */
#ifndef SB_STORE_INT_H
#define SB_STORE_INT_H

#include "core/base/buf.h"
#include "core/store/store.h"

#define SB_STORE_MAGIC       0x53425354u
#define SB_STORE_DEPTH       32 /* savepoints in one another */
#define SB_STORE_MAX_PK      8
#define SB_STORE_PRUNE_SLICE 500 /* changes dropped at a time */

/* --- tables (tables.c) --- */

typedef struct sb_column {
    const struct sb_field *field;
    const char *name; /* SQL name: the field's, foreign fields get "_id" */
    const char *decl; /* "TEXT", "INTEGER", "NUMERIC": affinity of the value */
    bool unique;      /* by its own */
    bool per_ws;      /* unique within a workspace */
    bool indexed;     /* foreign or asked for: an index without uniqueness */
    bool hidden;      /* not part of rows with this node's router flavor */
} sb_column_t;

typedef struct sb_table {
    const sb_entity_t *e;
    size_t index; /* in store->tables */
    const char *name;
    sb_column_t *cols;
    size_t ncols;
    size_t pk[SB_STORE_MAX_PK];
    size_t npk;
    bool cache_key; /* has the column "cache_key": composite, or its one field is not unique by itself */
    bool created_at;
    struct sb_table *next;
} sb_table_t;

/* A row as stored. ws is "" for entities without workspaces. */
typedef struct sb_record {
    json_t *row;
    char ws[SB_UUID_TEXT + 1];
    uint64_t version;
} sb_record_t;

/* One page of one table, in primary key order unless newest_first. */
typedef struct sb_query {
    const char *ws;      /* NULL: all */
    const json_t *after; /* array: the order's values of the row before; NULL: from the start */
    size_t limit;
    const char *const *tags;
    size_t ntags;
    bool tags_any;
    const sb_column_t *foreign;
    const char *foreign_id;
    const json_t *foreign_any; /* array: rows of any of these parents, instead of foreign_id */
    bool newest_first;
} sb_query_t;

typedef struct sb_change {
    uint64_t seq;
    double time;
    const char *entity, *op, *id, *ws, *actor;
    const json_t *row, *old; /* NULL: none */
} sb_change_t;

/*
 * A database. One connection, used by one thread. All functions MUST be there. They return SB_OK; SB_DECLINED from get/find when there
 * is no such row (err untouched) and from open for refusals worth a clear text; SB_ERROR with code 8, logged, when the database failed.
 */
struct sb_store_ops {
    const char *name;
    int (*open)(const sb_store_config_t *cfg, void **conn, sb_err_t *err);
    void (*close)(void *conn);
    /* Runs the numbered steps that are pending, then makes each table follow its field table (new tables, new columns). */
    int (*migrate)(void *conn, const sb_table_t *tables, sb_err_t *err);
    int (*status)(void *conn, json_t **out, sb_err_t *err);
    int (*peek)(const char *path, json_t **out, sb_err_t *err); /* the same without a connection; changes nothing */
    /* What commit has done survives the end of the process; power loss too once sync, called after it, has returned SB_OK. sync may run on
     * another thread while the connection is in use. */
    int (*begin)(void *conn, sb_err_t *err);
    int (*commit)(void *conn, sb_err_t *err);
    int (*sync)(void *conn, sb_err_t *err);
    void (*rollback)(void *conn);
    int (*savepoint)(void *conn, unsigned depth, sb_err_t *err);
    int (*release)(void *conn, unsigned depth, sb_err_t *err);
    int (*rollback_to)(void *conn, unsigned depth, sb_err_t *err); /* SB_ERROR: the whole transaction is gone */
    /* Rows. key: array of the primary key's values. */
    int (*get)(void *conn, const sb_table_t *t, const json_t *key, sb_record_t *out, sb_err_t *err);
    /* col NULL: the cache_key column. ws NULL: any. */
    int (*find)(void *conn, const sb_table_t *t, const sb_column_t *col, sb_str_t value, const char *ws, sb_record_t *out, sb_err_t *err);
    int (*insert)(void *conn, const sb_table_t *t, const sb_record_t *rec, const char *cache_key, sb_err_t *err);
    int (*update)(void *conn, const sb_table_t *t, const sb_record_t *rec, const json_t *old, const char *cache_key, sb_err_t *err);
    int (*remove)(void *conn, const sb_table_t *t, const json_t *old, sb_err_t *err);
    /* fn may not use the connection; it returns SB_OK to go on, anything else ends the loop and is returned. */
    int (*page)(void *conn, const sb_table_t *t, const sb_query_t *q, int (*fn)(sb_record_t *rec, void *arg), void *arg, sb_err_t *err);
    /* Calls fn with each value that the first member of the cache key has in some row, in no order. Costs a lookup for each, however many
     * rows there are. fn may not use the connection. */
    int (*leading)(void *conn, const sb_table_t *t, void (*fn)(const char *value, void *arg), void *arg, sb_err_t *err);
    /* Array of {entity_name, entity_id, tag} behind `after` ([tag, entity_name, entity_id]), in that order. */
    int (*tags)(void *conn, const char *ws, const char *tag, const json_t *after, size_t limit, json_t **out, sb_err_t *err);
    /* Change log. */
    int (*log_append)(void *conn, const sb_change_t *c, sb_err_t *err);
    int (*log_read)(void *conn, uint64_t from, size_t limit, int (*fn)(uint64_t seq, const json_t *change, void *arg), void *arg,
                    sb_err_t *err);
    int (*log_bounds)(void *conn, uint64_t *first, uint64_t *last, sb_err_t *err); /* 0, 0: empty */
    int (*log_prune)(void *conn, uint64_t last, sb_err_t *err);
    int (*meta_get)(void *conn, const char *key, char **value, sb_err_t *err); /* *value NULL: none; malloc'ed */
    int (*meta_set)(void *conn, const char *key, const char *value, sb_err_t *err);
    /* Outside of transactions: maintenance in slices, only what is overdue unless quiet; true when more is to do. */
    bool (*idle)(void *conn, bool quiet);
};

/* --- the handle (store.c) --- */

struct sb_store {
    uint32_t magic;
    const struct sb_store_ops *ops;
    void *conn;
    sb_schema_hooks_t hooks;
    sb_table_t *tables;
    int lock_fd;
    char id[SB_UUID_TEXT + 1], default_ws[SB_UUID_TEXT + 1];
    char ws[SB_UUID_TEXT + 1]; /* what a NULL workspace means */
    char *actor;
    /* Transaction: depth -1 none, 0 open, n: n savepoints. */
    int depth;
    bool broken;                 /* the database failed inside: only undoing is accepted */
    bool lost;                   /* atomic: what was committed may not survive power loss: no further transaction */
    uint64_t seq, committed_seq; /* last given out; last committed */
    uint64_t log_first;          /* oldest change kept, 0: none */
    uint64_t seq_at[SB_STORE_DEPTH + 1];
    /* Read model. Its transaction is opened by the first write of ours. */
    struct sb_model_writer *model;
    uint64_t model_seq; /* record sequence that it is known to hold */
    bool model_usable, model_open;
    int model_depth;
    uint64_t commits;  /* for tests and figures */
    uint64_t written;  /* rows and events written since opening, those undone included */
    uint64_t *changed; /* by table: the sequence of its newest change since opening */
};

/* Chains the tables of all registered entities, in their order; owned by the caller. */
sb_table_t *sb_tables_make(const sb_schema_hooks_t *hooks);
void sb_tables_free(sb_table_t *tables);
size_t sb_tables_count(const sb_table_t *tables);
const sb_table_t *sb_tables_find(const sb_table_t *tables, const char *entity);
const sb_column_t *sb_table_column(const sb_table_t *t, const char *field); /* NULL: none */
/* Array of the row's primary key values. New reference. */
json_t *sb_table_key(const sb_table_t *t, const json_t *row);
/* The text form of a key in the change log and in sb_dao_*: the value, or the JSON array when there are several. malloc'ed. */
char *sb_table_key_text(const sb_table_t *t, const json_t *key);
/* "<entity>:k1:k2:k3:k4:k5:<ws>"; values from row, foreign by id. malloc'ed. */
char *sb_table_cache_key(const sb_table_t *t, const json_t *row, const char *ws);

/* One row written inside a transaction: database, change log, read model. row NULL: deleted; old NULL: new. */
int sb_store_write(sb_store_t *s, const sb_table_t *t, const char *ws, const json_t *row, const json_t *old, sb_err_t *err);

/* A commit in two steps, so that the next transaction need not wait for the disk: sb_store_commit_later() completes the transaction and
 * feeds the read model; it may be acknowledged when a sb_store_sync() that began after it has returned SB_OK. That one may run on another
 * thread. When it fails, further transactions are refused. */
int sb_store_commit_later(sb_store_t *s, sb_err_t *err);
int sb_store_sync(sb_store_t *s, sb_err_t *err);

/* lock.c: *fd is held until closed. SB_DECLINED names the holder. */
int sb_store_lock(const char *dir, int *fd, sb_err_t *err);

/* token.c: page tokens. */
char *sb_store_token_make(const json_t *values);                                      /* malloc'ed */
int sb_store_token_read(const char *token, size_t n, json_t **values, sb_err_t *err); /* code 7 */

/* pretty.c: the Lua-like text of a value in error messages: {id="x",["a-b"]=1}, keys sorted. malloc'ed. */
char *sb_store_pretty(const json_t *value);

/* --- inside the DAO (dao.c, dao_refs.c, dao_checks.c, dao_rules.c, dao_delete.c) --- */

/* One write in the making. */
typedef struct sb_change_set {
    const char *ws;
    json_t *row;       /* complete, checked by the schema */
    const json_t *old; /* the row it replaces; NULL: new */
    uint64_t resolved; /* bit i: the i-th foreign field's parent was just looked up */
    json_t *transient; /* given fields that are not stored, out of row; an object */
} sb_change_set_t;

struct sb_dao_rules {
    const char *entity;
    /* MAY. Before anything is written: rules that need other rows. SB_DECLINED refuses the write. */
    int (*check)(sb_store_t *s, const sb_table_t *t, const sb_change_set_t *c, sb_err_t *err);
    /* MAY. Behind the row's write, in the same transaction. Must not decline. */
    int (*written)(sb_store_t *s, const sb_table_t *t, const sb_change_set_t *c, sb_err_t *err);
    /* MAY. Before a row is deleted, by itself or with another: SB_DECLINED refuses the whole. */
    int (*removable)(sb_store_t *s, const sb_table_t *t, const sb_record_t *rec, sb_err_t *err);
    /* MAY. Adds to rows that are handed out (an array) what is not stored in them. */
    int (*present)(sb_store_t *s, const sb_table_t *t, json_t *rows, sb_err_t *err);
};

/* *out: a copy of input in which {"name": …} references are {"id": …}; marks them in c->resolved. Code 13. */
int sb_dao_resolve(sb_store_t *s, const sb_table_t *t, sb_change_set_t *c, const json_t *input, json_t **out, sb_err_t *err);
/* Foreign ids exist, unique fields and cache key are free, the entity's own rules. old: row replaced or NULL. Codes 4, 5, 2. */
int sb_dao_check(sb_store_t *s, const sb_table_t *t, const sb_change_set_t *c, sb_err_t *err);
/* Code 2 with one field's text. */
int sb_dao_violation(const char *field, const char *text, sb_err_t *err);
/* What single entities have beyond their field table; NULL: nothing (dao_rules.c). */
const struct sb_dao_rules *sb_dao_rules_of(const sb_table_t *t);
/* Makes rows (an array) what is handed out: what their entity shows beyond its columns, and on_read transformations. */
int sb_dao_present(sb_store_t *s, const sb_table_t *t, json_t *rows, sb_err_t *err);
/* Deletes a row found before, with what depends on it. */
int sb_dao_remove(sb_store_t *s, const sb_table_t *t, const sb_record_t *rec, sb_err_t *err);
/* The same for a row of `workspaces`, after everything in that workspace; all of it or, when something refuses, nothing. */
int sb_dao_remove_workspace(sb_store_t *s, const sb_table_t *t, const sb_record_t *rec, sb_err_t *err);
/* Looks a row up by key text or unique field and workspace; SB_DECLINED as sb_dao_select. */
int sb_dao_lookup(sb_store_t *s, const sb_table_t *t, const char *key, const char *by, const char *ws, sb_record_t *out, sb_err_t *err);

#endif
