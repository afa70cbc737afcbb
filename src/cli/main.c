/*
 * The program `silverback`, also built under the name `kong`. Start reading at main(): it takes out the options that every verb
 * has, finds the verb in the table and runs it. What the verbs share (errors, settings) is here too.
 */
#include "cli/cli.h"

#include "cli/nginx_template.h"
#include "core/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int verbosity;

const sb_verb_t *const sb_verbs[] = {
    &sb_verb_check,  &sb_verb_completion, &sb_verb_config,  &sb_verb_docker_start, &sb_verb_drain,   &sb_verb_health,
    &sb_verb_hybrid, &sb_verb_migrations, &sb_verb_prepare, &sb_verb_quit,         &sb_verb_reload,  &sb_verb_restart,
    &sb_verb_roar,   &sb_verb_start,      &sb_verb_stop,    &sb_verb_vault,        &sb_verb_version, NULL,
};

int
sb_cli_fail(const char *fmt, ...)
{
    va_list ap;

    fflush(stdout);
    fputs("Error: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputs(verbosity == 0 ? "\n\n  Run with --v (verbose) or --vv (debug) for more details\n" : "\n", stderr);
    return 1;
}

int
sb_cli_fail_err(sb_err_t *err)
{
    sb_cli_fail("%s", err->message != NULL ? err->message : "unknown");
    sb_err_clear(err);
    return 1;
}

void
sb_cli_say(int level, const char *fmt, ...)
{
    va_list ap;

    if (level > verbosity)
        return;
    fputs(level > 1 ? "[debug] " : "[verbose] ", stdout);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

static void
tell_settings(const sb_settings_t *s)
{
    size_t n = 0;
    const char *const *warnings = sb_settings_warnings(s, &n);

    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "[warn] %s\n", warnings[i]);
    sb_cli_say(1, "settings file: %s", sb_settings_file(s) != NULL ? sb_settings_file(s) : "none");
    sb_cli_say(1, "prefix: %s", sb_settings_str(s, "prefix"));
}

/* As the shell's user means it, whatever folder we work in later. malloc'ed. */
static char *
absolute(const char *path)
{
    char *cwd = path[0] != '/' ? getcwd(NULL, 0) : NULL;
    char *full = cwd != NULL ? sb_asprintf("%s/%s", cwd, path) : sb_strdup_len(path, strlen(path));

    free(cwd);
    return full;
}

int
sb_cli_template(const sb_args_t *args, sb_template_t *out, sb_err_t *err)
{
    const char *file = sb_args_get(args, "nginx-conf"), *flags = sb_args_get(args, "nginx-conf-flags");

    *out = (sb_template_t){0};
    if (file != NULL && access(file, R_OK) != 0)
        return sb_err_set(err, 0, "option 'nginx-conf': %s: %s", file, strerror(errno));
    if (file != NULL)
        out->file = absolute(file);
    if (flags != NULL)
        out->flags = sb_strdup_len(flags, strlen(flags));
    return SB_OK;
}

int
sb_cli_settings(const sb_args_t *args, sb_settings_t **out, sb_err_t *err)
{
    sb_settings_source_t src = {.conf_file = sb_args_get(args, "conf"), .prefix = sb_args_get(args, "prefix"), .environ = environ};
    int rc = sb_settings_load(&src, out, err);

    if (rc == SB_OK)
        tell_settings(*out);
    return rc;
}

int
sb_cli_node_settings(const sb_args_t *args, sb_settings_t **out, sb_err_t *err)
{
    char *prefix = sb_cli_prefix(args), *env_file = sb_asprintf("%s/.kong_env", prefix);
    int rc;

    if (sb_args_get(args, "conf") == NULL && access(env_file, F_OK) == 0)
        rc = sb_settings_load_env_file(env_file, out, err);
    else
        rc = sb_cli_settings(args, out, err);
    free(env_file);
    free(prefix);
    return rc;
}

char *
sb_cli_prefix(const sb_args_t *args)
{
    sb_settings_source_t src = {.conf_file = sb_args_get(args, "conf"), .prefix = sb_args_get(args, "prefix"), .environ = environ};

    return sb_settings_find_prefix(&src);
}

static void
sink(int level, const char *line)
{
    if (level <= SB_LOG_WARN || verbosity > 0)
        fprintf(stderr, "%s\n", line);
}

/* Takes --v, --vv and --help out of argv (one dash does for the first two); returns the new count. */
static int
take_universal(int argc, char **argv, bool *help)
{
    int kept = 0;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--v") == 0 || strcmp(argv[i], "-v") == 0)
            verbosity = verbosity > 1 ? verbosity : 1;
        else if (strcmp(argv[i], "--vv") == 0 || strcmp(argv[i], "-vv") == 0)
            verbosity = 2;
        else if (strcmp(argv[i], "--help") == 0)
            *help = true;
        else
            argv[kept++] = argv[i];
    }
    argv[kept] = NULL;
    return kept;
}

static const sb_verb_t *
find_verb(const char *name)
{
    for (const sb_verb_t *const *v = sb_verbs; *v != NULL; v++)
        if (strcmp((*v)->name, name) == 0)
            return *v;
    return NULL;
}

/* Runs the verb with the words behind it. */
static int
run_verb(const sb_verb_t *verb, int argc, char **argv, bool help)
{
    const sb_sub_t *sub = NULL;
    sb_args_t args;
    sb_err_t err = {0};

    if (help || (verb->subs != NULL && argc == 0)) {
        sb_args_help(verb);
        return 0;
    }
    if (verb->subs != NULL) {
        sub = sb_args_find_sub(verb, argv[0]);
        if (sub == NULL) {
            fprintf(stderr, "No such command for %s: %s\n", verb->name, argv[0]);
            return 1;
        }
        argc--;
        argv++;
    }
    if (sb_args_parse(verb, sub, argc, argv, &args, &err) != SB_OK)
        return sb_cli_fail_err(&err);
    return sub != NULL ? sub->run(&args) : verb->run(&args);
}

int
main(int argc, char **argv)
{
    bool help = false;
    const sb_verb_t *verb;

    sb_log_set_sink(sink);
    argc = take_universal(argc, argv, &help);
    if (argc < 2) {
        sb_args_overview(stdout);
        return 0;
    }
    verb = find_verb(argv[1]);
    if (verb == NULL) {
        fprintf(stderr, "No such command: %s\n\n", argv[1]);
        sb_args_overview(stderr);
        return 1;
    }
    return run_verb(verb, argc - 2, argv + 2, help);
}
