/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_route.cc - what does it cost to find a message's queues?
 *
 * A topic exchange with 10,000 bindings, as a service with many devices has
 * them, asked for keys it has not seen this epoch (the trie) and for keys it
 * has (the cache); direct and headers exchanges beside it; and the pattern and
 * key that cost a trie the most.
 */
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic" /* flexible arrays are C's */
extern "C" {
#include "dataplane/broker/topology.h"
}
#pragma GCC diagnostic pop

namespace
{

constexpr uint64_t MEMORY_BYTES = 64u << 20;
constexpr uint32_t BINDINGS = 10000;
constexpr uint32_t KEYS = 512; /* fewer than the cache has slots */

struct lp_bytes
bytes_of(const std::string &text)
{
    return lp_bytes_of(text.data(), static_cast<uint32_t>(text.size()));
}

/* One exchange of the kind, named "x", and as many queues as asked for. */
class Rig
{
  public:
    Rig(uint8_t kind, uint32_t queues)
    {
        reservation_ = std::aligned_alloc(LP_SPAN_BYTES, MEMORY_BYTES);
        std::memset(reservation_, 0, MEMORY_BYTES);
        const struct lp_hash_key key = {{1, 2}};
        must(lp_memory_init_boot(reservation_, MEMORY_BYTES, MEMORY_BYTES, &memory_));
        must(lp_topology_init_boot(&topology, memory_, &key, nullptr));
        must(lp_topology_vhost_up(&topology, 1, lp_bytes_of_text("/")));
        struct lp_exchange_parts parts = {};
        parts.id = 1;
        parts.vhost_id = 1;
        parts.name = lp_bytes_of_text("x");
        parts.kind = kind;
        must(lp_topology_exchange_up(&topology, &parts));
        for (uint32_t i = 1; i <= queues; i++) {
            const std::string name = "queue." + std::to_string(i);
            struct lp_queue_parts queue = {};
            queue.id = i;
            queue.vhost_id = 1;
            queue.name = bytes_of(name);
            must(lp_topology_queue_up(&topology, &queue));
        }
        exchange = lp_topology_exchange(&topology, 1, lp_bytes_of_text("x"));
    }
    Rig(const Rig &) = delete;
    Rig &operator=(const Rig &) = delete;
    ~Rig()
    {
        lp_topology_fini(&topology);
        std::free(reservation_);
    }

    void bind(uint32_t queue, const std::string &key, const std::string &arguments = "")
    {
        struct lp_binding_parts parts = {};
        parts.id = ++bindings_;
        parts.source = 1;
        parts.destination_resource = LP_RESOURCE_QUEUE;
        parts.destination = queue;
        parts.key = bytes_of(key);
        parts.arguments = bytes_of(arguments);
        must(lp_topology_bind_up(&topology, &parts));
    }

    /* Queues found; 0 stands for an error, too, and is one here. */
    uint32_t route(const std::string &key, const std::string &headers = "")
    {
        const struct lp_route_input input = {bytes_of(key), bytes_of(headers), {}};
        if (!lp_topology_route(&topology, exchange, &input)) {
            std::abort();
        }
        return topology.route_count;
    }

    struct lp_topology topology = {};
    struct lp_exchange *exchange = nullptr;

  private:
    static void must(enum lp_err err)
    {
        if (err != LP_OK) {
            std::abort();
        }
    }

