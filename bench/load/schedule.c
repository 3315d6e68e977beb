/* SPDX-License-Identifier: Apache-2.0 */
#include "schedule.h"

#include <stdlib.h>

bool
load_schedule_init(struct load_schedule *schedule, uint32_t publishers)
{
    schedule->heap = calloc(publishers + 1u, sizeof(struct load_publisher *));
    return schedule->heap != NULL;
}

void
load_schedule_fini(struct load_schedule *schedule)
{
    free(schedule->heap);
    *schedule = (struct load_schedule){0};
}

static void
put(struct load_schedule *schedule, struct load_publisher *publisher, uint32_t place)
{
    schedule->heap[place] = publisher;
    publisher->place = place;
}

void
load_schedule_add(struct load_schedule *schedule, struct load_publisher *publisher)
{
    if (publisher->place != LOAD_PLACE_NONE) {
        return;
    }
    if (publisher->options->rate <= 0) {
        publisher->due_ns = schedule->turn++; /* long past: a number in a line */
    }
    uint32_t place = schedule->count++;
    while (place > 0 && schedule->heap[(place - 1) / 2]->due_ns > publisher->due_ns) {
        put(schedule, schedule->heap[(place - 1) / 2], place);
        place = (place - 1) / 2;
    }
    put(schedule, publisher, place);
}

struct load_publisher *
load_schedule_pop(struct load_schedule *schedule, uint64_t now_ns)
{
    if (schedule->count == 0 || schedule->heap[0]->due_ns > now_ns) {
        return NULL;
    }
    struct load_publisher *first = schedule->heap[0];
    struct load_publisher *last = schedule->heap[--schedule->count];
    uint32_t place = 0;
    for (uint32_t child = 1; child < schedule->count; child = 2 * place + 1) {
        if (child + 1 < schedule->count &&
            schedule->heap[child + 1]->due_ns < schedule->heap[child]->due_ns) {
            child++;
        }
        if (schedule->heap[child]->due_ns >= last->due_ns) {
            break;
        }
        put(schedule, schedule->heap[child], place);
        place = child;
    }
    if (schedule->count > 0) {
        put(schedule, last, place);
    }
    first->place = LOAD_PLACE_NONE;
    return first;
}
