/*
 * The lookup: which route a request takes. Layout of what it searches: router_int.h.
 *
 * The classes of rows that exist are read once per routing generation and ordered by the best precedence a row of them can have. A
 * request visits them in that order and stops when what it has found cannot be beaten any more: with one kind of route configured,
 * that is one class and mostly one seek. Within a class the dimensions nest: header values, SNI, host, path; a prefix dimension is
 * walked from the longest stored prefix to the shortest (chain()).
 *
 * Order: traditional_compatible ranks entries whose rows sort by precedence, so that the first that fits ends a walk.
 * traditional ranks by properties of the whole route, so that every candidate is compared. Regexes and expressions are found by what they
 * start with or pin, which says nothing about their rank: there a walk goes on to shorter texts. Start at sb_router_match.
 */
#include "core/router/router_int.h"

#include "core/router/expression/expression.h"

#include "core/model/cursor.h"

#include <stdlib.h>

#define ROUTER_MAGIC      0x53425254u
#define HEADER_VALUES_MAX 100
#define DEPTHS            3

struct class {
    unsigned char b[CLASS_MAX];
    size_t len;
    uint64_t upper; /* traditional_compatible: no row of the class has a higher priority */
    /* How many separators the hosts and paths that were looked up lately shared with what was found, plus 1; the last first. */
    uint8_t host_depths[DEPTHS], path_depths[DEPTHS];
};

struct sb_router {
    uint32_t magic;
    sb_model_reader_t *reader;
    sb_model_cursor_t *cursor, *service_cursor;
    enum sb_router_flavor flavor;
    struct regexes *regexes;
    struct memo *memo;
    struct class *classes;
    size_t n_classes, cap_classes;
    bool loaded, any_disabled;
    uint64_t snapshot, gen; /* what classes were read from */
    sb_buf_t lowered;
    struct expression_run run;
};

/* One lookup. */
struct search {
    sb_router_t *r;
    const sb_route_request_t *req;
    sb_route_match_t *out;
    struct class *class;
    struct rkey key;
    sb_str_t row_key, row_value; /* what was sought */
    bool at_row;                 /* the cursor stands there */
    bool tls, found;
    struct rank best;
    uint32_t best_path_len, best_path_index;
};

/* ---------- life ---------- */

sb_router_t *
sb_router_new(sb_model_reader_t *reader, enum sb_router_flavor flavor)
{
    sb_router_t *r = sb_calloc(sizeof(*r));

    r->magic = ROUTER_MAGIC;
    r->reader = reader;
    r->cursor = sb_model_cursor_new(reader);
    r->service_cursor = sb_model_cursor_new(reader);
    r->flavor = flavor;
    r->regexes = regexes_new();
    r->memo = memo_new();
    r->run.regexes = r->regexes;
    return r;
}

void
sb_router_free(sb_router_t *r)
{
    if (r == NULL)
        return;
    SB_CHECK_MAGIC(r, ROUTER_MAGIC);
    sb_model_cursor_free(r->cursor);
    sb_model_cursor_free(r->service_cursor);
    regexes_free(r->regexes);
    memo_free(r->memo);
    expression_run_free(&r->run);
    sb_buf_free(&r->lowered);
    free(r->classes);
    r->magic = 0;
    free(r);
}

/* ---------- classes ---------- */

static uint64_t
upper_bound(const unsigned char *c)
{
    bool regex = (c[C_FLAGS] & F_REGEX) != 0;

    if (c[C_FLAGS] & F_EXPRESSION)
        return rank_of_expression(((int64_t)1 << 46) - 1);
    if (c[C_FLAGS] & F_WILD)
        return UINT64_MAX;
    return rank_priority(c[C_KINDS], (c[C_FLAGS] & F_PLAIN_HOSTS) != 0, c[C_HEADERS], regex, UINT32_MAX,
                         c[C_KINDS] & K_PATH ? SIZE_MAX : 0);
}

static bool
on_class(sb_str_t name, uint64_t rows, void *arg)
{
    sb_router_t *r = arg;
    struct class *c;

    if (name.len < C_NAME || name.len > CLASS_MAX || rows == 0)
        return true;
    if ((unsigned char)name.data[C_KINDS] == K_DISABLED) {
        r->any_disabled = true;
        return true;
    }
    if ((unsigned char)name.data[C_KINDS] == K_STREAM)
        return true;
    if ((name.data[C_FLAGS] & F_EXPRESSION) && r->flavor != SB_ROUTER_EXPRESSIONS)
        return true;
    if (r->n_classes == r->cap_classes) {
        r->cap_classes = r->cap_classes != 0 ? r->cap_classes * 2 : 8;
        r->classes = sb_realloc(r->classes, r->cap_classes * sizeof(*r->classes));
    }
    c = &r->classes[r->n_classes++];
    memcpy(c->b, name.data, name.len);
    c->len = name.len;
    c->upper = upper_bound(c->b);
    memset(c->host_depths, 0, sizeof(c->host_depths));
    memset(c->path_depths, 0, sizeof(c->path_depths));
    return true;
}

