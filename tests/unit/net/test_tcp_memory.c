/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is gone at any moment of a talk, for a while, at either end.
 *
 * Goal: whatever allocation fails, nothing is forgotten: either all bytes
 * arrive as they were (pair.h looks), or the connection is reset and both ends hear of it;
 * nothing is left behind, and every invariant holds after every turn.
 */
#include "tests/unit/net/pair.h"

#define BYTES    60000u
#define STEP_NS  (2 * PAIR_MS)
#define LIMIT_NS (400ull * 1000u * PAIR_MS)

/* When memory goes, at which end, and for how long, in steps. */
struct hunger {
    uint32_t end;
    uint32_t from;
    uint32_t steps;
    bool lossy;
};

static uint8_t data[BYTES];

/* What the shards do: the server talks when somebody came, whoever has all closes. */
static void
ends_act(struct pair *pair, bool began[2], bool closed[2])
{
    const bool here[2] = {pair->end[0].accepted > 0, pair->end[1].connected > 0};
    for (uint32_t i = 0; i < 2; i++) {
        struct pair_end *end = &pair->end[i];
        if (here[i] && !began[i] && end->ended == 0) {
            began[i] = true;
            pair_send(end, data, BYTES);
        }
        const bool all = end->received_bytes == BYTES && end->sends > 0;
        if (here[i] && !closed[i] && all && end->ended == 0) {
            closed[i] = true;
            end->transport.ops->close(end->net, end->stream);
        }
    }
}

static uint64_t
resets_of(const struct pair_end *end)
{
    const struct lp_net_counters *counters = lp_net_counters_of(end->net);
    return counters->tcp_evicted + counters->tcp_refused_full + counters->tcp_resets_received +
           counters->tcp_resets_sent;
}

static void
talk_hungry(const struct hunger *hunger)
{
    struct pair pair;
    struct lp_sim_wire_config wire = lp_sim_wire_config_default(hunger->from);
    const struct lp_net_config config = {0};
    if (hunger->lossy) {
        wire.faults.lose = 50;
        wire.faults.dry = 50; /* and buffers are, too */
        wire.faults.refuse = 50;
    }
    bool began[2] = {false, false};
    bool closed[2] = {false, false};
    void *chain = NULL;
    pair_open(&pair, &wire, &config);
    struct arena arena = {.memory = pair.end[hunger->end].net->memory};
    pair.end[0].close_when_ended = true;
    pair.end[1].close_when_ended = true;
    pair_connect(&pair);
    const uint64_t until = pair.now_ns + LIMIT_NS;
    for (uint32_t step = 0; pair.now_ns < until; step++) {
        if (step == hunger->from) {
            chain = arena_exhaust(&arena);
        } else if (step == hunger->from + hunger->steps) {
            arena_relax(&arena, chain);
            chain = NULL;
        }
        pair_step(&pair, STEP_NS);
        ends_act(&pair, began, closed);
        if (step > hunger->from + hunger->steps && pair_at_rest(&pair)) {
            break;
        }
    }
    arena_relax(&arena, chain);
    const bool reset = resets_of(&pair.end[0]) + resets_of(&pair.end[1]) > 0;
    for (uint32_t i = 0; i < 2; i++) {
        const bool all = pair.end[i].received_bytes == BYTES;
        if (!pair_at_rest(&pair) || (!all && !reset)) {
            fail_msg("end %u: %s of %u steps from %u on, at end %u", i,
                     all ? "not at rest" : "not all", hunger->steps, hunger->from, hunger->end);
        }
    }
    pair_close(&pair);
}

static void
memory_may_go_at_any_moment_and_come_back(void **unused)
{
    (void)unused;
    static const uint32_t lengths[] = {1, 20, 600};
    for (uint32_t i = 0; i < BYTES; i++) {
        data[i] = pair_byte(i);
    }
    for (uint32_t end = 0; end < 2; end++) {
        /* Each time as many pages are touched as both have memory: not every step. */
        for (uint32_t from = end; from < 32; from += 2) {
            for (size_t l = 0; l < LP_COUNT_OF(lengths); l++) {
                const struct hunger hunger = {end, from, lengths[l], from / 2 % 2 != 0};
                talk_hungry(&hunger);
            }
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_may_go_at_any_moment_and_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
