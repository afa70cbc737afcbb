/* Parsing of hosts; see host.h. What looks like an address (digits and dots; two colons or a bracket) must be one. */
#include "core/schema/host.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#define NAME_MAX_LEN  253
#define LABEL_MAX_LEN 63

static bool
parse_address(int family, const char *text, size_t len, unsigned char *out)
{
    char copy[INET6_ADDRSTRLEN + 1];

    if (len == 0 || len >= sizeof(copy) || memchr(text, '\0', len) != NULL)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return inet_pton(family, copy, out) == 1;
}

/* ":<port>" up to the end; -1 when it is not a port. */
static int
parse_port(const char *text, size_t len)
{
    int port = 0;
    size_t i;

    if (len < 2 || len > 6 || text[0] != ':')
        return -1;
    for (i = 1; i < len; i++) {
        if (!isdigit((unsigned char)text[i]))
            return -1;
        port = port * 10 + (text[i] - '0');
    }
    return port <= 65535 ? port : -1;
}

static bool
valid_label(const char *s, size_t len)
{
    size_t i;

    if (len == 0 || len > LABEL_MAX_LEN || s[0] == '-' || s[len - 1] == '-')
        return false;
    for (i = 0; i < len; i++) {
        if (!isalnum((unsigned char)s[i]) && s[i] != '-' && s[i] != '_')
            return false;
    }
    return true;
}

static bool
valid_name(const char *s, size_t len)
{
    size_t start = 0, i;

    if (len == 0 || len > NAME_MAX_LEN)
        return false;
    if (s[len - 1] == '.')
        len--;
    for (i = 0; i <= len; i++) {
        if (i != len && s[i] != '.')
            continue;
        if (!valid_label(s + start, i - start))
            return false;
        start = i + 1;
    }
    return true;
}

static void
parse_ipv6(const char *text, size_t len, sb_host_t *out)
{
    const char *end;
    size_t rest;

    out->kind = SB_HOST_BAD_IPV6;
    out->host = (sb_str_t){text, len};
    if (text[0] == '[') {
        if ((end = memchr(text, ']', len)) == NULL)
            return;
        rest = len - (size_t)(end + 1 - text);
        out->host = (sb_str_t){text + 1, (size_t)(end - text) - 1};
        if (rest != 0 && (out->port = parse_port(end + 1, rest)) < 0) {
            out->kind = SB_HOST_BAD_PORT;
            return;
        }
    }
    if (parse_address(AF_INET6, out->host.data, out->host.len, out->address))
        out->kind = SB_HOST_IPV6;
}

void
sb_host_parse(const char *text, size_t len, sb_host_t *out)
{
    const char *colon = memchr(text, ':', len);
    size_t i, host_len;

    memset(out, 0, sizeof(*out));
    out->port = -1;
    if (len != 0 && (text[0] == '[' || (colon != NULL && memchr(colon + 1, ':', len - (size_t)(colon + 1 - text)) != NULL))) {
        parse_ipv6(text, len, out);
        return;
    }
    host_len = colon != NULL ? (size_t)(colon - text) : len;
    out->host = (sb_str_t){text, host_len};
    for (i = 0; i < host_len && (isdigit((unsigned char)text[i]) || text[i] == '.');)
        i++;
    if (i == host_len && host_len != 0)
        out->kind = parse_address(AF_INET, text, host_len, out->address) ? SB_HOST_IPV4 : SB_HOST_BAD_IPV4;
    else
        out->kind = valid_name(text, host_len) ? SB_HOST_NAME : SB_HOST_BAD_NAME;
    if (colon != NULL && (out->port = parse_port(colon, len - host_len)) < 0 && out->kind >= SB_HOST_NAME)
        out->kind = SB_HOST_BAD_PORT;
}
