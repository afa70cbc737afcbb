/* Trailer sections: found in the framing of chunks however it is cut, and read line by line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../../../src/proxy/header_line.c"
#include "../../../src/proxy/trailer_text.c"

/* Framing that ends with a last chunk; what follows it is the section. Cut in two at every place, and byte by byte. */
static void
section_begins(const char *framing, const char *section)
{
    char text[256];
    size_t want = strlen(framing), all;

    snprintf(text, sizeof(text), "%s%s", framing, section);
    all = strlen(text);
    for (size_t cut = 0; cut <= all; cut++) {
        sb_last_chunk_t t = {0};
        const unsigned char *p = (const unsigned char *)text;
        size_t first = sb_last_chunk_find(&t, p, cut), second;
        assert_int_equal(first, cut < want ? cut : want);
        second = sb_last_chunk_find(&t, p + cut, all - cut);
        assert_int_equal(first + second, want);
    }
    sb_last_chunk_t t = {0};
    for (size_t i = 0; i < all; i++)
        assert_int_equal(sb_last_chunk_find(&t, (const unsigned char *)text + i, 1), i < want ? 1 : 0);
}

static void
the_section_is_found(void **state)
{
    section_begins("0\r\n", "A: b\r\n\r\n");
    section_begins("0\n", "\n");
    section_begins("5\r\n\r\n0\r\n", "\r\n");
    section_begins("5;x=0\r\n\r\n0000\r\n", "0\r\n\r\n");
    section_begins("0a\r\n\r\n00b\n\n10\r\n\r\n0;last=1\r\n", "A: b\r\n\r\n");
    section_begins("100\r\n\r\n0 \r\n", "A: b\r\n\r\n");
}

static void
data_chunks_have_none(void **state)
{
    sb_last_chunk_t t = {0};
    const char *text = "5\r\n\r\n0f;0\r\n\r\n";

    assert_int_equal(sb_last_chunk_find(&t, (const unsigned char *)text, strlen(text)), strlen(text));
    assert_int_equal(sb_last_chunk_find(&t, (const unsigned char *)"0", 1), 1);
    assert_int_equal(sb_last_chunk_find(&t, (const unsigned char *)"1\r\n", 3), 3);
}

static void
lines_are_cut(void **state)
{
    const char *text = "A: b\r\nC:d\n\r\nnot: seen\r\n";
    const unsigned char *pos = (const unsigned char *)text, *end = pos + strlen(text), *line;
    size_t len;

    assert_true(sb_trailer_next(&pos, end, &line, &len));
    assert_memory_equal(line, "A: b", 4);
    assert_int_equal(len, 4);
    assert_true(sb_trailer_next(&pos, end, &line, &len));
    assert_memory_equal(line, "C:d", 3);
    assert_int_equal(len, 3);
    assert_false(sb_trailer_next(&pos, end, &line, &len));
    pos = (const unsigned char *)"half";
    assert_false(sb_trailer_next(&pos, pos + 4, &line, &len));
    pos = NULL;
    assert_false(sb_trailer_next(&pos, NULL, &line, &len));
}

static bool
passes(const char *line)
{
    sb_header_line_t at;

    return sb_trailer_parse((const unsigned char *)line, strlen(line), &at);
}

static void
only_fields_that_may_stand_there(void **state)
{
    assert_true(passes("X-Checksum: abc"));
    assert_true(passes("Empty:"));
    assert_true(passes("content-md5: x"));
    assert_false(passes("no colon"));
    assert_false(passes("nocolon"));
    assert_false(passes(": x"));
    assert_false(passes(" folded: x"));
    assert_false(passes("Transfer-Encoding: chunked"));
    assert_false(passes("CONTENT-LENGTH: 5"));
    assert_false(passes("connection: close"));
    assert_false(passes("Host: other"));
    assert_false(passes("Trailer: x"));
    assert_false(passes("A: b\rC: d"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_section_is_found),
        cmocka_unit_test(data_chunks_have_none),
        cmocka_unit_test(lines_are_cut),
        cmocka_unit_test(only_fields_that_may_stand_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
