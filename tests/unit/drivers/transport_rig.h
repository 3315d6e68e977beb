/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport_rig.h - one transport of any driver, the far ends of its streams,
 * and a book of what it said: for scripts against transport.h alone.  Included
 * by one file of a program.
 */
#pragma once

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
    DRIVER_SIM,
    DRIVER_EPOLL,
    DRIVER_URING,
};
#define DRIVERS (DRIVER_URING + 1)

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

static inline void
pattern_fill(uint8_t *data, uint32_t from, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        data[i] = pattern(from + i);
    }
}

static inline void
pattern_assert(const uint8_t *data, uint32_t from, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        if (data[i] != pattern(from + i)) {
            fail_msg("byte %u is 0x%02x, not 0x%02x", from + i, data[i], pattern(from + i));
        }
    }
}

/* --- The rig. -------------------------------------------------------------------------------- */

static inline void
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

static inline void
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

static inline void
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

static inline void
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

static inline void
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
    case LP_TRANSPORT_CONNECTED:
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

static inline void
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

static inline uint32_t
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
static inline void
rig_move(struct rig *rig)
{
    if (rig_step(rig) == 0) {
        rig->transport.ops->wait(rig->transport.self, 200 * 1000);
    }
}

/* Some more steps, in which nothing more than what a script expects may happen. */
static inline void
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

static inline uint32_t
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

static inline uint32_t
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

static inline uint32_t
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

static inline void
far_close(struct rig *rig, uint32_t i)
{
    if (rig->driver == DRIVER_SIM) {
        lp_sim_net_far_close(rig->net, rig->far[i].sim);
        return;
    }
    assert_int_equal(close(rig->far[i].fd), 0);
    rig->far[i].fd = -1;
}

static inline void
far_half_close(struct rig *rig, uint32_t i)
{
    if (rig->driver == DRIVER_SIM) {
        lp_sim_net_far_half_close(rig->net, rig->far[i].sim);
        return;
    }
    assert_int_equal(shutdown(rig->far[i].fd, SHUT_WR), 0);
}

static inline void
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
static inline uint32_t
pair_open(struct rig *rig, uint32_t listener)
{
    const uint32_t before = rig->near_count;
    const uint32_t i = far_connect(rig, listener);
    while (rig->near_count == before) {
        rig_move(rig);
    }
    return i;
}

static inline void
far_send_all(struct rig *rig, uint32_t i, uint32_t from, uint32_t bytes)
{
    for (uint32_t done = 0; done < bytes;) {
        done += far_send(rig, i, pattern_memory() + from + done, bytes - done);
        assert_false(rig->far[i].reset);
        rig_move(rig);
    }
}

/* Read until `bytes` of the pattern have come, from `from` on. */
static inline void
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

/* --- Running scripts, over each driver in turn. ---------------------------------------------- */

static enum driver current;

static inline int
setup_with(void **state, uint32_t streams_max, uint32_t receive_buffers)
{
    struct rig *rig = malloc(sizeof(*rig));
    rig_open(rig, current, streams_max, receive_buffers);
    *state = rig;
    return 0;
}

static inline int
setup(void **state)
{
    return setup_with(state, STREAMS_MAX, 0);
}

static inline int
teardown(void **state)
{
    rig_close(*state);
    free(*state);
    return 0;
}

#define SCRIPT(name, how) cmocka_unit_test_setup_teardown(name, how, teardown)

static const char *const driver_name[DRIVERS] = {"sim", "epoll", "io_uring"};

/* False: said why not. */
static inline bool
driver_usable(enum driver driver)
{
    char why[LP_URING_WHY_BYTES];
    if (driver != DRIVER_URING || lp_uring_usable(why)) {
        return true;
    }
    print_message("io_uring is not usable here: %s\n", why);
    return false;
}
