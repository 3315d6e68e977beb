/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the simulator's wire is an Ethernet segment: what it does to frames is
 * what cards and wires do, only when it is told to, and one seed tells one
 * story.
 *
 * Method: frames of TCP are made by hand, sent through one end, and looked at
 * byte by byte at the other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include <drivers/sim/wire.h>
#include <lepus/bytes.h>

#define HEADERS 54u /* Ethernet, IPv4, TCP */

struct rig {
    struct lp_sim_wire *wire;
    struct lp_nic a;
    struct lp_nic b;
    uint64_t now_ns;
};

static struct rig
rig_of(const struct lp_sim_wire_config *config)
{
    struct rig rig = {.wire = lp_sim_wire_create(config)};
    rig.a = lp_sim_wire_nic(rig.wire, 0, 0);
    rig.b = lp_sim_wire_nic(rig.wire, 1, 0);
    return rig;
}

static void
wait_all(struct rig *rig)
{
    rig->now_ns += 1000000000;
    lp_sim_wire_advance(rig->wire, rig->now_ns);
}

static uint32_t
sum(const uint8_t *data, uint32_t bytes, uint32_t start)
{
    uint32_t total = start;
    for (uint32_t i = 0; i < bytes; i++) {
        total += i % 2 == 0 ? (uint32_t)data[i] << 8 : data[i];
    }
    while (total > 0xffff) {
        total = (total & 0xffff) + (total >> 16);
    }
    return total;
}

/* The pseudo-header's, over IPv4. */
static uint32_t
pseudo(const uint8_t *frame, uint32_t l4_bytes)
{
    return sum(frame + 26, 8, 6 + l4_bytes);
}

/* From 10.0.0.1:1000 to 10.0.0.2:2000, to end 1's address; the payload counts up from `sequence`.
 */
static void
tcp_frame(uint8_t *at, uint32_t sequence, uint32_t payload)
{
    static const uint8_t head[34] = {2, 0, 0, 0,    0, 2,  2, 0, 0, 0,  0, 1, 8, 0,  0x45, 0, 0,
                                     0, 0, 7, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0,    0, 2};
    memcpy(at, head, sizeof(head));
    (void)lp_put_u16be(at + 16, (uint16_t)(40 + payload));
    (void)lp_put_u16be(at + 24, (uint16_t)~sum(at + 14, 20, 0));
    uint8_t *tcp = at + 34;
    memset(tcp, 0, 20);
    (void)lp_put_u16be(tcp, 1000);
    (void)lp_put_u16be(tcp + 2, 2000);
    (void)lp_put_u32be(tcp + 4, sequence);
    tcp[12] = 5 << 4;
    tcp[13] = 0x10;
    for (uint32_t i = 0; i < payload; i++) {
        tcp[20 + i] = (uint8_t)(sequence + i);
    }
    (void)lp_put_u16be(tcp + 16, (uint16_t)~sum(tcp, 20 + payload, pseudo(at, 20 + payload)));
}

static void
fill_ask(struct lp_nic_frame *frame, uint16_t segment_bytes)
{
    const uint32_t l4_bytes = segment_bytes > 0 ? 0 : frame->bytes - 34;
    (void)lp_put_u16be(frame->data + 50, (uint16_t)pseudo(frame->data, l4_bytes));
    frame->flags = LP_NIC_L4_FILL;
    frame->segment_bytes = segment_bytes;
    frame->l3_offset = 14;
    frame->l4_offset = 34;
    frame->l4_bytes = 20;
}

static void
send_frame(const struct lp_nic *nic, uint32_t sequence, uint32_t payload, int segment_bytes)
{
    struct lp_nic_frame frame;
    assert_true(nic->ops->get(nic->self, HEADERS + payload, &frame));
    assert_int_equal(frame.bytes, HEADERS + payload);
    tcp_frame(frame.data, sequence, payload);
    if (segment_bytes >= 0) {
        fill_ask(&frame, (uint16_t)segment_bytes);
    }
    assert_int_equal(nic->ops->transmit(nic->self, &frame, 1), 1);
}

static bool
receive_one(const struct lp_nic *nic, struct lp_nic_frame *ret_frame)
{
    return nic->ops->receive(nic->self, ret_frame, 1) == 1;
}

static bool
l4_right(const struct lp_nic_frame *frame)
{
    const uint32_t bytes = (uint32_t)(frame->data[16] << 8 | frame->data[17]) - 20;
    return sum(frame->data + 34, bytes, pseudo(frame->data, bytes)) == 0xffff;
}

