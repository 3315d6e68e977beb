/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator may want, and what contradicts itself; opening, closing
 * and sleeping.
 *
 * Method: one good configuration, and a table of what makes it bad.
 */
#include "tests/unit/net/net_rig.h"

static struct lp_net_route
default_route(const uint8_t *gateway)
{
    struct lp_net_route route = {.destination = {.family = LP_ADDRESS_IPV4}};
    memcpy(route.gateway, gateway, 4);
    return route;
}

enum change {
    NOTHING,
    EVERYTHING_POSSIBLE,
    FIRST_BAD,
    NO_SHARDS = FIRST_BAD,
    SHARD_BEYOND,
    SHARDS_WITHOUT_FABRIC,
    NO_PORTS,
    PORT_WITHOUT_DEVICE,
    VLAN_BEYOND,
    MTU_BEYOND_THE_DEVICE,
    MTU_TOO_SMALL,
    MTU_TOO_SMALL_FOR_IPV6,
    ADDRESS_OF_A_GROUP,
    ADDRESS_OF_NOBODY,
    ADDRESS_OF_LOOPBACK,
    ADDRESS_OF_EVERYBODY,
    ADDRESS_OF_THE_NETWORK,
    ADDRESS_WITHOUT_PREFIX,
    ADDRESS_WITH_TOO_LONG_A_PREFIX,
    ADDRESS_OF_NO_FAMILY,
    ADDRESS_TWICE,
    ROUTE_BY_NO_PORT,
    ROUTE_TWICE,
    ROUTE_WITH_HOST_BITS,
    GATEWAY_FAR_AWAY,
    GATEWAY_IS_US,
    LISTENER_WITHOUT_PORT,
    LISTENER_TWICE,
    LISTENER_AT_ANOTHERS_ADDRESS,
    NO_STREAMS,
    FIRST_WINDOW_BEYOND_THE_LARGEST,
    MSS_FLOOR_TOO_LOW,
    CONGESTION_UNKNOWN,
    CHANGES,
};

static void
addresses_change(struct lp_net_config *config, enum change change)
{
    struct lp_net_prefix *first = &config->port[0].address[0];
    switch ((int)change) {
    case ADDRESS_OF_A_GROUP:
        first->ip[0] = 224;
        break;
    case ADDRESS_OF_NOBODY:
        memset(first->ip, 0, 4);
        break;
    case ADDRESS_OF_LOOPBACK:
        first->ip[0] = 127;
        break;
    case ADDRESS_OF_EVERYBODY:
        first->ip[3] = 255;
        break;
    case ADDRESS_OF_THE_NETWORK:
        first->ip[3] = 0;
        break;
    case ADDRESS_WITHOUT_PREFIX:
        first->bits = 0;
        break;
    case ADDRESS_WITH_TOO_LONG_A_PREFIX:
        first->bits = 33;
        break;
    case ADDRESS_OF_NO_FAMILY:
        first->family = LP_ADDRESS_UNIX;
        break;
    case ADDRESS_TWICE:
        config->port[0].address[1] = *first;
        break;
    default:
        break;
    }
}

static void
routes_change(struct lp_net_config *config, enum change change)
{
    static const uint8_t near_gateway[4] = {10, 0, 0, 254};
    static const uint8_t far_gateway[4] = {10, 0, 1, 254};
    config->route_count = 1;
    config->route[0] = default_route(near_gateway);
    switch ((int)change) {
    case ROUTE_BY_NO_PORT:
        config->route[0].port = 1;
        break;
    case ROUTE_TWICE:
        config->route[1] = config->route[0];
        config->route_count = 2;
        break;
    case ROUTE_WITH_HOST_BITS:
        config->route[0].destination = rig_prefix(LP_ADDRESS_IPV4, near_gateway, 8);
        break;
    case GATEWAY_FAR_AWAY:
        config->route[0] = default_route(far_gateway);
        break;
    case GATEWAY_IS_US:
        config->route[0] = default_route(our_ip4);
        break;
    default:
        break;
    }
}

static void
limits_change(struct lp_net_config *config, enum change change)
{
    switch ((int)change) {
    case LISTENER_WITHOUT_PORT:
        config->listener[0].port = 0;
        break;
    case LISTENER_TWICE:
        config->listener[1] = config->listener[0];
        break;
    case LISTENER_AT_ANOTHERS_ADDRESS:
        memcpy(config->listener[0].ip, peer_ip4, 4);
        break;
    case NO_STREAMS:
        config->streams_max = 0;
        break;
    case FIRST_WINDOW_BEYOND_THE_LARGEST:
        config->receive_bytes_first = 200000;
        config->receive_bytes_max = 100000;
        break;
    case MSS_FLOOR_TOO_LOW:
        config->peer_mss_floor_bytes = 8;
        break;
    case CONGESTION_UNKNOWN:
        config->congestion = (enum lp_net_congestion)7;
        break;
    default:
        break;
    }
}

