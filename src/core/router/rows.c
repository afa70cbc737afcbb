/*
 * The writer's side: the index rows of a route (layout in router_int.h), and of a disabled service, whose routes do not exist.
 *
 * A route is taken apart once (struct route), split into entries, and each entry's rows are the product of its dimensions. Where that
 * product would be large, dimensions are left open: out of the key, decided by a condition. Start at sb_router_index_rows.
 */
#include "core/router/router_int.h"

#include "core/base/json.h"
#include "core/router/expression/expression.h"

#include <stdio.h>
#include <stdlib.h>

#define PRODUCT_MAX 1024

static const unsigned char split_namespace[SB_UUID_LEN] = {0x7f, 0x14, 0x5b, 0xf9, 0x0d, 0xce, 0x4f, 0x91,
                                                           0x98, 0xeb, 0xde, 0xbb, 0xce, 0x4b, 0x9f, 0x6b};

/* Values of one dimension. */
struct list {
    const json_t *array; /* of strings; NULL or empty: the route does not have the attribute */
    size_t n;
    bool keyed;
};

struct route {
    const json_t *json;
    struct route_row row;                     /* what all its rows share */
    struct list hosts, snis, methods, header; /* header: values of the one in the key */
    char header_name[HEADER_NAME_MAX + 1];
    const json_t *headers, *paths;
    bool plain_hosts;
};

/* What is being emitted. */
struct emit {
    struct route *rt;
    int (*fn)(const struct sb_index_row *row, void *arg);
    void *arg;
    uint32_t ordinal; /* of the row in its entry: keys differ */
    sb_buf_t value, addresses;
    /* the current combination */
    sb_str_t path;
    bool has_path, regex;
    char segment[SEGMENT_MAX]; /* of a regex: see regex_segment */
    size_t segment_len;
    const char *host, *sni, *method, *header;
    bool nontls;
};

/* ---------- taking a route apart ---------- */

static struct list
list_of(const json_t *array)
{
    size_t n = json_is_array(array) ? json_array_size(array) : 0;

    return (struct list){array, n, n != 0};
}

static const char *
item(const struct list *l, size_t i)
{
    const char *s = json_string_value(json_array_get(l->array, i));

    return s != NULL ? s : "";
}

static sb_str_t
item_str(const json_t *array, size_t i)
{
    const json_t *s = json_array_get(array, i);

    return json_is_string(s) ? (sb_str_t){json_string_value(s), json_string_length(s)} : (sb_str_t){"", 0};
}

uint16_t
sb_route_protocol_bit(const char *name)
{
    static const char *const names[] = {"grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp"};

    for (size_t i = 0; name != NULL && i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return (uint16_t)(1u << i);
    return 0;
}

static uint16_t
protocol_bits(const json_t *protocols)
{
    uint16_t bits = 0;

    for (size_t i = 0; i < json_array_size(protocols); i++)
        bits |= sb_route_protocol_bit(json_string_value(json_array_get(protocols, i)));
    return bits;
}

static bool
fill_brief(const json_t *row, const sb_uuid_t *ws, uint64_t version, sb_route_brief_t *b)
{
    const char *id = sb_json_string(row, "id"), *service = sb_json_foreign_id(row, "service");
    const char *handling = sb_json_string(row, "path_handling");

    if (id == NULL || !sb_uuid_parse(id, strlen(id), &b->route))
        return false;
    b->has_service = service != NULL && sb_uuid_parse(service, strlen(service), &b->service);
    b->ws = *ws;
    b->version = version;
    b->protocols = protocol_bits(json_object_get(row, "protocols"));
    b->https_redirect_status_code = (uint16_t)sb_json_int(row, "https_redirect_status_code", 426);
    b->strip_path = sb_json_bool(row, "strip_path", true);
    b->preserve_host = sb_json_bool(row, "preserve_host", false);
    b->path_handling_v1 = handling != NULL && strcmp(handling, "v1") == 0;
    b->request_buffering = sb_json_bool(row, "request_buffering", true);
    b->response_buffering = sb_json_bool(row, "response_buffering", true);
    return true;
}

static void
lower(char *s)
{
    for (; *s != '\0'; s++)
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s | 0x20);
}

static bool
all_plain(const json_t *values)
{
    size_t n = json_array_size(values);

    for (size_t i = 0; i < n; i++)
        if (sb_str_starts(item_str(values, i), SB_STR("~*")))
            return false;
    return n != 0;
}

