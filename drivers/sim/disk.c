/* SPDX-License-Identifier: Apache-2.0 */
#include "disk_internal.h"

#include <stdlib.h>
#include <string.h>

#define DIGEST_PRIME   0x100000001b3u
#define ROT_HEAD_BYTES 80u

struct lp_sim_disk_config
lp_sim_disk_config_default(uint64_t seed)
{
    return (struct lp_sim_disk_config){
        .seed = seed,
        .capacity_bytes = 1ull << 30,
        .faults = {.unreadable = 5,
                   .slow = 2,
                   .slow_ns_max = 200 * 1000 * 1000,
                   .latency_ns_min = 50 * 1000,
                   .latency_ns_max = 10 * 1000 * 1000},
    };
}

struct lp_sim_disk *
lp_sim_disk_create(const struct lp_sim_disk_config *config)
{
    LP_ASSERT(config->faults.latency_ns_min <= config->faults.latency_ns_max);
    struct lp_sim_disk *disk = calloc(1, sizeof(*disk));
    LP_ASSERT(disk != NULL);
    disk->config = *config;
    disk->digest = 0xcbf29ce484222325u;
    lp_sim_random_seed(&disk->random, config->seed);
    return disk;
}

void
lp_sim_disk_destroy(struct lp_sim_disk *disk)
{
    while (disk->files != NULL) {
        sim_file_free(disk, disk->files);
    }
    free(disk);
}

struct lp_sim_disk_faults *
lp_sim_disk_faults(struct lp_sim_disk *disk)
{
    return &disk->config.faults;
}

void
lp_sim_disk_capacity_set(struct lp_sim_disk *disk, uint64_t bytes)
{
    disk->config.capacity_bytes = bytes;
}

void
sim_disk_note(struct lp_sim_disk *disk, uint64_t what, uint64_t a, uint64_t b)
{
    const uint64_t word[] = {what, a, b};
    for (size_t i = 0; i < LP_COUNT_OF(word); i++) {
        disk->digest = (disk->digest ^ word[i]) * DIGEST_PRIME;
        disk->digest ^= disk->digest >> 32;
    }
}

/* Of whole sectors. */
uint64_t
sim_disk_sum(const void *data, uint32_t bytes)
{
    uint64_t sum = bytes;
    for (uint32_t i = 0; i < bytes; i += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, (const uint8_t *)data + i, sizeof(word));
        sum = (sum ^ word) * DIGEST_PRIME;
        sum ^= sum >> 29;
    }
    return sum;
}

uint64_t
lp_sim_disk_digest(const struct lp_sim_disk *disk)
{
    return disk->digest;
}

void
lp_sim_disk_stats(const struct lp_sim_disk *disk, struct lp_sim_disk_stats *ret_stats)
{
    *ret_stats = disk->stats;
    for (uint32_t i = 0; i < LP_DISK_OPS_MAX; i++) {
        ret_stats->in_flight += disk->op[i].active ? 1 : 0;
    }
}

/* ---- time ---- */

void
lp_sim_disk_advance(struct lp_sim_disk *disk, uint64_t now_ns)
{
    LP_ASSERT(now_ns >= disk->now_ns);
    disk->now_ns = now_ns;
}

uint64_t
lp_sim_disk_next_ns(const struct lp_sim_disk *disk)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < LP_DISK_OPS_MAX; i++) {
        const struct sim_op *op = &disk->op[i];
        if (op->active && op->started) {
            next = LP_MIN(next, op->due_ns);
        }
    }
    return next;
}

/* ---- the end of a process ---- */

static void
crash_write(struct lp_sim_disk *disk, const struct sim_op *op, enum lp_sim_disk_crash how)
{
    struct lp_sim_random *random = &disk->random;
    struct sim_file *file = sim_file_find(disk, op->op.file);
    if (file == NULL || !sim_file_has(file, op->op.offset, op->op.bytes)) {
        return;
    }
    LP_ASSERT(op->sum == sim_disk_sum(op->op.data, op->op.bytes));
    const uint64_t pick = lp_sim_random_below(random, 4);
    if (pick == 0) {
        sim_file_write(file, op->op.offset, op->op.data, op->op.bytes);
    } else if (pick == 1 || (how == LP_SIM_DISK_KILLED && pick == 2)) {
        disk->stats.lost++;
    } else if (how == LP_SIM_DISK_POWER) {
        sim_disk_tear(disk, file, &op->op, disk->config.faults.unreadable);
        disk->stats.torn++;
    } else {
        sim_file_write(file, op->op.offset, op->op.data, op->op.bytes);
    }
}