static int
by_upper(const void *a, const void *b)
{
    const struct class *x = a, *y = b;

    return (x->upper < y->upper) - (x->upper > y->upper);
}

/* Category of the traditional order as one number. */
static unsigned
category(uint8_t kinds)
{
    return (unsigned)__builtin_popcount(kinds) << 8 | kinds;
}

static int
by_category(const void *a, const void *b)
{
    unsigned x = category(((const struct class *)a)->b[C_KINDS]), y = category(((const struct class *)b)->b[C_KINDS]);

    return (x < y) - (x > y);
}

/* The classes must be those of the very snapshot: an edit may move a route from one class to another. */
static void
load_classes(sb_router_t *r)
{
    uint64_t snapshot = sb_model_snapshot(r->reader), gen;

    if (r->loaded && r->snapshot == snapshot)
        return;
    gen = sb_model_routing_gen(r->reader);
    r->snapshot = snapshot;
    memo_snapshot(r->memo, snapshot);
    if (r->loaded && r->gen == gen)
        return;
    r->n_classes = 0;
    r->any_disabled = false;
    sb_model_cursor_classes(r->cursor, on_class, r);
    if (r->n_classes > 1)
        qsort(r->classes, r->n_classes, sizeof(*r->classes), r->flavor == SB_ROUTER_TRADITIONAL ? by_category : by_upper);
    r->gen = gen;
    r->loaded = true;
}

static bool
cannot_win(const struct search *s, const struct class *c)
{
    if (s->r->flavor == SB_ROUTER_TRADITIONAL)
        return category(s->best.kinds) > category(c->b[C_KINDS]);
    return s->best.priority > c->upper;
}

/* ---------- conditions ---------- */

struct list_walk {
    const char *p;
    size_t left;
};

static bool
list_next(struct list_walk *w, sb_str_t *out)
{
    uint32_t n;

    if (w->left < sizeof(n))
        return false;
    memcpy(&n, w->p, sizeof(n));
    if (n > w->left - sizeof(n))
        return false;
    *out = (sb_str_t){w->p + sizeof(n), n};
    w->p += sizeof(n) + n;
    w->left -= sizeof(n) + n;
    return true;
}

static sb_str_t
lowered(sb_router_t *r, sb_str_t s)
{
    sb_buf_reset(&r->lowered);
    sb_buf_add(&r->lowered, s.data, s.len);
    for (size_t i = 0; i < s.len; i++)
        if (r->lowered.data[i] >= 'A' && r->lowered.data[i] <= 'Z')
            r->lowered.data[i] = (char)(r->lowered.data[i] | 0x20);
    return (sb_str_t){r->lowered.data, s.len};
}

static bool
request_header(const struct search *s, sb_str_t name, unsigned n, sb_str_t *value)
{
    return s->req->header != NULL && n < HEADER_VALUES_MAX && s->req->header(s->req->arg, name, n, value);
}

static bool
header_value_fits(struct search *s, struct list_walk wanted, sb_str_t value)
{
    sb_str_t w, low = lowered(s->r, value);

    while (list_next(&wanted, &w)) {
        if (!sb_str_starts(w, SB_STR("~*"))) {
            if (sb_str_eq(w, low))
                return true;
        } else if (regexes_match(s->r->regexes, (sb_str_t){w.data + 2, w.len - 2}, true, value, NULL, NULL, 1) != 0) {
            return true;
        }
    }
    return false;
}

static bool
header_fits(struct search *s, struct list_walk w)
{
    sb_str_t name, value;

    if (!list_next(&w, &name))
        return false;
    for (unsigned n = 0; request_header(s, name, n, &value); n++)
        if (header_value_fits(s, w, value))
            return true;
    return false;
}

static bool
methods_fit(const struct search *s, struct list_walk w)
{
    sb_str_t m;

    while (list_next(&w, &m))
        if (sb_str_eq(m, s->req->method))
            return true;
    return false;
}

