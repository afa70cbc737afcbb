/*
 * From a connection to its route, service and plugin chain, as the configuration is at this moment: what was committed before is caught up
 * with first, as with requests. Chains of streams are kept apart from those of requests, because other instances may take part.
 */
#include "proxy/stream/stream.h"
#include "proxy/tls.h"

/* ---- plugin chains ---- */

/* The chain for a route and the connection's protocol: the last ones that were asked for are kept. A reference for the caller. */
static sb_chain_t *
chain_of(const sb_stream_t *s)
{
    enum { KEPT = 256 };
    static struct {
        sb_uuid_t route;
        uint16_t protocol;
        uint64_t stamp[4];
        sb_chain_t *chain;
    } kept[KEPT];
    const sb_route_brief_t *route = &s->route;
    uint64_t stamp[4] = {sb_worker.global_epoch, sb_worker.route_epoch, route->version, s->service != NULL ? s->service->plugins_epoch : 0};
    size_t at = (route->route.b[15] ^ (s->protocol >> 4)) % KEPT;

    if (kept[at].chain == NULL || kept[at].protocol != s->protocol || memcmp(&kept[at].route, &route->route, SB_UUID_LEN) != 0 ||
        memcmp(kept[at].stamp, stamp, sizeof(stamp)) != 0) {
        sb_chain_unref(kept[at].chain);
        kept[at].chain = sb_chain_build_stream(route, s->service, s->protocol);
        kept[at].route = route->route;
        kept[at].protocol = s->protocol;
        memcpy(kept[at].stamp, stamp, sizeof(stamp));
    }
    return sb_chain_ref(kept[at].chain);
}

/* Lua does not run on streams. Such instances are refused when they are configured; one that is here all the same must not be passed
 * over in silence. */
static bool
all_native(const sb_stream_t *s)
{
    for (uint32_t i = 0; i < s->chain->n; i++) {
        const sb_step_t *step = s->chain->steps[i];
        if (step->native != NULL)
            continue;
        ngx_log_error(NGX_LOG_ERR, s->connection->log, 0,
                      "plugin %s (%s) is written in Lua, which does not run on streams: the connection is closed", step->name,
                      step->id_text);
        return false;
    }
    return true;
}

/* ---- the match ---- */

bool
sb_stream_match(sb_stream_t *s, uint16_t protocols)
{
    sb_stream_request_t req = {.protocols = protocols,
                               .tls = (s->protocol & (SB_PROTO_TLS | SB_PROTO_TLS_PASSTHROUGH)) != 0,
                               .sni = s->sni,
                               .source = s->connection->sockaddr,
                               .destination = s->local,
                               .destination_port = sb_public_port(sb_conf, ngx_inet_get_port(s->local))};

    sb_worker_catch_up();
    if (sb_model_begin(sb_worker.reader, NULL) != SB_OK) {
        ngx_log_error(NGX_LOG_ERR, s->connection->log, 0, "the configuration cannot be read");
        return false;
    }
    s->matched = sb_stream_router_match(sb_worker.stream_router, &req, &s->route) == SB_OK;
    if (s->matched) {
        if (s->route.has_service)
            s->service = sb_service_get(&s->route.service);
        s->chain = chain_of(s);
    }
    sb_model_end(sb_worker.reader);
    return s->matched && all_native(s);
}

void
sb_stream_release(sb_stream_t *s)
{
    sb_stream_destination_release(s);
    sb_chain_unref(s->chain);
    sb_service_unref(s->service);
    s->chain = NULL;
    s->service = NULL;
}

static bool
tls_apply(const sb_stream_t *s, SSL *ssl)
{
    sb_tls_cert_t *cert;
    bool done;

    if (!sb_service_tls_apply(s->service, ssl))
        return false;
    cert = sb_ups_cert(s->ups, s->service);
    done = cert == NULL || sb_tls_cert_use(cert, ssl);
    sb_tls_cert_unref(cert);
    return done;
}

const struct sb_stream_host sb_stream_host = {
    .match = sb_stream_match,
    .preread = sb_stream_preread,
    .prepare = sb_stream_prepare,
    .report = sb_stream_report,
    .ended = sb_stream_ended,
    .next = sb_stream_next,
    .server_name = sb_stream_server_name,
    .tls_apply = tls_apply,
    .tls_listener = sb_tls_serve_stream,
    .log = sb_stream_run_log,
    .release = sb_stream_release,
};
