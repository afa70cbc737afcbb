/* What /schemas shows of a schema: its rows again as JSON, without functions. */
#include "core/schema/schema_int.h"

#include <stdlib.h>
#include <string.h>

static json_t *describe_fields(const struct sb_node *n);
static json_t *describe_field(const struct sb_field *f);

static const char *
type_name(enum sb_type type)
{
    static const char *const names[] = {NULL, "string", "integer", "number", "boolean", "array", "set", "map", "record", "foreign", "json"};

    return names[type];
}

static void
add_text(json_t *o, const char *key, const char *text)
{
    if (text != NULL)
        json_object_set_new(o, key, json_string(text));
}

static void
add_flag(json_t *o, const char *key, bool on)
{
    if (on)
        json_object_set_new(o, key, json_true());
}

static void
add_json(json_t *o, const char *key, const char *text)
{
    if (text != NULL)
        json_object_set_new(o, key, sb_json_parse(text, strlen(text), NULL));
}

static json_t *
names(const char *const *list)
{
    json_t *out = json_array();

    for (; list != NULL && *list != NULL; list++)
        json_array_append_new(out, json_string(*list));
    return out;
}

/* Choices are texts in tables; those of numeric fields are shown as the numbers they are. */
static void
add_choices(json_t *o, const char *key, const struct sb_field *f, const char *const *list)
{
    bool numeric = f->type == SB_T_INTEGER || f->type == SB_T_NUMBER;
    json_t *out;

    if (list == NULL)
        return;
    out = json_array();
    for (; *list != NULL; list++)
        json_array_append_new(out, numeric ? sb_json_parse(*list, strlen(*list), NULL) : json_string(*list));
    json_object_set_new(o, key, out);
}

static json_t *
number(double d)
{
    return d == (double)(long long)d ? json_integer((json_int_t)d) : json_real(d);
}

static void
add_patterns(json_t *o, const char *key, const struct sb_pattern *p)
{
    json_t *out, *item;

    if (p == NULL)
        return;
    out = json_array();
    for (; p->pattern != NULL; p++) {
        item = json_pack("{s:s}", "pattern", p->pattern);
        add_text(item, "err", p->err);
        json_array_append_new(out, item);
    }
    json_object_set_new(o, key, out);
}

static void
add_match(json_t *o, const struct sb_field *f)
{
    json_t *any;

    if (f->match != NULL)
        add_text(o, "match", f->match->pattern);
    if (f->not_match != NULL)
        add_text(o, "not_match", f->not_match->pattern);
    add_patterns(o, "match_all", f->match_all);
    add_patterns(o, "match_none", f->match_none);
    if (f->match_any != NULL) {
        any = json_pack("{s:o}", "patterns", names(f->match_any));
        add_text(any, "err", f->match_any_err);
        json_object_set_new(o, "match_any", any);
    }
}

static void
add_limits(json_t *o, const struct sb_field *f)
{
    const char *const *const *set;
    json_t *sets;

    if (f->has_between)
        json_object_set_new(o, "between", json_pack("[oo]", number(f->between[0]), number(f->between[1])));
    if (f->gt != NULL)
        json_object_set_new(o, "gt", number(*f->gt));
    if (f->len_min != 0 || f->len_min_set)
        json_object_set_new(o, "len_min", json_integer(f->len_min));
    if (f->len_max != 0)
        json_object_set_new(o, "len_max", json_integer(f->len_max));
    if (f->len_eq != 0 || f->len_eq_set)
        json_object_set_new(o, "len_eq", json_integer(f->len_eq));
    if (f->mutually_exclusive_subsets == NULL)
        return;
    sets = json_array();
    for (set = f->mutually_exclusive_subsets; *set != NULL; set++)
        json_array_append_new(sets, names(*set));
    json_object_set_new(o, "mutually_exclusive_subsets", sets);
}

static void
add_flags(json_t *o, const struct sb_field *f)
{
    if (f->not_required)
        json_object_set_new(o, "required", json_false());
    add_flag(o, "required", f->required || (f->type == SB_T_RECORD && !f->not_required && !f->abstract));
    add_flag(o, "unique", f->unique);
    add_flag(o, "auto", f->automatic);
    add_flag(o, "uuid", f->uuid);
    add_flag(o, "timestamp", f->timestamp);
    add_flag(o, "referenceable", f->referenceable);
    add_flag(o, "encrypted", f->encrypted);
    add_flag(o, "immutable", f->immutable);
    add_flag(o, "is_regex", f->is_regex);
    add_flag(o, "abstract", f->abstract);
    add_flag(o, "unique_across_ws", f->unique_across_ws);
    add_flag(o, "indexed", f->indexed);
    add_flag(o, "transient", f->transient);
}

/* --- checks and shorthands --- */

static const char *const check_names[] = {
    [SB_CHECK_AT_LEAST_ONE_OF] = "at_least_one_of",
    [SB_CHECK_CONDITIONAL_AT_LEAST_ONE_OF] = "conditional_at_least_one_of",
    [SB_CHECK_ONLY_ONE_OF] = "only_one_of",
    [SB_CHECK_MUTUALLY_EXCLUSIVE] = "mutually_exclusive",
    [SB_CHECK_MUTUALLY_REQUIRED] = "mutually_required",
    [SB_CHECK_DISTINCT] = "distinct",
    [SB_CHECK_CONDITIONAL] = "conditional",
    [SB_CHECK_CUSTOM] = "custom_entity_check",
    [SB_CHECK_MUTUALLY_EXCLUSIVE_SETS] = "mutually_exclusive_sets",
};

