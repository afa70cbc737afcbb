/*
 * Inside the router: how an index row looks. Written by rows.c, read by router.c; both build dimension texts with the functions of
 * key.c, so that they cannot disagree.
 *
 * A route becomes entries (one per group of equal precedence: each prefix length, all regex paths; a route without paths one), an entry
 * becomes index rows: one per path, host, value of one header, SNI and (for other than the usual) method.
 *
 *   key  =  class  dimensions…  path part  0xff  rank        path part of some regexes  =  segment NUL  literal start
 *
 * class: which attributes the route has and in which form they are in the key; a lookup visits the classes that have rows, best
 * precedence first, and within a class seeks. Equality dimensions (header value, method, SNI, host) are text and a NUL. Prefix
 * dimensions (wildcards, reversed for a leading *; path prefixes; the literal start of regexes) are stored with every bit inverted and
 * end with 0xff. That sorts longer prefixes before shorter ones and both after what they do not match, so that ONE seek
 * to (inverted text, 0xff) lands on the longest stored prefix of a text, or shows where to look next. rank is inverted as well: the row
 * with the highest precedence comes first among equals.
 *
 * value = struct route_row and then conditions: what the key does not decide (several headers, ports, texts too long for a key).
 */
#ifndef SB_ROUTER_INT_H
#define SB_ROUTER_INT_H

#include "core/base/buf.h"
#include "core/router/router.h"

#include <string.h>

/* Attributes a route has; the numbers are the interface's category bits of the traditional order. */
enum {
    K_DST = 1,
    K_SRC = 2,
    K_SNI = 4,
    K_METHOD = 8,
    K_PATH = 16,
    K_HEADER = 32,
    K_HOST = 64,
    K_DISABLED = 128 /* not a route */,
    K_STREAM = 129 /* of streams: stream.c */
};
/* Class flags. F_WILD: the regex_priority leaves its 32 bits, so the class says nothing about precedence. F_EXPRESSION: routes with an
 * expression; host and path are in the key when the expression pins them, of F_LOWER_… in lower case. F_SEGMENT: of regexes that have a
 * whole segment behind their literal start, which is in the key before that. */
enum { F_PLAIN_HOSTS = 1, F_REGEX = 2, F_WILD = 4, F_EXPRESSION = 8, F_LOWER_HOST = 16, F_LOWER_PATH = 32, F_SEGMENT = 64 };
/* How a name pattern is in the key. OPEN: not at all, a condition decides. NONTLS: the row that plain connections find. */
enum form { FORM_OPEN, FORM_EXACT, FORM_LEFT, FORM_RIGHT, FORM_NONTLS };

/* Bytes of a class: kinds, flags, header count, forms, length of the header's name, the name. */
enum { C_KINDS, C_FLAGS, C_HEADERS, C_FORMS, C_NAME_LEN, C_NAME };
#define CLASS_MAX      (C_NAME + HEADER_NAME_MAX)
#define FORM_HOST(f)   ((f)&7)
#define FORM_SNI(f)    (((f) >> 3) & 7)
#define FORM_METHOD(f) (((f) >> 6) & 1) /* 1: in the key */

#define HEADER_NAME_MAX  48
#define HEADER_VALUE_MAX 64
#define METHOD_MAX       36
#define NAME_MAX_LEN     90 /* host or SNI pattern in a key */
#define PATH_MAX_LEN     128
#define SEGMENT_MIN      2
#define SEGMENT_MAX      63 /* with what may stand behind it, no more than a path */
#define BEHIND_SEGMENT   64
#define RANK_LEN         28
#define ROUTER_KEY_MAX   510

/* How an entry compares with others, for both orders. */
struct rank {
    uint64_t priority; /* traditional_compatible */
    sb_uuid_t entry;   /* its tie break: larger first */
    uint8_t kinds, submatch;
    uint16_t headers;
    uint32_t longest_path;
    int64_t regex_priority, created_at;
};

struct route_row {
    sb_route_brief_t brief;
    struct rank rank;
    uint32_t path_len;   /* of the prefix path, complete */
    uint32_t path_index; /* in the entry: an earlier path wins within a route */
    uint16_t port;       /* host pattern's; 0: any */
    uint16_t methods;    /* bits of the usual methods; 0: no condition here */
    uint16_t conditions;
};

/* Conditions: a header of this form, then its payload (len bytes). Integers unaligned, as the machine has them. */
enum cond_type {
    COND_PATH = 1, /* the whole prefix text */
    COND_REGEX,    /* pattern, without the ~ */
    COND_METHODS,  /* list */
    COND_HOSTS,    /* list of patterns, one must match */
    COND_SNIS,
    COND_HEADER,     /* list: name, then values; a value starting with ~* is a regex */
    COND_EXPRESSION, /* a program (expression/); count: PROTOCOL_… bits that the connection must have one of */
    COND_ADDRESSES   /* a program that sources and destinations make; counts with router_flavor=expressions only */
};
enum { PROTOCOL_HTTP = 1, PROTOCOL_HTTPS = 2 };
struct cond {
    uint16_t type;
    uint16_t count;
    uint32_t len;
};
/* list: count times u32 length and text. */

