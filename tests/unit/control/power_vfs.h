/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power_vfs.h - SQLite's files in memory, with what a loss of power makes of
 * them: what was written since a file's last sync is there or not, sector by
 * sector, in any combination; a file is there when its folder was synced, which
 * SQLite does with the first sync of a log or journal that it made.
 *
 *   Limits    POWER_FILES_MAX files, of POWER_FILE_BYTES; for tests, one thread
 */
#pragma once

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <lepus/base.h>

#define POWER_FILES_MAX    6u
#define POWER_FILE_BYTES   (8u << 20)
#define POWER_SECTOR_BYTES 512u
#define POWER_SECTORS      (POWER_FILE_BYTES / POWER_SECTOR_BYTES)

struct power_file {
    char name[512]; /* "": free */
    bool there;     /* as SQLite sees it */
    bool named;     /* its name is on disk */
    bool syncs_folder;
    uint64_t bytes, disk_bytes;
    uint8_t *data;                /* as SQLite sees it */
    uint8_t *disk;                /* as of the last sync */
    bool unsynced[POWER_SECTORS]; /* differ, perhaps */
};

/* The disk; SQLite's interface has no place for it but one of the process. */
struct power {
    struct power_file file[POWER_FILES_MAX];
    uint32_t syncs;                 /* of files whose names have "topology" in them */
    uint32_t fail_sync_in, fill_in; /* 0: not; 1: the next sync or write of such a file fails */
    bool full;
    /* Called before and after each change to what is on the disk. */
    void (*moment)(void *context);
    void *context;
};

struct power_handle {
    sqlite3_file base;
    struct power *power;
    struct power_file *file;
};

/* Zeroes.  Not of malloc(), which meson has fill what it gives: a loss of power would take as long
 * as it takes to write all of its files. */
