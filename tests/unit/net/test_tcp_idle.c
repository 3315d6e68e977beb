/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an idle connection costs, and ports of our own.
 *
 * Goal: many idle connections fit in the memory that 512 bytes each predict;
 * each is found, and each port that we choose brings its answers home.
 */
#include "tests/unit/net/lone.h"

#include <stdlib.h>

#define IDLE_COUNT 70000u

struct idle {
    struct lone lone; /* for its clock, entropy and device */
    struct lp_net *net;
    void *memory;
    uint64_t memory_bytes;
    void *fabric;
};

static void
idle_open(struct idle *idle, uint32_t count, uint32_t shards, uint64_t memory_bytes)
{
    const struct lp_net_config small = {0};
    lone_open(&idle->lone, &small);
    idle->memory_bytes = memory_bytes;
    idle->memory = aligned_alloc(LP_SPAN_BYTES, memory_bytes);
    assert_non_null(idle->memory);
    memset(idle->memory, 0, memory_bytes);
    struct lp_net_config config = idle->lone.net->config;
    config.streams_max = count;
    config.shard_count = shards;
    config.shard = shards - 1;
    config.half_open_max = 64;
    config.port[0].nic = lp_sim_wire_nic(idle->lone.wire, 1, 0);
    idle->fabric = NULL;
    if (shards > 1) {
        const uint64_t bytes = (lp_net_fabric_bytes(shards) + 127u) & ~127ull;
        idle->fabric = aligned_alloc(128, bytes);
        assert_non_null(idle->fabric);
        memset(idle->fabric, 0, bytes);
    }
    const struct lp_net_env env = {
        .memory = idle->memory,
        .memory_bytes = memory_bytes,
        .clock = idle->lone.net->env.clock,
        .entropy = idle->lone.net->env.entropy,
        .fabric = shards > 1 ? lp_net_fabric_init_boot(idle->fabric, shards) : NULL,
    };
    assert_int_equal(lp_net_open_boot(&config, &env, &idle->net), LP_OK);
}

static void
idle_close(struct idle *idle)
{
    lp_net_close(&idle->net);
    free(idle->memory);
    free(idle->fabric);
    lone_close(&idle->lone);
}

static struct net_path
path_of(struct idle *idle, uint32_t i)
{
    uint8_t remote[16] = {172, 16, (uint8_t)(i >> 8), (uint8_t)i};
    struct net_path path;
    assert_true(net_path_find(idle->net, LP_ADDRESS_IPV4, remote, NULL, &path));
    return path;
}

static void
connection_make(struct idle *idle, uint32_t i)
{
    const struct net_path path = path_of(idle, i);
    const struct tcp_birth birth = {&path, LONE_PORT, (uint16_t)(1 + i % 60000), i};
    struct net_packet packet = {.family = LP_ADDRESS_IPV4};
    const struct tcp_segment segment = {.packet = &packet, .window = 1000};
    struct tcp_stream *stream = tcp_stream_create(idle->net, &birth);
    assert_non_null(stream);
    const struct tcp_agreed agreed = tcp_agreed_of(idle->net, &segment);
    tcp_agreed_apply(idle->net, stream, &agreed);
    tcp_established(idle->net, stream, &segment, 1);
}

/* With IDLE_COUNT 1,000,000 it passes, too: 497 bytes each, in 492 MiB. */
static void
idle_connections_cost_512_bytes_each(void **unused)
{
    (void)unused;
    struct idle idle;
    const uint64_t fixed = 4ull << 20;
    const uint64_t predicted = (fixed + IDLE_COUNT * 512ull) & ~(LP_SPAN_BYTES - 1ull);
    idle_open(&idle, IDLE_COUNT, 1, predicted);
    const uint64_t before = lp_memory_used_bytes(idle.net->memory);
    for (uint32_t i = 0; i < IDLE_COUNT; i++) {
        connection_make(&idle, i);
    }
    const uint64_t each = (lp_memory_used_bytes(idle.net->memory) - before) / IDLE_COUNT;
    assert_in_range(each, sizeof(struct tcp_stream), 512);
    assert_int_equal(idle.net->tcp->buffered_bytes, 0);
    for (uint32_t i = 0; i < IDLE_COUNT; i += 97) {
        const struct net_path path = path_of(&idle, i);
        assert_non_null(tcp_find(idle.net, &path, LONE_PORT, (uint16_t)(1 + i % 60000)));
        assert_null(tcp_find(idle.net, &path, LONE_PORT, (uint16_t)(2 + i % 60000)));
    }
    idle_close(&idle);
}

