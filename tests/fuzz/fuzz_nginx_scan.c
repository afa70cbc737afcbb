/* Fuzz target: the input is the text of an nginx configuration. The directives that are found lie in it one behind the other. */
#include "core/base/nginx_scan.h"
#include "fuzz.h"

typedef struct seen {
    size_t len, end, line;
} seen_t;

static int
check(const sb_nginx_directive_t *d, void *arg, sb_err_t *err)
{
    seen_t *seen = arg;

    SB_ASSERT(d->n_words > 0 && d->start >= seen->end && d->start < d->end && d->end <= seen->len);
    SB_ASSERT(d->line >= seen->line && d->depth < SB_NGINX_SCAN_DEPTH + 1 && (d->depth > 0 || d->block[0] == '\0'));
    for (size_t i = 0; i < d->n_words; i++)
        SB_ASSERT(strlen(d->words[i]) <= d->end - d->start);
    seen->end = d->end;
    seen->line = d->line;
    return SB_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size != 0 ? size : 1); /* as long as the input, so that reading past it shows */
    seen_t seen = {.len = size, .line = 1};
    sb_err_t err = {0};
    size_t line = 0;
    int rc;

    SB_ASSERT(copy != NULL);
    memcpy(copy, data, size);
    rc = sb_nginx_scan(copy, size, check, &seen, &line, &err);
    SB_ASSERT(rc == SB_OK || (rc == SB_DECLINED && err.message != NULL && strncmp(err.message, "line ", 5) == 0 && line > 0));
    sb_err_clear(&err);
    free(copy);
    return 0;
}
