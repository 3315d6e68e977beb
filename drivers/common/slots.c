/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/common/slots.h>

#include <stdlib.h>

#define SLOT_TAKEN (UINT32_MAX - 1)

enum lp_err
lp_slots_init_boot(struct lp_slots *slots, uint32_t capacity)
{
    LP_ASSERT(capacity > 0 && capacity < SLOT_TAKEN);
    *slots = (struct lp_slots){.capacity = capacity, .free_head = 0};
    slots->generation = calloc(capacity, sizeof(*slots->generation));
    slots->next = calloc(capacity, sizeof(*slots->next));
    if (slots->generation == NULL || slots->next == NULL) {
        lp_slots_fini(slots);
        return LP_ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < capacity; i++) {
        slots->next[i] = i + 1 < capacity ? i + 1 : LP_SLOT_NONE;
    }
    return LP_OK;
}

void
lp_slots_fini(struct lp_slots *slots)
{
    free(slots->generation);
    free(slots->next);
    *slots = (struct lp_slots){.free_head = LP_SLOT_NONE};
}

uint32_t
lp_slots_alloc(struct lp_slots *slots)
{
    const uint32_t index = slots->free_head;
    if (index == LP_SLOT_NONE) {
        return LP_SLOT_NONE;
    }
    slots->free_head = slots->next[index];
    slots->next[index] = SLOT_TAKEN;
    slots->used++;
    slots->generation[index]++;
    if (slots->generation[index] == 0) {
        slots->generation[index] = 1; /* 0 is nobody's, also after 2^32 lives */
    }
    return index;
}

void
lp_slots_release(struct lp_slots *slots, uint32_t index)
{
    LP_ASSERT(lp_slots_used(slots, index));
    slots->next[index] = slots->free_head;
    slots->free_head = index;
    slots->used--;
}

lp_handle
lp_slots_handle(const struct lp_slots *slots, uint32_t index)
{
    LP_ASSERT(lp_slots_used(slots, index));
    return lp_handle_make(index, slots->generation[index]);
}

uint32_t
lp_slots_find(const struct lp_slots *slots, lp_handle handle)
{
    const uint32_t index = lp_handle_index(handle);
    if (index >= slots->capacity || slots->next[index] != SLOT_TAKEN ||
        slots->generation[index] != lp_handle_generation(handle)) {
        return LP_SLOT_NONE;
    }
    return index;
}

bool
lp_slots_used(const struct lp_slots *slots, uint32_t index)
{
    return index < slots->capacity && slots->next[index] == SLOT_TAKEN;
}
