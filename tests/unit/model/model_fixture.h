/* A model in a temporary directory, with a writer and a reader, for the tests of model and router. */
#ifndef MODEL_FIXTURE_H
#define MODEL_FIXTURE_H

#include "core/base/json.h"
#include "core/entities/entities.h"
#include "core/model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define WS "00000000-0000-4000-8000-00000000000a"

struct fixture {
    char dir[64], model[80], state[80];
    sb_runtime_t *rt;
    sb_model_writer_t *w;
    sb_model_reader_t *r;
    uint64_t seq;
};

static inline void
must(int rc, sb_err_t *err)
{
    if (rc != SB_OK)
        print_message("%s\n", err->message != NULL ? err->message : "(no message)");
    sb_err_clear(err);
    assert_int_equal(rc, SB_OK);
}

static inline void
fixture_writer(struct fixture *f, const char *store, sb_model_state_t *state)
{
    sb_err_t err = {0};

    must(sb_model_writer_open(f->model, store, f->rt, &f->w, state, &err), &err);
}

static inline void
fixture_reader(struct fixture *f)
{
    sb_err_t err = {0};

    must(sb_model_reader_open(f->model, f->rt, &f->r, &err), &err);
}

static inline const sb_entity_t *
entity(const char *name)
{
    const sb_entity_t *e = sb_entity_find(name);

    assert_non_null(e);
    return e;
}

static inline void
begin(struct fixture *f)
{
    sb_err_t err = {0};

    must(sb_model_txn_begin(f->w, &err), &err);
}

static inline void
commit(struct fixture *f)
{
    sb_err_t err = {0};

    must(sb_model_txn_commit(f->w, f->seq, &err), &err);
}

static inline void
put_in(struct fixture *f, const char *name, const json_t *row, const json_t *old)
{
    sb_err_t err = {0};

    must(sb_model_put(f->w, entity(name), WS, ++f->seq, row, old, &err), &err);
}

/* JSON text with ' for ". */
static inline json_t *
json(const char *text)
{
    char *s = sb_strdup_len(text, strlen(text));
    json_t *v;

    for (char *p = s; *p != '\0'; p++)
        if (*p == '\'')
            *p = '"';
    v = sb_json_parse(s, strlen(s), NULL);
    free(s);
    assert_non_null(v);
    return v;
}

/* One row in a transaction of its own. */
static inline void
put(struct fixture *f, const char *name, const char *text)
{
    json_t *row = json(text);

    begin(f);
    put_in(f, name, row, NULL);
    commit(f);
    json_decref(row);
}

static inline void
delete_row(struct fixture *f, const char *name, const char *id)
{
    json_t *old = json_pack("{s:s}", "id", id);

    begin(f);
    put_in(f, name, NULL, old);
    commit(f);
    json_decref(old);
}

static inline void
look(struct fixture *f)
{
    sb_err_t err = {0};

    must(sb_model_begin(f->r, &err), &err);
}

static inline sb_uuid_t
uuid(const char *text)
{
    sb_uuid_t u;

    assert_true(sb_uuid_parse(text, strlen(text), &u));
    return u;
}

static inline int
fixture_setup(void **state)
{
    struct fixture *f = sb_calloc(sizeof(*f));
    sb_model_state_t found;
    sb_err_t err = {0};

    sb_entities_init();
    strcpy(f->dir, "/tmp/sb-model-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->model, sizeof(f->model), "%s/model", f->dir);
    snprintf(f->state, sizeof(f->state), "%s/state", f->dir);
    must(sb_runtime_map(f->state, true, &f->rt, &err), &err);
    fixture_writer(f, "store", &found);
    assert_false(found.usable);
    must(sb_model_rebuild_begin(f->w, &err), &err);
    must(sb_model_txn_commit(f->w, 0, &err), &err);
    fixture_reader(f);
    *state = f;
    return 0;
}

static inline int
fixture_teardown(void **state)
{
    struct fixture *f = *state;
    char *cmd = sb_asprintf("rm -rf %s", f->dir);

    sb_model_reader_close(f->r);
    sb_model_writer_close(f->w);
    sb_runtime_unmap(f->rt);
    if (system(cmd) != 0)
        print_message("%s failed\n", cmd);
    free(cmd);
    free(f);
    return 0;
}

#endif
