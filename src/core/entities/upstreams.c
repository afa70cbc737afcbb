/* Upstreams: virtual hosts that balance over targets. The table, and the shorthands that keep algorithm and hash_on in step. */
#include "core/entities/entities_int.h"

#include <string.h>

#define HASH_INPUTS "none", "consumer", "ip", "header", "cookie", "path", "query_arg", "uri_capture"
#define HASH        .type = SB_T_STRING, .one_of = SB_LIST(HASH_INPUTS), .default_json = "\"none\""
#define NAMED       .type = SB_T_STRING, .len_min = 1, .len_min_set = 1
#define COUNTER(n, text)                                                                                                                   \
    {                                                                                                                                      \
        .name = n, .type = SB_T_INTEGER, SB_BETWEEN(0, 255), .default_json = "0", .description = text                                      \
    }
#define INTERVAL(text)                                                                                                                     \
    {                                                                                                                                      \
        .name = "interval", .type = SB_T_NUMBER, SB_BETWEEN(0, 65535), .default_json = "0", .description = text                            \
    }
#define STATUSES(json, text)                                                                                                               \
    {                                                                                                                                      \
        .name = "http_statuses", .type = SB_T_ARRAY, .elements = SB_ROW(.type = SB_T_INTEGER, SB_BETWEEN(100, 999)), .default_json = json, \
        .description = text                                                                                                                \
    }
#define CHECK_TYPE(text)                                                                                                                   \
    {                                                                                                                                      \
        .name = "type", .type = SB_T_STRING, .one_of = SB_LIST("tcp", "http", "https", "grpc", "grpcs"), .default_json = "\"http\"",       \
        .description = text                                                                                                                \
    }

#define GOOD_ACTIVE  "[200,302]"
#define BAD_ACTIVE   "[429,404,500,501,502,503,504,505]"
#define GOOD_PASSIVE "[200,201,202,203,204,205,206,207,208,226,300,301,302,303,304,305,306,307,308]"
#define BAD_PASSIVE  "[429,500,503]"

#define ACTIVE_HEALTHY    "{\"http_statuses\":" GOOD_ACTIVE ",\"interval\":0,\"successes\":0}"
#define ACTIVE_UNHEALTHY  "{\"http_failures\":0,\"http_statuses\":" BAD_ACTIVE ",\"interval\":0,\"tcp_failures\":0,\"timeouts\":0}"
#define PASSIVE_HEALTHY   "{\"http_statuses\":" GOOD_PASSIVE ",\"successes\":0}"
#define PASSIVE_UNHEALTHY "{\"http_failures\":0,\"http_statuses\":" BAD_PASSIVE ",\"tcp_failures\":0,\"timeouts\":0}"
#define ACTIVE                                                                                                                             \
    "{\"concurrency\":10,\"healthy\":" ACTIVE_HEALTHY ",\"http_path\":\"/\",\"https_verify_certificate\":true,\"timeout\":1,"              \
    "\"type\":\"http\",\"unhealthy\":" ACTIVE_UNHEALTHY "}"
#define PASSIVE "{\"healthy\":" PASSIVE_HEALTHY ",\"type\":\"http\",\"unhealthy\":" PASSIVE_UNHEALTHY "}"

static const struct sb_field active_healthy[] = {
    STATUSES(GOOD_ACTIVE, "Statuses that count as success."),
    INTERVAL("Seconds between probes of healthy targets; 0: none."),
    COUNTER("successes", "Successes that make a target healthy."),
    SB_FIELD_END,
};

static const struct sb_field active_unhealthy[] = {
    COUNTER("http_failures", "Bad statuses that make a target unhealthy."),
    STATUSES(BAD_ACTIVE, "Statuses that count as failure."),
    INTERVAL("Seconds between probes of unhealthy targets; 0: none."),
    COUNTER("tcp_failures", "Failed connections that make a target unhealthy."),
    COUNTER("timeouts", "Timeouts that make a target unhealthy."),
    SB_FIELD_END,
};

