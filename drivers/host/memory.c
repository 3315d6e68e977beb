/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define RESERVATION_ALIGN_BYTES                                      \
    ((uint64_t)2 * 1024 * 1024) /* a huge page; a multiple of 64 KiB \
                                 */
#define RESERVATION_UNIT_BYTES ((uint64_t)64 * 1024)

bool
host_region_map(struct host *host, char *ret_why)
{
    const uint32_t shards = host->options.shard.count;
    const size_t bytes = lp_control_region_bytes(shards);
    struct stat status;
    if (fstat(host->options.region_fd, &status) != 0 || (uint64_t)status.st_size < bytes) {
        (void)snprintf(ret_why, HOST_WHY_BYTES,
                       "the region shared with the control process is too small for %u shards",
                       shards);
        return false;
    }
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, host->options.region_fd, 0);
    if (base == MAP_FAILED) {
        (void)snprintf(ret_why, HOST_WHY_BYTES, "cannot map the shared region: %s",
                       strerrordesc_np(errno));
        return false;
    }
    const struct lp_control_region *region = base;
    if (region->magic != LP_CONTROL_REGION_MAGIC || region->version != LP_CONTROL_REGION_VERSION ||
        region->shard_count != shards) {
        (void)snprintf(ret_why, HOST_WHY_BYTES,
                       "the shared region is not one of this version for %u shards", shards);
        (void)munmap(base, bytes);
        return false;
    }
    host->region = base;
    return true;
}

/* Address space only: pages are taken when they are touched, and the shard counts those itself. */
static void *
reserve(uint64_t bytes, bool huge)
{
    const size_t whole = (size_t)(bytes + RESERVATION_ALIGN_BYTES);
    uint8_t *base = mmap(NULL, whole, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        return NULL;
    }
    const size_t skip =
        (size_t)((RESERVATION_ALIGN_BYTES - (uintptr_t)base % RESERVATION_ALIGN_BYTES) %
                 RESERVATION_ALIGN_BYTES);
    if (huge) {
        (void)madvise(base + skip, (size_t)bytes, MADV_HUGEPAGE); /* a wish; small pages do too */
    }
    return base + skip;
}

bool
host_memory_map(struct host *host, char *ret_why)
{
    const uint32_t shards = host->options.shard.count;
    host->shard_bytes =
        host->options.memory_bytes / shards / RESERVATION_UNIT_BYTES * RESERVATION_UNIT_BYTES;
    void *fabric = reserve(lp_fabric_bytes(shards), false);
    bool good = fabric != NULL && host->shard_bytes > 0;
    for (uint32_t i = 0; good && i < shards; i++) {
        /* On shared machines huge pages cost memory that somebody else needs. */
        host->shard[i].memory = reserve(host->shard_bytes, host->idle.pin);
        good = host->shard[i].memory != NULL;
    }
    if (!good) {
        (void)snprintf(
            ret_why, HOST_WHY_BYTES, "cannot reserve %llu MiB of address space for %u shards: %s",
            (unsigned long long)(host->options.memory_bytes >> 20), shards, strerrordesc_np(errno));
        return false;
    }
    host->fabric = lp_fabric_init_boot(fabric, shards);
    return true;
}
