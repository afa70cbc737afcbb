/* multipart/form-data. */
#include "core/admin/multipart.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static int
parse(const char *type, const char *body, json_t **out, bool *ok)
{
    *out = json_object();
    return sb_admin_multipart_parse((sb_str_t){type, strlen(type)}, (sb_str_t){body, strlen(body)}, *out, ok);
}

static void
test_fields(void **state)
{
    json_t *out, *want = json_loads("{\"name\":\"s\",\"tags\":[\"a\",\"b\"],\"cert\":\"-----BEGIN\\r\\nx\",\"empty\":\"\"}", 0, NULL);
    bool ok;

    (void)state;
    assert_int_equal(parse("multipart/form-data; charset=utf-8; boundary=\"xX;y\"",
                           "preamble\r\n--xX;y\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\ns\r\n"
                           "--xX;y  \r\nContent-Type: text/plain\r\ncontent-disposition: form-data; name=tags\r\n\r\na\r\n"
                           "--xX;y\r\nContent-Disposition: form-data; name=\"tags\"\r\n\r\nb\r\n"
                           "--xX;y\r\nContent-Disposition: form-data; filename=\"a;b\"; name=\"cert\"\r\n\r\n-----BEGIN\r\nx\r\n"
                           "--xX;y\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--xX;y--\r\nepilogue",
                           &out, &ok),
                     SB_OK);
    assert_true(json_equal(out, want));
    json_decref(out);
    json_decref(want);
    assert_int_equal(
        parse("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--", &out, &ok), SB_OK);
    assert_string_equal(sb_json_string(out, "a"), "1");
    json_decref(out);
}

static void
test_malformed(void **state)
{
    static const char *const rows[][2] = {
        {"multipart/form-data", "--b--"},
        {"multipart/form-data; boundary=", "--b--"},
        {"multipart/form-data; boundary=b", ""},
        {"multipart/form-data; boundary=b", "nothing"},
        {"multipart/form-data; boundary=b", "--b"},
        {"multipart/form-data; boundary=b", "--b\r\n"},
        {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nno end"},
        {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--"},
        {"multipart/form-data; boundary=b", "--b\r\nno headers end\r\n--b--"},
        {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\xff\r\n--b--"},
        {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--bogus"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *out;
        bool ok = true;
        assert_int_equal(parse(rows[i][0], rows[i][1], &out, &ok), SB_DECLINED);
        assert_false(ok);
        json_decref(out);
    }
}

static void
test_too_many(void **state)
{
    sb_buf_t body = {0};
    json_t *out;
    bool ok;

    (void)state;
    for (int i = 0; i <= SB_ADMIN_MAX_ARGS; i++)
        sb_buf_adds(&body, "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n");
    sb_buf_adds(&body, "--b--");
    assert_int_equal(parse("multipart/form-data; boundary=b", body.data, &out, &ok), SB_DECLINED);
    assert_true(ok);
    json_decref(out);
    sb_buf_free(&body);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fields), cmocka_unit_test(test_malformed), cmocka_unit_test(test_too_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
