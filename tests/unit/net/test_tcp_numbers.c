/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do the algorithms give the numbers that their RFCs give?
 *
 * Method: tables of inputs and results worked out by hand from the formulas;
 * CUBIC against the formulas in double precision; the scoreboard against an
 * array of flags.
 */
#include <math.h>

#include "tests/unit/net/sender_rig.h"

/* RFC 6298 2.2, 2.3, with G = 1 ms, a floor and a ceiling. */
static void
a_time_out_follows_what_is_measured(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t rtt_us;
        uint32_t samples;
        uint32_t srtt_us;
        uint32_t rttvar_us;
        uint32_t rto_ms;
    } rows[] = {
        {100000, 1, 100000, 50000, 301},
        {100000, 1, 100000, 37500, 251},
        {100000, 1, 100000, 28125, 213},
        {100000, 1, 100000, 21094, 200}, /* the floor */
        {500000, 1, 150000, 115820, 614},
        {500000, 4, 160937, 130456, 683}, /* one of four a round trip */
        {1, 1, 140820, 138076, 694},
        {4000000000u, 1, 7623217, 15068352,
         60000}, /* no sample is longer than a minute; the ceiling */
    };
    struct rig *rig = rig_make(1);
    struct tcp_stream *stream = rig->stream;
    for (uint32_t i = 0; i < LP_COUNT_OF(rows); i++) {
        tcp_rto_sample(&rig->net, stream, rows[i].rtt_us, rows[i].samples);
        assert_in_range(stream->srtt_us, rows[i].srtt_us - 1, rows[i].srtt_us + 1);
        assert_in_range(stream->rttvar_us, rows[i].rttvar_us - 2, rows[i].rttvar_us + 2);
        assert_in_range(stream->rto_ms, rows[i].rto_ms - 1, rows[i].rto_ms + 1);
    }
    static const uint64_t backed_off[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
    stream->rto_ms = 1000;
    for (uint32_t i = 0; i < LP_COUNT_OF(backed_off); i++) {
        stream->backoff = (uint8_t)i;
        assert_int_equal(tcp_rto_ns(stream), backed_off[i] * RIG_MS);
    }
    rig_free(&rig);
}

/* RFC 6298 2.1, 5.7; RFC 6928 2; RFC 5681 3.1. */
static void
a_connection_begins_with_the_windows_of_its_rfcs(void **unused)
{
    (void)unused;
    static const struct {
        uint16_t peer_mss;
        uint16_t mtu;
        uint8_t family;
        bool timestamps;
        uint32_t rtt_us;
        uint16_t send_mss;
        uint32_t cwnd;
        uint32_t rto_ms;
    } rows[] = {
        {1460, 1500, LP_ADDRESS_IPV4, true, 50000, 1448, 14480, 200},
        {1460, 1500, LP_ADDRESS_IPV4, false, 50000, 1460, 14600, 200},
        {1460, 1500, LP_ADDRESS_IPV6, true, 50000, 1428, 14280, 200},
        {8960, 9000, LP_ADDRESS_IPV4, true, 50000, 8948, 17896, 200},
        {65495, 65535, LP_ADDRESS_IPV4, false, 50000, 65495, 130990, 200},
        {1460, 576, LP_ADDRESS_IPV4, false, 50000, 536, 5360, 200},
        {0, 1500, LP_ADDRESS_IPV4, false, 50000, 536, 5360, 200},
        {8, 1500, LP_ADDRESS_IPV4, true, 50000, 524, 5240, 200}, /* CVE-2019-11479 */
        {1460, 1500, LP_ADDRESS_IPV4, true, 0, 1448, 1448, 3000},
        {1460, 1500, LP_ADDRESS_IPV4, true, 400000, 1448, 14480, 1201},
    };
    for (uint32_t i = 0; i < LP_COUNT_OF(rows); i++) {
        struct rig *rig = rig_make(1);
        struct tcp_stream *stream = rig->stream;
        stream->peer_mss = rows[i].peer_mss;
        stream->path.mtu_bytes = rows[i].mtu;
        stream->path.family = rows[i].family;
        stream->timestamps = rows[i].timestamps;
        tcp_send_begin(&rig->net, stream, rows[i].rtt_us);
        assert_int_equal(stream->send_mss, rows[i].send_mss);
        assert_int_equal(stream->cwnd, rows[i].cwnd);
        assert_int_equal(stream->rto_ms, rows[i].rto_ms);
        rig_free(&rig);
    }
}

