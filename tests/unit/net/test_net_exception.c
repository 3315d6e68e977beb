/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exception path: what is not ours goes to the kernel once, what is ours
 * never does, and what the kernel sends leaves as it is.
 *
 * Method: a wire at the port and a wire at the exception device; the test is
 * the peer behind the one and the kernel behind the other.  Every frame is said
 * to one shard, and to two with a card that deals frames out by chance.
 */
#include "tests/unit/net/net_rig.h"

#define SHARDS_MAX 2u
#define IP         FRAME_IP4
#define L4         (FRAME_IP4 + 20u)
#define L4_6       (FRAME_IP4 + 40u)
#define SYN        2u
#define RST        4u
#define ACK        16u

static const uint8_t other_mac[6] = {2, 0, 0, 0, 0, 9};
static const uint8_t lldp_mac[6] = {1, 0x80, 0xc2, 0, 0, 0x0e};
static const uint8_t other_ip4[4] = {10, 0, 0, 77};
static const uint8_t other_ip6[16] = {0xfd, [15] = 0x77};

struct both {
    struct rig rig; /* its net is the first shard's */
    uint32_t shards;
    struct lp_net *net[SHARDS_MAX];
    struct lp_transport transport[SHARDS_MAX];
    void *memory[SHARDS_MAX];
    void *fabric;
    struct lp_sim_wire_config kernel_config;
    struct lp_sim_wire *kernel_wire;
    struct lp_nic kernel;
};

static void
wake(void *context, uint32_t shard)
{
    (void)context;
    (void)shard;
}

static void
both_init(struct both *both, uint32_t shards)
{
    memset(both, 0, sizeof(*both));
    rig_init(&both->rig);
    both->shards = shards;
    both->rig.wire_config.end[0].queues = (uint8_t)shards;
    both->rig.wire_config.end[0].steering = LP_SIM_WIRE_RANDOM;
    both->rig.wire_config.end[0].promiscuous = true;
    both->rig.wire_config.end[1].promiscuous = true;
    both->kernel_config = lp_sim_wire_config_default(2);
    both->kernel_config.delay_ns = 0;
    both->kernel_config.end[0].queues = (uint8_t)shards;
    both->kernel_config.end[0].promiscuous = true;
    both->kernel_config.end[1].promiscuous = true;
}

static void
both_turn(struct both *both)
{
    struct lp_transport_event events[64];
    lp_sim_wire_advance(both->rig.wire, both->rig.clock.now_ns);
    lp_sim_wire_advance(both->kernel_wire, both->rig.clock.now_ns);
    /* Twice: what is forwarded is worked on in the turn after. */
    for (uint32_t i = 0; i < 2 * both->shards; i++) {
        const struct lp_transport *transport = &both->transport[i % both->shards];
        (void)transport->ops->poll(transport->self, events, LP_COUNT_OF(events));
        transport->ops->flush(transport->self);
        lp_net_check(both->net[i % both->shards]);
    }
    lp_sim_wire_advance(both->rig.wire, both->rig.clock.now_ns);
    lp_sim_wire_advance(both->kernel_wire, both->rig.clock.now_ns);
}

static uint32_t
kernel_drain(struct both *both)
{
    struct lp_nic_frame frames[LP_NIC_BURST_MAX];
    uint32_t count;
    uint32_t sum = 0;
    do {
        count = both->kernel.ops->receive(both->kernel.self, frames, LP_NIC_BURST_MAX);
        for (uint32_t i = 0; i < count; i++) {
            both->kernel.ops->put(both->kernel.self, &frames[i]);
        }
        sum += count;
    } while (count > 0);
    return sum;
}

static void
both_say(struct both *both, const struct frame *frame)
{
    lp_sim_wire_inject(both->rig.wire, 0, frame->data, frame->bytes);
    both_turn(both);
}

static void
peer_introduce(struct both *both)
{
    struct frame frame;
    const struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
    frame_arp_make(&frame, all_macs, &arp);
    both_say(both, &frame);
    uint8_t solicitation[32] = {135, [24] = 1, [25] = 1, 2, 0, 0, 0, 0, 2};
    memcpy(solicitation + 8, our_ip6, 16);
    frame_ip6_make(&frame, NET_PROTOCOL_ICMP6, solicitation, 32);
    frame.data[IP + 7] = 255;
    frame_icmp6_fix(&frame, L4_6);
    both_say(both, &frame);
}

