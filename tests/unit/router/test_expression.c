/*
 * The expression language by itself: what parses and what the errors say, the value of expressions on a request, captures, pins. The
 * last test makes trees at random and compares running them with evaluating the text's parts one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/router/expression/expression.h"
#include "core/router/router_int.h"

static struct regexes *regexes;
static struct expression_run run;

/* Pairs of name and value, ended by NULL. */
static bool
header(void *arg, sb_str_t name, unsigned n, sb_str_t *value)
{
    const char *const *p = arg;

    for (; p != NULL && *p != NULL; p += 2) {
        if (!sb_str_eqc(name, p[0]) || n-- > 0)
            continue;
        *value = (sb_str_t){p[1], strlen(p[1])};
        return true;
    }
    return false;
}

static sb_str_t
str(const char *s)
{
    return (sb_str_t){s, s != NULL ? strlen(s) : 0};
}

static const char *const headers[] = {"x-one", "a", "x-two", "a", "x-two", "B", "x_raw", "r", NULL};
static sb_route_request_t request;

/* POST https://Api.example.com:8443/v1/users/7/?x=1&y=a%20b&y=c+d&z&a-b=q, from 10.1.2.3 */
static int
setup(void **state)
{
    (void)state;
    request = (sb_route_request_t){.method = SB_STR("POST"),
                                   .scheme = SB_STR("https"),
                                   .host = SB_STR("Api.example.com"),
                                   .port = 8443,
                                   .path = SB_STR("/v1/users/7/"),
                                   .query = SB_STR("x=1&y=a%20b&y=c+d&z&a-b=q"),
                                   .sni = SB_STR("sni.example.com"),
                                   .src_ip = SB_STR("10.1.2.3"),
                                   .dst_ip = SB_STR("fd00::1"),
                                   .src_port = 40000,
                                   .header = header,
                                   .arg = (void *)headers};
    regexes = regexes_new();
    run.regexes = regexes;
    run.req = &request;
    run.tls = true;
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    expression_run_free(&run);
    regexes_free(regexes);
    return 0;
}

/* '1' or '0', or '!' when it does not parse; the program is kept for expression_captures. */
static sb_buf_t program;

static char
value_of(const char *text)
{
    sb_pool_t *pool = sb_pool_new(0);
    const struct expression *e;
    sb_err_t err = {0};
    char out = '!';

    sb_buf_reset(&program);
    if (expression_parse(pool, str(text), false, &e, &err) == SB_OK) {
        expression_compile(e, &program);
        out = expression_run(&run, program.data, program.len) ? '1' : '0';
    }
    sb_err_clear(&err);
    sb_pool_free(pool);
    return out;
}

#define IS(expected, text)                                                                                                                 \
    do {                                                                                                                                   \
        char got_ = value_of(text);                                                                                                        \
        if (got_ != (expected))                                                                                                            \
            fail_msg("%s gives %c, not %c", text, got_, expected);                                                                         \
    } while (0)
#define YES(text) IS('1', text)
#define NO(text)  IS('0', text)

static void
error_is(bool stream, const char *text, const char *expected)
{
    sb_pool_t *pool = sb_pool_new(0);
    const struct expression *e;
    sb_err_t err = {0};

    assert_int_equal(expression_parse(pool, str(text), stream, &e, &err), SB_DECLINED);
    if (strstr(err.message, expected) == NULL)
        fail_msg("%s: the error is\n%s\nwithout\n%s", text, err.message, expected);
    sb_err_clear(&err);
    sb_pool_free(pool);
}

