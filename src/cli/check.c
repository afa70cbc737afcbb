/* check: is a settings file good; every problem on a line of its own. Plugins are loaded too, in a throwaway prefix. */
#include "cli/cli.h"
#include "cli/prefix.h"
#include "cli/supervisor.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const sb_option_t options[] = {{0}};
static const sb_argument_t arguments[] = {{"conf", "/etc/kong/kong.conf", false}, {0}};

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

/* As start would, in a folder that goes away: the file's own prefix may belong to a running node. */
static int
try_in(const char *prefix, const char *conf, sb_err_t *err)
{
    sb_settings_source_t src = {.conf_file = conf, .prefix = prefix, .environ = environ};
    sb_settings_t *s = NULL;
    int rc = sb_settings_load(&src, &s, err);

    if (rc == SB_OK)
        rc = sb_prefix_prepare(s, err);
    if (rc == SB_OK)
        rc = sb_prefix_write_env(s, "", err);
    if (rc == SB_OK)
        rc = sb_prefix_write_confs(s, "", err);
    if (rc == SB_OK)
        rc = sb_supervisor_try(s, "", err);
    sb_settings_free(s);
    return rc;
}

static void
print_problems(char *text)
{
    char *save = NULL;

    for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
        fprintf(stderr, "[error] %s\n", line);
}

static void
print_warning(const char *text, void *arg)
{
    fprintf(stderr, "[warn] %s\n", text);
}

static int
run(const sb_args_t *args)
{
    sb_settings_source_t src = {.conf_file = args->arguments[0], .environ = environ, .warn = print_warning};
    sb_settings_t *s = NULL;
    sb_err_t err = {0};
    char folder[] = "/tmp/silverback-check-XXXXXX";
    int rc = sb_settings_load(&src, &s, &err);

    if (rc == SB_OK) {
        if (mkdtemp(folder) == NULL || chmod(folder, 0755) != 0)
            rc = sb_err_set(&err, 0, "%s: %s", folder, strerror(errno));
        else {
            rc = try_in(folder, args->arguments[0], &err);
            nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        }
    }
    sb_settings_free(s);
    if (rc == SB_OK)
        printf("configuration at %s is valid\n", args->arguments[0]);
    else
        print_problems(err.message);
    sb_err_clear(&err);
    return rc == SB_OK ? 0 : 1;
}

const sb_verb_t sb_verb_check = {"check", "Check a settings file, and load the plugins it names", options, arguments, NULL, run};
