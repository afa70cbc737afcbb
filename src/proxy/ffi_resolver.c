/*
 * The resolver for Lua: cosockets look names up here before they connect (lua/kong/silverback/cosocket.lua). A lookup that
 * must wait posts an ngx.semaphore of the Lua module when it is over; Lua keeps that semaphore alive until it has called
 * sb_ffi_resolve_end(), which every started lookup must see exactly once (a finaliser does it for threads that were killed).
 *
 * No Lua code runs inside any of these calls, so they may be called from compiled traces.
 */
#include "proxy/resolver.h"
#include "silverback/sb_ffi_resolver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*sema_post_pt)(void *sema, int n);

struct waiting {
    sb_query_t query;
    void *sema;
    sb_addrs_t *addrs;
    const char *why;
    bool over;
};

/* The Lua module is another shared object, loaded before or after this one: found when it is first needed. */
static sema_post_pt
sema_post(void)
{
    static sema_post_pt post;

    if (post == NULL) {
        void *symbol = dlsym(RTLD_DEFAULT, "ngx_http_lua_ffi_sema_post");
        memcpy(&post, &symbol, sizeof(post));
    }
    return post;
}

static int
give(sb_addrs_t *addrs, sb_ffi_address_t *out)
{
    const sb_addr_t *a = sb_addrs_next(addrs);

    out->port = a->port;
    if (a->sa.any.sa_family == AF_INET6)
        out->len = (size_t)snprintf(out->ip, SB_FFI_IP_MAX, "[%s]", a->text);
    else {
        memcpy(out->ip, a->text, a->text_len);
        out->len = a->text_len;
    }
    return SB_OK;
}

int
sb_ffi_resolve(const char *name, size_t len, sb_ffi_address_t *out, const char **why)
{
    sb_addrs_t *addrs;
    int rc = sb_resolver_lookup(name, len, &addrs, why);

    return rc == SB_OK ? give(addrs, out) : rc;
}

static void
on_done(sb_query_t *q, sb_addrs_t *addrs, const char *why)
{
    struct waiting *w = q->data;

    w->addrs = addrs != NULL ? sb_addrs_ref(addrs) : NULL;
    w->why = why;
    w->over = true;
    sema_post()(w->sema, 1);
}

void *
sb_ffi_resolve_start(const char *name, size_t len, void *sema)
{
    struct waiting *w;

    if (sema_post() == NULL)
        return NULL;
    w = sb_calloc(sizeof(*w));
    w->query.done = on_done;
    w->query.data = w;
    w->sema = sema;
    sb_resolver_start(name, len, &w->query);
    return w;
}

int
sb_ffi_resolve_end(void *lookup, sb_ffi_address_t *out, const char **why)
{
    struct waiting *w = lookup;
    int rc = SB_DECLINED;

    sb_resolver_cancel(&w->query);
    *why = w->over ? w->why : "dns lookup timed out";
    if (w->addrs != NULL)
        rc = give(w->addrs, out);
    sb_addrs_unref(w->addrs);
    free(w);
    return rc;
}