/* RFC 6937 3: with RecoverFS 20 segments, and ssthresh 10. */
static void
a_recovery_sends_in_proportion(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t pipe; /* all in segments */
        uint32_t delivered;
        uint32_t out;
        uint32_t now;
        bool safe;
        uint32_t window;
    } rows[] = {
        {19, 1, 0, 1, false, 20}, /* ceil(1 * 10 / 20) */
        {18, 2, 1, 1, false, 18},  {17, 3, 1, 1, false, 18}, {11, 9, 4, 1, false, 12},
        {10, 10, 5, 1, false, 10},                           /* no more than ssthresh */
        {8, 12, 6, 1, false, 10},  {2, 12, 10, 1, false, 4}, /* CRB: what was delivered and not sent
                                                              */
        {2, 12, 12, 3, false, 5},                            /* or delivered just now */
        {2, 12, 10, 1, true, 5},                             /* SSRB: and one more */
        {2, 30, 2, 1, true, 10},
    };
    struct rig *rig = rig_make(1);
    struct tcp_stream *stream = rig->stream;
    rig_begin(rig);
    assert_true(tcp_scoreboard_room(&rig->net, stream, 1));
    struct tcp_scoreboard *board = stream->scoreboard;
    const uint32_t mss = stream->send_mss;
    stream->ssthresh = 10 * mss;
    for (uint32_t i = 0; i < LP_COUNT_OF(rows); i++) {
        board->prr_flight = 20 * mss;
        board->prr_delivered = rows[i].delivered * mss;
        board->prr_out = rows[i].out * mss;
        board->out_bytes = rows[i].pipe * mss;
        const uint32_t window = tcp_prr_window(stream, rows[i].now * mss, rows[i].safe);
        /* Segments in the table, bytes in the code: half a segment may be sent. */
        assert_in_range(window, rows[i].window * mss - mss / 2, rows[i].window * mss);
    }
    board->out_bytes = 0;
    rig_free(&rig);
}

/* --- Congestion windows. -----------------------------------------------------------------------
 */

static void
newreno_grows_a_segment_a_round_trip(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig->net.config.congestion = LP_NET_NEWRENO;
    struct tcp_stream *stream = rig->stream;
    rig_begin(rig);
    const uint32_t mss = stream->send_mss;
    tcp_newreno.grow(stream, 4 * mss, 0);
    assert_int_equal(stream->cwnd, 14 * mss); /* slow start */
    stream->ssthresh = tcp_newreno.shrink(stream, 20 * mss);
    assert_int_equal(stream->ssthresh, 10 * mss);
    assert_int_equal(tcp_newreno.shrink(stream, 3 * mss), 2 * mss);
    stream->cwnd = 9 * mss;
    tcp_newreno.grow(stream, 3 * mss, 0); /* one to ssthresh, two count for more */
    assert_int_equal(stream->cwnd, 10 * mss);
    for (uint32_t rtt = 0; rtt < 5; rtt++) {
        const uint32_t before = stream->cwnd;
        for (uint32_t acked = 0; acked < before; acked += mss) {
            tcp_newreno.grow(stream, mss, 0);
        }
        assert_int_equal(stream->cwnd, before + mss);
    }
    rig_free(&rig);
}

/* RFC 9438 4.2 to 4.4, in segments and seconds. */
struct cubic_model {
    double cwnd;
    double w_max;
    double w_est;
    double prior;
    double k;
    double epoch;
};

static void
cubic_model_loss(struct cubic_model *model, double now)
{
    model->prior = model->cwnd;
    model->w_max = model->cwnd < model->w_max ? model->cwnd * 0.85 : model->cwnd;
    model->cwnd *= 0.7;
    model->w_est = model->cwnd;
    model->k = cbrt((model->w_max - model->cwnd) / 0.4);
    model->epoch = now;
}

