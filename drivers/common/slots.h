/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slots.h - which entries of a driver's table of streams are taken, and under
 * which generation: the driver's half of a handle.
 *
 *   Memory    one allocation at boot
 *   Runs on   owner core
 *   Overload  alloc says no
 *
 * Invariant: an index is free, or in use under exactly one generation, which
 * is never 0.
 */
#pragma once

#include <lepus/base.h>
#include <lepus/err.h>

#define LP_SLOT_NONE UINT32_MAX

struct lp_slots {
    uint32_t *generation;
    uint32_t *next; /* of a free one; LP_SLOT_TAKEN of one in use */
    uint32_t free_head;
    uint32_t used;
    uint32_t capacity;
};

LP_MUST_CHECK enum lp_err lp_slots_init_boot(struct lp_slots *slots, uint32_t capacity);
void lp_slots_fini(struct lp_slots *slots);

/* Take an entry: its index, LP_SLOT_NONE when all are taken.  The last one released comes first. */
uint32_t lp_slots_alloc(struct lp_slots *slots);
void lp_slots_release(struct lp_slots *slots, uint32_t index);

lp_handle lp_slots_handle(const struct lp_slots *slots, uint32_t index);
/* The index that a live handle names, or LP_SLOT_NONE. */
uint32_t lp_slots_find(const struct lp_slots *slots, lp_handle handle);
bool lp_slots_used(const struct lp_slots *slots, uint32_t index);
