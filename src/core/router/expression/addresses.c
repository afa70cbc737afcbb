/*
 * The expression that sources and destinations of a route stand for: written as text and compiled like any other, so that there is one
 * place where addresses are compared. Start at expression_compile_addresses.
 */
#include "core/router/expression/expression_int.h"

#include "core/base/json.h"
#include "core/base/log.h"

#include <arpa/inet.h>
#include <stdlib.h>

/* "net.src.ip == 10.0.0.1" or "net.src.ip in 10.0.0.0/8", the bits behind the range's cleared. */
static void
add_ip(sb_buf_t *out, const char *side, const char *text)
{
    const char *slash = strchr(text, '/');
    char canonical[INET6_ADDRSTRLEN];
    unsigned long bits;
    struct ip ip;

    if (!ip_parse((sb_str_t){text, slash != NULL ? (size_t)(slash - text) : strlen(text)}, &ip))
        return;
    bits = slash != NULL ? strtoul(slash + 1, NULL, 10) : ip.bits;
    bits = bits < ip.bits ? bits : ip.bits;
    for (unsigned i = (unsigned)bits; i < ip.bits; i++)
        ip.b[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
    inet_ntop(ip.family == 6 ? AF_INET6 : AF_INET, ip.b, canonical, sizeof(canonical));
    if (slash != NULL)
        sb_buf_addf(out, "net.%s.ip in %s/%lu", side, canonical, bits);
    else
        sb_buf_addf(out, "net.%s.ip == %s", side, canonical);
}

static void
add_addresses(sb_buf_t *out, const char *side, const json_t *items)
{
    json_t *item;
    size_t i;

    if (json_array_size(items) == 0)
        return;
    sb_buf_adds(out, out->len != 0 ? " && (" : "(");
    json_array_foreach(items, i, item)
    {
        const char *ip = sb_json_string(item, "ip");
        int64_t port = sb_json_int(item, "port", -1);
        sb_buf_adds(out, i != 0 ? " || (" : "(");
        if (ip != NULL)
            add_ip(out, side, ip);
        if (port >= 0)
            sb_buf_addf(out, "%snet.%s.port == %d", ip != NULL ? " && " : "", side, (int)port);
        sb_buf_adds(out, ")");
    }
    sb_buf_adds(out, ")");
}

void
expression_compile_addresses(const json_t *route, sb_buf_t *out)
{
    const json_t *sources = json_object_get(route, "sources"), *destinations = json_object_get(route, "destinations");
    const struct expression *e;
    sb_buf_t text = {0};
    sb_err_t err = {0};
    sb_pool_t *pool;

    if (json_array_size(sources) == 0 && json_array_size(destinations) == 0)
        return;
    pool = sb_pool_new(0);
    add_addresses(&text, "src", sources);
    add_addresses(&text, "dst", destinations);
    if (expression_parse(pool, (sb_str_t){text.data, text.len}, false, &e, &err) == SB_OK)
        expression_compile(e, out);
    else {
        sb_log(SB_LOG_ERR, "router: a route's sources and destinations make no sense, so it never matches: %s", err.message);
        sb_buf_addc(out, '\0'); /* no program: false */
    }
    sb_buf_free(&text);
    sb_err_clear(&err);
    sb_pool_free(pool);
}
