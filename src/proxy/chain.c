/*
 * Chains: which plugin instances run for a request, in which order, and the walk over them.
 *
 * A chain holds one step per plugin name, the instance with the most specific scope. Three levels share as much as they can: the
 * global chain, the chain of a service (the global one itself when the service has no plugins), and the chain of a route (its
 * service's when the route has none). Each is built when first used and again after an event moved one of the counters in its
 * stamp. A consumer that was authenticated can change which instance the later steps use, by itself and by the groups it is in; then the
 * request gets a list of its own: what has run, followed by the consumer's choice of what has not.
 *
 * Plugins without a scope are global in their workspace only. Before a route is matched, the default workspace's run.
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
    const sb_uuid_t *ws;                         /* NULL: any */
    const sb_uuid_t *route, *service, *consumer; /* NULL: none */
    const struct groups *groups;                 /* the consumer's; NULL: none */
    uint16_t protocols;                          /* instances for one of these; 0: for HTTP */
};

/* The groups of one consumer, by name: of two that bring the same plugin, the first one's instance runs. */
struct groups {
    struct membership {
        sb_uuid_t id;
        char *name;
    } * list;
    size_t n;
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

static bool
fits_group(const sb_step_t *s, const struct groups *groups)
{
    if (same(&s->scope_group, &no_uuid))
        return true;
    for (size_t i = 0; groups != NULL && i < groups->n; i++)
        if (same(&s->scope_group, &groups->list[i].id))
            return true;
    return false;
}

static bool
fits_scope(const sb_step_t *s, const struct scope *scope)
{
    if ((s->protocols & (scope->protocols != 0 ? scope->protocols : SB_PROTO_WEB)) == 0)
        return false;
    return fits(&s->scope_route, scope->route) && fits(&s->scope_service, scope->service) && fits(&s->scope_consumer, scope->consumer) &&
           fits_group(s, scope->groups);
}

/* How specific an instance is, by the interface's order: consumers, then groups, weigh most when they come with a route or a service. An
 * instance that names both a consumer and a group counts as the consumer's. */
static int
specificity(const sb_step_t *s)
{
    static const int rank[16] = {/* global */ 0,   /* service */ 1,  /* route */ 2,  /* route+service */ 5,
                                 /* consumer */ 4, /* +service */ 8, /* +route */ 9, /* all */ 11,
                                 /* group */ 3,    /* +service */ 6, /* +route */ 7, /* all */ 10,
                                 /* both */ 4,     /* +service */ 8, /* +route */ 9, /* all */ 11};

    return rank[(same(&s->scope_service, &no_uuid) ? 0 : 1) + (same(&s->scope_route, &no_uuid) ? 0 : 2) +
                (same(&s->scope_consumer, &no_uuid) ? 0 : 4) + (same(&s->scope_group, &no_uuid) ? 0 : 8)];
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
    sb_step_t *s = c->scope.ws == NULL || same(&row->ws, c->scope.ws) ? sb_step_get(row) : NULL;

    if (s == NULL)
        return true;
    if (!fits_scope(s, &c->scope)) {
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
    for (size_t i = 0; scope.groups != NULL && i < scope.groups->n; i++)
        sb_model_children(sb_worker.reader, sb_worker.plugins, "consumer_group", &scope.groups->list[i].id, add_candidate, &c);
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

/* The default workspace's id, NULL while it is not known; as of the last build of the global chain. */
static const sb_uuid_t *
default_ws(bool look)
{
    static sb_uuid_t id;
    static bool known;
    const char *text;

    if (look) {
        text = sb_model_default_ws(sb_worker.reader);
        known = sb_uuid_parse(text, strlen(text), &id);
    }
    return known ? &id : NULL;
}

sb_chain_t *
sb_chain_global(void)
{
    static uint64_t stamp;

    if (sb_worker.global_chain == NULL || stamp != sb_worker.global_epoch) {
        sb_chain_t *chain;
        sb_err_t err = {0};

        if (sb_model_begin(sb_worker.reader, &err) != SB_OK) {
            sb_log(SB_LOG_ERR, "cannot read which plugins are global: %s", err.message);
            sb_err_clear(&err);
            return NULL;
        }
        chain = build((struct scope){.ws = default_ws(true)});
        sb_model_end(sb_worker.reader);
        sb_chain_unref(sb_worker.global_chain);
        sb_worker.global_chain = chain;
        stamp = sb_worker.global_epoch;
    }
    return sb_chain_ref(sb_worker.global_chain);
}

sb_chain_t *
sb_chain_of_workspace(const sb_uuid_t *ws)
{
    enum { KEPT = 64 };
    static struct {
        sb_uuid_t ws;
        uint64_t stamp;
        sb_chain_t *chain;
    } kept[KEPT];
    sb_chain_t *global = sb_chain_global();
    const sb_uuid_t *dflt = default_ws(false);
    size_t at = (ws->b[15] ^ ws->b[3]) % KEPT;

    if (global == NULL || dflt == NULL || same(ws, dflt))
        return global;
    sb_chain_unref(global);
    if (kept[at].chain == NULL || kept[at].stamp != sb_worker.global_epoch || !same(&kept[at].ws, ws)) {
        sb_chain_unref(kept[at].chain);
        kept[at].chain = build((struct scope){.ws = ws});
        kept[at].ws = *ws;
        kept[at].stamp = sb_worker.global_epoch;
    }
    return sb_chain_ref(kept[at].chain);
}

sb_chain_t *
sb_chain_of_service(sb_service_t *s)
{
    if (s->chain == NULL || s->chain_stamp[0] != sb_worker.global_epoch || s->chain_stamp[1] != s->plugins_epoch) {
        sb_chain_t *chain = has_plugins("service", &s->node.id) ? build((struct scope){.ws = &s->ws, .service = &s->node.id})
                                                                : sb_chain_of_workspace(&s->ws);
        sb_chain_unref(s->chain);
        s->chain = chain;
        s->chain_stamp[0] = sb_worker.global_epoch;
        s->chain_stamp[1] = s->plugins_epoch;
    }
    return sb_chain_ref(s->chain);
}

sb_chain_t *
sb_chain_build_route(const sb_route_brief_t *route, sb_service_t *s)
{
    if (!has_plugins("route", &route->route))
        return NULL;
    return build((struct scope){.ws = &route->ws, .route = &route->route, .service = s != NULL ? &s->node.id : NULL});
}

sb_chain_t *
sb_chain_build_stream(const sb_route_brief_t *route, sb_service_t *s, uint16_t protocol)
{
    return build(
        (struct scope){.ws = &route->ws, .route = &route->route, .service = s != NULL ? &s->node.id : NULL, .protocols = protocol});
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

/* ---- groups of a consumer ---- */

static json_t *
row_of(const sb_entity_t *e, const sb_uuid_t *id)
{
    sb_row_t row;

    return sb_model_get(sb_worker.reader, e, id, &row) ? sb_json_parse(row.json.data, row.json.len, NULL) : NULL;
}

static bool
add_group(const sb_row_t *member, void *arg)
{
    struct groups *groups = arg;
    json_t *row = sb_json_parse(member->json.data, member->json.len, NULL), *group = NULL;
    const char *text = sb_json_foreign_id(row, "consumer_group"), *name;
    sb_uuid_t id;

    if (text != NULL && sb_uuid_parse(text, strlen(text), &id))
        group = row_of(sb_worker.consumer_groups, &id);
    name = sb_json_string(group, "name");
    if (name != NULL) {
        groups->list = sb_realloc(groups->list, (groups->n + 1) * sizeof(*groups->list));
        groups->list[groups->n++] = (struct membership){id, sb_strdup_len(name, strlen(name))};
    }
    json_decref(group);
    json_decref(row);
    return true;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(((const struct membership *)a)->name, ((const struct membership *)b)->name);
}

/* Whether any plugin at all names a group: one look per change of such plugins, so that nobody else pays for groups. */
static bool
groups_have_plugins(void)
{
    static uint64_t stamp;
    static bool known, any;

    if (!known || stamp != sb_worker.consumer_epoch) {
        any = sb_model_has_children(sb_worker.reader, sb_worker.plugins, "consumer_group");
        stamp = sb_worker.consumer_epoch;
        known = true;
    }
    return any;
}

static void
find_groups(const sb_uuid_t *consumer, struct groups *groups)
{
    if (!groups_have_plugins())
        return;
    sb_model_children(sb_worker.reader, sb_worker.group_members, "consumer", consumer, add_group, groups);
    if (groups->n > 1)
        qsort(groups->list, groups->n, sizeof(*groups->list), by_name);
}

static void
free_groups(struct groups *groups)
{
    for (size_t i = 0; i < groups->n; i++)
        free(groups->list[i].name);
    free(groups->list);
}

/* The chain of a scope with a consumer; NULL when neither the consumer nor a group of it has plugins. */
static sb_chain_t *
build_for_consumer(struct scope scope)
{
    struct groups groups = {0};
    bool any = has_plugins("consumer", scope.consumer);
    sb_chain_t *chain = NULL;

    find_groups(scope.consumer, &groups);
    for (size_t i = 0; i < groups.n && !any; i++)
        any = has_plugins("consumer_group", &groups.list[i].id);
    scope.groups = &groups;
    if (any)
        chain = build(scope);
    free_groups(&groups);
    return chain;
}

/* The chain for a consumer: the last ones that were asked for are kept. NULL: it has no plugins. */
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
    struct scope scope = {
        .ws = &ctx->route.ws, .route = &ctx->route.route, .service = service != NULL ? &service->node.id : NULL, .consumer = consumer};

    if (kept[at].set && same(&kept[at].route, scope.route) && same(&kept[at].consumer, consumer) &&
        memcmp(kept[at].stamp, stamp, sizeof(stamp)) == 0)
        return kept[at].chain;
    sb_chain_unref(kept[at].chain);
    kept[at].chain = build_for_consumer(scope);
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
