/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_world.h - what fuzz_net_frame.c plays with: one or two instances of our
 * own TCP/IP, a device that gives them frames one by one, and what makes a
 * frame right that a fuzzer cannot guess.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "dataplane/base/poison.h"
#include "dataplane/net/net_private.h"
#include "dataplane/net/tcp/tcp.h"
#include "tests/lib/still_nic.h"

enum world {
    WORLD_FILL = 1 << 0,
    WORLD_TSO = 1 << 1,
    WORLD_VLAN = 1 << 2,
    WORLD_TWO = 1 << 3,      /* shards */
    WORLD_WAIT = 1 << 4,     /* addresses_wait */
    WORLD_COOKIES = 1 << 5,  /* almost no room for what is half-open */
    WORLD_NEWRENO = 1 << 6,  /* and an exception path */
    WORLD_STRANGER = 1 << 7, /* nobody has connected */
};

enum flag {
    FLAG_IP = 1 << 0,       /* lengths and the header's checksum */
    FLAG_L4 = 1 << 1,       /* the checksum of TCP or ICMP */
    FLAG_RELATIVE = 1 << 2, /* numbers of TCP */
    FLAG_GOOD = 1 << 3,     /* the device vouches for it */
    FLAG_JOINED = 1 << 4,   /* ... and has joined it from segments of 536 */
    FLAG_SECOND = 1 << 5,   /* it comes to the second shard */
    FLAG_KERNEL = 1 << 6,   /* it comes from the kernel, where there is an exception path */
    FLAG_MORE = 1 << 7,     /* another one follows in the same burst */
};

enum step {
    STEP_FRAME,
    STEP_TIME, /* as many times 50 ms as the next byte says */
    STEP_SEND,
    STEP_STOP,
    STEP_START,
    STEP_CLOSE,
    STEP_CONNECT,
    STEP_DRY, /* the device has no frames; again: it has */
    STEPS,
};

#define FRAME_MAX 4096u
#define BURST_MAX 16u

#define SHARDS_MAX        2u
#define MEMORY_BYTES      (4u << 20)
#define MEMORY_POOR_BYTES (1u << 20)
#define FLOWS             16u
#define MS                UINT64_C(1000000)

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t our_ip4[4] = {10, 0, 0, 1};
static const uint8_t peer_ip4[4] = {10, 0, 0, 2};
static const uint8_t our_ip6[16] = {0xfd, [15] = 1};
static const uint8_t peer_ip6[16] = {0xfd, [15] = 2};

/* What our side said last to a port of the peer's. */
struct flow {
    uint16_t port; /* ours */
    uint32_t next; /* what we send next */
    uint32_t ack;  /* what we want next */
};

struct run;
struct shard {
    struct run *run;
    struct lp_net *net; /* NULL: it is an exception device, and uses only what is of a device */
    struct lp_transport transport;
    void *memory;
    uint32_t in_count; /* frames that wait to be received */
    struct lp_nic_frame in[BURST_MAX];
    lp_handle stream; /* the newest */
    uint32_t frames_out;
};

struct run {
    uint8_t world;
    bool dry;
    uint32_t shard_count;
    uint64_t now_ns;
    uint64_t seed;
    void *fabric;
    struct shard shard[SHARDS_MAX];
    struct shard kernel[SHARDS_MAX]; /* their exception devices */
    struct flow flow[FLOWS];
};

/* ---- the device ---- */

static void
nic_caps(void *self, struct lp_nic_caps *ret_caps)
{
    const struct shard *shard = self;
    const bool tso = (shard->run->world & WORLD_TSO) != 0;
    *ret_caps = (struct lp_nic_caps){
        .mtu_bytes = 1500,
        .l4_fill = tso || (shard->run->world & WORLD_FILL) != 0,
        .tso = tso,
        .frame_bytes_max = tso ? LP_NIC_FRAME_BYTES_MAX : 1518,
    };
    memcpy(ret_caps->mac, our_mac, 6);
}

static uint32_t
nic_receive(void *self, struct lp_nic_frame *frames, uint32_t frames_max)
{
    struct shard *shard = self;
    const uint32_t count = LP_MIN(shard->in_count, frames_max);
    memcpy(frames, shard->in, count * sizeof(frames[0]));
    shard->in_count -= count;
    memmove(shard->in, shard->in + count, shard->in_count * sizeof(frames[0]));
    shard->frames_out += count;
    return count;
}

static bool
nic_get(void *self, uint32_t bytes, struct lp_nic_frame *ret_frame)
{
    struct shard *shard = self;
    if (shard->run->dry) {
        return false;
    }
    uint8_t *data = malloc(bytes);
    LP_ASSERT(data != NULL);
    *ret_frame =
        (struct lp_nic_frame){.data = data, .bytes = bytes, .driver_frame = (uintptr_t)data};
    shard->frames_out++;
    return true;
}

