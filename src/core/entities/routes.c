/*
 * Routes. What may be set depends on the protocols: a subschema per protocol. Variants by router flavour: `expressions` adds
 * expression and priority and lets HTTP routes have sources and destinations; `traditional` allows no wildcard in snis.
 */
#include "core/base/log.h"
#include "core/entities/entities_int.h"
#include "core/router/router.h"

#include <stdio.h>
#include <string.h>

#define ADDRESS_ROW                                                                                                                        \
    SB_ROW(.type = SB_T_RECORD,                                                                                                            \
           .fields = SB_ROWS({.name = "ip", SB_TYPEDEF_IP_OR_CIDR, .description = "Address or range."},                                    \
                             {.name = "port", SB_TYPEDEF_PORT, .description = "Port."}),                                                   \
           .checks = (const struct sb_entity_check[]){{.kind = SB_CHECK_AT_LEAST_ONE_OF, .fields = SB_LIST("ip", "port")},                 \
                                                      {.kind = SB_CHECK_END}})
#define ADDRESSES .type = SB_T_SET, .elements = ADDRESS_ROW
#define METHODS   .type = SB_T_SET, .elements = SB_ROW(SB_TYPEDEF_HTTP_METHOD)
#define HOSTS     .type = SB_T_ARRAY, .elements = SB_ROW(SB_TYPEDEF_ROUTER_HOST)
#define PATHS     .type = SB_T_ARRAY, .elements = SB_ROW(SB_TYPEDEF_ROUTER_PATH)
#define SNIS_TEXT "SNI names of TLS connections."

#define SUBSETS                                                                                                                            \
    ((const char *const *const[]){SB_LIST("http", "https"), SB_LIST("tcp", "tls", "udp"), SB_LIST("tls_passthrough"),                      \
                                  SB_LIST("grpc", "grpcs"), NULL})

static const struct sb_field fields[] = {
    SB_FIELD_ID,
    SB_FIELD_CREATED_AT,
    SB_FIELD_UPDATED_AT,
    {.name = "name", SB_TYPEDEF_UTF8_NAME, .description = "The name."},
    {.name = "protocols",
     .type = SB_T_SET,
     .required = 1,
     .len_min = 1,
     .len_min_set = 1,
     .elements = SB_ROW(SB_TYPEDEF_PROTOCOL),
     .mutually_exclusive_subsets = SUBSETS,
     .default_json = "[\"http\",\"https\"]",
     .description = "Protocols that requests may come by."},
    {.name = "https_redirect_status_code",
     .type = SB_T_INTEGER,
     .required = 1,
     .one_of = SB_LIST("426", "301", "302", "307", "308"),
     .default_json = "426",
     .description = "Answer to plain requests when only HTTPS is allowed."},
    {.name = "strip_path",
     .type = SB_T_BOOLEAN,
     .required = 1,
     .default_json = "true",
     .description = "Whether the matched prefix is removed."},
    {.name = "preserve_host",
     .type = SB_T_BOOLEAN,
     .required = 1,
     .default_json = "false",
     .description = "Whether the Host header is kept."},
    {.name = "request_buffering",
     .type = SB_T_BOOLEAN,
     .required = 1,
     .default_json = "true",
     .description = "Whether request bodies are buffered."},
    {.name = "response_buffering",
     .type = SB_T_BOOLEAN,
     .required = 1,
     .default_json = "true",
     .description = "Whether response bodies are buffered."},
    SB_FIELD_TAGS,
    {.name = "service", .type = SB_T_FOREIGN, .reference = "services", .description = "Where requests go; null: nowhere, plugins answer."},
    {.name = "snis", .type = SB_T_SET, .elements = SB_ROW(SB_TYPEDEF_WILDCARD_HOST), .description = SNIS_TEXT},
    {.name = "sources", ADDRESSES, .description = "Where connections come from."},
    {.name = "destinations", ADDRESSES, .description = "Where connections go to."},
    {.name = "methods", METHODS, .description = "Request methods."},
    {.name = "hosts", HOSTS, .description = "Hosts, with at most one wildcard label."},
    {.name = "paths", PATHS, .description = "Path prefixes, or regexes behind '~'."},
    {.name = "headers",
     .type = SB_T_MAP,
     .keys = SB_ROW(SB_TYPEDEF_HEADER_NAME,
                    .match_none = SB_PATTERNS(
                        {"^[Hh][Oo][Ss][Tt]$", "cannot contain 'host' header, which must be specified in the 'hosts' attribute"})),
     .values = SB_ROW(.type = SB_T_ARRAY, .elements = SB_ROW(.type = SB_T_STRING)),
     .description = "Request headers and their values."},
    {.name = "regex_priority", .type = SB_T_INTEGER, .default_json = "0", .description = "Which regex path is tried first."},
    {.name = "path_handling",
     .type = SB_T_STRING,
     .one_of = SB_LIST("v0", "v1"),
     .default_json = "\"v0\"",
     .description = "How service path, route path and request path are joined."},
    SB_FIELD_END,
};

