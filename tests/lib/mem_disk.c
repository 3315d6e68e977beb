/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/mem_disk.h"

static uint32_t
dice(uint64_t *random, uint32_t sides)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (uint32_t)((*random * 0x2545f4914f6cdd1du >> 33) % sides);
}

struct lp_mem_disk_file *
lp_mem_disk_file(struct lp_mem_disk *disk, uint32_t number)
{
    for (uint32_t i = 0; i < disk->file_count; i++) {
        if (disk->files[i].number == number) {
            return &disk->files[i];
        }
    }
    return NULL;
}

struct lp_mem_disk_file *
lp_mem_disk_put(struct lp_mem_disk *disk, uint32_t number, uint64_t bytes)
{
    LP_ASSERT(disk->file_count < LP_MEM_DISK_FILES && !lp_mem_disk_file(disk, number));
    uint32_t at = disk->file_count++;
    for (; at > 0 && disk->files[at - 1].number > number; at--) {
        disk->files[at] = disk->files[at - 1];
    }
    struct lp_mem_disk_file *file = &disk->files[at];
    file->number = number;
    file->bytes = bytes;
    file->data = calloc(1, bytes + 1);
    file->durable = true;
    LP_ASSERT(file->data);
    if (disk->old) {
        memcpy(file->data, disk->old, LP_MIN(disk->old_bytes, bytes));
        free(disk->old);
        disk->old = NULL;
    }
    return file;
}

static void
file_drop(struct lp_mem_disk *disk, struct lp_mem_disk_file *file)
{
    free(disk->old);
    disk->old = NULL;
    if (disk->recycle) {
        disk->old = file->data;
        disk->old_bytes = file->bytes;
    } else {
        free(file->data);
    }
    const uint32_t index = (uint32_t)(file - disk->files);
    disk->file_count--;
    memmove(file, file + 1, (disk->file_count - index) * sizeof(*file));
}

/* --- the contract -------------------------------------------------------- */

static void
disk_arena(void *self, void *base, uint64_t bytes)
{
    struct lp_mem_disk *disk = self;
    disk->arena = base;
    disk->arena_bytes = bytes;
}

static uint32_t
disk_files(void *self, struct lp_disk_file *ret_files, uint32_t max)
{
    struct lp_mem_disk *disk = self;
    for (uint32_t i = 0; i < LP_MIN(disk->file_count, max); i++) {
        ret_files[i].number = disk->files[i].number;
        ret_files[i].bytes = disk->files[i].bytes;
    }
    return disk->file_count;
}

static void
check_data(const struct lp_mem_disk *disk, const struct lp_disk_op *op)
{
    const uint8_t *data = op->data;
    LP_ASSERT(data >= disk->arena && data + op->bytes <= disk->arena + disk->arena_bytes);
    LP_ASSERT((uintptr_t)data % LP_DISK_ALIGN_BYTES == 0);
    LP_ASSERT(op->offset % LP_DISK_ALIGN_BYTES == 0 && op->bytes % LP_DISK_ALIGN_BYTES == 0);
    LP_ASSERT(op->bytes > 0 && op->bytes <= LP_DISK_BYTES_MAX);
}

static bool
disk_submit(void *self, const struct lp_disk_op *op)
{
    struct lp_mem_disk *disk = self;
    if (disk->flight_count + disk->completion_count == LP_DISK_OPS_MAX) {
        return false;
    }
    struct lp_mem_disk_flight *flight = &disk->flights[disk->flight_count++];
    flight->op = *op;
    flight->copy = NULL;
    if (op->kind == LP_DISK_READ || op->kind == LP_DISK_WRITE) {
        check_data(disk, op);
    }
    if (op->kind == LP_DISK_WRITE) {
        flight->copy = malloc(op->bytes);
        LP_ASSERT(flight->copy);
        memcpy(flight->copy, op->data, op->bytes);
    }
    /* It may be there already, but nobody has promised that. */
    if (op->kind == LP_DISK_CREATE && !lp_mem_disk_file(disk, op->file)) {
        lp_mem_disk_put(disk, op->file, op->bytes)->durable = false;
    }
    return true;
}

static void
disk_flush(void *self)
{
    ((struct lp_mem_disk *)self)->flushes++;
}

static uint32_t
disk_poll(void *self, struct lp_disk_completion *completions, uint32_t max)
{
    struct lp_mem_disk *disk = self;
    const uint32_t count = LP_MIN(max, disk->completion_count);
    memcpy(completions, disk->completions, count * sizeof(*completions));
    disk->completion_count -= count;
    memmove(disk->completions, disk->completions + count,
            disk->completion_count * sizeof(*completions));
    return count;
}

static uint64_t
disk_free_bytes(void *self)
{
    (void)self;
    return 1u << 30;
}

struct lp_disk
lp_mem_disk_contract(struct lp_mem_disk *disk)
{
    static const struct lp_disk_ops ops = {
        .name = "memory",
        .arena = disk_arena,
        .files = disk_files,
        .submit = disk_submit,
        .flush = disk_flush,
        .poll = disk_poll,
        .free_bytes = disk_free_bytes,
    };
    const struct lp_disk contract = {&ops, disk};
    return contract;
}

/* --- what the test says -------------------------------------------------- */

void
lp_mem_disk_init(struct lp_mem_disk *disk)
{
    memset(disk, 0, sizeof(*disk));
}

