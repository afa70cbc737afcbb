/* Fuzz target: the first line is a Lua pattern, the rest the text it is searched in. */
#include <stdlib.h>
#include <string.h>

#include "core/schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size != 0 ? memchr(data, '\n', size) : NULL;
    size_t len = end != NULL ? (size_t)(end - data) : size;
    char *pattern = sb_strdup_len((const char *)data, len);
    const char *text = end != NULL ? (const char *)end + 1 : "";
    size_t text_len = end != NULL ? size - len - 1 : 0;

    /* A malformed pattern finds nothing. */
    if (sb_lua_pattern_match(text, text_len, pattern) && sb_lua_pattern_error(pattern) != NULL)
        abort();
    free(pattern);
    return 0;
}
