/* Parsing a verb's words and printing help, both from the verb table; see cli.h. */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long
find_option(const sb_verb_t *verb, const char *word, size_t len, bool is_long)
{
    for (long i = 0; verb->options[i].long_name != NULL; i++) {
        const sb_option_t *o = &verb->options[i];
        if (is_long ? strlen(o->long_name) == len && memcmp(o->long_name, word, len) == 0 : o->short_name == word[0])
            return i;
    }
    return -1;
}

/* One option at argv[*at]: "--name value", "--name=value", "-n value", "-nvalue". */
static int
take_option(const sb_verb_t *verb, int argc, char **argv, int *at, sb_args_t *out, sb_err_t *err)
{
    const char *word = argv[*at], *value = NULL;
    bool is_long = word[1] == '-';
    size_t len = is_long ? strcspn(word + 2, "=") : 1;
    long i = find_option(verb, word + (is_long ? 2 : 1), len, is_long);

    if (i < 0)
        return sb_err_set(err, 0, "unknown option '%s'", word);
    if (is_long && word[2 + len] == '=')
        value = word + 3 + len;
    else if (!is_long && word[2] != '\0')
        value = word + 2;
    if (verb->options[i].value == NULL) {
        if (value != NULL)
            return sb_err_set(err, 0, "option '%s' takes no value", verb->options[i].long_name);
        out->values[i] = "";
        return SB_OK;
    }
    if (value == NULL && ++*at < argc)
        value = argv[*at];
    if (value == NULL)
        return sb_err_set(err, 0, "option '%s' needs a value", verb->options[i].long_name);
    out->values[i] = value;
    return SB_OK;
}

const sb_sub_t *
sb_args_find_sub(const sb_verb_t *verb, const char *word)
{
    for (const sb_sub_t *s = verb->subs; s->name != NULL; s++)
        if (strcmp(s->name, word) == 0)
            return s;
    for (const sb_sub_t *s = verb->subs; s->name != NULL; s++) {
        size_t i = 0;
        while (s->name[i] != '\0' && (word[i] == s->name[i] || (word[i] == '-' && s->name[i] == '_')))
            i++;
        if (s->name[i] == '\0' && word[i] == '\0')
            return s;
    }
    return NULL;
}

static const sb_argument_t *
arguments_of(const sb_verb_t *verb, const sb_sub_t *sub)
{
    static const sb_argument_t none[] = {{0}};
    const sb_argument_t *list = sub != NULL ? sub->arguments : verb->arguments;

    return list != NULL ? list : none;
}

static int
fill_in(const sb_argument_t *arguments, sb_args_t *out, sb_err_t *err)
{
    for (long i = 0; out->verb->options[i].long_name != NULL; i++)
        if (out->values[i] == NULL)
            out->values[i] = out->verb->options[i].def;
    for (size_t i = out->n_given; i < SB_MAX_ARGUMENTS && arguments[i].name != NULL; i++) {
        if (arguments[i].required)
            return sb_err_set(err, 0, "argument '%s' is missing", arguments[i].name);
        out->arguments[i] = arguments[i].def;
    }
    return SB_OK;
}

int
sb_args_parse(const sb_verb_t *verb, const sb_sub_t *sub, int argc, char **argv, sb_args_t *out, sb_err_t *err)
{
    const sb_argument_t *arguments = arguments_of(verb, sub);

    *out = (sb_args_t){.verb = verb, .sub = sub};
    for (int i = 0; i < argc; i++) {
        int rc = SB_OK;
        if (argv[i][0] == '-' && argv[i][1] != '\0')
            rc = take_option(verb, argc, argv, &i, out, err);
        else if (arguments[out->n_given].name == NULL)
            rc = sb_err_set(err, 0, "unexpected argument '%s'", argv[i]);
        else
            out->arguments[out->n_given++] = argv[i];
        if (rc != SB_OK)
            return rc;
    }
    return fill_in(arguments, out, err);
}

const char *
sb_args_get(const sb_args_t *args, const char *long_name)
{
    long i = find_option(args->verb, long_name, strlen(long_name), true);

    return i < 0 ? NULL : args->values[i];
}

int
sb_args_seconds(const sb_args_t *args, const char *long_name, double *out, sb_err_t *err)
{
    const char *text = sb_args_get(args, long_name);
    char *end = NULL;

    *out = text != NULL ? strtod(text, &end) : 0;
    if (text != NULL && (end == text || *end != '\0' || !(*out >= 0) || *out > 1e6))
        return sb_err_set(err, 0, "option '%s' must be a number of seconds, got '%s'", long_name, text);
    return SB_OK;
}

static void
print_option(const sb_option_t *o)
{
    char left[64];

    snprintf(left, sizeof(left), "%c%c%c --%s%s%s", o->short_name != 0 ? '-' : ' ', o->short_name != 0 ? o->short_name : ' ',
             o->short_name != 0 ? ',' : ' ', o->long_name, o->value != NULL ? " " : "", o->value != NULL ? o->value : "");
    printf("  %-26s %s", left, o->text);
    if (o->def != NULL)
        printf(" (default %s)", o->def);
    printf("\n");
}

static void
print_arguments(const sb_argument_t *a)
{
    for (; a != NULL && a->name != NULL; a++)
        printf(a->required ? " %s" : " [%s]", a->name);
}

static void
print_subs(const sb_verb_t *verb)
{
    printf("The available sub-commands are:\n");
    for (const sb_sub_t *s = verb->subs; s->name != NULL; s++) {
        printf("  %-12s %s", s->name, s->text);
        if (s->arguments != NULL) {
            printf(":");
            print_arguments(s->arguments);
        }
        printf("\n");
    }
    printf("\n");
}

const sb_option_t sb_universal_options[] = {
    {0, "v", NULL, NULL, "verbose"}, {0, "vv", NULL, NULL, "debug"}, {0, "help", NULL, NULL, "this text"}, {0}};

void
sb_args_help(const sb_verb_t *verb)
{
    printf("Usage: %s %s%s [OPTIONS]", program_invocation_short_name, verb->name, verb->subs != NULL ? " COMMAND" : "");
    print_arguments(verb->arguments);
    printf("\n\n%s.\n\n", verb->text);
    if (verb->subs != NULL)
        print_subs(verb);
    for (const sb_argument_t *a = verb->arguments; a != NULL && a->name != NULL; a++)
        printf("Arguments:\n  %-26s (default %s)\n\n", a->name, a->def);
    printf("Options:\n");
    for (const sb_option_t *o = verb->options; o->long_name != NULL; o++)
        print_option(o);
    for (const sb_option_t *o = sb_universal_options; o->long_name != NULL; o++)
        print_option(o);
}

void
sb_args_overview(void *file)
{
    fprintf(file, "Usage: %s COMMAND [OPTIONS]\n\nThe available commands are:\n", program_invocation_short_name);
    for (const sb_verb_t *const *v = sb_verbs; *v != NULL; v++)
        fprintf(file, "  %-12s %s\n", (*v)->name, (*v)->text);
    fprintf(file, "\nOptions:\n  --help       print this, or a command's own help\n  --v          verbose\n  --vv         debug\n");
}