static void
cubic_model_acked(struct cubic_model *model, double now, double rtt)
{
    const double t = now - model->epoch + rtt;
    double target = 0.4 * pow(t - model->k, 3) + model->w_max;
    target = fmin(fmax(target, model->cwnd), 1.5 * model->cwnd);
    model->w_est += (model->w_est < model->prior ? 9.0 / 17.0 : 1.0) / model->cwnd;
    model->cwnd = fmax(model->cwnd + (target - model->cwnd) / model->cwnd, model->w_est);
}

static void
cubic_follows_its_curve(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t segments; /* when the first loss came */
        double rtt;
        double second; /* loss, after so many seconds */
        double seconds;
    } rows[] = {
        {20, 0.01, 100, 10}, {100, 0.1, 100, 30},    {1000, 0.1, 4, 20},
        {5000, 0.2, 10, 40}, {300, 0.001, 0.3, 1.5}, {50, 0.3, 5, 60},
    };
    for (uint32_t i = 0; i < LP_COUNT_OF(rows); i++) {
        struct rig *rig = rig_make(1);
        struct tcp_stream *stream = rig->stream;
        rig_begin(rig);
        const uint32_t mss = stream->send_mss;
        stream->srtt_us = (uint32_t)(rows[i].rtt * 1e6);
        stream->cwnd = rows[i].segments * mss;
        struct cubic_model model = {.cwnd = rows[i].segments};
        stream->ssthresh = tcp_cubic.shrink(stream, stream->cwnd);
        stream->cwnd = stream->ssthresh;
        cubic_model_loss(&model, 1);
        bool again = false;
        for (double now = 1; now < rows[i].seconds; now += rows[i].rtt / model.cwnd) {
            if (!again && now - 1 > rows[i].second) {
                again = true;
                stream->ssthresh = tcp_cubic.shrink(stream, stream->cwnd);
                stream->cwnd = stream->ssthresh;
                cubic_model_loss(&model, now);
            }
            tcp_cubic.grow(stream, mss, (uint64_t)(now * 1e9));
            cubic_model_acked(&model, now, rows[i].rtt);
            const double got = (double)stream->cwnd / mss;
            if (fabs(got - model.cwnd) > 1 + 0.02 * model.cwnd) {
                print_message("row %u at %d ms: %d, not %d hundredths\n", i, (int)(now * 1000),
                              (int)(got * 100), (int)(model.cwnd * 100));
                fail();
            }
        }
        rig_free(&rig);
    }
}

/* --- The scoreboard against flags. -------------------------------------------------------------
 */

#define MODEL_MAX 4096u

struct board_model {
    uint8_t state[MODEL_MAX]; /* of segment number, from `first` on */
    uint32_t end[MODEL_MAX];  /* behind its last byte */
    uint32_t first;
    uint32_t count;
};

static void
model_compare(const struct rig *rig, const struct board_model *model)
{
    struct tcp_scoreboard *board = rig->stream->scoreboard;
    assert_int_equal(board->count, model->count - model->first);
    for (uint32_t i = model->first; i < model->count; i++) {
        const struct tcp_sent *sent = tcp_sent_nth(board, i - model->first);
        assert_int_equal(sent->state, model->state[i]);
        assert_int_equal(sent->end, model->end[i]);
    }
    tcp_scoreboard_check(rig->stream);
    /* Lists hold each once, and what is out is in the order of its times. */
    uint32_t out = 0;
    uint64_t last_ns = 0;
    for (uint16_t slot = board->out.oldest; slot != TCP_SENT_NONE; out++) {
        const struct tcp_sent *sent = tcp_sent_at(board, slot);
        assert_true(sent->sent_ns >= last_ns);
        last_ns = sent->sent_ns;
        slot = sent->newer;
    }
    uint32_t lost = 0;
    for (uint16_t slot = board->lost.oldest; slot != TCP_SENT_NONE; lost++) {
        slot = tcp_sent_at(board, slot)->newer;
    }
    assert_int_equal(out + lost + board->sacked_count, board->count);
}

