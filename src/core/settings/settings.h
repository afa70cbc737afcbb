/*
 * Settings: kong.conf, KONG_* and defaults, one table row each (settings_table.c): name, type, default, choices, description.
 * Read at start by the program; written resolved to <prefix>/.kong_env, from which the instances and later verbs read them.
 * A loaded sb_settings_t never changes, so it may be read from any thread.
 */
#ifndef SB_SETTINGS_H
#define SB_SETTINGS_H

#include "core/base/base.h"
#include "core/base/buf.h"

enum sb_setting_type {
    SB_SETTING_STRING,
    SB_SETTING_NUMBER,
    SB_SETTING_BOOLEAN, /* on, off, true, false */
    SB_SETTING_ONOFF,   /* same words; stays "on" or "off" where it is shown */
    SB_SETTING_ENUM,
    SB_SETTING_LIST /* comma-separated */
};

#define SB_SETTING_SENSITIVE  1u /* shown as ****** */
#define SB_SETTING_EFFECTIVE  2u /* does something in this version; setting another one gives a warning */
#define SB_SETTING_INTERNAL   4u /* left out of the documentation */
#define SB_SETTING_DEPRECATED 8u /* setting it gives a warning that names the replacement */

typedef struct sb_setting_row {
    const char *name;
    enum sb_setting_type type;
    const char *def;       /* NULL: unset */
    const char *choices;   /* "a, b": of an enum, or of each item of a list, case aside; NULL: anything */
    unsigned flags;        /* SB_SETTING_* */
    const char *alias_of;  /* the setting that takes this one's value unless set itself */
    const char *directive; /* the nginx directive (http and stream) that takes its value */
    const char *section;
    const char *text;
} sb_setting_row_t;

extern const sb_setting_row_t sb_settings_rows[]; /* ordered by name */
extern const size_t sb_settings_rows_n;

typedef struct sb_settings sb_settings_t;

typedef struct sb_settings_source {
    const char *conf_file; /* -c; NULL: default search paths, which may be absent */
    const char *prefix;    /* -p; NULL: from settings */
    char **environ;        /* NULL: none read */
    /* Called for each warning also when loading fails and there is no object to ask (sb_settings_warnings). NULL: not called. */
    void (*warn)(const char *text, void *arg);
    void *warn_arg;
} sb_settings_source_t;

/* SB_DECLINED: *err lists every problem, one per line, in the interface's words (the verbs put "[error] " or "Error: " in front).
 * SB_ERROR: a file could not be read. The caller frees *out with sb_settings_free. */
int sb_settings_load(const sb_settings_source_t *src, sb_settings_t **out, sb_err_t *err);
/* From a .kong_env written earlier. */
int sb_settings_load_env_file(const char *path, sb_settings_t **out, sb_err_t *err);
int sb_settings_write_env_file(const sb_settings_t *s, const char *path, sb_err_t *err); /* 0600, replaced at once by rename */
void sb_settings_free(sb_settings_t *s);
/* Only the prefix, without complaints about anything else, for verbs that look for a running node. malloc'ed, absolute. */
char *sb_settings_find_prefix(const sb_settings_source_t *src);
/* What start should warn about: unknown and deprecated names, settings without effect yet. Owned by s. */
const char *const *sb_settings_warnings(const sb_settings_t *s, size_t *n);
/* The file the settings came from; NULL when none. */
const char *sb_settings_file(const sb_settings_t *s);

/* All abort on a name that is not in the table. Text: as the user gave it, trimmed; NULL when unset (never for a setting that has a
 * default). Numbers and booleans that are unset are 0 and false. */
const char *sb_settings_str(const sb_settings_t *s, const char *name);
int64_t sb_settings_int(const sb_settings_t *s, const char *name);
double sb_settings_num(const sb_settings_t *s, const char *name);
bool sb_settings_bool(const sb_settings_t *s, const char *name);
const char *const *sb_settings_list(const sb_settings_t *s, const char *name, size_t *n); /* comma lists; *n 0 when unset */
/* The CA file for outgoing TLS that lua_ssl_trusted_certificate amounts to: the one of several that start has made in the prefix, the
 * one file, made absolute under the prefix when relative, or for "system" SB_SYSTEM_CA. NULL when there is none. malloc'ed. */
#define SB_SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"
char *sb_settings_trusted_file(const sb_settings_t *s);
bool sb_settings_list_has(const sb_settings_t *s, const char *name, const char *item);
/* Given by the user, in file or environment; after a .kong_env round trip: differs from the default. */
bool sb_settings_is_set(const sb_settings_t *s, const char *name);
/* A name with a dynamic prefix (pluginserver_x_socket, vault_env_y, nginx_http_z); NULL when unset. */
const char *sb_settings_dynamic(const sb_settings_t *s, const char *name);
/* All, typed, sensitive values as "******": the `configuration` object of GET /. New reference. */
json_t *sb_settings_json(const sb_settings_t *s);
/* Injected directives of a block: fn("proxy_buffers", "8 16k"), ordered by name. prefix e.g. "nginx_http_". Those that the interface
 * ignores in the block are left out; those that have a setting of their own (nginx_http_client_max_body_size …) are there with their
 * default. A value of SB_SETTING_NONE asks for the directive to be left out, the gateway's own default included. */
#define SB_SETTING_NONE "NONE"
void sb_settings_injected(const sb_settings_t *s, const char *prefix, void (*fn)(const char *directive, const char *value, void *arg),
                          void *arg);

typedef struct sb_listen {
    char *address; /* IPv6 in brackets */
    uint16_t port;
    bool ssl, http2, proxy_protocol;
    bool quic;   /* HTTP/3 too, on the UDP port of the same number */
    char *flags; /* what else nginx's listen line takes, e.g. "reuseport backlog=16384"; "" when none; those above are not repeated */
} sb_listen_t;
/* A listen property's entries; *n 0 when off. Owned by s. */
const sb_listen_t *sb_settings_listen(const sb_settings_t *s, const char *name, size_t *n);

/* The content of the file that a setting names (error_template_*), at most SB_SETTINGS_FILE_MAX bytes. SB_ERROR: unset, unreadable or
 * too long; *err has the setting's name. The caller frees out. */
#define SB_SETTINGS_FILE_MAX (1 << 20)
int sb_settings_read(const sb_settings_t *s, const char *name, sb_buf_t *out, sb_err_t *err);

#define SB_KONG_VERSION "3.9.1"
#define SB_VERSION      "0.1.0"

#endif