static void
operators(void **state)
{
    (void)state;
    YES("http.method == \"POST\"");
    NO("http.method != \"POST\"");
    YES("http.path ^= \"/v1\"");
    YES("http.path =^ \"/7/\"");
    NO("http.path =^ \"/8/\"");
    YES("http.path contains \"users\"");
    YES("http.path ~ \"users/\\\\d+\"");
    NO("http.path ~ \"^users\"");
    YES("http.path ~ r#\"^/v\\d/\"#");
    YES("net.dst.port == 8443 && net.port == 8443");
    YES("net.dst.port > 8442 && net.dst.port >= 8443 && net.dst.port < 8444 && net.dst.port <= 8443");
    NO("net.dst.port > 8443 || net.dst.port < 8443");
    YES("net.dst.port != 0x1 && net.dst.port == 020373 && net.dst.port > -5 && net.dst.port == 08443");
    YES("net.src.ip == 10.1.2.3 && net.src.ip in 10.1.2.0/24 && net.src.ip in 0.0.0.0/0 && net.src.ip not in 10.1.3.0/24");
    NO("net.src.ip != 10.1.2.3 || net.src.ip in 10.1.2.0/31 || net.src.ip  not  in 10.0.0.0/8");
    YES("net.dst.ip == fd00:0::1 && net.dst.ip in fd00::/8 && net.dst.ip not in 10.0.0.0/8 && net.dst.ip != 10.1.2.3");
    YES("http.path^=\"/v1\"&&net.dst.port==8443");
    YES("net.protocol == \"https\" && tls.sni =^ \".example.com\"");
}

static void
alternatives_bind_tighter(void **state)
{
    (void)state;
    /* false && true || true: false && (true || true) */
    NO("net.dst.port == 1 && http.method == \"POST\" || http.method == \"POST\"");
    YES("(net.dst.port == 1 && http.method == \"POST\") || http.method == \"POST\"");
    YES("http.method == \"POST\" || net.dst.port == 1 && http.method == \"POST\"");
    YES("!(net.dst.port == 1)");
    YES("! ( !(net.dst.port == 8443) && net.dst.port == 8443 )");
    NO("!(!(net.dst.port == 1))");
}

static void
functions(void **state)
{
    (void)state;
    NO("http.host == \"api.example.com\"");
    YES("lower(http.host) == \"api.example.com\"");
    NO("lower(http.host) == \"Api.example.com\""); /* the literal is not changed */
    YES("lower(any(http.headers.x_two)) == \"b\" && any(lower(http.headers.x_two)) == \"b\" && lower( lower ( http.host ) ) ^= \"api\"");
}

static void
several_values(void **state)
{
    (void)state;
    NO("http.headers.x_two == \"a\"");
    YES("any(http.headers.x_two) == \"a\"");
    NO("http.headers.x_two != \"a\"");
    YES("any(http.headers.x_two) != \"a\"");
    YES("http.headers.x_two != \"c\"");
    NO("any(http.headers.x_two) == \"c\"");
    YES("http.headers.x_raw == \"r\"");
    YES("http.queries.x == \"1\" && http.queries.z == \"\" && any(http.queries.y) == \"a b\" && any(http.queries.y) == \"c d\"");
    NO("http.queries.y == \"a b\"");
    YES("http.queries.a_b == \"q\"");
}

static void
missing_fields_never_fit(void **state)
{
    (void)state;
    NO("http.headers.none == \"a\"");
    NO("http.headers.none != \"a\"");
    NO("any(http.headers.none) != \"a\"");
    NO("http.queries.none != \"a\"");
    NO("http.path.segments.3 != \"a\"");
    YES("!(http.headers.none == \"a\")");
    request.src_ip = SB_STR("");
    NO("net.src.ip not in 10.0.0.0/8");
    request.sni = SB_STR("");
    NO("tls.sni != \"x\"");
}

static void
path_segments(void **state)
{
    (void)state;
    YES("http.path.segments.len == 3");
    YES("http.path.segments.0 == \"v1\" && http.path.segments.2 == \"7\" && http.path.segments.0_1 == \"v1/users\"");
    YES("http.path.segments.0_2 == \"v1/users/7\" && http.path.segments.1_2 ^= \"users\"");
    NO("http.path.segments.1_3 ^= \"users\"");
    request.path = SB_STR("/");
    YES("http.path.segments.len == 0");
    NO("http.path.segments.0 == \"\"");
}

