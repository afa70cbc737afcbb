/* The error object; see base.h. */
#include "core/base/base.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const names[] = {
    [SB_E_INVALID_PRIMARY_KEY] = "invalid primary key",
    [SB_E_SCHEMA_VIOLATION] = "schema violation",
    [SB_E_PRIMARY_KEY_VIOLATION] = "primary key violation",
    [SB_E_FOREIGN_KEY_VIOLATION] = "foreign key violation",
    [SB_E_UNIQUE_VIOLATION] = "unique constraint violation",
    [SB_E_NOT_FOUND] = "not found",
    [SB_E_INVALID_OFFSET] = "invalid offset",
    [SB_E_DATABASE] = "database error",
    [SB_E_INVALID_SIZE] = "invalid size",
    [SB_E_INVALID_UNIQUE] = "invalid unique",
    [SB_E_INVALID_OPTIONS] = "invalid options",
    [SB_E_OPERATION_UNSUPPORTED] = "operation unsupported",
    [SB_E_FOREIGN_KEYS_UNRESOLVED] = "foreign keys unresolved",
    [SB_E_DECLARATIVE_CONFIG] = "invalid declarative configuration",
    [SB_E_TRANSFORMATION] = "transformation error",
    [SB_E_INVALID_FOREIGN_KEY] = "invalid foreign key",
    [SB_E_INVALID_WORKSPACE] = "invalid workspace",
    [SB_E_INVALID_UNIQUE_GLOBAL] = "invalid global query",
    [SB_E_REFERENCED_BY_OTHERS] = "referenced by others",
};

static int
result_of(int code)
{
    return code == SB_E_DATABASE || code == SB_E_TRANSFORMATION ? SB_ERROR : SB_DECLINED;
}

static void
set_v(sb_err_t *err, int code, json_t *fields, const char *fmt, va_list ap)
{
    char *message = NULL;

    /* The message is made before the old one goes: callers may quote it. */
    if (vasprintf(&message, fmt, ap) < 0)
        sb_panic(__FILE__, __LINE__, "out of memory");
    sb_err_clear(err);
    err->code = code;
    err->message = message;
    err->fields = fields;
}

int
sb_err_set(sb_err_t *err, int code, const char *fmt, ...)
{
    va_list ap;

    if (err != NULL) {
        va_start(ap, fmt);
        set_v(err, code, NULL, fmt, ap);
        va_end(ap);
    }
    return result_of(code);
}

int
sb_err_set_fields(sb_err_t *err, int code, json_t *fields, const char *fmt, ...)
{
    va_list ap;

    if (err == NULL) {
        json_decref(fields);
        return result_of(code);
    }
    va_start(ap, fmt);
    set_v(err, code, fields, fmt, ap);
    va_end(ap);
    return result_of(code);
}

void
sb_err_context(sb_err_t *err, const char *fmt, ...)
{
    char *prefix = NULL, *message;
    va_list ap;

    if (err == NULL || err->message == NULL)
        return;
    va_start(ap, fmt);
    if (vasprintf(&prefix, fmt, ap) < 0)
        sb_panic(__FILE__, __LINE__, "out of memory");
    va_end(ap);
    message = sb_asprintf("%s: %s", prefix, err->message);
    free(prefix);
    free(err->message);
    err->message = message;
}

void
sb_err_clear(sb_err_t *err)
{
    if (err == NULL)
        return;
    free(err->message);
    json_decref(err->fields);
    *err = (sb_err_t){0};
}

void
sb_err_move(sb_err_t *dst, sb_err_t *src)
{
    sb_err_clear(dst);
    *dst = *src;
    *src = (sb_err_t){0};
}

const char *
sb_err_name(int code)
{
    if (code <= 0 || (size_t)code >= sizeof(names) / sizeof(names[0]) || names[code] == NULL)
        return "";
    return names[code];
}
