/* SPDX-License-Identifier: Apache-2.0 */
#include "script.h"

#include <stdlib.h>
#include <string.h>

#include <drivers/sim/sim.h>
#include <lepus/base.h>

#include "tests/lib/still_nic.h"

#define OUTS_MAX   4096u
#define EVENTS_MAX 4096u
#define POLL_MAX   64u
#define TURNS_MAX  10000u
/* Duplicate address detection is over by then. */
#define SETTLE_NS 10000000000u

struct script_world {
    struct lp_sim_clock clock;
    struct lp_sim_random random;
    struct script_config config;
    struct script_ends ends;
    void *memory;
    struct lp_net *net;
    struct lp_transport transport;
    /* The device. */
    uint8_t *in_frame; /* waits to be received */
    uint32_t in_bytes;
    uint32_t frames_out; /* given by get() or receive() and not back */
    bool settled;
    uint32_t out_first, out_count;
    struct script_out *out[OUTS_MAX];
    uint32_t event_first, event_count;
    struct script_event event[EVENTS_MAX];
    struct lp_transport_event polled[POLL_MAX];
    uint32_t received[1024]; /* of a stream, by its handle's index: what script_byte() is at */
    char damage[SCRIPT_WHY_BYTES];
};

/* --- The device. ------------------------------------------------------------------------------ */

static void
nic_caps(void *self, struct lp_nic_caps *ret_caps)
{
    const struct script_world *world = self;
    *ret_caps =
        (struct lp_nic_caps){.mtu_bytes = 1500,
                             .l4_fill = world->config.fill || world->config.tso,
                             .tso = world->config.tso,
                             .frame_bytes_max = world->config.tso ? LP_NIC_FRAME_BYTES_MAX : 1518};
    memcpy(ret_caps->mac, world->ends.our_mac, 6);
}

static uint32_t
nic_receive(void *self, struct lp_nic_frame *frames, uint32_t frames_max)
{
    struct script_world *world = self;
    if (world->in_frame == NULL || frames_max == 0) {
        return 0;
    }
    frames[0] = (struct lp_nic_frame){.data = world->in_frame,
                                      .bytes = world->in_bytes,
                                      .driver_frame = (uintptr_t)world->in_frame};
    world->in_frame = NULL;
    world->frames_out++;
    return 1;
}

static bool
nic_get(void *self, uint32_t bytes, struct lp_nic_frame *ret_frame)
{
    struct script_world *world = self;
    uint8_t *data = malloc(bytes);
    LP_ASSERT(data != NULL);
    memset(data, 0xee, bytes);
    *ret_frame =
        (struct lp_nic_frame){.data = data, .bytes = bytes, .driver_frame = (uintptr_t)data};
    world->frames_out++;
    return true;
}

static void
nic_put(void *self, struct lp_nic_frame *frame)
{
    struct script_world *world = self;
    free((void *)(uintptr_t)frame->driver_frame); /* made in inject() or get() */
    world->frames_out--;
}

static void
out_note(struct script_world *world, const struct lp_nic_frame *frame)
{
    LP_ASSERT(world->out_count < OUTS_MAX && frame->bytes <= LP_NIC_FRAME_BYTES_MAX);
    struct script_out *out = malloc(sizeof(*out));
    LP_ASSERT(out != NULL);
    out->bytes = frame->bytes;
    out->segment_bytes = frame->segment_bytes;
    out->filled = (frame->flags & LP_NIC_L4_FILL) != 0;
    out->at_ns = world->clock.now_ns;
    memcpy(out->frame, frame->data, frame->bytes);
    world->out[(world->out_first + world->out_count++) % OUTS_MAX] = out;
}

static uint32_t
nic_transmit(void *self, struct lp_nic_frame *frames, uint32_t count)
{
    struct script_world *world = self;
    for (uint32_t i = 0; i < count; i++) {
        out_note(world, &frames[i]);
        nic_put(world, &frames[i]);
    }
    return count;
}

static bool
nic_sleep_begin(void *self)
{
    const struct script_world *world = self;
    return world->in_frame == NULL;
}

static const struct lp_nic_ops nic_ops = {
    .name = "script",
    .caps = nic_caps,
    .link_up = still_nic_yes,
    .receive = nic_receive,
    .get = nic_get,
    .put = nic_put,
    .transmit = nic_transmit,
    .flush = still_nic_nothing,
    .wait_fd = still_nic_wait_fd,
    .sleep_begin = nic_sleep_begin,
    .sleep_end = still_nic_nothing,
    .counters = still_nic_counters,
};

