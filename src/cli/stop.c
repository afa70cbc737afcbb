/* stop: ends the node at once; requests that have begun are cut. */
#include "cli/verbs_int.h"

#include <signal.h>

static const sb_option_t options[] = {
    {'p', "prefix", "DIR", NULL, "working folder of the node"},
    {0},
};

static int
run(const sb_args_t *args)
{
    char *prefix = sb_cli_prefix(args);
    sb_err_t err = {0};
    int rc = 0;

    if (sb_verb_stop_node(prefix, &err) != SB_OK)
        rc = sb_cli_fail_err(&err);
    else
        printf("Kong stopped\n");
    free(prefix);
    return rc;
}

const sb_verb_t sb_verb_stop = {"stop", "Stop a running node", options, NULL, NULL, run};