static void
both_open(struct both *both)
{
    struct rig *rig = &both->rig;
    struct lp_net_fabric *fabric = NULL;
    rig->wire = lp_sim_wire_create(&rig->wire_config);
    both->kernel_wire = lp_sim_wire_create(&both->kernel_config);
    rig->peer = lp_sim_wire_nic(rig->wire, 1, 0);
    both->kernel = lp_sim_wire_nic(both->kernel_wire, 1, 0);
    lp_sim_wire_advance(rig->wire, rig->clock.now_ns);
    lp_sim_wire_advance(both->kernel_wire, rig->clock.now_ns);
    if (both->shards > 1) {
        const size_t bytes = (size_t)lp_net_fabric_bytes(both->shards);
        both->fabric = aligned_alloc(LP_PAIR_BYTES, bytes);
        assert_non_null(both->fabric);
        memset(both->fabric, 0, bytes);
        fabric = lp_net_fabric_init_boot(both->fabric, both->shards);
    }
    for (uint32_t i = 0; i < both->shards; i++) {
        struct lp_net_env env = rig_env(rig);
        env.fabric = fabric;
        env.wake_shard = fabric != NULL ? wake : NULL;
        rig->config.shard_count = both->shards;
        rig->config.shard = i;
        rig->config.port[0].nic = lp_sim_wire_nic(rig->wire, 0, i);
        rig->config.port[0].exception = lp_sim_wire_nic(both->kernel_wire, 0, i);
        assert_int_equal(lp_net_open_boot(&rig->config, &env, &both->net[i]), LP_OK);
        both->transport[i] = lp_net_transport(both->net[i]);
        both->memory[i] = rig->memory;
    }
    for (uint32_t i = 0; i < RIG_SETTLE_NS / (100 * MILLISECOND); i++) {
        lp_sim_clock_set(&rig->clock, rig->clock.now_ns + 100 * MILLISECOND);
        both_turn(both);
    }
    peer_introduce(both);
    rig_drain(rig);
    (void)kernel_drain(both);
}

static void
both_close(struct both *both)
{
    rig_forget_heard(&both->rig);
    for (uint32_t i = 0; i < both->shards; i++) {
        lp_net_close(&both->net[i]);
        assert_int_equal(lp_sim_wire_lent(both->rig.wire, 0, i), 0);
        assert_int_equal(lp_sim_wire_lent(both->kernel_wire, 0, i), 0);
        free(both->memory[i]);
    }
    lp_sim_wire_destroy(both->rig.wire);
    lp_sim_wire_destroy(both->kernel_wire);
    free(both->fabric);
}

/* Of all shards. */
#define COUNTED(both, name) counted(both, offsetof(struct lp_net_counters, name))
static uint64_t
counted(const struct both *both, size_t offset)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < both->shards; i++) {
        sum += *(const uint64_t *)(const void *)((const uint8_t *)&both->net[i]->counters + offset);
    }
    return sum;
}

/* ---- frames ---- */

static void
tcp_make(struct frame *frame, uint8_t family, uint16_t to_port, uint8_t flags)
{
    uint8_t tcp[20] = {0x9c, 0x40};
    lp_put_u16be(tcp + 2, to_port);
    lp_put_u32be(tcp + 4, 1000);
    tcp[12] = 0x50;
    tcp[13] = flags;
    lp_put_u16be(tcp + 14, 65535);
    const bool four = family == LP_ADDRESS_IPV4;
    const uint32_t pseudo = net_sum_pseudo(family, four ? peer_ip4 : peer_ip6,
                                           four ? our_ip4 : our_ip6, NET_PROTOCOL_TCP, 20);
    lp_put_u16be(tcp + 16, (uint16_t)~net_sum(tcp, 20, pseudo));
    if (four) {
        frame_ip4_make(frame, NET_PROTOCOL_TCP, tcp, 20);
    } else {
        frame_ip6_make(frame, NET_PROTOCOL_TCP, tcp, 20);
    }
}

static void
udp_make(struct frame *frame, const uint8_t *to_ip)
{
    static const uint8_t udp[12] = {0x30, 0x39, 0, 53, 0, 12, 0, 0, 'd', 'a', 't', 'a'};
    frame_ip4_make(frame, NET_PROTOCOL_UDP, udp, sizeof(udp));
    memcpy(frame->data + IP + 16, to_ip, 4);
    frame_ip4_fix(frame);
}

static void
icmp_make(struct frame *frame, uint8_t type, const void *body, uint32_t bytes)
{
    uint8_t icmp[128] = {type};
    memcpy(icmp + 8, body, bytes);
    lp_put_u16be(icmp + 2, (uint16_t)~net_sum(icmp, 8 + bytes, 0));
    frame_ip4_make(frame, NET_PROTOCOL_ICMP, icmp, 8 + bytes);
}