static void
nic_put(void *self, struct lp_nic_frame *frame)
{
    struct shard *shard = self;
    free((void *)(uintptr_t)frame->driver_frame);
    shard->frames_out--;
}

/* Where TCP begins in a frame that is whole, or 0. */
static uint32_t
tcp_at(const uint8_t *data, uint32_t bytes)
{
    const uint32_t l3 = bytes > 16 && data[12] == 0x81 && data[13] == 0 ? 18 : 14;
    if (bytes >= l3 + 40 && data[l3] == 0x45 && data[l3 + 9] == 6) {
        return l3 + 20;
    }
    return bytes >= l3 + 60 && data[l3] >> 4 == 6 && data[l3 + 6] == 6 ? l3 + 40 : 0;
}

static uint32_t
u32_get(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t
nic_transmit(void *self, struct lp_nic_frame *frames, uint32_t count)
{
    struct shard *shard = self;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *data = frames[i].data;
        const uint32_t bytes = frames[i].bytes;
        uint32_t sum = 1;
        for (uint32_t b = 0; b < bytes; b++) {
            sum += data[b]; /* all of it is there */
        }
        const uint32_t at = tcp_at(data, bytes);
        if (at != 0 && shard->net != NULL) {
            const uint8_t *tcp = data + at;
            struct flow *flow = &shard->run->flow[tcp[3] % FLOWS];
            flow->port = (uint16_t)(tcp[0] << 8 | tcp[1]);
            flow->next = u32_get(tcp + 4) + (bytes - at - (tcp[12] >> 4) * 4u) +
                         ((tcp[13] & 3) != 0 ? 1u : 0u);
            flow->ack = u32_get(tcp + 8);
        }
        LP_ASSERT(sum != 0);
        nic_put(self, &frames[i]);
    }
    return count;
}

static const struct lp_nic_ops nic_ops = {
    .name = "fuzz",
    .caps = nic_caps,
    .link_up = still_nic_yes,
    .receive = nic_receive,
    .get = nic_get,
    .put = nic_put,
    .transmit = nic_transmit,
    .flush = still_nic_nothing,
    .wait_fd = still_nic_wait_fd,
    .sleep_begin = still_nic_yes,
    .sleep_end = still_nic_nothing,
    .counters = still_nic_counters,
};

/* ---- the shards ---- */

static uint64_t
clock_ns(void *self)
{
    return ((struct run *)self)->now_ns;
}

static void
entropy_fill(void *self, void *data, size_t bytes)
{
    struct run *run = self;
    for (size_t i = 0; i < bytes; i++) {
        run->seed = run->seed * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)data)[i] = (uint8_t)(run->seed >> 56);
    }
}

static void
wake(void *context, uint32_t shard)
{
    (void)context;
    (void)shard;
}

static void
config_make(struct run *run, uint32_t index, struct lp_net_config *config)
{
    struct lp_net_port *port = &config->port[0];
    *config = (struct lp_net_config){.shard = index,
                                     .shard_count = run->shard_count,
                                     .port_count = 1,
                                     .streams_max = 8,
                                     .listener_count = 2};
    port->nic = (struct lp_nic){&nic_ops, &run->shard[index]};
    if ((run->world & WORLD_NEWRENO) != 0) {
        port->exception = (struct lp_nic){&nic_ops, &run->kernel[index]};
    }
    port->vlan = (run->world & WORLD_VLAN) != 0 ? 42 : 0;
    port->address_count = 2;
    port->address[0] = (struct lp_net_prefix){LP_ADDRESS_IPV4, 24, {10, 0, 0, 1}};
    port->address[1] = (struct lp_net_prefix){LP_ADDRESS_IPV6, 64, {0xfd, [15] = 1}};
    config->listener[0] = (struct lp_address){.family = LP_ADDRESS_IPV4, .port = 5672};
    config->listener[1] = (struct lp_address){.family = LP_ADDRESS_IPV6, .port = 5672};
    config->addresses_wait = (run->world & WORLD_WAIT) != 0;
    config->half_open_max = (run->world & WORLD_COOKIES) != 0 ? 1 : 0;
    config->congestion = (run->world & WORLD_NEWRENO) != 0 ? LP_NET_NEWRENO : LP_NET_CUBIC;
}

/* Zeroed; of all runs, as new pages for each are most of what a run costs. */
static void *
memory_take(uint32_t which, size_t bytes)
{
    static void *memory[SHARDS_MAX + 1];
    if (memory[which] == NULL) {
        memory[which] = aligned_alloc(LP_SPAN_BYTES,
                                      (bytes + LP_SPAN_BYTES - 1) / LP_SPAN_BYTES * LP_SPAN_BYTES);
        LP_ASSERT(memory[which] != NULL);
    }
    lp_unpoison(memory[which], bytes);
    memset(memory[which], 0, bytes);
    return memory[which];
}

