/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the drivers of byte streams keep one contract.
 *
 * Method: the same scripts, written against transport.h alone, run over
 * io_uring, epoll and the simulator.  The far ends are non-blocking sockets
 * on loopback, or the simulator's.  One thread: a step polls the transport,
 * keeps book of its events, and answers them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <drivers/common/address.h>
#include <drivers/epoll/epoll.h>
#include <drivers/sim/net.h>
#include <drivers/uring/uring.h>

#define STREAMS_MAX 256
#define FAR_MAX     320
#define EVENTS_MAX  64
#define DEADLINE_NS (20ull * 1000 * 1000 * 1000)
#define MEGABYTE    (1024u * 1024u)

enum driver {
    DRIVER_EPOLL,
    DRIVER_URING,
    DRIVER_SIM,
};

/* What the transport said about one stream. */
struct near {
    lp_handle handle;
    uint32_t listener;
    uint32_t received;
    uint32_t pieces;
    uint32_t sent;
    uint32_t sent_bytes;
    uint32_t ended;
    uint32_t closed;
    struct lp_address peer;
    struct lp_address local;
    uint8_t *bytes; /* all that was received, up to a MEGABYTE and some */
};

struct far {
    int fd;
    lp_handle sim;
    bool reset;
    bool ended;
};

struct rig {
    enum driver driver;
    struct lp_transport transport;
    struct lp_listeners listeners;
    struct lp_sim_net *net;
    uint64_t now_ns; /* of the simulator */
    uint64_t deadline_ns;
    bool echo; /* send back what comes, and close what ends */
    uint32_t streams_max;
    uint32_t near_count;
    uint32_t far_count;
    uint32_t polls;
    struct near near[FAR_MAX];
    struct far far[FAR_MAX];
    uint32_t echo_from[FAR_MAX]; /* echoed so far, of near[].received */
    uint32_t echo_to[FAR_MAX];
    char unix_path[64];
};

static uint64_t
clock_now_ns(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint8_t
pattern(uint32_t at)
{
    return (uint8_t)(at * 131u + (at >> 8) * 7u + (at >> 16));
}

static void
pattern_fill(uint8_t *data, uint32_t from, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        data[i] = pattern(from + i);
    }
}

static void
pattern_assert(const uint8_t *data, uint32_t from, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        if (data[i] != pattern(from + i)) {
            fail_msg("byte %u is 0x%02x, not 0x%02x", from + i, data[i], pattern(from + i));
        }
    }
}

/* --- The rig. -------------------------------------------------------------------------------- */

static void
open_sockets(struct rig *rig, const struct lp_address *addresses, uint32_t count,
             uint32_t receive_buffers)
{
    char why[LP_LISTENERS_WHY_BYTES];
    assert_int_equal(lp_listeners_open_boot(&rig->listeners, addresses, count, 1, why), LP_OK);
    const struct lp_socket_options options = {.listeners = &rig->listeners,
                                              .streams_max = rig->streams_max,
                                              .wake_fd = -1,
                                              .receive_buffers = receive_buffers};
    if (rig->driver == DRIVER_EPOLL) {
        assert_int_equal(lp_epoll_open_boot(&options, &rig->transport), LP_OK);
    } else {
        assert_int_equal(lp_uring_open_boot(&options, &rig->transport), LP_OK);
    }
}

static void
rig_open(struct rig *rig, enum driver driver, uint32_t streams_max, uint32_t receive_buffers)
{
    memset(rig, 0, sizeof(*rig));
    rig->driver = driver;
    rig->streams_max = streams_max;
    rig->deadline_ns = clock_now_ns() + DEADLINE_NS;
    (void)snprintf(rig->unix_path, sizeof(rig->unix_path), "/tmp/lepus-test-transport-%d.sock",
                   (int)getpid());
    if (driver == DRIVER_SIM) {
        struct lp_sim_net_config config = lp_sim_net_config_default(7, 1);
        config.streams_max = streams_max;
        config.listener_count = 3;
        rig->net = lp_sim_net_create(&config);
        rig->transport = lp_sim_net_transport(rig->net, 0);
        return;
    }
    struct lp_address addresses[3];
    char text[80];
    assert_true(lp_address_parse("tcp:127.0.0.1:0", &addresses[0]));
    assert_true(lp_address_parse("tcp:[::1]:0", &addresses[1]));
    (void)snprintf(text, sizeof(text), "unix:%s", rig->unix_path);
    assert_true(lp_address_parse(text, &addresses[2]));
    open_sockets(rig, addresses, 3, receive_buffers);
}

