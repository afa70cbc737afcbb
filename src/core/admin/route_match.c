/*
 * GET /debug/route-match: which route a request would take, why the others do not, which plugins would run in which order, and the URL that
 * would be asked. Ours, not the interface's; reads only. The request is described by arguments (struct asked), every route of the record
 * is tried (core/router/explain.h), and plugins are chosen as a request without a consumer would have them. Start at sb_admin_route_match.
 */
#include "core/admin/core_int.h"

#include "core/router/explain.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define CANDIDATES     20
#define CANDIDATES_MAX 1000

/* The request that is asked about. */
struct asked {
    sb_route_request_t req;
    json_t *headers; /* name in lower case → array of values */
    json_t *sources; /* what the texts of req point into */
    size_t candidates;
};

/* ---------- reading the arguments ---------- */

static int
refuse(sb_admin_call_t *c, const char *name, const char *value, const char *expected)
{
    return sb_admin_answer_message(c, 400, "invalid argument %s: '%s' (expected %s)", name, value, expected);
}

static bool
known(const char *name)
{
    static const char *const names[] = {"method", "url", "header", "sni", "source", "source_port", "destination", "candidates"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* A text that lives as long as the request. */
static sb_str_t
own(struct asked *a, sb_str_t s)
{
    json_t *v = json_stringn_nocheck(s.data, s.len);

    json_array_append_new(a->sources, v);
    return (sb_str_t){json_string_value(v), json_string_length(v)};
}

/* Digits up to max; -1 for anything else. */
static long
number_of(sb_str_t s, long max)
{
    long n = 0;

    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9' || n > max)
            return -1;
        n = n * 10 + (s.data[i] - '0');
    }
    return s.len != 0 && n <= max ? n : -1;
}

/* "host", "host:port" or "[address]:port". False: the port is no port. */
static bool
take_host(struct asked *a, sb_str_t s, uint16_t port)
{
    const char *colon = s.len != 0 ? memrchr(s.data, ':', s.len) : NULL;
    long n = port;

    if (colon != NULL && memchr(colon, ']', s.len - (size_t)(colon - s.data)) == NULL) {
        n = number_of((sb_str_t){colon + 1, s.len - (size_t)(colon - s.data) - 1}, 65535);
        s.len = (size_t)(colon - s.data);
    }
    if (n < 0)
        return false;
    a->req.host = own(a, s);
    a->req.port = (uint16_t)n;
    return true;
}

static void
take_path(struct asked *a, sb_str_t s)
{
    const char *hash = s.len != 0 ? memchr(s.data, '#', s.len) : NULL, *query;
    char *normal;
    size_t n;

    if (hash != NULL)
        s.len = (size_t)(hash - s.data);
    query = s.len != 0 ? memchr(s.data, '?', s.len) : NULL;
    if (query != NULL) {
        a->req.query = own(a, (sb_str_t){query + 1, s.len - (size_t)(query - s.data) - 1});
        s.len = (size_t)(query - s.data);
    }
    if (s.len == 0)
        s = SB_STR("/");
    normal = sb_malloc(s.len + 1);
    n = sb_router_normalise_path(s.data, s.len, normal);
    a->req.path = own(a, (sb_str_t){normal, n});
    free(normal);
}

static int
read_url(sb_admin_call_t *c, struct asked *a)
{
    const char *url = sb_admin_query(c, "url"), *authority, *path;
    bool https;

    if (url == NULL)
        return sb_admin_answer_message(c, 400, "missing argument url (expected http[s]://host[:port]/path or /path)");
    a->req.scheme = SB_STR("http");
    a->req.port = 80;
    if (url[0] == '/') {
        take_path(a, (sb_str_t){url, strlen(url)});
        return SB_OK;
    }
    https = strncmp(url, "https://", 8) == 0;
    if (!https && strncmp(url, "http://", 7) != 0)
        return refuse(c, "url", url, "http[s]://host[:port]/path or /path");
    if (https)
        a->req.scheme = SB_STR("https");
    authority = url + (https ? 8 : 7);
    path = authority + strcspn(authority, "/?#");
    if (path == authority || !take_host(a, (sb_str_t){authority, (size_t)(path - authority)}, https ? 443 : 80))
        return refuse(c, "url", url, "http[s]://host[:port]/path or /path");
    take_path(a, (sb_str_t){path, strlen(path)});
    return SB_OK;
}

static int
add_header(sb_admin_call_t *c, struct asked *a, const char *text)
{
    const char *colon = strchr(text, ':'), *value = colon != NULL ? colon + 1 : "";
    size_t len;
    char *name;
    json_t *values;

    if (colon == NULL || colon == text)
        return refuse(c, "header", text, "Name: value");
    value += strspn(value, " \t");
    for (len = strlen(value); len != 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'); len--)
        ;
    name = sb_strdup_len(text, (size_t)(colon - text));
    for (char *p = name; *p != '\0'; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p | 0x20);
    values = json_object_get(a->headers, name);
    if (values == NULL) {
        values = json_array();
        json_object_set_new(a->headers, name, values);
    }
    json_array_append_new(values, json_stringn(value, len));
    if (strcmp(name, "host") == 0 && !take_host(a, (sb_str_t){value, len}, a->req.port)) {
        free(name);
        return refuse(c, "header", text, "Host: host[:port]");
    }
    free(name);
    return SB_OK;
}

static int
read_headers(sb_admin_call_t *c, struct asked *a)
{
    json_t *given = json_object_get(c->query, "header"), *one;
    size_t i;
    int rc = SB_OK;

    if (json_is_string(given))
        return add_header(c, a, json_string_value(given));
    json_array_foreach(given, i, one)
    {
        if (rc == SB_OK)
            rc = add_header(c, a, json_is_string(one) ? json_string_value(one) : "");
    }
    return rc;
}

static int
read_address(sb_admin_call_t *c, const char *name, sb_str_t *out)
{
    const char *text = sb_admin_query(c, name);
    unsigned char buf[16];

    *out = (sb_str_t){text != NULL ? text : "127.0.0.1", strlen(text != NULL ? text : "127.0.0.1")};
    if (text == NULL || inet_pton(AF_INET, text, buf) == 1 || inet_pton(AF_INET6, text, buf) == 1)
        return SB_OK;
    return refuse(c, name, text, "an IPv4 or IPv6 address");
}

static int
read_number(sb_admin_call_t *c, const char *name, long max, long fallback, const char *expected, long *out)
{
    const char *text = sb_admin_query(c, name);

    *out = text != NULL ? number_of((sb_str_t){text, strlen(text)}, max) : fallback;
    return *out >= 0 ? SB_OK : refuse(c, name, text, expected);
}

/* The n-th value of a header. */
static bool
asked_header(void *arg, sb_str_t name, unsigned n, sb_str_t *value)
{
    const struct asked *a = arg;
    json_t *v = json_array_get(json_object_getn(a->headers, name.data, name.len), n);

    if (v == NULL)
        return false;
    *value = (sb_str_t){json_string_value(v), json_string_length(v)};
    return true;
}

static int
read_asked(sb_admin_call_t *c, struct asked *a)
{
    const char *name, *method = sb_admin_query(c, "method"), *sni = sb_admin_query(c, "sni");
    json_t *v;
    long port, candidates;
    int rc;

    json_object_foreach(c->query, name, v) if (!known(name)) return sb_admin_answer_message(c, 400, "unknown argument %s", name);
    a->headers = json_object();
    a->sources = json_array();
    a->req.header = asked_header;
    a->req.arg = a;
    a->req.host = SB_STR("");
    a->req.query = SB_STR("");
    a->req.method = (sb_str_t){method != NULL ? method : "GET", strlen(method != NULL ? method : "GET")};
    if ((rc = read_url(c, a)) != SB_OK || (rc = read_headers(c, a)) != SB_OK || (rc = read_address(c, "source", &a->req.src_ip)) != SB_OK ||
        (rc = read_address(c, "destination", &a->req.dst_ip)) != SB_OK ||
        (rc = read_number(c, "source_port", 65535, 0, "a port from 0 to 65535", &port)) != SB_OK ||
        (rc = read_number(c, "candidates", CANDIDATES_MAX, CANDIDATES, "a number from 0 to 1000", &candidates)) != SB_OK)
        return rc;
    a->req.src_port = (uint16_t)port;
    a->req.dst_port = a->req.port;
    a->candidates = (size_t)candidates;
    a->req.sni = SB_STR("");
    if (sb_str_eqc(a->req.scheme, "https")) /* clients send the name they ask for */
        a->req.sni = sni != NULL ? (sb_str_t){sni, strlen(sni)} : a->req.host;
    else if (sni != NULL && *sni != '\0')
        return refuse(c, "sni", sni, "none with a url that is not https");
    return SB_OK;
}

static void
asked_free(struct asked *a)
{
    json_decref(a->headers);
    json_decref(a->sources);
}

/* ---------- trying the routes ---------- */

struct trying {
    sb_route_explain_t *x;
    json_t *disabled; /* ids of services → true */
};

static int
note_disabled(json_t *row, const char *ws, uint64_t version, void *arg)
{
    struct trying *t = arg;

    (void)ws, (void)version;
    if (!sb_json_bool(row, "enabled", true))
        json_object_set_new(t->disabled, sb_json_string(row, "id"), json_true());
    return SB_OK;
}

static int
try_route(json_t *row, const char *ws, uint64_t version, void *arg)
{
    const char *service = sb_json_foreign_id(row, "service");
    struct trying *t = arg;
    sb_uuid_t id = {{0}};

    if (ws != NULL)
        sb_uuid_parse(ws, strlen(ws), &id);
    sb_route_explain_add(t->x, row, &id, version, service != NULL && json_object_get(t->disabled, service) != NULL);
    return SB_OK;
}

static enum sb_router_flavor
flavor_of(const sb_admin_call_t *c)
{
    const sb_settings_t *s = c->admin->host.settings;
    const char *text = s != NULL ? sb_settings_str(s, "router_flavor") : "";

    if (strcmp(text, "traditional") == 0)
        return SB_ROUTER_TRADITIONAL;
    return strcmp(text, "expressions") == 0 ? SB_ROUTER_EXPRESSIONS : SB_ROUTER_TRADITIONAL_COMPATIBLE;
}

/* ---------- plugins ---------- */

struct choosing {
    const char *route, *service; /* ids; service NULL: none */
    char ws[SB_UUID_TEXT + 1];
    json_t *chosen;        /* array of rows */
    json_t *with_consumer; /* those that depend on who asks */
};

static bool
for_http(const json_t *row)
{
    const json_t *protocols = json_object_get(row, "protocols");

    for (size_t i = 0; i < json_array_size(protocols); i++) {
        const char *p = json_string_value(json_array_get(protocols, i));
        if (p != NULL && (strncmp(p, "http", 4) == 0 || strncmp(p, "grpc", 4) == 0))
            return true;
    }
    return protocols == NULL;
}

/* 0: global, 1: of the service, 2: of the route, 3: of both; -1: of another. */
static int
scope_of(const struct choosing *ch, const json_t *row)
{
    const char *route = sb_json_foreign_id(row, "route"), *service = sb_json_foreign_id(row, "service");

    if (route != NULL && strcmp(route, ch->route) != 0)
        return -1;
    if (service != NULL && (ch->service == NULL || strcmp(service, ch->service) != 0))
        return -1;
    return (route != NULL ? 2 : 0) + (service != NULL);
}

static int
choose_plugin(json_t *row, const char *ws, uint64_t version, void *arg)
{
    const char *name = sb_json_string(row, "name");
    struct choosing *ch = arg;
    int scope = scope_of(ch, row);
    json_t *other;
    size_t i;

    (void)version;
    if (scope < 0 || !sb_json_bool(row, "enabled", true) || !for_http(row) || (ws != NULL && strcmp(ws, ch->ws) != 0))
        return SB_OK;
    if (sb_json_foreign_id(row, "consumer") != NULL || sb_json_foreign_id(row, "consumer_group") != NULL) {
        json_array_append(ch->with_consumer, row);
        return SB_OK;
    }
    json_array_foreach(ch->chosen, i, other)
    {
        if (strcmp(sb_json_string(other, "name"), name) != 0)
            continue;
        if (scope > scope_of(ch, other))
            json_array_set(ch->chosen, i, row);
        return SB_OK;
    }
    json_array_append(ch->chosen, row);
    return SB_OK;
}

static int
priority_of(const char *name)
{
    const sb_plugin_schema_t *p = sb_plugin_schemas_find(name);

    return p != NULL ? p->priority : 0;
}

static int
by_order(const void *a, const void *b)
{
    const char *x = sb_json_string(*(json_t *const *)a, "name"), *y = sb_json_string(*(json_t *const *)b, "name");
    int p = priority_of(x), q = priority_of(y);

    return p != q ? (p > q ? -1 : 1) : strcmp(y, x);
}

static json_t *
show_plugin(const struct choosing *ch, const json_t *row)
{
    static const char *const scopes[] = {"global", "service", "route", "route and service"};
    const char *name = sb_json_string(row, "name");
    json_t *out = json_pack("{s:s,s:s?,s:i,s:s}", "name", name, "id", sb_json_string(row, "id"), "priority", priority_of(name), "scope",
                            scopes[scope_of(ch, row)]);

    for (const char *const *f = (const char *const[]){"consumer", "consumer_group", NULL}; *f != NULL; f++)
        if (sb_json_foreign_id(row, *f) != NULL)
            json_object_set_new(out, *f, json_pack("{s:s}", "id", sb_json_foreign_id(row, *f)));
    return out;
}

/* In the order in which they would run. */
static json_t *
show_plugins(const struct choosing *ch, const json_t *rows)
{
    size_t n = json_array_size(rows);
    const json_t **sorted = sb_calloc((n + 1) * sizeof(*sorted));
    json_t *out = json_array();

    for (size_t i = 0; i < n; i++)
        sorted[i] = json_array_get(rows, i);
    qsort(sorted, n, sizeof(*sorted), by_order);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(out, show_plugin(ch, sorted[i]));
    free(sorted);
    return out;
}

/* ---------- the answer ---------- */

static json_t *
str_json(sb_str_t s)
{
    json_t *v = json_stringn(s.data != NULL ? s.data : "", s.len);

    return v != NULL ? v : json_string(""); /* a capture may cut a character */
}

static void
add_escaped(sb_buf_t *out, sb_str_t s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c <= ' ' || c >= 0x7f || strchr("\"<>\\^`{|}", c) != NULL)
            sb_buf_addf(out, "%%%02X", c);
        else
            sb_buf_addc(out, (char)c);
    }
}

