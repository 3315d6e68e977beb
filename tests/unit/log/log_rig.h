/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_rig.h - a log over a disk in memory, and what it gave back.
 */
#pragma once

#include <sys/mman.h>

#include "dataplane/log/log.h"
#include "tests/lib/mem_disk.h"
#include "tests/unit/base/base_test.h"

#define RIG_MEMORY_BYTES (8u * 1024 * 1024)
#define RIG_HEARD_MAX    4096u

struct rig_heard {
    struct lp_log_place place;
    uint64_t value; /* the first 8 bytes of the content */
    uint32_t bytes;
    uint8_t kind;
};

struct rig {
    struct lp_mem_disk disk;
    struct arena arena;
    void *mapped; /* the arena is in here */
    struct lp_log *log;
    struct lp_log_options options;
    /* By recovery. */
    struct rig_heard heard[RIG_HEARD_MAX];
    uint32_t heard_count;
    uint32_t committed; /* of them */
    /* By reads. */
    uint64_t read_user;
    uint32_t read_count;
    uint32_t read_bytes; /* of the last one; 0: it failed */
    bool read_whole;
    struct lp_log_place read_place;
    uint64_t read_value;
    bool refuse; /* recovery's records make no sense */
};

/* Every content begins with a value, which the rest of it repeats. */
static inline void
rig_fill(uint8_t *to, uint32_t bytes, uint64_t value)
{
    for (uint32_t i = 0; i < bytes; i++) {
        to[i] = (uint8_t)(value >> (i % 8 * 8));
    }
}

static inline uint64_t
rig_value(struct lp_bytes content)
{
    uint64_t value = 0;
    memcpy(&value, content.data, LP_MIN(content.size, 8));
    for (uint32_t i = 0; i < content.size; i++) {
        assert_int_equal(content.data[i], (uint8_t)(value >> (i % 8 * 8)));
    }
    return value;
}

static inline bool
rig_record(void *context, const struct lp_log_record *record)
{
    struct rig *rig = context;
    assert_true(rig->heard_count < RIG_HEARD_MAX);
    const struct rig_heard heard = {record->place, rig_value(record->content), record->content.size,
                                    record->kind};
    rig->heard[rig->heard_count++] = heard;
    return !rig->refuse;
}

static inline bool
rig_commit(void *context)
{
    struct rig *rig = context;
    rig->committed = rig->heard_count;
    return true;
}

static inline void
rig_read(void *context, uint64_t user, struct lp_bytes data, const struct lp_log_fault *fault)
{
    struct rig *rig = context;
    struct lp_log_record record;
    rig->read_user = user;
    rig->read_count++;
    rig->read_bytes = data.size;
    rig->read_whole = data.size > 0 && lp_log_parse(data, rig->read_place, &record);
    if (rig->read_whole) {
        rig->read_value = rig_value(record.content);
    }
    assert_int_equal(data.size == 0, fault->err != LP_OK);
}

/* A new run on what the disk has. */
static inline void
rig_start(struct rig *rig)
{
    /* Only pages that are touched cost anything: there are many runs. */
    rig->mapped = mmap(NULL, RIG_MEMORY_BYTES + LP_SPAN_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(rig->mapped != MAP_FAILED);
    rig->arena.base =
        (void *)(((uintptr_t)rig->mapped + LP_SPAN_BYTES - 1) & ~((uintptr_t)LP_SPAN_BYTES - 1));
    assert_int_equal(lp_memory_init_boot(rig->arena.base, RIG_MEMORY_BYTES, RIG_MEMORY_BYTES,
                                         &rig->arena.memory),
                     LP_OK);
    rig->options.disk = lp_mem_disk_contract(&rig->disk);
    rig->options.memory = rig->arena.memory;
    const struct lp_log_hooks hooks = {rig_record, rig_commit, rig_read, rig};
    rig->options.hooks = hooks;
    rig->heard_count = 0;
    rig->committed = 0;
    assert_int_equal(lp_log_init_boot(&rig->options, &rig->log), LP_OK);
}

static inline void
rig_init(struct rig *rig, uint64_t segment_bytes)
{
    memset(rig, 0, sizeof(*rig));
    lp_mem_disk_init(&rig->disk);
    rig->options.shard = 3;
    rig->options.salt = 0x1234567890abcdefu;
    rig->options.segment_bytes = segment_bytes;
    rig->options.segment_bytes_first = segment_bytes;
    rig_start(rig);
}

/* The run ends, whatever it was doing. */
static inline void
rig_kill(struct rig *rig)
{
    lp_mem_disk_drop(&rig->disk);
    lp_memory_fini(&rig->arena.memory);
    assert_int_equal(munmap(rig->mapped, RIG_MEMORY_BYTES + LP_SPAN_BYTES), 0);
    rig->log = NULL;
}

static inline void
rig_fini(struct rig *rig)
{
    if (rig->log) {
        rig_kill(rig);
    }
    lp_mem_disk_fini(&rig->disk);
}

/* One turn in which everything that is in flight ends well. */
static inline void
rig_turn(struct rig *rig)
{
    lp_mem_disk_complete_all(&rig->disk);
    (void)lp_log_step(rig->log);
    lp_log_check(rig->log);
    lp_log_flush(rig->log);
    lp_log_check(rig->log);
}

#define RIG_TURNS_MAX 100000u

/* Until recovery is over, one way or the other. */
static inline enum lp_log_state
rig_recover(struct rig *rig)
{
    for (uint32_t i = 0; lp_log_state(rig->log) == LP_LOG_RECOVERING; i++) {
        assert_true(i < RIG_TURNS_MAX);
        rig_turn(rig);
    }
    return lp_log_state(rig->log);
}

/* Until nothing is left to do. */
static inline void
rig_settle(struct rig *rig)
{
    rig_turn(rig);
    for (uint32_t i = 0; !lp_log_idle(rig->log); i++) {
        assert_true(i < RIG_TURNS_MAX);
        rig_turn(rig);
    }
}

static inline void
rig_begin(struct rig *rig, uint64_t chain_bytes)
{
    for (uint32_t i = 0; !lp_log_begin(rig->log, chain_bytes); i++) {
        assert_true(i < RIG_TURNS_MAX);
        rig_turn(rig);
    }
}

static inline struct lp_log_place
rig_add(struct rig *rig, uint32_t bytes, uint64_t value)
{
    struct lp_log_place place;
    assert_true(lp_log_room(rig->log) >= bytes);
    uint8_t *at = lp_log_record(rig->log, (uint8_t)(1 + value % 255), bytes, &place);
    rig_fill(at, bytes, value);
    return place;
}

/* A batch with one record. */
static inline struct lp_log_place
rig_write(struct rig *rig, uint32_t bytes, uint64_t value)
{
    rig_begin(rig, lp_log_record_bytes(bytes));
    const struct lp_log_place place = rig_add(rig, bytes, value);
    (void)lp_log_seal(rig->log, false);
    return place;
}
