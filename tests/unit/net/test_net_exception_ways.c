/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exception path's two ways: what the kernel sends leaves as it is, nothing
 * is without bounds, open checksums are filled in, and both ends of it wake.
 */
#include "tests/unit/net/exception_rig.h"

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

/* What comes to the kernel of a frame that the device vouched for; it is put back. */
static void
vouched_take(struct both *both, struct frame *frame, struct frame *ret_got)
{
    struct lp_nic_frame got;
    vouched_give(both, frame, 0);
    assert_int_equal(both->kernel.ops->receive(both->kernel.self, &got, 1), 1);
    assert_true(got.bytes >= frame->bytes); /* a wire pads */
    memcpy(ret_got->data, got.data, frame->bytes);
    both->kernel.ops->put(both->kernel.self, &got);
}

static void
a_checksum_that_is_none_is_left_as_it_is(void **state)
{
    (void)state;
    struct both both;
    struct frame frame;
    struct frame got;
    both_init(&both, 1);
    both_open(&both);
    udp_make(&frame, our_ip4); /* RFC 768: zero is none */
    vouched_take(&both, &frame, &got);
    assert_memory_equal(got.data, frame.data, frame.bytes);
    /* A sum that is zero is said with ones. */
    const uint32_t pseudo =
        net_sum_pseudo(LP_ADDRESS_IPV4, peer_ip4, our_ip4, NET_PROTOCOL_UDP, 12);
    lp_put_u16be(frame.data + L4 + 10, 0);
    lp_put_u16be(frame.data + L4 + 10, (uint16_t)~net_sum(frame.data + L4, 12, pseudo));
    lp_put_u16be(frame.data + L4 + 6, 0x1234);
    vouched_take(&both, &frame, &got);
    assert_int_equal(get_u16(got.data + L4 + 6), 0xffff);
    /* Too short to have one, and a part of a packet. */
    udp_make(&frame, other_ip4);
    memset(frame.data + L4, 0x55, 12);
    frame.bytes = L4 + 4;
    lp_put_u16be(frame.data + IP + 2, 24);
    frame_ip4_fix(&frame);
    vouched_take(&both, &frame, &got);
    assert_memory_equal(got.data, frame.data, frame.bytes);
    frame.data[IP + 9] = NET_PROTOCOL_TCP;
    frame_ip4_fix(&frame);
    vouched_take(&both, &frame, &got);
    assert_memory_equal(got.data, frame.data, frame.bytes);
    udp_make(&frame, our_ip4);
    lp_put_u16be(frame.data + L4 + 6, 0x1234);
    lp_put_u16be(frame.data + IP + 6, 0x2000);
    frame_ip4_fix(&frame);
    vouched_take(&both, &frame, &got);
    assert_memory_equal(got.data, frame.data, frame.bytes);
    both_close(&both);
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
        /* Though it would fit. */
        frame.bytes = L4 + 20 + 1000;
        lp_put_u16be(frame.data + IP + 2, (uint16_t)(frame.bytes - IP));
        frame_ip4_fix(&frame);
        vouched_give(&both, &frame, 500);
        assert_int_equal(COUNTED(&both, exception_joined), cuts[i] ? 0 : 2);
        assert_int_equal(kernel_drain(&both), cuts[i] ? 2 : 0);
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

static void
a_device_that_holds_less_than_the_port_is_refused(void **state)
{
    (void)state;
    struct both both;
    both_init(&both, 1);
    both.kernel_config.end[0].mtu_bytes = 1499;
    struct rig *rig = &both.rig;
    rig->wire = lp_sim_wire_create(&rig->wire_config);
    both.kernel_wire = lp_sim_wire_create(&both.kernel_config);
    const struct lp_net_env env = rig_env(rig);
    rig->config.port[0].nic = lp_sim_wire_nic(rig->wire, 0, 0);
    rig->config.port[0].exception = lp_sim_wire_nic(both.kernel_wire, 0, 0);
    assert_int_equal(lp_net_open_boot(&rig->config, &env, &both.net[0]), LP_ERR_BAD_CONFIG);
    lp_sim_wire_destroy(rig->wire);
    lp_sim_wire_destroy(both.kernel_wire);
    free(rig->memory);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_kernel_sends_leaves_as_it_is_within_a_budget),
        cmocka_unit_test(a_port_that_takes_nothing_leaves_the_kernels_frames_where_they_are),
        cmocka_unit_test(more_than_a_burst_a_turn_is_dropped_and_counted),
        cmocka_unit_test(a_dry_device_loses_the_kernels_frames_and_nothing_of_ours),
        cmocka_unit_test(an_open_checksum_is_filled_in_for_the_kernel),
        cmocka_unit_test(a_checksum_that_is_none_is_left_as_it_is),
        cmocka_unit_test(joined_segments_are_cut_again_or_dropped),
        cmocka_unit_test(a_frame_of_the_kernel_ends_sleep),
        cmocka_unit_test(a_device_that_holds_less_than_the_port_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