static json_t *
upstream_url(const struct asked *a, const sb_route_match_t *m, const json_t *service)
{
    const char *protocol = sb_json_string(service, "protocol"), *host = sb_json_string(service, "host"),
               *path = sb_json_string(service, "path");
    sb_str_t base = {path, path != NULL ? strlen(path) : 0};
    bool six = host != NULL && strchr(host, ':') != NULL && host[0] != '[';
    char *joined = sb_malloc(base.len + a->req.path.len + 2);
    size_t n =
        sb_router_upstream_path(base, a->req.path, m->has_path ? m->prefix_len : 0, m->brief.strip_path, m->brief.path_handling_v1, joined);
    sb_buf_t url = {0};
    json_t *out;

    sb_buf_addf(&url, "%s://%s%s%s:%d", protocol != NULL ? protocol : "http", six ? "[" : "", host != NULL ? host : "", six ? "]" : "",
                (int)sb_json_int(service, "port", 80));
    add_escaped(&url, (sb_str_t){joined, n});
    if (a->req.query.len != 0) {
        sb_buf_addc(&url, '?');
        add_escaped(&url, a->req.query);
    }
    out = json_stringn(url.data, url.len);
    sb_buf_free(&url);
    free(joined);
    return out;
}

static json_t *
name_and_id(const json_t *row)
{
    json_t *name = json_object_get(row, "name");

    return json_pack("{s:s?,s:O}", "id", sb_json_string(row, "id"), "name", name != NULL ? name : json_null());
}

