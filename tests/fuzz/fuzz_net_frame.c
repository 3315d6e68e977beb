/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw frames into instances of our own TCP/IP that have neighbours, listeners
 * and connections: nothing crashes, hangs, leaks or keeps a frame, and every
 * invariant holds after every turn.
 *
 * The input: a byte of the device and the world (enum world), then steps: a
 * byte that says what, and what belongs to it.  A frame comes as a byte of
 * flags, two of length and its bytes; flags make right what a fuzzer cannot
 * guess: checksums, lengths, and numbers of TCP, which are relative to the
 * connection's then.
 */
#include "tests/fuzz/net_mutate.h"

#define STEPS_MAX 300u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t bytes_max, unsigned seed);

static uint8_t payload[20000];

/* ---- a world with somebody in it ---- */

static uint8_t *
link_put(const struct run *run, uint8_t *at, uint16_t type)
{
    at = lp_put_bytes(at, our_mac, 6);
    at = lp_put_bytes(at, peer_mac, 6);
    if ((run->world & WORLD_VLAN) != 0) {
        at = lp_put_u16be(at, NET_TYPE_VLAN);
        at = lp_put_u16be(at, 42);
    }
    return lp_put_u16be(at, type);
}

static void
introduce(struct run *run)
{
    static const uint8_t arp[8] = {0, 1, 8, 0, 6, 4, 0, 1};
    uint8_t frame[128] = {0};
    uint8_t *at = link_put(run, frame, NET_TYPE_ARP);
    at = lp_put_bytes(at, arp, 8);
    at = lp_put_bytes(at, peer_mac, 6);
    at = lp_put_bytes(at, peer_ip4, 4);
    at = lp_put_bytes(at, our_mac, 6);
    at = lp_put_bytes(at, our_ip4, 4);
    frame_give(run, frame, (uint32_t)(at - frame), 0);
    memset(frame, 0, sizeof(frame));
    at = link_put(run, frame, NET_TYPE_IPV6);
    at = lp_put_u32be(at, 0x60000000u);
    at = lp_put_u32be(at, (32u << 16) | (NET_PROTOCOL_ICMP6 << 8) | 255u);
    at = lp_put_bytes(at, peer_ip6, 16);
    at = lp_put_bytes(at, our_ip6, 16);
    at = lp_put_u32be(at, 135u << 24);
    at = lp_put_u32be(at, 0);
    at = lp_put_bytes(at, our_ip6, 16);
    at = lp_put_u16be(at, 0x0101);
    at = lp_put_bytes(at, peer_mac, 6);
    frame_give(run, frame, (uint32_t)(at - frame), FLAG_L4);
}

static void
segment_say(struct run *run, uint8_t family, uint16_t from_port, uint8_t flags)
{
    uint8_t frame[128] = {0};
    const bool ip4 = family == LP_ADDRESS_IPV4;
    uint8_t *at = link_put(run, frame, ip4 ? NET_TYPE_IPV4 : NET_TYPE_IPV6);
    if (ip4) {
        at = lp_put_u64be(at, 0x4500000000000000u);
        at = lp_put_u32be(at, 0x40060000u);
        at = lp_put_bytes(at, peer_ip4, 4);
        at = lp_put_bytes(at, our_ip4, 4);
    } else {
        at = lp_put_u64be(at, 0x6000000000000640u);
        at = lp_put_bytes(at, peer_ip6, 16);
        at = lp_put_bytes(at, our_ip6, 16);
    }
    at = lp_put_u16be(at, from_port);
    at = lp_put_u16be(at, 5672);
    at = lp_put_u64be(at, 0);
    at = lp_put_u16be(at, (uint16_t)(0x8000u | flags)); /* twelve bytes of options */
    at = lp_put_u16be(at, 65535);
    at = lp_put_u32be(at, 0);
    const bool syn = (flags & TCP_SYN) != 0;
    at = lp_put_u32be(at, syn ? 0x020405b4u : 0x01010101u);
    at = lp_put_u32be(at, syn ? 0x04020101u : 0x01010101u);
    at = lp_put_u32be(at, syn ? 0x01030307u : 0x01010101u);
    frame_give(run, frame, (uint32_t)(at - frame), FLAG_IP | FLAG_L4 | FLAG_RELATIVE);
}