/* Never fails: the older way of joining paths works, and its users are told that it will not always. */
static const char *
warn_of_v1(const void *entity, const char **field, char *buf, size_t buflen)
{
    const char *name = sb_json_string(entity, "name"), *handling = sb_json_string(entity, "path_handling");

    (void)field, (void)buf, (void)buflen;
    if (handling != NULL && strcmp(handling, "v1") == 0)
        sb_log(SB_LOG_WARN, "route %s: path_handling 'v1' is deprecated and will be removed",
               name != NULL ? name : sb_json_string(entity, "id"));
    return NULL;
}

static bool
is_stream(const json_t *route)
{
    const json_t *protocols = json_object_get(route, "protocols"), *p;
    size_t i;

    json_array_foreach((json_t *)protocols, i, p)
    {
        const char *s = json_string_value(p);
        if (s != NULL && (strcmp(s, "tcp") == 0 || strcmp(s, "udp") == 0 || strncmp(s, "tls", 3) == 0))
            return true;
    }
    return false;
}

static bool
has_classic_fields(const json_t *route)
{
    static const char *const names[] = {"snis", "sources", "destinations", "methods", "hosts", "paths", "headers"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const json_t *v = json_object_get(route, names[i]);
        if (json_array_size(v) != 0 || json_object_size(v) != 0)
            return true;
    }
    return false;
}

#define EXPRESSION_FAILED "Router Expression failed validation: "
#define CLASSIC_FIELDS    "'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or 'destinations'"

/* The reason in buf, cut where a character ends. */
static const char *
expression_failed(const sb_err_t *err, char *buf, size_t buflen)
{
    size_t n = (size_t)snprintf(buf, buflen, EXPRESSION_FAILED "%s", err->message);

    if (n < buflen)
        return buf;
    for (n = buflen - 1; n > 0 && ((unsigned char)buf[n] & 0xc0) == 0x80; n--)
        ;
    buf[n] = '\0';
    return buf;
}

/* Only with router_flavor=expressions does a route have the fields expression and priority. */
static const char *
check_expression(const void *entity, const char **field, char *buf, size_t buflen)
{
    const char *text = sb_json_string(entity, "expression");
    bool classic = has_classic_fields(entity);
    sb_err_t err = {0};
    const char *why = NULL;

    (void)field;
    if (text != NULL && classic)
        return EXPRESSION_FAILED "cannot set 'expression' with " CLASSIC_FIELDS " simultaneously";
    if (text != NULL && sb_json_int(entity, "regex_priority", 0) != 0)
        return EXPRESSION_FAILED "cannot set 'regex_priority' with 'expression' simultaneously";
    if (classic && sb_json_int(entity, "priority", 0) != 0)
        return EXPRESSION_FAILED "cannot set 'priority' with " CLASSIC_FIELDS " simultaneously";
    if (text != NULL && sb_router_check_expression((sb_str_t){text, strlen(text)}, is_stream(entity), &err) != SB_OK)
        why = expression_failed(&err, buf, buflen);
    sb_err_clear(&err);
    return why;
}

/* A row of checks, in the flavour that has expressions. */
#define EXPRESSION                                                                                                                         \
    {                                                                                                                                      \
        .kind = SB_CHECK_CUSTOM,                                                                                                           \
        .fields = SB_LIST("id", "protocols", "snis", "sources", "destinations", "methods", "hosts", "paths", "headers", "expression",      \
                          "regex_priority", "priority"),                                                                                   \
        .custom = check_expression, .run_with_missing_fields = true                                                                        \
    }

