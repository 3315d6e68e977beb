/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose flow: the hash of devices.
 *
 * Method: Microsoft's verification suite ("Verifying the RSS Hash
 * Calculation"), and the table beside the loop over bits.
 */
#include "tests/unit/net/net_rig.h"

static const uint8_t key[40] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

struct vector4 {
    uint8_t to[4];
    uint16_t to_port;
    uint8_t from[4];
    uint16_t from_port;
    uint32_t ip_hash;
    uint32_t tcp_hash;
};

static const struct vector4 vectors4[] = {
    {{161, 142, 100, 80}, 1766, {66, 9, 149, 187}, 2794, 0x323e8fc2, 0x51ccc178},
    {{65, 69, 140, 83}, 4739, {199, 92, 111, 2}, 14230, 0xd718262a, 0xc626b0ea},
    {{12, 22, 207, 184}, 38024, {24, 19, 198, 95}, 12898, 0xd2d0a5de, 0x5c2b394a},
    {{209, 142, 163, 6}, 2217, {38, 27, 205, 30}, 48228, 0x82989176, 0xafc7327f},
    {{202, 188, 127, 2}, 1303, {153, 39, 163, 191}, 44251, 0x5d1809c5, 0x10e828a2},
};

struct vector6 {
    uint8_t to[16];
    uint16_t to_port;
    uint8_t from[16];
    uint16_t from_port;
    uint32_t ip_hash;
    uint32_t tcp_hash;
};

static const struct vector6 vectors6[] = {
    {{0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x00, 0x03, [15] = 1},
     1766,
     {0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, [15] = 7},
     2794,
     0x2cc18cd5,
     0x40207d3d},
    {{0xff, 0x02, [15] = 1},
     4739,
     {0x3f, 0xfe, 0x05, 0x01, 0x00, 0x08, 0x00, 0x00, 0x02, 0x60, 0x97, 0xff, 0xfe, 0x40, 0xef,
      0xab},
     14230,
     0x0f0c461c,
     0xdde51bbf},
    {{0xfe, 0x80, [8] = 0x02, 0x00, 0xf8, 0xff, 0xfe, 0x21, 0x67, 0xcf},
     38024,
     {0x3f, 0xfe, 0x19, 0x00, 0x45, 0x45, 0x00, 0x03, 0x02, 0x00, 0xf8, 0xff, 0xfe, 0x21, 0x67,
      0xcf},
     44251,
     0x4b61e985,
     0x02d1feef},
};

static uint32_t
input_make(uint8_t *to, const uint8_t *ips[2], uint32_t bytes, const uint16_t ports[2])
{
    uint8_t *at = lp_put_bytes(to, ips[0], bytes);
    at = lp_put_bytes(at, ips[1], bytes);
    at = lp_put_u16be(at, ports[0]);
    at = lp_put_u16be(at, ports[1]);
    return (uint32_t)(at - to);
}

static void
hashes_are_those_of_microsofts_verification_suite(void **state)
{
    (void)state;
    uint8_t input[36];
    for (uint32_t i = 0; i < LP_COUNT_OF(vectors4); i++) {
        const struct vector4 *v = &vectors4[i];
        const uint32_t bytes = input_make(input, (const uint8_t *[]){v->from, v->to}, 4,
                                          (const uint16_t[]){v->from_port, v->to_port});
        assert_int_equal(net_toeplitz(key, input, 8), v->ip_hash);
        assert_int_equal(net_toeplitz(key, input, bytes), v->tcp_hash);
    }
    for (uint32_t i = 0; i < LP_COUNT_OF(vectors6); i++) {
        const struct vector6 *v = &vectors6[i];
        const uint32_t bytes = input_make(input, (const uint8_t *[]){v->from, v->to}, 16,
                                          (const uint16_t[]){v->from_port, v->to_port});
        assert_int_equal(net_toeplitz(key, input, 32), v->ip_hash);
        assert_int_equal(net_toeplitz(key, input, bytes), v->tcp_hash);
    }
}

struct four {
    struct arena arena;
    struct lp_net *net;
};

/* As much of an instance as steering looks at: four shards, two ports. */
static void
four_open(struct four *four)
{
    arena_init(&four->arena, 4u << 20);
    four->net = calloc(1, sizeof(*four->net));
    assert_non_null(four->net);
    four->net->memory = four->arena.memory;
    four->net->config.shard_count = 4;
    four->net->config.port_count = 2;
}

static void
four_close(struct four *four)
{
    void *block = four->net->steer;
    lp_memory_release(four->arena.memory, &block);
    arena_fini(&four->arena);
    free(four->net);
}

