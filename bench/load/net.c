/* SPDX-License-Identifier: Apache-2.0 */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <dataplane/net/net.h>
#include <drivers/dpdk/dpdk.h>
#include <drivers/tap/tap.h>

#include "load.h"

#define TAP_PREFIX   "tap:"
#define MEMORY_BYTES (512ull << 20)
#define EVENTS_MAX   256u
/* A sender waits for room when so much is not taken by the stack; a receiver for us. */
#define SEND_BYTES_MAX    (512u << 10)
#define RECEIVE_BYTES_MAX (1u << 20)

struct buffer {
    uint8_t *bytes;
    size_t start;
    size_t end;
    size_t room;
};

struct socket {
    lp_handle stream; /* LP_HANDLE_NONE: free */
    bool connected;
    bool ended;
    bool closing;
    bool stopped;
    size_t flying; /* of `out`, from its start on: send() has it */
    struct buffer in;
    struct buffer out;
    const struct load_watch *watch;
    struct epoll_event event;
};

struct load_net {
    struct lp_net *net;
    struct lp_transport transport;
    struct lp_nic nic;
    bool tap;
    uint32_t made; /* sockets ever used */
    struct socket socket[LOAD_NET_SOCKETS_MAX];
};

/* --- Buffers. --------------------------------------------------------------------------------- */

static bool
buffer_add(struct buffer *buffer, const void *from, size_t bytes)
{
    if (buffer->start == buffer->end) {
        buffer->start = buffer->end = 0;
    }
    if (buffer->end + bytes > buffer->room) {
        const size_t room = LP_MAX(2 * buffer->room, buffer->end + bytes);
        uint8_t *larger = realloc(buffer->bytes, room);
        if (larger == NULL) {
            return false;
        }
        buffer->bytes = larger;
        buffer->room = room;
    }
    memcpy(buffer->bytes + buffer->end, from, bytes);
    buffer->end += bytes;
    return true;
}

