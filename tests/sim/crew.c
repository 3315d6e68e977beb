/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/crew.h"

void
crew_init(struct crew *crew, struct scene *scene, const struct pilot_ops *maker_ops,
          uint32_t maker_lives)
{
    crew->scene = scene;
    crew->count = 0;
    pilot_init(&crew->maker, scene, maker_ops);
    crew->maker.lives = maker_lives;
    crew->maker.accident = 0;
}

void
crew_fini(struct crew *crew)
{
    pilot_fini(&crew->maker);
    for (uint32_t i = 0; i < crew->count; i++) {
        pilot_fini(crew->row[i]);
    }
}

void
crew_add(struct crew *crew, struct pilot *pilot, const struct pilot_ops *ops, uint32_t lives)
{
    LP_ASSERT(crew->count < CREW_ROW_MAX);
    pilot_init(pilot, crew->scene, ops);
    pilot->lives = lives;
    crew->row[crew->count++] = pilot;
}

struct pilot *
crew_pick(struct crew *crew)
{
    const uint32_t pick = crew->scene->set_up ? scene_below(crew->scene, 1 + crew->count) : 0;
    return pick == 0 ? &crew->maker : crew->row[pick - 1];
}

bool
crew_away(const struct crew *crew)
{
    for (uint32_t i = 0; i < crew->count; i++) {
        if (!pilot_away(crew->row[i])) {
            return false;
        }
    }
    return true;
}

bool
crew_finished(const struct crew *crew, uint32_t first, uint32_t count)
{
    LP_ASSERT(first + count <= crew->count);
    for (uint32_t i = first; i < first + count; i++) {
        if (crew->row[i]->lives > 0 || !pilot_away(crew->row[i])) {
            return false;
        }
    }
    return true;
}

void
crew_dismiss(struct crew *crew)
{
    for (uint32_t i = 0; i < crew->count; i++) {
        crew->row[i]->lives = 0;
    }
}
