/* The program: finds the verb and runs it. */
#include "cli/nginx_conf.h"

#include <stdio.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
    sb_settings_source_t src = {.environ = environ};
    sb_settings_t *s;
    sb_err_t err = {0};
    sb_buf_t out = {0};
    static const char *const modules[] = {NULL};

    if (sb_settings_load(&src, &s, &err) != SB_OK) {
        fprintf(stderr, "Error: %s\n\n  Run with --v (verbose) or --vv (debug) for more details\n", err.message);
        return 1;
    }
    sb_nginx_main(s, SB_INSTANCE_PROXY, modules, &out, &err);
    sb_nginx_http(s, SB_INSTANCE_PROXY, &out);
    sb_nginx_listens(s, "proxy_listen", 2, &out);
    sb_nginx_tls(s, "ssl", 2, &out);
    sb_nginx_tls(s, "admin_ssl", 2, &out);
    printf("%s", out.data);
    sb_buf_free(&out);
    sb_settings_free(s);
    return 0;
}
