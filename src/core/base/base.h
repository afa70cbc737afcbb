/*
 * The ground everything in src/core stands on: result codes, the error object, strings, assertions.
 * Rule of three (docs/STYLE): SB_OK worked; SB_DECLINED is the user's mistake and *err says which; SB_ERROR is ours
 * (disk, memory, a bug) and *err says what. Every function that takes an sb_err_t fills it when it does not return SB_OK.
 */
#ifndef SB_BASE_H
#define SB_BASE_H

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SB_OK       0
#define SB_DECLINED 1
#define SB_ERROR    (-1)

/* Bytes with a length; not NUL-terminated unless a function says so. Never owns. */
typedef struct sb_str {
    const char *data;
    size_t len;
} sb_str_t;

#define SB_STR(literal) ((sb_str_t){(literal), sizeof(literal) - 1})

bool sb_str_eq(sb_str_t a, sb_str_t b);
bool sb_str_eqc(sb_str_t a, const char *cstr);
bool sb_str_ieq(sb_str_t a, sb_str_t b); /* ASCII case folded */
bool sb_str_starts(sb_str_t s, sb_str_t prefix);
/* Equal in time that depends only on the lengths; for secrets. */
bool sb_str_eq_consttime(sb_str_t a, sb_str_t b);
/* malloc'ed, NUL-terminated; never NULL (out of memory aborts). The caller frees. */
char *sb_strdup_len(const char *data, size_t len);
char *sb_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Memory that must be there: abort with a message on failure. */
void *sb_malloc(size_t n);
void *sb_calloc(size_t n);
void *sb_realloc(void *p, size_t n);

/* What cannot happen. Never used on input from network, file, store or plugin. */
void sb_panic(const char *file, int line, const char *what) __attribute__((noreturn));
#define SB_ASSERT(cond)        ((cond) ? (void)0 : sb_panic(__FILE__, __LINE__, #cond))
#define SB_CHECK_MAGIC(obj, m) SB_ASSERT((obj) != NULL && (obj)->magic == (m))

/* Interface error codes (facts/admin_api.json error_codes). */
enum sb_code {
    SB_E_NONE = 0,
    SB_E_INVALID_PRIMARY_KEY = 1,
    SB_E_SCHEMA_VIOLATION = 2,
    SB_E_PRIMARY_KEY_VIOLATION = 3,
    SB_E_FOREIGN_KEY_VIOLATION = 4,
    SB_E_UNIQUE_VIOLATION = 5,
    SB_E_NOT_FOUND = 6,
    SB_E_INVALID_OFFSET = 7,
    SB_E_DATABASE = 8,
    SB_E_INVALID_SIZE = 9,
    SB_E_INVALID_UNIQUE = 10,
    SB_E_INVALID_OPTIONS = 11,
    SB_E_OPERATION_UNSUPPORTED = 12,
    SB_E_FOREIGN_KEYS_UNRESOLVED = 13,
    SB_E_DECLARATIVE_CONFIG = 14,
    SB_E_TRANSFORMATION = 15,
    SB_E_INVALID_FOREIGN_KEY = 16,
    SB_E_INVALID_WORKSPACE = 17,
    SB_E_INVALID_UNIQUE_GLOBAL = 18,
    SB_E_REFERENCED_BY_OTHERS = 19,
};

/* An error: interface code, message, and for code 2, 3, 4, 5, 6, 13 … the `fields` object (11: options). Zero-initialise;
 * sb_err_clear() frees; setting twice replaces. */
typedef struct sb_err {
    int code;
    char *message;
    json_t *fields;
} sb_err_t;

/* Sets code and message (printf). Returns SB_DECLINED, or SB_ERROR for SB_E_DATABASE/SB_E_TRANSFORMATION, so that
 * `return sb_err_set(err, …)` reads well. err may be NULL. */
int sb_err_set(sb_err_t *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Same, and takes over `fields` (steals the reference). */
int sb_err_set_fields(sb_err_t *err, int code, json_t *fields, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Puts "context: " in front of the message. */
void sb_err_context(sb_err_t *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sb_err_clear(sb_err_t *err);
/* The interface's name of a code ("schema violation"), "" when unknown. */
const char *sb_err_name(int code);
/* Frees dst's content and moves src into it (src is left empty). */
void sb_err_move(sb_err_t *dst, sb_err_t *src);

#endif
