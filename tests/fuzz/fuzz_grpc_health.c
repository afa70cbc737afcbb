/* Answers of gRPC's health service: whatever lies behind the end of one changes nothing about it. */
#include "core/balancer/health.h"
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *longer = malloc(size + 8);

    SB_ASSERT(longer != NULL);
    if (size != 0)
        memcpy(longer, data, size);
    memset(longer + size, 0x08, 8);
    if (sb_health_grpc_serving(data, size))
        SB_ASSERT(sb_health_grpc_serving(longer, size + 8));
    free(longer);
    return 0;
}