static void
model_append(struct rig *rig, struct board_model *model)
{
    struct tcp_stream *stream = rig->stream;
    if (model->count == MODEL_MAX) {
        return;
    }
    const uint32_t bytes = 2 + random_below(&rig->random, 1446);
    assert_true(tcp_scoreboard_room(&rig->net, stream, 1));
    tcp_scoreboard_append(stream->scoreboard, stream->send_next, stream->send_next + bytes,
                          rig->net.now_ns);
    stream->send_next += bytes;
    model->state[model->count] = TCP_SENT_OUT;
    model->end[model->count++] = stream->send_next;
}

/* From `at` to `to`, and a byte of their neighbours. */
static void
model_sack(struct rig *rig, struct board_model *model, uint32_t at, uint32_t to)
{
    const struct tcp_range block = {model->end[at - 1] - random_below(&rig->random, 2),
                                    model->end[to] + random_below(&rig->random, 2)};
    struct tcp_ack_news news = {0};
    uint32_t bytes = 0;
    for (uint32_t i = at; i <= to; i++) {
        bytes += model->state[i] == TCP_SENT_SACKED ? 0 : model->end[i] - model->end[i - 1];
        model->state[i] = TCP_SENT_SACKED;
    }
    tcp_scoreboard_sacked(&rig->net, rig->stream, &block, &news);
    assert_int_equal(news.delivered, bytes);
}

static void
model_again(struct rig *rig, struct board_model *model)
{
    struct tcp_scoreboard *board = rig->stream->scoreboard;
    struct tcp_sent *sent = tcp_sent_at(board, board->lost.oldest);
    if (sent == NULL) {
        return;
    }
    const uint32_t nth = ((uint32_t)(sent - board->sent) - board->head) & (board->room - 1u);
    tcp_scoreboard_again(board, sent, rig->net.now_ns);
    model->state[model->first + nth] = TCP_SENT_OUT;
}

static void
model_renege(struct rig *rig, struct board_model *model)
{
    tcp_scoreboard_renege(rig->stream->scoreboard, rig->net.now_ns);
    for (uint32_t i = model->first; i < model->count; i++) {
        if (model->state[i] == TCP_SENT_SACKED) {
            model->state[i] = TCP_SENT_OUT;
        }
    }
}

static void
model_step(struct rig *rig, struct board_model *model)
{
    struct tcp_stream *stream = rig->stream;
    const uint32_t left = model->count - model->first;
    const uint32_t action = left == 0 ? 0 : random_below(&rig->random, 41);
    const uint32_t at = left == 0 ? 0 : model->first + random_below(&rig->random, left);
    const uint32_t further = random_below(&rig->random, 20);
    struct tcp_ack_news news = {0};
    rig->net.now_ns += random_below(&rig->random, 3) * 1000;
    if (action == 40) {
        model_renege(rig, model);
    } else if (action >= 38) {
        tcp_scoreboard_acked(&rig->net, stream, model->end[at], &news);
        stream->send_una = model->end[at];
        model->first = at + 1;
    } else if (action >= 32 && at > model->first) {
        model_sack(rig, model, at, LP_MIN(at + further, model->count - 1));
    } else if (action >= 26) {
        model_again(rig, model);
    } else if (action >= 18 && model->state[at] == TCP_SENT_OUT) {
        tcp_scoreboard_lose(stream->scoreboard,
                            tcp_sent_nth(stream->scoreboard, at - model->first));
        model->state[at] = TCP_SENT_LOST;
    } else {
        for (uint32_t i = 0; i < further; i++) {
            model_append(rig, model);
        }
    }
}

static void
the_scoreboard_agrees_with_an_array_of_flags(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rig *rig = rig_make(seed);
        struct board_model *model = calloc(1, sizeof(*model));
        assert_non_null(model);
        rig_begin(rig);
        assert_true(tcp_scoreboard_room(&rig->net, rig->stream, 1));
        for (uint32_t step = 0; step < 1500; step++) {
            model_step(rig, model);
            model_compare(rig, model);
        }
        free(model);
        rig_free(&rig);
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_out_follows_what_is_measured),
        cmocka_unit_test(a_connection_begins_with_the_windows_of_its_rfcs),
        cmocka_unit_test(a_recovery_sends_in_proportion),
        cmocka_unit_test(newreno_grows_a_segment_a_round_trip),
        cmocka_unit_test(cubic_follows_its_curve),
        cmocka_unit_test(the_scoreboard_agrees_with_an_array_of_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
