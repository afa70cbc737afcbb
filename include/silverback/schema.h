/*
 * Field tables: the rows from which validation, defaults, C structs, columns, JSON, forms, /schemas and reference docs follow.
 * Public: entities in src/core/entities and native plugins write them. A table is an array of struct sb_field ended by
 * SB_FIELD_END. Members left out are zero and mean "not constrained". Facts: entities.json (validators, schema_semantics).
 */
#ifndef SILVERBACK_SCHEMA_H
#define SILVERBACK_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sb_type {
    SB_T_END,
    SB_T_STRING,
    SB_T_INTEGER,
    SB_T_NUMBER,
    SB_T_BOOLEAN,
    SB_T_ARRAY,
    SB_T_SET,
    SB_T_MAP,
    SB_T_RECORD,
    SB_T_FOREIGN,
    SB_T_JSON
};

enum sb_on_delete { SB_RESTRICT, SB_CASCADE, SB_SET_NULL };

struct sb_pattern {
    const char *pattern;
    const char *err;
}; /* Lua pattern; err NULL: the generic text */

/* A C check on one value. Returns NULL when fine, else the error text: static, or written to buf. `value` is a json_t *. */
typedef const char *(*sb_validator_pt)(const void *value, char *buf, size_t buflen);

struct sb_field {
    const char *name; /* NULL for elements, keys, values */
    enum sb_type type;
    const char *description;  /* required for public docs */
    const char *default_json; /* JSON text of the default; NULL: none */
    unsigned required : 1, unique : 1, automatic : 1, uuid : 1, timestamp : 1, referenceable : 1, encrypted : 1, immutable : 1,
        is_regex : 1, abstract : 1, unique_across_ws : 1, indexed : 1, len_min_set : 1, has_between : 1, eq_null : 1, len_eq_set : 1,
        hide : 1, not_required : 1 /* a record that may be null */,
        transient : 1 /* accepted and validated, present in a processed row only when given, never stored */,
        sparse : 1 /* left out of a row where it is null */;
    double between[2]; /* with has_between */
    const double *gt;
    const char *eq_json, *ne_json; /* JSON text */
    const char *err;               /* replaces the text of eq/ne/… checks */
    int len_min, len_max, len_eq;  /* 0: unset, unless len_min_set, len_eq_set */
    const char *starts_with;
    const char *const *one_of; /* NULL-ended; numbers as text */
    const char *const *not_one_of;
    const struct sb_pattern *match;                  /* single */
    const struct sb_pattern *not_match;              /* single */
    const struct sb_pattern *match_all, *match_none; /* ended by {NULL} */
    const char *const *match_any;
    const char *match_any_err;
    const char *contains;
    const char *const *const *mutually_exclusive_subsets;
    sb_validator_pt validator;                       /* custom_validator */
    const char *validator_name;                      /* name of it, shown nowhere but in docs */
    int lua_ref;                                     /* custom_validator written in Lua; 0: none, references are positive */
    const struct sb_field *elements, *keys, *values; /* one row each */
    const struct sb_field *fields;                   /* of a record */
    const struct sb_entity_check *checks;            /* of a record */
    const char *reference;                           /* foreign: entity name */
    enum sb_on_delete on_delete;
    const struct sb_shorthand *shorthands; /* of a record */
    size_t offset;                         /* of the C struct member (native plugin configurations) */
    size_t size;                           /* of a record that is an element or a map value: sizeof its C struct */
    const char *deprecation;               /* JSON object, shown in /schemas; NULL: none */
};

#define SB_FIELD_END                                                                                                                       \
    {                                                                                                                                      \
        .name = NULL, .type = SB_T_END                                                                                                     \
    }

/* C members that sb_schema_decode_struct() fills, by type: STRING sb_cstr {data,len} (data NULL: unset); INTEGER int64_t;
 * NUMBER double; BOOLEAN bool; ARRAY/SET sb_list {n, items}; MAP sb_map; RECORD the nested struct by value (a record that may be
 * null and is: all its members unset); FOREIGN sb_cstr, the id; JSON sb_cstr, compact JSON text.
 * Unset INTEGER/NUMBER/BOOLEAN leave SB_UNSET_INT, NaN, false. Strings are NUL-terminated behind len. */
typedef struct sb_cstr {
    const char *data;
    size_t len;
} sb_cstr;
typedef struct sb_list {
    size_t n;
    void *items;
} sb_list; /* items: contiguous members of the element type */
typedef struct sb_map {
    size_t n;
    sb_cstr *keys;
    void *values;
} sb_map;
#define SB_UNSET_INT INT64_MIN

enum sb_check_kind {
    SB_CHECK_END,
    SB_CHECK_AT_LEAST_ONE_OF,
    SB_CHECK_CONDITIONAL_AT_LEAST_ONE_OF,
    SB_CHECK_ONLY_ONE_OF,
    SB_CHECK_MUTUALLY_EXCLUSIVE,
    SB_CHECK_MUTUALLY_REQUIRED,
    SB_CHECK_DISTINCT,
    SB_CHECK_CONDITIONAL,
    SB_CHECK_CUSTOM,
    SB_CHECK_MUTUALLY_EXCLUSIVE_SETS
};

