/*
 * Routes of streams (TCP, UDP, TLS): their index rows, and the lookup among them. A connection has few properties, so there are three kinds
 * of rows, each in the order of precedence:
 *
 *   key  =  class {K_STREAM, kind, 0, 0, 0}  what selects  rank        (rank inverted: the best first)
 *
 *     BY_SNI    the name in lower case and a NUL; one row per name      routes whose names are all plain
 *     BY_PORT   the connection's destination port, two bytes            routes whose destinations all have a port
 *     BY_NONE   nothing                                                 all others: wildcards, sources only
 *
 * A lookup seeks once per kind and walks rows until one fits. So names and ports cost nothing with more routes; routes of the third
 * kind are tried one after the other. The value holds all conditions, so that a row can be checked whatever selected it.
 */
#include "core/router/router_int.h"

#include "core/base/json.h"
#include "core/base/log.h"
#include "core/model/cursor.h"
#include "core/router/expression/expression.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

#define STREAM_MAGIC 0x53425353u
#define NAMES_MAX    1024

enum kind { BY_SNI, BY_PORT, BY_NONE };

/* Of a source or destination. IPv4 addresses are mapped into IPv6. */
struct address {
    unsigned char ip[16];
    uint8_t bits; /* of the network; 0 with any_ip */
    uint8_t any_ip;
    uint16_t port; /* 0: any */
};

struct stream_row {
    sb_route_brief_t brief;
    struct rank rank;
    uint16_t sources, destinations, snis; /* how many of each follow: addresses, then u32 length and text of names */
    uint32_t program;                     /* length of the expression's program, which follows alone; 0: none */
};

struct sb_stream_router {
    uint32_t magic;
    sb_model_cursor_t *cursor;
    enum sb_router_flavor flavor;
    struct expression_run run;
};

/* ---------- writing ---------- */

static bool
parse_ip(const char *text, size_t len, struct address *a)
{
    char buf[INET6_ADDRSTRLEN];
    struct in_addr v4;

    if (len >= sizeof(buf))
        return false;
    memcpy(buf, text, len);
    buf[len] = '\0';
    if (inet_pton(AF_INET6, buf, a->ip) == 1) {
        a->bits = 128;
        return true;
    }
    if (inet_pton(AF_INET, buf, &v4) != 1)
        return false;
    memset(a->ip, 0, 10);
    a->ip[10] = a->ip[11] = 0xff;
    memcpy(a->ip + 12, &v4, 4);
    a->bits = 128;
    return true;
}

static bool
parse_address(const json_t *item, struct address *a)
{
    const char *ip = sb_json_string(item, "ip"), *slash;
    long bits;

    memset(a, 0, sizeof(*a));
    a->port = (uint16_t)sb_json_int(item, "port", 0);
    a->any_ip = ip == NULL;
    if (ip == NULL)
        return true;
    slash = strchr(ip, '/');
    if (!parse_ip(ip, slash != NULL ? (size_t)(slash - ip) : strlen(ip), a))
        return false;
    if (slash == NULL)
        return true;
    bits = strtol(slash + 1, NULL, 10) + (memchr(ip, ':', (size_t)(slash - ip)) == NULL ? 96 : 0);
    if (bits < 0 || bits > 128)
        return false;
    a->bits = (uint8_t)bits;
    return true;
}

/* What a list of addresses adds to the precedence: exact addresses weigh most, then ports, then networks. */
static unsigned
weight(const json_t *list)
{
    unsigned w = 0;
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        const char *ip = sb_json_string(item, "ip");
        if (ip != NULL)
            w |= strchr(ip, '/') != NULL ? 1 : 8;
        if (sb_json_int(item, "port", -1) >= 0)
            w |= 4;
    }
    return w;
}

static uint16_t
put_addresses(sb_buf_t *value, const json_t *list)
{
    const json_t *item;
    struct address a;
    uint16_t n = 0;
    size_t i;

    json_array_foreach(list, i, item)
    {
        if (n == UINT16_MAX || !parse_address(item, &a))
            continue; /* the schema has let only addresses in */
        sb_buf_add(value, &a, sizeof(a));
        n++;
    }
    return n;
}

static uint16_t
put_names(sb_buf_t *value, const json_t *list)
{
    size_t n = json_array_size(list);

    n = n < UINT16_MAX ? n : UINT16_MAX;
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        uint32_t len = name != NULL ? (uint32_t)strlen(name) : 0;
        sb_buf_add(value, &len, sizeof(len));
        sb_buf_add(value, name, len);
    }
    return (uint16_t)n;
}

struct emission {
    struct rkey key;
    size_t class_len;
    sb_buf_t value;
    const struct rank *rank;
    uint32_t ordinal;
    int (*fn)(const struct sb_index_row *row, void *arg);
    void *arg;
};

