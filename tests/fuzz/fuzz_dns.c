/*
 * Answers of name servers: the first byte says which type was asked for, the rest is the message. What is read from it is within bounds:
 * names are text that could be asked for, and there is at least one record.
 */
#include "proxy/resolver_msg.c"
#include "proxy/resolver_hosts.c"

#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int types[] = {SB_DNS_A, SB_DNS_AAAA, SB_DNS_SRV, SB_DNS_CNAME};
    sb_dns_answer_t a;

    if (size == 0)
        return 0;
    if (sb_dns_parse(data + 1, size - 1, types[data[0] & 3], &a) != SB_OK)
        return 0;
    SB_ASSERT(a.n > 0 && (a.addrs != NULL) != (a.srvs != NULL) && a.ttl <= INT32_MAX);
    for (uint32_t i = 0; i < a.n; i++)
        if (a.addrs != NULL)
            SB_ASSERT(a.addrs[i].text_len == strlen(a.addrs[i].text) && a.addrs[i].len != 0);
        else
            for (const char *c = a.srvs[i].target; *c != '\0'; c++)
                SB_ASSERT(*c > ' ' && *c < 0x7f);
    sb_dns_answer_free(&a);
    return 0;
}
