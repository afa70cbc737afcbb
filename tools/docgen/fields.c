/*
 * Field tables as Markdown: type, default, constraints and description of every field, and the checks between fields. Start at
 * docgen_fields().
 */
#include "docgen.h"

#include <stdlib.h>
#include <string.h>

static const char *const type_names[] = {"", "string", "integer", "number", "boolean", "array", "set", "map", "record", "foreign", "JSON"};

char *
docgen_type(const struct sb_field *field)
{
    char *inner, *text;

    switch (field->type) {
    case SB_T_ARRAY:
    case SB_T_SET:
        inner = field->elements != NULL ? docgen_type(field->elements) : sb_asprintf("anything");
        text = sb_asprintf("%s of %s", type_names[field->type], inner);
        break;
    case SB_T_MAP:
        inner = field->values != NULL ? docgen_type(field->values) : sb_asprintf("anything");
        text = sb_asprintf("map to %s", inner);
        break;
    case SB_T_FOREIGN:
        return sb_asprintf("id of one of %s", field->reference);
    default:
        return sb_asprintf("%s", type_names[field->type]);
    }
    free(inner);
    return text;
}

/* ---- constraints ---- */

static void
say(sb_buf_t *out, const char *fmt, ...)
{
    va_list ap;
    char *text = NULL;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        sb_panic(__FILE__, __LINE__, "out of memory");
    va_end(ap);
    sb_buf_addf(out, "%s%s", out->len != 0 ? "; " : "", text);
    free(text);
}

static char *
joined(const char *const *list)
{
    sb_buf_t out = {0};

    for (; *list != NULL; list++)
        sb_buf_addf(&out, "%s`%s`", out.len != 0 ? ", " : "", *list);
    return sb_buf_take(&out);
}

static void
say_list(sb_buf_t *out, const char *what, const char *const *list)
{
    char *text;

    if (list == NULL)
        return;
    text = joined(list);
    say(out, "%s %s", what, text);
    free(text);
}

static void
say_length(sb_buf_t *out, const struct sb_field *f)
{
    bool min = f->len_min != 0 || f->len_min_set;

    if (f->len_eq != 0 || f->len_eq_set)
        say(out, "length %d", f->len_eq);
    else if (min && f->len_max != 0)
        say(out, "length %d to %d", f->len_min, f->len_max);
    else if (min)
        say(out, "length at least %d", f->len_min);
    else if (f->len_max != 0)
        say(out, "length at most %d", f->len_max);
}

static void
say_patterns(sb_buf_t *out, const struct sb_field *f)
{
    if (f->starts_with != NULL)
        say(out, "starts with `%s`", f->starts_with);
    if (f->match != NULL)
        say(out, "matches `%s`", f->match->pattern);
    if (f->not_match != NULL)
        say(out, "does not match `%s`", f->not_match->pattern);
    for (const struct sb_pattern *p = f->match_all; p != NULL && p->pattern != NULL; p++)
        say(out, "matches `%s`", p->pattern);
    say_list(out, "matches one of", f->match_any);
    for (const struct sb_pattern *p = f->match_none; p != NULL && p->pattern != NULL; p++)
        say(out, "does not match `%s`", p->pattern);
}

static void
say_values(sb_buf_t *out, const struct sb_field *f)
{
    if (f->has_between)
        say(out, "%.15g to %.15g", f->between[0], f->between[1]);
    if (f->gt != NULL)
        say(out, "more than %.15g", *f->gt);
    if (f->eq_null)
        say(out, "must be null");
    if (f->eq_json != NULL)
        say(out, "must be `%s`", f->eq_json);
    if (f->ne_json != NULL)
        say(out, "not `%s`", f->ne_json);
    say_list(out, "one of", f->one_of);
    say_list(out, "none of", f->not_one_of);
    if (f->contains != NULL)
        say(out, "contains `%s`", f->contains);
    for (const char *const *const *set = f->mutually_exclusive_subsets; set != NULL && *set != NULL; set++)
        say_list(out, set == f->mutually_exclusive_subsets ? "only from one of the groups" : "or", *set);
    if (f->uuid)
        say(out, "UUID");
    if (f->is_regex)
        say(out, "regular expression");
    if (f->validator_name != NULL && f->validator != NULL)
        say(out, "checked as %s", f->validator_name);
}

static void
constraints(sb_buf_t *out, const struct sb_field *f)
{
    say_values(out, f);
    say_length(out, f);
    say_patterns(out, f);
    for (size_t i = 0; i < 3; i++) {
        static const char *const whose[] = {"each", "each key", "each value"};
        const struct sb_field *inner = i == 0 ? f->elements : i == 1 ? f->keys : f->values;
        sb_buf_t own = {0};

        if (inner == NULL)
            continue;
        constraints(&own, inner);
        if (own.len != 0)
            say(out, "%s: %s", whose[i], own.data);
        sb_buf_free(&own);
    }
}

