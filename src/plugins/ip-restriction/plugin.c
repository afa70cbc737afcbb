/*
 * ip-restriction: lets requests and stream connections pass by their client's address: not those of `deny`, and with `allow` only
 * those. The lists are parsed once per configuration (compile), IPv4 mapped into IPv6, and looked through in order.
 */
#include "silverback/plugin.h"
#include "silverback/typedefs.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_STATUS 403

struct network {
    unsigned char address[16];
    unsigned bits;
};

struct networks {
    size_t n;
    struct network *items;
};

struct config {
    sb_list allow, deny; /* of sb_cstr */
    double status;
    sb_cstr message;
    struct networks allowed, denied; /* compile() */
};

#define AT(member) .offset = offsetof(struct config, member)

static const struct sb_field config_fields[] = {
    {.name = "allow",
     .type = SB_T_ARRAY,
     .elements = SB_ROW(SB_TYPEDEF_IP_OR_CIDR),
     AT(allow),
     .description = "Addresses and ranges that may pass; all others may not."},
    {.name = "deny",
     .type = SB_T_ARRAY,
     .elements = SB_ROW(SB_TYPEDEF_IP_OR_CIDR),
     AT(deny),
     .description = "Addresses and ranges that may not pass, even if they are in `allow`."},
    {.name = "status", .type = SB_T_NUMBER, AT(status), .description = "Status of the refusal; 403 when not given."},
    {.name = "message", .type = SB_T_STRING, AT(message), .description = "Message of the refusal."},
    SB_FIELD_END,
};

static const struct sb_field fields[] = {
    {.name = "protocols",
     .type = SB_T_SET,
     .required = 1,
     .default_json = "[\"http\",\"https\",\"tcp\",\"tls\",\"grpc\",\"grpcs\"]",
     .elements = SB_ROW(SB_TYPEDEF_PROTOCOL),
     .description = "Runs only for requests and connections by these protocols."},
    {.name = "config",
     .type = SB_T_RECORD,
     .required = 1,
     .fields = config_fields,
     .description = "Who may pass, and what others are told."},
    SB_FIELD_END,
};

static const struct sb_entity_check checks[] = {{.kind = SB_CHECK_AT_LEAST_ONE_OF, .fields = SB_LIST("config.allow", "config.deny")},
                                                {.kind = SB_CHECK_END}};

static const struct sb_schema_def schema = {.name = "ip-restriction", .fields = fields, .checks = checks};

/* ---- addresses ---- */

static bool
parse_address(const char *text, unsigned char out[16])
{
    struct in_addr v4;

    if (inet_pton(AF_INET, text, &v4) != 1)
        return inet_pton(AF_INET6, text, out) == 1;
    memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    memcpy(out + 12, &v4, 4);
    return true;
}

static bool
parse_network(sb_cstr text, struct network *out)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = memchr(text.data, '/', text.len);
    size_t len = slash != NULL ? (size_t)(slash - text.data) : text.len;

    if (len >= sizeof(address))
        return false;
    memcpy(address, text.data, len);
    address[len] = '\0';
    out->bits = 128;
    if (!parse_address(address, out->address))
        return false;
    if (slash != NULL)
        out->bits = (unsigned)strtoul(slash + 1, NULL, 10) + (strchr(address, ':') == NULL ? 96 : 0);
    return out->bits <= 128;
}

static bool
contains(const struct networks *list, const unsigned char address[16])
{
    for (size_t i = 0; i < list->n; i++) {
        const struct network *net = &list->items[i];
        unsigned bytes = net->bits / 8, rest = net->bits % 8;
        if (memcmp(net->address, address, bytes) != 0)
            continue;
        if (rest == 0 || ((net->address[bytes] ^ address[bytes]) & (0xff00 >> rest) & 0xff) == 0)
            return true;
    }
    return false;
}

static const char *
compile_list(const sb_list *texts, struct networks *out, struct sb_pool *pool)
{
    const sb_cstr *text = texts->items;

    out->items = sb_pool_alloc(pool, texts->n * sizeof(*out->items) + 1);
    for (; out->n < texts->n; out->n++)
        if (!parse_network(text[out->n], &out->items[out->n]))
            return "not an address or range";
    return NULL;
}

static const char *
compile(void *conf, struct sb_pool *pool)
{
    struct config *c = conf;
    const char *problem = compile_list(&c->allow, &c->allowed, pool);

    return problem != NULL ? problem : compile_list(&c->deny, &c->denied, pool);
}

/* ---- decisions ---- */

enum verdict { PASS, REFUSE, UNKNOWN };

static enum verdict
judge(const struct config *c, sb_cstr client)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[16];

    if (client.len >= sizeof(text))
        return UNKNOWN;
    memcpy(text, client.data, client.len);
    text[client.len] = '\0';
    if (!parse_address(text, address))
        return UNKNOWN;
    if (contains(&c->denied, address) || (c->allowed.n != 0 && !contains(&c->allowed, address)))
        return REFUSE;
    return PASS;
}

static enum sb_verdict
access_phase(sb_request_t *r, const void *conf)
{
    const struct config *c = conf;
    sb_cstr client = sb_request_client_ip(r);
    char message[128];

    switch (judge(c, client)) {
    case PASS:
        return SB_NEXT;
    case UNKNOWN:
        sb_request_exit_error(r, DEFAULT_STATUS, "Cannot identify the client IP address, unix domain sockets are not supported.");
        return SB_EXIT;
    default:
        if (c->status < 400 || c->status >= 600) { /* the schema takes any number; an error cannot have it */
            sb_request_exit_error(r, 500, NULL);
            return SB_EXIT;
        }
        snprintf(message, sizeof(message), "IP address not allowed: %.*s", (int)client.len, client.data);
        sb_request_exit_error(r, isnan(c->status) ? DEFAULT_STATUS : (int)c->status, c->message.data != NULL ? c->message.data : message);
        return SB_EXIT;
    }
}

static enum sb_verdict
preread(sb_stream_t *s, const void *conf)
{
    return judge(conf, sb_stream_client_ip(s)) == PASS ? SB_NEXT : SB_EXIT;
}

const struct sb_plugin sb_plugin_ip_restriction = {
    .abi = SB_PLUGIN_ABI,
    .name = "ip-restriction",
    .version = "3.9.1",
    .priority = 990,
    .schema = &schema,
    .config = config_fields,
    .config_size = sizeof(struct config),
    .compile = compile,
    .access = access_phase,
    .preread = preread,
};