static void
icmp6_make(struct frame *frame, uint8_t type, const uint8_t *to_ip, const uint8_t *target)
{
    uint8_t icmp[24] = {type};
    memcpy(icmp + 8, target, 16);
    frame_ip6_make(frame, NET_PROTOCOL_ICMP6, icmp, sizeof(icmp));
    frame->data[IP + 7] = 255;
    memcpy(frame->data + IP + 24, to_ip, 16);
    if (to_ip[0] == 0xff) {
        frame->data[0] = frame->data[1] = 0x33;
        memcpy(frame->data + 2, to_ip + 12, 4);
    }
    frame_icmp6_fix(frame, L4_6);
}

/* An error about a segment from our `port` to the peer's 40000. */
static void
unreachable_make(struct frame *frame, uint8_t protocol, uint16_t port)
{
    uint8_t quote[28] = {0x45, 0, 0, 40, 0, 0, 0, 0, 64};
    quote[9] = protocol;
    memcpy(quote + 12, our_ip4, 4);
    memcpy(quote + 16, peer_ip4, 4);
    lp_put_u16be(quote + 20, port);
    lp_put_u16be(quote + 22, 40000);
    icmp_make(frame, 3, quote, sizeof(quote));
}

static void
tag_put(struct frame *frame, uint16_t tag)
{
    memmove(frame->data + 16, frame->data + 12, frame->bytes - 12);
    lp_put_u16be(frame->data + 12, NET_TYPE_VLAN);
    lp_put_u16be(frame->data + 14, tag);
    frame->bytes += 4;
}

/* ---- whose ---- */

/* The kernel gets exactly this, once; the peer hears so many answers. */
static void
expect(struct both *both, const struct frame *frame, uint32_t to_kernel, uint32_t answers)
{
    struct lp_nic_frame got[4];
    for (uint32_t round = 0; round < 8; round++) { /* each shard's turn comes */
        const uint64_t before = COUNTED(both, exception_to_kernel);
        both_say(both, frame);
        const uint32_t count = both->kernel.ops->receive(both->kernel.self, got, 4);
        assert_int_equal(count, to_kernel);
        assert_int_equal(COUNTED(both, exception_to_kernel) - before, to_kernel);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(got[i].bytes, LP_MAX(frame->bytes, 60u)); /* the wire pads */
            assert_memory_equal(got[i].data, frame->data, frame->bytes);
            both->kernel.ops->put(both->kernel.self, &got[i]);
        }
        uint32_t heard = 0;
        while (rig_hear(&both->rig) != NULL) {
            heard++;
        }
        assert_int_equal(heard, answers);
    }
}

static void
frames_of_the_link_go_once(void **state)
{
    (void)state;
    for (uint32_t shards = 1; shards <= SHARDS_MAX; shards++) {
        struct both both;
        struct frame frame;
        both_init(&both, shards);
        both_open(&both);
        frame_ethernet(&frame, lldp_mac, peer_mac, 0x88cc);
        frame.bytes = 60;
        expect(&both, &frame, 1, 0);
        frame_ethernet(&frame, our_mac, peer_mac, 0x88cc);
        frame.bytes = 60;
        expect(&both, &frame, 1, 0);
        frame_ethernet(&frame, other_mac, peer_mac, 0x88cc); /* another station's */
        frame.bytes = 60;
        expect(&both, &frame, 0, 0);
        udp_make(&frame, our_ip4);
        tag_put(&frame, 7);
        expect(&both, &frame, 1, 0);
        frame_ethernet(&frame, all_macs, our_mac, 0x88cc); /* ours, or the kernel's, come back */
        frame.bytes = 60;
        expect(&both, &frame, 0, 0);
        assert_true(COUNTED(&both, exception_echoed) > 0);
        frame_ethernet(&frame, all_macs, lldp_mac, 0x88cc); /* a group never sends */
        frame.bytes = 60;
        expect(&both, &frame, 0, 0);
        frame_ethernet(&frame, all_macs, peer_mac, 0x88cc);
        frame.bytes = 13;
        expect(&both, &frame, 0, 0);
        both_close(&both);
    }
}

static void
who_asks_for_us_is_answered_by_us_alone_and_the_rest_of_arp_is_for_both(void **state)
{
    (void)state;
    for (uint32_t shards = 1; shards <= SHARDS_MAX; shards++) {
        struct both both;
        struct frame frame;
        struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
        both_init(&both, shards);
        both_open(&both);
        frame_arp_make(&frame, all_macs, &arp);
        expect(&both, &frame, 0, 1);
        arp.target = other_ip4;
        frame_arp_make(&frame, all_macs, &arp);
        expect(&both, &frame, 1, 0);
        const struct frame_arp reply = {2, peer_mac, peer_ip4, our_ip4};
        frame_arp_make(&frame, our_mac, &reply);
        expect(&both, &frame, 1, 0);
        const struct frame_arp announced = {1, peer_mac, peer_ip4, peer_ip4};
        frame_arp_make(&frame, all_macs, &announced);
        expect(&both, &frame, 1, 0);
        frame.data[IP] = 9; /* of another link */
        expect(&both, &frame, 0, 0);
        both_close(&both);
    }
}

