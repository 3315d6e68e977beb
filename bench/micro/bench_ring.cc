// SPDX-License-Identifier: Apache-2.0
//
// What does a record cost to move, and how much of it does a burst amortise?
//
// One core stages, publishes, takes and gives back, so this is the floor under
// every shard-to-shard figure: no cache line changes its core here.
#include <benchmark/benchmark.h>

#include "dataplane/base/ring.h"

constexpr uint32_t capacity = 1024;

static void
ring_stage_publish_take_give_back(benchmark::State &state)
{
    const auto burst = static_cast<uint32_t>(state.range(0));
    alignas(LP_PAIR_BYTES) static lp_record memory[capacity + 6]; // 6: the header
    lp_ring *ring = nullptr;
    if (lp_ring_init_boot(memory, sizeof(memory), capacity, &ring) != LP_OK) {
        state.SkipWithError("the ring did not fit");
        return;
    }

    lp_record record = {{1, 2, 3, 4, 5, 6, 7, 8}};
    uint64_t sum = 0;
    for (auto _ : state) {
        for (uint32_t i = 0; i < burst; i++) {
            record.word[0]++;
            benchmark::DoNotOptimize(lp_ring_stage(ring, &record));
        }
        benchmark::DoNotOptimize(lp_ring_publish(ring));
        while (const lp_record *taken = lp_ring_take(ring)) {
            sum += taken->word[0] + taken->word[7];
        }
        lp_ring_give_back(ring);
    }
    benchmark::DoNotOptimize(sum);
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * burst);
}
BENCHMARK(ring_stage_publish_take_give_back)
    ->ArgName("burst")
    ->Arg(1)
    ->Arg(4)
    ->Arg(16)
    ->Arg(64)
    ->Arg(256);

// What an idle turn pays for each peer that sent nothing.
static void
ring_look_at_an_empty_one(benchmark::State &state)
{
    alignas(LP_PAIR_BYTES) static lp_record memory[capacity + 6];
    lp_ring *ring = nullptr;
    if (lp_ring_init_boot(memory, sizeof(memory), capacity, &ring) != LP_OK) {
        state.SkipWithError("the ring did not fit");
        return;
    }
    for (auto _ : state) {
        benchmark::DoNotOptimize(lp_ring_take(ring));
        lp_ring_give_back(ring);
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(ring_look_at_an_empty_one);

BENCHMARK_MAIN();
