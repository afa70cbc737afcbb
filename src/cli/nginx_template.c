/*
 * Custom templates of the proxy's configuration; see nginx_template.h. The template is rendered (template.c) with the settings as
 * variables; then compose() goes over the directives of what came of it:
 *
 *   - its place in the file for our parts, which stand there themselves and are not included: so one file is all that is tried, swapped
 *     at a reload, and searched for listening sockets;
 *   - what the supervisor decides is taken out (`rules`): `daemon off` and the like are written by us, in front. A template that wants
 *     something else than the settings say is refused, as the wish would come to nothing.
 */
#include "cli/nginx_template.h"

#include "cli/nginx_conf.h"
#include "cli/prefix.h"
#include "cli/template.h"
#include "core/base/json.h"
#include "core/base/nginx_scan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- the choice --- */

void
sb_template_free(sb_template_t *t)
{
    free(t->file);
    free(t->flags);
    *t = (sb_template_t){0};
}

static char *
choice_path(const char *prefix, const char *suffix)
{
    return sb_asprintf("%s/.nginx_template%s", prefix, suffix);
}

static char *
text_or_null(const json_t *doc, const char *name)
{
    const char *text = sb_json_string(doc, name);

    return text != NULL ? sb_strdup_len(text, strlen(text)) : NULL;
}

static int
read_whole(const char *path, size_t max, sb_buf_t *out, sb_err_t *err)
{
    FILE *f = fopen(path, "re");
    char chunk[8192];
    size_t n;
    int rc = SB_OK;

    if (f == NULL)
        return sb_err_set(err, SB_E_NONE, "%s: %s", path, strerror(errno));
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0 && out->len <= max)
        sb_buf_add(out, chunk, n);
    if (ferror(f))
        rc = sb_err_set(err, SB_E_NONE, "%s: %s", path, strerror(errno));
    else if (out->len > max)
        rc = sb_err_set(err, SB_E_NONE, "%s: it is longer than %zu bytes", path, max);
    fclose(f);
    return rc;
}

int
sb_template_load(const char *prefix, const char *suffix, sb_template_t *out, sb_err_t *err)
{
    char *path = choice_path(prefix, suffix);
    sb_buf_t text = {0};
    json_t *doc = NULL;
    int rc = SB_OK;

    *out = (sb_template_t){0};
    if (access(path, F_OK) != 0) {
        free(path);
        path = choice_path(prefix, "");
    }
    if (access(path, F_OK) == 0) {
        rc = read_whole(path, SB_TEMPLATE_MAX, &text, err);
        doc = rc == SB_OK ? sb_json_parse(text.data, text.len, err) : NULL;
        rc = doc != NULL ? SB_OK : SB_ERROR;
    }
    if (doc != NULL)
        *out = (sb_template_t){.file = text_or_null(doc, "file"), .flags = text_or_null(doc, "flags")};
    json_decref(doc);
    sb_buf_free(&text);
    free(path);
    return rc;
}

int
sb_template_save(const char *prefix, const char *suffix, const sb_template_t *t, sb_err_t *err)
{
    char *path = choice_path(prefix, suffix), *text;
    json_t *doc;
    int rc = SB_OK;

    if (t->file == NULL && t->flags == NULL) {
        unlink(path); /* need not be there */
        free(path);
        return SB_OK;
    }
    doc = json_pack("{s:s?,s:s?}", "file", t->file, "flags", t->flags);
    if (doc == NULL)
        rc = sb_err_set(err, SB_E_NONE, "the name of a template must be UTF-8");
    else {
        text = sb_json_dump(doc);
        rc = sb_prefix_write_file(path, text, strlen(text), 0600, err);
        free(text);
        json_decref(doc);
    }
    free(path);
    return rc;
}

/* --- variables --- */

typedef struct context {
    const sb_settings_t *s;
    const sb_template_t *t;
} context_t;

