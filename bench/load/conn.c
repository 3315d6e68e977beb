/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mqtt.h"
#include "net.h"
#include "options.h"
#include "tls.h"

bool
load_conn_broke(struct load_conn *conn, const char *what, const char *detail)
{
    if (!conn->broken) {
        conn->broken = true;
        (void)snprintf(conn->why, sizeof(conn->why), "%s%s%s", what, detail[0] ? ": " : "", detail);
    }
    return false;
}

static bool
broke_errno(struct load_conn *conn, const char *what)
{
    return load_conn_broke(conn, what, strerrordesc_np(errno));
}

/* connection.close and channel.close begin alike: reply code, reply text. */
static void
broke_by_close(struct load_conn *conn, struct lp_bytes arguments)
{
    struct lp_reader r = lp_reader_of_bytes(arguments);
    const unsigned code = lp_reader_u16be(&r);
    const struct lp_bytes text = lp_reader_short(&r);
    char words[280];
    (void)snprintf(words, sizeof(words), "%u %.*s", code, (int)text.size, (const char *)text.data);
    (void)load_conn_broke(conn, "the broker closed", words);
}

/* --- The socket. ----------------------------------------------------------------------------- */

ssize_t
load_conn_raw_receive(struct load_conn *conn, void *to, size_t room)
{
    return conn->net != NULL ? load_net_receive(conn->net, conn->fd, to, room)
                             : recv(conn->fd, to, room, MSG_DONTWAIT);
}

ssize_t
load_conn_raw_send(struct load_conn *conn, const void *from, size_t bytes)
{
    return conn->net != NULL ? load_net_send(conn->net, conn->fd, from, bytes)
                             : send(conn->fd, from, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* --- Receiving. ------------------------------------------------------------------------------ */

struct lp_reader
load_conn_kept(struct load_conn *conn, uint8_t *arena)
{
    if (conn->carry_bytes > 0) {
        memcpy(arena, conn->carry, conn->carry_bytes);
    }
    const size_t bytes = conn->carry_bytes;
    conn->carry_bytes = 0;
    return lp_reader_of(arena, bytes);
}

struct lp_reader
load_conn_receive(struct load_conn *conn, uint8_t *arena)
{
    struct lp_reader input = load_conn_kept(conn, arena);
    const size_t kept = lp_reader_left(&input);
    ssize_t got;
    do {
        got = conn->tls != NULL ? load_tls_receive(conn, arena + kept, LOAD_RECEIVE_BYTES)
                                : load_conn_raw_receive(conn, arena + kept, LOAD_RECEIVE_BYTES);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        return lp_reader_of(arena, kept + (size_t)got);
    }
    if (got == 0) {
        (void)load_conn_broke(conn, "the broker hung up", "");
    } else if (errno != EAGAIN) {
        (void)broke_errno(conn, "receive");
    }
    return input;
}

void
load_conn_keep(struct load_conn *conn, const struct lp_reader *rest)
{
    const size_t bytes = lp_reader_left(rest);
    if (bytes == 0 || conn->broken) {
        return;
    }
    LP_ASSERT(bytes <= LOAD_FRAME_MAX + AMQP091_FRAME_EXTRA_BYTES); /* load_conn_take() saw to it */
    if (bytes > conn->carry_room) {
        uint8_t *larger = realloc(conn->carry, bytes);
        if (larger == NULL) {
            (void)load_conn_broke(conn, "out of memory", "");
            return;
        }
        conn->carry = larger;
        conn->carry_room = (uint32_t)bytes;
    }
    memcpy(conn->carry, rest->at, bytes);
    conn->carry_bytes = (uint32_t)bytes;
}

/* The frame at the head of the input, if it is whole. */
static bool
take_any(struct load_conn *conn, struct lp_reader *input, struct load_frame *frame)
{
    struct lp_reader r = *input;
    *frame = (struct load_frame){0};
    frame->type = lp_reader_u8(&r);
    frame->channel = lp_reader_u16be(&r);
    const uint32_t size = lp_reader_u32be(&r);
    if (!r.failed && size > LOAD_FRAME_MAX) {
        return load_conn_broke(conn, "a frame is larger than agreed, or this is not AMQP", "");
    }
    frame->bytes = lp_reader_bytes(&r, size);
    const uint8_t end = lp_reader_u8(&r);
    if (r.failed) {
        return false; /* not whole yet */
    }
    if (end != AMQP091_FRAME_END) {
        return load_conn_broke(conn, "a frame does not end where it should", "");
    }
    *input = r;
    if (frame->type == AMQP091_FRAME_METHOD) {
        struct lp_reader method = lp_reader_of_bytes(frame->bytes);
        frame->method = lp_reader_u32be(&method);
        frame->bytes = lp_bytes_of(method.at, (uint32_t)lp_reader_left(&method));
    }
    return true;
}

bool
load_conn_take(struct load_conn *conn, struct lp_reader *input, struct load_frame *ret_frame)
{
    if (conn->mqtt) {
        return !conn->broken && load_mqtt_take(conn, input, ret_frame);
    }
    while (!conn->broken && take_any(conn, input, ret_frame)) {
        switch (ret_frame->method) {
        case AMQP091_CONNECTION_CLOSE:
        case AMQP091_CHANNEL_CLOSE:
            broke_by_close(conn, ret_frame->bytes);
            return false;
        case AMQP091_CONNECTION_BLOCKED:
            conn->blocked = true;
            break;
        case AMQP091_CONNECTION_UNBLOCKED:
            conn->blocked = false;
            break;
        default:
            if (ret_frame->type != AMQP091_FRAME_HEARTBEAT) {
                return true;
            }
        }
    }
    return false;
}

/* --- Sending. -------------------------------------------------------------------------------- */

uint8_t *
load_conn_reserve(struct load_conn *conn, size_t bytes)
{
    if (conn->out_start == conn->out_end) {
        conn->out_start = conn->out_end = 0;
    }
    if (conn->out_room - conn->out_end < bytes) {
        const size_t room = LP_MAX(conn->out_room * 2, conn->out_end + bytes + 256);
        uint8_t *larger = realloc(conn->out, room);
        if (larger == NULL) {
            (void)load_conn_broke(conn, "out of memory", "");
            return NULL;
        }
        conn->out = larger;
        conn->out_room = room;
    }
    uint8_t *at = conn->out + conn->out_end;
    conn->out_end += bytes;
    return at;
}

void
load_conn_method(struct load_conn *conn, uint32_t method, struct lp_bytes arguments)
{
    const uint32_t payload = arguments.size + 4;
    uint8_t *room = load_conn_reserve(conn, payload + AMQP091_FRAME_EXTRA_BYTES);
    if (room == NULL) {
        return;
    }
    struct lp_writer w = lp_writer_of(room, payload + AMQP091_FRAME_EXTRA_BYTES);
    lp_writer_u8(&w, AMQP091_FRAME_METHOD);
    /* Methods of the connection itself travel on channel 0. */
    lp_writer_u16be(&w, (uint16_t)(method >> 16 == 10 ? 0 : LOAD_CHANNEL));
    lp_writer_u32be(&w, payload);
    lp_writer_u32be(&w, method);
    lp_writer_copy(&w, arguments.data, arguments.size);
    lp_writer_u8(&w, AMQP091_FRAME_END);
    LP_ASSERT(!w.failed);
}

size_t
load_conn_send(struct load_conn *conn, const uint8_t *bytes, size_t count)
{
    size_t sent = 0;
    while (sent < count && !conn->broken) {
        const ssize_t done = conn->tls != NULL
                                 ? load_tls_send(conn, bytes + sent, count - sent)
                                 : load_conn_raw_send(conn, bytes + sent, count - sent);
        if (done >= 0) {
            sent += (size_t)done;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            (void)broke_errno(conn, "send");
        }
    }
    return sent;
}

bool
load_conn_flush(struct load_conn *conn)
{
    if (conn->out_start < conn->out_end) {
        conn->out_start +=
            load_conn_send(conn, conn->out + conn->out_start, conn->out_end - conn->out_start);
    }
    return conn->out_start == conn->out_end;
}

/* --- Opening and closing. -------------------------------------------------------------------- */

static bool
dial_one(struct load_conn *conn, const struct addrinfo *to)
{
    conn->fd =
        socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, to->ai_protocol);
    const int one = 1;
    if (conn->fd >= 0 &&
        (setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0 ||
         (connect(conn->fd, to->ai_addr, to->ai_addrlen) != 0 && errno != EINPROGRESS))) {
        (void)broke_errno(conn, "connect"); /* the first address's reason stays */
        close(conn->fd);
        conn->fd = -1;
    }
    return conn->fd >= 0;
}

static bool
dial_kernel(struct load_conn *conn, const struct load_options *options)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    const int code = getaddrinfo(options->host, options->port, &hints, &found);
    if (code != 0) {
        return load_conn_broke(conn, options->host, gai_strerror(code));
    }
    for (const struct addrinfo *at = found; at != NULL && conn->fd < 0; at = at->ai_next) {
        (void)dial_one(conn, at);
    }
    freeaddrinfo(found);
    return true;
}

