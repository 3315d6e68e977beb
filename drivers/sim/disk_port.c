/* SPDX-License-Identifier: Apache-2.0 */
/* disk_port.c - the contract of lepus/disk.h over the simulated files. */
#include "disk_internal.h"

#include <string.h>

/* free_bytes() is that old at most. */
#define FREE_NS_MAX 2000000000u

/* ---- one operation ---- */

/* Whoever changed the memory of a WRITE before it was done broke the contract. */
static enum lp_err
run_write(struct lp_sim_disk *disk, const struct sim_op *op, bool fails)
{
    struct lp_sim_random *random = &disk->random;
    struct sim_file *file = sim_file_find(disk, op->op.file);
    LP_ASSERT(op->sum == sim_disk_sum(op->op.data, op->op.bytes));
    if (file == NULL) {
        return LP_ERR_NOT_FOUND;
    }
    if (!sim_file_has(file, op->op.offset, op->op.bytes)) {
        return LP_ERR_IO;
    }
    if (fails || lp_sim_random_chance(random, disk->config.faults.write_fail)) {
        if (lp_sim_random_chance(random, 600)) {
            sim_disk_tear(disk, file, &op->op, 0);
        }
        return LP_ERR_IO;
    }
    struct sim_place to = {file, op->op.offset};
    if (lp_sim_random_chance(random, disk->config.faults.write_elsewhere) &&
        sim_file_elsewhere(disk, &to, op->op.bytes)) {
        disk->stats.elsewhere++;
    }
    sim_file_write(to.file, to.offset, op->op.data, op->op.bytes);
    return LP_OK;
}

static enum lp_err
run_read(struct lp_sim_disk *disk, const struct sim_op *op, bool fails)
{
    struct lp_sim_random *random = &disk->random;
    struct sim_file *file = sim_file_find(disk, op->op.file);
    const uint64_t offset = op->op.offset;
    if (file == NULL) {
        return LP_ERR_NOT_FOUND;
    }
    if (!sim_file_has(file, offset, op->op.bytes) || fails ||
        lp_sim_random_chance(random, disk->config.faults.read_fail)) {
        return LP_ERR_IO;
    }
    if (!sim_file_readable(file, offset, op->op.bytes)) {
        return LP_ERR_IO;
    }
    struct sim_place from = {file, offset};
    if (lp_sim_random_chance(random, disk->config.faults.read_elsewhere) &&
        sim_file_elsewhere(disk, &from, op->op.bytes)) {
        disk->stats.elsewhere++;
    }
    sim_file_copy(from.file, from.offset, op->op.data, op->op.bytes);
    return LP_OK;
}

/* The folder is synced: removed files' names are gone for good. */
static void
names_sync(struct lp_sim_disk *disk)
{
    for (struct sim_file *file = disk->files; file != NULL; file = file->next) {
        file->durable = file->name;
    }
}

static enum lp_err
run_create(struct lp_sim_disk *disk, const struct sim_op *op, bool fails)
{
    struct lp_sim_random *random = &disk->random;
    const bool failed = fails || lp_sim_random_chance(random, disk->config.faults.create_fail);
    if (sim_file_find(disk, op->op.file) != NULL) {
        return LP_ERR_EXISTS;
    }
    if (failed && lp_sim_random_chance(random, 500)) {
        return LP_ERR_IO;
    }
    if (sim_files_bytes(disk) + op->op.bytes > disk->config.capacity_bytes) {
        return LP_ERR_NO_SPACE;
    }
    (void)sim_file_make(disk, op->op.file, op->op.bytes);
    if (failed) {
        return LP_ERR_IO;
    }
    names_sync(disk);
    return LP_OK;
}

static enum lp_err
run_remove(struct lp_sim_disk *disk, const struct sim_op *op, bool fails)
{
    struct sim_file *file = sim_file_find(disk, op->op.file);
    if (file == NULL) {
        return LP_ERR_NOT_FOUND;
    }
    if (fails) {
        return LP_ERR_IO;
    }
    sim_file_remove(disk, file);
    return LP_OK;
}

