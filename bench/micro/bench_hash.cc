// SPDX-License-Identifier: Apache-2.0
//
// What does a name cost to hash, and an entry to find, when the index fits the
// cache and when it does not?
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "bench/micro/arena.hh"
#include "dataplane/base/hash.h"

static const lp_hash_key key = {{0x0706050403020100, 0x0f0e0d0c0b0a0908}};

static void
hash_name(benchmark::State &state)
{
    const auto bytes = static_cast<size_t>(state.range(0));
    std::vector<char> name(bytes, 'x');
    for (auto _ : state) {
        benchmark::DoNotOptimize(name.data());
        benchmark::DoNotOptimize(lp_hash_bytes(&key, name.data(), bytes));
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes));
}
BENCHMARK(hash_name)->ArgName("bytes")->Arg(4)->Arg(16)->Arg(40)->Arg(255);

struct Items {
    Arena arena{64u << 20};
    lp_hash hash = {};
    std::vector<lp_hash_node> node;

    explicit Items(size_t count) : node(count)
    {
        if (lp_hash_init(&hash, arena.memory) != LP_OK) {
            std::abort();
        }
        for (size_t i = 0; i < count; i++) {
            lp_hash_insert(&hash, &node[i], lp_hash_mix(1, i));
        }
    }
    ~Items()
    {
        for (lp_hash_node &it : node) {
            lp_hash_remove(&hash, &it);
        }
        lp_hash_fini(&hash);
    }
    Items(const Items &) = delete;
    Items &operator=(const Items &) = delete;
};

static void
hash_find(benchmark::State &state)
{
    const auto count = static_cast<size_t>(state.range(0));
    const bool present = state.range(1) != 0;
    Items items(count);
    uint64_t at = 0;
    for (auto _ : state) {
        at = (at + 7919) % count;
        const lp_hash_node *found = lp_hash_first(&items.hash, lp_hash_mix(present ? 1 : 2, at));
        benchmark::DoNotOptimize(found);
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(hash_find)
    ->ArgNames({"items", "present"})
    ->Args({100, 1})
    ->Args({100, 0})
    ->Args({1000000, 1})
    ->Args({1000000, 0});

// An entry that comes and goes, as an exclusive queue does.
static void
hash_insert_remove(benchmark::State &state)
{
    const auto count = static_cast<size_t>(state.range(0));
    Items items(count);
    lp_hash_node node = {};
    uint64_t at = count;
    for (auto _ : state) {
        lp_hash_insert(&items.hash, &node, lp_hash_mix(3, at++));
        lp_hash_remove(&items.hash, &node);
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(hash_insert_remove)->ArgName("items")->Arg(100)->Arg(100000);

BENCHMARK_MAIN();
