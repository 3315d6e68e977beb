/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may happen to a connection in which state, and what speaking out of
 * turn costs.
 *
 * Method: one test walks the handshake that a client is meant to make; others
 * visit every (state, event) pair, so that no state or event can be added
 * without an answer for each of the others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/protocol/amqp091/conn_fsm.h"

static void
handshake_in_order_opens_and_closes_the_connection(void **unused)
{
    (void)unused;
    static const struct {
        enum amqp091_conn_event say;
        enum amqp091_conn_action expect;
    } script[] = {
        {AMQP091_EV_HEADER_GOOD, AMQP091_DO_SEND_START},
        {AMQP091_EV_START_OK, AMQP091_DO_LOGIN},
        {AMQP091_EV_LOGIN_DONE, AMQP091_DO_SEND_TUNE},
        {AMQP091_EV_TUNE_OK, AMQP091_DO_TUNE},
        {AMQP091_EV_OPEN, AMQP091_DO_OPEN},
        {AMQP091_EV_OPEN_DONE, AMQP091_DO_SEND_OPEN_OK},
        {AMQP091_EV_OTHER, AMQP091_DO_METHOD},
        {AMQP091_EV_CLOSE, AMQP091_DO_DRAIN},
        {AMQP091_EV_DRAINED, AMQP091_DO_ANSWER},
        {AMQP091_EV_OTHER, AMQP091_DO_NOTHING},
        {AMQP091_EV_GONE, AMQP091_DO_RELEASE},
    };
    enum amqp091_conn_state state = AMQP091_CONN_WAIT_HEADER;
    for (size_t i = 0; i < sizeof(script) / sizeof(script[0]); i++) {
        const struct amqp091_conn_step step = amqp091_conn_step(state, script[i].say);
        assert_int_equal(step.action, script[i].expect);
        state = step.next;
    }
    assert_int_equal(state, AMQP091_CONN_CLOSED);
}

static void
every_pair_has_an_answer_and_only_open_opens(void **unused)
{
    (void)unused;
    for (unsigned state = 0; state < AMQP091_CONN_COUNT; state++) {
        for (unsigned event = 0; event < AMQP091_EV_COUNT; event++) {
            const struct amqp091_conn_step step = amqp091_conn_step(state, event);
            assert_in_range(step.next, 0, AMQP091_CONN_COUNT - 1);
            if (step.code != 0) {
                assert_int_equal(step.action, AMQP091_DO_SEND_CLOSE);
            }
            if (step.next == AMQP091_CONN_OPEN && state != AMQP091_CONN_OPEN) {
                assert_int_equal(event, AMQP091_EV_OPEN_DONE);
            }
            /* Nothing revives what is ending. */
            if (state > AMQP091_CONN_OPEN) {
                assert_true(step.next > AMQP091_CONN_OPEN);
            }
        }
    }
}

static void
strangers_out_of_turn_get_no_word(void **unused)
{
    (void)unused;
    for (unsigned state = 0; state <= AMQP091_CONN_WAIT_TUNE_OK; state++) {
        const struct amqp091_conn_step step = amqp091_conn_step(state, AMQP091_EV_OTHER);
        assert_true(step.next == AMQP091_CONN_SILENT || step.next == AMQP091_CONN_CLOSED);
        assert_int_not_equal(step.action, AMQP091_DO_SEND_CLOSE);
    }
}

static void
known_peers_out_of_turn_get_504(void **unused)
{
    (void)unused;
    static const enum amqp091_conn_state states[] = {AMQP091_CONN_WAIT_OPEN, AMQP091_CONN_OPENING,
                                                     AMQP091_CONN_OPEN};
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        const struct amqp091_conn_step step = amqp091_conn_step(states[i], AMQP091_EV_START_OK);
        assert_int_equal(step.next, AMQP091_CONN_CLOSING);
        assert_int_equal(step.action, AMQP091_DO_SEND_CLOSE);
        assert_int_equal(step.code, 504);
    }
}

static void
a_lost_stream_gives_everything_back_in_every_state(void **unused)
{
    (void)unused;
    for (unsigned state = 0; state < AMQP091_CONN_COUNT; state++) {
        const struct amqp091_conn_step step = amqp091_conn_step(state, AMQP091_EV_GONE);
        assert_int_equal(step.next, AMQP091_CONN_CLOSED);
        assert_int_equal(step.action, AMQP091_DO_RELEASE);
    }
}

static void
every_state_that_waits_for_the_peer_ends_when_its_time_is_up(void **unused)
{
    (void)unused;
    for (unsigned state = 0; state < AMQP091_CONN_CLOSED; state++) {
        const struct amqp091_conn_step step = amqp091_conn_step(state, AMQP091_EV_EXPIRED);
        if (state != AMQP091_CONN_LOGIN) { /* that one waits for the control process */
            assert_int_equal(step.next, AMQP091_CONN_CLOSED);
            assert_int_equal(step.action, AMQP091_DO_DROP);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshake_in_order_opens_and_closes_the_connection),
        cmocka_unit_test(every_pair_has_an_answer_and_only_open_opens),
        cmocka_unit_test(strangers_out_of_turn_get_no_word),
        cmocka_unit_test(known_peers_out_of_turn_get_504),
        cmocka_unit_test(a_lost_stream_gives_everything_back_in_every_state),
        cmocka_unit_test(every_state_that_waits_for_the_peer_ends_when_its_time_is_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