static void
add_row(json_t *o, const char *key, const struct sb_field *f)
{
    if (f != NULL)
        json_object_set_new(o, key, describe_field(f));
}

static json_t *
describe_check(const struct sb_entity_check *c)
{
    json_t *o;

    if (c->kind == SB_CHECK_CUSTOM)
        return json_pack("{s:o}", "field_sources", names(c->fields));
    if (c->kind == SB_CHECK_MUTUALLY_EXCLUSIVE_SETS)
        return json_pack("{s:o, s:o}", "set1", names(c->fields), "set2", names(c->set2));
    if (c->kind != SB_CHECK_CONDITIONAL && c->kind != SB_CHECK_CONDITIONAL_AT_LEAST_ONE_OF)
        return names(c->fields);
    o = json_object();
    add_text(o, "if_field", c->if_field);
    add_text(o, "then_field", c->then_field);
    add_text(o, "then_err", c->then_err);
    add_text(o, "else_then_err", c->else_then_err);
    add_row(o, "if_match", c->if_match);
    add_row(o, "then_match", c->then_match);
    add_row(o, "else_match", c->else_match);
    if (c->then_at_least_one_of != NULL)
        json_object_set_new(o, "then_at_least_one_of", names(c->then_at_least_one_of));
    if (c->else_then_at_least_one_of != NULL)
        json_object_set_new(o, "else_then_at_least_one_of", names(c->else_then_at_least_one_of));
    return o;
}

static json_t *
describe_checks(const struct sb_entity_check *c)
{
    json_t *out = json_array();

    for (; c != NULL && c->kind != SB_CHECK_END; c++)
        json_array_append_new(out, json_pack("{s:o}", check_names[c->kind], describe_check(c)));
    return out;
}

static json_t *
describe_shorthands(const struct sb_shorthand *s)
{
    json_t *out = json_array(), *o;

    for (; s->name != NULL; s++) {
        if (s->field != NULL) {
            o = describe_field(s->field);
        } else {
            o = json_object();
            add_text(o, "type", type_name(s->type));
            add_row(o, "elements", s->elements);
        }
        add_json(o, "deprecation", s->deprecation);
        json_array_append_new(out, json_pack("{s:o}", s->name, o));
    }
    return out;
}

/* --- fields --- */

static json_t *
describe_rows(const struct sb_field *f)
{
    json_t *out = json_array();

    for (; f != NULL && f->name != NULL; f++)
        json_array_append_new(out, json_pack("{s:o}", f->name, describe_field(f)));
    return out;
}

static void
add_parts(json_t *o, const struct sb_field *f)
{
    static const char *const on_delete[] = {[SB_RESTRICT] = NULL, [SB_CASCADE] = "cascade", [SB_SET_NULL] = "null"};

    add_row(o, "elements", f->elements);
    add_row(o, "keys", f->keys);
    add_row(o, "values", f->values);
    add_text(o, "reference", f->reference);
    add_text(o, "on_delete", on_delete[f->on_delete]);
    if (f->type != SB_T_RECORD)
        return;
    if (f->fields != NULL)
        json_object_set_new(o, "fields", describe_rows(f->fields));
    if (f->checks != NULL)
        json_object_set_new(o, "entity_checks", describe_checks(f->checks));
    if (f->shorthands != NULL)
        json_object_set_new(o, "shorthand_fields", describe_shorthands(f->shorthands));
}

static json_t *
describe_field(const struct sb_field *f)
{
    json_t *o = json_object();

    add_text(o, "type", type_name(f->type));
    add_text(o, "description", f->description);
    add_flags(o, f);
    if (f->default_json != NULL && strcmp(f->default_json, "null") != 0)
        add_json(o, "default", f->default_json);
    add_json(o, "eq", f->eq_null ? "null" : f->eq_json);
    add_json(o, "ne", f->ne_json);
    add_text(o, "err", f->err);
    add_limits(o, f);
    add_text(o, "starts_with", f->starts_with);
    add_choices(o, "one_of", f, f->one_of);
    add_choices(o, "not_one_of", f, f->not_one_of);
    add_match(o, f);
    add_text(o, "contains", f->contains);
    add_parts(o, f);
    add_json(o, "deprecation", f->deprecation);
    return o;
}

static json_t *
describe_fields(const struct sb_node *n)
{
    json_t *out = json_array();
    size_t i;

    for (i = 0; i < n->n_fields; i++)
        json_array_append_new(out, json_pack("{s:o}", n->fields[i].f->name, describe_field(n->fields[i].f)));
    return out;
}

json_t *
sb_schema_describe(const sb_schema_t *s)
{
    json_t *o;

    SB_CHECK_MAGIC(s, SB_SCHEMA_MAGIC);
    o = json_pack("{s:o, s:o}", "fields", describe_fields(&s->root), "entity_checks", describe_checks(s->def->checks));
    if (s->def->shorthands != NULL)
        json_object_set_new(o, "shorthand_fields", describe_shorthands(s->def->shorthands));
    return o;
}
