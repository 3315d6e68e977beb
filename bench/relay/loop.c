/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.c - connections, their buffers, and the turn: poll, take, flush.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <drivers/common/address.h>
#include <drivers/epoll/epoll.h>

#include "relay.h"

#define EVENTS_MAX 256

/* --- What leaves. ----------------------------------------------------------------------------- */

static void
mark_dirty(struct relay *relay, struct relay_conn *conn)
{
    if (!conn->dirty) {
        conn->dirty = true;
        conn->dirty_next = relay->dirty;
        relay->dirty = conn;
    }
}

/* Give the driver what waits, if it has nothing of this connection. */
static void
conn_flush(struct relay *relay, struct relay_conn *conn)
{
    if (conn->sending || conn->fill.used == 0) {
        return;
    }
    const struct relay_out flight = conn->fill;
    conn->fill = conn->flight;
    conn->fill.used = 0;
    conn->flight = flight;
    const struct lp_iovec piece = {flight.bytes, flight.used};
    conn->sending = relay->transport.ops->send(relay->transport.self, conn->stream, &piece, 1);
}

bool
relay_has_room(struct relay *relay, struct relay_conn *conn, uint32_t bytes)
{
    if (conn->fill.used != 0 && conn->fill.used + bytes > RELAY_OUT_BYTES) {
        conn_flush(relay, conn);
    }
    return conn->fill.used == 0 || conn->fill.used + bytes <= RELAY_OUT_BYTES;
}

uint8_t *
relay_reserve(struct relay *relay, struct relay_conn *conn, uint32_t bytes)
{
    if (!relay_has_room(relay, conn, bytes)) {
        return NULL;
    }
    struct relay_out *out = &conn->fill;
    if (out->used + bytes > out->room) {
        const uint32_t room = LP_MAX(LP_MIN(2 * out->room, RELAY_OUT_BYTES), out->used + bytes);
        uint8_t *larger = realloc(out->bytes, LP_MAX(room, 256u));
        if (larger == NULL) {
            return NULL;
        }
        out->bytes = larger;
        out->room = LP_MAX(room, 256u);
    }
    uint8_t *at = out->bytes + out->used;
    out->used += bytes;
    mark_dirty(relay, conn);
    return at;
}

/* --- Connections. ----------------------------------------------------------------------------- */

static void
conn_accept(struct relay *relay, lp_handle stream)
{
    uint32_t at = 0;
    while (at < relay->conns_max && relay->conns[at] != NULL) {
        at++;
    }
    struct relay_conn *conn = at < relay->conns_max ? calloc(1, sizeof(*conn)) : NULL;
    if (conn == NULL) {
        relay->transport.ops->close(relay->transport.self, stream);
        return;
    }
    conn->stream = stream;
    relay->conns[at] = conn;
    relay->transport.ops->attach(relay->transport.self, stream, at + 1u);
}

static void
unlist(struct relay_conn **list, struct relay_conn *conn, bool dirty)
{
    while (*list != NULL && *list != conn) {
        list = dirty ? &(*list)->dirty_next : &(*list)->stalled_next;
    }
    if (*list != NULL) {
        *list = dirty ? conn->dirty_next : conn->stalled_next;
    }
}

static void
conn_closed(struct relay *relay, uint64_t user)
{
    struct relay_conn *conn = user == 0 ? NULL : relay->conns[user - 1];
    if (conn == NULL) {
        return;
    }
    relay->conns[user - 1] = NULL;
    relay_consumer_drop(relay, conn);
    unlist(&relay->dirty, conn, true);
    unlist(&relay->stalled, conn, false);
    free(conn->fill.bytes);
    free(conn->flight.bytes);
    free(conn->route.queues);
    free(conn->carry);
    free(conn);
}

/* --- What arrives. ---------------------------------------------------------------------------- */

static bool
keep(struct relay_conn *conn, const uint8_t *bytes, size_t count)
{
    const size_t total = conn->carry_bytes + count;
    if (total > conn->carry_room) {
        const size_t room = LP_MAX(total, 2u * (size_t)conn->carry_room);
        uint8_t *larger = room > 2u * RELAY_MESSAGE_MAX ? NULL : realloc(conn->carry, room);
        if (larger == NULL) {
            return false;
        }
        conn->carry = larger;
        conn->carry_room = (uint32_t)room;
    }
    memcpy(conn->carry + conn->carry_bytes, bytes, count);
    conn->carry_bytes = (uint32_t)total;
    return true;
}

static void
stall(struct relay *relay, struct relay_conn *conn)
{
    relay->transport.ops->receive_stop(relay->transport.self, conn->stream);
    conn->stalled_next = relay->stalled;
    relay->stalled = conn;
}

/* Take what is whole of what was kept. */
static void
take_kept(struct relay *relay, struct relay_conn *conn)
{
    struct lp_reader input = lp_reader_of(conn->carry, conn->carry_bytes);
    relay_take(relay, conn, &input);
    const size_t left = lp_reader_left(&input);
    memmove(conn->carry, input.at, left);
    conn->carry_bytes = (uint32_t)left;
    if (conn->stalled) {
        stall(relay, conn);
    }
}

