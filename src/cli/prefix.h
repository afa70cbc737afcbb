/* The prefix: the folder that holds everything one node writes. */
#ifndef SB_CLI_PREFIX_H
#define SB_CLI_PREFIX_H

#include "core/settings/settings.h"

#include <sys/types.h>

/* Whom the workers run as: the user setting when we are root, else ourselves. */
typedef struct sb_owner {
    uid_t uid;
    gid_t gid;
    char name[64];
} sb_owner_t;
int sb_prefix_owner(const sb_settings_t *s, sb_owner_t *out, sb_err_t *err);

/*
 * Makes the folders, the default certificates that a listener needs, the CA bundle, a copy of our Lua when the workers could not read the
 * original, and .kong_env. May be repeated. Ownership: what workers write in (store, run, sockets, tmp) is theirs; what root opens by name
 * (logs, pids, ssl) stays root's, so that a worker cannot lead root elsewhere.
 */
int sb_prefix_prepare(const sb_settings_t *s, sb_err_t *err);
/* What a trial of the settings needs of it: nothing is given to the workers, since none will run there. */
int sb_prefix_prepare_trial(const sb_settings_t *s, sb_err_t *err);
/* Writes the configurations ("<name><suffix>"): the proxy's, from the prefix's custom template if it has one, control's, and the parts that
 * a custom template includes. Nothing is written when one of them does not work out. */
int sb_prefix_write_confs(const sb_settings_t *s, const char *suffix, sb_err_t *err);
extern const char *const sb_prefix_conf_names[]; /* those names; ends with NULL */
/* Writes a file anew, by rename. */
int sb_prefix_write_file(const char *path, const char *data, size_t len, mode_t mode, sb_err_t *err);
/* Writes .kong_env<suffix>, readable by the workers' user only. */
int sb_prefix_write_env(const sb_settings_t *s, const char *suffix, sb_err_t *err);

/* mkdir -p; the last one gets the mode. */
int sb_prefix_make_dirs(const char *path, mode_t mode, sb_err_t *err);

/* certs.c: self-signed RSA and ECDSA certificates "<base>.crt/.key", "<base>-ecdsa.crt/.key"; those that are there stay. */
int sb_certs_make_default(const char *base, sb_err_t *err);
/* The certificate of a cluster (ECDSA, P-384, valid so many days) and its key, which is private; both are written anew. */
int sb_certs_make_cluster(const char *crt, const char *key_file, long days, sb_err_t *err);
/* Parameters of a named DH group in a PEM file; one that is there stays. */
int sb_certs_make_dhparam(const char *group, const char *path, sb_err_t *err);

#endif
