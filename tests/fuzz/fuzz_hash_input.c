/*
 * Fuzz target: what a request is hashed by (src/proxy/hash_input.c), from the client's cookies, headers and query. The first line is the
 * input's kind (a digit, enum sb_hash_on) and its name, the second the query, each of the others a header of that name, or a Cookie.
 *
 * hash_input.c is built against nginx's headers; the few functions of nginx and of the proxy that it calls are here, with memory that is
 * never longer than asked for.
 */
#include "proxy/hash_input.c"

#include "fuzz.h"

#define MAX_LINES  64
#define MAX_BLOCKS 65536

/* ---- what nginx and the proxy would be ---- */

static sb_str_t lines[MAX_LINES];
static int n_lines, n_blocks, cookies_set;
static void *blocks[MAX_BLOCKS];
static sb_str_t cookie_set;

void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    SB_ASSERT(n_blocks < MAX_BLOCKS);
    blocks[n_blocks] = malloc(size != 0 ? size : 1);
    SB_ASSERT(blocks[n_blocks] != NULL);
    return blocks[n_blocks++];
}

ngx_int_t
ngx_atoi(u_char *line, size_t n)
{
    ngx_int_t value = 0;

    if (n == 0 || n > 9)
        return NGX_ERROR;
    for (; n != 0; n--, line++) {
        if (*line < '0' || *line > '9')
            return NGX_ERROR;
        value = value * 10 + (*line - '0');
    }
    return value;
}

sb_str_t
sb_request_copy(ngx_http_request_t *r, const char *data, size_t len)
{
    char *copy = ngx_pnalloc(r->pool, len);

    memcpy(copy, data, len);
    return (sb_str_t){copy, len};
}

bool
sb_request_header_find(ngx_http_request_t *r, sb_str_t name, int n, sb_str_t *value)
{
    if (n >= n_lines)
        return false;
    *value = lines[n];
    return true;
}

ngx_int_t
sb_headers_out_add(ngx_http_request_t *r, sb_str_t name, sb_str_t value)
{
    SB_ASSERT(sb_str_eqc(name, "Set-Cookie"));
    cookies_set++;
    cookie_set = value;
    return NGX_OK;
}

static void
free_blocks(void)
{
    while (n_blocks > 0)
        free(blocks[--n_blocks]);
}

/* ---- what must hold ---- */

/* The same again; the made-up cookie alone is new each time. */
static uint32_t
hash(const sb_ups_t *u, sb_ctx_t *ctx, ngx_http_request_t *r)
{
    uint32_t h;

    cookies_set = 0;
    h = sb_hash_request(u, ctx, r);
    if (cookies_set == 0)
        SB_ASSERT(sb_hash_request(u, ctx, r) == h && cookies_set == 0);
    return h;
}

/* "name=<uuid>; Path=/p; …", once, when the client has none; and the hash is that of the id. */
static void
check_cookie(const sb_ups_t *u, uint32_t h)
{
    sb_str_t name = u->hash[0].name;

    SB_ASSERT(cookies_set <= 1);
    if (cookies_set == 0)
        return;
    SB_ASSERT(cookie_set.len > name.len + 1 + SB_UUID_TEXT && memcmp(cookie_set.data, name.data, name.len) == 0);
    SB_ASSERT(cookie_set.data[name.len] == '=' && cookie_set.data[name.len + 1 + SB_UUID_TEXT] == ';');
    SB_ASSERT(sb_xxh32(cookie_set.data + name.len + 1, SB_UUID_TEXT) == h);
}

/* The values of an argument count, not their order: the query backwards hashes alike. (No name is empty, as the empty argument behind a
 * last
 * "&" is none.) */
static void
check_order(const sb_ups_t *u, sb_ctx_t *ctx, ngx_http_request_t *r, uint32_t h)
{
    sb_str_t query = sb_ngx_str(r->args), rest = query, name, value;
    char *turned = ngx_pnalloc(NULL, query.len + 1), *p = turned + query.len + 1;
    size_t n = 0;

    while (sb_args_next(&rest, &name, &value)) {
        size_t len = name.len + (value.data != NULL ? 1 + value.len : 0);
        *--p = '&';
        p -= len;
        memcpy(p, name.data, len);
        n++;
    }
    if (n == 0 || n > MAX_VALUES || u->hash[0].name.len == 0)
        return;
    r->args = (ngx_str_t){(size_t)(turned + query.len + 1 - p) - 1, (u_char *)p};
    SB_ASSERT(hash(u, ctx, r) == h);
}

/* Several headers are taken together. */
static void
check_headers(uint32_t h)
{
    char *all, *p;
    size_t len = 0;

    for (int i = 0; i < n_lines; i++)
        len += lines[i].len;
    all = p = ngx_pnalloc(NULL, len);
    for (int i = 0; i < n_lines; i++) {
        memcpy(p, lines[i].data, lines[i].len);
        p += lines[i].len;
    }
    SB_ASSERT(sb_xxh32(all, len) == h);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size != 0 ? size : 1); /* as long as the input, so that reading past it shows */
    sb_str_t text = {copy, size}, first, query;
    ngx_http_request_t *r = calloc(1, sizeof(*r));
    sb_ctx_t ctx = {.r = r};
    ngx_connection_t connection = {.addr_text = ngx_string("192.0.2.1")};
    sb_ups_t u = {.cookie_path = SB_STR("/p")};
    uint32_t h;

    SB_ASSERT(copy != NULL && r != NULL);
    memcpy(copy, data, size);
    first = fuzz_line(&text);
    query = fuzz_line(&text);
    for (n_lines = 0; n_lines < MAX_LINES && text.len != 0;)
        lines[n_lines++] = fuzz_line(&text);
    u.hash[0].on = first.len != 0 ? (enum sb_hash_on)((unsigned char)first.data[0] % (SB_HASH_URI_CAPTURE + 1)) : SB_HASH_NONE;
    u.hash[0].name = first.len != 0 ? (sb_str_t){first.data + 1, first.len - 1} : first;
    r->main = r;
    r->connection = &connection;
    r->args = r->uri = (ngx_str_t){query.len, (u_char *)query.data};
    h = hash(&u, &ctx, r);
    if (u.hash[0].on == SB_HASH_COOKIE)
        check_cookie(&u, h);
    else if (u.hash[0].on == SB_HASH_QUERY_ARG)
        check_order(&u, &ctx, r, h);
    else if (u.hash[0].on == SB_HASH_HEADER)
        check_headers(h);
    free_blocks();
    free(r);
    free(copy);
    return 0;
}
