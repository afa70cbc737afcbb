/*
 * Writes docs/reference from the tables that the code runs on: `docgen FOLDER`; `docgen --man FOLDER` the manual pages (man.c). One
 * function per page; a row without a description is an error, and so is one that a page has no place for. tests/integration/test_docs.py
 * compares the committed pages with a new run.
 */
#define main silverback_main
#include "cli/main.c" /* the table of verbs */
#undef main

#include "docgen.h"

#include "core/entities/entities.h"
#include "silverback/plugin.h"

#include <ctype.h>
#include <errno.h>

unsigned docgen_missing;

void
docgen_cell(FILE *f, const char *text)
{
    for (const char *p = text != NULL ? text : ""; *p != '\0'; p++) {
        if (*p == '|')
            fputc('\\', f);
        fputc(*p == '\n' ? ' ' : *p, f);
    }
}

void
docgen_need(const char *text, const char *where, const char *name)
{
    if (text != NULL && text[0] != '\0')
        return;
    fprintf(stderr, "%s: %s has no description\n", where, name);
    docgen_missing++;
}

/* ---- entities ---- */

static void
print_shorthands(FILE *f, const struct sb_shorthand *s)
{
    for (; s != NULL && s->name != NULL; s++) {
        fprintf(f, "- Input may have `%s`: ", s->name);
        if (s->replaced_with != NULL)
            fprintf(f, "the older name of `%s`.\n", s->replaced_with);
        else
            fprintf(f, "a short form that fills other fields.\n");
    }
}

/* Subschemas with the same rules stand together: `http` and `https`. */
static void
print_keys(FILE *f, const struct sb_schema_def *def, const struct sb_subschema *first)
{
    fprintf(f, "\nWith `%s`", def->subschema_key);
    for (const struct sb_subschema *s = first; s->key != NULL; s++)
        if (s->fields == first->fields && s->checks == first->checks)
            fprintf(f, "%s `%s`", s != first ? "," : "", s->key);
    fprintf(f, ":\n\n");
}

static void
print_overrides(FILE *f, const struct sb_schema_def *def)
{
    for (const struct sb_subschema *s = def->subschemas; s != NULL && s->key != NULL; s++) {
        const struct sb_subschema *before = def->subschemas;

        while (before != s && (before->fields != s->fields || before->checks != s->checks))
            before++;
        if (before != s)
            continue;
        print_keys(f, def, s);
        for (const struct sb_field *o = s->fields; o != NULL && o->name != NULL; o++)
            if (o->fields != NULL)
                docgen_fields(f, (const struct sb_field[]){*o, SB_FIELD_END}, def->name);
        for (const struct sb_field *o = s->fields; o != NULL && o->name != NULL; o++)
            if (o->fields == NULL)
                fprintf(f, "- `%s` %s%s.\n", o->name, o->eq_null ? "cannot be set" : "is restricted",
                        o->default_json != NULL ? ", and has another default" : "");
        docgen_checks(f, s->checks);
    }
}

static void
print_entity(FILE *f, const sb_entity_t *e)
{
    char *where = sb_asprintf("entity %s", e->name);

    fprintf(f, "\n## %s\n\n", e->name);
    if (e->endpoint_key != NULL)
        fprintf(f, "Found by `id` or `%s`. ", e->endpoint_key);
    if (e->cache_key != NULL) {
        fprintf(f, "Unique together:");
        for (const char *const *k = e->cache_key; *k != NULL; k++)
            fprintf(f, "%s `%s`", k != e->cache_key ? "," : "", *k);
        fprintf(f, ". ");
    }
    fprintf(f, "%s\n\n", e->workspaceable ? "Belongs to a workspace." : "Belongs to no workspace.");
    docgen_fields(f, e->def->fields, where);
    if (e->def->shorthands != NULL || e->def->checks != NULL)
        fprintf(f, "\n");
    print_shorthands(f, e->def->shorthands);
    docgen_checks(f, e->def->checks);
    print_overrides(f, e->def);
    if (e->def->expressions_fields != NULL) {
        fprintf(f, "\nOnly with `router_flavor = expressions`:\n\n");
        docgen_fields(f, e->def->expressions_fields, where);
    }
    free(where);
}

static void
page_entities(FILE *f)
{
    size_t n;
    const sb_entity_t *const *all = sb_entities_all(&n);

    fprintf(f, "# Entities\n\nWhat the Admin API stores, from the field tables in `src/core/entities`. Parents stand before what refers to "
               "them.\nFields without a default are null when they are not given.\n");
    for (size_t i = 0; i < n; i++)
        print_entity(f, all[i]);
}

