/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/common/volume.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

LP_STATIC_ASSERT(LP_DISK_OPS_MAX <= UINT8_MAX, "an operation's index fits a byte");
/* What the keeper may have of one volume: an answer for each operation, and files to be closed. */
LP_STATIC_ASSERT(LP_KEEPER_CHORES_MAX >= 4 * LP_DISK_OPS_MAX, "chores always fit");

/* --- Lists. ---------------------------------------------------------------------------------- */

static void
list_push(struct lp_volume_list *list, uint32_t index)
{
    LP_ASSERT(list->count < LP_DISK_OPS_MAX);
    list->item[(list->head + list->count++) % LP_DISK_OPS_MAX] = (uint8_t)index;
}

static uint32_t
list_first(const struct lp_volume_list *list)
{
    return list->count > 0 ? list->item[list->head] : LP_VOLUME_NONE;
}

static void
list_drop(struct lp_volume_list *list)
{
    LP_ASSERT(list->count > 0);
    list->head = (list->head + 1) % LP_DISK_OPS_MAX;
    list->count--;
}

static void
op_done(struct lp_volume *volume, uint32_t index, enum lp_err err)
{
    volume->op[index].err = err;
    volume->op[index].state = LP_VOLUME_DONE;
    list_push(&volume->done, index);
}

/* --- Chores. --------------------------------------------------------------------------------- */

static void
chore_send(struct lp_volume *volume, struct lp_keeper_chore chore)
{
    if (volume->channel == NULL) {
        return; /* closing: nobody does it, and nobody waits */
    }
    const bool sent = lp_keeper_chore(volume->channel, &chore);
    LP_ASSERT(sent); /* see the assertion at the top */
    volume->chores += chore.kind != LP_KEEPER_CLOSE;
}

/* Open no more than there are descriptors for. */
static void
files_trim(struct lp_volume *volume)
{
    struct lp_file *victim = lp_files_victim(&volume->files);
    if (victim != NULL) {
        const int fd = lp_files_fd_take(&volume->files, victim);
        chore_send(volume, (struct lp_keeper_chore){.kind = LP_KEEPER_CLOSE, .fd = fd});
    }
}

static void
create_start(struct lp_volume *volume, uint32_t index)
{
    const struct lp_disk_op *op = &volume->op[index].op;
    if (op->bytes == 0 || op->bytes % LP_DISK_ALIGN_BYTES != 0) {
        op_done(volume, index, LP_ERR_IO);
        return;
    }
    if (lp_files_find(&volume->files, op->file) != NULL) {
        op_done(volume, index, LP_ERR_EXISTS);
        return;
    }
    if (lp_files_add(&volume->files, op->file, op->bytes, LP_FILE_CREATING) == NULL) {
        op_done(volume, index, LP_ERR_NO_SPACE);
        return;
    }
    volume->op[index].state = LP_VOLUME_CHORE;
    chore_send(volume, (struct lp_keeper_chore){.kind = LP_KEEPER_CREATE,
                                                .file = op->file,
                                                .fd = -1,
                                                .bytes = op->bytes,
                                                .tag = index});
}

static void
create_ended(struct lp_volume *volume, const struct lp_keeper_chore *chore)
{
    struct lp_file *file = lp_files_find(&volume->files, chore->file);
    LP_ASSERT(file != NULL && file->state == LP_FILE_CREATING);
    if (chore->err == LP_OK) {
        lp_files_opened(&volume->files, file, chore->fd);
        files_trim(volume);
    } else {
        lp_files_remove(&volume->files, file);
    }
    op_done(volume, (uint32_t)chore->tag, chore->err);
}

/* The file is not used any more: it goes. */
static void
remove_start(struct lp_volume *volume, uint32_t index, struct lp_file *file)
{
    const int fd = lp_files_fd_take(&volume->files, file);
    file->state = LP_FILE_REMOVING;
    volume->op[index].state = LP_VOLUME_CHORE;
    chore_send(volume, (struct lp_keeper_chore){.kind = LP_KEEPER_REMOVE,
                                                .file = file->number,
                                                .fd = fd,
                                                .bytes = file->bytes,
                                                .tag = index});
}

