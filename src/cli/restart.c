/* restart: stop, then start. A node that does not run is just started. */
#include "cli/verbs_int.h"

#include "cli/nginx_template.h"

/* A mistake in the settings or in a custom template must not cost the running node. */
static int
look_ahead(const sb_args_t *args, sb_settings_t **s, sb_err_t *err)
{
    sb_template_t template = {0};
    sb_buf_t conf = {0};
    int rc = sb_cli_template(args, &template, err);

    if (rc == SB_OK)
        rc = sb_cli_settings(args, s, err);
    if (rc == SB_OK)
        rc = sb_template_proxy_conf(*s, &template, &conf, err);
    sb_buf_free(&conf);
    sb_template_free(&template);
    return rc;
}

static int
run(const sb_args_t *args)
{
    sb_settings_t *s = NULL;
    sb_err_t err = {0};

    if (look_ahead(args, &s, &err) != SB_OK)
        goto fail;
    if (sb_verb_stop_node(sb_settings_str(s, "prefix"), &err) == SB_OK) {
        printf("Kong stopped\n");
        fflush(stdout);
    } else if (sb_node_running(sb_settings_str(s, "prefix")))
        goto fail;
    sb_err_clear(&err);
    sb_settings_free(s);
    return sb_verb_start.run(args);
fail:
    sb_settings_free(s);
    return sb_cli_fail_err(&err);
}

/* Its options are start's: the same words mean the same. */
const sb_verb_t sb_verb_restart = {"restart", "Stop a running node and start it again", sb_start_options, NULL, NULL, run};