/* The header whose value goes into the key: the first by name that is compared for equality. */
static void
choose_header(struct route *rt)
{
    const char *name;
    json_t *values;

    json_object_foreach((json_t *)rt->headers, name, values)
    {
        if (strlen(name) > HEADER_NAME_MAX || *name == '\0' || !all_plain(values))
            continue;
        if (rt->header.array != NULL && strcmp(name, rt->header_name) >= 0)
            continue;
        strcpy(rt->header_name, name);
        rt->header = list_of(values);
    }
    if (rt->header.array == NULL)
        rt->header_name[0] = '\0';
}

static void
scan_hosts(struct route *rt)
{
    struct rank *k = &rt->row.rank;
    struct name_pattern p;

    rt->plain_hosts = rt->hosts.n != 0;
    for (size_t i = 0; i < rt->hosts.n; i++) {
        name_pattern_parse(item_str(rt->hosts.array, i), true, &p);
        if (p.form == FORM_EXACT)
            continue;
        rt->plain_hosts = false;
        if (p.port != 0)
            k->submatch |= 4;
    }
    if (rt->plain_hosts || (json_is_array(rt->hosts.array) && rt->hosts.n == 0))
        k->submatch |= 2;
}

static bool
is_regex(sb_str_t path)
{
    return path.len != 0 && path.data[0] == '~';
}

static void
scan_paths(struct route *rt)
{
    struct rank *k = &rt->row.rank;

    for (size_t i = 0; i < json_array_size(rt->paths); i++) {
        sb_str_t p = item_str(rt->paths, i);
        if (is_regex(p))
            k->submatch |= 1;
        else if (p.len > k->longest_path)
            k->longest_path = (uint32_t)p.len;
    }
    if (k->submatch & 1)
        k->regex_priority = sb_json_int(rt->json, "regex_priority", 0);
}

/* The usual methods are a mask in the row; only a route with others has its methods in the key. */
static void
scan_methods(struct route *rt)
{
    unsigned mask = 0;

    rt->methods.keyed = false;
    for (size_t i = 0; i < rt->methods.n; i++) {
        unsigned bit = method_bit(item_str(rt->methods.array, i));
        mask |= bit;
        if (bit == 0)
            rt->methods.keyed = true;
    }
    rt->row.methods = rt->methods.keyed ? 0 : (uint16_t)mask;
}

static size_t
keyed_count(const struct list *l, size_t more)
{
    return l->keyed ? l->n + more : 1;
}

static void
limit_product(struct route *rt)
{
    struct list *order[] = {&rt->methods, &rt->snis, &rt->header, &rt->hosts};

    for (size_t i = 0; i < 4; i++) {
        double product = (double)keyed_count(&rt->hosts, 0) * (double)keyed_count(&rt->snis, 1) * (double)keyed_count(&rt->methods, 0) *
                         (double)keyed_count(&rt->header, 0);
        if (product <= PRODUCT_MAX)
            return;
        order[i]->keyed = false;
    }
}

static uint8_t
kinds_of(const struct route *rt)
{
    const json_t *src = json_object_get(rt->json, "sources"), *dst = json_object_get(rt->json, "destinations");
    unsigned k = 0;

    k |= json_array_size(src) != 0 ? K_SRC : 0;
    k |= json_array_size(dst) != 0 ? K_DST : 0;
    k |= rt->snis.n != 0 ? K_SNI : 0;
    k |= rt->methods.n != 0 ? K_METHOD : 0;
    k |= json_array_size(rt->paths) != 0 ? K_PATH : 0;
    k |= json_object_size(rt->headers) != 0 ? K_HEADER : 0;
    k |= rt->hosts.n != 0 ? K_HOST : 0;
    return (uint8_t)k;
}

static bool
take_apart(const json_t *row, const sb_uuid_t *ws, uint64_t version, struct route *rt)
{
    size_t n;

    memset(rt, 0, sizeof(*rt));
    rt->json = row;
    if (!fill_brief(row, ws, version, &rt->row.brief))
        return false;
    rt->hosts = list_of(json_object_get(row, "hosts"));
    rt->snis = list_of(json_object_get(row, "snis"));
    rt->methods = list_of(json_object_get(row, "methods"));
    rt->headers = json_object_get(row, "headers");
    rt->paths = json_object_get(row, "paths");
    n = json_object_size(rt->headers);
    rt->row.rank.headers = (uint16_t)(n < UINT16_MAX ? n : UINT16_MAX);
    rt->row.rank.kinds = kinds_of(rt);
    rt->row.rank.created_at = sb_json_int(row, "created_at", 0);
    scan_hosts(rt);
    scan_paths(rt);
    scan_methods(rt);
    choose_header(rt);
    limit_product(rt);
    return true;
}