static void
run_open(struct run *run)
{
    struct lp_net_fabric *fabric = NULL;
    run->shard_count = (run->world & WORLD_TWO) != 0 ? 2 : 1;
    run->now_ns = 1000 * MS;
    if (run->shard_count > 1) {
        const size_t bytes = (size_t)lp_net_fabric_bytes(run->shard_count);
        run->fabric = memory_take(SHARDS_MAX, bytes);
        fabric = lp_net_fabric_init_boot(run->fabric, run->shard_count);
    }
    for (uint32_t i = 0; i < run->shard_count; i++) {
        struct shard *shard = &run->shard[i];
        struct lp_net_config config;
        shard->run = run;
        run->kernel[i].run = run;
        shard->memory = memory_take(i, MEMORY_BYTES);
        config_make(run, i, &config);
        /* Where little may be half-open, memory is short, too. */
        const bool poor = (run->world & WORLD_COOKIES) != 0;
        const struct lp_net_env env = {.memory = shard->memory,
                                       .memory_bytes = poor ? MEMORY_POOR_BYTES : MEMORY_BYTES,
                                       .clock = {clock_ns, clock_ns, run},
                                       .entropy = {entropy_fill, run},
                                       .fabric = fabric,
                                       .wake_shard = fabric != NULL ? wake : NULL};
        LP_ASSERT(lp_net_open_boot(&config, &env, &shard->net) == LP_OK);
        shard->transport = lp_net_transport(shard->net);
    }
}

static void
in_free(struct shard *shard)
{
    for (uint32_t i = 0; i < shard->in_count; i++) {
        free(shard->in[i].data);
    }
}

static void
run_close(struct run *run)
{
    for (uint32_t i = 0; i < run->shard_count; i++) {
        struct shard *shard = &run->shard[i];
        lp_net_close(&shard->net);
        in_free(shard);
        in_free(&run->kernel[i]);
        LP_ASSERT(shard->frames_out == 0 && run->kernel[i].frames_out == 0);
    }
}

static void
event_take(struct shard *shard, const struct lp_transport_event *event)
{
    uint32_t sum = 1;
    switch (event->kind) {
    case LP_TRANSPORT_ACCEPTED:
    case LP_TRANSPORT_CONNECTED:
        shard->stream = event->stream;
        shard->transport.ops->attach(shard->transport.self, event->stream, 7);
        break;
    case LP_TRANSPORT_RECEIVED:
        LP_ASSERT(event->bytes > 0);
        for (uint32_t i = 0; i < event->bytes; i++) {
            sum += event->data[i]; /* it is ours until the next poll() */
        }
        LP_ASSERT(sum != 0);
        break;
    case LP_TRANSPORT_ENDED:
        shard->transport.ops->close(shard->transport.self, event->stream);
        break;
    case LP_TRANSPORT_SENT:
    case LP_TRANSPORT_CLOSED:
        break;
    }
}

static void
run_turn(struct run *run)
{
    /* Twice: what one forwards the other works on. */
    for (uint32_t i = 0; i < 2 * run->shard_count; i++) {
        struct shard *shard = &run->shard[i % run->shard_count];
        struct lp_transport_event events[8];
        const uint32_t count =
            shard->transport.ops->poll(shard->transport.self, events, LP_COUNT_OF(events));
        for (uint32_t e = 0; e < count; e++) {
            event_take(shard, &events[e]);
        }
        shard->transport.ops->flush(shard->transport.self);
    }
    for (uint32_t i = 0; i < run->shard_count; i++) {
        lp_net_check(run->shard[i].net);
    }
}

/* ---- frames ---- */

/* What SACK names is ours, too. */
static void
sack_fix(uint8_t *tcp, uint32_t bytes, uint32_t next)
{
    const uint32_t end = LP_MIN((tcp[12] >> 4) * 4u, bytes);
    for (uint32_t at = 20; at + 2 <= end && tcp[at] != 0;) {
        const uint32_t option = tcp[at] == 1 ? 1 : LP_MAX(tcp[at + 1], 2u);
        for (uint32_t block = at + 2; tcp[at] == 5 && block + 4 <= LP_MIN(at + option, end);
             block += 4) {
            lp_put_u32be(tcp + block, u32_get(tcp + block) + next);
        }
        at += option;
    }
}

static void
relative_fix(struct run *run, uint8_t *tcp, uint32_t bytes)
{
    const struct flow *flow = &run->flow[tcp[1] % FLOWS];
    if (tcp[2] == 0 && tcp[3] == 0) {
        lp_put_u16be(tcp + 2, flow->port);
    }
    lp_put_u32be(tcp + 4, u32_get(tcp + 4) + flow->ack);
    lp_put_u32be(tcp + 8, u32_get(tcp + 8) + flow->next);
    sack_fix(tcp, bytes, flow->next);
}

