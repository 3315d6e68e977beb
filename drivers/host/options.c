/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lepus/protocol.h>

#include <drivers/common/address.h>

/* A decimal number of at most `max`, with nothing after it. */
static bool
number_parse(const char *text, uint64_t max, uint64_t *ret_number)
{
    char *end;
    if (*text < '0' || *text > '9') {
        return false;
    }
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || number > max) {
        return false;
    }
    *ret_number = number;
    return true;
}

static bool
fd_list_parse(struct host_options *options, const char *text)
{
    while (options->shard_wake_count < LP_SHARDS_MAX) {
        char *end;
        if (*text < '0' || *text > '9') {
            return false;
        }
        const unsigned long fd = strtoul(text, &end, 10);
        if (fd > INT32_MAX) {
            return false;
        }
        options->shard_wake_fd[options->shard_wake_count++] = (int)fd;
        if (*end == '\0') {
            return true;
        }
        if (*end != ',') {
            return false;
        }
        text = end + 1;
    }
    return false;
}

/* The index of `text` among `words`; false: it is none of them. */
static bool
word_parse(const char *text, const char *const *words, uint32_t count, uint32_t *ret_index)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

static bool
words_take(struct host_options *options, const char *name, const char *value)
{
    static const char *const transports[] = {"auto", "io_uring", "epoll"};
    static const char *const pins[] = {"auto", "yes", "no"};
    static const char *const polls[] = {"adaptive", "busy", "sleep"};
    uint32_t index;
    if (strcmp(name, "transport") == 0 && word_parse(value, transports, 3, &index)) {
        options->transport = (enum host_transport)index;
        return true;
    }
    if (strcmp(name, "pin") == 0 && word_parse(value, pins, 3, &index)) {
        options->pin = (enum host_pin)index;
        return true;
    }
    if (strcmp(name, "poll") == 0 && word_parse(value, polls, 3, &index)) {
        options->poll = (enum host_poll)index;
        return true;
    }
    return false;
}

