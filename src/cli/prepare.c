/* prepare: makes the prefix with everything in it that start would, without starting. */
#include "cli/cli.h"
#include "cli/nginx_template.h"
#include "cli/node.h"
#include "cli/prefix.h"

#include <unistd.h>

static const sb_option_t options[] = {
    {'c', "conf", "FILE", NULL, "settings file"},
    {'p', "prefix", "DIR", NULL, "working folder of the node"},
    SB_TEMPLATE_OPTIONS,
    {0},
};

static int
run(const sb_args_t *args)
{
    sb_settings_t *s = NULL;
    sb_template_t template = {0};
    sb_err_t err = {0};
    int rc, lock_fd = -1;

    if (sb_cli_template(args, &template, &err) != SB_OK || sb_cli_settings(args, &s, &err) != SB_OK) {
        sb_template_free(&template);
        return sb_cli_fail_err(&err);
    }
    rc = sb_node_lock(sb_settings_str(s, "prefix"), &lock_fd, &err); /* not under a running node */
    if (rc == SB_OK)
        rc = sb_prefix_prepare(s, &err);
    if (rc == SB_OK)
        rc = sb_prefix_write_env(s, "", &err);
    if (rc == SB_OK)
        rc = sb_template_save(sb_settings_str(s, "prefix"), "", &template, &err);
    if (rc == SB_OK)
        rc = sb_prefix_write_confs(s, "", &err);
    if (rc != SB_OK)
        rc = sb_cli_fail("could not prepare Kong prefix at %s: %s", sb_settings_str(s, "prefix"), err.message);
    if (lock_fd >= 0)
        close(lock_fd);
    sb_err_clear(&err);
    sb_template_free(&template);
    sb_settings_free(s);
    return rc;
}

const sb_verb_t sb_verb_prepare = {"prepare", "Make a node's working folder without starting it", options, NULL, NULL, run};
