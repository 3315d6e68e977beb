/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap.h - memory of the control process: malloc that does not say no.
 *
 * Running out of memory here ends the process; the launcher starts it again
 * and it reloads what exists from the store.
 *
 *   Memory    the caller frees with free()
 *   Runs on   control
 */
#pragma once

#include <lepus/bytes.h>

/* Zeroed. */
void *lp_heap_alloc(size_t bytes);
void *lp_heap_resize(void *block, size_t bytes);
/* A copy with a NUL behind it, for texts. */
char *lp_heap_text(struct lp_bytes bytes);

/* A byte string that grows. */
struct lp_bytebuf {
    uint8_t *data;
    size_t size;
    size_t room;
};

void lp_bytebuf_fini(struct lp_bytebuf *buf);
void lp_bytebuf_append(struct lp_bytebuf *buf, const void *data, size_t bytes);
/* Drop the first `bytes`, moving the rest to the front. */
void lp_bytebuf_consume(struct lp_bytebuf *buf, size_t bytes);
