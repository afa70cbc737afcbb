/*
 * Bodies: the service's answer cut out of its framing (length, chunks, end of connection), for nginx's buffered and unbuffered
 * ways of reading it, and the client's unbuffered body put into chunks.
 */
#include "proxy/exchange.h"

static ngx_int_t chunked_pipe(ngx_event_pipe_t *p, ngx_buf_t *buf);
static ngx_int_t chunked_plain(void *data, ssize_t bytes);

/* The answer is complete: the connection may serve again. */
static void
complete(ngx_http_upstream_t *u)
{
    u->keepalive = !u->headers_in.connection_close;
}

bool
sb_upstream_no_body(ngx_http_request_t *r)
{
    const ngx_http_upstream_t *u = r->upstream;
    ngx_uint_t status = u->headers_in.status_n;

    return status == NGX_HTTP_NO_CONTENT || status == NGX_HTTP_NOT_MODIFIED || r->method == NGX_HTTP_HEAD ||
           (!u->headers_in.chunked && u->headers_in.content_length_n == 0);
}

ngx_int_t
sb_upstream_filter_init(void *data)
{
    ngx_http_request_t *r = data;
    ngx_http_upstream_t *u = r->upstream;

    if (sb_upstream_no_body(r)) {
        u->pipe->length = 0;
        u->length = 0;
    } else if (u->headers_in.chunked) {
        u->pipe->input_filter = chunked_pipe;
        u->pipe->length = 3; /* "0" CR LF at least */
        u->input_filter = chunked_plain;
        u->length = 1;
        return sb_trailers_expect(sb_ctx(r)->exchange);
    } else {
        u->pipe->length = u->headers_in.content_length_n;
        u->length = u->headers_in.content_length_n;
    }
    return NGX_OK;
}

/* ---- by length ---- */

ngx_int_t
sb_upstream_copy(ngx_event_pipe_t *p, ngx_buf_t *buf)
{
    ngx_http_request_t *r = p->input_ctx;
    bool exact = p->length == buf->last - buf->pos;
    ngx_int_t rc = ngx_event_pipe_copy_input_filter(p, buf);

    if (rc == NGX_OK && p->length == 0 && exact) {
        p->upstream_done = 1;
        complete(r->upstream);
    }
    return rc;
}

ngx_int_t
sb_upstream_plain(void *data, ssize_t bytes)
{
    ngx_http_request_t *r = data;
    bool exact = r->upstream->length == bytes;
    ngx_int_t rc = ngx_http_upstream_non_buffered_filter(r, bytes);

    if (rc == NGX_OK && exact)
        complete(r->upstream);
    return rc;
}

/* ---- chunks ---- */

/* The next bytes of a raw buffer as a buffer of its own in the pipe's list of input. It has the whole raw buffer's bounds: by them the pipe
 * knows how much of its room is taken, and leaves one raw buffer free of what waits for the client. */
static ngx_buf_t *
piece(ngx_event_pipe_t *p, const ngx_buf_t *raw, size_t size)
{
    ngx_chain_t *link = ngx_chain_get_free_buf(p->pool, &p->free);
    ngx_buf_t *b;

    if (link == NULL)
        return NULL;
    b = link->buf;
    ngx_memzero(b, sizeof(*b));
    b->start = raw->start;
    b->end = raw->end;
    b->pos = raw->pos;
    b->last = raw->pos + size;
    b->tag = p->tag;
    b->temporary = 1;
    b->recycled = 1;
    if (p->in != NULL)
        *p->last_in = link;
    else
        p->in = link;
    p->last_in = &link->next;
    return b;
}

/* Where the chunks make no sense the answer breaks off, as if its connection had: what came before goes out. */
static void
break_off(ngx_http_request_t *r, sb_exchange_t *x)
{
    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "upstream sent invalid chunked response");
    x->broken = true;
}