static void
rig_close(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->far_count; i++) {
        if (rig->far[i].fd >= 0 && rig->driver != DRIVER_SIM) {
            (void)close(rig->far[i].fd);
        }
    }
    for (uint32_t i = 0; i < FAR_MAX; i++) {
        free(rig->near[i].bytes);
    }
    switch (rig->driver) {
    case DRIVER_EPOLL:
        lp_epoll_close(&rig->transport);
        break;
    case DRIVER_URING:
        lp_uring_close(&rig->transport);
        break;
    case DRIVER_SIM:
        lp_sim_net_destroy(rig->net);
        return;
    }
    lp_listeners_close(&rig->listeners);
}

static void
rig_accepted(struct rig *rig, const struct lp_transport_event *event)
{
    assert_true(rig->near_count < FAR_MAX);
    struct near *near = &rig->near[rig->near_count++];
    near->handle = event->stream;
    near->listener = event->listener;
    near->peer = event->peer;
    near->local = event->local;
    rig->transport.ops->attach(rig->transport.self, event->stream, rig->near_count);
}

static void
rig_event(struct rig *rig, const struct lp_transport_event *event)
{
    if (event->kind == LP_TRANSPORT_ACCEPTED) {
        rig_accepted(rig, event);
        return;
    }
    assert_in_range(event->user, 1, rig->near_count);
    struct near *near = &rig->near[event->user - 1];
    assert_true(near->handle == event->stream);
    assert_int_equal(near->closed, 0);
    switch (event->kind) {
    case LP_TRANSPORT_ACCEPTED:
        break;
    case LP_TRANSPORT_RECEIVED:
        assert_true(event->bytes > 0);
        assert_int_equal(near->ended, 0);
        near->bytes = realloc(near->bytes, near->received + event->bytes);
        memcpy(near->bytes + near->received, event->data, event->bytes);
        near->received += event->bytes;
        near->pieces++;
        break;
    case LP_TRANSPORT_SENT:
        near->sent++;
        near->sent_bytes += event->bytes;
        rig->echo_from[event->user - 1] = rig->echo_to[event->user - 1];
        break;
    case LP_TRANSPORT_ENDED:
        near->ended++;
        assert_int_equal(near->ended, 1);
        break;
    case LP_TRANSPORT_CLOSED:
        near->closed++;
        break;
    }
}

/*
 * Send back what is new on a stream.  realloc() moves what was received, so
 * a copy of it is sent: always from the pattern, which is what the peers send.
 */
static const uint8_t *
pattern_memory(void)
{
    static uint8_t *memory;
    if (memory == NULL) {
        memory = malloc(MEGABYTE + 4096);
        pattern_fill(memory, 0, MEGABYTE + 4096);
    }
    return memory;
}

static void
rig_echo(struct rig *rig, uint32_t i)
{
    struct near *near = &rig->near[i];
    if (near->closed > 0) {
        return;
    }
    if (near->ended > 0) {
        rig->transport.ops->close(rig->transport.self, near->handle);
        return;
    }
    if (rig->echo_from[i] != rig->echo_to[i] || near->received == rig->echo_to[i]) {
        return;
    }
    const struct lp_iovec piece = {.data = pattern_memory() + rig->echo_to[i],
                                   .bytes = near->received - rig->echo_to[i]};
    pattern_assert(near->bytes + rig->echo_to[i], rig->echo_to[i], (uint32_t)piece.bytes);
    assert_true(rig->transport.ops->send(rig->transport.self, near->handle, &piece, 1));
    rig->echo_to[i] = near->received;
}

static uint32_t
rig_step(struct rig *rig)
{
    struct lp_transport_event events[EVENTS_MAX];
    if (rig->driver == DRIVER_SIM) {
        const uint64_t next = lp_sim_net_next_ns(rig->net);
        rig->now_ns += 1000;
        if (next != UINT64_MAX && next > rig->now_ns) {
            rig->now_ns = next;
        }
        lp_sim_net_advance(rig->net, rig->now_ns);
        rig->polls++;
        assert_true(rig->polls < 10 * 1000 * 1000);
    } else {
        assert_true(clock_now_ns() < rig->deadline_ns);
    }
    const uint32_t count = rig->transport.ops->poll(rig->transport.self, events, EVENTS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        rig_event(rig, &events[i]);
    }
    for (uint32_t i = 0; rig->echo && i < rig->near_count; i++) {
        rig_echo(rig, i);
    }
    rig->transport.ops->flush(rig->transport.self);
    return count;
}

