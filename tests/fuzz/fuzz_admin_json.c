/*
 * Lines "METHOD path[?query]", each followed by a line with a JSON body, through sb_admin_handle() in one transaction: later calls see
 * what earlier ones wrote. No input may lead to a 500 or an incomplete answer.
 */
#include "core/admin/admin.h"
#include "core/base/json.h"
#include "fuzz.h"

#define CALLS_MAX 8

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
    SB_ASSERT(sb_store_open(&sb_store_sqlite, &cfg, &store, &err) == SB_OK);
    admin = sb_admin_new(&host);
}

static void
call(sb_str_t line, sb_str_t body)
{
    sb_admin_request_t req = {.content_type = SB_STR("application/json"), .body = body};
    const char *space = line.len != 0 ? memchr(line.data, ' ', line.len) : NULL, *mark;
    sb_admin_response_t res;
    json_t *answer;

    if (space == NULL)
        return;
    req.method = (sb_str_t){line.data, (size_t)(space - line.data)};
    req.path = (sb_str_t){space + 1, line.len - req.method.len - 1};
    mark = req.path.len != 0 ? memchr(req.path.data, '?', req.path.len) : NULL;
    if (mark != NULL) {
        req.query = (sb_str_t){mark + 1, (size_t)(req.path.data + req.path.len - mark - 1)};
        req.path.len = (size_t)(mark - req.path.data);
    }
    sb_admin_handle(admin, store, &req, &res);
    SB_ASSERT(res.status >= 200 && res.status <= 599 && res.status != 500);
    if (res.body_len != 0) {
        answer = sb_json_parse(res.body, res.body_len, NULL);
        SB_ASSERT(answer != NULL);
        json_decref(answer);
    }
    sb_admin_response_free(&res);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sb_str_t in = {(const char *)data, size}, line;
    sb_err_t err = {0};

    open_once();
    SB_ASSERT(sb_store_begin(store, &err) == SB_OK);
    for (int i = 0; i < CALLS_MAX && in.len != 0; i++) {
        line = fuzz_line(&in);
        call(line, fuzz_line(&in));
    }
    sb_store_rollback(store);
    return 0;
}
