/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

#define CPU_MAX       1023u
#define MQTT_SIZE_MAX 100000u
#define SIZE_DEFAULT  128u
/* Of all publishers of a closed loop, unless --backlog says another. */
#define BACKLOG_CLOSED 20000u

enum kind {
    KIND_TEXT,
    KIND_U32,
    KIND_U64,
    KIND_REAL,
    KIND_FLAG,
    KIND_CPU,
    KIND_WORD,
    KIND_SIZES,
    KIND_PID
};

struct option_row {
    const char *name;
    enum kind kind;
    size_t offset;
    uint64_t min;
    uint64_t max;
    const char *const *words; /* of KIND_WORD, NULL at the end; the value is the index */
};

static const char *const exchange_words[] = {"default", "direct",  "fanout",
                                             "topic",   "headers", NULL};
static const char *const protocol_words[] = {"amqp", "mqtt", NULL};
static const char *const version_words[] = {"any", "1.2", "1.3", NULL};
static const char *const place_words[] = {"admin", "publisher", "consumer", NULL};

#define OPTION(word, kind, field, min, max)                              \
    {                                                                    \
        word, kind, offsetof(struct load_options, field), min, max, NULL \
    }
#define WORDS(word, field, words)                                          \
    {                                                                      \
        word, KIND_WORD, offsetof(struct load_options, field), 0, 0, words \
    }

static const struct option_row rows[] = {
    OPTION("--host", KIND_TEXT, host, 0, 0),
    OPTION("--port", KIND_TEXT, port, 0, 0),
    OPTION("--user", KIND_TEXT, user, 0, 0),
    OPTION("--password", KIND_TEXT, password, 0, 0),
    OPTION("--vhost", KIND_TEXT, vhost, 0, 0),
    OPTION("--name", KIND_TEXT, name, 0, 0),
    OPTION("--queue-type", KIND_TEXT, queue_type, 0, 0),
    OPTION("--json", KIND_TEXT, json_path, 0, 0),
    OPTION("--svg", KIND_TEXT, svg_path, 0, 0),
    OPTION("--title", KIND_TEXT, title, 0, 0),
    OPTION("--net", KIND_TEXT, net_device, 0, 0),
    OPTION("--net-address", KIND_TEXT, net_address, 0, 0),
    OPTION("--tls-ca", KIND_TEXT, tls_ca, 0, 0),
    OPTION("--tls-cert", KIND_TEXT, tls_cert, 0, 0),
    OPTION("--tls-key", KIND_TEXT, tls_key, 0, 0),
    WORDS("--tls-version", tls_version, version_words),
    OPTION("--tls", KIND_FLAG, tls, 0, 0),
    OPTION("--publishers", KIND_U32, publishers, 0, LOAD_PUBLISHERS_MAX),
    OPTION("--consumers", KIND_U32, consumers, 0, LOAD_PUBLISHERS_MAX),
    OPTION("--queues", KIND_U32, queues, 1, 1000000),
    WORDS("--protocol", protocol, protocol_words),
    WORDS("--exchange", exchange, exchange_words),
    WORDS("--place", place, place_words),
    OPTION("--keys", KIND_U32, keys, 1, 100000000),
    OPTION("--idle-connections", KIND_U32, idle_connections, 0, 1000000),
    OPTION("--idle-queues", KIND_U32, idle_queues, 0, 1000000),
    OPTION("--idle-bindings", KIND_U32, idle_bindings, 0, 1000000),
    OPTION("--size", KIND_SIZES, sizes, LOAD_STAMP_BYTES, 64u << 20),
    OPTION("--messages", KIND_U64, messages, 1, UINT32_MAX),
    OPTION("--seconds", KIND_REAL, seconds, 0, 1u << 20),
    OPTION("--warmup", KIND_REAL, warmup_s, 0, 1u << 20),
    OPTION("--rate-each", KIND_REAL, rate_each, 0, 1000000000),
    OPTION("--rate", KIND_REAL, rate, 0, 1000000000),
    OPTION("--seed", KIND_U64, seed, 0, UINT64_MAX),
    OPTION("--window", KIND_U32, window, 0, 1u << 26),
    OPTION("--backlog", KIND_U32, backlog, 0, 1u << 26),
    OPTION("--prefetch", KIND_U32, prefetch, 0, UINT16_MAX),
    OPTION("--ack-every", KIND_U32, ack_every, 1, UINT16_MAX),
    OPTION("--timeout", KIND_U32, timeout_s, 1, 1u << 20),
    OPTION("--cpu", KIND_CPU, cpu, 0, CPU_MAX),
    OPTION("--sink-cpu", KIND_CPU, sink_cpu, 0, CPU_MAX),
    OPTION("--poisson", KIND_FLAG, poisson, 0, 0),
    OPTION("--confirm", KIND_FLAG, confirm, 0, 0),
    OPTION("--auto-ack", KIND_FLAG, auto_ack, 0, 0),
    OPTION("--durable", KIND_FLAG, durable, 0, 0),
    OPTION("--persistent", KIND_FLAG, persistent, 0, 0),
    OPTION("--to-all", KIND_FLAG, to_all, 0, 0),
    OPTION("--spin", KIND_FLAG, spin, 0, 0),
    OPTION("--sink", KIND_FLAG, sink, 0, 0),
    OPTION("--keep", KIND_FLAG, keep, 0, 0),
    OPTION("--quiet", KIND_FLAG, quiet, 0, 0),
    OPTION("--broker-pid", KIND_PID, broker_pids, 1, 1u << 30),
};