/* Step, and block for a moment when there was nothing: the far ends move in this thread. */
static void
rig_move(struct rig *rig)
{
    if (rig_step(rig) == 0) {
        rig->transport.ops->wait(rig->transport.self, 200 * 1000);
    }
}

/* Some more steps, in which nothing more than what a script expects may happen. */
static void
rig_settle(struct rig *rig)
{
    for (uint32_t quiet = 0; quiet < 20;) {
        if (rig_step(rig) > 0) {
            quiet = 0;
            continue;
        }
        quiet++;
        rig->transport.ops->wait(rig->transport.self, 100 * 1000);
    }
}

/* --- Far ends. ------------------------------------------------------------------------------- */

static uint32_t
far_connect(struct rig *rig, uint32_t listener)
{
    assert_true(rig->far_count < FAR_MAX);
    struct far *far = &rig->far[rig->far_count];
    if (rig->driver == DRIVER_SIM) {
        far->sim = lp_sim_net_connect(rig->net, 0, listener);
        return rig->far_count++;
    }
    struct sockaddr_storage kernel;
    const socklen_t bytes = lp_address_to_kernel(&rig->listeners.address[listener], &kernel);
    far->fd = socket(kernel.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(far->fd >= 0);
    assert_int_equal(connect(far->fd, (const struct sockaddr *)&kernel, bytes), 0);
    assert_int_equal(fcntl(far->fd, F_SETFL, O_NONBLOCK), 0);
    return rig->far_count++;
}

static uint32_t
far_send(struct rig *rig, uint32_t i, const uint8_t *data, uint32_t bytes)
{
    struct far *far = &rig->far[i];
    if (rig->driver == DRIVER_SIM) {
        return lp_sim_net_far_send(rig->net, far->sim, data, bytes);
    }
    const ssize_t done = send(far->fd, data, bytes, MSG_NOSIGNAL);
    if (done < 0) {
        far->reset = errno != EAGAIN;
        return 0;
    }
    return (uint32_t)done;
}

static uint32_t
far_receive(struct rig *rig, uint32_t i, uint8_t *buffer, uint32_t bytes_max)
{
    struct far *far = &rig->far[i];
    if (rig->driver == DRIVER_SIM) {
        const uint32_t done = lp_sim_net_far_receive(rig->net, far->sim, buffer, bytes_max);
        far->ended = done == 0 && lp_sim_net_far_state(rig->net, far->sim) == LP_SIM_FAR_ENDED;
        far->reset = lp_sim_net_far_state(rig->net, far->sim) == LP_SIM_FAR_RESET;
        return done;
    }
    const ssize_t done = recv(far->fd, buffer, bytes_max, 0);
    far->ended = done == 0;
    far->reset = done < 0 && errno != EAGAIN;
    return done > 0 ? (uint32_t)done : 0;
}

static void
far_close(struct rig *rig, uint32_t i)
{
    if (rig->driver == DRIVER_SIM) {
        lp_sim_net_far_close(rig->net, rig->far[i].sim);
        return;
    }
    assert_int_equal(close(rig->far[i].fd), 0);
    rig->far[i].fd = -1;
}

static void
far_half_close(struct rig *rig, uint32_t i)
{
    if (rig->driver == DRIVER_SIM) {
        lp_sim_net_far_half_close(rig->net, rig->far[i].sim);
        return;
    }
    assert_int_equal(shutdown(rig->far[i].fd, SHUT_WR), 0);
}

static void
far_reset(struct rig *rig, uint32_t i)
{
    if (rig->driver == DRIVER_SIM) {
        lp_sim_net_far_reset(rig->net, rig->far[i].sim);
        return;
    }
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(rig->far[i].fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    far_close(rig, i);
}

/* Connect and see it accepted; gives the index, the same for near and far in these scripts. */
static uint32_t
pair_open(struct rig *rig, uint32_t listener)
{
    const uint32_t before = rig->near_count;
    const uint32_t i = far_connect(rig, listener);
    while (rig->near_count == before) {
        rig_move(rig);
    }
    return i;
}

static void
far_send_all(struct rig *rig, uint32_t i, uint32_t from, uint32_t bytes)
{
    for (uint32_t done = 0; done < bytes;) {
        done += far_send(rig, i, pattern_memory() + from + done, bytes - done);
        assert_false(rig->far[i].reset);
        rig_move(rig);
    }
}

/* Read until `bytes` of the pattern have come, from `from` on. */
static void
far_expect(struct rig *rig, uint32_t i, uint32_t from, uint32_t bytes)
{
    static uint8_t buffer[65536];
    for (uint32_t done = 0; done < bytes;) {
        const uint32_t n =
            far_receive(rig, i, buffer, LP_MIN(bytes - done, (uint32_t)sizeof(buffer)));
        pattern_assert(buffer, from + done, n);
        done += n;
        assert_false(rig->far[i].reset || rig->far[i].ended);
        if (n == 0) {
            rig_move(rig);
        }
    }
}

/* --- Scripts. -------------------------------------------------------------------------------- */

static void
a_stream_is_accepted_with_its_addresses(void **state)
{
    struct rig *rig = *state;
    for (uint32_t listener = 0; listener < 3; listener++) {
        const uint32_t i = pair_open(rig, listener);
        const struct near *near = &rig->near[i];
        assert_int_equal(near->listener, listener);
        if (rig->driver == DRIVER_SIM) {
            assert_int_equal(near->peer.family, LP_ADDRESS_IPV4);
            continue;
        }
        static const uint8_t family[] = {LP_ADDRESS_IPV4, LP_ADDRESS_IPV6, LP_ADDRESS_UNIX};
        assert_int_equal(near->peer.family, family[listener]);
        assert_int_equal(near->local.family, family[listener]);
        assert_int_equal(near->local.port, rig->listeners.address[listener].port);
        assert_true((near->peer.port != 0) == (listener != 2));
    }
    rig_settle(rig);
    assert_int_equal(rig->near_count, 3);
}

static void
what_is_sent_comes_back_in_any_size(void **state)
{
    struct rig *rig = *state;
    static const uint32_t sizes[] = {1, 2, 63, 4096, 16384, 16385, 65536, 100000, MEGABYTE};
    rig->echo = true;
    for (uint32_t s = 0; s < LP_COUNT_OF(sizes); s++) {
        const uint32_t i = pair_open(rig, s % 3);
        uint32_t sent = 0;
        uint32_t back = 0;
        static uint8_t buffer[65536];
        while (back < sizes[s]) {
            sent += far_send(rig, i, pattern_memory() + sent, sizes[s] - sent);
            rig_step(rig);
            const uint32_t n = far_receive(rig, i, buffer, sizeof(buffer));
            pattern_assert(buffer, back, n);
            back += n;
        }
        far_close(rig, i);
        while (rig->near[i].closed == 0) {
            rig_move(rig);
        }
        assert_int_equal(rig->near[i].received, sizes[s]);
        assert_int_equal(rig->near[i].sent_bytes, sizes[s]);
    }
}

static void
sixty_four_pieces_go_out_in_order_as_one_send(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    struct lp_iovec pieces[LP_TRANSPORT_IOV_MAX];
    uint32_t total = 0;
    for (uint32_t p = 0; p < LP_COUNT_OF(pieces); p++) {
        const uint32_t bytes = p % 7 == 3 ? 0 : p * 450;
        pieces[p] = (struct lp_iovec){.data = pattern_memory() + total, .bytes = bytes};
        total += bytes;
    }
    const struct lp_transport_ops *ops = rig->transport.ops;
    assert_true(ops->send(rig->transport.self, rig->near[i].handle, pieces, LP_COUNT_OF(pieces)));
    /* The array is the driver's own copy by now. */
    memset(pieces, 0xff, sizeof(pieces));
    far_expect(rig, i, 0, total);
    while (rig->near[i].sent == 0) {
        rig_move(rig);
    }
    rig_settle(rig);
    assert_int_equal(rig->near[i].sent, 1);
    assert_int_equal(rig->near[i].sent_bytes, total);
}

static void
a_second_send_is_refused_while_one_is_in_flight(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    const struct lp_transport_ops *ops = rig->transport.ops;
    const struct lp_iovec piece = {.data = pattern_memory(), .bytes = 1000};
    assert_true(ops->send(rig->transport.self, rig->near[i].handle, &piece, 1));
    assert_false(ops->send(rig->transport.self, rig->near[i].handle, &piece, 1));
    while (rig->near[i].sent == 0) {
        rig_move(rig);
    }
    assert_true(ops->send(rig->transport.self, rig->near[i].handle, &piece, 1));
    far_expect(rig, i, 0, 1000);
    far_expect(rig, i, 0, 1000);
}

/* Far more than socket buffers hold: the send waits for the reader, and SENT comes once. */
static void
a_send_to_a_slow_reader_completes_when_it_reads(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    static uint8_t big[16u * MEGABYTE];
    for (uint32_t at = 0; at < sizeof(big); at += MEGABYTE) {
        memcpy(big + at, pattern_memory(), MEGABYTE);
    }
    const struct lp_iovec pieces[2] = {{.data = big, .bytes = 777},
                                       {.data = big + 777, .bytes = sizeof(big) - 777}};
    assert_true(rig->transport.ops->send(rig->transport.self, rig->near[i].handle, pieces, 2));
    rig_settle(rig);
    assert_int_equal(rig->near[i].sent, 0);
    for (uint32_t at = 0; at < sizeof(big); at += MEGABYTE) {
        far_expect(rig, i, 0, MEGABYTE);
    }
    while (rig->near[i].sent == 0) {
        rig_move(rig);
    }
    assert_int_equal(rig->near[i].sent_bytes, sizeof(big));
}

static void
receiving_stops_and_goes_on_where_it_was(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    const struct lp_transport_ops *ops = rig->transport.ops;
    far_send_all(rig, i, 0, 5000);
    while (rig->near[i].received < 5000) {
        rig_move(rig);
    }
    for (uint32_t round = 0; round < 20; round++) {
        const uint32_t from = 5000 + round * 1000;
        ops->receive_stop(rig->transport.self, rig->near[i].handle);
        if (round % 2 == 0) {
            rig_settle(rig);
        }
        far_send_all(rig, i, from, 1000);
        if (round % 4 == 0) {
            rig_settle(rig);
            assert_int_equal(rig->near[i].received, from);
        }
        ops->receive_start(rig->transport.self, rig->near[i].handle);
        while (rig->near[i].received < from + 1000) {
            rig_move(rig);
        }
    }
    assert_int_equal(rig->near[i].received, 25000);
    pattern_assert(rig->near[i].bytes, 0, 25000);
}

/* Flipping within a turn must neither lose the receive nor double it. */
static void
stop_and_start_in_one_turn_leave_it_receiving(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    const struct lp_transport_ops *ops = rig->transport.ops;
    for (uint32_t round = 0; round < 50; round++) {
        for (uint32_t flips = 0; flips <= round % 5; flips++) {
            ops->receive_stop(rig->transport.self, rig->near[i].handle);
            ops->receive_start(rig->transport.self, rig->near[i].handle);
        }
        far_send_all(rig, i, round * 100, 100);
        while (rig->near[i].received < (round + 1) * 100) {
            rig_move(rig);
        }
    }
    pattern_assert(rig->near[i].bytes, 0, 5000);
}

static void
a_peer_that_closes_is_read_to_the_end_then_ended_then_closed_once(void **state)
{
    struct rig *rig = *state;
    for (uint32_t listener = 0; listener < 3; listener++) {
        const uint32_t i = pair_open(rig, listener);
        uint32_t sent = 0;
        while (sent < 30000) {
            sent += far_send(rig, i, pattern_memory() + sent, 30000 - sent);
        }
        far_close(rig, i);
        while (rig->near[i].ended == 0) {
            rig_move(rig);
        }
        assert_int_equal(rig->near[i].received, 30000);
        pattern_assert(rig->near[i].bytes, 0, 30000);
        rig_settle(rig);
        assert_int_equal(rig->near[i].closed, 0);
        rig->transport.ops->close(rig->transport.self, rig->near[i].handle);
        rig->transport.ops->close(rig->transport.self, rig->near[i].handle);
        rig_settle(rig);
        assert_int_equal(rig->near[i].closed, 1);
        assert_int_equal(rig->near[i].ended, 1);
    }
}

static void
an_end_waits_behind_bytes_that_nobody_wanted_yet(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    rig->transport.ops->receive_stop(rig->transport.self, rig->near[i].handle);
    rig_settle(rig);
    assert_int_equal(far_send(rig, i, pattern_memory(), 3000), 3000);
    far_close(rig, i);
    rig_settle(rig);
    assert_int_equal(rig->near[i].ended, 0);
    rig->transport.ops->receive_start(rig->transport.self, rig->near[i].handle);
    while (rig->near[i].ended == 0) {
        rig_move(rig);
    }
    assert_int_equal(rig->near[i].received, 3000);
}

static void
a_half_closed_peer_can_still_be_answered(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    assert_int_equal(far_send(rig, i, pattern_memory(), 100), 100);
    far_half_close(rig, i);
    while (rig->near[i].ended == 0) {
        rig_move(rig);
    }
    const struct lp_iovec piece = {.data = pattern_memory(), .bytes = 5000};
    assert_true(rig->transport.ops->send(rig->transport.self, rig->near[i].handle, &piece, 1));
    far_expect(rig, i, 0, 5000);
    while (rig->near[i].sent == 0) {
        rig_move(rig);
    }
    rig->transport.ops->close(rig->transport.self, rig->near[i].handle);
    uint8_t byte;
    while (!rig->far[i].ended) {
        (void)far_receive(rig, i, &byte, 1);
        rig_move(rig);
    }
}

static void
a_reset_peer_is_ended_also_with_a_send_in_flight(void **state)
{
    struct rig *rig = *state;
    static uint8_t big[8u * MEGABYTE];
    for (uint32_t sending = 0; sending < 2; sending++) {
        const uint32_t i = pair_open(rig, 0);
        if (sending == 1) {
            const struct lp_iovec piece = {.data = big, .bytes = sizeof(big)};
            assert_true(
                rig->transport.ops->send(rig->transport.self, rig->near[i].handle, &piece, 1));
            rig_settle(rig);
        }
        far_reset(rig, i);
        while (rig->near[i].ended == 0) {
            rig_move(rig);
        }
        rig_settle(rig);
        assert_int_equal(rig->near[i].sent, sending);
        assert_true(rig->near[i].sent_bytes < sizeof(big));
        rig->transport.ops->close(rig->transport.self, rig->near[i].handle);
        rig_settle(rig);
        assert_int_equal(rig->near[i].closed, 1);
    }
}

/* The send's memory is freed at CLOSED: ASan tells whoever reads it later. */
static void
close_gives_up_a_send_in_flight_and_says_only_closed(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    uint8_t *big = calloc(8, MEGABYTE);
    const struct lp_iovec piece = {.data = big, .bytes = 8u * MEGABYTE};
    assert_int_equal(far_send(rig, i, pattern_memory(), 3000), 3000);
    assert_true(rig->transport.ops->send(rig->transport.self, rig->near[i].handle, &piece, 1));
    rig_settle(rig);
    const uint32_t received = rig->near[i].received;
    rig->transport.ops->close(rig->transport.self, rig->near[i].handle);
    rig_settle(rig);
    assert_int_equal(rig->near[i].closed, 1);
    assert_int_equal(rig->near[i].sent, 0);
    assert_int_equal(rig->near[i].ended, 0);
    assert_int_equal(rig->near[i].received, received);
    free(big);
    rig_settle(rig);
}

/* What a peer sent and nobody read must not turn our last words into a reset. */
static void
last_words_arrive_before_the_end(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    rig->transport.ops->receive_stop(rig->transport.self, rig->near[i].handle);
    rig_settle(rig);
    assert_int_equal(far_send(rig, i, pattern_memory(), 40000), 40000);
    const struct lp_iovec piece = {.data = pattern_memory(), .bytes = 800};
    assert_true(rig->transport.ops->send(rig->transport.self, rig->near[i].handle, &piece, 1));
    while (rig->near[i].sent == 0) {
        rig_move(rig);
    }
    rig->transport.ops->close(rig->transport.self, rig->near[i].handle);
    far_expect(rig, i, 0, 800);
    uint8_t byte;
    while (!rig->far[i].ended) {
        assert_int_equal(far_receive(rig, i, &byte, 1), 0);
        assert_false(rig->far[i].reset);
        rig_move(rig);
    }
}

static void
a_stale_handle_is_ignored_by_every_call(void **state)
{
    struct rig *rig = *state;
    const struct lp_transport_ops *ops = rig->transport.ops;
    void *self = rig->transport.self;
    const uint32_t dead = pair_open(rig, 0);
    ops->close(self, rig->near[dead].handle);
    rig_settle(rig);
    assert_int_equal(rig->near[dead].closed, 1);
    const uint32_t alive = pair_open(rig, 0); /* in the same slot, as a rule */
    const struct lp_iovec piece = {.data = pattern_memory(), .bytes = 10};
    const lp_handle handles[] = {rig->near[dead].handle, LP_HANDLE_NONE, UINT64_MAX,
                                 lp_handle_make(0, 77777)};
    for (uint32_t h = 0; h < LP_COUNT_OF(handles); h++) {
        ops->attach(self, handles[h], 99);
        ops->receive_stop(self, handles[h]);
        ops->receive_start(self, handles[h]);
        assert_false(ops->send(self, handles[h], &piece, 1));
        ops->close(self, handles[h]);
    }
    rig->echo = true;
    far_send_all(rig, alive, 0, 1000);
    far_expect(rig, alive, 0, 1000);
    assert_int_equal(rig->near[alive].closed, 0);
}

/* With 16 receive buffers for 200 streams, which all send more than one buffer holds. */
static void
many_streams_share_few_receive_buffers(void **state)
{
    struct rig *rig = *state;
    enum { STREAMS = 200, BYTES = 60000 };
    static uint32_t sent[STREAMS];
    static uint32_t back[STREAMS];
    static uint8_t buffer[65536];
    memset(sent, 0, sizeof(sent));
    memset(back, 0, sizeof(back));
    rig->echo = true;
    for (uint32_t i = 0; i < STREAMS; i++) {
        (void)far_connect(rig, i % 3);
        rig_step(rig);
    }
    for (uint32_t done = 0; done < STREAMS;) {
        done = 0;
        for (uint32_t i = 0; i < STREAMS; i++) {
            sent[i] += far_send(rig, i, pattern_memory() + sent[i], BYTES - sent[i]);
        }
        rig_step(rig);
        for (uint32_t i = 0; i < STREAMS; i++) {
            const uint32_t n = far_receive(rig, i, buffer, sizeof(buffer));
            pattern_assert(buffer, back[i], n);
            back[i] += n;
            done += back[i] == BYTES ? 1 : 0;
        }
    }
    if (rig->driver == DRIVER_URING) {
        struct lp_socket_counters counters;
        lp_uring_counters(&rig->transport, &counters);
        assert_true(counters.starved > 0);
    }
}

static void
one_stream_too_many_is_closed_and_the_next_is_welcome(void **state)
{
    struct rig *rig = *state;
    while (rig->near_count < rig->streams_max) {
        (void)pair_open(rig, 0);
    }
    const uint32_t extra = far_connect(rig, 0);
    uint8_t byte;
    while (!rig->far[extra].ended && !rig->far[extra].reset) {
        rig_move(rig);
        (void)far_receive(rig, extra, &byte, 1);
    }
    assert_int_equal(rig->near_count, rig->streams_max);
    rig->transport.ops->close(rig->transport.self, rig->near[0].handle);
    rig_settle(rig);
    assert_int_equal(rig->near[0].closed, 1);
    (void)far_connect(rig, 0);
    while (rig->near_count == rig->streams_max) {
        rig_move(rig);
    }
}

static void
wake_any_ends_a_wait_before_or_after_it_began(void **state)
{
    struct rig *rig = *state;
    if (rig->driver == DRIVER_SIM) {
        assert_false(lp_sim_net_wake_take(rig->net, 0));
        rig->transport.ops->wake_any(rig->transport.self);
        assert_true(lp_sim_net_wake_take(rig->net, 0));
        assert_false(lp_sim_net_wake_take(rig->net, 0));
        return;
    }
    rig_settle(rig);
    for (uint32_t round = 0; round < 100; round++) {
        rig->transport.ops->wake_any(rig->transport.self);
        /* Without a limit: the test hangs, and its time-out tells, if the wake is lost. */
        rig->transport.ops->wait(rig->transport.self, UINT64_MAX);
        rig_step(rig);
    }
}

static void
a_wait_ends_by_itself_when_its_time_is_up(void **state)
{
    struct rig *rig = *state;
    if (rig->driver == DRIVER_SIM) {
        return;
    }
    rig_settle(rig);
    const uint64_t start = clock_now_ns();
    while (clock_now_ns() < start + 3 * 1000 * 1000) {
        rig->transport.ops->wait(rig->transport.self, 1000 * 1000);
        assert_int_equal(rig_step(rig), 0);
    }
}

static void
after_accept_stop_newcomers_are_refused_and_streams_live_on(void **state)
{
    struct rig *rig = *state;
    rig->echo = true;
    const uint32_t i = pair_open(rig, 0);
    rig->transport.ops->accept_stop(rig->transport.self);
    rig->transport.ops->accept_stop(rig->transport.self);
    rig_settle(rig);
    if (rig->driver == DRIVER_SIM) {
        const uint32_t refused = far_connect(rig, 0);
        rig_settle(rig);
        assert_int_equal(lp_sim_net_far_state(rig->net, rig->far[refused].sim), LP_SIM_FAR_RESET);
    }
    for (uint32_t listener = 0; rig->driver != DRIVER_SIM && listener < 3; listener++) {
        struct sockaddr_storage kernel;
        const socklen_t bytes = lp_address_to_kernel(&rig->listeners.address[listener], &kernel);
        const int fd = socket(kernel.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_not_equal(connect(fd, (const struct sockaddr *)&kernel, bytes), 0);
        assert_int_equal(close(fd), 0);
    }
    far_send_all(rig, i, 0, 2000);
    far_expect(rig, i, 0, 2000);
    assert_int_equal(rig->near_count, 1);
}

/* --- Running them. --------------------------------------------------------------------------- */

static enum driver current;

static int
setup_with(void **state, uint32_t streams_max, uint32_t receive_buffers)
{
    struct rig *rig = malloc(sizeof(*rig));
    rig_open(rig, current, streams_max, receive_buffers);
    *state = rig;
    return 0;
}

static int
setup(void **state)
{
    return setup_with(state, STREAMS_MAX, 0);
}

static int
setup_few_buffers(void **state)
{
    return setup_with(state, STREAMS_MAX, 16);
}

static int
setup_few_streams(void **state)
{
    return setup_with(state, 5, 0);
}

static int
teardown(void **state)
{
    rig_close(*state);
    free(*state);
    return 0;
}

#define SCRIPT(name, how) cmocka_unit_test_setup_teardown(name, how, teardown)

int
main(void)
{
    const struct CMUnitTest scripts[] = {
        SCRIPT(a_stream_is_accepted_with_its_addresses, setup),
        SCRIPT(what_is_sent_comes_back_in_any_size, setup),
        SCRIPT(sixty_four_pieces_go_out_in_order_as_one_send, setup),
        SCRIPT(a_second_send_is_refused_while_one_is_in_flight, setup),
        SCRIPT(a_send_to_a_slow_reader_completes_when_it_reads, setup),
        SCRIPT(receiving_stops_and_goes_on_where_it_was, setup),
        SCRIPT(stop_and_start_in_one_turn_leave_it_receiving, setup),
        SCRIPT(a_peer_that_closes_is_read_to_the_end_then_ended_then_closed_once, setup),
        SCRIPT(an_end_waits_behind_bytes_that_nobody_wanted_yet, setup),
        SCRIPT(a_half_closed_peer_can_still_be_answered, setup),
        SCRIPT(a_reset_peer_is_ended_also_with_a_send_in_flight, setup),
        SCRIPT(close_gives_up_a_send_in_flight_and_says_only_closed, setup),
        SCRIPT(last_words_arrive_before_the_end, setup),
        SCRIPT(a_stale_handle_is_ignored_by_every_call, setup),
        SCRIPT(many_streams_share_few_receive_buffers, setup_few_buffers),
        SCRIPT(one_stream_too_many_is_closed_and_the_next_is_welcome, setup_few_streams),
        SCRIPT(wake_any_ends_a_wait_before_or_after_it_began, setup),
        SCRIPT(a_wait_ends_by_itself_when_its_time_is_up, setup),
        SCRIPT(after_accept_stop_newcomers_are_refused_and_streams_live_on, setup),
    };
    char why[LP_URING_WHY_BYTES];
    int failed = 0;
    current = DRIVER_SIM;
    failed += cmocka_run_group_tests_name("sim", scripts, NULL, NULL);
    current = DRIVER_EPOLL;
    failed += cmocka_run_group_tests_name("epoll", scripts, NULL, NULL);
    if (!lp_uring_usable(why)) {
        print_message("io_uring is not usable here: %s\n", why);
        return failed;
    }
    current = DRIVER_URING;
    failed += cmocka_run_group_tests_name("io_uring", scripts, NULL, NULL);
    return failed;
}