static void
remove_submit(struct lp_volume *volume, uint32_t index)
{
    struct lp_file *file = lp_files_find(&volume->files, volume->op[index].op.file);
    if (file == NULL || file->state == LP_FILE_CREATING || file->state == LP_FILE_REMOVING) {
        op_done(volume, index, LP_ERR_NOT_FOUND);
        return;
    }
    if (file->state == LP_FILE_OPENING) {
        return; /* open_ended() comes back to it */
    }
    if (file->running > 0) {
        file->state = LP_FILE_REMOVING; /* the last that uses it starts this */
        return;
    }
    remove_start(volume, index, file);
}

static void
remove_ended(struct lp_volume *volume, const struct lp_keeper_chore *chore)
{
    struct lp_file *file = lp_files_find(&volume->files, chore->file);
    LP_ASSERT(file != NULL && file->state == LP_FILE_REMOVING);
    lp_files_remove(&volume->files, file);
    op_done(volume, (uint32_t)chore->tag, chore->err);
}

/* --- Reading and writing. -------------------------------------------------------------------- */

static void
op_ready(struct lp_volume *volume, uint32_t index, struct lp_file *file)
{
    struct lp_volume_op *op = &volume->op[index];
    op->fd = file->fd;
    op->state = LP_VOLUME_READY;
    file->running++;
    lp_files_used(&volume->files, file);
    list_push(op->op.kind == LP_DISK_WRITE ? &volume->writes : &volume->reads, index);
}

static bool
fits(const struct lp_disk_op *op, const struct lp_file *file)
{
    return op->bytes > 0 && op->bytes <= LP_DISK_BYTES_MAX && op->offset <= file->bytes &&
           op->bytes <= file->bytes - op->offset;
}

static void
transfer_submit(struct lp_volume *volume, uint32_t index)
{
    const struct lp_disk_op *op = &volume->op[index].op;
    LP_ASSERT(op->offset % LP_DISK_ALIGN_BYTES == 0 && op->bytes % LP_DISK_ALIGN_BYTES == 0);
    LP_ASSERT((uintptr_t)op->data % LP_DISK_ALIGN_BYTES == 0);
    struct lp_file *file = lp_files_find(&volume->files, op->file);
    if (file == NULL || file->state == LP_FILE_CREATING || file->state == LP_FILE_REMOVING) {
        op_done(volume, index, LP_ERR_NOT_FOUND);
    } else if (!fits(op, file)) {
        op_done(volume, index, LP_ERR_IO);
    } else if (file->state == LP_FILE_OPEN) {
        op_ready(volume, index, file);
    } else if (file->state == LP_FILE_CLOSED) {
        file->state = LP_FILE_OPENING;
        chore_send(volume,
                   (struct lp_keeper_chore){.kind = LP_KEEPER_OPEN, .file = op->file, .fd = -1});
    }
    /* OPENING: it waits for that. */
}

static void
open_ended(struct lp_volume *volume, const struct lp_keeper_chore *chore)
{
    struct lp_file *file = lp_files_find(&volume->files, chore->file);
    LP_ASSERT(file != NULL && file->state == LP_FILE_OPENING);
    uint32_t remover = LP_VOLUME_NONE;
    if (chore->err == LP_OK) {
        lp_files_opened(&volume->files, file, chore->fd);
    } else {
        file->state = LP_FILE_CLOSED;
    }
    for (uint32_t i = 0; i < LP_DISK_OPS_MAX; i++) {
        const struct lp_volume_op *op = &volume->op[i];
        if (op->state != LP_VOLUME_FILE || op->op.file != chore->file) {
            continue;
        }
        if (op->op.kind == LP_DISK_REMOVE) {
            remover = i;
        } else if (chore->err == LP_OK) {
            op_ready(volume, i, file);
        } else {
            op_done(volume, i, chore->err);
        }
    }
    if (remover != LP_VOLUME_NONE) {
        remove_submit(volume, remover);
    }
    files_trim(volume);
}

