/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_secret.c - secrets that a configuration has encrypted.
 *
 * RabbitMQ takes passphrase, cipher, hash and iterations from advanced.config
 * (rabbit.config_entry_decoder): rabbitmq.conf cannot name them, so the keys
 * that do are Lepus's own.  What is encrypted is RabbitMQ's, either way.
 */
#include "config_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"

#define DECODER        "lepus.config_entry_decoder."
#define PASSPHRASE_MAX 4096u

struct decoder {
    struct lp_secret_how how;
    char *room; /* PASSPHRASE_MAX, of a file's first line */
    const char *wrong;
    char why[256];
};

static void
passphrase_read(struct decoder *decoder, const char *path)
{
    char buffer[PASSPHRASE_MAX];
    FILE *file = fopen(path, "re");
    const int error = errno;
    decoder->room = calloc(1, PASSPHRASE_MAX);
    if (file == NULL || decoder->room == NULL) {
        (void)snprintf(decoder->why, sizeof(decoder->why), "%.180s cannot be read: %s", path,
                       strerrordesc_np(file == NULL ? error : ENOMEM));
        decoder->wrong = decoder->why;
    } else {
        (void)setvbuf(file, buffer, _IOFBF, sizeof(buffer)); /* to be wiped; else it has its own */
        if (fgets(decoder->room, PASSPHRASE_MAX, file) == NULL) {
            decoder->room[0] = '\0'; /* an empty file is an empty passphrase, as in RabbitMQ */
        }
        decoder->room[strcspn(decoder->room, "\r\n")] = '\0';
        decoder->how.passphrase = lp_bytes_of_text(decoder->room);
    }
    if (file != NULL) {
        (void)fclose(file); /* it was read only */
    }
    explicit_bzero(buffer, sizeof(buffer));
}

static void
decoder_open(const struct lp_config *config, struct decoder *decoder)
{
    const char *path = lp_config_text(config, DECODER "passphrase_file");
    decoder->how = (struct lp_secret_how){
        .cipher = lp_config_text(config, DECODER "cipher"),
        .hash = lp_config_text(config, DECODER "hash"),
        .iterations = (uint32_t)lp_config_integer(config, DECODER "iterations"),
        .passphrase = lp_bytes_of_text(lp_config_text(config, DECODER "passphrase")),
    };
    if (!lp_secret_cipher_known(decoder->how.cipher)) {
        decoder->wrong =
            "no such cipher as " DECODER "cipher says; lepusctl list_ciphers lists them";
    } else if (!lp_secret_hash_known(decoder->how.hash)) {
        decoder->wrong = "no such hash as " DECODER "hash says; lepusctl list_hashes lists them";
    } else if (*path != '\0') {
        passphrase_read(decoder, path);
    } else if (!lp_config_given(config, DECODER "passphrase")) {
        decoder->wrong = "it is encrypted, and neither " DECODER "passphrase nor passphrase_file "
                         "says with what";
    }
}

static void
decoder_close(struct decoder *decoder)
{
    if (decoder->room != NULL) {
        explicit_bzero(decoder->room, PASSPHRASE_MAX);
    }
    free(decoder->room);
}

static void
value_decrypt(struct decoder *decoder, struct config_value *value)
{
    struct lp_secret term = {0};
    struct lp_secret clear = {0};
    const char *base64 = value->text + strlen(LP_SECRET_PREFIX);
    if (!lp_secret_decrypt(&decoder->how, lp_bytes_of_text(base64), &term) ||
        !lp_secret_term_bytes(lp_bytes_of(term.data, (uint32_t)term.size), &clear)) {
        decoder->wrong = "it cannot be decrypted: are passphrase, cipher, hash and iterations "
                         "those that it was encrypted with?";
    } else if (memchr(clear.data, '\0', clear.size) != NULL) {
        decoder->wrong = "it is encrypted, and has a zero byte in it";
    } else {
        free(value->text);
        value->text = (char *)clear.data;
        clear = (struct lp_secret){0};
    }
    lp_secret_fini(&term);
    lp_secret_fini(&clear);
}

static bool
is_encrypted(const struct config_value *value)
{
    return value->row->type == CONFIG_SECRET &&
           strncmp(value->text, LP_SECRET_PREFIX, strlen(LP_SECRET_PREFIX)) == 0 &&
           strncmp(value->key, DECODER, strlen(DECODER)) != 0;
}

/* Nobody needs it any more. */
static void
passphrase_forget(struct lp_config *config)
{
    for (size_t i = 0; i < config->count; i++) {
        if (strcmp(config->values[i].key, DECODER "passphrase") == 0) {
            explicit_bzero(config->values[i].text, strlen(config->values[i].text));
        }
    }
}

enum lp_err
lp_config_decrypt(struct lp_config *config, char *ret_why, size_t why_bytes)
{
    struct decoder decoder = {0};
    bool open = false;
    for (size_t i = 0; i < config->count && decoder.wrong == NULL; i++) {
        if (!is_encrypted(&config->values[i])) {
            continue;
        }
        if (!open) {
            decoder_open(config, &decoder);
            open = true;
        }
        if (decoder.wrong == NULL) {
            value_decrypt(&decoder, &config->values[i]);
        }
        if (decoder.wrong != NULL) {
            (void)snprintf(ret_why, why_bytes, "%s: %s", config->values[i].key, decoder.wrong);
        }
    }
    decoder_close(&decoder);
    passphrase_forget(config);
    return decoder.wrong == NULL ? LP_OK : LP_ERR_BAD_CONFIG;
}
