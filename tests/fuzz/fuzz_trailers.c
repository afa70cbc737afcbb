/*
 * Trailers of answers. The first byte says where the rest is cut in two: however it comes in, the section begins at the same place, and
 * what passes of it is a field, within bounds, without a line end.
 */
#include "proxy/header_line.c"
#include "proxy/trailer_text.c"

#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sb_last_chunk_t whole = {0}, parts = {0};
    const uint8_t *pos, *end, *line;
    size_t cut, begin, len;
    sb_header_line_t at;

    if (size == 0)
        return 0;
    cut = data[0] < size - 1 ? data[0] : size - 1;
    data++;
    size--;
    begin = sb_last_chunk_find(&whole, data, size);
    SB_ASSERT(begin == sb_last_chunk_find(&parts, data, cut) + sb_last_chunk_find(&parts, data + cut, size - cut));
    SB_ASSERT(whole.state == parts.state && begin <= size);
    pos = data + begin;
    end = data + size;
    while (sb_trailer_next(&pos, end, &line, &len)) {
        SB_ASSERT(len > 0 && line + len < pos && pos <= end);
        if (!sb_trailer_parse(line, len, &at))
            continue;
        SB_ASSERT(at.name_len > 0 && line[at.name_len] == ':' && at.value + at.value_len <= len);
        for (size_t i = 0; i < at.value_len; i++)
            SB_ASSERT(line[at.value + i] != '\r' && line[at.value + i] != '\n' && line[at.value + i] != '\0');
    }
    return 0;
}
