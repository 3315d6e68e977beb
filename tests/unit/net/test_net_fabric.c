/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several shards behind one address: whatever queue a device gives a frame to,
 * its owner works on it, and the machine answers once.
 *
 * Method: four instances, a card that deals frames out by chance, and a peer.
 */
#include "tests/unit/net/net_rig.h"

#define SHARDS 4u
#define IP     FRAME_IP4
#define L4     (FRAME_IP4 + 20u)

struct many {
    struct rig rig; /* its net is the first shard's */
    struct lp_net *net[SHARDS];
    struct lp_transport transport[SHARDS];
    void *memory[SHARDS];
    void *fabric;
    uint32_t woken[SHARDS];
};

static void
wake(void *context, uint32_t shard)
{
    struct many *many = context;
    many->woken[shard]++;
}

static void
shards_open(struct many *many)
{
    struct rig *rig = &many->rig;
    const size_t bytes = (size_t)lp_net_fabric_bytes(SHARDS);
    many->fabric = aligned_alloc(LP_PAIR_BYTES, bytes);
    assert_non_null(many->fabric);
    memset(many->fabric, 0, bytes);
    struct lp_net_fabric *fabric = lp_net_fabric_init_boot(many->fabric, SHARDS);
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct lp_net_env env = rig_env(rig);
        env.fabric = fabric;
        env.wake_shard = wake;
        env.wake_context = many;
        rig->config.shard_count = SHARDS;
        rig->config.shard = i;
        rig->config.port[0].nic = lp_sim_wire_nic(rig->wire, 0, i);
        assert_int_equal(lp_net_open_boot(&rig->config, &env, &many->net[i]), LP_OK);
        many->transport[i] = lp_net_transport(many->net[i]);
        many->memory[i] = rig->memory;
    }
}

static void
many_open(struct many *many)
{
    struct rig *rig = &many->rig;
    memset(many, 0, sizeof(*many));
    rig_init(rig);
    rig->wire_config.end[0].queues = SHARDS;
    rig->wire_config.end[0].steering = LP_SIM_WIRE_RANDOM;
    rig->wire_config.end[1].promiscuous = true;
    rig->wire = lp_sim_wire_create(&rig->wire_config);
    lp_sim_wire_advance(rig->wire, rig->clock.now_ns);
    rig->peer = lp_sim_wire_nic(rig->wire, 1, 0);
    shards_open(many);
}

static void
many_close(struct many *many)
{
    rig_forget_heard(&many->rig);
    for (uint32_t i = 0; i < SHARDS; i++) {
        lp_net_close(&many->net[i]);
        assert_int_equal(lp_sim_wire_lent(many->rig.wire, 0, i), 0);
        free(many->memory[i]);
    }
    lp_sim_wire_destroy(many->rig.wire);
    free(many->fabric);
}

static void
shard_turn(struct many *many, uint32_t i)
{
    struct lp_transport_event events[64];
    const struct lp_transport *transport = &many->transport[i];
    (void)transport->ops->poll(transport->self, events, LP_COUNT_OF(events));
    transport->ops->flush(transport->self);
    lp_net_check(many->net[i]);
}

/* Twice: what is forwarded is worked on in the turn after. */
static void
many_turn(struct many *many)
{
    lp_sim_wire_advance(many->rig.wire, many->rig.clock.now_ns);
    for (uint32_t i = 0; i < 2 * SHARDS; i++) {
        shard_turn(many, i % SHARDS);
    }
    lp_sim_wire_advance(many->rig.wire, many->rig.clock.now_ns);
}

static void
many_pass(struct many *many, uint64_t ns)
{
    const uint64_t end_ns = many->rig.clock.now_ns + ns;
    while (many->rig.clock.now_ns < end_ns) {
        lp_sim_clock_set(&many->rig.clock,
                         LP_MIN(many->rig.clock.now_ns + 100 * MILLISECOND, end_ns));
        many_turn(many);
    }
}

static void
many_say(struct many *many, const struct frame *frame)
{
    lp_sim_wire_inject(many->rig.wire, 0, frame->data, frame->bytes);
    many_turn(many);
}