static void
chores_collect(struct lp_volume *volume)
{
    struct lp_keeper_chore chore;
    while (volume->chores > 0 && lp_keeper_done(volume->channel, &chore)) {
        volume->chores--;
        switch (chore.kind) {
        case LP_KEEPER_CREATE:
            create_ended(volume, &chore);
            break;
        case LP_KEEPER_REMOVE:
            remove_ended(volume, &chore);
            break;
        case LP_KEEPER_OPEN:
            open_ended(volume, &chore);
            break;
        case LP_KEEPER_CLOSE:
            break;
        }
    }
}

bool
lp_volume_submit(void *self, const struct lp_disk_op *op)
{
    struct lp_volume *volume = self;
    if (volume->free_count == 0) {
        return false;
    }
    const uint32_t index = volume->free[--volume->free_count];
    struct lp_volume_op *slot = &volume->op[index];
    slot->generation = slot->generation == UINT32_MAX ? 1 : slot->generation + 1;
    slot->op = *op;
    slot->parts = 0;
    slot->fd = -1;
    slot->err = LP_OK;
    slot->state = LP_VOLUME_FILE;
    switch (op->kind) {
    case LP_DISK_READ:
    case LP_DISK_WRITE:
        transfer_submit(volume, index);
        break;
    case LP_DISK_CREATE:
        create_start(volume, index);
        break;
    case LP_DISK_REMOVE:
        remove_submit(volume, index);
        break;
    }
    return true;
}

/*
 * Reads go first: somebody waits for each of them, and writes wait for their
 * group anyway.  Without O_DIRECT writes go one by one: the kernel tells of a
 * failed one only once for a file, and another's sync could hear of it.
 */
uint32_t
lp_volume_next(const struct lp_volume *volume)
{
    if (volume->reads.count > 0) {
        return list_first(&volume->reads);
    }
    if (!volume->direct && volume->running_writes > 0) {
        return LP_VOLUME_NONE;
    }
    return list_first(&volume->writes);
}

void
lp_volume_started(struct lp_volume *volume, uint32_t index)
{
    struct lp_volume_op *op = &volume->op[index];
    const bool write = op->op.kind == LP_DISK_WRITE;
    struct lp_volume_list *list = write ? &volume->writes : &volume->reads;
    LP_ASSERT(op->state == LP_VOLUME_READY && list_first(list) == index);
    list_drop(list);
    op->state = LP_VOLUME_RUNNING;
    volume->running++;
    volume->running_writes += write;
}

/* The one that waits for the file to be free. */
static void
remover_start(struct lp_volume *volume, struct lp_file *file)
{
    for (uint32_t i = 0; i < LP_DISK_OPS_MAX; i++) {
        const struct lp_volume_op *op = &volume->op[i];
        if (op->state == LP_VOLUME_FILE && op->op.kind == LP_DISK_REMOVE &&
            op->op.file == file->number) {
            remove_start(volume, i, file);
            return;
        }
    }
}

void
lp_volume_ended(struct lp_volume *volume, uint32_t index, enum lp_err err)
{
    struct lp_volume_op *op = &volume->op[index];
    LP_ASSERT(op->state == LP_VOLUME_RUNNING && volume->running > 0);
    struct lp_file *file = lp_files_find(&volume->files, op->op.file);
    LP_ASSERT(file != NULL && file->running > 0);
    volume->running--;
    volume->running_writes -= op->op.kind == LP_DISK_WRITE;
    file->running--;
    op_done(volume, index, err);
    if (file->running == 0 && file->state == LP_FILE_REMOVING) {
        remover_start(volume, file);
    }
}

uint32_t
lp_volume_find(const struct lp_volume *volume, lp_handle handle)
{
    const uint32_t index = lp_handle_index(handle);
    if (index >= LP_DISK_OPS_MAX || volume->op[index].state != LP_VOLUME_RUNNING ||
        volume->op[index].generation != lp_handle_generation(handle)) {
        return LP_VOLUME_NONE;
    }
    return index;
}

uint32_t
lp_volume_poll(struct lp_volume *volume, struct lp_disk_completion *completions, uint32_t max)
{
    uint32_t count = 0;
    chores_collect(volume);
    while (count < max && volume->done.count > 0) {
        const uint32_t index = list_first(&volume->done);
        struct lp_volume_op *op = &volume->op[index];
        list_drop(&volume->done);
        LP_ASSERT(op->state == LP_VOLUME_DONE);
        completions[count++] = (struct lp_disk_completion){.user = op->op.user, .err = op->err};
        op->state = LP_VOLUME_FREE;
        volume->free[volume->free_count++] = (uint8_t)index;
    }
    return count;
}

