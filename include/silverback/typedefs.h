/*
 * Field definitions that many tables share: initialisers to put into a struct sb_field after its name, as in
 *     {.name = "host", SB_TYPEDEF_HOST, .required = 1}
 * or whole rows (SB_FIELD_...). Facts: pdk.json typedefs.
 */
#ifndef SILVERBACK_TYPEDEFS_H
#define SILVERBACK_TYPEDEFS_H

#include "silverback/schema.h"

#define SB_LIST(...)       ((const char *const[]){__VA_ARGS__, 0})
#define SB_PATTERNS(...)   ((const struct sb_pattern[]){__VA_ARGS__, {0, 0}})
#define SB_ROW(...)        (&(const struct sb_field){__VA_ARGS__})
#define SB_ROWS(...)       ((const struct sb_field[]){__VA_ARGS__, SB_FIELD_END})
#define SB_BETWEEN(lo, hi) .has_between = 1, .between = {lo, hi}
#define SB_VALIDATOR(v)    .validator = sb_valid_##v, .validator_name = #v

#define SB_TYPEDEF_HOST                    .type = SB_T_STRING, SB_VALIDATOR(host)
#define SB_TYPEDEF_HOST_WITH_OPTIONAL_PORT .type = SB_T_STRING, SB_VALIDATOR(host_with_optional_port)
#define SB_TYPEDEF_WILDCARD_HOST           .type = SB_T_STRING, SB_VALIDATOR(wildcard_host)
#define SB_TYPEDEF_SNI                     .type = SB_T_STRING, SB_VALIDATOR(sni)
#define SB_TYPEDEF_PORT                    .type = SB_T_INTEGER, SB_BETWEEN(0, 65535)
#define SB_TYPEDEF_TIMEOUT                 .type = SB_T_INTEGER, SB_BETWEEN(0, 2147483646)
#define SB_TYPEDEF_URL                     .type = SB_T_STRING, SB_VALIDATOR(url)
#define SB_TYPEDEF_UTF8_NAME               .type = SB_T_STRING, .unique = 1, SB_VALIDATOR(utf8_name)
#define SB_TYPEDEF_HEADER_NAME             .type = SB_T_STRING, SB_VALIDATOR(header_name)
#define SB_TYPEDEF_COOKIE_NAME             .type = SB_T_STRING, SB_VALIDATOR(http_token)
#define SB_TYPEDEF_IP                      .type = SB_T_STRING, SB_VALIDATOR(ip)
#define SB_TYPEDEF_IP_OR_CIDR              .type = SB_T_STRING, SB_VALIDATOR(ip_or_cidr)
#define SB_TYPEDEF_CERTIFICATE             .type = SB_T_STRING, SB_VALIDATOR(certificate_pem)
#define SB_TYPEDEF_KEY                     .type = SB_T_STRING, SB_VALIDATOR(private_key_pem)
#define SB_TYPEDEF_HTTP_METHOD             .type = SB_T_STRING, .match = SB_PATTERNS({"^%u+$", 0})
#define SB_TYPEDEF_PATH                                                                                                                    \
    .type = SB_T_STRING, .starts_with = "/", .match_none = SB_PATTERNS({"//", "must not have empty segments"}), SB_VALIDATOR(path)
#define SB_TYPEDEF_ROUTER_PATH                                                                                                             \
    .type = SB_T_STRING, .match_any = SB_LIST("^/", "^~/"), .match_any_err = "should start with: / (fixed path) or ~/ (regex path)",       \
    .match_none = SB_PATTERNS({"//", "must not have empty segments"}), SB_VALIDATOR(router_path)
#define SB_TYPEDEF_ROUTER_HOST                                                                                                             \
    .type = SB_T_STRING, .match_all = SB_PATTERNS({"^[^*]*%*?[^*]*$", "invalid wildcard: must have at most one wildcard"}),                \
    .match_any = SB_LIST("^%*%.", "%.%*$", "^[^*]*$"), .match_any_err = "invalid wildcard: must be placed at leftmost or rightmost label", \
    SB_VALIDATOR(host_with_wildcards)
/* Values of a request header by name. */
#define SB_TYPEDEF_HEADERS                                                                                                                 \
    .type = SB_T_MAP, .keys = SB_ROW(SB_TYPEDEF_HEADER_NAME), .values = SB_ROW(.type = SB_T_ARRAY, .elements = SB_ROW(.type = SB_T_STRING))

#define SB_PROTOCOL_NAMES   "grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp"
#define SB_TYPEDEF_PROTOCOL .type = SB_T_STRING, .one_of = SB_LIST(SB_PROTOCOL_NAMES)

/* Overrides for plugin schemas. */
#define SB_FIELD_NO_CONSUMER                                                                                                               \
    {                                                                                                                                      \
        .name = "consumer", .type = SB_T_FOREIGN, .reference = "consumers", .eq_null = 1, .description = "Not settable for this plugin."   \
    }
#define SB_FIELD_NO_SERVICE                                                                                                                \
    {                                                                                                                                      \
        .name = "service", .type = SB_T_FOREIGN, .reference = "services", .eq_null = 1, .description = "Not settable for this plugin."     \
    }
#define SB_FIELD_NO_ROUTE                                                                                                                  \
    {                                                                                                                                      \
        .name = "route", .type = SB_T_FOREIGN, .reference = "routes", .eq_null = 1, .description = "Not settable for this plugin."         \
    }
#define SB_FIELD_PROTOCOLS_HTTP                                                                                                            \
    {                                                                                                                                      \
        .name = "protocols", .type = SB_T_SET, .required = 1, .default_json = "[\"grpc\",\"grpcs\",\"http\",\"https\"]",                   \
        .elements = SB_ROW(.type = SB_T_STRING, .one_of = SB_LIST("grpc", "grpcs", "http", "https")),                                      \
        .description = "A set of strings representing HTTP protocols."                                                                     \
    }

/* Rows of entities. */
#define SB_FIELD_ID                                                                                                                        \
    {                                                                                                                                      \
        .name = "id", .type = SB_T_STRING, .uuid = 1, .automatic = 1, .description = "The unique identifier."                              \
    }
#define SB_FIELD_CREATED_AT                                                                                                                \
    {                                                                                                                                      \
        .name = "created_at", .type = SB_T_INTEGER, .timestamp = 1, .automatic = 1,                                                        \
        .description = "When it was created, in seconds since 1970."                                                                       \
    }
#define SB_FIELD_UPDATED_AT                                                                                                                \
    {                                                                                                                                      \
        .name = "updated_at", .type = SB_T_INTEGER, .timestamp = 1, .automatic = 1,                                                        \
        .description = "When it was last changed, in seconds since 1970."                                                                  \
    }
#define SB_FIELD_TAGS                                                                                                                      \
    {                                                                                                                                      \
        .name = "tags", .type = SB_T_SET, .elements = SB_ROW(.type = SB_T_STRING, .required = 1, SB_VALIDATOR(tag)),                       \
        .description = "Strings by which entities are grouped and filtered."                                                               \
    }

#endif