static void
crash_op(struct lp_sim_disk *disk, struct sim_op *op, enum lp_sim_disk_crash how)
{
    op->active = false;
    if (op->op.kind == LP_DISK_WRITE) {
        crash_write(disk, op, how);
        return;
    }
    if (op->op.kind == LP_DISK_READ || lp_sim_random_chance(&disk->random, 500)) {
        return;
    }
    struct sim_file *file = sim_file_find(disk, op->op.file);
    if (op->op.kind == LP_DISK_REMOVE && file != NULL) {
        sim_file_remove(disk, file);
    }
    if (op->op.kind == LP_DISK_CREATE && file == NULL) {
        (void)sim_file_make(disk, op->op.file, op->op.bytes);
    }
}

/* Names are what the folder on the disk says. */
static void
crash_names(struct lp_sim_disk *disk)
{
    for (struct sim_file *file = disk->files; file != NULL; file = file->next) {
        if (!file->name.some && file->durable.some) {
            if (lp_sim_random_chance(&disk->random, 500)) {
                disk->stats.returned++;
                file->name = file->durable;
            }
        } else {
            file->name = file->durable;
        }
    }
}

static void
crash_rot(struct lp_sim_disk *disk)
{
    if (!lp_sim_random_chance(&disk->random, disk->config.faults.rot)) {
        return;
    }
    struct sim_place place = {NULL, 0};
    for (uint32_t try = 0; try < 64; try++) {
        if (!sim_file_elsewhere(disk, &place, LP_DISK_ALIGN_BYTES)) {
            return;
        }
        struct sim_block *block = place.file->block[place.offset / LP_DISK_ALIGN_BYTES];
        if (block != NULL) {
            /* Where something begins it hurts most. */
            const uint64_t within =
                lp_sim_random_chance(&disk->random, 500) ? ROT_HEAD_BYTES : LP_DISK_ALIGN_BYTES;
            const uint64_t at = lp_sim_random_below(&disk->random, within);
            block->data[at] ^= (uint8_t)(1u << lp_sim_random_below(&disk->random, 8));
            disk->stats.rotten++;
            return;
        }
    }
}

void
lp_sim_disk_crash(struct lp_sim_disk *disk, enum lp_sim_disk_crash how)
{
    for (uint32_t i = 0; i < LP_DISK_OPS_MAX; i++) {
        if (disk->op[i].active) {
            crash_op(disk, &disk->op[i], how);
        }
    }
    if (how == LP_SIM_DISK_POWER) {
        crash_names(disk);
    }
    crash_rot(disk);
    disk->arena = 0;
    disk->arena_bytes = 0;
    sim_disk_note(disk, 'c', how, disk->stats.torn);
}

/* ---- for tests ---- */

void
lp_sim_disk_fail(struct lp_sim_disk *disk, enum lp_disk_op_kind kind, uint32_t countdown)
{
    disk->fail[kind] = countdown;
}

bool
lp_sim_disk_peek(const struct lp_sim_disk *disk, uint32_t file, uint64_t offset, void *data,
                 uint32_t bytes)
{
    const struct sim_file *found = sim_file_find(disk, file);
    if (found == NULL || !sim_file_has(found, offset, bytes)) {
        return false;
    }
    sim_file_copy(found, offset, data, bytes);
    return true;
}

bool
lp_sim_disk_spoil(struct lp_sim_disk *disk, uint32_t file, uint64_t offset)
{
    struct sim_file *found = sim_file_find(disk, file);
    if (found == NULL || !sim_file_has(found, offset, 1)) {
        return false;
    }
    sim_file_spoil(found, offset);
    return true;
}