static json_t *
captures_of(const sb_route_match_t *m)
{
    json_t *out = json_object();
    char number[16];

    for (unsigned i = 0; m->is_regex && i < m->n_captures; i++) {
        if (m->captures[i].data == NULL)
            continue;
        snprintf(number, sizeof(number), "%u", i);
        json_object_set_new(out, number, str_json(m->captures[i]));
        if (m->capture_names[i] != NULL)
            json_object_set_new(out, m->capture_names[i], str_json(m->captures[i]));
    }
    return out;
}

/* What the gateway itself answers although a route was found; NULL: nothing. */
static json_t *
own_answer(const struct asked *a, const sb_route_match_t *m)
{
    uint16_t p = m->brief.protocols;

    if (sb_str_eqc(a->req.scheme, "https") || (p & (SB_PROTO_HTTP | SB_PROTO_GRPC | SB_PROTO_GRPCS)) != 0)
        return NULL;
    return json_pack("{s:i,s:s}", "status", m->brief.https_redirect_status_code, "reason", "the route is for https only");
}

static json_t *
show_candidates(const sb_route_explain_t *x, size_t max)
{
    json_t *out = json_array();
    const sb_route_verdict_t *v;

    for (size_t i = 0; i < max && (v = sb_route_explain_at(x, i)) != NULL; i++) {
        json_t *one = name_and_id(v->row);
        if (v->fits) {
            json_object_set_new(one, "result", json_string(i == 0 ? "chosen" : "lower precedence"));
        } else {
            json_object_set_new(one, "result", json_string("does not match"));
            json_object_set_new(one, "attribute", json_incref(json_array_get(v->failed, 0)));
            json_object_set_new(one, "reason", json_string(v->reason));
            json_object_set(one, "attributes", v->failed);
        }
        json_array_append_new(out, one);
    }
    return out;
}

