/*
 * Transformations: what a table or a plugin's schema does to a row on a write, once it is valid (sb_transform_write), and each time it is
 * handed out (sb_transform_read). The base table's come before the plugin's, in the order of their lists; each sees what the one before
 * has changed. A plugin's may change its `config` alone, whatever it returns: the rest of the row is the record's.
 */
#include "core/schema/schema_int.h"

#include <string.h>

#define TEXT_MAX 1024

static int
failed(sb_pass_t *p, const char *text)
{
    sb_err_set(p->err, SB_E_TRANSFORMATION, "transformation failed: %s", text);
    return SB_ERROR;
}

/* --- in Lua --- */

static bool
all_set(const json_t *row, const char *const *paths)
{
    for (; paths != NULL && *paths != NULL; paths++) {
        const json_t *v = sb_path_get(row, *paths);

        if (v == NULL || json_is_null(v))
            return false;
    }
    return true;
}

static void
add_values(json_t *args, const json_t *row, const char *const *paths)
{
    for (; paths != NULL && *paths != NULL; paths++)
        json_array_append(args, sb_path_get(row, *paths));
}

/* NULL, or why what a function returned cannot be merged; a plugin's holds its config. */
static const char *
misfit(const json_t *out, bool of_plugin)
{
    const char *key;
    json_t *v;

    if (!json_is_object(out))
        return "the function must return a table of fields";
    if (!of_plugin)
        return NULL;
    json_object_foreach((json_t *)out, key, v)
    {
        if (strcmp(key, "config") != 0 || !json_is_object(v))
            return "the function of a plugin must return a table { config = { ... } }";
    }
    return NULL;
}

static int
call(sb_pass_t *p, const struct sb_transformation *t, int ref, json_t *row, bool of_plugin)
{
    json_t *args = json_array(), *out = NULL, *refusal;
    const char *wrong;
    int rc;

    add_values(args, row, t->input);
    add_values(args, row, t->needs);
    refusal = sb_pass_lua(p, ref, args, &out, json_null());
    if (p->failed)
        rc = SB_ERROR;
    else if (refusal != NULL)
        rc = failed(p, json_is_string(refusal) ? json_string_value(refusal) : "");
    else if (out != NULL && (wrong = misfit(out, of_plugin)) != NULL)
        rc = failed(p, wrong);
    else
        rc = SB_OK;
    if (rc == SB_OK && out != NULL)
        sb_merge_into(row, out);
    json_decref(refusal);
    json_decref(out);
    json_decref(args);
    return rc;
}

/* --- the two ways --- */

bool
sb_transforms_given(const struct sb_transformation *t)
{
    for (; t != NULL && t->input != NULL; t++) {
        if (t->lua_ref != 0)
            return true;
    }
    return false;
}

int
sb_transform_write(sb_pass_t *p, const struct sb_transformation *t, const json_t *given, json_t *row, bool of_plugin)
{
    char buf[TEXT_MAX];
    const char *text;
    int rc = SB_OK;

    for (; rc == SB_OK && t != NULL && t->input != NULL; t++) {
        if (!all_set(row, t->input) || !all_set(row, t->needs))
            continue;
        if (t->lua_ref != 0 && all_set(given, t->input))
            rc = call(p, t, t->lua_ref, row, of_plugin);
        else if (t->on_write != NULL && (text = t->on_write(row, buf, sizeof(buf))) != NULL)
            rc = failed(p, text);
    }
    return rc;
}

int
sb_transform_read(sb_pass_t *p, const struct sb_transformation *t, json_t *row, bool of_plugin)
{
    int rc = SB_OK;

    for (; rc == SB_OK && t != NULL && t->input != NULL; t++) {
        if (t->lua_read != 0 && all_set(row, t->input) && all_set(row, t->needs))
            rc = call(p, t, t->lua_read, row, of_plugin);
    }
    return rc;
}