static void
introduce(struct many *many)
{
    struct frame frame;
    const struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
    frame_arp_make(&frame, all_macs, &arp);
    many_say(many, &frame);
    rig_drain(&many->rig);
}

static uint32_t
count_heard(struct many *many, uint16_t type)
{
    uint32_t count = 0;
    for (const struct lp_nic_frame *frame = rig_hear(&many->rig); frame != NULL;
         frame = rig_hear(&many->rig)) {
        count += frame_type(frame) == type;
    }
    return count;
}

static void
one_shard_probes_and_announces_for_all_and_all_know(void **state)
{
    (void)state;
    struct many many;
    many_open(&many);
    many_pass(&many, RIG_SETTLE_NS);
    assert_int_equal(count_heard(&many, NET_TYPE_ARP), 3 + 2);
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(many.net[i]->port[0].addresses[0].state, NET_PREFERRED);
    }
    many_close(&many);
    many_open(&many);
    struct frame frame;
    const struct frame_arp arp = {1, peer_mac, our_ip4, our_ip4};
    frame_arp_make(&frame, all_macs, &arp);
    many_say(&many, &frame);
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(many.net[i]->port[0].addresses[0].state, NET_DUPLICATE);
    }
    many_close(&many);
}

static void
who_asks_is_answered_once_and_known_to_all(void **state)
{
    (void)state;
    struct many many;
    struct frame frame;
    many_open(&many);
    many_pass(&many, RIG_SETTLE_NS);
    rig_drain(&many.rig);
    for (uint32_t round = 0; round < 50; round++) {
        const uint8_t ip[4] = {10, 0, 0, (uint8_t)(100 + round)};
        const struct frame_arp arp = {1, peer_mac, ip, our_ip4};
        frame_arp_make(&frame, all_macs, &arp);
        many_say(&many, &frame);
        assert_int_equal(count_heard(&many, NET_TYPE_ARP), 1);
        for (uint32_t i = 0; i < SHARDS; i++) {
            assert_true(net_neighbour_find(many.net[i], 0, LP_ADDRESS_IPV4, ip) != 0);
        }
    }
    many_close(&many);
}

static void
an_echo_is_answered_once_whoever_gets_it(void **state)
{
    (void)state;
    struct many many;
    struct frame frame;
    uint8_t icmp[64];
    many_open(&many);
    many_pass(&many, RIG_SETTLE_NS);
    introduce(&many);
    for (uint32_t round = 0; round < 100; round++) {
        const uint32_t bytes = icmp_echo_make(icmp, 32);
        frame_ip4_make(&frame, NET_PROTOCOL_ICMP, icmp, bytes);
        many_say(&many, &frame);
        assert_int_equal(count_heard(&many, NET_TYPE_IPV4), 1);
    }
    assert_int_equal(many.net[0]->counters.icmp_sent, 100);
    many_close(&many);
}

static void
syn_make(struct frame *frame, uint16_t from_port)
{
    uint8_t tcp[20] = {0};
    lp_put_u16be(tcp, from_port);
    lp_put_u16be(tcp + 2, 5672);
    lp_put_u32be(tcp + 4, 1000);
    tcp[12] = 0x50;
    tcp[13] = 0x02;
    lp_put_u16be(tcp + 14, 65535);
    const uint32_t pseudo =
        net_sum_pseudo(LP_ADDRESS_IPV4, peer_ip4, our_ip4, NET_PROTOCOL_TCP, 20);
    lp_put_u16be(tcp + 16, (uint16_t)~net_sum(tcp, 20, pseudo));
    frame_ip4_make(frame, NET_PROTOCOL_TCP, tcp, 20);
}