static void
begin_key(struct emission *m, enum kind kind)
{
    unsigned char class[C_NAME] = {K_STREAM, (unsigned char)kind};

    m->key.len = 0;
    rkey_add(&m->key, class, sizeof(class));
    m->class_len = m->key.len;
}

static int
emit(struct emission *m)
{
    struct sb_index_row out;

    rkey_rank(&m->key, m->rank, m->ordinal++);
    out = (struct sb_index_row){{(const char *)m->key.b, m->key.len}, {m->value.data, m->value.len}, m->class_len};
    return m->fn(&out, m->arg);
}

static struct name_pattern
name_of(sb_str_t text)
{
    struct name_pattern p;

    name_pattern_parse(text, false, &p);
    if (p.form != FORM_RIGHT && p.text.len > 1 && p.text.data[p.text.len - 1] == '.')
        p.text.len--; /* the root's dot */
    return p;
}

static sb_str_t
text_at(const json_t *list, size_t i)
{
    const json_t *s = json_array_get(list, i);

    return json_is_string(s) ? (sb_str_t){json_string_value(s), json_string_length(s)} : SB_STR("");
}

static bool
all_plain(const json_t *snis)
{
    size_t n = json_array_size(snis);

    for (size_t i = 0; i < n; i++)
        if (name_of(text_at(snis, i)).form != FORM_EXACT)
            return false;
    return n != 0 && n <= NAMES_MAX;
}

static void
lower_key(struct rkey *k, size_t from)
{
    for (size_t i = from; i < k->len; i++)
        if (k->b[i] >= 'A' && k->b[i] <= 'Z')
            k->b[i] |= 0x20;
}

static void
key_name(struct rkey *k, sb_str_t name)
{
    size_t from = k->len, n = name.len < NAME_MAX_LEN ? name.len : NAME_MAX_LEN;

    rkey_add(k, name.data, n);
    lower_key(k, from);
    rkey_add(k, "", 1);
}

static void
key_port(struct rkey *k, uint16_t port)
{
    unsigned char b[2] = {(unsigned char)(port >> 8), (unsigned char)port};

    rkey_add(k, b, sizeof(b));
}

static bool
all_ports(const json_t *destinations)
{
    const json_t *item;
    size_t i;

    json_array_foreach(destinations, i, item)
    {
        if (sb_json_int(item, "port", 0) == 0)
            return false;
    }
    return json_array_size(destinations) != 0;
}

/* Rows that connections without a name find, too. */
static int
emit_by_address(struct emission *m, const json_t *destinations)
{
    const json_t *item;
    size_t i;
    int rc = SB_OK;

    if (!all_ports(destinations)) {
        begin_key(m, BY_NONE);
        return emit(m);
    }
    json_array_foreach(destinations, i, item)
    {
        begin_key(m, BY_PORT);
        key_port(&m->key, (uint16_t)sb_json_int(item, "port", 0));
        if ((rc = emit(m)) != SB_OK)
            break;
    }
    return rc;
}

static int
emit_by_name(struct emission *m, const json_t *snis)
{
    int rc = SB_OK;

    for (size_t i = 0; i < json_array_size(snis) && rc == SB_OK; i++) {
        begin_key(m, BY_SNI);
        key_name(&m->key, name_of(text_at(snis, i)).text);
        rc = emit(m);
    }
    return rc;
}

/* A route with an expression is tried by its priority, before all without. */
static int
emit_expression(struct emission *m, const json_t *route, struct stream_row *row)
{
    const char *text = sb_json_string(route, "expression");
    sb_pool_t *pool = sb_pool_new(0);
    const struct expression *e;
    sb_err_t err = {0};
    int rc = SB_OK;

    if (expression_parse(pool, (sb_str_t){text, strlen(text)}, true, &e, &err) == SB_OK) {
        row->rank.priority = rank_of_expression(sb_json_int(route, "priority", 0));
        sb_buf_add(&m->value, row, sizeof(*row));
        expression_compile(e, &m->value);
        row->program = (uint32_t)(m->value.len - sizeof(*row));
        memcpy(m->value.data, row, sizeof(*row));
        begin_key(m, BY_NONE);
        rc = emit(m);
    } else
        sb_log(SB_LOG_ERR, "router: a route's expression does not parse, so it never matches: %s", err.message);
    sb_err_clear(&err);
    sb_pool_free(pool);
    return rc;
}

