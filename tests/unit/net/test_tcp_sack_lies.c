/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can a peer's acknowledgements break the sending half, or make it work hard?
 *
 * Method: a connection that sends, and acknowledgements that are invented:
 * numbers, blocks, echoes, windows, all of them near what would be true. The
 * scoreboard is walked after each; nothing is asserted but that it holds, that
 * bytes that left are those that were given, and that in the end an honest
 * peer is served again.
 */
#include "tests/unit/net/sender_rig.h"

static uint32_t
near(struct rig *rig, uint32_t seq)
{
    const uint32_t by = random_below(&rig->random, 4) == 0 ? 1u << 20 : 6000;
    return seq + random_below(&rig->random, by) - by / 2;
}

/* A number that is something's edge, or beside one. */
static uint32_t
any_seq(struct rig *rig)
{
    const struct tcp_stream *stream = rig->stream;
    const struct tcp_scoreboard *board = stream->scoreboard;
    switch (random_below(&rig->random, 6)) {
    case 0:
        return stream->send_una;
    case 1:
        return stream->send_next;
    case 2:
        return near(rig, stream->send_una);
    case 3:
        return near(rig, stream->send_next);
    case 4:
        return (uint32_t)random_next(&rig->random);
    default:
        break;
    }
    if (board == NULL || board->count == 0) {
        return stream->send_una;
    }
    const uint32_t slot =
        (board->head + random_below(&rig->random, board->count)) & (board->room - 1u);
    return random_below(&rig->random, 2) == 0 ? board->sent[slot].start : board->sent[slot].end;
}

static void
lie(struct rig *rig)
{
    struct tcp_stream *stream = rig->stream;
    struct tcp_segment segment = {
        .seq = 1000 + random_below(&rig->random, 3),
        .ack = random_below(&rig->random, 3) == 0 ? any_seq(rig) : stream->send_una,
        .window = random_below(&rig->random, 8) == 0 ? random_below(&rig->random, 40) : 20000,
        .flags = TCP_ACK,
        .has_timestamp = random_below(&rig->random, 5) > 0,
        .echo = tcp_now_ms(&rig->net) + stream->timestamp_offset - random_below(&rig->random, 2000),
        .sack_count = random_below(&rig->random, TCP_SACK_BLOCKS_MAX + 1),
    };
    for (uint32_t i = 0; i < segment.sack_count; i++) {
        segment.sack[i] = (struct tcp_range){any_seq(rig), any_seq(rig)};
    }
    stream->heard_ns = rig->net.now_ns;
    if (tcp_ack_input(&rig->net, stream, &segment)) {
        tcp_scoreboard_check(stream);
    }
}

static void
invented_acknowledgements_break_nothing(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct rig *rig = rig_make(seed);
        rig->wire.loss_data = 10000; /* nobody answers but us */
        rig->tso_bytes = seed % 2 == 0 ? 65000 : 0;
        rig->stream->sack = seed % 5 != 0;
        rig_begin(rig);
        for (uint32_t step = 0; step < 2000 && !rig->failed; step++) {
            if (rig->queued + 20000 < RIG_BYTES_MAX && random_below(&rig->random, 4) == 0) {
                (void)rig_send(rig, 1 + random_below(&rig->random, 20000));
            }
            lie(rig);
            rig_run(rig, random_below(&rig->random, 10) * RIG_MS / 2);
        }
        rig_free(&rig);
    }
}

/* CVE-2019-11477, 11478: blocks that grow by a segment each, from either end. */
static void
growing_blocks_are_not_walked_again(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig_begin(rig);
    rig->stream->cwnd = 1u << 28;
    rig->wire.delay_ns = 1000 * 1000 * RIG_MS;
    for (uint32_t i = 0; i < TCP_SENT_MAX; i++) {
        (void)rig_send(rig, 1);
        tcp_flush(&rig->net);
    }
    struct tcp_stream *stream = rig->stream;
    struct tcp_scoreboard *board = stream->scoreboard;
    assert_int_equal(board->count, TCP_SENT_MAX);
    struct tcp_ack_news news = {0};
    for (uint32_t i = 2; i < TCP_SENT_MAX; i++) {
        const struct tcp_range block = {stream->send_una + 1, stream->send_una + i};
        tcp_scoreboard_sacked(&rig->net, stream, &block, &news);
    }
    assert_int_equal(board->sacked_count, TCP_SENT_MAX - 2);
    /* Every way to the end of the run is short by now. */
    uint32_t steps = 0;
    for (uint32_t i = 1; i + 1 < TCP_SENT_MAX; i++) {
        const struct tcp_range block = {stream->send_una + i, stream->send_next};
        tcp_scoreboard_sacked(&rig->net, stream, &block, &news);
        steps += tcp_sent_nth(board, i)->newer == tcp_sent_nth(board, i + 1)->newer ? 0 : 1;
    }
    assert_true(steps < TCP_SENT_MAX);
    tcp_scoreboard_check(stream);
    rig_free(&rig);
}

/* RFC 2018 8: what was SACKed and is thrown away is sent again, after a time-out. */
static void
a_peer_that_forgets_what_it_had_gets_it_again(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig_begin(rig);
    rig->cut_from = 1;
    rig->cut_to = 1;
    (void)rig_send(rig, 10 * 1448);
    rig_run(rig, 11 * RIG_MS); /* nine are SACKed, the first was sent again */
    assert_int_equal(rig->stream->scoreboard->sacked_count, 9);
    memset(rig->have, 0, 10 * 1448);
    rig->most = 0;
    rig->recent = 0;
    assert_true(rig_transfer(rig, 0, 3000 * RIG_MS) != UINT64_MAX);
    rig_free(&rig);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(invented_acknowledgements_break_nothing),
        cmocka_unit_test(growing_blocks_are_not_walked_again),
        cmocka_unit_test(a_peer_that_forgets_what_it_had_gets_it_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
