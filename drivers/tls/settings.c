/* SPDX-License-Identifier: Apache-2.0 */
/* settings.c - what an operator writes, as struct lp_tls_settings. */
#include "tls_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct lp_tls_settings lp_tls_settings_default = {
    .depth = 10,
    .reuse_sessions = true,
    .handshake_timeout_ms = 5000,
    .workers = 1,
};

struct setting_text {
    const char *key;
    size_t offset;
};

struct setting_bool {
    const char *key;
    size_t offset;
};

struct setting_number {
    const char *key;
    size_t offset;
    uint32_t max;
};

#define FIELD(member) offsetof(struct lp_tls_settings, member)

static bool
text_put(struct lp_tls_settings *settings, const char *key, const char *value)
{
    static const struct setting_text texts[] = {
        {"certfile", FIELD(certfile)},     {"keyfile", FIELD(keyfile)},
        {"cacertfile", FIELD(cacertfile)}, {"dhfile", FIELD(dhfile)},
        {"password", FIELD(password)},
    };
    for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
        if (strcmp(texts[i].key, key) == 0) {
            memcpy((uint8_t *)settings + texts[i].offset, &value, sizeof(value));
            return true;
        }
    }
    return false;
}

static bool
bool_put(struct lp_tls_settings *settings, const char *key, const char *value)
{
    static const struct setting_bool bools[] = {
        {"fail_if_no_peer_cert", FIELD(fail_if_no_peer_cert)},
        {"honor_cipher_order", FIELD(honor_cipher_order)},
        {"reuse_sessions", FIELD(reuse_sessions)},
    };
    const bool yes = strcmp(value, "true") == 0;
    for (size_t i = 0; i < LP_COUNT_OF(bools); i++) {
        if (strcmp(bools[i].key, key) == 0 && (yes || strcmp(value, "false") == 0)) {
            memcpy((uint8_t *)settings + bools[i].offset, &yes, sizeof(yes));
            return true;
        }
    }
    return false;
}

static bool
number_put(struct lp_tls_settings *settings, const char *key, const char *value)
{
    static const struct setting_number numbers[] = {
        {"depth", FIELD(depth), 255},
        {"handshake_timeout_ms", FIELD(handshake_timeout_ms), 3600000},
        {"san_index", FIELD(san_index), 65535},
        {"workers", FIELD(workers), LP_TLS_WORKERS_MAX},
    };
    char *end;
    const unsigned long number = strtoul(value, &end, 10);
    if (*value < '0' || *value > '9' || *end != '\0') {
        return false;
    }
    for (size_t i = 0; i < LP_COUNT_OF(numbers); i++) {
        if (strcmp(numbers[i].key, key) == 0 && number <= numbers[i].max) {
            const uint32_t small = (uint32_t)number;
            memcpy((uint8_t *)settings + numbers[i].offset, &small, sizeof(small));
            return true;
        }
    }
    return false;
}

/* The index of `text` among `words`, or `count`. */
static uint32_t
word_of(const char *text, const char *const *words, uint32_t count)
{
    uint32_t i = 0;
    while (i < count && strcmp(text, words[i]) != 0) {
        i++;
    }
    return i;
}

static bool
word_put(struct lp_tls_settings *settings, const char *key, const char *value)
{
    static const char *const verify[] = {"verify_none", "verify_peer"};
    static const char *const from[] = {"distinguished_name", "common_name",
                                       "subject_alternative_name", "subject_alt_name"};
    static const char *const types[] = {"dns", "ip", "email", "uri", "other_name"};
    uint32_t at;
    if (strcmp(key, "verify") == 0) {
        at = word_of(value, verify, LP_COUNT_OF(verify));
        settings->verify_peer = at == 1;
        return at < LP_COUNT_OF(verify);
    }
    if (strcmp(key, "login_from") == 0) {
        at = word_of(value, from, LP_COUNT_OF(from));
        settings->login_from =
            (enum lp_tls_login)LP_MIN(at, (uint32_t)LP_TLS_LOGIN_SUBJECT_ALTERNATIVE_NAME);
        return at < LP_COUNT_OF(from);
    }
    if (strcmp(key, "san_type") == 0) {
        at = word_of(value, types, LP_COUNT_OF(types));
        settings->san_type = (enum lp_tls_san)at;
        return at < LP_COUNT_OF(types);
    }
    return false;
}

static bool
version_put(struct lp_tls_settings *settings, const char *value, char *why)
{
    if (strcmp(value, "tlsv1.3") == 0) {
        settings->versions |= LP_TLS_VERSION_1_3;
        return true;
    }
    if (strcmp(value, "tlsv1.2") == 0) {
        settings->versions |= LP_TLS_VERSION_1_2;
        return true;
    }
    (void)snprintf(why, LP_TLS_WHY_BYTES,
                   "ssl_options.versions: \"%s\" is not offered; there are tlsv1.3 and tlsv1.2",
                   value);
    return false;
}

static bool
cipher_put(struct lp_tls_settings *settings, const char *value, char *why)
{
    if (settings->cipher_count == LP_TLS_CIPHERS_MAX) {
        (void)snprintf(why, LP_TLS_WHY_BYTES, "ssl_options.ciphers: there are more than %u",
                       LP_TLS_CIPHERS_MAX);
        return false;
    }
    settings->cipher[settings->cipher_count++] = value;
    return true;
}

bool
lp_tls_setting_put(struct lp_tls_settings *settings, const char *key, const char *value, char *why)
{
    if (strncmp(key, "versions.", strlen("versions.")) == 0) {
        return version_put(settings, value, why);
    }
    if (strncmp(key, "ciphers.", strlen("ciphers.")) == 0) {
        return cipher_put(settings, value, why);
    }
    if (text_put(settings, key, value) || bool_put(settings, key, value) ||
        number_put(settings, key, value) || word_put(settings, key, value)) {
        return true;
    }
    /* Not the value: it may be the password. */
    (void)snprintf(why, LP_TLS_WHY_BYTES, "ssl_options: no use for \"%s\" with this value", key);
    return false;
}
