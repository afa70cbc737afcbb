/* Services: the upstream APIs. The table, and the `url` shorthand that fills four fields. */
#include "core/entities/entities_int.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT .type = SB_T_INTEGER, SB_BETWEEN(1, 2147483646), .default_json = "60000"

static const struct sb_field fields[] = {
    SB_FIELD_ID,
    SB_FIELD_CREATED_AT,
    SB_FIELD_UPDATED_AT,
    {.name = "name", SB_TYPEDEF_UTF8_NAME, .description = "The name."},
    {.name = "retries",
     .type = SB_T_INTEGER,
     SB_BETWEEN(0, 32767),
     .default_json = "5",
     .description = "How often a request is tried again when proxying fails."},
    {.name = "protocol", SB_TYPEDEF_PROTOCOL, .required = 1, .default_json = "\"http\"", .description = "How to speak to the upstream."},
    {.name = "host", SB_TYPEDEF_HOST, .required = 1, .description = "Host of the upstream, or the name of an upstream entity."},
    {.name = "port", SB_TYPEDEF_PORT, .required = 1, .default_json = "80", .description = "Port of the upstream."},
    {.name = "path", SB_TYPEDEF_PATH, .description = "Prefix of upstream paths."},
    {.name = "connect_timeout", TIMEOUT, .description = "Milliseconds for connecting."},
    {.name = "write_timeout", TIMEOUT, .description = "Milliseconds between two writes to the upstream."},
    {.name = "read_timeout", TIMEOUT, .description = "Milliseconds between two reads from the upstream."},
    SB_FIELD_TAGS,
    {.name = "client_certificate", .type = SB_T_FOREIGN, .reference = "certificates", .description = "Shown to the upstream in TLS."},
    {.name = "tls_verify", .type = SB_T_BOOLEAN, .description = "Whether the upstream's certificate is verified; null: as configured."},
    {.name = "tls_verify_depth",
     .type = SB_T_INTEGER,
     SB_BETWEEN(0, 64),
     .default_json = "null",
     .description = "How long a chain of certificates may be; null: as configured."},
    {.name = "ca_certificates",
     .type = SB_T_ARRAY,
     .elements = SB_ROW(.type = SB_T_STRING, .uuid = 1),
     .description = "Ids of the CA certificates that the upstream's is verified against."},
    {.name = "enabled", .type = SB_T_BOOLEAN, .required = 1, .default_json = "true", .description = "Whether its routes are served."},
    SB_FIELD_END,
};

#define UNLESS_TLS(field)                                                                                                                  \
    {                                                                                                                                      \
        .kind = SB_CHECK_CONDITIONAL, .if_field = "protocol", .if_match = SB_ROW(.not_one_of = SB_LIST("https", "tls")),                   \
        .then_field = field, .then_match = SB_ROW(.eq_null = 1)                                                                            \
    }

static const struct sb_entity_check checks[] = {
    {.kind = SB_CHECK_CONDITIONAL,
     .if_field = "protocol",
     .if_match = SB_ROW(.one_of = SB_LIST("tcp", "tls", "udp", "grpc", "grpcs")),
     .then_field = "path",
     .then_match = SB_ROW(.eq_null = 1)},
    UNLESS_TLS("client_certificate"),
    UNLESS_TLS("tls_verify"),
    UNLESS_TLS("tls_verify_depth"),
    UNLESS_TLS("ca_certificates"),
    {.kind = SB_CHECK_END},
};

struct url_parts {
    sb_str_t scheme, host, path;
    int port; /* -1: none */
};

/* [scheme://][userinfo@]host[:port][/path][?query][#fragment]; without "//" all is path. Lenient: fields are checked later. */
static void
split_url(const char *s, struct url_parts *u)
{
    const char *sep = strstr(s, "://"), *end, *at, *colon;

    *u = (struct url_parts){.port = -1};
    if (sep != NULL && strcspn(s, "/?#:") == (size_t)(sep - s)) {
        u->scheme = (sb_str_t){s, (size_t)(sep - s)};
        s = sep + 3;
        end = s + strcspn(s, "/?#");
        if ((at = memrchr(s, '@', (size_t)(end - s))) != NULL)
            s = at + 1;
        u->host = (sb_str_t){s, (size_t)(end - s)};
        colon = memrchr(s, ':', u->host.len);
        if (colon != NULL && memchr(colon, ']', (size_t)(end - colon)) == NULL && colon + 1 < end) {
            u->port = atoi(colon + 1);
            u->host.len = (size_t)(colon - s);
        }
        s = end;
    }
    u->path = (sb_str_t){s, strcspn(s, "?#")};
}

static json_t *
string_or_null(sb_str_t s)
{
    return s.len != 0 ? json_stringn(s.data, s.len) : json_null();
}

static const char *
url_to_fields(const void *value, void *entity, char *buf, size_t buflen)
{
    struct url_parts u;
    bool https;

    (void)buf, (void)buflen;
    if (!json_is_string((const json_t *)value))
        return NULL;
    split_url(json_string_value(value), &u);
    https = sb_str_eqc(u.scheme, "https");
    if (u.scheme.len != 0)
        json_object_set_new(entity, "protocol", json_stringn(u.scheme.data, u.scheme.len));
    else
        json_object_set_new(entity, "protocol", json_string(u.port == 443 ? "https" : "http"));
    json_object_set_new(entity, "host", string_or_null(u.host));
    json_object_set_new(entity, "port", json_integer(u.port >= 0 ? u.port : https ? 443 : 80));
    json_object_set_new(entity, "path", string_or_null(u.path));
    return NULL;
}

static const struct sb_shorthand shorthands[] = {
    {.name = "url", .type = SB_T_STRING, .to_fields = url_to_fields},
    {.name = NULL},
};

const struct sb_schema_def sb_entity_services = {
    .name = "services",
    .endpoint_key = "name",
    .workspaceable = true,
    .routing = true,
    .fields = fields,
    .checks = checks,
    .shorthands = shorthands,
};
