/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "options.h"

#define FRAME_END 0xce
#define IN_BYTES  (4u * LOAD_FRAME_MAX)

/* One frame header in front of `bytes` of payload. */
static void
put_frame_header(struct lp_writer *w, uint8_t type, uint16_t channel, uint32_t bytes)
{
    lp_writer_u8(w, type);
    lp_writer_u16be(w, channel);
    lp_writer_u32be(w, bytes);
}

static bool
broke(struct load_conn *conn, const char *what, const char *detail)
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
    char text[128];
    return broke(conn, what, strerror_r(errno, text, sizeof(text)));
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
    (void)broke(conn, "the broker closed", words);
}

bool
load_conn_fill(struct load_conn *conn)
{
    if (conn->in_start > 0) {
        memmove(conn->in, conn->in + conn->in_start, conn->in_end - conn->in_start);
        conn->in_end -= conn->in_start;
        conn->in_start = 0;
    }
    const ssize_t got = recv(conn->fd, conn->in + conn->in_end, conn->in_room - conn->in_end, 0);
    if (got > 0) {
        conn->in_end += (size_t)got;
        return true;
    }
    if (got == 0) {
        return broke(conn, "the broker hung up", "");
    }
    if (errno == EINTR) {
        return true;
    }
    if (errno == EAGAIN) {
        const bool waits = (fcntl(conn->fd, F_GETFL) & O_NONBLOCK) != 0;
        return waits ? true : broke(conn, "no answer in time", "");
    }
    return broke_errno(conn, "receive");
}

/* The frame at the head of the input, if it is whole. */
static bool
take_any(struct load_conn *conn, struct load_frame *frame)
{
    struct lp_reader r = lp_reader_of(conn->in + conn->in_start, conn->in_end - conn->in_start);
    *frame = (struct load_frame){0};
    frame->type = lp_reader_u8(&r);
    frame->channel = lp_reader_u16be(&r);
    const uint32_t size = lp_reader_u32be(&r);
    if (!r.failed && size > LOAD_FRAME_MAX) {
        return broke(conn, "a frame is larger than agreed, or this is not AMQP", "");
    }
    frame->bytes = lp_reader_bytes(&r, size);
    const uint8_t end = lp_reader_u8(&r);
    if (r.failed) {
        return false; /* not whole yet */
    }
    if (end != FRAME_END) {
        return broke(conn, "a frame does not end where it should", "");
    }
    conn->in_start += size + LOAD_FRAME_OVERHEAD;
    if (frame->type == LOAD_FRAME_METHOD) {
        struct lp_reader method = lp_reader_of_bytes(frame->bytes);
        frame->method = lp_reader_u32be(&method);
        frame->bytes = lp_bytes_of(method.at, (uint32_t)lp_reader_left(&method));
    }
    return true;
}

bool
load_conn_take(struct load_conn *conn, struct load_frame *ret_frame)
{
    while (!conn->broken && take_any(conn, ret_frame)) {
        if (ret_frame->method == LOAD_CONNECTION_CLOSE || ret_frame->method == LOAD_CHANNEL_CLOSE) {
            broke_by_close(conn, ret_frame->bytes);
            return false;
        }
        if (ret_frame->type <= LOAD_FRAME_BODY) {
            return true;
        }
    }
    return false;
}

uint8_t *
load_conn_reserve(struct load_conn *conn, size_t bytes)
{
    if (conn->out_start == conn->out_end) {
        conn->out_start = conn->out_end = 0;
    }
    if (conn->out_room - conn->out_end < bytes && conn->out_start > 0) {
        memmove(conn->out, conn->out + conn->out_start, conn->out_end - conn->out_start);
        conn->out_end -= conn->out_start;
        conn->out_start = 0;
    }
    if (conn->out_room - conn->out_end < bytes) {
        return NULL;
    }
    uint8_t *room = conn->out + conn->out_end;
    conn->out_end += bytes;
    return room;
}

void
load_conn_append_method(struct load_conn *conn, uint32_t method, struct lp_bytes arguments)
{
    const uint32_t payload = arguments.size + 4;
    uint8_t *room = load_conn_reserve(conn, payload + LOAD_FRAME_OVERHEAD);
    if (room == NULL) {
        (void)broke(conn, "the socket takes nothing more", "");
        return;
    }
    /* Methods of the connection itself travel on channel 0. */
    const uint16_t channel = method >> 16 == 10 ? 0 : 1;
    struct lp_writer w = lp_writer_of(room, payload + LOAD_FRAME_OVERHEAD);
    put_frame_header(&w, LOAD_FRAME_METHOD, channel, payload);
    lp_writer_u32be(&w, method);
    lp_writer_copy(&w, arguments.data, arguments.size);
    lp_writer_u8(&w, FRAME_END);
    LP_ASSERT(!w.failed);
}

bool
load_conn_flush(struct load_conn *conn)
{
    while (conn->out_start < conn->out_end && !conn->broken) {
        const ssize_t sent = send(conn->fd, conn->out + conn->out_start,
                                  conn->out_end - conn->out_start, MSG_NOSIGNAL);
        if (sent >= 0) {
            conn->out_start += (size_t)sent;
        } else if (errno == EAGAIN) {
            return false;
        } else if (errno != EINTR) {
            (void)broke_errno(conn, "send");
        }
    }
    return conn->out_start == conn->out_end;
}

