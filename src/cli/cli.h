/*
 * The command line: a table of verbs, each a file of its own with its options, sub-commands, help text and function. Help, parsing, the
 * list of commands, the reference page, the manual page and the shells' completion follow from the table.
 */
#ifndef SB_CLI_H
#define SB_CLI_H

#include "core/settings/settings.h"

#define SB_MAX_OPTIONS   8
#define SB_MAX_ARGUMENTS 2

typedef struct sb_option {
    char short_name;       /* 0: none */
    const char *long_name; /* without dashes; NULL ends a list */
    const char *value;     /* what the help calls its value; NULL: a flag */
    const char *def;       /* default, NULL: none */
    const char *text;
} sb_option_t;

/* A positional argument. */
typedef struct sb_argument {
    const char *name; /* NULL ends a list */
    const char *def;  /* NULL: none */
    bool required;
} sb_argument_t;

typedef struct sb_args {
    const struct sb_verb *verb;
    const struct sb_sub *sub;                /* NULL when the verb has none */
    const char *values[SB_MAX_OPTIONS];      /* by position in the verb's options; a given flag is "" */
    const char *arguments[SB_MAX_ARGUMENTS]; /* by position; NULL when absent and without default */
    size_t n_given;                          /* how many arguments were given, defaults not counted */
} sb_args_t;

/* A sub-command: the second word of `config parse`. Its options are the verb's. */
typedef struct sb_sub {
    const char *name; /* NULL ends a list */
    const char *text;
    const sb_argument_t *arguments;    /* NULL: none */
    int (*run)(const sb_args_t *args); /* exit code */
} sb_sub_t;

typedef struct sb_verb {
    const char *name;
    const char *text;                  /* one line for the list of commands */
    const sb_option_t *options;        /* ends with a NULL long_name */
    const sb_argument_t *arguments;    /* NULL: none, or the sub-commands have them */
    const sb_sub_t *subs;              /* NULL: none; else run is NULL */
    int (*run)(const sb_args_t *args); /* exit code */
} sb_verb_t;

extern const sb_verb_t sb_verb_check, sb_verb_completion, sb_verb_config, sb_verb_docker_start, sb_verb_drain, sb_verb_health,
    sb_verb_hybrid, sb_verb_migrations, sb_verb_prepare, sb_verb_quit, sb_verb_reload, sb_verb_restart, sb_verb_roar, sb_verb_start,
    sb_verb_stop, sb_verb_vault, sb_verb_version;
extern const sb_option_t sb_start_options[]; /* start.c; restart and docker-start have the same */
/* Rows that start, restart, reload and prepare share: a custom template (sb_cli_template). */
#define SB_TEMPLATE_OPTIONS                                                                                                                \
    {0, "nginx-conf", "FILE", NULL, "custom template of the proxy's nginx configuration"},                                                 \
    {                                                                                                                                      \
        0, "nginx-conf-flags", "FLAGS", NULL, "names that are true in the template, with commas between"                                   \
    }
extern const sb_option_t sb_universal_options[]; /* args.c; those of every verb */
extern const sb_verb_t *const sb_verbs[];        /* ends with NULL */

/* args.c. The sub-command of a verb; dashes in the word may stand for underscores of the name. NULL: there is none. */
const sb_sub_t *sb_args_find_sub(const sb_verb_t *verb, const char *word);
/* The words behind verb and sub-command (sub may be NULL). SB_DECLINED: err says what is wrong with them. */
int sb_args_parse(const sb_verb_t *verb, const sb_sub_t *sub, int argc, char **argv, sb_args_t *out, sb_err_t *err);
const char *sb_args_get(const sb_args_t *args, const char *long_name); /* NULL: not given and no default */
/* A number of an option, at least 0; SB_DECLINED otherwise. */
int sb_args_seconds(const sb_args_t *args, const char *long_name, double *out, sb_err_t *err);
void sb_args_help(const sb_verb_t *verb); /* one verb's, to stdout */
void sb_args_overview(void *file);        /* all commands; file is a FILE * */

/* main.c */
/* Prints the interface's error form to stderr; returns 1. */
int sb_cli_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int sb_cli_fail_err(sb_err_t *err); /* same, and clears err */
/* A line that only --v (level 1) or --vv (level 2) shows. */
void sb_cli_say(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Settings from -c and -p, file and environment; warnings printed to stderr. */
int sb_cli_settings(const sb_args_t *args, sb_settings_t **out, sb_err_t *err);
/* What the options of SB_TEMPLATE_OPTIONS ask for (nginx_template.h); the file can be read. The caller frees with sb_template_free. */
struct sb_template;
int sb_cli_template(const sb_args_t *args, struct sb_template *out, sb_err_t *err);
/* Those of the node in the prefix, as it was started or reloaded last, unless -c says otherwise; without such a node like
 * sb_cli_settings. */
int sb_cli_node_settings(const sb_args_t *args, sb_settings_t **out, sb_err_t *err);
/* The prefix that a verb is about: -p, environment, file, default. malloc'ed. */
char *sb_cli_prefix(const sb_args_t *args);

#endif
