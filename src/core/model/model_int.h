/*
 * Inside the model: the environment both sides share, and the layout of keys. Not for other folders.
 *
 * Everything lives in LMDB's one unnamed tree, told apart by the first byte of the key, so that a commit copies one path per leaf it
 * touches instead of one tree per kind, and a read transaction opens no named database:
 *
 *   '0' "state"                              struct state
 *   '0' 'n' entity                           u64, rows of the entity
 *   'a' entity 0 uuid                        struct row_head, JSON
 *   'b' '=' entity 0 field 0 ws value        uuid (unique field; ws zero when unique across workspaces)
 *   'b' 'k' entity 0 cache key               uuid
 *   'b' 'f' entity 0 field 0 parent uuid     nothing (children of a parent)
 *   'b' 'g' uuid                             nothing (global plugins)
 *   'r' router key                           router value (core/router)
 *   's' class                                u64, rows of the class
 *   'z' seq, big endian                      event JSON; last of all, so that events are appended
 */
#ifndef SB_MODEL_INT_H
#define SB_MODEL_INT_H

#include "core/model/cursor.h"
#include "core/model/model.h"

#include <lmdb.h>
#include <string.h>

#define KEY_MAX       511 /* LMDB's, as Debian builds it */
#define EVENTS_KEPT   65536
#define MODEL_READERS 1024

/* ---------- env.c: one open environment per file and process ---------- */

/* LMDB forbids opening a file twice in one process (its locks would be lost), so a writer and readers of one process share. */
typedef struct sb_model_env {
    struct sb_model_env *next;
    MDB_env *env;
    MDB_dbi dbi;
    char *path;
    unsigned refs;
    int pid;
    bool writable;
    unsigned moves; /* how often the map was mapped anew: what points into it is void then */
} sb_model_env_t;

/* writable: creates the file when absent. */
int sb_model_env_acquire(const char *path, bool writable, sb_model_env_t **out, sb_err_t *err);
void sb_model_env_release(sb_model_env_t *e); /* NULL is fine */

/* dir/current: which file is the model, and whose. */
typedef struct sb_model_current {
    unsigned format;
    char boot[40], store[80], file[48];
} sb_model_current_t;

bool sb_model_current_read(const char *dir, sb_model_current_t *out); /* false: none, or not readable as one */
int sb_model_current_write(const char *dir, const sb_model_current_t *c, sb_err_t *err);
void sb_model_boot_id(char out[40]);

int sb_model_fail(sb_err_t *err, int rc, const char *what); /* an LMDB or errno code as SB_ERROR */

/* ---------- layout.c: keys and rows ---------- */

typedef struct sb_model_key {
    size_t len;
    bool overflow; /* did not fit: the row cannot be stored */
    unsigned char b[KEY_MAX];
} sb_model_key_t;

struct row_head {
    uint64_t version;
    sb_uuid_t ws;
};

struct state {
    uint64_t record_seq, event_seq, routing_gen;
    sb_uuid_t default_ws;
    uint64_t has_ws;
};

void sb_model_key_add(sb_model_key_t *k, const void *data, size_t len);
void sb_model_key_start(sb_model_key_t *k, const char *kind, const char *text); /* kind, text, NUL; text NULL: kind only */
void sb_model_key_row(sb_model_key_t *k, const sb_entity_t *e, const sb_uuid_t *id);
void sb_model_key_unique(sb_model_key_t *k, const sb_entity_t *e, const char *field, const sb_uuid_t *ws, sb_str_t value);
void sb_model_key_cache(sb_model_key_t *k, const sb_entity_t *e, sb_str_t value);
void sb_model_key_foreign(sb_model_key_t *k, const sb_entity_t *e, const char *field, const sb_uuid_t *parent);
void sb_model_key_event(sb_model_key_t *k, uint64_t seq);

/* Primary key as the model's row key: the id, or a name-based uuid of the key's values. false: the row has none. */
bool sb_model_row_id(const sb_entity_t *e, const json_t *row, sb_uuid_t *out);
/* Every index key of a row; with_id: the key names the row in its value. */
int sb_model_index_each(const sb_entity_t *e, const char *ws, const sb_uuid_t *id, const json_t *row,
                        int (*fn)(const sb_model_key_t *k, bool with_id, void *arg), void *arg);

/* ---------- reader.c ---------- */

struct sb_model_cursor {
    struct sb_model_cursor *next;
    sb_model_reader_t *reader;
    MDB_cursor *c;
    uint64_t turn; /* the reader's begin that it was renewed for */
};

#endif
