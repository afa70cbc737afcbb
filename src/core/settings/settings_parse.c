/*
 * Reading the two sources of settings, kong.conf and the environment, into plain (name, value) pairs. Nothing here knows which
 * names exist. The file is lines "name = value"; # begins a comment anywhere unless written \#; quotes are ordinary characters
 * (nginx directives need them). A line that ends in a backslash continues on the next.
 *
 * .kong_env has the same form, written and read only by us; it also escapes backslash and newline so that every value survives.
 */
#include "core/settings/settings_int.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE (16u << 20)

void
sb_pairs_add(pairs_t *p, const char *name, const char *value)
{
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->v[i].name, name) == 0) {
            char *copy = sb_strdup_len(value, strlen(value));
            free(p->v[i].value);
            p->v[i].value = copy;
            return;
        }
    }
    p->v = sb_realloc(p->v, (p->n + 1) * sizeof(*p->v));
    p->v[p->n++] = (pair_t){sb_strdup_len(name, strlen(name)), sb_strdup_len(value, strlen(value))};
}

const char *
sb_pairs_get(const pairs_t *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->v[i].name, name) == 0)
            return p->v[i].value;
    return NULL;
}

void
sb_pairs_free(pairs_t *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->v[i].name);
        free(p->v[i].value);
    }
    free(p->v);
    *p = (pairs_t){0};
}

static void
trim(const char **data, size_t *len)
{
    while (*len > 0 && isspace((unsigned char)**data)) {
        (*data)++;
        (*len)--;
    }
    while (*len > 0 && isspace((unsigned char)(*data)[*len - 1]))
        (*len)--;
}

char *
sb_settings_clean_value(const char *data, size_t len)
{
    sb_buf_t b = {0};
    const char *p;
    size_t n;
    char *out;

    for (size_t i = 0; i < len && data[i] != '#'; i++) {
        if (data[i] == '\\' && i + 1 < len && data[i + 1] == '#')
            i++;
        sb_buf_addc(&b, data[i]);
    }
    p = b.data != NULL ? b.data : "";
    n = b.len;
    trim(&p, &n);
    out = sb_strdup_len(p, n);
    sb_buf_free(&b);
    return out;
}

static char *
unescape_env_value(const char *data, size_t len)
{
    sb_buf_t b = {0};

    trim(&data, &len);
    for (size_t i = 0; i < len; i++) {
        char c = data[i];
        if (c == '\\' && i + 1 < len) {
            c = data[++i];
            c = c == 'n' ? '\n' : c;
        }
        sb_buf_addc(&b, c);
    }
    return sb_buf_take(&b);
}

static bool
valid_name(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) && name[i] != '_' && name[i] != '-' && name[i] != '.')
            return false;
    return len > 0;
}

static int
parse_line(const char *line, size_t len, unsigned number, enum parse_mode mode, pairs_t *out, sb_err_t *err)
{
    const char *eq, *name = line;
    size_t name_len;
    char *key, *value;

    trim(&line, &len);
    if (len == 0 || *line == '#')
        return SB_OK;
    eq = memchr(line, '=', len);
    name = line;
    name_len = eq != NULL ? (size_t)(eq - line) : len;
    trim(&name, &name_len);
    if (eq == NULL || !valid_name(name, name_len))
        return sb_err_set(err, 0, "line %u: expected '<name> = <value>', got '%.*s'", number, (int)(len > 80 ? 80 : len), line);
    key = sb_strdup_len(name, name_len);
    len -= (size_t)(eq + 1 - line);
    value = mode == PARSE_ENV_FILE ? unescape_env_value(eq + 1, len) : sb_settings_clean_value(eq + 1, len);
    sb_pairs_add(out, key, value);
    free(key);
    free(value);
    return SB_OK;
}

/* One logical line from `text` on into `line`; returns the bytes used. */
static size_t
take_line(const char *text, size_t len, enum parse_mode mode, sb_buf_t *line, unsigned *lines)
{
    size_t used = 0;

    sb_buf_reset(line);
    while (used < len) {
        const char *start = text + used, *nl = memchr(start, '\n', len - used);
        size_t n = nl != NULL ? (size_t)(nl - start) : len - used;
        used += n + (nl != NULL);
        ++*lines;
        if (n > 0 && start[n - 1] == '\r')
            n--;
        if (mode == PARSE_USER && n > 0 && start[n - 1] == '\\' && used < len) {
            sb_buf_add(line, start, n - 1);
            continue;
        }
        sb_buf_add(line, start, n);
        break;
    }
    return used;
}

int
sb_settings_parse_text(const char *text, size_t len, enum parse_mode mode, pairs_t *out, sb_err_t *err)
{
    sb_buf_t line = {0};
    unsigned lines = 0;
    int rc = SB_OK;

    if (memchr(text, '\0', len) != NULL)
        return sb_err_set(err, 0, "the file holds a NUL byte");
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    while (len > 0 && rc == SB_OK) {
        unsigned number = lines + 1;
        size_t used = take_line(text, len, mode, &line, &lines);
        rc = parse_line(line.data != NULL ? line.data : "", line.len, number, mode, out, err);
        text += used;
        len -= used;
    }
    sb_buf_free(&line);
    return rc;
}

int
sb_settings_read_file(const char *path, sb_buf_t *out, sb_err_t *err)
{
    char chunk[8192];
    FILE *f = fopen(path, "re");
    size_t n;
    int rc = SB_OK;

    if (f == NULL) {
        sb_err_set(err, 0, "no file at: %s (%s)", path, strerror(errno));
        return SB_ERROR;
    }
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0 && out->len <= MAX_FILE)
        sb_buf_add(out, chunk, n);
    if (ferror(f) || out->len > MAX_FILE) {
        sb_err_set(err, 0, "could not read %s: %s", path, ferror(f) ? strerror(errno) : "too large");
        rc = SB_ERROR;
    }
    sb_buf_add(out, "", 0);
    fclose(f);
    return rc;
}

void
sb_settings_parse_environ(char **environ_, pairs_t *out)
{
    for (char **e = environ_; e != NULL && *e != NULL; e++) {
        const char *eq = strchr(*e, '=');
        char *name, *value;

        if (strncmp(*e, "KONG_", 5) != 0 || eq == NULL || eq == *e + 5)
            continue;
        name = sb_strdup_len(*e + 5, (size_t)(eq - *e) - 5);
        for (char *p = name; *p != '\0'; p++)
            *p = (char)tolower((unsigned char)*p);
        value = sb_settings_clean_value(eq + 1, strlen(eq + 1));
        sb_pairs_add(out, name, value);
        free(name);
        free(value);
    }
}
