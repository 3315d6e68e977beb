/* SPDX-License-Identifier: Apache-2.0 */
/* tls.c - TLS around the shards' transports, as the launcher's descriptor says. */
#include "host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_BYTES_MAX (256u * 1024u)

static void
line_print(void *context, const char *line)
{
    (void)context;
    (void)fprintf(stderr, "lepus-dataplane: %s\n", line);
}

/* All of it, with a NUL behind; NULL: it cannot be read. */
static char *
text_read(int fd, size_t *ret_bytes)
{
    char *text = calloc(1, TEXT_BYTES_MAX + 1);
    size_t used = 0;
    ssize_t got = 1;
    while (text != NULL && got > 0 && used < TEXT_BYTES_MAX) {
        got = read(fd, text + used, TEXT_BYTES_MAX - used);
        used += got > 0 ? (size_t)got : 0;
    }
    (void)close(fd);
    if (got < 0) {
        free(text);
        return NULL;
    }
    *ret_bytes = used;
    return text;
}

/* Lines of KEY=VALUE, each with a NUL at its end. */
static bool
text_parse(char *text, size_t bytes, struct lp_tls_settings *settings, char *why)
{
    for (char *at = text; at < text + bytes;) {
        char *next = at + strlen(at) + 1;
        char *equals = strchr(at, '=');
        if (equals == NULL) {
            (void)snprintf(why, LP_TLS_WHY_BYTES, "a line without a value");
            return false;
        }
        *equals = '\0';
        if (!lp_tls_setting_put(settings, at, equals + 1, why)) {
            return false;
        }
        at = next;
    }
    return true;
}

static bool
tls_start(struct host *host, char *ret_why)
{
    char why[LP_TLS_WHY_BYTES] = "";
    size_t bytes = 0;
    struct lp_tls_start start = {
        .settings = lp_tls_settings_default,
        .clock = host_clock_contract(),
        .log = line_print,
    };
    host->tls_text = host->options.tls_fd >= 0 ? text_read(host->options.tls_fd, &bytes) : NULL;
    if (host->tls_text == NULL) {
        (void)snprintf(ret_why, HOST_WHY_BYTES, "a TLS listener without settings for it");
        return false;
    }
    enum lp_err err = text_parse(host->tls_text, bytes, &start.settings, why)
                          ? lp_tls_start_boot(&start, &host->tls, why)
                          : LP_ERR_BAD_CONFIG;
    if (err != LP_OK) {
        (void)snprintf(ret_why, HOST_WHY_BYTES, "TLS: %s", why[0] ? why : lp_err_text(err));
    }
    return err == LP_OK;
}

bool
host_tls_open(struct host *host, uint32_t streams_max, char *ret_why)
{
    if (host->tls_listeners == 0) {
        return true;
    }
    if (!tls_start(host, ret_why)) {
        return false;
    }
    struct lp_tls_options options = {
        .tls = host->tls,
        .listeners = host->tls_listeners,
        .streams_max = streams_max,
    };
    for (uint32_t i = 0; i < host->options.shard.count; i++) {
        struct lp_transport *transport = &host->shard[i].transport;
        options.told = lp_control_region_tls(host->region, i);
        const enum lp_err err = lp_tls_open_boot(&options, *transport, transport);
        if (err != LP_OK) {
            (void)snprintf(ret_why, HOST_WHY_BYTES, "TLS: %s", lp_err_text(err));
            return false; /* the process ends */
        }
        host->tls_wrapped++;
    }
    return true;
}

void
host_tls_close(struct host *host)
{
    if (host->tls != NULL) {
        lp_tls_stop(host->tls);
    }
    for (uint32_t i = 0; i < host->tls_wrapped; i++) {
        host->shard[i].transport = lp_tls_close(&host->shard[i].transport);
    }
    host->tls_wrapped = 0;
    lp_tls_free(&host->tls);
    if (host->tls_text != NULL) {
        explicit_bzero(host->tls_text, TEXT_BYTES_MAX); /* the password is in it */
    }
    free(host->tls_text);
    host->tls_text = NULL;
}
