/*
 * The parts of name resolution that need no network: IP literals and the hosts file. Pure functions on text; the file is
 * foreign bytes, so every length is checked and bad lines are passed over, as every other reader of such files does.
 */
#include "proxy/resolver_addr.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

void
sb_hosts_parse(const char *text, size_t len, void (*fn)(sb_str_t name, const sb_addr_t *addr, void *arg), void *arg)
{
    const char *end = text + len;

    while (text < end) {
        const char *nl = memchr(text, '\n', (size_t)(end - text));
        const char *stop = nl != NULL ? nl : end;

        parse_line(text, stop, fn, arg);
        text = nl != NULL ? nl + 1 : end;
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
