/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls.c - the certificates of TLS listeners, and until when they are good.
 *
 * RabbitMQ's tools read the files themselves, and so does this process: what
 * is in a file is what the data plane will take next, not what it began with.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#include "control/admin/admin_checks.h"
#include "control/admin/report.h"
#include "control/config/config.h"

#define FILE_BYTES_MAX (1u << 20) /* more than all authorities of a system together */
#define ENTRIES_MAX    1024u
#define DAY_S          86400

json_t *
admin_tls_listeners(const struct admin_task *task)
{
    json_t *all = admin_listener_objects(task);
    json_t *found = json_array();
    size_t i;
    json_t *listener;
    json_array_foreach(all, i, listener)
    {
        if (strcmp(json_string_value(json_object_get(listener, "protocol")), "amqp/ssl") == 0) {
            admin_append(found, json_incref(listener));
        }
    }
    json_decref(all);
    return found;
}

/* "certfile" or "cacertfile"; NULL: it is not set. */
static const char *
file_of(const struct admin_task *task, const char *which)
{
    const struct lp_config *config = task->control->options.settings.config;
    char key[64];
    if (config == NULL) {
        return NULL;
    }
    (void)snprintf(key, sizeof(key), "ssl_options.%s", which); /* fits */
    const char *path = lp_config_text(config, key);
    return *path != '\0' ? path : NULL;
}

/* As Erlang calls an error of a file. */
static const char *
error_atom(int error)
{
    switch (error) {
    case ENOENT:
        return "enoent";
    case EACCES:
        return "eacces";
    case EISDIR:
        return "eisdir";
    case EFBIG:
        return "efbig";
    default:
        return "eio";
    }
}

/* Its text, to be freed with lp_bytebuf_fini(); 0 or an error. */
static int
file_read(const char *path, struct lp_bytebuf *ret_text)
{
    uint8_t part[4096];
    size_t got;
    int error = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return errno;
    }
    while (error == 0 && (got = fread(part, 1, sizeof(part), file)) > 0) {
        lp_bytebuf_append(ret_text, part, got);
        error = ret_text->size > FILE_BYTES_MAX ? EFBIG : 0;
    }
    if (error == 0 && ferror(file)) {
        error = errno;
    }
    (void)fclose(file); /* it was read only */
    return error;
}

/* ---- certificates ---- */

/* Bytes as Erlang writes them: <<"...">>. */
static void
binary_add(struct lp_bytebuf *out, const json_t *text)
{
    const char *bytes = json_string_value(text);
    lp_bytebuf_append(out, "<<\"", 3);
    for (; *bytes != '\0'; bytes++) {
        const char *escape = *bytes == '\n'   ? "\\n"
                             : *bytes == '\r' ? "\\r"
                             : *bytes == '"'  ? "\\\""
                             : *bytes == '\\' ? "\\\\"
                                              : NULL;
        lp_bytebuf_append(out, escape != NULL ? escape : bytes, escape != NULL ? 2 : 1);
    }
    lp_bytebuf_append(out, "\">>", 3);
}

static void
words_add(struct lp_bytebuf *out, const char *words)
{
    lp_bytebuf_append(out, words, strlen(words));
}

/* What a file holds, as JSON: its text, null if there is none, or {"error": ...}. */
static json_t *
file_value(const struct admin_task *task, const char *which)
{
    struct lp_bytebuf text = {0};
    const char *path = file_of(task, which);
    if (path == NULL) {
        return json_null();
    }
    const int error = file_read(path, &text);
    json_t *value = error != 0 ? json_pack("{s:s}", "error", error_atom(error))
                               : admin_text(lp_bytes_of(text.data, (uint32_t)text.size));
    lp_bytebuf_fini(&text);
    return value;
}

static void
file_add(struct lp_bytebuf *out, const char *key, const json_t *value)
{
    words_add(out, ",\n   ");
    words_add(out, key);
    words_add(out, " =>");
    if (json_is_string(value)) {
        words_add(out, "\n       ");
        binary_add(out, value);
    } else if (json_is_null(value)) {
        words_add(out, " nil");
    } else {
        words_add(out, " {error,");
        words_add(out, json_string_value(json_object_get(value, "error")));
        words_add(out, "}");
    }
}

/* A map of Erlang's. */
static void
listener_add(struct lp_bytebuf *out, const json_t *listener)
{
    char line[512];
    (void)snprintf(line, sizeof(line),
                   "#{node => '%s',port => %d,protocol => 'amqp/ssl',\n   interface => ",
                   json_string_value(json_object_get(listener, "node")),
                   (int)json_integer_value(json_object_get(listener, "port")));
    words_add(out, line);
    binary_add(out, json_object_get(listener, "interface"));
    file_add(out, "certfile", json_object_get(listener, "certfile"));
    file_add(out, "cacertfile", json_object_get(listener, "cacertfile"));
    words_add(out, ",\n   purpose => ");
    binary_add(out, json_object_get(listener, "purpose"));
    words_add(out, "}");
}