static void
flight_end(struct lp_mem_disk *disk, uint32_t index)
{
    free(disk->flights[index].copy);
    disk->flight_count--;
    memmove(&disk->flights[index], &disk->flights[index + 1],
            (disk->flight_count - index) * sizeof(disk->flights[0]));
}

void
lp_mem_disk_fini(struct lp_mem_disk *disk)
{
    while (disk->flight_count > 0) {
        flight_end(disk, 0);
    }
    for (uint32_t i = 0; i < disk->file_count; i++) {
        free(disk->files[i].data);
    }
    free(disk->old);
    memset(disk, 0, sizeof(*disk));
}

static enum lp_err
transfer(struct lp_mem_disk *disk, const struct lp_mem_disk_flight *flight)
{
    const struct lp_disk_op *op = &flight->op;
    struct lp_mem_disk_file *file = lp_mem_disk_file(disk, op->file);
    if (!file) {
        return LP_ERR_NOT_FOUND;
    }
    LP_ASSERT(op->offset + op->bytes <= file->bytes);
    if (op->kind == LP_DISK_READ) {
        memcpy(op->data, file->data + op->offset, op->bytes);
        return LP_OK;
    }
    LP_ASSERT(memcmp(flight->copy, op->data, op->bytes) == 0); /* untouched on its way */
    memcpy(file->data + op->offset, flight->copy, op->bytes);
    disk->writes++;
    return LP_OK;
}

static enum lp_err
perform(struct lp_mem_disk *disk, const struct lp_mem_disk_flight *flight)
{
    struct lp_mem_disk_file *file = lp_mem_disk_file(disk, flight->op.file);
    switch (flight->op.kind) {
    case LP_DISK_READ:
    case LP_DISK_WRITE:
        return transfer(disk, flight);
    case LP_DISK_CREATE:
        if (file->durable) {
            return LP_ERR_EXISTS;
        }
        file->durable = true;
        return LP_OK;
    case LP_DISK_REMOVE:
        if (!file) {
            return LP_ERR_NOT_FOUND;
        }
        file_drop(disk, file);
        return LP_OK;
    }
    return LP_ERR_UNSUPPORTED;
}

void
lp_mem_disk_complete(struct lp_mem_disk *disk, uint32_t flight, enum lp_err err)
{
    LP_ASSERT(flight < disk->flight_count);
    const enum lp_err done = err == LP_OK ? perform(disk, &disk->flights[flight]) : err;
    struct lp_disk_completion *completion = &disk->completions[disk->completion_count++];
    completion->user = disk->flights[flight].op.user;
    completion->err = done;
    flight_end(disk, flight);
}

void
lp_mem_disk_complete_all(struct lp_mem_disk *disk)
{
    while (disk->flight_count > 0) {
        lp_mem_disk_complete(disk, 0, LP_OK);
    }
}

uint32_t
lp_mem_disk_find(const struct lp_mem_disk *disk, enum lp_disk_op_kind kind, uint32_t from)
{
    for (uint32_t i = from; i < disk->flight_count; i++) {
        if (disk->flights[i].op.kind == kind) {
            return i;
        }
    }
    return UINT32_MAX;
}

static void
write_torn(struct lp_mem_disk *disk, const struct lp_mem_disk_flight *flight, uint64_t *random)
{
    struct lp_mem_disk_file *file = lp_mem_disk_file(disk, flight->op.file);
    const uint32_t most = dice(random, 3); /* few, half, most of the sectors */
    for (uint32_t at = 0; file && at < flight->op.bytes; at += LP_DISK_SECTOR_BYTES) {
        uint8_t *sector = file->data + flight->op.offset + at;
        if (dice(random, 4) <= most) {
            memcpy(sector, flight->copy + at, LP_DISK_SECTOR_BYTES);
        } else if (dice(random, 16) == 0) {
            memset(sector, 0xdb, LP_DISK_SECTOR_BYTES); /* neither old nor new */
        }
    }
}

void
lp_mem_disk_fail(struct lp_mem_disk *disk, uint32_t flight, enum lp_err err, uint64_t *random)
{
    LP_ASSERT(flight < disk->flight_count);
    if (disk->flights[flight].op.kind == LP_DISK_WRITE) {
        write_torn(disk, &disk->flights[flight], random);
    }
    lp_mem_disk_complete(disk, flight, err);
}

void
lp_mem_disk_crash(struct lp_mem_disk *disk, uint64_t *random)
{
    for (; disk->flight_count > 0; flight_end(disk, 0)) {
        const struct lp_mem_disk_flight *flight = &disk->flights[0];
        struct lp_mem_disk_file *file = lp_mem_disk_file(disk, flight->op.file);
        if (flight->op.kind == LP_DISK_WRITE) {
            write_torn(disk, flight, random);
        } else if (flight->op.kind == LP_DISK_REMOVE && file && dice(random, 2)) {
            file_drop(disk, file);
        }
    }
    disk->completion_count = 0;
    for (uint32_t i = disk->file_count; i > 0; i--) {
        struct lp_mem_disk_file *file = &disk->files[i - 1];
        if (!file->durable && dice(random, 2)) {
            file_drop(disk, file);
        } else {
            file->durable = true;
        }
    }
}

void
lp_mem_disk_drop(struct lp_mem_disk *disk)
{
    while (disk->flight_count > 0) {
        flight_end(disk, 0);
    }
    disk->completion_count = 0;
    for (uint32_t i = 0; i < disk->file_count; i++) {
        disk->files[i].durable = true;
    }
}
