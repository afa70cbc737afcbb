/* Test data and plugin schemas made from it, for the tests of this folder. */
#ifndef SB_TEST_EXAMPLES_H
#define SB_TEST_EXAMPLES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/entities/entities.h"
#include "core/schema/schema_int.h"
#include "silverback/plugin.h"
#include "silverback/plugin.h"

#define DATA SB_SOURCE_ROOT "/tests/data/"

static json_t *
load(const char *path)
{
    json_error_t e;
    json_t *v = json_load_file(path, 0, &e);

    if (v == NULL)
        fail_msg("%s: %s", path, e.text);
    return v;
}

/* Checks that only the plugin itself has become Lua references. */

static bool
hide_missing(json_t *v)
{
    bool hidden = false;
    const char *key;
    json_t *item;
    size_t i;

    if (json_is_object(v)) {
        json_object_foreach(v, key, item)
        {
            const char *name = json_string_value(item);

            if (name != NULL && name[0] == '@' && sb_validator_find(name + 1) == NULL) {
                json_object_set_new(v, key, json_pack("{s:i}", "lua_ref", 1));
                hidden = true;
            } else {
                hidden = hide_missing(item) || hidden;
            }
        }
    }
    json_array_foreach(v, i, item) hidden = hide_missing(item) || hidden;
    return hidden;
}

static void
add_plugins(void)
{
    json_t *all = load(DATA "plugin_schemas.json"), *def;
    const struct sb_plugin *const *native;
    const char *name;

    for (native = sb_bundled_plugins; *native != NULL; native++) {
        sb_plugin_schema_t ps = {(*native)->name, sb_schema_from_table((*native)->schema), *native, (*native)->priority,
                                 (*native)->version};

        sb_plugin_schemas_add(&ps);
        json_object_del(all, ps.name);
    }
    json_object_foreach(all, name, def)
    {
        sb_plugin_schema_t ps = {.name = name, .priority = 1};
        sb_schema_t *s = NULL;
        sb_err_t err = {0};

        hide_missing(def);
        if (sb_schema_from_json(name, def, &s, &err) != SB_OK)
            fail_msg("%s: %s", name, err.message);
        ps.schema = s;
        sb_plugin_schemas_add(&ps);
    }
    json_decref(all);
}

static inline void
drop_plugins(void)
{
    const sb_plugin_schema_t *const *all;
    size_t n, i;

    all = sb_plugin_schemas_all(&n);
    for (i = 0; i < n; i++)
        sb_schema_free((sb_schema_t *)all[i]->schema);
    sb_plugin_schemas_clear();
}

#endif
