/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counted.c - what the counted build of the data plane is linked with in place
 * of ThreadSanitizer's library: hears of every load and store, and counts.
 *
 *   blocks  taken from and given back to lp_memory and pools
 *   copied  bytes (counted.h says of what)
 *   stored  bytes, by any store that is not to the stack
 *   lines   cache lines that go from one shard to the other
 *
 * For lines each shard has a cache of its own without limit.  A line crosses
 * when a shard reads what the other one wrote since it last looked, and when it
 * writes what the other one holds.  So a line that is written and read there
 * costs one crossing, one that goes back and forth two each time; a real cache,
 * which is smaller, moves no fewer.  The stack is left out: here one thread has
 * the turns of both shards.
 *
 * Whatever happens outside of lp_shard_turn() is not counted.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/pool.h"
#include "dataplane/shard/shard.h"

#include "counts.h"

#define SHARDS_MAX  2u
#define LINES_MAX   (1u << 20) /* in the table: of 64 MiB, all different */
#define SITES_MAX   (1u << 14)
#define STACK_BYTES (8u << 20)
#define LINE_SHIFT  6

struct line {
    uintptr_t number; /* address / 64; 0: free */
    uint8_t holders;  /* a bit a shard */
    uint8_t writer;   /* index + 1 of who wrote it last */
};

/* What one place in the program did. */
struct site {
    uintptr_t at;
    uint64_t blocks; /* taken and given back */
    uint64_t copied;
    uint64_t lines;
};

static struct {
    bool measuring;
    uint32_t turning; /* index + 1 of the shard whose turn it is */
    uintptr_t stack_top;
    const struct lp_shard *shard[SHARDS_MAX];
    struct gate_counts counts;
    struct line line[LINES_MAX];
    struct site site[SITES_MAX];
} counted;

extern const char __executable_start;

void __real_lp_memory_release(struct lp_memory *memory, void **block);
void *__real_lp_memory_alloc(struct lp_memory *memory, uint64_t bytes);
void *__real_lp_pool_alloc(struct lp_pool *pool, lp_handle *ret_handle);
void __real_lp_pool_release(struct lp_pool *pool, lp_handle handle);
struct lp_turn_result __real_lp_shard_turn(struct lp_shard *shard, uint64_t now, uint64_t wall);

/* ---- tables ---- */

static struct site *
site_of(const void *return_address)
{
    const uintptr_t at = (uintptr_t)return_address - 1 - (uintptr_t)&__executable_start;
    for (uint32_t i = 0; i < SITES_MAX; i++) {
        struct site *site = &counted.site[(at * 2654435761u + i) % SITES_MAX];
        if (site->at == at || site->at == 0) {
            site->at = at;
            return site;
        }
    }
    LP_ASSERT(!"more places than SITES_MAX");
    return NULL;
}

static struct line *
line_of(uintptr_t number)
{
    const uint64_t start = (number * 0x9e3779b97f4a7c15u) >> 32;
    for (uint32_t i = 0; i < LINES_MAX; i++) {
        struct line *line = &counted.line[(start + i) % LINES_MAX];
        if (line->number == number || line->number == 0) {
            line->number = number;
            return line;
        }
    }
    LP_ASSERT(!"more lines than LINES_MAX");
    return NULL;
}

/* ---- loads and stores ---- */

static bool
is_counted(uintptr_t at)
{
    return counted.turning != 0 && counted.stack_top - at > STACK_BYTES;
}

/* True: the line came from the other shard. */
static bool
line_touch(struct line *line, bool writes)
{
    const uint8_t self = (uint8_t)(1u << (counted.turning - 1));
    const bool held = (line->holders & self) != 0;
    const bool other = (line->holders & ~self) != 0;
    if (!writes) {
        line->holders |= self;
        return !held && other && line->writer != counted.turning;
    }
    line->holders = self;
    line->writer = (uint8_t)counted.turning;
    return other;
}

static void
touch(const void *address, size_t bytes, bool writes, const void *caller)
{
    const uintptr_t at = (uintptr_t)address;
    if (bytes == 0 || !is_counted(at)) {
        return;
    }
    uint64_t crossed = 0;
    for (uintptr_t n = at >> LINE_SHIFT; n <= (at + bytes - 1) >> LINE_SHIFT; n++) {
        crossed += line_touch(line_of(n), writes);
    }
    if (!counted.measuring) {
        return;
    }
    counted.counts.stored += writes ? bytes : 0;
    if (crossed > 0) {
        counted.counts.lines += crossed;
        site_of(caller)->lines += crossed;
    }
}

void counted_copy(size_t bytes);
void counted_load(const void *from, size_t bytes);
void counted_store(void *to, size_t bytes);

void
counted_copy(size_t bytes)
{
    if (counted.measuring && counted.turning != 0) {
        site_of(__builtin_return_address(0))->copied += bytes;
        counted.counts.copied += bytes;
    }
}

void
counted_load(const void *from, size_t bytes)
{
    touch(from, bytes, false, __builtin_return_address(0));
}

void
counted_store(void *to, size_t bytes)
{
    touch(to, bytes, true, __builtin_return_address(0));
}

/* ---- what the compiler calls ---- */

#define HOOK(name, size, writes)                              \
    void name(void *at);                                      \
    void name(void *at)                                       \
    {                                                         \
        touch(at, size, writes, __builtin_return_address(0)); \
    }
