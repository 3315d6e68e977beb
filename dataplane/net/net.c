/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.c - an instance: made and unmade, a turn's beginning and end, sleep.
 */
#include "net.h"

#include <string.h>

#include "net_private.h"
#include "tcp/tcp.h"

/* Timers that one poll() fires at most; the rest is due at the next. */
#define TIMERS_A_POLL 256u
/* Newcomers' pressure begins here: what is there may still grow (memory.h). */
#define WATERMARK_EIGHTHS 7u
#define MEMORY_MIN        (1u << 20) /* memory.h */

/* ---- made and unmade ---- */

static enum lp_err
port_init_boot(struct lp_net *net, uint32_t index)
{
    struct net_port *port = &net->port[index];
    port->config = net->config.port[index];
    port->config.nic.ops->caps(port->config.nic.self, &port->caps);
    port->mtu_bytes = port->config.mtu_bytes != 0 ? port->config.mtu_bytes : port->caps.mtu_bytes;
    enum lp_err err = net_exception_init_boot(net, index);
    if (err == LP_OK) {
        err = net_neighbours_init_boot(net, index);
    }
    return err != LP_OK ? err : dad_init_boot(net, index);
}

static enum lp_err
parts_init_boot(struct lp_net *net)
{
    enum lp_err err = LP_OK;
    for (uint32_t i = 0; err == LP_OK && i < net->config.port_count; i++) {
        err = port_init_boot(net, i);
    }
    if (err == LP_OK) {
        err = net_steer_init_boot(net);
    }
    if (err == LP_OK && net->config.shard_count > 1) {
        err = fabric_open_boot(net);
    }
    return err != LP_OK ? err : tcp_init_boot(net);
}

enum lp_err
lp_net_open_boot(const struct lp_net_config *config, const struct lp_net_env *env,
                 struct lp_net **ret_net)
{
    struct lp_net_config checked = *config;
    enum lp_err err = net_config_check(&checked);
    if (err == LP_OK && (env->fabric == NULL) != (checked.shard_count == 1)) {
        err = LP_ERR_BAD_CONFIG;
    }
    struct lp_memory *memory = NULL;
    if (err == LP_OK && env->memory_bytes < MEMORY_MIN) {
        err = LP_ERR_NO_MEMORY;
    }
    if (err == LP_OK) {
        const uint64_t spans = env->memory_bytes / LP_SPAN_BYTES;
        err = lp_memory_init_boot(env->memory, env->memory_bytes,
                                  spans * WATERMARK_EIGHTHS / 8 * LP_SPAN_BYTES, &memory);
    }
    if (err != LP_OK) {
        return err;
    }
    struct lp_net *net = lp_memory_alloc(memory, sizeof(*net));
    if (net == NULL) {
        lp_memory_fini(&memory);
        return LP_ERR_NO_MEMORY;
    }
    memset(net, 0, sizeof(*net));
    net->config = checked;
    net->look_ns = NET_LOOK_NS / 2;
    net->env = *env;
    net->memory = memory;
    net->accepting = true;
    net->now_ns = env->clock.monotonic_ns(env->clock.self);
    env->entropy.fill(env->entropy.self, &net->hash_key, sizeof(net->hash_key));
    lp_wheel_init(&net->wheel, net->now_ns);
    err = parts_init_boot(net);
    if (err != LP_OK) {
        lp_net_close(&net);
        return err;
    }
    *ret_net = net;
    return LP_OK;
}

static void
lent_put(struct lp_net *net)
{
    for (uint32_t i = 0; i < net->lent_count; i++) {
        const struct lp_nic *nic = &net->port[net->lent_port[i]].config.nic;
        nic->ops->put(nic->self, &net->lent[i]);
    }
    net->lent_count = 0;
}

void
lp_net_close(struct lp_net **net_at)
{
    struct lp_net *net = *net_at;
    *net_at = NULL;
    if (net == NULL) {
        return;
    }
    /* Streams first: they hold no frames, but TCP may know of those that are lent. */
    if (net->tcp != NULL) {
        tcp_fini(net);
    }
    lent_put(net);
    for (uint32_t i = 0; i < net->config.port_count; i++) {
        struct net_port *port = &net->port[i];
        const struct lp_nic *nic = &port->config.nic;
        for (uint32_t f = 0; f < port->sending_count; f++) {
            nic->ops->put(nic->self, &port->sending[f]);
        }
        net_exception_fini(net, i);
        net_neighbours_fini(net, i);
    }
    struct lp_memory *memory = net->memory;
    lp_memory_fini(&memory);
}

/* ---- a turn ---- */

