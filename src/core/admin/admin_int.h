/*
 * Inside the Admin API: the route table, one request's context, and the pieces that handlers are made of.
 *
 * A request: admin.c finds the route (routes.c), the query and the body become JSON objects (args.c, multipart.c, input.c), the route's
 * handler for the method calls the DAO and answers through answer.c.
 */
#ifndef SB_ADMIN_INT_H
#define SB_ADMIN_INT_H

#include "core/admin/admin.h"
#include "core/base/buf.h"
#include "core/base/json.h"

#define SB_ADMIN_MAX_PARAMS 3
#define SB_ADMIN_MAX_ARGS   1000

enum sb_admin_method { SB_M_GET, SB_M_POST, SB_M_PUT, SB_M_PATCH, SB_M_DELETE, SB_M_COUNT };

typedef struct sb_admin_call sb_admin_call_t;
/* Answers. SB_OK: writes are kept; SB_DECLINED: undone. */
typedef int (*sb_admin_handler_pt)(sb_admin_call_t *c);

/* One row: what a path answers. Patterns are made of literal segments and {name} segments, which match anything. */
typedef struct sb_admin_route {
    const char *pattern;
    sb_admin_handler_pt on[SB_M_COUNT];                              /* NULL: not allowed */
    const sb_entity_t *entity;                                       /* generated rows: what is listed, shown or written */
    const char *of;                                                  /* rows by hand that use generated rows' handlers: the entity's name */
    const sb_entity_t *parent;                                       /* nested rows: whose key comes first in the path */
    const sb_foreign_t *foreign;                                     /* the field that links the two */
    bool hidden;                                                     /* answers 404 although a generated row would match */
    enum { SB_ADMIN_ONLY, SB_ADMIN_AND_STATUS, SB_STATUS_ONLY } api; /* which of the two APIs has it */
    const char *param0; /* what stands in the pattern where others have their first parameter */
    const char *text;   /* what it is for, in the reference */
} sb_admin_route_t;

struct sb_admin {
    uint32_t magic;
    sb_admin_host_t host;
    sb_admin_route_t *routes; /* in order of precedence */
    size_t n;
    sb_pool_t *pool; /* patterns */
    char *openapi;   /* the document of GET /openapi, once it has been asked for; malloc'ed */
    size_t openapi_len;
};
#define SB_ADMIN_MAGIC 0x5342414du

struct sb_admin_call {
    sb_admin_t *admin;
    sb_store_t *store;
    const sb_admin_request_t *req;
    sb_admin_response_t *res;
    const sb_admin_route_t *route;
    enum sb_admin_method method;
    char *prefix;                     /* "/team": what names the workspace in the path, as sent; NULL: nothing. malloc'ed */
    char *param[SB_ADMIN_MAX_PARAMS]; /* decoded, malloc'ed */
    json_t *query;                    /* name → string, or array of strings when repeated */
    json_t *input;                    /* the body as an object, once read */
    sb_err_t err;
};

/* --- routes.c --- */
void sb_admin_routes_build(sb_admin_t *a);
/* Finds the first route whose pattern fits; fills param. path: raw, decoded per segment. NULL: none. */
const sb_admin_route_t *sb_admin_routes_find(const sb_admin_t *a, sb_str_t path, char **param);
/* Whether the i-th row is ever answered by: it is not hidden, and no earlier row has its pattern. */
bool sb_admin_routes_shown(const sb_admin_t *a, size_t i);
/* The path of an entity's collection, "/routes". malloc'ed. */
char *sb_admin_entity_path(const sb_entity_t *e);
/* What a child's collection is called under its parent: the last part of its path, or its shorter name. */
char *sb_admin_nested_name(const sb_entity_t *e);
/* "GET, HEAD, OPTIONS, …" sorted; malloc'ed. */
char *sb_admin_route_allow(const sb_admin_route_t *r);

/* --- args.c: application/x-www-form-urlencoded --- */
/* Percent-decoding; '+' stays. malloc'ed; *len may be NULL. */
char *sb_admin_unescape(sb_str_t in, size_t *len);
/* Everything but unreserved characters escaped. malloc'ed. */
char *sb_admin_escape(const char *text);
/* Adds name=value pairs to out (repeated names become arrays, in order). SB_DECLINED: more than SB_ADMIN_MAX_ARGS, or not UTF-8 (*utf8
 * false). */
int sb_admin_args_parse(sb_str_t in, json_t *out, bool *utf8);
/* Adds one pair. False when value or name is not UTF-8. */
bool sb_admin_args_add(json_t *out, const char *name, size_t name_len, const char *value, size_t value_len);

/* --- multipart.c --- */
/* The same from multipart/form-data. SB_DECLINED also when malformed (*ok false). */
int sb_admin_multipart_parse(sb_str_t content_type, sb_str_t body, json_t *out, bool *ok);

/* --- input.c --- */
/* Reads the body into c->input (an object, empty without a body), form fields typed by e's schema. SB_OK, or SB_DECLINED having answered
 * 400 or 415. e NULL: form fields stay text. plugin_name: see sb_schema_decode_form(). */
int sb_admin_read_input(sb_admin_call_t *c, const sb_entity_t *e, const char *plugin_name);
/* A query argument; NULL when absent. Repeated: the last. */
const char *sb_admin_query(const sb_admin_call_t *c, const char *name);

