/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP/IP of our own: devices from the configuration's words, an instance of
 * dataplane/net a shard, and both transports as one.
 */
#include "host.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DRAIN_EVENTS  64u
#define DRAIN_NS      (1000u * 1000u * 1000u)
#define DRAIN_LOOK_NS (1000u * 1000u)
#define REPORT_NS     (100u * 1000u * 1000u)

bool
host_net_complain(char *ret_why, const struct host_net_port *port, const char *format, ...)
{
    va_list list;
    const int used = snprintf(ret_why, HOST_WHY_BYTES, "lepus.net.port.%s.", port->name);
    va_start(list, format);
    (void)vsnprintf(ret_why + used, HOST_WHY_BYTES - (size_t)used, format, list);
    va_end(list);
    return false;
}

void
host_net_watch(const struct host *host, uint32_t shard, struct lp_socket_options *options)
{
    for (uint32_t p = 0; p < host->options.net.port_count; p++) {
        const struct lp_nic *nic = &host->shard[shard].nic[p];
        const int fd = nic->ops->wait_fd(nic->self);
        if (fd >= 0) {
            options->watch_fd[options->watch_count++] = fd;
        }
        const struct lp_nic *exception = &host->shard[shard].exception[p];
        if (exception->ops != NULL) {
            options->watch_fd[options->watch_count++] = exception->ops->wait_fd(exception->self);
        }
    }
}
LP_STATIC_ASSERT(2 * LP_NET_PORTS_MAX <= LP_WATCH_MAX, "each port's two devices are watched");

/* --- Addresses and routes. ------------------------------------------------------------------- */

static bool
prefix_has(const struct lp_net_prefix *prefix, const struct lp_net_prefix *ip)
{
    if (prefix->family != ip->family) {
        return false;
    }
    for (uint32_t bit = 0; bit < prefix->bits; bit++) {
        if (((prefix->ip[bit / 8] ^ ip->ip[bit / 8]) >> (7 - bit % 8) & 1) != 0) {
            return false;
        }
    }
    return true;
}

/* Is this router a neighbour there?  IPv6 routers are by an address that every link has. */
static bool
is_near(const struct host_net_port *port, const struct lp_net_prefix *gateway)
{
    if (gateway->family == LP_ADDRESS_IPV6 && gateway->ip[0] == 0xfe &&
        (gateway->ip[1] & 0xc0) == 0x80) {
        return true;
    }
    for (uint32_t i = 0; i < port->address_count; i++) {
        if (prefix_has(&port->address[i], gateway)) {
            return true;
        }
    }
    return false;
}

static void
route_add(struct lp_net_config *config, const struct lp_net_prefix *to,
          const struct lp_net_prefix *gateway, uint32_t port)
{
    struct lp_net_route *route = &config->route[config->route_count++];
    route->destination = *to;
    route->port = (uint8_t)port;
    memcpy(route->gateway, gateway->ip, sizeof(route->gateway));
}

static bool
gateways_fill(struct lp_net_config *config, const struct host_net_port *port, uint32_t index,
              char *ret_why)
{
    for (uint32_t i = 0; i < 2; i++) {
        const struct lp_net_prefix *gateway = &port->gateway[i];
        const struct lp_net_prefix everything = {.family = gateway->family};
        if (gateway->family == 0) {
            continue;
        }
        if (!is_near(port, gateway)) {
            return host_net_complain(
                ret_why, port,
                "gateway%s: no address of this port is on the router's network; "
                "look at .address and the bits behind its slash",
                i == 1 ? "6" : "");
        }
        if (config->route_count == LP_NET_ROUTES_MAX) {
            return host_net_complain(ret_why, port, "gateway: there are too many routes");
        }
        route_add(config, &everything, gateway, index);
    }
    return true;
}

static bool
routes_fill(struct lp_net_config *config, const struct host_net_options *net, char *ret_why)
{
    for (uint32_t r = 0; r < net->route_count; r++) {
        uint32_t p = 0;
        while (p < net->port_count && !is_near(&net->port[p], &net->route[r].gateway)) {
            p++;
        }
        if (p == net->port_count || config->route_count == LP_NET_ROUTES_MAX) {
            (void)snprintf(ret_why, HOST_WHY_BYTES, "lepus.net.route: %s",
                           p == net->port_count
                               ? "a router is on no port's network; its address must "
                                 "be in that of an .address"
                               : "there are too many routes");
            return false;
        }
        route_add(config, &net->route[r].to, &net->route[r].gateway, p);
    }
    return true;
}

