/* What a TLS client asks for in its first message, read without ending TLS. Pure: bytes in, a name out. */
#ifndef SB_CLIENT_HELLO_H
#define SB_CLIENT_HELLO_H

#include "core/base/base.h"

#define SB_CLIENT_HELLO_MAX 16384 /* as far as anybody should look */
#define SB_SERVER_NAME_MAX  255

/*
 * data: what the client has sent so far. SB_OK: the message is whole; name gets the server name in lower case and NUL-terminated, "" when
 * the client names none or what it names is not a host name. SB_DECLINED: this is not a ClientHello, or a broken one. SB_HELLO_MORE: so far
 * it is one, and not whole yet.
 */
#define SB_HELLO_MORE 2
int sb_client_hello_name(const unsigned char *data, size_t len, char name[SB_SERVER_NAME_MAX + 1]);

/* A server name in lower case: len bytes to out. false: it is not a host name; what out holds is of no use then. */
bool sb_server_name_lower(const char *name, size_t len, char *out);

#endif
