/*
 * Runs a program on a request. Nothing is allocated but the buffers of the run, which are kept. The program is read with memcpy, as it
 * lies unaligned in the read model, and lengths are checked: a damaged one does not match. Start at expression_run.
 *
 * A branch of || that fails, and what stands behind !, leave no hit: the captures that a route gets are those of predicates that hold.
 */
#include "core/router/expression/expression_int.h"

#include "core/base/args.h"
#include "core/router/router_int.h"

#define VALUES_MAX 100

/* A predicate taken out of the program. */
struct reading {
    const char *at; /* which */
    struct code c;
    sb_str_t name, text;
    uint32_t from, to;
    int64_t number;
    struct ip ip;
};

/* ---------- comparing ---------- */

static bool
contains(sb_str_t s, sb_str_t part)
{
    return part.len == 0 || (s.len >= part.len && memmem(s.data, s.len, part.data, part.len) != NULL);
}

static sb_str_t
lowered(struct expression_run *run, sb_str_t s)
{
    sb_buf_reset(&run->lowered);
    sb_buf_add(&run->lowered, s.data, s.len);
    for (size_t i = 0; i < s.len; i++)
        if (run->lowered.data[i] >= 'A' && run->lowered.data[i] <= 'Z')
            run->lowered.data[i] = (char)(run->lowered.data[i] | 0x20);
    return (sb_str_t){run->lowered.data, s.len};
}

/* Of http.path: captures are kept, as texts of the path itself, whatever was compared. */
static bool
path_regex_fits(struct expression_run *run, const struct reading *rd, sb_str_t value)
{
    unsigned n = regexes_match(run->regexes, rd->text, false, value, run->captures, run->names, SB_ROUTER_CAPTURES);

    if (n == 0)
        return false;
    for (unsigned i = 0; i < n; i++)
        if (run->captures[i].data != NULL)
            run->captures[i].data = run->req->path.data + (run->captures[i].data - value.data);
    run->holder = rd->at;
    run->n_captures = n;
    run->hit.any = true;
    run->hit.regex = rd->at;
    run->hit.prefix_len = run->captures[0].data == run->req->path.data ? run->captures[0].len : 0;
    return true;
}

static bool
path_prefix_fits(struct expression_run *run, const struct reading *rd, sb_str_t value)
{
    if (!sb_str_starts(value, rd->text))
        return false;
    run->hit.any = true;
    run->hit.prefix_len = rd->text.len;
    return true;
}

static bool
string_fits(struct expression_run *run, const struct reading *rd, sb_str_t v)
{
    bool path = rd->c.field == FIELD_PATH;

    if (rd->c.flags & CODE_LOWER)
        v = lowered(run, v);
    switch (rd->c.cmp) {
    case CMP_EQ:
        return sb_str_eq(v, rd->text);
    case CMP_NE:
        return !sb_str_eq(v, rd->text);
    case CMP_PREFIX:
        return path ? path_prefix_fits(run, rd, v) : sb_str_starts(v, rd->text);
    case CMP_SUFFIX:
        return v.len >= rd->text.len && sb_str_eq((sb_str_t){v.data + v.len - rd->text.len, rd->text.len}, rd->text);
    case CMP_CONTAINS:
        return contains(v, rd->text);
    case CMP_REGEX:
        return path ? path_regex_fits(run, rd, v) : regexes_match(run->regexes, rd->text, false, v, NULL, NULL, 1) != 0;
    default:
        return false;
    }
}

static bool
number_fits(const struct reading *rd, int64_t v)
{
    switch (rd->c.cmp) {
    case CMP_EQ:
        return v == rd->number;
    case CMP_NE:
        return v != rd->number;
    case CMP_GT:
        return v > rd->number;
    case CMP_GE:
        return v >= rd->number;
    case CMP_LT:
        return v < rd->number;
    case CMP_LE:
        return v <= rd->number;
    default:
        return false;
    }
}

static bool
ip_fits(const struct reading *rd, sb_str_t text)
{
    struct ip v;
    bool in;

    if (!ip_parse(text, &v))
        return false;
    in = ip_in(&v, &rd->ip); /* an address is a range of itself */
    return rd->c.cmp == CMP_EQ || rd->c.cmp == CMP_IN ? in : !in;
}

/* ---------- fields ---------- */

/* Where segment n of the path starts; false when there are not so many. A slash at the end makes no segment. */
static bool
segment_at(sb_str_t path, uint32_t n, size_t *start)
{
    size_t i = path.len != 0 && path.data[0] == '/';

    for (; n != 0; n--) {
        const char *slash = i < path.len ? memchr(path.data + i, '/', path.len - i) : NULL;
        if (slash == NULL)
            return false;
        i = (size_t)(slash - path.data) + 1;
    }
    *start = i;
    return i < path.len;
}

