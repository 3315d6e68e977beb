/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "dataplane/log/log_private.h"

#define COMPLETIONS_MAX 16u

/* --- boot ---------------------------------------------------------------- */

static bool
options_valid(const struct lp_log_options *options)
{
    return options->disk.ops != NULL && options->memory != NULL &&
           options->segment_bytes_first >= 32u * 1024 &&
           options->segment_bytes >= options->segment_bytes_first &&
           options->segment_bytes % LP_DISK_ALIGN_BYTES == 0 &&
           options->segment_bytes_first % LP_DISK_ALIGN_BYTES == 0 &&
           options->segment_bytes <= UINT32_MAX;
}

static void
arena_cut(struct lp_log *log)
{
    uint8_t *at = log->arena;
    for (uint32_t i = 0; i < LP_LOG_BATCHES; i++, at += LP_LOG_BATCH_BYTES) {
        log->buffers[i].data = at;
    }
    for (uint32_t i = 0; i < LP_LOG_READS; i++, at += LP_LOG_READ_BYTES) {
        log->reads[i].data = at;
    }
    log->root_data = at;
    log->options.disk.ops->arena(log->options.disk.self, log->arena, LP_LOG_ARENA_BYTES);
}

enum lp_err
lp_log_init_boot(const struct lp_log_options *options, struct lp_log **ret_log)
{
    if (!options_valid(options)) {
        return LP_ERR_BAD_CONFIG;
    }
    struct lp_log *log = lp_memory_alloc(options->memory, sizeof(*log));
    if (!log) {
        return LP_ERR_NO_MEMORY;
    }
    memset(log, 0, sizeof(*log));
    log->magic = LP_LOG_MAGIC;
    log->state = LP_LOG_RECOVERING;
    log->options = *options;
    log->memory = options->memory;
    log->arena = lp_memory_alloc(log->memory, LP_LOG_ARENA_BYTES);
    if (!log->arena || log_segments_init_boot(log) != LP_OK) {
        lp_log_fini(&log);
        return LP_ERR_NO_MEMORY;
    }
    arena_cut(log);
    log_recover_begin(log);
    *ret_log = log;
    return LP_OK;
}

void
lp_log_fini(struct lp_log **log)
{
    struct lp_log *self = *log;
    *log = NULL;
    LP_ASSERT(self->magic == LP_LOG_MAGIC && self->flying == 0);
    self->magic = 0;
    void *blocks[] = {self->segments.at, self->arena, self};
    struct lp_memory *memory = self->memory;
    for (uint32_t i = 0; i < LP_COUNT_OF(blocks); i++) {
        if (blocks[i]) {
            lp_memory_release(memory, &blocks[i]);
        }
    }
}

/* --- operations ---------------------------------------------------------- */

bool
log_submit(struct lp_log *log, struct lp_disk_op *op, enum log_purpose purpose, uint32_t index)
{
    const struct lp_disk *disk = &log->options.disk;
    op->user = (uint64_t)purpose << 32 | index;
    if (!disk->ops->submit(disk->self, op)) {
        return false;
    }
    log->flying++;
    log->unflushed = true;
    return true;
}

static void
completed(struct lp_log *log, const struct lp_disk_completion *completion)
{
    const uint32_t index = (uint32_t)completion->user;
    const bool recovering = log->recovery.phase != LOG_RECOVERY_OVER;
    LP_ASSERT(log->flying > 0);
    log->flying--;
    switch ((enum log_purpose)(completion->user >> 32)) {
    case LOG_FOR_BATCH:
        log_batch_completed(log, index, completion->err);
        break;
    case LOG_FOR_READ:
        log_read_completed(log, index, completion->err);
        break;
    case LOG_FOR_WINDOW:
        log_window_completed(log, index, completion->err);
        break;
    case LOG_FOR_ROOT:
        if (recovering) {
            log_recover_root_completed(log, completion->err);
        } else {
            log_root_completed(log, completion->err);
        }
        break;
    case LOG_FOR_SEGMENT:
        if (index == LOG_ROOT_FILE) {
            log_recover_file_created(log, completion->err);
        } else {
            log_segment_created(log, index, completion->err);
        }
        break;
    case LOG_FOR_REMOVAL:
        log_segment_removed(log, index);
        break;
    }
}

