/*
 * request-termination: answers requests itself instead of passing them on: with a message, with a body of its own, or (echo) with
 * a description of the request. With `trigger` only requests that carry a header or query argument of that name.
 */
#include "silverback/plugin.h"
#include "silverback/typedefs.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct config {
    int64_t status_code;
    sb_cstr message, content_type, body, trigger;
    bool echo;
};

#define AT(member) .offset = offsetof(struct config, member)

static bool
given(const json_t *config, const char *name)
{
    const json_t *value = json_object_get(config, name);

    return value != NULL && !json_is_null(value);
}

static const char *
check_combinations(const void *value, char *buf, size_t buflen)
{
    const json_t *config = value;
    bool content_type = given(config, "content_type"), body = given(config, "body");

    if (given(config, "message") && (content_type || body))
        return "message cannot be used with content_type or body";
    if (content_type && !body)
        return "content_type requires a body";
    if (json_is_true(json_object_get(config, "echo")) && (content_type || body))
        return "echo cannot be used with content_type and body";
    return NULL;
}

static const struct sb_field config_fields[] = {
    {.name = "status_code",
     .type = SB_T_INTEGER,
     SB_BETWEEN(100, 599),
     .default_json = "503",
     .required = 1,
     AT(status_code),
     .description = "Status of the answer."},
    {.name = "message", .type = SB_T_STRING, AT(message), .description = "Text of the answer, sent as JSON."},
    {.name = "content_type", .type = SB_T_STRING, AT(content_type), .description = "Content-Type of `body`."},
    {.name = "body", .type = SB_T_STRING, AT(body), .description = "The answer's body as it stands, instead of a message."},
    {.name = "echo",
     .type = SB_T_BOOLEAN,
     .default_json = "false",
     .required = 1,
     AT(echo),
     .description = "Answers with a description of the request, for debugging."},
    {.name = "trigger",
     SB_TYPEDEF_HEADER_NAME,
     AT(trigger),
     .description = "Only requests with a header or query argument of this name are answered."},
    SB_FIELD_END,
};

static const struct sb_field fields[] = {
    {.name = "protocols",
     .type = SB_T_SET,
     .required = 1,
     .default_json = "[\"grpc\",\"grpcs\",\"http\",\"https\"]",
     .elements = SB_ROW(.type = SB_T_STRING, .one_of = SB_LIST("grpc", "grpcs", "http", "https")),
     .description = "Runs only for requests by these protocols."},
    {.name = "config",
     .type = SB_T_RECORD,
     .required = 1,
     .fields = config_fields,
     .validator = check_combinations,
     .validator_name = "termination_combos",
     .description = "What is answered, and to which requests."},
    SB_FIELD_END,
};

static const struct sb_schema_def schema = {.name = "request-termination", .fields = fields};

/* ---- whether ---- */

static int
hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Query text to what it stands for; returns its length. out may be `text` itself. */
static size_t
unescape(const char *text, size_t len, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        int hi = text[i] == '%' && i + 2 < len ? hex(text[i + 1]) : -1, lo = hi >= 0 ? hex(text[i + 2]) : -1;
        if (lo >= 0) {
            out[n++] = (char)(hi * 16 + lo);
            i += 2;
        } else
            out[n++] = text[i] == '+' ? ' ' : text[i];
    }
    return n;
}

/* Calls fn for each argument, decoded; a NULL value is an argument without "=". false from fn stops. */
static void
each_argument(sb_request_t *r, bool (*fn)(sb_cstr name, sb_cstr value, void *arg), void *arg)
{
    sb_cstr query = sb_request_query(r);
    char *copy = sb_request_alloc(r, query.len + 1), *p = copy, *end;

    if (copy == NULL)
        return;
    memcpy(copy, query.data, query.len);
    end = copy + query.len;
    while (p < end) {
        char *stop = memchr(p, '&', (size_t)(end - p)), *equals;
        sb_cstr name, value = {NULL, 0};
        stop = stop != NULL ? stop : end;
        equals = memchr(p, '=', (size_t)(stop - p));
        if (equals != NULL)
            value = (sb_cstr){equals + 1, unescape(equals + 1, (size_t)(stop - equals - 1), equals + 1)};
        name = (sb_cstr){p, unescape(p, (size_t)((equals != NULL ? equals : stop) - p), p)};
        if (name.len != 0 && !fn(name, value, arg))
            return;
        p = stop + 1;
    }
}

struct wanted {
    sb_cstr name;
    bool found;
};

static bool
look_for(sb_cstr name, sb_cstr value, void *arg)
{
    struct wanted *w = arg;

    w->found = w->found || (name.len == w->name.len && memcmp(name.data, w->name.data, name.len) == 0);
    return !w->found;
}

