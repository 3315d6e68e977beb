/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

static const char help[] =
    "lepus-bench: load for an AMQP 0-9-1 broker, and a check that it lost nothing\n"
    "\n"
    "  lepus-bench --publishers 2 --consumers 2 --confirm --broker-pid $(pidof lepus-dataplane)\n"
    "\n"
    "Publishers send to queues, consumers take from them, and every body carries its\n"
    "publisher's number, a sequence number and the time it was sent. The exit code is 0\n"
    "only when everything sent arrived whole, once and in order.\n"
    "\n"
    "what to send\n"
    "  --publishers N    connections that publish (1)\n"
    "  --consumers N     connections that consume (1)\n"
    "  --queues N        publisher i and consumer i use queue i modulo N (1)\n"
    "  --size BYTES      of a body, at least 16 (128)\n"
    "  --messages N      of all publishers together (100000)\n"
    "  --seconds N       send for so long instead\n"
    "  --rate N          messages per second of all publishers together (as fast as it goes)\n"
    "  --durable         durable queues and persistent messages\n"
    "\n"
    "how to send and take\n"
    "  --confirm         ask for publisher confirms\n"
    "  --window N        messages of a publisher that may be on the way: not yet confirmed, or\n"
    "                    without --confirm not yet consumed; 0 for no bound (256)\n"
    "  --prefetch N      unacknowledged messages of a consumer; 0 for no bound (256)\n"
    "  --auto-ack        consume without acknowledging\n"
    "  --ack-every N     acknowledge N messages at once (1)\n"
    "\n"
    "where and how\n"
    "  --host NAME --port N --user NAME --password WORD --vhost NAME\n"
    "                    (127.0.0.1, 5672, guest, guest, /)\n"
    "  --name PREFIX     of the queues' names (lepus-bench-<process id>)\n"
    "  --keep            do not delete the queues at the end\n"
    "  --broker-pid PID  measure this process's CPU time; may be given several times\n"
    "  --timeout S       give up after so long without progress (10)\n"
    "  --json            one JSON object instead of text\n"
    "\n"
    "What the numbers mean. This is a closed loop: a publisher with a full window waits, so\n"
    "a slow broker is offered less load, and the latencies are those of the messages that\n"
    "were sent, not of arrivals that do not wait. Compare brokers by rate and by CPU per\n"
    "message; compare latency only at the same --rate, well below the slower one's best:\n"
    "then a message's clock starts when it was due, even if it could not be sent yet.\n"
    "Everything runs in one thread, which on a small machine competes with the broker.\n";

enum kind { KIND_TEXT, KIND_U32, KIND_U64, KIND_FLAG, KIND_PID };

struct option_row {
    const char *name;
    enum kind kind;
    size_t offset;
    uint64_t min;
    uint64_t max;
};

#define OPTION(word, kind, field, min, max)                        \
    {                                                              \
        word, kind, offsetof(struct load_options, field), min, max \
    }

static const struct option_row rows[] = {
    OPTION("--host", KIND_TEXT, host, 0, 0),
    OPTION("--port", KIND_TEXT, port, 0, 0),
    OPTION("--user", KIND_TEXT, user, 0, 0),
    OPTION("--password", KIND_TEXT, password, 0, 0),
    OPTION("--vhost", KIND_TEXT, vhost, 0, 0),
    OPTION("--name", KIND_TEXT, name, 0, 0),
    OPTION("--publishers", KIND_U32, publishers, 0, LOAD_PUBLISHERS_MAX),
    OPTION("--consumers", KIND_U32, consumers, 0, 4096),
    OPTION("--queues", KIND_U32, queues, 1, 4096),
    OPTION("--size", KIND_U32, size, LOAD_STAMP_BYTES, 64u << 20),
    OPTION("--messages", KIND_U64, messages, 1, UINT32_MAX),
    OPTION("--seconds", KIND_U32, seconds, 1, 1u << 20),
    OPTION("--rate", KIND_U64, rate, 1, 1000000000),
    OPTION("--window", KIND_U32, window, 0, 1u << 20),
    OPTION("--prefetch", KIND_U32, prefetch, 0, UINT16_MAX),
    OPTION("--ack-every", KIND_U32, ack_every, 1, UINT16_MAX),
    OPTION("--timeout", KIND_U32, timeout_s, 1, 1u << 20),
    OPTION("--confirm", KIND_FLAG, confirm, 0, 0),
    OPTION("--auto-ack", KIND_FLAG, auto_ack, 0, 0),
    OPTION("--durable", KIND_FLAG, durable, 0, 0),
    OPTION("--keep", KIND_FLAG, keep, 0, 0),
    OPTION("--json", KIND_FLAG, json, 0, 0),
    OPTION("--broker-pid", KIND_PID, broker_pids, 1, 1u << 30),
};

static bool
complain(const char *option, const char *what)
{
    (void)fprintf(stderr, "lepus-bench: %s %s; see --help\n", option, what);
    return false;
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
        (void)fprintf(stderr, "lepus-bench: %s takes a number from %llu to %llu, not '%s'\n",
                      row->name, (unsigned long long)row->min, (unsigned long long)row->max, text);
        return false;
    }
    if (row->kind == KIND_U64) {
        const uint64_t wide = number;
        memcpy(field, &wide, sizeof(wide));
        return true;
    }
    if (row->kind == KIND_U32) {
        const uint32_t narrow = (uint32_t)number;
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
    if (row->kind == KIND_FLAG) {
        const bool yes = true;
        memcpy(field, &yes, sizeof(yes));
        return true;
    }
    if (row->kind == KIND_TEXT) {
        if (strlen(text) > 200) {
            return complain(row->name, "is too long");
        }
        memcpy(field, &text, sizeof(text));
        return true;
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
consistent(struct load_options *options)
{
    if (options->messages != 0 && options->seconds != 0) {
        return complain("--messages", "and --seconds exclude each other");
    }
    if (options->messages == 0 && options->seconds == 0) {
        options->messages = 100000;
    }
    if (options->publishers == 0 && options->consumers == 0) {
        return complain("--publishers", "and --consumers are both 0");
    }
    if (options->publishers == 0 && options->messages == 0) {
        return complain("--seconds", "needs publishers; tell how many --messages to consume");
    }
    if (options->prefetch != 0 && options->ack_every > options->prefetch) {
        return complain("--ack-every", "is more than --prefetch: the consumer would wait for ever");
    }
    if (options->consumers != 0 && options->consumers < options->queues &&
        options->publishers > options->consumers) {
        return complain("--consumers", "are fewer than --queues: some would never be emptied");
    }
    return true;
}

bool
load_options_parse(struct load_options *options, int argc, char **argv, int *ret_exit)
{
    *options = (struct load_options){
        .host = "127.0.0.1",
        .port = "5672",
        .user = "guest",
        .password = "guest",
        .vhost = "/",
        .publishers = 1,
        .consumers = 1,
        .queues = 1,
        .size = 128,
        .window = 256,
        .prefetch = 256,
        .ack_every = 1,
        .timeout_s = 10,
    };
    *ret_exit = 2;
    for (int at = 1; at < argc;) {
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
            (void)fputs(help, stdout);
            *ret_exit = 0;
            return false;
        }
        if (!parse_one(options, argc, argv, &at)) {
            return false;
        }
    }
    return consistent(options);
}
