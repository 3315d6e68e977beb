/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two of our own stacks talk over a simulated wire.
 *
 * Goal: connections are made, carry bytes both ways bit by bit, and end, over
 * a good wire and over bad ones, and leave nothing behind.
 */
#include "tests/unit/net/pair.h"

#define BULK_BYTES (1024u * 1024u)

static uint8_t *
pattern_make(uint32_t bytes)
{
    uint8_t *data = malloc(bytes);
    assert_non_null(data);
    for (uint32_t i = 0; i < bytes; i++) {
        data[i] = pair_byte(i);
    }
    return data;
}

static void
connect_echo_and_close_leave_nothing_behind(void **unused)
{
    (void)unused;
    struct pair pair;
    const struct lp_sim_wire_config wire = lp_sim_wire_config_default(1);
    const struct lp_net_config config = {0};
    pair_open(&pair, &wire, &config);
    pair.end[0].echo = true;
    pair.end[0].close_when_ended = true;
    pair_connect(&pair);
    pair_run(&pair, 20 * PAIR_MS);
    assert_int_equal(pair.end[0].accepted, 1);
    assert_int_equal(pair.end[1].connected, 1);

    uint8_t *data = pattern_make(1000);
    pair_send(&pair.end[1], data, 1000);
    pair_run(&pair, 100 * PAIR_MS);
    assert_int_equal(pair.end[1].sent_bytes, 1000);
    assert_int_equal(pair.end[0].received_bytes, 1000);
    assert_int_equal(pair.end[1].received_bytes, 1000);

    pair.end[1].transport.ops->close(pair.end[1].net, pair.end[1].stream);
    pair_run(&pair, 200 * PAIR_MS);
    assert_int_equal(pair.end[1].closed, 1);
    assert_int_equal(pair.end[0].ended, 1);
    assert_int_equal(pair.end[0].closed, 1);
    assert_int_equal(pair.end[1].ended, 0);
    assert_true(pair_at_rest(&pair));
    free(data);
    pair_close(&pair);
}

static void
bulk_over(const struct lp_sim_wire_config *wire, uint64_t limit_ns)
{
    struct pair pair;
    const struct lp_net_config config = {0};
    pair_open(&pair, wire, &config);
    pair.end[0].close_when_ended = true;
    pair_connect(&pair);
    const uint64_t until = pair.now_ns + limit_ns;
    while (pair.end[1].connected == 0 && pair.now_ns < until) {
        pair_step(&pair, PAIR_MS);
    }
    uint8_t *data = pattern_make(BULK_BYTES);
    pair_send(&pair.end[1], data, BULK_BYTES);
    while (pair.end[0].received_bytes < BULK_BYTES && pair.now_ns < until) {
        pair_step(&pair, PAIR_MS);
    }
    assert_int_equal(pair.end[0].received_bytes, BULK_BYTES);
    assert_int_equal(pair.end[1].sent_bytes, BULK_BYTES);
    pair.end[1].transport.ops->close(pair.end[1].net, pair.end[1].stream);
    while (!pair_at_rest(&pair) && pair.now_ns < until) {
        pair_step(&pair, PAIR_MS);
    }
    assert_true(pair_at_rest(&pair));
    assert_int_equal(pair.end[0].closed, 1);
    free(data);
    pair_close(&pair);
}

static void
a_megabyte_arrives_as_it_was_sent(void **unused)
{
    (void)unused;
    const struct lp_sim_wire_config wire = lp_sim_wire_config_default(2);
    bulk_over(&wire, 10000 * PAIR_MS);
}

static void
a_megabyte_arrives_over_any_weather(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct lp_sim_wire_config wire = lp_sim_wire_config_default(seed);
        wire.faults = (struct lp_sim_wire_faults){
            .lose = seed % 3 == 0 ? 50 : 10,
            .duplicate = 10,
            .reorder = 20,
            .corrupt = 5,
            .truncate = 5,
            .dry = 5,
            .refuse = 5,
            .reorder_ns_max = 2 * PAIR_MS,
            .jitter_ns_max = 100000,
        };
        bulk_over(&wire, 600000 * PAIR_MS);
    }
}

static void
offloads_change_nothing(void **unused)
{
    (void)unused;
    struct lp_sim_wire_config wire = lp_sim_wire_config_default(3);
    for (uint32_t i = 0; i < 2; i++) {
        wire.end[i].l4_fill = true;
        wire.end[i].tso = true;
        wire.end[i].gro = true;
        wire.end[i].partial = i == 0;
    }
    bulk_over(&wire, 10000 * PAIR_MS);
}

static void
a_port_where_nobody_listens_refuses(void **unused)
{
    (void)unused;
    struct pair pair;
    const struct lp_sim_wire_config wire = lp_sim_wire_config_default(4);
    const struct lp_net_config config = {0};
    pair_open(&pair, &wire, &config);
    pair.end[1].close_when_ended = true;
    struct lp_address to = {.family = LP_ADDRESS_IPV4, .port = 1, .ip = {10, 0, 0, 1}};
    pair.end[1].stream = lp_net_connect(pair.end[1].net, &to);
    pair_run(&pair, 50 * PAIR_MS);
    assert_int_equal(pair.end[1].connected, 0);
    assert_int_equal(pair.end[1].ended, 1);
    assert_int_equal(pair.end[1].closed, 1);
    assert_int_equal(lp_net_counters_of(pair.end[0].net)->tcp_refused, 1);
    assert_true(pair_at_rest(&pair));
    pair_close(&pair);
}

