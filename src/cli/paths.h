/*
 * Where the program's own files are: beside the running binary in a build folder (build/bin, build/modules, build/lua), else in the
 * places that `make install` put them. Found once; the strings live as long as the process.
 */
#ifndef SB_CLI_PATHS_H
#define SB_CLI_PATHS_H

#include "core/base/base.h"

typedef struct sb_paths {
    const char *self;          /* this program */
    const char *modules;       /* our nginx modules */
    const char *lua;           /* folder that holds kong/ and fallback/ */
    const char *nginx;         /* the nginx program; NULL when there is none */
    const char *nginx_modules; /* the distribution's dynamic modules */
} sb_paths_t;

const sb_paths_t *sb_paths_get(void);
/* From now on Lua is taken from a copy there (see prefix.c): dir must stay valid. */
void sb_paths_use_lua(const char *dir);

#endif
