/* Finding out that a node would not start, before anything is started. */
#ifndef SB_CLI_PREFLIGHT_H
#define SB_CLI_PREFLIGHT_H

#include "core/settings/settings.h"

/*
 * Generates both instances' configurations, has nginx test them, and loads every plugin's handler and schema with the code that the
 * instances start with. Nothing listens, and a running node of the same prefix is not touched. The prefix must have been prepared:
 * its folders and .kong_env (what `s` says) are there.
 *
 * SB_DECLINED: err->message lists what is wrong, one fault per line ("my-plugin plugin: loading its handler failed: …/handler.lua:9: …",
 * "nginx: [emerg] …"). SB_ERROR: the preflight itself could not run.
 */
int sb_preflight_run(const sb_settings_t *s, sb_err_t *err);

#endif
