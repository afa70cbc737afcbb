/* The text of a hosts file: names and addresses that come out of it lie within it, and are not empty. */
#include "proxy/resolver_hosts.c"

#include "fuzz.h"

struct text {
    const char *data;
    size_t size;
};

static void
check(sb_str_t name, const sb_addr_t *addr, void *arg)
{
    const struct text *t = arg;

    SB_ASSERT(name.len != 0 && name.data >= t->data && name.data + name.len <= t->data + t->size);
    SB_ASSERT(addr->text_len == strlen(addr->text) && addr->len != 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text t = {(const char *)data, size};

    sb_hosts_parse(t.data, size, check, &t);
    return 0;
}
