/*
 * The expression language of router_flavor=expressions: text → tree (parse.c) → types checked (check.c) → program (compile.c), which
 * the lookup runs without allocating (run.c). pins.c says by which literals an expression can be found in the index.
 *
 *     expression  =  alternatives { "&&" alternatives }        "||" binds tighter than "&&"
 *     alternatives = term { "||" term }
 *     term        =  [ "!" ] "(" expression ")"  |  left operator literal
 *
 * A predicate on a field that the request does not have is false, whatever its operator; of several values all must fit, unless the left
 * side is any(…). What only the router's own files need is in expression_int.h.
 */
#ifndef SB_ROUTER_EXPRESSION_H
#define SB_ROUTER_EXPRESSION_H

#include "core/base/buf.h"
#include "core/base/pool.h"
#include "core/router/router.h"

struct expression; /* a checked tree */

/* Parses and checks an expression of the fields that HTTP routes (stream: TCP, TLS and UDP routes) have. The tree lives in pool and
 * borrows text. SB_OK, or SB_DECLINED with the reason in err: for a syntax error line, column and what was expected. */
int expression_parse(sb_pool_t *pool, sb_str_t text, bool stream, const struct expression **out, sb_err_t *err);
/* Appends the program: position-independent bytes. */
void expression_compile(const struct expression *e, sb_buf_t *out);

/* Appends the program that a route's sources and destinations stand for; nothing when it has neither. */
void expression_compile_addresses(const json_t *route, sb_buf_t *out);

/* ---------- running ---------- */

struct regexes;

/* Where the path matched: by the last regex or prefix that counted. */
struct expression_hit {
    bool any;          /* a predicate on http.path matched by prefix or regex */
    size_t prefix_len; /* bytes of the path it covers from its start */
    const char *regex; /* the predicate in the program, NULL when no regex of http.path matched */
};

/* Reused from run to run, so that running does not allocate once its buffers have grown. Zero-initialise; expression_run_free ends it. */
struct expression_run {
    const sb_route_request_t *req;
    bool tls;
    sb_str_t protocol; /* net.protocol of a stream; len 0: http or https, by tls */
    struct regexes *regexes;
    struct expression_hit hit;
    /* captures of the regex that ran last */
    const char *holder;
    unsigned n_captures;
    sb_str_t captures[SB_ROUTER_CAPTURES];
    const char *names[SB_ROUTER_CAPTURES];
    sb_buf_t lowered, decoded, name;
};

/* Whether the request fits the program; then run->hit says where. */
bool expression_run(struct expression_run *run, const char *program, size_t len);
/* The captures of run->hit, which the last expression_run left; into req->path. Returns their number, 0 without a regex. */
unsigned expression_captures(struct expression_run *run, sb_str_t *captures, const char **names);
void expression_run_free(struct expression_run *run);

/* The text of the part that makes the expression false: of a conjunction the first that does not hold, else all of it. For people, after
 * expression_run was false. */
sb_str_t expression_blame(const struct expression *e, struct expression_run *run);

/* ---------- index ---------- */

enum pin_form { PIN_EXACT, PIN_PREFIX, PIN_SUFFIX };
/* One literal that a field must have; lower: its lower-cased value. */
struct pin {
    struct pin *next;
    enum pin_form form;
    bool lower;
    sb_str_t text;
    sb_str_t name; /* of the header */
};
struct pin_list {
    struct pin *first;
    unsigned n; /* 0: requests of every value may fit */
};
/* A request that fits the expression fits a pin of each list that has some. The converse does not hold. */
struct pins {
    struct pin_list host, path, header; /* path: all PIN_PREFIX; header: all PIN_EXACT and in lower case */
};
void expression_pins(const struct expression *e, sb_pool_t *pool, struct pins *out);

#endif
