/*
 * completion: prints what makes a shell complete our commands, sub-commands and options. All of it follows from the table of verbs; the
 * kind of an option's value is known by what the help calls it (FILE, DIR). `make install` puts the output where the shells look.
 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const sb_option_t options[] = {{0}};

/* Inside single quotes. */
static void
print_quoted(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*text);
    }
}

static void
print_verbs(void)
{
    for (const sb_verb_t *const *v = sb_verbs; *v != NULL; v++)
        printf("%s%s", v != sb_verbs ? " " : "", (*v)->name);
}

static void
print_subs(const sb_verb_t *v)
{
    for (const sb_sub_t *s = v->subs; s != NULL && s->name != NULL; s++)
        printf("%s%s", s != v->subs ? " " : "", s->name);
}

static bool
takes_arguments(const sb_verb_t *v)
{
    bool any = v->arguments != NULL;

    for (const sb_sub_t *s = v->subs; s != NULL && s->name != NULL; s++)
        any = any || s->arguments != NULL;
    return any;
}

/* --- bash --- */

/* "-c|--conf": the ways to write an option. */
static void
bash_pattern(const sb_option_t *o, bool *first)
{
    if (!*first)
        putchar('|');
    if (o->short_name != 0)
        printf("-%c|", o->short_name);
    printf("--%s", o->long_name);
    *first = false;
}

/* One branch of the case over the word before: what follows the options whose value is of a kind. */
static void
bash_values(const sb_verb_t *v, const char *kind, const char *action)
{
    bool first = true;

    for (const sb_option_t *o = v->options; o->long_name != NULL; o++) {
        bool file = o->value != NULL && strcmp(o->value, "FILE") == 0, dir = o->value != NULL && strcmp(o->value, "DIR") == 0;
        if (o->value == NULL || (strcmp(kind, "FILE") == 0 ? !file : strcmp(kind, "DIR") == 0 ? !dir : file || dir))
            continue;
        if (first)
            printf("        ");
        bash_pattern(o, &first);
    }
    if (!first)
        printf(") %s return ;;\n", action);
}

static void
bash_options(const sb_option_t *o)
{
    for (; o->long_name != NULL; o++) {
        if (o->short_name != 0)
            printf(" -%c", o->short_name);
        printf(" --%s", o->long_name);
    }
}

static void
bash_verb(const sb_verb_t *v)
{
    printf("    %s)\n        case $prev in\n", v->name);
    bash_values(v, "FILE", "mapfile -t COMPREPLY < <(compgen -f -- \"$cur\");");
    bash_values(v, "DIR", "mapfile -t COMPREPLY < <(compgen -d -- \"$cur\");");
    bash_values(v, "", "");
    printf("        esac\n        subs='");
    print_subs(v);
    printf("' files=%d words='", takes_arguments(v));
    bash_options(v->options);
    bash_options(sb_universal_options);
    printf("' ;;\n");
}

static int
run_bash(const sb_args_t *args)
{
    printf("# Completion of silverback's commands for bash, written by `silverback completion bash`.\n"
           "_silverback() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} subs='' files=0 words=''\n"
           "    COMPREPLY=()\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W '");
    print_verbs();
    bash_options(sb_universal_options);
    printf("' -- \"$cur\"))\n        return\n    fi\n    case ${COMP_WORDS[1]} in\n");
    for (const sb_verb_t *const *v = sb_verbs; *v != NULL; v++)
        bash_verb(*v);
    printf("    esac\n"
           "    if [ \"$COMP_CWORD\" -eq 2 ] && [ -n \"$subs\" ]; then\n        COMPREPLY=($(compgen -W \"$subs\" -- \"$cur\"))\n"
           "    elif [ \"${cur#-}\" = \"$cur\" ] && [ \"$files\" -eq 1 ]; then\n        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
           "    else\n        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n    fi\n}\n"
           "complete -o filenames -F _silverback silverback kong\n");
    return 0;
}

/* --- zsh --- */

/* Square brackets and colons end a description in _arguments and _describe. */
static void
zsh_text(const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("[]:", *text) != NULL)
            putchar('\\');
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*text);
    }
}

