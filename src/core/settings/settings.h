/*
 * Settings: kong.conf, KONG_* and defaults, one table row each (settings_table.c, from facts/conf.json): name, type, default,
 * enum, description, effective since. Read at start by the supervisor; written resolved to <prefix>/.kong_env, from which
 * the instances and later CLI verbs read them.
 */
#ifndef SB_SETTINGS_H
#define SB_SETTINGS_H

#include "core/base/base.h"

typedef struct sb_settings sb_settings_t;

typedef struct sb_settings_source {
    const char *conf_file;   /* -c; NULL: default search paths, which may be absent */
    const char *prefix;      /* -p; NULL: from settings */
    char **environ;          /* NULL: none read */
} sb_settings_source_t;

/* SB_DECLINED: *err lists every problem, one per line: "[error] …" texts of facts/conf.json error_form. */
int sb_settings_load(const sb_settings_source_t *src, sb_settings_t **out, sb_err_t *err);
/* From a .kong_env written earlier. */
int sb_settings_load_env_file(const char *path, sb_settings_t **out, sb_err_t *err);
int sb_settings_write_env_file(const sb_settings_t *s, const char *path, sb_err_t *err); /* 0600 */
void sb_settings_free(sb_settings_t *s);

const char *sb_settings_str(const sb_settings_t *s, const char *name);  /* NULL: unset. Aborts on a name not in the table */
int64_t sb_settings_int(const sb_settings_t *s, const char *name);
double sb_settings_num(const sb_settings_t *s, const char *name);
bool sb_settings_bool(const sb_settings_t *s, const char *name);
const char *const *sb_settings_list(const sb_settings_t *s, const char *name, size_t *n); /* comma lists */
/* All, typed, sensitive values as "******": the `configuration` object of GET /. New reference. */
json_t *sb_settings_json(const sb_settings_t *s);
/* Injected directives of a block: fn("proxy_buffers", "8 16k"), ordered by name. prefix e.g. "nginx_http_". */
void sb_settings_injected(const sb_settings_t *s, const char *prefix, void (*fn)(const char *directive, const char *value, void *arg), void *arg);

typedef struct sb_listen { char *address; uint16_t port; bool ssl, http2, proxy_protocol, off; char *flags; /* nginx's own */ } sb_listen_t;
/* A listen property's entries; *n 0 when off. Owned by s. */
const sb_listen_t *sb_settings_listen(const sb_settings_t *s, const char *name, size_t *n);

#define SB_KONG_VERSION "3.9.1"
#define SB_VERSION "0.1.0"

#endif