static const struct sb_entity_check checks[] = {
    {.kind = SB_CHECK_CUSTOM, .fields = SB_LIST("path_handling"), .custom = warn_of_v1},
    {.kind = SB_CHECK_CONDITIONAL,
     .if_field = "protocols",
     .if_match = SB_ROW(.elements = SB_ROW(.type = SB_T_STRING, .not_one_of = SB_LIST("grpcs", "https", "tls", "tls_passthrough"))),
     .then_field = "snis",
     .then_match = SB_ROW(.len_eq = 0, .len_eq_set = 1),
     .then_err = "'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'"},
    {.kind = SB_CHECK_END},
};

/* --- what the protocols allow --- */

#define NOT_FOR(name, protocols) .eq_null = 1, .err = "cannot set '" name "' when 'protocols' is " protocols
#define STREAM                   "'tcp', 'tls', 'tls_passthrough' or 'udp'"
#define GRPC                     "'grpc' or 'grpcs'"
#define HTTP                     "'http' or 'https'"

#define GRPC_FIELDS                                                                                                                        \
    {.name = "strip_path",                                                                                                                 \
     .type = SB_T_BOOLEAN,                                                                                                                 \
     .required = 1,                                                                                                                        \
     .default_json = "false",                                                                                                              \
     .ne_json = "true",                                                                                                                    \
     .err = "cannot set 'strip_path' when 'protocols' is " GRPC},                                                                          \
    {                                                                                                                                      \
        .name = "methods", METHODS, NOT_FOR("methods", GRPC)                                                                               \
    }
#define NO_ADDRESSES(protocols)                                                                                                            \
    {.name = "sources", ADDRESSES, NOT_FOR("sources", protocols)},                                                                         \
    {                                                                                                                                      \
        .name = "destinations", ADDRESSES, NOT_FOR("destinations", protocols)                                                              \
    }

static const struct sb_field grpc_fields[] = {GRPC_FIELDS, NO_ADDRESSES(GRPC), SB_FIELD_END};
static const struct sb_field grpc_expressions_fields[] = {GRPC_FIELDS, SB_FIELD_END};
static const struct sb_field http_fields[] = {NO_ADDRESSES(HTTP), SB_FIELD_END};
static const struct sb_field http_expressions_fields[] = {SB_FIELD_END};
static const struct sb_field stream_fields[] = {
    {.name = "methods", METHODS, NOT_FOR("methods", STREAM)},
    {.name = "hosts", HOSTS, NOT_FOR("hosts", STREAM)},
    {.name = "paths", PATHS, NOT_FOR("paths", STREAM)},
    {.name = "headers", SB_TYPEDEF_HEADERS, NOT_FOR("headers", STREAM)},
    SB_FIELD_END,
};

/* One of the lists must be set: the first for the secure protocol, the second for the plain one. */
#define ONE_OF_LISTS(secure, plain, secure_list, plain_list)                                                                               \
    {                                                                                                                                      \
        .kind = SB_CHECK_CONDITIONAL_AT_LEAST_ONE_OF, .if_field = "protocols", .if_match = SB_ROW(.contains = secure),                     \
        .then_at_least_one_of = secure_list, .then_err = "must set one of %s when 'protocols' is '" secure "'",                            \
        .else_match = SB_ROW(.contains = plain), .else_then_at_least_one_of = plain_list,                                                  \
        .else_then_err = "must set one of %s when 'protocols' is '" plain "'"                                                              \
    }
#define STREAM_LISTS(tls_list, passthrough_list)                                                                                           \
    {.kind = SB_CHECK_CONDITIONAL_AT_LEAST_ONE_OF,                                                                                         \
     .if_field = "protocols",                                                                                                              \
     .if_match = SB_ROW(.elements = SB_ROW(.type = SB_T_STRING, .one_of = SB_LIST("tcp", "tls", "udp"))),                                  \
     .then_at_least_one_of = tls_list,                                                                                                     \
     .then_err = "must set one of %s when 'protocols' is 'tcp', 'tls' or 'udp'"},                                                          \
    {                                                                                                                                      \
        .kind = SB_CHECK_CONDITIONAL_AT_LEAST_ONE_OF, .if_field = "protocols",                                                             \
        .if_match = SB_ROW(.elements = SB_ROW(.type = SB_T_STRING, .one_of = SB_LIST("tls_passthrough"))),                                 \
        .then_at_least_one_of = passthrough_list, .then_err = "must set snis when 'protocols' is 'tls_passthrough'"                        \
    }