/* Adds what follows from the chosen route. SB_DECLINED, SB_ERROR with c->err. */
static int
show_chosen(sb_admin_call_t *c, const struct asked *a, const sb_route_verdict_t *v, json_t *out)
{
    struct choosing ch = {.route = sb_json_string(v->row, "id"), .service = sb_json_foreign_id(v->row, "service")};
    json_t *service = NULL, *answer = own_answer(a, &v->match);
    sb_dao_opts_t in_ws = {.ws = ch.ws};
    int rc = SB_OK;

    sb_uuid_format(&v->match.brief.ws, ch.ws);
    json_object_set_new(out, "route", name_and_id(v->row));
    json_object_set_new(out, "captures", captures_of(&v->match));
    if (answer != NULL)
        json_object_set_new(out, "answer", answer);
    if (ch.service != NULL && (rc = sb_dao_select(c->store, sb_entity_find("services"), ch.service, &in_ws, &service, &c->err)) != SB_OK)
        return rc;
    json_object_set_new(out, "service", service != NULL ? name_and_id(service) : json_null());
    json_object_set_new(out, "upstream_url", service != NULL ? upstream_url(a, &v->match, service) : json_null());
    json_decref(service);
    ch.chosen = json_array();
    ch.with_consumer = json_array();
    rc = sb_dao_each(c->store, sb_entity_find("plugins"), choose_plugin, &ch, &c->err);
    json_object_set_new(out, "plugins", show_plugins(&ch, ch.chosen));
    json_object_set_new(out, "plugins_by_consumer", show_plugins(&ch, ch.with_consumer));
    json_decref(ch.chosen);
    json_decref(ch.with_consumer);
    return rc;
}