/* An error of ICMP quotes what we sent: ports, then a number. */
static void
quote_fix(struct run *run, uint8_t *icmp, uint32_t bytes)
{
    const uint32_t at = 8u + (bytes > 8 && icmp[8] >> 4 == 4 ? 20u : 40u);
    if (bytes < at + 8) {
        return;
    }
    const struct flow *flow = &run->flow[icmp[at + 3] % FLOWS];
    lp_put_u16be(icmp + at, flow->port);
    lp_put_u32be(icmp + at + 4, u32_get(icmp + at + 4) + flow->next);
}

static void
l4_fix(uint8_t *l3, uint32_t header, uint32_t l4_bytes)
{
    const bool ip4 = header < 40;
    const uint8_t protocol = ip4 ? l3[9] : l3[6];
    uint8_t *l4 = l3 + header;
    const uint32_t field = protocol == NET_PROTOCOL_TCP ? 16 : 2;
    if (l4_bytes < field + 2) {
        return;
    }
    uint32_t pseudo = 0;
    if (protocol != NET_PROTOCOL_ICMP) {
        pseudo = net_sum_pseudo(ip4 ? LP_ADDRESS_IPV4 : LP_ADDRESS_IPV6, l3 + (ip4 ? 12 : 8),
                                l3 + (ip4 ? 16 : 24), protocol, l4_bytes);
    }
    lp_put_u16be(l4 + field, 0);
    lp_put_u16be(l4 + field, (uint16_t)~net_sum(l4, l4_bytes, pseudo));
}

static void
frame_fix(struct run *run, uint8_t *data, uint32_t bytes, uint8_t flags)
{
    const uint32_t l3_at = (run->world & WORLD_VLAN) != 0 ? 18 : 14;
    if (bytes < l3_at + 40) {
        return;
    }
    uint8_t *l3 = data + l3_at;
    const uint32_t room = bytes - l3_at;
    const bool ip4 = l3[0] >> 4 == 4;
    const uint32_t header = ip4 ? LP_MIN((l3[0] & 0x0fu) * 4u, 36u) : 40;
    if ((flags & FLAG_IP) != 0) {
        lp_put_u16be(l3 + (ip4 ? 2 : 4), (uint16_t)(ip4 ? room : room - 40));
    }
    const uint8_t protocol = ip4 ? l3[9] : l3[6];
    if ((flags & FLAG_RELATIVE) != 0 && protocol == NET_PROTOCOL_TCP && room >= header + 20) {
        relative_fix(run, l3 + header, room - header);
    }
    const bool icmp = protocol == NET_PROTOCOL_ICMP || protocol == NET_PROTOCOL_ICMP6;
    if ((flags & FLAG_RELATIVE) != 0 && icmp && room >= header + 8) {
        quote_fix(run, l3 + header, room - header);
    }
    if ((flags & FLAG_L4) != 0) {
        l4_fix(l3, header, room - header);
    }
    if ((flags & FLAG_IP) != 0 && ip4) {
        lp_put_u16be(l3 + 10, 0);
        lp_put_u16be(l3 + 10, (uint16_t)~net_sum(l3, header, 0));
    }
}

static void
frame_give(struct run *run, const uint8_t *data, uint32_t bytes, uint8_t flags)
{
    const uint32_t index = (flags & FLAG_SECOND) != 0 ? run->shard_count - 1 : 0;
    const bool kernel = (flags & FLAG_KERNEL) != 0 && (run->world & WORLD_NEWRENO) != 0;
    struct shard *shard = kernel ? &run->kernel[index] : &run->shard[index];
    if (bytes == 0) {
        return;
    }
    if (shard->in_count == BURST_MAX) {
        run_turn(run);
        return;
    }
    uint8_t *copy = malloc(bytes);
    LP_ASSERT(copy != NULL);
    memcpy(copy, data, bytes);
    if (!kernel) {
        frame_fix(run, copy, bytes, flags);
    }
    struct lp_nic_frame *frame = &shard->in[shard->in_count++];
    *frame = (struct lp_nic_frame){.data = copy, .bytes = bytes, .driver_frame = (uintptr_t)copy};
    if ((flags & FLAG_GOOD) != 0) {
        frame->flags = LP_NIC_IP_GOOD | LP_NIC_L4_GOOD;
    }
    if ((flags & FLAG_JOINED) != 0) {
        frame->segment_bytes = 536;
    }
    if ((flags & FLAG_MORE) != 0) {
        return;
    }
    run->now_ns += kernel ? MS : 0; /* it is not looked at in each turn */
    run_turn(run);
}
