/* hybrid: gen_cert makes the certificate that control plane and data planes of one cluster share. */
#include "cli/cli.h"
#include "cli/prefix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_DAYS 36500

static const sb_option_t options[] = {
    {'d', "days", "DAYS", "1095", "how long the certificate is valid"},
    {0},
};

static const sb_argument_t arguments[] = {{"cert", "./cluster.crt", false}, {"key", "./cluster.key", false}, {0}};

static int
check_free(const char *path, sb_err_t *err)
{
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return SB_OK;
    return sb_err_set(err, 0, "%s already exists.\nWill not overwrite it.", path);
}

static int
read_days(const sb_args_t *args, long *out, sb_err_t *err)
{
    const char *text = sb_args_get(args, "days");
    char *end;

    *out = strtol(text, &end, 10);
    if (end == text || *end != '\0' || *out < 1 || *out > MAX_DAYS)
        return sb_err_set(err, 0, "option 'days' must be a whole number from 1 to %d, got '%s'", MAX_DAYS, text);
    return SB_OK;
}

static int
run(const sb_args_t *args)
{
    const char *cert = args->arguments[0], *key = args->arguments[1];
    sb_err_t err = {0};
    long days = 0;
    int rc = read_days(args, &days, &err);

    if (rc == SB_OK && args->n_given == 1)
        rc = sb_err_set(&err, 0, "both cert and key path needs to be provided");
    if (rc == SB_OK)
        rc = check_free(cert, &err);
    if (rc == SB_OK)
        rc = check_free(key, &err);
    if (rc == SB_OK)
        rc = sb_certs_make_cluster(cert, key, days, &err);
    if (rc != SB_OK)
        return sb_cli_fail_err(&err);
    printf("Successfully generated certificate/key pairs, they have been written to: '%s' and '%s'.\n", cert, key);
    return 0;
}

static const sb_sub_t subs[] = {
    {"gen_cert", "make a self-signed certificate and its key", arguments, run},
    {0},
};

const sb_verb_t sb_verb_hybrid = {"hybrid", "Help with control plane and data planes", options, NULL, subs, NULL};
