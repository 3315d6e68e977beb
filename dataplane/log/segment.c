/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of segments.
 *
 *   wanted -> creating -> ready -> current -> full -> doomed -> removing
 *                           \__________________^
 *                            too small for a chain
 *
 * One is made ahead, two when the first is full, so that writers change over to
 * one that is there already.  A full one goes when a checkpoint is on disk that
 * began when nothing was held there.
 */
#include <string.h>

#include "dataplane/log/log_private.h"

#define ROOM_MIN 64u
/* A victim has less than 1 / so much of its bytes held. */
#define SPARSE_PART 4u

/* --- sums ---------------------------------------------------------------- */

enum weight { WEIGHT_NONE, WEIGHT_IDLE, WEIGHT_SPARSE };

static inline enum weight
weight_of(const struct log_segment *segment)
{
    if (segment->state != LOG_SEGMENT_FULL) {
        return WEIGHT_NONE;
    }
    if (segment->held_bytes == 0) {
        return WEIGHT_IDLE;
    }
    return segment->held_bytes < segment->bytes / SPARSE_PART ? WEIGHT_SPARSE : WEIGHT_NONE;
}

static void
weigh(struct log_segments *segments, const struct log_segment *segment, enum weight weight,
      bool more)
{
    const uint32_t one = more ? 1 : UINT32_MAX; /* modulo 2^32 */
    if (weight == WEIGHT_IDLE) {
        segments->idle += one;
        segments->idle_bytes += more ? segment->bytes : 0 - segment->bytes;
    } else if (weight == WEIGHT_SPARSE) {
        segments->sparse += one;
    }
}

static bool
is_ahead(uint8_t state)
{
    return state == LOG_SEGMENT_WANTED || state == LOG_SEGMENT_CREATING ||
           state == LOG_SEGMENT_READY;
}

void
log_segment_state_set(struct lp_log *log, struct log_segment *segment, enum log_segment_state state)
{
    struct log_segments *segments = &log->segments;
    const uint8_t before = segment->state;
    const enum weight weight_before = weight_of(segment);
    segment->state = (uint8_t)state;
    weigh(segments, segment, weight_before, false);
    weigh(segments, segment, weight_of(segment), true);
    segments->wanted += (uint32_t)(state == LOG_SEGMENT_WANTED) - (before == LOG_SEGMENT_WANTED);
    segments->creating +=
        (uint32_t)(state == LOG_SEGMENT_CREATING) - (before == LOG_SEGMENT_CREATING);
    segments->doomed += (uint32_t)(state == LOG_SEGMENT_DOOMED) - (before == LOG_SEGMENT_DOOMED);
    segments->removing +=
        (uint32_t)(state == LOG_SEGMENT_REMOVING) - (before == LOG_SEGMENT_REMOVING);
    segments->ahead += (uint32_t)is_ahead((uint8_t)state) - is_ahead(before);
}

/* --- the table ----------------------------------------------------------- */

LP_MUST_CHECK static bool
table_grow(struct lp_log *log, uint32_t room)
{
    struct log_segments *segments = &log->segments;
    struct log_segment *at = lp_memory_alloc(log->memory, room * sizeof(*at));
    if (!at) {
        return false;
    }
    if (segments->count > 0) {
        memcpy(at, segments->at, segments->count * sizeof(*at));
    }
    void *old = segments->at;
    if (old) {
        lp_memory_release(log->memory, &old);
    }
    segments->at = at;
    segments->room = room;
    return true;
}

/* At the end; there is room. */
static struct log_segment *
table_append(struct lp_log *log, uint32_t number, uint64_t bytes, enum log_segment_state state)
{
    struct log_segments *segments = &log->segments;
    LP_ASSERT(segments->count < segments->room);
    struct log_segment *segment = &segments->at[segments->count++];
    memset(segment, 0, sizeof(*segment));
    segment->number = number;
    segment->bytes = bytes;
    segment->state = LOG_SEGMENT_CURRENT; /* counted nowhere */
    log_segment_state_set(log, segment, state);
    return segment;
}

static void
table_remove(struct lp_log *log, struct log_segment *segment)
{
    struct log_segments *segments = &log->segments;
    log_segment_state_set(log, segment, LOG_SEGMENT_CURRENT);
    segments->bytes -= segment->bytes;
    const uint32_t index = (uint32_t)(segment - segments->at);
    segments->count--;
    memmove(segment, segment + 1, (segments->count - index) * sizeof(*segment));
    segments->hint = 0;
}

