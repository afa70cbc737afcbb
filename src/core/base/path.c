/*
 * Path normalisation in one pass: bytes are decoded and appended; whenever a segment ends, a "." is dropped and a ".." takes
 * the segment before it away. The output never overtakes the input, so that it may be done in place.
 */
#include "core/base/path.h"
#include "core/base/hex.h"

#include <ctype.h>
#include <string.h>

static bool
unreserved(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '.' || c == '_' || c == '~';
}

/* Appends one byte or one kept escape of `in` to `out`; returns how many bytes of input it took. */
static size_t
take(const char *in, size_t left, char *out, size_t *n)
{
    int hi, lo, c;

    if (in[0] != '%' || left < 3 || (hi = sb_hex_value(in[1])) < 0 || (lo = sb_hex_value(in[2])) < 0) {
        out[(*n)++] = in[0];
        return 1;
    }
    c = hi * 16 + lo;
    if (unreserved(c)) {
        out[(*n)++] = (char)c;
        return 3;
    }
    out[(*n)++] = '%';
    out[(*n)++] = "0123456789ABCDEF"[hi];
    out[(*n)++] = "0123456789ABCDEF"[lo];
    return 3;
}

/* The last segment of out[0..n) starts behind its last slash; drops it when it is "." or "..". */
static size_t
end_segment(const char *out, size_t n)
{
    size_t start = n, len;

    while (start > 0 && out[start - 1] != '/')
        start--;
    len = n - start;
    if (len == 1 && out[start] == '.')
        return start;
    if (len != 2 || out[start] != '.' || out[start + 1] != '.')
        return n;
    if (start < 2)
        return start;
    for (start--; start > 0 && out[start - 1] != '/';)
        start--;
    return start;
}

size_t
sb_path_normalise(const char *path, size_t len, char *out)
{
    size_t i = 0, n = 0;

    while (i < len) {
        if (path[i] != '/') {
            i += take(path + i, len - i, out, &n);
            continue;
        }
        n = end_segment(out, n);
        if (n == 0 || out[n - 1] != '/')
            out[n++] = '/';
        i++;
    }
    return end_segment(out, n);
}
