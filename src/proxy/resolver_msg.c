/*
 * Answers of name servers: bytes of strangers. Every read is bounded by the message, names may point back only to what was before them
 * (so they end), aliases are followed a bounded number of times, and only records owned by the name that was asked, or by one that
 * its aliases lead to, count. A record that is not well formed makes the whole message so.
 *
 * Start reading at sb_dns_parse().
 */
#include "proxy/resolver_msg.h"

#include <stdlib.h>
#include <string.h>

#define HEADER_LEN  12
#define MAX_ALIASES 16
#define CLASS_IN    1

struct msg {
    const uint8_t *data;
    size_t len;
    size_t answers; /* where the answer section begins */
    uint16_t n;     /* records in it */
};

struct rr {
    char owner[SB_DNS_NAME_MAX + 1];
    uint16_t type, class;
    uint32_t ttl;
    size_t data, data_len; /* where in the message */
};

static uint16_t
u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static bool
add_label(char *out, size_t *n, const uint8_t *label, size_t len)
{
    if (*n + len + (*n != 0) > SB_DNS_NAME_MAX)
        return false;
    if (*n != 0)
        out[(*n)++] = '.';
    for (size_t i = 0; i < len; i++) {
        uint8_t c = label[i];

        if (c <= 0x20 || c >= 0x7f || c == '.' || c == '\\')
            return false;
        out[(*n)++] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    return true;
}

/* A name at *at, as text; *at moves behind it. A pointer must lead to before the part that it is in. */
static bool
read_name(const struct msg *m, size_t *at, char *out)
{
    size_t p = *at, limit = *at, n = 0;
    bool jumped = false;

    while (p < m->len && m->data[p] != 0) {
        uint8_t c = m->data[p];

        if ((c & 0xc0) == 0xc0) {
            if (p + 2 > m->len)
                return false;
            if (!jumped)
                *at = p + 2;
            jumped = true;
            p = u16(m->data + p) & 0x3fffu;
            if (p >= limit)
                return false;
            limit = p;
        } else {
            if ((c & 0xc0) != 0 || p + 1 + c > m->len || !add_label(out, &n, m->data + p + 1, c))
                return false;
            p += 1 + (size_t)c;
        }
    }
    if (p >= m->len)
        return false;
    if (!jumped)
        *at = p + 1;
    out[n] = '\0';
    return true;
}

static bool
read_record(const struct msg *m, size_t *at, struct rr *rr)
{
    const uint8_t *p;

    if (!read_name(m, at, rr->owner) || m->len - *at < 10)
        return false;
    p = m->data + *at;
    rr->type = u16(p);
    rr->class = u16(p + 2);
    rr->ttl = (uint32_t)u16(p + 4) << 16 | u16(p + 6);
    if (rr->ttl > INT32_MAX)
        rr->ttl = 0; /* RFC 2181, 8 */
    rr->data_len = u16(p + 8);
    rr->data = *at + 10;
    *at = rr->data + rr->data_len;
    return *at <= m->len;
}

/* A name that fills the record's data from offset `from` to its end. */
static bool
read_target(const struct msg *m, const struct rr *rr, size_t from, char *out)
{
    size_t at = rr->data + from;

    return from < rr->data_len && read_name(m, &at, out) && at == rr->data + rr->data_len;
}

static bool
read_addr(const struct msg *m, const struct rr *rr, sb_addr_t *out)
{
    if (rr->data_len != (rr->type == SB_DNS_A ? 4 : 16))
        return false;
    sb_addr_set(out, rr->type == SB_DNS_A ? AF_INET : AF_INET6, m->data + rr->data);
    return true;
}

static bool
read_srv(const struct msg *m, const struct rr *rr, sb_dns_srv_t *out)
{
    const uint8_t *p = m->data + rr->data;
    size_t from = rr->type == SB_DNS_SRV ? 6 : 0;

    *out = (sb_dns_srv_t){0};
    if (rr->data_len < from)
        return false;
    if (rr->type == SB_DNS_SRV) {
        out->priority = u16(p);
        out->weight = u16(p + 2);
        out->port = u16(p + 4);
    }
    return read_target(m, rr, from, out->target);
}

static bool
begin(struct msg *m, char *asked)
{
    size_t at = HEADER_LEN;

    if (m->len < HEADER_LEN || (m->data[2] & 0x80) == 0 || u16(m->data + 4) != 1 || !read_name(m, &at, asked))
        return false;
    m->answers = at + 4;
    m->n = u16(m->data + 6);
    return m->answers <= m->len;
}

/* Where the aliases of `name` lead, in place; the least TTL on the way. False: malformed, or they never end. */
static bool
follow_aliases(const struct msg *m, char *name, uint32_t *ttl)
{
    struct rr rr;

    for (int hops = 0; hops < MAX_ALIASES; hops++) {
        size_t at = m->answers;
        bool found = false;

        for (uint16_t i = 0; i < m->n && !found; i++) {
            if (!read_record(m, &at, &rr))
                return false;
            found = rr.class == CLASS_IN && rr.type == SB_DNS_CNAME && strcmp(rr.owner, name) == 0;
        }
        if (!found)
            return true;
        if (!read_target(m, &rr, 0, name))
            return false;
        *ttl = rr.ttl < *ttl ? rr.ttl : *ttl;
    }
    return false;
}

static bool
counts(const struct rr *rr, int type, const char *name)
{
    return rr->class == CLASS_IN && rr->type == type && strcmp(rr->owner, name) == 0;
}

/* How many records count; -1: malformed. */
static int
count(const struct msg *m, int type, const char *name)
{
    size_t at = m->answers;
    struct rr rr;
    int n = 0;

    for (uint16_t i = 0; i < m->n; i++) {
        if (!read_record(m, &at, &rr))
            return -1;
        n += counts(&rr, type, name);
    }
    return n;
}

static bool
collect(const struct msg *m, int type, const char *name, sb_dns_answer_t *out)
{
    size_t at = m->answers;
    uint32_t n = 0;
    struct rr rr;

    for (uint16_t i = 0; i < m->n && n < out->n; i++) {
        if (!read_record(m, &at, &rr))
            return false;
        if (!counts(&rr, type, name))
            continue;
        if (out->addrs != NULL ? !read_addr(m, &rr, &out->addrs[n]) : !read_srv(m, &rr, &out->srvs[n]))
            return false;
        out->ttl = rr.ttl < out->ttl ? rr.ttl : out->ttl;
        n++;
    }
    return n == out->n;
}

int
sb_dns_parse(const uint8_t *data, size_t len, int type, sb_dns_answer_t *out)
{
    struct msg m = {.data = data, .len = len};
    char name[SB_DNS_NAME_MAX + 1];
    int n;

    *out = (sb_dns_answer_t){.ttl = UINT32_MAX};
    if (!begin(&m, name) || (type != SB_DNS_CNAME && !follow_aliases(&m, name, &out->ttl)))
        return SB_ERROR;
    n = count(&m, type, name);
    if (n <= 0)
        return n == 0 ? SB_DECLINED : SB_ERROR;
    out->n = type == SB_DNS_CNAME ? 1 : (uint32_t)n;
    if (type == SB_DNS_A || type == SB_DNS_AAAA)
        out->addrs = sb_calloc(out->n * sizeof(*out->addrs));
    else
        out->srvs = sb_calloc(out->n * sizeof(*out->srvs));
    if (collect(&m, type, name, out))
        return SB_OK;
    sb_dns_answer_free(out);
    return SB_ERROR;
}

void
sb_dns_answer_free(sb_dns_answer_t *a)
{
    free(a->addrs);
    free(a->srvs);
    *a = (sb_dns_answer_t){0};
}
