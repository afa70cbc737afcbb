/*
 * Changing headers of a request or an answer outside nginx's own parsing. nginx keeps headers in a list and, for those it cares
 * about, a second note of them in named members; both must tell the same. A removed header stays in the list with hash 0, which
 * everything that writes headers skips.
 *
 * Names and values come from plugins, and may hold what a client sent: what would end a line, or the header, is escaped.
 */
#include "proxy/proxy_int.h"

/* Answer headers with a member of their own, apart from the two that are members only. */
static const struct {
    sb_str_t name;
    size_t offset;
} out_members[] = {
#define MEMBER(text, member)                                                                                                               \
    {                                                                                                                                      \
        {(text), sizeof(text) - 1}, offsetof(ngx_http_headers_out_t, member)                                                               \
    }
    MEMBER("server", server),
    MEMBER("date", date),
    MEMBER("location", location),
    MEMBER("refresh", refresh),
    MEMBER("last-modified", last_modified),
    MEMBER("content-range", content_range),
    MEMBER("content-encoding", content_encoding),
    MEMBER("accept-ranges", accept_ranges),
    MEMBER("www-authenticate", www_authenticate),
    MEMBER("expires", expires),
    MEMBER("etag", etag),
};

static ngx_table_elt_t **
out_member(ngx_http_request_t *r, sb_str_t name)
{
    for (size_t i = 0; i < sizeof(out_members) / sizeof(out_members[0]); i++)
        if (sb_str_ieq(name, out_members[i].name))
            return (ngx_table_elt_t **)((char *)&r->headers_out + out_members[i].offset);
    return NULL;
}

static bool
named(const ngx_table_elt_t *h, sb_str_t name)
{
    return h->hash != 0 && h->key.len == name.len && ngx_strncasecmp(h->key.data, (u_char *)name.data, name.len) == 0;
}

/* Calls remove on every element of that name. */
static void
remove_all(ngx_list_t *list, sb_str_t name)
{
    for (ngx_list_part_t *part = &list->part; part != NULL; part = part->next) {
        ngx_table_elt_t *h = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++)
            if (named(&h[i], name))
                h[i].hash = 0;
    }
}

/* ---- text from plugins ---- */

static bool
is_control(u_char c)
{
    return (c < 0x20 && c != '\t') || c == 0x7f;
}

/* What may not stand in a name; colons come first only in HTTP/2's own. */
static bool
is_not_token(u_char c)
{
    return c <= 0x20 || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c) != NULL;
}

static sb_str_t
escape(ngx_pool_t *pool, sb_str_t s, bool (*is_bad)(u_char c))
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;
    char *text, *p;

    for (size_t i = 0; i < s.len; i++)
        n += is_bad((u_char)s.data[i]);
    if (n == 0)
        return s;
    text = p = ngx_pnalloc(pool, s.len + 2 * n);
    for (size_t i = 0; p != NULL && i < s.len; i++) {
        u_char c = (u_char)s.data[i];
        if (is_bad(c)) {
            *p++ = '%';
            *p++ = digits[c >> 4];
            *p++ = digits[c & 15];
        } else
            *p++ = (char)c;
    }
    return (sb_str_t){text, text != NULL ? s.len + 2 * n : 0};
}

sb_str_t
sb_header_text(ngx_pool_t *pool, sb_str_t s)
{
    return escape(pool, s, is_control);
}

static ngx_table_elt_t *
push_text(ngx_http_request_t *r, ngx_list_t *list, sb_str_t name, sb_str_t value)
{
    u_char *text = ngx_pnalloc(r->pool, 2 * name.len + value.len + 3);
    ngx_table_elt_t *h = text != NULL ? ngx_list_push(list) : NULL;

    if (h == NULL)
        return NULL;
    ngx_memzero(h, sizeof(*h));
    h->key = (ngx_str_t){name.len, text};
    text = ngx_cpymem(text, name.data, name.len);
    *text++ = '\0';
    h->value = (ngx_str_t){value.len, text};
    text = ngx_cpymem(text, value.data, value.len);
    *text++ = '\0';
    h->lowcase_key = text;
    ngx_strlow(text, (u_char *)name.data, name.len);
    text[name.len] = '\0';
    h->hash = ngx_hash_key(text, name.len);
    return h;
}

static ngx_table_elt_t *
push(ngx_http_request_t *r, ngx_list_t *list, sb_str_t name, sb_str_t value)
{
    name = escape(r->pool, name, is_not_token);
    value = sb_header_text(r->pool, value);
    return name.data != NULL && value.data != NULL ? push_text(r, list, name, value) : NULL;
}

/* ---- answers ---- */

