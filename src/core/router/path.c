/*
 * Paths: normalising a request's, and making the upstream's. Pure text functions; the fuzz target tests/fuzz/fuzz_router_path.c
 * starts here.
 */
#include "core/router/router.h"

#include <string.h>

static int
hex(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
unreserved(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

/* Ends the segment that out[0..n) ends with: "." and ".." are taken back with what they cancel. Returns the new length; out then
 * ends behind a slash if a dot segment went. */
static size_t
end_segment(const char *out, size_t n)
{
    if (n >= 2 && out[n - 1] == '.' && out[n - 2] == '/')
        return n - 1;
    if (n < 3 || out[n - 1] != '.' || out[n - 2] != '.' || out[n - 3] != '/')
        return n;
    n -= 3; /* at the slash before ".."; drop the segment before it */
    while (n > 0 && out[n - 1] != '/')
        n--;
    return n > 0 ? n : 1;
}

/* Nothing in the path that normalising would touch? The usual case, one pass. */
static bool
is_normal(const char *path, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (path[i] == '%' || (path[i] == '/' && i + 1 < len && (path[i + 1] == '/' || path[i + 1] == '.')))
            return false;
    return true;
}

size_t
sb_router_normalise_path(const char *path, size_t len, char *out)
{
    size_t n = 0;

    if (is_normal(path, len)) {
        memmove(out, path, len);
        return len;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)path[i];
        int hi = -1, lo = -1;
        if (c == '/') {
            n = end_segment(out, n);
            if (n == 0 || out[n - 1] != '/')
                out[n++] = '/';
            continue;
        }
        if (c == '%' && len - i > 2) {
            hi = hex((unsigned char)path[i + 1]);
            lo = hex((unsigned char)path[i + 2]);
        }
        if (hi < 0 || lo < 0) {
            out[n++] = (char)c;
            continue;
        }
        i += 2;
        if (unreserved((unsigned char)(hi << 4 | lo))) {
            out[n++] = (char)(hi << 4 | lo);
            continue;
        }
        out[n++] = '%';
        out[n++] = "0123456789ABCDEF"[hi];
        out[n++] = "0123456789ABCDEF"[lo];
    }
    return end_segment(out, n);
}

/* A leftover that begins with a dot segment would climb out of the service's path. */
static sb_str_t
drop_dot_head(sb_str_t s)
{
    size_t dots = 0;

    while (dots < s.len && dots < 3 && s.data[dots] == '.')
        dots++;
    if (dots == 0 || dots > 2 || (dots < s.len && s.data[dots] != '/'))
        return s;
    if (dots < s.len)
        dots++; /* the slash too */
    return (sb_str_t){s.data + dots, s.len - dots};
}

static size_t
join(char *out, sb_str_t a, const char *between, sb_str_t b)
{
    size_t n = a.len, m = strlen(between);

    memcpy(out, a.data, a.len);
    memcpy(out + n, between, m);
    n += m;
    if (b.len != 0)
        memcpy(out + n, b.data, b.len);
    return n + b.len;
}

static size_t
upstream_v1(sb_str_t service, sb_str_t rest, char *out)
{
    if (rest.len != 0 && rest.data[0] == '/' && service.data[service.len - 1] == '/')
        service.len--;
    return join(out, service, "", rest);
}

/* strip took everything: the request's trailing slash, or its absence, is kept. */
static size_t
upstream_bare(sb_str_t service, bool slash, char *out)
{
    bool has = service.data[service.len - 1] == '/';

    if (has && !slash && service.len > 1)
        service.len--;
    return join(out, service, !has && slash ? "/" : "", (sb_str_t){NULL, 0});
}

size_t
sb_router_upstream_path(sb_str_t service_path, sb_str_t request_path, size_t matched_len, bool strip, bool v1, char *out)
{
    sb_str_t service = service_path.len != 0 ? service_path : SB_STR("/"), rest = request_path;
    bool slash_end = request_path.len != 0 && request_path.data[request_path.len - 1] == '/';

    if (strip) {
        matched_len = matched_len < rest.len ? matched_len : rest.len;
        rest = drop_dot_head((sb_str_t){rest.data + matched_len, rest.len - matched_len});
        if (v1)
            return upstream_v1(service, rest, out);
        if (rest.len == 0)
            return upstream_bare(service, slash_end, out);
    } else if (v1) {
        return join(out, service, "", (sb_str_t){rest.data + (rest.len != 0), rest.len - (rest.len != 0)});
    } else if (rest.len == 0 || (rest.len == 1 && rest.data[0] == '/')) {
        return join(out, service, "", (sb_str_t){NULL, 0});
    }
    if (service.data[service.len - 1] == '/')
        service.len--;
    return join(out, service, rest.data[0] == '/' ? "" : "/", rest);
}
