/* What logs show of a request line. */
#include "core/admin/admin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ID "11111111-1111-4111-8111-111111111111"

static const struct {
    const char *line, *shown;
    bool query_only;
} rows[] = {
    {"GET /services?size=3&tags=a HTTP/1.1", "GET /services?size=3&tags=a HTTP/1.1", false},
    {"GET /key-auths/abc HTTP/1.1", "GET /key-auths/*** HTTP/1.1", false},
    {"GET /consumers/c/key-auth/abc?a=b HTTP/1.1", "GET /consumers/c/key-auth/***?a=b HTTP/1.1", false},
    {"DELETE /team/consumers/c/jwt/abc/ HTTP/1.1", "DELETE /team/consumers/c/jwt/***/ HTTP/1.1", false},
    {"GET /key%2dauths/abc HTTP/1.1", "GET /key%2dauths/*** HTTP/1.1", false},
    {"GET /oauth2_tokens/abc", "GET /oauth2_tokens/***", false},
    {"GET /cache/keyauth_credentials:abc::::: HTTP/1.1", "GET /cache/*** HTTP/1.1", false},
    {"GET /key-auths/" ID " HTTP/1.1", "GET /key-auths/" ID " HTTP/1.1", false},
    {"GET /key-auths HTTP/1.1", "GET /key-auths HTTP/1.1", false},
    {"GET /keys/k HTTP/1.1", "GET /keys/k HTTP/1.1", false},
    {"GET /key-sets/s/keys/k HTTP/1.1", "GET /key-sets/s/keys/k HTTP/1.1", false},
    {"/key-auths//abc", "/key-auths//abc", false}, /* is no key's path */
    {"POST /?PASSWORD=a&b=c&x[token]=&token&secret=d=e HTTP/1.1", "POST /?PASSWORD=***&b=c&x[token]=***&token&secret=*** HTTP/1.1", false},
    {"GET /?%74oken=a HTTP/1.1", "GET /?%74oken=*** HTTP/1.1", false},
    {"key=a&b=/auth/c", "key=***&b=/auth/c", true},
    {"&&=&", "&&=&", true},
    {"BROKEN", "BROKEN", false},
    {"", "", false},
};

static void
test_lines(void **state)
{
    char out[256];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = strlen(rows[i].line),
               n = sb_admin_hide_secrets((sb_str_t){rows[i].line, len}, rows[i].query_only, out, sizeof(out) - 1);

        out[n] = '\0';
        assert_string_equal(out, rows[i].shown);
    }
}

/* What does not fit is cut, also inside the mask, and nothing is written behind it. */
static void
test_room(void **state)
{
    const char *line = "GET /key-auths/abc?token=x&y=z HTTP/1.1", *whole = "GET /key-auths/***?token=***&y=z HTTP/1.1";
    char out[64];

    (void)state;
    for (size_t size = 0; size <= strlen(whole); size++) {
        memset(out, '#', sizeof(out));
        assert_int_equal(sb_admin_hide_secrets((sb_str_t){line, strlen(line)}, false, out, size), size);
        assert_memory_equal(out, whole, size);
        assert_int_equal(out[size], '#');
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_room)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
