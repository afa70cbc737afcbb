/* What the rest of the program reads: typed getters, injected directives, and the JSON that GET / shows. */
#include "core/settings/settings_int.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

const char *
sb_settings_str(const sb_settings_t *s, const char *name)
{
    return sb_settings_value(s, name)->text;
}

int64_t
sb_settings_int(const sb_settings_t *s, const char *name)
{
    double d = sb_settings_value(s, name)->number;

    return fabs(d) < 9e15 ? (int64_t)d : (d < 0 ? INT64_MIN : INT64_MAX);
}

double
sb_settings_num(const sb_settings_t *s, const char *name)
{
    return sb_settings_value(s, name)->number;
}

bool
sb_settings_bool(const sb_settings_t *s, const char *name)
{
    return sb_settings_value(s, name)->flag;
}

const char *const *
sb_settings_list(const sb_settings_t *s, const char *name, size_t *n)
{
    const value_t *v = sb_settings_value(s, name);

    *n = v->n_items;
    return (const char *const *)v->items;
}

char *
sb_settings_trusted_file(const sb_settings_t *s)
{
    const char *prefix = sb_settings_str(s, "prefix");
    size_t n;
    const char *const *files = sb_settings_list(s, "lua_ssl_trusted_certificate", &n);

    if (n > 1)
        return sb_asprintf("%s/.ca_combined", prefix);
    if (n == 0)
        return NULL;
    if (strcmp(files[0], "system") != 0)
        return sb_asprintf("%s%s%s", files[0][0] == '/' ? "" : prefix, files[0][0] == '/' ? "" : "/", files[0]);
    return access(SB_SYSTEM_CA, R_OK) == 0 ? sb_strdup_len(SB_SYSTEM_CA, strlen(SB_SYSTEM_CA)) : NULL;
}

bool
sb_settings_list_has(const sb_settings_t *s, const char *name, const char *item)
{
    const value_t *v = sb_settings_value(s, name);

    for (size_t i = 0; i < v->n_items; i++)
        if (strcmp(v->items[i], item) == 0)
            return true;
    return false;
}

bool
sb_settings_is_set(const sb_settings_t *s, const char *name)
{
    return sb_settings_value(s, name)->set;
}

const char *
sb_settings_dynamic(const sb_settings_t *s, const char *name)
{
    SB_CHECK_MAGIC(s, SB_SETTINGS_MAGIC);
    return sb_pairs_get(&s->dynamic, name);
}

const sb_listen_t *
sb_settings_listen(const sb_settings_t *s, const char *name, size_t *n)
{
    const value_t *v = sb_settings_value(s, name);

    *n = v->n_listens;
    return v->listens;
}

const char *const *
sb_settings_warnings(const sb_settings_t *s, size_t *n)
{
    SB_CHECK_MAGIC(s, SB_SETTINGS_MAGIC);
    *n = s->n_warnings;
    return (const char *const *)s->warnings;
}

const char *
sb_settings_file(const sb_settings_t *s)
{
    SB_CHECK_MAGIC(s, SB_SETTINGS_MAGIC);
    return s->file;
}

int
sb_settings_read(const sb_settings_t *s, const char *name, sb_buf_t *out, sb_err_t *err)
{
    const char *path = sb_settings_str(s, name);
    int rc;

    if (path == NULL) {
        sb_err_set(err, 0, "%s is not set", name);
        return SB_ERROR;
    }
    rc = sb_settings_read_file(path, out, err);
    if (rc == SB_OK && out->len > SB_SETTINGS_FILE_MAX) {
        sb_err_set(err, 0, "%s is larger than %d bytes", path, SB_SETTINGS_FILE_MAX);
        rc = SB_ERROR;
    }
    if (rc != SB_OK)
        sb_err_context(err, "%s", name);
    return rc;
}

/* Directives that the interface keeps users from injecting: the gateway has its own way with them. */
static bool
ignored(const char *name)
{
    static const char *const names[] = {"nginx_http_upstream_keepalive", "nginx_http_upstream_keepalive_timeout",
                                        "nginx_http_upstream_keepalive_requests", "nginx_http_lua_ssl_protocols",
                                        "nginx_stream_lua_ssl_protocols"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* Table rows and dynamic names are both ordered: merge them. */
void
sb_settings_injected(const sb_settings_t *s, const char *prefix, void (*fn)(const char *directive, const char *value, void *arg), void *arg)
{
    size_t len = strlen(prefix), row = 0, dyn = 0;

    SB_CHECK_MAGIC(s, SB_SETTINGS_MAGIC);
    while (row < sb_settings_rows_n || dyn < s->dynamic.n) {
        const char *row_name = row < sb_settings_rows_n ? sb_settings_rows[row].name : NULL;
        const char *dyn_name = dyn < s->dynamic.n ? s->dynamic.v[dyn].name : NULL;
        bool take_row = dyn_name == NULL || (row_name != NULL && strcmp(row_name, dyn_name) < 0);
        const char *name = take_row ? row_name : dyn_name;
        const char *value = take_row ? s->values[row].text : s->dynamic.v[dyn].value;

        if (take_row)
            row++;
        else
            dyn++;
        if (strncmp(name, prefix, len) == 0 && name[len] != '\0' && value != NULL && value[0] != '\0' && !ignored(name))
            fn(name + len, value, arg);
    }
}

static json_t *
typed(const sb_setting_row_t *row, const value_t *v)
{
    json_t *list;

    switch (row->type) {
    case SB_SETTING_NUMBER:
        return v->number == floor(v->number) && fabs(v->number) < 9e15 ? json_integer((json_int_t)v->number) : json_real(v->number);
    case SB_SETTING_BOOLEAN:
        return json_boolean(v->flag);
    case SB_SETTING_LIST:
        list = json_array();
        for (size_t i = 0; i < v->n_items; i++)
            json_array_append_new(list, json_string(v->items[i]));
        return list;
    default:
        return json_string(v->text);
    }
}

json_t *
sb_settings_json(const sb_settings_t *s)
{
    json_t *out = json_object();

    SB_CHECK_MAGIC(s, SB_SETTINGS_MAGIC);
    for (size_t i = 0; i < sb_settings_rows_n; i++) {
        const sb_setting_row_t *row = &sb_settings_rows[i];
        const value_t *v = &s->values[i];
        json_t *shown = NULL;

        if (v->text == NULL)
            continue;
        shown = row->flags & SB_SETTING_SENSITIVE ? json_string("******") : typed(row, v);
        /* jansson refuses what is not UTF-8; such a value is not shown. */
        if (shown != NULL)
            json_object_set_new(out, row->name, shown);
    }
    for (size_t i = 0; i < s->dynamic.n; i++)
        json_object_set_new(out, s->dynamic.v[i].name, json_string(s->dynamic.v[i].value));
    return out;
}
