/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A data plane dies without a word, and the next one ends what it left.
 *
 * Goal: a peer that never says anything hears of it within seconds, by one
 * reset; who is with the new life already is left alone; another death, a torn
 * entry, or a list of nonsense does no harm; all of it is paced and bounded.
 */
#include "tests/unit/net/pair.h"

#include "dataplane/net/tcp/ledger.h"

static const struct lp_net_config usual = {0};

static void
lives_open(struct pair *pair, const struct lp_net_config *config)
{
    const struct lp_sim_wire_config wire = lp_sim_wire_config_default(1);
    pair_open(pair, &wire, config);
    lp_net_close(&pair->end[0].net);
    free(pair->end[0].memory);
    const uint32_t streams = config->streams_max != 0 ? config->streams_max : PAIR_STREAMS;
    pair->end[0].ledger = calloc(1, lp_net_ledger_bytes(streams));
    assert_non_null(pair->end[0].ledger);
    pair_end_open(pair, 0, config);
}

/* No word to anybody; secrets are new ones, the clock goes on. */
static void
die_and_live(struct pair *pair, const struct lp_net_config *config)
{
    lp_net_close(&pair->end[0].net);
    free(pair->end[0].memory);
    pair_end_open(pair, 0, config);
}

static void
lives_close(struct pair *pair)
{
    free(pair->end[0].ledger);
    pair->end[0].ledger = NULL;
    pair_close(pair);
}

static const struct lp_net_counters *
counters(const struct pair *pair)
{
    return lp_net_counters_of(pair->end[0].net);
}

static struct tcp_ledger_header *
header_of(const struct pair *pair)
{
    return pair->end[0].ledger;
}

static struct tcp_ledger_entry *
entries_of(const struct pair *pair)
{
    return (struct tcp_ledger_entry *)(header_of(pair) + 1);
}

static void
a_peer_that_only_listens_is_reset_in_a_second(void **unused)
{
    (void)unused;
    struct pair pair;
    lives_open(&pair, &usual);
    pair_connect(&pair);
    pair_run(&pair, 100 * PAIR_MS);
    /* Numbers have moved since; what the ledger knows is brought up to date. */
    const uint8_t text[] = {pair_byte(0), pair_byte(1), pair_byte(2)};
    pair_send(&pair.end[1], text, sizeof(text));
    pair_run(&pair, 100 * PAIR_MS);
    lp_net_remember(pair.end[0].net);
    const struct tcp_stream *stream =
        lp_pool_get(&pair.end[0].net->tcp->streams, pair.end[0].stream);
    assert_int_equal(entries_of(&pair)[0].receive_next, stream->receive_next);
    die_and_live(&pair, &usual);
    assert_int_equal(counters(&pair)->tcp_orphans, 1);
    pair_run(&pair, 1200 * PAIR_MS); /* the first question may be lost to ARP */
    assert_int_equal(pair.end[1].ended, 1);
    assert_int_equal(lp_net_counters_of(pair.end[1].net)->tcp_resets_received, 1);
    /* It is asked for again, and nobody has it: that is all. */
    pair_run(&pair, 20000 * PAIR_MS);
    assert_int_equal(counters(&pair)->tcp_orphans_asked, TCP_ORPHAN_PASSES);
    assert_int_equal(header_of(&pair)->left, 0);
    lives_close(&pair);
}

static void
old_numbers_do_as_well(void **unused)
{
    (void)unused;
    struct pair pair;
    uint8_t *text = malloc(200000);
    assert_non_null(text);
    for (uint32_t i = 0; i < 200000; i++) {
        text[i] = pair_byte(i);
    }
    lives_open(&pair, &usual);
    pair.end[0].echo = true;
    pair_connect(&pair);
    pair_run(&pair, 100 * PAIR_MS);
    pair_send(&pair.end[1], text, 200000);
    pair_run(&pair, 1000 * PAIR_MS);
    assert_int_equal(pair.end[1].received_bytes, 200000);
    die_and_live(&pair, &usual); /* nobody has called lp_net_remember() */
    pair_run(&pair, 1200 * PAIR_MS);
    assert_int_equal(pair.end[1].ended, 1);
    free(text);
    lives_close(&pair);
}

static void
who_says_something_is_reset_at_once(void **unused)
{
    (void)unused;
    struct pair pair;
    const uint8_t byte = pair_byte(0);
    lives_open(&pair, &usual);
    pair_connect(&pair);
    pair_run(&pair, 100 * PAIR_MS);
    memset(pair.end[0].ledger, 0, lp_net_ledger_bytes(PAIR_STREAMS)); /* nothing is known of it */
    die_and_live(&pair, &usual);
    pair_run(&pair, 5000 * PAIR_MS);
    assert_int_equal(counters(&pair)->tcp_orphans, 0);
    assert_int_equal(pair.end[1].ended, 0);
    pair_send(&pair.end[1], &byte, 1);
    pair_run(&pair, 20 * PAIR_MS);
    assert_int_equal(pair.end[1].ended, 1);
    lives_close(&pair);
}

static void
what_ended_in_good_order_is_not_asked_for(void **unused)
{
    (void)unused;
    struct pair pair;
    lives_open(&pair, &usual);
    pair_connect(&pair);
    pair_run(&pair, 100 * PAIR_MS);
    assert_int_equal(entries_of(&pair)[0].family, LP_ADDRESS_IPV4);
    for (uint32_t i = 0; i < 2; i++) {
        struct pair_end *end = &pair.end[i];
        end->transport.ops->close(end->net, end->stream);
    }
    pair_run(&pair, 200 * PAIR_MS);
    assert_int_equal(entries_of(&pair)[0].family, 0);
    die_and_live(&pair, &usual);
    pair_run(&pair, 2000 * PAIR_MS);
    assert_int_equal(counters(&pair)->tcp_orphans, 0);
    assert_int_equal(counters(&pair)->tcp_orphans_asked, 0);
    lives_close(&pair);
}

