/* SPDX-License-Identifier: Apache-2.0 */
/* secret.c - the ciphers: PBKDF2 and OpenSSL, in the form of RabbitMQ's credentials_obfuscation. */
#include "secret.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#define SALT_BYTES 16u
#define BYTES_MAX  (1u << 20)

static const struct {
    const char *name; /* Erlang's */
    const char *openssl;
} ciphers[] = {
    {"chacha20", "ChaCha20"},
    {"aes_256_ofb", "AES-256-OFB"},
    {"aes_192_ofb", "AES-192-OFB"},
    {"aes_128_ofb", "AES-128-OFB"},
    {"sm4_ctr", "SM4-CTR"},
    {"sm4_ofb", "SM4-OFB"},
    {"sm4_cfb", "SM4-CFB"},
    {"sm4_cbc", "SM4-CBC"},
    {"blowfish_ofb64", "BF-OFB"},
    {"blowfish_cfb64", "BF-CFB"},
    {"blowfish_cbc", "BF-CBC"},
    {"des_cfb", "DES-CFB"},
    {"des_cbc", "DES-CBC"},
    {"rc4", "RC4"},
    {"rc2_cbc", "RC2-CBC"},
    {"aes_192_cbc", "AES-192-CBC"},
    {"aes_256_cbc", "AES-256-CBC"},
    {"aes_128_cfb128", "AES-128-CFB"},
    {"aes_192_cfb128", "AES-192-CFB"},
    {"aes_256_cfb128", "AES-256-CFB"},
    {"aes_128_cfb8", "AES-128-CFB8"},
    {"aes_192_cfb8", "AES-192-CFB8"},
    {"aes_256_cfb8", "AES-256-CFB8"},
    {"aes_256_ctr", "AES-256-CTR"},
    {"aes_192_ctr", "AES-192-CTR"},
    {"aes_128_ctr", "AES-128-CTR"},
    {"des_ede3_cfb", "DES-EDE3-CFB"},
    {"aes_128_cbc", "AES-128-CBC"},
    {"des_ede3_cbc", "DES-EDE3-CBC"},
    {"aes_cbc", "AES-128-CBC"},
    {"aes_cfb128", "AES-128-CFB"},
    {"aes_cfb8", "AES-128-CFB8"},
    {"aes_ctr", "AES-128-CTR"},
};

static const struct {
    const char *name;
    const char *openssl; /* NULL: it is listed, and makes no HMAC, there and here */
} hashes[] = {
    {"blake2s", "BLAKE2S-256"},
    {"blake2b", "BLAKE2B-512"},
    {"sm3", "SM3"},
    {"shake256", NULL},
    {"shake128", NULL},
    {"sha3_512", "SHA3-512"},
    {"sha3_384", "SHA3-384"},
    {"sha3_256", "SHA3-256"},
    {"sha3_224", "SHA3-224"},
    {"sha512", "SHA2-512"},
    {"sha384", "SHA2-384"},
    {"sha256", "SHA2-256"},
    {"sha224", "SHA2-224"},
    {"sha", "SHA1"},
    {"ripemd160", "RIPEMD-160"},
    {"md5", "MD5"},
    {"md4", "MD4"},
};

const struct lp_secret_how lp_secret_defaults = {"aes_128_cbc", "sha256", 1, {NULL, 0}};

const char *
lp_secret_cipher(size_t index)
{
    return index < LP_COUNT_OF(ciphers) ? ciphers[index].name : NULL;
}

const char *
lp_secret_hash(size_t index)
{
    return index < LP_COUNT_OF(hashes) ? hashes[index].name : NULL;
}

/* What OpenSSL calls it; NULL: nothing. */
static const char *
cipher_find(const char *name)
{
    for (size_t i = 0; i < LP_COUNT_OF(ciphers); i++) {
        if (strcmp(ciphers[i].name, name) == 0) {
            return ciphers[i].openssl;
        }
    }
    return NULL;
}

static const char *
hash_find(const char *name)
{
    for (size_t i = 0; i < LP_COUNT_OF(hashes); i++) {
        if (strcmp(hashes[i].name, name) == 0) {
            return hashes[i].openssl;
        }
    }
    return NULL;
}