static void
a_frame_arrives_unchanged_and_only_after_the_doorbell(void **state)
{
    (void)state;
    const struct lp_sim_wire_config config = lp_sim_wire_config_default(1);
    struct rig rig = rig_of(&config);
    struct lp_nic_frame got;
    send_frame(&rig.a, 5, 100, -1);
    wait_all(&rig);
    assert_false(receive_one(&rig.b, &got));
    rig.a.ops->flush(rig.a.self);
    assert_false(receive_one(&rig.b, &got));
    assert_int_equal(lp_sim_wire_next_ns(rig.wire), rig.now_ns + config.delay_ns);
    assert_true(rig.b.ops->sleep_begin(rig.b.self));
    wait_all(&rig);
    assert_false(rig.b.ops->sleep_begin(rig.b.self));
    assert_true(receive_one(&rig.b, &got));
    uint8_t expected[HEADERS + 100];
    tcp_frame(expected, 5, 100);
    assert_int_equal(got.bytes, sizeof(expected));
    assert_memory_equal(got.data, expected, sizeof(expected));
    assert_int_equal(got.flags, 0);
    assert_int_equal(lp_sim_wire_lent(rig.wire, 0, 0), 0);
    assert_int_equal(lp_sim_wire_lent(rig.wire, 1, 0), 1);
    rig.b.ops->put(rig.b.self, &got);
    assert_int_equal(lp_sim_wire_lent(rig.wire, 1, 0), 0);
    lp_sim_wire_destroy(rig.wire);
}

static void
a_short_frame_is_padded_and_a_long_one_refused(void **state)
{
    (void)state;
    struct lp_sim_wire_config config = lp_sim_wire_config_default(1);
    config.end[0].mtu_bytes = 1500;
    config.end[1].mtu_bytes = 1000;
    struct rig rig = rig_of(&config);
    struct lp_nic_frame got;
    send_frame(&rig.a, 1, 1, -1);
    send_frame(&rig.a, 1, 960, -1);
    send_frame(&rig.a, 1, 961, -1);
    rig.a.ops->flush(rig.a.self);
    wait_all(&rig);
    assert_true(receive_one(&rig.b, &got));
    assert_int_equal(got.bytes, 60);
    rig.b.ops->put(rig.b.self, &got);
    assert_true(receive_one(&rig.b, &got));
    assert_int_equal(got.bytes, 1014);
    rig.b.ops->put(rig.b.self, &got);
    assert_false(receive_one(&rig.b, &got));
    assert_int_equal(lp_sim_wire_counts(rig.wire)->too_big, 1);
    lp_sim_wire_black_hole(rig.wire, 900);
    send_frame(&rig.a, 1, 900, -1);
    rig.a.ops->flush(rig.a.self);
    wait_all(&rig);
    assert_false(receive_one(&rig.b, &got));
    assert_int_equal(lp_sim_wire_counts(rig.wire)->too_big, 2);
    lp_sim_wire_destroy(rig.wire);
}

static void
a_card_fills_in_the_checksum_and_the_other_looks_at_it(void **state)
{
    (void)state;
    struct lp_sim_wire_config config = lp_sim_wire_config_default(1);
    config.end[0].l4_fill = true;
    config.end[1].rx_checksum = true;
    struct rig rig = rig_of(&config);
    struct lp_nic_frame got;
    send_frame(&rig.a, 77, 31, 0);
    rig.a.ops->flush(rig.a.self);
    wait_all(&rig);
    assert_true(receive_one(&rig.b, &got));
    assert_true(l4_right(&got));
    assert_int_equal(got.flags, LP_NIC_IP_GOOD | LP_NIC_L4_GOOD);
    rig.b.ops->put(rig.b.self, &got);

    lp_sim_wire_faults(rig.wire)->corrupt = 1000;
    uint32_t bad = 0;
    for (uint32_t i = 0; i < 200; i++) {
        send_frame(&rig.a, 77, 1000, 0);
        rig.a.ops->flush(rig.a.self);
        wait_all(&rig);
        assert_true(receive_one(&rig.b, &got));
        const bool good = got.flags == (LP_NIC_IP_GOOD | LP_NIC_L4_GOOD);
        uint8_t expected[HEADERS + 1000];
        tcp_frame(expected, 77, 1000);
        /* Only what Ethernet's header holds can be wrong and called good. */
        assert_true(!good || memcmp(got.data + 14, expected + 14, sizeof(expected) - 14) == 0);
        bad += good ? 0 : 1;
        rig.b.ops->put(rig.b.self, &got);
    }
    assert_in_range(bad, 150, 200);
    lp_sim_wire_destroy(rig.wire);
}