static void
an_address_that_was_given_up_is_the_kernels(void **state)
{
    (void)state;
    struct both both;
    struct frame frame;
    both_init(&both, 2);
    both_open(&both);
    for (uint32_t i = 0; i < both.shards; i++) {
        both.net[i]->port[0].addresses[0].state = NET_DUPLICATE;
    }
    const struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
    frame_arp_make(&frame, all_macs, &arp);
    expect(&both, &frame, 1, 0);
    tcp_make(&frame, LP_ADDRESS_IPV4, 5672, SYN);
    expect(&both, &frame, 1, 0);
    both_close(&both);
}

static void
packets_that_are_not_ours_go_once(void **state)
{
    (void)state;
    static const uint8_t everybody[4] = {10, 0, 0, 255};
    static const uint8_t group[4] = {224, 0, 0, 251};
    static const uint8_t group_mac[6] = {1, 0, 0x5e, 0, 0, 251};
    static const uint8_t nobody[4] = {0};
    for (uint32_t shards = 1; shards <= SHARDS_MAX; shards++) {
        struct both both;
        struct frame frame;
        both_init(&both, shards);
        both_open(&both);
        udp_make(&frame, our_ip4);
        expect(&both, &frame, 1, 0);
        udp_make(&frame, other_ip4);
        expect(&both, &frame, 1, 0);
        frame_ip4_make(&frame, 47, "data", 4);
        expect(&both, &frame, 1, 0);
        udp_make(&frame, everybody);
        memcpy(frame.data, all_macs, 6);
        expect(&both, &frame, 1, 0);
        udp_make(&frame, group);
        memcpy(frame.data, group_mac, 6);
        expect(&both, &frame, 1, 0);
        memcpy(frame.data, all_macs, 6); /* a client of DHCP */
        memcpy(frame.data + IP + 12, nobody, 4);
        memcpy(frame.data + IP + 16, all_macs, 4);
        frame_ip4_fix(&frame);
        expect(&both, &frame, 1, 0);
        udp_make(&frame, other_ip4); /* who says that he is us lies */
        memcpy(frame.data + IP + 12, our_ip4, 4);
        frame_ip4_fix(&frame);
        expect(&both, &frame, 0, 0);
        udp_make(&frame, our_ip4);
        frame.data[IP + 10] ^= 1; /* the header's checksum */
        expect(&both, &frame, 0, 0);
        both_close(&both);
    }
}

static void
fragments_go_but_not_the_heads_of_what_is_for_a_listener(void **state)
{
    (void)state;
    struct both both;
    struct frame frame;
    both_init(&both, 2);
    both_open(&both);
    udp_make(&frame, our_ip4);
    lp_put_u16be(frame.data + IP + 6, 0x2000);
    frame_ip4_fix(&frame);
    expect(&both, &frame, 1, 0);
    lp_put_u16be(frame.data + IP + 6, 0x0010);
    frame_ip4_fix(&frame);
    expect(&both, &frame, 1, 0);
    tcp_make(&frame, LP_ADDRESS_IPV4, 22, SYN);
    lp_put_u16be(frame.data + IP + 6, 0x2000);
    frame_ip4_fix(&frame);
    expect(&both, &frame, 1, 0);
    tcp_make(&frame, LP_ADDRESS_IPV4, 5672, SYN);
    lp_put_u16be(frame.data + IP + 6, 0x2000);
    frame_ip4_fix(&frame);
    expect(&both, &frame, 0, 0);
    uint8_t body[28] = {NET_PROTOCOL_TCP, 0, 0, 1, 0, 0, 0, 9, 0x9c, 0x40, 0x16, 0x28};
    frame_ip6_make(&frame, 44, body, sizeof(body)); /* the head, to port 5672 */
    expect(&both, &frame, 0, 0);
    body[11] = 22;
    body[10] = 0;
    frame_ip6_make(&frame, 44, body, sizeof(body));
    expect(&both, &frame, 1, 0);
    lp_put_u16be(body + 2, 0x0100);
    frame_ip6_make(&frame, 44, body, sizeof(body));
    expect(&both, &frame, 1, 0);
    both_close(&both);
}

