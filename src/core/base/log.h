/*
 * Logging from code that knows no nginx. The host (proxy module, control module, program) sets a sink once, before threads
 * start; without one, lines go to standard error. Never log secrets or whole request bodies.
 */
#ifndef SB_LOG_H
#define SB_LOG_H

#include "core/base/base.h"

enum sb_log_level { SB_LOG_EMERG, SB_LOG_ALERT, SB_LOG_CRIT, SB_LOG_ERR, SB_LOG_WARN, SB_LOG_NOTICE, SB_LOG_INFO, SB_LOG_DEBUG };

typedef void (*sb_log_sink_pt)(int level, const char *line);

void sb_log_set_sink(sb_log_sink_pt sink);
void sb_log(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