static bool
port_fill(const struct host *host, uint32_t index, struct lp_net_config *config, char *ret_why)
{
    const struct host_net_port *port = &host->options.net.port[index];
    struct lp_net_port *to = &config->port[index];
    struct lp_nic_caps caps;
    to->nic = host->shard[config->shard].nic[index];
    to->nic.ops->caps(to->nic.self, &caps);
    to->exception = host->shard[config->shard].exception[index];
    if (port->exception != NULL) {
        (void)snprintf(to->exception_name, sizeof(to->exception_name), "%s", port->exception);
    }
    if (port->mtu_bytes > caps.mtu_bytes) {
        return host_net_complain(ret_why, port, "mtu: %u, but the device has %u at most",
                                 port->mtu_bytes, caps.mtu_bytes);
    }
    to->vlan = port->vlan;
    to->mtu_bytes = port->mtu_bytes;
    to->address_count = port->address_count;
    memcpy(to->address, port->address, sizeof(to->address));
    (void)snprintf(to->name, sizeof(to->name), "%s", port->device);
    return true;
}

/* What two lists of listeners share has one place among the shard's; the kernel has chosen ports.
 */
static bool
listeners_fill(struct host *host, uint32_t *ret_place, struct lp_net_config *config, char *ret_why)
{
    const struct host_options *options = &host->options;
    for (uint32_t i = 0; i < options->net.listener_count; i++) {
        struct lp_address *listener = &config->listener[i];
        *listener = options->net.listener[i];
        uint32_t place = 0;
        while (place < options->listener_count &&
               memcmp(&options->listener[place], listener, sizeof(*listener)) != 0) {
            place++;
        }
        if (place < options->listener_count) {
            *listener = host->listeners.address[place];
        } else if (listener->port == 0) {
            (void)snprintf(ret_why, HOST_WHY_BYTES,
                           "listeners.tcp: port 0 cannot be had on lepus.net ports; say which");
            return false;
        } else {
            place = host->listener_count;
            host->listener[host->listener_count++] = *listener;
        }
        host->tls_listeners |= (options->net.tls_listeners >> i & 1u) << place;
        ret_place[i] = place;
    }
    config->listener_count = options->net.listener_count;
    return true;
}

/* --- Instances. ------------------------------------------------------------------------------ */