static const struct sb_field active[] = {
    {.name = "concurrency",
     .type = SB_T_INTEGER,
     SB_BETWEEN(1, 2147483648.0),
     .default_json = "10",
     .description = "Targets probed at once."},
    {.name = "headers", SB_TYPEDEF_HEADERS, .description = "Headers of probes."},
    {.name = "healthy",
     .type = SB_T_RECORD,
     .required = 1,
     .fields = active_healthy,
     .default_json = ACTIVE_HEALTHY,
     .description = "When a target is healthy."},
    {.name = "http_path", SB_TYPEDEF_PATH, .default_json = "\"/\"", .description = "Path of probes."},
    {.name = "https_sni", SB_TYPEDEF_SNI, .description = "SNI of probes by HTTPS."},
    {.name = "https_verify_certificate",
     .type = SB_T_BOOLEAN,
     .required = 1,
     .default_json = "true",
     .description = "Whether certificates are verified."},
    {.name = "timeout", .type = SB_T_NUMBER, SB_BETWEEN(0, 65535), .default_json = "1", .description = "Seconds that a probe may take."},
    CHECK_TYPE("How targets are probed."),
    {.name = "unhealthy",
     .type = SB_T_RECORD,
     .required = 1,
     .fields = active_unhealthy,
     .default_json = ACTIVE_UNHEALTHY,
     .description = "When a target is unhealthy."},
    SB_FIELD_END,
};

static const struct sb_field passive_healthy[] = {
    STATUSES(GOOD_PASSIVE, "Statuses that count as success."),
    COUNTER("successes", "Successes that make a target healthy."),
    SB_FIELD_END,
};

static const struct sb_field passive_unhealthy[] = {
    COUNTER("http_failures", "Bad statuses that make a target unhealthy."),
    STATUSES(BAD_PASSIVE, "Statuses that count as failure."),
    COUNTER("tcp_failures", "Failed connections that make a target unhealthy."),
    COUNTER("timeouts", "Timeouts that make a target unhealthy."),
    SB_FIELD_END,
};

static const struct sb_field passive[] = {
    {.name = "healthy",
     .type = SB_T_RECORD,
     .required = 1,
     .fields = passive_healthy,
     .default_json = PASSIVE_HEALTHY,
     .description = "When a target is healthy."},
    CHECK_TYPE("What traffic is judged."),
    {.name = "unhealthy",
     .type = SB_T_RECORD,
     .required = 1,
     .fields = passive_unhealthy,
     .default_json = PASSIVE_UNHEALTHY,
     .description = "When a target is unhealthy."},
    SB_FIELD_END,
};

static const struct sb_field healthchecks[] = {
    {.name = "active", .type = SB_T_RECORD, .required = 1, .fields = active, .default_json = ACTIVE, .description = "Probes."},
    {.name = "passive",
     .type = SB_T_RECORD,
     .required = 1,
     .fields = passive,
     .default_json = PASSIVE,
     .description = "Judging by traffic."},
    {.name = "threshold",
     .type = SB_T_NUMBER,
     SB_BETWEEN(0, 100),
     .default_json = "0",
     .description = "Percentage of weight that must be healthy for the upstream to be."},
    SB_FIELD_END,
};

static const struct sb_field fields[] = {
    SB_FIELD_ID,
    SB_FIELD_CREATED_AT,
    {.name = "name",
     .type = SB_T_STRING,
     .required = 1,
     .unique = 1,
     SB_VALIDATOR(upstream_name),
     .description = "A host name that services refer to."},
    SB_FIELD_UPDATED_AT,
    {.name = "algorithm",
     .type = SB_T_STRING,
     .one_of = SB_LIST("consistent-hashing", "least-connections", "round-robin", "latency"),
     .default_json = "\"round-robin\"",
     .description = "How targets are chosen."},
    {.name = "hash_on", HASH, .description = "What is hashed."},
    {.name = "hash_fallback", HASH, .description = "What is hashed when that is absent."},
    {.name = "hash_on_header", SB_TYPEDEF_HEADER_NAME, .description = "Header to hash."},
    {.name = "hash_fallback_header", SB_TYPEDEF_HEADER_NAME, .description = "Header to hash as fallback."},
    {.name = "hash_on_cookie", SB_TYPEDEF_COOKIE_NAME, .description = "Cookie to hash; set when absent."},
    {.name = "hash_on_cookie_path", SB_TYPEDEF_PATH, .default_json = "\"/\"", .description = "Path of that cookie."},
    {.name = "hash_on_query_arg", NAMED, .description = "Query argument to hash."},
    {.name = "hash_fallback_query_arg", NAMED, .description = "Query argument to hash as fallback."},
    {.name = "hash_on_uri_capture", NAMED, .description = "Capture of the route's path to hash."},
    {.name = "hash_fallback_uri_capture", NAMED, .description = "Capture of the route's path to hash as fallback."},
    {.name = "slots", .type = SB_T_INTEGER, SB_BETWEEN(10, 65536), .default_json = "10000", .description = "Slots of the ring."},
    {.name = "healthchecks",
     .type = SB_T_RECORD,
     .required = 1,
     .fields = healthchecks,
     .default_json = "{\"active\":" ACTIVE ",\"passive\":" PASSIVE "}",
     .description = "How health is found out."},
    SB_FIELD_TAGS,
    {.name = "host_header", SB_TYPEDEF_HOST_WITH_OPTIONAL_PORT, .description = "Host header of proxied requests."},
    {.name = "client_certificate", .type = SB_T_FOREIGN, .reference = "certificates", .description = "Shown to targets in TLS."},
    {.name = "use_srv_name",
     .type = SB_T_BOOLEAN,
     .default_json = "false",
     .description = "Whether names of SRV records become the Host header."},
    SB_FIELD_END,
};