/* The next step of the parser, whose framing is looked at for trailers too. NGX_OK: data comes; NGX_DONE: the answer is complete;
 * NGX_AGAIN: the buffer ends here; NGX_ERROR: the framing is bad, or no memory. */
static ngx_int_t
parse(ngx_http_request_t *r, ngx_buf_t *buf, sb_exchange_t *x)
{
    const u_char *from = buf->pos;
    ngx_int_t rc = ngx_http_parse_chunked(r, buf, &x->chunked);

    if (x->trailers == NULL || rc == NGX_ERROR)
        return rc;
    if (sb_trailers_framing(x, from, buf->pos) != NGX_OK)
        return NGX_ERROR;
    return rc == NGX_DONE && sb_trailers_done(x) != NGX_OK ? NGX_ERROR : rc;
}

/* Cuts a raw buffer into the pieces that hold data. They are linked by shadow, the last one to the raw buffer, which nginx then
 * takes back once that piece was sent. */
static ngx_int_t
chunked_pipe(ngx_event_pipe_t *p, ngx_buf_t *buf)
{
    ngx_http_request_t *r = p->input_ctx;
    sb_exchange_t *x = sb_ctx(r)->exchange;
    ngx_buf_t *b = NULL, **link = &buf->shadow;
    ngx_int_t rc;

    if (buf->pos == buf->last || p->upstream_done || x->broken)
        return NGX_OK;
    while ((rc = parse(r, buf, x)) == NGX_OK) {
        size_t size = (size_t)ngx_min((off_t)(buf->last - buf->pos), x->chunked.size);
        b = piece(p, buf, size);
        if (b == NULL)
            return NGX_ERROR;
        *link = b;
        link = &b->shadow;
        buf->pos += size;
        x->chunked.size -= (off_t)size;
    }
    if (rc == NGX_DONE) {
        p->upstream_done = 1;
        p->length = 0;
        if (buf->pos == buf->last)
            complete(r->upstream);
    } else if (rc == NGX_AGAIN)
        p->length = x->chunked.length;
    else {
        break_off(r, x);
        p->upstream_error = 1;
    }
    if (b == NULL)
        return ngx_event_pipe_add_free_buf(p, buf);
    b->shadow = buf;
    b->last_shadow = 1;
    return NGX_OK;
}

static ngx_int_t
add_out(ngx_http_upstream_t *u, ngx_pool_t *pool, u_char *pos, size_t size, ngx_chain_t ***tail)
{
    ngx_chain_t *link = ngx_chain_get_free_buf(pool, &u->free_bufs);

    if (link == NULL)
        return NGX_ERROR;
    link->buf->flush = 1;
    link->buf->memory = 1;
    link->buf->pos = pos;
    link->buf->last = pos + size;
    link->buf->tag = u->output.tag;
    **tail = link;
    *tail = &link->next;
    return NGX_OK;
}

static ngx_int_t
chunked_plain(void *data, ssize_t bytes)
{
    ngx_http_request_t *r = data;
    ngx_http_upstream_t *u = r->upstream;
    sb_exchange_t *x = sb_ctx(r)->exchange;
    ngx_buf_t *buf = &u->buffer;
    ngx_chain_t **tail = &u->out_bufs;
    ngx_int_t rc;

    if (x->broken)
        return NGX_OK;
    while (*tail != NULL)
        tail = &(*tail)->next;
    buf->pos = buf->last;
    buf->last += bytes;
    while ((rc = parse(r, buf, x)) == NGX_OK) {
        size_t size = (size_t)ngx_min((off_t)(buf->last - buf->pos), x->chunked.size);
        if (add_out(u, r->pool, buf->pos, size, &tail) != NGX_OK)
            return NGX_ERROR;
        buf->pos += size;
        x->chunked.size -= (off_t)size;
    }
    if (rc == NGX_DONE) {
        if (buf->pos == buf->last)
            complete(u);
        u->length = 0;
        return NGX_OK;
    }
    if (rc != NGX_AGAIN) {
        break_off(r, x);
        u->error = 1;
    }
    return NGX_OK;
}