const char *
load_exchange_word(uint32_t exchange)
{
    return exchange == LOAD_EXCHANGE_DEFAULT ? NULL : exchange_words[exchange];
}

static bool
complain(const char *option, const char *what)
{
    (void)fprintf(stderr, "lepus-bench: %s %s; see --help\n", option, what);
    return false;
}

static bool
number_refused(const struct option_row *row, const char *text)
{
    (void)fprintf(stderr, "lepus-bench: %s takes a number from %llu to %llu, not '%s'\n", row->name,
                  (unsigned long long)row->min, (unsigned long long)row->max, text);
    return false;
}

static bool
store_real(void *field, const struct option_row *row, const char *text)
{
    char *end = NULL;
    errno = 0;
    const double number = strtod(text, &end);
    if (errno != 0 || end == text || *end != '\0' || !(number >= (double)row->min) ||
        !(number <= (double)row->max)) {
        return number_refused(row, text);
    }
    memcpy(field, &number, sizeof(number));
    return true;
}

static bool
store_word(void *field, const struct option_row *row, const char *text)
{
    for (uint32_t i = 0; row->words[i] != NULL; i++) {
        if (strcmp(row->words[i], text) == 0) {
            memcpy(field, &i, sizeof(i));
            return true;
        }
    }
    (void)fprintf(stderr, "lepus-bench: %s takes one of", row->name);
    for (uint32_t i = 0; row->words[i] != NULL; i++) {
        (void)fprintf(stderr, " %s", row->words[i]);
    }
    (void)fprintf(stderr, ", not '%s'\n", text);
    return false;
}

/* 16 or 16,1024,65536 */
static bool
store_sizes(struct load_options *options, const struct option_row *row, const char *text)
{
    const char *at = text;
    options->size_count = 0;
    for (;;) {
        char *end = NULL;
        const unsigned long long number = strtoull(at, &end, 10);
        if (end == at || at[0] == '-' || number < row->min || number > row->max ||
            options->size_count == LOAD_SIZES_MAX) {
            return number_refused(row, text);
        }
        options->sizes[options->size_count++] = (uint32_t)number;
        options->size = LP_MAX(options->size, (uint32_t)number);
        if (*end == '\0') {
            return true;
        }
        if (*end != ',') {
            return number_refused(row, text);
        }
        at = end + 1;
    }
}

