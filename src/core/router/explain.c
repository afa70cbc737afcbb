/*
 * Tries routes one by one; see explain.h. Each attribute of a route is looked at by itself, so that all that do not fit can be named. Ranks
 * and the texts that patterns are compared by are those of the index (rows.c, key.c, expression/). Start at sb_route_explain_add.
 */
#include "core/router/explain.h"

#include "core/base/json.h"
#include "core/router/expression/expression.h"
#include "core/router/router_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

struct verdict {
    sb_route_verdict_t v;
    struct route_row row; /* of the path that counts */
};

struct sb_route_explain {
    enum sb_router_flavor flavor;
    const sb_route_request_t *req;
    bool tls;
    struct regexes *regexes;
    struct expression_run run;
    size_t keep, n, total;
    struct verdict **kept; /* in order */
};

sb_route_explain_t *
sb_route_explain_new(enum sb_router_flavor flavor, const sb_route_request_t *req, size_t keep)
{
    sb_route_explain_t *x = sb_calloc(sizeof(*x));

    x->flavor = flavor;
    x->req = req;
    x->tls = request_is_tls(req);
    x->regexes = regexes_new();
    x->run.req = req;
    x->run.tls = x->tls;
    x->run.regexes = x->regexes;
    x->keep = keep;
    x->kept = sb_calloc((keep + 1) * sizeof(struct verdict *));
    return x;
}

static void
verdict_free(struct verdict *v)
{
    if (v == NULL)
        return;
    json_decref(v->v.row);
    json_decref(v->v.failed);
    free(v);
}

void
sb_route_explain_free(sb_route_explain_t *x)
{
    if (x == NULL)
        return;
    for (size_t i = 0; i < x->n; i++)
        verdict_free(x->kept[i]);
    expression_run_free(&x->run);
    regexes_free(x->regexes);
    free(x->kept);
    free(x);
}

/* ---------- saying what does not fit ---------- */

