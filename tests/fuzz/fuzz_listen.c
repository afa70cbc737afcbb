/* Listen values: what is accepted has an address and a port in every entry. */
#include "core/settings/settings_int.h"
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = sb_strdup_len((const char *)data, size);
    sb_listen_t *list = NULL;
    size_t n = 0;

    if (sb_listen_parse(text, &list, &n)) {
        for (size_t i = 0; i < n; i++)
            SB_ASSERT(list[i].address != NULL && list[i].address[0] != '\0' && list[i].flags != NULL);
        sb_listen_free(list, n);
    }
    free(text);
    return 0;
}
