/*
 * OCSP stapling for certificates of the store, where nginx's ssl_stapling is on. Nginx staples what its configuration names; a
 * certificate that comes and goes has its answer here, attached to OpenSSL's object, so that it lives exactly as long. The first
 * client that asks gets none and starts the fetch; later ones get the answer until it is out of date. Each worker fetches for itself: a
 * plain HTTP/1.0 exchange on the event loop, its bytes judged by core/tls/ocsp.c. Start at on_status().
 */
#include "core/tls/ocsp.h"
#include "proxy/tls.h"

#include <openssl/err.h>

#define FETCH_MS     30000 /* for the whole exchange */
#define PAUSE        300   /* seconds between two fetches at least */
#define FRESH_ENOUGH 3600  /* seconds after which an answer is fetched anew although it still counts */

/* Ex data of a certificate. */
typedef struct staple {
    X509 *cert; /* that it belongs to: no reference */
    X509 *issuer;
    char *responder; /* URL */
    char *der;       /* the answer; NULL: none yet */
    size_t len;
    time_t until, again; /* counts until; fetched again from */
    bool fetching;
} staple_t;

typedef struct fetch {
    ngx_queue_t link;
    staple_t *staple;
    X509 *cert; /* referenced, and so staple lives */
    sb_ocsp_url_t url;
    sb_query_t query;
    sb_addr_t addr;
    ngx_peer_connection_t pc;
    ngx_str_t name;
    ngx_event_t timer;
    sb_str_t out; /* malloc'ed */
    size_t sent;
    sb_buf_t in;
} fetch_t;

static ngx_queue_t fetches = {&fetches, &fetches};
static bool enabled;
static int ex_index = -1;
static int (*nginx_status)(SSL *ssl, void *arg);

/* ---- the end of a fetch ---- */

static void
end_fetch(fetch_t *f)
{
    f->staple->fetching = false;
    sb_resolver_cancel(&f->query);
    if (f->timer.timer_set)
        ngx_del_timer(&f->timer);
    if (f->pc.connection != NULL)
        ngx_close_connection(f->pc.connection);
    ngx_queue_remove(&f->link);
    free((char *)f->out.data);
    sb_buf_free(&f->in);
    X509_free(f->cert);
    free(f);
}

static void
fail(fetch_t *f, const char *why)
{
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0, "OCSP answer of %s cannot be used: %s", f->staple->responder, why);
    end_fetch(f);
}

static void
take(fetch_t *f, sb_str_t der)
{
    staple_t *s = f->staple;
    const char *why = "";
    time_t now = ngx_time(), until = 0;

    if (sb_ocsp_check(der, s->cert, s->issuer, now, &until, &why) != SB_OK) {
        fail(f, why);
        return;
    }
    free(s->der);
    s->der = sb_strdup_len(der.data, der.len);
    s->len = der.len;
    s->until = until;
    s->again = ngx_max(ngx_min(until - PAUSE, now + FRESH_ENOUGH), now + PAUSE);
    end_fetch(f);
}

/* ---- the exchange ---- */

static void
on_readable(ngx_event_t *ev)
{
    ngx_connection_t *c = ev->data;
    fetch_t *f = c->data;
    sb_str_t body;
    u_char buf[4096];
    ssize_t n;

    for (;;) {
        n = c->recv(c, buf, sizeof(buf));
        if (n == NGX_AGAIN) {
            if (ngx_handle_read_event(c->read, 0) != NGX_OK)
                fail(f, "event");
            return;
        }
        if (n == NGX_ERROR) {
            fail(f, "the connection broke");
            return;
        }
        if (n > 0)
            sb_buf_add(&f->in, buf, (size_t)n);
        switch (sb_ocsp_http_body((sb_str_t){f->in.data, f->in.len}, n == 0, &body)) {
        case SB_OCSP_DONE:
            take(f, body);
            return;
        case SB_OCSP_BAD:
            fail(f, "it is no HTTP answer with status 200");
            return;
        case SB_OCSP_MORE:
            break;
        }
    }
}

static void
on_writable(ngx_event_t *ev)
{
    ngx_connection_t *c = ev->data;
    fetch_t *f = c->data;
    ssize_t n;

    while (f->sent < f->out.len) {
        n = c->send(c, (u_char *)f->out.data + f->sent, f->out.len - f->sent);
        if (n == NGX_ERROR) {
            fail(f, "cannot connect or send");
            return;
        }
        if (n == NGX_AGAIN)
            break;
        f->sent += (size_t)n;
    }
    if (ngx_handle_write_event(c->write, 0) != NGX_OK)
        fail(f, "event");
}

static void
on_timeout(ngx_event_t *ev)
{
    fail(ev->data, "it takes too long");
}