static const struct sb_entity_check grpc_checks[] = {
    ONE_OF_LISTS("grpcs", "grpc", SB_LIST("hosts", "headers", "paths", "snis"), SB_LIST("hosts", "headers", "paths")),
    {.kind = SB_CHECK_END},
};
static const struct sb_entity_check grpc_expressions_checks[] = {
    ONE_OF_LISTS("grpcs", "grpc", SB_LIST("hosts", "headers", "paths", "snis", "expression"),
                 SB_LIST("hosts", "headers", "paths", "expression")),
    EXPRESSION,
    {.kind = SB_CHECK_END},
};
static const struct sb_entity_check http_checks[] = {
    ONE_OF_LISTS("https", "http", SB_LIST("methods", "hosts", "headers", "paths", "snis"), SB_LIST("methods", "hosts", "headers", "paths")),
    {.kind = SB_CHECK_END},
};
static const struct sb_entity_check http_expressions_checks[] = {
    ONE_OF_LISTS("https", "http", SB_LIST("methods", "hosts", "headers", "paths", "snis", "expression"),
                 SB_LIST("methods", "hosts", "headers", "paths", "expression")),
    EXPRESSION,
    {.kind = SB_CHECK_END},
};
static const struct sb_entity_check stream_checks[] = {
    STREAM_LISTS(SB_LIST("sources", "destinations", "snis"), SB_LIST("snis")),
    {.kind = SB_CHECK_END},
};
static const struct sb_entity_check stream_expressions_checks[] = {
    STREAM_LISTS(SB_LIST("sources", "destinations", "snis", "expression"), SB_LIST("snis", "expression")),
    EXPRESSION,
    {.kind = SB_CHECK_END},
};

static const struct sb_subschema subschemas[] = {
    {"http", http_fields, http_checks},
    {"https", http_fields, http_checks},
    {"grpc", grpc_fields, grpc_checks},
    {"grpcs", grpc_fields, grpc_checks},
    {"tcp", stream_fields, stream_checks},
    {"tls", stream_fields, stream_checks},
    {"udp", stream_fields, stream_checks},
    {"tls_passthrough", stream_fields, stream_checks},
    {NULL, NULL, NULL},
};

static const struct sb_subschema expressions_subschemas[] = {
    {"http", http_expressions_fields, http_expressions_checks},
    {"https", http_expressions_fields, http_expressions_checks},
    {"grpc", grpc_expressions_fields, grpc_expressions_checks},
    {"grpcs", grpc_expressions_fields, grpc_expressions_checks},
    {"tcp", stream_fields, stream_expressions_checks},
    {"tls", stream_fields, stream_expressions_checks},
    {"udp", stream_fields, stream_expressions_checks},
    {"tls_passthrough", stream_fields, stream_expressions_checks},
    {NULL, NULL, NULL},
};

static const struct sb_field expressions_fields[] = {
    {.name = "expression", .type = SB_T_STRING, .description = "Router expression; excludes the other matching fields."},
    {.name = "priority",
     .type = SB_T_INTEGER,
     .required = 1,
     SB_BETWEEN(0, 70368744177663.0),
     .default_json = "0",
     .description = "Order in which expressions are tried, highest first."},
    SB_FIELD_END,
};

static const struct sb_field traditional_fields[] = {
    {.name = "snis", .type = SB_T_SET, .elements = SB_ROW(SB_TYPEDEF_SNI), .description = SNIS_TEXT},
    SB_FIELD_END,
};

const struct sb_schema_def sb_entity_routes = {
    .name = "routes",
    .endpoint_key = "name",
    .workspaceable = true,
    .routing = true,
    .fields = fields,
    .checks = checks,
    .subschema_key = "protocols",
    .subschemas = subschemas,
    .expressions_fields = expressions_fields,
    .expressions_subschemas = expressions_subschemas,
    .traditional_fields = traditional_fields,
};
