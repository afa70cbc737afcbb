/* Inside of the settings; see settings.c for the order in which they come to be. */
#ifndef SB_SETTINGS_INT_H
#define SB_SETTINGS_INT_H

#include "core/base/buf.h"
#include "core/settings/settings.h"

typedef struct value {
    char *text; /* NULL: unset */
    bool set;   /* by the user */
    double number;
    bool flag;
    char **items;
    size_t n_items;
    sb_listen_t *listens;
    size_t n_listens;
} value_t;

typedef struct pair {
    char *name;
    char *value;
} pair_t;

typedef struct pairs {
    pair_t *v;
    size_t n;
} pairs_t;

struct sb_settings {
    unsigned magic;
    char *file;
    value_t *values; /* one per row */
    pairs_t dynamic; /* ordered by name */
    char **warnings;
    size_t n_warnings;
    sb_buf_t problems; /* while loading: one per line */
};

#define SB_SETTINGS_MAGIC 0x5e771435u

/* settings_parse.c */
enum parse_mode { PARSE_USER, PARSE_ENV_FILE };
void sb_pairs_add(pairs_t *p, const char *name, const char *value); /* copies; a name that is there already takes the new value */
const char *sb_pairs_get(const pairs_t *p, const char *name);
void sb_pairs_free(pairs_t *p);
/* Text of a kong.conf (or .kong_env) into pairs. SB_DECLINED names the line. */
int sb_settings_parse_text(const char *text, size_t len, enum parse_mode mode, pairs_t *out, sb_err_t *err);
/* Reads a whole file. SB_ERROR when it cannot be read. */
int sb_settings_read_file(const char *path, sb_buf_t *out, sb_err_t *err);
/* A value as the file syntax has it: comment cut off, \# made #, trimmed. malloc'ed. */
char *sb_settings_clean_value(const char *data, size_t len);
/* KONG_* of an environment into pairs with lower-case names. */
void sb_settings_parse_environ(char **environ_, pairs_t *out);

/* settings.c */
long sb_settings_row_index(const char *name); /* -1: none */
value_t *sb_settings_value(const sb_settings_t *s, const char *name);
void sb_settings_problem(sb_settings_t *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sb_settings_warn(sb_settings_t *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sb_settings_set_text(value_t *v, const char *text);
bool sb_settings_is_dynamic(const char *name);

/* settings_types.c: text into typed members, with the interface's complaints. */
void sb_settings_convert(sb_settings_t *s);
void sb_settings_split(value_t *v);

/* settings_listen.c */
bool sb_listen_parse(const char *text, sb_listen_t **out, size_t *n); /* false: malformed */
void sb_listen_free(sb_listen_t *l, size_t n);

/* settings_check.c: what must hold between settings, and what this version cannot do yet. */
void sb_settings_check(sb_settings_t *s);
/* Values that follow from others: TLS presets, directives filled by settings, the worker user. Before sb_settings_convert. */
void sb_settings_derive(sb_settings_t *s);

#endif
