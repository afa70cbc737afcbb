/*
 * Insides of the schema engine. A table is compiled into a tree of nodes once: JSON texts parsed, checks' constraint rows
 * compiled. The tree never changes afterwards.
 */
#ifndef SB_SCHEMA_INT_H
#define SB_SCHEMA_INT_H

#include "core/base/json.h"
#include "core/schema/schema.h"

struct sb_check_node;

struct sb_node {
    const struct sb_field *f;
    bool required;
    json_t *dflt;    /* NULL: none */
    json_t *eq, *ne; /* NULL: not constrained */
    struct sb_node *elements, *keys, *values;
    struct sb_node *fields; /* of a record */
    size_t n_fields;
    struct sb_check_node *checks; /* of a record */
    size_t n_checks;
    const struct sb_shorthand *shorthands; /* of a record; may be NULL */
};

struct sb_check_node {
    const struct sb_entity_check *c;
    struct sb_node *if_match, *then_match, *else_match; /* NULL: absent */
};

struct sb_sub {
    const char *key;
    struct sb_node root; /* a record of the overriding fields and the additional checks */
};

struct sb_schema {
    uint32_t magic;
    const char *name;
    const struct sb_schema_def *def;
    sb_pool_t *pool;     /* nodes, and the rows made from JSON */
    struct sb_node root; /* a record */
    struct sb_sub *subs;
    size_t n_subs;
    sb_schema_t *expressions, *traditional; /* variants; NULL: as this one */
};

#define SB_SCHEMA_MAGIC 0x5b5c3a01u

/* One processing: the caller's hooks, and what went wrong beside violations (a Lua call that broke). */
typedef struct sb_pass {
    const sb_schema_hooks_t *hooks;
    enum sb_op op;
    const char *plugin; /* for lua_call */
    double now;
    json_t *current; /* borrowed; NULL on insert */
    sb_err_t *err;
    bool failed; /* err is set: give up with SB_ERROR */
} sb_pass_t;

/* compile.c */
void sb_node_compile_record(sb_pool_t *pool, struct sb_node *n, const struct sb_field *fields, const struct sb_entity_check *checks,
                            const struct sb_shorthand *shorthands);
void sb_node_compile(sb_pool_t *pool, struct sb_node *n, const struct sb_field *f);
struct sb_node *sb_node_field(const struct sb_node *record, const char *name);
/* The nodes that apply to a row: `sub`'s fields in place of the base's. `out` gets a field array to free() with sb_node_merge_free. */
void sb_node_merge(const struct sb_node *base, const struct sb_node *sub, struct sb_node *out);
void sb_node_merge_free(struct sb_node *merged);
/* For plugins the enabled plugin of that name, else the fixed subschema; NULL: none. *plugin is its name for lua_call. */
const struct sb_node *sb_schema_sub(const sb_schema_t *s, const char *key);
bool sb_schema_has_subs(const sb_schema_t *s);

/* fill.c: defaults, generated values, deduplicated sets; `obj` is taken apart, a new object in table order comes back. */
json_t *sb_fill_record(sb_pass_t *p, const struct sb_node *n, json_t *obj);

/* validate.c: NULL when fine, else the error (string, object or array), a new reference. */
json_t *sb_validate_value(sb_pass_t *p, const struct sb_node *n, const json_t *value);
/* Fields and unknown names of a record; `root` accepts updated_at (and ttl). New reference, maybe empty. */
json_t *sb_validate_fields(sb_pass_t *p, const struct sb_node *n, const json_t *obj);
bool sb_value_equal(const json_t *a, const json_t *b);
bool sb_value_empty(const json_t *v); /* absent, null, {} or [] */

/* checks.c: adds to `errors`. `all` holds the nodes of the record, for fields' existence. */
void sb_run_checks(sb_pass_t *p, const struct sb_node *n, const json_t *entity, json_t *errors);

/* shorthand.c */
void sb_shorthands_translate(sb_pass_t *p, const struct sb_node *n, json_t *obj, json_t *errors);
void sb_shorthands_echo(const struct sb_node *n, json_t *obj);
/* Deep merge of `from` into `into`: objects merge, everything else replaces. */
void sb_merge_into(json_t *into, const json_t *from);

/* transform.c. Each SB_OK, or SB_ERROR with p->err. of_plugin: the list is a plugin schema's, which may change `config` alone. */
bool sb_transforms_given(const struct sb_transformation *t); /* sb_transform_write() will ask for `given` */
/* given: what the request gave, shorthands translated; only asked for by functions in Lua. */
int sb_transform_write(sb_pass_t *p, const struct sb_transformation *t, const json_t *given, json_t *row, bool of_plugin);
int sb_transform_read(sb_pass_t *p, const struct sb_transformation *t, json_t *row, bool of_plugin);

/* paths.c: dotted paths in JSON objects, and values as text */
json_t *sb_path_get(const json_t *obj, const char *path);            /* borrowed; NULL when absent */
void sb_path_set(json_t *obj, const char *path, json_t *value);      /* steals value; makes objects on the way */
void sb_errors_set(json_t *errors, const char *path, json_t *error); /* steals; keeps a text error that covers the path */
void sb_errors_add_entity(json_t *errors, const char *text);         /* appends to "@entity" */
char *sb_value_text(const json_t *v);                                /* as messages show it; malloc'ed */
char *sb_quoted_list(const char *const *names);                      /* 'a', 'b'; malloc'ed */

/* errors from Lua */
json_t *sb_pass_lua(sb_pass_t *p, int ref, json_t *value, json_t **out, const json_t *shown);

/* from_json*.c: what builds rows out of JSON. Rows live in the pool; the first mistake ends it, err then names the field. */
typedef struct sb_json_def {
    sb_pool_t *pool;
    sb_err_t *err;
    char path[512]; /* of the field being read, for messages */
    unsigned depth;
} sb_json_def_t;

/* Each returns false with err set. An empty object counts as an empty list: Lua tables do not tell them apart. */
bool sb_def_fields(sb_json_def_t *d, const json_t *v, const struct sb_field **out);
bool sb_def_field(sb_json_def_t *d, const json_t *v, struct sb_field *f);
bool sb_def_row(sb_json_def_t *d, const char *what, const json_t *v, const struct sb_field **out);       /* an unnamed row */
bool sb_def_match_row(sb_json_def_t *d, const char *what, const json_t *v, const struct sb_field **out); /* type not required */
bool sb_def_checks(sb_json_def_t *d, const json_t *v, const struct sb_entity_check **out);
bool sb_def_shorthands(sb_json_def_t *d, const json_t *v, const struct sb_shorthand **out);
bool sb_def_transformations(sb_json_def_t *d, const json_t *v, const struct sb_transformation **out);
bool sb_def_names(sb_json_def_t *d, const char *what, const json_t *v, const char *const **out);
bool sb_def_lua_ref(sb_json_def_t *d, const char *what, const json_t *v, int *out);
bool sb_def_is_list(const json_t *v);
bool sb_def_error(sb_json_def_t *d, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* false */
/* Goes into / comes out of a named part: path grows and shrinks. `mark` is what enter returned. */
size_t sb_def_enter(sb_json_def_t *d, const char *name);
void sb_def_leave(sb_json_def_t *d, size_t mark);

/* validators.c: the C validator of a name as facts spell it ("host"); NULL: none */
sb_validator_pt sb_validator_find(const char *name);

#endif