#define NEEDS(if_name, value, then_name)                                                                                                   \
    {                                                                                                                                      \
        .kind = SB_CHECK_CONDITIONAL, .if_field = if_name, .if_match = SB_ROW(.match = SB_PATTERNS({"^" value "$", 0})),                   \
        .then_field = then_name, .then_match = SB_ROW(.required = 1)                                                                       \
    }
#define FALLBACKS(value, ...)                                                                                                              \
    {                                                                                                                                      \
        .kind = SB_CHECK_CONDITIONAL, .if_field = "hash_on", .if_match = SB_ROW(.match = SB_PATTERNS({"^" value "$", 0})),                 \
        .then_field = "hash_fallback", .then_match = SB_ROW(.one_of = SB_LIST(__VA_ARGS__))                                                \
    }
#define DISTINCT(a, b)                                                                                                                     \
    {                                                                                                                                      \
        .kind = SB_CHECK_DISTINCT, .fields = SB_LIST(a, b)                                                                                 \
    }

static const struct sb_entity_check checks[] = {
    NEEDS("hash_on", "header", "hash_on_header"),
    NEEDS("hash_fallback", "header", "hash_fallback_header"),
    NEEDS("hash_on", "cookie", "hash_on_cookie"),
    NEEDS("hash_fallback", "cookie", "hash_on_cookie"),
    FALLBACKS("none", "none"),
    FALLBACKS("cookie", "none"),
    FALLBACKS("consumer", "none", "ip", "header", "cookie", "path", "query_arg", "uri_capture"),
    FALLBACKS("ip", "none", "consumer", "header", "cookie", "path", "query_arg", "uri_capture"),
    FALLBACKS("path", "none", "consumer", "header", "cookie", "query_arg", "ip", "uri_capture"),
    DISTINCT("hash_on_header", "hash_fallback_header"),
    NEEDS("hash_on", "query_arg", "hash_on_query_arg"),
    NEEDS("hash_fallback", "query_arg", "hash_fallback_query_arg"),
    DISTINCT("hash_on_query_arg", "hash_fallback_query_arg"),
    NEEDS("hash_on", "uri_capture", "hash_on_uri_capture"),
    NEEDS("hash_fallback", "uri_capture", "hash_fallback_uri_capture"),
    DISTINCT("hash_on_uri_capture", "hash_fallback_uri_capture"),
    {.kind = SB_CHECK_END},
};

/* Algorithms that do not hash reset hash_on; its own shorthand, which runs next, makes null "none". */
static const char *
algorithm_to_fields(const void *value, void *entity, char *buf, size_t buflen)
{
    const char *s = json_string_value(value);

    (void)buf, (void)buflen;
    json_object_set(entity, "algorithm", (json_t *)value);
    if (s != NULL && (strcmp(s, "least-connections") == 0 || strcmp(s, "latency") == 0))
        json_object_set_new(entity, "hash_on", json_null());
    return NULL;
}

static const char *
hash_on_to_fields(const void *value, void *entity, char *buf, size_t buflen)
{
    const char *s = json_string_value(value);

    (void)buf, (void)buflen;
    if (s == NULL) {
        json_object_set_new(entity, "hash_on", json_string("none"));
        return NULL;
    }
    json_object_set(entity, "hash_on", (json_t *)value);
    json_object_set_new(entity, "algorithm", json_string(strcmp(s, "none") == 0 ? "round-robin" : "consistent-hashing"));
    return NULL;
}

static const struct sb_shorthand shorthands[] = {
    {.name = "algorithm", .type = SB_T_STRING, .to_fields = algorithm_to_fields},
    {.name = "hash_on", .type = SB_T_STRING, .to_fields = hash_on_to_fields},
    {.name = NULL},
};

const struct sb_schema_def sb_entity_upstreams = {
    .name = "upstreams",
    .endpoint_key = "name",
    .workspaceable = true,
    .routing = true,
    .fields = fields,
    .checks = checks,
    .shorthands = shorthands,
};
