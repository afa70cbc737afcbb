/*
 * The validators that tables name: hosts, addresses, paths, names (those of keys and certificates are in validators_pem.c). Each
 * takes a JSON string and returns NULL or the text of the interface; facts' names are in the table at the end.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "core/base/path.h"
#include "core/schema/host.h"
#include "core/schema/schema_int.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Binds s and len to a JSON string, or leaves the value to the type check. */
#define TEXT_OF(value)                                                                                                                     \
    const char *s = json_string_value(value);                                                                                              \
    size_t len = json_string_length(value);                                                                                                \
    if (s == NULL)                                                                                                                         \
    return NULL

static const char *
say(char *buf, size_t buflen, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(buf, buflen, fmt, ap);
    va_end(ap);
    return buf;
}

/* --- hosts --- */

const char *
sb_valid_host(const void *value, char *buf, size_t buflen)
{
    sb_host_t h;
    TEXT_OF(value);

    sb_host_parse(s, len, &h);
    if (h.kind < SB_HOST_NAME)
        return say(buf, buflen, "invalid value: %s", s);
    return h.port >= 0 ? "must not have a port" : NULL;
}

static const char *
host_error(enum sb_host_kind kind, const char *s, char *buf, size_t buflen)
{
    switch (kind) {
    case SB_HOST_BAD_NAME:
        return say(buf, buflen, "invalid hostname: %s", s);
    case SB_HOST_BAD_IPV4:
        return say(buf, buflen, "invalid ipv4 address: %s", s);
    case SB_HOST_BAD_IPV6:
        return say(buf, buflen, "invalid ipv6 address: %s", s);
    case SB_HOST_BAD_PORT:
        return "invalid port number";
    default:
        return NULL;
    }
}

const char *
sb_valid_host_with_optional_port(const void *value, char *buf, size_t buflen)
{
    sb_host_t h;
    TEXT_OF(value);

    sb_host_parse(s, len, &h);
    return host_error(h.kind, s, buf, buflen);
}

/* malloc'ed copy with every '*' made a letter, so that the rest can be judged as a host. */
static char *
without_wildcards(const char *s, size_t len)
{
    char *copy = sb_strdup_len(s, len);
    size_t i;

    for (i = 0; i < len; i++) {
        if (copy[i] == '*')
            copy[i] = 'w';
    }
    return copy;
}

const char *
sb_valid_host_with_wildcards(const void *value, char *buf, size_t buflen)
{
    char *copy;
    sb_host_t h;
    TEXT_OF(value);

    copy = without_wildcards(s, len);
    sb_host_parse(copy, len, &h);
    free(copy);
    return host_error(h.kind, s, buf, buflen);
}

static const char *
sni_error(const char *parsed, size_t len, const char *shown, char *buf, size_t buflen)
{
    sb_host_t h;

    sb_host_parse(parsed, len, &h);
    if (h.kind < SB_HOST_NAME)
        return say(buf, buflen, "invalid value: %s", shown);
    if (h.kind != SB_HOST_NAME)
        return "must not be an IP";
    return h.port >= 0 ? "must not have a port" : NULL;
}

const char *
sb_valid_sni(const void *value, char *buf, size_t buflen)
{
    TEXT_OF(value);
    return sni_error(s, len, s, buf, buflen);
}

const char *
sb_valid_wildcard_host(const void *value, char *buf, size_t buflen)
{
    const char *star, *error;
    char *copy;
    TEXT_OF(value);

    if ((star = memchr(s, '*', len)) == NULL)
        return sni_error(s, len, s, buf, buflen);
    if (memchr(star + 1, '*', len - (size_t)(star + 1 - s)) != NULL)
        return "only one wildcard must be specified";
    if (star != s && star != s + len - 1)
        return "wildcard must be leftmost or rightmost character";
    copy = without_wildcards(s, len);
    error = sni_error(copy, len, s, buf, buflen);
    free(copy);
    return error;
}