int
stream_index_rows(const json_t *route, const sb_route_brief_t *brief, const struct rank *kinds,
                  int (*fn)(const struct sb_index_row *, void *), void *arg)
{
    const json_t *snis = json_object_get(route, "snis"), *sources = json_object_get(route, "sources"),
                 *destinations = json_object_get(route, "destinations");
    struct stream_row row = {.brief = *brief, .rank = *kinds};
    struct emission m = {.rank = &row.rank, .fn = fn, .arg = arg};
    bool both = json_array_size(sources) != 0 && json_array_size(destinations) != 0;
    int rc = SB_OK;

    row.rank.entry = brief->route;
    if (sb_json_string(route, "expression") != NULL) {
        rc = emit_expression(&m, route, &row);
        sb_buf_free(&m.value);
        return rc;
    }
    row.rank.priority = (uint64_t)(json_array_size(snis) != 0 || both) << 61 | weight(sources) << 4 | weight(destinations);
    sb_buf_add(&m.value, &row, sizeof(row));
    row.sources = put_addresses(&m.value, sources);
    row.destinations = put_addresses(&m.value, destinations);
    row.snis = put_names(&m.value, snis);
    memcpy(m.value.data, &row, sizeof(row));
    if (all_plain(snis)) {
        rc = emit_by_name(&m, snis);
        if (rc == SB_OK && (brief->protocols & (SB_PROTO_TCP | SB_PROTO_UDP)) != 0)
            rc = emit_by_address(&m, destinations);
    } else
        rc = emit_by_address(&m, destinations);
    sb_buf_free(&m.value);
    return rc;
}

/* ---------- looking up ---------- */

sb_stream_router_t *
sb_stream_router_new(sb_model_reader_t *reader, enum sb_router_flavor flavor)
{
    sb_stream_router_t *r = sb_calloc(sizeof(*r));

    r->magic = STREAM_MAGIC;
    r->cursor = sb_model_cursor_new(reader);
    r->flavor = flavor;
    r->run.regexes = regexes_new();
    return r;
}

void
sb_stream_router_free(sb_stream_router_t *r)
{
    if (r == NULL)
        return;
    SB_CHECK_MAGIC(r, STREAM_MAGIC);
    sb_model_cursor_free(r->cursor);
    regexes_free(r->run.regexes);
    expression_run_free(&r->run);
    r->magic = 0;
    free(r);
}

/* One end of the connection in the form of rows. */
static void
end_of(const struct sockaddr *sa, struct address *a)
{
    memset(a, 0, sizeof(*a));
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)sa;
        a->ip[10] = a->ip[11] = 0xff;
        memcpy(a->ip + 12, &v4->sin_addr, 4);
        a->port = ntohs(v4->sin_port);
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)sa;
        memcpy(a->ip, &v6->sin6_addr, 16);
        a->port = ntohs(v6->sin6_port);
    } else
        a->any_ip = 1; /* a unix socket has no address: only rows without one fit */
}

static bool
same_network(const struct address *wanted, const struct address *is)
{
    unsigned bytes = wanted->bits / 8, rest = wanted->bits % 8;

    if (is->any_ip || memcmp(wanted->ip, is->ip, bytes) != 0)
        return false;
    return rest == 0 || ((wanted->ip[bytes] ^ is->ip[bytes]) & (0xff << (8 - rest)) & 0xff) == 0;
}

/* Takes n addresses off the row; true when there are none or one fits. */
static bool
addresses_fit(sb_str_t *rest, unsigned n, const struct address *is)
{
    bool fit = n == 0;
    struct address a;

    if (rest->len / sizeof(a) < n)
        return false;
    for (unsigned i = 0; i < n; i++) {
        memcpy(&a, rest->data + i * sizeof(a), sizeof(a));
        fit = fit || ((a.port == 0 || a.port == is->port) && (a.any_ip || same_network(&a, is)));
    }
    rest->data += n * sizeof(a);
    rest->len -= n * sizeof(a);
    return fit;
}

static bool
names_fit(const sb_stream_router_t *r, sb_str_t rest, unsigned n, sb_str_t sni)
{
    for (unsigned i = 0; i < n; i++) {
        struct name_pattern p;
        uint32_t len;
        if (rest.len < sizeof(len))
            return false;
        memcpy(&len, rest.data, sizeof(len));
        if (len > rest.len - sizeof(len))
            return false;
        p = name_of((sb_str_t){rest.data + sizeof(len), len});
        if ((p.form == FORM_EXACT && sb_str_ieq(p.text, sni)) ||
            (p.form != FORM_EXACT && r->flavor != SB_ROUTER_TRADITIONAL && name_pattern_matches(&p, sni)))
            return true;
        rest.data += sizeof(len) + len;
        rest.len -= sizeof(len) + len;
    }
    return n == 0;
}

struct lookup {
    sb_stream_router_t *r;
    const sb_stream_request_t *req;
    struct address source, destination;
    struct stream_row best;
    bool found;
};