/* ---- settings ---- */

static int
compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names of the sections that have a public row, once each, in alphabetical order. */
static size_t
sections(const char **out)
{
    size_t n = 0;

    for (size_t i = 0; i < sb_settings_rows_n; i++) {
        size_t k = 0;
        while (k < n && strcmp(out[k], sb_settings_rows[i].section) != 0)
            k++;
        if (k == n && !(sb_settings_rows[i].flags & SB_SETTING_INTERNAL))
            out[n++] = sb_settings_rows[i].section;
    }
    qsort(out, n, sizeof(*out), compare_text);
    return n;
}

static void
print_setting(FILE *f, const sb_setting_row_t *row)
{
    static const char *const types[] = {"text", "number", "on/off", "on/off", "one of", "list"};

    docgen_need(row->text, "settings", row->name);
    fprintf(f, "| `%s` | %s", row->name, types[row->type]);
    if (row->choices != NULL) {
        fprintf(f, ": ");
        docgen_cell(f, row->choices);
    }
    fprintf(f, " | ");
    if (row->def != NULL && row->def[0] != '\0') {
        fprintf(f, "`");
        docgen_cell(f, row->def);
        fprintf(f, "`");
    }
    fprintf(f, " | ");
    docgen_cell(f, row->text);
    if (row->directive != NULL)
        fprintf(f, ". Sets nginx's `%s`", row->directive);
    if (row->alias_of != NULL)
        fprintf(f, ". %s `%s`", row->flags & SB_SETTING_DEPRECATED ? "Deprecated; use" : "Its value also stands in", row->alias_of);
    if (row->flags & SB_SETTING_SENSITIVE)
        fprintf(f, ". Secret: never shown");
    fprintf(f, " | %s |\n", row->flags & SB_SETTING_EFFECTIVE ? "yes" : "not yet");
}

static void
page_settings(FILE *f)
{
    const char **names = sb_calloc(sb_settings_rows_n * sizeof(*names));
    size_t n = sections(names);

    fprintf(f, "# Settings\n\nFrom the table in `src/core/settings/settings_table.c`. A setting stands in the settings file as `name = "
               "value`, or in the\nenvironment as `KONG_NAME` in capitals, which wins. [How to use them](../howto/settings.md) tells the "
               "rest, injected nginx\ndirectives included. The last column says whether a setting does something in this version; "
               "setting another one gives\na warning.\n");
    for (size_t k = 0; k < n; k++) {
        fprintf(f, "\n## %s\n\n| Setting | Type | Default | Meaning | In effect |\n|---|---|---|---|---|\n", names[k]);
        for (size_t i = 0; i < sb_settings_rows_n; i++)
            if (strcmp(sb_settings_rows[i].section, names[k]) == 0 && !(sb_settings_rows[i].flags & SB_SETTING_INTERNAL))
                print_setting(f, &sb_settings_rows[i]);
    }
    free(names);
}

/* ---- the command line ---- */

static void
print_options(FILE *f, const sb_verb_t *v)
{
    if (v->options->long_name == NULL)
        return;
    fprintf(f, "\n| Option | Default | Meaning |\n|---|---|---|\n");
    for (const sb_option_t *o = v->options; o->long_name != NULL; o++) {
        docgen_need(o->text, v->name, o->long_name);
        fprintf(f, "| `");
        if (o->short_name != 0)
            fprintf(f, "-%c`, `", o->short_name);
        fprintf(f, "--%s%s%s` | %s | ", o->long_name, o->value != NULL ? " " : "", o->value != NULL ? o->value : "",
                o->def != NULL ? o->def : "");
        docgen_cell(f, o->text);
        fprintf(f, " |\n");
    }
}

static void
print_arguments(FILE *f, const sb_argument_t *a)
{
    for (; a != NULL && a->name != NULL; a++)
        fprintf(f, a->required ? " %s" : " [%s]", a->name);
}

static void
print_subs(FILE *f, const sb_verb_t *v)
{
    if (v->subs == NULL)
        return;
    fprintf(f, "\n| Sub-command | Meaning | Arguments when left out |\n|---|---|---|\n");
    for (const sb_sub_t *s = v->subs; s->name != NULL; s++) {
        docgen_need(s->text, v->name, s->name);
        fprintf(f, "| `%s", s->name);
        print_arguments(f, s->arguments);
        fprintf(f, "` | ");
        docgen_cell(f, s->text);
        fprintf(f, " | ");
        for (const sb_argument_t *a = s->arguments; a != NULL && a->name != NULL; a++)
            if (a->def != NULL)
                fprintf(f, "%s`%s`", a != s->arguments ? ", " : "", a->def);
        fprintf(f, " |\n");
    }
}

