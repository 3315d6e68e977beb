/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crew.h - the clients of a small scenario: a maker that declares what there
 * is, and deletes it at the end, and the others, in a row.
 *
 * Memory: the pilots of the row are the scenario's own.
 */
#pragma once

#include "tests/sim/pilot.h"

#define CREW_ROW_MAX 32u
/* Lives of who ends when there is nothing left to do, not before. */
#define LIVES_ENOUGH 100000u

struct crew {
    struct scene *scene;
    struct pilot maker;
    struct pilot *row[CREW_ROW_MAX];
    uint32_t count;
};

/* The maker meets no accidents. */
void crew_init(struct crew *crew, struct scene *scene, const struct pilot_ops *maker_ops,
               uint32_t maker_lives);
void crew_fini(struct crew *crew);
/* One more of the row. */
void crew_add(struct crew *crew, struct pilot *pilot, const struct pilot_ops *ops, uint32_t lives);
/* Whose turn is it?  The maker's, until all is set up; then anybody's. */
struct pilot *crew_pick(struct crew *crew);
/* Of the row: is nobody connected?  And will nobody of these `count`, from `first` on, come back?
 */
bool crew_away(const struct crew *crew);
bool crew_finished(const struct crew *crew, uint32_t first, uint32_t count);
/* Nobody of the row connects again. */
void crew_dismiss(struct crew *crew);
