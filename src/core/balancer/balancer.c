/*
 * The balancer: algorithms behind one seam (struct algorithm), each in a file of its own (least-connections and latency share ranked.c).
 * A balancer belongs to one worker; nothing here is locked.
 */
#include "core/balancer/balancer_int.h"

#include <stdlib.h>
#include <string.h>

static const struct algorithm *const algorithms[] = {&round_robin, &consistent_hashing, &least_connections, &latency};

static const struct algorithm *
find_algorithm(const char *name)
{
    for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++)
        if (strcmp(algorithms[i]->name, name) == 0)
            return algorithms[i];
    return NULL;
}

uint32_t *
random_order(size_t n)
{
    uint32_t *order = sb_malloc((n + 1) * sizeof(*order));

    sb_random_bytes(order, n * sizeof(*order));
    return order;
}

int
sb_balancer_new(const sb_balancer_conf_t *conf, sb_balancer_t **out, sb_err_t *err)
{
    const struct algorithm *a = find_algorithm(conf->algorithm);
    sb_balancer_conf_t own = *conf;
    sb_balancer_t *b;

    *out = NULL;
    if (a == NULL)
        return sb_err_set(err, SB_E_NONE, "balancer: there is no algorithm '%s'", conf->algorithm);
    if (conf->n > INT32_MAX / 2)
        return sb_err_set(err, SB_E_NONE, "balancer: too many targets");
    b = sb_calloc(sizeof(*b));
    b->magic = BALANCER_MAGIC;
    b->algorithm = a;
    b->n = conf->n;
    if (own.before != NULL && own.before->algorithm != a)
        own.before = NULL;
    b->state = a->start(&own);
    *out = b;
    return SB_OK;
}

void
sb_balancer_free(sb_balancer_t *b)
{
    if (b == NULL)
        return;
    SB_CHECK_MAGIC(b, BALANCER_MAGIC);
    b->algorithm->end(b->state);
    b->magic = 0;
    free(b);
}

size_t
sb_balancer_count(const sb_balancer_t *b)
{
    SB_CHECK_MAGIC(b, BALANCER_MAGIC);
    return b->n;
}

bool
sb_balancer_hashes(const sb_balancer_t *b)
{
    SB_CHECK_MAGIC(b, BALANCER_MAGIC);
    return b->algorithm->hashes;
}

bool
sb_balancer_learns(const sb_balancer_t *b)
{
    SB_CHECK_MAGIC(b, BALANCER_MAGIC);
    return b->algorithm->done != NULL;
}

void
sb_balancer_set_down(sb_balancer_t *b, const uint64_t *down)
{
    SB_CHECK_MAGIC(b, BALANCER_MAGIC);
    b->algorithm->set_down(b->state, down);
}

int
sb_balancer_pick(sb_balancer_t *b, uint32_t hash, const uint64_t *tried)
{
    SB_CHECK_MAGIC(b, BALANCER_MAGIC);
    return b->algorithm->pick(b->state, hash, tried);
}

void
sb_balancer_done(sb_balancer_t *b, int index, uint64_t now_ms, double latency_ms)
{
    SB_CHECK_MAGIC(b, BALANCER_MAGIC);
    SB_ASSERT(index >= 0 && (size_t)index < b->n);
    if (b->algorithm->done != NULL)
        b->algorithm->done(b->state, index, now_ms, latency_ms);
}