static void
zsh_option(const char *dash_name, const sb_option_t *o)
{
    printf(" \\\n            '%s[", dash_name);
    zsh_text(o->text);
    printf("]");
    if (o->value != NULL)
        printf(":%s:%s", o->value, strcmp(o->value, "FILE") == 0 ? "_files" : strcmp(o->value, "DIR") == 0 ? "_directories" : " ");
    printf("'");
}

static void
zsh_options(const sb_option_t *o)
{
    char name[64];

    for (; o->long_name != NULL; o++) {
        if (o->short_name != 0) {
            snprintf(name, sizeof(name), "-%c", o->short_name);
            zsh_option(name, o);
        }
        snprintf(name, sizeof(name), "--%s", o->long_name);
        zsh_option(name, o);
    }
}

static int
run_zsh(const sb_args_t *args)
{
    printf("#compdef silverback kong\n# Completion of silverback's commands for zsh, written by `silverback completion zsh`.\n"
           "local -a commands\ncommands=(\n");
    for (const sb_verb_t *const *v = sb_verbs; *v != NULL; v++) {
        printf("    '%s:", (*v)->name);
        zsh_text((*v)->text);
        printf("'\n");
    }
    printf(")\nif (( CURRENT == 2 )); then\n    _describe command commands\n    return\nfi\nlocal command=$words[2]\n"
           "shift words\n(( CURRENT-- ))\ncase $command in\n");
    for (const sb_verb_t *const *v = sb_verbs; *v != NULL; v++) {
        printf("    %s)\n        _arguments", (*v)->name);
        zsh_options((*v)->options);
        zsh_options(sb_universal_options);
        if ((*v)->subs != NULL) {
            printf(" \\\n            '1:sub-command:(");
            print_subs(*v);
            printf(")'");
        }
        if (takes_arguments(*v))
            printf(" \\\n            '*:file:_files'");
        printf(" ;;\n");
    }
    printf("esac\n");
    return 0;
}

/* --- fish --- */

static void
fish_option(const char *program, const char *verb, const sb_option_t *o)
{
    printf("complete -c %s -n '__fish_seen_subcommand_from %s' -l %s", program, verb, o->long_name);
    if (o->short_name != 0)
        printf(" -s %c", o->short_name);
    if (o->value != NULL)
        printf(strcmp(o->value, "FILE") == 0 || strcmp(o->value, "DIR") == 0 ? " -r -F" : " -x");
    printf(" -d '");
    print_quoted(o->text);
    printf("'\n");
}

static void
fish_verb(const char *program, const sb_verb_t *v)
{
    printf("complete -c %s -n __fish_use_subcommand -a %s -d '", program, v->name);
    print_quoted(v->text);
    printf("'\n");
    for (const sb_sub_t *s = v->subs; s != NULL && s->name != NULL; s++) {
        printf("complete -c %s -n '__fish_seen_subcommand_from %s; and not __fish_seen_subcommand_from ", program, v->name);
        print_subs(v);
        printf("' -a %s -d '", s->name);
        print_quoted(s->text);
        printf("'\n");
    }
    for (const sb_option_t *o = v->options; o->long_name != NULL; o++)
        fish_option(program, v->name, o);
    for (const sb_option_t *o = sb_universal_options; o->long_name != NULL; o++)
        fish_option(program, v->name, o);
    if (takes_arguments(v))
        printf("complete -c %s -n '__fish_seen_subcommand_from %s' -F\n", program, v->name);
}

static int
run_fish(const sb_args_t *args)
{
    static const char *const programs[] = {"silverback", "kong"};

    printf("# Completion of silverback's commands for fish, written by `silverback completion fish`.\n");
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        printf("complete -c %s -f\n", programs[i]);
        for (const sb_verb_t *const *v = sb_verbs; *v != NULL; v++)
            fish_verb(programs[i], *v);
    }
    return 0;
}

static const sb_sub_t subs[] = {
    {"bash", "for bash", NULL, run_bash},
    {"zsh", "for zsh", NULL, run_zsh},
    {"fish", "for fish", NULL, run_fish},
    {0},
};

const sb_verb_t sb_verb_completion = {"completion", "Print a script that completes commands in a shell", options, NULL, subs, NULL};