static enum lp_err
run_op(struct lp_sim_disk *disk, const struct sim_op *op)
{
    uint32_t *countdown = &disk->fail[op->op.kind];
    const bool fails = *countdown > 0 && --*countdown == 0;
    switch (op->op.kind) {
    case LP_DISK_READ:
        return run_read(disk, op, fails);
    case LP_DISK_WRITE:
        return run_write(disk, op, fails);
    case LP_DISK_CREATE:
        return run_create(disk, op, fails);
    case LP_DISK_REMOVE:
        return run_remove(disk, op, fails);
    }
    return LP_ERR_IO;
}

/* ---- submitting ---- */

/* Most are quick; as many take up to ten times as long as the rest, up to a hundred. */
static uint64_t
latency_draw(struct lp_sim_disk *disk)
{
    struct lp_sim_random *random = &disk->random;
    const struct lp_sim_disk_faults *faults = &disk->config.faults;
    if (lp_sim_random_chance(random, faults->slow)) {
        disk->slow_until_ns = disk->now_ns + lp_sim_random_below(random, faults->slow_ns_max + 1);
    }
    const uint64_t range = faults->latency_ns_max - faults->latency_ns_min;
    const uint64_t shift = lp_sim_random_below(random, 7);
    const uint64_t latency =
        faults->latency_ns_min + lp_sim_random_below(random, (range >> shift) + 1);
    return disk->now_ns < disk->slow_until_ns ? latency * 10 : latency;
}

static bool
moves(const struct lp_disk_op *op)
{
    return op->kind == LP_DISK_READ || op->kind == LP_DISK_WRITE;
}

static bool
overlap(const struct lp_disk_op *a, const struct lp_disk_op *b)
{
    return a->file == b->file && a->offset < b->offset + b->bytes &&
           b->offset < a->offset + a->bytes;
}

/* What no caller may ask for. */
static void
op_check(const struct lp_sim_disk *disk, const struct lp_disk_op *op)
{
    LP_ASSERT(op->kind <= LP_DISK_REMOVE);
    LP_ASSERT(op->offset % LP_DISK_ALIGN_BYTES == 0 && op->bytes % LP_DISK_ALIGN_BYTES == 0);
    if (moves(op)) {
        const uintptr_t data = (uintptr_t)op->data;
        LP_ASSERT(data % LP_DISK_ALIGN_BYTES == 0);
        LP_ASSERT(op->bytes > 0 && op->bytes <= LP_DISK_BYTES_MAX);
        LP_ASSERT(disk->arena != 0 && data >= disk->arena);
        LP_ASSERT(data + op->bytes <= disk->arena + disk->arena_bytes);
    }
    for (uint32_t i = 0; i < LP_DISK_OPS_MAX; i++) {
        const struct sim_op *other = &disk->op[i];
        if (!other->active || other->op.file != op->file) {
            continue;
        }
        /* Nobody uses a file that goes, and its going comes last. */
        LP_ASSERT(other->op.kind != LP_DISK_REMOVE && op->kind != LP_DISK_REMOVE);
        if (moves(op) && moves(&other->op) &&
            (op->kind == LP_DISK_WRITE || other->op.kind == LP_DISK_WRITE)) {
            LP_ASSERT(!overlap(op, &other->op)); /* which of them would win? */
        }
    }
}

static void
port_arena(void *self, void *base, uint64_t bytes)
{
    struct lp_sim_disk *disk = self;
    LP_ASSERT(disk->arena == 0 && (uintptr_t)base % LP_DISK_ALIGN_BYTES == 0);
    disk->arena = (uintptr_t)base;
    disk->arena_bytes = bytes;
}

