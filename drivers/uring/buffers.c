/* SPDX-License-Identifier: Apache-2.0 */
#include "buffers.h"

#include <stdlib.h>
#include <sys/mman.h>

static size_t
ring_bytes(uint32_t count)
{
    return count * sizeof(struct io_uring_buf);
}

static size_t
memory_bytes(uint32_t count)
{
    return (size_t)count * URING_BUFFER_STRIDE_BYTES;
}

static void *
map(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void
buffer_add(struct uring_buffers *buffers, uint16_t id, uint32_t offset)
{
    io_uring_buf_ring_add(buffers->ring, buffers->memory + (size_t)id * URING_BUFFER_STRIDE_BYTES,
                          URING_BUFFER_BYTES, id, io_uring_buf_ring_mask(buffers->count),
                          (int)offset);
}

enum lp_err
uring_buffers_init_boot(struct uring_buffers *buffers, struct io_uring *ring, uint32_t count)
{
    LP_ASSERT(count > 0 && count <= URING_BUFFERS_MAX && (count & (count - 1)) == 0);
    *buffers = (struct uring_buffers){.count = count};
    buffers->ring = map(ring_bytes(count));
    buffers->memory = map(memory_bytes(count));
    buffers->lent = calloc(count, sizeof(*buffers->lent));
    if (buffers->ring == NULL || buffers->memory == NULL || buffers->lent == NULL) {
        uring_buffers_fini(buffers);
        return LP_ERR_NO_MEMORY;
    }
    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)buffers->ring, .ring_entries = count, .bgid = URING_BUFFER_GROUP};
    if (io_uring_register_buf_ring(ring, &registration, 0) != 0) {
        uring_buffers_fini(buffers);
        return LP_ERR_UNSUPPORTED;
    }
    io_uring_buf_ring_init(buffers->ring);
    for (uint32_t i = 0; i < count; i++) {
        buffer_add(buffers, (uint16_t)i, i);
    }
    io_uring_buf_ring_advance(buffers->ring, (int)count);
    return LP_OK;
}

void
uring_buffers_fini(struct uring_buffers *buffers)
{
    if (buffers->ring != NULL) {
        (void)munmap(buffers->ring, ring_bytes(buffers->count));
    }
    if (buffers->memory != NULL) {
        (void)munmap(buffers->memory, memory_bytes(buffers->count));
    }
    free(buffers->lent);
    *buffers = (struct uring_buffers){0};
}

const uint8_t *
uring_buffers_lend(struct uring_buffers *buffers, uint16_t id)
{
    LP_ASSERT(id < buffers->count);
    LP_ASSERT(buffers->lent_count < buffers->count);
    buffers->lent[buffers->lent_count++] = id;
    return buffers->memory + (size_t)id * URING_BUFFER_STRIDE_BYTES;
}

void
uring_buffers_return(struct uring_buffers *buffers)
{
    if (buffers->lent_count == 0) {
        return;
    }
    /* The last lent first: it is the one most likely still in the cache. */
    for (uint32_t i = 0; i < buffers->lent_count; i++) {
        buffer_add(buffers, buffers->lent[buffers->lent_count - 1 - i], i);
    }
    io_uring_buf_ring_advance(buffers->ring, (int)buffers->lent_count);
    buffers->lent_count = 0;
}