static void
a_flow_goes_to_its_owner_wherever_it_arrives(void **state)
{
    (void)state;
    struct many many;
    struct frame frame;
    uint32_t owned[SHARDS] = {0};
    many_open(&many);
    many_pass(&many, RIG_SETTLE_NS);
    introduce(&many);
    for (uint32_t flow = 0; flow < 200; flow++) {
        struct net_path path = {.family = LP_ADDRESS_IPV4};
        memcpy(path.remote, peer_ip4, 4);
        memcpy(path.local, our_ip4, 4);
        const uint16_t from_port = (uint16_t)(20000 + flow);
        const uint32_t owner = net_steer_owner_of(many.net[0], &path, 5672, from_port);
        const uint64_t before = many.net[owner]->counters.tcp_received;
        syn_make(&frame, from_port);
        many_say(&many, &frame);
        assert_int_equal(many.net[owner]->counters.tcp_received, before + 1);
        assert_int_equal(count_heard(&many, NET_TYPE_IPV4), 1); /* one SYN-ACK */
        owned[owner]++;
    }
    uint64_t received = 0;
    uint64_t forwarded = 0;
    for (uint32_t i = 0; i < SHARDS; i++) {
        received += many.net[i]->counters.frames_received;
        forwarded += many.net[i]->counters.frames_forwarded;
        assert_in_range(owned[i], 20, 100);
    }
    assert_int_equal(received, 200 + 1); /* a frame that is given on is received once */
    assert_in_range(forwarded, 100, 200);
    many_close(&many);
}

static void
an_error_goes_to_the_owner_of_what_it_is_about(void **state)
{
    (void)state;
    struct many many;
    many_open(&many);
    many_pass(&many, RIG_SETTLE_NS);
    introduce(&many);
    for (uint32_t i = 0; i < 4 * SHARDS; i++) {
        struct lp_address to = {.family = LP_ADDRESS_IPV4, .port = 1234};
        struct lp_net *net = many.net[i % SHARDS];
        memcpy(to.ip, peer_ip4, 4);
        assert_true(lp_net_connect(net, &to) != LP_HANDLE_NONE);
        many_turn(&many);
        const struct lp_nic_frame *syn = rig_hear(&many.rig);
        assert_non_null(syn);
        uint8_t icmp[36] = {3, 3};
        struct frame frame;
        memcpy(icmp + 8, syn->data + IP, 28);
        lp_put_u16be(icmp + 2, (uint16_t)~net_sum(icmp, sizeof(icmp), 0));
        frame_ip4_make(&frame, NET_PROTOCOL_ICMP, icmp, sizeof(icmp));
        many_say(&many, &frame);
        rig_drain(&many.rig);
        uint32_t cursor = 0;
        lp_handle handle;
        const struct tcp_stream *stream = lp_pool_next(&net->tcp->streams, &cursor, &handle);
        uint32_t open = 0;
        for (; stream != NULL; stream = lp_pool_next(&net->tcp->streams, &cursor, &handle)) {
            open += stream->state != TCP_CLOSED;
        }
        assert_int_equal(open, 0);
    }
    many_close(&many);
}

/* ---- the ring ---- */

static void
a_full_ring_drops_and_counts_and_goes_on(void **state)
{
    (void)state;
    struct many many;
    struct frame frame;
    struct random random = {11};
    many_open(&many);
    many_pass(&many, RIG_SETTLE_NS);
    introduce(&many);
    uint8_t icmp[1408];
    for (uint32_t round = 0; round < 20; round++) {
        uint64_t said = 0;
        const uint64_t full = many.net[2]->counters.frames_forward_full;
        const uint64_t received = many.net[0]->counters.icmp_received;
        while (many.net[2]->counters.frames_forward_full == full) {
            const uint32_t bytes = icmp_echo_make(icmp, random_below(&random, 1400));
            frame_ip4_make(&frame, NET_PROTOCOL_ICMP, icmp, bytes);
            const struct lp_nic_frame given = {.data = frame.data, .bytes = frame.bytes};
            net_fabric_forward(many.net[2], 0, 0, &given);
            said++;
        }
        assert_in_range(said, 150, 2000);
        many_pass(&many, 2 * SECOND);
        assert_int_equal(many.net[0]->counters.icmp_received - received, said - 1);
        rig_drain(&many.rig);
    }
    assert_int_equal(many.net[0]->counters.icmp_bad, 0); /* none was damaged, at any wrap */
    many_close(&many);
}

