/* Native plugins on a connection: the walks over its chain, and what plugins may ask (include/silverback/stream.h). */
#include "proxy/stream/stream.h"

bool
sb_stream_preread(sb_stream_t *s)
{
    for (uint32_t i = 0; i < s->chain->n; i++) {
        const sb_step_t *step = s->chain->steps[i];
        if (step->native->preread != NULL && step->native->preread(s, step->conf) == SB_EXIT) {
            ngx_log_error(NGX_LOG_INFO, s->connection->log, 0, "plugin %s closed the connection", step->name);
            return false;
        }
    }
    return true;
}

void
sb_stream_run_log(sb_stream_t *s)
{
    for (uint32_t i = 0; s->chain != NULL && i < s->chain->n; i++) {
        const sb_step_t *step = s->chain->steps[i];
        if (step->native != NULL && step->native->stream_log != NULL)
            step->native->stream_log(s, step->conf);
    }
}

void *
sb_stream_alloc(sb_stream_t *s, size_t n)
{
    return ngx_pcalloc(s->connection->pool, n);
}

sb_cstr
sb_stream_protocol(const sb_stream_t *s)
{
    switch (s->protocol) {
    case SB_PROTO_TLS:
        return (sb_cstr){"tls", 3};
    case SB_PROTO_TLS_PASSTHROUGH:
        return (sb_cstr){"tls_passthrough", 15};
    case SB_PROTO_UDP:
        return (sb_cstr){"udp", 3};
    default:
        return (sb_cstr){"tcp", 3};
    }
}

sb_cstr
sb_stream_client_ip(const sb_stream_t *s)
{
    const ngx_str_t *text = &s->connection->addr_text;

    return (sb_cstr){(const char *)text->data, text->len};
}

int
sb_stream_client_port(const sb_stream_t *s)
{
    return ngx_inet_get_port(s->connection->sockaddr);
}

int
sb_stream_port(const sb_stream_t *s)
{
    return ngx_inet_get_port(s->local);
}

sb_cstr
sb_stream_sni(const sb_stream_t *s)
{
    return (sb_cstr){s->sni.data, s->sni.len};
}

sb_stream_result_t
sb_stream_result(const sb_stream_t *s)
{
    return s->result;
}

sb_cstr
sb_stream_route_json(sb_stream_t *s)
{
    return s->matched ? sb_row_text(s->connection->pool, sb_worker.routes, &s->route.route) : (sb_cstr){NULL, 0};
}

sb_cstr
sb_stream_service_json(sb_stream_t *s)
{
    return s->service != NULL ? sb_row_text(s->connection->pool, sb_worker.services, &s->service->node.id) : (sb_cstr){NULL, 0};
}
