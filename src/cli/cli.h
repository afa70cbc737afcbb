/*
 * The command line: a table of verbs, each a file of its own with its options, help text and function. Help, parsing and the list of
 * commands follow from the table.
 */
#ifndef SB_CLI_H
#define SB_CLI_H

#include "core/settings/settings.h"

#define SB_MAX_OPTIONS 8

typedef struct sb_option {
    char short_name;       /* 0: none */
    const char *long_name; /* without dashes; NULL ends a list */
    const char *value;     /* what the help calls its value; NULL: a flag */
    const char *def;       /* default, NULL: none */
    const char *text;
} sb_option_t;

typedef struct sb_args {
    const struct sb_verb *verb;
    const char *values[SB_MAX_OPTIONS]; /* by position in the verb's options; a given flag is "" */
    const char *argument;               /* the positional one; NULL when absent and without default */
} sb_args_t;

typedef struct sb_verb {
    const char *name;
    const char *text;                  /* one line for the list of commands */
    const sb_option_t *options;        /* ends with a NULL long_name */
    const char *argument;              /* name of an optional positional argument; NULL: none */
    const char *argument_default;      /* NULL: none */
    int (*run)(const sb_args_t *args); /* exit code */
} sb_verb_t;

extern const sb_verb_t sb_verb_start, sb_verb_stop, sb_verb_quit, sb_verb_restart, sb_verb_reload, sb_verb_health, sb_verb_version,
    sb_verb_check, sb_verb_prepare;
extern const sb_option_t sb_start_options[]; /* start.c; restart has the same */
extern const sb_verb_t *const sb_verbs[];    /* ends with NULL */

/* args.c. SB_DECLINED: err says what is wrong with the words given. */
int sb_args_parse(const sb_verb_t *verb, int argc, char **argv, sb_args_t *out, sb_err_t *err);
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
/* The prefix that a verb is about: -p, environment, file, default. malloc'ed. */
char *sb_cli_prefix(const sb_args_t *args);

#endif
