/*
 * The texts in router keys, name patterns, regex prefixes and precedence: small pure functions that the writer's side (rows.c) and the
 * lookup (router.c) share. See router_int.h for the layout they build.
 */
#include "core/router/router_int.h"

#include "core/base/uuid.h"

void
rkey_add(struct rkey *k, const void *data, size_t len)
{
    SB_ASSERT(len <= sizeof(k->b) - k->len); /* every dimension is limited, and their sum fits */
    memcpy(k->b + k->len, data, len);
    k->len += len;
}

bool
rkey_exact(struct rkey *k, sb_str_t text, size_t max)
{
    static const sb_uuid_t ns;
    char hex[SB_UUID_TEXT + 1];
    sb_uuid_t hash;

    if (text.len <= max && (text.len == 0 || (memchr(text.data, '\0', text.len) == NULL && text.data[0] != '\1'))) {
        rkey_add(k, text.data, text.len);
        rkey_add(k, "", 1);
        return true;
    }
    sb_uuid_v5(&ns, text.data, text.len, &hash);
    sb_uuid_format(&hash, hex);
    rkey_add(k, "\1", 1);
    rkey_add(k, hex, 32); /* enough of it, and no longer than the shortest maximum; a condition has the last word */
    rkey_add(k, "", 1);
    return false;
}

/* Every bit, eight bytes at a time: this is done for every request. */
static void
invert(unsigned char *to, const char *from, size_t n)
{
    uint64_t word;

    for (; n >= sizeof(word); n -= sizeof(word)) {
        memcpy(&word, from, sizeof(word));
        word = ~word;
        memcpy(to, &word, sizeof(word));
        from += sizeof(word);
        to += sizeof(word);
    }
    while (n-- != 0)
        *to++ = (unsigned char)~*from++;
}

bool
rkey_prefix(struct rkey *k, sb_str_t text, size_t max, bool reversed)
{
    size_t n = text.len < max ? text.len : max;
    const char *nul;

    SB_ASSERT(n <= sizeof(k->b) - k->len);
    if (reversed) {
        for (size_t i = 0; i < n; i++) {
            unsigned char c = (unsigned char)text.data[text.len - 1 - i];
            if (c == 0)
                return false;
            k->b[k->len++] = (unsigned char)~c;
        }
        return n == text.len;
    }
    nul = n != 0 ? memchr(text.data, '\0', n) : NULL;
    if (nul != NULL)
        n = (size_t)(nul - text.data);
    invert(k->b + k->len, text.data, n);
    k->len += n;
    return n == text.len;
}

void
rkey_rank(struct rkey *k, const struct rank *r, uint32_t ordinal)
{
    unsigned char b[RANK_LEN];

    for (int i = 0; i < 8; i++)
        b[i] = (unsigned char)~(r->priority >> (56 - 8 * i));
    for (int i = 0; i < SB_UUID_LEN; i++)
        b[8 + i] = (unsigned char)~r->entry.b[i];
    for (int i = 0; i < 4; i++)
        b[24 + i] = (unsigned char)(ordinal >> (24 - 8 * i));
    rkey_add(k, b, sizeof(b));
}

/* ---------- names ---------- */

static sb_str_t
take_port(sb_str_t s, uint16_t *port)
{
    size_t i = s.len;
    unsigned long n = 0;

    while (i > 0 && s.data[i - 1] >= '0' && s.data[i - 1] <= '9')
        i--;
    if (i == s.len || i < 2 || s.len - i > 5 || s.data[i - 1] != ':')
        return s;
    /* A second colon without brackets: an IPv6 address, not a port. */
    if (memchr(s.data, ':', i - 1) != NULL && s.data[i - 2] != ']')
        return s;
    for (size_t j = i; j < s.len; j++)
        n = n * 10 + (unsigned long)(s.data[j] - '0');
    *port = (uint16_t)n;
    return (sb_str_t){s.data, i - 1};
}

void
name_pattern_parse(sb_str_t s, bool with_port, struct name_pattern *out)
{
    out->port = 0;
    if (with_port)
        s = take_port(s, &out->port);
    out->form = FORM_EXACT;
    if (s.len != 0 && s.data[0] == '*') {
        out->form = FORM_LEFT;
        s.data++;
        s.len--;
    } else if (s.len != 0 && s.data[s.len - 1] == '*') {
        out->form = FORM_RIGHT;
        s.len--;
    }
    out->text = s;
}

void
sni_pattern_parse(sb_str_t s, struct name_pattern *out)
{
    name_pattern_parse(s, false, out);
    if (out->form != FORM_RIGHT && out->text.len > 1 && out->text.data[out->text.len - 1] == '.')
        out->text.len--;
}

