/* health: is the node running, with both its instances. */
#include "cli/verbs_int.h"

static const sb_option_t options[] = {
    {'p', "prefix", "DIR", NULL, "working folder of the node"},
    {0},
};

static int
run(const sb_args_t *args)
{
    char *prefix = sb_cli_prefix(args);
    sb_node_state_t state = {0};
    sb_err_t err = {0};
    bool running, healthy;
    int rc = 0;

    if (sb_node_check_prefix(prefix, &err) != SB_OK) {
        free(prefix);
        return sb_cli_fail_err(&err);
    }
    running = sb_node_running(prefix);
    healthy = running && sb_node_read_state(prefix, &state) && state.proxy && state.control;
    printf("nginx.......%s\n\n", healthy ? "running" : "not running");
    if (healthy)
        printf("Kong is healthy at %s\n", prefix);
    else if (running)
        rc = sb_cli_fail("some services are not running at %s", prefix);
    else
        rc = sb_cli_fail("Kong is not running at %s", prefix);
    free(prefix);
    return rc;
}

const sb_verb_t sb_verb_health = {"health", "Say whether a node is running well", options, NULL, NULL, run};
