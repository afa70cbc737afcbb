/* The text of a hosts file: names and addresses that come out of it lie within it, and are not empty. As that of a resolv.conf it says
 * nothing out of bounds. */
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

    sb_dns_times_t times = {0};

    sb_hosts_parse(t.data, size, check, &t);
    sb_resolv_conf_parse(t.data, size, &times);
    sb_dns_options_parse(t.data, size, &times);
    SB_ASSERT(times.timeout <= MAX_TIMEOUT && times.attempts <= MAX_ATTEMPTS);
    return 0;
}
