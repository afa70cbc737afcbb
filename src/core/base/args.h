/* What clients send as lists of names with values, taken apart in place: query strings and cookies. */
#ifndef SB_ARGS_H
#define SB_ARGS_H

#include "core/base/base.h"

/* Takes the next argument off a query ("a=1&b"), undecoded; false at the end. value->data NULL: there is no "=". Both borrow the query. */
bool sb_args_next(sb_str_t *query, sb_str_t *name, sb_str_t *value);
/* Form text decoded: "+" is a blank, "%41" an A; a "%" without two hex digits stays. Writes at most text.len bytes to out, which may be
 * text.data; returns how many. */
size_t sb_args_decode(sb_str_t text, char *out);
/* The value of a name in a Cookie header ("a=1; b=2"), without blanks around it; the first one counts. data NULL: it is not there. */
sb_str_t sb_args_cookie(sb_str_t header, sb_str_t name);

#endif