/* ---------- conditions ---------- */

static size_t
cond_begin(struct emit *m, enum cond_type type)
{
    struct cond c = {.type = (uint16_t)type};
    struct route_row *row = (struct route_row *)(void *)m->value.data;

    row->conditions++;
    sb_buf_add(&m->value, &c, sizeof(c));
    return m->value.len;
}

static void
cond_end(struct emit *m, size_t start, size_t count)
{
    struct cond c;

    memcpy(&c, m->value.data + start - sizeof(c), sizeof(c));
    c.count = (uint16_t)(count < UINT16_MAX ? count : UINT16_MAX);
    c.len = (uint32_t)(m->value.len - start);
    memcpy(m->value.data + start - sizeof(c), &c, sizeof(c));
}

static void
cond_text(struct emit *m, const char *text, size_t len)
{
    uint32_t n = (uint32_t)len;

    sb_buf_add(&m->value, &n, sizeof(n));
    sb_buf_add(&m->value, text, len);
}

static void
cond_list(struct emit *m, enum cond_type type, const struct list *l)
{
    size_t start = cond_begin(m, type), n = l->n < UINT16_MAX ? l->n : UINT16_MAX;

    for (size_t i = 0; i < n; i++) {
        sb_str_t s = item_str(l->array, i);
        cond_text(m, s.data, s.len);
    }
    cond_end(m, start, n);
}

static void
cond_one(struct emit *m, enum cond_type type, const char *text)
{
    size_t start = cond_begin(m, type);

    cond_text(m, text, strlen(text));
    cond_end(m, start, 1);
}

/* Names and plain values in lower case, as the request's are compared. */
static void
cond_header(struct emit *m, const char *name, const json_t *values)
{
    size_t start = cond_begin(m, COND_HEADER), n = json_array_size(values), at = m->value.len;

    n = n < UINT16_MAX - 1 ? n : UINT16_MAX - 1;
    cond_text(m, name, strlen(name));
    lower(m->value.data + at + sizeof(uint32_t));
    for (size_t i = 0; i < n; i++) {
        sb_str_t v = item_str(values, i);
        at = m->value.len + sizeof(uint32_t);
        cond_text(m, v.data, v.len);
        if (!sb_str_starts(v, SB_STR("~*")))
            for (size_t j = at; j < m->value.len; j++)
                if (m->value.data[j] >= 'A' && m->value.data[j] <= 'Z')
                    m->value.data[j] = (char)(m->value.data[j] | 0x20);
    }
    cond_end(m, start, n + 1);
}

static void
cond_headers(struct emit *m, bool keyed_too)
{
    const struct route *rt = m->rt;
    const char *name;
    json_t *values;

    json_object_foreach((json_t *)rt->headers, name, values)
    {
        if (rt->header.keyed && !keyed_too && strcmp(name, rt->header_name) == 0)
            continue;
        cond_header(m, name, values);
    }
}

static void
cond_regex(struct emit *m)
{
    size_t start = cond_begin(m, COND_REGEX);
    uint32_t n = (uint32_t)m->path.len; /* "^" for "~" */

    sb_buf_add(&m->value, &n, sizeof(n));
    sb_buf_addc(&m->value, '^');
    sb_buf_add(&m->value, m->path.data + 1, m->path.len - 1);
    cond_end(m, start, 1);
}

/* ---------- one row ---------- */

static unsigned
form_of(const char *pattern, bool with_port, struct name_pattern *out)
{
    sb_str_t s = {pattern, strlen(pattern)};

    if (with_port)
        name_pattern_parse(s, true, out);
    else
        sni_pattern_parse(s, out);
    return out->form;
}