struct sb_entity_check {
    enum sb_check_kind kind;
    const char *const *fields;         /* NULL-ended, dotted paths allowed */
    const char *if_field, *then_field; /* conditional */
    const struct sb_field *if_match, *then_match, *else_match;
    const char *then_err, *else_then_err;
    const char *const *then_at_least_one_of, *const *else_then_at_least_one_of;
    /* custom: entity is a json_t * (object, processed); NULL or the text; *field may be set to the field it belongs to */
    const char *(*custom)(const void *entity, const char **field, char *buf, size_t buflen);
    const char *custom_name;
    int lua_ref;                  /* custom, written in Lua: gets an object of `fields`; 0: none */
    bool run_with_missing_fields; /* custom: runs although a source field is unset or has an error */
    const char *const *set2;      /* mutually_exclusive_sets: `fields` is set1, this is set2 */
};

/*
 * Accepted input names translated before validation, in table order; ended by {NULL}. The value (also null) is taken out of
 * its record, then to_fields() gets the json_t * value and writes into json_t *entity, the record. Without to_fields and lua_ref
 * the value moves to replaced_with. Both names given with different values is an error.
 */
struct sb_shorthand {
    const char *name;
    enum sb_type type;
    const struct sb_field *elements;
    const char *(*to_fields)(const void *value, void *entity, char *buf, size_t buflen); /* NULL or the error text */
    const char *replaced_with;    /* dotted path: deprecated name, echoed in answers */
    const char *deprecation;      /* JSON object, shown in /schemas */
    int lua_ref;                  /* the function in Lua; returns an object that is merged into the record; 0: none */
    const struct sb_field *field; /* constraints of the value; NULL: those of type and elements */
};

/*
 * Changes to the row: on every write, after validation (digests, normal forms), and, in Lua only, each time it is handed out.
 * In Lua: gets the values of input and needs in that order, all of which must be set, returns an object that is merged into the row. Its
 * on_write runs only when the inputs were given with the request, so that what it made is not transformed again.
 */
struct sb_transformation {
    const char *const *input; /* runs when each of these is set; NULL-ended, dotted paths in Lua's. input NULL ends a table */
    const char *(*on_write)(void *entity, char *buf, size_t buflen); /* NULL, or the text of a transformation error */
    const char *const *needs;                                        /* of Lua's; NULL: none */
    int lua_ref, lua_read;                                           /* on_write and on_read in Lua; 0: none */
};

struct sb_schema_def {
    const char *name;
    const char *const *primary_key; /* NULL: {"id"} */
    const char *endpoint_key;       /* NULL: none */
    const char *const *cache_key;   /* NULL-ended; NULL: none */
    bool workspaceable, ttl, no_admin;
    const struct sb_field *fields;
    const struct sb_entity_check *checks;
    const struct sb_shorthand *shorthands;
    const char *subschema_key;             /* e.g. "name" for plugins, "protocols" for routes */
    const struct sb_subschema *subschemas; /* fixed ones (routes); plugins ask the plugin set */
    const char *subschema_error;
    /* Variants by router_flavor (routes): the fields are added, or replace those of the same name. Columns exist for all. */
    const struct sb_field *expressions_fields, *traditional_fields;
    const struct sb_subschema *expressions_subschemas;
    const char *admin_path;   /* NULL: "/" + name */
    const char *admin_nested; /* its collection's name under parents; NULL: the last part of the path */
    const struct sb_transformation *transformations;
    bool routing; /* an edit of a row moves the routing generation */
};

/* A table is ended by {NULL}. */
struct sb_subschema {
    const char *key;
    const struct sb_field *fields; /* overrides */
    const struct sb_entity_check *checks;
};

/*
 * Validators for tables: by name in facts' entities.json. All take a json_t * string (certificates' checks: see entities). A value
 * that is not a string is left to the type check.
 */
const char *sb_valid_host(const void *value, char *buf, size_t buflen);
const char *sb_valid_host_with_optional_port(const void *value, char *buf, size_t buflen);
const char *sb_valid_host_with_wildcards(const void *value, char *buf, size_t buflen);
const char *sb_valid_wildcard_host(const void *value, char *buf, size_t buflen);
const char *sb_valid_sni(const void *value, char *buf, size_t buflen);
const char *sb_valid_upstream_name(const void *value, char *buf, size_t buflen);
const char *sb_valid_target_address(const void *value, char *buf, size_t buflen);
const char *sb_valid_ip(const void *value, char *buf, size_t buflen);
const char *sb_valid_ip_or_cidr(const void *value, char *buf, size_t buflen);
const char *sb_valid_ip_or_cidr_v4(const void *value, char *buf, size_t buflen);
const char *sb_valid_path(const void *value, char *buf, size_t buflen);
const char *sb_valid_router_path(const void *value, char *buf, size_t buflen);
const char *sb_valid_url(const void *value, char *buf, size_t buflen);
const char *sb_valid_name(const void *value, char *buf, size_t buflen);
const char *sb_valid_utf8_name(const void *value, char *buf, size_t buflen);
const char *sb_valid_tag(const void *value, char *buf, size_t buflen);
const char *sb_valid_header_name(const void *value, char *buf, size_t buflen);
const char *sb_valid_http_token(const void *value, char *buf, size_t buflen);
const char *sb_valid_asterisk_or_regex(const void *value, char *buf, size_t buflen);
const char *sb_valid_certificate_pem(const void *value, char *buf, size_t buflen);
const char *sb_valid_private_key_pem(const void *value, char *buf, size_t buflen);
/* Records with private_key and public_key. */
const char *sb_valid_pem_pair(const void *value, char *buf, size_t buflen);

#endif