static void
page_cli(FILE *f)
{
    fprintf(f,
            "# Commands\n\nThe program is `silverback`; `kong` is another name of it. From the verb table in `src/cli/main.c`. Every "
            "command also takes\n`--v` (verbose), `--vv` (more so) and `--help`. The exit code is 0 when it worked, 1 when it did not; a "
            "command that has\nothers says so.\n");
    for (const sb_verb_t *const *v = sb_verbs; *v != NULL; v++) {
        docgen_need((*v)->text, "verb", (*v)->name);
        fprintf(f, "\n## %s\n\n%s.\n", (*v)->name, (*v)->text);
        for (const sb_argument_t *a = (*v)->arguments; a != NULL && a->name != NULL; a++)
            fprintf(f, "\nArgument: `%s`, without it `%s`.\n", a->name, a->def);
        print_subs(f, *v);
        print_options(f, *v);
    }
}

/* ---- plugins ---- */

static void
print_phases(FILE *f, const struct sb_plugin *p)
{
    const struct {
        const char *name;
        bool there;
    } phases[] = {{"rewrite", p->rewrite != NULL},
                  {"access", p->access != NULL},
                  {"header_filter", p->header_filter != NULL},
                  {"body_filter", p->body_filter != NULL},
                  {"log", p->log != NULL}};
    bool any = false;

    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        if (!phases[i].there)
            continue;
        fprintf(f, "%s%s", any ? ", " : "", phases[i].name);
        any = true;
    }
}

static const struct sb_field *
find_field(const struct sb_field *f, const char *name)
{
    while (f->name != NULL && strcmp(f->name, name) != 0)
        f++;
    return f->name != NULL ? f : NULL;
}

static void
print_plugin(FILE *f, const struct sb_plugin *p)
{
    const struct sb_field *protocols = find_field(p->schema->fields, "protocols");
    char *where = sb_asprintf("plugin %s", p->name);

    fprintf(f, "\n## %s\n\nPriority %d, version %s. Phases: ", p->name, p->priority, p->version);
    print_phases(f, p);
    fprintf(f, ".");
    if (protocols != NULL && protocols->elements->one_of != NULL) {
        fprintf(f, " Protocols:");
        for (const char *const *one = protocols->elements->one_of; *one != NULL; one++)
            fprintf(f, "%s %s", one != protocols->elements->one_of ? "," : "", *one);
        fprintf(f, ".");
    }
    fprintf(f, "\n\nFields of `config`:\n\n");
    docgen_fields(f, p->config, where);
    free(where);
}

static void
page_plugins(FILE *f)
{
    fprintf(f, "# Bundled plugins\n\nWritten in C, one folder each in `src/plugins`. What every plugin instance has besides `config` is in "
               "[plugins](entities.md#plugins).\n");
    for (const struct sb_plugin *const *p = sb_bundled_plugins; *p != NULL; p++)
        print_plugin(f, *p);
}

/* ---- */

static const struct {
    const char *file;
    void (*print)(FILE *f);
} pages[] = {{"entities.md", page_entities},
             {"settings.md", page_settings},
             {"admin-api.md", docgen_admin},
             {"cli.md", page_cli},
             {"plugins.md", page_plugins}};

static bool
write_page(const char *folder, size_t i)
{
    char *path = sb_asprintf("%s/%s", folder, pages[i].file);
    FILE *f = fopen(path, "w");
    bool ok = f != NULL;

    if (ok) {
        fprintf(f, "<!-- Written by tools/docgen from the code's tables: change those, then run `make docs`. -->\n\n");
        pages[i].print(f);
        ok = fclose(f) == 0;
    }
    if (!ok)
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
    free(path);
    return ok;
}

int
main(int argc, char **argv)
{
    bool ok = argc == 2;

    if (argc == 3 && strcmp(argv[1], "--man") == 0)
        return docgen_man(argv[2]) ? 0 : 1;
    if (!ok)
        fprintf(stderr, "usage: docgen FOLDER\n");
    sb_entities_init();
    for (size_t i = 0; ok && i < sizeof(pages) / sizeof(pages[0]); i++)
        ok = write_page(argv[1], i);
    return ok && docgen_missing == 0 ? 0 : 1;
}