const char *
sb_valid_upstream_name(const void *value, char *buf, size_t buflen)
{
    sb_host_t h;
    TEXT_OF(value);

    sb_host_parse(s, len, &h);
    if (h.kind < SB_HOST_NAME)
        return say(buf, buflen, "Invalid name ('%s'); must be a valid hostname", s);
    if (h.kind != SB_HOST_NAME)
        return say(buf, buflen, "Invalid name ('%s'); no ip addresses allowed", s);
    return h.port >= 0 ? say(buf, buflen, "Invalid name ('%s'); no port allowed", s) : NULL;
}

const char *
sb_valid_target_address(const void *value, char *buf, size_t buflen)
{
    sb_host_t h;
    TEXT_OF(value);

    sb_host_parse(s, len, &h);
    return h.kind < SB_HOST_NAME ? say(buf, buflen, "Invalid target ('%s'); not a valid hostname or ip address", s) : NULL;
}

/* --- addresses --- */

/* Address family of s[0..len), 0 when it is no address. */
static int
family_of(const char *s, size_t len)
{
    unsigned char out[16];
    char copy[INET6_ADDRSTRLEN + 1];

    if (len >= sizeof(copy) || memchr(s, '\0', len) != NULL)
        return 0;
    memcpy(copy, s, len);
    copy[len] = '\0';
    if (inet_pton(AF_INET, copy, out) == 1)
        return AF_INET;
    return inet_pton(AF_INET6, copy, out) == 1 ? AF_INET6 : 0;
}

/* Family of an address or CIDR range, 0 when it is neither. */
static int
range_family(const char *s, size_t len)
{
    const char *slash = memchr(s, '/', len), *d;
    int family = family_of(s, slash != NULL ? (size_t)(slash - s) : len), bits = 0;

    if (slash == NULL || family == 0)
        return family;
    if (slash + 1 == s + len || s + len - slash > 4)
        return 0;
    for (d = slash + 1; d < s + len; d++) {
        if (!isdigit((unsigned char)*d))
            return 0;
        bits = bits * 10 + (*d - '0');
    }
    return bits <= (family == AF_INET ? 32 : 128) ? family : 0;
}

const char *
sb_valid_ip(const void *value, char *buf, size_t buflen)
{
    TEXT_OF(value);
    return family_of(s, len) == 0 ? say(buf, buflen, "not an ip address: %s", s) : NULL;
}

const char *
sb_valid_ip_or_cidr(const void *value, char *buf, size_t buflen)
{
    TEXT_OF(value);
    return range_family(s, len) == 0 ? say(buf, buflen, "invalid ip or cidr range: '%s'", s) : NULL;
}

const char *
sb_valid_ip_or_cidr_v4(const void *value, char *buf, size_t buflen)
{
    TEXT_OF(value);
    return range_family(s, len) != AF_INET ? say(buf, buflen, "invalid ipv4 cidr range: '%s'", s) : NULL;
}

/* --- paths and URLs --- */

static const char *
bad_escape(const char *s, size_t len, char *buf, size_t buflen)
{
    size_t i;

    for (i = 0; i < len; i++) {
        if (s[i] == '%' && !(i + 2 < len && isxdigit((unsigned char)s[i + 1]) && isxdigit((unsigned char)s[i + 2])))
            return say(buf, buflen, "invalid url-encoded value: '%.*s'", (int)(len - i < 3 ? len - i : 3), s + i);
    }
    return NULL;
}

const char *
sb_valid_path(const void *value, char *buf, size_t buflen)
{
    size_t i;
    TEXT_OF(value);

    for (i = 0; i < len; i++) {
        if (!isalnum((unsigned char)s[i]) && (s[i] == '\0' || strchr(".-_~/%:@!$&'()*+,;=", s[i]) == NULL))
            return say(buf, buflen, "invalid path: '%s' (characters outside of the reserved list of RFC 3986 found)", s);
    }
    return bad_escape(s, len, buf, buflen);
}

