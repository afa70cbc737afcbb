/*
 * One value against one node: type first, then what is inside it, then the constraints in the interface's order (eq, ne,
 * not_one_of, one_of, gt, timestamp, uuid, is_regex, between, len_eq, len_min, len_max, starts_with, not_match, match_none,
 * match, match_all, match_any, contains, custom_validator, mutually_exclusive_subsets). The first that fails gives the error.
 * Constraint rows of conditional checks come here too; they have no type, and then only what they constrain is looked at.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "core/base/buf.h"
#include "core/base/uuid.h"
#include "core/schema/schema_int.h"

#include <math.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 8192

static json_t *
text_error(const char *fmt, const json_t *shown)
{
    char *value = shown != NULL ? sb_value_text(shown) : NULL;
    sb_buf_t b = {0};
    json_t *error;

    sb_buf_adds(&b, fmt);
    if (value != NULL)
        sb_buf_adds(&b, value);
    error = json_string(b.data);
    sb_buf_free(&b);
    free(value);
    return error;
}

/* json_string() of a printf. A text cut to fit its buffer may end inside a character: bytes are dropped until it does not. */
static json_t *
format_error(const char *fmt, ...)
{
    char *s = NULL;
    va_list ap;
    json_t *e;
    size_t len;

    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0)
        sb_panic(__FILE__, __LINE__, "out of memory");
    va_end(ap);
    for (len = strlen(s); (e = json_stringn(s, len)) == NULL && len > 0;)
        len--;
    free(s);
    return e;
}

bool
sb_value_equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal((json_t *)a, (json_t *)b);
}

bool
sb_value_empty(const json_t *v)
{
    if (v == NULL || json_is_null(v))
        return true;
    if (json_is_array(v))
        return json_array_size(v) == 0;
    return json_is_object(v) && json_object_size(v) == 0;
}

/* --- constraints: each returns NULL or the error --- */

static json_t *
check_eq_ne(const struct sb_node *n, const json_t *v)
{
    const char *own = n->f->err;

    if (n->eq != NULL && !sb_value_equal(n->eq, v))
        return own != NULL ? json_string(own) : text_error("value must be ", n->eq);
    if (n->ne != NULL && sb_value_equal(n->ne, v))
        return own != NULL ? json_string(own) : text_error("value must not be ", n->ne);
    return NULL;
}

static bool
listed(const char *const *list, const json_t *v)
{
    char *text = sb_value_text(v);
    bool found = false;

    for (; *list != NULL && !found; list++)
        found = strcmp(*list, text) == 0;
    free(text);
    return found;
}

static json_t *
list_error(const char *text, const char *const *list)
{
    sb_buf_t b = {0};
    json_t *e;
    size_t i;

    sb_buf_adds(&b, text);
    for (i = 0; list[i] != NULL; i++)
        sb_buf_addf(&b, "%s%s", i != 0 ? ", " : "", list[i]);
    e = json_string(b.data);
    sb_buf_free(&b);
    return e;
}

static json_t *
check_one_of(const struct sb_node *n, const json_t *v)
{
    const struct sb_field *f = n->f;

    if (f->not_one_of != NULL && listed(f->not_one_of, v))
        return f->err != NULL ? json_string(f->err) : list_error("must not be one of: ", f->not_one_of);
    if (f->one_of != NULL && !listed(f->one_of, v))
        return f->err != NULL ? json_string(f->err) : list_error("expected one of: ", f->one_of);
    return NULL;
}

static bool
is_uuid(const json_t *v)
{
    sb_uuid_t u;
    return json_is_string(v) && sb_uuid_parse(json_string_value(v), json_string_length(v), &u);
}

static bool
compiles(const json_t *v)
{
    pcre2_code *re;
    PCRE2_SIZE at;
    int code;

    re = pcre2_compile((PCRE2_SPTR)json_string_value(v), json_string_length(v), PCRE2_UTF, &code, &at, NULL);
    pcre2_code_free(re);
    return re != NULL;
}

