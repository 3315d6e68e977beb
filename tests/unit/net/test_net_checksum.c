/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 1071: the sum is the same however the data lies, whatever its length.
 *
 * Method: the RFC's own example, and a sum of words one by one beside it.
 */
#include "tests/unit/net/net_rig.h"

static uint16_t
sum_slowly(const uint8_t *data, size_t bytes, uint32_t sum)
{
    uint64_t all = sum;
    for (size_t i = 0; i < bytes; i++) {
        all += (uint64_t)data[i] << (i % 2 == 0 ? 8 : 0);
    }
    while (all > 0xffff) {
        all = (all & 0xffff) + (all >> 16);
    }
    return (uint16_t)all;
}

static void
the_example_of_rfc_1071_sums_to_what_it_says(void **state)
{
    (void)state;
    const uint8_t data[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    assert_int_equal(net_sum(data, sizeof(data), 0), 0xddf2);
}

static void
any_length_at_any_place_sums_like_words_one_by_one(void **state)
{
    (void)state;
    struct random random = {7};
    uint8_t data[4096];
    for (uint32_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)random_next(&random);
    }
    for (uint32_t i = 0; i < 4000; i++) {
        const uint32_t at = random_below(&random, 64);
        const uint32_t bytes = i < 200 ? i : random_below(&random, 4000);
        const uint32_t before = (uint32_t)random_next(&random) & 0x3ffffu;
        assert_int_equal(net_sum(data + at, bytes, before), sum_slowly(data + at, bytes, before));
    }
    memset(data, 0xff, sizeof(data));
    assert_int_equal(net_sum(data, 4096, 0), 0xffff);
    assert_int_equal(net_sum(data, 0, 0), 0);
}

static void
a_packet_with_its_checksum_sums_to_all_ones_and_one_bit_less_does_not(void **state)
{
    (void)state;
    uint8_t header[20] = {0x45, 0, 0,    0x73, 0, 0, 0x40, 0,    0x40, 0x11,
                          0,    0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0,    0xc7};
    lp_put_u16be(header + 10, (uint16_t)~net_sum(header, 20, 0));
    assert_int_equal(get_u16(header + 10), 0xb861);
    assert_int_equal(net_sum(header, 20, 0), 0xffff);
    for (uint32_t bit = 0; bit < 160; bit++) {
        header[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(net_sum(header, 20, 0), 0xffff);
        header[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void
a_pseudo_header_is_addresses_protocol_and_length(void **state)
{
    (void)state;
    uint8_t pseudo[40] = {0};
    memcpy(pseudo, our_ip4, 4);
    memcpy(pseudo + 4, peer_ip4, 4);
    pseudo[9] = 6;
    lp_put_u16be(pseudo + 10, 1000);
    assert_int_equal(net_sum(NULL, 0, net_sum_pseudo(LP_ADDRESS_IPV4, our_ip4, peer_ip4, 6, 1000)),
                     sum_slowly(pseudo, 12, 0));
    memcpy(pseudo, our_ip6, 16);
    memcpy(pseudo + 16, peer_ip6, 16);
    lp_put_u32be(pseudo + 32, 70000);
    lp_put_u32be(pseudo + 36, 58);
    assert_int_equal(
        net_sum(NULL, 0, net_sum_pseudo(LP_ADDRESS_IPV6, our_ip6, peer_ip6, 58, 70000)),
        sum_slowly(pseudo, 40, 0));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_rfc_1071_sums_to_what_it_says),
        cmocka_unit_test(any_length_at_any_place_sums_like_words_one_by_one),
        cmocka_unit_test(a_packet_with_its_checksum_sums_to_all_ones_and_one_bit_less_does_not),
        cmocka_unit_test(a_pseudo_header_is_addresses_protocol_and_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