static void
segments_for_nobody_go_and_those_for_a_listener_never_do(void **state)
{
    (void)state;
    static const uint8_t families[2] = {LP_ADDRESS_IPV4, LP_ADDRESS_IPV6};
    for (uint32_t i = 0; i < 2 * SHARDS_MAX; i++) {
        const uint8_t family = families[i % 2];
        struct both both;
        struct frame frame;
        both_init(&both, 1 + i / 2);
        both_open(&both);
        static const uint8_t kinds[4] = {SYN, SYN | ACK, ACK, RST};
        for (uint32_t k = 0; k < LP_COUNT_OF(kinds); k++) {
            tcp_make(&frame, family, 22, kinds[k]);
            expect(&both, &frame, 1, 0);
        }
        frame.bytes--; /* and a broken one to nobody */
        frame.data[frame.bytes - 1] ^= 0xff;
        expect(&both, &frame, 0, 0);
        tcp_make(&frame, family, 22, SYN);
        frame.data[frame.bytes - 1] ^= 1;
        expect(&both, &frame, 0, 0);
        tcp_make(&frame, family, 5672, ACK); /* we refuse it ourselves */
        expect(&both, &frame, 0, 1);
        tcp_make(&frame, family, 5672, RST);
        expect(&both, &frame, 0, 0);
        tcp_make(&frame, family, 5672, SYN); /* SYN-ACK; half-open afterwards */
        expect(&both, &frame, 0, 1);
        assert_int_equal(COUNTED(&both, tcp_refused), 0);
        both_close(&both);
    }
}

static void
a_flood_at_a_listener_is_answered_with_cookies_and_never_goes(void **state)
{
    (void)state;
    struct both both;
    struct frame frame;
    both_init(&both, 2);
    both.rig.config.half_open_max = 1;
    both_open(&both);
    for (uint32_t i = 0; i < 100; i++) {
        tcp_make(&frame, LP_ADDRESS_IPV4, 5672, SYN);
        lp_put_u16be(frame.data + L4, (uint16_t)(10000 + i));
        lp_put_u16be(frame.data + L4 + 16, 0);
        const uint32_t pseudo =
            net_sum_pseudo(LP_ADDRESS_IPV4, peer_ip4, our_ip4, NET_PROTOCOL_TCP, 20);
        lp_put_u16be(frame.data + L4 + 16, (uint16_t)~net_sum(frame.data + L4, 20, pseudo));
        both_say(&both, &frame);
    }
    assert_true(COUNTED(&both, tcp_cookies_sent) > 50);
    assert_int_equal(kernel_drain(&both), 0);
    both_close(&both);
}

static void
icmp_is_ours_as_far_as_it_is_about_us(void **state)
{
    (void)state;
    for (uint32_t shards = 1; shards <= SHARDS_MAX; shards++) {
        struct both both;
        struct frame frame;
        both_init(&both, shards);
        both_open(&both);
        icmp_make(&frame, 8, "data", 4);
        expect(&both, &frame, 0, 1);
        memcpy(frame.data + IP + 16, other_ip4, 4); /* the kernel's other address */
        frame_ip4_fix(&frame);
        expect(&both, &frame, 1, 0);
        icmp_make(&frame, 0, "data", 4); /* the kernel has asked */
        expect(&both, &frame, 1, 0);
        icmp_make(&frame, 13, "0123456789ab", 12);
        expect(&both, &frame, 1, 0);
        frame.data[L4 + 2] ^= 1; /* its checksum */
        expect(&both, &frame, 0, 0);
        unreachable_make(&frame, NET_PROTOCOL_TCP, 22);
        expect(&both, &frame, 1, 0);
        unreachable_make(&frame, NET_PROTOCOL_UDP, 53);
        expect(&both, &frame, 1, 0);
        /* About a handshake of ours, which errors do not end. */
        tcp_make(&frame, LP_ADDRESS_IPV4, 5672, SYN);
        both_say(&both, &frame);
        rig_drain(&both.rig);
        unreachable_make(&frame, NET_PROTOCOL_TCP, 5672);
        expect(&both, &frame, 0, 0);
        both_close(&both);
    }
}