static json_t *
check_form(const struct sb_node *n, const json_t *v)
{
    const struct sb_field *f = n->f;

    if (f->gt != NULL && !(json_is_number(v) && json_number_value(v) > *f->gt))
        return f->err != NULL ? json_string(f->err) : format_error("value must be greater than %.14g", *f->gt);
    if (f->timestamp && !(json_is_number(v) && json_number_value(v) > 0))
        return json_string("expected a valid timestamp");
    if (f->uuid && !is_uuid(v))
        return json_string("expected a valid UUID");
    if (f->is_regex && !(json_is_string(v) && compiles(v)))
        return text_error("not a valid regex: ", v);
    if (f->has_between && !(json_is_number(v) && json_number_value(v) >= f->between[0] && json_number_value(v) <= f->between[1]))
        return format_error("value should be between %lld and %lld", (long long)f->between[0], (long long)f->between[1]);
    return NULL;
}

static size_t
length_of(const json_t *v)
{
    if (json_is_string(v))
        return json_string_length(v);
    return json_is_array(v) ? json_array_size(v) : json_object_size(v);
}

static json_t *
check_length(const struct sb_node *n, const json_t *v)
{
    const struct sb_field *f = n->f;
    bool has_eq = f->len_eq != 0 || f->len_eq_set;
    int min = f->len_min;

    if (!json_is_string(v) && !json_is_array(v) && !json_is_object(v))
        return NULL;
    if (f->type == SB_T_STRING && !f->len_min_set && min == 0 && !has_eq)
        min = 1;
    if (has_eq && length_of(v) != (size_t)f->len_eq)
        return format_error("length must be %d", f->len_eq);
    if (min > 0 && length_of(v) < (size_t)min)
        return format_error("length must be at least %d", min);
    if (f->len_max > 0 && length_of(v) > (size_t)f->len_max)
        return format_error("length must be at most %d", f->len_max);
    return NULL;
}

static bool
matches(const json_t *v, const char *pattern)
{
    return json_is_string(v) && sb_lua_pattern_match(json_string_value(v), json_string_length(v), pattern);
}

static json_t *
pattern_error(const char *own, const json_t *v)
{
    return own != NULL ? json_string(own) : text_error("invalid value: ", v);
}

static json_t *
check_match(const struct sb_node *n, const json_t *v)
{
    const struct sb_field *f = n->f;
    const struct sb_pattern *p;
    const char *const *any;

    if (f->starts_with != NULL && !(json_is_string(v) && strncmp(json_string_value(v), f->starts_with, strlen(f->starts_with)) == 0))
        return format_error("should start with: %s", f->starts_with);
    if (f->not_match != NULL && matches(v, f->not_match->pattern))
        return pattern_error(f->not_match->err != NULL ? f->not_match->err : f->err, v);
    for (p = f->match_none; p != NULL && p->pattern != NULL; p++) {
        if (matches(v, p->pattern))
            return pattern_error(p->err, v);
    }
    if (f->match != NULL && !matches(v, f->match->pattern))
        return pattern_error(f->match->err != NULL ? f->match->err : f->err, v);
    for (p = f->match_all; p != NULL && p->pattern != NULL; p++) {
        if (!matches(v, p->pattern))
            return pattern_error(p->err, v);
    }
    if (f->match_any == NULL)
        return NULL;
    for (any = f->match_any; *any != NULL; any++) {
        if (matches(v, *any))
            return NULL;
    }
    return pattern_error(f->match_any_err, v);
}

static json_t *
check_contains(const struct sb_node *n, const json_t *v)
{
    const char *const one[] = {n->f->contains, NULL};
    size_t i;

    if (n->f->contains == NULL)
        return NULL;
    for (i = 0; i < json_array_size(v); i++) {
        if (listed(one, json_array_get(v, i)))
            return NULL;
    }
    return n->f->err != NULL ? json_string(n->f->err) : format_error("expected to contain: %s", n->f->contains);
}

