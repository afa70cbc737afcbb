/*
 * The parts of name resolution that need no network: IP literals, the hosts file and the options of resolv.conf. Pure functions on
 * text; the files are foreign bytes, so every length is checked and bad lines are passed over, as every other reader of such files does.
 */
#include "proxy/resolver_addr.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The C library's bounds for what resolv.conf says. */
#define MAX_TIMEOUT  30
#define MAX_ATTEMPTS 5

void
sb_addr_set(sb_addr_t *out, int family, const void *bytes)
{
    *out = (sb_addr_t){.weight = 1};
    out->sa.any.sa_family = (sa_family_t)family;
    if (family == AF_INET) {
        memcpy(&out->sa.v4.sin_addr, bytes, sizeof(struct in_addr));
        out->len = sizeof(struct sockaddr_in);
    } else {
        memcpy(&out->sa.v6.sin6_addr, bytes, sizeof(struct in6_addr));
        out->len = sizeof(struct sockaddr_in6);
    }
    inet_ntop(family, bytes, out->text, sizeof(out->text));
    out->text_len = (uint8_t)strlen(out->text);
}

bool
sb_addr_parse(const char *text, size_t len, sb_addr_t *out)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr bytes;
    int family;

    if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (len == 0 || len >= sizeof(copy) || memchr(text, '\0', len) != NULL)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    family = memchr(text, ':', len) != NULL ? AF_INET6 : AF_INET;
    if (inet_pton(family, copy, &bytes) != 1)
        return false;
    sb_addr_set(out, family, &bytes);
    return true;
}

static bool
next_word(const char **p, const char *end, sb_str_t *word)
{
    const char *s = *p;

    while (s < end && (*s == ' ' || *s == '\t' || *s == '\r'))
        s++;
    word->data = s;
    while (s < end && *s != ' ' && *s != '\t' && *s != '\r')
        s++;
    word->len = (size_t)(s - word->data);
    *p = s;
    return word->len != 0;
}

static void
parse_line(const char *p, const char *end, void (*fn)(sb_str_t, const sb_addr_t *, void *), void *arg)
{
    const char *hash = memchr(p, '#', (size_t)(end - p));
    sb_str_t word;
    sb_addr_t addr;

    if (hash != NULL)
        end = hash;
    if (!next_word(&p, end, &word) || !sb_addr_parse(word.data, word.len, &addr))
        return;
    while (next_word(&p, end, &word))
        fn(word, &addr, arg);
}

/* The next line without its end. False: there is none. */
static bool
next_line(const char **p, const char *end, sb_str_t *line)
{
    const char *nl = *p < end ? memchr(*p, '\n', (size_t)(end - *p)) : NULL;

    if (*p >= end)
        return false;
    line->data = *p;
    line->len = (size_t)((nl != NULL ? nl : end) - *p);
    *p = nl != NULL ? nl + 1 : end;
    return true;
}

void
sb_hosts_parse(const char *text, size_t len, void (*fn)(sb_str_t name, const sb_addr_t *addr, void *arg), void *arg)
{
    const char *end = text + len;
    sb_str_t line;

    while (next_line(&text, end, &line))
        parse_line(line.data, line.data + line.len, fn, arg);
}

/* "key:n". */
static void
take_option(sb_str_t word, const char *key, uint8_t max, uint8_t *out)
{
    size_t at = strlen(key);
    uint32_t n = 0;

    if (word.len <= at || memcmp(word.data, key, at) != 0)
        return;
    for (; at < word.len; at++) {
        if (word.data[at] < '0' || word.data[at] > '9')
            return;
        n = n * 10 + (uint32_t)(word.data[at] - '0');
        n = n < max ? n : max;
    }
    if (n != 0)
        *out = (uint8_t)n;
}

void
sb_dns_options_parse(const char *text, size_t len, sb_dns_times_t *out)
{
    const char *end = text + len;
    sb_str_t word;

    while (next_word(&text, end, &word)) {
        take_option(word, "timeout:", MAX_TIMEOUT, &out->timeout);
        take_option(word, "attempts:", MAX_ATTEMPTS, &out->attempts);
    }
}

void
sb_resolv_conf_parse(const char *text, size_t len, sb_dns_times_t *out)
{
    static const char key[] = "options";
    const char *end = text + len;
    sb_str_t line;

    while (next_line(&text, end, &line)) {
        size_t at = sizeof(key) - 1;

        if (line.len > at && memcmp(line.data, key, at) == 0 && (line.data[at] == ' ' || line.data[at] == '\t'))
            sb_dns_options_parse(line.data + at, line.len - at, out);
    }
}

char *
sb_hosts_read(const char *path, size_t max, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char *data = NULL;
    size_t n = 0;

    if (fd < 0)
        return NULL;
    data = sb_malloc(max);
    while (n < max) {
        ssize_t got = read(fd, data + n, max - n);

        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(fd);
    *len = n;
    return data;
}