static void
neighbours_of_ipv6_are_for_both_but_who_asks_for_us(void **state)
{
    (void)state;
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};
    uint8_t group[16];
    for (uint32_t shards = 1; shards <= SHARDS_MAX; shards++) {
        struct both both;
        struct frame frame;
        both_init(&both, shards);
        both_open(&both);
        net_ndp_group(our_ip6, group);
        icmp6_make(&frame, 135, group, our_ip6);
        expect(&both, &frame, 0, 1);
        icmp6_make(&frame, 135, our_ip6, our_ip6);
        expect(&both, &frame, 0, 1);
        net_ndp_group(other_ip6, group);
        icmp6_make(&frame, 135, group, other_ip6);
        expect(&both, &frame, 1, 0);
        icmp6_make(&frame, 136, our_ip6, peer_ip6);
        expect(&both, &frame, 1, 0);
        icmp6_make(&frame, 134, all_nodes, peer_ip6); /* a router's advertisement */
        expect(&both, &frame, 1, 0);
        icmp6_make(&frame, 129, our_ip6, peer_ip6);
        expect(&both, &frame, 1, 0);
        icmp6_make(&frame, 128, our_ip6, peer_ip6);
        expect(&both, &frame, 0, 1);
        icmp6_make(&frame, 128, other_ip6, peer_ip6);
        expect(&both, &frame, 1, 0);
        frame_ip6_make(&frame, NET_PROTOCOL_UDP, "01234567", 8);
        expect(&both, &frame, 1, 0);
        icmp6_make(&frame, 135, our_ip6, our_ip6);
        frame.data[IP + 7] = 64; /* came over a router: nobody's */
        expect(&both, &frame, 0, 0);
        both_close(&both);
    }
}

static void
a_connection_that_we_opened_is_ours(void **state)
{
    (void)state;
    struct both both;
    struct frame frame;
    struct lp_address to = {.family = LP_ADDRESS_IPV4, .port = 40000};
    both_init(&both, 2);
    both_open(&both);
    memcpy(to.ip, peer_ip4, 4);
    assert_true(lp_net_connect(both.net[1], &to) != LP_HANDLE_NONE);
    both_turn(&both);
    const struct lp_nic_frame *syn = rig_hear(&both.rig);
    assert_non_null(syn);
    const uint16_t port = (uint16_t)get_u16(syn->data + L4);
    rig_drain(&both.rig);
    tcp_make(&frame, LP_ADDRESS_IPV4, port, ACK); /* acknowledges nothing of ours: reset */
    expect(&both, &frame, 0, 1);
    tcp_make(&frame, LP_ADDRESS_IPV4, (uint16_t)(port ^ 1u), ACK);
    expect(&both, &frame, 1, 0);
    both_close(&both);
}

static void
a_port_with_a_vlan_hands_over_frames_as_they_are(void **state)
{
    (void)state;
    struct both both;
    struct frame frame;
    both_init(&both, 1);
    both.rig.config.port[0].vlan = 42;
    both_open(&both);
    tcp_make(&frame, LP_ADDRESS_IPV4, 22, SYN);
    expect(&both, &frame, 1, 0); /* no tag: of another network */
    tag_put(&frame, 42);
    expect(&both, &frame, 1, 0);
    lp_put_u16be(frame.data + 14, 43);
    expect(&both, &frame, 1, 0);
    tcp_make(&frame, LP_ADDRESS_IPV4, 5672, RST);
    tag_put(&frame, 42);
    expect(&both, &frame, 0, 0);
    both_close(&both);
}

/* ---- from the kernel ---- */

static void
kernel_says(struct both *both, const struct frame *frame, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        lp_sim_wire_inject(both->kernel_wire, 0, frame->data, frame->bytes);
    }
}

static void
what_the_kernel_sends_leaves_as_it_is_within_a_budget(void **state)
{
    (void)state;
    struct both both;
    struct frame frame;
    both_init(&both, 1);
    both_open(&both);
    udp_make(&frame, peer_ip4);
    memcpy(frame.data, peer_mac, 6);
    memcpy(frame.data + 6, our_mac, 6);
    kernel_says(&both, &frame, 1);
    lp_sim_clock_set(&both.rig.clock, both.rig.clock.now_ns + MILLISECOND);
    both_turn(&both);
    const struct lp_nic_frame *heard = rig_hear(&both.rig);
    assert_non_null(heard);
    assert_int_equal(heard->bytes, 60);
    assert_memory_equal(heard->data, frame.data, frame.bytes);
    assert_null(rig_hear(&both.rig));
    frame.bytes = 13;
    kernel_says(&both, &frame, 1);
    frame.bytes = 1519;
    kernel_says(&both, &frame, 1);
    frame.bytes = 1518;
    kernel_says(&both, &frame, 1);
    lp_sim_clock_set(&both.rig.clock, both.rig.clock.now_ns + MILLISECOND);
    both_turn(&both);
    assert_int_equal(COUNTED(&both, exception_refused), 2);
    assert_int_equal(COUNTED(&both, exception_from_kernel), 2);
    rig_drain(&both.rig);
    frame.bytes = 60;
    kernel_says(&both, &frame, 200);
    lp_sim_clock_set(&both.rig.clock, both.rig.clock.now_ns + MILLISECOND);
    both_turn(&both); /* two turns of the shard */
    assert_int_equal(COUNTED(&both, exception_from_kernel), 2 + 64);
    for (uint32_t i = 0; i < 8; i++) {
        both_turn(&both);
    }
    assert_int_equal(COUNTED(&both, exception_from_kernel), 2 + 200);
    assert_int_equal(COUNTED(&both, frames_no_buffer), 0);
    both_close(&both);
}