uint32_t
lp_log_step(struct lp_log *log)
{
    LP_ASSERT(log->magic == LP_LOG_MAGIC);
    struct lp_disk_completion completions[COMPLETIONS_MAX];
    uint32_t taken = 0;
    while (log->flying > 0 && taken < LP_DISK_OPS_MAX) {
        const struct lp_disk *disk = &log->options.disk;
        const uint32_t count = disk->ops->poll(disk->self, completions, COMPLETIONS_MAX);
        for (uint32_t i = 0; i < count; i++) {
            completed(log, &completions[i]);
        }
        taken += count;
        if (count < COMPLETIONS_MAX) {
            break;
        }
    }
    if (log->state == LP_LOG_RECOVERING) {
        log_recover_step(log);
    } else if (log->state == LP_LOG_OPEN) {
        log_checkpoint_step(log);
    }
    return taken;
}

void
lp_log_flush(struct lp_log *log)
{
    LP_ASSERT(log->magic == LP_LOG_MAGIC);
    if (log->state == LP_LOG_RECOVERING) {
        log_recover_submit(log);
    } else if (log->state == LP_LOG_OPEN) {
        log_batch_submit(log);
        log_checkpoint_step(log); /* one may have ended in this turn: nobody may wake us for it */
        log_root_submit(log);
        log_segments_submit(log);
    }
    log_read_submit(log);
    if (log->unflushed) {
        log->unflushed = false;
        log->options.disk.ops->flush(log->options.disk.self);
    }
}

/* --- state --------------------------------------------------------------- */

static void
end_with(struct lp_log *log, enum lp_log_state state, const struct lp_log_fault *fault)
{
    if (log->state != LP_LOG_FENCED && log->state != LP_LOG_DAMAGED) {
        log->state = state;
        log->fault = *fault;
    }
}

void
log_fence(struct lp_log *log, enum lp_err err, uint32_t segment, uint64_t offset, const char *what)
{
    const struct lp_log_fault fault = {err, segment, offset, what};
    end_with(log, LP_LOG_FENCED, &fault);
}

void
log_damaged(struct lp_log *log, enum lp_err err, uint32_t segment, uint64_t offset,
            const char *what)
{
    const struct lp_log_fault fault = {err, segment, offset, what};
    end_with(log, LP_LOG_DAMAGED, &fault);
}

enum lp_log_state
lp_log_state(const struct lp_log *log)
{
    return log->state;
}

const struct lp_log_fault *
lp_log_fault(const struct lp_log *log)
{
    return &log->fault;
}

bool
lp_log_idle(const struct lp_log *log)
{
    if (log->flying > 0 || log->state == LP_LOG_RECOVERING) {
        return false;
    }
    return log->state != LP_LOG_OPEN ||
           (!log->open && log->submitted == log->sealed && log->root_state == LOG_ROOT_REST &&
            log->segments.wanted == 0 && log->segments.doomed == 0 && log->reads_busy == 0);
}

void
lp_log_stats(const struct lp_log *log, struct lp_log_stats *ret_stats)
{
    *ret_stats = log->stats;
    ret_stats->segments = log->segments.count - log->segments.wanted;
    ret_stats->segment_bytes = log->segments.bytes;
    ret_stats->held_bytes = log->segments.held_bytes;
    ret_stats->free_bytes = log->options.disk.ops->free_bytes(log->options.disk.self);
}

void
lp_log_check(const struct lp_log *log)
{
    LP_ASSERT(log->magic == LP_LOG_MAGIC);
    log_segments_check(log);
    if (log->recovery.phase == LOG_RECOVERY_OVER) {
        log_batch_check(log);
    }
    uint32_t busy = 0;
    for (uint32_t i = 0; i < LP_LOG_READS; i++) {
        busy += log->reads[i].busy;
    }
    LP_ASSERT(busy == log->reads_busy);
    LP_ASSERT(log->root.generation_count <= LOG_GENERATIONS_MAX);
}