/* --- answer.c --- */
/* All take the value over and return SB_OK below 400, else SB_DECLINED, so that handlers can `return` them. */
int sb_admin_answer(sb_admin_call_t *c, int status, json_t *body);
/* With JSON text that stays the caller's. */
int sb_admin_answer_json(sb_admin_call_t *c, int status, const char *text, size_t len);
int sb_admin_answer_empty(sb_admin_call_t *c, int status);
int sb_admin_answer_message(sb_admin_call_t *c, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int sb_admin_answer_not_found(sb_admin_call_t *c);
/* Wants to be called again with what it asks for, which is taken over; see sb_admin_response_t. Only while c->req->told is NULL. */
int sb_admin_ask(sb_admin_call_t *c, json_t *ask);
/* By c->err; rc is what the failed function returned. */
int sb_admin_answer_error(sb_admin_call_t *c);
void sb_admin_add_header(sb_admin_response_t *res, const char *name, const char *value);
/* admin.c: the CORS headers for a request with that Origin (empty: none). s NULL: no settings. */
void sb_admin_add_cors(const sb_settings_t *s, sb_str_t asked, sb_admin_response_t *res);
/* The row as the interface shows it. New reference. */
json_t *sb_admin_present(sb_admin_call_t *c, const sb_entity_t *e, const json_t *row);
/* 200/201 with the row, which is taken over. */
int sb_admin_answer_row(sb_admin_call_t *c, int status, const sb_entity_t *e, json_t *row);

/* --- entity.c: generated endpoints --- */
int sb_admin_list(sb_admin_call_t *c);
int sb_admin_create(sb_admin_call_t *c);
int sb_admin_get(sb_admin_call_t *c);
int sb_admin_put(sb_admin_call_t *c);
int sb_admin_patch(sb_admin_call_t *c);
int sb_admin_delete(sb_admin_call_t *c);
/* content: a workspace with all that is in it. */
int sb_admin_delete_item(sb_admin_call_t *c, bool content);
/* Selects by path key: id, endpoint key, or what the hook knows. SB_DECLINED having answered. */
int sb_admin_select(sb_admin_call_t *c, const sb_entity_t *e, const char *key, json_t **row);
/* A page of e as the query asks; path: for the next link; field, parent_id: only a parent's children, NULL: all. */
int sb_admin_list_rows(sb_admin_call_t *c, const sb_entity_t *e, const char *path, const char *field, const char *parent_id);
/* Like sb_admin_read_input(), for a PATCH of the row with that path key. */
int sb_admin_read_patch(sb_admin_call_t *c, const sb_entity_t *e, const char *key);
/* Writes c->input and answers with the row. */
int sb_admin_write_insert(sb_admin_call_t *c, const sb_entity_t *e);
int sb_admin_write_item(sb_admin_call_t *c, const sb_entity_t *e, const char *key, bool upsert);

/* --- targets.c --- */
/* The upstream that the path names first. SB_DECLINED having answered. */
int sb_admin_targets_upstream(sb_admin_call_t *c, json_t **row);
/* A page of the upstream's targets, newest first, as the query asks; *token (malloc'ed): of the next page, NULL: none. SB_DECLINED
 * having answered. */
int sb_admin_targets_page(sb_admin_call_t *c, const char *upstream, json_t **rows, char **token);
/* All of them. NULL with c->err. */
json_t *sb_admin_targets_of(sb_admin_call_t *c, const char *upstream);
/* The target that the path names second, of the upstream that it names first. SB_DECLINED having answered. */
int sb_admin_targets_select(sb_admin_call_t *c, char upstream[SB_UUID_TEXT + 1], json_t **row);

/* --- nested.c: /services/{s}/routes and back --- */
int sb_admin_nested_list(sb_admin_call_t *c);
int sb_admin_nested_create(sb_admin_call_t *c);
int sb_admin_nested_get(sb_admin_call_t *c);
int sb_admin_nested_put(sb_admin_call_t *c);
int sb_admin_nested_patch(sb_admin_call_t *c);
int sb_admin_nested_delete(sb_admin_call_t *c);
int sb_admin_linked_get(sb_admin_call_t *c);
int sb_admin_linked_put(sb_admin_call_t *c);
int sb_admin_linked_patch(sb_admin_call_t *c);
int sb_admin_linked_delete(sb_admin_call_t *c);

/* --- page.c --- */
typedef struct sb_admin_page {
    sb_page_opts_t opts;
    char **tags;                       /* owned */
    const char *tags_text, *size_text; /* as given; NULL: not */
} sb_admin_page_t;
/* From the query; with_tags: a top-level collection of an entity that has tags. SB_DECLINED: c->err is set (codes 9, 11). */
int sb_admin_page_read(sb_admin_call_t *c, bool with_tags, sb_admin_page_t *p);
void sb_admin_page_free(sb_admin_page_t *p);
/* {"data": …, "next": …, "offset": …}; takes rows and token over. path: of the next link. */
int sb_admin_answer_page(sb_admin_call_t *c, json_t *rows, char *token, const char *path, const sb_admin_page_t *p);

/* --- what single entities have beyond their tables (hooks.c and the files it names); everything else is generated --- */
#define SB_NOT_MINE 2

typedef struct sb_admin_hook {
    const char *entity;
    /* MAY. The id that a path key that is no uuid stands for (certificates by SNI name), malloc'ed. create: a PUT, which may make up an
     * id for a key that does not exist yet. SB_OK, or SB_DECLINED having answered. */
    int (*key)(sb_admin_call_t *c, const char *key, bool create, char **id);
    /* MAY. The collection's GET with arguments of its own; SB_NOT_MINE: go on as usual. */
    int (*list)(sb_admin_call_t *c);
    const char *query; /* MAY. Those arguments' names, by spaces; see openapi_parts.c */
} sb_admin_hook_t;

extern const sb_admin_hook_t sb_admin_hook_certificates, sb_admin_hook_consumers;

/* Of an entity; a hook with no members when it has none. */
const sb_admin_hook_t *sb_admin_hook(const sb_entity_t *e);

#endif