static size_t
buffer_left(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

/* --- Opening. --------------------------------------------------------------------------------- */

static uint64_t
clock_ns(void *self)
{
    (void)self;
    return load_now_ns();
}

static void
entropy_fill(void *self, void *data, size_t bytes)
{
    (void)self;
    if (getrandom(data, bytes, 0) != (ssize_t)bytes) {
        lp_panic("the kernel gives random numbers", __FILE__, __LINE__);
    }
}

static bool
refuse(const char *what, const char *why)
{
    (void)fprintf(stderr, "lepus-bench: --net %s: %s\n", what, why);
    return false;
}

static bool
device_open(struct load_net *net, const char *device)
{
    char why[LP_DPDK_WHY_BYTES];
    net->tap = strncmp(device, TAP_PREFIX, strlen(TAP_PREFIX)) == 0;
    if (net->tap) {
        struct lp_tap_options tap = {.queues = 1};
        (void)snprintf(tap.name, sizeof(tap.name), "%s", device + strlen(TAP_PREFIX));
        return lp_tap_open_boot(&tap, &net->nic, why) == LP_OK || refuse(device, why);
    }
    const struct lp_dpdk_options dpdk = {
        .device_count = 1, .device = {device}, .shared_memory = true};
    struct lp_dpdk_port_options port = {.device = device, .queues = 1};
    memcpy(port.rss_key, lp_net_rss_key(), sizeof(port.rss_key));
    return (lp_dpdk_start_boot(&dpdk, why) == LP_OK &&
            lp_dpdk_port_open_boot(&port, &net->nic, why) == LP_OK) ||
           refuse(device, why);
}

static bool
address_read(const char *text, struct lp_net_prefix *ret_prefix)
{
    char ip[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    const bool six = strchr(text, ':') != NULL;
    if (slash == NULL || (size_t)(slash - text) >= sizeof(ip)) {
        return false;
    }
    memcpy(ip, text, (size_t)(slash - text));
    ip[slash - text] = '\0';
    ret_prefix->family = six ? LP_ADDRESS_IPV6 : LP_ADDRESS_IPV4;
    ret_prefix->bits = (uint8_t)strtoul(slash + 1, NULL, 10);
    return inet_pton(six ? AF_INET6 : AF_INET, ip, ret_prefix->ip) == 1;
}

static bool
stack_open(struct load_net *net, const char *device, const char *address)
{
    struct lp_net_config *config = calloc(1, sizeof(*config));
    void *memory = mmap(NULL, MEMORY_BYTES + 65536, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (config == NULL || memory == MAP_FAILED) {
        free(config);
        return refuse(device, "out of memory");
    }
    config->shard_count = 1;
    config->port_count = 1;
    config->port[0].nic = net->nic;
    config->port[0].address_count = 1;
    config->streams_max = LOAD_NET_SOCKETS_MAX;
    (void)snprintf(config->port[0].name, sizeof(config->port[0].name), "%s", device);
    const struct lp_net_env env = {
        .memory = (void *)(((uintptr_t)memory + 65535) & ~(uintptr_t)65535),
        .memory_bytes = MEMORY_BYTES,
        .clock = {.monotonic_ns = clock_ns, .wall_ns = clock_ns},
        .entropy = {.fill = entropy_fill},
    };
    const bool good = address_read(address, &config->port[0].address[0]) &&
                      lp_net_open_boot(config, &env, &net->net) == LP_OK;
    free(config);
    if (!good) {
        return refuse(address, "is no address with its bits, such as 10.0.0.1/24");
    }
    net->transport = lp_net_transport(net->net);
    return true;
}

struct load_net *
load_net_open(const char *device, const char *address)
{
    struct load_net *net = calloc(1, sizeof(*net));
    if (net == NULL || !device_open(net, device)) {
        free(net);
        return NULL;
    }
    if (!stack_open(net, device, address)) {
        load_net_close(net);
        return NULL;
    }
    return net;
}

void
load_net_close(struct load_net *net)
{
    if (net == NULL) {
        return;
    }
    if (net->net != NULL) {
        /* Goodbyes leave. */
        for (int i = 0; i < 1000; i++) {
            struct epoll_event none;
            (void)load_net_turn(net, NULL, &none, 0);
        }
        lp_net_close(&net->net);
    }
    if (net->tap) {
        lp_tap_close(&net->nic, 1);
    } else {
        lp_dpdk_port_close(&net->nic, 1);
        lp_dpdk_stop();
    }
    for (uint32_t i = 0; i < net->made; i++) {
        free(net->socket[i].in.bytes);
        free(net->socket[i].out.bytes);
    }
    free(net);
}

/* --- Sockets. --------------------------------------------------------------------------------- */

int
load_net_dial(struct load_net *net, const char *host, const char *port)
{
    struct lp_net_prefix prefix;
    char text[INET6_ADDRSTRLEN + 8];
    (void)snprintf(text, sizeof(text), "%s/0", host);
    uint32_t number = 0;
    while (number < net->made && net->socket[number].stream != LP_HANDLE_NONE) {
        number++;
    }
    if (number == LOAD_NET_SOCKETS_MAX || !address_read(text, &prefix)) {
        errno = number == LOAD_NET_SOCKETS_MAX ? EMFILE : EINVAL;
        return -1;
    }
    struct lp_address to = {.family = prefix.family, .port = (uint16_t)strtoul(port, NULL, 10)};
    memcpy(to.ip, prefix.ip, sizeof(to.ip));
    struct socket *socket = &net->socket[number];
    socket->stream = lp_net_connect(net->net, &to);
    if (socket->stream == LP_HANDLE_NONE) {
        errno = EHOSTUNREACH;
        return -1;
    }
    net->made = LP_MAX(net->made, number + 1);
    net->transport.ops->attach(net->transport.self, socket->stream, number + 1);
    return (int)number + 1; /* 0 is nobody's number */
}

static struct socket *
socket_of(struct load_net *net, int number)
{
    LP_ASSERT(number > 0 && (uint32_t)number <= net->made);
    return &net->socket[number - 1];
}

ssize_t
load_net_receive(struct load_net *net, int number, void *to, size_t room)
{
    struct socket *socket = socket_of(net, number);
    const size_t bytes = LP_MIN(room, buffer_left(&socket->in));
    if (bytes == 0) {
        errno = socket->connected || !socket->ended ? EAGAIN : ECONNREFUSED;
        return socket->connected && socket->ended ? 0 : -1;
    }
    memcpy(to, socket->in.bytes + socket->in.start, bytes);
    socket->in.start += bytes;
    if (socket->stopped && buffer_left(&socket->in) < RECEIVE_BYTES_MAX / 2) {
        socket->stopped = false;
        net->transport.ops->receive_start(net->transport.self, socket->stream);
    }
    return (ssize_t)bytes;
}

/* What waits goes to the stack, as one piece, when nothing is with it already. */
static void
push(struct load_net *net, struct socket *socket)
{
    const size_t left = buffer_left(&socket->out);
    if (socket->flying > 0 || left == 0 || !socket->connected || socket->ended) {
        return;
    }
    const struct lp_iovec piece = {.data = socket->out.bytes + socket->out.start, .bytes = left};
    if (net->transport.ops->send(net->transport.self, socket->stream, &piece, 1)) {
        socket->flying = left;
    }
}

ssize_t
load_net_send(struct load_net *net, int number, const void *from, size_t bytes)
{
    struct socket *socket = socket_of(net, number);
    if (socket->ended) {
        errno = EPIPE;
        return -1;
    }
    /* What is with the stack must not move: nothing is added to its buffer meanwhile. */
    if (socket->flying > 0 || buffer_left(&socket->out) >= SEND_BYTES_MAX) {
        errno = EAGAIN;
        return -1;
    }
    const size_t taken = LP_MIN(bytes, SEND_BYTES_MAX);
    if (!buffer_add(&socket->out, from, taken)) {
        errno = ENOMEM;
        return -1;
    }
    push(net, socket);
    return (ssize_t)taken;
}

void
load_net_hang_up(struct load_net *net, int number)
{
    struct socket *socket = socket_of(net, number);
    socket->closing = true;
    socket->watch = NULL;
    net->transport.ops->close(net->transport.self, socket->stream);
}

void
load_net_watch(struct load_net *net, int number, const struct load_watch *watch,
               struct epoll_event event)
{
    struct socket *socket = socket_of(net, number);
    socket->watch = event.events == 0 ? NULL : watch;
    socket->event = event;
}

/* --- Turns. ----------------------------------------------------------------------------------- */

static void
received(struct load_net *net, struct socket *socket, const struct lp_transport_event *event)
{
    if (!buffer_add(&socket->in, event->data, event->bytes)) {
        lp_panic("memory for what is received", __FILE__, __LINE__);
    }
    if (!socket->stopped && buffer_left(&socket->in) > RECEIVE_BYTES_MAX) {
        socket->stopped = true;
        net->transport.ops->receive_stop(net->transport.self, socket->stream);
    }
}

static void
happened(struct load_net *net, const struct lp_transport_event *event)
{
    if (event->user == 0 || event->user > net->made) {
        return;
    }
    struct socket *socket = &net->socket[event->user - 1];
    switch (event->kind) {
    case LP_TRANSPORT_CONNECTED:
        socket->connected = true;
        push(net, socket);
        break;
    case LP_TRANSPORT_RECEIVED:
        received(net, socket, event);
        break;
    case LP_TRANSPORT_SENT:
        socket->out.start += socket->flying;
        socket->flying = 0;
        push(net, socket);
        break;
    case LP_TRANSPORT_ENDED:
        socket->ended = true;
        break;
    case LP_TRANSPORT_CLOSED:
        free(socket->in.bytes);
        free(socket->out.bytes);
        *socket = (struct socket){0};
        break;
    case LP_TRANSPORT_ACCEPTED:
        break;
    }
}

static uint32_t
readiness(const struct socket *socket)
{
    const bool readable = buffer_left(&socket->in) > 0 || socket->ended;
    const bool writable = socket->connected && socket->flying == 0;
    return (readable ? (uint32_t)EPOLLIN : 0u) | (writable ? (uint32_t)EPOLLOUT : 0u);
}

int
load_net_turn(struct load_net *net, const struct load_watch *watch, struct epoll_event *events,
              int max)
{
    struct lp_transport_event happening[EVENTS_MAX];
    net->transport.ops->flush(net->transport.self);
    const uint32_t count = net->transport.ops->poll(net->transport.self, happening, EVENTS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        happened(net, &happening[i]);
    }
    net->transport.ops->flush(net->transport.self);
    int ready = 0;
    for (uint32_t i = 0; i < net->made && ready < max; i++) {
        const struct socket *socket = &net->socket[i];
        const uint32_t now = readiness(socket) & socket->event.events;
        if (socket->watch == watch && now != 0 && watch != NULL) {
            events[ready] = socket->event;
            events[ready++].events = now;
        }
    }
    return ready;
}

bool
load_net_wait(struct load_net *net, int number, int patience_ms)
{
    const uint64_t end_ns = load_now_ns() + (uint64_t)patience_ms * 1000000u;
    struct epoll_event none;
    while ((readiness(socket_of(net, number)) & (uint32_t)EPOLLIN) == 0) {
        if (load_now_ns() > end_ns) {
            return false;
        }
        (void)load_net_turn(net, NULL, &none, 0);
    }
    return true;
}
