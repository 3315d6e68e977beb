/* SPDX-License-Identifier: Apache-2.0 */
/* disk_file.c - files of the simulated disk, and their sectors. */
#include "disk_internal.h"

#include <stdlib.h>
#include <string.h>

#define SECTORS (LP_DISK_ALIGN_BYTES / LP_DISK_SECTOR_BYTES)

static void *
allocate(size_t bytes)
{
    void *memory = calloc(1, bytes);
    LP_ASSERT(memory != NULL);
    return memory;
}

static uint64_t
block_count(uint64_t bytes)
{
    return bytes / LP_DISK_ALIGN_BYTES;
}

/* ---- files ---- */

struct sim_file *
sim_file_find(const struct lp_sim_disk *disk, uint32_t number)
{
    for (struct sim_file *file = disk->files; file != NULL; file = file->next) {
        if (file->name.some && file->name.number == number) {
            return file;
        }
    }
    return NULL;
}

bool
sim_file_has(const struct sim_file *file, uint64_t offset, uint64_t bytes)
{
    return offset <= file->bytes && bytes <= file->bytes - offset;
}

uint64_t
sim_files_bytes(const struct lp_sim_disk *disk)
{
    uint64_t bytes = 0;
    for (const struct sim_file *file = disk->files; file != NULL; file = file->next) {
        bytes += file->name.some ? file->bytes : 0;
    }
    return bytes;
}

void
sim_file_free(struct lp_sim_disk *disk, struct sim_file *file)
{
    struct sim_file **link = &disk->files;
    while (*link != file) {
        link = &(*link)->next;
    }
    *link = file->next;
    for (uint64_t i = 0; i < block_count(file->bytes); i++) {
        free(file->block[i]);
    }
    free((void *)file->block);
    free(file);
}

/* A removed file of that size, by chance. */
static struct sim_file *
spare_pick(struct lp_sim_disk *disk, uint64_t bytes)
{
    for (struct sim_file *file = disk->files; file != NULL; file = file->next) {
        if (!file->name.some && file->bytes == bytes && lp_sim_random_chance(&disk->random, 700)) {
            return file;
        }
    }
    return NULL;
}

struct sim_file *
sim_file_make(struct lp_sim_disk *disk, uint32_t number, uint64_t bytes)
{
    struct sim_file *file = spare_pick(disk, bytes);
    if (file != NULL) {
        disk->stats.recycled++;
    } else {
        file = allocate(sizeof(*file));
        file->bytes = bytes;
        file->block = allocate((block_count(bytes) + 1) * sizeof(*file->block));
        file->next = disk->files;
        disk->files = file;
    }
    file->name = (struct sim_name){.some = true, .number = number};
    file->durable = file->name;
    return file;
}

void
sim_file_remove(struct lp_sim_disk *disk, struct sim_file *file)
{
    uint32_t spares = 0;
    struct sim_file *oldest = NULL;
    file->name.some = false;
    /* New ones are put in front. */
    for (struct sim_file *at = disk->files; at != NULL; at = at->next) {
        if (!at->name.some) {
            spares++;
            oldest = at;
        }
    }
    if (spares > SIM_SPARES_MAX) {
        sim_file_free(disk, oldest);
    }
}

/* ---- sectors ---- */

static struct sim_block *
block_of(struct sim_file *file, uint64_t offset)
{
    struct sim_block **block = &file->block[offset / LP_DISK_ALIGN_BYTES];
    if (*block == NULL) {
        *block = allocate(sizeof(**block));
    }
    return *block;
}

static uint8_t
sector_bit(uint64_t offset)
{
    return (uint8_t)(1u << (offset % LP_DISK_ALIGN_BYTES / LP_DISK_SECTOR_BYTES));
}

