/* Logging; see log.h. */
#include "core/base/log.h"

#include <stdio.h>

static sb_log_sink_pt sink;

void
sb_log_set_sink(sb_log_sink_pt s)
{
    sink = s;
}

void
sb_log(int level, const char *fmt, ...)
{
    char line[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (sink != NULL)
        sink(level, line);
    else if (level <= SB_LOG_NOTICE)
        fprintf(stderr, "%s\n", line);
}