static inline uint8_t *
power_map(void)
{
    void *bytes =
        mmap(NULL, POWER_FILE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return bytes == MAP_FAILED ? NULL : bytes;
}

static inline void
power_unmap(uint8_t *bytes)
{
    if (bytes) {
        const int failed = munmap(bytes, POWER_FILE_BYTES);
        LP_ASSERT(failed == 0);
    }
}

static inline bool
power_durable(const struct power_file *file)
{
    return strstr(file->name, "topology") != NULL;
}

static inline void
power_moment(struct power *power)
{
    if (power->moment) {
        power->moment(power->context);
    }
}

static inline int
power_close(sqlite3_file *base)
{
    base->pMethods = NULL;
    return SQLITE_OK;
}

static inline int
power_read(sqlite3_file *base, void *data, int bytes, sqlite3_int64 offset)
{
    const struct power_file *file = ((struct power_handle *)base)->file;
    const uint64_t from = LP_MIN((uint64_t)offset, file->bytes);
    const uint64_t got = LP_MIN((uint64_t)bytes, file->bytes - from);
    memcpy(data, file->data + from, got);
    memset((uint8_t *)data + got, 0, (size_t)bytes - got);
    return got == (uint64_t)bytes ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static inline int
power_write(sqlite3_file *base, const void *data, int bytes, sqlite3_int64 offset)
{
    struct power_handle *handle = (struct power_handle *)base;
    struct power_file *file = handle->file;
    const uint64_t end = (uint64_t)offset + (uint64_t)bytes;
    if (power_durable(file) && handle->power->fill_in > 0 && --handle->power->fill_in == 0) {
        handle->power->full = true;
    }
    if (handle->power->full || end > POWER_FILE_BYTES) {
        return SQLITE_FULL;
    }
    memcpy(file->data + offset, data, (size_t)bytes);
    file->bytes = LP_MAX(file->bytes, end);
    for (uint64_t s = (uint64_t)offset / POWER_SECTOR_BYTES; s * POWER_SECTOR_BYTES < end; s++) {
        file->unsynced[s] = true;
    }
    power_moment(handle->power);
    return SQLITE_OK;
}

static inline int
power_truncate(sqlite3_file *base, sqlite3_int64 bytes)
{
    struct power_handle *handle = (struct power_handle *)base;
    struct power_file *file = handle->file;
    for (uint64_t s = (uint64_t)bytes / POWER_SECTOR_BYTES; s * POWER_SECTOR_BYTES < file->bytes;
         s++) {
        file->unsynced[s] = true;
    }
    if ((uint64_t)bytes < file->bytes) {
        memset(file->data + bytes, 0, file->bytes - (uint64_t)bytes);
    }
    file->bytes = (uint64_t)bytes;
    power_moment(handle->power);
    return SQLITE_OK;
}

static inline int
power_sync(sqlite3_file *base, int flags)
{
    struct power_handle *handle = (struct power_handle *)base;
    struct power *power = handle->power;
    struct power_file *file = handle->file;
    (void)flags;
    power->syncs += power_durable(file);
    if (power_durable(file) && power->fail_sync_in > 0 && --power->fail_sync_in == 0) {
        return SQLITE_IOERR_FSYNC;
    }
    for (uint32_t s = 0; s < POWER_SECTORS; s++) {
        if (file->unsynced[s]) {
            memcpy(file->disk + s * POWER_SECTOR_BYTES, file->data + s * POWER_SECTOR_BYTES,
                   POWER_SECTOR_BYTES);
        }
    }
    file->disk_bytes = file->bytes;
    memset(file->unsynced, 0, sizeof(file->unsynced));
    for (uint32_t i = 0; i < POWER_FILES_MAX && file->syncs_folder; i++) {
        power->file[i].named = power->file[i].there;
    }
    power_moment(power);
    return SQLITE_OK;
}

static inline int
power_size(sqlite3_file *base, sqlite3_int64 *ret_bytes)
{
    *ret_bytes = (sqlite3_int64)((struct power_handle *)base)->file->bytes;
    return SQLITE_OK;
}

static inline int
power_lock(sqlite3_file *base, int lock)
{
    (void)base;
    (void)lock;
    return SQLITE_OK;
}

static inline int
power_reserved(sqlite3_file *base, int *ret_reserved)
{
    (void)base;
    *ret_reserved = 0;
    return SQLITE_OK;
}

static inline int
power_control(sqlite3_file *base, int op, void *argument)
{
    (void)base;
    (void)op;
    (void)argument;
    return SQLITE_NOTFOUND;
}

static inline int
power_sector(sqlite3_file *base)
{
    (void)base;
    return POWER_SECTOR_BYTES;
}

/* As SQLite takes Linux's to be. */
static inline int
power_device(sqlite3_file *base)
{
    (void)base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static inline struct power_file *
power_find(struct power *power, const char *name)
{
    for (uint32_t i = 0; i < POWER_FILES_MAX; i++) {
        if (strcmp(power->file[i].name, name) == 0) {
            return &power->file[i];
        }
    }
    return NULL;
}

static inline int
power_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *ret_flags)
{
    static const sqlite3_io_methods methods = {
        .iVersion = 1, /* no shared memory: locked exclusively it needs none */
        .xClose = power_close,
        .xRead = power_read,
        .xWrite = power_write,
        .xTruncate = power_truncate,
        .xSync = power_sync,
        .xFileSize = power_size,
        .xLock = power_lock,
        .xUnlock = power_lock,
        .xCheckReservedLock = power_reserved,
        .xFileControl = power_control,
        .xSectorSize = power_sector,
        .xDeviceCharacteristics = power_device,
    };
    struct power *power = vfs->pAppData;
    struct power_file *file = name ? power_find(power, name) : NULL;
    if (!file && name) {
        file = power_find(power, "");
    }
    if (!file) {
        base->pMethods = NULL;
        return SQLITE_CANTOPEN;
    }
    if (!file->data) {
        (void)snprintf(file->name, sizeof(file->name), "%s", name);
        file->data = power_map();
        file->disk = power_map();
        LP_ASSERT(file->data && file->disk);
    }
    file->there = true;
    file->syncs_folder = (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
    *(struct power_handle *)base = (struct power_handle){{&methods}, power, file};
    if (ret_flags) {
        *ret_flags = flags;
    }
    return SQLITE_OK;
}

static inline int
power_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    struct power *power = vfs->pAppData;
    struct power_file *file = power_find(power, name);
    if (!file || !file->there) {
        return SQLITE_IOERR_DELETE_NOENT;
    }
    file->there = false;
    file->named = file->named && !sync_folder;
    memset(file->data, 0, file->bytes);
    memset(file->disk, 0, file->named ? 0 : file->disk_bytes);
    memset(file->unsynced, file->named, sizeof(file->unsynced)); /* it may come back */
    file->bytes = 0;
    power_moment(power);
    return SQLITE_OK;
}

static inline int
power_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret_there)
{
    const struct power_file *file = power_find(vfs->pAppData, name);
    *ret_there = file && file->there && (flags != SQLITE_ACCESS_EXISTS || file->bytes > 0);
    return SQLITE_OK;
}

static inline int
power_path(sqlite3_vfs *vfs, const char *name, int bytes, char *ret_path)
{
    (void)vfs;
    (void)sqlite3_snprintf(bytes, ret_path, "%s", name);
    return SQLITE_OK;
}

/* SQLite's default from here on. */
static inline void
power_begin(struct power *power, sqlite3_vfs *vfs)
{
    const sqlite3_vfs *system = sqlite3_vfs_find("unix");
    *vfs = *system;
    vfs->pNext = NULL;
    vfs->zName = "power";
    vfs->szOsFile = sizeof(struct power_handle);
    vfs->pAppData = power;
    vfs->xOpen = power_open;
    vfs->xDelete = power_delete;
    vfs->xAccess = power_access;
    vfs->xFullPathname = power_path;
    const int rc = sqlite3_vfs_register(vfs, 1);
    LP_ASSERT(rc == SQLITE_OK);
}

static inline void
power_clear(struct power *power)
{
    for (uint32_t i = 0; i < POWER_FILES_MAX; i++) {
        power_unmap(power->file[i].data);
        power_unmap(power->file[i].disk);
        power->file[i] = (struct power_file){0};
    }
}

static inline void
power_end(struct power *power, sqlite3_vfs *vfs)
{
    const int rc = sqlite3_vfs_unregister(vfs);
    LP_ASSERT(rc == SQLITE_OK);
    power_clear(power);
}

/* xorshift */
static inline uint64_t
power_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* One that is there: each unsynced sector may be old or new. */
static inline void
power_file_lost(const struct power_file *file, struct power_file *copy, uint64_t *seed)
{
    const uint64_t most = LP_MAX(file->bytes, file->disk_bytes);
    const uint32_t odds = file->there ? (uint32_t)(power_random(seed) % 5) : 0; /* of four */
    bool any = false;
    for (uint64_t s = 0; s * POWER_SECTOR_BYTES < most; s++) {
        const bool fresh = file->unsynced[s] && power_random(seed) % 4 < odds;
        any = any || fresh;
        memcpy(copy->data + s * POWER_SECTOR_BYTES,
               (fresh ? file->data : file->disk) + s * POWER_SECTOR_BYTES, POWER_SECTOR_BYTES);
    }
    copy->bytes = any ? most : file->disk_bytes;
    memcpy(copy->disk, copy->data, most);
    copy->disk_bytes = copy->bytes;
}

/* What one loss of power leaves of durable files, as another disk. */
static inline void
power_lost(const struct power *power, struct power *after, uint64_t *seed)
{
    for (uint32_t i = 0; i < POWER_FILES_MAX; i++) {
        const struct power_file *file = &power->file[i];
        struct power_file *copy = &after->file[i];
        const bool sure = file->named && file->there;
        const bool perhaps = (file->named || file->there) && (power_random(seed) & 1) != 0;
        if (!power_durable(file) || (!sure && !perhaps)) {
            continue;
        }
        memcpy(copy->name, file->name, sizeof(copy->name));
        copy->data = power_map();
        copy->disk = power_map();
        LP_ASSERT(copy->data && copy->disk);
        copy->there = true;
        copy->named = true;
        power_file_lost(file, copy, seed);
    }
}
