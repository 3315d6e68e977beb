/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim.h - the simulator's clock and randomness.
 *
 *   Memory    the caller's; nothing is allocated
 *   Runs on   the one thread that steps the simulation
 *
 * Invariant: the same seed and the same calls give the same numbers, on any
 * machine and compiler.
 */
#pragma once

#include <lepus/clock.h>
#include <lepus/entropy.h>

/* Virtual time: it moves when the scheduler says so and never goes back. */
struct lp_sim_clock {
    uint64_t now_ns;
    uint64_t wall_offset_ns; /* wall time is now_ns + this; a test may jump it */
};

void lp_sim_clock_init(struct lp_sim_clock *clock, uint64_t start_ns, uint64_t wall_ns);
void lp_sim_clock_advance(struct lp_sim_clock *clock, uint64_t by_ns);
/* Go to `now_ns`, which is not in the past. */
void lp_sim_clock_set(struct lp_sim_clock *clock, uint64_t now_ns);
/* The contract over it; borrows `clock`. */
struct lp_clock lp_sim_clock_contract(struct lp_sim_clock *clock);

/* xoshiro256**: good enough to explore with, never for secrets. */
struct lp_sim_random {
    uint64_t state[4];
};

void lp_sim_random_seed(struct lp_sim_random *random, uint64_t seed);
/* A second generator whose numbers do not shift when the first is used more: one a subsystem. */
void lp_sim_random_fork(struct lp_sim_random *parent, struct lp_sim_random *ret_child);
uint64_t lp_sim_random_next(struct lp_sim_random *random);
/* Uniform in [0, bound); 0 when `bound` is 0. */
uint64_t lp_sim_random_below(struct lp_sim_random *random, uint64_t bound);
/* Uniform in [low, high]. */
uint64_t lp_sim_random_between(struct lp_sim_random *random, uint64_t low, uint64_t high);
/* True `per_mille` times in a thousand. */
bool lp_sim_random_chance(struct lp_sim_random *random, uint32_t per_mille);
/* The contract over it; borrows `random`. */
struct lp_entropy lp_sim_random_entropy(struct lp_sim_random *random);