static void
flags(sb_buf_t *out, const struct sb_field *f)
{
    static const char *const on_delete[] = {"keeps what it names from being deleted", "deleted with what it names",
                                            "emptied when what it names is deleted"};

    if (f->required)
        say(out, "required");
    if (f->automatic)
        say(out, "filled in when absent");
    if (f->unique)
        say(out, "unique");
    if (f->immutable)
        say(out, "cannot be changed");
    if (f->encrypted)
        say(out, "secret");
    if (f->referenceable)
        say(out, "may be a vault reference");
    if (f->transient)
        say(out, "not stored with the row");
    if (f->type == SB_T_FOREIGN)
        say(out, "%s", on_delete[f->on_delete]);
    if (f->deprecation != NULL)
        say(out, "deprecated");
}

/* ---- rows ---- */

static void
row(FILE *f, const char *name, const struct sb_field *field, const char *where)
{
    char *type = docgen_type(field);
    sb_buf_t rules = {0};

    docgen_need(field->description, where, name);
    flags(&rules, field);
    constraints(&rules, field);
    fprintf(f, "| `%s` | %s | ", name, type);
    if (field->default_json != NULL && strcmp(field->default_json, "null") != 0 && field->type != SB_T_RECORD) {
        fprintf(f, "`");
        docgen_cell(f, field->default_json);
        fprintf(f, "`");
    }
    fprintf(f, " | ");
    docgen_cell(f, rules.data);
    fprintf(f, " | ");
    docgen_cell(f, field->description);
    fprintf(f, " |\n");
    free(type);
    sb_buf_free(&rules);
}

static void
rows(FILE *f, const struct sb_field *fields, const char *above, const char *where)
{
    for (; fields->name != NULL; fields++) {
        char *name = sb_asprintf("%s%s", above, fields->name), *below = sb_asprintf("%s.", name), *each = sb_asprintf("%s[].", name);

        row(f, name, fields, where);
        if (fields->fields != NULL)
            rows(f, fields->fields, below, where);
        if (fields->elements != NULL && fields->elements->fields != NULL)
            rows(f, fields->elements->fields, each, where);
        free(name);
        free(below);
        free(each);
    }
}

void
docgen_fields(FILE *f, const struct sb_field *fields, const char *where)
{
    fprintf(f, "| Field | Type | Default | Rules | Meaning |\n|---|---|---|---|---|\n");
    rows(f, fields, "", where);
}

/* ---- checks between fields ---- */

static void
print_condition(FILE *f, const struct sb_entity_check *c)
{
    sb_buf_t when = {0}, then = {0};

    if (c->if_match != NULL)
        constraints(&when, c->if_match);
    if (c->then_match != NULL)
        constraints(&then, c->then_match);
    fprintf(f, "- If `%s`: %s, then `%s`: %s.\n", c->if_field, when.data != NULL ? when.data : "", c->then_field,
            then.data != NULL ? then.data : "must be set");
    sb_buf_free(&when);
    sb_buf_free(&then);
}

static void
print_lists(FILE *f, const struct sb_entity_check *c)
{
    const struct sb_field *matches[2] = {c->if_match, c->else_match};
    const char *const *lists[2] = {c->then_at_least_one_of, c->else_then_at_least_one_of};

    for (size_t i = 0; i < 2; i++) {
        char *names = lists[i] != NULL ? joined(lists[i]) : NULL;
        sb_buf_t when = {0};

        if (names == NULL || matches[i] == NULL)
            continue;
        constraints(&when, matches[i]);
        fprintf(f, "- If `%s`: %s, then at least one of %s.\n", c->if_field, when.data != NULL ? when.data : "", names);
        sb_buf_free(&when);
        free(names);
    }
}

void
docgen_checks(FILE *f, const struct sb_entity_check *checks)
{
    static const char *const texts[] = {[SB_CHECK_AT_LEAST_ONE_OF] = "At least one of",
                                        [SB_CHECK_ONLY_ONE_OF] = "Exactly one of",
                                        [SB_CHECK_MUTUALLY_EXCLUSIVE] = "Only one of",
                                        [SB_CHECK_MUTUALLY_REQUIRED] = "All or none of",
                                        [SB_CHECK_DISTINCT] = "Different values for"};

    for (const struct sb_entity_check *c = checks; c != NULL && c->kind != SB_CHECK_END; c++) {
        char *names = c->fields != NULL ? joined(c->fields) : NULL, *other = c->set2 != NULL ? joined(c->set2) : NULL;

        if (c->kind == SB_CHECK_CONDITIONAL)
            print_condition(f, c);
        else if (c->kind == SB_CHECK_CONDITIONAL_AT_LEAST_ONE_OF)
            print_lists(f, c);
        else if (c->kind == SB_CHECK_MUTUALLY_EXCLUSIVE_SETS)
            fprintf(f, "- Either some of %s or some of %s, not both.\n", names, other);
        else if (c->kind == SB_CHECK_CUSTOM)
            fprintf(f, "- %s: checked in code.\n", names != NULL ? names : "The whole");
        else
            fprintf(f, "- %s %s.\n", texts[c->kind], names);
        free(names);
        free(other);
    }
}
