/* The text form of a target: host[:port], IPv6 in brackets when it has a port. */
#include "core/balancer/balancer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PORT 8000

static bool
parse_port(sb_str_t s, uint16_t *port)
{
    unsigned long n = 0;

    if (s.len == 0 || s.len > 5)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        n = n * 10 + (unsigned long)(s.data[i] - '0');
    }
    *port = (uint16_t)n;
    return n <= 65535;
}

static bool
is_ip(sb_str_t s, int family)
{
    char text[INET6_ADDRSTRLEN + 1];
    unsigned char addr[16];

    if (s.len == 0 || s.len >= sizeof(text) || memchr(s.data, '\0', s.len) != NULL)
        return false;
    memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    return inet_pton(family, text, addr) == 1;
}

/* Letters, digits, "-", "_" and "."; labels that are not empty; a last label of digits would be a broken IPv4 address. */
static bool
is_name(sb_str_t s)
{
    size_t label = 0;
    bool digits = true;

    if (s.len == 0 || s.len > 255)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
            digits = digits && i + 1 == s.len;
            continue;
        }
        if (label == 0)
            digits = true;
        if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' || c == '_'))
            return false;
        digits = digits && c >= '0' && c <= '9';
        label++;
    }
    return !digits;
}

int
sb_target_parse(sb_str_t text, sb_str_t *host, uint16_t *port)
{
    const char *colon, *close;

    *port = DEFAULT_PORT;
    *host = text;
    if (text.len == 0)
        return SB_DECLINED;
    if (text.data[0] == '[') {
        close = memchr(text.data, ']', text.len);
        if (close == NULL)
            return SB_DECLINED;
        *host = (sb_str_t){text.data + 1, (size_t)(close - text.data) - 1};
        text = (sb_str_t){close + 1, text.len - host->len - 2};
        if (!is_ip(*host, AF_INET6) || (text.len != 0 && text.data[0] != ':'))
            return SB_DECLINED;
        return text.len == 0 || parse_port((sb_str_t){text.data + 1, text.len - 1}, port) ? SB_OK : SB_DECLINED;
    }
    if (is_ip(text, AF_INET6))
        return SB_OK;
    colon = memchr(text.data, ':', text.len);
    if (colon != NULL) {
        host->len = (size_t)(colon - text.data);
        if (!parse_port((sb_str_t){colon + 1, text.len - host->len - 1}, port))
            return SB_DECLINED;
    }
    return is_ip(*host, AF_INET) || is_name(*host) ? SB_OK : SB_DECLINED;
}

char *
sb_target_normalise(sb_str_t text)
{
    sb_str_t host;
    uint16_t port;
    char ip[INET6_ADDRSTRLEN + 1];
    unsigned char a[16];

    if (sb_target_parse(text, &host, &port) != SB_OK)
        return NULL;
    if (!is_ip(host, AF_INET6))
        return sb_asprintf("%.*s:%u", (int)host.len, host.data, port);
    memcpy(ip, host.data, host.len);
    ip[host.len] = '\0';
    inet_pton(AF_INET6, ip, a);
    return sb_asprintf("[%02x%02x:%02x%02x:%02x%02x:%02x%02x:%02x%02x:%02x%02x:%02x%02x:%02x%02x]:%u", a[0], a[1], a[2], a[3], a[4], a[5],
                       a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15], port);
}

char *
sb_target_of_row(const json_t *row, uint16_t *port)
{
    const char *text = sb_json_string(row, "target");
    sb_str_t host;

    if (text == NULL || sb_target_parse((sb_str_t){text, strlen(text)}, &host, port) != SB_OK)
        return NULL;
    return sb_strdup_len(host.data, host.len);
}

bool
sb_target_is_ip(const char *host)
{
    sb_str_t s = {host, strlen(host)};

    return is_ip(s, AF_INET) || is_ip(s, AF_INET6);
}
