/*
 * The way of a row through its schema: choose the subschema, translate shorthands, merge into the stored row (PATCH), complete,
 * validate fields, run entity checks, transform. Start at sb_schema_process(). Each step works on one object that this file owns;
 * violations are gathered in one errors object, except those of shorthands, which end the matter at once.
 */
#include "core/base/buf.h"
#include "core/schema/schema_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TTL_MAX 100000000

struct work {
    const sb_schema_t *s;
    sb_pass_t pass;
    const struct sb_node *sub; /* NULL: none */
    struct sb_node root;       /* base and sub merged */
    const struct sb_transformation *plugin_transformations;
    json_t *row, *errors;
    json_t *given; /* the input, shorthands translated; NULL unless transformations ask for it */
};

static double
now(const sb_schema_hooks_t *hooks)
{
    struct timespec ts;

    if (hooks != NULL && hooks->now != NULL)
        return hooks->now(hooks->arg);
    clock_gettime(CLOCK_REALTIME, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* --- subschemas --- */

/* Borrowed: what the subschema is chosen by, in the input, else in the stored row, else the field's default. */
static const json_t *
selector(const struct work *w)
{
    const char *key = w->s->def->subschema_key;
    const struct sb_node *n = sb_node_field(&w->s->root, key);
    json_t *v = json_object_get(w->row, key);

    if (v == NULL && w->pass.op == SB_OP_UPDATE)
        v = json_object_get(w->pass.current, key);
    if (v == NULL)
        v = n->dflt;
    return v;
}

static const struct sb_node *
sub_of(const sb_schema_t *s, const json_t *v, const char **name)
{
    const struct sb_node *sub;
    size_t i;

    if (json_is_string(v)) {
        *name = json_string_value(v);
        return sb_schema_sub(s, *name);
    }
    for (i = 0; i < json_array_size(v); i++) {
        const char *item = json_string_value(json_array_get(v, i));

        if (item != NULL && (sub = sb_schema_sub(s, item)) != NULL) {
            *name = item;
            return sub;
        }
    }
    return NULL;
}

static void
choose_sub(struct work *w)
{
    const char *name = NULL;

    if (sb_schema_has_subs(w->s)) {
        w->sub = sub_of(w->s, selector(w), &name);
        if (w->sub != NULL)
            w->pass.plugin = name;
    }
    sb_node_merge(&w->s->root, w->sub, &w->root);
}

/* The row names no subschema that exists: then nothing else is looked at. Values of the wrong type are left to the field. */
static bool
report_unknown_sub(struct work *w)
{
    const char *key = w->s->def->subschema_key, *fmt = w->s->def->subschema_error, *at, *name = "nil";
    const json_t *v = json_object_get(w->row, key);
    sb_buf_t b = {0};

    if (v == NULL || !(json_is_string(v) || json_is_array(v)))
        return false;
    if (json_is_string(v))
        name = json_string_value(v);
    else if (json_is_string(json_array_get(v, 0)))
        name = json_string_value(json_array_get(v, 0));
    else if (json_array_size(v) != 0)
        return false;
    if (fmt == NULL)
        fmt = "unknown type: %s";
    at = strstr(fmt, "%s");
    SB_ASSERT(at != NULL);
    sb_buf_add(&b, fmt, (size_t)(at - fmt));
    sb_buf_addf(&b, "%s%s", name, at + 2);
    json_object_set_new(w->errors, key, json_string(b.data));
    sb_buf_free(&b);
    return true;
}

/* --- ttl and updated_at, which no table lists --- */

static void
take_unlisted(struct work *w)
{
    json_t *v;

    if (sb_node_field(&w->root, "updated_at") == NULL)
        json_object_del(w->row, "updated_at");
    if (!w->s->def->ttl || sb_node_field(&w->root, "ttl") != NULL || (v = json_object_get(w->row, "ttl")) == NULL)
        return;
    if (json_is_null(v))
        return;
    if (!json_is_number(v) || floor(json_number_value(v)) != json_number_value(v))
        json_object_set_new(w->errors, "ttl", json_string("expected an integer"));
    else if (json_number_value(v) < 0 || json_number_value(v) > TTL_MAX)
        json_object_set_new(w->errors, "ttl", json_string("value should be between 0 and 100000000"));
    else if (json_number_value(v) == 0)
        json_object_set_new(w->row, "ttl", json_null());
    else
        json_object_set_new(w->row, "ttl", json_integer((json_int_t)(floor(w->pass.now) + json_number_value(v))));
}

/* --- PATCH --- */

/* Records merge member by member; anything else, null included, replaces. */
static void
merge_record(const struct sb_node *n, json_t *into, const json_t *patch)
{
    const struct sb_node *field;
    const char *key;
    json_t *v, *old;

    json_object_foreach((json_t *)patch, key, v)
    {
        field = sb_node_field(n, key);
        old = json_object_get(into, key);
        if (field != NULL && field->f->type == SB_T_RECORD && json_is_object(old) && json_is_object(v))
            merge_record(field, old, v);
        else
            json_object_set(into, key, v);
    }
}

static void
check_immutable(struct work *w, const json_t *patch)
{
    const json_t *v, *old;
    size_t i;

    for (i = 0; i < w->root.n_fields; i++) {
        const struct sb_field *f = w->root.fields[i].f;

        if (!f->immutable || (v = json_object_get(patch, f->name)) == NULL)
            continue;
        old = json_object_get(w->pass.current, f->name);
        if (old != NULL && !json_is_null(old) && !sb_value_equal(v, old))
            json_object_set_new(w->errors, f->name, json_string("immutable field cannot be updated"));
    }
}

static void
merge_into_current(struct work *w)
{
    json_t *merged = json_deep_copy(w->pass.current), *id;

    check_immutable(w, w->row);
    merge_record(&w->root, merged, w->row);
    if ((id = json_object_get(w->pass.current, "id")) != NULL)
        json_object_set(merged, "id", id);
    json_decref(w->row);
    w->row = merged;
}

/* --- the steps --- */

static void
validate(struct work *w)
{
    json_t *found = sb_validate_fields(&w->pass, &w->root, w->row);

    /* Present without being a field: see take_unlisted(). */
    if (w->s->def->ttl && sb_node_field(&w->root, "ttl") == NULL)
        json_object_del(found, "ttl");
    json_object_update_missing(w->errors, found);
    json_decref(found);
    sb_run_checks(&w->pass, &w->s->root, w->row, w->errors);
    if (w->sub != NULL)
        sb_run_checks(&w->pass, w->sub, w->row, w->errors);
}

/* The transformations of the plugin that `sub` is; NULL: none, or no plugin. */
static const struct sb_transformation *
transformations_of(const sb_schema_t *s, const struct sb_node *sub, const char *name)
{
    const sb_plugin_schema_t *ps = sub != NULL && s->def->subschemas == NULL ? sb_plugin_schemas_find(name) : NULL;

    return ps != NULL ? ps->schema->def->transformations : NULL;
}

/* Fields of a plugin's config that are absent, because its schema has gained them since the row was written, get their defaults. */
static void
fill_config(const struct sb_node *sub, json_t *row)
{
    const struct sb_node *config = sb_node_field(sub, "config");
    json_t *v = json_object_get(row, "config");
    sb_pass_t pass = {.op = SB_OP_UPDATE};

    if (config != NULL && json_is_object(v))
        json_object_set_new(row, "config", sb_fill_record(&pass, config, json_incref(v)));
}

static int
transform(struct work *w)
{
    int rc = sb_transform_write(&w->pass, w->s->def->transformations, w->given, w->row, false);

    if (rc == SB_OK && w->plugin_transformations != NULL) {
        rc = sb_transform_write(&w->pass, w->plugin_transformations, w->given, w->row, true);
        fill_config(w->sub, w->row);
    }
    return rc;
}

/* Everything up to the verdict; true when no violation was found and no hook broke. */
static bool
run(struct work *w)
{
    sb_shorthands_translate(&w->pass, &w->root, w->row, w->errors);
    if (json_object_size(w->errors) != 0 || w->pass.failed)
        return false;
    w->plugin_transformations = transformations_of(w->s, w->sub, w->pass.plugin);
    if (sb_transforms_given(w->s->def->transformations) || sb_transforms_given(w->plugin_transformations))
        w->given = json_deep_copy(w->row);
    take_unlisted(w);
    if (w->pass.op == SB_OP_UPDATE)
        merge_into_current(w);
    w->row = sb_fill_record(&w->pass, &w->root, w->row);
    if (w->sub != NULL || !sb_schema_has_subs(w->s) || !report_unknown_sub(w))
        validate(w);
    return json_object_size(w->errors) == 0 && !w->pass.failed;
}

int
sb_schema_process(const sb_schema_t *schema, enum sb_op op, const json_t *input, const json_t *current, const sb_schema_hooks_t *hooks,
                  json_t **out, sb_err_t *err)
{
    const sb_schema_t *s = sb_schema_variant(schema, hooks);
    struct work w = {.s = s};
    int rc;

    *out = NULL;
    if (!json_is_object(input))
        return sb_schema_violation(err, json_pack("{s:[s]}", "@entity", "expected a record"));
    SB_ASSERT(op != SB_OP_UPDATE || current != NULL);
    w.pass = (sb_pass_t){.hooks = hooks, .op = op, .plugin = s->name, .now = now(hooks), .current = (json_t *)current, .err = err};
    w.row = json_deep_copy(input);
    w.errors = json_object();
    choose_sub(&w);
    if (run(&w))
        rc = transform(&w);
    else
        rc = w.pass.failed ? SB_ERROR : sb_schema_violation(err, json_incref(w.errors));
    if (rc == SB_OK)
        *out = json_incref(w.row);
    json_decref(w.row);
    json_decref(w.errors);
    json_decref(w.given);
    sb_node_merge_free(&w.root);
    return rc;
}

int
sb_schema_read(const sb_schema_t *s, json_t *row, const sb_schema_hooks_t *hooks, sb_err_t *err)
{
    sb_pass_t pass = {.hooks = hooks, .err = err};
    const struct sb_node *sub;
    const char *name = NULL;
    int rc;

    SB_CHECK_MAGIC(s, SB_SCHEMA_MAGIC);
    pass.plugin = s->name;
    rc = sb_transform_read(&pass, s->def->transformations, row, false);
    if (rc != SB_OK || !sb_schema_has_subs(s) || s->def->subschemas != NULL)
        return rc;
    sub = sub_of(s, json_object_get(row, s->def->subschema_key), &name);
    if (name != NULL)
        pass.plugin = name;
    return sb_transform_read(&pass, transformations_of(s, sub, name), row, true);
}

json_t *
sb_schema_present(const sb_schema_t *s, const json_t *row)
{
    json_t *out = json_deep_copy(row), *ttl;
    const struct sb_node *sub;
    struct sb_node root;
    const char *name = NULL;
    double left;

    SB_CHECK_MAGIC(s, SB_SCHEMA_MAGIC);
    sub = sb_schema_has_subs(s) ? sub_of(s, json_object_get(row, s->def->subschema_key), &name) : NULL;
    if (sub != NULL && s->def->subschemas == NULL)
        fill_config(sub, out);
    sb_node_merge(&s->root, sub, &root);
    sb_shorthands_echo(&root, out);
    sb_node_merge_free(&root);
    if (s->def->ttl && (ttl = json_object_get(out, "ttl")) != NULL) {
        left = json_is_number(ttl) ? json_number_value(ttl) - floor(now(NULL)) : 0;
        if (json_is_number(ttl) && left > 0)
            json_object_set_new(out, "ttl", json_integer((json_int_t)left));
        else
            json_object_del(out, "ttl");
    }
    return out;
}