/* Whole sectors. */
void
sim_file_write(struct sim_file *file, uint64_t offset, const void *data, uint32_t bytes)
{
    LP_ASSERT(sim_file_has(file, offset, bytes));
    for (uint32_t done = 0; done < bytes; done += LP_DISK_SECTOR_BYTES) {
        struct sim_block *block = block_of(file, offset + done);
        memcpy(block->data + (offset + done) % LP_DISK_ALIGN_BYTES, (const uint8_t *)data + done,
               LP_DISK_SECTOR_BYTES);
        block->bad &= (uint8_t)~sector_bit(offset + done);
    }
}

void
sim_file_copy(const struct sim_file *file, uint64_t offset, void *data, uint32_t bytes)
{
    LP_ASSERT(sim_file_has(file, offset, bytes));
    uint32_t done = 0;
    while (done < bytes) {
        const uint64_t at = offset + done;
        const uint32_t within = (uint32_t)(at % LP_DISK_ALIGN_BYTES);
        const uint32_t n = LP_MIN(bytes - done, LP_DISK_ALIGN_BYTES - within);
        const struct sim_block *block = file->block[at / LP_DISK_ALIGN_BYTES];
        if (block == NULL) {
            memset((uint8_t *)data + done, 0, n);
        } else {
            memcpy((uint8_t *)data + done, block->data + within, n);
        }
        done += n;
    }
}

bool
sim_file_readable(const struct sim_file *file, uint64_t offset, uint32_t bytes)
{
    for (uint64_t at = offset; at < offset + bytes; at += LP_DISK_SECTOR_BYTES) {
        const struct sim_block *block = file->block[at / LP_DISK_ALIGN_BYTES];
        if (block != NULL && (block->bad & sector_bit(at)) != 0) {
            return false;
        }
    }
    return true;
}

void
sim_file_spoil(struct sim_file *file, uint64_t offset)
{
    block_of(file, offset)->bad |= sector_bit(offset);
}

bool
sim_file_elsewhere(struct lp_sim_disk *disk, struct sim_place *place, uint32_t bytes)
{
    for (uint32_t try = 0; try < 8; try++) {
        for (struct sim_file *at = disk->files; at != NULL; at = at->next) {
            if (!at->name.some || at->bytes < bytes || lp_sim_random_chance(&disk->random, 500)) {
                continue;
            }
            const uint64_t places = block_count(at->bytes - bytes) + 1;
            const uint64_t offset =
                lp_sim_random_below(&disk->random, places) * LP_DISK_ALIGN_BYTES;
            if (at != place->file || offset != place->offset) {
                *place = (struct sim_place){at, offset};
                return true;
            }
        }
    }
    return false;
}

enum tear {
    TEAR_HEAD, /* the beginning is there */
    TEAR_TAIL, /* the end is */
    TEAR_HOLE, /* all but one sector */
    TEAR_ANY,
    TEAR_KINDS,
};

void
sim_disk_tear(struct lp_sim_disk *disk, struct sim_file *file, const struct lp_disk_op *op,
              uint32_t unreadable)
{
    LP_STATIC_ASSERT(SECTORS == 8, "bad sectors of a block are bits of an octet");
    struct lp_sim_random *random = &disk->random;
    const enum tear how = (enum tear)lp_sim_random_below(random, TEAR_KINDS);
    const uint32_t sectors = op->bytes / LP_DISK_SECTOR_BYTES;
    const uint32_t cut = (uint32_t)lp_sim_random_below(random, sectors + 1);
    for (uint32_t i = 0; i < sectors; i++) {
        const uint64_t at = op->offset + (uint64_t)i * LP_DISK_SECTOR_BYTES;
        const bool chance = lp_sim_random_chance(random, 500);
        const bool written = (how == TEAR_HEAD && i < cut) || (how == TEAR_TAIL && i >= cut) ||
                             (how == TEAR_HOLE && i != cut) || (how == TEAR_ANY && chance);
        if (lp_sim_random_chance(random, unreadable)) {
            sim_file_spoil(file, at);
            disk->stats.unreadable++;
        } else if (written) {
            sim_file_write(file, at, (const uint8_t *)op->data + (size_t)i * LP_DISK_SECTOR_BYTES,
                           LP_DISK_SECTOR_BYTES);
        }
    }
}