bool
net_bucket_take(const struct lp_net *net, struct net_bucket *bucket, uint32_t rate)
{
    const uint64_t each_ns = 1000000000u / rate;
    const uint64_t passed_ns = net->now_ns - bucket->filled_ns;
    if (bucket->filled_ns == 0 || passed_ns >= 1000000000u) {
        bucket->filled_ns = net->now_ns;
        bucket->left = rate;
    } else if (passed_ns >= each_ns) {
        const uint64_t more = passed_ns / each_ns;
        bucket->filled_ns += more * each_ns;
        bucket->left = (uint32_t)LP_MIN(bucket->left + more, rate);
    }
    if (bucket->left == 0) {
        return false;
    }
    bucket->left--;
    return true;
}

uint32_t
net_random(struct lp_net *net)
{
    uint32_t value;
    net->env.entropy.fill(net->env.entropy.self, &value, sizeof(value));
    return value;
}

static void
port_receive(struct lp_net *net, uint32_t index)
{
    struct lp_nic_frame frames[LP_NIC_BURST_MAX];
    const struct lp_nic *nic = &net->port[index].config.nic;
    const uint32_t count = nic->ops->receive(nic->self, frames, LP_NIC_BURST_MAX);
    LP_ASSERT(count <= LP_NIC_BURST_MAX);
    if (count > 0) {
        net->look_ns = NET_LOOK_NS / 2; /* sleep_begin() doubles it */
    }
    net->joining = count > 1 && net->capture.frame == NULL;
    if (net->joining) {
        tcp_gro_begin(net);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (i + 1 < count) {
            __builtin_prefetch(frames[i + 1].data);
        }
        if ((net->joining && tcp_gro_input(net, index, &frames[i])) ||
            net_frame_input(net, index, &frames[i])) {
            net->lent_port[net->lent_count] = (uint8_t)index;
            net->lent[net->lent_count++] = frames[i];
        } else {
            nic->ops->put(nic->self, &frames[i]);
        }
    }
    net->joining = false;
}

static uint32_t
net_poll(void *self, struct lp_transport_event *events, uint32_t events_max)
{
    struct lp_net *net = self;
    /* R2: a wake_any() after this is seen by sleep_begin(); what it told of is done below. */
    lp_store_relaxed(&net->woken, 0u); /* pairs with R1 */
    net->now_ns = net->env.clock.monotonic_ns(net->env.clock.self);
    lent_put(net);
    if (net->fabric != NULL) {
        fabric_give_back(net);
    }
    /* Frames may not take all of the room from what is due already. */
    net->sink = (struct net_sink){events, 0, events_max - events_max / 4};
    for (uint32_t i = 0; i < net->config.port_count; i++) {
        port_receive(net, i);
    }
    if (net->fabric != NULL) {
        net->from_fabric = true;
        fabric_receive(net);
        net->from_fabric = false;
    }
    /* After the frames: what a peer sent in time is not timed out because we were late. */
    (void)lp_wheel_advance(&net->wheel, net->now_ns, TIMERS_A_POLL, net);
    net->sink.max = events_max;
    tcp_stream_events(net);
    const uint32_t count = net->sink.count;
    LP_ASSERT(count <= events_max);
    net->sink = (struct net_sink){NULL, 0, 0};
    return count;
}

static void
net_flush(void *self)
{
    struct lp_net *net = self;
    tcp_flush(net);
    if (LP_UNLIKELY(net->exceptions)) {
        net_exception_take(net);
    }
    net_out_flush(net);
    if (LP_UNLIKELY(net->exceptions)) {
        net_exception_flush(net);
    }
    if (net->fabric != NULL) {
        fabric_publish(net);
    }
}

/* ---- streams: tcp/stream.c ---- */

static void
net_attach(void *self, lp_handle stream, uint64_t user)
{
    tcp_stream_attach(self, stream, user);
}

static bool
net_send(void *self, lp_handle stream, const struct lp_iovec *pieces, uint32_t count)
{
    return tcp_stream_send(self, stream, pieces, count);
}

static void
net_receive_stop(void *self, lp_handle stream)
{
    tcp_stream_receive_stop(self, stream);
}

static void
net_receive_start(void *self, lp_handle stream)
{
    tcp_stream_receive_start(self, stream);
}

static void
net_close(void *self, lp_handle stream)
{
    tcp_stream_close(self, stream);
}

lp_handle
lp_net_connect(struct lp_net *net, const struct lp_address *to)
{
    if (to->family != LP_ADDRESS_IPV4 && to->family != LP_ADDRESS_IPV6) {
        return LP_HANDLE_NONE;
    }
    return tcp_stream_connect(net, to);
}

void
lp_net_streams_close(struct lp_net *net)
{
    tcp_streams_close(net);
}

static void
net_accept_stop(void *self)
{
    struct lp_net *net = self;
    net->accepting = false;
}

