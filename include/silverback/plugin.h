/*
 * The native plugin interface: one const struct per plugin, in one folder (docs/internals/plugins.md). Bundled plugins and
 * shared objects by others use this header and request.h, nothing else.
 *
 * A plugin's configuration is validated by its field table, decoded into its C struct by the rows' offsets once per change, then
 * compile() may precompute more; the request path only reads it. Callbacks run in a proxy worker and must not block.
 */
#ifndef SILVERBACK_PLUGIN_H
#define SILVERBACK_PLUGIN_H

#include "silverback/request.h"
#include "silverback/schema.h"
#include "silverback/stream.h"

#define SB_PLUGIN_ABI 1

/* For compile(): zeroed memory that lives as long as the configuration; never NULL. */
void *sb_pool_alloc(struct sb_pool *pool, size_t n);

struct sb_plugin {
    unsigned abi; /* SB_PLUGIN_ABI */
    const char *name, *version;
    int priority;
    const struct sb_schema_def *schema; /* the whole plugin schema: consumer/route/service overrides, protocols, config */
    const struct sb_field *config;      /* fields of "config", with offsets */
    size_t config_size;                 /* sizeof the C struct; 0: none */
    /* MAY. After decoding, once per configuration change and worker; pool lives as long as conf. Text on failure. */
    const char *(*compile)(void *conf, struct sb_pool *pool);
    /* MAY. Phases, in the order they run. conf is the decoded struct. */
    int (*init_worker)(void);
    enum sb_verdict (*rewrite)(sb_request_t *r, const void *conf); /* global instances only */
    enum sb_verdict (*access)(sb_request_t *r, const void *conf);
    enum sb_verdict (*header_filter)(sb_request_t *r, const void *conf); /* SB_NEXT only */
    /* *data may be replaced by request-pool memory; eof is set with the last call, which may have no bytes. */
    enum sb_verdict (*body_filter)(sb_request_t *r, const void *conf, sb_cstr *data, bool eof);
    void (*log)(sb_request_t *r, const void *conf);
    /* Of stream connections, for instances whose protocols name theirs (stream.h). preread: before a connection to the service is made,
     * after TLS was ended; SB_EXIT closes the connection, SB_WAIT is not known here. */
    enum sb_verdict (*preread)(sb_stream_t *s, const void *conf);
    void (*stream_log)(sb_stream_t *s, const void *conf);
};

/* Written by the build: the bundled plugins, ordered by name, NULL-ended. */
extern const struct sb_plugin *const sb_bundled_plugins[];

#endif
