/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/sim/sim.h>

#include <string.h>

void
lp_sim_clock_init(struct lp_sim_clock *clock, uint64_t start_ns, uint64_t wall_ns)
{
    clock->now_ns = start_ns;
    clock->wall_offset_ns = wall_ns - start_ns; /* modulo 2^64: may be "negative" */
}

void
lp_sim_clock_advance(struct lp_sim_clock *clock, uint64_t by_ns)
{
    LP_ASSERT(clock->now_ns + by_ns >= clock->now_ns);
    clock->now_ns += by_ns;
}

void
lp_sim_clock_set(struct lp_sim_clock *clock, uint64_t now_ns)
{
    LP_ASSERT(now_ns >= clock->now_ns);
    clock->now_ns = now_ns;
}

static uint64_t
clock_monotonic_ns(void *self)
{
    const struct lp_sim_clock *clock = self;
    return clock->now_ns;
}

static uint64_t
clock_wall_ns(void *self)
{
    const struct lp_sim_clock *clock = self;
    return clock->now_ns + clock->wall_offset_ns;
}

struct lp_clock
lp_sim_clock_contract(struct lp_sim_clock *clock)
{
    return (struct lp_clock){
        .monotonic_ns = clock_monotonic_ns, .wall_ns = clock_wall_ns, .self = clock};
}

/* splitmix64: spreads a seed such as 1 or 2 over the whole state. */
static uint64_t
splitmix(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t
rotate_left(uint64_t x, unsigned by)
{
    return (x << by) | (x >> (64 - by));
}

void
lp_sim_random_seed(struct lp_sim_random *random, uint64_t seed)
{
    for (size_t i = 0; i < LP_COUNT_OF(random->state); i++) {
        random->state[i] = splitmix(&seed);
    }
}

void
lp_sim_random_fork(struct lp_sim_random *parent, struct lp_sim_random *ret_child)
{
    lp_sim_random_seed(ret_child, lp_sim_random_next(parent));
}

uint64_t
lp_sim_random_next(struct lp_sim_random *random)
{
    uint64_t *s = random->state;
    const uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t
lp_sim_random_below(struct lp_sim_random *random, uint64_t bound)
{
    /* The bias of a plain remainder is below 2^-32 for the bounds that a simulation uses. */
    return bound == 0 ? 0 : lp_sim_random_next(random) % bound;
}

uint64_t
lp_sim_random_between(struct lp_sim_random *random, uint64_t low, uint64_t high)
{
    LP_ASSERT(low <= high);
    return low + lp_sim_random_below(random, high - low + 1);
}

bool
lp_sim_random_chance(struct lp_sim_random *random, uint32_t per_mille)
{
    return lp_sim_random_below(random, 1000) < per_mille;
}

static void
random_fill(void *self, void *data, size_t bytes)
{
    struct lp_sim_random *random = self;
    uint8_t *at = data;
    while (bytes > 0) {
        const uint64_t word = lp_sim_random_next(random);
        const size_t n = LP_MIN(bytes, sizeof(word));
        memcpy(at, &word, n);
        at += n;
        bytes -= n;
    }
}

struct lp_entropy
lp_sim_random_entropy(struct lp_sim_random *random)
{
    return (struct lp_entropy){.fill = random_fill, .self = random};
}
