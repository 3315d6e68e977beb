/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the memory order of dataplane/net's fabric right, and is no wake-up lost?
 *
 * Method: one thread forwards echo requests of all lengths to another's
 * instance, which answers them over a device that compares each answer; the
 * receiver sleeps as a shard does, and only a wake-up ends it.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/net/net_private.h"
#include "tests/lib/still_nic.h"

#define FRAMES       100000u
#define MEMORY_BYTES (8u << 20)
#define DATA_MAX     1400u
#define BUFFERS      256u
#define STEP_NS      UINT64_C(20000000)

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t our_ip[4] = {10, 0, 0, 1};
static const uint8_t peer_ip[4] = {10, 0, 0, 2};

/* A shard: its instance, a device that nothing arrives at, and a clock of its own. */
struct side {
    struct lp_net *net;
    void *memory;
    uint64_t now_ns;
    uint64_t seed;
    uint32_t answered;
    bool lent[BUFFERS];
    uint8_t frame[BUFFERS][2048];
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool woken;
    uint64_t sleeps;
};

static uint32_t
draw(struct side *side, uint32_t limit)
{
    side->seed = side->seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(side->seed >> 33) % limit;
}

/* ---- the device ---- */

static void
nic_caps(void *self, struct lp_nic_caps *ret_caps)
{
    (void)self;
    *ret_caps = (struct lp_nic_caps){.mtu_bytes = 1500, .frame_bytes_max = 1600};
    memcpy(ret_caps->mac, our_mac, 6);
}

static uint32_t
nic_receive(void *self, struct lp_nic_frame *frames, uint32_t frames_max)
{
    (void)self;
    (void)frames;
    (void)frames_max;
    return 0;
}

static bool
nic_get(void *self, uint32_t bytes, struct lp_nic_frame *ret_frame)
{
    struct side *side = self;
    for (uint32_t i = 0; i < BUFFERS && bytes <= sizeof(side->frame[0]); i++) {
        if (!side->lent[i]) {
            side->lent[i] = true;
            *ret_frame =
                (struct lp_nic_frame){.data = side->frame[i], .bytes = bytes, .driver_frame = i};
            return true;
        }
    }
    return false;
}

static void
nic_put(void *self, struct lp_nic_frame *frame)
{
    struct side *side = self;
    LP_ASSERT(side->lent[frame->driver_frame]);
    side->lent[frame->driver_frame] = false;
}

static void
answer_check(struct side *side, const struct lp_nic_frame *frame)
{
    const uint8_t *data = frame->data;
    if (data[12] != 8 || data[13] != 0 || data[23] != NET_PROTOCOL_ICMP) {
        return;
    }
    uint32_t number;
    memcpy(&number, data + 38, sizeof(number));
    LP_ASSERT(number == side->answered); /* none is lost, none overtakes */
    for (uint32_t i = 42; i < frame->bytes; i++) {
        LP_ASSERT(data[i] == (uint8_t)(number + i));
    }
    side->answered++;
}

static uint32_t
nic_transmit(void *self, struct lp_nic_frame *frames, uint32_t count)
{
    struct side *side = self;
    for (uint32_t i = 0; i < count; i++) {
        answer_check(side, &frames[i]);
        nic_put(side, &frames[i]);
    }
    return count;
}

static const struct lp_nic_ops nic_ops = {
    .name = "stress",
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
    return ((struct side *)self)->now_ns;
}

static void
entropy_fill(void *self, void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        ((uint8_t *)data)[i] = (uint8_t)draw(self, 256);
    }
}

static struct side sides[2];

static void
wake(void *context, uint32_t shard)
{
    struct side *side = &sides[shard];
    (void)context;
    pthread_mutex_lock(&side->mutex);
    side->woken = true;
    pthread_cond_signal(&side->cond);
    pthread_mutex_unlock(&side->mutex);
}

static void
side_open(struct side *side, uint32_t shard, struct lp_net_fabric *fabric)
{
    struct lp_net_config config = {
        .shard = shard, .shard_count = 2, .port_count = 1, .streams_max = 16};
    config.port[0].nic = (struct lp_nic){&nic_ops, side};
    config.port[0].address_count = 1;
    config.port[0].address[0] = (struct lp_net_prefix){.family = LP_ADDRESS_IPV4, .bits = 24};
    memcpy(config.port[0].address[0].ip, our_ip, 4);
    side->now_ns = 1;
    side->seed = shard + 1;
    pthread_mutex_init(&side->mutex, NULL);
    pthread_cond_init(&side->cond, NULL);
    side->memory = aligned_alloc(LP_SPAN_BYTES, MEMORY_BYTES);
    LP_ASSERT(side->memory != NULL);
    memset(side->memory, 0, MEMORY_BYTES);
    const struct lp_net_env env = {.memory = side->memory,
                                   .memory_bytes = MEMORY_BYTES,
                                   .clock = {clock_ns, clock_ns, side},
                                   .entropy = {entropy_fill, side},
                                   .fabric = fabric,
                                   .wake_shard = wake};
    LP_ASSERT(lp_net_open_boot(&config, &env, &side->net) == LP_OK);
}

/* ---- the threads ---- */

