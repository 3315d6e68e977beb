/* SPDX-License-Identifier: Apache-2.0 */
#include "control/auth/password.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>

#define SALT_BYTES       4u
#define DIGEST_BYTES_MAX 64u
#define RAW_BYTES_MAX    (SALT_BYTES + DIGEST_BYTES_MAX)

LP_STATIC_ASSERT((RAW_BYTES_MAX + 2) / 3 * 4 == LP_PASSWORD_HASH_BYTES_MAX,
                 "salt and the longest digest fit");

static const struct {
    const char *name;
    const EVP_MD *(*digest)(void);
    uint32_t digest_bytes;
} algorithms[] = {
    [LP_PASSWORD_SHA256] = {"rabbit_password_hashing_sha256", EVP_sha256, 32},
    [LP_PASSWORD_SHA512] = {"rabbit_password_hashing_sha512", EVP_sha512, 64},
    [LP_PASSWORD_MD5] = {"rabbit_password_hashing_md5", EVP_md5, 16},
};

static void
salted_digest(enum lp_password_algorithm algorithm, const uint8_t salt[SALT_BYTES],
              struct lp_bytes password, uint8_t ret_digest[DIGEST_BYTES_MAX])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const int good = context &&
                     EVP_DigestInit_ex(context, algorithms[algorithm].digest(), NULL) == 1 &&
                     EVP_DigestUpdate(context, salt, SALT_BYTES) == 1 &&
                     EVP_DigestUpdate(context, password.data, password.size) == 1 &&
                     EVP_DigestFinal_ex(context, ret_digest, NULL) == 1;
    LP_ASSERT(good);
    EVP_MD_CTX_free(context);
}

void
lp_password_hash(const struct lp_entropy *entropy, enum lp_password_algorithm algorithm,
                 struct lp_bytes password, struct lp_password_hash *ret_hash)
{
    uint8_t raw[RAW_BYTES_MAX];
    entropy->fill(entropy->self, raw, SALT_BYTES);
    salted_digest(algorithm, raw, password, raw + SALT_BYTES);
    const int size = EVP_EncodeBlock(ret_hash->data, raw,
                                     (int)(SALT_BYTES + algorithms[algorithm].digest_bytes));
    LP_ASSERT(size > 0 && size <= (int)LP_PASSWORD_HASH_BYTES_MAX);
    ret_hash->bytes = (uint32_t)size;
}

/* Base64, with one or two "=" where the last group is short; gives the bytes, or a negative number.
 */
static int
decode(struct lp_bytes hash, uint8_t raw[RAW_BYTES_MAX + 2])
{
    if (hash.size == 0 || hash.size > LP_PASSWORD_HASH_BYTES_MAX || hash.size % 4 != 0) {
        return -1;
    }
    const int bytes = EVP_DecodeBlock(raw, hash.data, (int)hash.size);
    const int padding = (hash.data[hash.size - 1] == '=') + (hash.data[hash.size - 2] == '=');
    return bytes < 0 ? -1 : bytes - padding;
}

bool
lp_password_matches(enum lp_password_algorithm algorithm, struct lp_bytes hash,
                    struct lp_bytes password)
{
    uint8_t raw[RAW_BYTES_MAX + 2];
    uint8_t digest[DIGEST_BYTES_MAX];
    const uint32_t digest_bytes = algorithms[algorithm].digest_bytes;
    if (password.size == 0 || decode(hash, raw) != (int)(SALT_BYTES + digest_bytes)) {
        return false;
    }
    salted_digest(algorithm, raw, password, digest);
    return CRYPTO_memcmp(digest, raw + SALT_BYTES, digest_bytes) == 0;
}

bool
lp_password_hash_is_good(struct lp_bytes hash)
{
    uint8_t raw[RAW_BYTES_MAX + 2];
    return decode(hash, raw) >= 0;
}

const char *
lp_password_algorithm_name(uint8_t algorithm)
{
    return algorithm < LP_COUNT_OF(algorithms) ? algorithms[algorithm].name : "unknown";
}

bool
lp_password_algorithm_find(struct lp_bytes name, enum lp_password_algorithm *ret_algorithm)
{
    for (size_t i = 0; i < LP_COUNT_OF(algorithms); i++) {
        if (lp_bytes_equal_text(name, algorithms[i].name)) {
            *ret_algorithm = (enum lp_password_algorithm)i;
            return true;
        }
    }
    return false;
}

bool
lp_password_permitted(const struct lp_catalog_rules *rules, struct lp_bytes password,
                      char ret_why[LP_PASSWORD_WHY_BYTES])
{
    if (password.size < rules->password_bytes_min) {
        (void)snprintf(ret_why, LP_PASSWORD_WHY_BYTES, "minimum required password length is %u",
                       rules->password_bytes_min); /* fits */
        return false;
    }
    if (!rules->password_pattern) {
        return true;
    }
    /* The configuration's own check has seen that it compiles. */
    struct lp_pattern *pattern = lp_pattern_open(lp_bytes_of_text(rules->password_pattern), NULL);
    const bool good = pattern && lp_pattern_matches(pattern, password);
    lp_pattern_close(&pattern);
    if (!good) {
        (void)snprintf(ret_why, LP_PASSWORD_WHY_BYTES,
                       "provided password does not match the validator regular expression");
    }
    return good;
}