/* --- Events. ---------------------------------------------------------------------------------- */

static void
received_check(struct script_world *world, const struct lp_transport_event *event)
{
    uint32_t *place = &world->received[lp_handle_index(event->stream) % 1024u];
    for (uint32_t i = 0; i < event->bytes; i++) {
        if (event->data[i] != script_byte(*place + i) && world->damage[0] == '\0') {
            (void)snprintf(world->damage, sizeof(world->damage),
                           "byte %u of the stream was received as %u, not %u", *place + i,
                           event->data[i], script_byte(*place + i));
        }
    }
    *place += event->bytes;
}

static void
event_note(struct script_world *world, const struct lp_transport_event *event)
{
    struct script_event *last =
        world->event_count == 0
            ? NULL
            : &world->event[(world->event_first + world->event_count - 1) % EVENTS_MAX];
    if (event->kind == LP_TRANSPORT_RECEIVED) {
        received_check(world, event);
        if (last != NULL && last->kind == LP_TRANSPORT_RECEIVED && last->stream == event->stream) {
            last->bytes += event->bytes;
            return;
        }
    }
    if (event->kind == LP_TRANSPORT_ACCEPTED || event->kind == LP_TRANSPORT_CONNECTED) {
        world->received[lp_handle_index(event->stream) % 1024u] = 0;
    }
    LP_ASSERT(world->event_count < EVENTS_MAX);
    world->event[(world->event_first + world->event_count++) % EVENTS_MAX] =
        (struct script_event){.kind = event->kind, .stream = event->stream, .bytes = event->bytes};
}

/* --- Turns and time. -------------------------------------------------------------------------- */

/* The peer's answers to who-has; announcements and probes of ours are nobody's business. */
static bool
resolve(struct script_world *world)
{
    uint32_t kept = 0;
    bool answered = false;
    for (uint32_t i = 0; i < world->out_count; i++) {
        struct script_out *out = world->out[(world->out_first + i) % OUTS_MAX];
        uint8_t answer[128];
        const uint32_t bytes = script_resolve_answer(&world->ends, out->frame, out->bytes, answer);
        struct script_segment segment;
        const uint8_t *payload;
        char why[SCRIPT_WHY_BYTES];
        if (bytes > 0 && world->in_frame == NULL && !answered) {
            world->in_frame = malloc(bytes);
            LP_ASSERT(world->in_frame != NULL);
            memcpy(world->in_frame, answer, bytes);
            world->in_bytes = bytes;
            answered = true;
            free(out);
        } else if (!world->settled || (!script_frame_read(&world->ends, out->frame, out->bytes,
                                                          out->filled, &segment, &payload, why) &&
                                       why[0] == '\0' && bytes == 0)) {
            free(out);
        } else {
            world->out[(world->out_first + kept++) % OUTS_MAX] = out;
        }
    }
    world->out_count = kept;
    return answered;
}

void
script_world_turn(struct script_world *world)
{
    const struct lp_transport *transport = &world->transport;
    uint64_t next_ns = 0;
    for (uint32_t turn = 0; turn < TURNS_MAX; turn++) {
        const uint32_t count = transport->ops->poll(transport->self, world->polled, POLL_MAX);
        for (uint32_t i = 0; i < count; i++) {
            event_note(world, &world->polled[i]);
        }
        transport->ops->flush(transport->self);
        const bool answered = resolve(world);
        lp_net_check(world->net);
        if (count == 0 && !answered && world->in_frame == NULL &&
            lp_net_sleep_begin(world->net, &next_ns)) {
            lp_net_sleep_end(world->net);
            if (next_ns > world->clock.now_ns) {
                return;
            }
        }
    }
    LP_ASSERT(!"a script's turns come to rest");
}

void
script_world_inject(struct script_world *world, const uint8_t *frame, uint32_t bytes)
{
    LP_ASSERT(world->in_frame == NULL);
    world->in_frame = malloc(LP_MAX(bytes, 1u));
    LP_ASSERT(world->in_frame != NULL);
    memcpy(world->in_frame, frame, bytes);
    world->in_bytes = bytes;
    script_world_turn(world);
}

void
script_world_advance(struct script_world *world, uint64_t by_ns)
{
    const uint64_t end_ns = world->clock.now_ns + by_ns;
    while (world->clock.now_ns < end_ns) {
        uint64_t next_ns = UINT64_MAX;
        if (lp_net_sleep_begin(world->net, &next_ns)) {
            lp_net_sleep_end(world->net);
        }
        /* A step at least, so that what is due at once cannot stop time. */
        next_ns = LP_MAX(next_ns, world->clock.now_ns + 1000u);
        lp_sim_clock_set(&world->clock, LP_MIN(next_ns, end_ns));
        script_world_turn(world);
    }
}

