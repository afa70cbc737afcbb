/*
 * Paths: normalising a request's, and making the upstream's. Pure text functions; the fuzz target tests/fuzz/fuzz_router_path.c
 * starts here.
 */
#include "core/base/path.h"
#include "core/router/router.h"

#include <string.h>

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
    if (is_normal(path, len)) {
        memmove(out, path, len);
        return len;
    }
    return sb_path_normalise(path, len, out);
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
