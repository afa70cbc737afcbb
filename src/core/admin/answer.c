/*
 * Responses of the Admin API: rows, messages, and the error object turned into status and body. The HTTP status of a code is chosen
 * here and nowhere else (STYLE 11).
 */
#include "core/admin/admin_int.h"

#include "core/base/log.h"

#include <stdlib.h>
#include <string.h>

#define UNEXPECTED "An unexpected error occurred"
#define JSON_TYPE  "application/json; charset=utf-8"

void
sb_admin_add_header(sb_admin_response_t *res, const char *name, const char *value)
{
    res->headers = sb_realloc(res->headers, (res->n_headers + 1) * sizeof(*res->headers));
    res->headers[res->n_headers++] = (sb_admin_header_t){sb_strdup_len(name, strlen(name)), sb_strdup_len(value, strlen(value))};
}

static void
set_body(sb_admin_response_t *res, int status, json_t *body)
{
    res->status = status;
    free(res->body);
    res->body = body != NULL ? sb_json_dump_len(body, &res->body_len) : NULL;
    if (body == NULL)
        res->body_len = 0;
    else
        sb_admin_add_header(res, "Content-Type", JSON_TYPE);
    json_decref(body);
}

static json_t *
message_body(const char *text)
{
    return json_pack("{s:s}", "message", text);
}

int
sb_admin_answer(sb_admin_call_t *c, int status, json_t *body)
{
    SB_ASSERT(body != NULL);
    set_body(c->res, status, body);
    return status < 400 ? SB_OK : SB_DECLINED;
}

int
sb_admin_answer_json(sb_admin_call_t *c, int status, const char *text, size_t len)
{
    c->res->status = status;
    free(c->res->body);
    c->res->body = sb_strdup_len(text, len);
    c->res->body_len = len;
    sb_admin_add_header(c->res, "Content-Type", JSON_TYPE);
    return status < 400 ? SB_OK : SB_DECLINED;
}

int
sb_admin_answer_empty(sb_admin_call_t *c, int status)
{
    set_body(c->res, status, NULL);
    return SB_OK;
}

int
sb_admin_answer_message(sb_admin_call_t *c, int status, const char *fmt, ...)
{
    va_list ap;
    char *s = NULL;
    int rc;

    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0)
        sb_panic(__FILE__, __LINE__, "out of memory");
    va_end(ap);
    rc = sb_admin_answer(c, status, message_body(s));
    free(s);
    return rc;
}

int
sb_admin_answer_not_found(sb_admin_call_t *c)
{
    return sb_admin_answer_message(c, 404, "Not found");
}

int
sb_admin_ask(sb_admin_call_t *c, json_t *ask)
{
    SB_ASSERT(c->req->told == NULL);
    sb_admin_response_free(c->res);
    c->res->ask = ask;
    return SB_DECLINED;
}

/* 0: an error of ours, whose details are for the log only. */
static int
status_of(int code)
{
    static const int table[] = {
        [SB_E_INVALID_PRIMARY_KEY] = 400,   [SB_E_SCHEMA_VIOLATION] = 400,      [SB_E_PRIMARY_KEY_VIOLATION] = 400,
        [SB_E_FOREIGN_KEY_VIOLATION] = 400, [SB_E_UNIQUE_VIOLATION] = 409,      [SB_E_NOT_FOUND] = 404,
        [SB_E_INVALID_OFFSET] = 400,        [SB_E_INVALID_SIZE] = 400,          [SB_E_INVALID_UNIQUE] = 400,
        [SB_E_INVALID_OPTIONS] = 400,       [SB_E_OPERATION_UNSUPPORTED] = 405, [SB_E_FOREIGN_KEYS_UNRESOLVED] = 400,
        [SB_E_DECLARATIVE_CONFIG] = 400,    [SB_E_REFERENCED_BY_OTHERS] = 400,
    };

    return code > 0 && (size_t)code < sizeof(table) / sizeof(table[0]) ? table[code] : 0;
}

int
sb_admin_error_status(int code)
{
    int status = status_of(code);

    return status != 0 ? status : 500;
}

int
sb_admin_answer_error(sb_admin_call_t *c)
{
    const sb_err_t *e = &c->err;
    int status = status_of(e->code);
    json_t *body;

    if (status == 404)
        return sb_admin_answer_not_found(c);
    if (status == 0) {
        sb_log(SB_LOG_ERR, "admin: %.*s %.*s: %s", (int)c->req->method.len, c->req->method.data, (int)c->req->path.len, c->req->path.data,
               e->message != NULL ? e->message : "unknown error");
        return sb_admin_answer_message(c, 500, UNEXPECTED);
    }
    body = json_pack("{s:i,s:s,s:s}", "code", e->code, "name", sb_err_name(e->code), "message", e->message);
    if (e->fields != NULL)
        json_object_set(body, e->code == SB_E_INVALID_OPTIONS ? "options" : "fields", e->fields);
    return sb_admin_answer(c, status, body);
}

json_t *
sb_admin_present(sb_admin_call_t *c, const sb_entity_t *e, const json_t *row)
{
    return sb_schema_present(e->schema, row);
}

int
sb_admin_answer_row(sb_admin_call_t *c, int status, const sb_entity_t *e, json_t *row)
{
    int rc = sb_admin_answer(c, status, sb_admin_present(c, e, row));

    json_decref(row);
    return rc;
}

/* ---------- without a call ---------- */

void
sb_admin_response_free(sb_admin_response_t *res)
{
    for (size_t i = 0; i < res->n_headers; i++) {
        free(res->headers[i].name);
        free(res->headers[i].value);
    }
    free(res->headers);
    free(res->body);
    json_decref(res->ask);
    *res = (sb_admin_response_t){0};
}

static const char *
text_of(int status)
{
    switch (status) {
    case 400:
        return "Bad request";
    case 404:
        return "Not found";
    case 405:
        return "Method not allowed";
    case 408:
        return "Request timeout";
    case 411:
        return "Length required";
    case 412:
        return "Precondition failed";
    case 413:
        return "Payload too large";
    case 414:
        return "URI too long";
    case 415:
        return "Unsupported media type";
    case 417:
        return "Expectation failed";
    case 494:
        return "Request header or cookie too large";
    case 503:
        return "Service unavailable";
    default:
        return status < 500 ? "Bad request" : UNEXPECTED;
    }
}

void
sb_admin_http_error(const sb_settings_t *s, sb_str_t origin, int status, sb_admin_response_t *res)
{
    sb_admin_response_free(res);
    sb_admin_add_cors(s, origin, res);
    /* 494 to 497 are nginx's own numbers for kinds of 400. */
    set_body(res, status > 493 && status < 500 ? 400 : status, message_body(text_of(status)));
}
