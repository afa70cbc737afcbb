/*
 * Entity checks: rules over several fields of a record. A failing check adds its text to "@entity"; conditional checks also
 * put an error on the field they constrain, even when that field already has one. Custom checks are left out when one of their
 * fields is unset or has an error, unless they ask to run anyway.
 */
#include "core/base/buf.h"
#include "core/schema/schema_int.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 1024

static bool
set(const json_t *entity, const char *path)
{
    return !sb_value_empty(sb_path_get(entity, path));
}

static size_t
count_set(const json_t *entity, const char *const *fields)
{
    size_t n = 0;

    for (; fields != NULL && *fields != NULL; fields++)
        n += set(entity, *fields);
    return n;
}

static size_t
count(const char *const *fields)
{
    size_t n = 0;

    while (fields != NULL && fields[n] != NULL)
        n++;
    return n;
}

/* Adds `fmt` with its %s (if it has one) replaced by the quoted list. Texts come from tables: only "%s" is special. */
static void
add_listed(json_t *errors, const char *prefix, const char *fmt, const char *const *fields)
{
    char *list = sb_quoted_list(fields);
    const char *at = strstr(fmt, "%s");
    sb_buf_t b = {0};

    sb_buf_adds(&b, prefix);
    if (at != NULL) {
        sb_buf_add(&b, fmt, (size_t)(at - fmt));
        sb_buf_addf(&b, "%s%s", list, at + 2);
    } else {
        sb_buf_adds(&b, fmt);
    }
    sb_errors_add_entity(errors, b.data);
    sb_buf_free(&b);
    free(list);
}

static void
check_distinct(const struct sb_entity_check *c, const json_t *entity, json_t *errors)
{
    const char *const *a, *const *b;

    for (a = c->fields; *a != NULL; a++) {
        for (b = a + 1; *b != NULL; b++) {
            if (set(entity, *a) && set(entity, *b) && sb_value_equal(sb_path_get(entity, *a), sb_path_get(entity, *b))) {
                add_listed(errors, "", "values of these fields must be distinct: %s", c->fields);
                return;
            }
        }
    }
}

static bool
applies(sb_pass_t *p, const struct sb_node *match, const json_t *v)
{
    json_t *e;

    if (match == NULL)
        return false;
    /* Null satisfies only what speaks of null. */
    if ((v == NULL || json_is_null(v)) && match->eq == NULL && match->ne == NULL && match->f->not_one_of == NULL)
        return false;
    e = sb_validate_value(p, match, v);
    json_decref(e);
    return e == NULL;
}

static void
check_conditional(sb_pass_t *p, const struct sb_check_node *n, const json_t *entity, json_t *errors)
{
    const struct sb_entity_check *c = n->c;
    char *text;
    json_t *e;

    if (!applies(p, n->if_match, sb_path_get(entity, c->if_field)))
        return;
    if ((e = sb_validate_value(p, n->then_match, sb_path_get(entity, c->then_field))) == NULL)
        return;
    sb_errors_set(errors, c->then_field, e);
    if (c->then_err != NULL) {
        sb_errors_add_entity(errors, c->then_err);
        return;
    }
    text = sb_asprintf("failed conditional validation given value of field '%s'", c->if_field);
    sb_errors_add_entity(errors, text);
    free(text);
}

static void
check_conditional_at_least(sb_pass_t *p, const struct sb_check_node *n, const json_t *entity, json_t *errors)
{
    static const char generic[] = "at least one of these fields must be non-empty: %s";
    const struct sb_entity_check *c = n->c;
    const json_t *v = sb_path_get(entity, c->if_field);

    if (applies(p, n->if_match, v)) {
        if (count_set(entity, c->then_at_least_one_of) == 0)
            add_listed(errors, "", c->then_err != NULL ? c->then_err : generic, c->then_at_least_one_of);
    } else if (applies(p, n->else_match, v) && count_set(entity, c->else_then_at_least_one_of) == 0) {
        add_listed(errors, "", c->else_then_err != NULL ? c->else_then_err : generic, c->else_then_at_least_one_of);
    }
}

