/*
 * A set of UUIDs as fingerprints, eight bytes each, in buckets of one cache line, so that a look costs one. It may forget (in a bucket
 * that is full, one pushes another out), never invent: a fingerprint is a keyed hash, and nobody can choose an id that passes for
 * another's.
 */
#ifndef SB_PROXY_ID_SET_H
#define SB_PROXY_ID_SET_H

#include "core/base/uuid.h"

typedef struct sb_id_set {
    uint64_t *prints; /* 0: empty. NULL before the first is added */
    size_t size, n;
    uint64_t key[2];
} sb_id_set_t; /* starts as zeros */

bool sb_id_set_has(const sb_id_set_t *set, const sb_uuid_t *id);
/* id is not there yet. */
void sb_id_set_add(sb_id_set_t *set, const sb_uuid_t *id);
void sb_id_set_remove(sb_id_set_t *set, const sb_uuid_t *id); /* harmless when it is not there */
void sb_id_set_clear(sb_id_set_t *set);

#endif
