/* Fuzz target: the first line is a route's regex, the rest a path. What the router takes for granted of a path that matches must hold. */
#include <stdlib.h>
#include <string.h>

#include "core/router/router_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
has_segment(sb_str_t path, const char *segment, size_t len)
{
    const char *end = path.data + path.len;

    for (const char *p = path.data; p < end; p++) {
        if (*p != '/' || (size_t)(end - p - 1) < len || memcmp(p + 1, segment, len) != 0)
            continue;
        if (p + 1 + len == end || p[1 + len] == '/')
            return true;
    }
    return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size != 0 ? memchr(data, '\n', size) : NULL;
    size_t len = end != NULL ? (size_t)(end - data) : size, literal_len, segment_len;
    char *pattern = sb_asprintf("^%.*s", (int)len, (const char *)data), literal[PATH_MAX_LEN], segment[SEGMENT_MAX], why[160];
    sb_str_t regex = {pattern, strlen(pattern)}, path = SB_STR("");
    struct regexes *regexes = regexes_new();

    if (end != NULL)
        path = (sb_str_t){(const char *)end + 1, size - len - 1};
    literal_len = regex_literal_prefix(pattern + 1, regex.len - 1, literal, sizeof(literal));
    segment_len = regex_segment(pattern + 1, regex.len - 1, segment);
    if (regex_compiles(regex, why, sizeof(why)) && regexes_match(regexes, regex, false, path, NULL, NULL, 1) != 0) {
        if (path.len < literal_len || memcmp(path.data, literal, literal_len) != 0)
            abort();
        if (segment_len != 0 && !has_segment(path, segment, segment_len))
            abort();
    }
    regexes_free(regexes);
    free(pattern);
    return 0;
}
