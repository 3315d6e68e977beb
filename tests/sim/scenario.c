/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/scenario.h"

#include <string.h>

#include "tests/sim/scenario_list.h"

/* clang-format off */
static const struct scenario *const scenarios[] = {
    &scenario_plain,
    &scenario_bare,
    &scenario_expiry,
    &scenario_lengths,
    &scenario_letters,
    &scenario_ttl,
    &scenario_limits,
    &scenario_priorities,
    &scenario_sole,
    &scenario_quorum,
    &scenario_tx,
    &scenario_copies,
    &scenario_policies,
    &scenario_graph,
    &scenario_replies,
    &scenario_alone,
    &scenario_expires,
    &scenario_declares,
    &scenario_stamped_plain,
    &scenario_stamped_graph,
    &scenario_durable,
    &scenario_durable_letters,
    &scenario_transient,
    &scenario_transient_letters,
    &scenario_late,
    &scenario_flood,
    &scenario_mix,
    &scenario_mix_transient,
    &scenario_log,
    &scenario_log_broken,
    &scenario_log_rotten,
};
/* clang-format on */

/* Without a generator: a new scenario must not change what another one's seed does. */
static uint64_t
mixed(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

const struct scenario *
scenario_of(uint64_t seed, uint32_t node)
{
    uint32_t total = 0;
    for (size_t i = 0; i < LP_COUNT_OF(scenarios); i++) {
        total += scenarios[i]->weight;
    }
    uint32_t pick = (uint32_t)(mixed(seed * 2 + node) % total);
    size_t at = 0;
    while (pick >= scenarios[at]->weight) {
        pick -= scenarios[at++]->weight;
    }
    return scenarios[at];
}

const struct scenario *
scenario_find(const char *name)
{
    for (size_t i = 0; i < LP_COUNT_OF(scenarios); i++) {
        if (strcmp(scenarios[i]->name, name) == 0) {
            return scenarios[i];
        }
    }
    return NULL;
}

const struct scenario *
scenario_at(uint32_t index)
{
    return index < LP_COUNT_OF(scenarios) ? scenarios[index] : NULL;
}