static bool
store_number(struct load_options *options, const struct option_row *row, const char *text)
{
    char *end = NULL;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    void *field = (char *)options + row->offset;

    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || number < row->min ||
        number > row->max) {
        return number_refused(row, text);
    }
    if (row->kind == KIND_U64) {
        const uint64_t wide = number;
        memcpy(field, &wide, sizeof(wide));
        return true;
    }
    if (row->kind != KIND_PID) {
        const uint32_t narrow = (uint32_t)number + (row->kind == KIND_CPU ? 1u : 0u);
        memcpy(field, &narrow, sizeof(narrow));
        return true;
    }
    if (options->broker_pid_count == LOAD_BROKER_PIDS_MAX) {
        return complain(row->name, "was given too often");
    }
    options->broker_pids[options->broker_pid_count++] = (int)number;
    return true;
}

static bool
store(struct load_options *options, const struct option_row *row, const char *text)
{
    void *field = (char *)options + row->offset;
    const bool yes = true;
    switch (row->kind) {
    case KIND_FLAG:
        memcpy(field, &yes, sizeof(yes));
        return true;
    case KIND_TEXT:
        if (strlen(text) > 200) {
            return complain(row->name, "is too long");
        }
        memcpy(field, &text, sizeof(text));
        return true;
    case KIND_REAL:
        return store_real(field, row, text);
    case KIND_WORD:
        return store_word(field, row, text);
    case KIND_SIZES:
        return store_sizes(options, row, text);
    case KIND_U32:
    case KIND_U64:
    case KIND_CPU:
    case KIND_PID:
        break;
    }
    return store_number(options, row, text);
}

