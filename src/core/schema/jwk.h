/* JSON Web Keys as OpenSSL loads them. */
#ifndef SB_JWK_H
#define SB_JWK_H

#include "core/base/base.h"

/* Whether the object is an asymmetric key that loads: kty RSA (n, e), EC (crv, x, y) or OKP (crv, x). */
bool sb_jwk_loads(const json_t *jwk);

#endif