static void
an_owner_is_the_bucket_of_the_hash_modulo_the_shards(void **state)
{
    (void)state;
    struct four four;
    four_open(&four);
    assert_int_equal(net_steer_init_boot(four.net), LP_OK);
    for (uint32_t i = 0; i < LP_COUNT_OF(vectors4); i++) {
        const struct vector4 *v = &vectors4[i];
        struct lp_nic_frame frame = {0};
        const struct net_packet packet = {
            .frame = &frame, .family = LP_ADDRESS_IPV4, .from = v->from, .to = v->to};
        assert_int_equal(net_steer_owner(four.net, &packet, v->from_port, v->to_port),
                         v->tcp_hash % 128 % 4);
    }
    for (uint32_t i = 0; i < LP_COUNT_OF(vectors6); i++) {
        const struct vector6 *v = &vectors6[i];
        struct lp_nic_frame frame = {0};
        const struct net_packet packet = {
            .frame = &frame, .family = LP_ADDRESS_IPV6, .from = v->from, .to = v->to};
        assert_int_equal(net_steer_owner(four.net, &packet, v->from_port, v->to_port),
                         v->tcp_hash % 128 % 4);
    }
    four_close(&four);
}

static void
what_we_open_belongs_to_whom_its_answers_go_to(void **state)
{
    (void)state;
    struct four four;
    struct random random = {3};
    four_open(&four);
    assert_int_equal(net_steer_init_boot(four.net), LP_OK);
    for (uint32_t i = 0; i < 1000; i++) {
        struct net_path path = {.family = i % 2 == 0 ? LP_ADDRESS_IPV4 : LP_ADDRESS_IPV6};
        for (uint32_t b = 0; b < 16; b++) {
            path.local[b] = (uint8_t)random_next(&random);
            path.remote[b] = (uint8_t)random_next(&random);
        }
        const uint16_t local_port = (uint16_t)random_next(&random);
        const uint16_t remote_port = (uint16_t)random_next(&random);
        struct lp_nic_frame frame = {0};
        const struct net_packet answer = {
            .frame = &frame, .family = path.family, .from = path.remote, .to = path.local};
        uint8_t input[36];
        const uint32_t bytes =
            input_make(input, (const uint8_t *[]){path.remote, path.local},
                       net_ip_bytes(path.family), (const uint16_t[]){remote_port, local_port});
        const uint32_t owner = net_steer_owner_of(four.net, &path, local_port, remote_port);
        assert_int_equal(owner, net_steer_owner(four.net, &answer, remote_port, local_port));
        assert_int_equal(owner, net_toeplitz(key, input, bytes) % 128 % 4);
    }
    four_close(&four);
}

static void
a_devices_hash_is_believed_when_its_key_is_ours_only(void **state)
{
    (void)state;
    struct four four;
    four_open(&four);
    for (uint32_t i = 0; i < 2; i++) {
        four.net->port[i].caps.hash = true;
        memset(four.net->port[i].caps.rss_key, (int)(0x11 + i), 40);
    }
    assert_int_equal(net_steer_init_boot(four.net), LP_OK);
    struct lp_nic_frame frame = {.flow_hash = 7};
    struct net_packet packet = {
        .frame = &frame, .family = LP_ADDRESS_IPV4, .from = peer_ip4, .to = our_ip4};
    assert_int_equal(net_steer_owner(four.net, &packet, 1, 2), 7 % 4);
    packet.port = 1; /* another key: the hash is made here, with the first device's */
    frame.flow_hash = 0;
    const uint32_t owner = net_steer_owner(four.net, &packet, 1, 2);
    for (uint32_t hash = 1; hash < 9; hash++) {
        frame.flow_hash = hash;
        assert_int_equal(net_steer_owner(four.net, &packet, 1, 2), owner);
    }
    four_close(&four);
}

static void
one_shard_owns_everything(void **state)
{
    (void)state;
    struct lp_net *net = calloc(1, sizeof(*net));
    assert_non_null(net);
    net->config.shard_count = 1;
    assert_int_equal(net_steer_init_boot(net), LP_OK);
    const struct net_path path = {.family = LP_ADDRESS_IPV4};
    assert_int_equal(net_steer_owner_of(net, &path, 1, 2), 0);
    free(net);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_those_of_microsofts_verification_suite),
        cmocka_unit_test(an_owner_is_the_bucket_of_the_hash_modulo_the_shards),
        cmocka_unit_test(what_we_open_belongs_to_whom_its_answers_go_to),
        cmocka_unit_test(a_devices_hash_is_believed_when_its_key_is_ours_only),
        cmocka_unit_test(one_shard_owns_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