static void
ports_change(struct lp_net_config *config, enum change change)
{
    struct lp_net_port *port = &config->port[0];
    switch ((int)change) {
    case EVERYTHING_POSSIBLE:
        port->vlan = 4094;
        port->mtu_bytes = 1280;
        memcpy(config->listener[0].ip, our_ip4, 4);
        config->congestion = LP_NET_NEWRENO;
        port->address[2] = rig_prefix(LP_ADDRESS_IPV4, (const uint8_t[]){192, 168, 0, 0}, 31);
        port->address_count = 3;
        break;
    case NO_SHARDS:
        config->shard_count = 0;
        break;
    case SHARD_BEYOND:
        config->shard = 1;
        break;
    case SHARDS_WITHOUT_FABRIC:
        config->shard_count = 2;
        break;
    case NO_PORTS:
        config->port_count = 0;
        break;
    case PORT_WITHOUT_DEVICE:
        port->nic.ops = NULL;
        break;
    case VLAN_BEYOND:
        port->vlan = 4095;
        break;
    case MTU_BEYOND_THE_DEVICE:
        port->mtu_bytes = 1501;
        break;
    case MTU_TOO_SMALL:
        port->address_count = 1;
        port->mtu_bytes = 575;
        break;
    case MTU_TOO_SMALL_FOR_IPV6:
        port->mtu_bytes = 1279;
        break;
    default:
        break;
    }
}

static void
what_contradicts_itself_is_refused(void **state)
{
    (void)state;
    for (uint32_t change = 0; change < CHANGES; change++) {
        struct rig rig;
        rig_init(&rig);
        rig.wire = lp_sim_wire_create(&rig.wire_config);
        rig.config.port[0].nic = lp_sim_wire_nic(rig.wire, 0, 0);
        routes_change(&rig.config, (enum change)change);
        addresses_change(&rig.config, (enum change)change);
        limits_change(&rig.config, (enum change)change);
        ports_change(&rig.config, (enum change)change);
        const struct lp_net_env env = rig_env(&rig);
        const enum lp_err err = lp_net_open_boot(&rig.config, &env, &rig.net);
        const enum lp_err expected = change < FIRST_BAD ? LP_OK : LP_ERR_BAD_CONFIG;
        if (err != expected) {
            fail_msg("change %u gives %s", change, lp_err_text(err));
        }
        lp_net_close(&rig.net);
        lp_sim_wire_destroy(rig.wire);
        free(rig.memory);
    }
}

static void
too_little_memory_is_said_and_nothing_is_left_behind(void **state)
{
    (void)state;
    for (uint64_t bytes = LP_SPAN_BYTES; bytes <= RIG_MEMORY; bytes += LP_SPAN_BYTES) {
        struct rig rig;
        rig_init(&rig);
        rig.config.streams_max = 4096;
        rig.wire = lp_sim_wire_create(&rig.wire_config);
        rig.config.port[0].nic = lp_sim_wire_nic(rig.wire, 0, 0);
        struct lp_net_env env = rig_env(&rig);
        env.memory_bytes = bytes;
        const enum lp_err err = lp_net_open_boot(&rig.config, &env, &rig.net);
        lp_net_close(&rig.net);
        assert_int_equal(lp_sim_wire_lent(rig.wire, 0, 0), 0);
        lp_sim_wire_destroy(rig.wire);
        free(rig.memory);
        if (err == LP_OK) {
            assert_true(bytes > LP_SPAN_BYTES);
            return;
        }
        assert_int_equal(err, LP_ERR_NO_MEMORY);
    }
    fail_msg("there is never enough");
}

static void
zeros_mean_as_usual(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_settled(&rig);
    const struct lp_net_config *config = &rig.net->config;
    assert_int_equal(config->receive_bytes_max, 6u << 20);
    assert_int_equal(config->receive_bytes_first, 64u << 10);
    assert_int_equal(config->send_bytes_max, 4u << 20);
    assert_int_equal(config->peer_mss_floor_bytes, 536);
    assert_int_equal(config->rto_min_ms, 200);
    assert_int_equal(config->time_wait_ms, 60000);
    assert_int_equal(config->keepalive_s, 7200);
    assert_int_equal(config->half_open_max, 4096);
    assert_int_equal(config->user_timeout_s, 900);
    assert_int_equal(rig.net->port[0].mtu_bytes, 1500);
    const char *why = NULL;
    assert_true(lp_net_at_rest(rig.net, &why));
    rig_close(&rig);
}

