/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/base/memory_internal.h"

static void
slab_check(const struct lp_memory *memory, uint32_t index)
{
    const struct memory_span *span = &memory->span[index];
    LP_ASSERT(span->class_index < LP_MEMORY_CLASS_COUNT);
    const struct memory_class *class = &memory->class[span->class_index];
    LP_ASSERT(span->used > 0); /* an empty span is given back at once */
    LP_ASSERT(span->used <= span->carved);
    LP_ASSERT(span->carved <= class->blocks_per_span);

    uint32_t released = 0;
    uint64_t at = span->free_head;
    while (at != 0) {
        LP_ASSERT(released < class->blocks_per_span);
        const uint32_t offset = (uint32_t)(at - 1) * BLOCK_UNIT_BYTES;
        LP_ASSERT(offset % class->block_bytes == 0);
        LP_ASSERT(offset < span->carved * class->block_bytes);
        const uint8_t *block = memory_span_base(memory, index) + offset;
        LP_ASSERT(memory_free_block_marked(block)); /* else: written to after release */
        at = memory_free_block_next(block);
        released++;
    }
    LP_ASSERT(span->carved == span->used + released);
}

static void
class_check(const struct lp_memory *memory, uint32_t class_index, uint32_t expected_room)
{
    uint32_t seen = 0;
    uint32_t prev = 0;
    for (uint32_t i = memory->class[class_index].room_head; i != 0; i = memory->span[i].next) {
        const struct memory_span *span = &memory->span[i];
        LP_ASSERT(seen < expected_room);
        LP_ASSERT(span->kind == MEMORY_SPAN_SLAB && span->class_index == class_index);
        LP_ASSERT(span->used < memory->class[class_index].blocks_per_span);
        LP_ASSERT(span->prev == prev);
        prev = i;
        seen++;
    }
    LP_ASSERT(seen == expected_room);
}

void
lp_memory_check(const struct lp_memory *memory)
{
    LP_ASSERT(memory->magic == LP_MEMORY_MAGIC);
    uint64_t used_bytes = 0;
    uint32_t spans_free = 0;
    uint32_t spans[LP_MEMORY_CLASS_COUNT] = {0};
    uint32_t room[LP_MEMORY_CLASS_COUNT] = {0};
    uint64_t blocks[LP_MEMORY_CLASS_COUNT] = {0};

    for (uint32_t i = 0; i < memory->span_count; i++) {
        const struct memory_span *span = &memory->span[i];
        const bool marked = (memory->used[i / WORD_BITS] >> (i % WORD_BITS) & 1u) != 0;
        LP_ASSERT(marked == (span->kind != MEMORY_SPAN_FREE));
        LP_ASSERT((i < memory->table_spans) == (span->kind == MEMORY_SPAN_TABLE));
        spans_free += span->kind == MEMORY_SPAN_FREE;
        if (span->kind == MEMORY_SPAN_LARGE) {
            used_bytes += (uint64_t)span->next << SPAN_SHIFT;
        } else if (span->kind == MEMORY_SPAN_SLAB) {
            slab_check(memory, i);
            spans[span->class_index]++;
            blocks[span->class_index] += span->used;
            room[span->class_index] +=
                span->used < LP_SPAN_BYTES / memory->class[span->class_index].block_bytes;
        }
    }
    for (uint32_t i = 0; i < LP_MEMORY_CLASS_COUNT; i++) {
        LP_ASSERT(memory->class[i].spans == spans[i]);
        LP_ASSERT(memory->class[i].blocks_used == blocks[i]);
        class_check(memory, i, room[i]);
        used_bytes += blocks[i] * memory->class[i].block_bytes;
    }
    LP_ASSERT(memory->spans_free == spans_free);
    LP_ASSERT(memory->used_bytes == used_bytes);
    LP_ASSERT(memory->aside_bytes <= used_bytes);
}
