/* What a name server's answer says: the wire format of RFC 1035 and 2782, read into addresses, services and aliases. */
#ifndef SB_RESOLVER_MSG_H
#define SB_RESOLVER_MSG_H

#include "proxy/resolver_addr.h"

#define SB_DNS_NAME_MAX 255

/* Record types, by their numbers on the wire. */
enum { SB_DNS_A = 1, SB_DNS_CNAME = 5, SB_DNS_AAAA = 28, SB_DNS_SRV = 33 };

typedef struct sb_dns_srv {
    uint16_t priority, weight, port;
    char target[SB_DNS_NAME_MAX + 1]; /* lower case, without the last dot; a CNAME's too, the numbers 0 then */
} sb_dns_srv_t;

/* The records of one type. */
typedef struct sb_dns_answer {
    uint32_t ttl;       /* seconds: the least of the records and the aliases that led to them */
    uint32_t n;         /* at least 1 */
    sb_addr_t *addrs;   /* n of them for A and AAAA, else NULL */
    sb_dns_srv_t *srvs; /* n of them for SRV, one for CNAME, else NULL */
} sb_dns_answer_t;

/*
 * Reads the records of `type` (SB_DNS_*) that the message has for the name it was asked, following aliases within the message (unless
 * they are what was asked for). Records of other names are not looked at. SB_OK: *out is to be freed with sb_dns_answer_free();
 * SB_DECLINED: there is no such record; SB_ERROR: not an answer, or malformed. Only with SB_OK is anything allocated.
 */
int sb_dns_parse(const uint8_t *msg, size_t len, int type, sb_dns_answer_t *out);
void sb_dns_answer_free(sb_dns_answer_t *a);

#endif
