/* Finding out that a node would not start, before anything is started. */
#ifndef SB_CLI_PREFLIGHT_H
#define SB_CLI_PREFLIGHT_H

#include "core/settings/settings.h"

/*
 * Loads every plugin's handler and schema in nginx, with both instances' configurations as they were written ("<name><suffix>") and the
 * code that they start with. Nothing listens, and a running node of the same prefix is not touched. The prefix must have been prepared: its
 * folders are there.
 *
 * SB_DECLINED: err->message lists what is wrong, one fault per line ("my-plugin plugin: loading its handler failed: …/handler.lua:9: …",
 * "nginx: [emerg] …"). SB_ERROR: the preflight itself could not run.
 */
int sb_preflight_run(const sb_settings_t *s, const char *suffix, sb_err_t *err);

#endif