/* --- The rest. -------------------------------------------------------------------------------- */

static void
ends_init(struct script_world *world)
{
    static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};
    static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
    memcpy(world->ends.peer_mac, peer_mac, 6);
    memcpy(world->ends.our_mac, our_mac, 6);
    world->ends.family = world->config.family;
    if (world->config.family == LP_ADDRESS_IPV6) {
        static const uint8_t net[8] = {0xfd};
        memcpy(world->ends.ours, net, 8);
        memcpy(world->ends.peer, net, 8);
        world->ends.ours[15] = 1;
        world->ends.peer[15] = 2;
        return;
    }
    memcpy(world->ends.ours, (const uint8_t[]){10, 0, 0, 1}, 4);
    memcpy(world->ends.peer, (const uint8_t[]){10, 0, 0, 2}, 4);
}

static void
net_config_complete(struct script_world *world)
{
    struct lp_net_config *net = &world->config.net;
    net->shard_count = 1;
    net->port_count = 1;
    net->port[0].nic = (struct lp_nic){.ops = &nic_ops, .self = world};
    net->port[0].address_count = 1;
    net->port[0].address[0].family = world->config.family;
    net->port[0].address[0].bits = world->config.family == LP_ADDRESS_IPV6 ? 64 : 24;
    memcpy(net->port[0].address[0].ip, world->ends.ours, 16);
    net->listener_count = 1;
    net->listener[0] = (struct lp_address){.family = world->config.family, .port = SCRIPT_OUR_PORT};
    if (net->streams_max == 0) {
        net->streams_max = 256;
    }
}

struct script_world *
script_world_create(const struct script_config *config)
{
    struct script_world *world = calloc(1, sizeof(*world));
    LP_ASSERT(world != NULL);
    world->config = *config;
    ends_init(world);
    lp_sim_clock_init(&world->clock, 1000000000u, 0);
    lp_sim_random_seed(&world->random, 1);
    net_config_complete(world);
    const uint64_t bytes = config->memory_bytes != 0 ? config->memory_bytes : 64u << 20;
    world->memory = aligned_alloc(65536, bytes);
    LP_ASSERT(world->memory != NULL);
    memset(world->memory, 0, bytes);
    const struct lp_net_env env = {.memory = world->memory,
                                   .memory_bytes = bytes,
                                   .clock = lp_sim_clock_contract(&world->clock),
                                   .entropy = lp_sim_random_entropy(&world->random)};
    const enum lp_err err = lp_net_open_boot(&world->config.net, &env, &world->net);
    LP_ASSERT(err == LP_OK);
    world->transport = lp_net_transport(world->net);
    script_world_advance(world, SETTLE_NS);
    world->settled = true;
    return world;
}

void
script_world_destroy(struct script_world *world)
{
    lp_net_close(&world->net);
    LP_ASSERT(world->frames_out == 0); /* every frame went back to the device */
    while (script_world_out(world) != NULL) {
        script_world_out_taken(world);
    }
    free(world->in_frame);
    free(world->memory);
    free(world);
}

const struct script_ends *
script_world_ends(const struct script_world *world)
{
    return &world->ends;
}

struct lp_net *
script_world_net(struct script_world *world)
{
    return world->net;
}

struct lp_transport
script_world_transport(struct script_world *world)
{
    return world->transport;
}

uint64_t
script_world_now_ns(const struct script_world *world)
{
    return world->clock.now_ns;
}

const struct script_out *
script_world_out(struct script_world *world)
{
    return world->out_count == 0 ? NULL : world->out[world->out_first % OUTS_MAX];
}

void
script_world_out_taken(struct script_world *world)
{
    free(world->out[world->out_first % OUTS_MAX]);
    world->out_first = (world->out_first + 1) % OUTS_MAX;
    world->out_count--;
}

const struct script_event *
script_world_event(struct script_world *world)
{
    return world->event_count == 0 ? NULL : &world->event[world->event_first % EVENTS_MAX];
}

void
script_world_event_taken(struct script_world *world)
{
    world->event_first = (world->event_first + 1) % EVENTS_MAX;
    world->event_count--;
}

const char *
script_world_damage(const struct script_world *world)
{
    return world->damage;
}
