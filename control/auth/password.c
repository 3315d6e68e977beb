/* SPDX-License-Identifier: Apache-2.0 */
#include "control/auth/password.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#define SALT_BYTES   4u
#define DIGEST_BYTES 32u

LP_STATIC_ASSERT((SALT_BYTES + DIGEST_BYTES) / 3 * 4 == LP_PASSWORD_HASH_BYTES,
                 "salt and digest fill base64 exactly");

static void
salted_digest(const uint8_t salt[SALT_BYTES], struct lp_bytes password,
              uint8_t ret_digest[DIGEST_BYTES])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const int good = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
                     EVP_DigestUpdate(context, salt, SALT_BYTES) == 1 &&
                     EVP_DigestUpdate(context, password.data, password.size) == 1 &&
                     EVP_DigestFinal_ex(context, ret_digest, NULL) == 1;
    LP_ASSERT(good);
    EVP_MD_CTX_free(context);
}

void
lp_password_hash(const struct lp_entropy *entropy, struct lp_bytes password,
                 uint8_t ret_hash[LP_PASSWORD_HASH_BYTES])
{
    uint8_t raw[SALT_BYTES + DIGEST_BYTES];
    uint8_t text[LP_PASSWORD_HASH_BYTES + 1];
    entropy->fill(entropy->self, raw, SALT_BYTES);
    salted_digest(raw, password, raw + SALT_BYTES);
    const int size = EVP_EncodeBlock(text, raw, sizeof(raw));
    LP_ASSERT(size == (int)LP_PASSWORD_HASH_BYTES);
    memcpy(ret_hash, text, LP_PASSWORD_HASH_BYTES);
}

bool
lp_password_matches(struct lp_bytes hash, struct lp_bytes password)
{
    uint8_t raw[SALT_BYTES + DIGEST_BYTES];
    uint8_t digest[DIGEST_BYTES];
    if (hash.size != LP_PASSWORD_HASH_BYTES || password.size == 0 ||
        EVP_DecodeBlock(raw, hash.data, (int)hash.size) != (int)sizeof(raw)) {
        return false;
    }
    salted_digest(raw, password, digest);
    return CRYPTO_memcmp(digest, raw + SALT_BYTES, DIGEST_BYTES) == 0;
}
