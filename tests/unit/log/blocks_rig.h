/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blocks_rig.h - logs of batches of one block each, so that every place is
 * known, and what can be done to their disk between two runs.
 */
#pragma once

#include "dataplane/log/log_private.h"
#include "tests/unit/log/log_rig.h"

#define BLOCKS_SEGMENT_BYTES (64u * 1024)
#define BLOCK                LP_DISK_ALIGN_BYTES

/* Batches of one block each, values from `first` on; all are durable. */
static inline void
write_blocks(struct rig *rig, uint64_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)rig_write(rig, 100, first + i);
        rig_settle(rig);
    }
}

static inline void
rig_open(struct rig *rig)
{
    rig_init(rig, BLOCKS_SEGMENT_BYTES);
    assert_int_equal(rig_recover(rig), LP_LOG_OPEN);
    rig_settle(rig);
}

static inline enum lp_log_state
restart(struct rig *rig)
{
    if (rig->log) {
        rig_kill(rig);
    }
    rig_start(rig);
    return rig_recover(rig);
}

static inline uint8_t *
at(struct rig *rig, uint32_t segment, uint64_t offset)
{
    struct lp_mem_disk_file *file = lp_mem_disk_file(&rig->disk, segment);
    assert_non_null(file);
    return file->data + offset;
}

static inline void
expect_damage(struct rig *rig, uint32_t segment, uint64_t offset)
{
    assert_int_equal(restart(rig), LP_LOG_DAMAGED);
    assert_int_equal(lp_log_fault(rig->log)->segment, segment);
    assert_int_equal(lp_log_fault(rig->log)->offset, offset);
    assert_non_null(lp_log_fault(rig->log)->what);
    assert_false(lp_log_begin(rig->log, 10));
}

static inline void
expect_values(const struct rig *rig, uint64_t first, uint32_t count)
{
    assert_int_equal(rig->committed, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(rig->heard[i].value, first + i);
    }
}

/* Seals so many batches and leaves them in flight. */
static inline void
fly(struct rig *rig, uint64_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)rig_write(rig, 100, first + i);
    }
    lp_log_flush(rig->log);
}

/* Power off: of the batches in flight those in `mask` are there, as a whole. */
static inline void
power_off(struct rig *rig, uint32_t mask)
{
    uint32_t index = 0;
    for (uint32_t i = 0; i < rig->disk.flight_count; i++) {
        const struct lp_mem_disk_flight *flight = &rig->disk.flights[i];
        if (flight->op.kind == LP_DISK_WRITE) {
            if (mask >> index & 1) {
                memcpy(at(rig, flight->op.file, flight->op.offset), flight->copy, flight->op.bytes);
            }
            index++;
        }
    }
    rig_kill(rig);
}

static inline void
file_lose(struct rig *rig, uint32_t number)
{
    struct lp_mem_disk_file *file = lp_mem_disk_file(&rig->disk, number);
    assert_non_null(file);
    free(file->data);
    rig->disk.file_count--;
    memmove(file, file + 1,
            (rig->disk.file_count - (uint32_t)(file - rig->disk.files)) * sizeof(*file));
}