static void
a_port_that_takes_nothing_leaves_the_kernels_frames_where_they_are(void **state)
{
    (void)state;
    struct both both;
    struct frame frame;
    both_init(&both, 1);
    both_open(&both);
    udp_make(&frame, peer_ip4);
    memcpy(frame.data, peer_mac, 6);
    lp_sim_wire_faults(both.rig.wire)->refuse = 1000;
    kernel_says(&both, &frame, 200);
    for (uint32_t i = 0; i < 20; i++) {
        lp_sim_clock_set(&both.rig.clock, both.rig.clock.now_ns + MILLISECOND);
        both_turn(&both);
    }
    assert_true(COUNTED(&both, exception_from_kernel) <= 200);
    lp_sim_wire_faults(both.rig.wire)->refuse = 0;
    for (uint32_t i = 0; i < 20; i++) {
        lp_sim_clock_set(&both.rig.clock, both.rig.clock.now_ns + MILLISECOND);
        both_turn(&both);
    }
    assert_int_equal(COUNTED(&both, exception_from_kernel), 200);
    assert_int_equal(COUNTED(&both, frames_no_buffer), 0);
    both_close(&both);
}

/* ---- bounds ---- */

static void
more_than_a_burst_a_turn_is_dropped_and_counted(void **state)
{
    (void)state;
    struct both both;
    struct frame frame;
    both_init(&both, 1);
    both_open(&both);
    lp_sim_wire_faults(both.kernel_wire)->refuse = 1000; /* nothing leaves */
    udp_make(&frame, our_ip4);
    for (uint32_t i = 0; i < 600; i++) {
        lp_sim_wire_inject(both.rig.wire, 0, frame.data, frame.bytes);
        if (i % 100 == 99) {
            both_turn(&both);
        }
    }
    both_turn(&both);
    const uint64_t given = COUNTED(&both, exception_to_kernel);
    assert_int_equal(given + COUNTED(&both, exception_full), 600);
    assert_true(COUNTED(&both, exception_full) > 0);
    lp_sim_wire_faults(both.kernel_wire)->refuse = 0;
    both_turn(&both);
    assert_int_equal(kernel_drain(&both), given);
    both_close(&both);
}

static void
a_dry_device_loses_the_kernels_frames_and_nothing_of_ours(void **state)
{
    (void)state;
    struct both both;
    struct frame frame;
    both_init(&both, 2);
    both_open(&both);
    lp_sim_wire_faults(both.kernel_wire)->dry = 1000;
    udp_make(&frame, our_ip4);
    expect(&both, &frame, 0, 0);
    assert_int_equal(COUNTED(&both, exception_no_buffer), 8);
    icmp_make(&frame, 8, "data", 4);
    expect(&both, &frame, 0, 1);
    both_close(&both);
}

/* ---- checksums that were left open ---- */

/* As a tap gives what never left this machine. */
static void
vouched_give(struct both *both, struct frame *frame, uint16_t segment_bytes)
{
    struct lp_nic_frame given = {.data = frame->data,
                                 .bytes = frame->bytes,
                                 .flags = LP_NIC_L4_GOOD | LP_NIC_IP_GOOD,
                                 .segment_bytes = segment_bytes};
    assert_false(net_frame_input(both->net[0], 0, &given));
    both->transport[0].ops->flush(both->transport[0].self);
    lp_sim_wire_advance(both->kernel_wire, both->rig.clock.now_ns);
}

static void
an_open_checksum_is_filled_in_for_the_kernel(void **state)
{
    (void)state;
    static const bool fills[2] = {false, true};
    for (uint32_t i = 0; i < 2; i++) {
        struct both both;
        struct frame frame;
        struct lp_nic_frame got;
        both_init(&both, 1);
        both.kernel_config.end[0].l4_fill = fills[i];
        both_open(&both);
        tcp_make(&frame, LP_ADDRESS_IPV4, 22, SYN);
        const uint32_t right = get_u16(frame.data + L4 + 16);
        lp_put_u16be(frame.data + L4 + 16, 0x1234);
        vouched_give(&both, &frame, 0);
        assert_int_equal(both.kernel.ops->receive(both.kernel.self, &got, 1), 1);
        assert_int_equal(get_u16(got.data + L4 + 16), right);
        both.kernel.ops->put(both.kernel.self, &got);
        udp_make(&frame, our_ip4);
        lp_put_u16be(frame.data + L4 + 6, 0x1234);
        vouched_give(&both, &frame, 0);
        assert_int_equal(both.kernel.ops->receive(both.kernel.self, &got, 1), 1);
        const uint32_t pseudo =
            net_sum_pseudo(LP_ADDRESS_IPV4, peer_ip4, our_ip4, NET_PROTOCOL_UDP, 12);
        assert_int_equal(net_sum(got.data + L4, 12, pseudo), 0xffff);
        both.kernel.ops->put(both.kernel.self, &got);
        both_close(&both);
    }
}

