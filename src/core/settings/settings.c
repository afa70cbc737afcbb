/*
 * Settings from their sources to what the rest of the program asks for. In this order:
 *
 *   pairs from the file, then from the environment over them (settings_parse.c)
 *   -> one value_t per table row; names with a dynamic prefix aside; unknown ones dropped with a warning
 *   -> aliases and renamed settings carried over, defaults filled in
 *   -> values that follow from others (settings_check.c: derive)
 *   -> typed (settings_types.c) -> checked against one another (settings_check.c: check)
 *
 * Problems are gathered, not stopped at, so that a user sees all of them at once. A loaded object is constant.
 */
#include "core/settings/settings_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const default_files[] = {"/etc/kong/kong.conf", "/etc/kong.conf"};

/* Names that begin with one of these are the user's own; effective: they do something in this version. */
static const struct {
    const char *prefix;
    bool effective;
} dynamic_prefixes[] = {
    {"nginx_main_", true},     {"nginx_events_", true}, {"nginx_http_", true},  {"nginx_upstream_", true}, {"nginx_proxy_", true},
    {"nginx_location_", true}, {"nginx_status_", true}, {"nginx_admin_", true}, {"nginx_stream_", true},   {"nginx_supstream_", true},
    {"nginx_sproxy_", true},   {"nginx_wasm_", false},  {"vault_", false},      {"pluginserver_", false},
};

static int
compare_row(const void *name, const void *row)
{
    return strcmp(name, ((const sb_setting_row_t *)row)->name);
}

long
sb_settings_row_index(const char *name)
{
    const sb_setting_row_t *row = bsearch(name, sb_settings_rows, sb_settings_rows_n, sizeof(*row), compare_row);

    return row != NULL ? row - sb_settings_rows : -1;
}

value_t *
sb_settings_value(const sb_settings_t *s, const char *name)
{
    long i = sb_settings_row_index(name);

    SB_CHECK_MAGIC(s, SB_SETTINGS_MAGIC);
    if (i < 0)
        sb_panic(__FILE__, __LINE__, name);
    return &s->values[i];
}

/* -1: none. */
static long
dynamic_prefix(const char *name)
{
    for (size_t i = 0; i < sizeof(dynamic_prefixes) / sizeof(dynamic_prefixes[0]); i++) {
        size_t len = strlen(dynamic_prefixes[i].prefix);
        if (strncmp(name, dynamic_prefixes[i].prefix, len) == 0 && name[len] != '\0')
            return (long)i;
    }
    return -1;
}

bool
sb_settings_is_dynamic(const char *name)
{
    return dynamic_prefix(name) >= 0;
}

void
sb_settings_problem(sb_settings_t *s, const char *fmt, ...)
{
    va_list ap;
    char *text = NULL;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        sb_panic(__FILE__, __LINE__, "out of memory");
    va_end(ap);
    if (s->problems.len != 0)
        sb_buf_addc(&s->problems, '\n');
    sb_buf_adds(&s->problems, text);
    free(text);
}

void
sb_settings_warn(sb_settings_t *s, const char *fmt, ...)
{
    va_list ap;
    char *text = NULL;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        sb_panic(__FILE__, __LINE__, "out of memory");
    va_end(ap);
    s->warnings = sb_realloc(s->warnings, (s->n_warnings + 1) * sizeof(*s->warnings));
    s->warnings[s->n_warnings++] = text;
}

void
sb_settings_set_text(value_t *v, const char *text)
{
    char *copy = text != NULL ? sb_strdup_len(text, strlen(text)) : NULL;

    free(v->text);
    v->text = copy;
}

static sb_settings_t *
settings_new(void)
{
    sb_settings_t *s = sb_calloc(sizeof(*s));

    s->magic = SB_SETTINGS_MAGIC;
    s->values = sb_calloc(sb_settings_rows_n * sizeof(*s->values));
    return s;
}

void
sb_settings_free(sb_settings_t *s)
{
    if (s == NULL)
        return;
    SB_CHECK_MAGIC(s, SB_SETTINGS_MAGIC);
    for (size_t i = 0; i < sb_settings_rows_n; i++) {
        value_t *v = &s->values[i];
        free(v->text);
        for (size_t k = 0; k < v->n_items; k++)
            free(v->items[k]);
        free(v->items);
        sb_listen_free(v->listens, v->n_listens);
    }
    for (size_t i = 0; i < s->n_warnings; i++)
        free(s->warnings[i]);
    free(s->warnings);
    free(s->values);
    free(s->file);
    sb_pairs_free(&s->dynamic);
    sb_buf_free(&s->problems);
    s->magic = 0;
    free(s);
}

