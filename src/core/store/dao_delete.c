/*
 * Deleting with what depends on it. The plan is made first, by reading only: which rows go (children before parents), which lose their
 * reference; a restricting child anywhere refuses the whole before anything is written. Then the plan is carried out.
 *
 * A whole workspace may hold more rows than a plan should: it goes row by row, children's tables first, inside a savepoint.
 */
#include "core/base/json.h"
#include "core/store/store_int.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct step {
    const sb_table_t *t;
    const char *null_field; /* set null instead of deleting */
    sb_record_t rec;
} step_t;

typedef struct plan {
    sb_store_t *s;
    sb_err_t *err;
    step_t *steps;
    size_t n, cap;
    json_t *seen; /* "entity:key" of rows that go; ends cycles and doubles */
    int rc;
    /* While visiting the children of one row. */
    const sb_table_t *parent;
    const char *parent_id;
} plan_t;

static void plan_row(plan_t *p, const sb_table_t *t, const sb_record_t *rec);

static void
add_step(plan_t *p, const sb_table_t *t, const char *null_field, const sb_record_t *rec)
{
    if (p->n == p->cap) {
        p->cap = p->cap != 0 ? p->cap * 2 : 16;
        p->steps = sb_realloc(p->steps, p->cap * sizeof(*p->steps));
    }
    p->steps[p->n] = (step_t){.t = t, .null_field = null_field, .rec = *rec};
    json_incref(rec->row);
    p->n++;
}

/* Behaviour beyond the field tables: a certificate takes its SNIs along. */
static enum sb_on_delete
behaviour(const sb_entity_t *child, const sb_foreign_t *f)
{
    if (strcmp(child->name, "snis") == 0 && strcmp(f->field, "certificate") == 0)
        return SB_CASCADE;
    return f->on_delete;
}

typedef struct found {
    sb_record_t *recs;
    size_t n;
} found_t;

static int
collect(sb_record_t *rec, void *arg)
{
    found_t *f = arg;

    f->recs = sb_realloc(f->recs, (f->n + 1) * sizeof(*f->recs));
    f->recs[f->n++] = *rec;
    return SB_OK;
}

static void
visit_children(const sb_entity_t *child, const sb_foreign_t *f, void *arg)
{
    plan_t *p = arg;
    const sb_table_t *t = sb_tables_find(p->s->tables, child->name);
    enum sb_on_delete how = behaviour(child, f);
    sb_query_t q = {.limit = how == SB_RESTRICT ? 1 : SIZE_MAX, .foreign_id = p->parent_id};
    const sb_table_t *parent = p->parent;
    found_t found = {0};
    size_t i;

    if (p->rc != SB_OK || t == NULL)
        return;
    q.foreign = sb_table_column(t, f->field);
    p->rc = p->s->ops->page(p->s->conn, t, &q, collect, &found, p->err);
    if (p->rc == SB_OK && found.n != 0 && how == SB_RESTRICT)
        p->rc = sb_err_set_fields(p->err, SB_E_FOREIGN_KEY_VIOLATION, json_pack("{s:s}", "@referenced_by", child->name),
                                  "an existing '%s' entity references this '%s' entity", child->name, parent->e->name);
    for (i = 0; i < found.n; i++) {
        if (p->rc == SB_OK && how == SB_SET_NULL)
            add_step(p, t, f->field, &found.recs[i]);
        else if (p->rc == SB_OK)
            plan_row(p, t, &found.recs[i]);
        json_decref(found.recs[i].row);
    }
    free(found.recs);
}

static void
plan_row(plan_t *p, const sb_table_t *t, const sb_record_t *rec)
{
    const struct sb_dao_rules *rules = sb_dao_rules_of(t);
    const sb_table_t *outer = p->parent;
    const char *outer_id = p->parent_id;
    json_t *key = sb_table_key(t, rec->row);
    char *text = sb_table_key_text(t, key), *name = sb_asprintf("%s:%s", t->e->name, text);

    if (json_object_get(p->seen, name) == NULL) {
        json_object_set_new(p->seen, name, json_true());
        if (p->rc == SB_OK && rules != NULL && rules->removable != NULL)
            p->rc = rules->removable(p->s, t, rec, p->err);
        p->parent = t;
        p->parent_id = text;
        sb_entity_children(t->e, visit_children, p);
        p->parent = outer;
        p->parent_id = outer_id;
        if (p->rc == SB_OK)
            add_step(p, t, NULL, rec);
    }
    free(name);
    free(text);
    json_decref(key);
}

static bool
goes_too(const plan_t *p, const step_t *step)
{
    json_t *key = sb_table_key(step->t, step->rec.row);
    char *text = sb_table_key_text(step->t, key), *name = sb_asprintf("%s:%s", step->t->e->name, text);
    bool goes = json_object_get(p->seen, name) != NULL;

    free(name);
    free(text);
    json_decref(key);
    return goes;
}