static void
strings(void **state)
{
    (void)state;
    request.path = SB_STR("/a\"\\\n\r\t");
    YES("http.path == \"/a\\\"\\\\\\n\\r\\t\"");
    YES("http.path == r#\"/a\"\\\n\r\t\"#");
    YES("http.path contains \"\n\"");
    YES("http.path contains \"\"");
}

static void
syntax_errors_have_a_place(void **state)
{
    (void)state;
    error_is(false, "", " --> 1:1\n  |\n1 | \n  | ^---\n  |\n  = expected a field");
    error_is(false, "http.path", " --> 1:10\n");
    error_is(false, "http.path = \"/\"", " --> 1:11\n  |\n1 | http.path = \"/\"\n  |           ^---\n  |\n  = expected an operator");
    error_is(false, "http.path == \"/\" &&\n  http.method \"GET\"", " --> 2:15\n  |\n2 |   http.method \"GET\"\n");
    error_is(false, "http.path == \"/", "ends the string");
    error_is(false, "http.path == r#\"/\"", "ends the raw string");
    error_is(false, "http.path == \"\\d\"", "escapes");
    error_is(false, "http.path == /a", "a string, an address");
    error_is(false, "(http.path == \"/a\"", "')'");
    error_is(false, "http.path == \"/a\")", "the end");
    error_is(false, "!http.path == \"/a\"", "'(' after '!'");
    error_is(false, "upper(http.path) == \"/a\"", "lower, any");
    error_is(false, "lower(http.path == \"/a\"", "')'");
    error_is(false, "http.path == \"/a\" http.path == \"/a\"", "'&&'");
    error_is(false, "http.headers.a-b == \"/a\"", "an operator");
    error_is(false, "net.dst.port == 9223372036854775808", "64 bits");
    error_is(false, "net.src.ip in 10.0.0.0/33", "0 to 32");
    error_is(false, "net.src.ip in 10.0.0.1/8", "behind these");
    error_is(false, "net.src.ip == 10.0.0.256", "an IPv4 or IPv6");
    error_is(false, "net.src.ip == :1", "an IPv4 or IPv6");
}

static void
deep_nesting_is_refused(void **state)
{
    char text[8000] = "";

    (void)state;
    memset(text, '(', 3000);
    error_is(false, text, "64 parentheses");
    for (int n = 64; n <= 65; n++) {
        memset(text, '(', (size_t)n);
        strcpy(text + n, "net.dst.port == 8443");
        memset(text + n + 20, ')', (size_t)n);
        text[2 * n + 20] = '\0';
        IS(n == 64 ? '1' : '!', text);
    }
}

static void
type_errors_are_those_of_the_interface(void **state)
{
    (void)state;
    error_is(false, "http.foo == \"a\"", "Unknown LHS field");
    error_is(false, "http.headers. == \"a\"", "Unknown LHS field");
    error_is(true, "http.path == \"a\"", "Unknown LHS field");
    error_is(false, "http.path == 1", "Type mismatch between the LHS and RHS values of predicate");
    error_is(false, "net.src.ip == \"a\"", "Type mismatch between the LHS and RHS values of predicate");
    error_is(false, "net.src.ip == 10.0.0.0/8", "Type mismatch between the LHS and RHS values of predicate");
    error_is(false, "lower(net.dst.port) == 1", "lower-case transformation function only supported with String type fields");
    error_is(false, "net.dst.port ^= 1", "Regex/Prefix/Postfix operators only supports string operands");
    error_is(false, "http.path ~ 1", "regex operator can only be used with String operands");
    error_is(false, "http.path > \"1\"", "Greater/GreaterOrEqual/Lesser/LesserOrEqual operators only supports integer operands");
    error_is(false, "net.src.ip in 10.0.0.1", "In/NotIn operators only supports IP in CIDR");
    error_is(false, "http.path not in \"a\"", "In/NotIn operators only supports IP in CIDR");
    error_is(false, "net.dst.port contains 1", "Contains operator only supports string operands");
    for (const char *const *s = (const char *const[]){"x", "01", "1_1", "2_1", "1_", "_1", "1_01", "4294967296", NULL}; *s != NULL; s++) {
        char text[64];
        snprintf(text, sizeof(text), "http.path.segments.%s == \"a\"", *s);
        error_is(false, text, "illformed http.path.segments.* field");
    }
    error_is(false, "http.path ~ \"(\"", "regex parse error");
    error_is(false, "http.path ~ \"a(?=b)\"", "look-around");
    error_is(false, "http.path ~ \"(a)\\\\1\"", "back-references");
    for (const char *const *s = (const char *const[]){"(?R)", "(a)(?1)", "(a)(?-1)", "(a)(?+1)", "(?<=a)b", "(?<!a)b", "(?C)a", "(?|a)",
                                                      "(*F)", "(?'n'a)", "(?>a)", "(?#a)", "(?P>n)", NULL};
         *s != NULL; s++) {
        char text[64];
        snprintf(text, sizeof(text), "http.path ~ r#\"%s\"#", *s);
        error_is(false, text, "look-around");
    }
    YES("http.path ~ r#\"^(?i)/(?:A|b)?(?P<n>.)?(?<m>.)?(?s-i:.)?(?-s)\"#");
    YES("http.path ~ \"^[(?=/]\" && net.dst.port == 8443");
    error_is(true, "net.src.port == \"a\"", "Type mismatch");
}

