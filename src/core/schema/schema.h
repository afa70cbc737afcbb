/*
 * The schema engine: field tables in, validation, defaults, transformations, form decoding and descriptions out.
 * One table (native C, or built from the JSON form that a Lua schema.lua is turned into) is the only place where a
 * field's facts stand. Facts: entities.json schema_semantics, validators; validation_examples.json.
 *
 * Values are jansson; "unset" is JSON null in rows that have been processed, absent in input.
 * A schema is immutable once made and may be read from any thread; custom Lua checks go through sb_schema_hooks_t.
 */
#ifndef SB_SCHEMA_H
#define SB_SCHEMA_H

#include "core/base/base.h"
#include "core/base/pool.h"
#include "silverback/schema.h" /* struct sb_field, the field table rows: public, plugins write them too */

typedef struct sb_schema sb_schema_t;

enum sb_op { SB_OP_INSERT, SB_OP_UPDATE, SB_OP_UPSERT }; /* POST; PATCH; PUT */

/* What a check may need from its host. All optional; NULL members fall back to the real thing or to "cannot". */
typedef struct sb_schema_hooks {
    double (*now)(void *arg);              /* seconds with fraction; NULL: the clock */
    void (*uuid)(void *arg, char out[37]); /* NULL: sb_uuid_v4 */
    /* Runs the Lua function `ref` (a custom_validator, custom_entity_check, shorthand func or transformation of a Lua schema) on
     * `value`. SB_OK (for shorthands and transformations *out is the object to merge, a new reference or NULL), SB_DECLINED with
     * err->message (empty or NULL: the generic text), SB_ERROR. */
    int (*lua_call)(void *arg, const char *plugin, int ref, json_t *value, json_t **out, sb_err_t *err);
    void *arg;
    bool expressions; /* router_flavor=expressions: the variant tables apply */
    bool traditional; /* router_flavor=traditional: likewise */
} sb_schema_hooks_t;

/* --- making schemas --- */

/* From a native table. `def` must outlive the schema (static). Aborts on a malformed table: it is our bug. */
sb_schema_t *sb_schema_from_table(const struct sb_schema_def *def);
/* From the JSON form of a Lua plugin schema (facts form: {"name","fields":[{"name":{…}}…],"entity_checks":[…]}; functions
 * appear as {"lua_ref": n}). *err names the field and what is wrong with its definition (metaschema violations). */
int sb_schema_from_json(const char *name, const json_t *def, sb_schema_t **out, sb_err_t *err);
void sb_schema_free(sb_schema_t *s);
/* The /schemas answer: {"fields":[{"name":{…}}…],"entity_checks":[…], …}. New reference. */
json_t *sb_schema_describe(const sb_schema_t *s);
/* The schema that applies under a router flavour (hooks NULL: the default one); s itself when it has no variants. Borrowed.
 * sb_schema_process() chooses by itself; describe and decode_form work on what they are given. */
const sb_schema_t *sb_schema_variant(const sb_schema_t *s, const sb_schema_hooks_t *hooks);
const char *sb_schema_name(const sb_schema_t *s);
/* What a schema object of OpenAPI describes: the row as it is shown, what creates or replaces one (POST, PUT), what changes one (PATCH). */
enum sb_shape { SB_SHAPE_ANSWER, SB_SHAPE_NEW, SB_SHAPE_CHANGE };
/* The row as a schema object of OpenAPI 3.0. sub: with the overrides of that subschema (a plugin's or vault's name), NULL: the base alone.
 * Constraints that OpenAPI cannot say are "x-" members. New reference; NULL when there is no such subschema. */
json_t *sb_schema_openapi(const sb_schema_t *s, const char *sub, enum sb_shape shape);

/* --- plugin configurations ("config" of the plugins entity is chosen by `name`) --- */

typedef struct sb_plugin_schema {
    const char *name;
    const sb_schema_t *schema;      /* whole plugin schema: top level overrides (protocols, consumer …) and config */
    const struct sb_plugin *native; /* NULL for Lua */
    int priority;
    const char *version;
} sb_plugin_schema_t;

/* The set of enabled plugins; filled once at start (native registry, then Lua), then read-only. */
void sb_plugin_schemas_add(const sb_plugin_schema_t *ps);
const sb_plugin_schema_t *sb_plugin_schemas_find(const char *name); /* NULL: not enabled */
const sb_plugin_schema_t *const *sb_plugin_schemas_all(size_t *n);  /* by priority descending, name descending */
void sb_plugin_schemas_clear(void);                                 /* tests */

/* --- using schemas --- */

/*
 * Validates `input` (an object; not changed) for `op` and returns the complete row in *out (new reference): shorthands
 * translated, defaults and auto fields filled, sets deduplicated, unset fields null. For SB_OP_UPDATE `current` is the
 * stored row: the result is the merged row, rules as in facts (records merge, null resets). Otherwise current is NULL, or
 * for UPSERT the row that is replaced.
 * Foreign fields must already be {"id": …} objects. Errors: code 2 with `fields` in the interface's shape and texts.
 * Entities with ttl: input "ttl" is seconds from now (0 or null: none); the row's "ttl" is the time of expiry in seconds.
 * Transient fields (certificates.snis) are in *out only when the input had them; whoever stores the row takes them out.
 */
int sb_schema_process(const sb_schema_t *s, enum sb_op op, const json_t *input, const json_t *current, const sb_schema_hooks_t *hooks,
                      json_t **out, sb_err_t *err);

/* Runs the row's on_read transformations, in place: the row as its table's and its plugin's authors want it handed out. SB_ERROR code 15,
 * or what the hook said. */
int sb_schema_read(const sb_schema_t *s, json_t *row, const sb_schema_hooks_t *hooks, sb_err_t *err);

/* What the Admin API shows of a stored row: adds write-through deprecated shorthands, computes ttl; new reference. */
json_t *sb_schema_present(const sb_schema_t *s, const json_t *row);

/* Form arguments (name → string or array of strings, in order) to an object, typed by the schema (NULL: untyped).
 * Array, nested and map key forms as facts/admin_api.json form_encoding. For `plugins` the config's schema is found by
 * the form's own "name", or `plugin_name` when given (PATCH). New reference; unparsable values stay strings, so that
 * validation reports them. */
json_t *sb_schema_decode_form(const sb_schema_t *s, const char *plugin_name, const json_t *args);

/* Fills the C struct that a native table's offsets describe from a processed value. Strings and arrays live in `pool`.
 * SB_ERROR when the value does not fit the table (then it was not processed by it). */
int sb_schema_decode_struct(const struct sb_field *fields, const json_t *value, sb_pool_t *pool, void *out, sb_err_t *err);

/* Lua-pattern matching ("%" patterns of validators and plugins). true when `pattern` is found in text. Malformed patterns match
 * nothing; so does a search that would take more than a bounded number of steps. */
bool sb_lua_pattern_match(const char *text, size_t len, const char *pattern);
/* NULL when `pattern` is well formed, else what is wrong with it (static text). */
const char *sb_lua_pattern_error(const char *pattern);

/* "schema violation (…)" / "n schema violations (a; b)" of an errors object. malloc'ed. */
char *sb_schema_errors_text(const json_t *errors);
/* Puts `fields` (stolen) into *err as code 2 with that text. Returns SB_DECLINED. */
int sb_schema_violation(sb_err_t *err, json_t *fields);

#endif