static json_t *
show_request(const struct asked *a)
{
    const sb_route_request_t *q = &a->req;

    return json_pack("{s:o,s:o,s:o,s:i,s:o,s:o,s:o,s:o,s:O}", "method", str_json(q->method), "scheme", str_json(q->scheme), "host",
                     str_json(q->host), "port", q->port, "path", str_json(q->path), "query", str_json(q->query), "sni", str_json(q->sni),
                     "source", str_json(q->src_ip), "headers", a->headers);
}

static int
answer(sb_admin_call_t *c, const struct asked *a, const sb_route_explain_t *x)
{
    const sb_route_verdict_t *first = sb_route_explain_at(x, 0);
    bool matched = first != NULL && first->fits;
    json_t *out =
        json_pack("{s:b,s:o,s:I}", "matched", matched, "request", show_request(a), "routes", (json_int_t)sb_route_explain_total(x));

    if (!matched)
        json_object_set_new(out, "message", json_string("no Route matched with those values"));
    else if (show_chosen(c, a, first, out) != SB_OK) {
        json_decref(out);
        return sb_admin_answer_error(c);
    }
    json_object_set_new(out, "candidates", show_candidates(x, a->candidates));
    return sb_admin_answer(c, 200, out);
}

int
sb_admin_route_match(sb_admin_call_t *c)
{
    struct asked a = {.candidates = 0};
    struct trying t = {NULL, NULL};
    int rc = read_asked(c, &a);

    if (rc == SB_OK) {
        t.x = sb_route_explain_new(flavor_of(c), &a.req, a.candidates != 0 ? a.candidates : 1);
        t.disabled = json_object();
        if ((rc = sb_dao_each(c->store, sb_entity_find("services"), note_disabled, &t, &c->err)) == SB_OK)
            rc = sb_dao_each(c->store, sb_entity_find("routes"), try_route, &t, &c->err);
        rc = rc == SB_OK ? answer(c, &a, t.x) : sb_admin_answer_error(c);
    }
    sb_route_explain_free(t.x);
    json_decref(t.disabled);
    asked_free(&a);
    return rc;
}
