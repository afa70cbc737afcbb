/* The trailer section of an answer in chunks: where it begins, its lines, and which of them may go on. Pure text. */
#ifndef SB_PROXY_TRAILER_TEXT_H
#define SB_PROXY_TRAILER_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/header_line.h"

/* Where in the framing of chunks a reader is. Starts zeroed. */
typedef struct sb_last_chunk {
    unsigned char state;
} sb_last_chunk_t;

/* The framing of chunks, in pieces of any size: what stands between the data, and nothing of the data. A parser must have found it good
 * before. Returns how many bytes belong to it up to the trailer section, which begins behind the line of the last chunk (size 0): n while
 * that is still to come; bytes from the returned place on, and all of later pieces, are the section's. */
size_t sb_last_chunk_find(sb_last_chunk_t *t, const unsigned char *p, size_t n);

/* The next line of a section, *pos to end: moves *pos behind it; its text, without the line end, is in *line and *len. false: there is no
 * further one that is complete and not empty. */
bool sb_trailer_next(const unsigned char **pos, const unsigned char *end, const unsigned char **line, size_t *len);

/* Takes a line apart. false: it is no field (no colon, or what sb_header_line_parse() refuses), or a field that frames or routes a
 * message, or is for one connection only, and so can not stand in a trailer. */
bool sb_trailer_parse(const unsigned char *line, size_t len, sb_header_line_t *out);

#endif
