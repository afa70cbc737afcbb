/*
 * Page tokens: the order's values of the last row of a page as a JSON array, in base64 without padding. Opaque to clients, who may
 * send anything back.
 */
#include "core/base/json.h"
#include "core/store/store_int.h"

#include <stdlib.h>
#include <string.h>

#define TOKEN_MAX 4096

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *
sb_store_token_make(const json_t *values)
{
    size_t i, len;
    char *text = sb_json_dump_len(values, &len);
    sb_buf_t b = {0};

    for (i = 0; i < len; i += 3) {
        size_t rest = len - i;
        uint32_t v = (uint32_t)(unsigned char)text[i] << 16;

        if (rest > 1)
            v |= (uint32_t)(unsigned char)text[i + 1] << 8;
        if (rest > 2)
            v |= (unsigned char)text[i + 2];
        sb_buf_addc(&b, alphabet[v >> 18]);
        sb_buf_addc(&b, alphabet[v >> 12 & 63]);
        if (rest > 1)
            sb_buf_addc(&b, alphabet[v >> 6 & 63]);
        if (rest > 2)
            sb_buf_addc(&b, alphabet[v & 63]);
    }
    free(text);
    return sb_buf_take(&b);
}

/* false: not base64. Padding is accepted: some clients add it. */
static bool
decode(const char *token, sb_buf_t *out)
{
    uint32_t v = 0;
    unsigned bits = 0;
    size_t n = strlen(token);

    while (n > 0 && token[n - 1] == '=')
        n--;
    if (n == 0 || n % 4 == 1 || n > TOKEN_MAX)
        return false;
    for (; n > 0; n--, token++) {
        const char *p = strchr(alphabet, *token);

        if (p == NULL)
            return false;
        v = v << 6 | (uint32_t)(p - alphabet);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            sb_buf_addc(out, (char)(v >> bits & 255));
        }
    }
    return true;
}

static bool
fits(const json_t *values, size_t n)
{
    size_t i;

    if (!json_is_array(values) || json_array_size(values) != n)
        return false;
    for (i = 0; i < n; i++) {
        const json_t *v = json_array_get(values, i);

        if (!json_is_string(v) && !json_is_number(v))
            return false;
    }
    return true;
}

int
sb_store_token_read(const char *token, size_t n, json_t **values, sb_err_t *err)
{
    sb_buf_t text = {0};
    json_t *v = NULL;

    if (!decode(token, &text)) {
        sb_buf_free(&text);
        return sb_err_set(err, SB_E_INVALID_OFFSET, "'%s' is not a valid offset: bad base64 encoding", token);
    }
    v = sb_json_parse(text.data, text.len, NULL);
    sb_buf_free(&text);
    if (!fits(v, n)) {
        json_decref(v);
        return sb_err_set(err, SB_E_INVALID_OFFSET, "'%s' is not a valid offset: bad json encoding", token);
    }
    *values = v;
    return SB_OK;
}