static void
a_partial_checksum_is_wrong_and_called_good(void **state)
{
    (void)state;
    struct lp_sim_wire_config config = lp_sim_wire_config_default(1);
    config.end[0].l4_fill = true;
    config.end[1].partial = true;
    struct rig rig = rig_of(&config);
    struct lp_nic_frame got;
    send_frame(&rig.a, 77, 31, 0);
    send_frame(&rig.a, 77, 31, -1);
    rig.a.ops->flush(rig.a.self);
    wait_all(&rig);
    assert_true(receive_one(&rig.b, &got));
    assert_false(l4_right(&got));
    assert_int_equal(got.flags, LP_NIC_IP_GOOD | LP_NIC_L4_GOOD);
    rig.b.ops->put(rig.b.self, &got);
    assert_true(receive_one(&rig.b, &got));
    assert_true(l4_right(&got));
    assert_int_equal(got.flags, 0);
    rig.b.ops->put(rig.b.self, &got);
    lp_sim_wire_destroy(rig.wire);
}

static void
a_large_send_is_cut_into_segments(void **state)
{
    (void)state;
    struct lp_sim_wire_config config = lp_sim_wire_config_default(1);
    config.end[0].l4_fill = true;
    config.end[0].tso = true;
    struct rig rig = rig_of(&config);
    struct lp_nic_frame got;
    send_frame(&rig.a, 1000, 2500, 1000);
    rig.a.ops->flush(rig.a.self);
    wait_all(&rig);
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t bytes = i < 2 ? 1000 : 500;
        uint8_t expected[HEADERS + 1000];
        tcp_frame(expected, 1000 + i * 1000, bytes);
        expected[19] = (uint8_t)(7 + i); /* IP's identification counts up */
        (void)lp_put_u16be(expected + 24, 0);
        (void)lp_put_u16be(expected + 24, (uint16_t)~sum(expected + 14, 20, 0));
        assert_true(receive_one(&rig.b, &got));
        assert_int_equal(got.bytes, HEADERS + bytes);
        assert_memory_equal(got.data, expected, got.bytes);
        rig.b.ops->put(rig.b.self, &got);
    }
    assert_false(receive_one(&rig.b, &got));
    lp_sim_wire_destroy(rig.wire);
}

static void
segments_of_a_flow_are_joined_up_to_the_first_that_does_not_continue(void **state)
{
    (void)state;
    struct lp_sim_wire_config config = lp_sim_wire_config_default(1);
    config.end[1].gro = true;
    struct rig rig = rig_of(&config);
    struct lp_nic_frame got;
    send_frame(&rig.a, 1000, 1000, -1);
    send_frame(&rig.a, 2000, 1000, -1);
    send_frame(&rig.a, 3000, 400, -1);
    send_frame(&rig.a, 3400, 400, -1); /* after a short one nothing is joined */
    send_frame(&rig.a, 9000, 400, -1);
    rig.a.ops->flush(rig.a.self);
    wait_all(&rig);
    assert_true(receive_one(&rig.b, &got));
    assert_int_equal(got.bytes, HEADERS + 2400);
    assert_int_equal(got.segment_bytes, 1000);
    assert_true((got.flags & LP_NIC_L4_GOOD) != 0);
    assert_int_equal(sum(got.data + 14, 20, 0), 0xffff);
    for (uint32_t i = 0; i < 2400; i++) {
        assert_int_equal(got.data[HEADERS + i], (uint8_t)(1000 + i));
    }
    rig.b.ops->put(rig.b.self, &got);
    assert_true(receive_one(&rig.b, &got));
    assert_int_equal(got.bytes, HEADERS + 400);
    assert_int_equal(got.segment_bytes, 0);
    rig.b.ops->put(rig.b.self, &got);
    assert_true(receive_one(&rig.b, &got));
    rig.b.ops->put(rig.b.self, &got);
    assert_false(receive_one(&rig.b, &got));
    lp_sim_wire_destroy(rig.wire);
}

