/*
 * check: is a settings file good; every problem on a line of its own. Plugins are loaded too, in a throwaway prefix, which nobody else
 * can enter, and which is gone in the end, also when the command is interrupted.
 */
#include "cli/cli.h"
#include "cli/prefix.h"
#include "cli/supervisor.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const sb_option_t options[] = {{0}};
static const sb_argument_t arguments[] = {{"conf", "/etc/kong/kong.conf", false}, {0}};

static const int ends[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
static volatile sig_atomic_t ended_by;

static void
on_end(int sig)
{
    ended_by = sig;
}

/* While the folder is there, a signal that would end us waits until it has gone; what we run is ended by the terminal's. */
static void
hold_ends(bool hold)
{
    struct sigaction sa = {.sa_handler = hold ? on_end : SIG_DFL, .sa_flags = SA_RESTART};

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        sigaction(ends[i], &sa, NULL);
}

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
        rc = sb_prefix_prepare_trial(s, err);
    if (rc == SB_OK)
        rc = sb_prefix_write_env(s, "", err);
    if (rc == SB_OK)
        rc = sb_prefix_write_confs(s, "", err);
    if (rc == SB_OK)
        rc = sb_supervisor_try(s, "", err);
    sb_settings_free(s);
    return rc;
}

static int
try_out(const char *conf, sb_err_t *err)
{
    char folder[] = "/tmp/silverback-check-XXXXXX"; /* mkdtemp() makes it 0700 */
    int rc;

    hold_ends(true);
    if (mkdtemp(folder) == NULL)
        rc = sb_err_set(err, 0, "%s: %s", folder, strerror(errno));
    else {
        rc = try_in(folder, conf, err);
        nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    hold_ends(false);
    if (ended_by != 0)
        raise(ended_by);
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
    int rc = sb_settings_load(&src, &s, &err);

    if (rc == SB_OK)
        rc = try_out(args->arguments[0], &err);
    sb_settings_free(s);
    if (rc == SB_OK)
        printf("configuration at %s is valid\n", args->arguments[0]);
    else
        print_problems(err.message);
    sb_err_clear(&err);
    return rc == SB_OK ? 0 : 1;
}

const sb_verb_t sb_verb_check = {"check", "Check a settings file, and load the plugins it names", options, arguments, NULL, run};
