/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a segment from some offset to its end, ahead of who looks at it.
 *
 * A sector that was on its way when the power went may be unreadable, and is
 * then as good as any other content that is not what was written.  So a read
 * that fails is done again block by block, and a block that fails for good is
 * zeros.
 */
#include <string.h>

#include "dataplane/log/log_private.h"

/* What is under way goes on, and is dropped. */
static void
restart_at(struct log_window *window, uint64_t offset)
{
    window->next = offset;
    window->stale = window->flying > 0;
    for (uint32_t i = 0; i < LOG_WINDOW_READS; i++) {
        window->reads[i].done = false;
    }
}

void
log_window_seek(struct lp_log *log, const struct log_segment *segment, uint64_t offset)
{
    struct log_window *window = &log->window;
    window->segment = segment->number;
    window->base = offset;
    window->wanted = offset;
    window->end = offset;
    window->limit = segment->bytes;
    window->piecewise = 0;
    window->attempts = 0;
    restart_at(window, offset);
}

const uint8_t *
log_window_at(struct lp_log *log, uint64_t offset, uint32_t bytes)
{
    struct log_window *window = &log->window;
    LP_ASSERT(offset >= window->wanted && bytes <= LOG_WINDOW_BYTES / 2);
    LP_ASSERT(bytes <= window->limit && offset <= window->limit - bytes);
    window->wanted = offset;
    return offset + bytes <= window->end ? log->arena + (offset - window->base) : NULL;
}

/* Everything that was read has been looked at up to `wanted`: the rest moves to the front. */
static bool
make_room(struct lp_log *log)
{
    struct log_window *window = &log->window;
    const uint64_t unneeded = window->wanted - window->base;
    if (window->flying > 0 || unneeded == 0) {
        return false;
    }
    LP_ASSERT(window->next == window->end);
    memmove(log->arena, log->arena + unneeded, window->end - window->wanted);
    window->base = window->wanted;
    return true;
}

static bool
read_submit(struct lp_log *log, struct log_window_read *read)
{
    struct log_window *window = &log->window;
    uint64_t room = LOG_WINDOW_BYTES - (window->next - window->base);
    if (room == 0) {
        if (!make_room(log)) {
            return false;
        }
        room = LOG_WINDOW_BYTES - (window->next - window->base);
    }
    const uint64_t most =
        window->next < window->piecewise ? LP_DISK_ALIGN_BYTES : LP_LOG_READ_BYTES;
    const uint64_t left = window->limit - window->next;
    read->offset = window->next;
    read->bytes = (uint32_t)LP_MIN(LP_MIN(most, left), room);
    struct lp_disk_op op = {
        .kind = LP_DISK_READ,
        .file = window->segment,
        .offset = read->offset,
        .data = log->arena + (read->offset - window->base),
        .bytes = read->bytes,
    };
    if (!log_submit(log, &op, LOG_FOR_WINDOW, (uint32_t)(read - window->reads))) {
        return false;
    }
    read->flying = true;
    window->flying++;
    window->next += read->bytes;
    log->stats.bytes_read += read->bytes;
    return true;
}

void
log_window_submit(struct lp_log *log)
{
    struct log_window *window = &log->window;
    if (window->flying == 0) {
        window->stale = false;
    }
    if (window->segment == 0 || window->stale) {
        return;
    }
    for (uint32_t i = 0; i < LOG_WINDOW_READS && window->next < window->limit; i++) {
        struct log_window_read *read = &window->reads[i];
        if (!read->flying && !read->done && !read_submit(log, read)) {
            return;
        }
    }
}

/* What nothing is missing before is in the window. */
static void
move_end(struct log_window *window)
{
    for (uint32_t pass = 0; pass < LOG_WINDOW_READS; pass++) {
        for (uint32_t i = 0; i < LOG_WINDOW_READS; i++) {
            struct log_window_read *read = &window->reads[i];
            if (read->done && read->offset == window->end) {
                window->end += read->bytes;
                read->done = false;
            }
        }
    }
}

void
log_window_completed(struct lp_log *log, uint32_t index, enum lp_err err)
{
    struct log_window *window = &log->window;
    struct log_window_read *read = &window->reads[index];
    LP_ASSERT(read->flying && window->flying > 0);
    read->flying = false;
    window->flying--;
    if (window->stale) {
        return;
    }
    if (err != LP_OK && read->bytes > LP_DISK_ALIGN_BYTES) {
        window->piecewise = read->offset + read->bytes;
        restart_at(window, window->end);
        return;
    }
    if (err != LP_OK && window->attempts < LOG_READ_ATTEMPTS) {
        window->attempts++;
        restart_at(window, window->end);
        return;
    }
    window->attempts = 0;
    if (err != LP_OK) {
        memset(log->arena + (read->offset - window->base), 0, read->bytes);
        window->unread = true;
    }
    read->done = true;
    move_end(window);
}