/* 32 digits of base 16. */
static bool
id_parse(const char *text, uint8_t id[16])
{
    static const char digits[] = "0123456789abcdef";
    if (strlen(text) != 32 || strspn(text, digits) != 32) {
        return false;
    }
    for (size_t i = 0; i < 16; i++) {
        const size_t high = (size_t)(strchr(digits, text[2 * i]) - digits);
        const size_t low = (size_t)(strchr(digits, text[2 * i + 1]) - digits);
        id[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* "tls:" is "tcp:" with TLS around it. */
bool
host_listener_take(const char *value, struct lp_address listener[LP_LISTENERS_MAX], uint32_t *count,
                   uint64_t *tls_listeners)
{
    char text[LP_ADDRESS_FORMAT_BYTES];
    const bool tls = strncmp(value, "tls:", 4) == 0;
    if (*count == LP_LISTENERS_MAX ||
        snprintf(text, sizeof(text), "%s%s", tls ? "tcp:" : "", tls ? value + 4 : value) >=
            (int)sizeof(text) ||
        !lp_address_parse(text, &listener[*count])) {
        return false;
    }
    *tls_listeners |= (uint64_t)tls << *count;
    (*count)++;
    return true;
}

static bool
mechanism_take(struct host_options *options, const char *value)
{
    static const char *const names[] = {"PLAIN", "AMQPLAIN", "EXTERNAL", "ANONYMOUS"};
    static const uint8_t bits[] = {LP_MECHANISM_PLAIN, LP_MECHANISM_AMQPLAIN, LP_MECHANISM_EXTERNAL,
                                   LP_MECHANISM_ANONYMOUS};
    uint32_t index;
    if (!word_parse(value, names, LP_COUNT_OF(names), &index)) {
        return false;
    }
    options->shard.mechanisms |= bits[index];
    return true;
}

static bool
text_take(struct host_options *options, const char *name, const char *value)
{
    if (strcmp(name, "listen") == 0) {
        return host_listener_take(value, options->listener, &options->listener_count,
                                  &options->tls_listeners);
    }
    if (strcmp(name, "auth-mechanism") == 0) {
        return mechanism_take(options, value);
    }
    if (strcmp(name, "shard-wake-fds") == 0) {
        return options->shard_wake_count == 0 && fd_list_parse(options, value);
    }
    if (strcmp(name, "data") == 0) {
        options->data = value;
        return *value != '\0';
    }
    if (strcmp(name, "data-id") == 0) {
        return id_parse(value, options->data_id);
    }
    if (strcmp(name, "cluster-name") == 0) {
        const size_t bytes = strnlen(value, sizeof(options->shard.cluster_name) - 1);
        memcpy(options->shard.cluster_name, value, bytes);
        options->shard.cluster_name[bytes] = '\0';
        return true;
    }
    return words_take(options, name, value);
}

/* Where a number goes: its width says how. */
struct number {
    const char *name;
    uint64_t max;
    size_t offset;
    size_t bytes;
};

#define FIELD(member) \
    offsetof(struct host_options, member), sizeof(((struct host_options *)0)->member)

static bool
number_take(struct host_options *options, const char *name, const char *value)
{
    static const struct number numbers[] = {
        {"region-fd", INT32_MAX, FIELD(region_fd)},
        {"control-wake-fd", INT32_MAX, FIELD(control_wake_fd)},
        {"ready-fd", INT32_MAX, FIELD(ready_fd)},
        {"tls-fd", INT32_MAX, FIELD(tls_fd)},
        {"ledger-fd", INT32_MAX, FIELD(net.ledger_fd)},
        {"shards", LP_SHARDS_MAX, FIELD(shard.count)},
        {"memory-bytes", UINT64_MAX, FIELD(memory_bytes)},
        {"watermark-bytes", UINT64_MAX, FIELD(watermark_bytes)},
        {"net-memory-bytes", UINT64_MAX, FIELD(net.memory_bytes)},
        {"heartbeat-s", UINT16_MAX, FIELD(shard.heartbeat_s)},
        {"frame-max", UINT32_MAX, FIELD(shard.frame_max_bytes)},
        {"channel-max", UINT16_MAX, FIELD(shard.channel_max)},
        {"consumer-max", UINT32_MAX, FIELD(shard.consumers_max)},
        {"max-message-size", UINT64_MAX, FIELD(shard.message_bytes_max)},
        {"handshake-timeout-ms", UINT32_MAX, FIELD(shard.handshake_timeout_ms)},
        {"control-timeout-ms", UINT32_MAX, FIELD(shard.control_timeout_ms)},
        {"log-segment-bytes", UINT32_MAX, FIELD(shard.log_segment_bytes)},
        {"log-first-segment-bytes", UINT32_MAX, FIELD(shard.log_first_segment_bytes)},
        {"log-backlog-bytes", UINT64_MAX, FIELD(shard.log_backlog_bytes)},
        {"log-max-delay-us", UINT32_MAX, FIELD(shard.log_max_delay_us)},
    };
    for (size_t i = 0; i < LP_COUNT_OF(numbers); i++) {
        uint64_t number;
        if (strcmp(numbers[i].name, name) != 0) {
            continue;
        }
        if (!number_parse(value, numbers[i].max, &number)) {
            return false;
        }
        /* Little-endian, as the build demands: the low bytes come first. */
        memcpy((uint8_t *)options + numbers[i].offset, &number, numbers[i].bytes);
        return true;
    }
    return false;
}

static bool
option_take(struct host_options *options, const char *argument)
{
    char name[32];
    const char *equals = strchr(argument, '=');
    if (strncmp(argument, "--", 2) != 0 || equals == NULL ||
        (size_t)(equals - argument - 2) >= sizeof(name)) {
        return false;
    }
    const size_t bytes = (size_t)(equals - argument - 2);
    memcpy(name, argument + 2, bytes);
    name[bytes] = '\0';
    if (strncmp(name, "net-", 4) == 0 && strcmp(name, "net-memory-bytes") != 0) {
        return host_net_option_take(&options->net, name, equals + 1);
    }
    return text_take(options, name, equals + 1) || number_take(options, name, equals + 1);
}

/* The defaults are those of `lepus config`; the launcher always passes all of them. */
static const struct host_options defaults = {
    .region_fd = -1,
    .control_wake_fd = -1,
    .ready_fd = -1,
    .tls_fd = -1,
    .memory_bytes = 1024u * 1024u * 1024u,
    .net = {.memory_bytes = 64u * 1024u * 1024u, .ledger_fd = -1},
    .shard =
        {
            .frame_max_bytes = 131072,
            .channel_max = 2047,
            .heartbeat_s = 60,
            .handshake_timeout_ms = 10000,
            .control_timeout_ms = 30000,
            .message_bytes_max = 16u * 1024u * 1024u,
            .cluster_name = "lepus",
            .log_segment_bytes = 64u * 1024u * 1024u,
            .log_first_segment_bytes = 4u * 1024u * 1024u,
            .log_backlog_bytes = 64u * 1024u * 1024u,
        },
};

bool
host_options_parse(struct host_options *options, int argc, char **argv, char *ret_why)
{
    *options = defaults;
    for (int i = 1; i < argc; i++) {
        if (!option_take(options, argv[i])) {
            (void)snprintf(ret_why, HOST_WHY_BYTES, "cannot use the argument '%s'", argv[i]);
            return false;
        }
    }
    if (options->watermark_bytes == 0) {
        options->watermark_bytes = options->memory_bytes / 5 * 4;
    }
    const char *wrong = NULL;
    if (options->region_fd < 0 || options->control_wake_fd < 0) {
        wrong = "there is no region to share with the control process; start lepus instead";
    } else if (options->shard.count == 0 || options->shard_wake_count != options->shard.count) {
        wrong = "there must be as many wake descriptors as shards, and one at least";
    } else if (options->listener_count + options->net.listener_count == 0) {
        wrong = "there is nothing to listen on";
    } else if (options->watermark_bytes > options->memory_bytes) {
        wrong = "the watermark is above the memory limit";
    }
    if (wrong != NULL) {
        (void)snprintf(ret_why, HOST_WHY_BYTES, "%s", wrong);
    }
    return wrong == NULL;
}
