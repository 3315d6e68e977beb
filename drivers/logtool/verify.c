/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is everything there, and whole?  From the checkpoint on the broker's own
 * recovery says so.  Before it lie records that are still needed: there batches
 * must follow each other within a segment, and into the next one of the same
 * generation, as far as later ones say that they were durable.
 */
#include "logtool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define GENERATIONS_MAX 1024u
#define SUSPECTS_MAX    4096u

/* Damage, if the batch was durable. */
struct suspect {
    uint32_t generation;
    uint32_t segment;
    uint64_t lsn;
    uint64_t offset;
    const char *what;
};

/* The last LSN that a batch of this generation says was durable. */
struct generation {
    uint32_t generation;
    uint64_t durable;
};

struct verification {
    const struct logtool_folder *folder;
    uint32_t segment;
    bool first; /* no batch of this segment was seen yet */
    bool any;   /* one was, of this segment or the one with the number before */
    struct log_batch_header last;
    uint32_t last_crc;
    uint64_t batches;
    uint64_t records;
    uint64_t bytes;
    uint32_t generation_count;
    uint32_t suspect_count;
    struct generation generations[GENERATIONS_MAX];
    struct suspect suspects[SUSPECTS_MAX];
};

static void
durable_note(struct verification *self, uint32_t generation, uint64_t lsn)
{
    uint32_t i = 0;
    while (i < self->generation_count && self->generations[i].generation != generation) {
        i++;
    }
    if (i == self->generation_count && i < GENERATIONS_MAX) {
        self->generations[self->generation_count++] = (struct generation){generation, lsn};
    } else if (i < GENERATIONS_MAX) {
        self->generations[i].durable = LP_MAX(self->generations[i].durable, lsn);
    }
}

static void
suspect_note(struct verification *self, const struct log_batch_header *of, uint64_t lsn,
             uint64_t offset, const char *what)
{
    if (self->suspect_count < SUSPECTS_MAX) {
        self->suspects[self->suspect_count++] =
            (struct suspect){of->generation, of->segment, lsn, offset, what};
    }
}

/* What ought to lie before this one, which has the generation of the last one. */
static void
follow(struct verification *self, const struct logtool_batch *batch)
{
    const struct log_batch_header *header = &batch->header;
    const struct log_batch_header *last = &self->last;
    const uint64_t end = last->offset + log_padded(last->bytes);
    const bool here = last->segment == header->segment;
    if (header->lsn != last->lsn + 1 || (here && header->offset != end)) {
        const bool before_end = here || header->offset == 0;
        suspect_note(self, before_end ? last : header, last->lsn + 1, before_end ? end : 0,
                     "a batch is damaged or missing");
    } else if (header->previous_crc != self->last_crc) {
        suspect_note(self, header, header->lsn, header->offset,
                     "a batch does not belong to the one before it");
    }
}

static void
batch_seen(void *context, const struct logtool_batch *batch)
{
    struct verification *self = context;
    const struct log_batch_header *header = &batch->header;
    if (self->any && self->last.generation == header->generation) {
        follow(self, batch);
    } else if (self->first && header->offset > 0) {
        suspect_note(self, header, header->lsn - 1, 0, "a batch is damaged or missing");
    }
    if (!batch->whole) {
        suspect_note(self, header, header->lsn, batch->bad_offset, "a record is damaged");
    }
    durable_note(self, header->generation, header->durable);
    self->first = false;
    self->any = true;
    self->last = *header;
    self->last_crc = batch->crc;
    self->batches++;
    self->records += header->records;
}

static uint64_t
durable_of(const struct verification *self, uint32_t generation)
{
    for (uint32_t i = 0; i < self->generation_count; i++) {
        if (self->generations[i].generation == generation) {
            return self->generations[i].durable;
        }
    }
    return 0;
}

static int
damage_print(const struct logtool_folder *folder, uint32_t segment, uint64_t offset,
             const char *what)
{
    const char *name = segment == LOG_ROOT_FILE ? "root.log" : "a segment that is not there";
    for (uint32_t i = 0; i < folder->file_count; i++) {
        if (folder->files[i].number == segment) {
            name = folder->files[i].name;
        }
    }
    (void)printf("DAMAGE: %s/%s, offset %" PRIu64 ": %s\n", folder->path, name, offset, what);
    return LOGTOOL_DAMAGED;
}

/* Before the checkpoint: recovery does not look there. */
static int
old_verify(struct verification *self)
{
    const struct log_root *root = &self->folder->root;
    int status = 0;
    for (uint32_t i = 0; i < self->suspect_count; i++) {
        const struct suspect *suspect = &self->suspects[i];
        const bool is_void = log_root_generation_of(root, suspect->lsn) > suspect->generation;
        if (suspect->lsn < root->checkpoint.lsn && !is_void &&
            suspect->lsn <= durable_of(self, suspect->generation)) {
            status = damage_print(self->folder, suspect->segment, suspect->offset, suspect->what);
        }
    }
    return status;
}

static int
tail_verify(struct verification *self)
{
    const struct lp_log_place nowhere = {0, 0};
    struct logtool_recovery recovery;
    int status = LOGTOOL_FAILED;
    if (logtool_recover(&recovery, self->folder, nowhere)) {
        status = 0;
        if (lp_log_state(recovery.log) == LP_LOG_DAMAGED) {
            const struct lp_log_fault *fault = lp_log_fault(recovery.log);
            status = damage_print(self->folder, fault->segment, fault->offset, fault->what);
        } else {
            (void)printf("  recovery would begin with batch %" PRIu64 " and end before batch "
                         "%" PRIu64 "\n",
                         self->folder->root.checkpoint.lsn, recovery.end.lsn);
        }
    }
    logtool_recovery_end(&recovery);
    return status;
}

static void
segments_scan(struct verification *self)
{
    for (uint32_t i = 0; i < self->folder->file_count; i++) {
        const struct logtool_file *file = &self->folder->files[i];
        if (file->number == LOG_ROOT_FILE) {
            continue;
        }
        /* Segments between were removed, as nothing in them was needed: nothing has to follow. */
        self->any = self->any && self->segment + 1 == file->number;
        self->segment = file->number;
        self->first = true;
        self->bytes += file->bytes;
        logtool_scan(self->folder, file, batch_seen, self);
    }
}

int
logtool_verify(const struct logtool_folder *folder)
{
    (void)printf("%s\n", folder->path);
    if (folder->file_count == 0) {
        (void)printf("  empty\n");
        return 0;
    }
    struct verification *self = calloc(1, sizeof(*self));
    if (!self) {
        (void)fprintf(stderr, "lepus-log: out of memory\n");
        return LOGTOOL_FAILED;
    }
    self->folder = folder;
    int status = 0;
    if (folder->root_whole) {
        segments_scan(self);
        (void)printf("  %" PRIu64 " batches with %" PRIu64 " records in %" PRIu64 " MiB read\n",
                     self->batches, self->records, self->bytes >> 20);
        status = old_verify(self);
    }
    const int tail = tail_verify(self);
    status = LP_MAX(status, tail);
    (void)printf(status == 0 ? "  whole\n" : "");
    free(self);
    return status;
}
