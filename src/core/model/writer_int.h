/* Shared by writer.c (life, transactions, publishing) and put.c (rows, indexes, events). */
#ifndef SB_MODEL_WRITER_INT_H
#define SB_MODEL_WRITER_INT_H

#include "core/model/model_int.h"

#include <time.h>

#define WRITER_MAGIC 0x53424d57u
#define LEVELS       32

/* One level of transaction. state is what the meta row will say if this level commits. */
struct level {
    MDB_txn *txn;
    struct state state;
    bool routing; /* an edit moved the routing generation */
};

struct sb_model_writer {
    uint32_t magic;
    char *dir, boot[40], store[80];
    sb_runtime_t *rt;
    sb_model_env_t *cur;   /* the model; NULL only while the first one is being made */
    sb_model_env_t *fresh; /* not yet named by `current`: a rebuild, or the first file */
    bool rebuilding;       /* the open transaction is on `fresh` */
    struct state committed;
    struct level level[LEVELS];
    unsigned depth; /* open levels; 0: no transaction */
    MDB_dbi dbi;    /* of the open transaction */
    time_t checked; /* when stale readers were last looked for */
    void (*on_commit)(void *arg);
    void *on_commit_arg;
};

static inline struct level *
top(sb_model_writer_t *w)
{
    SB_CHECK_MAGIC(w, WRITER_MAGIC);
    SB_ASSERT(w->depth > 0);
    return &w->level[w->depth - 1];
}

#endif
