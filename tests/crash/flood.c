/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flood.c - a fast publisher or consumer, for million.py.
 *
 *   flood publish HOST PORT id=N count=N window=N body=N QUEUE...
 *   flood consume HOST PORT file=PATH prefetch=N [pause=N] [hold=N] QUEUE...
 *
 * A body begins with the publisher's id and the message's number; message n goes
 * to queue n modulo the number of queues, whose names end in ".0", ".1" and so on.  A consumer
 * appends one record a message to its file before it acknowledges, so what a kill -9 leaves there
 * was received.
 *
 *   prefetch=0   automatic acknowledgement
 *   pause=N      after N messages stop reading the socket until a byte comes on stdin
 *   hold=N       after N messages acknowledge no more; say so once prefetch/2 are held
 *
 * Words on stdout: ready, confirmed N, paused, resumed, holding N.
 */
#include <amqp.h>
#include <amqp_tcp_socket.h>

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { FLOOD_QUEUES_MAX = 64, FLOOD_BATCH = 256, FLOOD_ACK_EVERY = 100, FLOOD_WAIT_S = 90 };

struct flood_record {
    uint32_t publisher;
    uint16_t queue;
    uint16_t redelivered;
    uint64_t number;
};

struct flood_run {
    amqp_connection_state_t connection;
    const char *queue[FLOOD_QUEUES_MAX];
    size_t queue_count;
    uint64_t id, count, window, body, prefetch, pause, hold;
    const char *file;
};

struct flood_confirms {
    uint8_t *seen;  /* by delivery tag, from 1 */
    uint64_t floor; /* all tags up to here are confirmed */
    uint64_t total;
};

struct flood_intake {
    struct flood_record batch[FLOOD_BATCH];
    size_t batch_count;
    uint64_t total;
    uint64_t tag_last, tag_acked;
    int fd;
    bool holding_said;
};

static volatile sig_atomic_t flood_stop;

static void
flood_on_term(int number)
{
    (void)number;
    flood_stop = 1;
}

__attribute__((format(printf, 1, 2), noreturn)) static void
flood_die(const char *form, ...)
{
    va_list arguments;
    va_start(arguments, form);
    (void)fprintf(stderr, "flood: ");
    (void)vfprintf(stderr, form, arguments);
    (void)fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static void
flood_say(const char *word, uint64_t number)
{
    (void)printf("%s %" PRIu64 "\n", word, number);
    (void)fflush(stdout);
}

static void
flood_check(amqp_rpc_reply_t reply, const char *what)
{
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        return;
    }
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
        flood_die("%s: %s", what, amqp_error_string2(reply.library_error));
    }
    flood_die("%s: refused with method %#x", what, reply.reply.id);
}

