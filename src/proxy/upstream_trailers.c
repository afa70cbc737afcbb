/*
 * Trailers of a service's answer. While its chunks are parsed (upstream_body.c), the section behind the last one is kept, and when it is
 * complete its fields become r->headers_out.trailers, which nginx sends behind the body: in the last chunk by HTTP/1.1, as a frame of
 * headers by HTTP/2 and HTTP/3. Who speaks HTTP/1.1 gets them when he asked (TE: trailers).
 *
 * Memory is taken when the first byte of a section comes. A section beyond SECTION_MAX is dropped whole; the answer stays good.
 */
#include "proxy/exchange.h"
#include "proxy/trailer_text.h"

#define SECTION_MAX 8192

struct sb_trailers {
    sb_last_chunk_t place;
    u_char *section;
    size_t len, room;
    bool dropped;
};

bool
sb_upstream_te_trailers(ngx_http_request_t *r)
{
    ngx_table_elt_t *te = r->headers_in.te;

    return te != NULL && te->hash != 0 && sb_header_list_has(&te->value, &(ngx_str_t)ngx_string("trailers"));
}

ngx_int_t
sb_trailers_expect(sb_exchange_t *x)
{
    ngx_http_request_t *r = x->r;

    x->trailers = NULL;
    if (r->http_version < NGX_HTTP_VERSION_11 || (r->http_version == NGX_HTTP_VERSION_11 && !sb_upstream_te_trailers(r)))
        return NGX_OK;
    x->trailers = ngx_pcalloc(r->pool, sizeof(*x->trailers));
    return x->trailers != NULL ? NGX_OK : NGX_ERROR;
}

static ngx_int_t
grow(ngx_pool_t *pool, struct sb_trailers *t, size_t need)
{
    size_t room = ngx_max(need, t->room * 2);
    u_char *more = ngx_pnalloc(pool, room);

    if (more == NULL)
        return NGX_ERROR;
    if (t->len != 0)
        memcpy(more, t->section, t->len);
    t->section = more;
    t->room = room;
    return NGX_OK;
}

static ngx_int_t
keep(sb_exchange_t *x, const u_char *bytes, size_t n)
{
    struct sb_trailers *t = x->trailers;

    if (n == 0 || t->dropped)
        return NGX_OK;
    if (t->len + n > SECTION_MAX) {
        ngx_log_error(NGX_LOG_WARN, x->r->connection->log, 0, "upstream sent too large trailers, they are dropped");
        t->dropped = true;
        return NGX_OK;
    }
    if (t->len + n > t->room && grow(x->r->pool, t, t->len + n) != NGX_OK)
        return NGX_ERROR;
    memcpy(t->section + t->len, bytes, n);
    t->len += n;
    return NGX_OK;
}

ngx_int_t
sb_trailers_framing(sb_exchange_t *x, const u_char *from, const u_char *to)
{
    size_t n = (size_t)(to - from), before = sb_last_chunk_find(&x->trailers->place, from, n);

    return keep(x, from + before, n - before);
}

/* The service's Connection header may name a trailer too. */
static bool
for_us_alone(const ngx_http_request_t *r, const ngx_str_t *name)
{
    const ngx_table_elt_t *connection = r->upstream->headers_in.connection;

    return connection != NULL && sb_header_list_has(&connection->value, name);
}

static ngx_int_t
add(ngx_http_request_t *r, const u_char *line, size_t len, const sb_header_line_t *at)
{
    ngx_str_t name = {at->name_len, (u_char *)line};
    ngx_table_elt_t *h;

    if (for_us_alone(r, &name))
        return NGX_OK;
    h = ngx_list_push(&r->headers_out.trailers);
    if (h == NULL)
        return NGX_ERROR;
    ngx_memzero(h, sizeof(*h));
    h->hash = at->hash != 0 ? at->hash : 1; /* 0 would leave it out */
    h->key = name;
    h->value = (ngx_str_t){at->value_len, (u_char *)line + at->value};
    return NGX_OK;
}

ngx_int_t
sb_trailers_done(sb_exchange_t *x)
{
    struct sb_trailers *t = x->trailers;
    const u_char *pos = t->section, *end = pos + t->len, *line;
    sb_header_line_t at;
    size_t len;

    if (t->len == 0 || t->dropped)
        return NGX_OK;
    while (sb_trailer_next(&pos, end, &line, &len)) {
        if (!sb_trailer_parse(line, len, &at)) {
            ngx_log_error(NGX_LOG_WARN, x->r->connection->log, 0, "upstream sent a trailer that cannot be one, it is dropped");
            continue;
        }
        if (add(x->r, line, len, &at) != NGX_OK)
            return NGX_ERROR;
    }
    return NGX_OK;
}

ngx_int_t
sb_trailers_move(ngx_http_request_t *from, ngx_http_request_t *to)
{
    for (ngx_list_part_t *part = &from->headers_out.trailers.part; part != NULL; part = part->next) {
        ngx_table_elt_t *h = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            ngx_table_elt_t *copy = ngx_list_push(&to->headers_out.trailers);
            if (copy == NULL)
                return NGX_ERROR;
            *copy = h[i];
            to->expect_trailers = 1; /* else a length would be announced, which HTTP/1.1 ends the answer by */
        }
    }
    return NGX_OK;
}