static const struct option_row *
find(const char *word, size_t bytes)
{
    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        if (strlen(rows[i].name) == bytes && memcmp(rows[i].name, word, bytes) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

/* --name VALUE, --name=VALUE or --flag at argv[*at]; moves *at past it. */
static bool
parse_one(struct load_options *options, int argc, char **argv, int *at)
{
    const char *word = argv[(*at)++];
    const char *equals = strchr(word, '=');
    const struct option_row *row = find(word, equals ? (size_t)(equals - word) : strlen(word));

    if (row == NULL) {
        return complain(word, "is not an option");
    }
    if (row->kind == KIND_FLAG) {
        return equals ? complain(row->name, "takes no value") : store(options, row, NULL);
    }
    if (equals) {
        return store(options, row, equals + 1);
    }
    if (*at == argc) {
        return complain(word, "needs a value");
    }
    if (row->kind != KIND_PID) {
        return store(options, row, argv[(*at)++]);
    }
    /* --broker-pid $(pidof x) gives several numbers. */
    do {
        if (!store(options, row, argv[(*at)++])) {
            return false;
        }
    } while (*at < argc && argv[*at][0] != '-');
    return true;
}

static bool
lengths_fit(struct load_options *options)
{
    if (options->messages != 0 && options->seconds > 0) {
        return complain("--messages", "and --seconds exclude each other");
    }
    if (options->messages == 0 && options->seconds <= 0) {
        options->messages = 100000;
    }
    if (options->messages != 0 && options->warmup_s > 0) {
        return complain("--warmup", "needs --seconds");
    }
    if (options->publishers == 0 && options->consumers == 0 && options->seconds <= 0) {
        return complain("--publishers", "and --consumers are both 0: tell for how many --seconds");
    }
    if (options->publishers == 0 && options->consumers != 0 && options->messages == 0) {
        return complain("--seconds", "needs publishers; tell how many --messages to consume");
    }
    return true;
}

/* At QoS 0, with a subscriber a topic, there is less to choose. */
static bool
mqtt_fits(struct load_options *options)
{
    options->auto_ack = true;
    if (options->confirm || options->durable || options->exchange != LOAD_EXCHANGE_DEFAULT ||
        options->idle_queues != 0 || options->queue_type != NULL) {
        return complain("--protocol mqtt", "has no confirms, exchanges, durable or other queues");
    }
    if (options->consumers != 0 && options->consumers != options->queues) {
        return complain("--protocol mqtt", "needs as many --consumers as --queues");
    }
    if (options->size > MQTT_SIZE_MAX) {
        return complain("--size", "is more than this program does over MQTT");
    }
    return true;
}

/* What is said of TLS asks for it. */
static bool
tls_fits(struct load_options *options)
{
    options->tls = options->tls || options->tls_ca != NULL || options->tls_cert != NULL ||
                   options->tls_version != LOAD_TLS_ANY;
    if (options->tls_key != NULL && options->tls_cert == NULL) {
        return complain("--tls-key", "needs --tls-cert");
    }
    if (options->tls && options->sink) {
        return complain("--sink", "speaks plainly: leave --tls away");
    }
    if (options->port == NULL) {
        options->port = options->tls ? "5671" : "5672";
    }
    return true;
}

static bool
consistent(struct load_options *options)
{
    if (!lengths_fit(options) || !tls_fits(options)) {
        return false;
    }
    if (options->rate > 0 && options->rate_each > 0) {
        return complain("--rate-each", "and --rate exclude each other");
    }
    options->rate += options->rate_each * options->publishers;
    options->to_all = options->to_all || options->exchange == LOAD_EXCHANGE_FANOUT;
    options->durable = options->durable || options->persistent;
    if (options->backlog == UINT32_MAX) {
        options->backlog = options->rate > 0 ? 0 : BACKLOG_CLOSED;
    }
    if (options->protocol == LOAD_PROTOCOL_MQTT && !mqtt_fits(options)) {
        return false;
    }
    if (options->to_all && options->exchange == LOAD_EXCHANGE_DEFAULT &&
        options->protocol == LOAD_PROTOCOL_AMQP) {
        return complain("--to-all", "needs an --exchange");
    }
    if (options->keys != 0 && options->exchange != LOAD_EXCHANGE_TOPIC) {
        return complain("--keys", "needs --exchange topic");
    }
    if (options->idle_bindings != 0 && options->exchange != LOAD_EXCHANGE_TOPIC) {
        return complain("--idle-bindings", "need --exchange topic");
    }
    if (options->prefetch != 0 && options->ack_every > options->prefetch) {
        return complain("--ack-every", "is more than --prefetch: the consumer would wait for ever");
    }
    if (options->consumers != 0 && options->consumers < options->queues) {
        return complain("--consumers", "are fewer than --queues: some would never be emptied");
    }
    const uint64_t pairs = (uint64_t)options->publishers * options->queues;
    if (options->to_all && pairs > 1u << 24) {
        return complain("--publishers", "times --queues is more than this program can check");
    }
    return true;
}

bool
load_options_parse(struct load_options *options, int argc, char **argv, int *ret_exit)
{
    *options = (struct load_options){
        .host = "127.0.0.1",
        .user = "guest",
        .password = "guest",
        .vhost = "/",
        .publishers = 1,
        .consumers = 1,
        .queues = 1,
        .window = 1024,
        .backlog = UINT32_MAX,
        .prefetch = 256,
        .ack_every = 1,
        .timeout_s = 10,
        .seed = 1,
    };
    *ret_exit = 2;
    for (int at = 1; at < argc;) {
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
            for (int i = 0; load_help[i] != NULL; i++) {
                (void)fputs(load_help[i], stdout);
            }
            *ret_exit = 0;
            return false;
        }
        if (!parse_one(options, argc, argv, &at)) {
            return false;
        }
    }
    if (options->size_count == 0) {
        options->size = options->sizes[options->size_count++] = SIZE_DEFAULT;
    }
    return consistent(options);
}