/* Content-Type and Content-Length are members only. true: it was one of them. */
static bool
set_entity_header(ngx_http_request_t *r, sb_str_t name, sb_str_t value, ngx_int_t *rc)
{
    u_char *text;

    if (sb_str_ieq(name, SB_STR("content-type"))) {
        value = sb_header_text(r->pool, value);
        text = ngx_pnalloc(r->pool, value.len + 1);
        *rc = text != NULL ? NGX_OK : NGX_ERROR;
        if (text != NULL)
            memcpy(text, value.data, value.len);
        r->headers_out.content_type = (ngx_str_t){text != NULL ? value.len : 0, text};
        r->headers_out.content_type_len = r->headers_out.content_type.len;
        r->headers_out.content_type_lowcase = NULL;
        r->headers_out.charset.len = 0;
        return true;
    }
    if (sb_str_ieq(name, SB_STR("content-length"))) {
        off_t n = value.len != 0 ? ngx_atoof((u_char *)value.data, value.len) : NGX_ERROR;
        ngx_http_clear_content_length(r);
        if (n != NGX_ERROR)
            r->headers_out.content_length_n = n;
        *rc = NGX_OK;
        return true;
    }
    return false;
}

void
sb_headers_out_clear(ngx_http_request_t *r, sb_str_t name)
{
    ngx_table_elt_t **member = out_member(r, name);
    ngx_int_t rc;

    if (set_entity_header(r, name, (sb_str_t){"", 0}, &rc))
        return;
    remove_all(&r->headers_out.headers, name);
    if (member != NULL)
        *member = NULL;
    if (sb_str_ieq(name, SB_STR("last-modified"))) {
        r->headers_out.last_modified_time = -1;
    }
}

ngx_int_t
sb_headers_out_add(ngx_http_request_t *r, sb_str_t name, sb_str_t value)
{
    ngx_table_elt_t *h, **member = out_member(r, name);
    ngx_int_t rc;

    if (set_entity_header(r, name, value, &rc))
        return rc;
    h = push(r, &r->headers_out.headers, name, value);
    if (h != NULL && member != NULL)
        *member = h;
    return h != NULL ? NGX_OK : NGX_ERROR;
}

ngx_int_t
sb_headers_out_set(ngx_http_request_t *r, sb_str_t name, sb_str_t value)
{
    sb_headers_out_clear(r, name);
    return sb_headers_out_add(r, name, value);
}

/* ---- requests ---- */

/* Where nginx notes this header of a request; NULL: nowhere, or as one of several. */
static ngx_table_elt_t **
in_member(ngx_http_request_t *r, const ngx_table_elt_t *h)
{
    ngx_http_core_main_conf_t *cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    ngx_http_header_t *hh = ngx_hash_find(&cmcf->headers_in_hash, h->hash, h->lowcase_key, h->key.len);

    if (hh == NULL || sb_str_eqc((sb_str_t){(char *)h->lowcase_key, h->key.len}, "cookie") ||
        sb_str_eqc((sb_str_t){(char *)h->lowcase_key, h->key.len}, "x-forwarded-for"))
        return NULL;
    return (ngx_table_elt_t **)((char *)&r->headers_in + hh->offset);
}

void
sb_headers_in_clear(ngx_http_request_t *r, sb_str_t name)
{
    for (ngx_list_part_t *part = &r->headers_in.headers.part; part != NULL; part = part->next) {
        ngx_table_elt_t *h = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            ngx_table_elt_t **member = named(&h[i], name) ? in_member(r, &h[i]) : NULL;
            if (member != NULL && *member == &h[i])
                *member = NULL;
        }
    }
    remove_all(&r->headers_in.headers, name);
}

ngx_int_t
sb_headers_in_add(ngx_http_request_t *r, sb_str_t name, sb_str_t value)
{
    ngx_table_elt_t *h = push(r, &r->headers_in.headers, name, value), **member;

    if (h == NULL)
        return NGX_ERROR;
    member = in_member(r, h);
    if (member != NULL)
        *member = h;
    return NGX_OK;
}

ngx_int_t
sb_headers_in_set(ngx_http_request_t *r, sb_str_t name, sb_str_t value)
{
    sb_headers_in_clear(r, name);
    return sb_headers_in_add(r, name, value);
}

/* ---- values ---- */

bool
sb_header_list_has(const ngx_str_t *list, const ngx_str_t *name)
{
    const u_char *p = list->data, *end = p + list->len;

    while (p < end) {
        const u_char *start, *stop;
        while (p < end && (*p == ' ' || *p == '\t' || *p == ','))
            p++;
        for (start = p; p < end && *p != ','; p++)
            ;
        for (stop = p; stop > start && (stop[-1] == ' ' || stop[-1] == '\t'); stop--)
            ;
        if ((size_t)(stop - start) == name->len && ngx_strncasecmp((u_char *)start, name->data, name->len) == 0)
            return true;
    }
    return false;
}