/* ---------- key.c ---------- */
struct rkey {
    size_t len;
    unsigned char b[ROUTER_KEY_MAX];
};

void rkey_add(struct rkey *k, const void *data, size_t len);
/* An equality dimension; a text that is too long or holds a NUL is hashed (returns false: the row needs a condition). */
bool rkey_exact(struct rkey *k, sb_str_t text, size_t max);
/* A prefix dimension's text, cut at max or the first NUL (returns false when cut). reversed: last byte first. */
bool rkey_prefix(struct rkey *k, sb_str_t text, size_t max, bool reversed);

/* The end of each key: what sorts rows of equal texts. ordinal tells rows of one entry apart. */
void rkey_rank(struct rkey *k, const struct rank *r, uint32_t ordinal);

struct name_pattern {
    enum form form;
    sb_str_t text; /* without the * */
    uint16_t port; /* 0: any */
};
/* A host or SNI pattern taken apart. with_port: a trailing :digits is a port. */
void name_pattern_parse(sb_str_t s, bool with_port, struct name_pattern *out);
/* Of an SNI: the root's dot at its end does not count. */
void sni_pattern_parse(sb_str_t s, struct name_pattern *out);
bool name_pattern_matches(const struct name_pattern *p, sb_str_t name);

/* Bit of a usual method, 0 for others. */
unsigned method_bit(sb_str_t method);
/* How many bytes of a regex every matching path starts with, copied to out (at most max). */
size_t regex_literal_prefix(const char *re, size_t len, char *out, size_t max);
/* A text that every matching path has between two slashes, or behind its last, and that stands in the regex behind something that is not
 * literal: the longest such. Returns its length, 0 when there is none. */
size_t regex_segment(const char *re, size_t len, char out[SEGMENT_MAX]);

/* Precedence. Returns > 0 when a comes before b. */
int rank_compare(enum sb_router_flavor flavor, const struct rank *a, const struct rank *b);
uint64_t rank_priority(uint8_t kinds, bool plain_hosts, unsigned headers, bool regex, int64_t regex_priority, size_t path_len);

/* Whether the connection counts as TLS. */
bool request_is_tls(const sb_route_request_t *req);

/* Of a route with an expression: before all others, then by its priority field. */
uint64_t rank_of_expression(int64_t priority);

/* ---------- rows.c ---------- */
/* What the rows of a route's i-th path have (of a route without paths, i is 0), without port and conditions. False: the route has no id. */
bool row_of_path(const json_t *route, const sb_uuid_t *ws, uint64_t version, size_t i, struct route_row *out);

/* ---------- rows_expression.c ---------- */
/* The rows of a route with an expression; shared: what take_apart made of the route. Returns what fn returned last. */
int rows_of_expression(const json_t *route, const struct route_row *shared, int (*fn)(const struct sb_index_row *row, void *arg),
                       void *arg);
/* PROTOCOL_… bits that the connection must have one of for a route with an expression; protocols: of the brief. */
uint16_t expression_protocols(uint16_t protocols);

/* ---------- stream.c ---------- */
/* The index rows of a route with stream protocols; kinds: its kinds and created_at. */
int stream_index_rows(const json_t *route, const sb_route_brief_t *brief, const struct rank *kinds,
                      int (*fn)(const struct sb_index_row *row, void *arg), void *arg);

/* ---------- memo.c: what seeks found, valid in one snapshot ---------- */
struct memo;
struct memo *memo_new(void);
void memo_free(struct memo *m);
/* Before each use; another snapshot makes it forget. */
void memo_snapshot(struct memo *m, uint64_t snapshot);
uint64_t memo_hash(const unsigned char *p, size_t n, uint64_t seed);
/* The row a seek for key finds, when it was kept under this hash. */
bool memo_find(struct memo *m, uint64_t hash, const struct rkey *key, sb_str_t *row, sb_str_t *value);
/* row: what a seek found; prev: the row before it, of length 0 when there is none. Both borrowed while the snapshot is the newest. */
void memo_keep(struct memo *m, uint64_t hash, sb_str_t row, sb_str_t value, sb_str_t prev);

/* ---------- regex.c: compiled regexes, by text, bounded ---------- */
struct regexes;
struct regexes *regexes_new(void);
void regexes_free(struct regexes *r);
/* Searches subject; icase for headers. Returns the number of captures (>= 1), 0 when it does not match or does not compile.
 * captures and names may be NULL. */
unsigned regexes_match(struct regexes *r, sb_str_t pattern, bool icase, sb_str_t subject, sb_str_t *captures, const char **names,
                       unsigned max);
/* Whether a pattern compiles; why gets the reason. */
bool regex_compiles(sb_str_t pattern, char *why, size_t max);

#endif
