/* The syntax of listen settings: "off" or comma-separated "<ip|host|[v6]>:<port> [flags]". */
#include "core/settings/settings_int.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void
sb_listen_free(sb_listen_t *l, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(l[i].address);
        free(l[i].flags);
    }
    free(l);
}

static bool
all_digits(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isdigit((unsigned char)s[i]))
            return false;
    return len > 0;
}

static bool
valid_host(const char *s, size_t len)
{
    char v6[INET6_ADDRSTRLEN];
    struct in6_addr a6;
    struct in_addr a4;
    bool numeric = true;

    if (len > 2 && s[0] == '[' && s[len - 1] == ']' && len - 2 < sizeof(v6)) {
        memcpy(v6, s + 1, len - 2);
        v6[len - 2] = '\0';
        return inet_pton(AF_INET6, v6, &a6) == 1;
    }
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)s[i]) && s[i] != '.' && s[i] != '-' && s[i] != '_')
            return false;
        numeric = numeric && (isdigit((unsigned char)s[i]) || s[i] == '.');
    }
    if (!numeric || len >= sizeof(v6))
        return len > 0 && len < 254;
    memcpy(v6, s, len);
    v6[len] = '\0';
    return inet_pton(AF_INET, v6, &a4) == 1;
}

static bool
parse_address(const char *s, size_t len, sb_listen_t *l)
{
    const char *colon = memrchr(s, ':', len);
    size_t digits;
    long port;

    if (colon == NULL || !valid_host(s, (size_t)(colon - s)))
        return false;
    digits = len - (size_t)(colon + 1 - s);
    if (digits > 5 || !all_digits(colon + 1, digits))
        return false;
    port = strtol(colon + 1, NULL, 10);
    if (port < 1 || port > 65535)
        return false;
    l->address = sb_strdup_len(s, (size_t)(colon - s));
    l->port = (uint16_t)port;
    return true;
}

static bool
valid_keepalive(const char *s, size_t len)
{
    int colons = 0;

    if ((len == 2 && memcmp(s, "on", 2) == 0) || (len == 3 && memcmp(s, "off", 3) == 0))
        return true;
    for (size_t i = 0; i < len; i++) {
        if (s[i] == ':')
            colons++;
        else if (!isalnum((unsigned char)s[i]))
            return false;
    }
    return colons == 2;
}

/* A flag that goes to nginx as it is. */
static bool
valid_flag(const char *s, size_t len)
{
    static const char *const plain[] = {"deferred", "bind", "reuseport", "udp", "ipv6only=on", "ipv6only=off"};

    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        if (len == strlen(plain[i]) && memcmp(s, plain[i], len) == 0)
            return true;
    if (len > 8 && memcmp(s, "backlog=", 8) == 0)
        return len < 18 && all_digits(s + 8, len - 8);
    return len > 13 && memcmp(s, "so_keepalive=", 13) == 0 && valid_keepalive(s + 13, len - 13);
}

static bool
take_flag(const char *s, size_t len, sb_listen_t *l, sb_buf_t *flags)
{
    sb_str_t word = {s, len};

    if (sb_str_eqc(word, "ssl"))
        l->ssl = true;
    else if (sb_str_eqc(word, "http2"))
        l->http2 = true;
    else if (sb_str_eqc(word, "proxy_protocol"))
        l->proxy_protocol = true;
    else if (sb_str_eqc(word, "quic"))
        l->quic = true;
    else if (valid_flag(s, len)) {
        if (flags->len != 0)
            sb_buf_addc(flags, ' ');
        sb_buf_add(flags, s, len);
    } else
        return false;
    return true;
}

static bool
parse_entry(const char *s, size_t len, sb_listen_t *l)
{
    sb_buf_t flags = {0};
    bool first = true, ok = true;

    for (size_t i = 0; i < len && ok;) {
        size_t start;
        while (i < len && isspace((unsigned char)s[i]))
            i++;
        start = i;
        while (i < len && !isspace((unsigned char)s[i]))
            i++;
        if (i == start)
            break;
        ok = first ? parse_address(s + start, i - start, l) : take_flag(s + start, i - start, l, &flags);
        first = false;
    }
    l->flags = sb_buf_take(&flags);
    return ok && !first;
}

static bool
is_off(const char *s, size_t len)
{
    while (len > 0 && isspace((unsigned char)*s)) {
        s++;
        len--;
    }
    while (len > 0 && isspace((unsigned char)s[len - 1]))
        len--;
    return len == 3 && memcmp(s, "off", 3) == 0;
}

bool
sb_listen_parse(const char *text, sb_listen_t **out, size_t *n)
{
    const char *p = text;
    bool off = false;

    *out = NULL;
    *n = 0;
    for (;;) {
        size_t len = strcspn(p, ",");
        if (is_off(p, len))
            off = true;
        else {
            *out = sb_realloc(*out, (*n + 1) * sizeof(**out));
            (*out)[*n] = (sb_listen_t){0};
            (*n)++;
            if (!parse_entry(p, len, &(*out)[*n - 1]))
                goto fail;
        }
        if (p[len] == '\0')
            break;
        p += len + 1;
    }
    if (!off)
        return true;
    sb_listen_free(*out, *n);
    *out = NULL;
    *n = 0;
    return true;

fail:
    sb_listen_free(*out, *n);
    *out = NULL;
    *n = 0;
    return false;
}