static const char *
regex_error(const char *s, size_t len, char *buf, size_t buflen)
{
    PCRE2_UCHAR text[256];
    PCRE2_SIZE at;
    pcre2_code *re;
    int code;

    re = pcre2_compile((PCRE2_SPTR)s, len, PCRE2_ANCHORED, &code, &at, NULL);
    pcre2_code_free(re);
    if (re != NULL)
        return NULL;
    pcre2_get_error_message(code, text, sizeof(text));
    return say(buf, buflen, "invalid regex: '%s' (PCRE returned: %s (pattern offset: %zu))", s, (const char *)text, at);
}

const char *
sb_valid_router_path(const void *value, char *buf, size_t buflen)
{
    const char *error;
    char *normal;
    size_t n;
    TEXT_OF(value);

    if ((error = bad_escape(s, len, buf, buflen)) != NULL)
        return error;
    if (s[0] == '~')
        return regex_error(s + 1, len - 1, buf, buflen);
    normal = sb_malloc(len + 1);
    n = sb_path_normalise(s, len, normal);
    normal[n] = '\0';
    if (n != len || memcmp(s, normal, n) != 0)
        error = say(buf, buflen, "non-normalized path, consider use '%s' instead", normal);
    free(normal);
    return error;
}

const char *
sb_valid_url(const void *value, char *buf, size_t buflen)
{
    size_t scheme, host;
    const char *rest;
    TEXT_OF(value);

    if (len == 0)
        return "could not parse url. empty";
    scheme = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");
    if (scheme == 0 || strncmp(s + scheme, "://", 3) != 0)
        return strncmp(s, "//", 2) == 0 || scheme != 0 ? "missing scheme in url" : "missing host in url";
    rest = s + scheme + 3;
    host = strcspn(rest, "/?#");
    if (memchr(rest, '@', host) != NULL) {
        const char *at = memrchr(rest, '@', host);

        host -= (size_t)(at + 1 - rest);
        rest = at + 1;
    }
    return host == 0 || rest[0] == ':' ? "missing host in url" : NULL;
}

/* --- names --- */

/* Position (from 1) of the first byte that is not valid UTF-8, 0 when all is. */
static size_t
bad_utf8(const unsigned char *s, size_t len)
{
    size_t i = 0, n, j;
    uint32_t c;

    while (i < len) {
        n = s[i] < 0x80 ? 1 : s[i] >= 0xc2 && s[i] < 0xe0 ? 2 : s[i] >= 0xe0 && s[i] < 0xf0 ? 3 : s[i] >= 0xf0 && s[i] < 0xf5 ? 4 : 0;
        if (n == 0 || n > len - i)
            return i + 1;
        c = n == 1 ? s[i] : s[i] & (0xffu >> (n + 1));
        for (j = 1; j < n; j++) {
            if ((s[i + j] & 0xc0) != 0x80)
                return i + 1;
            c = c << 6 | (s[i + j] & 0x3f);
        }
        if ((n == 3 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) || (n == 4 && (c < 0x10000 || c > 0x10ffff)))
            return i + 1;
        i += n;
    }
    return 0;
}

static bool
name_byte(unsigned char c)
{
    return isalnum(c) || c == '.' || c == '-' || c == '_' || c == '~';
}

const char *
sb_valid_name(const void *value, char *buf, size_t buflen)
{
    size_t i;
    TEXT_OF(value);

    for (i = 0; i < len; i++) {
        if (!name_byte((unsigned char)s[i]))
            return say(buf, buflen, "invalid value '%s': it must only contain alphanumeric and '., -, _, ~' characters", s);
    }
    return NULL;
}

static const char *
utf8_error(const char *s, size_t len, char *buf, size_t buflen)
{
    size_t at = bad_utf8((const unsigned char *)s, len);

    return at != 0 ? say(buf, buflen, "invalid utf-8 character sequence detected at position %zu", at) : NULL;
}

