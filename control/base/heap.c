/* SPDX-License-Identifier: Apache-2.0 */
#include "control/base/heap.h"

#include <stdlib.h>

void *
lp_heap_alloc(size_t bytes)
{
    void *block = calloc(1, bytes > 0 ? bytes : 1);
    if (!block) {
        lp_panic("out of memory", __FILE__, __LINE__);
    }
    return block;
}

void *
lp_heap_resize(void *block, size_t bytes)
{
    void *moved = realloc(block, bytes > 0 ? bytes : 1);
    if (!moved) {
        lp_panic("out of memory", __FILE__, __LINE__);
    }
    return moved;
}

char *
lp_heap_text(struct lp_bytes bytes)
{
    char *text = lp_heap_alloc((size_t)bytes.size + 1);
    if (bytes.size > 0) {
        memcpy(text, bytes.data, bytes.size);
    }
    return text;
}

void
lp_bytebuf_fini(struct lp_bytebuf *buf)
{
    free(buf->data);
    *buf = (struct lp_bytebuf){0};
}

void
lp_bytebuf_append(struct lp_bytebuf *buf, const void *data, size_t bytes)
{
    if (buf->size + bytes > buf->room) {
        buf->room = LP_MAX(buf->size + bytes, buf->room * 2 + 256);
        buf->data = lp_heap_resize(buf->data, buf->room);
    }
    if (bytes > 0) {
        memcpy(buf->data + buf->size, data, bytes);
        buf->size += bytes;
    }
}

void
lp_bytebuf_consume(struct lp_bytebuf *buf, size_t bytes)
{
    LP_ASSERT(bytes <= buf->size);
    buf->size -= bytes;
    if (buf->size > 0) {
        memmove(buf->data, buf->data + bytes, buf->size);
    }
}
