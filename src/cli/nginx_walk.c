/* Walking over configuration files; see nginx_walk.h. */
#include "cli/nginx_walk.h"

#include "core/base/buf.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_INCLUDES 16 /* files that include one another */

typedef struct walk {
    const char *prefix;
    sb_nginx_walk_pt fn;
    void *arg;
    int depth;
    const char *block; /* that the present file stands in */
} walk_t;

static int walk_file(const char *path, walk_t *w, sb_err_t *err);

static int
walk_include(const char *name, const char *block, walk_t *w, sb_err_t *err)
{
    char *pattern = name[0] == '/' ? sb_asprintf("%s", name) : sb_asprintf("%s/%s", w->prefix, name);
    const char *outer = w->block;
    glob_t found = {0};
    int rc = SB_OK;

    if (w->depth < MAX_INCLUDES && glob(pattern, 0, NULL, &found) == 0) {
        w->depth++;
        w->block = block;
        for (size_t i = 0; i < found.gl_pathc && rc == SB_OK; i++)
            if (access(found.gl_pathv[i], R_OK) == 0)
                rc = walk_file(found.gl_pathv[i], w, err);
        w->block = outer;
        w->depth--;
    }
    globfree(&found);
    free(pattern);
    return rc;
}

static int
on_directive(const sb_nginx_directive_t *d, void *arg, sb_err_t *err)
{
    walk_t *w = arg;
    const char *block = d->depth > 0 ? d->block : w->block;

    if (strcmp(d->words[0], "include") == 0 && d->n_words == 2)
        return walk_include(d->words[1], block, w, err);
    return w->fn(d, block, w->arg, err);
}

static int
walk_file(const char *path, walk_t *w, sb_err_t *err)
{
    FILE *f = fopen(path, "re");
    sb_buf_t text = {0};
    char chunk[8192];
    size_t n;
    int rc;

    if (f == NULL) {
        sb_err_set(err, 0, "%s: %s", path, strerror(errno));
        return SB_ERROR;
    }
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        sb_buf_add(&text, chunk, n);
    fclose(f);
    rc = sb_nginx_scan(text.data != NULL ? text.data : "", text.len, on_directive, w, NULL, err);
    sb_buf_free(&text);
    return rc;
}

int
sb_nginx_walk(const char *path, const char *prefix, sb_nginx_walk_pt fn, void *arg, sb_err_t *err)
{
    walk_t w = {.prefix = prefix, .fn = fn, .arg = arg, .block = ""};

    return walk_file(path, &w, err);
}

int
sb_nginx_walk_include(const char *name, const char *prefix, sb_nginx_walk_pt fn, void *arg, sb_err_t *err)
{
    walk_t w = {.prefix = prefix, .fn = fn, .arg = arg, .block = ""};

    return walk_include(name, "", &w, err);
}
