/*
 * drain: a node says that it is not ready any more (`/status/ready` answers 503), so that a load balancer sends new clients elsewhere, and
 * goes on serving those that come. It is told over its first status listener. An answer other than the expected one is exit code 1.
 */
#include "cli/cli.h"
#include "cli/http.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_SECONDS 5.0

static const sb_option_t options[] = {
    {'c', "conf", "FILE", NULL, "settings file; without it, the node's present settings"},
    {'p', "prefix", "DIR", NULL, "working folder of the node"},
    {0},
};

/* Where a listener that takes any address is reached from here. */
static const char *
reachable(const char *address)
{
    if (strcmp(address, "0.0.0.0") == 0)
        return "127.0.0.1";
    return strcmp(address, "[::]") == 0 ? "[::1]" : address;
}

static int
drain(const sb_listen_t *l)
{
    sb_http_call_t call = {.host = reachable(l->address),
                           .port = l->port,
                           .tls = l->ssl,
                           .proxy_protocol = l->proxy_protocol,
                           .method = "POST",
                           .path = "/status/ready",
                           .body = "{\"status\":\"draining\"}",
                           .timeout = TIMEOUT_SECONDS};
    char *url = sb_asprintf("%s://%s:%u%s", call.tls ? "https" : "http", l->address, l->port, call.path);
    sb_err_t err = {0};
    int status = 0, rc = sb_http_status(&call, &status, &err);

    if (rc != SB_OK)
        printf("Failed to send request to %s: %s\n", url, err.message);
    else if (status != 204)
        printf("Unexpected response status from %s: %d\n", url, status);
    else
        printf("Kong's status successfully changed to 'draining'\n");
    sb_err_clear(&err);
    free(url);
    return rc == SB_OK && status == 204 ? 0 : 1;
}

static int
run(const sb_args_t *args)
{
    sb_settings_t *s = NULL;
    const sb_listen_t *listeners;
    sb_err_t err = {0};
    size_t n;
    int code = 1;

    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to a connection that may be closed */
    if (sb_cli_node_settings(args, &s, &err) != SB_OK)
        return sb_cli_fail_err(&err);
    listeners = sb_settings_listen(s, "status_listen", &n);
    if (n == 0)
        printf("No status listeners found in configuration.\n");
    else
        code = drain(listeners);
    sb_settings_free(s);
    return code;
}

const sb_verb_t sb_verb_drain = {"drain", "Let a node say that it is not ready while it goes on serving", options, NULL, NULL, run};