static void
push_listen_list(lua_State *L, const sb_settings_t *s, const char *setting)
{
    size_t n;
    const sb_listen_t *l = sb_settings_listen(s, setting, &n);

    lua_newtable(L);
    for (size_t i = 0; i < n; i++) {
        lua_newtable(L);
        lua_pushstring(L, l[i].address);
        lua_setfield(L, -2, "ip");
        lua_pushinteger(L, l[i].port);
        lua_setfield(L, -2, "port");
        lua_pushboolean(L, l[i].ssl);
        lua_setfield(L, -2, "ssl");
        lua_pushboolean(L, l[i].http2);
        lua_setfield(L, -2, "http2");
        lua_pushboolean(L, l[i].proxy_protocol);
        lua_setfield(L, -2, "proxy_protocol");
        lua_pushfstring(L, "%s:%d%s%s%s%s%s", l[i].address, (int)l[i].port, l[i].ssl ? " ssl" : "", l[i].http2 ? " http2" : "",
                        l[i].proxy_protocol ? " proxy_protocol" : "", l[i].flags[0] != '\0' ? " " : "", l[i].flags);
        lua_setfield(L, -2, "listener");
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* "proxy_listen" -> proxy_listeners, whatever settings of that kind there are. */
static void
fill_listeners(lua_State *L, const sb_settings_t *s)
{
    static const char tail[] = "_listen";
    char name[64];

    for (size_t i = 0; i < sb_settings_rows_n; i++) {
        size_t len = strlen(sb_settings_rows[i].name), n = sizeof(tail) - 1;
        if (len <= n || len + 4 > sizeof(name) || strcmp(sb_settings_rows[i].name + len - n, tail) != 0)
            continue;
        push_listen_list(L, s, sb_settings_rows[i].name);
        snprintf(name, sizeof(name), "%sers", sb_settings_rows[i].name);
        lua_setfield(L, -2, name);
    }
}

static void
push_directive(const char *directive, const char *value, void *arg)
{
    lua_State *L = arg;

    if (strcmp(value, SB_SETTING_NONE) == 0)
        return;
    lua_newtable(L);
    lua_pushstring(L, directive);
    lua_setfield(L, -2, "name");
    if (strcmp(value, "auto") == 0 && (strcmp(directive, "worker_rlimit_nofile") == 0 || strcmp(directive, "worker_connections") == 0))
        lua_pushfstring(L, "%d", (int)sb_nginx_auto_files());
    else
        lua_pushstring(L, value);
    lua_setfield(L, -2, "value");
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

/* nginx_http_directives and the like: a list of { name, value }. */
static void
fill_directives(lua_State *L, const sb_settings_t *s)
{
    static const char *const blocks[] = {"main",   "events", "http",   "upstream", "proxy",    "location",
                                         "status", "admin",  "stream", "sproxy",   "supstream"};
    char name[64];

    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        lua_newtable(L);
        snprintf(name, sizeof(name), "nginx_%s_", blocks[i]);
        sb_settings_injected(s, name, push_directive, L);
        snprintf(name, sizeof(name), "nginx_%s_directives", blocks[i]);
        lua_setfield(L, -2, name);
    }
}

static void
push_list(lua_State *L, const sb_settings_t *s, const char *name)
{
    size_t n;
    const char *const *items = sb_settings_list(s, name, &n);

    lua_newtable(L);
    for (size_t i = 0; i < n; i++) {
        lua_pushstring(L, items[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static void
fill_settings(lua_State *L, const sb_settings_t *s)
{
    for (size_t i = 0; i < sb_settings_rows_n; i++) {
        const sb_setting_row_t *row = &sb_settings_rows[i];
        if (sb_settings_str(s, row->name) == NULL)
            continue;
        switch (row->type) {
        case SB_SETTING_NUMBER:
            lua_pushnumber(L, sb_settings_num(s, row->name));
            break;
        case SB_SETTING_BOOLEAN:
            lua_pushboolean(L, sb_settings_bool(s, row->name));
            break;
        case SB_SETTING_LIST:
            push_list(L, s, row->name);
            break;
        default:
            lua_pushstring(L, sb_settings_str(s, row->name));
        }
        lua_setfield(L, -2, row->name);
    }
}

static void
fill(lua_State *L, void *arg)
{
    const context_t *c = arg;
    char *flags = c->t->flags != NULL ? sb_strdup_len(c->t->flags, strlen(c->t->flags)) : NULL, *save = NULL;

    fill_settings(L, c->s);
    fill_listeners(L, c->s);
    fill_directives(L, c->s);
    for (char *flag = flags != NULL ? strtok_r(flags, ", ", &save) : NULL; flag != NULL; flag = strtok_r(NULL, ", ", &save)) {
        lua_pushboolean(L, true);
        lua_setfield(L, -2, flag);
    }
    free(flags);
}

static char *
joined(const sb_settings_t *s, const char *name)
{
    size_t n;
    const char *const *items = sb_settings_list(s, name, &n);
    sb_buf_t b = {0};

    for (size_t i = 0; i < n; i++)
        sb_buf_addf(&b, "%s%s", i > 0 ? " " : "", items[i]);
    return sb_buf_take(&b);
}

/* ${{NAME}}: booleans as nginx has them, lists with spaces; what is unset is empty. */
static char *
text_of(const char *name, void *arg)
{
    const context_t *c = arg;
    const char *text = NULL;
    sb_buf_t b = {0};

    if (strcmp(name, "dns_resolver") == 0) {
        sb_nginx_resolvers(c->s, &b);
        return sb_buf_take(&b);
    }
    for (size_t i = 0; i < sb_settings_rows_n; i++) {
        const sb_setting_row_t *row = &sb_settings_rows[i];
        if (strcmp(row->name, name) != 0)
            continue;
        text = sb_settings_str(c->s, name);
        if (row->type == SB_SETTING_LIST)
            return joined(c->s, name);
        if (row->type == SB_SETTING_BOOLEAN)
            text = sb_settings_bool(c->s, name) ? "on" : "off";
        return sb_strdup_len(text != NULL ? text : "", text != NULL ? strlen(text) : 0);
    }
    text = sb_settings_dynamic(c->s, name);
    return text != NULL ? sb_strdup_len(text, strlen(text)) : NULL;
}

/* --- composing --- */

enum rule_kind {
    RULE_DROP,    /* ours alone */
    RULE_SETTING, /* a setting's: another value than that is refused */
    RULE_ON,      /* must be on */
    RULE_NOTE     /* stays; ours is left out */
};

static const struct rule {
    const char *name;
    enum rule_kind kind;
    const char *setting;
} rules[] = {
    {"pid", RULE_DROP, NULL}, /* each master has a file of its own */
    {"daemon", RULE_SETTING, "nginx_main_daemon"},
    {"user", RULE_SETTING, "nginx_main_user"},
    {"worker_processes", RULE_SETTING, "nginx_main_worker_processes"},
    {"master_process", RULE_ON, NULL},
    {"worker_rlimit_nofile", RULE_NOTE, NULL},
    {"error_log", RULE_NOTE, NULL},
    /* Of modules that are not here; the read model stands for them. */
    {"lmdb_environment_path", RULE_DROP, NULL},
    {"lmdb_map_size", RULE_DROP, NULL},
    {"lmdb_validation_tag", RULE_DROP, NULL},
};

/* Files of the interface that a template may include. */
enum part { PART_HTTP, PART_STREAM, PART_EMPTY };
static const struct part_row {
    const char *name;
    enum part part;
} parts[] = {
    {"nginx-kong.conf", PART_HTTP},         {"nginx-kong-stream.conf", PART_STREAM},       {"nginx-inject.conf", PART_EMPTY},
    {"nginx-kong-inject.conf", PART_EMPTY}, {"nginx-kong-stream-inject.conf", PART_EMPTY}, {"nginx-kong-gui-include.conf", PART_EMPTY},
};

typedef struct compose {
    const sb_settings_t *s;
    const sb_template_t *t;
    const sb_rendered_t *in;
    sb_rendered_t body;
    size_t done;    /* of in->text */
    size_t seen[2]; /* line of the include of a part; 0: none */
    unsigned has;   /* SB_NGINX_HAS_… */
    bool refused;   /* by us: the message is complete */
} compose_t;

static size_t
template_line(const compose_t *c, const sb_nginx_directive_t *d)
{
    return c->in->line[d->line - 1];
}

static int
refuse(compose_t *c, const sb_nginx_directive_t *d, sb_err_t *err, const char *why)
{
    c->refused = true;
    return sb_err_set(err, SB_E_NONE, "%s:%zu: %s", c->t->file, template_line(c, d), why);
}

/* The text up to the directive stays, the directive goes. */
static void
take_out(compose_t *c, const sb_nginx_directive_t *d)
{
    sb_rendered_copy(&c->body, c->in, c->done, d->start);
    c->done = d->end;
}

static char *
arguments_of(const sb_nginx_directive_t *d)
{
    sb_buf_t b = {0};

    for (size_t i = 1; i < d->n_words; i++)
        sb_buf_addf(&b, "%s%s", i > 1 ? " " : "", d->words[i]);
    return sb_buf_take(&b);
}

/* Equal but for the number of spaces. */
static bool
same_words(const char *a, const char *b)
{
    for (;;) {
        size_t n;
        a += strspn(a, " \t");
        b += strspn(b, " \t");
        n = strcspn(a, " \t");
        if (n != strcspn(b, " \t") || strncmp(a, b, n) != 0)
            return false;
        if (n == 0)
            return true;
        a += n;
        b += n;
    }
}

static int
apply_rule(compose_t *c, const struct rule *rule, const sb_nginx_directive_t *d, sb_err_t *err)
{
    const char *setting = rule->setting != NULL ? sb_settings_str(c->s, rule->setting) : NULL;
    char *value, *why = NULL;
    int rc = SB_OK;

    if (rule->kind == RULE_NOTE) {
        c->has |= strcmp(rule->name, "error_log") == 0 ? SB_NGINX_HAS_ERROR_LOG : SB_NGINX_HAS_RLIMIT;
        return SB_OK;
    }
    value = arguments_of(d);
    if (rule->kind == RULE_SETTING && !same_words(value, setting))
        why = sb_asprintf("%s is '%s' here and '%s' in the settings, which decide: set %s", rule->name, value, setting, rule->setting);
    else if (rule->kind == RULE_ON && strcmp(value, "on") != 0)
        why = sb_asprintf("%s is '%s': a node needs it on", rule->name, value);
    if (why != NULL)
        rc = refuse(c, d, err, why);
    else
        take_out(c, d);
    free(why);
    free(value);
    return rc;
}

/* The part that an include names, by its name or its path in the prefix; NULL: another file. */
static const struct part_row *
part_of(const compose_t *c, const sb_nginx_directive_t *d)
{
    const char *prefix = sb_settings_str(c->s, "prefix"), *path = d->n_words == 2 ? d->words[1] : "";
    size_t len = strlen(prefix);

    if (strncmp(path, prefix, len) == 0 && path[len] == '/')
        path += len + 1;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strcmp(path, parts[i].name) == 0)
            return &parts[i];
    return NULL;
}

static int
put_part(compose_t *c, const struct part_row *part, const sb_nginx_directive_t *d, sb_err_t *err)
{
    const char *block = part->part == PART_HTTP ? "http" : "stream";
    sb_buf_t text = {0};
    char *why = NULL;
    int rc = SB_OK;

    if (part->part == PART_EMPTY) {
        take_out(c, d);
        return SB_OK;
    }
    if (d->depth != 1 || strcmp(d->block, block) != 0)
        why = sb_asprintf("'%s' can be included in the %s block only", part->name, block);
    else if (c->seen[part->part] != 0)
        why = sb_asprintf("'%s' is included in line %zu already", part->name, c->seen[part->part]);
    if (why != NULL)
        rc = refuse(c, d, err, why);
    else {
        c->seen[part->part] = template_line(c, d);
        take_out(c, d);
        if (part->part == PART_HTTP)
            sb_nginx_proxy_http(c->s, &text);
        else
            sb_nginx_stream_inside(c->s, &text);
        sb_rendered_add(&c->body, SB_STR("\n"), 0);
        sb_rendered_add(&c->body, (sb_str_t){text.data != NULL ? text.data : "", text.len}, 0);
    }
    sb_buf_free(&text);
    free(why);
    return rc;
}

static int
on_directive(const sb_nginx_directive_t *d, void *arg, sb_err_t *err)
{
    compose_t *c = arg;
    const struct part_row *part;

    if (strcmp(d->words[0], "include") == 0 && (part = part_of(c, d)) != NULL)
        return put_part(c, part, d, err);
    if (d->depth == 0 && d->opens && strcmp(d->words[0], "stream") == 0)
        c->has |= SB_NGINX_HAS_STREAM;
    for (size_t i = 0; d->depth == 0 && i < sizeof(rules) / sizeof(rules[0]); i++)
        if (strcmp(d->words[0], rules[i].name) == 0)
            return apply_rule(c, &rules[i], d, err);
    return SB_OK;
}

static int
missing_part(const compose_t *c, sb_err_t *err)
{
    if (c->seen[PART_HTTP] == 0)
        return sb_err_set(err, SB_E_NONE, "%s: there is no `include 'nginx-kong.conf';` in an http block, so it would have no gateway",
                          c->t->file);
    if (c->seen[PART_STREAM] == 0 && sb_nginx_has_stream(c->s))
        return sb_err_set(err, SB_E_NONE, "%s: stream_listen is set, but there is no `include 'nginx-kong-stream.conf';` in a stream block",
                          c->t->file);
    return SB_OK;
}

static int
compose(compose_t *c, sb_rendered_t *out, sb_err_t *err)
{
    size_t line = 0;
    sb_err_t why = {0};
    sb_buf_t head = {0};
    const char *text = c->in->text.data != NULL ? c->in->text.data : "";
    int rc = sb_nginx_scan(text, c->in->text.len, on_directive, c, &line, &why);

    if (rc != SB_OK && c->refused)
        rc = sb_err_set(err, SB_E_NONE, "%s", why.message);
    else if (rc != SB_OK) { /* "line 3: why" of what was rendered */
        size_t last = c->in->n > 0 ? c->in->line[c->in->n - 1] : 1, at = line <= c->in->n ? c->in->line[line - 1] : last;
        rc = sb_err_set(err, SB_E_NONE, "%s:%zu: %s", c->t->file, at, strchr(why.message, ':') + 2);
    }
    if (rc == SB_OK)
        rc = missing_part(c, err);
    if (rc == SB_OK)
        rc = sb_nginx_proxy_head(c->s, c->has, &head, err);
    if (rc == SB_OK) {
        sb_rendered_copy(&c->body, c->in, c->done, c->in->text.len);
        sb_rendered_add(out, (sb_str_t){head.data, head.len}, 0);
        sb_rendered_copy(out, &c->body, 0, c->body.text.len);
    }
    sb_buf_free(&head);
    sb_err_clear(&why);
    return rc;
}

static int
render(const sb_settings_t *s, const sb_template_t *t, sb_rendered_t *out, sb_err_t *err)
{
    context_t context = {.s = s, .t = t};
    sb_template_env_t env = {.fill = fill, .text = text_of, .arg = &context};
    sb_rendered_t rendered = {0};
    compose_t c = {.s = s, .t = t, .in = &rendered};
    sb_buf_t source = {0};
    int rc = read_whole(t->file, SB_TEMPLATE_MAX, &source, err);

    if (rc == SB_OK)
        rc = sb_template_render(t->file, (sb_str_t){source.data != NULL ? source.data : "", source.len}, &env, &rendered, err);
    if (rc == SB_OK)
        rc = compose(&c, out, err);
    sb_rendered_free(&rendered);
    sb_rendered_free(&c.body);
    sb_buf_free(&source);
    return rc;
}

int
sb_template_proxy_conf(const sb_settings_t *s, const sb_template_t *t, sb_buf_t *out, sb_err_t *err)
{
    sb_rendered_t r = {0};
    int rc;

    if (t->file == NULL)
        return sb_nginx_proxy_conf(s, out, err);
    rc = render(s, t, &r, err);
    if (rc == SB_OK)
        sb_buf_add(out, r.text.data, r.text.len);
    sb_rendered_free(&r);
    return rc;
}

size_t
sb_template_origin(const sb_settings_t *s, const sb_template_t *t, size_t line)
{
    sb_rendered_t r = {0};
    size_t origin = 0;

    if (t->file != NULL && render(s, t, &r, NULL) == SB_OK && line > 0 && line <= r.n)
        origin = r.line[line - 1];
    sb_rendered_free(&r);
    return origin;
}
