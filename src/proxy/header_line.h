/* One line of an answer's header, taken apart. Pure text. */
#ifndef SB_PROXY_HEADER_LINE_H
#define SB_PROXY_HEADER_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sb_header_line {
    size_t name_len;         /* the name begins the line */
    size_t value, value_len; /* place in the line; blanks around it are left out */
    uintptr_t hash;          /* of the name in lower case, as nginx counts it: 31 * hash + character */
} sb_header_line_t;

/* line has no line end. A line without a colon is a name with an empty value. false: not a header line (no name or one with blanks
 * in it, a continued line, control characters). */
bool sb_header_line_parse(const unsigned char *line, size_t len, sb_header_line_t *out);

#endif