bool
name_pattern_matches(const struct name_pattern *p, sb_str_t name)
{
    if (p->form == FORM_EXACT)
        return sb_str_eq(p->text, name);
    if (name.len < p->text.len)
        return false;
    return memcmp(p->form == FORM_RIGHT ? name.data : name.data + name.len - p->text.len, p->text.data, p->text.len) == 0;
}

unsigned
method_bit(sb_str_t method)
{
    static const char usual[][8] = {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT"};

    for (unsigned i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
        if (sb_str_eqc(method, usual[i]))
            return 1u << i;
    return 0;
}

/* ---------- regexes ---------- */

static size_t
skip_class(const char *re, size_t len, size_t i)
{
    i++; /* [ */
    if (i < len && re[i] == '^')
        i++;
    if (i < len && re[i] == ']')
        i++;
    for (; i < len && re[i] != ']'; i++)
        if (re[i] == '\\')
            i++;
    return i;
}

static bool
is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* From "(?" on: comments, or flags that turn them on, hide brackets from us. */
static bool
allows_comments(const char *re, size_t len, size_t i)
{
    if (i + 2 >= len || re[i + 1] != '?')
        return false;
    for (i += 2; i < len && (is_alnum(re[i]) || re[i] == '^'); i++)
        if (re[i] == 'x')
            return true;
    return i < len && re[i] == '#';
}

/* An alternative outside groups makes the start optional. */
static bool
has_top_alternative(const char *re, size_t len)
{
    int depth = 0;

    for (size_t i = 0; i < len; i++) {
        if (re[i] == '\\') {
            if (i + 1 < len && (re[i + 1] == 'Q' || re[i + 1] == 'E'))
                return true; /* quoting: not worth following */
            i++;
        } else if (re[i] == '[') {
            i = skip_class(re, len, i);
        } else if (re[i] == '(') {
            if (allows_comments(re, len, i))
                return true; /* nor is this */
            depth++;
        } else if (re[i] == ')') {
            depth--;
        } else if (re[i] == '|' && depth <= 0) {
            return true;
        }
    }
    return false;
}

size_t
regex_literal_prefix(const char *re, size_t len, char *out, size_t max)
{
    size_t n = 0, i = 0;

    if (has_top_alternative(re, len))
        return 0;
    while (i < len && n < max) {
        char c = re[i];
        size_t used = 1;
        if (c == '\\' && i + 1 < len && !is_alnum(re[i + 1])) {
            c = re[i + 1];
            used = 2;
        } else if (strchr("\\^$.[]|()?*+{}", c) != NULL) {
            break; /* NUL too */
        }
        if ((unsigned char)c >= 0x80 || c == '\0')
            break;
        i += used;
        if (i < len && (re[i] == '?' || re[i] == '*' || re[i] == '{'))
            break;
        out[n++] = c;
        if (i < len && re[i] == '+')
            break;
    }
    return n;
}

/* What a piece of a regex is. UNKNOWN: something that may change the meaning of the rest. */
enum token { LITERAL, OPEN, CLOSE, VARIABLE, END, UNKNOWN };

static enum token
read_escape(const char *re, size_t len, size_t i, size_t *used, char *c)
{
    if (i + 1 == len)
        return UNKNOWN;
    *used = 2;
    *c = re[i + 1];
    if (!is_alnum(*c))
        return LITERAL;
    return strchr("dDwWsSbBhHvVnrtfR", *c) != NULL ? VARIABLE : UNKNOWN;
}

static enum token
read_class(const char *re, size_t len, size_t i, size_t *used)
{
    size_t end = skip_class(re, len, i);

    if (end >= len || memchr(re + i + 1, '[', end - i) != NULL)
        return UNKNOWN; /* classes by name end elsewhere */
    for (size_t j = i; j + 1 < end; j++)
        if (re[j] == '\\' && (re[j + 1] == 'Q' || re[j + 1] == 'E'))
            return UNKNOWN;
    *used = end + 1 - i;
    return VARIABLE;
}

/* A group that does no more than group and capture. */
static enum token
read_group(const char *re, size_t len, size_t i)
{
    sb_str_t rest = {re + i + 1, len - i - 1};

    if (rest.len == 0 || rest.data[0] == '*')
        return UNKNOWN;
    if (rest.data[0] != '?' || sb_str_starts(rest, SB_STR("?:")) || sb_str_starts(rest, SB_STR("?P<")))
        return OPEN;
    return rest.len > 2 && rest.data[1] == '<' && is_alnum(rest.data[2]) ? OPEN : UNKNOWN;
}

static enum token
read_token(const char *re, size_t len, size_t i, size_t *used, char *c)
{
    *used = 1;
    *c = re[i];
    switch (*c) {
    case '\\':
        return read_escape(re, len, i, used, c);
    case '[':
        return read_class(re, len, i, used);
    case '(':
        return read_group(re, len, i);
    case ')':
        return CLOSE;
    case '$':
        return i + 1 == len ? END : VARIABLE;
    default:
        return *c == '\0' || (unsigned char)*c >= 0x80 || strchr("^.|]*+?{}", *c) != NULL ? VARIABLE : LITERAL;
    }
}

size_t
regex_segment(const char *re, size_t len, char out[SEGMENT_MAX])
{
    bool varied = false, open = false; /* something before is not literal; behind a slash, and all literal since */
    char text[SEGMENT_MAX], c;
    size_t best = 0, n = 0, used;
    int depth = 0;

    if (has_top_alternative(re, len))
        return 0;
    for (size_t i = 0; i < len; i += used) {
        enum token t = read_token(re, len, i, &used, &c);
        if (t == UNKNOWN)
            return 0;
        depth += (t == OPEN) - (t == CLOSE);
        if (t == LITERAL && (depth != 0 || (i + used < len && strchr("*+?{", re[i + used]) != NULL)))
            t = VARIABLE;
        if (open && n > best && (t == END || (t == LITERAL && c == '/'))) {
            best = n;
            memcpy(out, text, n);
        }
        varied = varied || t != LITERAL;
        if (t == LITERAL && c == '/') {
            open = varied;
            n = 0;
        } else if (t == LITERAL && open && n < sizeof(text)) {
            text[n++] = c;
        } else {
            open = false;
        }
    }
    return best;
}

/* ---------- requests ---------- */

sb_str_t
sb_router_split_port(sb_str_t host, uint16_t *port)
{
    size_t i = host.len;
    uint32_t n = 0, scale = 1;

    for (; i > 0 && host.data[i - 1] >= '0' && host.data[i - 1] <= '9'; i--) {
        n += (uint32_t)(host.data[i - 1] - '0') * scale;
        if (n > 65535)
            return host;
        scale = scale < 100000 ? scale * 10 : scale;
    }
    if (i < 2 || i == host.len || host.data[i - 1] != ':')
        return host;
    *port = (uint16_t)n;
    return (sb_str_t){host.data, i - 1};
}

bool
request_is_tls(const sb_route_request_t *req)
{
    return req->sni.len != 0 || sb_str_eqc(req->scheme, "https") || sb_str_eqc(req->scheme, "grpcs") || sb_str_eqc(req->scheme, "wss");
}

/* ---------- precedence ---------- */

uint64_t
rank_priority(uint8_t kinds, bool plain_hosts, unsigned headers, bool regex, int64_t regex_priority, size_t path_len)
{
    uint64_t p = (uint64_t)__builtin_popcount(kinds) << 61;

    p |= (uint64_t)plain_hosts << 60;
    p |= (uint64_t)(headers < 255 ? headers : 255) << 52;
    if (regex)
        return p | (uint64_t)1 << 51 | (uint64_t)regex_priority << 19;
    return p | (path_len < 0x7ffff ? path_len : 0x7ffff);
}

uint64_t
rank_of_expression(int64_t priority)
{
    return (uint64_t)0xff << 56 | (uint64_t)(priority > 0 ? priority : 0);
}

#define COMPARE(x, y)                                                                                                                      \
    do {                                                                                                                                   \
        if ((x) != (y))                                                                                                                    \
            return (x) > (y) ? 1 : -1;                                                                                                     \
    } while (0)

static int
compare_traditional(const struct rank *a, const struct rank *b)
{
    COMPARE(__builtin_popcount(a->kinds), __builtin_popcount(b->kinds));
    COMPARE(a->kinds, b->kinds);
    COMPARE(a->submatch, b->submatch);
    COMPARE(a->headers, b->headers);
    COMPARE(a->regex_priority, b->regex_priority); /* 0 without a regex */
    COMPARE(a->longest_path, b->longest_path);
    COMPARE(b->created_at, a->created_at); /* older first */
    return memcmp(&a->entry, &b->entry, sizeof(a->entry));
}

int
rank_compare(enum sb_router_flavor flavor, const struct rank *a, const struct rank *b)
{
    if (flavor == SB_ROUTER_TRADITIONAL)
        return compare_traditional(a, b);
    COMPARE(a->priority, b->priority);
    return memcmp(&a->entry, &b->entry, sizeof(a->entry));
}