const char *
sb_valid_utf8_name(const void *value, char *buf, size_t buflen)
{
    const char *error;
    size_t i;
    TEXT_OF(value);

    if ((error = utf8_error(s, len, buf, buflen)) != NULL)
        return error;
    for (i = 0; i < len; i++) {
        if ((unsigned char)s[i] < 128 && !name_byte((unsigned char)s[i]))
            return say(buf, buflen, "invalid value '%s': the only accepted ascii characters are alphanumerics or ., -, _, and ~", s);
    }
    return NULL;
}

const char *
sb_valid_tag(const void *value, char *buf, size_t buflen)
{
    const char *error;
    size_t i;
    TEXT_OF(value);

    if ((error = utf8_error(s, len, buf, buflen)) != NULL)
        return error;
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c < 32 || c == ',' || c == '/' || c == 127)
            return say(buf, buflen, "invalid tag '%s': expected printable ascii (except `,` and `/`) or valid utf-8 sequences", s);
    }
    return NULL;
}

const char *
sb_valid_header_name(const void *value, char *buf, size_t buflen)
{
    size_t i;
    TEXT_OF(value);

    if (len == 0)
        return "no header name provided";
    for (i = 0; i < len; i++) {
        if (!isalnum((unsigned char)s[i]) && s[i] != '-' && s[i] != '_')
            return say(buf, buflen, "bad header name '%s', allowed characters are A-Z, a-z, 0-9, '_', and '-'", s);
    }
    return NULL;
}

const char *
sb_valid_http_token(const void *value, char *buf, size_t buflen)
{
    size_t i;
    TEXT_OF(value);

    (void)buf;
    (void)buflen;
    if (len == 0)
        return "no token provided";
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c <= 32 || c >= 127 || strchr("()<>@,;:\\\"/?={}[]", c) != NULL)
            return "contains one or more invalid characters. ASCII control characters (0-31;127), space, tab and the characters "
                   "()<>@,;:\\\"/?={}[] are not allowed.";
    }
    return NULL;
}

const char *
sb_valid_asterisk_or_regex(const void *value, char *buf, size_t buflen)
{
    PCRE2_SIZE at;
    pcre2_code *re;
    int code;
    TEXT_OF(value);

    if (strcmp(s, "*") == 0)
        return NULL;
    re = pcre2_compile((PCRE2_SPTR)s, len, 0, &code, &at, NULL);
    pcre2_code_free(re);
    return re == NULL ? say(buf, buflen, "'%s' is not a valid regex", s) : NULL;
}

/* --- by name --- */

static const struct {
    const char *name;
    sb_validator_pt fn;
} by_name[] = {
    {"asterisk_or_regex", sb_valid_asterisk_or_regex},
    {"certificate_pem", sb_valid_certificate_pem},
    {"header_name", sb_valid_header_name},
    {"host", sb_valid_host},
    {"host_with_optional_port", sb_valid_host_with_optional_port},
    {"host_with_wildcards", sb_valid_host_with_wildcards},
    {"http_token", sb_valid_http_token},
    {"ip", sb_valid_ip},
    {"ip_or_cidr", sb_valid_ip_or_cidr},
    {"ip_or_cidr_v4", sb_valid_ip_or_cidr_v4},
    {"name", sb_valid_name},
    {"path", sb_valid_path},
    {"pem_pair", sb_valid_pem_pair},
    {"private_key_pem", sb_valid_private_key_pem},
    {"router_path", sb_valid_router_path},
    {"sni", sb_valid_sni},
    {"tag", sb_valid_tag},
    {"target_address", sb_valid_target_address},
    {"upstream_name", sb_valid_upstream_name},
    {"url", sb_valid_url},
    {"utf8_name", sb_valid_utf8_name},
    {"wildcard_host", sb_valid_wildcard_host},
};

sb_validator_pt
sb_validator_find(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(by_name) / sizeof(by_name[0]); i++) {
        if (strcmp(by_name[i].name, name) == 0)
            return by_name[i].fn;
    }
    return NULL;
}
