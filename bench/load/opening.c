/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opening.c - from a dialled socket to an open channel, for many connections
 * at a time: ten thousand of them one after the other would take minutes.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "mqtt.h"
#include "run.h"

#define AT_ONCE    128u
#define EVENTS_MAX 64

enum step { STEP_START, STEP_TUNE, STEP_OPEN, STEP_CHANNEL, STEP_ROLE, STEP_DONE };

struct opening {
    struct load_run *run;
    const struct load_many *many;
    struct load_watch watch;
    uint32_t open; /* of those, done */
    const char *why;
};

static void
say_hello(struct load_conn *conn, const struct load_options *options)
{
    if (conn->mqtt) {
        load_mqtt_connect(conn, options);
        return;
    }
    static const uint8_t header[8] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};
    uint8_t *room = load_conn_reserve(conn, sizeof(header));
    if (room != NULL) {
        memcpy(room, header, sizeof(header));
    }
}

static void
say_start_ok(struct load_conn *conn, const struct load_options *options)
{
    uint8_t memory[1024];
    uint8_t response[512];
    struct lp_writer sasl = lp_writer_of(response, sizeof(response));
    lp_writer_u8(&sasl, 0);
    lp_writer_copy(&sasl, options->user, strlen(options->user));
    lp_writer_u8(&sasl, 0);
    lp_writer_copy(&sasl, options->password, strlen(options->password));

    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    lp_writer_u32be(&w, 0); /* no client properties */
    lp_writer_short(&w, lp_bytes_of_text("PLAIN"));
    lp_writer_long_be(&w, lp_writer_bytes(&sasl));
    lp_writer_short(&w, lp_bytes_of_text("en_US"));
    LP_ASSERT(!w.failed && !sasl.failed);
    load_conn_method(conn, AMQP091_CONNECTION_START_OK, lp_writer_bytes(&w));
}

static void
say_tune_ok_and_open(struct load_conn *conn, const struct load_options *options,
                     struct lp_bytes offer)
{
    struct lp_reader r = lp_reader_of_bytes(offer);
    (void)lp_reader_u16be(&r); /* channel_max: one is enough */
    const uint32_t offered = lp_reader_u32be(&r);
    conn->frame_max = offered == 0 ? LOAD_FRAME_MAX : LP_MIN(offered, LOAD_FRAME_MAX);

    uint8_t memory[300];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    lp_writer_u16be(&w, 1);
    lp_writer_u32be(&w, conn->frame_max);
    lp_writer_u16be(&w, 0); /* no heartbeats: a stalled run is told by --timeout */
    load_conn_method(conn, AMQP091_CONNECTION_TUNE_OK, lp_writer_bytes(&w));

    w = lp_writer_of(memory, sizeof(memory));
    lp_writer_short(&w, lp_bytes_of_text(options->vhost));
    lp_writer_u8(&w, 0);
    lp_writer_u8(&w, 0);
    LP_ASSERT(!w.failed);
    load_conn_method(conn, AMQP091_CONNECTION_OPEN, lp_writer_bytes(&w));
}

/* One frame of a connection that is being opened; the step that it is at afterwards. */
static enum step
advance(struct load_conn *conn, const struct load_options *options, const struct load_frame *frame)
{
    static const uint32_t expected[] = {
        [STEP_START] = AMQP091_CONNECTION_START,
        [STEP_TUNE] = AMQP091_CONNECTION_TUNE,
        [STEP_OPEN] = AMQP091_CONNECTION_OPEN_OK,
        [STEP_CHANNEL] = AMQP091_CHANNEL_OPEN_OK,
    };
    const enum step step = conn->step;
    if (step >= STEP_ROLE) {
        const uint8_t answer = conn->mqtt ? LOAD_MQTT_SUBACK : AMQP091_FRAME_METHOD;
        conn->owed -= conn->owed > 0 && frame->type == answer ? 1 : 0;
        return conn->owed == 0 ? STEP_DONE : STEP_ROLE;
    }
    if (conn->mqtt) {
        return load_mqtt_connected(conn, frame) ? STEP_ROLE : step;
    }
    if (frame->method != expected[step]) {
        (void)load_conn_broke(conn, "an answer that was not expected while opening", "");
        return step;
    }
    switch (step) {
    case STEP_START:
        say_start_ok(conn, options);
        return STEP_TUNE;
    case STEP_TUNE:
        say_tune_ok_and_open(conn, options, frame->bytes);
        return STEP_OPEN;
    case STEP_OPEN:
        load_conn_method(conn, AMQP091_CHANNEL_OPEN, lp_bytes_of("", 1));
        return STEP_CHANNEL;
    case STEP_CHANNEL:
    case STEP_ROLE:
    case STEP_DONE:
        break;
    }
    return STEP_ROLE;
}

