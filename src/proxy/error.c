/*
 * Error answers made by the gateway: the text of a status, the format the client accepts, the bytes. Built-in templates can be
 * replaced by files (error_template_*); both have two places, the message and the request id.
 */
#include "proxy/proxy_int.h"

static const struct {
    int status;
    const char *text;
} texts[] = {
    {400, "Bad request"},
    {401, "Unauthorized"},
    {402, "Payment required"},
    {403, "Forbidden"},
    {404, "Not found"},
    {405, "Method not allowed"},
    {406, "Not acceptable"},
    {407, "Proxy authentication required"},
    {408, "Request timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length required"},
    {412, "Precondition failed"},
    {413, "Payload too large"},
    {414, "URI too long"},
    {415, "Unsupported media type"},
    {416, "Range not satisfiable"},
    {417, "Expectation failed"},
    {418, "I'm a teapot"},
    {421, "Misdirected request"},
    {422, "Unprocessable entity"},
    {423, "Locked"},
    {424, "Failed dependency"},
    {425, "Too early"},
    {426, "Upgrade required"},
    {428, "Precondition required"},
    {429, "Too many requests"},
    {431, "Request header fields too large"},
    {451, "Unavailable for legal reasons"},
    {494, "Request header or cookie too large"},
    {500, "An unexpected error occurred"},
    {501, "Not implemented"},
    {502, "An invalid response was received from the upstream server"},
    {503, "The upstream server is currently unavailable"},
    {504, "The upstream server is timing out"},
    {505, "HTTP version not supported"},
    {506, "Variant also negotiates"},
    {507, "Insufficient storage"},
    {508, "Loop detected"},
    {510, "Not extended"},
    {511, "Network authentication required"},
};

const char *
sb_error_text(int status, char buf[64])
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i].status == status)
            return texts[i].text;
    snprintf(buf, 64, "The upstream server responded with %d", status);
    return buf;
}

/* ---- which format ---- */

static const struct {
    const char *mime;
    enum sb_error_type type;
} mimes[] = {
    {"application/json", SB_ERROR_JSON}, {"text/html", SB_ERROR_HTML}, {"application/xml", SB_ERROR_XML},
    {"text/plain", SB_ERROR_PLAIN},      {"*/*", SB_ERROR_JSON},       {"application/*", SB_ERROR_JSON},
    {"text/*", SB_ERROR_PLAIN},
};

static bool
find_mime(const u_char *text, size_t len, enum sb_error_type *type)
{
    for (size_t i = 0; i < sizeof(mimes) / sizeof(mimes[0]); i++) {
        if (strlen(mimes[i].mime) == len && ngx_strncasecmp((u_char *)mimes[i].mime, (u_char *)text, len) == 0) {
            *type = mimes[i].type;
            return true;
        }
    }
    return false;
}

enum sb_error_type
sb_error_type_of(const char *mime)
{
    enum sb_error_type type = SB_ERROR_PLAIN;

    find_mime((const u_char *)mime, strlen(mime), &type);
    return type;
}

/* The q of a media range, in thousandths; 1000 when it has none, 0 when it is malformed. */
static int
quality(const u_char *p, const u_char *end)
{
    int q = 0, scale = 100;

    while (p < end) {
        while (p < end && (*p == ';' || *p == ' ' || *p == '\t'))
            p++;
        if (end - p < 2 || (p[0] != 'q' && p[0] != 'Q') || p[1] != '=') {
            while (p < end && *p != ';')
                p++;
            continue;
        }
        if (end - p >= 3 && p[2] == '1')
            return 1000;
        if (end - p < 3 || p[2] != '0')
            return 0;
        for (p += 4; p < end && *p >= '0' && *p <= '9' && scale > 0; p++, scale /= 10)
            q += (*p - '0') * scale;
        return q;
    }
    return 1000;
}

static enum sb_error_type
from_accept(const ngx_str_t *accept, enum sb_error_type type)
{
    const u_char *p = accept->data, *end = p + accept->len;
    int best = 0;

    while (p < end) {
        const u_char *comma = memchr(p, ',', (size_t)(end - p)), *stop = comma != NULL ? comma : end, *name_end;
        int q;
        while (p < stop && (*p == ' ' || *p == '\t'))
            p++;
        for (name_end = p; name_end < stop && *name_end != ';' && *name_end != ' ' && *name_end != '\t'; name_end++)
            ;
        q = quality(name_end, stop);
        if (q > best && find_mime(p, (size_t)(name_end - p), &type))
            best = q;
        p = stop + 1;
    }
    return type;
}

static enum sb_error_type
from_content_type(const ngx_str_t *value, enum sb_error_type type)
{
    size_t len = 0;

    while (len < value->len && value->data[len] != ';' && value->data[len] != ' ')
        len++;
    find_mime(value->data, len, &type);
    return type;
}

static bool
is_grpc(ngx_http_request_t *r)
{
    ngx_table_elt_t *type = r->headers_in.content_type;

    return r->http_version >= NGX_HTTP_VERSION_20 && type != NULL && type->value.len >= 16 &&
           ngx_strncasecmp(type->value.data, (u_char *)"application/grpc", 16) == 0;
}