static void
put_class(struct emit *m, struct rkey *k, unsigned host_form, unsigned sni_form)
{
    const struct route *rt = m->rt;
    const struct rank *r = &rt->row.rank;
    unsigned char c[C_NAME];
    size_t name_len = m->header != NULL ? strlen(rt->header_name) : 0;
    char name[HEADER_NAME_MAX + 1];
    bool wild = m->regex && (r->regex_priority < 0 || r->regex_priority > UINT32_MAX);

    c[C_KINDS] = r->kinds;
    c[C_FLAGS] = (unsigned char)((rt->plain_hosts ? F_PLAIN_HOSTS : 0) | (m->regex ? F_REGEX : 0) | (wild ? F_WILD : 0) |
                                 (m->segment_len != 0 ? F_SEGMENT : 0));
    c[C_HEADERS] = (unsigned char)(r->headers < 255 ? r->headers : 255);
    c[C_FORMS] = (unsigned char)(host_form | sni_form << 3 | (unsigned)(m->method != NULL) << 6);
    c[C_NAME_LEN] = (unsigned char)name_len;
    rkey_add(k, c, sizeof(c));
    strcpy(name, m->header != NULL ? rt->header_name : "");
    lower(name);
    rkey_add(k, name, name_len);
}

/* Returns false when the key holds less than the pattern. */
static bool
put_name(struct rkey *k, const struct name_pattern *p)
{
    bool whole;

    if (p->form == FORM_EXACT)
        return rkey_exact(k, p->text, NAME_MAX_LEN);
    whole = rkey_prefix(k, p->text, NAME_MAX_LEN, p->form == FORM_LEFT);
    rkey_add(k, "\xff", 1);
    return whole;
}

static bool
put_header_value(struct emit *m, struct rkey *k)
{
    char *v = sb_strdup_len(m->header, strlen(m->header));
    bool whole;

    lower(v);
    whole = rkey_exact(k, (sb_str_t){v, strlen(v)}, HEADER_VALUE_MAX);
    free(v);
    return whole;
}

/* A segment that the path must have, and the text it must start with. */
static void
put_regex(struct emit *m, struct rkey *k)
{
    char literal[PATH_MAX_LEN];
    size_t max = m->segment_len != 0 ? BEHIND_SEGMENT : sizeof(literal);

    if (m->segment_len != 0)
        rkey_exact(k, (sb_str_t){m->segment, m->segment_len}, SEGMENT_MAX);
    rkey_prefix(k, (sb_str_t){literal, regex_literal_prefix(m->path.data + 1, m->path.len - 1, literal, max)}, max, false);
}

static bool
put_path(struct emit *m, struct rkey *k)
{
    bool whole = true;

    if (m->regex)
        put_regex(m, k);
    else if (m->has_path)
        whole = rkey_prefix(k, m->path, PATH_MAX_LEN, false);
    rkey_add(k, "\xff", 1);
    return whole;
}

/* What the key left out. */
static void
put_conditions(struct emit *m, bool header_whole, bool sni_whole, bool host_whole, bool path_whole)
{
    struct route *rt = m->rt;

    if (!path_whole) {
        size_t start = cond_begin(m, COND_PATH);
        cond_text(m, m->path.data, m->path.len);
        cond_end(m, start, 1);
    }
    if (rt->methods.n != 0 && rt->row.methods == 0 && (m->method == NULL || strlen(m->method) > METHOD_MAX))
        cond_list(m, COND_METHODS, &rt->methods);
    if (rt->hosts.n != 0 && m->host == NULL)
        cond_list(m, COND_HOSTS, &rt->hosts);
    else if (!host_whole)
        cond_one(m, COND_HOSTS, m->host);
    if (rt->snis.n != 0 && m->sni == NULL && !m->nontls)
        cond_list(m, COND_SNIS, &rt->snis);
    else if (!sni_whole)
        cond_one(m, COND_SNIS, m->sni);
    cond_headers(m, !header_whole);
    if (m->addresses.len != 0) {
        size_t start = cond_begin(m, COND_ADDRESSES);
        sb_buf_add(&m->value, m->addresses.data, m->addresses.len);
        cond_end(m, start, 1);
    }
    if (m->regex) /* last: the dearest */
        cond_regex(m);
}