static void fail(struct verdict *v, const char *attribute, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void
fail(struct verdict *v, const char *attribute, const char *fmt, ...)
{
    size_t n;
    va_list ap;

    if (json_array_size(v->v.failed) == 0) {
        va_start(ap, fmt);
        vsnprintf(v->v.reason, sizeof(v->v.reason), fmt, ap);
        va_end(ap);
        n = strlen(v->v.reason);
        if (n == sizeof(v->v.reason) - 1) { /* cut: where a character ends */
            while (n > 0 && ((unsigned char)v->v.reason[n - 1] & 0xc0) == 0x80)
                n--;
            v->v.reason[n > 0 && (unsigned char)v->v.reason[n - 1] >= 0x80 ? n - 1 : n] = '\0';
        }
    }
    json_array_append_new(v->v.failed, json_string(attribute));
}

static sb_str_t
text_of(const json_t *s)
{
    return json_is_string(s) ? (sb_str_t){json_string_value(s), json_string_length(s)} : (sb_str_t){"", 0};
}

/* ---------- the attributes ---------- */

static void
try_hosts(const sb_route_explain_t *x, struct verdict *v)
{
    const json_t *hosts = json_object_get(v->v.row, "hosts");
    struct name_pattern p;
    bool but_port = false;

    for (size_t i = 0; i < json_array_size(hosts); i++) {
        name_pattern_parse(text_of(json_array_get(hosts, i)), true, &p);
        if (!name_pattern_matches(&p, x->req->host))
            continue;
        if (p.port == 0 || p.port == x->req->port)
            return;
        but_port = true;
    }
    if (but_port)
        fail(v, "hosts", "the host fits, but the port is %u", x->req->port);
    else if (json_array_size(hosts) != 0)
        fail(v, "hosts", "none of the hosts is '%.*s'", (int)x->req->host.len, x->req->host.data);
}

static void
try_methods(const sb_route_explain_t *x, struct verdict *v)
{
    const json_t *methods = json_object_get(v->v.row, "methods");

    for (size_t i = 0; i < json_array_size(methods); i++)
        if (sb_str_eq(text_of(json_array_get(methods, i)), x->req->method))
            return;
    if (json_array_size(methods) != 0)
        fail(v, "methods", "none of the methods is %.*s", (int)x->req->method.len, x->req->method.data);
}

static void
try_snis(const sb_route_explain_t *x, struct verdict *v)
{
    const json_t *snis = json_object_get(v->v.row, "snis");
    struct name_pattern p;

    if (!x->tls || json_array_size(snis) == 0)
        return;
    for (size_t i = 0; x->req->sni.len != 0 && i < json_array_size(snis); i++) {
        sni_pattern_parse(text_of(json_array_get(snis, i)), &p);
        if ((p.form == FORM_EXACT || x->flavor != SB_ROUTER_TRADITIONAL) && name_pattern_matches(&p, x->req->sni))
            return;
    }
    fail(v, "snis", "none of the names is '%.*s'", (int)x->req->sni.len, x->req->sni.data);
}

static bool
header_value_fits(const sb_route_explain_t *x, const json_t *wanted, sb_str_t value)
{
    for (size_t i = 0; i < json_array_size(wanted); i++) {
        sb_str_t w = text_of(json_array_get(wanted, i));
        if (sb_str_starts(w, SB_STR("~*")) ? regexes_match(x->regexes, (sb_str_t){w.data + 2, w.len - 2}, true, value, NULL, NULL, 1) != 0
                                           : sb_str_ieq(w, value))
            return true;
    }
    return false;
}

/* Names in a request are in lower case. */
static bool
header_fits(const sb_route_explain_t *x, const char *name, const json_t *wanted, bool *there)
{
    char *low = sb_strdup_len(name, strlen(name));
    bool fits = false;
    sb_str_t value;

    for (char *c = low; *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c | 0x20);
    *there = false;
    for (unsigned n = 0; !fits && x->req->header != NULL && x->req->header(x->req->arg, (sb_str_t){low, strlen(low)}, n, &value); n++) {
        *there = true;
        fits = header_value_fits(x, wanted, value);
    }
    free(low);
    return fits;
}

static void
try_headers(const sb_route_explain_t *x, struct verdict *v)
{
    const char *name;
    json_t *wanted;
    bool there;

    json_object_foreach(json_object_get(v->v.row, "headers"), name, wanted)
    {
        if (header_fits(x, name, wanted, &there))
            continue;
        fail(v, "headers", there ? "no value of header '%s' fits" : "there is no header '%s'", name);
        return;
    }
}

/* Sources and destinations of HTTP routes count with expressions only. */
static void
try_addresses(sb_route_explain_t *x, struct verdict *v)
{
    static const char *const names[] = {"sources", "destinations"};

    for (int i = 0; x->flavor == SB_ROUTER_EXPRESSIONS && i < 2; i++) {
        json_t *one = json_pack("{s:O*}", names[i], json_object_get(v->v.row, names[i]));
        sb_buf_t program = {0};
        expression_compile_addresses(one, &program);
        if (program.len != 0 && !expression_run(&x->run, program.data, program.len))
            fail(v, names[i], "none of the %s is %.*s", names[i], (int)(i == 0 ? x->req->src_ip : x->req->dst_ip).len,
                 (i == 0 ? x->req->src_ip : x->req->dst_ip).data);
        sb_buf_free(&program);
        json_decref(one);
    }
}

/* ---------- paths ---------- */

/* Whether the path fits; then m says how. */
static bool
path_fits(const sb_route_explain_t *x, sb_str_t path, sb_route_match_t *m)
{
    char *pattern;

    m->is_regex = path.len != 0 && path.data[0] == '~';
    m->n_captures = 0;
    m->prefix_len = path.len;
    if (!m->is_regex)
        return sb_str_starts(x->req->path, path);
    pattern = sb_strdup_len(path.data, path.len);
    pattern[0] = '^';
    m->n_captures =
        regexes_match(x->regexes, (sb_str_t){pattern, path.len}, false, x->req->path, m->captures, m->capture_names, SB_ROUTER_CAPTURES);
    m->prefix_len = m->n_captures != 0 && m->captures[0].data == x->req->path.data ? m->captures[0].len : 0;
    free(pattern);
    return m->n_captures != 0;
}

/* Within one route: by precedence of the entries, in one entry regexes, then the longest, then the first. */
static bool
better_path(const sb_route_explain_t *x, const struct route_row *a, bool a_regex, const struct route_row *b, bool b_regex)
{
    int c = x->flavor != SB_ROUTER_TRADITIONAL ? rank_compare(x->flavor, &a->rank, &b->rank) : 0;

    if (c != 0)
        return c > 0;
    if (a_regex != b_regex)
        return a_regex;
    return a->path_len != b->path_len ? a->path_len > b->path_len : a->path_index < b->path_index;
}

static void
try_paths(const sb_route_explain_t *x, struct verdict *v, const sb_uuid_t *ws, uint64_t version)
{
    const json_t *paths = json_object_get(v->v.row, "paths");
    struct route_row row;
    sb_route_match_t m;
    bool found = false;

    if (json_array_size(paths) == 0) {
        row_of_path(v->v.row, ws, version, 0, &v->row);
        return;
    }
    for (size_t i = 0; i < json_array_size(paths); i++) {
        if (!path_fits(x, text_of(json_array_get(paths, i)), &m) || !row_of_path(v->v.row, ws, version, i, &row))
            continue;
        if (found && !better_path(x, &row, m.is_regex, &v->row, v->v.match.is_regex))
            continue;
        found = true;
        v->row = row;
        v->v.match = m;
        v->v.match.has_path = true;
    }
    if (!found)
        fail(v, "paths", "none of the paths fits '%.*s'", (int)x->req->path.len, x->req->path.data);
}

/* ---------- expressions ---------- */

static void
run_whole(sb_route_explain_t *x, struct verdict *v, const struct expression *e)
{
    sb_route_match_t *m = &v->v.match;
    sb_buf_t program = {0};
    sb_str_t part;

    expression_compile(e, &program);
    if (expression_run(&x->run, program.data, program.len)) {
        m->has_path = x->run.hit.any;
        m->is_regex = x->run.hit.regex != NULL;
        m->prefix_len = x->run.hit.prefix_len;
        m->n_captures = expression_captures(&x->run, m->captures, m->capture_names);
    } else {
        part = expression_blame(e, &x->run);
        fail(v, "expression", "this part does not hold: %.*s", (int)part.len, part.data);
    }
    sb_buf_free(&program);
}

static void
try_expression(sb_route_explain_t *x, struct verdict *v, sb_str_t text, const sb_uuid_t *ws, uint64_t version)
{
    sb_pool_t *pool = sb_pool_new(0);
    const struct expression *e;
    sb_err_t err = {0};

    row_of_path(v->v.row, ws, version, 0, &v->row);
    v->row.rank.priority = rank_of_expression(sb_json_int(v->v.row, "priority", 0));
    if ((expression_protocols(v->row.brief.protocols) & (x->tls ? PROTOCOL_HTTPS : PROTOCOL_HTTP)) == 0)
        fail(v, "protocols", "the connection is %s", x->tls ? "https" : "http");
    if (expression_parse(pool, text, false, &e, &err) == SB_OK)
        run_whole(x, v, e);
    else
        fail(v, "expression", "it does not parse");
    sb_err_clear(&err);
    sb_pool_free(pool);
}

/* ---------- all of it ---------- */

static int
before(const sb_route_explain_t *x, const struct verdict *a, const struct verdict *b)
{
    size_t m = json_array_size(a->v.failed), n = json_array_size(b->v.failed);

    if (m != n)
        return m < n ? 1 : -1;
    return rank_compare(x->flavor, &a->row.rank, &b->row.rank);
}

static void
keep(sb_route_explain_t *x, struct verdict *v)
{
    size_t i = x->n;

    for (; i > 0 && before(x, v, x->kept[i - 1]) > 0; i--)
        x->kept[i] = x->kept[i - 1];
    x->kept[i] = v;
    x->n++;
    if (x->n > x->keep) {
        verdict_free(x->kept[--x->n]);
        x->kept[x->n] = NULL;
    }
}

void
sb_route_explain_add(sb_route_explain_t *x, json_t *row, const sb_uuid_t *ws, uint64_t version, bool disabled)
{
    struct verdict *v = sb_calloc(sizeof(*v));
    const char *text = x->flavor == SB_ROUTER_EXPRESSIONS ? sb_json_string(row, "expression") : NULL;

    v->v.row = json_incref(row);
    v->v.failed = json_array();
    if (!row_of_path(row, ws, version, 0, &v->row)) {
        verdict_free(v);
        return;
    }
    x->total++;
    if ((v->row.brief.protocols & (SB_PROTO_HTTP | SB_PROTO_HTTPS | SB_PROTO_GRPC | SB_PROTO_GRPCS)) == 0)
        fail(v, "protocols", "the route is for streams");
    if (disabled)
        fail(v, "service", "the service is disabled");
    if (text != NULL) {
        try_expression(x, v, (sb_str_t){text, strlen(text)}, ws, version);
    } else {
        try_hosts(x, v);
        try_paths(x, v, ws, version);
        try_methods(x, v);
        try_headers(x, v);
        try_snis(x, v);
        try_addresses(x, v);
    }
    v->v.match.brief = v->row.brief;
    v->v.match.brief.path_handling_v1 = v->row.brief.path_handling_v1 && x->flavor == SB_ROUTER_TRADITIONAL;
    v->v.fits = json_array_size(v->v.failed) == 0;
    keep(x, v);
}

size_t
sb_route_explain_total(const sb_route_explain_t *x)
{
    return x->total;
}

const sb_route_verdict_t *
sb_route_explain_at(const sb_route_explain_t *x, size_t i)
{
    return i < x->n ? &x->kept[i]->v : NULL;
}
