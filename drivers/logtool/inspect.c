/* SPDX-License-Identifier: Apache-2.0 */
#include "logtool.h"

#include <inttypes.h>
#include <string.h>

struct inspection {
    const struct logtool_options *options;
    uint32_t batches;
    uint32_t broken;
    uint64_t records;
    uint64_t bytes;
    struct log_batch_header first;
    struct log_batch_header last;
};

static void
root_print(const struct logtool_folder *folder)
{
    const struct log_root *root = &folder->root;
    if (!folder->root_whole) {
        (void)printf("  root: there is none, or neither of its copies is whole\n");
        return;
    }
    (void)printf("  root: shard %u, version %" PRIu64 ", generation %u, %s\n", root->shard,
                 root->number, root->generation,
                 root->closed ? "closed" : "not closed: in use, or its broker died");
    (void)printf("  recovery begins with batch %" PRIu64 ", segment %u, offset %" PRIu64 "\n",
                 root->checkpoint.lsn, root->checkpoint.segment, root->checkpoint.offset);
    (void)printf("  durable at least up to batch %" PRIu64 "\n", root->durable);
    for (uint32_t i = 0; i < root->generation_count; i++) {
        (void)printf("  generation %u from batch %" PRIu64 " on\n", root->generations[i].generation,
                     root->generations[i].lsn);
    }
}

static void
records_print(const struct logtool_batch *batch)
{
    const struct log_batch_header *header = &batch->header;
    uint32_t at = LOG_BATCH_HEADER_BYTES;
    for (uint32_t i = 0; batch->whole && i < header->records; i++) {
        struct lp_log_record record;
        const struct lp_bytes left = lp_bytes_of(batch->data + at, header->bytes - at);
        if (!log_record_split(left, log_batch_place(header, at), &record)) {
            return; /* a whole batch has only such as can be split */
        }
        (void)printf("      offset %" PRIu64 ": kind %u, %u bytes\n", header->offset + at,
                     record.kind, record.content.size);
        at += log_record_bytes(record.content.size);
    }
}

static void
batch_seen(void *context, const struct logtool_batch *batch)
{
    struct inspection *self = context;
    const struct log_batch_header *header = &batch->header;
    if (self->batches == 0) {
        self->first = *header;
    }
    self->last = *header;
    self->batches++;
    self->broken += !batch->whole;
    self->records += header->records;
    self->bytes += log_padded(header->bytes);
    if (self->options->batches || self->options->records) {
        (void)printf("    batch %" PRIu64 " at offset %" PRIu64 ": generation %u, %u records, "
                     "%u bytes%s%s\n",
                     header->lsn, header->offset, header->generation, header->records,
                     header->bytes, header->continues ? ", goes on in the next" : "",
                     batch->whole ? "" : ", NOT WHOLE");
    }
    if (self->options->records) {
        records_print(batch);
    }
}

static void
segment_print(const struct logtool_file *file, const struct inspection *seen)
{
    (void)printf("  %s: %" PRIu64 " KiB", file->name, file->bytes / 1024);
    if (seen->batches == 0) {
        (void)printf(", no batch\n");
        return;
    }
    (void)printf(", batches %" PRIu64 " to %" PRIu64 " of generation %u: %" PRIu64
                 " records in %" PRIu64 " KiB",
                 seen->first.lsn, seen->last.lsn, seen->first.generation, seen->records,
                 seen->bytes / 1024);
    (void)printf(seen->broken > 0 ? ", %u not whole\n" : "\n", seen->broken);
}

int
logtool_inspect(const struct logtool_folder *folder, const struct logtool_options *options)
{
    (void)printf("%s\n", folder->path);
    root_print(folder);
    for (uint32_t i = 0; i < folder->file_count; i++) {
        const struct logtool_file *file = &folder->files[i];
        struct inspection seen = {.options = options};
        if (file->number == LOG_ROOT_FILE) {
            continue;
        }
        /* Without the root's salt no batch can be told from other bytes. */
        if (folder->root_whole) {
            logtool_scan(folder, file, batch_seen, &seen);
        }
        segment_print(file, &seen);
    }
    return 0;
}