static void *
reserve(uint64_t bytes)
{
    const uint64_t align = 65536;
    uint8_t *base = mmap(NULL, bytes + align, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return base == MAP_FAILED ? NULL : base + (align - (uintptr_t)base % align) % align;
}

static void
wake_shard(void *context, uint32_t shard)
{
    const struct host *host = context;
    const struct lp_transport *kernel = &host->shard[shard].kernel;
    kernel->ops->wake_any(kernel->self);
}

static bool
sleep_begin(void *context, uint64_t *ret_next_ns)
{
    return lp_net_sleep_begin(context, ret_next_ns);
}

static void
sleep_end(void *context)
{
    lp_net_sleep_end(context);
}

/* A shard's part of the ledgers. */
static uint64_t
ledger_part_bytes(uint32_t streams_max)
{
    return (lp_net_ledger_bytes(streams_max) + 4095u) / 4096u * 4096u;
}

/* What is there is the last data plane's, if it had as many shards and streams. */
static void
ledgers_map(struct host *host, uint32_t streams_max)
{
    const int fd = host->options.net.ledger_fd;
    const uint64_t bytes = ledger_part_bytes(streams_max) * host->options.shard.count;
    struct stat status;
    if (fd < 0) {
        return;
    }
    bool good = fstat(fd, &status) == 0;
    if (good && (uint64_t)status.st_size != bytes) {
        good = ftruncate(fd, 0) == 0 && ftruncate(fd, (off_t)bytes) == 0;
    }
    void *base = good ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (base == MAP_FAILED) {
        (void)fprintf(stderr,
                      "lepus-dataplane: no memory for the list of connections (%s): if this "
                      "process dies, peers that only listen find out by their keepalive\n",
                      strerrordesc_np(errno));
        return;
    }
    host->net_ledger = base;
}

static bool
net_open(struct host_shard *self, const struct lp_net_config *config, char *ret_why)
{
    struct host *host = self->host;
    const uint32_t shards = host->options.shard.count;
    const uint64_t bytes = host->options.net.memory_bytes / shards / 65536 * 65536;
    void *memory = reserve(bytes);
    if (memory == NULL || !host_entropy_init_boot(&self->net_entropy)) {
        (void)snprintf(ret_why, HOST_WHY_BYTES, "no memory or no random numbers for lepus.net: %s",
                       strerrordesc_np(errno));
        return false;
    }
    const struct lp_net_env env = {
        .memory = memory,
        .memory_bytes = bytes,
        .clock = host_clock_contract(),
        .entropy = host_entropy_contract(&self->net_entropy),
        .fabric = host->net_fabric,
        .ledger = host->net_ledger == NULL
                      ? NULL
                      : host->net_ledger + ledger_part_bytes(config->streams_max) * config->shard,
        .wake_shard = shards > 1 ? wake_shard : NULL,
        .wake_context = host,
    };
    const enum lp_err err = lp_net_open_boot(config, &env, &self->net);
    if (err == LP_ERR_NO_MEMORY) {
        (void)snprintf(ret_why, HOST_WHY_BYTES, "lepus.net.memory: %llu MiB a shard is too little",
                       (unsigned long long)(bytes >> 20));
    } else if (err != LP_OK) {
        (void)snprintf(ret_why, HOST_WHY_BYTES,
                       "lepus.net: addresses, routes, MTU or listeners cannot be as they are: an "
                       "address twice, one that is no host's, a network's bits set in a route's "
                       "destination, or IPv6 with an MTU below 1280");
    }
    return err == LP_OK;
}

static void
pair_make(struct host_shard *self, const uint32_t *place)
{
    struct lp_pair_options options = {
        .first = self->kernel,
        .second = lp_net_transport(self->net),
        .sleep = {.begin = sleep_begin, .end = sleep_end, .context = self->net},
        .clock = host_clock_contract(),
    };
    for (uint32_t i = 0; i < LP_LISTENERS_MAX; i++) {
        options.first_listener[i] = i;
        options.second_listener[i] = place[i];
    }
    self->transport = lp_pair_init(&self->pair, &options);
}

static bool
config_fill(struct host *host, struct lp_net_config *config, char *ret_why)
{
    const struct host_net_options *net = &host->options.net;
    for (uint32_t p = 0; p < net->port_count; p++) {
        if (!port_fill(host, p, config, ret_why) ||
            !gateways_fill(config, &net->port[p], p, ret_why)) {
            return false;
        }
    }
    return routes_fill(config, net, ret_why);
}

bool
host_nets_open(struct host *host, uint32_t streams_max, char *ret_why)
{
    const struct host_net_options *net = &host->options.net;
    const uint32_t shards = host->options.shard.count;
    uint32_t place[LP_LISTENERS_MAX] = {0};
    struct lp_net_config first = {0};
    if (net->port_count == 0) {
        return true;
    }
    if (!listeners_fill(host, place, &first, ret_why)) {
        return false;
    }
    if (shards > 1) {
        void *fabric = reserve(lp_net_fabric_bytes(shards));
        host->net_fabric = fabric == NULL ? NULL : lp_net_fabric_init_boot(fabric, shards);
    }
    ledgers_map(host, streams_max);
    for (uint32_t i = 0; i < shards; i++) {
        struct lp_net_config *config = malloc(sizeof(*config));
        if (config == NULL) {
            (void)snprintf(ret_why, HOST_WHY_BYTES, "out of memory");
            return false;
        }
        *config = first;
        config->shard = i;
        config->shard_count = shards;
        config->port_count = net->port_count;
        config->streams_max = streams_max;
        config->congestion = net->congestion;
        config->ecn = net->ecn;
        config->addresses_wait = net->addresses_wait;
        host->shard[i].host = host;
        const bool good =
            config_fill(host, config, ret_why) && net_open(&host->shard[i], config, ret_why);
        free(config);
        if (!good) {
            return false;
        }
        pair_make(&host->shard[i], place);
    }
    return true;
}

void
host_net_close(struct host *host)
{
    for (uint32_t i = 0; i < host->options.shard.count; i++) {
        lp_net_close(&host->shard[i].net);
    }
    host_net_devices_close(host);
}

/*
 * A kernel goes on sending for a process that has ended; our stack ends with
 * it.  So the last words and the ends of connections leave first: until peers
 * have confirmed them, or for as long as a few retransmissions take.
 */
void
host_net_drain(struct host_shard *self)
{
    struct lp_transport_event events[DRAIN_EVENTS];
    const char *why;
    if (self->net == NULL) {
        return;
    }
    const struct lp_transport net = lp_net_transport(self->net);
    const uint64_t until_ns = host_monotonic_ns() + DRAIN_NS;
    lp_net_streams_close(self->net);
    while (host_monotonic_ns() < until_ns) {
        (void)net.ops->poll(net.self, events, DRAIN_EVENTS); /* nobody listens any more */
        net.ops->flush(net.self);
        if (lp_net_at_rest(self->net, &why)) {
            return;
        }
        self->transport.ops->wait(self->transport.self, DRAIN_LOOK_NS);
    }
}

static uint64_t
frames_of(const struct host_shard *self)
{
    const struct lp_net_counters *counters = lp_net_counters_of(self->net);
    return counters->frames_received + counters->frames_sent;
}

uint64_t
host_net_report_due_ns(const struct host_shard *self)
{
    const bool news = self->net != NULL && frames_of(self) != self->net_reported;
    return news ? self->net_report_ns : UINT64_MAX;
}

void
host_net_report(struct host_shard *self, uint64_t now_ns)
{
    if (self->net == NULL || now_ns < self->net_report_ns) {
        return;
    }
    self->net_report_ns = now_ns + REPORT_NS;
    self->net_reported = frames_of(self);
    lp_net_report(self->net, lp_control_region_net(self->host->region, self->index));
    lp_net_remember(self->net);
    host_capture_look(self);
}
