/* Inside the expression language: the tree and the program. */
#ifndef SB_ROUTER_EXPRESSION_INT_H
#define SB_ROUTER_EXPRESSION_INT_H

#include "core/router/expression/expression.h"

#include <string.h>

#define NESTING_MAX 64

enum op { OP_AND, OP_OR, OP_NOT, OP_PREDICATE };

enum field {
    FIELD_PROTOCOL,
    FIELD_SNI,
    FIELD_METHOD,
    FIELD_HOST,
    FIELD_PATH,
    FIELD_SEGMENTS, /* joined: from … to */
    FIELD_SEGMENTS_LEN,
    FIELD_HEADER,
    FIELD_QUERY,
    FIELD_SRC_IP,
    FIELD_DST_IP,
    FIELD_SRC_PORT,
    FIELD_DST_PORT
};

enum value_type { TYPE_STRING, TYPE_INT, TYPE_IP, TYPE_CIDR };

enum compare { CMP_EQ, CMP_NE, CMP_REGEX, CMP_PREFIX, CMP_SUFFIX, CMP_GT, CMP_GE, CMP_LT, CMP_LE, CMP_IN, CMP_NOT_IN, CMP_CONTAINS };

struct ip {
    uint8_t family; /* 4 or 6; 0: none */
    uint8_t bits;   /* of a range */
    uint8_t b[16];
};

struct value {
    enum value_type type;
    sb_str_t text;
    int64_t number;
    struct ip ip;
};

struct predicate {
    sb_str_t left; /* the field as written */
    enum field field;
    bool lower, any;
    enum compare cmp;
    sb_str_t name; /* of a header or query argument */
    uint32_t from, to;
    struct value value;
};

struct expression {
    enum op op;
    sb_str_t source;                 /* the text it comes from */
    struct expression *child, *next; /* children of AND, OR (two or more) and NOT (one) */
    struct predicate p;
};

/* ---------- parse.c ---------- */
struct parser {
    sb_pool_t *pool;
    sb_str_t text;
    size_t at;
    bool stream;
    unsigned nesting;
    sb_err_t *err;
};
/* Fills err with line, column and what was expected; returns SB_DECLINED. */
int parse_fail(const struct parser *p, size_t at, const char *expected);

/* ---------- literal.c ---------- */
int parse_literal(struct parser *p, struct value *out);
bool ip_parse(sb_str_t text, struct ip *out);
bool ip_in(const struct ip *ip, const struct ip *range);

/* ---------- check.c: names the field and compares types ---------- */
int predicate_check(struct predicate *p, bool stream, sb_err_t *err);

/* ---------- the program ---------- */
/* A node: this, then children, or (predicate) name and literal. len counts all of it. */
struct code {
    uint8_t op, field, cmp, flags;
    uint32_t len;
};
enum { CODE_LOWER = 1, CODE_ANY = 2 };
/* Behind the head of a predicate stands only what its field needs, so that many programs fit in a cache:
 *   header, query      length of the name (u32), name, text
 *   segments           from, to (u32 each), text
 *   other strings      text
 *   integers           number (i64)
 *   addresses          struct ip */

#endif
