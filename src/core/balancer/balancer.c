/*
 * The balancer: algorithms behind one seam (struct algorithm), so that the ones to come are one file and one row each.
 * round_robin.c is the only one yet. A balancer belongs to one worker; nothing here is locked.
 */
#include "core/balancer/balancer_int.h"

#include <stdlib.h>
#include <string.h>

static const struct algorithm *const algorithms[] = {&round_robin};

static const struct algorithm *
find_algorithm(const char *name)
{
    for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++)
        if (strcmp(algorithms[i]->name, name) == 0)
            return algorithms[i];
    return NULL;
}

int
sb_balancer_new(const char *algorithm, const sb_target_t *targets, size_t n, sb_balancer_t **out, sb_err_t *err)
{
    const struct algorithm *a = find_algorithm(algorithm);
    sb_balancer_t *b;

    *out = NULL;
    if (a == NULL)
        return sb_err_set(err, SB_E_NONE, "balancer: algorithm '%s' is not supported", algorithm);
    if (n > INT32_MAX)
        return sb_err_set(err, SB_E_NONE, "balancer: too many targets");
    b = sb_calloc(sizeof(*b));
    b->magic = BALANCER_MAGIC;
    b->algorithm = a;
    b->n = n;
    b->targets = sb_calloc((n + 1) * sizeof(*b->targets));
    for (size_t i = 0; i < n; i++) {
        b->targets[i] = targets[i];
        b->targets[i].host.data = sb_strdup_len(targets[i].host.data, targets[i].host.len);
    }
    b->state = a->start(b);
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
    for (size_t i = 0; i < b->n; i++)
        free((char *)b->targets[i].host.data);
    free(b->targets);
    b->magic = 0;
    free(b);
}

size_t
sb_balancer_count(const sb_balancer_t *b)
{
    SB_CHECK_MAGIC(b, BALANCER_MAGIC);
    return b->n;
}

int
sb_balancer_pick(sb_balancer_t *b, const uint64_t *tried)
{
    SB_CHECK_MAGIC(b, BALANCER_MAGIC);
    return b->algorithm->pick(b->state, tried);
}

const sb_target_t *
sb_balancer_target(const sb_balancer_t *b, int index)
{
    SB_CHECK_MAGIC(b, BALANCER_MAGIC);
    SB_ASSERT(index >= 0 && (size_t)index < b->n);
    return &b->targets[index];
}
