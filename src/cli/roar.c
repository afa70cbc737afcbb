/* roar: says hello. */
#include "cli/cli.h"

#include <stdio.h>

static const sb_option_t options[] = {{0}};

static int
run(const sb_args_t *args)
{
    puts("        .-\"\"\"\"\"-.\n"
         "       /  _   _  \\\n"
         "      |  (o) (o)  |\n"
         "     /|   _____   |\\\n"
         "    ( |  ( n n )  | )\n"
         "     \\|   \\___/   |/\n"
         "   .-' \\  '---'  / '-.\n"
         "  /     '-.....-'     \\\n"
         " |   S I L V E R B A C K   |  roar!\n"
         "  \\___________________/");
    return 0;
}

const sb_verb_t sb_verb_roar = {"roar", "Let the gorilla roar", options, NULL, NULL, run};