static void
who_sleeps_is_not_asleep_when_frames_wait_or_somebody_wakes_it(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    uint64_t next_ns = 0;
    rig_init(&rig);
    rig.wire_config.end[0].can_wake = true;
    rig_open(&rig);
    rig_pass(&rig, RIG_SETTLE_NS);
    assert_true(lp_net_sleep_begin(rig.net, &next_ns));
    assert_true(next_ns > rig.clock.now_ns + MILLISECOND);
    lp_net_sleep_end(rig.net);
    const struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
    frame_arp_make(&frame, all_macs, &arp);
    lp_sim_wire_inject(rig.wire, 0, frame.data, frame.bytes);
    assert_false(lp_net_sleep_begin(rig.net, &next_ns));
    rig_turn(&rig);
    assert_true(lp_net_sleep_begin(rig.net, &next_ns));
    lp_net_sleep_end(rig.net);
    rig.transport.ops->wake_any(rig.transport.self);
    assert_false(lp_net_sleep_begin(rig.net, &next_ns));
    rig_turn(&rig); /* a poll() swallows it */
    assert_true(lp_net_sleep_begin(rig.net, &next_ns));
    lp_net_sleep_end(rig.net);
    rig_close(&rig);
}

static void
a_device_that_wakes_nobody_is_looked_at_soon_and_less_when_nothing_comes(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t next_ns = 0;
    const struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
    rig_open_settled(&rig);
    for (uint32_t i = 0; i < 10; i++) {
        assert_true(lp_net_sleep_begin(rig.net, &next_ns));
        lp_net_sleep_end(rig.net);
    }
    assert_true(next_ns <= rig.clock.now_ns + MILLISECOND);
    assert_true(next_ns > rig.clock.now_ns + MILLISECOND / 2);
    rig_say_arp(&rig, &arp);
    assert_true(lp_net_sleep_begin(rig.net, &next_ns));
    assert_true(next_ns <= rig.clock.now_ns + NET_LOOK_NS);
    lp_net_sleep_end(rig.net);
    rig_close(&rig);
}

static void
what_a_device_refuses_is_offered_again(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t next_ns = 0;
    rig_init(&rig);
    rig.wire_config.end[0].can_wake = true;
    rig_open(&rig);
    rig_pass(&rig, RIG_SETTLE_NS);
    rig_introduce(&rig);
    lp_sim_wire_faults(rig.wire)->refuse = 1000;
    for (uint32_t i = 0; i < 10; i++) {
        assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    }
    assert_true(rig.net->port[0].sending_count > 0);
    assert_true(lp_net_sleep_begin(rig.net, &next_ns));
    assert_true(next_ns <= rig.clock.now_ns + MILLISECOND);
    lp_net_sleep_end(rig.net);
    lp_sim_wire_faults(rig.wire)->refuse = 0;
    rig_turn(&rig);
    uint32_t heard = 0;
    while (rig_hear(&rig) != NULL) {
        heard++;
    }
    assert_int_equal(heard, 10);
    rig_close(&rig);
}

static void
a_device_without_buffers_or_room_makes_senders_wait(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.wire_config.end[0].transmit_ring = 8;
    rig.wire_config.bits_per_second = 10000;
    rig_open(&rig);
    rig_pass(&rig, RIG_SETTLE_NS);
    rig_introduce(&rig);
    rig_pass(&rig, SECOND);
    rig_drain(&rig);
    lp_sim_wire_faults(rig.wire)->dry = 1000;
    assert_false(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    assert_int_equal(rig.net->counters.frames_no_buffer, 1);
    lp_sim_wire_faults(rig.wire)->dry = 0;
    uint32_t sent = 0;
    while (sent < 1000 && rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4)) {
        sent++;
    }
    /* What the ring takes, and a burst that waits for it. */
    assert_in_range(sent, LP_NIC_BURST_MAX, 8 + LP_NIC_BURST_MAX);
    rig_pass(&rig, 10 * SECOND);
    uint32_t heard = 0;
    for (const struct lp_nic_frame *frame = rig_hear(&rig); frame != NULL; frame = rig_hear(&rig)) {
        heard += frame_type(frame) == NET_TYPE_IPV4;
    }
    assert_int_equal(heard, sent);
    assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_contradicts_itself_is_refused),
        cmocka_unit_test(too_little_memory_is_said_and_nothing_is_left_behind),
        cmocka_unit_test(zeros_mean_as_usual),
        cmocka_unit_test(who_sleeps_is_not_asleep_when_frames_wait_or_somebody_wakes_it),
        cmocka_unit_test(a_device_that_wakes_nobody_is_looked_at_soon_and_less_when_nothing_comes),
        cmocka_unit_test(what_a_device_refuses_is_offered_again),
        cmocka_unit_test(a_device_without_buffers_or_room_makes_senders_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