    void *reservation_ = nullptr;
    struct lp_memory *memory_ = nullptr;
    uint64_t bindings_ = 0;
};

/* site.<0..99>.device.<0..99>.<what>: each device's own, each site's, and a few for all. */
void
bind_devices(Rig &rig)
{
    static const char *const whats[] = {"temperature", "alarm", "*", "#"};
    for (uint32_t i = 0; i < BINDINGS - 102; i++) {
        rig.bind(1 + i % 1000, "site." + std::to_string(i % 100) + ".device." +
                                   std::to_string(i / 100) + "." + whats[i % 4]);
    }
    for (uint32_t site = 0; site < 100; site++) {
        rig.bind(1 + site, "site." + std::to_string(site) + ".#");
    }
    rig.bind(1, "*.*.device.*.alarm");
    rig.bind(2, "#.alarm");
}

std::vector<std::string>
device_keys()
{
    std::vector<std::string> keys;
    for (uint32_t i = 0; i < KEYS; i++) {
        keys.push_back("site." + std::to_string(i * 7 % 100) + ".device." +
                       std::to_string(i * 13 % 100) + (i % 2 ? ".temperature" : ".alarm"));
    }
    return keys;
}

void
ask(benchmark::State &state, Rig &rig, const std::vector<std::string> &keys, bool cached)
{
    uint64_t queues = 0;
    uint32_t next = 0;
    for (auto _ : state) {
        rig.topology.epoch += cached ? 0 : 1;
        const uint32_t found = rig.route(keys[next]);
        benchmark::DoNotOptimize(rig.topology.route);
        queues += found;
        next = next + 1 == keys.size() ? 0 : next + 1;
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
    state.counters["queues/message"] =
        static_cast<double>(queues) / static_cast<double>(state.iterations());
}

void
topic_10k(benchmark::State &state)
{
    Rig rig(LP_EXCHANGE_TOPIC, 1000);
    bind_devices(rig);
    ask(state, rig, device_keys(), state.range(0) != 0);
}
BENCHMARK(topic_10k)->ArgName("cached")->Arg(0)->Arg(1);

void
direct_10k(benchmark::State &state)
{
    Rig rig(LP_EXCHANGE_DIRECT, 1000);
    std::vector<std::string> keys;
    for (uint32_t i = 0; i < BINDINGS; i++) {
        rig.bind(1 + i % 1000, "device." + std::to_string(i));
        if (i % 20 == 0) {
            keys.push_back("device." + std::to_string(i));
        }
    }
    ask(state, rig, keys, state.range(0) != 0);
}
BENCHMARK(direct_10k)->ArgName("cached")->Arg(0)->Arg(1);

/* No words in common, every node a wildcard: the most nodes for each word. */
void
topic_worst(benchmark::State &state)
{
    Rig rig(LP_EXCHANGE_TOPIC, 1);
    std::string pattern;
    std::string key;
    for (uint32_t i = 0; i < 63; i++) {
        pattern += "#.a.";
        key += "a.a.";
    }
    rig.bind(1, pattern + "b");
    ask(state, rig, {key + "a"}, false);
}
BENCHMARK(topic_worst);

std::string
header(const std::string &name, char value)
{
    return std::string(1, static_cast<char>(name.size())) + name + 'b' + value;
}

void
headers_match(benchmark::State &state)
{
    const uint32_t bindings = static_cast<uint32_t>(state.range(0));
    Rig rig(LP_EXCHANGE_HEADERS, bindings);
    for (uint32_t i = 0; i < bindings; i++) {
        rig.bind(1 + i, "",
                 header("site", static_cast<char>(i % 100)) +
                     header("kind", static_cast<char>(i / 100)));
    }
    const std::string headers = header("kind", 0) + header("colour", 4) + header("site", 9);
    uint32_t queues = 0;
    for (auto _ : state) {
        queues = rig.route("", headers);
        benchmark::DoNotOptimize(rig.topology.route);
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
    state.counters["queues/message"] = queues;
}
BENCHMARK(headers_match)->ArgName("bindings")->Arg(10)->Arg(1000);

void
fanout(benchmark::State &state)
{
    const uint32_t queues = static_cast<uint32_t>(state.range(0));
    Rig rig(LP_EXCHANGE_FANOUT, queues);
    for (uint32_t i = 0; i < queues; i++) {
        rig.bind(1 + i, "");
    }
    ask(state, rig, device_keys(), true);
}
BENCHMARK(fanout)->ArgName("queues")->Arg(1)->Arg(64)->Arg(1000);

} // namespace

BENCHMARK_MAIN();
