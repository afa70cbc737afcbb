/*
 * Reads the text of an nginx configuration, directive by directive, as nginx itself splits it: words, quotes, comments, blocks, and the Lua
 * code of *_by_lua_block. What the directives mean is the caller's business.
 */
#ifndef SB_NGINX_SCAN_H
#define SB_NGINX_SCAN_H

#include "core/base/base.h"

#define SB_NGINX_SCAN_DEPTH 64 /* blocks in blocks; more is an error */

typedef struct sb_nginx_directive {
    const char *const *words; /* the name, then the arguments, without quotes */
    size_t n_words;           /* at least 1 */
    const char *block;        /* the name of the block it stands in; "" outside of all */
    size_t depth;             /* of that block; 0: outside of all */
    size_t start, end;        /* in the text: first byte of the name, first byte behind its ';', '{' or (Lua) '}' */
    size_t line;              /* of the name; the first is 1 */
    bool opens;               /* a block begins: its directives come next. Not so for Lua code, which is skipped. */
} sb_nginx_directive_t;

/* Called for each directive; what it points to is valid meanwhile. Other than SB_OK ends the scan, which returns it. */
typedef int (*sb_nginx_scan_pt)(const sb_nginx_directive_t *d, void *arg, sb_err_t *err);

/* SB_DECLINED: the text is not a configuration; err has "line 3: why", and *line (may be NULL) the 3. */
int sb_nginx_scan(const char *text, size_t len, sb_nginx_scan_pt fn, void *arg, size_t *line, sb_err_t *err);

#endif