static void
received(struct relay *relay, struct relay_conn *conn, const uint8_t *data, uint32_t bytes)
{
    if (conn->carry_bytes > 0 || conn->stalled) {
        conn->ending |= !keep(conn, data, bytes);
        if (!conn->stalled) {
            take_kept(relay, conn);
        }
        return;
    }
    struct lp_reader input = lp_reader_of(data, bytes);
    relay_take(relay, conn, &input);
    if (lp_reader_left(&input) > 0) {
        conn->ending |= !keep(conn, input.at, lp_reader_left(&input));
    }
    if (conn->stalled) {
        stall(relay, conn);
    }
}

/* A consumer took something: those who waited for one try again. */
static void
resume_all(struct relay *relay)
{
    struct relay_conn *conn = relay->stalled;
    relay->stalled = NULL;
    while (conn != NULL) {
        struct relay_conn *next = conn->stalled_next;
        conn->stalled = false;
        take_kept(relay, conn);
        if (!conn->stalled) {
            relay->transport.ops->receive_start(relay->transport.self, conn->stream);
        }
        conn = next;
    }
}

static void
handle(struct relay *relay, const struct lp_transport_event *event)
{
    struct relay_conn *conn = event->user == 0 ? NULL : relay->conns[event->user - 1];
    switch (event->kind) {
    case LP_TRANSPORT_CONNECTED: /* it opens none */
        return;
    case LP_TRANSPORT_ACCEPTED:
        conn_accept(relay, event->stream);
        return;
    case LP_TRANSPORT_CLOSED:
        conn_closed(relay, event->user);
        return;
    case LP_TRANSPORT_RECEIVED:
        if (conn != NULL) {
            received(relay, conn, event->data, event->bytes);
        }
        break;
    case LP_TRANSPORT_SENT:
        if (conn != NULL) {
            conn->sending = false;
            conn->flight.used = 0;
            mark_dirty(relay, conn);
        }
        break;
    case LP_TRANSPORT_ENDED:
        if (conn != NULL) {
            conn->ending = true;
        }
        break;
    }
    if (conn != NULL && conn->ending) {
        conn_flush(relay, conn);
        relay->transport.ops->close(relay->transport.self, conn->stream);
    }
}

static void
flush_all(struct relay *relay)
{
    struct relay_conn *conn = relay->dirty;
    relay->dirty = NULL;
    while (conn != NULL) {
        struct relay_conn *next = conn->dirty_next;
        conn->dirty = false;
        conn_flush(relay, conn);
        conn = next;
    }
    relay->transport.ops->flush(relay->transport.self);
}

static void
turns(struct relay *relay, bool spin)
{
    struct lp_transport_event events[EVENTS_MAX];
    for (;;) {
        const uint32_t count =
            relay->transport.ops->poll(relay->transport.self, events, EVENTS_MAX);
        bool sent = false;
        for (uint32_t i = 0; i < count; i++) {
            sent |= events[i].kind == LP_TRANSPORT_SENT;
            handle(relay, &events[i]);
        }
        if (sent && relay->stalled != NULL) {
            resume_all(relay);
        }
        flush_all(relay);
        if (count == 0 && !spin) {
            relay->transport.ops->wait(relay->transport.self, UINT64_MAX);
        }
    }
}

/* --- Starting. -------------------------------------------------------------------------------- */

static bool
open_transport(struct relay *relay, const struct relay_options *options)
{
    char why[LP_LISTENERS_WHY_BYTES] = "not an address";
    struct lp_address address;
    if (!lp_address_parse(options->address, &address) ||
        lp_listeners_open_boot(&relay->listeners, &address, 1, 1, why) != LP_OK) {
        (void)fprintf(stderr, "relay: %s: %s\n", options->address, why);
        return false;
    }
    const struct lp_socket_options sockets = {
        .listeners = &relay->listeners, .streams_max = options->streams_max, .wake_fd = -1};
    if (lp_epoll_open_boot(&sockets, &relay->transport) != LP_OK) {
        (void)fprintf(stderr, "relay: no epoll set to be had\n");
        return false;
    }
    return true;
}

static bool
pin(uint32_t cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0;
}

bool
relay_run(const struct relay_options *options, relay_ready_fn *ready, void *context)
{
    struct relay *relay = calloc(1, sizeof(*relay));
    LP_ASSERT(relay != NULL);
    relay->conns_max = options->streams_max;
    relay->conns = calloc(options->streams_max, sizeof(struct relay_conn *));
    relay->epoch = 1;
    amqp091_parser_init(&relay->parser, RELAY_FRAME_MAX);
    if (options->cpu != 0 && !pin(options->cpu - 1u)) {
        (void)fprintf(stderr, "relay: processor %u is not to be had\n", options->cpu - 1u);
        return false;
    }
    if (relay->conns == NULL || !open_transport(relay, options)) {
        return false;
    }
    ready(context, relay->listeners.address[0].port);
    turns(relay, options->spin);
    return true;
}
