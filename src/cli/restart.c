/* restart: stop, then start. A node that does not run is just started. */
#include "cli/verbs_int.h"

static int
run(const sb_args_t *args)
{
    sb_settings_t *s = NULL;
    sb_err_t err = {0};

    /* A mistake in the settings must not cost the running node. */
    if (sb_cli_settings(args, &s, &err) != SB_OK)
        return sb_cli_fail_err(&err);
    if (sb_verb_stop_node(sb_settings_str(s, "prefix"), &err) == SB_OK) {
        printf("Kong stopped\n");
        fflush(stdout);
    } else if (sb_node_running(sb_settings_str(s, "prefix"))) {
        sb_settings_free(s);
        return sb_cli_fail_err(&err);
    }
    sb_err_clear(&err);
    sb_settings_free(s);
    return sb_verb_start.run(args);
}

/* Its options are start's: the same words mean the same. */
const sb_verb_t sb_verb_restart = {"restart", "Stop a running node and start it again", sb_start_options, NULL, NULL, run};
