/*
 * The manual page silverback(1), from the table of verbs: `docgen --man FOLDER` writes it, and kong.1, which is the same page. Roff: a line
 * that begins with a point is a request; what could be taken for one, backslashes and dashes are escaped.
 */
#include "docgen.h"

#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void
roff(FILE *f, const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\\')
            fputs("\\e", f);
        else if (*p == '-')
            fputs("\\-", f);
        else if ((*p == '.' || *p == '\'') && (p == text || p[-1] == '\n'))
            fprintf(f, "\\&%c", *p);
        else
            fputc(*p, f);
    }
}

static void
option(FILE *f, const sb_option_t *o)
{
    fprintf(f, ".TP\n");
    if (o->short_name != 0)
        fprintf(f, "\\fB\\-%c\\fR, ", o->short_name);
    fprintf(f, "\\fB\\-\\-");
    roff(f, o->long_name);
    fprintf(f, "\\fR");
    if (o->value != NULL)
        fprintf(f, " \\fI%s\\fR", o->value);
    fprintf(f, "\n");
    roff(f, o->text);
    if (o->def != NULL)
        fprintf(f, " (default %s)", o->def);
    fprintf(f, "\n");
}

static void
arguments(FILE *f, const sb_argument_t *a)
{
    for (; a != NULL && a->name != NULL; a++)
        fprintf(f, a->required ? " \\fI%s\\fR" : " [\\fI%s\\fR]", a->name);
}

static void
argument_defaults(FILE *f, const sb_argument_t *a)
{
    for (; a != NULL && a->name != NULL; a++)
        if (a->def != NULL) {
            fprintf(f, "Without \\fI%s\\fR: ", a->name);
            roff(f, a->def);
            fprintf(f, ".\n");
        }
}

static void
verb(FILE *f, const sb_verb_t *v)
{
    fprintf(f, ".SS \"%s\"\n.B silverback ", v->name);
    roff(f, v->name);
    fprintf(f, "%s [\\fIoptions\\fR]", v->subs != NULL ? " \\fIcommand\\fR" : "");
    arguments(f, v->arguments);
    fprintf(f, "\n.PP\n");
    roff(f, v->text);
    fprintf(f, ".\n");
    argument_defaults(f, v->arguments);
    for (const sb_sub_t *s = v->subs; s != NULL && s->name != NULL; s++) {
        fprintf(f, ".TP\n\\fB%s\\fR", s->name);
        arguments(f, s->arguments);
        fprintf(f, "\n");
        roff(f, s->text);
        fprintf(f, ".\n");
        argument_defaults(f, s->arguments);
    }
    for (const sb_option_t *o = v->options; o->long_name != NULL; o++)
        option(f, o);
}

static void
page(FILE *f)
{
    fprintf(f,
            ".\\\" Written by tools/docgen from the table of commands.\n.TH SILVERBACK 1 \"\" \"silverback %s\"\n.SH NAME\n"
            "silverback, kong \\- run and manage nodes of an API gateway\n.SH SYNOPSIS\n.B silverback\n\\fIcommand\\fR [\\fIoptions\\fR]\n"
            ".SH DESCRIPTION\nSilverback is an API gateway with the interfaces of Kong Gateway. This program starts, reloads and stops its "
            "nodes,\nand does what is to be done around them. \\fBkong\\fR is another name of it.\n.PP\nEvery command also takes:\n",
            SB_VERSION);
    for (const sb_option_t *o = sb_universal_options; o->long_name != NULL; o++)
        option(f, o);
    fprintf(f, ".SH COMMANDS\n");
    for (const sb_verb_t *const *v = sb_verbs; *v != NULL; v++)
        verb(f, *v);
    fprintf(f, ".SH EXIT STATUS\n0 when it worked, 1 when it did not; a command that has others says so.\n.SH ENVIRONMENT\n"
               "Each setting may be given as a variable: \\fBKONG_\\fR and its name in capitals. It beats the settings file.\n.SH FILES\n"
               ".TP\n/etc/kong/kong.conf, /etc/kong.conf\nthe settings file, when \\fB\\-c\\fR names no other\n.TP\n/usr/local/kong\n"
               "the working folder, when nothing names another\n");
}

bool
docgen_man(const char *folder)
{
    char *path = sb_asprintf("%s/silverback.1", folder), *other = sb_asprintf("%s/kong.1", folder);
    FILE *f = fopen(path, "w"), *g = fopen(other, "w");
    bool ok = f != NULL && g != NULL;

    if (ok) {
        page(f);
        fprintf(g, ".so man1/silverback.1\n");
    } else
        fprintf(stderr, "%s: %s\n", folder, strerror(errno));
    ok = (f == NULL || fclose(f) == 0) && (g == NULL || fclose(g) == 0) && ok;
    free(path);
    free(other);
    return ok;
}