static void
connect_to(fetch_t *f, const sb_addr_t *addr)
{
    ngx_int_t rc;

    f->addr = *addr;
    if (addr->sa.any.sa_family == AF_INET6)
        f->addr.sa.v6.sin6_port = htons(f->url.port);
    else
        f->addr.sa.v4.sin_port = htons(f->url.port);
    f->name = (ngx_str_t){f->addr.text_len, (u_char *)f->addr.text};
    f->pc.sockaddr = &f->addr.sa.any;
    f->pc.socklen = f->addr.len;
    f->pc.name = &f->name;
    f->pc.get = ngx_event_get_peer;
    f->pc.log = ngx_cycle->log;
    f->pc.log_error = NGX_ERROR_INFO;
    rc = ngx_event_connect_peer(&f->pc);
    if (rc == NGX_ERROR || rc == NGX_BUSY || rc == NGX_DECLINED) {
        fail(f, "cannot connect");
        return;
    }
    f->pc.connection->data = f;
    f->pc.connection->read->handler = on_readable;
    f->pc.connection->write->handler = on_writable;
    if (rc == NGX_OK)
        on_writable(f->pc.connection->write);
}

static void
on_resolved(sb_query_t *q, sb_addrs_t *addrs, const char *why)
{
    fetch_t *f = q->data;

    if (addrs == NULL)
        fail(f, why);
    else
        connect_to(f, sb_addrs_next(addrs));
}

static void
find_address(fetch_t *f)
{
    const char *why = "";
    sb_addrs_t *addrs;

    switch (sb_resolver_lookup(f->url.host.data, f->url.host.len, &addrs, &why)) {
    case SB_OK:
        connect_to(f, sb_addrs_next(addrs));
        break;
    case SB_DECLINED:
        fail(f, why);
        break;
    default:
        f->query.done = on_resolved;
        f->query.data = f;
        sb_resolver_start(f->url.host.data, f->url.host.len, &f->query);
    }
}

static void
start_fetch(staple_t *s)
{
    fetch_t *f = sb_calloc(sizeof(*f));

    s->fetching = true;
    s->again = ngx_time() + PAUSE;
    f->staple = s;
    f->cert = s->cert;
    X509_up_ref(f->cert);
    ngx_queue_insert_tail(&fetches, &f->link);
    f->timer.handler = on_timeout;
    f->timer.data = f;
    f->timer.log = ngx_cycle->log;
    f->timer.cancelable = 1;
    ngx_add_timer(&f->timer, FETCH_MS);
    if (!sb_ocsp_url_parse((sb_str_t){s->responder, strlen(s->responder)}, &f->url)) {
        fail(f, "its URL is not http");
        return;
    }
    f->out = sb_ocsp_request(&f->url, s->cert, s->issuer);
    if (f->out.data == NULL)
        fail(f, "no request can be made");
    else
        find_address(f);
}

/* ---- certificates and handshakes ---- */

static void
free_staple(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
    staple_t *s = ptr;

    if (s == NULL)
        return;
    X509_free(s->issuer);
    free(s->responder);
    free(s->der);
    free(s);
}

void
sb_tls_ocsp_attach(const sb_tls_pair_t *p)
{
    X509 *issuer = enabled ? sb_ocsp_issuer(p->cert, p->chain) : NULL;
    char *responder = issuer != NULL ? sb_ocsp_responder(p->cert) : NULL;
    staple_t *s;

    if (responder == NULL)
        return;
    if (ex_index < 0)
        ex_index = X509_get_ex_new_index(0, NULL, NULL, NULL, free_staple);
    s = sb_calloc(sizeof(*s));
    s->cert = p->cert;
    s->issuer = issuer;
    X509_up_ref(issuer);
    s->responder = responder;
    if (X509_set_ex_data(p->cert, ex_index, s) != 1)
        free_staple(NULL, s, NULL, 0, 0, NULL);
}

/* OpenSSL's question, of clients that ask for the status. */
static int
on_status(SSL *ssl, void *arg)
{
    X509 *cert = SSL_get_certificate(ssl);
    staple_t *s = cert != NULL && ex_index >= 0 ? X509_get_ex_data(cert, ex_index) : NULL;
    time_t now = ngx_time();
    void *copy;

    if (s == NULL)
        return nginx_status != NULL ? nginx_status(ssl, arg) : SSL_TLSEXT_ERR_NOACK;
    if (!s->fetching && now >= s->again)
        start_fetch(s);
    if (s->der == NULL || now >= s->until)
        return SSL_TLSEXT_ERR_NOACK;
    copy = OPENSSL_memdup(s->der, s->len);
    if (copy == NULL || SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)s->len) != 1) {
        OPENSSL_free(copy);
        return SSL_TLSEXT_ERR_NOACK;
    }
    return SSL_TLSEXT_ERR_OK;
}

void
sb_tls_ocsp_install(SSL_CTX *ctx)
{
    int (*was)(SSL * ssl, void *arg) = NULL;

    enabled = true;
    SSL_CTX_get_tlsext_status_cb(ctx, &was);
    if (was != NULL && was != on_status)
        nginx_status = was;
    SSL_CTX_set_tlsext_status_cb(ctx, on_status);
}

void
sb_tls_ocsp_done(void)
{
    while (!ngx_queue_empty(&fetches))
        end_fetch(ngx_queue_data(ngx_queue_head(&fetches), fetch_t, link));
}
