/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes out of order, against a receiver that is obviously right: a byte
 * for each number, and a flag whether it is there.
 *
 * Goal: whatever order, overlap and repetition segments come in, each byte is
 * delivered once and in order; SACK says what is there and nothing else, the
 * latest first; ranges, memory and steps stay within their bounds.
 */
#include "tests/unit/net/lone.h"

#define SPAN 6000u

struct model {
    struct lone lone;
    struct lone_peer peer;
    uint32_t first; /* the number of place 0 */
    bool have[SPAN];
};

static void
model_open(struct model *model, const struct lp_net_config *config, uint32_t seq)
{
    lone_open(&model->lone, config);
    model->peer = (struct lone_peer){.port = 2000, .seq = seq};
    lone_accept(&model->lone, &model->peer);
    model->first = model->peer.seq;
    memset(model->have, 0, sizeof(model->have));
}

static struct tcp_stream *
model_stream(const struct model *model)
{
    return lone_stream(&model->lone, &model->peer);
}

static void
model_in(struct model *model, uint32_t place, uint32_t bytes, uint8_t flags)
{
    struct lone_in in = lone_of(&model->peer, TCP_ACK | flags, bytes);
    in.seq = model->first + place;
    in.place = place;
    lone_in(&model->lone, &in);
    do {
        lone_turn(&model->lone, LONE_EVENTS_MAX);
    } while (tcp_stream_waiting(model->lone.net));
    model->lone.event_count = 0;
}

static uint32_t
model_next(const struct model *model)
{
    uint32_t next = 0;
    while (next < SPAN && model->have[next]) {
        next++;
    }
    return next;
}

/* Ranges are exactly what the model has behind its first gap. */
static void
ranges_check(const struct model *model)
{
    const struct tcp_stream *stream = model_stream(model);
    const struct tcp_reassembly *held = stream->reassembly;
    uint32_t at = model_next(model);
    assert_int_equal(stream->receive_next - model->first, at);
    uint32_t range = 0;
    for (;;) {
        while (at < SPAN && !model->have[at]) {
            at++;
        }
        if (at == SPAN) {
            break;
        }
        const uint32_t start = at;
        while (at < SPAN && model->have[at]) {
            at++;
        }
        assert_non_null(held);
        assert_true(range < held->count);
        assert_int_equal(held->range[range].start - model->first, start);
        assert_int_equal(held->range[range].end - model->first, at);
        range++;
    }
    assert_int_equal(range, held == NULL ? 0 : held->count);
}

static void
sack_check(const struct model *model, uint32_t place)
{
    const struct tcp_stream *stream = model_stream(model);
    struct tcp_range blocks[TCP_SACK_BLOCKS_MAX];
    struct tcp_stream without = *stream;
    without.dsack_due = false;
    const uint32_t count = tcp_sack_blocks(&without, blocks, TCP_SACK_BLOCKS_MAX);
    const uint32_t held = stream->reassembly == NULL ? 0 : stream->reassembly->count;
    assert_int_equal(count, LP_MIN(held, TCP_SACK_BLOCKS_MAX));
    for (uint32_t i = 0; i < count; i++) {
        assert_true(model->have[blocks[i].start - model->first]);
        assert_true(model->have[blocks[i].end - 1u - model->first]);
    }
    if (count > 0 && place > model_next(model)) {
        /* RFC 2018 4: the first block has the segment that was just received. */
        const uint32_t seq = model->first + place;
        assert_true(tcp_le(blocks[0].start, seq) && tcp_lt(seq, blocks[0].end));
    }
}

/* It may have been refused: the model starts from what is there. */
static void
model_learn(struct model *model)
{
    const struct tcp_stream *stream = model_stream(model);
    const struct tcp_reassembly *held = stream->reassembly;
    memset(model->have, false, sizeof(model->have));
    memset(model->have, true, stream->receive_next - model->first);
    for (uint32_t i = 0; held != NULL && i < held->count; i++) {
        memset(model->have + (held->range[i].start - model->first), true,
               held->range[i].end - held->range[i].start);
    }
}

static void
segment_try(struct model *model, uint32_t place, uint32_t bytes)
{
    const struct tcp_stream *stream = model_stream(model);
    const bool crowded =
        stream->reassembly != NULL && stream->reassembly->count >= TCP_RANGES_MAX - 1;
    model_in(model, place, bytes, 0);
    if (crowded) {
        model_learn(model);
    } else {
        memset(model->have + place, true, bytes);
        ranges_check(model);
        sack_check(model, place + bytes - 1);
    }
    assert_int_equal(model->lone.received_bytes, model_next(model));
    lone_catch_all(&model->lone);
    model->lone.out_count = 0;
}

