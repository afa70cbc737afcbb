/* Pages: size, offset and tags from the query, the answer with its link to the next page. `sort_by`, `sort_desc` and others are ignored. */
#include "core/admin/admin_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TAGS 5

static int
read_size(sb_admin_call_t *c, sb_admin_page_t *p)
{
    char *end;
    double v;

    p->size_text = sb_admin_query(c, "size");
    if (p->size_text == NULL)
        return SB_OK;
    v = strtod(p->size_text, &end);
    if (end == p->size_text || *end != '\0' || isnan(v))
        return sb_err_set(&c->err, SB_E_INVALID_SIZE, "size must be a number");
    if (v < 1 || v > 1000 || v != floor(v))
        return sb_err_set(&c->err, SB_E_INVALID_SIZE, "size must be an integer between 1 and 1000");
    p->opts.size = (size_t)v;
    return SB_OK;
}

static int
bad_tags(sb_admin_call_t *c, const char *text)
{
    return sb_err_set_fields(&c->err, SB_E_INVALID_OPTIONS, json_pack("{s:s}", "tags", text), "invalid option (tags: %s)", text);
}

static int
read_tags(sb_admin_call_t *c, sb_admin_page_t *p)
{
    const char *at;
    char separator;
    size_t n = 0;

    if (json_object_get(c->query, "tags") == NULL)
        return SB_OK;
    p->tags_text = sb_admin_query(c, "tags");
    if (p->tags_text[0] == '\0')
        return bad_tags(c, "cannot be null");
    separator = strchr(p->tags_text, '/') != NULL ? '/' : ',';
    if (separator == '/' && strchr(p->tags_text, ',') != NULL)
        return bad_tags(c, "invalid filter syntax");
    p->tags = sb_calloc((MAX_TAGS + 1) * sizeof(*p->tags));
    for (at = p->tags_text;; at++) {
        size_t len = (size_t)(strchrnul(at, separator) - at);

        if (len == 0 || n == MAX_TAGS)
            return bad_tags(c, "invalid filter syntax");
        p->tags[n++] = sb_strdup_len(at, len);
        at += len;
        if (*at == '\0')
            break;
    }
    p->opts.tags = (const char *const *)p->tags;
    p->opts.tags_any = separator == '/';
    return SB_OK;
}

int
sb_admin_page_read(sb_admin_call_t *c, bool with_tags, sb_admin_page_t *p)
{
    int rc;

    *p = (sb_admin_page_t){0};
    p->opts.offset = sb_admin_query(c, "offset");
    rc = read_size(c, p);
    if (rc == SB_OK && with_tags)
        rc = read_tags(c, p);
    if (rc != SB_OK)
        sb_admin_page_free(p);
    return rc;
}

void
sb_admin_page_free(sb_admin_page_t *p)
{
    for (char **t = p->tags; t != NULL && *t != NULL; t++)
        free(*t);
    free(p->tags);
    *p = (sb_admin_page_t){0};
}

static void
add_arg(sb_buf_t *url, const char *name, const char *value)
{
    char *text;

    if (value == NULL)
        return;
    text = sb_admin_escape(value);
    sb_buf_addf(url, "&%s=%s", name, text);
    free(text);
}

int
sb_admin_answer_page(sb_admin_call_t *c, json_t *rows, char *token, const char *path, const sb_admin_page_t *p)
{
    json_t *body = json_pack("{s:o,s:n}", "data", rows, "next");
    sb_buf_t url = {0};
    char *text;

    if (token != NULL) {
        text = sb_admin_escape(token);
        sb_buf_addf(&url, "%s%s?offset=%s", c->prefix != NULL ? c->prefix : "", path, text);
        if (p != NULL) {
            add_arg(&url, "tags", p->tags_text);
            add_arg(&url, "size", p->size_text);
        }
        json_object_set_new(body, "next", json_string(url.data));
        json_object_set_new(body, "offset", json_string(token));
        free(text);
        sb_buf_free(&url);
        free(token);
    }
    return sb_admin_answer(c, 200, body);
}