json_t *
sb_pass_lua(sb_pass_t *p, int ref, json_t *value, json_t **out, const json_t *shown)
{
    sb_err_t err = {0};
    json_t *error = NULL;
    int rc;

    if (p->failed)
        return NULL;
    if (p->hooks == NULL || p->hooks->lua_call == NULL) {
        p->failed = true;
        sb_err_set(p->err, SB_E_TRANSFORMATION, "plugin '%s' has Lua checks, and no Lua is at hand", p->plugin);
        return NULL;
    }
    rc = p->hooks->lua_call(p->hooks->arg, p->plugin, ref, value, out, &err);
    if (rc == SB_DECLINED) {
        if (err.fields != NULL)
            error = json_incref(err.fields);
        else if (err.message != NULL && err.message[0] != '\0')
            error = format_error("%s", err.message);
        else
            error = text_error("failed validating: ", shown);
    } else if (rc != SB_OK) {
        p->failed = true;
        if (p->err != NULL)
            sb_err_move(p->err, &err);
    }
    sb_err_clear(&err);
    return error;
}

static json_t *
check_custom(sb_pass_t *p, const struct sb_node *n, const json_t *v)
{
    char buf[TEXT_MAX];
    const char *text;

    if (n->f->validator != NULL && (text = n->f->validator(v, buf, sizeof(buf))) != NULL)
        return format_error("%s", text);
    return n->f->lua_ref != 0 ? sb_pass_lua(p, n->f->lua_ref, (json_t *)v, NULL, v) : NULL;
}

/* How many members of `subset` the list has; names them in `b` as ('a', 'b'). */
static size_t
members_of(const json_t *list, const char *const *subset, sb_buf_t *b)
{
    size_t i, j, n = 0;

    for (i = 0; subset[i] != NULL; i++) {
        for (j = 0; j < json_array_size(list); j++) {
            const char *s = json_string_value(json_array_get(list, j));

            if (s != NULL && strcmp(s, subset[i]) == 0) {
                sb_buf_addf(b, "%s'%s'", n != 0 ? ", " : "(", subset[i]);
                n++;
                break;
            }
        }
    }
    if (n != 0)
        sb_buf_addc(b, ')');
    return n;
}

static json_t *
check_subsets(const struct sb_node *n, const json_t *v)
{
    sb_buf_t all = {0}, one = {0};
    json_t *error = NULL;
    size_t i, sets = 0;

    if (n->f->mutually_exclusive_subsets == NULL)
        return NULL;
    for (i = 0; n->f->mutually_exclusive_subsets[i] != NULL; i++) {
        sb_buf_reset(&one);
        if (members_of(v, n->f->mutually_exclusive_subsets[i], &one) != 0)
            sb_buf_addf(&all, "%s%s", sets++ != 0 ? ", " : "", one.data);
    }
    if (sets > 1)
        error = format_error("these sets are mutually exclusive: %s", all.data);
    sb_buf_free(&all);
    sb_buf_free(&one);
    return error;
}

static json_t *
check_constraints(sb_pass_t *p, const struct sb_node *n, const json_t *v)
{
    json_t *e;

    if ((e = check_eq_ne(n, v)) == NULL && (e = check_one_of(n, v)) == NULL && (e = check_form(n, v)) == NULL &&
        (e = check_length(n, v)) == NULL && (e = check_match(n, v)) == NULL && (e = check_contains(n, v)) == NULL &&
        (e = check_custom(p, n, v)) == NULL)
        e = check_subsets(n, v);
    return e;
}

/* --- types and contents --- */

static const char *
type_error(const struct sb_node *n, const json_t *v)
{
    switch (n->f->type) {
    case SB_T_STRING:
        return json_is_string(v) ? NULL : "expected a string";
    case SB_T_INTEGER:
        return json_is_integer(v) || (json_is_real(v) && floor(json_real_value(v)) == json_real_value(v)) ? NULL : "expected an integer";
    case SB_T_NUMBER:
        return json_is_number(v) ? NULL : "expected a number";
    case SB_T_BOOLEAN:
        return json_is_boolean(v) ? NULL : "expected a boolean";
    case SB_T_ARRAY:
        return json_is_array(v) ? NULL : "expected an array";
    case SB_T_SET:
        return json_is_array(v) ? NULL : "expected a set";
    case SB_T_MAP:
        return json_is_object(v) ? NULL : "expected a map";
    case SB_T_RECORD:
    case SB_T_FOREIGN:
        return json_is_object(v) ? NULL : "expected a record";
    default:
        return NULL;
    }
}