/* Now and then it says where the peer is, so that nobody has to ask. */
static uint32_t
arp_make(uint8_t *frame, uint8_t op)
{
    const uint8_t head[8] = {0, 1, 8, 0, 6, 4, 0, op};
    uint8_t *at = lp_put_bytes(frame, our_mac, 6);
    at = lp_put_bytes(at, peer_mac, 6);
    at = lp_put_u16be(at, NET_TYPE_ARP);
    at = lp_put_bytes(at, head, 8);
    at = lp_put_bytes(at, peer_mac, 6);
    at = lp_put_bytes(at, peer_ip, 4);
    at = lp_put_bytes(at, our_mac, 6);
    at = lp_put_bytes(at, our_ip, 4);
    return (uint32_t)(at - frame);
}

static uint32_t
echo_make(uint8_t *frame, uint32_t number, uint32_t data_bytes)
{
    memset(frame, 0, 42);
    memcpy(frame, our_mac, 6);
    memcpy(frame + 6, peer_mac, 6);
    lp_put_u16be(frame + 12, NET_TYPE_IPV4);
    frame[14] = 0x45;
    lp_put_u16be(frame + 16, (uint16_t)(28 + data_bytes));
    frame[22] = 64;
    frame[23] = NET_PROTOCOL_ICMP;
    memcpy(frame + 26, peer_ip, 4);
    memcpy(frame + 30, our_ip, 4);
    frame[34] = 8;
    memcpy(frame + 38, &number, sizeof(number));
    for (uint32_t i = 42; i < 42 + data_bytes; i++) {
        frame[i] = (uint8_t)(number + i);
    }
    return 42 + data_bytes;
}

/* Forwarded, however often the ring is full. */
static void
forward(struct side *side, uint8_t *data, uint32_t bytes)
{
    const struct lp_nic_frame frame = {
        .data = data, .bytes = bytes, .flags = LP_NIC_IP_GOOD | LP_NIC_L4_GOOD};
    for (;;) {
        const uint64_t full = side->net->counters.frames_forward_full;
        net_fabric_forward(side->net, 0, 0, &frame);
        if (side->net->counters.frames_forward_full == full) {
            return;
        }
        fabric_publish(side->net);
        sched_yield();
    }
}

static void *
produce(void *context)
{
    struct side *side = context;
    uint8_t frame[64 + DATA_MAX];
    forward(side, frame, arp_make(frame, 1));
    for (uint32_t number = 0; number < FRAMES; number++) {
        if (number % 64 == 0) {
            forward(side, frame, arp_make(frame, 2));
        }
        forward(side, frame, echo_make(frame, number, draw(side, DATA_MAX)));
        if (draw(side, 8) == 0) {
            fabric_publish(side->net);
        }
        if (draw(side, 512) == 0) {
            sched_yield();
        }
    }
    fabric_publish(side->net);
    return NULL;
}

/* Until somebody wakes us; a wake-up that is lost is a test that fails. */
static void
side_sleep(struct side *side)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 30;
    pthread_mutex_lock(&side->mutex);
    while (!side->woken) {
        LP_ASSERT(pthread_cond_timedwait(&side->cond, &side->mutex, &end) == 0);
    }
    side->woken = false;
    pthread_mutex_unlock(&side->mutex);
    side->sleeps++;
}

static void *
consume(void *context)
{
    struct side *side = context;
    const struct lp_transport transport = lp_net_transport(side->net);
    struct lp_transport_event events[16];
    uint64_t next_ns = 0;
    while (side->answered < FRAMES) {
        const uint32_t answered = side->answered;
        side->now_ns += STEP_NS;
        (void)transport.ops->poll(transport.self, events, LP_COUNT_OF(events));
        transport.ops->flush(transport.self);
        if (side->answered != answered || !lp_net_sleep_begin(side->net, &next_ns)) {
            continue;
        }
        side_sleep(side);
        lp_net_sleep_end(side->net);
    }
    return NULL;
}

int
main(void)
{
    const size_t bytes = (size_t)lp_net_fabric_bytes(2);
    void *memory = aligned_alloc(LP_PAIR_BYTES, bytes);
    LP_ASSERT(memory != NULL);
    memset(memory, 0, bytes);
    struct lp_net_fabric *fabric = lp_net_fabric_init_boot(memory, 2);
    for (uint32_t i = 0; i < 2; i++) {
        side_open(&sides[i], i, fabric);
    }
    pthread_t producer;
    pthread_t consumer;
    LP_ASSERT(pthread_create(&consumer, NULL, consume, &sides[0]) == 0);
    LP_ASSERT(pthread_create(&producer, NULL, produce, &sides[1]) == 0);
    LP_ASSERT(pthread_join(producer, NULL) == 0);
    LP_ASSERT(pthread_join(consumer, NULL) == 0);
    printf("%u frames, %llu sleeps, full %llu times\n", FRAMES, (unsigned long long)sides[0].sleeps,
           (unsigned long long)sides[1].net->counters.frames_forward_full);
    for (uint32_t i = 0; i < 2; i++) {
        lp_net_close(&sides[i].net);
        free(sides[i].memory);
    }
    free(memory);
    return 0;
}