static bool
hosts_fit(const struct search *s, struct list_walk w)
{
    struct name_pattern p;
    sb_str_t t;

    while (list_next(&w, &t)) {
        name_pattern_parse(t, true, &p);
        if (name_pattern_matches(&p, s->req->host) && (p.port == 0 || p.port == s->req->port))
            return true;
    }
    return false;
}

static bool
snis_fit(const struct search *s, struct list_walk w)
{
    struct name_pattern p;
    sb_str_t t;

    if (!s->tls)
        return true;
    while (s->req->sni.len != 0 && list_next(&w, &t)) {
        sni_pattern_parse(t, &p);
        if ((p.form == FORM_EXACT || s->r->flavor != SB_ROUTER_TRADITIONAL) && name_pattern_matches(&p, s->req->sni))
            return true;
    }
    return false;
}

/* The captures go straight into the result: the regex is the last condition. */
static bool
regex_fits(struct search *s, sb_str_t pattern)
{
    unsigned n = regexes_match(s->r->regexes, pattern, false, s->req->path, s->out->captures, s->out->capture_names, SB_ROUTER_CAPTURES);

    if (n != 0)
        s->out->n_captures = n;
    return n != 0;
}

static bool
program_fits(struct search *s, const char *program, size_t len)
{
    s->r->run.req = s->req;
    s->r->run.tls = s->tls;
    return expression_run(&s->r->run, program, len);
}

static bool
condition_fits(struct search *s, const struct cond *c, const char *data)
{
    struct list_walk w = {data, c->len};
    sb_str_t text;

    switch (c->type) {
    case COND_PATH:
        return list_next(&w, &text) && sb_str_starts(s->req->path, text);
    case COND_REGEX:
        return list_next(&w, &text) && regex_fits(s, text);
    case COND_METHODS:
        return methods_fit(s, w);
    case COND_HOSTS:
        return hosts_fit(s, w);
    case COND_SNIS:
        return snis_fit(s, w);
    case COND_HEADER:
        return header_fits(s, w);
    case COND_EXPRESSION:
        return (c->count & (s->tls ? PROTOCOL_HTTPS : PROTOCOL_HTTP)) != 0 && program_fits(s, data, c->len);
    case COND_ADDRESSES:
        return s->r->flavor != SB_ROUTER_EXPRESSIONS || program_fits(s, data, c->len);
    default:
        return false;
    }
}

static bool
service_disabled(struct search *s, const struct route_row *row)
{
    unsigned char b[C_NAME + SB_UUID_LEN] = {K_DISABLED};
    sb_str_t key = {(const char *)b, sizeof(b)}, found, value;

    if (!s->r->any_disabled || !row->brief.has_service)
        return false;
    memcpy(b + C_NAME, &row->brief.service, SB_UUID_LEN);
    return sb_model_cursor_seek(s->r->service_cursor, key, &found, &value) && sb_str_eq(found, key);
}

static bool
row_fits(struct search *s, const struct route_row *row)
{
    const char *p = s->row_value.data + sizeof(*row);
    size_t left = s->row_value.len - sizeof(*row);

    if (row->port != 0 && row->port != s->req->port)
        return false;
    if (row->methods != 0 && (method_bit(s->req->method) & row->methods) == 0)
        return false;
    if (service_disabled(s, row))
        return false;
    for (unsigned i = 0; i < row->conditions; i++) {
        struct cond c;
        if (left < sizeof(c))
            return false;
        memcpy(&c, p, sizeof(c));
        if (c.len > left - sizeof(c) || !condition_fits(s, &c, p + sizeof(c)))
            return false;
        p += sizeof(c) + c.len;
        left -= sizeof(c) + c.len;
    }
    return true;
}

/* ---------- candidates ---------- */

static bool
is_regex_class(const struct search *s)
{
    return (s->class->b[C_FLAGS] & F_REGEX) != 0;
}

static bool
is_expression_class(const struct search *s)
{
    return (s->class->b[C_FLAGS] & F_EXPRESSION) != 0;
}

/* Rows under a shorter text may rank higher. */
static bool
is_loose_class(const struct search *s)
{
    return (s->class->b[C_FLAGS] & (F_REGEX | F_EXPRESSION)) != 0;
}

/* Within one route: regexes first, then the longest prefix, then the order of its paths. */
static bool
beats_within_route(const struct search *s, const struct route_row *row)
{
    bool regex = is_regex_class(s);

    if (regex != s->out->is_regex)
        return regex;
    if (row->path_len != s->best_path_len)
        return row->path_len > s->best_path_len;
    return row->path_index < s->best_path_index;
}