static json_t *
validate_elements(sb_pass_t *p, const struct sb_node *n, const json_t *v)
{
    json_t *errors = NULL, *e;
    size_t i;

    for (i = 0; n->elements != NULL && i < json_array_size(v); i++) {
        if ((e = sb_validate_value(p, n->elements, json_array_get(v, i))) == NULL)
            continue;
        if (errors == NULL)
            errors = json_array();
        while (json_array_size(errors) < i)
            json_array_append_new(errors, json_null());
        json_array_append_new(errors, e);
    }
    return errors;
}

static json_t *
validate_map(sb_pass_t *p, const struct sb_node *n, const json_t *v)
{
    json_t *item, *name, *e = NULL;
    const char *key;

    json_object_foreach((json_t *)v, key, item)
    {
        if (n->keys != NULL) {
            name = json_string(key);
            e = sb_validate_value(p, n->keys, name);
            json_decref(name);
        }
        if (e == NULL && n->values != NULL)
            e = sb_validate_value(p, n->values, item);
        if (e != NULL)
            return e;
    }
    return NULL;
}

static json_t *
validate_foreign(const json_t *v)
{
    json_t *errors = json_object(), *item, *id = sb_json_get(v, "id");
    const char *key;

    json_object_foreach((json_t *)v, key, item)
    {
        if (strcmp(key, "id") != 0)
            json_object_set_new(errors, key, json_string("not a primary key"));
    }
    if (id == NULL)
        json_object_set_new(errors, "id", json_string("missing primary key"));
    else if (!json_is_string(id))
        json_object_set_new(errors, "id", json_string("expected a string"));
    else if (!is_uuid(id))
        json_object_set_new(errors, "id", json_string("expected a valid UUID"));
    if (json_object_size(errors) != 0)
        return errors;
    json_decref(errors);
    return NULL;
}

static json_t *
validate_record(sb_pass_t *p, const struct sb_node *n, const json_t *v)
{
    json_t *errors;

    if (n->fields == NULL)
        return NULL;
    errors = sb_validate_fields(p, n, v);
    sb_run_checks(p, n, v, errors);
    if (json_object_size(errors) != 0)
        return errors;
    json_decref(errors);
    return NULL;
}

static json_t *
validate_content(sb_pass_t *p, const struct sb_node *n, const json_t *v)
{
    switch (n->f->type) {
    case SB_T_MAP:
        return validate_map(p, n, v);
    case SB_T_RECORD:
        return validate_record(p, n, v);
    case SB_T_FOREIGN:
        /* A field that must be null says so before it looks inside. */
        return n->eq != NULL ? NULL : validate_foreign(v);
    default:
        return json_is_array(v) ? validate_elements(p, n, v) : NULL;
    }
}

static bool
is_reference(const struct sb_node *n, const json_t *v)
{
    const char *s = json_string_value(v);
    size_t len = json_string_length(v);

    return n->f->referenceable && s != NULL && len > 9 && strncmp(s, "{vault://", 9) == 0 && s[len - 1] == '}';
}

json_t *
sb_validate_value(sb_pass_t *p, const struct sb_node *n, const json_t *v)
{
    const char *text;
    json_t *e;

    if (v == NULL || json_is_null(v)) {
        if ((e = check_eq_ne(n, json_null())) != NULL)
            return e;
        return n->required ? json_string("required field missing") : NULL;
    }
    if ((text = type_error(n, v)) != NULL)
        return json_string(text);
    if (is_reference(n, v))
        return NULL;
    if ((e = validate_content(p, n, v)) != NULL)
        return e;
    return check_constraints(p, n, v);
}

json_t *
sb_validate_fields(sb_pass_t *p, const struct sb_node *n, const json_t *obj)
{
    json_t *errors = json_object(), *v, *e;
    const char *key;
    size_t i;

    for (i = 0; i < n->n_fields; i++) {
        const struct sb_field *f = n->fields[i].f;

        v = json_object_get(obj, f->name);
        if ((f->transient || f->sparse) && v == NULL)
            continue;
        if ((e = sb_validate_value(p, &n->fields[i], v)) != NULL)
            json_object_set_new(errors, f->name, e);
    }
    json_object_foreach((json_t *)obj, key, v)
    {
        if (sb_node_field(n, key) == NULL)
            json_object_set_new(errors, key, json_string("unknown field"));
    }
    return errors;
}
