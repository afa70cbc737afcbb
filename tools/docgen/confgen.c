/*
 * Prints kong.conf.default: every setting of the table (src/core/settings/settings_table.c) as a comment with its default, section by
 * section, ready to be copied to kong.conf. `make install` puts it into /etc/kong when PREFIX is /usr.
 */
#include "core/settings/settings.h"

#include <stdio.h>
#include <string.h>

#define COLUMN 38 /* where the comment of a setting begins */
#define WIDTH  100

static bool
listed(const sb_setting_row_t *row)
{
    return (row->flags & (SB_SETTING_INTERNAL | SB_SETTING_DEPRECATED)) == 0;
}

static bool
first_of_section(size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (listed(&sb_settings_rows[i]) && strcmp(sb_settings_rows[i].section, sb_settings_rows[at].section) == 0)
            return false;
    return true;
}

/* Words up to WIDTH columns, each line below the first begun anew as a comment at COLUMN. `at` is where the line is now. */
static int
wrap(const char *text, int at)
{
    while (*text != '\0') {
        int len = (int)strcspn(text, " \n");
        if (at + len + 1 > WIDTH) {
            printf("\n%*s#", COLUMN, "");
            at = COLUMN + 1;
        }
        printf(" %.*s", len, text);
        at += len + 1;
        text += len + strspn(text + len, " \n");
    }
    return at;
}

static void
print_setting(const sb_setting_row_t *row)
{
    int at = printf("#%s =%s%s", row->name, row->def != NULL ? " " : "", row->def != NULL ? row->def : "");

    if (at >= COLUMN) {
        putchar('\n');
        at = 0;
    }
    printf("%*s#", COLUMN - at, "");
    at = wrap(row->text, COLUMN + 1);
    if (row->choices != NULL) {
        at = wrap("-- one of:", at);
        at = wrap(row->choices, at);
    }
    if ((row->flags & SB_SETTING_EFFECTIVE) == 0)
        wrap("(Not in effect in this version.)", at);
    putchar('\n');
}

int
main(void)
{
    printf("# Every setting of Silverback " SB_VERSION " with its default. Copy this file to kong.conf and take away the '#' of what you\n"
           "# change; 'kong check' says whether it is well, 'kong reload' or a restart puts it to use. Each setting can also be given\n"
           "# in the environment, as KONG_ and its name in capitals, which wins over the file.\n");
    for (size_t i = 0; i < sb_settings_rows_n; i++) {
        if (!listed(&sb_settings_rows[i]) || !first_of_section(i))
            continue;
        printf("\n\n#%s\n# %s\n#%s\n\n", "------------------------------------------------------------", sb_settings_rows[i].section,
               "------------------------------------------------------------");
        for (size_t k = i; k < sb_settings_rows_n; k++)
            if (listed(&sb_settings_rows[k]) && strcmp(sb_settings_rows[k].section, sb_settings_rows[i].section) == 0)
                print_setting(&sb_settings_rows[k]);
    }
    return ferror(stdout) || fflush(stdout) != 0;
}