static sb_str_t
ip_text(const struct sockaddr *sa, char *buf, size_t size)
{
    const void *ip = sa->sa_family == AF_INET ? (const void *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr
                                              : (const void *)&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;

    if ((sa->sa_family != AF_INET && sa->sa_family != AF_INET6) || inet_ntop(sa->sa_family, ip, buf, (socklen_t)size) == NULL)
        return SB_STR("");
    return (sb_str_t){buf, strlen(buf)};
}

/* Bytes passed through are TCP to an expression. */
static bool
expression_fits(struct lookup *l, sb_str_t program)
{
    char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
    const sb_stream_request_t *req = l->req;
    sb_route_request_t fields = {.sni = req->sni,
                                 .src_ip = ip_text(req->source, source, sizeof(source)),
                                 .dst_ip = ip_text(req->destination, destination, sizeof(destination)),
                                 .src_port = l->source.port,
                                 .port = l->destination.port};
    struct expression_run *run = &l->r->run;

    if (l->r->flavor != SB_ROUTER_EXPRESSIONS)
        return false;
    run->req = &fields;
    run->tls = req->tls;
    run->protocol = req->protocols & SB_PROTO_UDP ? SB_STR("udp") : req->protocols & SB_PROTO_TLS ? SB_STR("tls") : SB_STR("tcp");
    return expression_run(run, program.data, program.len);
}

static bool
fits(struct lookup *l, const struct stream_row *row, sb_str_t rest)
{
    const sb_stream_request_t *req = l->req;

    if ((row->brief.protocols & req->protocols) == 0)
        return false;
    if (row->program != 0)
        return row->program == rest.len && expression_fits(l, rest);
    if (!addresses_fit(&rest, row->sources, &l->source) || !addresses_fit(&rest, row->destinations, &l->destination))
        return false;
    if (!req->tls)
        return true;
    return row->snis == 0 || (req->sni.len != 0 && names_fit(l->r, rest, row->snis, req->sni));
}

static bool
service_disabled(const struct lookup *l, const struct stream_row *row)
{
    unsigned char b[C_NAME + SB_UUID_LEN] = {K_DISABLED};
    sb_str_t key = {(const char *)b, sizeof(b)}, found, value;

    if (!row->brief.has_service)
        return false;
    memcpy(b + C_NAME, &row->brief.service, SB_UUID_LEN);
    return sb_model_cursor_seek(l->r->cursor, key, &found, &value) && sb_str_eq(found, key);
}

/* Rows whose key begins with what selects, the best first. Traditional order is not that of the keys: there all are compared. */
static void
walk(struct lookup *l, const struct rkey *key)
{
    sb_str_t found, value, wanted = {(const char *)key->b, key->len};
    bool more = sb_model_cursor_seek(l->r->cursor, wanted, &found, &value);

    for (; more && sb_str_starts(found, wanted); more = sb_model_cursor_next(l->r->cursor, &found, &value)) {
        struct stream_row row;
        sb_str_t at = found;
        if (value.len < sizeof(row))
            continue;
        memcpy(&row, value.data, sizeof(row));
        if (l->found && rank_compare(l->r->flavor, &row.rank, &l->best.rank) <= 0) {
            if (l->r->flavor != SB_ROUTER_TRADITIONAL)
                return;
            continue;
        }
        if (!fits(l, &row, (sb_str_t){value.data + sizeof(row), value.len - sizeof(row)}))
            continue;
        if (service_disabled(l, &row)) { /* it moved the cursor */
            sb_model_cursor_seek(l->r->cursor, at, &found, &value);
            continue;
        }
        l->best = row;
        l->found = true;
        if (l->r->flavor != SB_ROUTER_TRADITIONAL)
            return;
        sb_model_cursor_seek(l->r->cursor, at, &found, &value);
    }
}

int
sb_stream_router_match(sb_stream_router_t *r, const sb_stream_request_t *req, sb_route_brief_t *out)
{
    struct lookup l = {.r = r, .req = req};
    struct rkey key;

    SB_CHECK_MAGIC(r, STREAM_MAGIC);
    end_of(req->source, &l.source);
    end_of(req->destination, &l.destination);
    if (req->destination_port != 0)
        l.destination.port = req->destination_port;
    for (enum kind kind = BY_SNI; kind <= BY_NONE; kind++) {
        unsigned char class[C_NAME] = {K_STREAM, (unsigned char)kind};
        if (kind == BY_SNI && req->sni.len == 0)
            continue;
        key.len = 0;
        rkey_add(&key, class, sizeof(class));
        if (kind == BY_SNI)
            key_name(&key, req->sni);
        if (kind == BY_PORT)
            key_port(&key, l.destination.port);
        walk(&l, &key);
    }
    if (!l.found)
        return SB_DECLINED;
    *out = l.best.brief;
    return SB_OK;
}
