/* Fuzz target: the first line is a name, the rest a query or the value of a Cookie header. All that is found lies within the text. */
#include "core/base/args.h"
#include "fuzz.h"

static void
check_within(sb_str_t part, sb_str_t text)
{
    SB_ASSERT(part.data >= text.data && part.data + part.len <= text.data + text.len);
}

static void
check_decoded(sb_str_t s)
{
    char *copy = malloc(s.len + 1), *in_place = malloc(s.len + 1);
    size_t n;

    SB_ASSERT(copy != NULL && in_place != NULL);
    memcpy(in_place, s.data, s.len);
    n = sb_args_decode(s, copy);
    SB_ASSERT(n <= s.len && (s.len - n) % 2 == 0);
    SB_ASSERT(sb_args_decode((sb_str_t){in_place, s.len}, in_place) == n && memcmp(copy, in_place, n) == 0);
    free(copy);
    free(in_place);
}

/* The parts and their separators are the whole text. */
static void
check_query(sb_str_t text)
{
    sb_str_t rest = text, name, value;
    size_t seen = 0;

    while (sb_args_next(&rest, &name, &value)) {
        check_within(name, text);
        check_decoded(name);
        seen += name.len + (value.data != NULL ? 1 + value.len : 0) + 1;
        if (value.data == NULL)
            continue;
        check_within(value, text);
        check_decoded(value);
    }
    SB_ASSERT(rest.len == 0 && (seen == text.len || seen == text.len + 1));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size != 0 ? size : 1); /* as long as the input, so that reading past it shows */
    sb_str_t text = {copy, size}, name, value;

    SB_ASSERT(copy != NULL);
    memcpy(copy, data, size);
    name = fuzz_line(&text);
    check_query(text);
    value = sb_args_cookie(text, name);
    if (value.data != NULL) {
        check_within(value, text);
        SB_ASSERT(value.len == 0 ||
                  (memchr(value.data, ';', value.len) == NULL && value.data[0] != ' ' && value.data[value.len - 1] != ' '));
    }
    free(copy);
    return 0;
}
