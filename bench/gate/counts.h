/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counts.h - what the measured part of path.c did, besides instructions.
 *
 * counted.c implements it in the counted build; uncounted.c in the ordinary
 * one, the one that callgrind runs, where there is nothing to tell.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct gate_counts {
    uint64_t taken; /* blocks and items of pools */
    uint64_t given; /* back */
    uint64_t copied;
    uint64_t stored;
    uint64_t lines; /* that crossed between shards */
};

/* False: this build does not count. */
bool gate_counts_begin(void);
const struct gate_counts *gate_counts_end(void);
/* `site ADDRESS blocks COUNT copied BYTES lines COUNT`: which places in the program it was. */
void gate_counts_print_sites(void);