static bool
beats_best(const struct search *s, const struct route_row *row)
{
    int c;

    if (!s->found)
        return true;
    if (memcmp(&row->brief.route, &s->out->brief.route, SB_UUID_LEN) == 0 &&
        (s->r->flavor == SB_ROUTER_TRADITIONAL || memcmp(&row->rank.entry, &s->best.entry, SB_UUID_LEN) == 0))
        return beats_within_route(s, row);
    c = rank_compare(s->r->flavor, &row->rank, &s->best);
    return c > 0;
}

/* What the program that just ran says of the path. */
static void
take_expression(struct search *s)
{
    const struct expression_hit *hit = &s->r->run.hit;
    sb_route_match_t *out = s->out;

    out->has_path = hit->any;
    out->is_regex = hit->regex != NULL;
    out->prefix_len = hit->prefix_len;
    out->n_captures = expression_captures(&s->r->run, out->captures, out->capture_names);
}

static void
take(struct search *s, const struct route_row *row)
{
    sb_route_match_t *out = s->out;

    s->found = true;
    s->best = row->rank;
    s->best_path_len = row->path_len;
    s->best_path_index = row->path_index;
    out->brief = row->brief;
    out->brief.path_handling_v1 = row->brief.path_handling_v1 && s->r->flavor == SB_ROUTER_TRADITIONAL;
    if (is_expression_class(s)) {
        take_expression(s);
        return;
    }
    out->has_path = (s->class->b[C_KINDS] & K_PATH) != 0;
    out->is_regex = is_regex_class(s);
    out->prefix_len = row->path_len;
    if (!out->is_regex) {
        out->n_captures = 0;
    } else {
        const sb_str_t *whole = &out->captures[0];
        out->prefix_len = whole->data == s->req->path.data ? whole->len : 0; /* an alternative may match further in */
    }
}

static bool
at_prefix(const struct search *s)
{
    return s->row_key.len >= s->key.len && memcmp(s->row_key.data, s->key.b, s->key.len) == 0;
}

/* ---------- seeking ---------- */

/* A text in the key: a prefix dimension from byte `at` on, whose parts `separator` divides. */
struct text {
    size_t at;
    unsigned char separator; /* as it is in the key */
    unsigned round;          /* how many seeks for this text came before */
    uint8_t *depths;
};

/* The part of the key that says where to look in the memo: up to the separator behind the depth's. */
static uint64_t
hash_at(const struct search *s, const struct text *t, unsigned depth)
{
    const unsigned char *p = s->key.b + t->at, *end = s->key.b + s->key.len;

    for (; p != NULL && depth != 0; depth--) {
        p = memchr(p, t->separator, (size_t)(end - p));
        p = p != NULL && depth > 1 ? p + 1 : p;
    }
    return memo_hash(s->key.b, p != NULL ? (size_t)(p - s->key.b) : s->key.len, t->round);
}

/* Separators in what key and row share, plus 1. */
static unsigned
depth_of(const struct search *s, const struct text *t)
{
    size_t n = s->key.len < s->row_key.len ? s->key.len : s->row_key.len;
    unsigned depth = 1;

    for (size_t i = 0; i < n && s->key.b[i] == (unsigned char)s->row_key.data[i]; i++)
        depth += i >= t->at && s->key.b[i] == t->separator && depth < UINT8_MAX;
    return depth;
}

static void
remember_depth(uint8_t *depths, uint8_t depth)
{
    int i = 0;

    while (i < DEPTHS - 1 && depths[i] != depth)
        i++;
    for (; i > 0; i--)
        depths[i] = depths[i - 1];
    depths[0] = depth;
}

/* The first row that is not before the key, from the tree. */
static bool
seek_row(struct search *s, sb_str_t key)
{
    s->at_row = true;
    return sb_model_cursor_seek(s->r->cursor, key, &s->row_key, &s->row_value);
}

static bool
seek_and_keep(struct search *s, const struct text *t)
{
    sb_str_t prev;
    unsigned depth = 0;

    if (!seek_row(s, (sb_str_t){(const char *)s->key.b, s->key.len}))
        return false;
    if (t != NULL) {
        depth = depth_of(s, t);
        remember_depth(t->depths, (uint8_t)depth);
    }
    sb_model_cursor_before(s->r->cursor, &prev);
    s->at_row = false;
    memo_keep(s->r->memo, t != NULL ? hash_at(s, t, depth) : memo_hash(s->key.b, s->key.len, 0), s->row_key, s->row_value, prev);
    return true;
}