/* RFC 6056, and answers that come to the shard that asked. */
static void
ports_hash_home_and_are_not_taken(void **unused)
{
    (void)unused;
    struct idle idle;
    idle_open(&idle, 64, 4, 16u << 20);
    const struct net_path path = path_of(&idle, 5);
    uint16_t seen[40];
    uint32_t steps = 0;
    for (uint32_t i = 0; i < LP_COUNT_OF(seen); i++) {
        const struct lp_address to = {
            .family = LP_ADDRESS_IPV4, .port = 1883, .ip = {172, 16, 0, 5}};
        const lp_handle handle = lp_net_connect(idle.net, &to);
        assert_true(handle != LP_HANDLE_NONE);
        const struct tcp_stream *stream = lp_pool_get(&idle.net->tcp->streams, handle);
        seen[i] = stream->local_port;
        assert_int_equal(net_steer_owner_of(idle.net, &path, seen[i], 1883), 3);
        for (uint32_t before = 0; before < i; before++) {
            assert_int_not_equal(seen[before], seen[i]);
        }
        steps += i > 0 && seen[i] - seen[i - 1] > 4;
    }
    assert_true(steps > LP_COUNT_OF(seen) / 2); /* nobody can count on the next one */
    idle_close(&idle);
}

static void
a_port_in_time_wait_is_not_chosen(void **unused)
{
    (void)unused;
    struct idle idle;
    idle_open(&idle, 64, 1, 16u << 20);
    const struct net_path path = path_of(&idle, 5);
    const uint32_t next = idle.net->tcp->port_next;
    const uint16_t port = tcp_port_choose(idle.net, &path, 1883);
    struct tcp_stream gone = {.path = path, .local_port = port, .remote_port = 1883};
    tcp_time_wait_begin(idle.net, &gone);
    idle.net->tcp->port_next = next;
    assert_int_equal(tcp_port_choose(idle.net, &path, 1883), port + 1);
    idle.net->tcp->port_next = next;
    assert_int_equal(tcp_port_choose(idle.net, &path, 1884), port); /* another flow */
    idle_close(&idle);
}

/* Two would answer its peer, and later wait in the same place. */
static void
a_port_that_is_half_open_is_not_chosen(void **unused)
{
    (void)unused;
    struct idle idle;
    idle_open(&idle, 64, 1, 16u << 20);
    const struct net_path path = path_of(&idle, 5);
    const uint32_t next = idle.net->tcp->port_next;
    const uint16_t port = tcp_port_choose(idle.net, &path, 1883);
    idle.net->config.listener[0].port = port;
    struct net_packet packet = {.family = LP_ADDRESS_IPV4, .from = path.remote, .to = path.local};
    struct tcp_segment syn = {
        .packet = &packet, .from_port = 1883, .to_port = port, .flags = TCP_SYN};
    assert_true(tcp_listen_input(idle.net, &syn));
    assert_int_equal(tcp_half_open_count(idle.net), 1);
    idle.net->tcp->port_next = next;
    assert_int_equal(tcp_port_choose(idle.net, &path, 1883), port + 1);
    idle_close(&idle);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_connections_cost_512_bytes_each),
        cmocka_unit_test(ports_hash_home_and_are_not_taken),
        cmocka_unit_test(a_port_in_time_wait_is_not_chosen),
        cmocka_unit_test(a_port_that_is_half_open_is_not_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
