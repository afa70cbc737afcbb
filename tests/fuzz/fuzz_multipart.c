/* multipart/form-data: the first line is the content type, the rest the body. */
#include "core/admin/admin_int.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char *text = (const char *)data, *eol = len != 0 ? memchr(text, '\n', len) : NULL;
    json_t *out = json_object();
    bool ok;

    if (eol != NULL)
        sb_admin_multipart_parse((sb_str_t){text, (size_t)(eol - text)}, (sb_str_t){eol + 1, len - (size_t)(eol - text) - 1}, out, &ok);
    json_decref(out);
    return 0;
}