/* Index of the first one with at least this number. */
static uint32_t
lower_bound(const struct log_segments *segments, uint32_t number)
{
    uint32_t low = 0;
    uint32_t high = segments->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (segments->at[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct log_segment *
log_segment_find(struct lp_log *log, uint32_t number)
{
    struct log_segments *segments = &log->segments;
    if (LP_LIKELY(segments->hint < segments->count &&
                  segments->at[segments->hint].number == number)) {
        return &segments->at[segments->hint];
    }
    const uint32_t index = lower_bound(segments, number);
    if (index == segments->count || segments->at[index].number != number) {
        return NULL;
    }
    segments->hint = index;
    return &segments->at[index];
}

struct log_segment *
log_segment_after(struct lp_log *log, uint32_t number)
{
    struct log_segments *segments = &log->segments;
    const uint32_t index = lower_bound(segments, number + 1);
    return index < segments->count ? &segments->at[index] : NULL;
}

enum lp_err
log_segments_init_boot(struct lp_log *log)
{
    const struct lp_disk *disk = &log->options.disk;
    const uint32_t count = disk->ops->files(disk->self, NULL, 0);
    struct lp_disk_file *files =
        lp_memory_alloc(log->memory, (count + 1) * sizeof(struct lp_disk_file));
    if (!files || !table_grow(log, LP_MAX(count * 2, ROOM_MIN))) {
        if (files) {
            lp_memory_release(log->memory, (void **)&files);
        }
        return LP_ERR_NO_MEMORY;
    }
    const uint32_t found = LP_MIN(disk->ops->files(disk->self, files, count), count);
    const uint64_t bytes_max = (uint64_t)UINT32_MAX * LP_LOG_UNIT_BYTES;
    for (uint32_t i = 0; i < found; i++) {
        if (files[i].number == LOG_ROOT_FILE) {
            log->recovery.root_bytes = LP_MAX(files[i].bytes, 1);
            continue;
        }
        if (files[i].number > LOG_SEGMENT_NUMBER_MAX) {
            log_damaged(log, LP_ERR_BAD_RECORD, files[i].number, 0,
                        "no segment can have such a number");
            break;
        }
        const uint64_t bytes = LP_MIN(files[i].bytes, bytes_max);
        (void)table_append(log, files[i].number, bytes - bytes % LP_DISK_ALIGN_BYTES,
                           LOG_SEGMENT_FULL);
        log->segments.bytes += log->segments.at[log->segments.count - 1].bytes;
        log->segments.number_next = files[i].number + 1;
    }
    lp_memory_release(log->memory, (void **)&files);
    log->segments.bytes_next = log->options.segment_bytes_first;
    return LP_OK;
}

/* --- ahead --------------------------------------------------------------- */

bool
log_segment_room(struct lp_log *log, uint64_t bytes)
{
    struct log_segments *segments = &log->segments;
    if (log->segment_there && log->segment_bytes - log->offset >= bytes) {
        return true;
    }
    struct log_segment *next = log_segment_after(log, log->segment);
    const struct log_segment *end = segments->at + segments->count;
    for (; next && next < end; next++) {
        if (next->state == LOG_SEGMENT_WANTED || next->state == LOG_SEGMENT_CREATING) {
            segments->bytes_wanted = LP_MAX(segments->bytes_wanted, bytes);
            return false;
        }
        if (next->state != LOG_SEGMENT_READY) {
            continue;
        }
        if (next->bytes >= bytes) {
            break;
        }
        log_segment_state_set(log, next, LOG_SEGMENT_FULL);
    }
    if (!next || next == end) {
        segments->bytes_wanted = LP_MAX(segments->bytes_wanted, bytes);
        return false;
    }
    struct log_segment *last = log->segment_there ? log_segment_find(log, log->segment) : NULL;
    if (last) {
        log_segment_state_set(log, last, LOG_SEGMENT_FULL);
    }
    log_segment_state_set(log, next, LOG_SEGMENT_CURRENT);
    log->segment = next->number;
    log->segment_bytes = next->bytes;
    log->segment_there = true;
    log->offset = 0;
    segments->bytes_wanted = 0;
    return true;
}

/* One more is wanted.  False: no memory; the log waits, and asks again. */
LP_MUST_CHECK static bool
want_one(struct lp_log *log)
{
    struct log_segments *segments = &log->segments;
    if (segments->count == segments->room && !table_grow(log, segments->room * 2)) {
        return false;
    }
    while (segments->bytes_next < segments->bytes_wanted &&
           segments->bytes_next < log->options.segment_bytes) {
        segments->bytes_next *= 2;
    }
    uint64_t bytes = LP_MIN(segments->bytes_next, log->options.segment_bytes);
    if (segments->bytes_wanted > bytes) {
        /* A chain that no usual segment has room for has one of its own. */
        bytes = segments->bytes_wanted + LP_DISK_ALIGN_BYTES -
                segments->bytes_wanted % LP_DISK_ALIGN_BYTES;
    }
    (void)table_append(log, segments->number_next, bytes, LOG_SEGMENT_WANTED);
    segments->number_next++;
    segments->bytes_next = LP_MIN(bytes * 2, log->options.segment_bytes);
    segments->bytes += bytes;
    segments->made++;
    return true;
}

/* One after the other: where one is, all before it have been, and recovery can tell that one is
 * missing. */
static void
wanted_submit(struct lp_log *log)
{
    struct log_segments *segments = &log->segments;
    struct log_segment *segment = segments->at;
    while (segment->state != LOG_SEGMENT_WANTED) {
        segment++; /* there is one */
    }
    struct lp_disk_op op = {
        .kind = LP_DISK_CREATE,
        .file = segment->number,
        .bytes = (uint32_t)segment->bytes,
    };
    if (log_submit(log, &op, LOG_FOR_SEGMENT, segment->number)) {
        log_segment_state_set(log, segment, LOG_SEGMENT_CREATING);
    }
}

static void
doomed_submit(struct lp_log *log)
{
    struct log_segments *segments = &log->segments;
    for (uint32_t i = 0; i < segments->count && segments->removing < LOG_REMOVALS; i++) {
        struct log_segment *segment = &segments->at[i];
        if (segment->state != LOG_SEGMENT_DOOMED || segment->reads > 0) {
            continue;
        }
        struct lp_disk_op op = {.kind = LP_DISK_REMOVE, .file = segment->number};
        if (!log_submit(log, &op, LOG_FOR_REMOVAL, segment->number)) {
            return;
        }
        log_segment_state_set(log, segment, LOG_SEGMENT_REMOVING);
    }
}

void
log_segments_submit(struct lp_log *log)
{
    struct log_segments *segments = &log->segments;
    if (log->closing == LOG_CLOSING_NOT) {
        const uint32_t ahead = segments->made <= 2 ? 1 : 2;
        while (segments->ahead < ahead && want_one(log)) {
        }
    }
    if (segments->wanted > 0 && segments->creating == 0) {
        wanted_submit(log);
    }
    if (segments->doomed > 0) {
        doomed_submit(log);
    }
}

void
log_segment_created(struct lp_log *log, uint32_t number, enum lp_err err)
{
    struct log_segment *segment = log_segment_find(log, number);
    LP_ASSERT(segment && segment->state == LOG_SEGMENT_CREATING);
    if (err != LP_OK) {
        log_fence(log, err, number, 0, "a segment could not be made");
        return;
    }
    log_segment_state_set(log, segment, LOG_SEGMENT_READY);
}

/* Also when it failed: then the file is found, and not needed, by the next run. */
void
log_segment_removed(struct lp_log *log, uint32_t number)
{
    struct log_segment *segment = log_segment_find(log, number);
    LP_ASSERT(segment && segment->state == LOG_SEGMENT_REMOVING);
    table_remove(log, segment);
}

void
log_segments_drop_after(struct lp_log *log, uint32_t last)
{
    struct log_segments *segments = &log->segments;
    for (uint32_t i = lower_bound(segments, last + 1); i < segments->count; i++) {
        if (segments->at[i].held_bytes == 0) {
            log_segment_state_set(log, &segments->at[i], LOG_SEGMENT_DOOMED);
        }
    }
}

/* --- what is held -------------------------------------------------------- */

/* NULL: recovery has met a record that speaks of what is not there. */
static struct log_segment *
held_segment(struct lp_log *log, struct lp_log_place place)
{
    struct log_segment *segment = log_segment_find(log, place.segment);
    if (LP_UNLIKELY(!segment && log->recovery.phase != LOG_RECOVERY_OVER)) {
        log_damaged(log, LP_ERR_NOT_FOUND, place.segment, (uint64_t)place.unit * LP_LOG_UNIT_BYTES,
                    "a segment that is needed is missing");
        return NULL;
    }
    LP_ASSERT(segment);
    return segment;
}

bool
lp_log_has(struct lp_log *log, struct lp_log_place place, uint64_t bytes)
{
    const bool recovering = log->recovery.phase != LOG_RECOVERY_OVER;
    const struct log_segment *segment =
        recovering ? held_segment(log, place) : log_segment_find(log, place.segment);
    return segment && bytes <= segment->bytes &&
           (uint64_t)place.unit * LP_LOG_UNIT_BYTES <= segment->bytes - bytes;
}

void
lp_log_hold(struct lp_log *log, struct lp_log_place place, uint64_t bytes)
{
    struct log_segment *segment = held_segment(log, place);
    if (LP_UNLIKELY(!segment)) {
        return;
    }
    const enum weight before = weight_of(segment);
    segment->held_bytes += bytes;
    log->segments.held_bytes += bytes;
    const enum weight after = weight_of(segment);
    if (before != after) {
        weigh(&log->segments, segment, before, false);
        weigh(&log->segments, segment, after, true);
    }
}

void
lp_log_let_go(struct lp_log *log, struct lp_log_place place, uint64_t bytes)
{
    struct log_segment *segment = held_segment(log, place);
    if (LP_UNLIKELY(!segment)) {
        return;
    }
    if (LP_UNLIKELY(segment->held_bytes < bytes)) {
        LP_ASSERT(log->recovery.phase != LOG_RECOVERY_OVER);
        log_damaged(log, LP_ERR_BAD_RECORD, place.segment, (uint64_t)place.unit * LP_LOG_UNIT_BYTES,
                    "what is not needed any more never was");
        return;
    }
    const enum weight before = weight_of(segment);
    segment->held_bytes -= bytes;
    log->segments.held_bytes -= bytes;
    const enum weight after = weight_of(segment);
    if (before != after) {
        weigh(&log->segments, segment, before, false);
        weigh(&log->segments, segment, after, true);
    }
}

uint32_t
lp_log_victim(const struct lp_log *log)
{
    const struct log_segments *segments = &log->segments;
    if (log->state != LP_LOG_OPEN || segments->sparse == 0) {
        return 0;
    }
    const struct log_segment *least = NULL;
    for (uint32_t i = 0; i < segments->count; i++) {
        const struct log_segment *segment = &segments->at[i];
        /* What is not durable yet cannot be read back. */
        if (weight_of(segment) == WEIGHT_SPARSE && segment->number < log->durable_place.segment &&
            (!least || segment->held_bytes < least->held_bytes)) {
            least = segment;
        }
    }
    return least ? least->number : 0;
}

void
lp_log_audit_begin(struct lp_log *log)
{
    for (uint32_t i = 0; i < log->segments.count; i++) {
        log->segments.at[i].audited = 0;
    }
}

void
lp_log_audit(struct lp_log *log, struct lp_log_place place, uint64_t bytes)
{
    struct log_segment *segment = log_segment_find(log, place.segment);
    LP_ASSERT(segment);
    segment->audited += bytes;
}

void
lp_log_audit_end(const struct lp_log *log)
{
    for (uint32_t i = 0; i < log->segments.count; i++) {
        LP_ASSERT(log->segments.at[i].audited == log->segments.at[i].held_bytes);
    }
}

void
log_segments_check(const struct lp_log *log)
{
    const struct log_segments *segments = &log->segments;
    struct log_segments sum = {0};
    for (uint32_t i = 0; i < segments->count; i++) {
        const struct log_segment *segment = &segments->at[i];
        LP_ASSERT(i == 0 || segment[-1].number < segment->number);
        LP_ASSERT(segment->number < segments->number_next);
        weigh(&sum, segment, weight_of(segment), true);
        sum.wanted += segment->state == LOG_SEGMENT_WANTED;
        sum.creating += segment->state == LOG_SEGMENT_CREATING;
        sum.ahead += is_ahead(segment->state);
        sum.doomed += segment->state == LOG_SEGMENT_DOOMED;
        sum.removing += segment->state == LOG_SEGMENT_REMOVING;
        sum.bytes += segment->bytes;
        sum.held_bytes += segment->held_bytes;
        if (segment->state == LOG_SEGMENT_CURRENT) {
            LP_ASSERT(log->segment_there && segment->number == log->segment);
        }
        if (is_ahead(segment->state)) {
            LP_ASSERT(segment->number > log->segment && segment->held_bytes == 0);
        }
    }
    LP_ASSERT(sum.wanted == segments->wanted && sum.ahead == segments->ahead);
    LP_ASSERT(sum.creating == segments->creating && segments->creating <= 1);
    LP_ASSERT(sum.doomed == segments->doomed && sum.removing == segments->removing);
    LP_ASSERT(sum.idle == segments->idle && sum.idle_bytes == segments->idle_bytes);
    LP_ASSERT(sum.sparse == segments->sparse && sum.bytes == segments->bytes);
    LP_ASSERT(sum.held_bytes == segments->held_bytes);
}
