/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret.c - values of a configuration, encrypted and decrypted: rabbitmqctl's
 * encode, decode, encrypt_conf_value, decrypt_conf_value and what they can do.
 *
 * RabbitMQ prints a stack trace of Erlang's before it says that it could not;
 * that is left out.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "cli_local.h"

#include "control/config/secret.h"

#define LINE_BYTES 8192u
#define COLUMNS    80u

/* ---- what there is ---- */

typedef const char *name_fn(size_t index);

static bool
wants_json(const struct cli_request *request)
{
    return request->formatter == CLI_FORMATTER_JSON ||
           request->formatter == CLI_FORMATTER_JSON_STREAM;
}

/* As Erlang breaks a list of atoms into lines. */
static void
atoms_print(FILE *out, name_fn *name)
{
    size_t column = 1;
    (void)fputc('[', out);
    for (size_t i = 0; name(i) != NULL; i++) {
        const size_t bytes = strlen(name(i)) + 1; /* and the comma or bracket behind it */
        if (column + bytes > COLUMNS) {
            (void)fputs("\n ", out);
            column = 1;
        }
        (void)fprintf(out, "%s%s", name(i), name(i + 1) != NULL ? "," : "]\n");
        column += bytes;
    }
}

static int
list_print(const struct cli_request *request, const struct cli_io *io, name_fn *name)
{
    cli_banner_print(io->out, request);
    if (!wants_json(request)) {
        atoms_print(io->out, name);
        return CLI_EXIT_OK;
    }
    json_t *names = json_array();
    for (size_t i = 0; name(i) != NULL; i++) {
        (void)json_array_append_new(names, json_string(name(i))); /* out of memory panics */
    }
    json_t *result =
        json_pack("{s:s, s:s, s:o}", "node", request->node, "result", "ok", "value", names);
    cli_json_print(io->out, result);
    json_decref(result);
    return CLI_EXIT_OK;
}

int
cli_local_list_ciphers(struct cli_request *request, const struct cli_io *io)
{
    return list_print(request, io, lp_secret_cipher);
}

int
cli_local_list_hashes(struct cli_request *request, const struct cli_io *io)
{
    return list_print(request, io, lp_secret_hash);
}

/* ---- one value ---- */

struct task {
    struct cli_request *request;
    const struct cli_io *io;
    struct lp_secret_how how;
    const char *value;
    char value_room[LINE_BYTES];
    char passphrase_room[LINE_BYTES];
};

/* What --cipher, --hash and --iterations say; a sentence if they cannot be. */
static const char *
options_read(struct task *task, bool decrypts)
{
    const char *cipher = cli_option_value(task->request, "cipher");
    const char *hash = cli_option_value(task->request, "hash");
    const char *iterations = cli_option_value(task->request, "iterations");
    const long long count = iterations != NULL ? strtoll(iterations, NULL, 10) : 1;
    task->how = lp_secret_defaults;
    task->how.cipher = cipher != NULL ? cipher : task->how.cipher;
    task->how.hash = hash != NULL ? hash : task->how.hash;
    task->how.iterations = (uint32_t)LP_MIN(LP_MAX(count, 0), INT32_MAX);
    if (!lp_secret_cipher_known(task->how.cipher)) {
        return decrypts ? "The requested cipher is not supported"
                        : "The requested cipher is not supported.";
    }
    if (!lp_secret_hash_known(task->how.hash)) {
        return "The requested hash is not supported";
    }
    if (count <= 0) {
        return decrypts ? "The requested number of iterations is incorrect (must be a positive "
                          "integer)"
                        : "The requested number of iterations is incorrect";
    }
    return NULL;
}

/* Value and passphrase, from standard input where they are not arguments. */
static bool
texts_read(struct task *task)
{
    struct cli_request *request = task->request;
    const char *passphrase = request->argument_count > 1 ? request->argument[1] : NULL;
    task->value = request->argument_count > 0 ? request->argument[0] : NULL;
    if (task->value == NULL) {
        if (!cli_secret_read(request, task->io, "Value to encode: ", task->value_room,
                             sizeof(task->value_room))) {
            return false;
        }
        task->value = task->value_room;
    }
    if (passphrase == NULL) {
        if (!cli_secret_read(request, task->io, "Passphrase: ", task->passphrase_room,
                             sizeof(task->passphrase_room))) {
            return false;
        }
        passphrase = task->passphrase_room;
    }
    task->how.passphrase = lp_bytes_of_text(passphrase);
    return true;
}

static struct lp_bytes
bytes_of(const struct lp_secret *secret)
{
    return lp_bytes_of(secret->data, (uint32_t)secret->size);
}