bool
lp_secret_cipher_known(const char *name)
{
    return cipher_find(name) != NULL;
}

bool
lp_secret_hash_known(const char *name)
{
    for (size_t i = 0; i < LP_COUNT_OF(hashes); i++) {
        if (strcmp(hashes[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

void
lp_secret_fini(struct lp_secret *secret)
{
    if (secret->data != NULL) {
        explicit_bzero(secret->data, secret->size);
    }
    free(secret->data);
    *secret = (struct lp_secret){0};
}

static bool
secret_make(struct lp_secret *secret, size_t bytes)
{
    secret->data = calloc(1, bytes + 1);
    secret->size = secret->data != NULL ? bytes : 0;
    return secret->data != NULL;
}

/* ---- OpenSSL ---- */

/* A library of its own: old ciphers are for values that somebody has, and not for the rest of us.
 */
struct engine {
    OSSL_LIB_CTX *library;
    OSSL_PROVIDER *ordinary;
    OSSL_PROVIDER *legacy; /* NULL: this machine has none of them */
    EVP_CIPHER *cipher;
    EVP_MD *hash;
    EVP_CIPHER_CTX *context;
};

static void
engine_close(struct engine *engine)
{
    EVP_CIPHER_CTX_free(engine->context);
    EVP_CIPHER_free(engine->cipher);
    EVP_MD_free(engine->hash);
    (void)(engine->legacy == NULL || OSSL_PROVIDER_unload(engine->legacy)); /* it ends anyway */
    (void)(engine->ordinary == NULL || OSSL_PROVIDER_unload(engine->ordinary));
    OSSL_LIB_CTX_free(engine->library);
}

static bool
engine_open(struct engine *engine, const struct lp_secret_how *how)
{
    const char *cipher = cipher_find(how->cipher);
    const char *hash = hash_find(how->hash);
    *engine = (struct engine){0};
    if (cipher == NULL || hash == NULL || how->iterations == 0 || how->iterations > INT32_MAX) {
        return false;
    }
    engine->library = OSSL_LIB_CTX_new();
    if (engine->library == NULL) {
        return false;
    }
    engine->ordinary = OSSL_PROVIDER_load(engine->library, "default");
    engine->legacy = OSSL_PROVIDER_load(engine->library, "legacy");
    engine->cipher = EVP_CIPHER_fetch(engine->library, cipher, NULL);
    engine->hash = EVP_MD_fetch(engine->library, hash, NULL);
    engine->context = EVP_CIPHER_CTX_new();
    return engine->cipher != NULL && engine->hash != NULL && engine->context != NULL;
}

/* PKCS5_PBKDF2_HMAC() would look for the hash in the library that everybody has. */
static bool
key_make(const struct engine *engine, const struct lp_secret_how *how, const uint8_t *salt,
         uint8_t *key, size_t key_bytes)
{
    int any = 1; /* iterations and salts of every size, as they come */
    unsigned iterations = how->iterations;
    EVP_KDF *kdf = EVP_KDF_fetch(engine->library, "PBKDF2", NULL);
    EVP_KDF_CTX *context = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    static const uint8_t none;
    const uint8_t *passphrase = how->passphrase.size > 0 ? how->passphrase.data : &none;
    const OSSL_PARAM values[] = {
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, (void *)(uintptr_t)passphrase,
                                          how->passphrase.size),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt, SALT_BYTES),
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_PKCS5, &any),
        OSSL_PARAM_construct_uint(OSSL_KDF_PARAM_ITER, &iterations),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
                                         (char *)(uintptr_t)EVP_MD_get0_name(engine->hash), 0),
        OSSL_PARAM_construct_end(),
    };
    const bool good = context != NULL && EVP_KDF_derive(context, key, key_bytes, values) == 1;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return good;
}

/* What is behind salt and vector, in place: a whole number of the cipher's blocks. */
static bool
engine_run(struct engine *engine, const struct lp_secret_how *how, const uint8_t *salt,
           struct lp_secret *text, bool encrypt)
{
    uint8_t key[EVP_MAX_KEY_LENGTH];
    int done = 0;
    int last = 0;
    const int key_bytes = EVP_CIPHER_get_key_length(engine->cipher);
    const int start = (int)SALT_BYTES + EVP_CIPHER_get_iv_length(engine->cipher);
    uint8_t *at = text->data + start;
    const bool good =
        key_make(engine, how, salt, key, (size_t)key_bytes) &&
        EVP_CipherInit_ex2(engine->context, engine->cipher, key, text->data + SALT_BYTES, encrypt,
                           NULL) == 1 &&
        EVP_CIPHER_CTX_set_padding(engine->context, 0) == 1 &&
        EVP_CipherUpdate(engine->context, at, &done, at, (int)text->size - start) == 1 &&
        EVP_CipherFinal_ex(engine->context, at + done, &last) == 1;
    explicit_bzero(key, sizeof(key));
    return good && (size_t)start + (size_t)done + (size_t)last == text->size;
}

/* ---- both ways ---- */

static bool
base64_write(const struct lp_secret *bytes, struct lp_secret *ret_base64)
{
    if (!secret_make(ret_base64, (bytes->size + 2) / 3 * 4)) {
        return false;
    }
    const int wrote = EVP_EncodeBlock(ret_base64->data, bytes->data, (int)bytes->size);
    return (size_t)wrote == ret_base64->size;
}

static bool
base64_read(struct lp_bytes text, struct lp_secret *ret_bytes)
{
    if (text.size == 0 || text.size % 4 != 0 || text.size > BYTES_MAX ||
        !secret_make(ret_bytes, text.size / 4 * 3)) {
        return false;
    }
    const int wrote = EVP_DecodeBlock(ret_bytes->data, text.data, (int)text.size);
    /* What stands for nothing at the end is decoded as zeroes. */
    for (uint32_t i = 1; i <= 2 && text.data[text.size - i] == '='; i++) {
        ret_bytes->size--;
    }
    return wrote >= 0;
}

bool
lp_secret_encrypt(const struct lp_secret_how *how, struct lp_bytes clear,
                  struct lp_secret *ret_base64)
{
    struct engine engine = {0};
    struct lp_secret text = {0};
    *ret_base64 = (struct lp_secret){0};
    bool good = clear.size <= BYTES_MAX && engine_open(&engine, how);
    if (good) {
        const size_t start = SALT_BYTES + (size_t)EVP_CIPHER_get_iv_length(engine.cipher);
        const size_t block = (size_t)EVP_CIPHER_get_block_size(engine.cipher);
        const size_t padding = block - clear.size % block;
        good = secret_make(&text, start + clear.size + padding) &&
               RAND_bytes(text.data, (int)start) == 1;
        if (good) {
            memcpy(text.data + start, clear.data, clear.size);
            memset(text.data + start + clear.size, (int)padding, padding);
        }
        good = good && engine_run(&engine, how, text.data, &text, true) &&
               base64_write(&text, ret_base64);
    }
    engine_close(&engine);
    lp_secret_fini(&text);
    return good;
}

bool
lp_secret_decrypt(const struct lp_secret_how *how, struct lp_bytes base64,
                  struct lp_secret *ret_clear)
{
    struct engine engine = {0};
    struct lp_secret text = {0};
    *ret_clear = (struct lp_secret){0};
    bool good = engine_open(&engine, how) && base64_read(base64, &text);
    const size_t start =
        good ? SALT_BYTES + (size_t)EVP_CIPHER_get_iv_length(engine.cipher) : SIZE_MAX;
    good = good && text.size > start && engine_run(&engine, how, text.data, &text, false);
    if (good) {
        const size_t padding = text.data[text.size - 1];
        good = padding <= text.size - start && secret_make(ret_clear, text.size - start - padding);
        if (good) {
            memcpy(ret_clear->data, text.data + start, ret_clear->size);
        }
    }
    engine_close(&engine);
    lp_secret_fini(&text);
    return good;
}
