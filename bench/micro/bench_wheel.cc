// SPDX-License-Identifier: Apache-2.0
//
// What does a timer cost to arm, to move (as every byte received moves a
// heartbeat), to fire, and to have around while nothing is due?
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "dataplane/base/wheel.h"

constexpr uint64_t tick_ns = 1ull << LP_WHEEL_TICK_SHIFT;
constexpr uint64_t second_ns = 1000000000;

static void
count_fire(void *context, lp_timer *timer, uint64_t now_ns)
{
    (void)timer;
    (void)now_ns;
    ++*static_cast<uint64_t *>(context);
}

struct Timers {
    lp_wheel wheel;
    std::vector<lp_timer> timer;

    explicit Timers(size_t count) : wheel(), timer(count)
    {
        lp_wheel_init(&wheel, 0);
    }
};

static void
wheel_arm_disarm(benchmark::State &state)
{
    Timers timers(1);
    const uint64_t delay_ns = static_cast<uint64_t>(state.range(0)) * 1000000;
    for (auto _ : state) {
        lp_timer_arm(&timers.wheel, &timers.timer[0], count_fire, delay_ns);
        lp_timer_disarm(&timers.wheel, &timers.timer[0]);
        benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(wheel_arm_disarm)->ArgName("delay_ms")->Arg(1)->Arg(1000)->Arg(60000);

// Later than before: a store.
static void
wheel_move_later(benchmark::State &state)
{
    const auto count = static_cast<size_t>(state.range(0));
    Timers timers(count);
    uint64_t now_ns = 0;
    size_t at = 0;
    for (auto _ : state) {
        now_ns += 100;
        lp_timer_arm(&timers.wheel, &timers.timer[at], count_fire, now_ns + 60 * second_ns);
        at = at + 1 == count ? 0 : at + 1;
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(wheel_move_later)->ArgName("timers")->Arg(1)->Arg(100000);

// From arming to the callback, the walk down the levels included.
static void
wheel_arm_fire(benchmark::State &state)
{
    const auto count = static_cast<size_t>(state.range(0));
    const uint64_t spread_ns = static_cast<uint64_t>(state.range(1)) * 1000000;
    Timers timers(count);
    uint64_t now_ns = 0;
    uint64_t fired = 0;
    for (auto _ : state) {
        for (size_t i = 0; i < count; i++) {
            lp_timer_arm(&timers.wheel, &timers.timer[i], count_fire,
                         now_ns + 1 + spread_ns * i / count);
        }
        now_ns += spread_ns + 2 * tick_ns;
        benchmark::DoNotOptimize(lp_wheel_advance(&timers.wheel, now_ns, UINT32_MAX, &fired));
    }
    const auto armed = static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(count);
    if (fired != static_cast<uint64_t>(armed)) {
        state.SkipWithError("a timer did not fire");
    }
    state.SetItemsProcessed(armed);
}
BENCHMARK(wheel_arm_fire)
    ->ArgNames({"timers", "spread_ms"})
    ->Args({1000, 1})
    ->Args({1000, 1000})
    ->Args({1000, 60000});

// A turn in which nothing is due, and the question how long one may sleep.
static void
wheel_idle_turn(benchmark::State &state)
{
    const auto count = static_cast<size_t>(state.range(0));
    Timers timers(count);
    uint64_t fired = 0;
    for (size_t i = 0; i < count; i++) {
        lp_timer_arm(&timers.wheel, &timers.timer[i], count_fire,
                     1000000 * second_ns + i * tick_ns);
    }
    uint64_t now_ns = 0;
    for (auto _ : state) {
        now_ns += 1000;
        benchmark::DoNotOptimize(lp_wheel_advance(&timers.wheel, now_ns, 1000, &fired));
        benchmark::DoNotOptimize(lp_wheel_next_ns(&timers.wheel));
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(wheel_idle_turn)->ArgName("timers")->Arg(0)->Arg(100000);

BENCHMARK_MAIN();