static void
who_is_with_the_new_life_is_left_alone(void **unused)
{
    (void)unused;
    struct pair pair;
    lives_open(&pair, &usual);
    pair_connect(&pair);
    pair_run(&pair, 100 * PAIR_MS);
    /* As if the same ports had been an orphan's. */
    struct tcp_ledger_entry *orphan = entries_of(&pair) + header_of(&pair)->room;
    *orphan = entries_of(&pair)[0];
    header_of(&pair)->left = 1;
    tcp_orphans_begin(pair.end[0].net);
    pair_run(&pair, 20000 * PAIR_MS);
    assert_int_equal(header_of(&pair)->left, 0);
    assert_int_equal(counters(&pair)->tcp_orphans_asked, 0);
    assert_int_equal(pair.end[1].ended, 0);
    lives_close(&pair);
}

static void
another_death_meanwhile_loses_nobody(void **unused)
{
    (void)unused;
    struct pair pair;
    lives_open(&pair, &usual);
    pair_connect(&pair);
    pair_run(&pair, 100 * PAIR_MS);
    for (uint32_t life = 0; life < 3; life++) {
        die_and_live(&pair, &usual); /* it had no time to say anything */
        assert_int_equal(counters(&pair)->tcp_orphans, 1);
    }
    pair_run(&pair, 1200 * PAIR_MS);
    assert_int_equal(pair.end[1].ended, 1);
    lives_close(&pair);
}

static void
entries_put(struct pair *pair, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        entries_of(pair)[i] = (struct tcp_ledger_entry){.local = {10, 0, 0, 1},
                                                        .remote = {10, 0, 0, 2},
                                                        .local_port = PAIR_PORT,
                                                        .remote_port = (uint16_t)(1000 + i),
                                                        .family = LP_ADDRESS_IPV4};
    }
    header_of(pair)->high = count;
}

static void
the_walk_is_paced(void **unused)
{
    (void)unused;
    struct pair pair;
    const struct lp_net_config config = {.streams_max = 4000};
    lives_open(&pair, &config);
    entries_put(&pair, 4000);
    die_and_live(&pair, &config);
    assert_int_equal(counters(&pair)->tcp_orphans, 4000);
    uint64_t before = 0;
    for (uint32_t ms = 0; ms < 900; ms++) {
        pair_run(&pair, PAIR_MS);
        const uint64_t now = counters(&pair)->tcp_orphans_asked;
        assert_true(now - before <= 16);
        before = now;
    }
    assert_true(before > 1000 && before < 4000);
    pair_run(&pair, 30000 * PAIR_MS);
    assert_int_equal(counters(&pair)->tcp_orphans_asked, 4000 * TCP_ORPHAN_PASSES);
    lives_close(&pair);
}

static void
two_lives_of_connections_are_remembered_and_no_more(void **unused)
{
    (void)unused;
    struct pair pair;
    lives_open(&pair, &usual);
    for (uint32_t life = 1; life <= 3; life++) {
        entries_put(&pair, PAIR_STREAMS);
        die_and_live(&pair, &usual);
        assert_int_equal(counters(&pair)->tcp_orphans, LP_MIN(life, 2u) * PAIR_STREAMS);
    }
    lives_close(&pair);
}

/* It is another process's memory: whatever is in there, nothing happens but some frames. */
static void
nonsense_does_no_harm(void **unused)
{
    (void)unused;
    struct pair pair;
    uint64_t seed = 99;
    lives_open(&pair, &usual);
    for (uint32_t round = 0; round < 200; round++) {
        uint8_t *bytes = pair.end[0].ledger;
        for (uint64_t i = 8; i < lp_net_ledger_bytes(PAIR_STREAMS); i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            bytes[i] = (uint8_t)(seed >> 56);
        }
        for (uint32_t i = 0; i < PAIR_STREAMS; i += 2) {
            entries_of(&pair)[i].family = i % 4 == 0 ? LP_ADDRESS_IPV4 : LP_ADDRESS_IPV6;
            memcpy(entries_of(&pair)[i].local, (const uint8_t[]){10, 0, 0, 1}, 4);
        }
        die_and_live(&pair, &usual);
        pair_run(&pair, 50 * PAIR_MS);
        assert_true(header_of(&pair)->left <= 2 * PAIR_STREAMS);
    }
    /* Of other limits: begun anew. */
    header_of(&pair)->room = 7;
    die_and_live(&pair, &usual);
    assert_int_equal(counters(&pair)->tcp_orphans, 0);
    assert_int_equal(header_of(&pair)->room, PAIR_STREAMS);
    lives_close(&pair);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_that_only_listens_is_reset_in_a_second),
        cmocka_unit_test(old_numbers_do_as_well),
        cmocka_unit_test(who_says_something_is_reset_at_once),
        cmocka_unit_test(what_ended_in_good_order_is_not_asked_for),
        cmocka_unit_test(who_is_with_the_new_life_is_left_alone),
        cmocka_unit_test(another_death_meanwhile_loses_nobody),
        cmocka_unit_test(the_walk_is_paced),
        cmocka_unit_test(two_lives_of_connections_are_remembered_and_no_more),
        cmocka_unit_test(nonsense_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
