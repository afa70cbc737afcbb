/* A page's offset: the input as it is, and as what a token wraps, on every entity and on the listing of tags. */
#include "core/base/json.h"
#include "core/entities/entities.h"
#include "core/store/store.h"
#include "core/store/store_int.h"
#include "fuzz.h"

static sb_store_t *store;

static void
open_once(void)
{
    sb_store_config_t cfg = {.in_memory = true};
    sb_err_t err = {0};

    if (store != NULL)
        return;
    sb_entities_init();
    SB_ASSERT(sb_store_open(&sb_store_sqlite, &cfg, &store, &err) == SB_OK);
    SB_ASSERT(sb_store_begin(store, &err) == SB_OK);
    for (int i = 0; i < 4; i++) {
        json_t *row = NULL, *in = json_pack("{s:o,s:[s,s]}", "username", json_sprintf("u%d", i), "tags", "x", "y");

        SB_ASSERT(sb_dao_insert(store, sb_entity_find("consumers"), in, NULL, &row, &err) == SB_OK);
        json_decref(in);
        json_decref(row);
    }
}

static void
page(const char *token)
{
    sb_page_opts_t opts = {.size = 2, .offset = token};
    const sb_entity_t *const *all;
    json_t *rows = NULL;
    char *next = NULL;
    size_t n;

    all = sb_entities_all(&n);
    for (size_t i = 0; i <= n; i++) {
        sb_err_t err = {0};
        int rc;

        if (i < n && strcmp(all[i]->name, "tags") == 0) /* has no table of its own: it is the last one asked for */
            continue;
        rc = i < n ? sb_dao_page(store, all[i], &opts, &rows, &next, &err) : sb_dao_tags(store, NULL, &opts, &rows, &next, &err);

        SB_ASSERT(rc == SB_OK ? json_is_array(rows) : rc == SB_DECLINED && err.code == SB_E_INVALID_OFFSET);
        sb_err_clear(&err);
        json_decref(rows);
        free(next);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = sb_strdup_len((const char *)data, size), *token;
    json_t *values = sb_json_parse(text, strlen(text), NULL);

    open_once();
    page(text);
    if (values != NULL) {
        token = sb_store_token_make(values);
        page(token);
        free(token);
    }
    json_decref(values);
    free(text);
    return 0;
}