bool
lp_volume_busy(const void *self)
{
    const struct lp_volume *volume = self;
    return volume->running > 0;
}

bool
lp_volume_waiting(const struct lp_volume *volume)
{
    return volume->done.count > 0 || (volume->chores > 0 && lp_keeper_waiting(volume->channel));
}

uint64_t
lp_volume_free_bytes(void *self)
{
    const struct lp_volume *volume = self;
    return lp_keeper_free_bytes(volume->channel);
}

/* --- Opening and closing. -------------------------------------------------------------------- */

struct finding {
    struct lp_volume *volume;
    bool too_many;
    bool unsynced;
};

static void
file_found(void *context, const struct lp_disk_file *file)
{
    struct finding *finding = context;
    struct lp_volume *volume = finding->volume;
    finding->too_many |=
        lp_files_add(&volume->files, file->number, file->bytes, LP_FILE_CLOSED) == NULL;
    /* A process that was killed may have left what is in a cache only, and recovery builds on it.
     */
    finding->unsynced |= !lp_segments_file_sync(&volume->segments, file->number);
}

static int
number_compare(const void *left, const void *right)
{
    const struct lp_disk_file *a = left;
    const struct lp_disk_file *b = right;
    return (a->number > b->number) - (a->number < b->number);
}

uint32_t
lp_volume_files(void *self, struct lp_disk_file *ret_files, uint32_t max)
{
    const struct lp_volume *volume = self;
    uint32_t count = 0;
    if (max < volume->files.count) {
        return volume->files.count; /* not enough room for any order */
    }
    for (uint32_t i = 0; i < 2 * LP_FILES_MAX; i++) {
        const struct lp_file *file = &volume->files.slot[i];
        if (file->state == LP_FILE_CLOSED || file->state == LP_FILE_OPEN) {
            ret_files[count++] =
                (struct lp_disk_file){.number = file->number, .bytes = file->bytes};
        }
    }
    if (count > 0) { /* the pointer may be NULL else */
        qsort(ret_files, count, sizeof(*ret_files), number_compare);
    }
    return count;
}

static enum lp_err
folder_open(struct lp_volume *volume, const struct lp_volume_options *options)
{
    if (!lp_segments_open_boot(&volume->segments, options->path, options->direct)) {
        return LP_ERR_IO;
    }
    struct finding finding = {.volume = volume};
    if (!lp_segments_each(&volume->segments, file_found, &finding) || finding.unsynced ||
        !lp_segments_sync(&volume->segments)) {
        return LP_ERR_IO;
    }
    if (finding.too_many) {
        return LP_ERR_NO_MEMORY;
    }
    return lp_keeper_channel_boot(options->keeper, &volume->segments, options->wake_fd,
                                  &volume->channel);
}

enum lp_err
lp_volume_open_boot(struct lp_volume *volume, const char *way,
                    const struct lp_volume_options *options)
{
    volume->direct = options->direct;
    volume->dsync = options->dsync;
    volume->segments.dir_fd = -1;
    (void)snprintf(volume->name, sizeof(volume->name), "%s, %s, %s", way,
                   options->direct ? "direct" : "buffered", options->dsync ? "dsync" : "fdatasync");
    for (uint32_t i = 0; i < LP_DISK_OPS_MAX; i++) {
        volume->free[i] = (uint8_t)(LP_DISK_OPS_MAX - 1 - i);
    }
    volume->free_count = LP_DISK_OPS_MAX;
    enum lp_err err = lp_files_init_boot(&volume->files);
    if (err == LP_OK) {
        err = folder_open(volume, options);
    }
    if (err != LP_OK) {
        const int error = errno;
        lp_volume_close(volume);
        errno = error;
    }
    return err;
}

void
lp_volume_closing(struct lp_volume *volume)
{
    volume->channel = NULL;
    volume->chores = 0;
}

void
lp_volume_close(struct lp_volume *volume)
{
    lp_files_fini(&volume->files);
    lp_segments_close(&volume->segments);
}
