/*
 * Custom templates of the proxy's configuration (--nginx-conf): which one a node has, and the configuration that comes of it. The template
 * is the proxy's main file; where it says `include 'nginx-kong.conf'`, in its http block, the gateway's part is put, and for
 * `include 'nginx-kong-stream.conf'`, in its stream block, that for streams. Control's configuration is never a template's.
 */
#ifndef SB_CLI_NGINX_TEMPLATE_H
#define SB_CLI_NGINX_TEMPLATE_H

#include "core/base/buf.h"
#include "core/settings/settings.h"

/* A node's choice, kept in <prefix>/.nginx_template<suffix>. */
typedef struct sb_template {
    char *file;  /* absolute; NULL: none */
    char *flags; /* "a,b": names that are true in the template; NULL: none */
} sb_template_t;

void sb_template_free(sb_template_t *t);
/* The choice of a prefix: that with the suffix, else the one without, else none. SB_ERROR: it cannot be read. */
int sb_template_load(const char *prefix, const char *suffix, sb_template_t *out, sb_err_t *err);
/* Keeps a choice; one without file and flags removes what was kept. */
int sb_template_save(const char *prefix, const char *suffix, const sb_template_t *t, sb_err_t *err);

/* The proxy's configuration. Without a file in `t` it is the generated one. SB_DECLINED: err names file, line and reason. */
int sb_template_proxy_conf(const sb_settings_t *s, const sb_template_t *t, sb_buf_t *out, sb_err_t *err);
/* The line of the template that a line of the configuration comes from; 0: none. Both begin at 1. */
size_t sb_template_origin(const sb_settings_t *s, const sb_template_t *t, size_t line);

#endif