/* `conf`: as rabbitmq.conf takes it, else as advanced.config does. */
static bool
value_encrypt(const struct task *task, bool conf)
{
    FILE *out = task->io->out;
    struct lp_secret term = {0};
    struct lp_secret base64 = {0};
    const bool good = lp_secret_term_parse(task->value, &term) &&
                      lp_secret_encrypt(&task->how, bytes_of(&term), &base64);
    const char *text = (const char *)base64.data;
    if (good && wants_json(task->request)) {
        json_t *value = conf ? json_string(text) : json_pack("[s, s]", "encrypted", text);
        json_t *result = json_pack("{s:s, s:s, s:o}", "node", task->request->node, "result", "ok",
                                   "value", value);
        cli_json_print(out, result);
        json_decref(result);
    } else if (good) {
        (void)fprintf(out, conf ? LP_SECRET_PREFIX "%s\n" : "{encrypted,<<\"%s\">>}\n", text);
    }
    lp_secret_fini(&term);
    lp_secret_fini(&base64);
    return good;
}

/* Into memory first: who prints JSON prints all of it. */
static bool
term_say(const struct task *task, struct lp_bytes term)
{
    FILE *out = task->io->out;
    if (!wants_json(task->request)) {
        const bool good = lp_secret_term_print(term, out);
        (void)fputs(good ? "\n" : "", out);
        return good;
    }
    char *text = NULL;
    size_t bytes = 0;
    FILE *memory = open_memstream(&text, &bytes);
    const bool whole = memory != NULL && lp_secret_term_json(term, memory);
    const bool good = memory != NULL && fclose(memory) == 0 && whole;
    json_t *value = good ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    if (value != NULL) {
        json_t *result = json_pack("{s:s, s:s, s:o}", "node", task->request->node, "result", "ok",
                                   "value", value);
        cli_json_print(out, result);
        json_decref(result);
    }
    if (text != NULL) {
        explicit_bzero(text, bytes);
    }
    free(text);
    return value != NULL;
}

static bool
value_decrypt(const struct task *task, bool conf)
{
    struct lp_secret term = {0};
    struct lp_secret clear = {0};
    struct lp_bytes base64;
    bool good =
        lp_secret_term_parse(task->value, &term) && lp_secret_term_base64(bytes_of(&term), &base64);
    if (good && conf && lp_bytes_start_with(base64, LP_SECRET_PREFIX)) {
        const uint32_t bytes = (uint32_t)strlen(LP_SECRET_PREFIX);
        base64 = lp_bytes_of(base64.data + bytes, base64.size - bytes);
    }
    good =
        good && lp_secret_decrypt(&task->how, base64, &clear) && term_say(task, bytes_of(&clear));
    lp_secret_fini(&term);
    lp_secret_fini(&clear);
    return good;
}

static int
value_run(struct cli_request *request, const struct cli_io *io, bool decrypts, bool conf)
{
    struct task task = {.request = request, .io = io};
    const char *wrong = NULL;
    char line[256];
    if (decrypts && request->argument_count < 1) {
        return cli_invalid(io, request,
                           "not enough arguments: Please provide a value to decode and a "
                           "passphrase",
                           CLI_EXIT_USAGE);
    }
    wrong = options_read(&task, decrypts);
    if (wrong != NULL) {
        (void)snprintf(line, sizeof(line), "Bad argument: %s", wrong); /* fits */
        return cli_invalid(io, request, line, CLI_EXIT_DATA);
    }
    cli_banner_print(io->out, request);
    const char *failure = NULL;
    if (!texts_read(&task)) {
        failure = "not_enough_args";
    } else if (decrypts && !value_decrypt(&task, conf)) {
        failure = "Failed to decrypt the value. Things to check: is the passphrase correct? Are "
                  "the cipher and hash algorithms the same as those used for encryption?";
    } else if (!decrypts && !value_encrypt(&task, conf)) {
        failure = "Error during cipher operation";
    }
    explicit_bzero(&task, sizeof(task));
    if (failure != NULL) {
        (void)fprintf(io->err, "Error:\n%s\n", failure);
    }
    return failure == NULL ? CLI_EXIT_OK : CLI_EXIT_UNAVAILABLE;
}

int
cli_local_encode(struct cli_request *request, const struct cli_io *io)
{
    return value_run(request, io, false, false);
}

int
cli_local_decode(struct cli_request *request, const struct cli_io *io)
{
    return value_run(request, io, true, false);
}

int
cli_local_encrypt_conf_value(struct cli_request *request, const struct cli_io *io)
{
    return value_run(request, io, false, true);
}

int
cli_local_decrypt_conf_value(struct cli_request *request, const struct cli_io *io)
{
    return value_run(request, io, true, true);
}