/* Unknown names of the environment are dropped silently: orchestrators put KONG_… variables of their own there. */
static void
take_pairs(sb_settings_t *s, const pairs_t *pairs, bool warn_unknown)
{
    for (size_t i = 0; i < pairs->n; i++) {
        const pair_t *p = &pairs->v[i];
        long row = sb_settings_row_index(p->name);
        if (row >= 0) {
            sb_settings_set_text(&s->values[row], p->value);
            s->values[row].set = true;
        } else if (sb_settings_is_dynamic(p->name))
            sb_pairs_add(&s->dynamic, p->name, p->value);
        else if (warn_unknown)
            sb_settings_warn(s, "unknown setting '%s' is ignored", p->name);
    }
}

/* A renamed setting's value counts for its successor unless that is set too. */
static void
carry_aliases(sb_settings_t *s)
{
    for (size_t i = 0; i < sb_settings_rows_n; i++) {
        const sb_setting_row_t *row = &sb_settings_rows[i];
        value_t *target;

        if (!s->values[i].set || row->alias_of == NULL)
            continue;
        if (row->flags & SB_SETTING_DEPRECATED)
            sb_settings_warn(s, "the configuration property '%s' is deprecated, use '%s' instead", row->name, row->alias_of);
        target = sb_settings_value(s, row->alias_of);
        if (!target->set) {
            const char *text = s->values[i].text;
            /* What the successor is compared with knows only these two words. */
            if (row->type == SB_SETTING_ONOFF && text != NULL && strcmp(text, "true") == 0)
                text = "on";
            else if (row->type == SB_SETTING_ONOFF && text != NULL && strcmp(text, "false") == 0)
                text = "off";
            sb_settings_set_text(target, text);
            target->set = true;
        }
    }
}

static void
warn_without_effect(sb_settings_t *s)
{
    for (size_t i = 0; i < sb_settings_rows_n; i++) {
        const sb_setting_row_t *row = &sb_settings_rows[i];
        const value_t *v = &s->values[i];
        bool same = v->text == NULL ? row->def == NULL : row->def != NULL && strcmp(v->text, row->def) == 0;
        if (v->set && !same && !(row->flags & (SB_SETTING_EFFECTIVE | SB_SETTING_DEPRECATED)))
            sb_settings_warn(s, "setting '%s' has no effect in this version", row->name);
    }
    for (size_t i = 0; i < s->dynamic.n; i++)
        if (!dynamic_prefixes[dynamic_prefix(s->dynamic.v[i].name)].effective)
            sb_settings_warn(s, "setting '%s' has no effect in this version", s->dynamic.v[i].name);
}

static void
fill_defaults(sb_settings_t *s)
{
    for (size_t i = 0; i < sb_settings_rows_n; i++)
        if (!s->values[i].set && s->values[i].text == NULL)
            sb_settings_set_text(&s->values[i], sb_settings_rows[i].def);
}

static int
compare_pair(const void *a, const void *b)
{
    return strcmp(((const pair_t *)a)->name, ((const pair_t *)b)->name);
}

static int
finish(sb_settings_t *s, sb_err_t *err)
{
    int rc = SB_OK;

    if (s->dynamic.n > 1)
        qsort(s->dynamic.v, s->dynamic.n, sizeof(*s->dynamic.v), compare_pair);
    carry_aliases(s);
    warn_without_effect(s);
    fill_defaults(s);
    sb_settings_derive(s);
    sb_settings_convert(s);
    if (s->problems.len == 0)
        sb_settings_check(s);
    if (s->problems.len != 0)
        rc = sb_err_set(err, 0, "%s", s->problems.data);
    return rc;
}

/* The file to read: the one asked for, else the first default one that is there, else none. */
static const char *
find_file(const sb_settings_source_t *src)
{
    if (src->conf_file != NULL)
        return src->conf_file;
    for (size_t i = 0; i < sizeof(default_files) / sizeof(default_files[0]); i++)
        if (access(default_files[i], F_OK) == 0)
            return default_files[i];
    return NULL;
}

static int
read_pairs(const char *path, enum parse_mode mode, pairs_t *out, sb_err_t *err)
{
    sb_buf_t text = {0};
    int rc = sb_settings_read_file(path, &text, err);

    if (rc == SB_OK) {
        rc = sb_settings_parse_text(text.data, text.len, mode, out, err);
        if (rc != SB_OK)
            sb_err_context(err, "%s", path);
    }
    sb_buf_free(&text);
    return rc;
}

