// SPDX-License-Identifier: Apache-2.0
//
// What does a block cost to get and give back, by size, and does it matter
// how many are in use and in which order they go?
#include <benchmark/benchmark.h>

#include <algorithm>
#include <random>
#include <vector>

#include "bench/micro/arena.hh"
#include "dataplane/base/pool.h"

constexpr uint64_t arena_bytes = 256u << 20;

// The same block again and again: the floor.
static void
slab_alloc_release(benchmark::State &state)
{
    const auto bytes = static_cast<uint64_t>(state.range(0));
    Arena arena(arena_bytes);
    void *keep =
        lp_memory_alloc(arena.memory, bytes); // so that the span is not given back each time
    for (auto _ : state) {
        void *block = lp_memory_alloc(arena.memory, bytes);
        benchmark::DoNotOptimize(block);
        lp_memory_release(arena.memory, &block);
    }
    lp_memory_release(arena.memory, &keep);
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(slab_alloc_release)
    ->ArgName("bytes")
    ->Arg(64)
    ->Arg(200)
    ->Arg(1024)
    ->Arg(4096)
    ->Arg(32768);

// A span taken and given back each time: the class's worst case, and large blocks' ordinary one.
static void
slab_alloc_release_span(benchmark::State &state)
{
    const auto bytes = static_cast<uint64_t>(state.range(0));
    Arena arena(arena_bytes);
    for (auto _ : state) {
        void *block = lp_memory_alloc(arena.memory, bytes);
        benchmark::DoNotOptimize(block);
        lp_memory_release(arena.memory, &block);
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(slab_alloc_release_span)->ArgName("bytes")->Arg(64)->Arg(65536)->Arg(1 << 20);

// A queue of messages: many blocks in use, the oldest goes (first in, first out) or any one does.
static void
slab_churn(benchmark::State &state, bool random_order)
{
    const auto bytes = static_cast<uint64_t>(state.range(0));
    const auto count = static_cast<size_t>(state.range(1));
    Arena arena(arena_bytes);
    std::vector<void *> block(count);
    std::vector<uint32_t> order(count);
    for (size_t i = 0; i < count; i++) {
        block[i] = lp_memory_alloc(arena.memory, bytes);
        order[i] = static_cast<uint32_t>(i);
    }
    if (random_order) {
        std::shuffle(order.begin(), order.end(), std::mt19937(1));
    }
    size_t at = 0;
    for (auto _ : state) {
        void *&it = block[order[at]];
        lp_memory_release(arena.memory, &it);
        it = lp_memory_alloc(arena.memory, bytes);
        benchmark::DoNotOptimize(it);
        at = at + 1 == count ? 0 : at + 1;
    }
    for (void *&it : block) {
        lp_memory_release(arena.memory, &it);
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK_CAPTURE(slab_churn, oldest, false)
    ->ArgNames({"bytes", "live"})
    ->Args({256, 1000})
    ->Args({256, 400000});
BENCHMARK_CAPTURE(slab_churn, any, true)
    ->ArgNames({"bytes", "live"})
    ->Args({256, 1000})
    ->Args({256, 400000});

static void
pool_alloc_release(benchmark::State &state)
{
    Arena arena(1u << 20);
    lp_pool pool = {};
    if (lp_pool_init_boot(&pool, "bench", arena.memory, 112, 1000) != LP_OK) {
        state.SkipWithError("the pool did not fit");
        return;
    }
    for (auto _ : state) {
        lp_handle handle = LP_HANDLE_NONE;
        benchmark::DoNotOptimize(lp_pool_alloc(&pool, &handle));
        benchmark::DoNotOptimize(lp_pool_get(&pool, handle));
        lp_pool_release(&pool, handle);
    }
    lp_pool_fini(&pool);
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(pool_alloc_release);

BENCHMARK_MAIN();
