/*
 * The ClientHello of TLS 1.0 to 1.3 (RFC 8446, 4.1.2; server_name: RFC 6066, 3): records of type 22 that hold, one behind the other, the
 * handshake message; in it after fixed fields and three lists the extensions. The message is read through a reader that steps over record
 * headers, so that a message in several records is no special case. Start at sb_client_hello_name().
 */
#include "core/base/client_hello.h"

#include <string.h>

#define RECORD_HANDSHAKE 22
#define CLIENT_HELLO     1
#define EXT_SERVER_NAME  0
#define HOST_NAME        0

/* state: SB_OK while all is well, else why reading has stopped. After that every read gives 0. */
struct reader {
    const unsigned char *p, *end;
    size_t in_record; /* bytes left of the record */
    size_t left;      /* bytes left of the message, once it is known */
    int state;
};

static void
next_record(struct reader *r)
{
    if (r->end - r->p < 5) {
        bool plausible = r->p == r->end || (r->p[0] == RECORD_HANDSHAKE && (r->end - r->p < 2 || r->p[1] == 3));
        r->state = plausible ? SB_HELLO_MORE : SB_DECLINED;
        return;
    }
    r->in_record = (size_t)r->p[3] << 8 | r->p[4];
    if (r->p[0] != RECORD_HANDSHAKE || r->p[1] != 3 || r->in_record == 0 || r->in_record > SB_CLIENT_HELLO_MAX)
        r->state = SB_DECLINED;
    r->p += 5;
}

static unsigned
byte(struct reader *r)
{
    if (r->state == SB_OK && r->left == 0)
        r->state = SB_DECLINED;
    if (r->state == SB_OK && r->in_record == 0)
        next_record(r);
    if (r->state == SB_OK && r->p == r->end)
        r->state = SB_HELLO_MORE;
    if (r->state != SB_OK)
        return 0;
    r->in_record--;
    r->left--;
    return *r->p++;
}

static size_t
number(struct reader *r, unsigned bytes)
{
    size_t n = 0;

    while (bytes-- > 0)
        n = n << 8 | byte(r);
    return n;
}

static void
skip(struct reader *r, size_t n)
{
    while (n-- > 0 && r->state == SB_OK)
        byte(r);
}

static unsigned
lower(unsigned c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

/* Of lower case. */
static bool
host_char(unsigned c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == ':';
}

static void
read_name(struct reader *r, size_t len, char *name)
{
    bool good = len <= SB_SERVER_NAME_MAX;
    size_t n = 0;

    for (; n < len && r->state == SB_OK; n++) {
        unsigned c = lower(byte(r));
        good = good && host_char(c);
        if (good)
            name[n] = (char)c;
    }
    name[good && r->state == SB_OK ? n : 0] = '\0';
}

static void
read_server_names(struct reader *r, size_t size, char *name)
{
    size_t list = number(r, 2);

    if (list + 2 != size)
        r->state = r->state == SB_OK ? SB_DECLINED : r->state;
    while (list >= 3 && r->state == SB_OK) {
        unsigned type = byte(r);
        size_t len = number(r, 2);
        if (len > list - 3) {
            r->state = SB_DECLINED;
            return;
        }
        list -= len + 3;
        if (type == HOST_NAME) {
            read_name(r, len, name);
            skip(r, list);
            return;
        }
        skip(r, len);
    }
}

static void
read_extensions(struct reader *r, char *name)
{
    size_t total = number(r, 2);

    while (total >= 4 && r->state == SB_OK) {
        size_t type = number(r, 2), size = number(r, 2);
        if (size > total - 4) {
            r->state = SB_DECLINED;
            return;
        }
        total -= size + 4;
        if (type == EXT_SERVER_NAME && size >= 2)
            read_server_names(r, size, name);
        else
            skip(r, size);
    }
}

int
sb_client_hello_name(const unsigned char *data, size_t len, char name[SB_SERVER_NAME_MAX + 1])
{
    struct reader r = {.p = data, .end = data + len, .left = 4, .state = SB_OK};
    unsigned type;

    name[0] = '\0';
    type = byte(&r);
    if (r.state == SB_OK && type != CLIENT_HELLO)
        return SB_DECLINED;
    r.left = number(&r, 3);
    if (r.left > SB_CLIENT_HELLO_MAX)
        return SB_DECLINED;
    skip(&r, 2 + 32); /* version, random */
    skip(&r, byte(&r));
    skip(&r, number(&r, 2));
    skip(&r, byte(&r));
    if (r.state == SB_OK && r.left != 0)
        read_extensions(&r, name);
    skip(&r, r.left);
    if (r.state != SB_OK)
        name[0] = '\0';
    return r.state;
}

bool
sb_server_name_lower(const char *name, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++) {
        unsigned c = lower((unsigned char)name[i]);
        if (!host_char(c))
            return false;
        out[i] = (char)c;
    }
    return true;
}
