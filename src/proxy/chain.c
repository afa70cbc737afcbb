/*
 * Chains: which plugin instances run for a request, in which order, and the walk over them.
 *
 * A chain holds one step per plugin name, the instance with the most specific scope. Three levels share as much as they can: the
 * global chain, the chain of a service (the global one itself when the service has no plugins), and the chain of a route (its
 * service's when the route has none). Each is built when first used and again after an event moved one of the counters in its
 * stamp. A consumer that was authenticated can change which instance the later steps use; then the request gets a list of its
 * own: what has run, followed by the consumer's choice of what has not.
 */
#include "proxy/proxy_int.h"

#include <stdlib.h>

static const sb_uuid_t no_uuid;

struct sb_held_chain {
    struct sb_held_chain *next;
    sb_chain_t *chain;
};

/* ---- references ---- */

sb_chain_t *
sb_chain_ref(sb_chain_t *chain)
{
    chain->refs++;
    return chain;
}

void
sb_chain_unref(sb_chain_t *chain)
{
    if (chain == NULL || --chain->refs != 0)
        return;
    for (uint32_t i = 0; i < chain->n; i++)
        sb_step_unref(chain->steps[i]);
    sb_cache_bytes -= sizeof(*chain) + chain->n * sizeof(chain->steps[0]);
    free(chain);
}

/* ---- building ---- */

struct scope {
    const sb_uuid_t *route, *service, *consumer; /* NULL: none */
};

struct candidates {
    struct scope scope;
    sb_step_t **steps;
    size_t n, cap;
};

static bool
same(const sb_uuid_t *a, const sb_uuid_t *b)
{
    return memcmp(a->b, b->b, SB_UUID_LEN) == 0;
}

/* A scope member of an instance fits when it names nothing or what the request has. */
static bool
fits(const sb_uuid_t *of_step, const sb_uuid_t *of_request)
{
    return same(of_step, &no_uuid) || (of_request != NULL && same(of_step, of_request));
}

/* How specific an instance is, by the interface's order: consumers weigh most when they come with a route or a service. */
static int
specificity(const sb_step_t *s)
{
    static const int rank[8] = {/* global */ 0,   /* service */ 1,  /* route */ 2,  /* route+service */ 4,
                                /* consumer */ 3, /* +service */ 5, /* +route */ 6, /* all */ 7};

    return rank[(same(&s->scope_service, &no_uuid) ? 0 : 1) + (same(&s->scope_route, &no_uuid) ? 0 : 2) +
                (same(&s->scope_consumer, &no_uuid) ? 0 : 4)];
}

/* Order of running: priority, then name, both descending. */
static int
order(const sb_step_t *a, const sb_step_t *b)
{
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    return strcmp(b->name, a->name);
}

static bool
add_candidate(const sb_row_t *row, void *arg)
{
    struct candidates *c = arg;
    sb_step_t *s = sb_step_get(row);

    if (s == NULL)
        return true;
    if (!fits(&s->scope_route, c->scope.route) || !fits(&s->scope_service, c->scope.service) ||
        !fits(&s->scope_consumer, c->scope.consumer)) {
        sb_step_unref(s);
        return true;
    }
    for (size_t i = 0; i < c->n; i++) {
        sb_step_t *other = c->steps[i];
        if (strcmp(other->name, s->name) != 0)
            continue;
        c->steps[i] = specificity(s) > specificity(other) ? s : other;
        sb_step_unref(c->steps[i] == s ? other : s);
        return true;
    }
    if (c->n == c->cap) {
        c->cap = c->cap != 0 ? 2 * c->cap : 8;
        c->steps = sb_realloc(c->steps, c->cap * sizeof(*c->steps));
    }
    c->steps[c->n++] = s;
    return true;
}

static int
compare_steps(const void *a, const void *b)
{
    return order(*(sb_step_t *const *)a, *(sb_step_t *const *)b);
}

static void
sum_phases(sb_step_t *const *steps, uint32_t n, uint32_t *phases, uint32_t *lua_phases)
{
    *phases = *lua_phases = 0;
    for (uint32_t i = 0; i < n; i++) {
        *phases |= steps[i]->phases;
        if (steps[i]->native == NULL)
            *lua_phases |= steps[i]->phases;
    }
}

static sb_chain_t *
build(struct scope scope)
{
    struct candidates c = {.scope = scope};
    sb_chain_t *chain;

    sb_model_global_plugins(sb_worker.reader, add_candidate, &c);
    if (scope.service != NULL)
        sb_model_children(sb_worker.reader, sb_worker.plugins, "service", scope.service, add_candidate, &c);
    if (scope.route != NULL)
        sb_model_children(sb_worker.reader, sb_worker.plugins, "route", scope.route, add_candidate, &c);
    if (scope.consumer != NULL)
        sb_model_children(sb_worker.reader, sb_worker.plugins, "consumer", scope.consumer, add_candidate, &c);
    if (c.n > 1)
        qsort(c.steps, c.n, sizeof(*c.steps), compare_steps);
    chain = sb_malloc(sizeof(*chain) + c.n * sizeof(chain->steps[0]));
    chain->refs = 1;
    chain->n = (uint32_t)c.n;
    if (c.n != 0)
        memcpy(chain->steps, c.steps, c.n * sizeof(chain->steps[0]));
    sum_phases(chain->steps, chain->n, &chain->phases, &chain->lua_phases);
    sb_cache_bytes += sizeof(*chain) + c.n * sizeof(chain->steps[0]);
    free(c.steps);
    return chain;
}