static int
unlink_row(plan_t *p, const step_t *step)
{
    sb_record_t now = {0};
    json_t *row, *key;
    int rc;

    if (goes_too(p, step))
        return SB_OK;
    /* As it is now: an earlier step may have taken another of its references. */
    key = sb_table_key(step->t, step->rec.row);
    rc = p->s->ops->get(p->s->conn, step->t, key, &now, p->err);
    json_decref(key);
    if (rc != SB_OK)
        return SB_ERROR;
    row = json_copy(now.row);
    json_object_set_new(row, step->null_field, json_null());
    if (json_is_integer(json_object_get(row, "updated_at")))
        json_object_set_new(row, "updated_at",
                            json_integer((json_int_t)(p->s->hooks.now != NULL ? p->s->hooks.now(p->s->hooks.arg) : (double)time(NULL))));
    rc = sb_store_write(p->s, step->t, now.ws, row, now.row, p->err);
    json_decref(row);
    json_decref(now.row);
    return rc;
}

static int
carry_out(plan_t *p)
{
    size_t i;
    int rc = SB_OK;

    for (i = 0; rc == SB_OK && i < p->n; i++) {
        const step_t *step = &p->steps[i];

        if (step->null_field != NULL)
            rc = unlink_row(p, step);
        else
            rc = sb_store_write(p->s, step->t, step->rec.ws, NULL, step->rec.row, p->err);
    }
    return rc;
}

int
sb_dao_remove(sb_store_t *s, const sb_table_t *t, const sb_record_t *rec, sb_err_t *err)
{
    plan_t p = {.s = s, .err = err, .seen = json_object()};
    size_t i;

    plan_row(&p, t, rec);
    if (p.rc == SB_OK)
        p.rc = carry_out(&p);
    for (i = 0; i < p.n; i++)
        json_decref(p.steps[i].rec.row);
    free(p.steps);
    json_decref(p.seen);
    return p.rc;
}

/* --- a workspace with all that is in it --- */

#define SLICE 500

/* A row that is still there: one of the same table may have taken it along. */
static int
remove_if_there(sb_store_t *s, const sb_table_t *t, const sb_record_t *rec, sb_err_t *err)
{
    json_t *key = sb_table_key(t, rec->row);
    sb_record_t now = {0};
    int rc = s->ops->get(s->conn, t, key, &now, err);

    json_decref(key);
    if (rc == SB_OK)
        rc = sb_dao_remove(s, t, &now, err);
    else if (rc == SB_DECLINED)
        rc = SB_OK;
    json_decref(now.row);
    return rc;
}

static int
empty_table(sb_store_t *s, const sb_table_t *t, const char *ws, sb_err_t *err)
{
    sb_query_t q = {.ws = ws, .limit = SLICE};
    json_t *after = NULL;
    size_t n;
    int rc;

    do {
        found_t found = {0};

        q.after = after;
        rc = s->ops->page(s->conn, t, &q, collect, &found, err);
        n = found.n;
        json_decref(after);
        after = n != 0 ? sb_table_key(t, found.recs[n - 1].row) : NULL;
        for (size_t i = 0; i < n; i++) {
            if (rc == SB_OK)
                rc = remove_if_there(s, t, &found.recs[i], err);
            json_decref(found.recs[i].row);
        }
        free(found.recs);
    } while (rc == SB_OK && n == SLICE);
    json_decref(after);
    return rc;
}

/* Tables stand parents first, so the list is walked from its end. */
static int
empty_tables(sb_store_t *s, const sb_table_t *t, const char *ws, sb_err_t *err)
{
    int rc;

    if (t == NULL)
        return SB_OK;
    rc = empty_tables(s, t->next, ws, err);
    return rc == SB_OK && t->e->workspaceable ? empty_table(s, t, ws, err) : rc;
}

int
sb_dao_remove_workspace(sb_store_t *s, const sb_table_t *t, const sb_record_t *rec, sb_err_t *err)
{
    const char *id = sb_json_string(rec->row, "id");
    int rc;

    SB_ASSERT(strcmp(t->e->name, "workspaces") == 0);
    if (strcmp(id, s->default_ws) == 0) /* which refuses */
        return sb_dao_remove(s, t, rec, err);
    if ((rc = sb_store_savepoint(s, err)) != SB_OK)
        return rc;
    rc = empty_tables(s, s->tables, id, err);
    if (rc == SB_OK)
        rc = sb_dao_remove(s, t, rec, err);
    if (rc == SB_OK)
        return sb_store_release(s, err);
    return sb_store_rollback_to(s, NULL) == SB_OK ? rc : SB_ERROR;
}
