/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery of a log from any bytes: nothing crashes, hangs or leaks, and a log
 * that comes to be open can be written, and recovered once more.
 *
 * The input is a byte of flags and then files: number, blocks - 1 (a byte each),
 * length in two bytes, content; the rest of the file is zeros.  Flag 1: what is
 * where checksums of roots, batches and records should be is made right first,
 * so that the input gets past them.
 */
#include <stdlib.h>
#include <string.h>

#include "dataplane/log/crc32c.h"
#include "dataplane/log/format.h"
#include "tests/lib/mem_disk.h"

#define FILES_MAX    12u
#define TURNS_MAX    20000u
#define MEMORY_BYTES (8u * 1024 * 1024)
#define FIX_CRCS     1u
#define RECYCLE      2u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    struct lp_mem_disk disk;
    struct lp_memory *memory;
    struct lp_log *log;
    uint64_t records;
    bool mine;
};

/* --- the files ----------------------------------------------------------- */

static void
u32_put(uint8_t *to, uint32_t value)
{
    memcpy(to, &value, sizeof(value));
}

static uint32_t
u32_get(const uint8_t *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof(value));
    return value;
}

static uint64_t
roots_fix(struct lp_mem_disk_file *file)
{
    uint64_t salt = 0;
    for (uint32_t slot = 0; slot < 2 && (slot + 1) * LOG_ROOT_SLOT_BYTES <= file->bytes; slot++) {
        uint8_t *at = file->data + slot * LOG_ROOT_SLOT_BYTES;
        u32_put(at + LOG_ROOT_SLOT_BYTES - 4, lp_crc32c(slot, at, LOG_ROOT_SLOT_BYTES - 4));
        uint64_t here;
        memcpy(&here, at + 24, sizeof(here));
        salt = here != 0 ? here : salt;
    }
    return salt;
}

/* The records of what may be a batch, and its header. */
static void
batch_fix(struct lp_mem_disk_file *file, uint64_t offset, uint32_t seed)
{
    uint8_t *batch = file->data + offset;
    const uint64_t room = LP_MIN(file->bytes - offset, LP_LOG_BATCH_BYTES);
    const uint32_t records = u32_get(batch + 52);
    uint64_t at = LOG_BATCH_HEADER_BYTES;
    uint32_t crc = 0;
    for (uint32_t i = 0; i < records && at + LOG_RECORD_HEADER_BYTES <= room; i++) {
        const uint32_t length_and_kind = u32_get(batch + at + 4);
        const uint64_t bytes = log_record_bytes(length_and_kind & 0xffffff);
        if (bytes > room - at) {
            break;
        }
        const struct lp_log_place place = {file->number, (uint32_t)((offset + at) / 8)};
        const uint64_t header = log_record_header(place, length_and_kind, batch + at + 8);
        memcpy(batch + at, &header, sizeof(header));
        crc = lp_crc32c(crc, batch + at, LOG_RECORD_HEADER_BYTES);
        at += bytes;
    }
    u32_put(batch + 60, crc);
    u32_put(batch + 68, lp_crc32c(seed, batch, 68));
}

static void
files_fix(struct lp_mem_disk *disk)
{
    struct lp_mem_disk_file *root = lp_mem_disk_file(disk, LOG_ROOT_FILE);
    const uint32_t seed = log_salt_seed(root ? roots_fix(root) : 0);
    const uint64_t magic = LOG_BATCH_MAGIC;
    for (uint32_t i = 0; i < disk->file_count; i++) {
        struct lp_mem_disk_file *file = &disk->files[i];
        for (uint64_t at = 0; at + LP_DISK_ALIGN_BYTES <= file->bytes; at += LP_DISK_ALIGN_BYTES) {
            if (memcmp(file->data + at, &magic, sizeof(magic)) == 0) {
                batch_fix(file, at, seed);
            }
        }
    }
}

