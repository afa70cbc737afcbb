/* Literals of the expression language: strings, raw strings, addresses, ranges, integers. Start at parse_literal. */
#include "core/router/expression/expression_int.h"

#include <arpa/inet.h>

static char
peek(const struct parser *p)
{
    return p->at < p->text.len ? p->text.data[p->at] : '\0';
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* ---------- strings ---------- */

static char
unescaped(char c)
{
    switch (c) {
    case '"':
    case '\\':
        return c;
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return '\0';
    }
}

static size_t
string_room(const struct parser *p)
{
    size_t i = p->at + 1;

    while (i < p->text.len && p->text.data[i] != '"')
        i += p->text.data[i] == '\\' ? 2 : 1;
    return i - p->at + 1;
}

static int
parse_string(struct parser *p, struct value *out)
{
    char *buf = sb_pool_alloc(p->pool, string_room(p));
    size_t n = 0;

    for (p->at++; p->at < p->text.len && p->text.data[p->at] != '"'; p->at++) {
        char c = p->text.data[p->at];
        if (c == '\\') {
            c = p->at + 1 < p->text.len ? unescaped(p->text.data[p->at + 1]) : '\0';
            if (c == '\0')
                return parse_fail(p, p->at, "one of the escapes \\\" \\\\ \\n \\r \\t");
            p->at++;
        }
        buf[n++] = c;
    }
    if (p->at >= p->text.len)
        return parse_fail(p, p->at, "'\"' that ends the string");
    p->at++;
    *out = (struct value){.type = TYPE_STRING, .text = {buf, n}};
    return SB_OK;
}

static int
parse_raw_string(struct parser *p, struct value *out)
{
    size_t start = p->at + 3;

    for (size_t i = start; i + 1 < p->text.len; i++)
        if (p->text.data[i] == '"' && p->text.data[i + 1] == '#') {
            *out = (struct value){.type = TYPE_STRING, .text = {p->text.data + start, i - start}};
            p->at = i + 2;
            return SB_OK;
        }
    return parse_fail(p, p->text.len, "'\"#' that ends the raw string");
}

/* ---------- addresses ---------- */

bool
ip_parse(sb_str_t text, struct ip *out)
{
    char buf[INET6_ADDRSTRLEN];
    bool six = text.len != 0 && memchr(text.data, ':', text.len) != NULL;

    memset(out, 0, sizeof(*out));
    if (text.len == 0 || text.len >= sizeof(buf))
        return false;
    memcpy(buf, text.data, text.len);
    buf[text.len] = '\0';
    if (inet_pton(six ? AF_INET6 : AF_INET, buf, out->b) != 1)
        return false;
    out->family = six ? 6 : 4;
    out->bits = six ? 128 : 32;
    return true;
}

/* The same but for bits behind the range's. */
static bool
same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned rest = bits % 8;

    if (memcmp(a, b, bits / 8) != 0)
        return false;
    return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}

bool
ip_in(const struct ip *ip, const struct ip *range)
{
    return ip->family == range->family && same_bits(ip->b, range->b, range->bits);
}

static bool
has_host_bits(const struct ip *ip)
{
    for (unsigned bit = ip->bits; bit < (ip->family == 6 ? 128u : 32u); bit++)
        if (ip->b[bit / 8] & (0x80u >> bit % 8))
            return true;
    return false;
}

static int
parse_range_bits(struct parser *p, struct value *out)
{
    size_t start = ++p->at;
    unsigned n = 0;

    for (; is_digit(peek(p)) && p->at - start < 3; p->at++)
        n = n * 10 + (unsigned)(peek(p) - '0');
    if (p->at == start || n > out->ip.bits)
        return parse_fail(p, start, out->ip.family == 6 ? "a number of bits from 0 to 128" : "a number of bits from 0 to 32");
    out->ip.bits = (uint8_t)n;
    out->type = TYPE_CIDR;
    return has_host_bits(&out->ip) ? parse_fail(p, start, "more bits: the address has some set behind these") : SB_OK;
}

static int
parse_ip(struct parser *p, size_t end, struct value *out)
{
    *out = (struct value){.type = TYPE_IP};
    if (!ip_parse((sb_str_t){p->text.data + p->at, end - p->at}, &out->ip))
        return parse_fail(p, p->at, "an IPv4 or IPv6 address");
    p->at = end;
    return peek(p) == '/' ? parse_range_bits(p, out) : SB_OK;
}

/* ---------- integers ---------- */

static unsigned
digit_value(char c)
{
    return is_digit(c) ? (unsigned)(c - '0') : is_hex(c) ? (unsigned)((c | 0x20) - 'a') + 10 : 99;
}

/* A leading zero makes it octal when octal digits follow; "09" is nine. */
static unsigned
base_of(struct parser *p)
{
    const char *s = p->text.data + p->at;
    size_t left = p->text.len - p->at;

    if (left > 2 && s[0] == '0' && s[1] == 'x' && is_hex(s[2])) {
        p->at += 2;
        return 16;
    }
    return left > 1 && s[0] == '0' && s[1] >= '0' && s[1] <= '7' ? 8 : 10;
}

static int
parse_integer(struct parser *p, struct value *out)
{
    size_t start = p->at, digits;
    bool minus = peek(p) == '-';
    uint64_t n = 0, limit;
    unsigned base, d;

    p->at += minus;
    if (!is_digit(peek(p)))
        return parse_fail(p, start, "a string, an address, a range or an integer");
    base = base_of(p);
    digits = p->at;
    limit = (uint64_t)INT64_MAX + minus;
    for (; (d = digit_value(peek(p))) < base && p->at < p->text.len; p->at++) {
        if (n > (limit - d) / base)
            return parse_fail(p, start, "an integer of 64 bits");
        n = n * base + d;
    }
    SB_ASSERT(p->at > digits);
    *out = (struct value){.type = TYPE_INT, .number = minus ? (int64_t)(0 - n) : (int64_t)n};
    return SB_OK;
}

int
parse_literal(struct parser *p, struct value *out)
{
    size_t end = p->at;
    bool ip = false;

    if (peek(p) == '"')
        return parse_string(p, out);
    if (p->text.len - p->at >= 3 && memcmp(p->text.data + p->at, "r#\"", 3) == 0)
        return parse_raw_string(p, out);
    for (; end < p->text.len && (is_hex(p->text.data[end]) || p->text.data[end] == ':' || p->text.data[end] == '.'); end++)
        ip = ip || p->text.data[end] == ':' || p->text.data[end] == '.';
    return ip ? parse_ip(p, end, out) : parse_integer(p, out);
}
