/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do the disks' threads hand over what they should?
 *
 * Method: a disk over threads reads and writes pages of a few files in any
 * order, makes and removes others beside it, and closes with all of that under
 * way; every page that is read must be whole.  ThreadSanitizer watches.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <drivers/common/listeners.h>
#include <drivers/common/volume.h>
#include <drivers/epoll/epoll.h>
#include <drivers/file/file.h>

#define ROUNDS     8u
#define OPERATIONS 1000u
#define PAGES      16u
#define LANES      32u
#define WAIT_NS    30000000000u

struct stress {
    char folder[64];
    uint64_t seed;
    struct lp_listeners listeners;
    struct lp_transport transport;
    struct lp_keeper *keeper;
    struct lp_disk disk;
    int wake_fd;
    uint8_t *arena;
    uint8_t written[PAGES]; /* what each page of file 1 holds */
    bool busy[PAGES];
    uint32_t page[LANES];
    bool reads[LANES];
    bool used[LANES];
};

static uint32_t
draw(struct stress *stress, uint32_t limit)
{
    stress->seed = stress->seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(stress->seed >> 33) % limit;
}

static void
disk_open(struct stress *stress, bool direct)
{
    const struct lp_socket_options sockets = {
        .listeners = &stress->listeners, .streams_max = 1, .wake_fd = stress->wake_fd};
    LP_ASSERT(lp_keeper_open_boot(&stress->keeper) == LP_OK);
    const struct lp_volume_options options = {.path = stress->folder,
                                              .keeper = stress->keeper,
                                              .direct = direct,
                                              .dsync = direct,
                                              .lock_fd = -1,
                                              .wake_fd = stress->wake_fd};
    LP_ASSERT(lp_epoll_open_boot(&sockets, &stress->transport) == LP_OK);
    LP_ASSERT(lp_file_disk_open_boot(&options, &stress->disk) == LP_OK);
    stress->disk.ops->arena(stress->disk.self, stress->arena, LANES * LP_DISK_ALIGN_BYTES);
    memset(stress->used, 0, sizeof(stress->used));
    memset(stress->busy, 0, sizeof(stress->busy));
}

static void
disk_close(struct stress *stress)
{
    lp_keeper_close(&stress->keeper);
    lp_file_disk_close(&stress->disk);
    lp_epoll_close(&stress->transport);
}

static void
ended(struct stress *stress, const struct lp_disk_completion *completion)
{
    const uint32_t lane = (uint32_t)completion->user;
    const uint8_t *data = stress->arena + lane * LP_DISK_ALIGN_BYTES;
    if (lane >= LANES) {
        return; /* a create or a remove */
    }
    LP_ASSERT(stress->used[lane] && completion->err == LP_OK);
    stress->used[lane] = false;
    stress->busy[stress->page[lane]] = false;
    for (uint32_t i = 0; stress->reads[lane] && i < LP_DISK_ALIGN_BYTES; i++) {
        LP_ASSERT(data[i] == stress->written[stress->page[lane]]);
    }
}

static void
turn(struct stress *stress, bool sleep)
{
    struct lp_transport_event events[4];
    struct lp_disk_completion completions[LP_DISK_OPS_MAX];
    const struct lp_transport_ops *ops = stress->transport.ops;
    stress->disk.ops->flush(stress->disk.self);
    ops->flush(stress->transport.self);
    if (sleep) {
        ops->wait(stress->transport.self, WAIT_NS);
    }
    (void)ops->poll(stress->transport.self, events, 4);
    const uint32_t count = stress->disk.ops->poll(stress->disk.self, completions, LP_DISK_OPS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        ended(stress, &completions[i]);
    }
}

static void
transfer(struct stress *stress)
{
    const uint32_t lane = draw(stress, LANES);
    const uint32_t page = draw(stress, PAGES);
    uint8_t *data = stress->arena + lane * LP_DISK_ALIGN_BYTES;
    if (stress->used[lane] || stress->busy[page]) {
        turn(stress, false);
        return;
    }
    stress->used[lane] = true;
    stress->busy[page] = true;
    stress->page[lane] = page;
    stress->reads[lane] = draw(stress, 2) == 0;
    if (!stress->reads[lane]) {
        stress->written[page] = (uint8_t)draw(stress, 256);
        memset(data, stress->written[page], LP_DISK_ALIGN_BYTES);
    }
    const struct lp_disk_op op = {.kind = stress->reads[lane] ? LP_DISK_READ : LP_DISK_WRITE,
                                  .file = 1,
                                  .offset = page * LP_DISK_ALIGN_BYTES,
                                  .data = data,
                                  .bytes = LP_DISK_ALIGN_BYTES,
                                  .user = lane};
    LP_ASSERT(stress->disk.ops->submit(stress->disk.self, &op));
}

static void
file_change(struct stress *stress)
{
    const struct lp_disk_op op = {.kind = draw(stress, 2) == 0 ? LP_DISK_CREATE : LP_DISK_REMOVE,
                                  .file = 2 + draw(stress, 6),
                                  .bytes = 4 * LP_DISK_ALIGN_BYTES,
                                  .user = UINT64_MAX};
    (void)stress->disk.ops->submit(stress->disk.self, &op); /* there may be enough of them */
}

/* The first file, with zeros; an earlier round may have left it. */
static void
file_begin(struct stress *stress)
{
    const struct lp_disk_op op = {
        .kind = LP_DISK_CREATE, .file = 1, .bytes = PAGES * LP_DISK_ALIGN_BYTES};
    struct lp_disk_completion completion;
    LP_ASSERT(stress->disk.ops->submit(stress->disk.self, &op));
    while (stress->disk.ops->poll(stress->disk.self, &completion, 1) == 0) {
        struct lp_transport_event events[4];
        stress->transport.ops->wait(stress->transport.self, WAIT_NS);
        (void)stress->transport.ops->poll(stress->transport.self, events, 4);
    }
    LP_ASSERT(completion.err == LP_OK || completion.err == LP_ERR_EXISTS);
}

static void
folder_delete(const struct stress *stress)
{
    DIR *dir = opendir(stress->folder);
    LP_ASSERT(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[512];
        (void)snprintf(path, sizeof(path), "%s/%s", stress->folder, entry->d_name);
        (void)unlink(path); /* all but the folder itself */
    }
    (void)closedir(dir);
    LP_ASSERT(rmdir(stress->folder) == 0);
}

static bool
any_used(const struct stress *stress)
{
    for (uint32_t i = 0; i < LANES; i++) {
        if (stress->used[i]) {
            return true;
        }
    }
    return false;
}

int
main(void)
{
    static struct stress stress = {.folder = "/tmp/lepus-stress-disk-XXXXXX", .seed = 42};
    LP_ASSERT(mkdtemp(stress.folder) != NULL);
    stress.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    stress.arena = aligned_alloc(LP_DISK_ALIGN_BYTES, LANES * LP_DISK_ALIGN_BYTES);
    LP_ASSERT(stress.wake_fd >= 0 && stress.arena != NULL);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        disk_open(&stress, round % 2 == 0);
        file_begin(&stress);
        for (uint32_t i = 0; i < OPERATIONS; i++) {
            transfer(&stress);
            if (i % 50 == 0) {
                file_change(&stress);
            }
        }
        /* The last one of all is closed with everything under way. */
        while (round + 1 < ROUNDS && any_used(&stress)) {
            turn(&stress, true);
        }
        disk_close(&stress);
    }
    folder_delete(&stress);
    free(stress.arena);
    (void)close(stress.wake_fd);
    printf("%u rounds of %u operations\n", ROUNDS, OPERATIONS);
    return 0;
}
