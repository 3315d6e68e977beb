/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static bool
memory_open(struct launcher_region *region)
{
    region->memory_fd = memfd_create("lepus-control", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (region->memory_fd < 0 || ftruncate(region->memory_fd, (off_t)region->bytes) != 0) {
        return false;
    }
    /* A child that shrank it would end the others with SIGBUS. */
    if (fcntl(region->memory_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        return false;
    }
    void *base =
        mmap(NULL, region->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region->memory_fd, 0);
    if (base == MAP_FAILED) {
        return false;
    }
    region->base = base;
    return true;
}

bool
launcher_region_open(struct launcher_region *region, uint32_t shard_count, char *ret_why,
                     size_t why_bytes)
{
    *region = (struct launcher_region){
        .bytes = lp_control_region_bytes(shard_count),
        .shard_count = shard_count,
        .memory_fd = -1,
        .control_wake_fd = -1,
    };
    for (uint32_t i = 0; i < LP_SHARDS_MAX; i++) {
        region->shard_wake_fd[i] = -1;
    }
    bool good = memory_open(region);
    if (good) {
        region->control_wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        good = region->control_wake_fd >= 0;
    }
    for (uint32_t i = 0; good && i < shard_count; i++) {
        region->shard_wake_fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        good = region->shard_wake_fd[i] >= 0;
    }
    if (!good) {
        (void)snprintf(ret_why, why_bytes, "cannot make the memory that its processes share: %s",
                       strerrordesc_np(errno));
        launcher_region_close(region);
        return false;
    }
    lp_control_region_init_boot(region->base, shard_count);
    return true;
}

static void
fd_close(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

void
launcher_region_close(struct launcher_region *region)
{
    if (region->base != NULL) {
        (void)munmap(region->base, region->bytes);
        region->base = NULL;
    }
    fd_close(&region->memory_fd);
    fd_close(&region->control_wake_fd);
    for (uint32_t i = 0; i < region->shard_count; i++) {
        fd_close(&region->shard_wake_fd[i]);
    }
}

void
launcher_region_tell(struct launcher_region *region, const struct launcher_plan *plan)
{
    struct lp_control_node *node = &((struct lp_control_region *)region->base)->node;
    node->machine_memory_bytes = plan->machine_bytes;
    node->configured_watermark_bytes = plan->watermark_bytes;
    node->launcher_pid = (uint32_t)getpid();
}

uint64_t
launcher_region_connections(const struct launcher_region *region)
{
    uint64_t open = 0;
    for (uint32_t i = 0; i < region->shard_count; i++) {
        const struct lp_stats_page *page = lp_control_region_stats(region->base, i);
        const uint64_t closed = lp_load_relaxed(&page->connections_closed);
        const uint64_t opened = lp_load_relaxed(&page->connections_opened);
        open += opened > closed ? opened - closed : 0;
    }
    return open;
}