HOOK(__tsan_read1, 1, false)
HOOK(__tsan_read2, 2, false)
HOOK(__tsan_read4, 4, false)
HOOK(__tsan_read8, 8, false)
HOOK(__tsan_read16, 16, false)
HOOK(__tsan_write1, 1, true)
HOOK(__tsan_write2, 2, true)
HOOK(__tsan_write4, 4, true)
HOOK(__tsan_write8, 8, true)
HOOK(__tsan_write16, 16, true)
HOOK(__tsan_unaligned_read2, 2, false)
HOOK(__tsan_unaligned_read4, 4, false)
HOOK(__tsan_unaligned_read8, 8, false)
HOOK(__tsan_unaligned_read16, 16, false)
HOOK(__tsan_unaligned_write2, 2, true)
HOOK(__tsan_unaligned_write4, 4, true)
HOOK(__tsan_unaligned_write8, 8, true)
HOOK(__tsan_unaligned_write16, 16, true)
#undef HOOK

#define HOOK_RANGE(name, writes)                               \
    void name(void *at, size_t bytes);                         \
    void name(void *at, size_t bytes)                          \
    {                                                          \
        touch(at, bytes, writes, __builtin_return_address(0)); \
    }
HOOK_RANGE(__tsan_read_range, false)
HOOK_RANGE(__tsan_write_range, true)
#undef HOOK_RANGE

/* One thread has all turns: nothing has to be atomic. */
#define HOOK_LOAD(name, type)                                        \
    type name(const type *at, int order);                            \
    type name(const type *at, int order __attribute__((unused)))     \
    {                                                                \
        touch(at, sizeof(type), false, __builtin_return_address(0)); \
        return *at;                                                  \
    }
#define HOOK_SAVE(name, type)                                          \
    void name(type *at, type value, int order);                        \
    void name(type *at, type value, int order __attribute__((unused))) \
    {                                                                  \
        touch(at, sizeof(type), true, __builtin_return_address(0));    \
        *at = value;                                                   \
    }
HOOK_LOAD(__tsan_atomic8_load, uint8_t)
HOOK_LOAD(__tsan_atomic32_load, uint32_t)
HOOK_LOAD(__tsan_atomic64_load, uint64_t)
HOOK_SAVE(__tsan_atomic8_store, uint8_t)
HOOK_SAVE(__tsan_atomic32_store, uint32_t)
HOOK_SAVE(__tsan_atomic64_store, uint64_t)
#undef HOOK_LOAD
#undef HOOK_SAVE

#define HOOK_NOTHING(name, ...) \
    void name(__VA_ARGS__);     \
    void name(__VA_ARGS__)      \
    {                           \
    }
HOOK_NOTHING(__tsan_init, void)
HOOK_NOTHING(__tsan_func_entry, void *caller __attribute__((unused)))
HOOK_NOTHING(__tsan_func_exit, void)
HOOK_NOTHING(__tsan_atomic_thread_fence, int order __attribute__((unused)))
#undef HOOK_NOTHING

/* ---- what the linker has called instead (--wrap) ---- */

static void
count(uint64_t *counter, const void *caller)
{
    if (counted.measuring && counted.turning != 0) {
        *counter += 1;
        site_of(caller)->blocks++;
    }
}

void *__wrap_lp_memory_alloc(struct lp_memory *memory, uint64_t bytes);
void *
__wrap_lp_memory_alloc(struct lp_memory *memory, uint64_t bytes)
{
    count(&counted.counts.taken, __builtin_return_address(0));
    return __real_lp_memory_alloc(memory, bytes);
}

void __wrap_lp_memory_release(struct lp_memory *memory, void **block);
void
__wrap_lp_memory_release(struct lp_memory *memory, void **block)
{
    count(&counted.counts.given, __builtin_return_address(0));
    __real_lp_memory_release(memory, block);
}

void *__wrap_lp_pool_alloc(struct lp_pool *pool, lp_handle *ret_handle);
void *
__wrap_lp_pool_alloc(struct lp_pool *pool, lp_handle *ret_handle)
{
    count(&counted.counts.taken, __builtin_return_address(0));
    return __real_lp_pool_alloc(pool, ret_handle);
}

void __wrap_lp_pool_release(struct lp_pool *pool, lp_handle handle);
void
__wrap_lp_pool_release(struct lp_pool *pool, lp_handle handle)
{
    count(&counted.counts.given, __builtin_return_address(0));
    __real_lp_pool_release(pool, handle);
}

static uint32_t
shard_index(const struct lp_shard *shard)
{
    for (uint32_t i = 0; i < SHARDS_MAX; i++) {
        if (counted.shard[i] == NULL || counted.shard[i] == shard) {
            counted.shard[i] = shard;
            return i;
        }
    }
    LP_ASSERT(!"more shards than SHARDS_MAX");
    return 0;
}

struct lp_turn_result __wrap_lp_shard_turn(struct lp_shard *shard, uint64_t now, uint64_t wall);
struct lp_turn_result
__wrap_lp_shard_turn(struct lp_shard *shard, uint64_t now, uint64_t wall)
{
    counted.stack_top = (uintptr_t)__builtin_frame_address(0) + 4096;
    counted.turning = shard_index(shard) + 1;
    const struct lp_turn_result result = __real_lp_shard_turn(shard, now, wall);
    counted.turning = 0;
    return result;
}

/* ---- counts.h ---- */

bool
gate_counts_begin(void)
{
    counted.measuring = true;
    return true;
}

const struct gate_counts *
gate_counts_end(void)
{
    counted.measuring = false;
    return &counted.counts;
}

void
gate_counts_print_sites(void)
{
    for (uint32_t i = 0; i < SITES_MAX; i++) {
        const struct site *site = &counted.site[i];
        if (site->at != 0) {
            (void)printf("site %#lx blocks %lu copied %lu lines %lu\n", site->at, site->blocks,
                         site->copied, site->lines);
        }
    }
}