/* ---- the client's body, unbuffered, in chunks ---- */

static ngx_chain_t *
framing(ngx_http_request_t *r, sb_exchange_t *x, size_t room)
{
    ngx_chain_t *link = ngx_chain_get_free_buf(r->pool, &x->free);
    ngx_buf_t *b;

    if (link == NULL)
        return NULL;
    b = link->buf;
    if (b->start == NULL || (size_t)(b->end - b->start) < room) {
        b->start = ngx_palloc(r->pool, room);
        if (b->start == NULL)
            return NULL;
        b->end = b->start + room;
    }
    b->tag = r->upstream->output.tag;
    b->memory = 0;
    b->temporary = 1;
    b->flush = 0;
    b->pos = b->last = b->start;
    return link;
}

/* A list under construction. */
struct list {
    ngx_chain_t *first, **tail;
};

static void
append(struct list *l, ngx_chain_t *link)
{
    *l->tail = link;
    while (*l->tail != NULL)
        l->tail = &(*l->tail)->next;
}

static ngx_int_t
append_text(ngx_http_request_t *r, sb_exchange_t *x, struct list *l, const char *text)
{
    ngx_chain_t *link = framing(r, x, 32);

    if (link == NULL)
        return NGX_ERROR;
    link->buf->last = ngx_cpymem(link->buf->last, text, strlen(text));
    link->next = NULL;
    append(l, link);
    return NGX_OK;
}

/* The data of `in`, linked anew; its size is added up, and whether it ends the body is noted. */
static ngx_int_t
collect(ngx_http_request_t *r, ngx_chain_t *in, struct list *l, off_t *size, bool *last)
{
    for (; in != NULL; in = in->next) {
        ngx_chain_t *link;
        *last = *last || in->buf->last_buf;
        if (ngx_buf_size(in->buf) == 0)
            continue;
        *size += ngx_buf_size(in->buf);
        link = ngx_alloc_chain_link(r->pool);
        if (link == NULL)
            return NGX_ERROR;
        link->buf = in->buf;
        link->next = NULL;
        append(l, link);
    }
    return NGX_OK;
}

/* What came together goes out as one chunk. */
static ngx_int_t
frame(ngx_http_request_t *r, sb_exchange_t *x, ngx_chain_t *in, struct list *out)
{
    struct list body = {.tail = &body.first};
    off_t size = 0;
    bool last = false;
    char line[32];

    if (collect(r, in, &body, &size, &last) != NGX_OK)
        return NGX_ERROR;
    if (size != 0) {
        snprintf(line, sizeof(line), "%llx\r\n", (unsigned long long)size);
        if (append_text(r, x, out, line) != NGX_OK)
            return NGX_ERROR;
        append(out, body.first);
        if (append_text(r, x, out, last ? "\r\n0\r\n\r\n" : "\r\n") != NGX_OK)
            return NGX_ERROR;
    } else if (last && append_text(r, x, out, "0\r\n\r\n") != NGX_OK)
        return NGX_ERROR;
    return NGX_OK;
}

ngx_int_t
sb_upstream_chunked_output(void *data, ngx_chain_t *in)
{
    ngx_http_request_t *r = data;
    sb_exchange_t *x = sb_ctx(r)->exchange;
    struct list out = {.tail = &out.first};
    ngx_chain_t *head;
    ngx_int_t rc;

    if (in != NULL && !x->head_sent) {
        head = ngx_alloc_chain_link(r->pool);
        if (head == NULL)
            return NGX_ERROR;
        x->head_sent = true;
        head->buf = in->buf;
        head->next = NULL;
        append(&out, head);
        in = in->next;
    }
    if (in != NULL && frame(r, x, in, &out) != NGX_OK)
        return NGX_ERROR;
    rc = ngx_chain_writer(&r->upstream->writer, out.first);
    ngx_chain_update_chains(r->pool, &x->free, &x->busy, &out.first, r->upstream->output.tag);
    return rc;
}
