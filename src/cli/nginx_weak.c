/* Takes the place of a generator that this build has none of, so that the program links; goes when both are there. */
#include "cli/nginx_conf.h"

__attribute__((weak)) int
sb_nginx_proxy_conf(const sb_settings_t *s, sb_buf_t *out, sb_err_t *err)
{
    return sb_err_set(err, 0, "this build has no proxy instance");
}

__attribute__((weak)) int
sb_nginx_control_conf(const sb_settings_t *s, sb_buf_t *out, sb_err_t *err)
{
    return sb_err_set(err, 0, "this build has no control instance");
}
