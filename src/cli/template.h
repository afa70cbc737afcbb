/*
 * Text templates: lines that begin with ">" are Lua statements, "$(expression)" in the others is replaced by the expression's value, and
 * "${{NAME}}" by the text that belongs to a name. Lua has no access to files, processes or modules here.
 */
#ifndef SB_CLI_TEMPLATE_H
#define SB_CLI_TEMPLATE_H

#include "core/base/buf.h"

#include <lua.h>

#define SB_TEMPLATE_MAX     (1u << 20)  /* bytes of a template */
#define SB_TEMPLATE_OUT_MAX (16u << 20) /* bytes of what comes of it */

/* What came of a template, and where each of its lines has come from. Zero-initialise; sb_rendered_free() ends it. */
typedef struct sb_rendered {
    sb_buf_t text;
    size_t *line; /* of the template; 0: from elsewhere. [0] belongs to the first line of text. */
    size_t n, cap;
} sb_rendered_t;

/* What a template may use. */
typedef struct sb_template_env {
    /* Sets fields of the table on top of the stack: the global variables. */
    void (*fill)(lua_State *L, void *arg);
    /* The text of ${{NAME}}, malloc'ed; NULL: there is no such name. `name` is in lower case. */
    char *(*text)(const char *name, void *arg);
    void *arg;
} sb_template_env_t;

/* SB_DECLINED: err has "<file>:12: why". `file` is for messages only. */
int sb_template_render(const char *file, sb_str_t source, const sb_template_env_t *env, sb_rendered_t *out, sb_err_t *err);

/* Adds text that begins in line `line` of the template (0: elsewhere). */
void sb_rendered_add(sb_rendered_t *r, sb_str_t text, size_t line);
/* Adds part of another; the lines keep their origins. */
void sb_rendered_copy(sb_rendered_t *r, const sb_rendered_t *from, size_t start, size_t end);
void sb_rendered_free(sb_rendered_t *r);

#endif