static unsigned
captures_of(const char *text, sb_str_t *captures, const char **names)
{
    YES(text);
    return expression_captures(&run, captures, names);
}

static void
captures(void **state)
{
    sb_str_t c[SB_ROUTER_CAPTURES];
    const char *names[SB_ROUTER_CAPTURES];

    (void)state;
    assert_int_equal(captures_of("http.path ~ \"^/(?P<version>v\\\\d)/users/(\\\\d)\"", c, names), 3);
    assert_string_equal(names[1], "version");
    assert_true(sb_str_eqc(c[1], "v1") && sb_str_eqc(c[2], "7"));
    assert_int_equal(run.hit.prefix_len, 11);
    /* In a branch that fails later, and behind a "not": none. */
    assert_int_equal(captures_of("(http.path ~ \"(v1)\" && net.dst.port == 1) || http.method == \"POST\"", c, names), 0);
    assert_false(run.hit.any);
    assert_int_equal(captures_of("http.path ~ \"^/(v1)\" && !(http.path ~ \"(users)\" && net.dst.port == 1)", c, names), 2);
    assert_true(sb_str_eqc(c[1], "v1") && c[1].data == request.path.data + 1);
    /* Of the field path only. */
    assert_int_equal(captures_of("http.host ~ \"(A)\"", c, names), 0);
    assert_int_equal(captures_of("http.path ^= \"/v1\"", c, names), 0);
    assert_int_equal(run.hit.prefix_len, 3);
    request.path = SB_STR("/V1/x");
    assert_int_equal(captures_of("lower(http.path) ~ \"^/(v1)\"", c, names), 2);
    assert_true(c[1].data == request.path.data + 1);
}

/* The pins of a field as text: form, text, and for a header its name, each ended by a blank. */
static void
pins_are(const char *text, const char *expected)
{
    static const char forms[] = "=^$";
    sb_pool_t *pool = sb_pool_new(0);
    const struct expression *e;
    struct pins pins;
    const struct pin_list *lists[] = {&pins.host, &pins.path, &pins.header};
    sb_buf_t got = {0};

    assert_int_equal(expression_parse(pool, str(text), false, &e, NULL), SB_OK);
    expression_pins(e, pool, &pins);
    for (int i = 0; i < 3; i++) {
        for (const struct pin *p = lists[i]->first; p != NULL; p = p->next)
            sb_buf_addf(&got, "%c%c%.*s%s%.*s ", "hpx"[i], forms[p->form], (int)p -> text.len, p->text.data, p->lower ? "(lower)" : "",
                        (int)p->name.len, p->name.data != NULL ? p->name.data : "");
    }
    if (strcmp(got.data != NULL ? got.data : "", expected) != 0)
        fail_msg("pins of %s are '%s', not '%s'", text, got.data, expected);
    sb_buf_free(&got);
    sb_pool_free(pool);
}