static void
a_full_ring_misses_and_a_full_sender_refuses(void **state)
{
    (void)state;
    struct lp_sim_wire_config config = lp_sim_wire_config_default(1);
    config.bits_per_second = 1000000;
    config.end[0].transmit_ring = 8;
    config.end[0].pool_frames = 10;
    config.end[1].receive_ring = 4;
    struct rig rig = rig_of(&config);
    struct lp_nic_frame frame[10];
    for (uint32_t i = 0; i < 10; i++) {
        assert_true(rig.a.ops->get(rig.a.self, HEADERS + 100, &frame[i]));
        tcp_frame(frame[i].data, i, 100);
    }
    struct lp_nic_frame none;
    assert_false(rig.a.ops->get(rig.a.self, 100, &none));
    assert_int_equal(rig.a.ops->transmit(rig.a.self, frame, 10), 8);
    rig.a.ops->flush(rig.a.self);
    rig.a.ops->put(rig.a.self, &frame[8]);
    rig.a.ops->put(rig.a.self, &frame[9]);
    assert_int_equal(lp_sim_wire_lent(rig.wire, 0, 0), 0);
    wait_all(&rig);
    struct lp_nic_counters counters;
    rig.b.ops->counters(rig.b.self, &counters);
    assert_int_equal(counters.missed_frames, 4);
    struct lp_nic_frame got[LP_NIC_BURST_MAX];
    assert_int_equal(rig.b.ops->receive(rig.b.self, got, LP_NIC_BURST_MAX), 4);
    rig.a.ops->counters(rig.a.self, &counters);
    assert_int_equal(counters.refused_frames, 2);
    lp_sim_wire_destroy(rig.wire); /* what is lent goes with it */
}

static void
frames_for_others_do_not_arrive_and_a_link_can_be_down(void **state)
{
    (void)state;
    struct lp_sim_wire_config config = lp_sim_wire_config_default(1);
    config.end_count = 3;
    struct rig rig = rig_of(&config);
    struct lp_nic c = lp_sim_wire_nic(rig.wire, 2, 0);
    struct lp_nic_frame got;
    send_frame(&rig.a, 1, 100, -1);
    rig.a.ops->flush(rig.a.self);
    wait_all(&rig);
    assert_false(receive_one(&c, &got));
    assert_true(receive_one(&rig.b, &got));
    rig.b.ops->put(rig.b.self, &got);
    lp_sim_wire_link_set(rig.wire, 1, false);
    assert_false(rig.b.ops->link_up(rig.b.self));
    send_frame(&rig.a, 1, 100, -1);
    rig.a.ops->flush(rig.a.self);
    wait_all(&rig);
    assert_false(receive_one(&rig.b, &got));
    assert_int_equal(lp_sim_wire_counts(rig.wire)->missed, 1);
    lp_sim_wire_destroy(rig.wire);
}

/* Microsoft's verification suite: 66.9.149.187:2794 to 161.142.100.80:1766. */
static void
the_hash_is_toeplitz_and_chooses_the_queue(void **state)
{
    (void)state;
    struct lp_sim_wire_config config = lp_sim_wire_config_default(1);
    config.end[1].hash = true;
    config.end[1].queues = 4;
    struct rig rig = rig_of(&config);
    static const uint8_t tuple[12] = {66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6};
    uint8_t bytes[HEADERS];
    tcp_frame(bytes, 1, 0);
    memcpy(bytes + 26, tuple, sizeof(tuple));
    lp_sim_wire_inject(rig.wire, 1, bytes, sizeof(bytes));
    const struct lp_nic owner = lp_sim_wire_nic(rig.wire, 1, 0x51ccc178 % 128 % 4);
    struct lp_nic_frame got;
    assert_true(receive_one(&owner, &got));
    assert_int_equal(got.flow_hash, 0x51ccc178);
    lp_sim_wire_destroy(rig.wire);
}

static void
a_learning_card_gives_a_flow_to_who_last_sent_it(void **state)
{
    (void)state;
    struct lp_sim_wire_config config = lp_sim_wire_config_default(1);
    config.end[0].steering = LP_SIM_WIRE_LEARN;
    config.end[0].queues = 4;
    struct rig rig = rig_of(&config);
    const struct lp_nic third = lp_sim_wire_nic(rig.wire, 0, 3);
    uint8_t answer[HEADERS];
    tcp_frame(answer, 1, 0);
    memcpy(answer + 26, (uint8_t[]){10, 0, 0, 2, 10, 0, 0, 1, 7, 208, 3, 232}, 12);
    struct lp_nic_frame got;
    lp_sim_wire_inject(rig.wire, 0, answer, sizeof(answer));
    assert_true(receive_one(&rig.a, &got));
    send_frame(&third, 1, 10, -1);
    third.ops->flush(third.self);
    lp_sim_wire_inject(rig.wire, 0, answer, sizeof(answer));
    assert_true(receive_one(&third, &got));
    assert_false(receive_one(&rig.a, &got));
    lp_sim_wire_destroy(rig.wire);
}