static bool
is_meant(sb_request_t *r, const struct config *c)
{
    struct wanted w = {c->trigger, false};

    if (c->trigger.data == NULL || sb_request_header(r, c->trigger.data, 0).data != NULL)
        return true;
    each_argument(r, look_for, &w);
    return w.found;
}

/* ---- what ---- */

static const char *
default_message(int64_t status)
{
    static const struct {
        int64_t status;
        const char *text;
    } texts[] = {{401, "Unauthorized"}, {404, "Not found"},          {405, "Method not allowed"}, {500, "An unexpected error occurred"},
                 {502, "Bad gateway"},  {503, "Service unavailable"}};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return NULL;
}

static json_t *
text_or_null(sb_cstr s)
{
    json_t *text = s.data != NULL ? json_stringn(s.data, s.len) : NULL;

    return text != NULL ? text : json_null();
}

/* Several values of one name become an array. */
static void
add_value(json_t *object, const char *key, json_t *value)
{
    json_t *there = json_object_get(object, key);

    if (there == NULL)
        json_object_set_new(object, key, value);
    else if (json_is_array(there))
        json_array_append_new(there, value);
    else
        json_object_set_new(object, key, json_pack("[O,o]", there, value));
}

static bool
add_argument(sb_cstr name, sb_cstr value, void *arg)
{
    char *key = strndup(name.data, name.len);

    if (key != NULL)
        add_value(arg, key, value.data != NULL ? text_or_null(value) : json_true());
    free(key);
    return true;
}

static bool
add_header(sb_cstr name, sb_cstr value, void *arg)
{
    char *key = strndup(name.data, name.len);

    for (char *p = key; p != NULL && *p != '\0'; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p |= 0x20;
    if (key != NULL)
        add_value(arg, key, text_or_null(value));
    free(key);
    return true;
}

static json_t *
parsed(sb_cstr text)
{
    json_t *value = text.data != NULL ? json_loadb(text.data, text.len, 0, NULL) : NULL;

    return value != NULL ? value : json_null();
}

static json_t *
describe_request(sb_request_t *r)
{
    json_t *query = json_object(), *headers = json_object();
    sb_cstr body = sb_request_body(r);

    each_argument(r, add_argument, query);
    sb_request_each_header(r, add_header, headers);
    return json_pack("{s:o,s:o,s:i,s:o,s:o,s:o,s:o,s:o,s:o}", "scheme", text_or_null(sb_request_scheme(r)), "host",
                     text_or_null(sb_request_host(r)), "port", sb_request_port(r), "method", text_or_null(sb_request_method(r)), "path",
                     text_or_null(sb_request_path(r)), "query", query, "headers", headers, "raw_body", text_or_null(body), "body",
                     parsed(body));
}

static enum sb_verdict
echo(sb_request_t *r, const void *conf)
{
    const struct config *c = conf;
    const char *fallback = default_message(c->status_code);
    sb_cstr message = c->message.data != NULL ? c->message : (sb_cstr){fallback, fallback != NULL ? strlen(fallback) : 0};
    json_t *answer = json_pack("{s:o,s:o,s:o,s:o}", "message", text_or_null(message), "request", describe_request(r), "matched_route",
                               parsed(sb_request_route_json(r)), "matched_service", parsed(sb_request_service_json(r)));
    char *text = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;

    json_decref(answer);
    if (text == NULL) {
        sb_request_exit_error(r, 500, NULL);
        return SB_EXIT;
    }
    sb_request_exit(r, (int)c->status_code, (sb_cstr){"application/json; charset=utf-8", 31}, (sb_cstr){text, strlen(text)});
    free(text);
    return SB_EXIT;
}

static enum sb_verdict
access_phase(sb_request_t *r, const void *conf)
{
    const struct config *c = conf;
    const char *fallback = default_message(c->status_code);

    if (!is_meant(r, c))
        return SB_NEXT;
    if (c->echo)
        return sb_request_read_body(r, echo, conf);
    if (c->body.data != NULL)
        sb_request_exit(r, (int)c->status_code,
                        c->content_type.data != NULL ? c->content_type : (sb_cstr){"application/json; charset=utf-8", 31}, c->body);
    else if (c->message.data != NULL || fallback != NULL)
        sb_request_exit_message(r, (int)c->status_code, c->message.data != NULL ? c->message.data : fallback);
    else
        sb_request_exit(r, (int)c->status_code, (sb_cstr){NULL, 0}, (sb_cstr){"", 0});
    return SB_EXIT;
}

const struct sb_plugin sb_plugin_request_termination = {
    .abi = SB_PLUGIN_ABI,
    .name = "request-termination",
    .version = "3.9.1",
    .priority = 2,
    .schema = &schema,
    .config = config_fields,
    .config_size = sizeof(struct config),
    .access = access_phase,
};
