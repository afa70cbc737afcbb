/*
 * Pools of idle connections; see keepalive.h. Pools are found in a small hash table by address and key. In a pool the connection
 * parked last is taken first, so those at the other end are the oldest and one timer per pool closes them: requests that keep the pool
 * busy touch no timer.
 */
#include "proxy/keepalive.h"

#include <stdlib.h>

#define BUCKETS    1024
#define SESSION_MS 300000 /* how long a pool outlives its last connection for its TLS session */

struct parked {
    ngx_connection_t *c; /* its data is the pool */
    ngx_msec_t since;
};

struct sb_kpool {
    sb_kpool_t *next; /* in its bucket */
    uint32_t refs;
    uint32_t hash;
    struct parked *idle; /* a stack: the latest is the last */
    ngx_uint_t n, cap;
    ngx_event_t timer;
    SSL_SESSION *session;
    socklen_t sa_len;
    struct sockaddr_storage sa;
    sb_str_t key;
};

static sb_kpool_t *buckets[BUCKETS];

/* ---- pools ---- */

static uint32_t
hash_of(const struct sockaddr *sa, socklen_t len, sb_str_t key)
{
    return ngx_murmur_hash2((u_char *)sa, len) ^ ngx_murmur_hash2((u_char *)key.data, key.len);
}

static void expire(ngx_event_t *ev);

sb_kpool_t *
sb_kpool_get(const struct sockaddr *sa, socklen_t len, sb_str_t key)
{
    uint32_t hash = hash_of(sa, len, key);
    sb_kpool_t **bucket = &buckets[hash % BUCKETS], *p;

    for (p = *bucket; p != NULL; p = p->next) {
        if (p->hash == hash && p->sa_len == len && memcmp(&p->sa, sa, len) == 0 && sb_str_eq(p->key, key)) {
            if (p->refs++ == 0 && p->timer.timer_set)
                ngx_del_timer(&p->timer); /* it was kept for its session only */
            return p;
        }
    }
    SB_ASSERT(len <= sizeof(p->sa));
    p = sb_calloc(sizeof(*p));
    p->refs = 1;
    p->hash = hash;
    p->timer.handler = expire;
    p->timer.data = p;
    p->timer.cancelable = 1;
    p->timer.log = ngx_cycle->log;
    p->sa_len = len;
    memcpy(&p->sa, sa, len);
    p->key = (sb_str_t){sb_strdup_len(key.data, key.len), key.len};
    p->next = *bucket;
    *bucket = p;
    return p;
}

static void
free_kpool(sb_kpool_t *pool)
{
    sb_kpool_t **at = &buckets[pool->hash % BUCKETS];

    while (*at != pool)
        at = &(*at)->next;
    *at = pool->next;
    if (pool->timer.timer_set)
        ngx_del_timer(&pool->timer);
    SSL_SESSION_free(pool->session);
    free(pool->idle);
    free((char *)pool->key.data);
    free(pool);
}

sb_kpool_t *
sb_kpool_ref(sb_kpool_t *pool)
{
    pool->refs++;
    return pool;
}

void
sb_kpool_unref(sb_kpool_t *pool)
{
    if (--pool->refs != 0)
        return;
    if (pool->session == NULL || ngx_exiting || ngx_terminate)
        free_kpool(pool);
    else
        ngx_add_timer(&pool->timer, SESSION_MS);
}

SSL_SESSION *
sb_kpool_session(sb_kpool_t *pool)
{
    return pool->session;
}

void
sb_kpool_session_set(sb_kpool_t *pool, SSL_SESSION *session)
{
    SSL_SESSION_free(pool->session);
    pool->session = session;
}

/* ---- parking ---- */

static void
close_connection(ngx_connection_t *c)
{
    if (c->ssl != NULL) {
        /* The other side has nothing to tell any more: neither wait for its close_notify nor insist on ours. */
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;
        if (ngx_ssl_shutdown(c) == NGX_AGAIN) {
            c->ssl->handler = close_connection;
            return;
        }
    }
    if (c->pool != NULL)
        ngx_destroy_pool(c->pool);
    ngx_close_connection(c);
}

/* Takes one out of the stack. The pool may be gone afterwards. */
static ngx_connection_t *
unpark(sb_kpool_t *pool, ngx_uint_t at)
{
    ngx_connection_t *c = pool->idle[at].c;

    pool->n--;
    if (at != pool->n)
        memmove(&pool->idle[at], &pool->idle[at + 1], (pool->n - at) * sizeof(pool->idle[0]));
    sb_kpool_unref(pool);
    return c;
}