/* The same, from what is known when possible. t: the text that ends the key, NULL when it ends with an equality. */
static bool
seek(struct search *s, const struct text *t)
{
    s->at_row = false;
    if (t == NULL) {
        if (memo_find(s->r->memo, memo_hash(s->key.b, s->key.len, 0), &s->key, &s->row_key, &s->row_value))
            return true;
        return seek_and_keep(s, NULL);
    }
    for (int i = 0; i < DEPTHS && t->depths[i] != 0; i++) {
        if (!memo_find(s->r->memo, hash_at(s, t, t->depths[i]), &s->key, &s->row_key, &s->row_value))
            continue;
        if (i != 0)
            remember_depth(t->depths, t->depths[i]);
        return true;
    }
    return seek_and_keep(s, t);
}

static bool
next_row(struct search *s)
{
    if (!s->at_row && !seek_row(s, s->row_key))
        return false;
    return sb_model_cursor_next(s->r->cursor, &s->row_key, &s->row_value);
}

/* Rows with the key so far, best first; the first was just sought. false: nothing that comes later in this walk can win. */
static bool
on_path(struct search *s)
{
    bool ranked = s->r->flavor != SB_ROUTER_TRADITIONAL, loose = is_loose_class(s);
    struct route_row row;

    do {
        if (s->row_value.len < sizeof(row))
            continue;
        memcpy(&row, s->row_value.data, sizeof(row));
        if (!beats_best(s, &row)) {
            if (ranked)
                return loose;
            continue;
        }
        if (!row_fits(s, &row))
            continue;
        take(s, &row);
        if (ranked)
            return loose;
    } while (next_row(s) && at_prefix(s));
    return true;
}

/* ---------- dimensions ---------- */

/* Visits the stored prefixes of a text, the longest first, among the keys that continue the present one. */
static void
chain(struct search *s, sb_str_t text, size_t max, bool reversed, bool (*fn)(struct search *s), unsigned char separator, uint8_t *depths)
{
    struct text t = {s->key.len, (unsigned char)~separator, 0, depths};
    struct rkey inverted; /* only as much of it is set as is used */
    size_t base = s->key.len, left, i;

    inverted.len = 0;
    rkey_prefix(&inverted, text, max, reversed);
    left = inverted.len;
    for (;; t.round++) {
        const unsigned char *tail;
        size_t tail_len;
        s->key.len = base;
        rkey_add(&s->key, inverted.b, left);
        rkey_add(&s->key, "\xff", 1);
        if (!seek(s, &t) || s->row_key.len < base || memcmp(s->row_key.data, s->key.b, base) != 0)
            break;
        tail = (const unsigned char *)s->row_key.data + base;
        tail_len = s->row_key.len - base;
        for (i = 0; i < left && i < tail_len && tail[i] == inverted.b[i]; i++)
            ;
        if (i < tail_len && tail[i] == 0xff) { /* a prefix of i bytes */
            s->key.len = base + i;
            rkey_add(&s->key, "\xff", 1);
            if (!fn(s) || i == 0)
                break;
            left = i - 1;
        } else if (i < left) {
            left = i; /* shorter ones share these bytes */
        } else {
            break;
        }
    }
    s->key.len = base;
}

/* Whether rows have the key so far, to which a segment was added last, beginning at `at`. Mostly none have: a gap is kept by the segment's
 * first byte then, so that segments that never repeat are known to be nobody's as well. */
static bool
has_segment(struct search *s, size_t at)
{
    uint64_t whole = memo_hash(s->key.b, s->key.len, 0), first = memo_hash(s->key.b, at + 1, 1);
    sb_str_t prev;

    s->at_row = false;
    if (memo_find(s->r->memo, whole, &s->key, &s->row_key, &s->row_value) ||
        memo_find(s->r->memo, first, &s->key, &s->row_key, &s->row_value))
        return at_prefix(s);
    if (!seek_row(s, (sb_str_t){(const char *)s->key.b, s->key.len}))
        return false;
    sb_model_cursor_before(s->r->cursor, &prev);
    s->at_row = false;
    memo_keep(s->r->memo, at_prefix(s) ? whole : first, s->row_key, s->row_value, prev);
    return at_prefix(s);
}