static void
each_byte_arrives_once_whatever_the_order(void **unused)
{
    (void)unused;
    struct random random = {3};
    for (uint32_t round = 0; round < 60; round++) {
        struct model model;
        const struct lp_net_config config = {0};
        model_open(&model, &config, round % 2 == 0 ? 0xfffff800u : 77);
        for (uint32_t step = 0; model_next(&model) < SPAN; step++) {
            /* Big or small steps; the later, the more likely is the gap. */
            const uint32_t size = 1 + random_below(&random, round % 3 == 0 ? 1200 : 300);
            uint32_t place = random_below(&random, SPAN);
            if (random_below(&random, 400) < step) {
                place = model_next(&model) - random_below(&random, 1 + model_next(&model) / 8);
            }
            segment_try(&model, place, LP_MIN(size, SPAN - place));
        }
        assert_null(model_stream(&model)->reassembly);
        lone_close(&model.lone);
    }
}

static void
no_peer_makes_more_than_32_ranges(void **unused)
{
    (void)unused;
    struct model model;
    const struct lp_net_config config = {0};
    model_open(&model, &config, 0);
    for (uint32_t i = 1; i <= 100; i++) {
        model_in(&model, 10 * i, 1, 0);
    }
    assert_int_equal(model_stream(&model)->reassembly->count, TCP_RANGES_MAX);
    assert_int_equal(lone_counters(&model.lone)->tcp_out_of_order_dropped, 100 - TCP_RANGES_MAX);
    /* What is kept is still good. */
    model_in(&model, 0, 10, 0);
    assert_int_equal(model.lone.received_bytes, 11);
    lone_close(&model.lone);
}

/* One byte at a time, from the last to the first: each is a chunk of its own. */
static void
small_pieces_cost_bounded_memory(void **unused)
{
    (void)unused;
    struct model model;
    const struct lp_net_config config = {.receive_bytes_max = 65536};
    model_open(&model, &config, 0);
    const uint64_t before = model.lone.net->tcp->buffered_bytes;
    for (uint32_t i = 0; i < 3000; i++) {
        model_in(&model, 5000 - i, 1, 0);
        lone_catch_all(&model.lone);
        model.lone.out_count = 0;
    }
    const uint64_t held = model.lone.net->tcp->buffered_bytes - before;
    assert_true(held <= 2 * 65536 + sizeof(struct tcp_reassembly) + 4096);
    assert_true(lone_counters(&model.lone)->tcp_out_of_order_dropped > 0);
    lone_close(&model.lone);
}

/* Nobody takes them, and the window counts bytes, not what they lie in. */
static void
small_pieces_that_wait_in_order_lie_close_together(void **unused)
{
    (void)unused;
    struct model model;
    const struct lp_net_config config = {0};
    model_open(&model, &config, 500);
    model.lone.transport.ops->receive_stop(model.lone.net, model.peer.stream);
    /* Each second byte, then those between them, then the first: 2000 bytes that came one by one.
     */
    for (uint32_t at = 0; at < 2000; at += 20) {
        for (uint32_t i = 2; i < 20; i += 2) {
            model_in(&model, at + i, 1, 0);
        }
        for (uint32_t i = 1; i < 20; i += 2) {
            model_in(&model, at + i, 1, 0);
        }
        model_in(&model, at, 1, 0);
    }
    assert_int_equal(model_stream(&model)->received.bytes, 2000);
    assert_true(model.lone.net->tcp->buffered_bytes < 4u * 2000u);
    model.lone.transport.ops->receive_start(model.lone.net, model.peer.stream);
    lone_settle(&model.lone);
    assert_int_equal(model.lone.received_bytes, 2000); /* in their places: lone.h looks */
    lone_close(&model.lone);
}

static void
a_fin_waits_for_what_is_before_it(void **unused)
{
    (void)unused;
    struct model model;
    const struct lp_net_config config = {0};
    model_open(&model, &config, 0);
    model_in(&model, 100, 50, TCP_FIN);
    model_in(&model, 140, 20, 0); /* behind the end: cannot be true */
    assert_int_equal(model_stream(&model)->state, TCP_ESTABLISHED);
    assert_int_equal(lone_counters(&model.lone)->tcp_out_of_order_dropped, 1);
    model_in(&model, 0, 100, 0);
    assert_int_equal(model.lone.received_bytes, 150);
    assert_int_equal(model_stream(&model)->state, TCP_CLOSE_WAIT);
    assert_int_equal(model_stream(&model)->receive_next - model.first, 151);
    lone_close(&model.lone);
}

