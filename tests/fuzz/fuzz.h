/* What the fuzz targets share. Input of several parts is text whose first lines are the leading parts. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes the first line off the input. */
static inline sb_str_t
fuzz_line(sb_str_t *in)
{
    const char *end = in->len != 0 ? memchr(in->data, '\n', in->len) : NULL;
    sb_str_t line = {in->data, end != NULL ? (size_t)(end - in->data) : in->len};
    size_t used = line.len + (end != NULL);

    if (used != 0)
        in->data += used;
    in->len -= used;
    return line;
}

#endif
