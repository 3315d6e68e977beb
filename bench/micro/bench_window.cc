// SPDX-License-Identifier: Apache-2.0
//
// What does a delivery's entry cost, from the delivery to its acknowledgement,
// by how many are open meanwhile?
#include <benchmark/benchmark.h>

#include "bench/micro/arena.hh"
#include "dataplane/base/window.h"

static void
window_append_close(benchmark::State &state)
{
    const auto open = static_cast<uint64_t>(state.range(0));
    Arena arena(64u << 20);
    lp_window window;
    lp_window_init(&window, arena.memory, 32);
    uint64_t number = 0;
    for (uint64_t i = 1; i < open; i++) {
        benchmark::DoNotOptimize(lp_window_append(&window, &number));
    }
    for (auto _ : state) {
        benchmark::DoNotOptimize(lp_window_append(&window, &number));
        lp_window_close(&window, window.first_open);
    }
    lp_window_fini(&window);
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(window_append_close)->ArgName("open")->Arg(1)->Arg(2)->Arg(250)->Arg(100000);

// "Up to and including this tag": the walk over what is open.
static void
window_close_many(benchmark::State &state)
{
    const auto burst = static_cast<uint64_t>(state.range(0));
    Arena arena(64u << 20);
    lp_window window;
    lp_window_init(&window, arena.memory, 32);
    for (auto _ : state) {
        uint64_t last = 0;
        for (uint64_t i = 0; i < burst; i++) {
            benchmark::DoNotOptimize(lp_window_append(&window, &last));
        }
        uint64_t number = 0;
        while (lp_window_next_open(&window, 0, &number) != nullptr && number <= last) {
            lp_window_close(&window, number);
        }
    }
    lp_window_fini(&window);
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * burst));
}
BENCHMARK(window_close_many)->ArgName("burst")->Arg(10)->Arg(1000);

// A number that stays open while all others come and go.
static void
window_with_a_straggler(benchmark::State &state)
{
    Arena arena(64u << 20);
    lp_window window;
    lp_window_init(&window, arena.memory, 32);
    uint64_t number = 0;
    benchmark::DoNotOptimize(lp_window_append(&window, &number));
    for (auto _ : state) {
        benchmark::DoNotOptimize(lp_window_append(&window, &number));
        lp_window_close(&window, number);
        if (number % 1000000 == 0) { // the directory has its price too
            state.PauseTiming();
            lp_window_fini(&window);
            lp_window_init(&window, arena.memory, 32);
            benchmark::DoNotOptimize(lp_window_append(&window, &number));
            state.ResumeTiming();
        }
    }
    lp_window_fini(&window);
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(window_with_a_straggler);

BENCHMARK_MAIN();
