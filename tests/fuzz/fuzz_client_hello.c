/* ClientHellos: the name is a host name and ends; a longer beginning of the same bytes never takes an answer back. */
#include "core/base/client_hello.h"
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[SB_SERVER_NAME_MAX + 1], before[SB_SERVER_NAME_MAX + 1];
    unsigned char *copy = malloc(size != 0 ? size : 1); /* as long as the input, so that reading past it shows */
    int rc, half;

    SB_ASSERT(copy != NULL);
    memcpy(copy, data, size);
    half = sb_client_hello_name(copy, size / 2, before);
    rc = sb_client_hello_name(copy, size, name);
    SB_ASSERT(strlen(name) <= SB_SERVER_NAME_MAX && (rc == SB_OK || name[0] == '\0'));
    SB_ASSERT(half == SB_HELLO_MORE || (half == rc && strcmp(before, name) == 0));
    for (const char *p = name; *p != '\0'; p++)
        SB_ASSERT(*p > ' ' && *p < 0x7f && !(*p >= 'A' && *p <= 'Z'));
    free(copy);
    return 0;
}
