/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/common/files.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Never more than half full, so that looking for what is not there is short. */
#define SLOTS (2 * LP_FILES_MAX)

/* Numbers follow one another, and so do their slots. */
static uint32_t
home_of(uint32_t number)
{
    return number & (SLOTS - 1);
}

static uint32_t
next_of(uint32_t slot)
{
    return (slot + 1) & (SLOTS - 1);
}

enum lp_err
lp_files_init_boot(struct lp_files *files)
{
    *files = (struct lp_files){0};
    void *memory = mmap(NULL, SLOTS * sizeof(struct lp_file), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return LP_ERR_NO_MEMORY;
    }
    files->slot = memory;
    return LP_OK;
}

void
lp_files_fini(struct lp_files *files)
{
    if (files->slot == NULL) {
        return;
    }
    for (uint32_t i = 0; i < files->open_count; i++) {
        (void)close(lp_files_find(files, files->open[i])->fd);
    }
    (void)munmap(files->slot, SLOTS * sizeof(struct lp_file));
    *files = (struct lp_files){0};
}

struct lp_file *
lp_files_find(const struct lp_files *files, uint32_t number)
{
    for (uint32_t i = home_of(number); files->slot[i].state != LP_FILE_NONE; i = next_of(i)) {
        if (files->slot[i].number == number) {
            return &files->slot[i];
        }
    }
    return NULL;
}

struct lp_file *
lp_files_add(struct lp_files *files, uint32_t number, uint64_t bytes, enum lp_file_state state)
{
    if (files->count == LP_FILES_MAX) {
        return NULL;
    }
    uint32_t i = home_of(number);
    while (files->slot[i].state != LP_FILE_NONE) {
        LP_ASSERT(files->slot[i].number != number);
        i = next_of(i);
    }
    files->slot[i] =
        (struct lp_file){.number = number, .fd = -1, .bytes = bytes, .state = (uint16_t)state};
    files->count++;
    return &files->slot[i];
}

void
lp_files_remove(struct lp_files *files, struct lp_file *file)
{
    LP_ASSERT(file->state != LP_FILE_NONE && file->fd < 0 && file->running == 0);
    uint32_t hole = (uint32_t)(file - files->slot);
    files->slot[hole].state = LP_FILE_NONE;
    files->count--;
    /* Whoever would be looked for across the hole moves into it. */
    for (uint32_t i = next_of(hole); files->slot[i].state != LP_FILE_NONE; i = next_of(i)) {
        const uint32_t home = home_of(files->slot[i].number);
        if (((i - home) & (SLOTS - 1)) >= ((i - hole) & (SLOTS - 1))) {
            files->slot[hole] = files->slot[i];
            files->slot[i].state = LP_FILE_NONE;
            hole = i;
        }
    }
}

void
lp_files_opened(struct lp_files *files, struct lp_file *file, int fd)
{
    LP_ASSERT(file->fd < 0 && fd >= 0);
    LP_ASSERT(files->open_count < LP_COUNT_OF(files->open));
    file->fd = fd;
    file->state = LP_FILE_OPEN;
    files->open[files->open_count++] = file->number;
    lp_files_used(files, file);
}

void
lp_files_used(struct lp_files *files, struct lp_file *file)
{
    file->used_at = ++files->clock;
}

int
lp_files_fd_take(struct lp_files *files, struct lp_file *file)
{
    const int fd = file->fd;
    if (fd < 0) {
        return -1;
    }
    uint32_t i = 0;
    while (files->open[i] != file->number) {
        i++;
        LP_ASSERT(i < files->open_count);
    }
    files->open[i] = files->open[--files->open_count];
    file->fd = -1;
    file->state = LP_FILE_CLOSED;
    return fd;
}

struct lp_file *
lp_files_victim(struct lp_files *files)
{
    struct lp_file *victim = NULL;
    if (files->open_count <= LP_FILES_OPEN_MAX) {
        return NULL;
    }
    for (uint32_t i = 0; i < files->open_count; i++) {
        struct lp_file *file = lp_files_find(files, files->open[i]);
        const bool idle = file->state == LP_FILE_OPEN && file->running == 0;
        /* The clock goes round: what is further behind is older. */
        if (idle &&
            (victim == NULL || files->clock - file->used_at > files->clock - victim->used_at)) {
            victim = file;
        }
    }
    return victim;
}