static void
what_is_not_taken_closes_the_window_and_arrives_later(void **unused)
{
    (void)unused;
    struct pair pair;
    const struct lp_sim_wire_config wire = lp_sim_wire_config_default(5);
    const struct lp_net_config config = {0};
    pair_open(&pair, &wire, &config);
    pair_connect(&pair);
    pair_run(&pair, 20 * PAIR_MS);
    const struct lp_transport_ops *ops = pair.end[0].transport.ops;
    ops->receive_stop(pair.end[0].net, pair.end[0].stream);
    uint8_t *data = pattern_make(BULK_BYTES);
    pair_send(&pair.end[1], data, BULK_BYTES);
    pair_run(&pair, 3000 * PAIR_MS);
    assert_int_equal(pair.end[0].received_bytes, 0);
    assert_true(lp_net_counters_of(pair.end[0].net)->tcp_window_closed > 0);
    ops->receive_start(pair.end[0].net, pair.end[0].stream);
    pair_run(&pair, 3000 * PAIR_MS);
    assert_int_equal(pair.end[0].received_bytes, BULK_BYTES);
    free(data);
    pair_close(&pair);
}

/* An open to a port that we choose ourselves, so that both ends can name each other. */
static struct tcp_stream *
open_exactly(struct pair_end *end, uint16_t local_port, uint16_t remote_port)
{
    const uint8_t remote[16] = {10, 0, 0, end == &end->pair->end[0] ? 2 : 1};
    struct net_path path;
    assert_true(net_path_find(end->net, LP_ADDRESS_IPV4, remote, NULL, &path));
    const struct tcp_birth birth = {&path, local_port, remote_port, 1000u * local_port};
    struct tcp_stream *stream = tcp_stream_create(end->net, &birth);
    assert_non_null(stream);
    tcp_receive_begin(end->net, stream, UINT32_MAX);
    stream->receive_shift = tcp_receive_shift(end->net);
    stream->send_next = birth.isn + 1u;
    stream->send_end = birth.isn + 1u;
    stream->idle_ns = end->net->now_ns + TCP_SECOND_NS;
    tcp_syn_send(end->net, stream);
    tcp_timer_update(end->net, stream);
    end->stream = lp_pool_self(stream);
    return stream;
}

/* RFC 9293 3.5, figure 8. */
static void
both_may_open_at_once(void **unused)
{
    (void)unused;
    for (uint32_t lose = 0; lose <= 400; lose += 200) {
        struct pair pair;
        struct lp_sim_wire_config wire = lp_sim_wire_config_default(6 + lose);
        const struct lp_net_config config = {0};
        pair_open(&pair, &wire, &config);
        pair_run(&pair, 20 * PAIR_MS);
        lp_sim_wire_faults(pair.wire)->lose = lose;
        (void)open_exactly(&pair.end[0], 7000, 7001);
        (void)open_exactly(&pair.end[1], 7001, 7000);
        pair_run(&pair, (lose == 0 ? 20 : 60000) * PAIR_MS);
        assert_int_equal(pair.end[0].connected, 1);
        assert_int_equal(pair.end[1].connected, 1);
        lp_sim_wire_faults(pair.wire)->lose = 0;
        uint8_t *data = pattern_make(5000);
        pair_send(&pair.end[0], data, 5000);
        pair_send(&pair.end[1], data, 3000);
        pair_run(&pair, 5000 * PAIR_MS);
        assert_int_equal(pair.end[0].received_bytes, 3000);
        assert_int_equal(pair.end[1].received_bytes, 5000);
        free(data);
        pair_close(&pair);
    }
}

/* RFC 9293 3.6, case 3. */
static void
both_may_close_at_once(void **unused)
{
    (void)unused;
    struct pair pair;
    const struct lp_sim_wire_config wire = lp_sim_wire_config_default(7);
    const struct lp_net_config config = {.time_wait_ms = 1000};
    pair_open(&pair, &wire, &config);
    pair_connect(&pair);
    pair_run(&pair, 20 * PAIR_MS);
    for (uint32_t i = 0; i < 2; i++) {
        struct pair_end *end = &pair.end[i];
        end->transport.ops->close(end->net, end->stream);
    }
    pair_run(&pair, 20 * PAIR_MS);
    assert_int_equal(pair.end[0].closed, 1);
    assert_int_equal(pair.end[1].closed, 1);
    assert_true(pair_at_rest(&pair));
    assert_int_equal(lp_net_counters_of(pair.end[0].net)->tcp_resets_sent, 0);
    assert_int_equal(lp_net_counters_of(pair.end[1].net)->tcp_resets_sent, 0);
    pair_close(&pair);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connect_echo_and_close_leave_nothing_behind),
        cmocka_unit_test(a_megabyte_arrives_as_it_was_sent),
        cmocka_unit_test(offloads_change_nothing),
        cmocka_unit_test(a_port_where_nobody_listens_refuses),
        cmocka_unit_test(what_is_not_taken_closes_the_window_and_arrives_later),
        cmocka_unit_test(both_may_open_at_once),
        cmocka_unit_test(both_may_close_at_once),
        cmocka_unit_test(a_megabyte_arrives_over_any_weather),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