static bool
port_submit(void *self, const struct lp_disk_op *op)
{
    struct lp_sim_disk *disk = self;
    op_check(disk, op);
    struct sim_op *slot = NULL;
    for (uint32_t i = 0; i < LP_DISK_OPS_MAX && slot == NULL; i++) {
        slot = disk->op[i].active ? NULL : &disk->op[i];
    }
    if (slot == NULL) {
        return false;
    }
    *slot = (struct sim_op){.op = *op, .active = true};
    if (op->kind == LP_DISK_WRITE) {
        slot->sum = sim_disk_sum(op->data, op->bytes);
    }
    if (op->kind == LP_DISK_READ) {
        memset(op->data, 0xdd, op->bytes); /* who looks too early finds nonsense */
    }
    return true;
}

static void
port_flush(void *self)
{
    struct lp_sim_disk *disk = self;
    for (uint32_t i = 0; i < LP_DISK_OPS_MAX; i++) {
        struct sim_op *op = &disk->op[i];
        if (op->active && !op->started) {
            op->started = true;
            op->due_ns = disk->now_ns + latency_draw(disk);
        }
    }
}

static uint32_t
port_poll(void *self, struct lp_disk_completion *completions, uint32_t max)
{
    struct lp_sim_disk *disk = self;
    uint32_t count = 0;
    /* Those that are due come in no order. */
    const uint32_t start = (uint32_t)lp_sim_random_below(&disk->random, LP_DISK_OPS_MAX);
    for (uint32_t i = 0; i < LP_DISK_OPS_MAX && count < max; i++) {
        struct sim_op *op = &disk->op[(start + i) % LP_DISK_OPS_MAX];
        if (!op->active || !op->started || op->due_ns > disk->now_ns) {
            continue;
        }
        const enum lp_err err = run_op(disk, op);
        op->active = false;
        completions[count++] = (struct lp_disk_completion){.user = op->op.user, .err = err};
        disk->stats.completed[op->op.kind]++;
        disk->stats.failed += err == LP_OK ? 0 : 1;
        sim_disk_note(disk, (uint64_t)op->op.kind << 32 | (uint32_t)err,
                      (uint64_t)op->op.file << 32 | op->op.bytes, op->op.offset ^ op->sum);
    }
    return count;
}

/* Boot: what is there now stays. */
static uint32_t
port_files(void *self, struct lp_disk_file *ret_files, uint32_t max)
{
    struct lp_sim_disk *disk = self;
    uint32_t count = 0;
    names_sync(disk);
    for (const struct sim_file *file = disk->files; file != NULL; file = file->next) {
        if (!file->name.some) {
            continue;
        }
        uint32_t at = LP_MIN(count, max);
        for (; at > 0 && ret_files[at - 1].number > file->name.number; at--) {
            if (at < max) {
                ret_files[at] = ret_files[at - 1];
            }
        }
        if (at < max) {
            ret_files[at] =
                (struct lp_disk_file){.number = file->name.number, .bytes = file->bytes};
        }
        count++;
    }
    return count;
}

static uint64_t
port_free_bytes(void *self)
{
    struct lp_sim_disk *disk = self;
    if (disk->now_ns >= disk->free_look_ns) {
        const uint64_t used = sim_files_bytes(disk);
        const uint64_t capacity = disk->config.capacity_bytes;
        disk->free_bytes = capacity > used ? capacity - used : 0;
        disk->free_look_ns = disk->now_ns + lp_sim_random_below(&disk->random, FREE_NS_MAX);
    }
    return disk->free_bytes;
}

static const struct lp_disk_ops sim_disk_ops = {
    .name = "sim",
    .arena = port_arena,
    .files = port_files,
    .submit = port_submit,
    .flush = port_flush,
    .poll = port_poll,
    .free_bytes = port_free_bytes,
};

struct lp_disk
lp_sim_disk_contract(struct lp_sim_disk *disk)
{
    return (struct lp_disk){.ops = &sim_disk_ops, .self = disk};
}