/* RFC 2883 4.1 to 4.3. */
static void
what_came_twice_is_named_once(void **unused)
{
    (void)unused;
    struct model model;
    const struct lp_net_config config = {0};
    struct tcp_range blocks[TCP_SACK_BLOCKS_MAX];
    model_open(&model, &config, 0);
    model_in(&model, 0, 500, 0);
    lone_settle(&model.lone);
    lone_forget(&model.lone);

    model_in(&model, 100, 50, 0); /* all of it was acknowledged */
    lone_settle(&model.lone);
    const struct tcp_segment *segment = lone_last(&model.lone);
    assert_int_equal(segment->sack_count, 1);
    assert_int_equal(segment->sack[0].start - model.first, 100);
    assert_int_equal(segment->sack[0].end - model.first, 150);
    assert_int_equal(tcp_sack_blocks(model_stream(&model), blocks, 4), 0);

    model_in(&model, 1000, 100, 0);
    lone_settle(&model.lone);
    model_in(&model, 1050, 100, 0); /* part of it is held */
    lone_settle(&model.lone);
    segment = lone_last(&model.lone);
    assert_int_equal(segment->sack_count, 2);
    assert_int_equal(segment->sack[0].start - model.first, 1050);
    assert_int_equal(segment->sack[0].end - model.first, 1100);
    assert_int_equal(segment->sack[1].start - model.first, 1000);
    assert_int_equal(segment->sack[1].end - model.first, 1150);
    lone_close(&model.lone);
}

/* RFC 5681 4.2: whoever fills a gap, or a part of one, hears of it at once. */
static void
a_filled_gap_is_acknowledged_at_once(void **unused)
{
    (void)unused;
    struct model model;
    const struct lp_net_config config = {0};
    model_open(&model, &config, 0);
    model_stream(&model)->ack_quick = 0;
    model_in(&model, 100, 50, 0);
    model_in(&model, 300, 50, 0);
    lone_settle(&model.lone);
    lone_forget(&model.lone);
    model_in(&model, 0, 100, 0);
    lone_settle(&model.lone);
    assert_int_equal(model.lone.out_count, 1);
    assert_int_equal(lone_last(&model.lone)->ack - model.first, 150);
    model_in(&model, 150, 50, 0); /* a part */
    lone_settle(&model.lone);
    assert_int_equal(model.lone.out_count, 2);
    model_in(&model, 200, 100, 0);
    lone_settle(&model.lone);
    assert_int_equal(model.lone.out_count, 3);
    model_in(&model, 350, 50, 0); /* no gap is left: this one may wait */
    lone_settle(&model.lone);
    assert_int_equal(model.lone.out_count, 3);
    lone_close(&model.lone);
}

static void
what_reaches_beyond_the_window_is_cut_off(void **unused)
{
    (void)unused;
    struct model model;
    const struct lp_net_config config = {0};
    model_open(&model, &config, 0);
    const struct tcp_stream *stream = model_stream(&model);
    const uint32_t window = stream->receive_edge - stream->receive_next;
    model_in(&model, window - 3, 10, TCP_FIN);
    assert_int_equal(stream->reassembly->count, 1);
    assert_int_equal(stream->reassembly->range[0].end, stream->receive_next + window);
    assert_false(stream->reassembly->fin_known);
    lone_close(&model.lone);
}

/* More pieces than one poll gives: the end waits for the last of them. */
static void
an_end_follows_the_last_of_many_pieces(void **unused)
{
    (void)unused;
    struct model model;
    const struct lp_net_config config = {0};
    model_open(&model, &config, 0);
    struct lone *lone = &model.lone;
    for (uint32_t i = 40; i > 0; i--) {
        model_in(&model, i, 1, i == 40 ? TCP_FIN : 0);
    }
    lone_settle(lone);
    struct lone_in in = lone_of(&model.peer, TCP_ACK, 1);
    in.seq = model.first;
    lone_in(lone, &in);
    lone_forget(lone);
    lone_settle(lone);
    assert_int_equal(lone->received_bytes, 41);
    for (uint32_t i = 0; i < lone->event_count; i++) {
        const bool last = i + 1 == lone->event_count;
        assert_int_equal(lone->events[i].kind, last ? LP_TRANSPORT_ENDED : LP_TRANSPORT_RECEIVED);
    }
    lone_close(lone);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_byte_arrives_once_whatever_the_order),
        cmocka_unit_test(no_peer_makes_more_than_32_ranges),
        cmocka_unit_test(small_pieces_cost_bounded_memory),
        cmocka_unit_test(small_pieces_that_wait_in_order_lie_close_together),
        cmocka_unit_test(a_fin_waits_for_what_is_before_it),
        cmocka_unit_test(a_filled_gap_is_acknowledged_at_once),
        cmocka_unit_test(what_reaches_beyond_the_window_is_cut_off),
        cmocka_unit_test(an_end_follows_the_last_of_many_pieces),
        cmocka_unit_test(what_came_twice_is_named_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
