/* Goes over the directives of a configuration file and of those that it includes, as nginx would. */
#ifndef SB_CLI_NGINX_WALK_H
#define SB_CLI_NGINX_WALK_H

#include "core/base/nginx_scan.h"

/* `block`: the name of the block that the directive stands in, that of the include for the top level of an included file; "" outside of
 * all. Other than SB_OK ends the walk, which returns it. */
typedef int (*sb_nginx_walk_pt)(const sb_nginx_directive_t *d, const char *block, void *arg, sb_err_t *err);

/* Relative includes are looked for in `prefix`. Included files that are not there are passed over: nginx complains about them. SB_DECLINED:
 * a file is not a configuration; SB_ERROR: the first file cannot be read. */
int sb_nginx_walk(const char *path, const char *prefix, sb_nginx_walk_pt fn, void *arg, sb_err_t *err);
/* The same for what an include names: a file or a pattern. */
int sb_nginx_walk_include(const char *name, const char *prefix, sb_nginx_walk_pt fn, void *arg, sb_err_t *err);

#endif