static void
expire(ngx_event_t *ev)
{
    sb_kpool_t *pool = ev->data;

    if (pool->refs == 0) {
        free_kpool(pool);
        return;
    }
    pool->refs++; /* ours, while connections leave it */
    while (pool->n != 0) {
        ngx_msec_t age = ngx_current_msec - pool->idle[0].since;
        if (age < sb_conf->keepalive_timeout) {
            ngx_add_timer(ev, sb_conf->keepalive_timeout - age);
            break;
        }
        close_connection(unpark(pool, 0));
    }
    sb_kpool_unref(pool);
}

static void
close_parked(ngx_connection_t *c)
{
    sb_kpool_t *pool = c->data;

    for (ngx_uint_t i = 0; i < pool->n; i++) {
        if (pool->idle[i].c == c) {
            close_connection(unpark(pool, i));
            return;
        }
    }
}

/* Something happened on a parked connection: only its end can have, or the worker closes. */
static void
on_idle_event(ngx_event_t *ev)
{
    ngx_connection_t *c = ev->data;
    char byte;

    if (!c->close) {
        ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK);
        if (n < 0 && ngx_socket_errno == NGX_EAGAIN) {
            ev->ready = 0;
            if (ngx_handle_read_event(ev, 0) == NGX_OK)
                return;
        }
    }
    close_parked(c);
}

static void
ignore_event(ngx_event_t *ev)
{
}

bool
sb_kpool_take(sb_kpool_t *pool, ngx_peer_connection_t *pc)
{
    ngx_connection_t *c;

    if (pool->n == 0)
        return false;
    c = unpark(pool, pool->n - 1);
    c->idle = 0;
    c->sent = 0;
    c->data = NULL;
    c->log = pc->log;
    c->read->log = pc->log;
    c->write->log = pc->log;
    if (c->pool != NULL)
        c->pool->log = pc->log;
    pc->connection = c;
    pc->cached = 1;
    return true;
}

/* Whether the exchange left the connection as it found it. */
static bool
reusable(const ngx_connection_t *c, const ngx_http_upstream_t *u, ngx_uint_t state)
{
    if (c == NULL || (state & NGX_PEER_FAILED) != 0 || !u->keepalive || !u->request_body_sent)
        return false;
    if (c->read->eof || c->read->error || c->read->timedout || c->write->error || c->write->timedout)
        return false;
    if (sb_conf->keepalive_size == 0 || (sb_conf->keepalive_requests != 0 && c->requests >= sb_conf->keepalive_requests))
        return false;
    return !ngx_terminate && !ngx_exiting;
}

static void
park(sb_kpool_t *pool, ngx_connection_t *c)
{
    if (pool->n >= sb_conf->keepalive_size)
        close_connection(unpark(pool, 0));
    if (pool->n == pool->cap) {
        pool->cap = pool->cap != 0 ? 2 * pool->cap : 8;
        pool->idle = sb_realloc(pool->idle, pool->cap * sizeof(pool->idle[0]));
    }
    pool->idle[pool->n++] = (struct parked){c, ngx_current_msec};
    pool->refs++;
    if (sb_conf->keepalive_timeout != 0 && !pool->timer.timer_set)
        ngx_add_timer(&pool->timer, sb_conf->keepalive_timeout);
    c->data = pool;
    c->idle = 1;
    c->read->handler = on_idle_event;
    c->write->handler = ignore_event;
    c->log = ngx_cycle->log;
    c->read->log = ngx_cycle->log;
    c->write->log = ngx_cycle->log;
    if (c->pool != NULL)
        c->pool->log = ngx_cycle->log;
    if (c->read->ready)
        on_idle_event(c->read);
}

void
sb_kpool_put(sb_kpool_t *pool, ngx_peer_connection_t *pc, const ngx_http_upstream_t *u, ngx_uint_t state)
{
    ngx_connection_t *c = pc->connection;

    if (!reusable(c, u, state) || ngx_handle_read_event(c->read, 0) != NGX_OK)
        return;
    pc->connection = NULL;
    c->read->delayed = 0;
    if (c->read->timer_set)
        ngx_del_timer(c->read);
    if (c->write->timer_set)
        ngx_del_timer(c->write);
    park(pool, c);
}