static int
emit_row(struct emit *m, const struct rank *rank, uint32_t path_index)
{
    struct route_row row = m->rt->row;
    struct name_pattern host = {.form = FORM_OPEN}, sni = {.form = FORM_OPEN};
    bool header_whole = true, sni_whole = true, host_whole = true, path_whole;
    struct sb_index_row out;
    struct rkey k = {.len = 0};
    unsigned sni_form;

    if (m->host != NULL)
        form_of(m->host, true, &host);
    sni_form = m->nontls ? FORM_NONTLS : m->sni != NULL ? form_of(m->sni, false, &sni) : FORM_OPEN;
    put_class(m, &k, host.form, sni_form);
    out.class_len = k.len;
    if (m->header != NULL)
        header_whole = put_header_value(m, &k);
    if (m->method != NULL)
        rkey_exact(&k, (sb_str_t){m->method, strlen(m->method)}, METHOD_MAX);
    if (m->sni != NULL)
        sni_whole = put_name(&k, &sni);
    if (m->host != NULL)
        host_whole = put_name(&k, &host);
    path_whole = put_path(m, &k);
    rkey_rank(&k, rank, m->ordinal++);
    row.rank = *rank;
    row.port = host.port;
    row.path_len = m->has_path && !m->regex ? (uint32_t)m->path.len : 0;
    row.path_index = path_index;
    sb_buf_reset(&m->value);
    sb_buf_add(&m->value, &row, sizeof(row));
    put_conditions(m, header_whole, sni_whole, host_whole, path_whole);
    out.key = (sb_str_t){(const char *)k.b, k.len};
    out.value = (sb_str_t){m->value.data, m->value.len};
    return m->fn(&out, m->arg);
}

/* ---------- products and entries ---------- */

static int
each_host(struct emit *m, const struct rank *rank, uint32_t path_index)
{
    const struct list *l = &m->rt->hosts;
    int rc = SB_OK;

    m->host = NULL;
    if (!l->keyed)
        return emit_row(m, rank, path_index);
    for (size_t i = 0; i < l->n && rc == SB_OK; i++) {
        m->host = item(l, i);
        rc = emit_row(m, rank, path_index);
    }
    return rc;
}

static int
each_sni(struct emit *m, const struct rank *rank, uint32_t path_index)
{
    const struct list *l = &m->rt->snis;
    int rc;

    m->sni = NULL;
    m->nontls = l->keyed;
    rc = each_host(m, rank, path_index);
    m->nontls = false;
    for (size_t i = 0; l->keyed && i < l->n && rc == SB_OK; i++) {
        m->sni = item(l, i);
        rc = each_host(m, rank, path_index);
    }
    return rc;
}

static int
each_method(struct emit *m, const struct rank *rank, uint32_t path_index)
{
    const struct list *l = &m->rt->methods;
    int rc = SB_OK;

    m->method = NULL;
    if (!l->keyed)
        return each_sni(m, rank, path_index);
    for (size_t i = 0; i < l->n && rc == SB_OK; i++) {
        m->method = item(l, i);
        rc = each_sni(m, rank, path_index);
    }
    return rc;
}

static int
each_header(struct emit *m, const struct rank *rank, uint32_t path_index)
{
    const struct list *l = &m->rt->header;
    int rc = SB_OK;

    m->header = NULL;
    if (!l->keyed)
        return each_method(m, rank, path_index);
    for (size_t i = 0; i < l->n && rc == SB_OK; i++) {
        m->header = item(l, i);
        rc = each_method(m, rank, path_index);
    }
    return rc;
}

/* How the entry of one group ranks: of regexes, or of prefixes of one length. split: the route has several paths. */
static void
entry_rank(const struct route *rt, bool regex, size_t length, unsigned group, bool split, struct rank *out)
{
    char id[SB_UUID_TEXT + 1], name[SB_UUID_TEXT + 16];
    sb_uuid_t ns;

    *out = rt->row.rank;
    out->priority = rank_priority(out->kinds, rt->plain_hosts, out->headers, regex, out->regex_priority, length);
    out->entry = rt->row.brief.route;
    if (!split)
        return;
    sb_uuid_format(&out->entry, id);
    snprintf(name, sizeof(name), "%s#%u", id, group);
    memcpy(&ns, split_namespace, sizeof(ns));
    sb_uuid_v5(&ns, name, strlen(name), &out->entry);
}

static size_t
segment_of(sb_str_t path, char out[SEGMENT_MAX])
{
    size_t len = regex_segment(path.data + 1, path.len - 1, out);

    return len >= SEGMENT_MIN ? len : 0;
}

