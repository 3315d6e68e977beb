/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls.c - what the data plane is told of TLS.
 *
 * It goes through a descriptor, not the command line: everybody on the machine
 * may read that, and a key's password is among it.
 */
#include "launcher.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct lines {
    struct launcher_plan *plan;
    const char *key; /* of a family */
    bool failed;
};

static void __attribute__((format(printf, 2, 3)))
line_add(struct lines *lines, const char *format, ...)
{
    struct launcher_plan *plan = lines->plan;
    char *line = NULL;
    va_list list;

    va_start(list, format);
    const int bytes = vasprintf(&line, format, list);
    va_end(list);
    char *more = bytes < 0 ? NULL : realloc(plan->tls, plan->tls_bytes + (size_t)bytes + 1);
    if (more == NULL) {
        lines->failed = true;
    } else {
        memcpy(more + plan->tls_bytes, line, (size_t)bytes + 1);
        plan->tls = more;
        plan->tls_bytes += (size_t)bytes + 1;
    }
    if (bytes >= 0) {
        explicit_bzero(line, (size_t)bytes);
        free(line);
    }
}

static void
family_add(void *context, const char *name, const char *value)
{
    struct lines *lines = context;
    line_add(lines, "%s.%s=%s", lines->key, name, value);
}

static void
texts_add(struct lines *lines)
{
    static const struct {
        const char *line;
        const char *key;
    } texts[] = {
        {"certfile", "ssl_options.certfile"},     {"keyfile", "ssl_options.keyfile"},
        {"cacertfile", "ssl_options.cacertfile"}, {"password", "ssl_options.password"},
        {"dhfile", "ssl_options.dhfile"},         {"verify", "ssl_options.verify"},
        {"login_from", "ssl_cert_login_from"},    {"san_type", "ssl_cert_login_san_type"},
    };
    for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
        const char *value = lp_config_text(lines->plan->config, texts[i].key);
        if (*value != '\0') {
            line_add(lines, "%s=%s", texts[i].line, value);
        }
    }
}

static void
numbers_add(struct lines *lines)
{
    static const struct {
        const char *line;
        const char *key;
    } numbers[] = {
        {"depth", "ssl_options.depth"},
        {"san_index", "ssl_cert_login_san_index"},
        {"handshake_timeout_ms", "ssl_handshake_timeout"},
        {"workers", "lepus.tls.threads"},
    };
    static const char *const bools[] = {"honor_cipher_order", "reuse_sessions"};
    const struct lp_config *config = lines->plan->config;
    for (size_t i = 0; i < LP_COUNT_OF(numbers); i++) {
        line_add(lines, "%s=%lld", numbers[i].line,
                 (long long)lp_config_integer(config, numbers[i].key));
    }
    for (size_t i = 0; i < LP_COUNT_OF(bools); i++) {
        char key[64];
        (void)snprintf(key, sizeof(key), "ssl_options.%s", bools[i]); /* fits */
        line_add(lines, "%s=%s", bools[i], lp_config_bool(config, key) ? "true" : "false");
    }
}

/* Who asks for certificates and says no more means it, as in RabbitMQ 4.0 with Erlang/OTP 26 and
 * later. */
static void
peer_needed_add(struct lines *lines)
{
    const struct lp_config *config = lines->plan->config;
    const char *said = lp_config_text(config, "ssl_options.fail_if_no_peer_cert");
    const bool asked = strcmp(lp_config_text(config, "ssl_options.verify"), "verify_peer") == 0;
    line_add(lines, "fail_if_no_peer_cert=%s", *said != '\0' ? said : asked ? "true" : "false");
}

/* OpenSSL has one switch for both orders. */
static bool
orders_agree(const struct lp_config *config)
{
    const char *curves = lp_config_text(config, "ssl_options.honor_ecc_order");
    return *curves == '\0' || (strcmp(curves, "true") == 0) ==
                                  lp_config_bool(config, "ssl_options.honor_cipher_order");
}

static bool
any_is_tls(char *const *listeners, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strncmp(listeners[i], "tls:", 4) == 0) {
            return true;
        }
    }
    return false;
}

static bool
tls_wanted(const struct launcher_plan *plan)
{
    return any_is_tls(plan->listener, plan->listener_count) ||
           any_is_tls(plan->net_listener, plan->net_listener_count);
}

enum lp_err
launcher_tls_plan(struct launcher_plan *plan, char *ret_why, size_t why_bytes)
{
    struct lines lines = {.plan = plan};

    if (!tls_wanted(plan)) {
        return LP_OK;
    }
    const char *wrong = NULL;
    if (*lp_config_text(plan->config, "ssl_options.certfile") == '\0') {
        wrong = "listeners.ssl needs ssl_options.certfile, and ssl_options.keyfile unless the key "
                "is in the same file";
    } else if (!orders_agree(plan->config)) {
        wrong = "ssl_options.honor_ecc_order cannot differ from ssl_options.honor_cipher_order: "
                "set both, or leave the first away";
    }
    if (wrong != NULL) {
        (void)snprintf(ret_why, why_bytes, "%s", wrong);
        return LP_ERR_BAD_CONFIG;
    }
    texts_add(&lines);
    numbers_add(&lines);
    peer_needed_add(&lines);
    lines.key = "versions";
    lp_config_each(plan->config, "ssl_options.versions.$version", family_add, &lines);
    lines.key = "ciphers";
    lp_config_each(plan->config, "ssl_options.ciphers.$cipher", family_add, &lines);
    if (lines.failed) {
        (void)snprintf(ret_why, why_bytes, "out of memory");
        return LP_ERR_NO_MEMORY;
    }
    return LP_OK;
}

int
launcher_tls_open(const struct launcher_plan *plan)
{
    const int fd = memfd_create("lepus-tls", MFD_CLOEXEC);
    if (fd >= 0 && (write(fd, plan->tls, plan->tls_bytes) != (ssize_t)plan->tls_bytes ||
                    lseek(fd, 0, SEEK_SET) != 0)) {
        (void)close(fd);
        return -1;
    }
    return fd;
}
