/* SPDX-License-Identifier: Apache-2.0 */
/*
 * window.h - a window over a growing sequence 1, 2, 3, ...: a slot for each
 * number that is still open (unacknowledged deliveries by delivery tag,
 * unconfirmed publishes by sequence number).
 *
 * Chunks of LP_WINDOW_CHUNK_SLOTS slots; a chunk whose slots are all closed
 * goes back at once, unless the next numbers are for it, so one number left
 * open does not hold the others' memory (only 8 bytes of directory per chunk).
 *
 *   Memory    chunks and directory from lp_memory
 *   Runs on   owner core
 *   Overload  append gives NULL: out of memory
 *
 * Invariant: first_open is the lowest open number, or `next` when none is.
 */
#pragma once

#include <lepus/base.h>

#include "dataplane/base/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

/* With the chunk's 16 bytes of bits, 8, 16, 32 and 64 byte slots fill a class of lp_memory. */
#define LP_WINDOW_CHUNK_SLOTS 126u

/* Fields are window.c's own. */
struct lp_window {
    struct lp_memory *memory;
    void **directory;        /* ring of chunk pointers; NULL: all closed */
    uint32_t directory_room; /* a power of two, or 0 */
    uint32_t slot_bytes;
    uint64_t next; /* the number that append gives */
    uint64_t first_open;
    uint64_t open_count;
};

/* `slot_bytes`: the caller's part of a slot, 1 to 64; slots are aligned to 8. */
void lp_window_init(struct lp_window *window, struct lp_memory *memory, uint32_t slot_bytes);
/* Gives everything back, open or not. */
void lp_window_fini(struct lp_window *window);

/* Open the next number; its zeroed slot, or NULL (then no number was used). */
void *lp_window_append(struct lp_window *window, uint64_t *ret_number);

/* Use up the next number without a slot (it was settled at once). */
void lp_window_skip(struct lp_window *window);

/* The slot of an open number; NULL when it is closed, or was never given out. */
void *lp_window_get(const struct lp_window *window, uint64_t number);

/* Close an open number. */
void lp_window_close(struct lp_window *window, uint64_t number);

/* The lowest open number >= `from` and its slot; NULL when there is none.  O(closed chunks
 * skipped). */
void *lp_window_next_open(const struct lp_window *window, uint64_t from, uint64_t *ret_number);

#ifdef __cplusplus
}
#endif