int
sb_settings_load(const sb_settings_source_t *src, sb_settings_t **out, sb_err_t *err)
{
    const char *file = find_file(src);
    sb_settings_t *s = settings_new();
    pairs_t pairs = {0};
    int rc = SB_OK;

    *out = NULL;
    if (file != NULL) {
        rc = read_pairs(file, PARSE_USER, &pairs, err);
        if (rc != SB_OK)
            goto out;
        s->file = sb_strdup_len(file, strlen(file));
        take_pairs(s, &pairs, true);
        sb_pairs_free(&pairs);
    }
    sb_settings_parse_environ(src->environ, &pairs);
    take_pairs(s, &pairs, false);
    if (src->prefix != NULL) {
        sb_settings_set_text(sb_settings_value(s, "prefix"), src->prefix);
        sb_settings_value(s, "prefix")->set = true;
    }
    rc = finish(s, err);
    for (size_t i = 0; i < s->n_warnings && src->warn != NULL; i++)
        src->warn(s->warnings[i], src->warn_arg);
out:
    sb_pairs_free(&pairs);
    if (rc == SB_OK)
        *out = s;
    else
        sb_settings_free(s);
    return rc;
}

int
sb_settings_load_env_file(const char *path, sb_settings_t **out, sb_err_t *err)
{
    sb_settings_t *s = settings_new();
    pairs_t pairs = {0};
    int rc = read_pairs(path, PARSE_ENV_FILE, &pairs, err);

    *out = NULL;
    if (rc == SB_OK) {
        take_pairs(s, &pairs, true);
        for (size_t i = 0; i < sb_settings_rows_n; i++) {
            value_t *v = &s->values[i];
            const char *def = sb_settings_rows[i].def;
            v->set = v->text != NULL && (def == NULL || strcmp(v->text, def) != 0);
        }
        fill_defaults(s);
        sb_settings_convert(s);
        if (s->problems.len != 0) {
            rc = sb_err_set(err, 0, "%s", s->problems.data);
            sb_err_context(err, "%s", path);
        }
    }
    sb_pairs_free(&pairs);
    if (rc == SB_OK)
        *out = s;
    else
        sb_settings_free(s);
    return rc;
}

static void
env_line(sb_buf_t *b, const char *name, const char *value)
{
    sb_buf_addf(b, "%s = ", name);
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '\n') {
            sb_buf_adds(b, "\\n");
            continue;
        }
        if (*p == '\\' || *p == '#')
            sb_buf_addc(b, '\\');
        sb_buf_addc(b, *p);
    }
    sb_buf_addc(b, '\n');
}

static int
write_private(const char *path, const sb_buf_t *text, sb_err_t *err)
{
    char *tmp = sb_asprintf("%s.%ld", path, (long)getpid());
    FILE *f = NULL;
    int rc = SB_OK;

    unlink(tmp);
    f = fopen(tmp, "wxe");
    if (f == NULL || fchmod(fileno(f), 0600) != 0 || fwrite(text->data, 1, text->len, f) != text->len || fflush(f) != 0 ||
        rename(tmp, path) != 0) {
        sb_err_set(err, 0, "could not write %s: %s", path, strerror(errno));
        rc = SB_ERROR;
    }
    if (f != NULL)
        fclose(f);
    if (rc != SB_OK)
        unlink(tmp);
    free(tmp);
    return rc;
}

int
sb_settings_write_env_file(const sb_settings_t *s, const char *path, sb_err_t *err)
{
    sb_buf_t b = {0};
    mode_t old;
    int rc;

    SB_CHECK_MAGIC(s, SB_SETTINGS_MAGIC);
    sb_buf_adds(&b, "# The settings this node was started with, resolved. Written at start; not meant for editing.\n");
    for (size_t i = 0; i < sb_settings_rows_n; i++)
        if (s->values[i].text != NULL)
            env_line(&b, sb_settings_rows[i].name, s->values[i].text);
    for (size_t i = 0; i < s->dynamic.n; i++)
        env_line(&b, s->dynamic.v[i].name, s->dynamic.v[i].value);
    old = umask(077);
    rc = write_private(path, &b, err);
    umask(old);
    sb_buf_free(&b);
    return rc;
}

char *
sb_settings_find_prefix(const sb_settings_source_t *src)
{
    const char *file = find_file(src), *found = src->prefix;
    sb_settings_t *s = settings_new();
    pairs_t from_file = {0}, from_env = {0};
    char *out;

    if (file != NULL)
        read_pairs(file, PARSE_USER, &from_file, NULL);
    sb_settings_parse_environ(src->environ, &from_env);
    if (found == NULL)
        found = sb_pairs_get(&from_env, "prefix");
    if (found == NULL)
        found = sb_pairs_get(&from_file, "prefix");
    sb_settings_set_text(sb_settings_value(s, "prefix"), found != NULL ? found : sb_settings_rows[sb_settings_row_index("prefix")].def);
    fill_defaults(s);
    sb_settings_derive(s);
    out = sb_strdup_len(sb_settings_str(s, "prefix"), strlen(sb_settings_str(s, "prefix")));
    sb_pairs_free(&from_file);
    sb_pairs_free(&from_env);
    sb_settings_free(s);
    return out;
}
