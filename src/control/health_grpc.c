/*
 * What a check by gRPC says and hears: one call of grpc.health.v1.Health/Check for the server as a whole, by HTTP/2 frames. Knows no
 * sockets: health_probe.c carries the bytes. HTTP/2 itself is nghttp2's.
 *
 * A server that answers but knows no such method is taken for healthy, as gRPC's own clients take it.
 */
#include "control/health_int.h"

#include <nghttp2/nghttp2.h>

#define UNIMPLEMENTED 12 /* gRPC's status */
#define MAX_HEADERS   64

struct grpc_check {
    nghttp2_session *session;
    const uint8_t *out; /* nghttp2's, until it is asked for more */
    size_t out_len;
    bool over, broken;
    int status;        /* gRPC's; -1: none came */
    uint8_t frame[64]; /* the beginning of the answer's body */
    size_t frame_len;
};

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value,
          size_t value_len, uint8_t flags, void *arg)
{
    struct grpc_check *g = arg;

    if (name_len != sizeof("grpc-status") - 1 || memcmp(name, "grpc-status", name_len) != 0 || value_len == 0 || value_len > 2)
        return 0;
    g->status = 0;
    for (size_t i = 0; i < value_len && g->status >= 0; i++)
        g->status = value[i] >= '0' && value[i] <= '9' ? g->status * 10 + (value[i] - '0') : -1;
    return 0;
}

static int
on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t len, void *arg)
{
    struct grpc_check *g = arg;
    size_t room = sizeof(g->frame) - g->frame_len;

    len = len < room ? len : room;
    memcpy(g->frame + g->frame_len, data, len);
    g->frame_len += len;
    return 0;
}

/* A server may reset the stream after its answer, without an error. */
static int
on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *arg)
{
    struct grpc_check *g = arg;

    g->over = true;
    g->broken = error != NGHTTP2_NO_ERROR && g->status < 0;
    return 0;
}

/* The request's body: an empty message, which asks for the server as a whole, in its frame of five bytes. */
static ssize_t
read_body(nghttp2_session *session, int32_t stream, uint8_t *to, size_t room, uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    static const uint8_t empty[5];

    if (room < sizeof(empty))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    memcpy(to, empty, sizeof(empty));
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    return sizeof(empty);
}

static bool
start_session(struct grpc_check *g)
{
    nghttp2_session_callbacks *callbacks;
    int rc;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return false;
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    rc = nghttp2_session_client_new(&g->session, callbacks, g);
    nghttp2_session_callbacks_del(callbacks);
    return rc == 0;
}

static nghttp2_nv
pair(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

/* Whether a header may be sent in a call: HTTP/2 has no place for those of a connection, and some are ours. */
static bool
is_metadata(const char *name)
{
    static const char *const others[] = {"connection", "content-length", "content-type",      "host",   "keep-alive", "proxy-connection",
                                         "te",         "trailer",        "transfer-encoding", "upgrade"};

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strcasecmp(name, others[i]) == 0)
            return false;
    return name[0] != ':';
}

/* The upstream's headers for checks, {name: [value …]}, behind the n pairs in head; the number of all. */
static size_t
add_headers(nghttp2_nv head[MAX_HEADERS], size_t n, json_t *headers)
{
    const char *name;
    json_t *values, *value;
    size_t i;

    json_object_foreach(headers, name, values)
    {
        json_array_foreach(values, i, value)
        {
            const char *text = json_string_value(value);

            if (n < MAX_HEADERS && text != NULL && text[strcspn(text, "\r\n")] == '\0' && is_metadata(name))
                head[n++] = pair(name, text);
        }
    }
    return n;
}

static bool
submit(struct grpc_check *g, const struct probe_how *how)
{
    nghttp2_nv head[MAX_HEADERS] = {pair(":method", "POST"),
                                    pair(":scheme", how->tls != NULL ? "https" : "http"),
                                    pair(":path", "/grpc.health.v1.Health/Check"),
                                    pair(":authority", how->authority),
                                    pair("content-type", "application/grpc"),
                                    pair("te", "trailers")};
    const nghttp2_data_provider body = {.read_callback = read_body};
    size_t n = add_headers(head, 6, how->headers);

    return nghttp2_submit_settings(g->session, NGHTTP2_FLAG_NONE, NULL, 0) == 0 &&
           nghttp2_submit_request(g->session, NULL, head, n, &body, NULL) > 0;
}

struct grpc_check *
grpc_check_new(const struct probe_how *how)
{
    struct grpc_check *g = sb_calloc(sizeof(*g));

    g->status = -1;
    if (start_session(g) && submit(g, how))
        return g;
    grpc_check_free(g);
    return NULL;
}

void
grpc_check_free(struct grpc_check *g)
{
    if (g == NULL)
        return;
    nghttp2_session_del(g->session);
    free(g);
}

size_t
grpc_check_to_send(struct grpc_check *g, const uint8_t **bytes)
{
    ssize_t n = g->out_len == 0 ? nghttp2_session_mem_send(g->session, &g->out) : 0;

    if (n > 0)
        g->out_len = (size_t)n;
    *bytes = g->out;
    return g->out_len;
}

void
grpc_check_sent(struct grpc_check *g, size_t n)
{
    g->out += n;
    g->out_len -= n;
}

bool
grpc_check_received(struct grpc_check *g, const uint8_t *bytes, size_t n)
{
    return nghttp2_session_mem_recv(g->session, bytes, n) == (ssize_t)n;
}

enum probe_end
grpc_check_end(const struct grpc_check *g)
{
    if (!g->over)
        return PROBE_STARTED;
    if (g->broken)
        return PROBE_FAILED;
    if (g->status == UNIMPLEMENTED || (g->status == 0 && sb_health_grpc_serving(g->frame, g->frame_len)))
        return PROBE_CONNECTED;
    return PROBE_UNWELL;
}
