/*
 * The text of a schema violation: every error on one line, "@entity" first, then by field name. A field whose error is a table
 * gives one entry per member ("paths.1: …", "config.minute: …"); what is nested deeper is written as a Lua table literal.
 */
#include "core/base/buf.h"
#include "core/schema/schema_int.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct texts {
    sb_buf_t b;
    size_t n;
};

static const char *const lua_keywords[] = {"and",      "break",  "do",   "else", "elseif", "end",   "false", "for",
                                           "function", "goto",   "if",   "in",   "local",  "nil",   "not",   "or",
                                           "repeat",   "return", "then", "true", "until",  "while", NULL};

static bool
is_identifier(const char *s)
{
    size_t i;

    if (!isalpha((unsigned char)s[0]) && s[0] != '_')
        return false;
    for (i = 1; s[i] != '\0'; i++) {
        if (!isalnum((unsigned char)s[i]) && s[i] != '_')
            return false;
    }
    for (i = 0; lua_keywords[i] != NULL; i++) {
        if (strcmp(s, lua_keywords[i]) == 0)
            return false;
    }
    return true;
}

static void
add_quoted(sb_buf_t *b, const char *s)
{
    sb_buf_addc(b, '"');
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            sb_buf_addc(b, '\\');
        if (*s == '\n')
            sb_buf_adds(b, "\\n");
        else
            sb_buf_addc(b, *s);
    }
    sb_buf_addc(b, '"');
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The keys of an object in byte order, "@entity" among them; *n of them, free() the array. */
static const char **
sorted_keys(const json_t *obj, size_t *n)
{
    const char **keys = sb_malloc((json_object_size(obj) + 1) * sizeof(*keys));
    const char *key;
    json_t *v;

    *n = 0;
    json_object_foreach((json_t *)obj, key, v) keys[(*n)++] = key;
    qsort(keys, *n, sizeof(*keys), by_name);
    return keys;
}

static void add_literal(sb_buf_t *b, const json_t *v, int depth);

static void
add_member(sb_buf_t *b, bool *first, int depth)
{
    sb_buf_addf(b, "%s\n%*s", *first ? "" : ",", 2 * (depth + 1), "");
    *first = false;
}

static void
add_array_members(sb_buf_t *b, const json_t *v, int depth)
{
    bool first = true, holes = false;
    size_t i;

    for (i = 0; i < json_array_size(v); i++) {
        if (json_is_null(json_array_get(v, i))) {
            holes = true;
            continue;
        }
        add_member(b, &first, depth);
        if (holes)
            sb_buf_addf(b, "[%zu] = ", i + 1);
        add_literal(b, json_array_get(v, i), depth + 1);
    }
}

static void
add_object_members(sb_buf_t *b, const json_t *v, int depth)
{
    bool first = true;
    size_t i, n;
    const char **keys = sorted_keys(v, &n);

    for (i = 0; i < n; i++) {
        add_member(b, &first, depth);
        if (is_identifier(keys[i])) {
            sb_buf_addf(b, "%s = ", keys[i]);
        } else {
            sb_buf_addc(b, '[');
            add_quoted(b, keys[i]);
            sb_buf_adds(b, "] = ");
        }
        add_literal(b, json_object_get(v, keys[i]), depth + 1);
    }
    free(keys);
}

static void
add_literal(sb_buf_t *b, const json_t *v, int depth)
{
    if (json_is_string(v)) {
        add_quoted(b, json_string_value(v));
        return;
    }
    sb_buf_addc(b, '{');
    if (json_is_array(v))
        add_array_members(b, v, depth);
    else
        add_object_members(b, v, depth);
    sb_buf_addf(b, "\n%*s}", 2 * depth, "");
}

/* One entry: its name ("" for entity errors) and text or literal. */
static void
add_entry(struct texts *t, const char *name, const json_t *error)
{
    if (t->n++ != 0)
        sb_buf_adds(&t->b, "; ");
    if (name[0] != '\0')
        sb_buf_addf(&t->b, "%s: ", name);
    if (json_is_string(error))
        sb_buf_adds(&t->b, json_string_value(error));
    else
        add_literal(&t->b, error, 0);
}

static void
add_field(struct texts *t, const char *key, const json_t *error)
{
    const char **keys;
    size_t i, n;
    char *name;

    if (json_is_string(error)) {
        add_entry(t, key, error);
    } else if (json_is_array(error)) {
        for (i = 0; i < json_array_size(error); i++) {
            name = sb_asprintf("%s.%zu", key, i + 1);
            if (!json_is_null(json_array_get(error, i)))
                add_entry(t, name, json_array_get(error, i));
            free(name);
        }
    } else {
        keys = sorted_keys(error, &n);
        for (i = 0; i < n; i++) {
            name = sb_asprintf("%s.%s", key, keys[i]);
            add_entry(t, name, json_object_get(error, keys[i]));
            free(name);
        }
        free(keys);
    }
}

char *
sb_schema_errors_text(const json_t *errors)
{
    struct texts t = {0};
    size_t i, n;
    const char **keys = sorted_keys(errors, &n);
    json_t *entity = json_object_get(errors, "@entity");
    char *list, *text;

    for (i = 0; i < json_array_size(entity); i++)
        add_entry(&t, "", json_array_get(entity, i));
    for (i = 0; i < n; i++) {
        if (strcmp(keys[i], "@entity") != 0)
            add_field(&t, keys[i], json_object_get(errors, keys[i]));
    }
    free(keys);
    list = sb_buf_take(&t.b);
    text = t.n == 1 ? sb_asprintf("schema violation (%s)", list) : sb_asprintf("%zu schema violations (%s)", t.n, list);
    free(list);
    return text;
}

int
sb_schema_violation(sb_err_t *err, json_t *fields)
{
    char *text = sb_schema_errors_text(fields);
    int rc = sb_err_set_fields(err, SB_E_SCHEMA_VIOLATION, fields, "%s", text);

    free(text);
    return rc;
}
