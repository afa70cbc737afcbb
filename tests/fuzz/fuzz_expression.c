/*
 * Fuzz target: the first three lines are a request's host, path and query, the rest an expression. What parses is compiled and run; a
 * request that fits must be found by the pins, and captures lie in the path.
 */
#include "fuzz.h"

#include "core/router/expression/expression.h"
#include "core/router/router_int.h"

static bool
header(void *arg, sb_str_t name, unsigned n, sb_str_t *value)
{
    (void)arg;
    if (n > 1 || name.len == 0 || name.data[0] != 'x')
        return false;
    *value = n == 0 ? SB_STR("One") : SB_STR("two");
    return true;
}

static sb_str_t
cased(sb_str_t s, bool lower, char *buf)
{
    for (size_t i = 0; i < s.len; i++)
        buf[i] = lower && s.data[i] >= 'A' && s.data[i] <= 'Z' ? (char)(s.data[i] | 0x20) : s.data[i];
    return (sb_str_t){buf, s.len};
}

static bool
pin_fits(const struct pin *p, sb_str_t s)
{
    if (p->text.len > s.len || (p->form == PIN_EXACT && p->text.len != s.len))
        return false;
    return memcmp(p->form == PIN_SUFFIX ? s.data + s.len - p->text.len : s.data, p->text.data, p->text.len) == 0;
}

static bool
found_by(const struct pin_list *l, sb_str_t value)
{
    char *buf = malloc(value.len + 1);
    bool found = l->n == 0;

    for (const struct pin *p = l->first; p != NULL && !found; p = p->next)
        found = pin_fits(p, cased(value, p->lower, buf));
    free(buf);
    return found;
}

static void
check_captures(struct expression_run *run, sb_str_t path)
{
    sb_str_t captures[SB_ROUTER_CAPTURES];
    const char *names[SB_ROUTER_CAPTURES];
    unsigned n = expression_captures(run, captures, names);

    for (unsigned i = 0; i < n; i++)
        if (captures[i].data != NULL && (captures[i].data < path.data || captures[i].data + captures[i].len > path.data + path.len))
            abort();
    if (run->hit.prefix_len > path.len)
        abort();
}

static void
run_it(const struct expression *e, const sb_route_request_t *req, struct regexes *regexes, sb_pool_t *pool)
{
    struct expression_run run = {.req = req, .regexes = regexes, .tls = true};
    sb_buf_t program = {0};
    struct pins pins;

    expression_compile(e, &program);
    expression_pins(e, pool, &pins);
    if (expression_run(&run, program.data, program.len)) {
        check_captures(&run, req->path);
        if (!found_by(&pins.path, req->path) || !found_by(&pins.host, req->host))
            abort();
    }
    if (program.len > 1 && expression_run(&run, program.data, program.len - 1)) /* damaged */
        abort();
    expression_run_free(&run);
    sb_buf_free(&program);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sb_str_t in = {(const char *)data, size}, host = fuzz_line(&in), path = fuzz_line(&in), query = fuzz_line(&in);
    sb_pool_t *pool = sb_pool_new(0);
    const struct expression *e;
    sb_err_t err = {0};

    for (int stream = 0; stream < 2; stream++) {
        sb_route_request_t req = {.method = SB_STR("GET"),
                                  .scheme = SB_STR("https"),
                                  .host = host,
                                  .path = path,
                                  .query = query,
                                  .sni = SB_STR("a.com"),
                                  .src_ip = SB_STR("10.0.0.1"),
                                  .dst_ip = SB_STR("::1"),
                                  .port = 443,
                                  .header = header};
        if (path.len == 0 || path.data[0] != '/')
            break;
        if (expression_parse(pool, in, stream != 0, &e, &err) == SB_OK) {
            struct regexes *regexes = regexes_new();
            run_it(e, &req, regexes, pool);
            regexes_free(regexes);
        } else if (err.message == NULL || err.message[0] == '\0') {
            abort();
        }
        sb_err_clear(&err);
    }
    sb_pool_free(pool);
    return 0;
}
