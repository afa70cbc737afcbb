/* A record in memory with the Admin functions over it, for the tests of this folder. */
#ifndef ADMIN_SUPPORT_H
#define ADMIN_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/admin/admin.h"
#include "core/base/buf.h"
#include "core/base/json.h"
#include "silverback/plugin.h"

typedef struct node {
    sb_store_t *store;
    sb_admin_t *admin;
    sb_admin_response_t res; /* of the last call */
    json_t *body;            /* of the last call; NULL: none */
    int level, level_timeout;
} node_t;

static int
host_level(void *arg)
{
    return ((node_t *)arg)->level;
}

static void
host_set_level(int level, int timeout, void *arg)
{
    node_t *n = arg;
    n->level = level;
    n->level_timeout = timeout;
}

static json_t *
host_memory(void *arg)
{
    (void)arg;
    return json_pack("{s:{s:{s:i,s:i}},s:[{s:i,s:i}]}", "lua_shared_dicts", "kong", "capacity", 5242880, "allocated_slabs", 1024,
                     "workers_lua_vms", "pid", 77, "http_allocated_gc", 2097152);
}

static json_t *
host_counters(void *arg)
{
    (void)arg;
    return json_pack("{s:i}", "total_requests", 3);
}

static json_t *
host_pids(void *arg)
{
    (void)arg;
    return json_pack("{s:i,s:[i]}", "master", 1, "workers", 2);
}

/* A plugin "unit" with one number in its config. */
static void
add_unit_plugin(void)
{
    static const struct sb_field word = {.type = SB_T_STRING};
    static const struct sb_field config[] = {{.name = "size", .type = SB_T_INTEGER, .default_json = "1", .description = "A number."},
                                             {.name = "words", .type = SB_T_ARRAY, .elements = &word, .description = "Words."},
                                             SB_FIELD_END};
    static const struct sb_field fields[] = {
        {.name = "config", .type = SB_T_RECORD, .required = 1, .fields = config, .description = "Configuration."}, SB_FIELD_END};
    static const struct sb_schema_def def = {.name = "unit", .fields = fields};
    static sb_plugin_schema_t ps = {.name = "unit", .priority = 7, .version = "1.2.3"};

    ps.schema = sb_schema_from_table(&def);
    sb_plugin_schemas_add(&ps);
}

static inline int
node_setup(void **state)
{
    node_t *n = sb_calloc(sizeof(*n));
    sb_store_config_t cfg = {.in_memory = true};
    sb_err_t err = {0};
    sb_admin_host_t host = {.node_id = "8a3b1c6e-0000-4000-8000-000000000000",
                            .hostname = "unit-host",
                            .lua_version = "LuaJIT",
                            .memory = host_memory,
                            .counters = host_counters,
                            .pids = host_pids,
                            .log_level = host_level,
                            .set_log_level = host_set_level,
                            .arg = n};

    sb_entities_init();
    if (sb_plugin_schemas_find("unit") == NULL)
        add_unit_plugin();
    assert_int_equal(sb_store_open(&sb_store_sqlite, &cfg, &n->store, &err), SB_OK);
    n->level = 5;
    n->admin = sb_admin_new(&host);
    *state = n;
    return 0;
}

static inline int
node_teardown(void **state)
{
    node_t *n = *state;

    json_decref(n->body);
    sb_admin_response_free(&n->res);
    sb_admin_free(n->admin);
    sb_store_close(n->store);
    free(n);
    return 0;
}

/* One request as the store thread runs it: a write that is declined is undone. Returns the status. */
static int
call_as(node_t *n, const char *method, const char *url, const char *type, const char *body)
{
    const char *mark = strchr(url, '?');
    sb_admin_request_t req = {.method = {method, strlen(method)},
                              .path = {url, mark != NULL ? (size_t)(mark - url) : strlen(url)},
                              .query = {mark != NULL ? mark + 1 : "", mark != NULL ? strlen(mark + 1) : 0},
                              .content_type = {type, strlen(type)},
                              .body = {body, strlen(body)}};
    sb_err_t err = {0};
    int rc;

    json_decref(n->body);
    sb_admin_response_free(&n->res);
    assert_int_equal(sb_store_begin(n->store, &err), SB_OK);
    rc = sb_admin_handle(n->admin, n->store, &req, &n->res);
    assert_int_equal(rc == SB_OK, n->res.status < 400);
    if (rc == SB_OK)
        assert_int_equal(sb_store_commit(n->store, &err), SB_OK);
    else
        sb_store_rollback(n->store);
    n->body = n->res.body != NULL ? json_loadb(n->res.body, n->res.body_len, JSON_DECODE_ANY, NULL) : NULL;
    assert_true(n->res.body == NULL || n->body != NULL);
    return n->res.status;
}

static inline int
call(node_t *n, const char *method, const char *url, const char *json)
{
    return call_as(n, method, url, json != NULL ? "application/json" : "", json != NULL ? json : "");
}

static inline int
form(node_t *n, const char *method, const char *url, const char *body)
{
    return call_as(n, method, url, "application/x-www-form-urlencoded", body);
}

/* The body equals this JSON text. */
static inline void
expect_body(node_t *n, const char *json)
{
    json_t *want = json_loads(json, JSON_DECODE_ANY, NULL);

    assert_non_null(want);
    if (!json_equal(n->body, want))
        fail_msg("got %s\nnot %s", n->res.body, json);
    json_decref(want);
}

static inline const char *
header(node_t *n, const char *name)
{
    for (size_t i = 0; i < n->res.n_headers; i++) {
        if (strcmp(n->res.headers[i].name, name) == 0)
            return n->res.headers[i].value;
    }
    return NULL;
}

static inline const char *
text(node_t *n, const char *field)
{
    return sb_json_string(n->body, field);
}

/* How many rows a collection has. */
static inline size_t
count_rows(node_t *n, const char *url)
{
    assert_int_equal(call(n, "GET", url, NULL), 200);
    return json_array_size(json_object_get(n->body, "data"));
}

#endif