static void
a_frame_beyond_all_frames_is_dropped_and_counted(void **state)
{
    (void)state;
    struct many many;
    many_open(&many);
    uint8_t *data = calloc(1, LP_NIC_FRAME_BYTES_MAX + 1);
    assert_non_null(data);
    struct lp_nic_frame frame = {.data = data, .bytes = LP_NIC_FRAME_BYTES_MAX + 1};
    net_fabric_forward(many.net[1], 0, 0, &frame);
    assert_int_equal(many.net[1]->counters.frames_forward_full, 1);
    frame.bytes = LP_NIC_FRAME_BYTES_MAX;
    for (uint32_t i = 0; i < 3; i++) {
        net_fabric_forward(many.net[1], 0, 0, &frame);
    }
    assert_int_equal(many.net[1]->counters.frames_forward_full, 1);
    many_turn(&many);
    assert_int_equal(many.net[0]->counters.frames_foreign, 3);
    free(data);
    many_close(&many);
}

static void
what_is_forwarded_is_seen_after_the_turn_and_wakes_who_sleeps(void **state)
{
    (void)state;
    struct many many;
    struct frame frame;
    uint8_t icmp[64];
    uint64_t next_ns = 0;
    many_open(&many);
    many_pass(&many, RIG_SETTLE_NS);
    introduce(&many);
    memset(many.woken, 0, sizeof(many.woken));
    frame_ip4_make(&frame, NET_PROTOCOL_ICMP, icmp, icmp_echo_make(icmp, 32));
    const struct lp_nic_frame given = {.data = frame.data, .bytes = frame.bytes};
    const uint64_t before = many.net[0]->counters.icmp_received;

    net_fabric_forward(many.net[3], 0, 0, &given);
    assert_true(lp_net_sleep_begin(many.net[0], &next_ns)); /* it cannot be seen yet */
    many.transport[3].ops->flush(many.transport[3].self);
    assert_int_equal(many.woken[0], 1);
    assert_int_equal(many.woken[1] + many.woken[2] + many.woken[3], 0);
    lp_net_sleep_end(many.net[0]);
    assert_false(lp_net_sleep_begin(many.net[0], &next_ns)); /* it waits */
    shard_turn(&many, 0);
    assert_int_equal(many.net[0]->counters.icmp_received, before + 1);

    net_fabric_forward(many.net[3], 0, 0, &given);
    many.transport[3].ops->flush(many.transport[3].self);
    assert_int_equal(many.woken[0], 1); /* it does not sleep: nobody is woken */
    many.transport[3].ops->flush(many.transport[3].self);
    assert_int_equal(many.woken[0], 1);
    shard_turn(&many, 0);
    assert_int_equal(many.net[0]->counters.icmp_received, before + 2);
    many_close(&many);
}

static void
a_fabric_of_another_size_is_refused(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.wire = lp_sim_wire_create(&rig.wire_config);
    rig.config.port[0].nic = lp_sim_wire_nic(rig.wire, 0, 0);
    rig.config.shard_count = 3;
    const size_t bytes = (size_t)lp_net_fabric_bytes(2);
    void *memory = aligned_alloc(LP_PAIR_BYTES, bytes);
    assert_non_null(memory);
    memset(memory, 0, bytes);
    struct lp_net_env env = rig_env(&rig);
    env.fabric = lp_net_fabric_init_boot(memory, 2);
    env.wake_shard = wake;
    assert_int_equal(lp_net_open_boot(&rig.config, &env, &rig.net), LP_ERR_BAD_CONFIG);
    lp_sim_wire_destroy(rig.wire);
    free(rig.memory);
    free(memory);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_shard_probes_and_announces_for_all_and_all_know),
        cmocka_unit_test(who_asks_is_answered_once_and_known_to_all),
        cmocka_unit_test(an_echo_is_answered_once_whoever_gets_it),
        cmocka_unit_test(a_flow_goes_to_its_owner_wherever_it_arrives),
        cmocka_unit_test(an_error_goes_to_the_owner_of_what_it_is_about),
        cmocka_unit_test(a_full_ring_drops_and_counts_and_goes_on),
        cmocka_unit_test(a_frame_beyond_all_frames_is_dropped_and_counted),
        cmocka_unit_test(what_is_forwarded_is_seen_after_the_turn_and_wakes_who_sleeps),
        cmocka_unit_test(a_fabric_of_another_size_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