void
admin_certificates(struct admin_task *task)
{
    json_t *listeners = admin_tls_listeners(task);
    struct lp_bytebuf text = {0};
    size_t i;
    json_t *listener;
    if (json_array_size(listeners) == 0) {
        json_decref(listeners);
        admin_say(task, json_object(), "#{}");
        return;
    }
    json_array_foreach(listeners, i, listener)
    {
        admin_set(listener, "certfile", file_value(task, "certfile"));
        admin_set(listener, "cacertfile", file_value(task, "cacertfile"));
        words_add(&text, i > 0 ? ",\n " : "[");
        listener_add(&text, listener);
    }
    words_add(&text, "]");
    json_t *words = admin_text_take(&text);
    admin_say(task, listeners, "%s", json_string_value(words));
    json_decref(words);
}

/* ---- check_certificate_expiration ---- */

struct unit {
    const char *name;
    double seconds;
};

static const struct unit *
unit_find(const struct admin_task *task)
{
    static const struct unit units[] = {
        {"days", DAY_S},
        {"weeks", 7.0 * DAY_S},
        {"months", 365.0 / 12.0 * DAY_S},
        {"years", 365.0 * DAY_S},
    };
    const char *name = admin_option(task, "unit");
    for (size_t i = 0; i < LP_COUNT_OF(units); i++) {
        if (strcasecmp(units[i].name, name != NULL ? name : "weeks") == 0) {
            return &units[i];
        }
    }
    return NULL;
}

bool
admin_check_check_certificate_expiration(struct admin_task *task)
{
    if (unit_find(task) != NULL) {
        return true;
    }
    admin_invalid(task, ADMIN_EXIT_USAGE,
                  "\"unit '%s' is not supported. Please use one of: days, weeks, months, years\"",
                  admin_option(task, "unit"));
    return false;
}

/* As Erlang calls what is in a PEM file beside certificates. */
static const char *
entry_type(const char *heading)
{
    static const struct {
        const char *heading;
        const char *type;
    } types[] = {
        {"PRIVATE KEY", "PrivateKeyInfo"},
        {"ENCRYPTED PRIVATE KEY", "PrivateKeyInfo"},
        {"RSA PRIVATE KEY", "RSAPrivateKey"},
        {"DSA PRIVATE KEY", "DSAPrivateKey"},
        {"EC PRIVATE KEY", "ECPrivateKey"},
        {"EC PARAMETERS", "EcpkParameters"},
        {"DH PARAMETERS", "DHParameter"},
        {"PUBLIC KEY", "SubjectPublicKeyInfo"},
        {"RSA PUBLIC KEY", "RSAPublicKey"},
        {"X509 CRL", "CertificateList"},
        {"CERTIFICATE REQUEST", "CertificationRequest"},
    };
    for (size_t i = 0; i < LP_COUNT_OF(types); i++) {
        if (strcmp(types[i].heading, heading) == 0) {
            return types[i].type;
        }
    }
    return heading;
}

static json_t *
time_text(const struct tm *time)
{
    char text[32];
    (void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", time); /* fits */
    return json_string(text);
}

static json_t *
error_text(json_t *words)
{
    json_t *error = json_object();
    admin_set(error, "error", words);
    return error;
}

/* What is wrong with it by `end_s`: a time, {"error": ...}, or NULL. */
static json_t *
certificate_judge(const uint8_t *data, long bytes, double end_s)
{
    struct tm from = {0};
    struct tm until = {0};
    json_t *wrong = NULL;
    X509 *certificate = d2i_X509(NULL, &data, bytes);
    if (certificate == NULL || ASN1_TIME_to_tm(X509_get0_notBefore(certificate), &from) != 1 ||
        ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &until) != 1) {
        X509_free(certificate);
        return error_text(json_string("The certificate file provided cannot be decoded."));
    }
    X509_free(certificate);
    if (timegm(&from) > time(NULL)) {
        json_t *start = time_text(&from);
        wrong = error_text(json_sprintf("Certificate is not yet valid. It starts on %s",
                                        json_string_value(start)));
        json_decref(start);
    } else if ((double)timegm(&until) < end_s) {
        wrong = time_text(&until);
    }
    return wrong;
}

static json_t *
entries_judge(const struct lp_bytebuf *text, double end_s)
{
    json_t *wrong = json_array();
    char *name;
    char *header;
    unsigned char *data;
    long bytes;
    uint32_t count = 0;
    BIO *bio = BIO_new_mem_buf(text->data, (int)text->size);
    LP_ASSERT(bio != NULL);
    while (count < ENTRIES_MAX && PEM_read_bio(bio, &name, &header, &data, &bytes) == 1) {
        const bool plain =
            strcmp(name, "CERTIFICATE") == 0 || strcmp(name, "X509 CERTIFICATE") == 0;
        json_t *found =
            plain ? certificate_judge(data, bytes, end_s)
                  : error_text(json_sprintf("The certificate file provided contains a %s entry.",
                                            entry_type(name)));
        if (found != NULL) {
            admin_append(wrong, found);
        }
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(data, (size_t)bytes); /* it may be a key */
        count++;
    }
    (void)BIO_free(bio);
    if (count == 0) {
        admin_append(wrong, error_text(json_string("The certificate file provided does not contain "
                                                   "any PEM entry.")));
    }
    return wrong;
}