/* Two connections, one of each family, and one that is half-open. */
static void
connect_all(struct run *run)
{
    introduce(run);
    segment_say(run, LP_ADDRESS_IPV4, 1001, TCP_SYN);
    segment_say(run, LP_ADDRESS_IPV4, 1001, TCP_ACK);
    segment_say(run, LP_ADDRESS_IPV6, 1002, TCP_SYN);
    segment_say(run, LP_ADDRESS_IPV6, 1002, TCP_ACK);
    segment_say(run, LP_ADDRESS_IPV4, 1003, TCP_SYN);
}

/* ---- steps ---- */

static void
connect_step(struct shard *shard, uint8_t how)
{
    struct lp_address to = {.family = (how & 1) != 0 ? LP_ADDRESS_IPV6 : LP_ADDRESS_IPV4,
                            .port = (uint16_t)(1000 + how)};
    memcpy(to.ip, (how & 1) != 0 ? peer_ip6 : peer_ip4, (how & 1) != 0 ? 16 : 4);
    const lp_handle stream = lp_net_connect(shard->net, &to);
    if (stream != LP_HANDLE_NONE) {
        shard->stream = stream;
    }
}

static void
call_step(struct shard *shard, enum step step, uint8_t how)
{
    const struct lp_transport_ops *ops = shard->transport.ops;
    void *self = shard->transport.self;
    const struct lp_iovec piece = {payload, 1 + (size_t)how * 64};
    switch ((int)step) {
    case STEP_SEND:
        (void)ops->send(self, shard->stream, &piece, 1); /* one may be in flight */
        break;
    case STEP_STOP:
        ops->receive_stop(self, shard->stream);
        break;
    case STEP_START:
        ops->receive_start(self, shard->stream);
        break;
    case STEP_CLOSE:
        ops->close(self, shard->stream);
        break;
    case STEP_CONNECT:
        connect_step(shard, how);
        break;
    default:
        break;
    }
}

static void
step_take(struct run *run, struct lp_reader *input)
{
    const uint8_t kind = lp_reader_u8(input);
    const uint8_t how = lp_reader_u8(input);
    switch ((enum step)(kind % STEPS)) {
    case STEP_FRAME: {
        const uint32_t wanted = lp_reader_u16le(input) % FRAME_MAX;
        const uint32_t bytes = (uint32_t)LP_MIN(wanted, lp_reader_left(input));
        const uint8_t *data = lp_reader_take(input, bytes);
        if (data != NULL) {
            frame_give(run, data, bytes, how);
        }
        return;
    }
    case STEP_TIME:
        for (uint32_t i = 0; i < how % 32u; i++) {
            run->now_ns += (how >= 128 ? 2000u : 50u) * MS;
            run_turn(run);
        }
        return;
    case STEP_DRY:
        run->dry = !run->dry;
        return;
    case STEP_SEND:
    case STEP_STOP:
    case STEP_START:
    case STEP_CLOSE:
    case STEP_CONNECT:
        call_step(&run->shard[(how >> 7) % run->shard_count], (enum step)(kind % STEPS), how);
        run_turn(run);
        return;
    case STEPS:
        return;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run run = {.seed = 1};
    struct lp_reader input = lp_reader_of(data, size);
    run.world = lp_reader_u8(&input);
    run_open(&run);
    if ((run.world & WORLD_STRANGER) == 0) {
        connect_all(&run);
    }
    for (uint32_t i = 0; i < STEPS_MAX && lp_reader_left(&input) > 0; i++) {
        step_take(&run, &input);
    }
    run_close(&run);
    return 0;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t bytes_max, unsigned seed)
{
    return net_mutate(data, bytes, bytes_max, seed);
}