static bool
note_row(const sb_row_t *row, void *arg)
{
    *(bool *)arg = true;
    return false;
}

static bool
has_plugins(const char *field, const sb_uuid_t *id)
{
    bool any = false;

    sb_model_children(sb_worker.reader, sb_worker.plugins, field, id, note_row, &any);
    return any;
}

sb_chain_t *
sb_chain_global(void)
{
    static uint64_t stamp;

    if ((sb_worker.global_chain == NULL || stamp != sb_worker.global_epoch) && sb_model_begin(sb_worker.reader, NULL) == SB_OK) {
        sb_chain_t *chain = build((struct scope){NULL, NULL, NULL});
        sb_model_end(sb_worker.reader);
        sb_chain_unref(sb_worker.global_chain);
        sb_worker.global_chain = chain;
        stamp = sb_worker.global_epoch;
    }
    return sb_worker.global_chain != NULL ? sb_chain_ref(sb_worker.global_chain) : NULL;
}

sb_chain_t *
sb_chain_of_service(sb_service_t *s)
{
    if (s->chain == NULL || s->chain_stamp[0] != sb_worker.global_epoch || s->chain_stamp[1] != s->plugins_epoch) {
        sb_chain_t *chain = has_plugins("service", &s->node.id) ? build((struct scope){NULL, &s->node.id, NULL}) : sb_chain_global();
        sb_chain_unref(s->chain);
        s->chain = chain;
        s->chain_stamp[0] = sb_worker.global_epoch;
        s->chain_stamp[1] = s->plugins_epoch;
    }
    return sb_chain_ref(s->chain);
}

sb_chain_t *
sb_chain_build_route(const sb_uuid_t *route, sb_service_t *s)
{
    if (!has_plugins("route", route))
        return NULL;
    return build((struct scope){route, s != NULL ? &s->node.id : NULL, NULL});
}

/* ---- the request's list ---- */

static void
hold(sb_ctx_t *ctx, sb_chain_t *chain)
{
    struct sb_held_chain *held = ngx_palloc(ctx->r->pool, sizeof(*held));

    if (held == NULL)
        return; /* the reference is kept for ever rather than given up too early */
    held->chain = chain;
    held->next = ctx->held;
    ctx->held = held;
}

void
sb_chain_use(sb_ctx_t *ctx, sb_chain_t *chain)
{
    if (ctx->held != NULL && ctx->held->chain == chain)
        sb_chain_unref(chain); /* the global chain of the rewrite phase is mostly the route's too */
    else
        hold(ctx, chain);
    ctx->steps = chain->steps;
    ctx->n_steps = chain->n;
    ctx->phases = chain->phases;
    ctx->lua_phases = chain->lua_phases;
    ctx->cursor = 0;
}

void
sb_chain_release(sb_ctx_t *ctx)
{
    for (struct sb_held_chain *held = ctx->held; held != NULL; held = held->next)
        sb_chain_unref(held->chain);
    ctx->held = NULL;
}

/* What has run stays; behind it comes what the new chain has at lower places. */
static void
splice_chain(sb_ctx_t *ctx, sb_chain_t *chain)
{
    sb_step_t **steps = ngx_palloc(ctx->r->pool, (ctx->cursor + chain->n) * sizeof(*steps) + 1);
    uint32_t n = ctx->cursor, from = 0;

    if (steps == NULL)
        return;
    memcpy(steps, ctx->steps, n * sizeof(*steps));
    while (n != 0 && from < chain->n && order(chain->steps[from], steps[n - 1]) <= 0)
        from++;
    for (; from < chain->n; from++)
        steps[n++] = chain->steps[from];
    ctx->steps = steps;
    ctx->n_steps = n;
    sum_phases(steps, n, &ctx->phases, &ctx->lua_phases);
}

/* The chain for a consumer: the last ones that were asked for are kept. NULL: the consumer has no plugins. */
static sb_chain_t *
consumer_chain(sb_ctx_t *ctx, const sb_uuid_t *consumer)
{
    enum { KEPT = 256 };
    static struct {
        sb_uuid_t route, consumer;
        uint64_t stamp[4];
        sb_chain_t *chain;
        bool set;
    } kept[KEPT];
    sb_service_t *service = ctx->service;
    uint64_t stamp[4] = {sb_worker.global_epoch, sb_worker.consumer_epoch, sb_worker.route_epoch,
                         service != NULL ? service->plugins_epoch : 0};
    size_t at = (consumer->b[15] ^ (ctx->route.route.b[15] * 7u) ^ consumer->b[7]) % KEPT;
    struct scope scope = {&ctx->route.route, service != NULL ? &service->node.id : NULL, consumer};

    if (kept[at].set && same(&kept[at].route, scope.route) && same(&kept[at].consumer, consumer) &&
        memcmp(kept[at].stamp, stamp, sizeof(stamp)) == 0)
        return kept[at].chain;
    sb_chain_unref(kept[at].chain);
    kept[at].chain = has_plugins("consumer", consumer) ? build(scope) : NULL;
    kept[at].route = *scope.route;
    kept[at].consumer = *consumer;
    memcpy(kept[at].stamp, stamp, sizeof(stamp));
    kept[at].set = true;
    return kept[at].chain;
}

