/* URL paths in their normal form. */
#ifndef SB_PATH_H
#define SB_PATH_H

#include "core/base/base.h"

/* Dot segments removed, repeated slashes merged, unreserved %XX decoded, other %xx upper-cased. Writes at most `len` bytes to
 * `out`, which may be `path` itself; returns the length. A '%' without two hex digits is kept as it is. */
size_t sb_path_normalise(const char *path, size_t len, char *out);

#endif