static void
pins(void **state)
{
    (void)state;
    pins_are("http.host == \"a\" && http.path ^= \"/b\"", "h=a p^/b ");
    pins_are("http.path ^= \"/\" && http.path ^= \"/bc\"", "p^/bc ");
    pins_are("http.path == \"/a\" || http.path ~ \"^/b/.*\" || http.path.segments.0 == \"c\"", "p^/a p^/b/ p^/c ");
    pins_are("http.path == \"/a\" || http.method == \"GET\"", "");
    pins_are("http.path == \"/a\" || http.host == \"h\"", "");
    pins_are("!(http.path == \"/a\")", "");
    pins_are("http.path != \"/a\"", "");
    pins_are("http.path ~ \"/b\"", "");
    pins_are("http.path ~ \"^/a|/b\"", "");
    pins_are("http.path ^= \"\"", "");
    pins_are("http.host =^ \".com\" || http.host ^= \"www.\"", "h$.com h^www. ");
    pins_are("lower(http.host) == \"a\"", "h=a(lower) ");
    pins_are("any(lower(http.headers.X_Y)) == \"Ab\"", "x=ab(lower)x-y ");
    pins_are("(http.host == \"a\" && http.path ^= \"/1\") || (http.host == \"b\" && http.path ^= \"/2\")", "h=a h=b p^/1 p^/2 ");
    pins_are("http.path.segments.1 == \"c\"", "");
}

/* ---------- at random ---------- */

static const char *const truths[] = {
    "http.method == \"POST\"",          "http.path ^= \"/v1\"",   "net.dst.port == 8443", "http.path ~ \"(users)\"",
    "any(http.headers.x_two) == \"B\"", "http.queries.x == \"1\""};
static const char *const lies[] = {"http.method == \"GET\"", "http.path ^= \"/v2\"", "net.dst.port == 1", "http.headers.none != \"a\""};

static bool random_conjunction(sb_buf_t *out, unsigned *seed, int depth);

static bool
random_term(sb_buf_t *out, unsigned *seed, int depth)
{
    unsigned kind = (unsigned)rand_r(seed) % 8;
    bool value;

    if (depth == 0 || kind < 4) {
        value = kind & 1;
        sb_buf_adds(out, value ? truths[(unsigned)rand_r(seed) % 6] : lies[(unsigned)rand_r(seed) % 4]);
        return value;
    }
    sb_buf_adds(out, kind < 6 ? "(" : "!(");
    value = random_conjunction(out, seed, depth - 1);
    sb_buf_adds(out, ")");
    return kind < 6 ? value : !value;
}

static bool
random_conjunction(sb_buf_t *out, unsigned *seed, int depth)
{
    bool all = true;

    for (int i = 0, n = rand_r(seed) % 3; i <= n; i++) {
        bool some = false;
        sb_buf_adds(out, i != 0 ? " && " : "");
        for (int j = 0, m = rand_r(seed) % 3; j <= m; j++) {
            sb_buf_adds(out, j != 0 ? "||" : "");
            some = random_term(out, seed, depth) || some;
        }
        all = all && some;
    }
    return all;
}

static void
random_expressions(void **state)
{
    unsigned seed = 7;
    sb_buf_t text = {0};

    (void)state;
    for (int i = 0; i < 3000; i++) {
        sb_buf_reset(&text);
        bool expected = random_conjunction(&text, &seed, 4);
        IS(expected ? '1' : '0', text.data);
    }
    sb_buf_free(&text);
}

static int
group_teardown(void **state)
{
    (void)state;
    sb_buf_free(&program);
    return 0;
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(operators),
        CASE(alternatives_bind_tighter),
        CASE(functions),
        CASE(several_values),
        CASE(missing_fields_never_fit),
        CASE(path_segments),
        CASE(strings),
        CASE(syntax_errors_have_a_place),
        CASE(deep_nesting_is_refused),
        CASE(type_errors_are_those_of_the_interface),
        CASE(captures),
        CASE(pins),
        CASE(random_expressions),
    };
    return cmocka_run_group_tests(tests, NULL, group_teardown);
}