/* All frames that have come; deliveries behind the last answer stay for the run. */
static void
read_answers(struct load_run *run, struct load_conn *conn, load_begin_fn *begin, uint32_t index)
{
    struct lp_reader input = load_conn_receive(conn, run->arena);
    struct load_frame frame;
    while (conn->step != STEP_DONE && load_conn_take(conn, &input, &frame)) {
        const enum step before = conn->step;
        conn->step = (uint8_t)advance(conn, &run->options, &frame);
        if (before != STEP_ROLE && conn->step == STEP_ROLE && begin != NULL) {
            begin(run, conn, index);
        }
        if (conn->step == STEP_ROLE && conn->owed == 0) {
            conn->step = STEP_DONE;
        }
    }
    load_conn_keep(conn, &input);
    /* What does not fit the socket now (there is little) goes out with the next answer. */
    (void)load_conn_flush(conn);
}

static bool
start(struct opening *opening, struct load_conn *conn, uint32_t index)
{
    const struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = index};
    if (!load_conn_dial(conn, &opening->run->options)) {
        return false;
    }
    say_hello(conn, &opening->run->options);
    return load_watch_control(&opening->watch, EPOLL_CTL_ADD, conn, event);
}

static bool
go_on(struct opening *opening, struct load_conn *conn, uint32_t index, uint32_t events)
{
    if ((events & EPOLLOUT) != 0) {
        (void)load_conn_flush(conn);
    }
    if ((events & ~(uint32_t)EPOLLOUT) != 0 && conn->step != STEP_DONE) {
        read_answers(opening->run, conn, opening->many->begin, index);
        if (conn->step == STEP_DONE) {
            opening->open++;
            const struct epoll_event none = {0};
            (void)load_watch_control(&opening->watch, EPOLL_CTL_DEL, conn,
                                     none); /* it is in there */
        }
    }
    opening->why = conn->broken ? conn->why : opening->why;
    return !conn->broken;
}

static bool
open_many(struct opening *opening)
{
    struct epoll_event events[EVENTS_MAX];
    const uint64_t patience_ns = opening->run->options.timeout_s * LOAD_NS_PER_S;
    const struct load_many *many = opening->many;
    const uint32_t count = many->end - many->first;
    uint32_t started = 0;
    while (opening->open < count) {
        while (started < count && started - opening->open < AT_ONCE) {
            struct load_conn *conn = many->pick(opening->run, many->first + started);
            if (!start(opening, conn, many->first + started)) {
                opening->why = conn->why[0] ? conn->why : strerrordesc_np(errno);
                return false;
            }
            started++;
        }
        const int ready = load_watch_wait(&opening->watch, events, EVENTS_MAX, patience_ns);
        if (ready == 0 || (ready < 0 && errno != EINTR)) {
            opening->why = "no answer in time";
            return false;
        }
        for (int i = 0; i < ready; i++) {
            const uint32_t index = events[i].data.u32;
            if (!go_on(opening, many->pick(opening->run, index), index, events[i].events)) {
                return false;
            }
        }
    }
    return true;
}

bool
load_opening_run(struct load_run *run, const struct load_many *many)
{
    struct opening opening = {.run = run, .many = many};
    const bool good = load_watch_open(&opening.watch, run->options.stack) && open_many(&opening);
    if (!good) {
        (void)fprintf(stderr, "lepus-bench: opening: %s\n",
                      opening.why ? opening.why : "out of descriptors");
    }
    load_watch_close(&opening.watch);
    return good;
}

/* Until there is something to read: 1; 0: nothing came; -1: look again. */
static int
answer_wait(struct load_conn *conn, int patience_ms)
{
    const bool flushed = load_conn_flush(conn);
    if (conn->net != NULL) {
        return load_net_wait(conn->net, conn->fd, patience_ms) ? 1 : 0;
    }
    struct pollfd wait = {.fd = conn->fd, .events = (short)(POLLIN | (flushed ? 0 : POLLOUT))};
    const int ready = poll(&wait, 1, patience_ms);
    if (ready > 0) {
        return (wait.revents & ~POLLOUT) != 0 ? 1 : -1;
    }
    return ready;
}

bool
load_opening_settle(struct load_run *run, struct load_conn *conn)
{
    const int patience_ms = (int)LP_MIN(run->options.timeout_s, 100000u) * 1000;
    conn->step = STEP_ROLE;
    while (conn->owed > 0 && !conn->broken) {
        const int ready = answer_wait(conn, patience_ms);
        if (ready == 0) {
            return load_conn_broke(conn, "no answer in time", "");
        }
        if (ready > 0) {
            conn->step = STEP_ROLE;
            read_answers(run, conn, NULL, 0);
        }
    }
    return !conn->broken;
}
