/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the path's MTU found, whoever says it or nobody, and found again when it
 * grows; and is nobody believed who cannot know?
 *
 * Method: the rig of sender_rig.h, with a path that swallows larger segments,
 * and errors that are true or not.
 */
#include "tests/unit/net/sender_rig.h"

#define SECOND_NS (1000 * RIG_MS)
#define OVERHEAD  52u /* headers and time stamps */

static void
icmp(struct rig *rig, uint32_t seq, uint16_t mtu)
{
    const struct tcp_icmp_error error = {.kind = TCP_ICMP_TOO_BIG, .mtu_bytes = mtu, .seq = seq};
    tcp_icmp_input(&rig->net, &rig->stream->path, &error);
}

/* RFC 1191 6.3, RFC 5927 7: what is in flight goes again, in smaller pieces, and no window shrinks.
 */
static void
a_router_is_believed_about_what_is_in_flight(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig->hole_bytes = 1300 - OVERHEAD;
    rig_begin(rig);
    (void)rig_send(rig, 10 * 1448);
    rig_run(rig, RIG_MS);
    icmp(rig, rig->stream->send_next, 1300); /* never sent */
    icmp(rig, rig->stream->send_una - 1, 1300);
    assert_int_equal(rig->stream->pmtu, 0);
    assert_int_equal(rig->net.counters.icmp_bad, 2);
    icmp(rig, rig->stream->send_una, 1300);
    assert_int_equal(rig->stream->pmtu, 1300);
    assert_int_equal(rig->stream->send_mss, 1300 - OVERHEAD);
    assert_true(rig_transfer(rig, 100000, SECOND_NS) < 200 * RIG_MS);
    assert_int_equal(rig->net.counters.tcp_rto, 0);
    assert_int_equal(rig->net.counters.tcp_fast_recoveries, 0);
    assert_int_equal(rig->net.counters.tcp_pmtu_lowered, 1);
    rig_free(&rig);
}

static void
nobody_is_believed_who_names_a_mtu_of_no_network(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig_begin(rig);
    (void)rig_send(rig, 5000);
    rig_run(rig, RIG_MS);
    icmp(rig, rig->stream->send_una, 68);
    assert_int_equal(rig->stream->pmtu, 576);
    icmp(rig, rig->stream->send_una, 0);
    icmp(rig, rig->stream->send_una, 1400); /* larger than what is known: it says nothing */
    assert_int_equal(rig->stream->pmtu, 576);
    rig_free(&rig);
}

/* RFC 5927 7.2: full packets have arrived, so a smaller MTU has to be shown by a time-out. */
static void
an_error_that_the_path_contradicts_waits_for_a_time_out(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig_begin(rig);
    (void)rig_transfer(rig, 100000, SECOND_NS);
    (void)rig_send(rig, 5000);
    rig_run(rig, RIG_MS);
    icmp(rig, rig->stream->send_una, 600);
    assert_int_equal(rig->stream->pmtu, 0);
    (void)rig_transfer(rig, 0, SECOND_NS); /* it arrives: it was a lie */
    assert_int_equal(rig->stream->pmtu_claimed, 0);

    rig->hole_bytes = 600 - OVERHEAD; /* and now the path did change */
    (void)rig_send(rig, 5000);
    rig_run(rig, RIG_MS);
    icmp(rig, rig->stream->send_una, 600);
    assert_true(rig_transfer(rig, 100000, 5 * SECOND_NS) != UINT64_MAX);
    assert_int_equal(rig->stream->pmtu, 600);
    rig_free(&rig);
}

/* RFC 4821 7.7, RFC 8899 4.3. */
static void
a_path_that_swallows_large_packets_is_found_out(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t mtu;
        uint32_t found;
    } rows[] = {{1280, 1200}, {1000, 576}};
    for (uint32_t i = 0; i < LP_COUNT_OF(rows); i++) {
        struct rig *rig = rig_make(1);
        rig->hole_bytes = rows[i].mtu - OVERHEAD;
        rig_begin(rig);
        assert_true(rig_transfer(rig, 1u << 20, 100 * SECOND_NS) != UINT64_MAX);
        assert_int_equal(rig->stream->pmtu, rows[i].found);
        rig_free(&rig);
    }
}

/* RFC 8899 5.3: ten minutes later it is wide again, or a little wider. */
static void
a_wider_path_is_found_with_data_that_is_not_lost(void **unused)
{
    (void)unused;
    static const uint32_t mtus[] = {1500, 1400, 1201};
    for (uint32_t i = 0; i < LP_COUNT_OF(mtus); i++) {
        struct rig *rig = rig_make(1);
        rig->hole_bytes = 1200 - OVERHEAD;
        rig_begin(rig);
        (void)rig_send(rig, 10 * 1448);
        rig_run(rig, RIG_MS);
        icmp(rig, rig->stream->send_una, 1200);
        (void)rig_transfer(rig, 100000, SECOND_NS);
        assert_int_equal(rig->stream->pmtu, 1200);
        const uint64_t again = rig->net.counters.tcp_fast_recoveries;
        rig->hole_bytes = mtus[i] - OVERHEAD;
        rig_run(rig, 601 * SECOND_NS);
        for (uint32_t j = 0; j < 40; j++) {
            assert_true(rig_transfer(rig, 200000, 5 * SECOND_NS) != UINT64_MAX);
            rig_run(rig, SECOND_NS);
        }
        assert_in_range(rig->stream->pmtu, mtus[i] - 32, mtus[i]);
        assert_int_equal(rig->net.counters.tcp_fast_recoveries, again);
        assert_int_equal(rig->net.counters.tcp_rto, 0);
        assert_int_equal(rig->stream->pmtu_probe, 0);
        rig_free(&rig);
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_router_is_believed_about_what_is_in_flight),
        cmocka_unit_test(nobody_is_believed_who_names_a_mtu_of_no_network),
        cmocka_unit_test(an_error_that_the_path_contradicts_waits_for_a_time_out),
        cmocka_unit_test(a_path_that_swallows_large_packets_is_found_out),
        cmocka_unit_test(a_wider_path_is_found_with_data_that_is_not_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
