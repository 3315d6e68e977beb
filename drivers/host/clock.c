/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What time it is: monotonic, which the loop reads, and wall time, which
 * follows from it.
 */
#include "host.h"

#include <time.h>

/* How old what lies between the two clocks may be: somebody may set the time. */
#define WALL_AGE_NS 1000000000u
/* A reading of wall time that nothing came between takes less. */
#define WALL_GAP_NS 2000u
#define WALL_TRIES  8

static uint64_t
clock_ns(clockid_t clock)
{
    struct timespec now;
    const int failed = clock_gettime(clock, &now);
    LP_ASSERT(failed == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t
host_monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* Of some readings between two of the monotonic clock the one that was done in the shortest time.
 */
static void
wall_read(struct host_wall *wall)
{
    uint64_t shortest = UINT64_MAX;
    for (int i = 0; i < WALL_TRIES && shortest > WALL_GAP_NS; i++) {
        const uint64_t before = host_monotonic_ns();
        const uint64_t read = clock_ns(CLOCK_REALTIME);
        const uint64_t gap = host_monotonic_ns() - before;
        if (gap < shortest) {
            shortest = gap;
            wall->ahead_ns = read - (before + gap / 2);
        }
        wall->read_ns = before;
    }
}

uint64_t
host_wall_ns(struct host_wall *wall, uint64_t now_ns)
{
    if (wall->read_ns == 0 || now_ns - wall->read_ns > WALL_AGE_NS) {
        wall_read(wall);
    }
    return now_ns + wall->ahead_ns;
}

static uint64_t
clock_monotonic_ns(void *self)
{
    (void)self;
    return host_monotonic_ns();
}

static uint64_t
clock_wall_ns(void *self)
{
    (void)self;
    return clock_ns(CLOCK_REALTIME);
}

struct lp_clock
host_clock_contract(void)
{
    return (struct lp_clock){
        .monotonic_ns = clock_monotonic_ns, .wall_ns = clock_wall_ns, .self = NULL};
}
