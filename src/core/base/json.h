/* Small helpers over jansson; every getter borrows. */
#ifndef SB_JSON_H
#define SB_JSON_H

#include "core/base/base.h"

/* Absent and null are the same to all of these. */
const char *sb_json_string(const json_t *obj, const char *key);            /* NULL when absent or not a string */
int64_t sb_json_int(const json_t *obj, const char *key, int64_t fallback); /* integers and whole reals */
bool sb_json_bool(const json_t *obj, const char *key, bool fallback);
json_t *sb_json_get(const json_t *obj, const char *key); /* NULL when absent or null */
/* Whether two objects have equal values under key. */
bool sb_json_same(const json_t *a, const json_t *b, const char *key);
/* id of a foreign field {"id": "…"}; NULL when absent. */
const char *sb_json_foreign_id(const json_t *obj, const char *field);
/* Compact text, malloc'ed; "/" unescaped, UTF-8 kept, whole reals without exponent surprises. */
char *sb_json_dump(const json_t *value);
char *sb_json_dump_len(const json_t *value, size_t *len);
/* Parses any value; whole numbers beyond 64 bits become reals. On failure NULL, and *err (may be NULL) code 0 with line and reason. Depth
 * and size are bounded. */
json_t *sb_json_parse(const char *text, size_t len, sb_err_t *err);

#endif