static void
flood_open(struct flood_run *run, const char *host, int port)
{
    run->connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(run->connection);
    if (socket == NULL || amqp_socket_open(socket, host, port) != AMQP_STATUS_OK) {
        flood_die("cannot connect to %s port %d", host, port);
    }
    flood_check(
        amqp_login(run->connection, "/", 2047, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest"),
        "login");
    amqp_channel_open(run->connection, 1);
    flood_check(amqp_get_rpc_reply(run->connection), "channel.open");
}

static void
flood_take_ack(struct flood_confirms *confirms, const amqp_basic_ack_t *ack)
{
    const uint64_t first = ack->multiple ? confirms->floor + 1 : ack->delivery_tag;
    for (uint64_t tag = first; tag <= ack->delivery_tag; tag++) {
        if (confirms->seen[tag] && !ack->multiple) {
            flood_die("tag %" PRIu64 " confirmed twice", tag);
        }
        confirms->total += confirms->seen[tag] ? 0 : 1;
        confirms->seen[tag] = 1;
    }
    while (confirms->seen[confirms->floor + 1]) {
        confirms->floor++;
    }
}

/* Take confirms in: all that have come, and at least one when `wait` is set. */
static void
flood_drain(struct flood_run *run, struct flood_confirms *confirms, bool wait)
{
    amqp_frame_t frame;
    struct timeval limit = {.tv_sec = wait ? FLOOD_WAIT_S : 0};
    for (;;) {
        const int status = amqp_simple_wait_frame_noblock(run->connection, &frame, &limit);
        if (status == AMQP_STATUS_TIMEOUT && limit.tv_sec == 0) {
            return;
        }
        if (status != AMQP_STATUS_OK) {
            flood_die("waiting for confirms: %s (%" PRIu64 " of %" PRIu64 " confirmed)",
                      amqp_error_string2(status), confirms->total, run->count);
        }
        if (frame.frame_type != AMQP_FRAME_METHOD ||
            frame.payload.method.id != AMQP_BASIC_ACK_METHOD) {
            flood_die("method %#x instead of basic.ack", frame.payload.method.id);
        }
        flood_take_ack(confirms, frame.payload.method.decoded);
        limit.tv_sec = 0;
        amqp_maybe_release_buffers(run->connection);
    }
}

static void
flood_publish(struct flood_run *run)
{
    struct flood_confirms confirms = {.seen = calloc(run->count + 2, 1)};
    uint8_t *body = calloc(1, run->body);
    if (confirms.seen == NULL || body == NULL || run->body < sizeof(struct flood_record)) {
        flood_die("no memory, or body under %zu bytes", sizeof(struct flood_record));
    }
    amqp_confirm_select(run->connection, 1);
    flood_check(amqp_get_rpc_reply(run->connection), "confirm.select");
    flood_say("ready", 0);
    for (uint64_t number = 0; number < run->count; number++) {
        if (number % 64 == 0 || number - confirms.total >= run->window) {
            flood_drain(run, &confirms, number - confirms.total >= run->window);
        }
        const size_t queue = number % run->queue_count;
        const struct flood_record record = {
            .publisher = (uint32_t)run->id, .queue = (uint16_t)queue, .number = number};
        memcpy(body, &record, sizeof record);
        const amqp_bytes_t bytes = {.len = run->body, .bytes = body};
        const int status =
            amqp_basic_publish(run->connection, 1, amqp_empty_bytes,
                               amqp_cstring_bytes(run->queue[queue]), 0, 0, NULL, bytes);
        if (status != AMQP_STATUS_OK) {
            flood_die("publish: %s", amqp_error_string2(status));
        }
    }
    while (confirms.total < run->count) {
        flood_drain(run, &confirms, true);
    }
    flood_say("confirmed", confirms.total);
    free(confirms.seen);
    free(body);
}

/* Write the records down, and only then acknowledge what they stand for. */
static void
flood_flush(struct flood_run *run, struct flood_intake *intake)
{
    const size_t bytes = intake->batch_count * sizeof intake->batch[0];
    if (bytes > 0 && write(intake->fd, intake->batch, bytes) != (ssize_t)bytes) {
        flood_die("cannot write %s", run->file);
    }
    intake->batch_count = 0;
    const bool holds = run->hold != 0 && intake->total >= run->hold;
    if (run->prefetch != 0 && !holds && intake->tag_last != intake->tag_acked) {
        if (amqp_basic_ack(run->connection, 1, intake->tag_last, 1) != AMQP_STATUS_OK) {
            flood_die("cannot acknowledge");
        }
        intake->tag_acked = intake->tag_last;
    }
    const uint64_t held = intake->tag_last - intake->tag_acked;
    if (holds && !intake->holding_said && held >= run->prefetch / 2) {
        intake->holding_said = true;
        flood_say("holding", held);
    }
}

static void
flood_take(struct flood_run *run, struct flood_intake *intake, const amqp_envelope_t *envelope)
{
    struct flood_record record;
    if (envelope->message.body.len != run->body) {
        flood_die("a body of %zu bytes", envelope->message.body.len);
    }
    memcpy(&record, envelope->message.body.bytes, sizeof record);
    char suffix[16];
    const amqp_bytes_t key = envelope->routing_key;
    const size_t length = (size_t)snprintf(suffix, sizeof suffix, ".%u", record.queue);
    if (key.len < length ||
        memcmp((const char *)key.bytes + key.len - length, suffix, length) != 0) {
        flood_die("a message for queue %u came with key %.*s", record.queue, (int)key.len,
                  (const char *)key.bytes);
    }
    record.redelivered = envelope->redelivered ? 1 : 0;
    intake->tag_last = envelope->delivery_tag;
    intake->total++;
    intake->batch[intake->batch_count++] = record;
    if (intake->batch_count == FLOOD_ACK_EVERY) {
        flood_flush(run, intake);
    }
    if (intake->total == run->pause) {
        char byte;
        flood_flush(run, intake);
        flood_say("paused", intake->total);
        if (read(STDIN_FILENO, &byte, 1) == 1) {
            flood_say("resumed", intake->total);
        }
    }
}

static void
flood_subscribe(struct flood_run *run)
{
    if (run->prefetch != 0) {
        amqp_basic_qos(run->connection, 1, 0, (uint16_t)run->prefetch, 0);
        flood_check(amqp_get_rpc_reply(run->connection), "basic.qos");
    }
    for (size_t i = 0; i < run->queue_count; i++) {
        amqp_basic_consume(run->connection, 1, amqp_cstring_bytes(run->queue[i]), amqp_empty_bytes,
                           0, run->prefetch == 0, 0, amqp_empty_table);
        flood_check(amqp_get_rpc_reply(run->connection), "basic.consume");
    }
}

static void
flood_consume(struct flood_run *run)
{
    static struct flood_intake intake;
    intake.fd = open(run->file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (intake.fd < 0) {
        flood_die("cannot open %s", run->file);
    }
    flood_subscribe(run);
    flood_say("ready", 0);
    while (!flood_stop) {
        amqp_envelope_t envelope;
        const struct timeval limit = {.tv_usec = 50000};
        amqp_maybe_release_buffers(run->connection);
        const amqp_rpc_reply_t reply = amqp_consume_message(run->connection, &envelope, &limit, 0);
        if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
            flood_take(run, &intake, &envelope);
            amqp_destroy_envelope(&envelope);
            continue;
        }
        if (reply.library_error != AMQP_STATUS_TIMEOUT) {
            flood_check(reply, "consume");
        }
        flood_flush(run, &intake);
    }
    flood_flush(run, &intake);
    (void)close(intake.fd);
}

static void
flood_option(struct flood_run *run, const char *word)
{
    const struct {
        const char *name;
        uint64_t *value;
    } numbers[] = {{"id=", &run->id},     {"count=", &run->count}, {"window=", &run->window},
                   {"body=", &run->body}, {"pause=", &run->pause}, {"prefetch=", &run->prefetch},
                   {"hold=", &run->hold}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const size_t length = strlen(numbers[i].name);
        if (strncmp(word, numbers[i].name, length) == 0) {
            *numbers[i].value = strtoull(word + length, NULL, 10);
            return;
        }
    }
    if (strncmp(word, "file=", 5) == 0) {
        run->file = word + 5;
    } else if (run->queue_count < FLOOD_QUEUES_MAX) {
        run->queue[run->queue_count++] = word;
    }
}

int
main(int argc, char **argv)
{
    struct flood_run run = {.window = 2000, .body = 64};
    if (argc < 5) {
        flood_die("usage: flood publish|consume HOST PORT OPTION=VALUE... QUEUE...");
    }
    const struct sigaction action = {.sa_handler = flood_on_term};
    (void)sigaction(SIGTERM, &action, NULL);
    for (int i = 4; i < argc; i++) {
        flood_option(&run, argv[i]);
    }
    flood_open(&run, argv[2], (int)strtol(argv[3], NULL, 10));
    if (strcmp(argv[1], "publish") == 0) {
        flood_publish(&run);
    } else {
        flood_consume(&run);
    }
    (void)amqp_connection_close(run.connection, AMQP_REPLY_SUCCESS);
    (void)amqp_destroy_connection(run.connection);
    return 0;
}