/* Everything that weather does, in the order in which it happened. */
static uint64_t
storm(uint64_t seed, struct lp_sim_wire_counts *ret_counts)
{
    struct lp_sim_wire_config config = lp_sim_wire_config_default(seed);
    config.end[1].gro = true;
    config.faults = (struct lp_sim_wire_faults){.lose = 50,
                                                .duplicate = 50,
                                                .reorder = 50,
                                                .corrupt = 50,
                                                .truncate = 50,
                                                .dry = 50,
                                                .refuse = 100,
                                                .reorder_ns_max = 500000,
                                                .jitter_ns_max = 1000};
    struct rig rig = rig_of(&config);
    for (uint32_t i = 0; i < 2000; i++) {
        struct lp_nic_frame frame;
        if (rig.a.ops->get(rig.a.self, HEADERS + 200, &frame)) {
            tcp_frame(frame.data, i * 200, 200);
            if (rig.a.ops->transmit(rig.a.self, &frame, 1) == 0) {
                rig.a.ops->put(rig.a.self, &frame);
            }
        }
        rig.a.ops->flush(rig.a.self);
        rig.now_ns += 10000;
        lp_sim_wire_advance(rig.wire, rig.now_ns);
        struct lp_nic_frame got[8];
        const uint32_t count = i % 8 == 0 ? rig.b.ops->receive(rig.b.self, got, 8) : 0;
        for (uint32_t k = 0; k < count; k++) {
            rig.b.ops->put(rig.b.self, &got[k]);
        }
    }
    const uint64_t digest = lp_sim_wire_digest(rig.wire);
    *ret_counts = *lp_sim_wire_counts(rig.wire);
    lp_sim_wire_destroy(rig.wire);
    return digest;
}

static void
a_seed_tells_one_story_and_every_fault_happens(void **state)
{
    (void)state;
    struct lp_sim_wire_counts first;
    struct lp_sim_wire_counts second;
    assert_int_equal(storm(7, &first), storm(7, &second));
    assert_memory_equal(&first, &second, sizeof(first));
    assert_true(storm(7, &first) != storm(8, &second));
    assert_in_range(first.lost, 20, 300);
    assert_in_range(first.duplicated, 20, 300);
    assert_in_range(first.reordered, 20, 300);
    assert_in_range(first.corrupted, 20, 300);
    assert_in_range(first.truncated, 20, 300);
    assert_in_range(first.sent, 1600, 1850);
}

static bool
no_thousands(void *context, uint32_t from, uint8_t *data, uint32_t bytes)
{
    uint32_t *seen = context;
    assert_int_equal(from, 0);
    assert_true(bytes >= HEADERS);
    (*seen)++;
    return data[40] == 0 && data[41] == 1;
}

static void
a_filter_sees_each_frame_and_loses_what_it_wants(void **state)
{
    (void)state;
    const struct lp_sim_wire_config config = lp_sim_wire_config_default(1);
    struct rig rig = rig_of(&config);
    uint32_t seen = 0;
    lp_sim_wire_filter_set(rig.wire, no_thousands, &seen);
    send_frame(&rig.a, 1, 100, -1);
    send_frame(&rig.a, 1000, 100, -1);
    rig.a.ops->flush(rig.a.self);
    wait_all(&rig);
    struct lp_nic_frame got[4];
    assert_int_equal(rig.b.ops->receive(rig.b.self, got, 4), 1);
    assert_int_equal(seen, 2);
    assert_int_equal(lp_sim_wire_counts(rig.wire)->lost, 1);
    lp_sim_wire_destroy(rig.wire);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_arrives_unchanged_and_only_after_the_doorbell),
        cmocka_unit_test(a_short_frame_is_padded_and_a_long_one_refused),
        cmocka_unit_test(a_card_fills_in_the_checksum_and_the_other_looks_at_it),
        cmocka_unit_test(a_partial_checksum_is_wrong_and_called_good),
        cmocka_unit_test(a_large_send_is_cut_into_segments),
        cmocka_unit_test(segments_of_a_flow_are_joined_up_to_the_first_that_does_not_continue),
        cmocka_unit_test(a_full_ring_misses_and_a_full_sender_refuses),
        cmocka_unit_test(frames_for_others_do_not_arrive_and_a_link_can_be_down),
        cmocka_unit_test(the_hash_is_toeplitz_and_chooses_the_queue),
        cmocka_unit_test(a_learning_card_gives_a_flow_to_who_last_sent_it),
        cmocka_unit_test(a_seed_tells_one_story_and_every_fault_happens),
        cmocka_unit_test(a_filter_sees_each_frame_and_loses_what_it_wants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
