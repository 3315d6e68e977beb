/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the sending half of TCP get every byte across, whatever the wire does,
 * and as soon as its rules allow?
 *
 * Method: the rig of sender_rig.h: a connection, a bad wire, a receiver that
 * keeps a flag for each byte.  Each byte that leaves is compared with what was
 * given to send(); the scoreboard is walked after each moment.
 */
#include "tests/unit/net/sender_rig.h"

#define SECOND_NS (1000 * RIG_MS)

static void
a_clean_wire_carries_everything_once(void **unused)
{
    (void)unused;
    for (uint32_t tso = 0; tso < 2; tso++) {
        struct rig *rig = rig_make(1);
        rig->tso_bytes = tso == 0 ? 0 : 65000;
        rig_begin(rig);
        const uint64_t took_ns = rig_transfer(rig, 8u << 20, 60 * SECOND_NS);
        assert_true(took_ns < SECOND_NS);
        assert_int_equal(rig->net.counters.tcp_retransmitted, 0);
        assert_int_equal(rig->net.counters.tcp_rto, 0);
        assert_null(rig->stream->scoreboard); /* idle: nothing hangs off it */
        assert_null(rig->stream->sending.head);
        assert_false(lp_timer_armed(&rig->stream->timer));
        assert_int_equal(rig->tcp.buffered_bytes, 0);
        rig_free(&rig);
    }
}

static void
bad_wires_lose_time_and_no_byte(void **unused)
{
    (void)unused;
    static const struct {
        struct rig_wire wire;
        uint32_t bytes;
        uint64_t limit_s;
        bool sack;
        bool timestamps;
        bool newreno;
        uint32_t tso_bytes;
    } cases[] = {
        {{5 * RIG_MS, 0, 10, 10, 0, 0, 0}, 4u << 20, 20, true, true, false, 0},
        {{5 * RIG_MS, 0, 100, 100, 0, 0, 0}, 4u << 20, 40, true, true, false, 65000},
        {{5 * RIG_MS, 0, 500, 500, 0, 0, 0}, 2u << 20, 60, true, true, false, 0},
        {{5 * RIG_MS, 0, 2000, 2000, 0, 0, 0}, 256u << 10, 200, true, true, false, 0},
        {{5 * RIG_MS, 0, 4000, 2000, 0, 0, 0}, 64u << 10, 2000, true, true, true, 0},
        {{5 * RIG_MS, 3 * RIG_MS, 100, 0, 100, 0, 0}, 1u << 20, 60, true, true, false, 65000},
        {{5 * RIG_MS, 40 * RIG_MS, 100, 100, 100, 0, 0}, 1u << 20, 60, true, false, true, 0},
        {{5 * RIG_MS, 0, 100, 100, 0, 0, 0}, 1u << 20, 100, false, true, true, 0},
        {{5 * RIG_MS, 3 * RIG_MS, 500, 500, 100, 0, 0}, 256u << 10, 300, false, false, false, 0},
        {{50000, 0, 100, 0, 0, 0, 0}, 4u << 20, 10, true, true, false, 65000},
        {{20 * RIG_MS, 0, 0, 0, 0, 2u << 20, 80u << 10}, 4u << 20, 10, true, true, false, 0},
        {{20 * RIG_MS, 0, 0, 0, 0, 2u << 20, 80u << 10}, 4u << 20, 10, true, true, true, 65000},
        {{20 * RIG_MS, 0, 0, 0, 0, 2u << 20, 20u << 10}, 4u << 20, 30, false, false, true, 0},
    };
    for (uint32_t i = 0; i < LP_COUNT_OF(cases); i++) {
        for (uint64_t seed = 1; seed <= 2; seed++) {
            struct rig *rig = rig_make(seed);
            rig->wire = cases[i].wire;
            rig->tso_bytes = cases[i].tso_bytes;
            rig->stream->sack = cases[i].sack;
            rig->stream->timestamps = cases[i].timestamps;
            rig->net.config.congestion = cases[i].newreno ? LP_NET_NEWRENO : LP_NET_CUBIC;
            rig_begin(rig);
            const uint64_t took_ns =
                rig_transfer(rig, cases[i].bytes, cases[i].limit_s * SECOND_NS);
            if (took_ns == UINT64_MAX) {
                print_message("case %u, seed %u: %u of %u\n", i, (uint32_t)seed, rig->next,
                              cases[i].bytes);
            }
            assert_true(took_ns != UINT64_MAX);
            rig_free(&rig);
        }
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clean_wire_carries_everything_once),
        cmocka_unit_test(bad_wires_lose_time_and_no_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