enum sb_error_type
sb_error_choose(sb_ctx_t *ctx, bool nginx_page)
{
    ngx_http_request_t *r = ctx->r;
    sb_cstr accept = sb_request_header(ctx, "accept", 0);

    if (!nginx_page && is_grpc(r))
        return SB_ERROR_GRPC;
    if (accept.data != NULL)
        return from_accept(&(ngx_str_t){accept.len, (u_char *)accept.data}, SB_ERROR_JSON);
    if (is_grpc(r))
        return SB_ERROR_GRPC;
    if (nginx_page && r->headers_in.content_type != NULL)
        return from_content_type(&r->headers_in.content_type->value, sb_conf->error_default);
    return nginx_page ? sb_conf->error_default : SB_ERROR_JSON;
}

/* ---- the bytes ---- */

static const char *const templates[] = {
    [SB_ERROR_JSON] = "{\n  \"message\":\"%s\",\n  \"request_id\":\"%s\"\n}",
    [SB_ERROR_HTML] = "<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error</title>\n  </head>\n"
                      "  <body>\n    <h1>Error</h1>\n    <p>%s.</p>\n    <p>request_id: %s</p>\n  </body>\n</html>\n",
    [SB_ERROR_XML] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>%s</message>\n"
                     "  <requestid>%s</requestid>\n</error>\n",
    [SB_ERROR_PLAIN] = "%s\nrequest_id: %s\n",
};

static const char *const content_types[] = {
    [SB_ERROR_JSON] = "application/json; charset=utf-8",
    [SB_ERROR_HTML] = "text/html; charset=utf-8",
    [SB_ERROR_XML] = "application/xml; charset=utf-8",
    [SB_ERROR_PLAIN] = "text/plain; charset=utf-8",
    [SB_ERROR_GRPC] = "application/grpc",
};

sb_str_t
sb_error_template(const sb_conf_t *conf, enum sb_error_type type)
{
    if (type == SB_ERROR_GRPC)
        return SB_STR("");
    return conf->error_template[type].data != NULL ? conf->error_template[type] : (sb_str_t){templates[type], strlen(templates[type])};
}

/* Puts the two arguments where the template has "%s"; "%%" is one percent sign. */
static sb_str_t
expand(ngx_pool_t *pool, sb_str_t template, sb_str_t message, sb_str_t id)
{
    sb_str_t args[2] = {message, id};
    char *out = ngx_pnalloc(pool, template.len + message.len + id.len), *p = out;
    size_t n = 0;

    if (out == NULL)
        return (sb_str_t){"", 0};
    for (size_t i = 0; i < template.len; i++) {
        char next = template.data[i] == '%' && i + 1 < template.len ? template.data[i + 1] : '\0';
        if (n < 2 && next == 's') {
            p = (char *)ngx_cpymem(p, args[n].data, args[n].len);
            n++;
            i++;
        } else {
            *p++ = template.data[i];
            i += next == '%';
        }
    }
    return (sb_str_t){out, (size_t)(p - out)};
}

static int
grpc_status(int status)
{
    static const int map[][2] = {{200, 0}, {400, 3}, {401, 16}, {403, 7},  {404, 5},  {409, 6},
                                 {429, 8}, {499, 1}, {500, 13}, {501, 12}, {503, 14}, {504, 4}};

    for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
        if (map[i][0] == status)
            return map[i][1];
    if (status >= 200 && status < 300)
        return 0;
    if (status >= 400 && status < 500)
        return 3;
    return status >= 500 && status < 600 ? 13 : 2;
}

static void
grpc_headers(sb_ctx_t *ctx, int status, sb_str_t message)
{
    char text[16];
    size_t n = (size_t)snprintf(text, sizeof(text), "%d", grpc_status(status));

    sb_headers_out_set(ctx->r, SB_STR("grpc-status"), (sb_str_t){text, n});
    sb_headers_out_set(ctx->r, SB_STR("grpc-message"), message);
}

void
sb_error_body(sb_ctx_t *ctx, enum sb_error_type type, int status, sb_str_t message, sb_str_t *content_type, sb_str_t *body)
{
    char buf[64];
    sb_str_t template;

    if (message.data == NULL) {
        const char *text = sb_error_text(status, buf);
        message = (sb_str_t){text, strlen(text)};
    }
    *content_type = (sb_str_t){content_types[type], strlen(content_types[type])};
    if (type == SB_ERROR_GRPC) {
        grpc_headers(ctx, status, message);
        *body = (sb_str_t){"", 0};
        return;
    }
    template = sb_error_template(sb_conf, type);
    *body = expand(ctx->r->pool, template, message, (sb_str_t){(char *)ctx->request_id, sizeof(ctx->request_id)});
}

void
sb_exit_error(sb_ctx_t *ctx, int status, sb_str_t message)
{
    sb_str_t content_type, body;

    sb_error_body(ctx, sb_error_choose(ctx, false), status, message, &content_type, &body);
    sb_exit_set(ctx, status, content_type, body);
    ctx->source = SB_SOURCE_ERROR;
}