static bool
segments(sb_str_t path, uint32_t from, uint32_t to, sb_str_t *out)
{
    size_t start, last;
    const char *end;

    if (!segment_at(path, from, &start) || !segment_at(path, to, &last))
        return false;
    end = memchr(path.data + last, '/', path.len - last);
    *out = (sb_str_t){path.data + start, end != NULL ? (size_t)(end - path.data) - start : path.len - start};
    return true;
}

static int64_t
segments_len(sb_str_t path)
{
    int64_t n = 0;

    for (size_t i = 0; i < path.len; i++)
        n += path.data[i] != '/' && (i == 0 || path.data[i - 1] == '/');
    return n;
}

static sb_str_t
decoded(sb_buf_t *buf, sb_str_t s)
{
    sb_buf_reset(buf);
    if (s.len == 0)
        return SB_STR("");
    sb_buf_add(buf, s.data, s.len);
    return (sb_str_t){buf->data, sb_args_decode(s, buf->data)};
}

/* An underscore of the expression stands for a dash too, which a field name cannot hold. */
static bool
name_fits(sb_str_t wanted, sb_str_t name)
{
    if (wanted.len != name.len)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (wanted.data[i] != name.data[i] && !(wanted.data[i] == '_' && name.data[i] == '-'))
            return false;
    return true;
}

/* Feeds the values of a field with several: all must fit, or one with any(); none does not. */
struct tally {
    bool any, some, fits;
};

static bool
tally_value(struct expression_run *run, const struct reading *rd, struct tally *t, sb_str_t value)
{
    bool fits = string_fits(run, rd, value);

    t->fits = t->some ? (t->any ? t->fits || fits : t->fits && fits) : fits;
    t->some = true;
    return t->fits != t->any; /* go on? */
}

static bool
query_fits(struct expression_run *run, const struct reading *rd)
{
    sb_str_t query = run->req->query, name, value;
    struct tally t = {(rd->c.flags & CODE_ANY) != 0, false, false};

    for (unsigned n = 0; n < VALUES_MAX && sb_args_next(&query, &name, &value); n++)
        if (name_fits(rd->name, decoded(&run->name, name)) && !tally_value(run, rd, &t, decoded(&run->decoded, value)))
            break;
    return t.some && t.fits;
}

/* Both spellings of a name with underscores: with dashes (as compiled) and as it is in the expression. */
static bool
header_fits(struct expression_run *run, const struct reading *rd)
{
    const sb_route_request_t *req = run->req;
    struct tally t = {(rd->c.flags & CODE_ANY) != 0, false, false};
    sb_str_t value, other;

    if (req->header == NULL)
        return false;
    for (unsigned n = 0; n < VALUES_MAX && req->header(req->arg, rd->name, n, &value); n++)
        if (!tally_value(run, rd, &t, value))
            return t.fits;
    if (rd->name.len != 0 && memchr(rd->name.data, '-', rd->name.len) != NULL) {
        sb_buf_reset(&run->name);
        sb_buf_add(&run->name, rd->name.data, rd->name.len);
        for (size_t i = 0; i < run->name.len; i++)
            if (run->name.data[i] == '-')
                run->name.data[i] = '_';
        other = (sb_str_t){run->name.data, run->name.len};
        for (unsigned n = 0; n < VALUES_MAX && req->header(req->arg, other, n, &value); n++)
            if (!tally_value(run, rd, &t, value))
                break;
    }
    return t.some && t.fits;
}

static bool
predicate_fits(struct expression_run *run, const struct reading *rd)
{
    const sb_route_request_t *req = run->req;
    sb_str_t v;

    switch (rd->c.field) {
    case FIELD_PROTOCOL:
        return string_fits(run, rd, run->protocol.len != 0 ? run->protocol : run->tls ? SB_STR("https") : SB_STR("http"));
    case FIELD_SNI:
        return run->tls && req->sni.len != 0 && string_fits(run, rd, req->sni);
    case FIELD_METHOD:
        return string_fits(run, rd, req->method);
    case FIELD_HOST:
        return req->host.len != 0 && string_fits(run, rd, req->host);
    case FIELD_PATH:
        return string_fits(run, rd, req->path);
    case FIELD_SEGMENTS:
        return segments(req->path, rd->from, rd->to, &v) && string_fits(run, rd, v);
    case FIELD_SEGMENTS_LEN:
        return number_fits(rd, segments_len(req->path));
    case FIELD_HEADER:
        return header_fits(run, rd);
    case FIELD_QUERY:
        return query_fits(run, rd);
    case FIELD_SRC_IP:
        return ip_fits(rd, req->src_ip);
    case FIELD_DST_IP:
        return ip_fits(rd, req->dst_ip);
    case FIELD_SRC_PORT:
        return number_fits(rd, req->src_port);
    case FIELD_DST_PORT:
        return number_fits(rd, req->port);
    default:
        return false;
    }
}