bool
load_conn_dial(struct load_conn *conn, const struct load_options *options)
{
    conn->fd = -1;
    conn->net = options->stack;
    if (conn->net != NULL) {
        conn->fd = load_net_dial(conn->net, options->host, options->port);
    } else if (!dial_kernel(conn, options)) {
        return false;
    }
    if (conn->fd < 0) {
        return broke_errno(conn, "connect");
    }
    conn->broken = false;
    conn->mqtt = options->protocol == LOAD_PROTOCOL_MQTT;
    return options->tls_shared == NULL || load_tls_begin(options->tls_shared, conn, options->host);
}

void
load_conn_close(struct load_conn *conn)
{
    if (conn->fd > 0) {
        if (!conn->broken) {
            /* 200, no text, no method: a polite end, if the socket takes it. */
            static const uint8_t goodbye[] = {0, 200, 0, 0, 0, 0, 0};
            if (conn->mqtt) {
                load_mqtt_disconnect(conn);
            } else {
                load_conn_method(conn, AMQP091_CONNECTION_CLOSE,
                                 lp_bytes_of(goodbye, sizeof(goodbye)));
            }
            (void)load_conn_flush(conn);
        }
        if (conn->tls != NULL) {
            load_tls_end(conn);
        }
        if (conn->net != NULL) {
            load_net_hang_up(conn->net, conn->fd);
        } else {
            close(conn->fd);
        }
    }
    free(conn->carry);
    free(conn->out);
    *conn = (struct load_conn){.fd = -1};
}