static int
emit_entry(struct emit *m, bool regex, size_t length, unsigned group, bool split)
{
    struct rank rank;
    int rc = SB_OK;

    entry_rank(m->rt, regex, length, group, split, &rank);
    m->ordinal = 0;
    m->regex = regex;
    m->has_path = true;
    for (size_t i = 0; i < json_array_size(m->rt->paths) && rc == SB_OK; i++) {
        m->path = item_str(m->rt->paths, i);
        m->segment_len = regex && is_regex(m->path) ? segment_of(m->path, m->segment) : 0;
        if (is_regex(m->path) == regex && (regex || m->path.len == length))
            rc = each_header(m, &rank, (uint32_t)i);
    }
    return rc;
}

static bool
seen_before(const json_t *paths, size_t i, bool regex, size_t length)
{
    for (size_t j = 0; j < i; j++) {
        sb_str_t p = item_str(paths, j);
        if (is_regex(p) == regex && (regex || p.len == length))
            return true;
    }
    return false;
}

static int
emit_route(struct emit *m)
{
    const json_t *paths = m->rt->paths;
    size_t n = json_array_size(paths);
    unsigned group = 0;
    int rc = SB_OK;

    if (n == 0) {
        struct rank rank;
        entry_rank(m->rt, false, 0, 0, false, &rank);
        return each_header(m, &rank, 0);
    }
    for (size_t i = 0; i < n && rc == SB_OK; i++) {
        sb_str_t p = item_str(paths, i);
        bool regex = is_regex(p);
        if (!seen_before(paths, i, regex, p.len))
            rc = emit_entry(m, regex, p.len, ++group, n > 1);
    }
    return rc;
}

bool
row_of_path(const json_t *route, const sb_uuid_t *ws, uint64_t version, size_t i, struct route_row *out)
{
    struct route rt;
    sb_str_t path;
    unsigned group = 0;
    bool regex;

    if (!take_apart(route, ws, version, &rt))
        return false;
    *out = rt.row;
    if (i >= json_array_size(rt.paths)) {
        entry_rank(&rt, false, 0, 0, false, &out->rank);
        return true;
    }
    path = item_str(rt.paths, i);
    regex = is_regex(path);
    for (size_t j = 0; j <= i; j++) {
        sb_str_t p = item_str(rt.paths, j);
        group += !seen_before(rt.paths, j, is_regex(p), p.len);
        if (is_regex(p) == regex && (regex || p.len == path.len))
            break; /* the group's first */
    }
    entry_rank(&rt, regex, path.len, group, json_array_size(rt.paths) > 1, &out->rank);
    out->path_len = regex ? 0 : (uint32_t)path.len;
    out->path_index = (uint32_t)i;
    return true;
}

static int
disabled_row(const json_t *service, int (*fn)(const struct sb_index_row *, void *), void *arg)
{
    const char *id = sb_json_string(service, "id");
    unsigned char b[C_NAME + SB_UUID_LEN] = {K_DISABLED};
    struct sb_index_row row = {{(const char *)b, sizeof(b)}, {"", 0}, C_NAME};
    sb_uuid_t u;

    if (sb_json_bool(service, "enabled", true) || id == NULL || !sb_uuid_parse(id, strlen(id), &u))
        return SB_OK;
    memcpy(b + C_NAME, &u, sizeof(u));
    return fn(&row, arg);
}

int
sb_router_index_rows(const char *entity, const json_t *row, const sb_uuid_t *ws, uint64_t version,
                     int (*fn)(const struct sb_index_row *row, void *arg), void *arg, sb_err_t *err)
{
    struct emit m = {.fn = fn, .arg = arg};
    struct route rt;
    int rc;

    if (strcmp(entity, "services") == 0)
        return disabled_row(row, fn, arg);
    if (strcmp(entity, "routes") != 0)
        return SB_OK;
    if (!take_apart(row, ws, version, &rt))
        return sb_err_set(err, SB_E_DATABASE, "route index: a route has no id");
    if ((rt.row.brief.protocols & SB_PROTO_STREAM) != 0)
        return stream_index_rows(row, &rt.row.brief, &rt.row.rank, fn, arg);
    if ((rt.row.brief.protocols & (SB_PROTO_GRPC | SB_PROTO_GRPCS | SB_PROTO_HTTP | SB_PROTO_HTTPS)) == 0)
        return SB_OK;
    if (sb_json_string(row, "expression") != NULL)
        return rows_of_expression(row, &rt.row, fn, arg);
    m.rt = &rt;
    expression_compile_addresses(row, &m.addresses);
    rc = emit_route(&m);
    sb_buf_free(&m.value);
    sb_buf_free(&m.addresses);
    return rc;
}
