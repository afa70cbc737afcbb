/*
 * The table beside the interface's list of settings, row by row (tests/data/settings.json): names, types, defaults, choices, secrets,
 * successors, directives; and the presets and prefixes that come with it. What differs on purpose is named in `ours`.
 */
#include "core/base/base.h"
#include "core/base/json.h"
#include "core/settings/settings.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static json_t *facts;

static int
load_facts(void **state)
{
    json_error_t error;

    facts = json_load_file(SB_SOURCE_ROOT "/tests/data/settings.json", 0, &error);
    return facts == NULL;
}

static int
free_facts(void **state)
{
    json_decref(facts);
    return 0;
}

/* The embedded store is the default here, and there is no other that could be meant. */
static const struct {
    const char *name, *def, *choices;
} ours[] = {{"database", "sqlite", "sqlite, postgres, off"}};

static long
own_way(const char *name)
{
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (strcmp(ours[i].name, name) == 0)
            return (long)i;
    return -1;
}

static const char *
text_of(const json_t *fact, const char *member)
{
    return json_string_value(json_object_get(fact, member));
}

static void
same_text(const char *name, const char *what, const char *here, const char *there)
{
    if ((here == NULL) != (there == NULL) || (here != NULL && strcmp(here, there) != 0))
        fail_msg("%s: %s is '%s', expected '%s'", name, what, here != NULL ? here : "(none)", there != NULL ? there : "(none)");
}

static void
same_type(const sb_setting_row_t *row, const json_t *fact)
{
    static const char *const types[] = {[SB_SETTING_STRING] = "string", [SB_SETTING_NUMBER] = "number", [SB_SETTING_BOOLEAN] = "boolean",
                                        [SB_SETTING_ONOFF] = "on/off",  [SB_SETTING_ENUM] = "enum",     [SB_SETTING_LIST] = "array"};
    const char *type = text_of(fact, "type");

    /* A text of which only some are allowed is checked as one. */
    if (row->type == SB_SETTING_ENUM && json_object_get(fact, "enum") != NULL)
        type = "enum";
    same_text(row->name, "type", types[row->type], type);
}

static void
same_choices(const sb_setting_row_t *row, const json_t *fact)
{
    json_t *list = json_object_get(fact, "enum"), *item;
    sb_buf_t b = {0};
    size_t i;

    json_array_foreach(list, i, item) sb_buf_addf(&b, "%s%s", i != 0 ? ", " : "", json_string_value(item));
    if (own_way(row->name) >= 0)
        same_text(row->name, "choices", row->choices, ours[own_way(row->name)].choices);
    else if (row->type != SB_SETTING_LIST)
        same_text(row->name, "choices", row->choices, list != NULL ? b.data : NULL);
    sb_buf_free(&b);
}

static void
same_successor(const sb_setting_row_t *row, const json_t *fact)
{
    const char *replaced_by = text_of(fact, "replaced_by"), *alias_of = text_of(fact, "alias_of");

    same_text(row->name, "successor", row->alias_of, alias_of != NULL ? alias_of : replaced_by);
    if (((row->flags & SB_SETTING_DEPRECATED) != 0) != (replaced_by != NULL))
        fail_msg("%s: deprecated or not?", row->name);
}

static void
same_directive(const sb_setting_row_t *row, const json_t *fact)
{
    json_t *list = json_object_get(fact, "directives"), *item;
    size_t i;

    assert_true((list != NULL) == (row->directive != NULL));
    json_array_foreach(list, i, item)
    {
        const char *name = json_string_value(item);
        assert_true(strncmp(name, "nginx_http_", 11) == 0 || strncmp(name, "nginx_stream_", 13) == 0);
        same_text(row->name, "directive", row->directive, name + (name[6] == 'h' ? 11 : 13));
    }
}

static void
each_row(void **state)
{
    json_t *rows = json_object_get(facts, "settings"), *fact;
    size_t i;

    assert_int_equal(json_array_size(rows), sb_settings_rows_n);
    json_array_foreach(rows, i, fact)
    {
        const char *name = text_of(fact, "name"), *def = text_of(fact, "default");
        long at = sb_settings_row_index(name);
        if (at < 0)
            fail_msg("no setting '%s'", name);
        if (own_way(name) >= 0)
            def = ours[own_way(name)].def;
        same_text(name, "default", sb_settings_rows[at].def, def);
        same_type(&sb_settings_rows[at], fact);
        same_choices(&sb_settings_rows[at], fact);
        same_successor(&sb_settings_rows[at], fact);
        same_directive(&sb_settings_rows[at], fact);
        if (((sb_settings_rows[at].flags & SB_SETTING_SENSITIVE) != 0) != json_is_true(json_object_get(fact, "sensitive")))
            fail_msg("%s: secret or not?", name);
    }
}

static sb_settings_t *
loaded(const char *name, const char *value)
{
    char *env[2] = {sb_asprintf("KONG_%s=%s", name, value), NULL};
    sb_settings_source_t src = {.conf_file = "/dev/null", .environ = env};
    sb_settings_t *s = NULL;
    sb_err_t err = {0};

    if (sb_settings_load(&src, &s, &err) != SB_OK)
        fail_msg("%s", err.message);
    free(env[0]);
    return s;
}

static void
cipher_suites(void **state)
{
    const char *name;
    json_t *fact;

    json_object_foreach(json_object_get(facts, "cipher_suites"), name, fact)
    {
        sb_settings_t *s = loaded("SSL_CIPHER_SUITE", name);
        same_text(name, "ciphers", sb_settings_str(s, "ssl_ciphers"), text_of(fact, "ciphers"));
        same_text(name, "protocols", sb_settings_str(s, "nginx_http_ssl_protocols"), text_of(fact, "protocols"));
        same_text(name, "order", sb_settings_str(s, "nginx_http_ssl_prefer_server_ciphers"), text_of(fact, "prefer_server_ciphers"));
        same_text(name, "dhparams", sb_settings_str(s, "nginx_http_ssl_dhparam"), text_of(fact, "dhparams"));
        sb_settings_free(s);
    }
}

static void
prefixes(void **state)
{
    json_t *list = json_object_get(facts, "prefixes"), *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        char *name = sb_asprintf("%sx", json_string_value(item));
        if (!sb_settings_is_dynamic(name))
            fail_msg("%s is not taken", name);
        free(name);
    }
    assert_false(sb_settings_is_dynamic("nginx_proxy_"));
    assert_false(sb_settings_is_dynamic("nginx_x"));
}

static void
count(const char *directive, const char *value, void *arg)
{
    ++*(size_t *)arg;
}

static void
ignored_directives(void **state)
{
    const char *prefix;
    json_t *list, *item;
    size_t i;

    json_object_foreach(json_object_get(facts, "ignored"), prefix, list) json_array_foreach(list, i, item)
    {
        char *name = sb_asprintf("%s%s", prefix, json_string_value(item));
        sb_settings_t *s;
        size_t before = 0, after = 0;
        for (char *p = name; *p != '\0'; p++)
            *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
        s = loaded("LOG_LEVEL", "notice");
        sb_settings_injected(s, prefix, count, &before);
        sb_settings_free(s);
        s = loaded(name, "1");
        sb_settings_injected(s, prefix, count, &after);
        sb_settings_free(s);
        if (before != after)
            fail_msg("%s is not ignored", name);
        free(name);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row),
        cmocka_unit_test(cipher_suites),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(ignored_directives),
    };

    return cmocka_run_group_tests(tests, load_facts, free_facts);
}
