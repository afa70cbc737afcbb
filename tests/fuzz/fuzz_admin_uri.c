/* A request line of the Admin API: path, query and a form body from one input, through the whole of sb_admin_handle(). */
#include "core/admin/admin.h"

#include <stdlib.h>
#include <string.h>

static sb_store_t *store;
static sb_admin_t *admin;

static void
open_once(void)
{
    sb_store_config_t cfg = {.in_memory = true};
    sb_admin_host_t host = {0};
    sb_err_t err = {0};

    if (admin != NULL)
        return;
    sb_entities_init();
    if (sb_store_open(&sb_store_sqlite, &cfg, &store, &err) != SB_OK)
        abort();
    admin = sb_admin_new(&host);
}

/* As a line of a log, in memory of just the size that is promised to be enough. */
static void
hide(const char *line, size_t len)
{
    size_t size = 3 * len + 4;
    char *out = malloc(size);

    if (out == NULL || sb_admin_hide_secrets((sb_str_t){line, len}, line[0] == '=', out, size) == size)
        abort();
    sb_admin_hide_secrets((sb_str_t){line, len}, false, out, len / 2);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* First byte: the method; then path?query, a NUL, the body. Every answer must be complete. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "X"};
    const char *text = (const char *)data + 1, *end, *mark;
    sb_admin_request_t req = {.content_type = SB_STR("application/x-www-form-urlencoded")};
    sb_admin_response_t res;
    sb_err_t err = {0};

    open_once();
    if (len < 2)
        return 0;
    len--;
    hide(text, len);
    end = memchr(text, '\0', len);
    end = end != NULL ? end : text + len;
    mark = memchr(text, '?', (size_t)(end - text));
    req.method = (sb_str_t){methods[data[0] & 7], strlen(methods[data[0] & 7])};
    req.path = (sb_str_t){text, (size_t)((mark != NULL ? mark : end) - text)};
    if (mark != NULL)
        req.query = (sb_str_t){mark + 1, (size_t)(end - mark - 1)};
    if (end < text + len)
        req.body = (sb_str_t){end + 1, (size_t)(text + len - end - 1)};
    if (sb_store_begin(store, &err) != SB_OK)
        abort();
    sb_admin_handle(admin, store, &req, &res);
    if (res.status < 200 || res.status > 599 || res.status == 500)
        abort();
    sb_store_rollback(store);
    sb_admin_response_free(&res);
    return 0;
}