/* ---------- the program ---------- */

/* Takes n bytes off the front of what is left. */
static bool
take(sb_str_t *left, void *out, size_t n)
{
    if (left->len < n)
        return false;
    memcpy(out, left->data, n);
    *left = (sb_str_t){left->data + n, left->len - n};
    return true;
}

static bool
read_predicate(const char *at, const struct code *c, struct reading *rd)
{
    sb_str_t left = {at + sizeof(*c), c->len - sizeof(*c)};
    uint32_t name_len;

    rd->at = at;
    rd->c = *c;
    switch (c->field) {
    case FIELD_SEGMENTS_LEN:
    case FIELD_SRC_PORT:
    case FIELD_DST_PORT:
        return take(&left, &rd->number, sizeof(rd->number));
    case FIELD_SRC_IP:
    case FIELD_DST_IP:
        return take(&left, &rd->ip, sizeof(rd->ip)) && rd->ip.bits <= 8 * sizeof(rd->ip.b);
    case FIELD_HEADER:
    case FIELD_QUERY:
        if (!take(&left, &name_len, sizeof(name_len)) || name_len > left.len)
            return false;
        rd->name = (sb_str_t){left.data, name_len};
        left = (sb_str_t){left.data + name_len, left.len - name_len};
        break;
    case FIELD_SEGMENTS:
        if (!take(&left, &rd->from, sizeof(rd->from)) || !take(&left, &rd->to, sizeof(rd->to)))
            return false;
        break;
    default:
        break;
    }
    rd->text = left;
    return true;
}

static bool run_node(struct expression_run *run, const char *at, size_t len, unsigned depth);

/* AND stops at the first that does not fit, OR at the first that does. */
static bool
run_children(struct expression_run *run, const char *at, size_t left, bool stop_at, unsigned depth)
{
    struct expression_hit before = run->hit;
    struct code c;
    bool fits = false;

    for (; left >= sizeof(c); at += c.len, left -= c.len) {
        memcpy(&c, at, sizeof(c));
        if (c.len < sizeof(c) || c.len > left)
            return false;
        fits = run_node(run, at, c.len, depth);
        if (fits == stop_at)
            break;
        if (!fits)
            run->hit = before;
    }
    return fits;
}

static bool
run_node(struct expression_run *run, const char *at, size_t len, unsigned depth)
{
    struct expression_hit before;
    struct reading rd;
    struct code c;
    bool fits;

    memcpy(&c, at, sizeof(c));
    if (c.op == OP_PREDICATE)
        return read_predicate(at, &c, &rd) && predicate_fits(run, &rd);
    if (depth == 0)
        return false;
    if (c.op == OP_AND || c.op == OP_OR)
        return run_children(run, at + sizeof(c), len - sizeof(c), c.op == OP_OR, depth - 1);
    before = run->hit;
    fits = run_children(run, at + sizeof(c), len - sizeof(c), true, depth - 1);
    run->hit = before;
    return !fits;
}

bool
expression_run(struct expression_run *run, const char *program, size_t len)
{
    struct code c;

    run->hit = (struct expression_hit){false, 0, NULL};
    run->holder = NULL;
    if (len < sizeof(c))
        return false;
    memcpy(&c, program, sizeof(c));
    return c.len == len && run_node(run, program, len, 3 * NESTING_MAX + 3);
}

unsigned
expression_captures(struct expression_run *run, sb_str_t *captures, const char **names)
{
    const char *at = run->hit.regex;
    struct expression_hit hit = run->hit;
    struct reading rd;
    struct code c;

    if (at == NULL)
        return 0;
    if (run->holder != at) { /* another regex ran since, in a branch that failed */
        memcpy(&c, at, sizeof(c));
        if (!read_predicate(at, &c, &rd) || !string_fits(run, &rd, run->req->path))
            return 0;
        run->hit = hit;
    }
    memcpy(captures, run->captures, run->n_captures * sizeof(*captures));
    memcpy(names, run->names, run->n_captures * sizeof(*names));
    return run->n_captures;
}

void
expression_run_free(struct expression_run *run)
{
    sb_buf_free(&run->lowered);
    sb_buf_free(&run->decoded);
    sb_buf_free(&run->name);
}