static void
joined_segments_are_cut_again_or_dropped(void **state)
{
    (void)state;
    static const bool cuts[2] = {false, true};
    for (uint32_t i = 0; i < 2; i++) {
        struct both both;
        struct frame frame;
        uint8_t data[3000];
        both_init(&both, 1);
        both.kernel_config.end[0].l4_fill = cuts[i];
        both.kernel_config.end[0].tso = cuts[i];
        both_open(&both);
        memset(data, 7, sizeof(data));
        tcp_make(&frame, LP_ADDRESS_IPV4, 22, ACK);
        frame_add(&frame, data, sizeof(data));
        lp_put_u16be(frame.data + IP + 2, (uint16_t)(frame.bytes - IP));
        frame_ip4_fix(&frame);
        vouched_give(&both, &frame, 1000);
        assert_int_equal(COUNTED(&both, exception_joined), cuts[i] ? 0 : 1);
        assert_int_equal(kernel_drain(&both), cuts[i] ? 3 : 0);
        both_close(&both);
    }
}

/* ---- sleep ---- */

static void
a_frame_of_the_kernel_ends_sleep(void **state)
{
    (void)state;
    struct both both;
    struct frame frame;
    uint64_t next_ns = 0;
    both_init(&both, 1);
    both.rig.wire_config.end[0].can_wake = true;
    both.kernel_config.end[0].can_wake = true;
    both_open(&both);
    both_turn(&both);
    assert_true(lp_net_sleep_begin(both.net[0], &next_ns));
    assert_true(next_ns > both.rig.clock.now_ns + MILLISECOND); /* nobody has to be looked at */
    lp_net_sleep_end(both.net[0]);
    udp_make(&frame, peer_ip4);
    kernel_says(&both, &frame, 1);
    lp_sim_wire_advance(both.kernel_wire, both.rig.clock.now_ns);
    assert_false(lp_net_sleep_begin(both.net[0], &next_ns));
    both_turn(&both); /* at once, although it was looked at just now */
    assert_int_equal(COUNTED(&both, exception_from_kernel), 1);
    both_close(&both);
    both_init(&both, 1);
    both.rig.wire_config.end[0].can_wake = true;
    both_open(&both);
    both_turn(&both);
    assert_true(lp_net_sleep_begin(both.net[0], &next_ns));
    assert_true(next_ns <= both.rig.clock.now_ns + NET_LOOK_NS);
    lp_net_sleep_end(both.net[0]);
    both_close(&both);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_of_the_link_go_once),
        cmocka_unit_test(who_asks_for_us_is_answered_by_us_alone_and_the_rest_of_arp_is_for_both),
        cmocka_unit_test(an_address_that_was_given_up_is_the_kernels),
        cmocka_unit_test(packets_that_are_not_ours_go_once),
        cmocka_unit_test(fragments_go_but_not_the_heads_of_what_is_for_a_listener),
        cmocka_unit_test(segments_for_nobody_go_and_those_for_a_listener_never_do),
        cmocka_unit_test(a_flood_at_a_listener_is_answered_with_cookies_and_never_goes),
        cmocka_unit_test(icmp_is_ours_as_far_as_it_is_about_us),
        cmocka_unit_test(neighbours_of_ipv6_are_for_both_but_who_asks_for_us),
        cmocka_unit_test(a_connection_that_we_opened_is_ours),
        cmocka_unit_test(a_port_with_a_vlan_hands_over_frames_as_they_are),
        cmocka_unit_test(what_the_kernel_sends_leaves_as_it_is_within_a_budget),
        cmocka_unit_test(a_port_that_takes_nothing_leaves_the_kernels_frames_where_they_are),
        cmocka_unit_test(more_than_a_burst_a_turn_is_dropped_and_counted),
        cmocka_unit_test(a_dry_device_loses_the_kernels_frames_and_nothing_of_ours),
        cmocka_unit_test(an_open_checksum_is_filled_in_for_the_kernel),
        cmocka_unit_test(joined_segments_are_cut_again_or_dropped),
        cmocka_unit_test(a_frame_of_the_kernel_ends_sleep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