/* Regexes by each segment of the path that one of them must have. */
static void
in_segments(struct search *s)
{
    const char *p = s->req->path.data, *end = p + s->req->path.len;
    size_t base = s->key.len;

    for (const char *next; p < end; p = next + 1) {
        next = memchr(p, '/', (size_t)(end - p));
        next = next != NULL ? next : end;
        if (next - p < SEGMENT_MIN || next - p > SEGMENT_MAX)
            continue;
        rkey_exact(&s->key, (sb_str_t){p, (size_t)(next - p)}, SEGMENT_MAX);
        if (has_segment(s, base))
            chain(s, s->req->path, BEHIND_SEGMENT, false, on_path, '/', s->class->path_depths);
        s->key.len = base;
    }
}

static bool
in_path(struct search *s)
{
    sb_str_t path = s->class->b[C_FLAGS] & F_LOWER_PATH ? lowered(s->r, s->req->path) : s->req->path;
    size_t base = s->key.len;

    if (s->class->b[C_FLAGS] & F_SEGMENT) {
        in_segments(s);
    } else if (s->class->b[C_KINDS] & K_PATH) {
        chain(s, path, PATH_MAX_LEN, false, on_path, '/', s->class->path_depths);
    } else {
        rkey_add(&s->key, "\xff", 1);
        if (seek(s, NULL) && at_prefix(s))
            on_path(s);
        s->key.len = base;
    }
    return true;
}

static bool
in_name(struct search *s, unsigned form, sb_str_t name, bool (*fn)(struct search *s))
{
    size_t base = s->key.len;

    if (form == FORM_OPEN || form == FORM_NONTLS)
        return fn(s);
    if (form == FORM_EXACT) {
        rkey_exact(&s->key, name, NAME_MAX_LEN);
        fn(s);
        s->key.len = base;
    } else {
        chain(s, name, NAME_MAX_LEN, form == FORM_LEFT, fn, '.', s->class->host_depths);
    }
    return true;
}

static bool
in_host(struct search *s)
{
    sb_str_t host = s->class->b[C_FLAGS] & F_LOWER_HOST ? lowered(s->r, s->req->host) : s->req->host;

    return in_name(s, FORM_HOST(s->class->b[C_FORMS]), host, in_path);
}

static bool
in_sni(struct search *s)
{
    unsigned form = FORM_SNI(s->class->b[C_FORMS]);

    if (form == FORM_NONTLS ? s->tls : form != FORM_OPEN && (!s->tls || s->req->sni.len == 0))
        return true;
    if (s->r->flavor == SB_ROUTER_TRADITIONAL && (form == FORM_LEFT || form == FORM_RIGHT))
        return true;
    return in_name(s, form, s->req->sni, in_host);
}

static bool
in_method(struct search *s)
{
    size_t base = s->key.len;

    if (FORM_METHOD(s->class->b[C_FORMS]))
        rkey_exact(&s->key, s->req->method, METHOD_MAX);
    in_sni(s);
    s->key.len = base;
    return true;
}

/* The class's rows for each value of a header. */
static void
in_values(struct search *s, sb_str_t name)
{
    sb_str_t value;

    for (unsigned n = 0; request_header(s, name, n, &value); n++) {
        rkey_exact(&s->key, lowered(s->r, value), HEADER_VALUE_MAX);
        in_method(s);
        s->key.len = s->class->len;
    }
}

static void
in_class(struct search *s, struct class *c)
{
    sb_str_t name = {(const char *)c->b + C_NAME, c->len - C_NAME};
    char other[HEADER_NAME_MAX];

    s->class = c;
    s->key.len = 0;
    rkey_add(&s->key, c->b, c->len);
    if (name.len == 0) {
        in_method(s);
        return;
    }
    in_values(s, name);
    if (!is_expression_class(s) || memchr(name.data, '-', name.len) == NULL)
        return;
    for (size_t i = 0; i < name.len; i++) /* the language does not tell dashes from underscores */
        other[i] = name.data[i] == '-' ? '_' : name.data[i];
    in_values(s, (sb_str_t){other, name.len});
}

int
sb_router_match(sb_router_t *r, const sb_route_request_t *req, sb_route_match_t *out)
{
    struct search s;

    SB_CHECK_MAGIC(r, ROUTER_MAGIC);
    load_classes(r);
    s.r = r;
    s.req = req;
    s.out = out;
    s.tls = request_is_tls(req);
    s.found = false;
    out->n_captures = 0;
    for (size_t i = 0; i < r->n_classes; i++) {
        if (s.found && cannot_win(&s, &r->classes[i]))
            break;
        in_class(&s, &r->classes[i]);
    }
    return s.found ? SB_OK : SB_DECLINED;
}
