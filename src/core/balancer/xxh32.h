/* XXH32, the hash that ring positions and hashed values are made with. */
#ifndef SB_XXH32_H
#define SB_XXH32_H

#include <stddef.h>
#include <stdint.h>

/* Of len bytes, seed 0. data may be NULL when len is 0. */
uint32_t sb_xxh32(const void *data, size_t len);

#endif