/* Wait for one method; others on the way (blocked notices, say) are passed over. */
static bool
await(struct load_conn *conn, uint32_t method, struct load_frame *frame)
{
    for (;;) {
        while (load_conn_take(conn, frame)) {
            if (frame->method == method) {
                return true;
            }
        }
        if (conn->broken || !load_conn_fill(conn)) {
            return false;
        }
    }
}

bool
load_conn_call(struct load_conn *conn, uint32_t method, struct lp_bytes arguments, uint32_t answer)
{
    struct load_frame frame;
    load_conn_append_method(conn, method, arguments);
    return load_conn_flush(conn) && await(conn, answer, &frame);
}

static bool
set_blocking(struct load_conn *conn, bool blocking)
{
    const int flags = fcntl(conn->fd, F_GETFL);
    const int wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    if (flags < 0 || fcntl(conn->fd, F_SETFL, wanted) < 0) {
        return broke_errno(conn, "fcntl");
    }
    return true;
}

bool
load_conn_nonblocking(struct load_conn *conn)
{
    return set_blocking(conn, false);
}

bool
load_conn_blocking(struct load_conn *conn)
{
    return set_blocking(conn, true);
}

static bool
dial(struct load_conn *conn, const struct load_options *options)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    const int code = getaddrinfo(options->host, options->port, &hints, &found);
    if (code != 0) {
        return broke(conn, options->host, gai_strerror(code));
    }
    for (const struct addrinfo *at = found; at != NULL && conn->fd < 0; at = at->ai_next) {
        conn->fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        if (conn->fd >= 0 && connect(conn->fd, at->ai_addr, at->ai_addrlen) != 0) {
            (void)broke_errno(conn, "connect"); /* the first address's reason stays */
            close(conn->fd);
            conn->fd = -1;
        }
    }
    freeaddrinfo(found);
    if (conn->fd < 0) {
        return broke_errno(conn, "connect");
    }
    conn->broken = false;

    const int one = 1;
    const struct timeval deadline = {.tv_sec = options->timeout_s};
    if (setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0 ||
        setsockopt(conn->fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline)) != 0) {
        return broke_errno(conn, "setsockopt");
    }
    return true;
}

/* Up to the broker's tune, whose arguments are in `ret_tune` until the next fill. */
static bool
log_in(struct load_conn *conn, const struct load_options *options, struct load_frame *ret_tune)
{
    if (!await(conn, LOAD_CONNECTION_START, ret_tune)) {
        return false;
    }
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
    load_conn_append_method(conn, LOAD_CONNECTION_START_OK, lp_writer_bytes(&w));
    return load_conn_flush(conn) && await(conn, LOAD_CONNECTION_TUNE, ret_tune);
}

static bool
tune(struct load_conn *conn, const struct load_options *options, struct lp_bytes offer)
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
    load_conn_append_method(conn, LOAD_CONNECTION_TUNE_OK, lp_writer_bytes(&w));

    w = lp_writer_of(memory, sizeof(memory));
    lp_writer_short(&w, lp_bytes_of_text(options->vhost));
    lp_writer_u8(&w, 0);
    lp_writer_u8(&w, 0);
    LP_ASSERT(!w.failed);
    return load_conn_call(conn, LOAD_CONNECTION_OPEN, lp_writer_bytes(&w), LOAD_CONNECTION_OPEN_OK);
}

bool
load_conn_open(struct load_conn *conn, const struct load_options *options, size_t out_bytes)
{
    *conn = (struct load_conn){.fd = -1, .in_room = IN_BYTES, .out_room = out_bytes};
    conn->in = malloc(conn->in_room);
    conn->out = malloc(conn->out_room);
    if (conn->in == NULL || conn->out == NULL) {
        return broke(conn, "out of memory", "");
    }
    if (!dial(conn, options)) {
        return false;
    }
    static const uint8_t header[8] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};
    uint8_t *room = load_conn_reserve(conn, sizeof(header));
    LP_ASSERT(room != NULL);
    memcpy(room, header, sizeof(header));

    struct load_frame offer;
    return load_conn_flush(conn) && log_in(conn, options, &offer) &&
           tune(conn, options, offer.bytes) &&
           load_conn_call(conn, LOAD_CHANNEL_OPEN, lp_bytes_of("", 1), LOAD_CHANNEL_OPEN_OK);
}

void
load_conn_close(struct load_conn *conn)
{
    if (conn->in != NULL && conn->fd >= 0) {
        if (!conn->broken) {
            /* 200, no text, no method: a polite end, if the socket takes it. */
            static const uint8_t goodbye[] = {0, 200, 0, 0, 0, 0, 0};
            conn->out_start = conn->out_end = 0;
            load_conn_append_method(conn, LOAD_CONNECTION_CLOSE,
                                    lp_bytes_of(goodbye, sizeof(goodbye)));
            load_conn_flush(conn);
        }
        close(conn->fd);
    }
    free(conn->in);
    free(conn->out);
    *conn = (struct load_conn){.fd = -1};
}