static void
net_accept_pause(void *self, bool paused)
{
    struct lp_net *net = self;
    net->accept_paused = paused;
}

/* ---- sleep ---- */

/* Whoever composes the loop sleeps for all its devices at once: lp_net_sleep_begin(). */
static void
net_wait(void *self, uint64_t timeout_ns)
{
    (void)self;
    (void)timeout_ns;
}

static void
net_wake_any(void *self)
{
    struct lp_net *net = self;
    /* R1, pairs with R2: the wake-up below orders it where the sleeper sleeps already. */
    lp_store_release(&net->woken, 1u);
    if (net->env.wake_shard != NULL) {
        net->env.wake_shard(net->env.wake_context, net->config.shard);
    }
}

static void
devices_disarm(struct lp_net *net, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct lp_nic *nic = &net->port[i].config.nic;
        nic->ops->sleep_end(nic->self);
        net_exception_sleep_end(net, i);
    }
}

static bool
devices_arm(struct lp_net *net, uint64_t *next_ns)
{
    for (uint32_t i = 0; i < net->config.port_count; i++) {
        const struct net_port *port = &net->port[i];
        const struct lp_nic *nic = &port->config.nic;
        if (!nic->ops->sleep_begin(nic->self)) {
            devices_disarm(net, i + 1);
            return false;
        }
        if (nic->ops->wait_fd(nic->self) < 0) {
            *next_ns = LP_MIN(*next_ns, net->now_ns + net->look_ns);
        }
        if (port->sending_count > 0) {
            *next_ns = LP_MIN(*next_ns, net->now_ns + NET_RETRY_NS);
        }
        if (!net_exception_sleep_begin(net, i, next_ns)) {
            devices_disarm(net, i + 1);
            return false;
        }
    }
    return true;
}

/* Is there something to be sent that a device would take now? */
static bool
sending_waits(const struct lp_net *net)
{
    bool full = false;
    for (uint32_t i = 0; i < net->config.port_count; i++) {
        full = full || net->port[i].sending_count == LP_NIC_BURST_MAX;
    }
    /* A device that takes nothing is asked again soon, but not at once: devices_arm(). */
    return !full && !lp_list_empty(&net->tcp->flush);
}

bool
lp_net_sleep_begin(struct lp_net *net, uint64_t *ret_next_ns)
{
    uint64_t next_ns = lp_wheel_next_ns(&net->wheel);
    if (net->fabric != NULL && !fabric_sleep_begin(net)) {
        return false;
    }
    /* R3, pairs with R1. */
    const bool woken = lp_load_acquire(&net->woken) != 0;
    net->look_ns = LP_MIN(2 * net->look_ns, NET_LOOK_MAX_NS);
    if (woken || tcp_stream_waiting(net) || sending_waits(net) || !devices_arm(net, &next_ns)) {
        if (net->fabric != NULL) {
            fabric_sleep_end(net);
        }
        return false;
    }
    *ret_next_ns = next_ns;
    return true;
}

void
lp_net_sleep_end(struct lp_net *net)
{
    devices_disarm(net, net->config.port_count);
    if (net->fabric != NULL) {
        fabric_sleep_end(net);
    }
}

/* ---- the transport, and looking at it ---- */

static const struct lp_transport_ops net_ops = {
    .name = "net",
    .attach = net_attach,
    .poll = net_poll,
    .send = net_send,
    .receive_stop = net_receive_stop,
    .receive_start = net_receive_start,
    .close = net_close,
    .flush = net_flush,
    .accept_stop = net_accept_stop,
    .accept_pause = net_accept_pause,
    .wait = net_wait,
    .wake_any = net_wake_any,
};

struct lp_transport
lp_net_transport(struct lp_net *net)
{
    const struct lp_transport transport = {&net_ops, net};
    return transport;
}

const struct lp_net_counters *
lp_net_counters_of(const struct lp_net *net)
{
    return &net->counters;
}

void
lp_net_check(const struct lp_net *net)
{
    LP_ASSERT(net->lent_count <= LP_COUNT_OF(net->lent));
    for (uint32_t i = 0; i < net->config.port_count; i++) {
        LP_ASSERT(net->port[i].sending_count <= LP_NIC_BURST_MAX);
        LP_ASSERT(net->port[i].address_count <= LP_NET_ADDRESSES_MAX + 1);
        net_neighbours_check(net, i);
    }
    lp_memory_check(net->memory);
    tcp_check(net);
}

bool
lp_net_at_rest(const struct lp_net *net, const char **ret_why)
{
    if (net->lent_count > 0) {
        *ret_why = "frames are lent";
        return false;
    }
    return tcp_at_rest(net, ret_why);
}