void
sb_chain_set_consumer(sb_ctx_t *ctx, const sb_uuid_t *consumer)
{
    sb_chain_t *chain = NULL;

    if (ctx->base == NULL || ctx->phase != SB_PHASE_ACCESS)
        return;
    if (consumer == NULL ? !ctx->has_consumer : ctx->has_consumer && same(&ctx->consumer, consumer))
        return;
    if (consumer != NULL && sb_model_begin(sb_worker.reader, NULL) == SB_OK) {
        chain = consumer_chain(ctx, consumer);
        sb_model_end(sb_worker.reader);
    }
    if (chain != NULL || ctx->has_consumer) {
        chain = chain != NULL ? chain : ctx->base;
        hold(ctx, sb_chain_ref(chain));
        splice_chain(ctx, chain);
    }
    ctx->has_consumer = consumer != NULL;
    if (consumer != NULL)
        ctx->consumer = *consumer;
}

/* ---- the walk ---- */

void
sb_chain_rewind(sb_ctx_t *ctx, enum sb_phase phase)
{
    ctx->phase = phase;
    ctx->cursor = 0;
}

void
sb_chain_begin(sb_ctx_t *ctx, enum sb_phase phase)
{
    if ((phase == SB_PHASE_REWRITE || phase == SB_PHASE_ACCESS) && ctx->phase == phase)
        return;
    sb_chain_rewind(ctx, phase);
    if (!(ctx->lua_phases & SB_PHASE_BIT(phase)))
        ctx->cursor = ctx->n_steps;
}

static enum sb_verdict
call_native(sb_ctx_t *ctx, const sb_step_t *s)
{
    switch (ctx->phase) {
    case SB_PHASE_REWRITE:
        return s->native->rewrite(ctx, s->conf);
    case SB_PHASE_ACCESS:
        return s->native->access(ctx, s->conf);
    case SB_PHASE_HEADER_FILTER:
        return s->native->header_filter(ctx, s->conf);
    case SB_PHASE_LOG:
        s->native->log(ctx, s->conf);
        return SB_NEXT;
    default:
        return SB_NEXT;
    }
}

static bool
may_exit(const sb_ctx_t *ctx)
{
    return ctx->phase == SB_PHASE_REWRITE || ctx->phase == SB_PHASE_ACCESS;
}

/* Runs native steps up to the next Lua one, which the cursor then stands on. data NULL: not a body filter. */
static enum sb_chain_verdict
walk(sb_ctx_t *ctx, sb_cstr *data, bool eof)
{
    uint32_t bit = SB_PHASE_BIT(ctx->phase);

    if (ctx->exited && may_exit(ctx))
        return SB_CHAIN_EXIT;
    while (ctx->cursor < ctx->n_steps) {
        const sb_step_t *s = ctx->steps[ctx->cursor];
        enum sb_verdict v = SB_NEXT;

        if ((s->phases & bit) != 0) {
            if (s->native == NULL)
                return SB_CHAIN_LUA;
            ctx->cursor++;
            v = data != NULL ? s->native->body_filter(ctx, s->conf, data, eof) : call_native(ctx, s);
        } else
            ctx->cursor++;
        if (v == SB_WAIT && may_exit(ctx)) {
            ctx->waiting = 1;
            return SB_CHAIN_WAIT;
        }
        if (v == SB_EXIT && ctx->exited && may_exit(ctx))
            return SB_CHAIN_EXIT;
    }
    return SB_CHAIN_DONE;
}

static enum sb_chain_verdict
consume(sb_ctx_t *ctx, enum sb_chain_verdict v, const sb_step_t **step)
{
    *step = v == SB_CHAIN_LUA ? ctx->steps[ctx->cursor++] : NULL;
    return v;
}

enum sb_chain_verdict
sb_chain_run(sb_ctx_t *ctx)
{
    return walk(ctx, NULL, false);
}

enum sb_chain_verdict
sb_chain_next(sb_ctx_t *ctx, const sb_step_t **step)
{
    return consume(ctx, walk(ctx, NULL, false), step);
}

enum sb_chain_verdict
sb_chain_next_body(sb_ctx_t *ctx, const char **data, size_t *len, bool eof, const sb_step_t **step)
{
    sb_cstr chunk = {*data, *len};
    enum sb_chain_verdict v = consume(ctx, walk(ctx, &chunk, eof), step);

    *data = chunk.data;
    *len = chunk.len;
    return v;
}
