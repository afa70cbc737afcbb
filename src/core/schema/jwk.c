/* JWK to OpenSSL keys: members are decoded from base64url and handed over as parameters; only the public part is looked at. */
#include "core/schema/jwk.h"
#include "core/base/json.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdlib.h>
#include <string.h>

#define MEMBER_MAX 4096

struct bytes {
    unsigned char data[MEMBER_MAX];
    size_t len;
};

static int
base64url_value(char c)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *at = c != '\0' ? strchr(alphabet, c) : NULL;

    return at != NULL ? (int)(at - alphabet) : -1;
}

/* A member in base64url without padding. */
static bool
get_bytes(const json_t *jwk, const char *name, struct bytes *out)
{
    const char *s = sb_json_string(jwk, name);
    unsigned acc = 0, bits = 0;
    int v;

    out->len = 0;
    if (s == NULL || *s == '\0')
        return false;
    for (; *s != '\0'; s++) {
        if ((v = base64url_value(*s)) < 0 || out->len == MEMBER_MAX)
            return false;
        acc = (acc << 6 | (unsigned)v) & 0xffffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out->data[out->len++] = (unsigned char)(acc >> bits);
        }
    }
    return out->len != 0;
}

static bool
loads_from(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL), *check = NULL;
    EVP_PKEY *key = NULL;
    bool ok =
        params != NULL && ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1 && EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) == 1;

    if (ok) {
        check = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
        ok = check != NULL && EVP_PKEY_public_check_quick(check) == 1;
    }
    EVP_PKEY_CTX_free(check);
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool
rsa_loads(const json_t *jwk)
{
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    BIGNUM *n = NULL, *e = NULL;
    struct bytes member;
    bool ok = false;

    if (get_bytes(jwk, "n", &member))
        n = BN_bin2bn(member.data, (int)member.len, NULL);
    if (get_bytes(jwk, "e", &member))
        e = BN_bin2bn(member.data, (int)member.len, NULL);
    if (b != NULL && n != NULL && e != NULL && OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_E, e) == 1) {
        params = OSSL_PARAM_BLD_to_param(b);
        ok = loads_from("RSA", params);
    }
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(b);
    BN_free(n);
    BN_free(e);
    return ok;
}

static bool
ec_loads(const json_t *jwk)
{
    static const struct {
        const char *crv, *group;
        size_t size;
    } curves[] = {{"P-256", "P-256", 32}, {"P-384", "P-384", 48}, {"P-521", "P-521", 66}, {"secp256k1", "secp256k1", 32}};
    const char *crv = sb_json_string(jwk, "crv");
    unsigned char point[1 + 2 * 66] = {POINT_CONVERSION_UNCOMPRESSED};
    OSSL_PARAM params[3];
    struct bytes x, y;
    size_t i;

    for (i = 0; i < sizeof(curves) / sizeof(curves[0]); i++) {
        if (crv == NULL || strcmp(crv, curves[i].crv) != 0)
            continue;
        if (!get_bytes(jwk, "x", &x) || !get_bytes(jwk, "y", &y) || x.len != curves[i].size || y.len != curves[i].size)
            return false;
        memcpy(point + 1, x.data, x.len);
        memcpy(point + 1 + x.len, y.data, y.len);
        params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)curves[i].group, 0);
        params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * x.len);
        params[2] = OSSL_PARAM_construct_end();
        return loads_from("EC", params);
    }
    return false;
}

static bool
okp_loads(const json_t *jwk)
{
    static const char *const curves[] = {"Ed25519", "Ed448", "X25519", "X448", NULL};
    const char *crv = sb_json_string(jwk, "crv");
    struct bytes x;
    EVP_PKEY *key;
    size_t i;

    for (i = 0; crv != NULL && curves[i] != NULL; i++) {
        if (strcmp(crv, curves[i]) != 0)
            continue;
        key = get_bytes(jwk, "x", &x) ? EVP_PKEY_new_raw_public_key_ex(NULL, crv, NULL, x.data, x.len) : NULL;
        EVP_PKEY_free(key);
        return key != NULL;
    }
    return false;
}

bool
sb_jwk_loads(const json_t *jwk)
{
    const char *kty = sb_json_string(jwk, "kty");
    bool ok = false;

    if (kty != NULL && strcmp(kty, "RSA") == 0)
        ok = rsa_loads(jwk);
    else if (kty != NULL && strcmp(kty, "EC") == 0)
        ok = ec_loads(jwk);
    else if (kty != NULL && strcmp(kty, "OKP") == 0)
        ok = okp_loads(jwk);
    ERR_clear_error();
    return ok;
}
