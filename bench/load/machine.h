/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.h - what a run cost, seen from outside: processor time of the
 * broker's processes, of this one, of everybody else, and what the hypervisor
 * took; the broker's memory.
 *
 * Processor time of a process is its clock (clock_getcpuclockid), which the
 * scheduler keeps in nanoseconds, all threads together, not the ticks of
 * /proc/PID/stat. Everybody else's is in ticks: /proc/stat has nothing finer.
 */
#pragma once

#include "options.h"

#define LOAD_TREE_MAX 256

/* The broker's processes with all their descendants. */
struct load_tree {
    int pids[LOAD_TREE_MAX];
    uint32_t count;
};

struct load_usage {
    uint64_t wall_ns;
    uint64_t broker_cpu_ns;
    uint64_t own_cpu_ns;
    uint64_t busy_ns;  /* of all processors: whatever anybody did */
    uint64_t steal_ns; /* of all processors: wanted and not had */
};

void load_tree_find(struct load_tree *tree, const struct load_options *options);
/*
 * Resident memory of the broker, what its processes share counted once. Takes
 * milliseconds where there is much of it, and the broker's page tables with it:
 * not while latency is measured. The quick one counts twice what is shared.
 */
uint64_t load_tree_bytes(const struct load_tree *tree);
uint64_t load_tree_bytes_quick(const struct load_tree *tree);
void load_usage_take(struct load_usage *ret_usage, const struct load_tree *tree);
/* Run on one processor; false: it is not ours to have. */
LP_MUST_CHECK bool load_machine_pin(uint32_t cpu);