/* Times and errors of those in a file that are not good until `end_s`. */
static json_t *
file_judge(const struct admin_task *task, const char *which, double end_s)
{
    struct lp_bytebuf text = {0};
    const char *path = file_of(task, which);
    if (path == NULL) {
        return json_array();
    }
    const int error = file_read(path, &text);
    json_t *wrong;
    if (error != 0) {
        wrong = json_array();
        admin_append(wrong, error_text(json_string(error_atom(error))));
    } else {
        wrong = entries_judge(&text, end_s);
    }
    OPENSSL_cleanse(text.data, text.size);
    lp_bytebuf_fini(&text);
    return wrong;
}

/* As Elixir shows a list of them. */
static void
wrong_add(struct lp_bytebuf *out, const char *key, const json_t *wrong)
{
    const json_t *first = json_array_get(wrong, 0);
    const bool short_form = json_array_size(wrong) == 1 && json_is_object(first);
    size_t i;
    const json_t *entry;
    words_add(out, ", ");
    words_add(out, key);
    words_add(out, ": [");
    json_array_foreach(wrong, i, entry)
    {
        const json_t *error = json_object_get(entry, "error");
        words_add(out, i > 0 ? ", " : "");
        words_add(out, error == NULL ? "" : short_form ? "error: " : "{:error, ");
        words_add(out, "\"");
        words_add(out, json_string_value(error != NULL ? error : entry));
        words_add(out, error == NULL || short_form ? "\"" : "\"}");
    }
    words_add(out, "]");
}

static void
expired_add(struct lp_bytebuf *out, const json_t *listener)
{
    static const char *const files[] = {"certfile", "cacertfile"};
    char line[512];
    (void)snprintf(line, sizeof(line),
                   "%%{node: :\"%s\", port: %d, protocol: :\"amqp/ssl\", interface: \"%s\"",
                   json_string_value(json_object_get(listener, "node")),
                   (int)json_integer_value(json_object_get(listener, "port")),
                   json_string_value(json_object_get(listener, "interface")));
    words_add(out, line);
    for (size_t i = 0; i < LP_COUNT_OF(files); i++) {
        words_add(out, ", ");
        words_add(out, files[i]);
        words_add(out, ": \"");
        words_add(out, json_string_value(json_object_get(listener, files[i])));
        words_add(out, "\"");
    }
    wrong_add(out, "certfile_expires_on", json_object_get(listener, "certfile_expires_on"));
    wrong_add(out, "cacertfile_expires_on", json_object_get(listener, "cacertfile_expires_on"));
    words_add(out, ", purpose: \"");
    words_add(out, json_string_value(json_object_get(listener, "purpose")));
    words_add(out, "\"}");
}

static void
expired_say(struct admin_task *task, json_t *listeners)
{
    struct lp_bytebuf text = {0};
    size_t i;
    const json_t *listener;
    json_array_foreach(listeners, i, listener)
    {
        words_add(&text, i > 0 ? "\n" : "");
        expired_add(&text, listener);
    }
    json_t *words = admin_text_take(&text);
    admin_unwell(task, json_pack("{s:o,s:s}", "expired", listeners, "result", "error"), "%s",
                 json_string_value(words));
    json_decref(words);
}

/* One answer for all: they have the same files. */
void
admin_check_certificate_expiration(struct admin_task *task)
{
    const struct unit *unit = unit_find(task);
    LP_ASSERT(unit != NULL); /* it was checked */
    const int64_t within = admin_option_integer(task, "within", 4);
    json_t *listeners = admin_tls_listeners(task);
    const double end_s = (double)time(NULL) + (double)within * unit->seconds;
    json_t *own = file_judge(task, "certfile", end_s);
    json_t *authorities = file_judge(task, "cacertfile", end_s);
    size_t i;
    json_t *listener;
    if (json_array_size(listeners) == 0 ||
        (json_array_size(own) == 0 && json_array_size(authorities) == 0)) {
        const int one = within == 1 ? 1 : 0; /* "week", not "weeks" */
        json_decref(listeners);
        admin_say(task, json_pack("{s:s}", "result", "ok"),
                  "No certificates are expiring within %lld %.*s.", (long long)within,
                  (int)strlen(unit->name) - one, unit->name);
    } else {
        json_array_foreach(listeners, i, listener)
        {
            const char *own_path = file_of(task, "certfile");
            const char *path = file_of(task, "cacertfile");
            admin_set(listener, "certfile", json_string(own_path != NULL ? own_path : ""));
            admin_set(listener, "cacertfile", json_string(path != NULL ? path : ""));
            admin_set(listener, "certfile_expires_on", json_incref(own));
            admin_set(listener, "cacertfile_expires_on", json_incref(authorities));
        }
        expired_say(task, listeners);
    }
    json_decref(own);
    json_decref(authorities);
}