static void
files_put(struct lp_mem_disk *disk, struct lp_reader *reader)
{
    for (uint32_t i = 0; i < FILES_MAX && lp_reader_left(reader) > 0; i++) {
        const uint32_t number = lp_reader_u8(reader);
        const uint64_t bytes = (lp_reader_u8(reader) + 1ull) * LP_DISK_ALIGN_BYTES;
        const uint32_t length = lp_reader_u16le(reader);
        const struct lp_bytes content =
            lp_reader_bytes(reader, (uint32_t)LP_MIN(length, lp_reader_left(reader)));
        if (reader->failed || lp_mem_disk_file(disk, number)) {
            return;
        }
        struct lp_mem_disk_file *file = lp_mem_disk_put(disk, number, bytes);
        if (content.size > 0) {
            memcpy(file->data, content.data, LP_MIN(bytes, content.size));
        }
    }
}

/* --- runs ---------------------------------------------------------------- */

static bool
hook_record(void *context, const struct lp_log_record *record)
{
    struct run *run = context;
    run->records++;
    run->mine = record->content.size == 5 && memcmp(record->content.data, "hello", 5) == 0;
    return record->kind != 255;
}

static bool
hook_commit(void *context)
{
    (void)context;
    return true;
}

static void
hook_read(void *context, uint64_t user, struct lp_bytes data, const struct lp_log_fault *fault)
{
    (void)context;
    (void)user;
    (void)data;
    (void)fault;
}

static void
turns(struct run *run)
{
    uint32_t turn = 0;
    do {
        lp_log_flush(run->log);
        lp_mem_disk_complete_all(&run->disk);
        (void)lp_log_step(run->log);
        LP_ASSERT(turn < TURNS_MAX);
    } while (turn++, run->disk.flight_count > 0 || lp_log_state(run->log) == LP_LOG_RECOVERING ||
                         !lp_log_idle(run->log));
    lp_log_check(run->log);
}

static enum lp_log_state
recover(struct run *run, void *memory)
{
    memset(memory, 0, LP_SPAN_BYTES * 4); /* its tables; the rest is never read before written */
    const enum lp_err err = lp_memory_init_boot(memory, MEMORY_BYTES, MEMORY_BYTES, &run->memory);
    LP_ASSERT(err == LP_OK);
    const struct lp_log_options options = {
        .disk = lp_mem_disk_contract(&run->disk),
        .memory = run->memory,
        .shard = 1,
        .segment_bytes = 128u * 1024,
        .segment_bytes_first = 32u * 1024,
        .hooks = {hook_record, hook_commit, hook_read, run},
    };
    const enum lp_err begun = lp_log_init_boot(&options, &run->log);
    LP_ASSERT(begun == LP_OK);
    turns(run);
    return lp_log_state(run->log);
}

static void
end(struct run *run)
{
    lp_log_fini(&run->log);
    LP_ASSERT(lp_memory_used_bytes(run->memory) == 0);
    lp_memory_fini(&run->memory);
}

static void
write_one(struct run *run)
{
    struct lp_log_place place;
    for (uint32_t i = 0; !lp_log_begin(run->log, 100); i++) {
        LP_ASSERT(i < TURNS_MAX);
        turns(run);
    }
    memcpy(lp_log_record(run->log, 7, 5, &place), "hello", 5);
    const uint64_t lsn = lp_log_seal(run->log, false);
    turns(run);
    LP_ASSERT(lp_log_durable(run->log) == lsn);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void *memory = aligned_alloc(LP_SPAN_BYTES, MEMORY_BYTES);
    struct run *run = calloc(1, sizeof(*run));
    LP_ASSERT(memory && run);
    lp_mem_disk_init(&run->disk);
    struct lp_reader reader = lp_reader_of(data, size);
    const uint8_t flags = lp_reader_u8(&reader);
    files_put(&run->disk, &reader);
    run->disk.recycle = flags & RECYCLE;
    if (flags & FIX_CRCS) {
        files_fix(&run->disk);
    }
    if (recover(run, memory) == LP_LOG_OPEN) {
        const uint64_t records = run->records;
        write_one(run);
        end(run);
        run->records = 0;
        const enum lp_log_state again = recover(run, memory);
        LP_ASSERT(again == LP_LOG_OPEN);
        /* A chain without an end was heard before, and is void now. */
        LP_ASSERT(run->mine && run->records <= records + 1);
    }
    end(run);
    lp_mem_disk_fini(&run->disk);
    free(memory);
    free(run);
    return 0;
}
