/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret.h - values that are encrypted with a passphrase, as RabbitMQ encrypts
 * them: base64 of a salt, an initialisation vector, and a term of Erlang's in
 * its external format, encrypted with a key that PBKDF2 made of the passphrase.
 *
 *   Memory    results are the caller's to wipe and free: lp_secret_fini()
 *   Runs on   boot; lepusctl
 */
#pragma once

#include <stdio.h>

#include <lepus/bytes.h>

#define LP_SECRET_PREFIX "encrypted:"

struct lp_secret_how {
    const char *cipher; /* names as `lepusctl list_ciphers` and list_hashes tell them */
    const char *hash;
    uint32_t iterations;
    struct lp_bytes passphrase;
};

extern const struct lp_secret_how lp_secret_defaults; /* without a passphrase */

/* NULL behind the last; in RabbitMQ's order. */
const char *lp_secret_cipher(size_t index);
const char *lp_secret_hash(size_t index);
LP_MUST_CHECK bool lp_secret_cipher_known(const char *name);
LP_MUST_CHECK bool lp_secret_hash_known(const char *name);

struct lp_secret {
    uint8_t *data; /* ended by a NUL that does not count */
    size_t size;
};
void lp_secret_fini(struct lp_secret *secret);

/* `clear` into base64.  False: this OpenSSL cannot do it. */
LP_MUST_CHECK bool lp_secret_encrypt(const struct lp_secret_how *how, struct lp_bytes clear,
                                     struct lp_secret *ret_base64);
/* False: that, or it is not what this passphrase, cipher, hash and iterations made. */
LP_MUST_CHECK bool lp_secret_decrypt(const struct lp_secret_how *how, struct lp_bytes base64,
                                     struct lp_secret *ret_clear);

/* ---- terms, in Erlang's external format ---- */

/* An atom, a number, a string, a binary, a tuple or a list, as Erlang's source has it, in UTF-8. */
LP_MUST_CHECK bool lp_secret_term_parse(const char *text, struct lp_secret *ret_term);
/* As Erlang's ~p prints it, but on one line; false: it is no such term. */
LP_MUST_CHECK bool lp_secret_term_print(struct lp_bytes term, FILE *out);
/* As rabbitmqctl's JSON has it. */
LP_MUST_CHECK bool lp_secret_term_json(struct lp_bytes term, FILE *out);
/* What a setting takes it for: bytes of a string, a binary, an atom or a whole number. */
LP_MUST_CHECK bool lp_secret_term_bytes(struct lp_bytes term, struct lp_secret *ret_bytes);
/* Borrowed: the bytes of a string or a binary, or of one in {encrypted, X}; false: it is neither.
 */
LP_MUST_CHECK bool lp_secret_term_base64(struct lp_bytes term, struct lp_bytes *ret_base64);