static void
check_exclusive_sets(const struct sb_entity_check *c, const json_t *entity, json_t *errors)
{
    char *a, *b, *text;

    if (count_set(entity, c->fields) == 0 || count_set(entity, c->set2) == 0)
        return;
    a = sb_quoted_list(c->fields);
    b = sb_quoted_list(c->set2);
    text = sb_asprintf("these sets are mutually exclusive: (%s), (%s)", a, b);
    sb_errors_add_entity(errors, text);
    free(a);
    free(b);
    free(text);
}

/* Whether a source of a custom check is unset or has an error: then the check has nothing to say. */
static bool
source_missing(const struct sb_entity_check *c, const json_t *entity, const json_t *errors)
{
    const char *const *f;
    size_t given = 0;

    for (f = c->fields; f != NULL && *f != NULL; f++) {
        if (sb_path_get(errors, *f) != NULL)
            return true;
        given += set(entity, *f);
    }
    return count(c->fields) != 0 && given == 0;
}

/* What a Lua check sees: an object of its source fields. */
static json_t *
sources_of(const struct sb_entity_check *c, const json_t *entity)
{
    json_t *out = json_object(), *v;
    const char *const *f;

    for (f = c->fields; f != NULL && *f != NULL; f++) {
        if ((v = sb_path_get(entity, *f)) != NULL)
            sb_path_set(out, *f, json_incref(v));
    }
    return out;
}

static void
add_custom_error(json_t *errors, json_t *e)
{
    if (json_is_string(e)) {
        sb_errors_add_entity(errors, json_string_value(e));
        json_decref(e);
    } else if (e != NULL) {
        sb_merge_into(errors, e);
        json_decref(e);
    }
}

static void
check_custom(sb_pass_t *p, const struct sb_entity_check *c, const json_t *entity, json_t *errors)
{
    const char *field = NULL, *text;
    char buf[TEXT_MAX];
    json_t *given;

    if (!c->run_with_missing_fields && source_missing(c, entity, errors))
        return;
    if (c->lua_ref != 0) {
        given = sources_of(c, entity);
        add_custom_error(errors, sb_pass_lua(p, c->lua_ref, given, NULL, given));
        json_decref(given);
        return;
    }
    if ((text = c->custom(entity, &field, buf, sizeof(buf))) == NULL)
        return;
    if (field != NULL)
        sb_errors_set(errors, field, json_string(text));
    else
        sb_errors_add_entity(errors, text);
}

static void
run(sb_pass_t *p, const struct sb_check_node *n, const json_t *entity, json_t *errors)
{
    const struct sb_entity_check *c = n->c;
    size_t given = count_set(entity, c->fields);

    switch (c->kind) {
    case SB_CHECK_AT_LEAST_ONE_OF:
        if (given == 0)
            add_listed(errors, p->op == SB_OP_UPDATE ? "when updating, " : "", "at least one of these fields must be non-empty: %s",
                       c->fields);
        break;
    case SB_CHECK_ONLY_ONE_OF:
        if (given != 1)
            add_listed(errors, "", "exactly one of these fields must be non-empty: %s", c->fields);
        break;
    case SB_CHECK_MUTUALLY_EXCLUSIVE:
        if (given > 1)
            add_listed(errors, "", "only one or none of these fields must be set: %s", c->fields);
        break;
    case SB_CHECK_MUTUALLY_REQUIRED:
        if (given != 0 && given != count(c->fields))
            add_listed(errors, "", "all or none of these fields must be set: %s", c->fields);
        break;
    case SB_CHECK_DISTINCT:
        check_distinct(c, entity, errors);
        break;
    case SB_CHECK_CONDITIONAL:
        check_conditional(p, n, entity, errors);
        break;
    case SB_CHECK_CONDITIONAL_AT_LEAST_ONE_OF:
        check_conditional_at_least(p, n, entity, errors);
        break;
    case SB_CHECK_MUTUALLY_EXCLUSIVE_SETS:
        check_exclusive_sets(c, entity, errors);
        break;
    case SB_CHECK_CUSTOM:
        check_custom(p, c, entity, errors);
        break;
    case SB_CHECK_END:
        break;
    }
}

void
sb_run_checks(sb_pass_t *p, const struct sb_node *n, const json_t *entity, json_t *errors)
{
    size_t i;

    for (i = 0; i < n->n_checks; i++)
        run(p, &n->checks[i], entity, errors);
}
